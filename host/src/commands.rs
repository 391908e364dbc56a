//! The subcommands of `container-patch`.

pub mod annotate;
pub mod check;
pub mod completions;
pub mod explain;
pub mod history;
pub mod init;
pub mod man;
pub mod report;
pub mod run;
pub mod schedule;
pub mod soak;
pub mod swarm_authz;
pub mod test;
pub mod validate;
