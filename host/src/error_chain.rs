//! Errors of libraries, with their causes.

use std::error::Error;

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

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::error_chain;

    #[test]
    fn causes_are_complete_and_are_not_repeated() {
        let long = "connection refused by every address of the host; ".repeat(20);
        let error = anyhow!(long.clone()).context("client error").context("cannot send: client error");
        assert_eq!(error_chain(error.as_ref()), format!("cannot send: client error: {long}"));
    }
}
