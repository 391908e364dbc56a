//! Images as workloads name them: the reference grammar, the normalised name, and the patterns of the settings, which are
//! matched against it.

mod pattern;
mod platform;
mod reference;
mod registry;

pub use pattern::{ImagePattern, Name, PatternError};
pub use platform::{Platform, PlatformError, Platforms};
pub(crate) use reference::is_tag;
pub use reference::{Digest, Reference, ReferenceError};
pub use registry::{RegistryDoubt, RegistryPattern, RegistryPatternError};
