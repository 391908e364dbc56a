//! Errors of libraries, with their causes.

use std::error::Error;

use crate::terminal::log_line;

/// The message of an error and of its causes, down to the first one. A cause that the text contains already is not repeated.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        next = cause.source();
    }
    text
}

/// The message of an error and of its causes for a terminal. Policies and configurations may contain control characters, and commands
/// for the runner of a pipeline.
#[must_use]
pub fn printable_error(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().map(log_line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{error_chain, printable_error};

    #[test]
    fn causes_are_complete_and_are_not_repeated() {
        let long = "connection refused by every address of the host; ".repeat(20);
        let error = anyhow!(long.clone()).context("client error").context("cannot send: client error");
        assert_eq!(error_chain(error.as_ref()), format!("cannot send: client error: {long}"));
    }

    #[test]
    fn an_error_for_a_terminal_keeps_its_lines_only() {
        let error = anyhow!("a\u{1b}[31m\nb").context("c\t");
        assert_eq!(printable_error(&error), "c\\t: a\\u{1b}[31m\nb");
        assert_eq!(printable_error(&anyhow!("a:\n::add-mask::e")), "a:\n\\u{3a}:add-mask::e");
    }
}
