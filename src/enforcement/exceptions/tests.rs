use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::codes;
use super::{Exception, Exceptions, Source, Waiver, Waivers as _};
use crate::finding::{Code, Effect, Violation};
use crate::rules::scan::VULNERABLE_IMAGE;
use crate::rules::schedule::STALE_IMAGE;
use crate::rules::waiver::{EXCEPTED, EXPIRED_EXCEPTION};
use crate::settings::Settings;

/// The tests of rules have their exceptions in a list.
impl Source for Vec<Exception> {
    fn exceptions_for(&self, normalized: &str) -> Vec<&Exception> {
        self.iter().filter(|exception| exception.images.matches(normalized)).collect()
    }
}

fn settings(exceptions: Value) -> Result<Settings, Vec<String>> {
    let json = serde_json::value::to_raw_value(&json!({ "exceptions": exceptions })).unwrap();
    Settings::from_json(&json).map_err(|problems| problems.lines().to_vec())
}

fn exceptions(exceptions: Value) -> Vec<Exception> {
    settings(exceptions).unwrap().general.exceptions
}

fn at(time: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(time).unwrap().to_utc()
}

fn stale() -> Violation {
    Violation { code: STALE_IMAGE, effect: Effect::Deny, text: "was built 2026-07-01; deploy a newer build".to_owned() }
}

fn applied(all: &Vec<Exception>, time: &str, violation: Violation) -> Vec<(Code, Effect, String)> {
    let exceptions = Exceptions::for_image(all, "docker.io/library/a:1", at(time));
    exceptions
        .apply(violation)
        .into_iter()
        .map(|violation| (violation.code, violation.effect, violation.text))
        .collect()
}

fn waiver<'e>(exceptions: &'e Exceptions<'_>, id: &str, aliases: &[&str]) -> Option<Waiver<'e>> {
    let aliases: Vec<String> = aliases.iter().map(|alias| (*alias).to_owned()).collect();
    exceptions.for_vulnerability(id, &aliases)
}

