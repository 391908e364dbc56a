//! The rules, one module each: its settings, its findings and its logic side by side. Rules do no I/O.

pub mod base_image;
pub mod pinning;
pub mod scan;
pub mod schedule;

use crate::finding::{Code, Effect};

/// What a rule says of one image: the code, how hard it bites, and the text that reads on from the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What it is about.
    pub code: Code,
    /// What it does to the request.
    pub effect: Effect,
    /// The fact, the rule and the way out.
    pub text: String,
}

impl Ruling {
    /// An image that cannot be rewritten, because its place in the object is not known. It is refused whatever the settings
    /// say of registries.
    #[must_use]
    pub fn unplaced() -> Self {
        let text = "cannot be pinned: its place in the object is not known".to_owned();
        Self { code: Code::InvalidRequest, effect: Effect::Deny, text }
    }
}
