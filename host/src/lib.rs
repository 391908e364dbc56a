//! `container-patch`: runs the policy module outside of Kubewarden, on the module that Kubewarden deploys.
//!
//! It runs the module itself, in a fresh instance for each evaluation as policy-server does, so that the tested module is
//! the deployed one.

pub mod admission;
pub mod at;
mod cache;
pub mod capabilities;
pub mod cluster;
pub mod commands;
mod compose;
pub mod configuration;
mod counted;
mod csv;
pub mod engine;
mod error_chain;
mod escape;
mod html;
mod ignored;
pub mod input;
mod json_type;
pub mod judge;
pub mod live;
pub mod manifest;
mod metrics_page;
mod notify;
mod object_name;
pub mod policies;
pub mod policy;
pub mod registry;
mod replace_file;
mod running;
mod selector;
pub mod session;
pub mod settings;
mod slots;
mod stdout;
mod swarm;
mod table;
mod terminal;
pub mod timeout;
mod timestamp;
mod workflow_commands;

pub use error_chain::printable_error;
