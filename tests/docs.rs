//! The documentation keeps up with the code.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use container_patch_policy::enforcement::codes;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_code_has_a_page_with_an_example_and_is_in_the_index() {
    let index = read("docs/findings.md");
    for code in codes::all() {
        let page = read(&format!("docs/{code}.md"));
        assert!(page.starts_with(&format!("# {code}\n")), "docs/{code}.md begins with its code");
        for part in
            [format!("[{code}]\n"), "**What it means.**".into(), "**Why it matters.**".into(), "**What to do.**".into()]
        {
            assert!(page.contains(&part), "docs/{code}.md lacks {part:?}");
        }
        assert!(index.contains(&format!("[`{code}`]({code}.md)")), "docs/findings.md does not name {code}");
    }
}

#[test]
fn a_code_is_written_the_same_in_messages_and_in_audit_annotations() {
    for code in codes::all() {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = markdown();
    let mut links = 0;
    let mut broken = Vec::new();
    for (page, text) in &pages {
        for link in links_of(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let Ok(target) = target.canonicalize() else {
                broken.push(format!("{}: {link}: no such file", page.display()));
                continue;
            };
            let is_markdown = target.extension().is_some_and(|extension| extension == "md");
            if let (Some(anchor), true) = (anchor, is_markdown) {
                let text = std::fs::read_to_string(&target).unwrap();
                if !anchors_of(&text).iter().any(|found| found == anchor) {
                    broken.push(format!("{}: {link}: no such heading", page.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(links > 1000, "{links} links were found");
}

#[test]
fn the_anchors_of_headings_are_those_of_github() {
    let page = "# A `code`: *and* [a link](x.md)\n\n## Two\n\n```console\n# no heading\n```\n\n## Two\n\n### What's new, in 1.2?\n\n## Two\n";
    assert_eq!(anchors_of(page), ["a-code-and-a-link", "two", "two-1", "whats-new-in-12", "two-2"]);
}

#[test]
fn every_page_of_docs_is_in_the_summary_once() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let summary = read("docs/SUMMARY.md");
    let listed: Vec<&str> = links_of(&summary).collect();
    for (page, _) in markdown() {
        let Ok(page) = page.strip_prefix(&docs) else { continue };
        let page = page.to_str().unwrap();
        let expected = usize::from(page != "SUMMARY.md");
        assert_eq!(listed.iter().filter(|found| **found == page).count(), expected, "docs/SUMMARY.md names {page}");
    }
}

/// The Markdown files of the repository, by their full paths.
fn markdown() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            // `dist` and `target` are not in Git.
            if path.is_dir() && ![".git", "target", "dist", "node_modules"].contains(&name) {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(&path).unwrap();
                pages.push((path, text));
            }
        }
    }
    assert!(pages.len() > 80, "{} pages were found", pages.len());
    pages
}

/// The lines of a page that are not in code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Where the links of a page lead, of the forms `[text](target)` and `[name]: target`.
fn links_of(page: &str) -> impl Iterator<Item = &str> {
    prose(page).flat_map(|line| {
        let defined = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).chain(defined)
    })
}

/// The anchors that GitHub gives the headings of a page.
fn anchors_of(page: &str) -> Vec<String> {
    let mut anchors = Vec::new();
    let mut headings: HashMap<String, usize> = HashMap::new();
    for line in prose(page) {
        let heading = line.trim_start_matches('#');
        let Some(heading) = heading.strip_prefix(' ').filter(|_| line.starts_with('#')) else { continue };
        // Of a link, its text.
        let mut text = String::new();
        for (number, part) in heading.split("](").enumerate() {
            text += if number == 0 { part } else { part.split_once(')').map_or(part, |(_, rest)| rest) };
        }
        let anchor: String = text
            .to_lowercase()
            .chars()
            .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
            .map(|character| if character == ' ' { '-' } else { character })
            .collect();
        let earlier = headings.entry(anchor.clone()).or_default();
        anchors.push(if *earlier == 0 { anchor } else { format!("{anchor}-{earlier}") });
        *earlier += 1;
    }
    anchors
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut folders = vec![root.join("src"), root.join("tests"), root.join("host")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let page = read("docs/threat-model.md");
    let quoted = page.split('`').skip(1).step_by(2);
    let is_test =
        |name: &&str| name.contains('_') && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let tests: Vec<&str> = quoted.clone().filter(is_test).collect();
    assert!(tests.len() > 10, "{tests:?}");
    for test in tests {
        let exists = [format!("fn {test}("), format!("mod {test} ")].iter().any(|item| sources.contains(item));
        assert!(exists, "docs/threat-model.md names a test `{test}` that does not exist");
    }
    for file in quoted.filter(|name| name.contains('/') && (name.ends_with(".bats") || name.ends_with(".rs"))) {
        assert!(root.join(file).exists(), "docs/threat-model.md names {file}");
    }
}
