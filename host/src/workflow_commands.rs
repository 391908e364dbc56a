//! Workflow commands, by which a program writes annotations into a job of GitHub Actions:
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.

use crate::error_chain::printable_error;
use crate::terminal::printable;

/// An annotation of the job for an error that ends the command.
pub(crate) fn error(error: &anyhow::Error) -> String {
    let message = printable_error(error).lines().map(data).collect::<Vec<_>>().join("%0A");
    format!("::error title=container-patch::{message}\n")
}

/// Escapes the message of a command.
pub(crate) fn data(text: &str) -> String {
    printable(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property.
pub(crate) fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn an_error_is_one_command_whatever_its_text() {
        let error = anyhow!("a%0A: b,\n::error::c\r\u{1b}[31m").context("cannot read `x`");
        assert_eq!(
            super::error(&error),
            "::error title=container-patch::cannot read `x`: a%250A: b,%0A\\u{3a}:error::c\\r\\u{1b}[31m\n"
        );
    }
}
