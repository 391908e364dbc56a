//! Compares verdicts with the expected ones.

use std::collections::BTreeSet;

use super::file::Expectation;
use crate::judge::verdict::{JudgedObject, Verdict};

/// A difference between what is expected and what is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The object. `None` for an expectation that selects no object.
    pub(super) object: Option<String>,
    /// Lines that begin with `- ` (expected) or `+ ` (found).
    pub(super) lines: Vec<String>,
    /// The messages and warnings about the object.
    pub(super) messages: Vec<String>,
}

impl Difference {
    /// Whether the policy misses an answer about an image of the object.
    pub(super) fn has_no_evidence(&self) -> bool {
        self.messages.iter().any(|message| message.ends_with("[evidence-unavailable]"))
    }
}

/// An object of a manifest with its verdict.
#[derive(Debug)]
pub(super) struct Found {
    kind: String,
    namespace: String,
    name: String,
    title: String,
    verdict: Verdict,
    codes: BTreeSet<String>,
    messages: Vec<String>,
}

impl Found {
    pub(super) fn of(judged: &JudgedObject) -> Self {
        let object = judged.object.as_ref();
        let name = object.and_then(|object| object.name.as_deref()).unwrap_or_default();
        Self {
            kind: object.map(|object| object.kind.clone()).unwrap_or_default(),
            namespace: object.and_then(|object| object.namespace.clone()).unwrap_or_default(),
            // The mark of a prefix.
            name: name.trim_end_matches('…').to_owned(),
            title: object.map_or_else(|| judged.source.to_string(), ToString::to_string),
            verdict: judged.verdict,
            codes: judged.findings.iter().map(|finding| finding.code.clone()).collect(),
            messages: judged.reasons().iter().map(ToString::to_string).collect(),
        }
    }

    fn is_selected_by(&self, expectation: &Expectation) -> bool {
        let Expectation { kind, namespace, name, verdict, .. } = expectation;
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let is_named = kind.is_some() || name.is_some() || *verdict == Some(Verdict::Skipped);
        // The policy gets no requests about skipped objects, so a general expectation does not mean them.
        (is_named || self.verdict != Verdict::Skipped)
            && is(kind, &self.kind)
            && is(namespace, &self.namespace)
            && is(name, &self.name)
    }

    fn difference(&self, lines: Vec<String>) -> Difference {
        Difference { object: Some(self.title.clone()), lines, messages: self.messages.clone() }
    }

    fn compare(&self, expectation: &Expectation) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(verdict) = expectation.verdict.filter(|verdict| *verdict != self.verdict) {
            lines.extend([format!("- verdict: {verdict}"), format!("+ verdict: {}", self.verdict)]);
        }
        if let Some(codes) = &expectation.codes {
            let codes: BTreeSet<String> = codes.iter().cloned().collect();
            if codes != self.codes {
                lines.extend([format!("- codes: {}", listed(&codes)), format!("+ codes: {}", listed(&self.codes))]);
            }
        }
        lines
    }
}

fn listed(codes: &BTreeSet<String>) -> String {
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    format!("[{}]", codes.join(", "))
}

/// The differences between the objects of a manifest and what is expected of them.
pub(super) fn compare(found: &[Found], expected: &[Expectation]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for object in found {
        let mut selecting = expected.iter().filter(|expectation| object.is_selected_by(expectation)).peekable();
        if selecting.peek().is_none() && object.verdict != Verdict::Skipped {
            let found = format!("+ verdict: {}, codes: {}", object.verdict, listed(&object.codes));
            differences.push(object.difference(vec!["- (no expectation)".to_owned(), found]));
        }
        let lines: Vec<String> = selecting.flat_map(|expectation| object.compare(expectation)).collect();
        if !lines.is_empty() {
            differences.push(object.difference(lines));
        }
    }
    for expectation in expected {
        if !found.iter().any(|object| object.is_selected_by(expectation)) {
            let lines = vec![format!("- {}", selector(expectation)), "+ (no such object)".to_owned()];
            differences.push(Difference { object: None, lines, messages: Vec::new() });
        }
    }
    differences
}

