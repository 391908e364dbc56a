//! Facts about images that several rules need, from registries, the cluster and the clock. This module asks, rules judge.

pub mod build;
pub mod build_date;
pub mod cluster;
pub mod registry;
pub mod time;

use chrono::{DateTime, Utc};

use crate::finding::{Effect, Violation, codes};
use crate::host::Host;
use crate::image::RegistryPattern;
use crate::sanitized::Sanitized;
use cluster::Cluster;
use registry::{ImageAnnotations, Registry};

codes! {
    /// An image on a registry that the settings do not list.
    UNKNOWN_REGISTRY = "unknown-registry", status 466;
    /// An image about which a registry or the cluster gave no usable answer.
    EVIDENCE_UNAVAILABLE = "evidence-unavailable", status 467;
    /// Settings with a fixed time for all judgements.
    EVALUATE_AT_SET = "evaluate-at-set";
}

/// The sources of facts for one request. Each distinct question is asked once, in the order in which the answers are needed.
pub struct Evidence<'h> {
    /// The registries.
    pub registry: Registry<'h>,
    /// The cluster.
    pub cluster: Cluster<'h>,
    /// The time at which images are judged.
    pub now: DateTime<Utc>,
    /// The effect of a missing answer, from the settings.
    failures: Effect,
}

impl<'h> Evidence<'h> {
    /// The sources, before any question. Only the `listed` registries are asked; an empty list means any. `failures` is the effect of
    /// a missing answer.
    #[must_use]
    pub fn new<A: ImageAnnotations>(
        host: &'h dyn Host,
        listed: &'h [RegistryPattern],
        now: DateTime<Utc>,
        failures: Effect,
    ) -> Self {
        Self { registry: Registry::new::<A>(host, listed), cluster: Cluster::new(host), now, failures }
    }

    /// The effect of a missing answer. `strictest` is the strictest effect of the findings that need it, which is also the effect if the
    /// request exceeds the limit of questions: otherwise requesters could relax a rule with many images.
    #[must_use]
    pub fn effect_of_failure(&self, strictest: Effect) -> Effect {
        if self.registry.is_exhausted() { strictest } else { self.failures.min(strictest) }
    }
}

/// The finding that something about an image is unknown.
#[must_use]
pub fn unverified(effect: Effect, cause: &str) -> Violation {
    Violation { code: EVIDENCE_UNAVAILABLE, effect, text: format!("{}{cause}", registry::UNVERIFIED) }
}

/// An answer, or the reason why there is no answer.
pub type Answer<T> = Result<T, String>;

/// The bytes of an error that are read. That is enough for the causes, which precede the stack.
const MAX_ERROR_BYTES: usize = 16 << 10;

/// An error of the host in the form of messages: what failed, and the root cause.
///
/// The waPC library and policy-server prefix errors with the names of their layers. policy-server appends the causes, numbered if there
/// are several, and the stack.
fn host_error(error: &str) -> String {
    let error = without_urls(error);
    let mut lines = error.trim().lines();
    let layers = ["Host error: ", "Callback evaluation failure: "];
    let failure = lines.next().unwrap_or_default();
    let failure = layers.iter().fold(failure, |failure, layer| failure.strip_prefix(layer).unwrap_or(failure));
    let causes = lines.skip_while(|line| line.trim() != "Caused by:").skip(1);
    let causes = causes.take_while(|line| line.trim() != "Stack backtrace:").filter(|line| !line.trim().is_empty());
    let root_cause =
        causes.last().map(|line| line.trim().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(": "));
    match root_cause {
        Some(cause) if !failure.contains(cause) => format!("{}: {}", Sanitized(failure), Sanitized(cause)),
        _ => Sanitized(failure).to_string(),
    }
}

/// An error without its URLs, which repeat the image and would displace the cause in a message of limited length.
fn without_urls(error: &str) -> String {
    let mut rest = error.get(..error.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or_default();
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
    fn urls_are_removed_from_errors() {
        for (error, expected) in [
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
            assert_eq!(without_urls(error), expected);
        }
    }

    #[test]
    fn an_error_of_the_host_is_shown_without_layers_and_stack() {
        for (error, expected) in [
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
            assert_eq!(host_error(error), expected);
        }
    }

    #[test]
    fn a_very_long_error_is_cut() {
        assert_eq!(host_error(&"ß".repeat(5 << 20)), r"\u{df}".repeat(200) + "…");
        assert_eq!(host_error(&format!("it\n\nCaused by:\n    that{}\n    late", "\n".repeat(5 << 20))), "it: that");
        assert_eq!(
            host_error(&format!("it\n\nCaused by:\n    that\n\nStack backtrace:{}", "\nx".repeat(5 << 20))),
            "it: that"
        );
    }
}
