//! `container-patch explain`: the page of a finding code, in the terminal.

mod markdown;

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use clap::Args;
use container_patch_policy::config::read::nearest;
use container_patch_policy::enforcement::codes;

use super::swarm_authz;
use crate::stdout;
use crate::terminal::{Style, printable, text_width};

/// The pages of `docs/` about finding codes: each code with its page.
pub(crate) const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Explain the code of a finding: what it means and what to do
///
/// Without a code, all codes are listed.
#[derive(Debug, Args)]
pub struct Options {
    /// Code at the end of a message, such as stale-image
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Prints the page of a code, or the list of all codes.
///
/// # Errors
/// When the code is unknown.
pub fn exec(options: &Options) -> Result<()> {
    let style = Style::of_stdout();
    stdout::print(&match &options.code {
        Some(code) => markdown::render(page(code)?, text_width(), style.color),
        None => list(style.color),
    })
}

/// A code without the brackets that messages show it in, which may be copied with it.
fn bare(code: &str) -> String {
    code.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

/// The page of a code.
fn page(code: &str) -> Result<&'static str> {
    let wanted = bare(code);
    find(&wanted).map(|(_, page)| page).ok_or_else(|| anyhow!(unknown(code, &wanted)))
}

fn find(wanted: &str) -> Option<(&'static str, &'static str)> {
    PAGES.iter().copied().find(|(known, _)| *known == wanted)
}

/// A known code, from the command line of another command. Those of the Swarm plugin are known, too.
///
/// # Errors
/// When the code is unknown.
pub(super) fn known(code: &str) -> Result<&'static str, String> {
    let wanted = bare(code);
    find(&wanted).map(|(known, _)| known).ok_or_else(|| unknown(code, &wanted))
}

fn unknown(code: &str, wanted: &str) -> String {
    let known: Vec<&str> = PAGES.iter().map(|(code, _)| *code).collect();
    let code = printable(code);
    match nearest(wanted, &known) {
        Some(nearest) => format!("unknown code `{code}`; did you mean `{nearest}`?"),
        None => format!("unknown code `{code}`; `container-patch explain` lists all codes"),
    }
}

/// All codes, each with its description.
pub(super) fn codes() -> Vec<(&'static str, String)> {
    let of_policy = codes::described().into_iter().map(|(code, about)| (code.as_str(), about.to_string()));
    of_policy.chain(swarm_authz::CODES.map(|(code, about)| (code, about.to_owned()))).collect()
}

/// All codes, each with its description, as text.
fn list(color: bool) -> String {
    let codes = codes();
    let width = codes.iter().map(|(code, _)| code.len()).max().unwrap_or_default();
    let (bold, reset) = if color { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    let mut text = String::new();
    for (code, about) in codes {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{bold}{code:width$}{reset}  {about}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{PAGES, codes, list, markdown, page};

    #[test]
    fn every_code_has_a_page_in_the_binary() {
        let mut codes: Vec<_> = codes().into_iter().map(|(code, _)| code).collect();
        codes.sort_unstable();
        assert_eq!(PAGES.iter().map(|(code, _)| *code).collect::<Vec<_>>(), codes);
    }

    #[test]
    fn the_pages_in_the_binary_are_those_of_the_documentation() {
        for (code, page) in PAGES {
            let file = format!("{}/../docs/{code}.md", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(*page, std::fs::read_to_string(file).unwrap(), "{code}");
        }
    }

    #[test]
    fn a_code_is_found_in_brackets_and_in_upper_case() {
        assert_eq!(page("[Stale-Image]").unwrap(), page("stale-image").unwrap());
    }

    #[test]
    fn an_unknown_code_is_an_error_with_the_nearest_one() {
        let error = |code: &str| page(code).unwrap_err().to_string();
        assert_eq!(error("stale-imag"), "unknown code `stale-imag`; did you mean `stale-image`?");
        assert_eq!(error("xyz\u{1b}"), r"unknown code `xyz\u{1b}`; `container-patch explain` lists all codes");
    }

    #[test]
    fn every_code_is_listed_with_its_description() {
        let text = list(false);
        assert_eq!(text.lines().count(), PAGES.len());
        assert!(text.contains("stale-image            An image that is past its deadline.\n"), "{text}");
    }

    /// The words of a page, without the characters that Markdown uses and the targets of links.
    fn words(text: &str) -> Vec<String> {
        let link = regex::Regex::new(r"\]\([^)]*\)").unwrap();
        let text = link.replace_all(text, "");
        let fence = regex::Regex::new("(?m)^```.*$").unwrap();
        let text = fence.replace_all(&text, "");
        let bare = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        bare.map(str::to_owned).collect()
    }

    #[test]
    fn no_word_of_a_page_is_lost() {
        let target = regex::Regex::new(r" \([^ )]*\.md[^ )]*\)| \(https:[^ )]*\)").unwrap();
        for (code, page) in PAGES {
            let rendered = markdown::render(page, 100_000, false);
            let rendered = target.replace_all(&rendered, "");
            assert_eq!(words(&rendered).join(" "), words(page).join(" "), "{code}");
        }
    }

    #[test]
    fn links_of_pages_lead_to_files_of_the_repository() {
        let link =
            regex::Regex::new(r"\((https://github\.com/container-patch/[^)]*/blob/main/)?([^ )]*\.(md|yaml))").unwrap();
        for (code, page) in PAGES {
            let rendered = markdown::render(page, 100_000, false);
            assert!(!rendered.contains("(#"), "{code}");
            for found in link.captures_iter(&rendered) {
                assert!(found.get(1).is_some(), "{code}: {}", &found[0]);
                let file = format!("{}/../{}", env!("CARGO_MANIFEST_DIR"), &found[2]);
                assert!(std::path::Path::new(&file).exists(), "{code}: {}", &found[0]);
            }
        }
    }

    #[test]
    fn a_page_fits_the_terminal() {
        for (code, page) in PAGES {
            let rendered = markdown::render(page, 60, false);
            // Code is not wrapped, and a word can be longer than a line.
            let wrapped = rendered.lines().filter(|line| !line.starts_with("    ") && line.trim().contains(' '));
            for line in wrapped {
                assert!(line.chars().count() <= 60 || line.split(' ').any(|word| word.len() > 40), "{code}: {line}");
            }
        }
    }
}
