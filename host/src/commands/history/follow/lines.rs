//! Lines of a text that comes in pieces.

use std::ops::Range;

use memchr::memchr;

/// The most memory that stays reserved between long lines.
const RESERVED: usize = 256 << 10;

/// A line that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    /// [`Lines::line`] returns it.
    Line,
    /// [`Lines::line`] returns it. It is the last one, and has no line break.
    Rest,
    /// It has more bytes than the limit, and is not kept.
    TooLong,
}

/// Lines of a text that comes in pieces. A line that has no line break yet is kept until it gets one.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    bytes: Vec<u8>,
    /// The line that was found last.
    line: Range<usize>,
    /// Where the next line begins.
    next: usize,
    /// Up to here, the next line has no line break.
    searched: usize,
    /// Whether the beginning of the next line is not kept because it is too long.
    is_too_long: bool,
    number: u64,
    /// Whether the next line is the first one of another text.
    has_ended: bool,
}

impl Lines {
    /// Lines of at most so many bytes, without the line break.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: Vec::new(),
            line: 0..0,
            next: 0,
            searched: 0,
            is_too_long: false,
            number: 0,
            has_ended: false,
        }
    }

    /// Adds the next piece. The lines in the earlier ones must have been found.
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.next);
        self.searched -= self.next;
        (self.next, self.line) = (0, 0..0);
        if self.bytes.len() + piece.len() < RESERVED {
            self.bytes.shrink_to(RESERVED);
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Finds the next line that has a line break.
    pub(super) fn find(&mut self) -> Option<Found> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        if let Some(length) = memchr(b'\n', rest) {
            let end = self.searched + length;
            return Some(self.found(end, end + 1));
        }
        self.searched = self.bytes.len();
        if self.is_too_long || self.searched - self.next > self.limit {
            self.is_too_long = true;
            self.bytes.clear();
            (self.next, self.searched, self.line) = (0, 0, 0..0);
        }
        None
    }

    /// Takes what is left as the last line of the text. The next piece begins another text.
    pub(super) fn end(&mut self) -> Option<Found> {
        let end = self.bytes.len();
        let found = (self.next < end || self.is_too_long).then(|| self.found(end, end));
        let found = found.map(|found| if found == Found::Line { Found::Rest } else { found });
        self.has_ended = true;
        found
    }

    fn found(&mut self, end: usize, next: usize) -> Found {
        self.line = self.next..end;
        (self.next, self.searched) = (next, next);
        self.number = if std::mem::take(&mut self.has_ended) { 1 } else { self.number + 1 };
        let is_too_long = std::mem::take(&mut self.is_too_long) || self.line.len() > self.limit;
        if is_too_long { Found::TooLong } else { Found::Line }
    }

    /// The line that was found last, without its line break.
    pub(super) fn line(&self) -> &[u8] {
        self.bytes.get(self.line.clone()).unwrap_or_default()
    }

    /// The number of this line in its text. The first line has the number 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Found, Lines};

    /// The lines of a text in pieces. `None` for one that is too long.
    fn lines(limit: usize, pieces: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        let text = |lines: &Lines, line| match line {
            Found::Line | Found::Rest => Some(lines.line().to_vec()),
            Found::TooLong => None,
        };
        for piece in pieces {
            lines.add(piece);
            while let Some(line) = lines.find() {
                found.push(text(&lines, line));
            }
        }
        if let Some(line) = lines.end() {
            found.push(text(&lines, line));
        }
        assert_eq!(lines.number(), u64::try_from(found.len()).unwrap());
        assert_eq!(lines.end(), None);
        found
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        assert_eq!(
            lines(10, &[b"a\nb", b"", b"c\n", b"\nd"]),
            [b"a".as_slice(), b"bc", b"", b"d"].map(|line| Some(line.to_vec()))
        );
    }

    #[test]
    fn a_line_without_its_end_is_found_only_at_the_end() {
        let mut lines = Lines::new(10);
        lines.add(b"torn");
        assert_eq!(lines.find(), None);
        lines.add(b" line\nnext");
        assert_eq!((lines.find(), lines.line()), (Some(Found::Line), b"torn line".as_slice()));
        assert_eq!(lines.find(), None);
        assert_eq!((lines.end(), lines.line(), lines.number()), (Some(Found::Rest), b"next".as_slice(), 2));
        assert_eq!(lines.end(), None);
        lines.add(b"other text\n");
        assert_eq!((lines.find(), lines.number()), (Some(Found::Line), 1));
    }

    #[test]
    fn a_line_that_is_too_long_uses_no_memory() {
        let mut lines = Lines::new(1000);
        for _ in 0..10_000 {
            lines.add(&[b'x'; 100]);
            assert_eq!(lines.find(), None);
            assert!(lines.bytes.capacity() <= super::RESERVED);
        }
        lines.add(b"\nshort\n");
        assert_eq!(lines.find(), Some(Found::TooLong));
        assert_eq!((lines.find(), lines.line()), (Some(Found::Line), b"short".as_slice()));
    }

    #[test]
    fn memory_for_a_long_line_is_returned() {
        let mut lines = Lines::new(4 << 20);
        lines.add(&vec![b'x'; 3 << 20]);
        lines.add(b"\n");
        assert_eq!((lines.find(), lines.line().len()), (Some(Found::Line), 3 << 20));
        lines.add(b"short\n");
        assert!(lines.bytes.capacity() <= super::RESERVED);
        assert_eq!((lines.find(), lines.line()), (Some(Found::Line), b"short".as_slice()));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[ab\n]{0,40}", cuts in prop::collection::vec(0_usize..40, 0..6)) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let mut expected: Vec<_> = text.split(|byte| *byte == b'\n').collect();
            if expected.last() == Some(&[].as_slice()) {
                expected.pop();
            }
            let expected: Vec<_> = expected.into_iter().map(|line| (line.len() <= 5).then(|| line.to_vec())).collect();
            prop_assert_eq!(lines(5, &pieces), expected);
        }
    }
}
