//! Requests, settings, and what a host knows, made from [`Choices`](choices::Choices).

pub mod choices;
pub(crate) mod corruption;
pub(crate) mod images;
pub(crate) mod pods;
pub(crate) mod records;
pub mod reports;
pub(crate) mod request;
pub(crate) mod scans;
pub mod schema;
pub mod settings;
pub mod soaks;
pub(crate) mod texts;
