//! Text of manifests, registries and clusters in other formats. Control characters are escaped everywhere.

use crate::terminal::printable;

/// A line for an attribute or an element of XML 1.0, which has most control characters in no form.
pub(crate) fn xml(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for character in printable(line).chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\u{fffe}' | '\u{ffff}' => escaped.extend(character.escape_unicode()),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A sentence with code spans, in another format. A backtick without a partner stays a character.
pub(crate) fn with_code_spans(sentence: &str, code: fn(&str) -> String, text: fn(&str) -> String) -> String {
    if sentence.matches('`').count() % 2 == 1 {
        return text(sentence);
    }
    let part = |(index, part)| if index % 2 == 1 { code(part) } else { text(part) };
    sentence.split('`').enumerate().map(part).collect()
}

/// A sentence with code spans in Markdown.
pub(crate) fn markdown(text: &str) -> String {
    with_code_spans(text, markdown_code, markdown_text)
}

/// Text in the font of code, in which services look for neither mentions nor references.
pub(crate) fn markdown_code(text: &str) -> String {
    format!("<code>{}</code>", entities(text))
}

/// Text outside of code. A comment, which is not shown, separates the character of a mention or reference from the name.
pub(crate) fn markdown_text(text: &str) -> String {
    let mut escaped = entities(text);
    // `@team` is a mention; `#1`, `!1`, `$1`, `%1`, `&1` and `~label` are references.
    for character in ['@', '#', '!', '$', '%', '&', '~'] {
        let entity = entity(character);
        escaped = escaped.replace(&entity, &format!("{entity}<!-- -->"));
    }
    escaped
}

/// Text in which no character has a meaning in Markdown or HTML.
fn entities(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            ' ' | '-' | '/' | ',' | '.' | ';' => escaped.push(character),
            _ if character.is_ascii_punctuation() => escaped += &entity(character),
            _ => escaped.push(character),
        }
    }
    // This would become a link.
    escaped.replace("www.", "www&#46;")
}

fn entity(character: char) -> String {
    format!("&#{};", u32::from(character))
}

#[cfg(test)]
mod tests {
    use super::{markdown, markdown_code, xml};

    #[test]
    fn text_cannot_end_its_cell_or_become_a_link() {
        assert_eq!(markdown_code("a|b`<x>@me"), "<code>a&#124;b&#96;&#60;x&#62;&#64;me</code>");
        assert_eq!(markdown("uses `a|b`; `latest`"), "uses <code>a&#124;b</code>; <code>latest</code>");
        assert_eq!(markdown("one ` only"), "one &#96; only");
        assert_eq!(markdown_code("http://www.test"), "<code>http&#58;//www&#46;test</code>");
    }

    #[test]
    fn characters_that_xml_does_not_have_are_escaped() {
        assert_eq!(xml("a\u{1b}\u{0}<\u{ffff}'\nb"), "a\\u{1b}\\u{0}&lt;\\u{ffff}'\\nb");
    }
}
