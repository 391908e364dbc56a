//! Trials of the policy, and what holds in every one of them.
//!
//! A [`Trial`] is an admission request, the settings that it is judged by, and a world that answers what the policy asks. It
//! is made of bytes, so that property tests (`cargo test`) and fuzz targets (`fuzz/`) share one generator, and one list of
//! [`properties`]. Nothing of this gets into the policy.

mod bytes;
mod changes;
mod images;
mod mangled;
pub mod properties;
mod records;
pub mod references;
pub mod reports;
mod request;
mod scans;
mod settings;
pub mod targets;
mod trial;
mod world;

pub use bytes::Bytes;
pub use settings::settings;
pub use trial::{Addition, Said, Trial};
pub use world::World;
