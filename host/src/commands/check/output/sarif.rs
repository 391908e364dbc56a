//! SARIF 2.1.0, which code scanning services read: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::collections::HashMap;

use container_patch_policy::enforcement::codes;
use serde_json::{Map, Value, json};

use super::fingerprint::Fingerprints;
use super::json::pretty;
use super::{Checked, CheckedObject, paths};
use crate::commands::explain::PAGES;
use crate::judge::location::Region;
use crate::judge::verdict::{Effect, Finding, Reason, Verdict};
use crate::terminal::printable;

/// The documentation of the policy.
pub(super) const REPOSITORY: &str = "https://github.com/container-patch/container-patch-policy";

/// The key of our fingerprints. The number changes if they are made in another way. GitHub's action computes a fingerprint of
/// its own for `primaryLocationLineHash`, and warns about any other.
const FINGERPRINT: &str = "containerPatchFinding/v1";

/// The log of one run.
pub(super) fn render(checked: &Checked<'_>) -> String {
    let rules: HashMap<&str, usize> =
        codes::described().iter().enumerate().map(|(index, (code, _))| (code.as_str(), index)).collect();
    let mut results = Vec::new();
    let mut notifications = Vec::new();
    let mut fingerprints = Fingerprints::default();
    for object in checked.objects.iter().filter(|object| object.judged.verdict != Verdict::Skipped) {
        for reason in object.judged.reasons() {
            match reason {
                Reason::Finding(index, finding) if !finding.is_failure() => {
                    results.push(result(checked, object, (index, finding), &rules, &mut fingerprints));
                }
                reason => notifications.push(notification(checked, object, &reason, &rules)),
            }
        }
    }
    pretty(&json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": driver()},
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "exitCode": checked.summary.exit_status(checked.fail_on),
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    }))
}

fn driver() -> Value {
    json!({
        "name": "container-patch",
        "version": env!("CARGO_PKG_VERSION"),
        "semanticVersion": env!("CARGO_PKG_VERSION"),
        "informationUri": REPOSITORY,
        "rules": codes::described().iter().map(|(code, about)| rule(code.as_str(), about)).collect::<Vec<_>>(),
    })
}

fn rule(code: &str, about: &str) -> Value {
    let url = page_url(code);
    let markdown = match PAGES.iter().find(|(page, _)| *page == code) {
        Some((_, page)) => with_absolute_links(page),
        None => about.to_owned(),
    };
    json!({
        "id": code,
        "shortDescription": {"text": sentence(about)},
        "fullDescription": {"text": sentence(about)},
        "help": {"text": format!("{} {url} says what to do.", sentence(about)), "markdown": markdown},
        "helpUri": url,
        "properties": {"tags": ["security", "supply-chain", "container-image"]},
    })
}

/// The page of a code in the documentation.
pub(super) fn page_url(code: &str) -> String {
    format!("{REPOSITORY}/blob/main/docs/{code}.md")
}

/// A description as a sentence.
fn sentence(about: &str) -> String {
    let mut characters = about.trim_end_matches('.').chars();
    characters.next().map(|first| format!("{}{}.", first.to_uppercase(), characters.as_str())).unwrap_or_default()
}

/// A page with links that work outside of the repository.
fn with_absolute_links(page: &str) -> String {
    let mut parts = page.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_absolute = part.starts_with("http://") || part.starts_with("https://");
        text += "](";
        text += &match (is_absolute, part.strip_prefix("../")) {
            (true, _) => part.to_owned(),
            (false, Some(part)) => format!("{REPOSITORY}/blob/main/{part}"),
            (false, None) => format!("{REPOSITORY}/blob/main/docs/{part}"),
        };
    }
    text
}

fn result(
    checked: &Checked<'_>,
    object: &CheckedObject<'_>,
    (index, finding): (usize, &Finding),
    rules: &HashMap<&str, usize>,
    fingerprints: &mut Fingerprints,
) -> Value {
    let fingerprint = fingerprints.of(&checked.file(object.judged), object.judged, finding);
    let mut result = json!({
        "ruleId": finding.code,
        "level": if finding.effect == Effect::Deny { "error" } else { "warning" },
        "message": {"text": message(object, &finding.statement())},
        "locations": [location(checked, object, object.region(index))],
        "partialFingerprints": {FINGERPRINT: fingerprint},
    });
    // Another version of the policy may have other codes.
    if let (Some(rule), Some(result)) = (rules.get(finding.code.as_str()), result.as_object_mut()) {
        result.insert("ruleIndex".to_owned(), json!(rule));
    }
    result
}

/// What could not be judged. An outage is not a fault of the manifest, and does not become an alert.
fn notification(
    checked: &Checked<'_>,
    object: &CheckedObject<'_>,
    reason: &Reason<'_>,
    rules: &HashMap<&str, usize>,
) -> Value {
    let (region, rule) = match reason {
        Reason::Finding(index, finding) => (object.region(*index), rules.get_key_value(finding.code.as_str())),
        Reason::Message(_) => (None, None),
    };
    let level = if object.judged.verdict == Verdict::Warned { "warning" } else { "error" };
    let mut notification = Map::from_iter([
        ("level".to_owned(), json!(level)),
        ("message".to_owned(), json!({"text": message(object, &reason.to_string())})),
        ("locations".to_owned(), json!([location(checked, object, region)])),
    ]);
    if let Some((id, index)) = rule {
        notification.insert("associatedRule".to_owned(), json!({"id": id, "index": index}));
    }
    Value::Object(notification)
}

