//! The framework for settings: reads them and reports every problem with its path, and describes them for the JSON Schema and
//! the reference. It knows neither rules nor keys.

pub mod images;
pub mod raw;
pub mod read;
pub mod schema;
pub mod values;

use crate::finding::codes;

codes! {
    /// Settings of the policy that are not valid, so nothing can be judged.
    INVALID_SETTINGS = "invalid-settings";
}
