use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{RECORDED_AT, Soaks, Times};
use crate::calendar::zone::Zone;
use crate::config::read::{Path, Problems, Setting};
use crate::evidence::Evidence;
use crate::evidence::build::{Build, Builds};
use crate::evidence::build_date::BuildDate;
use crate::evidence::registry::{EvidenceGap, ImageFacts};
use crate::finding::{Effect, Violation};
use crate::host::in_memory::InMemory;
use crate::rules::RuleAnnotations;
use crate::rules::rollout::settings::Rollout;

/// A Friday.
const NOW: &str = "2026-11-20T12:00:00Z";
const RECORD: &str = "ConfigMap staging/images";
const SECOND: &str = "ConfigMap other/images";

/// A digest of one hexadecimal digit.
fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn key(digit: char) -> String {
    digest(digit).replace(':', "-")
}

fn world() -> InMemory {
    InMemory::at(NOW)
}

/// A record with these entries, by the digit of their digests.
fn record(entries: &[(char, Value)]) -> Result<Value, String> {
    let text = |entry: &Value| entry.as_str().map_or_else(|| entry.to_string(), str::to_owned);
    let data: serde_json::Map<String, Value> =
        entries.iter().map(|(digit, entry)| (key(*digit), json!(text(entry)))).collect();
    Ok(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "images"}, "data": data}))
}

/// The settings of the rule. `for` is a day.
fn settings(rollout: Value) -> Rollout {
    let json = serde_json::value::to_raw_value(&rollout).unwrap();
    let mut problems = Problems::default();
    Rollout::read(&json, Path::Root, &mut problems).unwrap_or_else(|| panic!("{problems}"))
}

fn one_record() -> Rollout {
    settings(json!({"soak": {"configMaps": [{"namespace": "staging", "name": "images"}]}}))
}

fn two_records() -> Rollout {
    settings(json!({"soak": {"configMaps": [
        {"namespace": "staging", "name": "images"}, {"namespace": "other", "name": "images"},
    ]}}))
}

/// An image with these digests of its manifest and its configuration.
fn build(platform: Option<&str>, manifest: &str, config: &str) -> Build {
    let facts = ImageFacts {
        digest: Some(manifest.to_owned()),
        config_digest: Some(config.to_owned()),
        ..ImageFacts::default()
    };
    Build { platform: platform.map(str::to_owned), facts: Rc::new(facts), built: BuildDate::Unknown(None) }
}

fn builds(builds: Vec<Build>) -> Builds {
    Builds { builds, missing_platforms: Vec::new(), gap: None }
}

/// A single image with the manifest `a` and the configuration `b`.
fn single() -> (String, Builds) {
    (digest('a'), builds(vec![build(None, &digest('a'), &digest('b'))]))
}

/// An index `1` with two images: the manifest `a` with the configuration `b`, and the manifest `c` with the configuration `d`.
fn index() -> (String, Builds) {
    let amd64 = build(Some("linux/amd64"), &digest('a'), &digest('b'));
    (digest('1'), builds(vec![amd64, build(Some("linux/arm64"), &digest('c'), &digest('d'))]))
}

fn judged(
    settings: &Rollout,
    host: &InMemory,
    (digest, builds): &(String, Builds),
    failures: Effect,
) -> Option<Violation> {
    let now = crate::host::Host::now(host);
    let mut evidence = Evidence::new::<RuleAnnotations>(host, &[], now, failures);
    let (soak, effect) = (settings.soak.as_ref()?, settings.action.effect()?);
    let mut soaks = Soaks::default();
    let first = soaks.judge((soak, effect), (Some(digest), builds), utc(), Some("shop"), &mut evidence);
    let asked = host.asked().len();
    assert_eq!(
        soaks.judge((soak, effect), (Some(digest), builds), utc(), Some("shop"), &mut evidence),
        first,
        "another container"
    );
    assert_eq!(host.asked().len(), asked, "the image of another container is not asked for again");
    first
}

static UTC: Zone = Zone::UTC;

fn in_utc(time: DateTime<Utc>) -> String {
    Zone::UTC.rfc3339(time)
}

