//! Standard output.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

/// Prints to standard output. A reader that stops early (`container-patch check … | head`) is not an error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output"),
    }
}
