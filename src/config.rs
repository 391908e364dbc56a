//! The framework for settings: reads them, reports every problem with its path, and describes them for the JSON Schema and the
//! reference. It does not depend on rules or keys.

pub mod images;
pub mod namespaces;
pub mod read;
pub mod schema;
pub mod values;

use crate::finding::codes;

codes! {
    /// Settings of the policy that are not valid, so that nothing can be judged.
    INVALID_SETTINGS = "invalid-settings", status 460;
}
