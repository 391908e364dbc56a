//! `container-patch`: hosts the policy module that Kubewarden deploys where there is no Kubewarden.
//!
//! The module itself runs, in a fresh instance per evaluation as policy-server runs it, so that what is tested is what
//! is deployed.

pub mod admission;
pub mod annotate;
mod answers;
pub mod capabilities;
mod causes;
pub mod changes;
pub mod check;
pub mod cluster;
pub mod manifest;
pub mod policy;
pub mod registry;
pub mod run;
pub mod schedule;
pub mod session;
pub mod settings;
mod stdout;
mod table;
pub mod timeout;
pub mod world;
