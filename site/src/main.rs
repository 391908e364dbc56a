//! Builds the documentation as a site, from docs/ to target/site, and checks the links of the built pages.
//!
//! usage: container-patch-site [ROOT]
//!
//! ROOT is the folder of the repository; default: the current folder.

mod check;
mod links;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mdbook_driver::MDBook;
use mdbook_driver::config::Config;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let config = root.join("site").join("book.toml");
    let config = Config::from_disk(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let html = config.html_config().unwrap_or_default();
    let repository = html.git_repository_url.context("site/book.toml has no `git-repository-url`")?;
    let base = html.site_url.context("site/book.toml has no `site-url`")?;

    let mut book = MDBook::load_with_config(&root, config).context("cannot read docs/")?;
    let output = book.build_dir_for("html");
    // A page that was renamed would stay.
    if output.exists() {
        std::fs::remove_dir_all(&output).with_context(|| format!("cannot remove {}", output.display()))?;
    }
    book.with_preprocessor(links::LeadToRepository { repository });
    book.build().context("cannot build the site")?;

    let site = check::Site::read(&output, &base)?;
    let problems = site.problems();
    if !problems.is_empty() {
        bail!("{} broken links in the site:\n{}", problems.len(), problems.join("\n"));
    }
    println!("{}: {} pages, {} links", output.display(), site.pages(), site.links());
    Ok(())
}