/// Times in UTC, without windows and freezes.
fn utc() -> Times<'static> {
    Times { zone: &UTC, admitted_from: &in_utc }
}

/// The message about an image, `None` if it is admitted.
fn message(host: &InMemory, image: &(String, Builds)) -> Option<String> {
    message_by(&one_record(), host, image)
}

fn message_by(settings: &Rollout, host: &InMemory, image: &(String, Builds)) -> Option<String> {
    let violation = judged(settings, host, image, Effect::Deny)?;
    assert_eq!((violation.code.as_str(), violation.effect), ("not-soaked", Effect::Deny), "{}", violation.text);
    Some(violation.text)
}

#[test]
fn an_image_is_admitted_as_soon_as_it_has_run_in_staging_for_long_enough() {
    let details = "(ConfigMap `staging/images`: `shop/Deployment/app`)";
    for (since, until, expected) in [
        ("2026-11-19T12:00:00Z", None, None),
        ("2026-11-19T13:00:00+01:00", None, None),
        ("1980-01-01T00:00:00Z", None, None),
        (
            "2026-11-19T12:00:01Z",
            None,
            Some(
                "has run in staging for 23 hours and must run there for 1 day; deploy it on or after 2026-11-20T12:00:01Z",
            ),
        ),
        (
            "2026-11-20T10:58:00Z",
            None,
            Some(
                "has run in staging for 62 minutes and must run there for 1 day; deploy it on or after 2026-11-21T10:58:00Z",
            ),
        ),
        (
            "2026-11-20T11:59:30Z",
            None,
            Some(
                "has run in staging for less than a minute and must run there for 1 day; deploy it on or after 2026-11-21T11:59:30Z",
            ),
        ),
        // The clock of the recorder is ahead.
        (
            "2026-11-20T12:05:00Z",
            None,
            Some(
                "has run in staging for less than a minute and must run there for 1 day; deploy it on or after 2026-11-21T12:05:00Z",
            ),
        ),
        // It has left staging.
        ("2026-11-10T12:00:00Z", Some("2026-11-11T12:00:00Z"), None),
        (
            "2026-11-10T12:00:00Z",
            Some("2026-11-11T11:59:59Z"),
            Some(
                "ran in staging for 23 hours until 2026-11-11T11:59:59Z and must run there for 1 day; deploy it there again",
            ),
        ),
        (
            "2026-11-10T12:00:00Z",
            Some("2026-11-10T12:00:00Z"),
            Some(
                "ran in staging for less than a minute until 2026-11-10T12:00:00Z and must run there for 1 day; deploy it there again",
            ),
        ),
    ] {
        let mut entry = json!({"since": since, "where": "shop/Deployment/app", "ready": 3});
        if let Some(until) = until {
            entry["until"] = json!(until);
        }
        let host = world().answer("get", RECORD, record(&[('a', entry.clone()), ('f', json!({"since": NOW}))]));
        let expected = expected.map(|text| format!("{text} {details}"));
        assert_eq!(message(&host, &single()), expected, "{entry}");
    }
}

#[test]
fn an_image_without_an_entry_must_be_deployed_to_staging_first() {
    let text = "has not run in staging, where it must run for 1 day; deploy it there first";
    for (answer, details) in [
        (record(&[]), "ConfigMap `staging/images` has no entry for it"),
        (record(&[('f', json!({"since": "2026-01-01T00:00:00Z"}))]), "ConfigMap `staging/images` has no entry for it"),
        (Ok(json!({"metadata": {"name": "images"}})), "ConfigMap `staging/images` has no entry for it"),
        (Ok(json!({"metadata": {"name": "images"}, "data": null})), "ConfigMap `staging/images` has no entry for it"),
    ] {
        let host = world().answer("get", RECORD, answer);
        assert_eq!(message(&host, &single()), Some(format!("{text} ({details})")));
    }
    assert_eq!(message(&world(), &single()), Some(format!("{text} (ConfigMap `staging/images` does not exist)")));
}