/// A message with its object. A text in brackets before one in parentheses would be a link.
fn message(object: &CheckedObject<'_>, text: &str) -> String {
    printable(&format!("{}: {text}", object.title())).replace("](", "] (")
}

/// The place of the image. The object, if it is not known.
fn location(checked: &Checked<'_>, object: &CheckedObject<'_>, region: Option<Region>) -> Value {
    let uri = paths::uri(&checked.file(object.judged));
    let artifact =
        if uri.starts_with("file:") { json!({"uri": uri}) } else { json!({"uri": uri, "uriBaseId": "%SRCROOT%"}) };
    let region = match region {
        Some(Region { start, end }) => json!({
            "startLine": start.line,
            "startColumn": start.utf16_column,
            "endLine": end.line,
            "endColumn": end.utf16_column,
        }),
        None => json!({"startLine": object.line}),
    };
    let mut location = json!({"physicalLocation": {"artifactLocation": artifact, "region": region}});
    if let (Some(name), Some(location)) = (&object.judged.object, location.as_object_mut()) {
        let full = [name.group(), &name.to_string()].join(if name.group().is_empty() { "" } else { "/" });
        let short = name.name.as_deref().unwrap_or(&name.kind);
        let logical = json!({"name": printable(short), "fullyQualifiedName": printable(&full), "kind": "resource"});
        location.insert("logicalLocations".to_owned(), json!([logical]));
    }
    location
}

#[cfg(test)]
mod tests {
    use container_patch_policy::enforcement::codes;
    use serde_json::{Value, json};

    use super::{PAGES, render, with_absolute_links};
    use crate::commands::check::output::tests::{denied, finding, objects};
    use crate::commands::check::output::{Checked, paths};
    use crate::commands::swarm_authz;
    use crate::judge::verdict::{Effect, FailOn, JudgedObject};

    fn run(objects: &[JudgedObject]) -> Value {
        let log: Value = serde_json::from_str(&render(&Checked::new(objects, FailOn::Deny))).unwrap();
        assert_eq!(log["version"], "2.1.0");
        log["runs"][0].clone()
    }

    #[test]
    fn every_code_is_a_rule_with_its_page() {
        let run = run(&[]);
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), codes::all().len());
        for rule in rules {
            let code = rule["id"].as_str().unwrap();
            assert!(rule["help"]["markdown"].as_str().unwrap().starts_with(&format!("# {code}\n")), "{rule}");
            assert!(rule["helpUri"].as_str().unwrap().ends_with(&format!("/docs/{code}.md")), "{rule}");
            assert!(rule["shortDescription"]["text"].as_str().unwrap().ends_with('.'), "{rule}");
        }
        assert_eq!(
            PAGES.len() - swarm_authz::CODES.len(),
            rules.len(),
            "the codes of the Swarm plugin are not those of check"
        );
        assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    }

    #[test]
    fn a_result_has_the_place_of_its_image_and_its_object() {
        let objects = [denied(vec![finding("unpinned-image", Effect::Deny)])];
        let run = run(&objects);
        let result = &run["results"][0];
        assert_eq!(
            run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize]["id"],
            "unpinned-image"
        );
        assert_eq!(result["level"], "error");
        assert_eq!(result["message"]["text"], "Pod shop/web: container `app`: image `web:1` has a fault");
        let uri = paths::uri(&Checked::new(&objects, FailOn::Deny).file(&objects[0]));
        assert_eq!(
            result["locations"],
            json!([{
                "physicalLocation": {
                    "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 4, "startColumn": 26, "endLine": 4, "endColumn": 33},
                },
                "logicalLocations": [{"name": "web", "fullyQualifiedName": "Pod shop/web", "kind": "resource"}],
            }])
        );
    }

    #[test]
    fn what_could_not_be_judged_is_a_notification_and_not_a_result() {
        let run = run(&objects());
        let results: Vec<_> = run["results"].as_array().unwrap().iter().map(|result| &result["ruleId"]).collect();
        assert_eq!(results, ["unpinned-image", "patch-due", "patch-due", "stale-image", "stale-image"]);
        let invocation = &run["invocations"][0];
        assert_eq!((&invocation["executionSuccessful"], &invocation["exitCode"]), (&json!(false), &json!(1)));
        let notifications = invocation["toolExecutionNotifications"].as_array().unwrap();
        assert_eq!(notifications.len(), 2);
        assert_eq!(notifications[0]["associatedRule"]["id"], "evidence-unavailable");
    }

    #[test]
    fn messages_have_no_control_characters_and_no_links() {
        let run = run(&objects());
        let results = run["results"].as_array().unwrap();
        let notifications = run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
        for of in results.iter().chain(notifications) {
            let text = of["message"]["text"].as_str().unwrap();
            assert!(!text.contains("](") && !text.contains(char::is_control), "{text}");
        }
    }

    #[test]
    fn the_links_of_pages_work_outside_of_the_repository() {
        let docs = format!("{}/blob/main", super::REPOSITORY);
        assert_eq!(
            with_absolute_links("[a](a.md#b), [b](https://x.test) and [c](../README.md)"),
            format!("[a]({docs}/docs/a.md#b), [b](https://x.test) and [c]({docs}/README.md)")
        );
    }
}
