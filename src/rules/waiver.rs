//! What rules need to know about exceptions.

use std::fmt;

use crate::finding::{Effect, Violation, codes};
use crate::sanitized::Sanitized;

codes! {
    /// A finding that an exception of the settings allows for now.
    EXCEPTED = "excepted";
    /// A finding that an exception allowed until its end.
    EXPIRED_EXCEPTION = "expired-exception";
}

/// The terms of an exception: until when, and why. `until` is at another address in each exception.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'e> {
    /// The end, as the settings give it.
    pub until: &'e str,
    /// Why the exception was made.
    pub reason: &'e str,
}

/// An exception that applies to something.
#[derive(Debug, Clone, Copy)]
pub enum Waiver<'e> {
    /// It is in force.
    InForce(Terms<'e>),
    /// It has ended.
    Ended(Terms<'e>),
}

/// The exceptions for one image.
pub trait Waivers {
    /// The exception for a vulnerability, by its id and its aliases. An advisory about several vulnerabilities is covered if each of
    /// them is.
    fn for_vulnerability(&self, id: &str, aliases: &[String]) -> Option<Waiver<'_>>;

    /// Identifies the exceptions. Images with the same ones are judged the same.
    fn identity(&self) -> Vec<*const ()>;
}

impl Terms<'_> {
    /// The warning that the exception has ended. `what` is what it covered.
    #[must_use]
    pub fn expired(&self, what: &str) -> Violation {
        let text =
            format!("had an exception from {what}, which has ended: {self}; renew it, or take it out of `exceptions`");
        Violation { code: EXPIRED_EXCEPTION, effect: Effect::Warn, text }
    }
}

/// Shows when the exception ends, and why it was made.
impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.until, Sanitized(self.reason))
    }
}
