//! Text of a requester, made fit for a message.

use std::fmt;

/// The most characters of a requester's text that a message repeats. A sha256 reference of ordinary length fits.
const MOST: usize = 200;

/// Shows a requester's text in a message: what is not printable ASCII is escaped, so that nothing hides or forges a
/// line, and what is very long is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sanitized<'a>(pub &'a str);

impl fmt::Display for Sanitized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, MOST, f)
    }
}

/// As [`Sanitized`], cut after as many characters.
pub(crate) fn sanitized_up_to(text: &str, most: usize) -> String {
    let mut shown = String::new();
    // Writing into a string does not fail.
    let _ = show(text, most, &mut shown);
    shown
}

fn show(text: &str, most: usize, f: &mut impl fmt::Write) -> fmt::Result {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if text.len() <= most && text.bytes().all(is_plain) {
        return f.write_str(text);
    }
    for (shown, character) in text.chars().enumerate() {
        if shown == most {
            return f.write_str("…");
        }
        if character == ' ' || character.is_ascii_graphic() {
            f.write_char(character)?;
        } else {
            write!(f, "{}", character.escape_default())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Sanitized;

    #[test]
    fn what_is_not_printable_is_escaped() {
        assert_eq!(Sanitized("nginx:1.27").to_string(), "nginx:1.27");
        assert_eq!(Sanitized("a\nb\u{1b}[31m\u{202e}і").to_string(), r"a\nb\u{1b}[31m\u{202e}\u{456}");
    }

    #[test]
    fn what_is_very_long_is_cut() {
        assert_eq!(Sanitized(&"x".repeat(200)).to_string(), "x".repeat(200));
        assert_eq!(Sanitized(&"x".repeat(1 << 20)).to_string(), "x".repeat(200) + "…");
    }
}
