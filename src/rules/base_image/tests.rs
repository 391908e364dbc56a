use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::base::named_base;
use super::*;
use crate::config::read::{Path, Problems, Setting};
use crate::config::values::{Action, Unknown};
use crate::evidence::build_date::BuildDate;
use crate::evidence::registry::ImageFacts;
use crate::finding::{Code, Effect};
use crate::image::{ImagePattern, Reference};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn entries(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn on(name: &str, digest: &str) -> Result<Base, String> {
    Ok(Base { name: name.to_owned(), digest: digest.to_owned() })
}

#[test]
fn annotations_come_first_labels_next_and_buildpacks_last() {
    let buildpacks = json!({"runImage": {"image": "registry.example.com/run:jammy", "reference": format!("registry.example.com/run@{DIGEST}")}});
    let mut image = ImageFacts { labels: entries(&[(BUILDPACKS, &buildpacks.to_string())]), ..ImageFacts::default() };
    assert_eq!(base_of(&image), on("registry.example.com/run:jammy", DIGEST));
    image.labels.extend(entries(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, OTHER)]));
    assert_eq!(base_of(&image), on("debian:12", OTHER));
    image.annotations = entries(&[(BASE_NAME, "debian:13"), (BASE_DIGEST, DIGEST)]);
    assert_eq!(base_of(&image), on("debian:13", DIGEST));
}

#[test]
fn older_buildpacks_name_the_run_image_in_the_stack() {
    let metadata = json!({"runImage": {"reference": format!("index.docker.io/run@{DIGEST}")}, "stack": {"runImage": {"image": "run:base"}}});
    let image = ImageFacts { labels: entries(&[(BUILDPACKS, &metadata.to_string())]), ..ImageFacts::default() };
    assert_eq!(base_of(&image), on("run:base", DIGEST));
}

#[test]
fn the_reason_for_an_unknown_base_is_one_short_line() {
    let metadata = json!({"runImage": "x\n".repeat(1 << 20)}).to_string();
    let image = ImageFacts { labels: entries(&[(BUILDPACKS, &metadata)]), ..ImageFacts::default() };
    let reason = base_of(&image).unwrap_err();
    assert!(reason.len() < 600 && !reason.contains('\n'), "{reason}");
}

#[test]
fn the_reason_for_an_unknown_base_names_what_is_missing_or_invalid() {
    let annotated = |pairs: &[(&str, &str)]| ImageFacts { annotations: entries(pairs), ..ImageFacts::default() };
    let built = |metadata: Value| ImageFacts {
        labels: entries(&[(BUILDPACKS, &metadata.to_string())]),
        ..ImageFacts::default()
    };
    for (image, expected) in [
        (ImageFacts::default(), "does not say what it was built on"),
        (annotated(&[(BASE_DIGEST, DIGEST)]), "does not say what it was built on"),
        (annotated(&[(BASE_NAME, "debian:12")]), "names its base `debian:12` without a digest in"),
        (annotated(&[(BASE_NAME, "Debian"), (BASE_DIGEST, DIGEST)]), "names an invalid base `Debian`: the repository"),
        (
            annotated(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, "sha256:1")]),
            "has the invalid base digest `sha256:1`: the sha256 digest has 1",
        ),
        (
            annotated(&[(BASE_NAME, &format!("debian@{DIGEST}")), (BASE_DIGEST, DIGEST)]),
            "names its base by digest alone",
        ),
        (built(json!([])), "has a label `io.buildpacks.lifecycle.metadata` that cannot be read: "),
        (
            built(json!({"runImage": {"reference": DIGEST}})),
            "has a label `io.buildpacks.lifecycle.metadata` without the name",
        ),
        (
            built(json!({"runImage": {"reference": "5f1b", "image": "run:base"}})),
            "has a label `io.buildpacks.lifecycle.metadata` without the digest",
        ),
    ] {
        let reason = base_of(&image).unwrap_err();
        assert!(reason.starts_with(expected), "expected: {expected}\nfound:    {reason}");
    }
}

#[test]
fn a_base_with_tag_and_digest_is_looked_up_by_its_tag() {
    let name = format!("debian:12@{OTHER}");
    let image =
        ImageFacts { annotations: entries(&[(BASE_NAME, &name), (BASE_DIGEST, DIGEST)]), ..ImageFacts::default() };
    assert_eq!(base_of(&image), on("docker.io/library/debian:12", DIGEST));
}

