//! Facts about images that several rules need, from registries, the cluster and the clock. Evidence asks and never decides.

pub mod build;
pub mod build_date;
pub mod cluster;
pub mod registry;
pub mod time;

use chrono::{DateTime, Utc};

use crate::finding::{Effect, codes};
use crate::host::Host;
use crate::image::RegistryPattern;
use crate::sanitized::Sanitized;
use cluster::Cluster;
use registry::{ImageAnnotations, Registry};

codes! {
    /// An image on a registry that the settings do not list.
    UNKNOWN_REGISTRY = "unknown-registry";
    /// An image about which a registry or the cluster gave no usable answer.
    EVIDENCE_UNAVAILABLE = "evidence-unavailable";
    /// Settings that give the time at which images are judged.
    EVALUATE_AT_SET = "evaluate-at-set";
}

/// What can be asked in one request. Each distinct question is asked once, in the order in which the answers are needed.
pub struct Evidence<'h> {
    /// The registries.
    pub registry: Registry<'h>,
    /// The cluster.
    pub cluster: Cluster<'h>,
    /// The time at which images are judged.
    pub now: DateTime<Utc>,
    /// The effect of a missing answer.
    failures: Effect,
}

impl<'h> Evidence<'h> {
    /// Nothing has been asked yet. `listed` are the registries that may be asked, any if there are none; `failures` is the effect of a
    /// missing answer.
    #[must_use]
    pub fn new<A: ImageAnnotations>(
        host: &'h dyn Host,
        listed: &'h [RegistryPattern],
        now: DateTime<Utc>,
        failures: Effect,
    ) -> Self {
        Self { registry: Registry::new::<A>(host, listed), cluster: Cluster::new(host), now, failures }
    }

    /// The effect of a missing answer, `strictest` being the effect of the strictest finding for which it was needed. Requesters who
    /// make the policy ask too much get that effect.
    #[must_use]
    pub fn effect_of_failure(&self, strictest: Effect) -> Effect {
        if self.registry.is_exhausted() { strictest } else { self.failures.min(strictest) }
    }
}

/// An answer, or why there is none.
pub type Answer<T> = Result<T, String>;

/// How many bytes of an error are looked at. The causes, which come before the stack, fit.
const LONGEST_ERROR: usize = 16 << 10;

/// What the host says of a failure, made fit for a message: what failed, and the first cause of it.
///
/// The waPC library and policy-server say through which of their layers an error came. policy-server appends its causes,
/// numbered where there are several, and its stack.
fn host_error(error: &str) -> String {
    let error = without_urls(error);
    let mut lines = error.trim().lines();
    let layers = ["Host error: ", "Callback evaluation failure: "];
    let failure = lines.next().unwrap_or_default();
    let failure = layers.iter().fold(failure, |failure, layer| failure.strip_prefix(layer).unwrap_or(failure));
    let causes = lines.skip_while(|line| line.trim() != "Caused by:").skip(1);
    let causes = causes.take_while(|line| line.trim() != "Stack backtrace:").filter(|line| !line.trim().is_empty());
    let first_cause =
        causes.last().map(|line| line.trim().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(": "));
    match first_cause {
        Some(cause) if !failure.contains(cause) => format!("{}: {}", Sanitized(failure), Sanitized(cause)),
        _ => Sanitized(failure).to_string(),
    }
}

/// An error without the URLs in it, which say what the requester knows already, and leave no room for the cause behind them.
fn without_urls(error: &str) -> String {
    let mut rest = error.get(..error.floor_char_boundary(LONGEST_ERROR)).unwrap_or_default();
    let mut kept = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once("://") {
        let is_outside = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '"' | '\'');
        let text = before.trim_end_matches(|c: char| !is_outside(c));
        let text = text.trim_end_matches([' ', '(']);
        let text = ["for url", "url"].iter().find_map(|word| text.strip_suffix(word)).unwrap_or(text);
        kept.push_str(text.trim_end());
        rest = after.trim_start_matches(|c: char| !is_outside(c)).trim_start_matches([')', ',']);
    }
    kept.push_str(rest);
    kept.truncate(kept.trim_end_matches([' ', ':']).len());
    kept
}

#[cfg(test)]
mod tests {
    use super::{host_error, without_urls};

    #[test]
    fn a_url_leaves_its_room_to_the_cause() {
        for (said, expected) in [
            (
                "Registry error: url https://h.test/v2/a/manifests/1, envelope: OCI API errors: [OCI API error: manifest unknown]",
                "Registry error: envelope: OCI API errors: [OCI API error: manifest unknown]",
            ),
            ("error sending request for url (http://127.0.0.1:1/v2/)", "error sending request"),
            ("Not authorized: url https://h.test/v2/a", "Not authorized"),
            ("a\nb https://h.test c", "a\nb c"),
            ("://", ""),
            ("no url", "no url"),
        ] {
            assert_eq!(without_urls(said), expected);
        }
    }

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
            assert_eq!(host_error(said), expected);
        }
    }

    #[test]
    fn an_error_that_has_no_end_is_cut() {
        assert_eq!(host_error(&"ß".repeat(5 << 20)), r"\u{df}".repeat(200) + "…");
        assert_eq!(host_error(&format!("it\n\nCaused by:\n    that{}\n    late", "\n".repeat(5 << 20))), "it: that");
        assert_eq!(
            host_error(&format!("it\n\nCaused by:\n    that\n\nStack backtrace:{}", "\nx".repeat(5 << 20))),
            "it: that"
        );
    }
}
