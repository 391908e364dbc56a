//! Text of manifests, registries, clusters and logs in HTML.

use crate::escape::with_code_spans;
use crate::terminal::printable;

/// A text in which no character has a meaning in HTML, also inside of quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '`' => escaped.push_str("&#96;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A sentence with its code spans.
pub(crate) fn with_code(text: &str) -> String {
    with_code_spans(text, |code| format!("<code>{}</code>", escaped(code)), escaped)
}

#[cfg(test)]
mod tests {
    use super::{escaped, with_code};

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escaped("<a href=\"'x'\">&`\u{1b}"), "&lt;a href=&quot;&#39;x&#39;&quot;&gt;&amp;&#96;\\u{1b}");
        assert_eq!(with_code("is `<b>` now"), "is <code>&lt;b&gt;</code> now");
        assert_eq!(with_code("one ` only"), "one &#96; only");
    }
}