#[test]
fn an_incomplete_source_does_not_hide_the_next_source() {
    let labels = entries(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, DIGEST)]);
    for annotations in [entries(&[(BASE_NAME, ""), (BASE_DIGEST, "")]), entries(&[(BASE_NAME, "alpine:3")])] {
        let image = ImageFacts { annotations, labels: labels.clone(), ..ImageFacts::default() };
        assert_eq!(base_of(&image), on("debian:12", DIGEST));
    }
    let image = ImageFacts { annotations: entries(&[(BASE_NAME, ""), (BASE_DIGEST, "")]), ..ImageFacts::default() };
    assert!(base_of(&image).unwrap_err().starts_with("does not say what it was built on; set the annotations"));
}

#[test]
fn the_grace_period_starts_at_the_build_of_the_image_at_the_earliest() {
    let rule = BaseImage { action: Action::Deny, ..BaseImage::default() };
    let (newer, built) = (BuildDate::At(time("2020-11-01T00:00:00Z")), BuildDate::At(time("2026-11-19T00:00:00Z")));
    assert_eq!(judge(&rule, &newer, &built, "2026-11-20T00:00:00Z"), Some((BASE_UPDATE_DUE, Effect::Warn)));
}

#[test]
fn only_listed_registries_and_that_of_the_image_are_asked_about_bases() {
    let may_ask = |rule: &BaseImage, base, image| {
        rule.may_ask(&Reference::parse(base).unwrap(), &Reference::parse(image).unwrap())
    };
    let rule = BaseImage::default();
    assert!(may_ask(&rule, "debian:12", "registry.example.com/app:1"));
    assert!(may_ask(&rule, "Registry.Example.com:443/base:1", "registry.example.com/app:1"));
    assert!(!may_ask(&rule, "evil.test/base:1", "registry.example.com/app:1"));
    let closed = BaseImage { registries: vec![], ..BaseImage::default() };
    assert!(!may_ask(&closed, "debian:12", "registry.example.com/app:1"));
}

fn judge(rule: &BaseImage, newer: &BuildDate, built: &BuildDate, now: &str) -> Option<(Code, Effect)> {
    let base = BaseStatus::Outdated { base: "debian:12".to_owned(), newer: newer.clone() };
    let violation = rule.judge(&base, built, time(now))?;
    Some((violation.code, violation.effect))
}

#[test]
fn the_grace_period_starts_at_the_build_of_the_newer_base() {
    let rule = BaseImage { action: Action::Deny, ..BaseImage::default() };
    let (newer, built) = (BuildDate::At(time("2026-11-01T00:00:00Z")), BuildDate::At(time("2026-10-01T00:00:00Z")));
    assert_eq!(judge(&rule, &newer, &built, "2026-11-14T23:59:59Z"), Some((BASE_UPDATE_DUE, Effect::Warn)));
    assert_eq!(judge(&rule, &newer, &built, "2026-11-15T00:00:00Z"), Some((OUTDATED_BASE_IMAGE, Effect::Deny)));
    let warns = BaseImage::default();
    assert_eq!(judge(&warns, &newer, &built, "2026-11-15T00:00:00Z"), Some((OUTDATED_BASE_IMAGE, Effect::Warn)));
    let off = BaseImage { action: Action::Off, ..BaseImage::default() };
    assert_eq!(judge(&off, &newer, &built, "2026-11-15T00:00:00Z"), None);
}

#[test]
fn the_grace_period_of_a_newer_base_without_a_date_starts_at_the_build_of_the_image() {
    let rule = BaseImage::default();
    let (newer, built) = (BuildDate::Unknown(None), BuildDate::At(time("2026-11-01T00:00:00Z")));
    assert_eq!(judge(&rule, &newer, &built, "2026-11-14T00:00:00Z"), Some((BASE_UPDATE_DUE, Effect::Warn)));
    assert_eq!(judge(&rule, &newer, &built, "2026-11-16T00:00:00Z"), Some((OUTDATED_BASE_IMAGE, Effect::Warn)));
    let nothing = BuildDate::Unknown(None);
    assert_eq!(judge(&rule, &newer, &nothing, "2026-11-16T00:00:00Z"), Some((OUTDATED_BASE_IMAGE, Effect::Warn)));
}