#[test]
fn an_entry_that_cannot_be_true_does_not_count_and_the_message_has_the_reason() {
    for (entry, cause) in [
        (json!(""), "it is invalid: EOF while parsing a value"),
        (json!("true"), "it is invalid: invalid type: boolean `true`, expected an object"),
        (json!("[\"2026-11-01T00:00:00Z\", null, null]"), "it is invalid: invalid type: sequence, expected an object"),
        (json!("{\"since\": 1}"), "it is invalid: invalid type: integer `1`, expected a string"),
        (json!({"until": NOW}), "it is invalid: missing field `since`"),
        (
            json!("{\"since\": \"2026-11-20T11:00:00Z\", \"since\": \"2026-01-01T00:00:00Z\"}"),
            "it is invalid: duplicate field `since`",
        ),
        (json!({"since": "yesterday"}), "`since` is not an RFC 3339 time: `yesterday`"),
        (json!({"since": "2026-11-01"}), "`since` is not an RFC 3339 time: `2026-11-01`"),
        (json!({"since": "\u{1b}[2J\n"}), r"`since` is not an RFC 3339 time: `\u{1b}[2J\n`"),
        (json!({"since": "2026-11-20T12:05:01Z"}), "`since` is in the future: 2026-11-20T12:05:01Z"),
        (json!({"since": "9999-12-31T23:59:59Z"}), "`since` is in the future: 9999-12-31T23:59:59Z"),
        (json!({"since": "1979-12-31T23:59:59Z"}), "`since` is before 1980: 1979-12-31T23:59:59Z"),
        (json!({"since": "0001-01-01T00:00:00Z"}), "`since` is before 1980: 0001-01-01T00:00:00Z"),
        (json!({"since": "2026-11-01T00:00:00Z", "until": "2026-10-31T00:00:00Z"}), "`until` is before `since`"),
        (
            json!({"since": "2026-11-20T11:00:00Z", "until": "2027-01-01T00:00:00Z"}),
            "`until` is in the future: 2027-01-01T00:00:00Z",
        ),
        (json!({"since": "2026-11-01T00:00:00Z", "until": ""}), "`until` is not an RFC 3339 time: ``"),
    ] {
        let host = world().answer("get", RECORD, record(&[('a', entry.clone())]));
        let expected = format!(
            "must run in staging for 1 day, and how long it has run is unknown; renew the record with `container-patch soak` (its \
             entry in ConfigMap `staging/images` does not count: {cause}"
        );
        let text = message(&host, &single()).unwrap();
        assert!(text.starts_with(&expected), "{entry}\nexpected: {expected}\nfound:    {text}");
        // The entry for the configuration of the same image counts.
        let soaked = json!({"since": "2026-11-01T00:00:00Z"});
        let host = world().answer("get", RECORD, record(&[('a', entry.clone()), ('b', soaked)]));
        assert_eq!(message(&host, &single()), None, "{entry}");
    }
}

#[test]
fn a_record_that_is_not_renewed_counts_for_an_hour_only() {
    let recorded = |at: &str, entry: Value| {
        let mut record = record(&[('a', entry)]).unwrap();
        record["metadata"]["annotations"] = json!({RECORDED_AT: at});
        message(&world().answer("get", RECORD, Ok(record)), &single())
    };
    let running = |since: &str| json!({"since": since, "where": "shop/Deployment/web"});
    assert_eq!(recorded("2026-11-20T11:00:00Z", running("2026-11-19T12:00:00Z")), None);
    assert_eq!(recorded("2026-11-19T12:00:00Z", running("2026-11-18T13:00:00Z")), None, "24 hours until 13:00");
    let expected = "has run in staging for 22 hours, according to the record of 2026-11-20T10:59:59Z, and must run there for 1 day; \
        renew the record with `container-patch soak` (ConfigMap `staging/images`: `shop/Deployment/web`)";
    assert_eq!(recorded("2026-11-20T10:59:59Z", running("2026-11-19T13:00:00Z")).as_deref(), Some(expected));
    let left = json!({"since": "2026-11-10T12:00:00Z", "until": "2026-11-12T12:00:00Z"});
    assert_eq!(recorded("2026-11-13T12:00:00Z", left), None, "it ran for two days");
    for at in ["2026-11-20T12:06:00Z", "yesterday", ""] {
        let message = recorded(at, running("2026-11-01T00:00:00Z")).unwrap();
        assert!(message.contains("does not count: `container-patch.dev/recorded-at` is "), "{message}");
    }
}

