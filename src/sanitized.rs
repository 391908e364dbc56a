//! Text from a requester or a host, made safe to repeat in a message.

use std::fmt;

/// The most characters of such a text that a message repeats. A sha256 reference of ordinary length fits.
const MAX_CHARACTERS: usize = 200;

/// How many characters at the end of a text that is too long may be dropped so that it ends with a whole word.
const MAX_DROPPED: usize = 40;

/// Displays a text from outside: characters other than printable ASCII are escaped, so that nothing hides or forges a line of
/// the message, and a long text is cut after a word. A text without spaces, such as an image reference, is cut at the limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sanitized<'a>(pub &'a str);

impl fmt::Display for Sanitized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, MAX_CHARACTERS, f)
    }
}

/// Like [`Sanitized`], with at most `max` characters of the text.
pub(crate) fn sanitized_up_to(text: &str, max: usize) -> String {
    let mut shown = String::new();
    // Writing into a string does not fail.
    let _ = show(text, max, &mut shown);
    shown
}

fn show(text: &str, max: usize, f: &mut impl fmt::Write) -> fmt::Result {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if text.len() <= max && text.bytes().all(is_plain) {
        return f.write_str(text);
    }
    let cut = text.char_indices().nth(max).and_then(|(end, _)| text.get(..end));
    for character in cut.map_or(text, without_cut_word).chars() {
        if character == ' ' || character.is_ascii_graphic() {
            f.write_char(character)?;
        } else {
            write!(f, "{}", character.escape_default())?;
        }
    }
    if cut.is_some() { f.write_str("…") } else { Ok(()) }
}

/// The text up to the last space, if there is one near the end.
fn without_cut_word(text: &str) -> &str {
    let mut last = text.char_indices().rev().take(MAX_DROPPED);
    let space = last.find(|(_, character)| *character == ' ');
    space.and_then(|(space, _)| text.get(..=space)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{Sanitized, sanitized_up_to};

    #[test]
    fn characters_that_are_not_printable_ascii_are_escaped() {
        assert_eq!(Sanitized("nginx:1.27").to_string(), "nginx:1.27");
        assert_eq!(Sanitized("a\nb\u{1b}[31m\u{202e}і").to_string(), r"a\nb\u{1b}[31m\u{202e}\u{456}");
    }

    #[test]
    fn a_long_text_without_spaces_is_cut_at_the_limit() {
        assert_eq!(Sanitized(&"x".repeat(200)).to_string(), "x".repeat(200));
        assert_eq!(Sanitized(&"x".repeat(1 << 20)).to_string(), "x".repeat(200) + "…");
        // A space that is far from the end does not count.
        let far = format!("{} {}", "x".repeat(159), "y".repeat(300));
        assert_eq!(Sanitized(&far).to_string(), format!("{} {}…", "x".repeat(159), "y".repeat(40)));
    }

    #[test]
    fn a_long_text_is_cut_between_words() {
        let cause = "the registry refused the connection ".repeat(10);
        let shown = Sanitized(&cause).to_string();
        assert!(shown.ends_with("connection the registry …"), "{shown}");
        assert!(shown.chars().count() <= 201, "{shown}");
        assert_eq!(sanitized_up_to("connection refused by peer", 15), "connection …");
        assert_eq!(sanitized_up_to("connection refused by peer", 18), "connection …");
        assert_eq!(sanitized_up_to("connection refused by peer", 19), "connection refused …");
        assert_eq!(sanitized_up_to("connection refused", 18), "connection refused");
        let near = format!("{} {}", "x".repeat(160), "y".repeat(300));
        assert_eq!(Sanitized(&near).to_string(), "x".repeat(160) + " …");
    }
}