#[test]
fn an_unknown_base_is_treated_by_the_settings() {
    let now = time("2026-11-20T00:00:00Z");
    let unknown = BaseStatus::Unknown("does not say what it was built on".to_owned());
    let judged = |unknown_setting| {
        let rule = BaseImage { unknown: unknown_setting, ..BaseImage::default() };
        rule.judge(&unknown, &BuildDate::Unknown(None), now).map(|violation| (violation.code, violation.effect))
    };
    assert_eq!(judged(Unknown::Allow), None);
    assert_eq!(judged(Unknown::Warn), Some((UNKNOWN_BASE_IMAGE, Effect::Warn)));
    assert_eq!(judged(Unknown::Deny), Some((UNKNOWN_BASE_IMAGE, Effect::Deny)));
    assert_eq!(BaseImage::default().judge(&BaseStatus::Current, &BuildDate::Unknown(None), now), None);
}

#[test]
fn a_message_names_the_base_the_newer_build_and_the_deadline() {
    let rule = BaseImage::default();
    let built = BuildDate::At(time("2026-10-01T00:00:00Z"));
    let text = |newer: &BuildDate, built: &BuildDate, now: &str| {
        let base = BaseStatus::Outdated { base: "debian:12".to_owned(), newer: newer.clone() };
        rule.judge(&base, built, time(now)).unwrap().text
    };
    let (newer, unknown) = (BuildDate::At(time("2026-11-01T00:00:00Z")), BuildDate::Unknown(None));
    assert_eq!(
        text(&newer, &built, "2026-11-02T00:00:00Z"),
        "uses an outdated base `debian:12` (a newer one was built 2026-11-01); rebuild by 2026-11-15"
    );
    assert_eq!(
        text(&newer, &built, "2026-11-20T00:00:00Z"),
        "uses an outdated base `debian:12` (a newer one was built 2026-11-01): a rebuild was due by 2026-11-15; rebuild the image"
    );
    assert_eq!(
        text(&unknown, &unknown, "2026-11-20T00:00:00Z"),
        "uses an outdated base `debian:12` (there is another build); rebuild the image"
    );
}

fn named(name: &str, digest: &str) -> ImageFacts {
    ImageFacts { annotations: entries(&[(BASE_NAME, name), (BASE_DIGEST, digest)]), ..ImageFacts::default() }
}

fn allowing(patterns: &[&str]) -> BaseImage {
    let allowed = patterns.iter().map(|pattern| ImagePattern::parse(pattern).unwrap().into_owned()).collect();
    BaseImage { action: Action::Deny, allowed, ..BaseImage::default() }
}

#[test]
fn an_allowed_base_is_allowed_in_every_way_in_which_images_name_it() {
    let by_digest = |name: &str| format!("{name}@{OTHER}");
    for name in ["debian:12", "docker.io/debian:12", "Docker.io/library/debian:12", &by_digest("debian:12")] {
        for digest in [DIGEST, "", "sha256:1"] {
            for pattern in [
                "docker.io/library/debian:12",
                "docker.io/library/debian:*",
                "docker.io/library/debian*",
                "docker.io/*",
                "*",
            ] {
                let base = named_base(&named(name, digest)).unwrap();
                assert!(allowing(&["quay.io/*", pattern]).allows(&base), "{name} {digest} {pattern}");
            }
        }
    }
    for (name, digest, pattern) in [
        (&*by_digest("debian"), DIGEST, "docker.io/library/debian:*"),
        (&by_digest("debian"), "", "docker.io/library/debian@*"),
        (&by_digest("cgr.dev/chainguard/static"), OTHER, "cgr.dev/*"),
        ("localhost:5000/base", "", "localhost:5000/base:latest"),
        ("debian:12", DIGEST, &format!("docker.io/library/debian@{DIGEST}")),
        ("debian:12", DIGEST, &format!("docker.io/library/debian:12@{DIGEST}")),
        (&by_digest("debian:12"), DIGEST, &format!("docker.io/library/debian:12@{OTHER}")),
    ] {
        let base = named_base(&named(name, digest)).unwrap();
        assert!(allowing(&[pattern]).allows(&base), "{name} {digest} {pattern}");
    }
}