#[test]
fn an_image_is_found_by_the_digest_of_its_index_its_manifest_or_its_configuration() {
    let soaked = || json!({"since": "2026-11-01T00:00:00Z"});
    let by = |digits: &[char], image: &(String, Builds)| {
        let entries: Vec<(char, Value)> = digits.iter().map(|digit| (*digit, soaked())).collect();
        message(&world().answer("get", RECORD, record(&entries)), image)
    };
    for digits in [&['a'][..], &['b'], &['a', 'b']] {
        assert_eq!(by(digits, &single()), None, "{digits:?}");
    }
    for digits in [&['1'][..], &['a', 'c'], &['a', 'd'], &['b', 'c'], &['b', 'd'], &['1', 'a']] {
        assert_eq!(by(digits, &index()), None, "{digits:?}");
    }
    for digits in [&[][..], &['2'], &['e', 'f']] {
        assert!(by(digits, &index()).is_some(), "{digits:?}");
    }
}

#[test]
fn a_new_index_around_an_image_that_has_soaked_is_refused() {
    let soaked = json!({"since": "2026-11-01T00:00:00Z"});
    let host = |entries: &[(char, Value)]| world().answer("get", RECORD, record(entries));
    let text = "(linux/arm64) has not run in staging, where it must run for 1 day; deploy it there first";
    assert_eq!(message(&host(&[('a', soaked.clone())]), &index()).as_deref(), Some(text));
    // Of two images, the one that is ready last decides.
    let young = json!({"since": "2026-11-20T08:00:00Z"});
    assert_eq!(
        message(&host(&[('a', soaked.clone()), ('c', young)]), &index()).as_deref(),
        Some(
            "(linux/arm64) has run in staging for 4 hours and must run there for 1 day; deploy it on or after 2026-11-21T08:00:00Z \
             (ConfigMap `staging/images`)"
        )
    );
    let left = json!({"since": "2026-11-18T08:00:00Z", "until": "2026-11-18T10:00:00Z"});
    assert_eq!(
        message(&host(&[('a', soaked.clone()), ('c', left)]), &index()).as_deref(),
        Some(
            "(linux/arm64) ran in staging for 2 hours until 2026-11-18T10:00:00Z and must run there for 1 day; deploy it there again \
             (ConfigMap `staging/images`)"
        )
    );
    // The registry does not answer about the other image, or the index has an entry that cannot be judged.
    for gap in [EvidenceGap::NoAnswer("no".to_owned()), EvidenceGap::UnsupportedIndex("no".to_owned())] {
        let (own, mut known) = index();
        known.builds.truncate(1);
        known.gap = Some(gap);
        let image = (own, known);
        let text = "has not run in staging, where it must run for 1 day; deploy it there first (not all images of its index are known)";
        assert_eq!(message(&host(&[('a', soaked.clone())]), &image).as_deref(), Some(text));
        assert_eq!(message(&host(&[('1', soaked.clone())]), &image), None, "the index itself has soaked");
    }
}

