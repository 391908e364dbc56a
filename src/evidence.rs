//! Facts about images. Evidence asks the world and never decides; rules decide and never ask.

pub mod annotations;
pub mod build_date;
pub mod cluster;
pub mod registry;
pub mod reports;
pub mod scan;
mod time;

use crate::shown::Shown;

/// An answer, or why there is none.
pub type Answer<T> = Result<T, String>;

/// How many bytes of an error are looked at. The causes, which come before the stack, fit.
const LONGEST_ERROR: usize = 16 << 10;

/// What the host says of a failure, made fit for a message: what failed, and the first cause of it.
///
/// The waPC library and policy-server say through which of their layers an error came. policy-server appends its causes,
/// numbered where there are several, and its stack.
fn told(error: &str) -> String {
    let error = error.get(..error.floor_char_boundary(LONGEST_ERROR)).unwrap_or_default();
    let mut lines = error.trim().lines();
    let layers = ["Host error: ", "Callback evaluation failure: "];
    let failure = lines.next().unwrap_or_default();
    let failure = layers.iter().fold(failure, |failure, layer| failure.strip_prefix(layer).unwrap_or(failure));
    let causes = lines.skip_while(|line| line.trim() != "Caused by:").skip(1);
    let causes = causes.take_while(|line| line.trim() != "Stack backtrace:").filter(|line| !line.trim().is_empty());
    let first_cause =
        causes.last().map(|line| line.trim().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(": "));
    match first_cause {
        Some(cause) if !failure.contains(cause) => format!("{}: {}", Shown(failure), Shown(cause)),
        _ => Shown(failure).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn what_the_host_says_of_a_failure_is_told_without_its_layers_and_its_stack() {
        for (said, expected) in [
            ("Host error: manifest unknown", "manifest unknown"),
            (
                "Callback evaluation failure: sending\n\nCaused by:\n    connection refused",
                "sending: connection refused",
            ),
            (
                "Host error: Callback evaluation failure: sending\n\nCaused by:\n    0: sending\n    1: connecting\n    \
                 2: connection refused\n\nStack backtrace:\n   0: main\n",
                "sending: connection refused",
            ),
            ("unknown: it\n\nCaused by:\n    it", "unknown: it"),
        ] {
            assert_eq!(told(said), expected);
        }
    }

    #[test]
    fn an_error_that_has_no_end_is_cut() {
        assert_eq!(told(&"ß".repeat(5 << 20)), r"\u{df}".repeat(200) + "…");
        assert_eq!(told(&format!("it\n\nCaused by:\n    that{}\n    late", "\n".repeat(5 << 20))), "it: that");
        assert_eq!(
            told(&format!("it\n\nCaused by:\n    that\n\nStack backtrace:{}", "\nx".repeat(5 << 20))),
            "it: that"
        );
    }
}
