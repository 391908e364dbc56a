//! Objects for the tests of the formats.

use super::{Format, Output, OutputOptions, output};
use crate::input::{ManifestFile, Source};
use crate::judge::verdict::{Effect, Finding, JudgedObject, ObjectName, SkipReason, Verdict};

/// A manifest with two objects, of which each has the container `app`.
const MANIFEST: &str = "\
kind: Pod
spec:
  containers:
    - {name: app, image: 'web:1'}
---
kind: Pod
spec: {containers: [{name: app, image: web:1}]}
";

/// Text that means something in each format.
pub(super) const HOSTILE: &str =
    "a%0A\n::error::b]]><!--c--> <script>&amp;|d|`e` ](http://x) @all #1 \u{1b}[31m\u{0}\u{fffe}\\| \"'~_*";

fn sources(name: &str) -> Vec<Source> {
    let objects = ManifestFile::new(name.to_owned(), MANIFEST.to_owned()).objects();
    objects.into_iter().map(|object| object.source).collect()
}

pub(super) fn source() -> Source {
    sources("shop/web.yaml").remove(0)
}

pub(super) fn object(kind: &str) -> ObjectName {
    ObjectName {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: Some("web".to_owned()),
    }
}

pub(super) fn finding(code: &str, effect: Effect) -> Finding {
    Finding {
        code: code.to_owned(),
        effect,
        site: Some("container `app`".to_owned()),
        image: Some("web:1".to_owned()),
        passed: None,
        fix: None,
        text: "has a fault".to_owned(),
        policies: Vec::new(),
    }
}

pub(super) fn denied(findings: Vec<Finding>) -> JudgedObject {
    JudgedObject { findings, ..JudgedObject::with_verdict(Verdict::Denied, Some(object("Pod")), source()) }
}

/// An object of each verdict, some in a file with a hostile name and with hostile texts.
pub(super) fn objects() -> Vec<JudgedObject> {
    let hostile = sources(&format!("shop/{HOSTILE}.yaml"));
    let evil = ObjectName { name: Some(HOSTILE.to_owned()), ..object("Pod") };
    let with_text = |finding: Finding| Finding { text: format!("has {HOSTILE}"), ..finding };
    vec![
        JudgedObject::with_verdict(Verdict::Accepted, Some(object("Deployment")), source()),
        denied(vec![finding("patch-due", Effect::Warn), finding("unpinned-image", Effect::Deny)]),
        JudgedObject {
            findings: vec![with_text(finding("patch-due", Effect::Warn))],
            warnings: vec![HOSTILE.to_owned()],
            ..JudgedObject::with_verdict(Verdict::Warned, Some(evil.clone()), hostile[0].clone())
        },
        JudgedObject {
            findings: vec![
                with_text(finding("stale-image", Effect::Deny)),
                with_text(finding("stale-image", Effect::Deny)),
            ],
            messages: vec![HOSTILE.to_owned()],
            ..JudgedObject::with_verdict(Verdict::Denied, Some(evil), hostile[1].clone())
        },
        JudgedObject {
            findings: vec![finding("evidence-unavailable", Effect::Deny)],
            ..JudgedObject::with_verdict(Verdict::Failed, Some(object("Pod")), source())
        },
        JudgedObject::failed(None, hostile[1].clone(), HOSTILE.to_owned()),
        JudgedObject::skipped(SkipReason::KindWithoutPods, Some(object("ConfigMap")), source()),
        JudgedObject {
            messages: vec!["not a Kubernetes object".to_owned()],
            ..JudgedObject::skipped(SkipReason::NotKubernetes, None, source())
        },
    ]
}

fn options(outputs: &[&str]) -> OutputOptions {
    OutputOptions { outputs: outputs.iter().map(|text| output(text).unwrap()).collect(), quiet: false }
}

#[test]
fn an_output_is_a_format_with_or_without_a_file() {
    assert_eq!(output("json"), Ok(Output { format: Format::Json, file: None }));
    assert_eq!(output("json=-"), Ok(Output { format: Format::Json, file: None }));
    assert_eq!(output("sarif=a=b.sarif"), Ok(Output { format: Format::Sarif, file: Some("a=b.sarif".into()) }));
    assert_eq!(output("text=").unwrap_err(), "the name of the file is missing after `=`");
    assert_eq!(
        output("xml").unwrap_err(),
        "unknown format; expected one of text, json, sarif, github, gitlab, junit, markdown"
    );
}

#[test]
fn each_output_goes_to_a_place_of_its_own() {
    let error = |outputs: &[&str]| options(outputs).open().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error(&["text", "json"]).contains("only one format can go to standard output"));
    let missing = format!("{:#}", options(&["text=/nowhere/at/all"]).open().err().unwrap());
    assert!(missing.starts_with("cannot write /nowhere/at/all: ") && !missing.contains(".tmp"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a").display().to_string();
    assert!(error(&[&format!("text={file}"), &format!("json={file}")]).contains("is named twice"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    assert_eq!(options(&[]).open().unwrap().printed, Some(Format::Text));
    assert_eq!(options(&[&format!("json={file}")]).open().unwrap().printed, None);
}
