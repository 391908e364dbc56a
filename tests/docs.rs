//! The documentation keeps up with the code.

use std::path::Path;

use container_patch_policy::enforcement::codes;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_code_has_a_page_with_an_example_and_is_in_the_index() {
    let index = read("docs/README.md");
    for code in codes::all() {
        let page = read(&format!("docs/{code}.md"));
        assert!(page.starts_with(&format!("# {code}\n")), "docs/{code}.md begins with its code");
        for part in
            [format!("[{code}]\n"), "**What it means.**".into(), "**Why it matters.**".into(), "**What to do.**".into()]
        {
            assert!(page.contains(&part), "docs/{code}.md lacks {part:?}");
        }
        assert!(index.contains(&format!("[`{code}`]({code}.md)")), "docs/README.md does not name {code}");
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    pages.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut links = 0;
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            links += 1;
            assert!(page.parent().unwrap().join(file).exists(), "{} links to {link}", page.display());
        }
    }
    assert!(links > 10, "{links} links were found");
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
