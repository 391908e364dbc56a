//! Comma-separated values (RFC 4180) for spreadsheets.

use crate::terminal::printable;

/// The characters with which a spreadsheet begins a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A text that a spreadsheet does not take for a formula.
pub(crate) fn text(text: &str) -> String {
    let text = printable(text);
    if text.starts_with(FORMULA) { format!("'{text}") } else { text }
}

/// The line of these cells, with its end.
pub(crate) fn line<const N: usize>(cells: [String; N]) -> String {
    cells.map(|cell| quoted(&cell)).join(",") + "\r\n"
}

fn quoted(cell: &str) -> String {
    // Spreadsheets of some languages separate cells with semicolons.
    if cell.contains(['"', ',', ';', '\r', '\n']) || cell.starts_with(' ') || cell.ends_with(' ') {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{quoted, text};

    #[test]
    fn a_cell_is_not_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(\"http://h.test\")"] {
            assert!(text(formula).starts_with('\''), "{formula}");
        }
        assert_eq!(text("\tx"), r"\tx", "control characters are escaped");
        assert_eq!(text("docker.io/library/nginx"), "docker.io/library/nginx");
    }

    #[test]
    fn special_characters_are_quoted() {
        assert_eq!(quoted("a"), "a");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a;=1+1"), "\"a;=1+1\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("a\r\nb"), "\"a\r\nb\"");
    }
}