#[test]
fn the_longest_run_counts_and_runs_are_not_added_up() {
    let run = |since: &str| json!({"since": since, "where": "shop/Deployment/app"});
    let left = |since: &str, until: &str| json!({"since": since, "until": until});
    let host = |first: Value, second: Value| {
        world().answer("get", RECORD, record(&[('a', first)])).answer("get", SECOND, record(&[('a', second)]))
    };
    let judged = |first, second| message_by(&two_records(), &host(first, second), &single());
    let (short, long) = (run("2026-11-20T06:00:00Z"), run("2026-11-01T00:00:00Z"));
    assert_eq!(judged(short.clone(), long.clone()), None);
    assert_eq!(judged(long, short.clone()), None);
    let halves = [("2026-11-18T00:00:00Z", "2026-11-18T16:00:00Z"), ("2026-11-19T00:00:00Z", "2026-11-19T18:00:00Z")];
    let [first, second] = halves.map(|(since, until)| left(since, until));
    assert_eq!(
        judged(first.clone(), second).as_deref(),
        Some(
            "ran in staging for 18 hours until 2026-11-19T18:00:00Z and must run there for 1 day; deploy it there again \
             (ConfigMap `other/images`)"
        )
    );
    // The image still runs according to one of them.
    let text = "has run in staging for 6 hours and must run there for 1 day; deploy it on or after 2026-11-21T06:00:00Z \
                (ConfigMap `other/images`: `shop/Deployment/app`)";
    assert_eq!(judged(first, short).as_deref(), Some(text));
}

#[test]
fn the_next_config_map_is_read_only_if_the_earlier_ones_do_not_suffice() {
    let soaked = record(&[('a', json!({"since": "2026-11-01T00:00:00Z"}))]);
    let host = world().answer("get", RECORD, soaked.clone()).answer("get", SECOND, soaked.clone());
    assert_eq!(message_by(&two_records(), &host, &single()), None);
    assert_eq!(host.asked(), ["get ConfigMap staging/images"]);
    let host = world().answer("get", SECOND, soaked);
    assert_eq!(message_by(&two_records(), &host, &single()), None);
    assert_eq!(host.asked(), ["get ConfigMap staging/images", "get ConfigMap other/images"]);
    assert_eq!(
        message_by(&two_records(), &world().answer("get", RECORD, record(&[])), &single()).as_deref(),
        Some(
            "has not run in staging, where it must run for 1 day; deploy it there first (ConfigMap `staging/images` has no entry for \
             it; ConfigMap `other/images` does not exist)"
        )
    );
}

#[test]
fn a_config_map_that_cannot_be_read_is_missing_evidence_unless_another_one_admits_the_image() {
    let forbidden = || Err("Host error: ApiError: configmaps \"images\" is forbidden".to_owned());
    let cause = "could not be verified: let policy-server read it, kubectl apply -f deploy/soak/reader.yaml: ConfigMap \
                 `staging/images` cannot be read: ApiError: configmaps \"images\" is forbidden";
    let broken = "could not be verified: ConfigMap `staging/images` cannot be read: ";
    let second = |entries: &[(char, Value)]| record(entries);
    let admitted = json!({"since": "2026-11-01T00:00:00Z"});
    for (first, expected) in [
        (forbidden(), cause),
        (Ok(json!([])), broken),
        (Ok(json!({"data": []})), broken),
        (Ok(json!({"data": {key('a'): 3}})), broken),
    ] {
        for (failures, effect) in [(Effect::Deny, Effect::Deny), (Effect::Warn, Effect::Warn)] {
            let host = world().answer("get", RECORD, first.clone()).answer("get", SECOND, second(&[]));
            let violation = judged(&two_records(), &host, &single(), failures).unwrap();
            assert_eq!((violation.code.as_str(), violation.effect), ("evidence-unavailable", effect));
            assert!(violation.text.starts_with(expected), "{}", violation.text);
        }
        let host = world().answer("get", RECORD, first).answer("get", SECOND, second(&[('a', admitted.clone())]));
        assert_eq!(judged(&two_records(), &host, &single(), Effect::Deny), None);
    }
}

#[test]
fn lenient_evidence_errors_do_not_admit_what_a_readable_config_map_does_not_name() {
    for host in [
        world(),
        world().answer("get", RECORD, record(&[])),
        world().answer("get", RECORD, record(&[('a', json!("garbage"))])),
        world().answer("get", RECORD, record(&[('a', json!({"since": "2027-01-01T00:00:00Z"}))])),
    ] {
        let violation = judged(&one_record(), &host, &single(), Effect::Warn).unwrap();
        assert_eq!((violation.code.as_str(), violation.effect), ("not-soaked", Effect::Deny));
    }
}

