//! The subcommands of `container-patch`.

pub mod annotate;
pub mod check;
pub mod report;
pub mod run;
pub mod schedule;
