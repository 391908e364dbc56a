//! Verdicts as JSON for programs, as `docs/check.schema.json` describes it. All objects have the same keys.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Checked, CheckedObject};
use crate::judge::changes::{Record, RecordTarget};
use crate::judge::verdict::{Effect, JudgedImage, ObjectName, SkipReason, Verdict};
use crate::terminal::without_runner_commands;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    verdict: Verdict,
    skip_reason: Option<SkipReason>,
    object: Option<String>,
    api_version: Option<&'a str>,
    kind: Option<&'a str>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    source: String,
    file: &'a str,
    line: usize,
    messages: &'a [String],
    warnings: &'a [String],
    pinned: &'a [String],
    recorded: Vec<RecordEntry<'a>>,
    findings: Vec<FindingEntry<'a>>,
    omitted_findings: usize,
    images: Vec<ImageEntry<'a>>,
}

#[derive(Serialize)]
struct RecordEntry<'a> {
    container: Option<&'a str>,
    volume: Option<&'a str>,
    image: &'a str,
    template: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingEntry<'a> {
    code: &'a str,
    effect: Effect,
    site: Option<&'a str>,
    image: Option<&'a str>,
    passed: Option<&'a str>,
    fix: Option<&'a str>,
    text: &'a str,
    message: String,
    policies: &'a [String],
    line: usize,
    column: Option<usize>,
    end_line: Option<usize>,
    end_column: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageEntry<'a> {
    image: &'a str,
    sites: &'a [String],
    more_sites: usize,
    exempt: bool,
    digest: Option<&'a str>,
    built: Option<&'a str>,
    missing_platforms: &'a [String],
}

/// All objects and the summary, as indented JSON.
pub(super) fn render(checked: &Checked<'_>) -> String {
    pretty(&json!({
        "evaluateAt": checked.evaluate_at,
        "objects": checked.objects.iter().map(entry).collect::<Vec<_>>(),
        "summary": checked.summary,
    }))
}

/// Indented JSON with a line break at the end.
pub(super) fn pretty(value: &Value) -> String {
    // A pipeline shows it in its log. The escape is that of JSON, so the values stay.
    without_runner_commands(&format!("{value:#}\n"), r"\u0023").into_owned()
}

fn entry<'a>(object: &CheckedObject<'a>) -> Entry<'a> {
    let judged = object.judged;
    let name = judged.object.as_ref();
    Entry {
        verdict: judged.verdict,
        skip_reason: judged.skip_reason,
        object: name.map(ObjectName::to_string),
        api_version: name.map(|name| name.api_version.as_str()),
        kind: name.map(|name| name.kind.as_str()),
        namespace: name.and_then(|name| name.namespace.as_deref()),
        name: name.and_then(|name| name.name.as_deref()),
        source: judged.source.to_string(),
        file: &judged.source.file.name,
        line: object.line,
        messages: &judged.messages,
        warnings: &judged.warnings,
        pinned: &judged.pinned,
        recorded: judged.recorded.iter().map(record).collect(),
        findings: findings(object),
        omitted_findings: judged.omitted_findings,
        images: judged.images.iter().map(image).collect(),
    }
}

fn record(Record { target, image, template }: &Record) -> RecordEntry<'_> {
    let (container, volume) = match target {
        RecordTarget::Container(name) => (Some(name.as_str()), None),
        RecordTarget::Volume(name) => (None, Some(name.as_str())),
    };
    RecordEntry { container, volume, image, template }
}

fn findings<'a>(object: &CheckedObject<'a>) -> Vec<FindingEntry<'a>> {
    let entry = |(index, finding): (usize, &'a crate::judge::verdict::Finding)| {
        let region = object.region(index);
        FindingEntry {
            code: &finding.code,
            effect: finding.effect,
            site: finding.site.as_deref(),
            image: finding.image.as_deref(),
            passed: finding.passed.as_deref(),
            fix: finding.fix.as_deref(),
            text: &finding.text,
            message: finding.to_string(),
            policies: &finding.policies,
            line: object.line_of(index),
            column: region.map(|region| region.start.column),
            end_line: region.map(|region| region.end.line),
            end_column: region.map(|region| region.end.column),
        }
    };
    object.judged.findings.iter().enumerate().map(entry).collect()
}

fn image(image: &JudgedImage) -> ImageEntry<'_> {
    ImageEntry {
        image: &image.image,
        sites: &image.sites,
        more_sites: image.more_sites.unwrap_or_default(),
        exempt: image.exempt,
        digest: image.digest.as_deref(),
        built: image.built.as_deref(),
        missing_platforms: &image.missing_platforms,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::render;
    use crate::commands::check::output::Checked;
    use crate::commands::check::output::tests::objects;
    use crate::judge::verdict::FailOn;

    #[test]
    fn findings_have_the_position_of_their_image_and_entries_the_line_of_their_object() {
        let objects = objects();
        let output: Value = serde_json::from_str(&render(&Checked::new(&objects, FailOn::Deny))).unwrap();
        assert_eq!(output["evaluateAt"], Value::Null);
        let denied = &output["objects"][1];
        assert_eq!(
            (&denied["kind"], &denied["namespace"], &denied["name"], &denied["file"], &denied["line"]),
            (&"Pod".into(), &"shop".into(), &"web".into(), &"shop/web.yaml".into(), &1.into())
        );
        let finding = &denied["findings"][1];
        assert_eq!(finding["message"], "container `app`: image `web:1` has a fault [unpinned-image]");
        let position = ["line", "column", "endLine", "endColumn"].map(|key| finding[key].as_u64().unwrap());
        assert_eq!(position, [4, 26, 4, 33]);
        assert_eq!(output["objects"][3]["line"], 6);
    }

    #[test]
    fn all_entries_have_the_same_keys() {
        let objects = objects();
        let output: Value = serde_json::from_str(&render(&Checked::new(&objects, FailOn::Deny))).unwrap();
        let keys = |entry: &Value| entry.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let entries = output["objects"].as_array().unwrap();
        assert!(entries.iter().all(|entry| keys(entry) == keys(&entries[0])), "{output:#}");
        let findings: Vec<_> = entries.iter().flat_map(|entry| entry["findings"].as_array().unwrap()).collect();
        assert!(findings.iter().all(|finding| keys(finding) == keys(findings[0])), "{output:#}");
    }
}
