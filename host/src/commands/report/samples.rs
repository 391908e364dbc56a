//! A sample report for the tests of the outputs.

use serde_json::json;

use super::model::{
    Base, Calendar, Drift, Failure, Finding, Freeze, Image, ObjectFinding, Report, RepositoryDrift, Scan, Scope,
    ServiceDrift, ServiceImage, Summary, TagDrift, Use, Variant, Verdict,
};
use crate::judge::verdict::Effect;

/// A report with each kind of entry. The second image is an attack on the outputs.
pub(super) fn report() -> Report {
    let time = |text: &str| text.parse().unwrap();
    let used = |name: &str, image: &str| Use {
        namespace: "shop".to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
        container: "container `app`".to_owned(),
        image: image.to_owned(),
        declared: true,
        pods: 3,
        image_id: None,
    };
    let finding = |code: &str, effect, text: &str| Finding {
        code: code.to_owned(),
        effect,
        passed: None,
        fix: None,
        text: text.to_owned(),
    };
    let digest = |digit: char| Some(format!("sha256:{}", String::from(digit).repeat(64)));
    let stale = Image {
        repository: "registry.example.com/shop/web".to_owned(),
        tags: vec!["1.4".to_owned()],
        digest: digest('a'),
        verdict: Verdict::Denied,
        built: Some(time("2026-08-01T08:00:00Z")),
        deadline: Some(time("2026-10-30T08:00:00Z")),
        deadline_day: "2026-10-30".parse().ok(),
        days_left: Some(-22),
        freeze: None,
        base: Some(Base { name: "docker.io/library/alpine:3".to_owned(), digest: digest('b'), outdated: Some(true) }),
        scan: Scan::Flagged,
        findings: vec![
            finding("stale-image", Effect::Deny, "was built 2026-08-01 (111 days ago), over the 90-day limit"),
            finding("base-update-due", Effect::Warn, "uses an outdated base `docker.io/library/alpine:3`"),
        ],
        missing_platforms: vec!["linux/arm64".to_owned()],
        pods: 3,
        used_by: vec![used("web", "registry.example.com/shop/web:1.4")],
    };
    let attack = "=HYPERLINK(\"//h.test\")|`\"'><script>alert(1)</script>\u{1b}[31m\n# EOF";
    let evil = Image {
        repository: attack.to_owned(),
        tags: vec![attack.to_owned()],
        digest: None,
        verdict: Verdict::Failed,
        built: None,
        deadline: Some(time("2026-12-26T08:00:00Z")),
        deadline_day: "2026-12-26".parse().ok(),
        days_left: Some(34),
        freeze: Some(attack.to_owned()),
        base: None,
        scan: Scan::NotJudged,
        findings: vec![finding("evidence-unavailable", Effect::Deny, attack)],
        missing_platforms: Vec::new(),
        pods: 0,
        used_by: vec![Use { image_id: digest('c'), ..used(attack, attack) }],
    };
    let accepted = Image {
        repository: "registry.example.com/shop/cart".to_owned(),
        tags: vec!["2.0".to_owned(), "2.0.1".to_owned()],
        digest: digest('d'),
        verdict: Verdict::Accepted,
        built: Some(time("2026-11-10T08:00:00Z")),
        deadline: Some(time("2027-02-08T08:00:00Z")),
        deadline_day: "2027-02-08".parse().ok(),
        days_left: Some(78),
        scan: Scan::NoFindings,
        base: None,
        findings: Vec::new(),
        missing_platforms: Vec::new(),
        used_by: vec![used("cart", "registry.example.com/shop/cart:2.0")],
        ..stale.clone()
    };
    let variant = |value: String| Variant { value, used_by: vec!["Deployment shop/web".to_owned()] };
    let images = vec![stale, evil, accepted];
    Report {
        time: time("2026-11-20T12:00:00Z"),
        scope: Scope::Cluster,
        namespace: None,
        summary: Summary::of(&images, 1),
        images,
        drift: Drift {
            tags: vec![TagDrift {
                repository: "registry.example.com/shop/web".to_owned(),
                tag: "1.4".to_owned(),
                digests: vec![variant(digest('a').unwrap()), variant(digest('e').unwrap())],
            }],
            repositories: vec![RepositoryDrift {
                repository: "registry.example.com/shop/web".to_owned(),
                tags: vec![variant("1.4".to_owned()), variant(attack.to_owned())],
            }],
            services: Some(vec![ServiceDrift {
                service: format!("Service {attack}"),
                images: vec![ServiceImage { image: attack.to_owned(), digest: None, declared: true, tasks: 1 }],
            }]),
        },
        object_findings: vec![ObjectFinding {
            object: "Rollout shop/web".to_owned(),
            code: "unknown-kind".to_owned(),
            effect: Effect::Deny,
            text: attack.to_owned(),
        }],
        failures: vec![Failure { subject: "CronJob (batch/v1)".to_owned(), reason: attack.to_owned() }],
        calendar: Calendar {
            time_zone: "Europe/Berlin".to_owned(),
            patch_days: vec![time("2026-11-09T23:00:00Z"), time("2026-12-07T23:00:00Z"), time("2027-01-11T23:00:00Z")],
            freezes: vec![Freeze {
                from: "2026-12-18".parse().unwrap(),
                to: "2027-01-03".parse().unwrap(),
                reason: attack.to_owned(),
            }],
        },
    }
}

#[test]
fn a_report_has_the_same_keys_in_every_entry() {
    let json = json!(report());
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let images: Vec<_> = json["images"].as_array().unwrap().iter().map(keys).collect();
    assert!(images.windows(2).all(|pair| pair[0] == pair[1]), "{images:?}");
}