#[test]
fn a_config_map_in_the_namespace_of_the_workload_does_not_count() {
    let soaked = || record(&[('a', json!({"since": "2026-11-01T00:00:00Z"}))]);
    let message = |namespace: Option<&str>, host: &InMemory| {
        let mut evidence = Evidence::new::<RuleAnnotations>(host, &[], crate::host::Host::now(host), Effect::Deny);
        let (digest, builds) = single();
        let settings = two_records();
        let soak = (settings.soak.as_ref().unwrap(), Effect::Deny);
        let image = (Some(digest.as_str()), &builds);
        let violation = Soaks::default().judge(soak, image, utc(), namespace, &mut evidence)?;
        assert_eq!((violation.code.as_str(), violation.effect), ("not-soaked", Effect::Deny));
        Some(violation.text)
    };
    let host = || world().answer("get", RECORD, soaked()).answer("get", SECOND, record(&[]));
    assert_eq!(message(None, &host()), None);
    assert_eq!(message(Some("shop"), &host()), None);
    let own = host();
    assert_eq!(
        message(Some("staging"), &own).as_deref(),
        Some(
            "has not run in staging, where it must run for 1 day; deploy it there first (ConfigMap `staging/images` does not count for \
             workloads in its own namespace; ConfigMap `other/images` has no entry for it)"
        )
    );
    assert_eq!(own.asked(), ["get ConfigMap other/images"]);
    assert_eq!(message(Some("staging"), &host().answer("get", SECOND, soaked())), None, "another one counts");
}

#[test]
fn a_digest_that_is_not_a_key_is_not_requested() {
    let hidden = format!("sha256:{}.data", "a".repeat(59));
    for own in [format!("sha512:{}", "a".repeat(128)), hidden.clone(), format!("sha256:{}", "A".repeat(64))] {
        let image = (own.clone(), builds(vec![build(None, &own, &hidden)]));
        let host = world().answer("get", RECORD, record(&[('a', json!({"since": "2026-11-01T00:00:00Z"}))]));
        let text = "has not run in staging, where it must run for 1 day; deploy it there first (a record names images by sha256 digests)";
        assert_eq!(message(&host, &image).as_deref(), Some(text));
        assert_eq!(host.asked(), [""; 0], "a question without fields would get the whole record");
    }
}

#[test]
fn only_the_entries_of_the_image_are_read_from_a_record_of_1_mib() {
    let entry = json!({"since": "2026-11-01T00:00:00Z", "where": "shop/Deployment/app"}).to_string();
    let mut data = serde_json::Map::new();
    while data.len() * (entry.len() + 71) < 1 << 20 {
        data.insert(format!("sha256-{:064x}", data.len()), json!(entry));
    }
    assert!(data.len() > 5_000, "{}", data.len());
    let with = |data: &serde_json::Map<String, Value>| {
        world().answer("get", RECORD, Ok(json!({"metadata": {"name": "images"}, "data": data})))
    };
    assert!(message(&with(&data), &single()).is_some());
    data.insert(key('b'), json!(entry));
    assert_eq!(message(&with(&data), &single()), None);
    // An entry that fills the ConfigMap.
    let long = "x".repeat(1 << 20);
    for entry in [json!(long), json!({"since": long}), json!({"since": NOW, "where": long})] {
        let host = world().answer("get", RECORD, record(&[('a', entry)]));
        let text = message(&host, &single()).unwrap();
        assert!(text.len() < 500, "{}", text.len());
    }
}

#[test]
fn the_workload_in_a_record_is_escaped_in_messages() {
    let entry = json!({"since": "2026-11-20T08:00:00Z", "where": "a\n\u{202e}\u{1b}[31mb"});
    let text = message(&world().answer("get", RECORD, record(&[('a', entry)])), &single()).unwrap();
    assert!(text.ends_with(r"(ConfigMap `staging/images`: `a\n\u{202e}\u{1b}[31mb`)"), "{text}");
}

