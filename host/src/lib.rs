//! `container-patch`: runs the policy module outside of Kubewarden, on the module that Kubewarden deploys.
//!
//! It runs the module itself, in a fresh instance for each evaluation as policy-server does, so that the tested module is
//! the deployed one.

pub mod admission;
pub mod annotate;
mod cache;
pub mod capabilities;
pub mod changes;
pub mod check;
pub mod cluster;
mod error_chain;
mod json_type;
pub mod live;
pub mod manifest;
pub mod policy;
pub mod registry;
pub mod run;
pub mod schedule;
pub mod session;
pub mod settings;
mod stdout;
mod table;
mod terminal;
pub mod timeout;
pub mod verdict;