fn selector(Expectation { kind, namespace, name, .. }: &Expectation) -> String {
    let parts = [("kind", kind), ("namespace", namespace), ("name", name)];
    let parts = parts.iter().filter_map(|(key, value)| Some(format!("{key}: {}", value.as_ref()?)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "an object that is judged".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Difference, Expectation, Found, compare};
    use crate::input::ManifestFile;
    use crate::judge::verdict::{Effect, Finding, JudgedObject, ObjectName, Verdict};

    fn found(name: &str, verdict: Verdict, codes: &[&str]) -> Found {
        let text = format!("{{kind: Pod, metadata: {{name: {name}}}}}");
        let object = ManifestFile::new("a.yaml".to_owned(), text).objects().remove(0);
        let finding = |code: &&str| Finding {
            code: (*code).to_owned(),
            effect: Effect::Warn,
            site: None,
            image: None,
            passed: None,
            fix: None,
            policies: Vec::new(),
            text: "it is so".to_owned(),
        };
        let object_name = ObjectName {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: Some("default".to_owned()),
            name: Some(name.to_owned()),
        };
        let findings = codes.iter().map(finding).collect();
        Found::of(&JudgedObject { findings, ..JudgedObject::with_verdict(verdict, Some(object_name), object.source) })
    }

    fn expect(expectation: serde_json::Value) -> Expectation {
        serde_json::from_value(expectation).unwrap()
    }

    fn lines(differences: &[Difference]) -> Vec<String> {
        let line = |one: &Difference| format!("{}: {}", one.object.as_deref().unwrap_or("-"), one.lines.join(" | "));
        differences.iter().map(line).collect()
    }

    #[test]
    fn verdict_and_codes_are_compared_if_they_are_expected() {
        let pods = [found("a", Verdict::Warned, &["patch-due", "unpinned-image"])];
        assert!(compare(&pods, &[expect(json!({"verdict": "warned"}))]).is_empty());
        assert!(compare(&pods, &[expect(json!({"codes": ["unpinned-image", "patch-due"]}))]).is_empty());
        assert_eq!(
            lines(&compare(&pods, &[expect(json!({"verdict": "denied", "codes": ["patch-due"]}))])),
            [
                "Pod default/a: - verdict: denied | + verdict: warned | - codes: [patch-due] | + codes: [patch-due, unpinned-image]"
            ]
        );
        let differences = compare(&pods, &[expect(json!({"codes": []}))]);
        assert_eq!(differences[0].messages, ["it is so [patch-due]", "it is so [unpinned-image]"]);
    }

    #[test]
    fn expectations_select_objects() {
        let pods = [found("a", Verdict::Accepted, &[]), found("b", Verdict::Warned, &["patch-due"])];
        let of_a = || expect(json!({"kind": "Pod", "namespace": "default", "name": "a", "verdict": "accepted"}));
        assert_eq!(
            lines(&compare(&pods, &[of_a()])),
            ["Pod default/b: - (no expectation) | + verdict: warned, codes: [patch-due]"]
        );
        let of_c = expect(json!({"name": "c", "verdict": "accepted"}));
        let of_b = expect(json!({"name": "b", "verdict": "warned"}));
        assert_eq!(lines(&compare(&pods, &[of_a(), of_b, of_c])), ["-: - name: c | + (no such object)"]);
    }

    #[test]
    fn skipped_objects_need_no_expectation() {
        let pods = [found("a", Verdict::Skipped, &[]), found("b", Verdict::Accepted, &[])];
        assert!(compare(&pods, &[expect(json!({"verdict": "accepted"}))]).is_empty());
        let of_a = || expect(json!({"name": "a", "verdict": "skipped"}));
        assert!(compare(&pods[..1], &[of_a()]).is_empty());
        assert_eq!(
            lines(&compare(&pods[..1], &[expect(json!({"codes": []}))])),
            ["-: - an object that is judged | + (no such object)"]
        );
    }
}
