//! `container-patch history`: which image came in when, by whom and with which findings, from the logs of the API server and of the
//! Swarm plugin.
#![allow(dead_code)]

mod entry;
mod line;
mod output;
mod patches;
mod record;
mod summary;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

/// Print the history of images from audit logs: what came in when, by whom, and with which findings
#[derive(Debug, Args)]
pub struct Options {
    /// Audit logs of the API server or logs of the Swarm plugin, also compressed with gzip; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    #[default]
    Text,
    /// JSON object for programs; its schema is docs/history.schema.json
    Json,
    /// Comma-separated values for spreadsheets, with a line for each image of a request
    Csv,
    /// One HTML page for a browser
    Html,
}

/// Writes the history.
///
/// # Errors
/// When nothing can be read.
pub fn exec(options: &Options) -> Result<()> {
    bail!("{} files in {:?} cannot be read yet", options.files.len(), options.output)
}