#[test]
fn a_base_that_no_pattern_matches_is_not_allowed() {
    for (name, pattern) in [
        ("debian:11", "docker.io/library/debian:12*"),
        (&*format!("debian@{DIGEST}"), "docker.io/library/debian:12*"),
        (&format!("debian@{DIGEST}"), "docker.io/library/debian:?*"),
        (&format!("debian@{DIGEST}"), "docker.io/library/debian:*-slim"),
        ("evil.test/docker.io/library/debian:12", "docker.io/*"),
        ("registry.example.com.evil.test/base/os:1", "registry.example.com/base/*"),
        ("registry.example.com/base", "registry.example.com/base/*"),
        ("debian:12", &format!("docker.io/library/debian:12@{OTHER}")),
    ] {
        let base = named_base(&named(name, DIGEST)).unwrap();
        assert!(!allowing(&[pattern]).allows(&base), "{name} {pattern}");
    }
    let base = named_base(&named("debian:12", DIGEST)).unwrap();
    assert!(BaseImage::default().allows(&base), "an empty list allows every base");
}

#[test]
fn a_disallowed_base_is_treated_by_the_action_and_the_message_names_what_is_allowed() {
    let base = named_base(&named("ubuntu:22.04", "")).unwrap();
    let judged = |action, patterns: &[&str]| BaseImage { action, ..allowing(patterns) }.judge_name(&base);
    let violation = judged(Action::Deny, &["index.docker.io/library/debian:*", "cgr.dev/*"]).unwrap();
    assert_eq!((violation.code, violation.effect), (DISALLOWED_BASE_IMAGE, Effect::Deny));
    assert_eq!(
        violation.text,
        "is built on `ubuntu:22.04`, which `baseImage.allowed` does not list; build it on `docker.io/library/debian:*` or \
         `cgr.dev/*`, or ask the cluster admin to add that base"
    );
    let many = judged(Action::Warn, &["a.test/*", "b.test/*", "c.test/*", "d.test/*", "e.test/*"]).unwrap();
    assert_eq!(many.effect, Effect::Warn);
    assert!(many.text.contains("build it on `a.test/*`, `b.test/*`, `c.test/*` or 2 others, or ask"), "{}", many.text);
    let four = judged(Action::Warn, &["a.test/*", "b.test/*", "c.test/*", "d.test/*"]).unwrap();
    assert!(four.text.contains("`c.test/*` or 1 other, or ask"), "{}", four.text);
    assert_eq!(judged(Action::Off, &["a.test/*"]), None);
    assert_eq!(judged(Action::Deny, &[]), None);
}

#[test]
fn an_inherited_label_does_not_hide_the_base_that_an_annotation_names_without_a_digest() {
    // The base has the labels of its own build, and images inherit labels.
    let mut image =
        ImageFacts { labels: entries(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, DIGEST)]), ..ImageFacts::default() };
    let allows =
        |image: &ImageFacts, pattern: &str| allowing(&[pattern]).judge_name(&declared_base(image).unwrap()).is_none();
    assert!(allows(&image, "docker.io/library/debian:*"));
    image.annotations = entries(&[(BASE_NAME, "registry.example.com/team/base:1")]);
    assert!(!allows(&image, "docker.io/library/debian:*"));
    assert!(allows(&image, "registry.example.com/team/base:*"));
    assert_eq!(base_of(&image), on("debian:12", DIGEST), "what is compared needs a digest");
    for unusable in ["", "not a reference"] {
        image.annotations = entries(&[(BASE_NAME, unusable)]);
        assert!(allows(&image, "docker.io/library/debian:*"), "{unusable}");
    }
}

#[test]
fn the_name_of_a_base_without_a_digest_is_known() {
    let buildpacks = |reference: &str| json!({"runImage": {"image": "run:base", "reference": reference}}).to_string();
    for (image, name) in [
        (named("debian:12", ""), "debian:12"),
        (named("debian:12", "sha256:1"), "debian:12"),
        (named(&format!("debian@{DIGEST}"), ""), &*format!("debian@{DIGEST}")),
        (ImageFacts { labels: entries(&[(BUILDPACKS, &buildpacks("5f1b"))]), ..ImageFacts::default() }, "run:base"),
        (
            ImageFacts { labels: entries(&[(BUILDPACKS, "{}"), (BASE_NAME, "alpine:3")]), ..ImageFacts::default() },
            "alpine:3",
        ),
    ] {
        assert_eq!(named_base(&image).map(|base| base.name), Ok(name.to_owned()));
        assert!(base_of(&image).is_err(), "{name}");
    }
    for image in [ImageFacts::default(), named("", ""), named("Debian", DIGEST), named("", DIGEST)] {
        let reason = named_base(&image).unwrap_err();
        assert!(
            reason.ends_with(&format!("; set the annotations `{BASE_NAME}` and `{BASE_DIGEST}` in its build")),
            "{reason}"
        );
    }
}

