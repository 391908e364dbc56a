//! What a terminal can show.

use std::borrow::Cow;
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
    /// The style for files.
    pub(crate) const PLAIN: Self = Self { terminal: false, color: false };

    /// The style for standard output.
    pub(crate) fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// The style for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        Self { terminal, color: wants_color(terminal, |name| std::env::var(name).ok()) }
    }
}

/// Whether to print colors, by the usual variables: `NO_COLOR` (<https://no-color.org>) turns them off, `FORCE_COLOR`
/// (<https://force-color.org>) and `CLICOLOR_FORCE` (<https://bixense.com/clicolors>) turn them on. Otherwise a terminal has
/// colors, unless it is dumb or `CLICOLOR` is 0.
fn wants_color(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let is_on = |name| variable(name).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    if is_set("NO_COLOR") {
        return false;
    }
    is_on("FORCE_COLOR")
        || is_on("CLICOLOR_FORCE")
        || (terminal && !is_dumb(&variable) && variable("CLICOLOR").as_deref() != Some("0"))
}

fn is_dumb(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").as_deref() == Some("dumb")
}

/// Whether standard error can show a progress bar. The bar checks whether it is a terminal.
pub(crate) fn can_show_progress() -> bool {
    !is_dumb(|name| std::env::var(name).ok())
}

/// The width for text on standard output: that of the terminal, if it has a plausible one.
pub(crate) fn text_width() -> usize {
    const RANGE: std::ops::RangeInclusive<u16> = 40..=100;
    const DEFAULT: u16 = 100;
    let width = std::io::stdout().is_terminal().then(|| comfy_table::Table::new().width()).flatten();
    // Longer lines are hard to read. Some terminals report a width of 0.
    let width = width.filter(|width| width >= RANGE.start()).unwrap_or(DEFAULT);
    usize::from(width.min(*RANGE.end()))
}

/// Characters that change the direction or the lines of the text around them, although they are not control characters.
pub(crate) fn changes_layout(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// The text with an escape in each command for the runner of a pipeline that may be anywhere in a line: `##[command]` of GitHub,
/// `##vso[command]` of Azure, `##teamcity[command]`.
pub(crate) fn without_runner_commands<'t>(text: &'t str, escape: &str) -> Cow<'t, str> {
    let begins_command = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('[');
    if !(text.contains("##") && text.contains('[')) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let (before, after) =
            (text.get(..at).unwrap_or_default(), text.get(at + character.len_utf8()..).unwrap_or_default());
        if character == '#' && before.ends_with('#') && begins_command(after) {
            escaped.push_str(escape);
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// A line for a terminal or a log. As in [`printable`], and it is not a command of the runner of GitHub, which are `::command::` at the
/// start of a line, after spaces.
pub(crate) fn log_line(text: &str) -> String {
    let line = printable(text);
    let start = line.trim_start();
    match start.strip_prefix("::") {
        Some(rest) => format!("{}\\u{{3a}}:{rest}", line.strip_suffix(start).unwrap_or_default()),
        None => line,
    }
}

/// Escapes the control characters of a text from a manifest or report, since they would control the terminal, and commands for the
/// runner of a pipeline.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in without_runner_commands(text, r"\u{23}").chars() {
        if character.is_control() || changes_layout(character) {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::{log_line, printable, wants_color};

    #[test]
    fn the_usual_variables_turn_colors_on_and_off() {
        let color = |terminal, variables: &[(&str, &str)]| {
            let value =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            wants_color(terminal, value)
        };
        assert!(color(true, &[("TERM", "xterm")]) && !color(false, &[("TERM", "xterm")]));
        assert!(!color(true, &[("NO_COLOR", "1")]) && color(true, &[("NO_COLOR", "")]));
        assert!(color(false, &[("FORCE_COLOR", "1")]) && color(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!color(false, &[("FORCE_COLOR", "0")]) && !color(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!color(true, &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")]));
        assert!(!color(true, &[("TERM", "dumb")]) && color(true, &[("TERM", "dumb"), ("FORCE_COLOR", "1")]));
        assert!(!color(true, &[("CLICOLOR", "0")]));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("é a\u{1b}[31m\n"), r"é a\u{1b}[31m\n");
        assert_eq!(printable("a\u{202e}b\u{2028}"), r"a\u{202e}b\u{2028}");
    }

    #[test]
    fn commands_for_the_runner_of_a_pipeline_are_escaped() {
        assert_eq!(printable("a ##[add-mask]e ###vso[x]"), r"a #\u{23}[add-mask]e ##\u{23}vso[x]");
        assert_eq!(printable("## Heading [a](b) ####"), "## Heading [a](b) ####");
        assert_eq!(log_line("  ::add-mask::e"), r"  \u{3a}:add-mask::e");
        assert_eq!(log_line("a ::b"), "a ::b");
    }
}
