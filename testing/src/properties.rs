//! Properties that hold for every input.

pub mod admission;
pub mod cron;
pub mod references;
pub mod scans;
pub mod settings;
pub mod soaks;