fn built_by_buildkit(info: &Value) -> ImageFacts {
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, info.to_string());
    ImageFacts { build_info: Some(encoded), ..ImageFacts::default() }
}

#[test]
fn buildkit_names_the_base_if_its_build_information_leaves_no_doubt() {
    let source = |reference: &str, pin: &str| json!({"type": "docker-image", "ref": reference, "pin": pin});
    let debian = source("docker.io/library/debian:12", DIGEST);
    let git = json!({"type": "git", "ref": "https://git.example.com/app.git#main", "pin": "259a5aa5aa5b"});
    let only = json!({"frontend": "dockerfile.v0", "sources": [git, debian]});
    assert_eq!(base_of(&built_by_buildkit(&only)), on("docker.io/library/debian:12", DIGEST));

    let other = source("docker.io/library/golang:1.19", OTHER);
    for (case, info) in [
        ("two stages", json!({"sources": [debian, other]})),
        ("an image of another build", json!({"sources": [debian], "deps": {"base": {"sources": [other]}}})),
        ("no image", json!({"sources": [git]})),
        ("nothing", json!({})),
        ("another structure", json!({"sources": "debian"})),
        ("an invalid reference", json!({"sources": [source("Debian", DIGEST)]})),
        ("an invalid digest", json!({"sources": [source("debian:12", "sha256:1")]})),
    ] {
        let reason = base_of(&built_by_buildkit(&info)).unwrap_err();
        assert!(reason.starts_with("does not say what it was built on"), "{case}: {reason}");
    }
    let garbage = ImageFacts { build_info: Some("{}".to_owned()), ..ImageFacts::default() };
    assert!(base_of(&garbage).is_err());
}

#[test]
fn an_explicit_base_comes_before_build_information_and_one_without_a_digest_after_it() {
    let info = json!({"sources": [{"type": "docker-image", "ref": "docker.io/library/debian:12", "pin": DIGEST}]});
    let complete =
        ImageFacts { labels: entries(&[(BASE_NAME, "alpine:3"), (BASE_DIGEST, OTHER)]), ..built_by_buildkit(&info) };
    assert_eq!(base_of(&complete), on("alpine:3", OTHER));
    let incomplete = ImageFacts { labels: entries(&[(BASE_NAME, "alpine:3")]), ..built_by_buildkit(&info) };
    assert_eq!(base_of(&incomplete), on("docker.io/library/debian:12", DIGEST));
}

#[test]
fn settings_that_images_avoid_by_not_naming_their_base_are_warned_about() {
    let warnings = |section: Value| {
        let json = serde_json::value::to_raw_value(&section).unwrap();
        let mut problems = Problems::default();
        BaseImage::read(&json, Path::Key(&Path::Root, "baseImage"), &mut problems).unwrap();
        assert!(problems.is_empty(), "a warning is not an error: {problems}");
        problems.warnings().to_vec()
    };
    let text = "images that do not name their base are admitted; set `unknown` to `deny`, or to `warn` to find them";
    for leaky in
        [json!({"allowed": ["cgr.dev/*"]}), json!({"allowed": ["cgr.dev/*"], "unknown": "allow", "action": "deny"})]
    {
        assert_eq!(warnings(leaky), [format!("baseImage.allowed: {text}")]);
    }
    for fine in [
        json!({}),
        json!({"allowed": []}),
        json!({"allowed": ["cgr.dev/*"], "unknown": "deny"}),
        json!({"allowed": ["cgr.dev/*"], "unknown": "warn"}),
        json!({"allowed": ["cgr.dev/*"], "action": "off"}),
    ] {
        assert_eq!(warnings(fine), [""; 0]);
    }
}
