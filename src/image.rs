//! Images as workloads name them: the reference grammar, the normalised name, and the patterns that settings match
//! against it.

mod pattern;
mod reference;

pub use pattern::{ImagePattern, Name, PatternError};
pub(crate) use reference::is_tag;
pub use reference::{Digest, Reference, ReferenceError};