#[test]
fn times_in_messages_are_in_the_time_zone_of_the_calendar() {
    let host = world().answer("get", RECORD, record(&[('a', json!({"since": "2026-11-20T08:00:00Z"}))]));
    let now = crate::host::Host::now(&host);
    let mut evidence = Evidence::new::<RuleAnnotations>(&host, &[], now, Effect::Deny);
    let json = serde_json::value::to_raw_value("Europe/Berlin").unwrap();
    let berlin = Zone::read(&json, Path::Root, &mut Problems::default()).unwrap();
    let (own, builds) = single();
    let settings = one_record();
    let soak = (settings.soak.as_ref().unwrap(), Effect::Deny);
    let violation = Soaks::default()
        .judge(
            soak,
            (Some(&own), &builds),
            Times { zone: &berlin, admitted_from: &|time| berlin.rfc3339(time) },
            None,
            &mut evidence,
        )
        .unwrap();
    assert!(violation.text.contains("deploy it on or after 2026-11-21T09:00:00+01:00"), "{}", violation.text);
}

#[test]
fn the_action_is_the_effect_and_without_settings_nothing_is_asked() {
    let soak = json!({"configMaps": [{"namespace": "staging", "name": "images"}]});
    for (rollout, expected) in [
        (json!({"soak": soak}), Some(Effect::Deny)),
        (json!({"soak": soak, "action": "warn"}), Some(Effect::Warn)),
        (json!({"soak": soak, "action": "off"}), None),
        (json!({}), None),
    ] {
        let host = world();
        let violation = judged(&settings(rollout), &host, &single(), Effect::Deny);
        assert_eq!(violation.map(|violation| violation.effect), expected);
        assert_eq!(host.asked().is_empty(), expected.is_none());
    }
}

#[test]
fn invalid_settings_are_rejected_with_an_example() {
    let maps = |maps: Value| json!({"soak": {"configMaps": maps}});
    let one = || json!({"namespace": "staging", "name": "images"});
    let nine: Vec<Value> = (0..9).map(|_| one()).collect();
    for (rollout, expected) in [
        (json!({"soak": {}}), "soak: `configMaps` is required"),
        (
            maps(json!([])),
            "soak.configMaps: the list is empty; write a ConfigMap such as `{namespace: container-patch, name: soaked-images}`",
        ),
        (maps(json!(nine)), "soak.configMaps: expected at most 8 ConfigMaps, found 9"),
        (maps(one()), "soak.configMaps: expected a list, found an object"),
        (maps(json!(["staging/images"])), "soak.configMaps[0]: expected an object, found a string"),
        (maps(json!([{"name": "images"}])), "soak.configMaps[0]: `namespace` is required"),
        (maps(json!([{"namespace": "staging"}])), "soak.configMaps[0]: `name` is required"),
        (
            maps(json!([{"namespace": "Staging", "name": "images"}])),
            "soak.configMaps[0].namespace: invalid namespace name `Staging`; write one such as `team-a`",
        ),
        (
            maps(json!([{"namespace": "staging", "name": "soaked_images"}])),
            "soak.configMaps[0].name: invalid ConfigMap name `soaked_images`; write one such as `soaked-images`",
        ),
        (json!({"soak": {"configMaps": [one()], "for": "0h"}}), "soak.for: `0h` is zero; write at least `1s`"),
        (
            json!({"soak": {"configMaps": [one()], "until": "2d"}}),
            "soak.until: unknown key; expected one of configMaps, for",
        ),
    ] {
        let json = serde_json::value::to_raw_value(&rollout).unwrap();
        let mut problems = Problems::default();
        Rollout::read(&json, Path::Root, &mut problems);
        assert_eq!(problems.lines(), [expected], "{rollout}");
    }
    let longest = ["a".repeat(253), "a.b-c.d9".to_owned(), "9".to_owned()];
    for name in longest {
        settings(maps(json!([{"namespace": "staging", "name": name}])));
    }
    for name in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a/b", "Ä", &"a".repeat(254)] {
        let json = serde_json::value::to_raw_value(&maps(json!([{"namespace": "staging", "name": name}]))).unwrap();
        let mut problems = Problems::default();
        Rollout::read(&json, Path::Root, &mut problems);
        assert!(!problems.is_empty(), "{name}");
    }
}
