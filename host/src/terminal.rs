//! What a terminal can show.

use std::io::IsTerminal as _;

/// The style of the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Whether the output goes to a terminal and should fit its width.
    pub(crate) terminal: bool,
    /// Whether the output may have colors.
    pub(crate) color: bool,
}

impl Style {
    /// The style for standard output: colors only on a terminal, and not if `NO_COLOR` is set (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// The style for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { terminal, color: terminal && !no_color }
    }
}

/// Escapes the control characters of a text from a manifest or report, since they would control the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("é a\u{1b}[31m\n"), r"é a\u{1b}[31m\n");
    }
}
