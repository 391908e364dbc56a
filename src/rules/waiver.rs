//! Exceptions, as rules see them.

use std::fmt;

use crate::finding::{Effect, Violation, codes};
use crate::sanitized::Sanitized;

codes! {
    /// A finding that an exception in the settings covers.
    EXCEPTED = "excepted";
    /// A finding that an exception covered until it ended.
    EXPIRED_EXCEPTION = "expired-exception";
}

/// The terms of an exception. The address of `until` identifies the exception.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'e> {
    /// The end of the exception, as written in the settings.
    pub until: &'e str,
    /// Why the exception was made.
    pub reason: &'e str,
}

/// An exception that covers a finding.
#[derive(Debug, Clone, Copy)]
pub enum Waiver<'e> {
    /// The exception is in force.
    InForce(Terms<'e>),
    /// The exception has ended.
    Ended(Terms<'e>),
}

/// The exceptions for one image.
pub trait Waivers {
    /// The exception for a vulnerability with this ID and these aliases. An advisory about several vulnerabilities is covered if all of
    /// them are.
    fn for_vulnerability(&self, id: &str, aliases: &[String]) -> Option<Waiver<'_>>;

    /// Identifies the exceptions. Images with the same exceptions can share a judgement.
    fn identity(&self) -> Vec<*const ()>;
}

impl Terms<'_> {
    /// The warning that the exception has ended. `what` names what it covered.
    #[must_use]
    pub fn expired(&self, what: &str) -> Violation {
        let text =
            format!("had an exception from {what}, which has ended: {self}; renew it, or remove it from `exceptions`");
        Violation { code: EXPIRED_EXCEPTION, effect: Effect::Warn, text }
    }
}

/// The end and the reason of the exception.
impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.until, Sanitized(self.reason))
    }
}
