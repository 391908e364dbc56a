//! Generated test cases for the policy, and properties that hold in all of them.
//!
//! A [`Case`](case::Case) is an admission request, its settings, and a host that answers the policy's host calls. It is made
//! from bytes, so property tests (`cargo test`) and fuzz targets (`fuzz/`) share the [`generators`] and the [`properties`].
//! The policy does not depend on this crate.

pub mod case;
mod changes;
pub mod failure;
pub mod fake_host;
pub mod generators;
pub mod outcome;
mod pod_template;
pub mod properties;
mod response;
pub mod targets;