#[test]
fn an_exception_is_in_force_until_the_last_second_of_its_day() {
    let all =
        exceptions(json!([{"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "SEC-42"}]));
    let excepted =
        "is excepted from stale-image until 2026-12-31 (SEC-42): it was built 2026-07-01; deploy a newer build";
    assert_eq!(applied(&all, "2026-12-31T23:59:59Z", stale()), [(EXCEPTED, Effect::Warn, excepted.to_owned())]);
    let ended = "was built 2026-07-01; deploy a newer build; its exception ended: 2026-12-31 (SEC-42)";
    let expired = "had an exception from stale-image, which has ended: 2026-12-31 (SEC-42); renew it, or remove it from `exceptions`";
    assert_eq!(
        applied(&all, "2027-01-01T00:00:00Z", stale()),
        [(STALE_IMAGE, Effect::Deny, ended.to_owned()), (EXPIRED_EXCEPTION, Effect::Warn, expired.to_owned())]
    );
}

#[test]
fn an_exception_may_end_at_a_time_of_day() {
    let all = exceptions(
        json!([{"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31T12:00:00+01:00", "reason": "x"}]),
    );
    assert_eq!(applied(&all, "2026-12-31T10:59:59Z", stale())[0].0, EXCEPTED);
    assert_eq!(applied(&all, "2026-12-31T11:00:00Z", stale())[0].0, STALE_IMAGE);
}

#[test]
fn an_exception_covers_what_it_names_and_nothing_else() {
    let all = exceptions(json!([
        {"images": ["quay.io/*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "other images"},
        {"images": ["*"], "rules": ["unpinned-image"], "until": "2026-12-31", "reason": "another finding"},
        {"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "a vulnerability"},
    ]));
    assert_eq!(applied(&all, "2026-12-01T00:00:00Z", stale())[0].0, STALE_IMAGE);
}

#[test]
fn an_exception_in_force_comes_before_one_that_has_ended() {
    let all = exceptions(json!([
        {"images": ["*"], "rules": ["stale-image"], "until": "2026-10-31", "reason": "old"},
        {"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "new"},
    ]));
    assert!(applied(&all, "2026-12-01T00:00:00Z", stale())[0].2.contains("(new)"));
    let ended = applied(&all, "2027-12-01T00:00:00Z", stale());
    assert!(ended[0].2.ends_with("2026-12-31 (new)"), "the one that ended last is reported: {ended:?}");
}

#[test]
fn a_vulnerability_is_matched_by_any_of_its_ids() {
    let all = exceptions(json!([{"images": ["*"], "cves": ["cve-2026-0001"], "until": "2026-12-31", "reason": "x"}]));
    let exceptions = Exceptions::for_image(&all, "docker.io/library/a:1", at("2026-12-01T00:00:00Z"));
    assert!(matches!(waiver(&exceptions, "CVE-2026-0001", &[]), Some(Waiver::InForce(terms)) if terms.reason == "x"));
    assert!(waiver(&exceptions, "GHSA-2c4m-59x9-fr2g", &["CVE-2026-0001"]).is_some());
    assert!(waiver(&exceptions, "ELSA-2026-0001", &["CVE-2026-0001", "CVE-2026-0002"]).is_none());
    assert!(waiver(&exceptions, "CVE-2026-00010", &[]).is_none());
}

#[test]
fn an_advisory_is_covered_if_each_of_its_vulnerabilities_is_covered() {
    let both = |until: &str| {
        exceptions(json!([
            {"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "x"},
            {"images": ["*"], "cves": ["CVE-2026-0002"], "until": until, "reason": "y"},
        ]))
    };
    let is_covered = |all: &Vec<Exception>| {
        let exceptions = Exceptions::for_image(all, "docker.io/library/a:1", at("2026-12-01T00:00:00Z"));
        let aliases = ["CVE-2026-0001", "CVE-2026-0002"];
        matches!(waiver(&exceptions, "ELSA-2026-0001", &aliases), Some(Waiver::InForce(_)))
    };
    assert!(is_covered(&both("2026-12-31")));
    assert!(!is_covered(&both("2026-11-30")), "one of them has ended");
}

#[test]
fn an_exception_for_some_vulnerabilities_does_not_cover_all_of_an_image() {
    let all = exceptions(json!([
        {"images": ["*"], "rules": ["vulnerable-image", "stale-image"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "x"},
    ]));
    let violation = Violation { code: VULNERABLE_IMAGE, ..stale() };
    assert_eq!(applied(&all, "2026-12-01T00:00:00Z", violation)[0].0, VULNERABLE_IMAGE);
    assert_eq!(applied(&all, "2026-12-01T00:00:00Z", stale())[0].0, EXCEPTED);
}

#[test]
fn an_exception_needs_an_end_a_reason_and_something_to_cover() {
    let problems = settings(json!([
        {"images": ["*"], "rules": ["stale-image"]},
        {"images": ["*"], "until": "2026-12-31", "reason": "x"},
        {"images": ["*"], "rules": [], "cves": [], "until": "2026-12-31", "reason": " "},
        {"images": ["*"], "rules": ["stale-imgae", "invalid-reference", "zzz"], "until": "tomorrow", "reason": "x"},
        {"images": ["*"], "cves": ["CVE-2026", "openssl", "GHSA-1", 7], "until": "2026-02-30", "reason": "x"},
    ]))
    .unwrap_err();
    let codes = codes::exceptable().into_iter().map(Code::as_str).collect::<Vec<_>>().join(", ");
    assert_eq!(
        problems,
        [
            "exceptions[0]: `until` is required",
            "exceptions[0]: `reason` is required",
            "exceptions[1]: the exception covers nothing; list findings in `rules`, vulnerabilities in `cves`, or both",
            "exceptions[2]: the exception covers nothing; list findings in `rules`, vulnerabilities in `cves`, or both",
            "exceptions[2].reason: cannot be empty",
            "exceptions[3].until: invalid date `tomorrow`; write the last day, such as `2026-12-31`, or an RFC 3339 time",
            "exceptions[3].rules[0]: unknown finding code `stale-imgae`; did you mean `stale-image`?",
            "exceptions[3].rules[1]: `invalid-reference` cannot be excepted",
            &format!("exceptions[3].rules[2]: unknown finding code `zzz`; the codes are {codes}"),
            "exceptions[4].until: invalid date `2026-02-30`; write the last day, such as `2026-12-31`, or an RFC 3339 time",
            "exceptions[4].cves[0]: invalid vulnerability id `CVE-2026`; write it as the scanner does, such as `CVE-2026-12345` or `GHSA-2c4m-59x9-fr2g`",
            "exceptions[4].cves[1]: invalid vulnerability id `openssl`; write it as the scanner does, such as `CVE-2026-12345` or `GHSA-2c4m-59x9-fr2g`",
            "exceptions[4].cves[2]: invalid vulnerability id `GHSA-1`; write it as the scanner does, such as `CVE-2026-12345` or `GHSA-2c4m-59x9-fr2g`",
            "exceptions[4].cves[3]: expected a vulnerability id such as `CVE-2026-12345`, found a number; put it in quotes: \"7\"",
        ]
    );
}

#[test]
fn an_exception_that_has_ended_is_a_valid_setting() {
    assert!(
        settings(json!([{"images": ["*"], "rules": ["stale-image"], "until": "2001-01-01", "reason": "x"}])).is_ok()
    );
}

#[test]
fn the_vulnerability_ids_of_scanners_are_accepted() {
    for id in [
        "CVE-2026-0001",
        "CVE-2021-1234567",
        "cve-2021-44228",
        "GHSA-2c4m-59x9-fr2g",
        "RHSA-2026:1234",
        "DLA-3942-1",
        "GO-2024-2611",
        "PYSEC-2024-48",
        "RUSTSEC-2024-0001",
        "TEMP-0841856-B18BAF",
        "ALAS2023-2024-100",
        "SUSE-SU-2024:0123-1",
    ] {
        assert!(super::is_vulnerability_id(id), "{id}");
    }
    for id in [
        "",
        "CVE-",
        "CVE-26-0001",
        "CVE-2026-001",
        "CVE-2026-12 45",
        "CVE-2026-12é45",
        "GHSA-2c4m-59x9",
        "DSA-x",
        "CVE",
    ] {
        assert!(!super::is_vulnerability_id(id), "{id}");
    }
}
