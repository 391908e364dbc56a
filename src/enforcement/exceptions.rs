//! Exceptions: findings that an admin lets pass for a time. Every exception ends, and says why.

use std::cell::OnceCell;
use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::evidence::scan::Vulnerability;
use crate::finding::{Code, Effect};
use crate::rules::Ruling;
use crate::settings::Images;
use crate::settings::read::{Path, Problems, Setting, nearest, read_string, section};
use crate::settings::shape::{Form, Limit, Shape, Text};
use crate::settings::value::{DAY, TIME_OF_DAY};
use crate::shown::Shown;

/// The findings that an exception can cover: those that rules have about an image. A reference that cannot be parsed is
/// none of them, because nobody can say which image it is.
const RULES: [Code; 16] = [
    Code::UnknownRegistry,
    Code::UnpinnedImage,
    Code::ForbiddenTag,
    Code::StaleImage,
    Code::PatchDue,
    Code::UnknownBuildDate,
    Code::FutureBuildDate,
    Code::OutdatedBaseImage,
    Code::BaseUpdateDue,
    Code::UnknownBaseImage,
    Code::ScanFlagged,
    Code::VulnerableImage,
    Code::PatchWindowOpen,
    Code::UnscannedImage,
    Code::StaleScan,
    Code::EvidenceUnavailable,
];

/// Prefixes of the names that advisories have in the databases of scanners, besides `CVE-` and `GHSA-`.
const ADVISORIES: [&str; 24] = [
    "ALAS-",
    "ALAS2-",
    "ALAS2023-",
    "ALPINE-",
    "ALSA-",
    "BIT-",
    "CGA-",
    "DLA-",
    "DSA-",
    "DTSA-",
    "ELSA-",
    "GMS-",
    "GO-",
    "MAL-",
    "NSWG-",
    "OSV-",
    "PYSEC-",
    "RHBA-",
    "RHSA-",
    "RLSA-",
    "RUSTSEC-",
    "SUSE-",
    "TEMP-",
    "USN-",
];

section! {
    /// Findings about some images that are let pass until some time.
    pub struct Exception {
        required {
            /// The images that the exception is for.
            "images" images: Images,
            /// When the exception ends. A date is its last day, to the last second, in UTC.
            "until" until: Until,
            /// Why it is made, for those who read the warning.
            "reason" reason: String,
        }
        /// The findings that it covers, by their codes. It can be any finding about an image but
        /// [`invalid-reference`](invalid-reference.md).
        "rules" rules: Vec<Rule> = Vec::new(),
        /// The vulnerabilities that it covers, by their ids. They are `CVE-…`, `GHSA-…`, or the id of an advisory (`RHSA-…`,
        /// `DLA-…`, `GO-…`), as the scanner names it; other names that the scanner gives are known, too.
        "cves" cves: Vec<VulnerabilityId> = Vec::new(),
    }
    limits {
        Limit::NotAllEmpty(&["rules", "cves"])
            => "it covers nothing; name findings in `rules`, vulnerabilities in `cves`, or both",
    }
}

/// The code of a finding that can be excepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule(Code);

/// The id of a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VulnerabilityId(String);

/// The end of an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    /// The first moment at which it is not in force.
    end: DateTime<Utc>,
    /// As it was written.
    written: String,
}

impl Setting for Rule {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "the code of a finding such as `stale-image`", problems)?;
        if let Some(code) = RULES.into_iter().find(|code| code.as_str() == text) {
            return Some(Self(code));
        }
        if Code::ALL.iter().any(|code| code.as_str() == text) {
            problems.push(at, format_args!("`{text}` cannot be excepted"));
            return None;
        }
        let codes = RULES.map(Code::as_str);
        let advice = match nearest(&text, &codes) {
            Some(code) => format!("did you mean `{code}`?"),
            None => format!("the codes are {}", codes.join(", ")),
        };
        problems.push(at, format_args!("`{text}` is no code of a finding; {advice}"));
        None
    }

    fn shape() -> Shape {
        let form = Form::OneOf(RULES.map(Code::as_str).to_vec());
        Shape::Text(Text { one: "code of a finding", many: "codes of findings", form })
    }

    fn written(&self) -> Value {
        self.0.as_str().into()
    }
}

impl Setting for VulnerabilityId {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "the id of a vulnerability such as `CVE-2026-12345`", problems)?;
        if !is_vulnerability_id(&text) {
            problems.push(
                at,
                format_args!(
                    "`{text}` is no id of a vulnerability; write it as the scanner does, `CVE-2026-12345` or \
                     `GHSA-2c4m-59x9-fr2g`"
                ),
            );
            return None;
        }
        Some(Self(text))
    }

    fn shape() -> Shape {
        let any_case = |prefix: &str| -> String {
            let either = |c: char| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase());
            prefix.chars().map(|c| if c.is_ascii_alphabetic() { either(c) } else { c.to_string() }).collect()
        };
        let advisories = ADVISORIES.map(any_case).join("|");
        let pattern = format!(
            "^({}[0-9]{{4}}-[0-9]{{4,}}|{}(-[0-9A-Za-z]{{4}}){{3}}|({advisories})[0-9A-Za-z_.:-]*[0-9][0-9A-Za-z_.:-]*)$",
            any_case("CVE-"),
            any_case("GHSA"),
        );
        Shape::text("id of a vulnerability", "ids of vulnerabilities", pattern)
    }

    fn written(&self) -> Value {
        self.0.as_str().into()
    }
}

fn is_vulnerability_id(text: &str) -> bool {
    let prefixed = |prefix: &str| {
        let (start, rest) = text.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    let digits = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(number) = prefixed("CVE-") {
        // CVE ids have a year, and a number of four digits or more.
        return number
            .split_once('-')
            .is_some_and(|(year, number)| year.len() == 4 && digits(year, 4) && digits(number, 4));
    }
    if let Some(parts) = prefixed("GHSA-") {
        let part = |part: &str| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return parts.split('-').count() == 3 && parts.split('-').all(part);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let advisory = ADVISORIES.iter().find_map(|prefix| prefixed(prefix));
    advisory.is_some_and(|rest| rest.bytes().any(|byte| byte.is_ascii_digit()) && rest.bytes().all(plain))
}

impl Setting for Until {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let written = read_string(json, at, "a date such as `2026-12-31`", problems)?;
        let midnight = |text: &str| DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z")).ok();
        let end = match midnight(&written) {
            Some(day) => day.date_naive().checked_add_days(Days::new(1)).map(start_of),
            None => DateTime::parse_from_rfc3339(&written).ok().map(|time| time.to_utc()),
        };
        let Some(end) = end else {
            problems.push(
                at,
                format_args!("`{written}` is no date; write the last day, `2026-12-31`, or a time by RFC 3339"),
            );
            return None;
        };
        Some(Self { end, written })
    }

    fn shape() -> Shape {
        Shape::text("date or RFC 3339 time", "dates or RFC 3339 times", format!("^{DAY}({TIME_OF_DAY})?$"))
    }

    fn written(&self) -> Value {
        self.written.as_str().into()
    }
}

fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// How an exception stands to a finding that it names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing<'s> {
    /// It lets the finding pass.
    InForce(&'s Exception),
    /// It did.
    Ended(&'s Exception),
}

/// Where exceptions come from.
pub trait Source {
    /// Those for the image of a normalised name.
    fn exceptions_for(&self, normalized: &str) -> Vec<&Exception>;
}

/// The exceptions for one image, at one time.
pub struct Exceptions<'s> {
    all: &'s dyn Source,
    image: &'s str,
    /// Most images need none.
    found: OnceCell<Vec<&'s Exception>>,
    now: DateTime<Utc>,
    /// Those that name vulnerabilities, by their ids in lower case. Reports may hold thousands, and so may settings, so
    /// neither is searched for each of the other.
    by_vulnerability: OnceCell<HashMap<String, Vec<&'s Exception>>>,
}

impl<'s> Exceptions<'s> {
    /// Those of all that are for the image of this normalised name.
    #[must_use]
    pub fn for_image(all: &'s dyn Source, normalized: &'s str, now: DateTime<Utc>) -> Self {
        Self { all, image: normalized, found: OnceCell::new(), now, by_vulnerability: OnceCell::new() }
    }

    /// They, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &'s Exception> {
        self.found().iter().copied()
    }

    /// How an exception stands to a vulnerability. An advisory about several vulnerabilities is covered when each of them is.
    #[must_use]
    pub fn of_vulnerability(&self, vulnerability: &Vulnerability) -> Option<Standing<'s>> {
        if self.found().is_empty() {
            return None;
        }
        let by_vulnerability = self.by_vulnerability.get_or_init(|| self.index());
        let named = |name: &str| self.standing(by_vulnerability.get(&name.to_ascii_lowercase())?);
        if let Some(standing) = named(&vulnerability.id) {
            return Some(standing);
        }
        let mut standings = vulnerability.aliases.iter().map(|alias| named(alias));
        let first = standings.next()??;
        standings.try_fold(first, |so_far, next| match (so_far, next?) {
            (Standing::InForce(_), next) => Some(next),
            (ended, _) => Some(ended),
        })
    }

    fn found(&self) -> &[&'s Exception] {
        self.found.get_or_init(|| self.all.exceptions_for(self.image))
    }

    fn index(&self) -> HashMap<String, Vec<&'s Exception>> {
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        for exception in self.found().iter().copied() {
            for VulnerabilityId(id) in &exception.cves {
                index.entry(id.to_ascii_lowercase()).or_default().push(exception);
            }
        }
        index
    }

    fn of_finding(&self, code: Code) -> Option<Standing<'s>> {
        let covering: Vec<_> = self.found().iter().copied().filter(|exception| exception.covers(code)).collect();
        self.standing(&covering)
    }

    /// An exception that is in force comes first, else the one that ended last.
    fn standing(&self, covering: &[&'s Exception]) -> Option<Standing<'s>> {
        let covering = || covering.iter().copied();
        let in_force = covering().find(|exception| self.now < exception.until.end).map(Standing::InForce);
        in_force.or_else(|| covering().max_by_key(|exception| exception.until.end).map(Standing::Ended))
    }

    /// What becomes of a ruling: it passes as a warning where an exception is in force, and says so where one has ended.
    #[must_use]
    pub fn apply(&self, mut ruling: Ruling) -> Vec<Ruling> {
        match self.of_finding(ruling.code) {
            None => vec![ruling],
            Some(Standing::InForce(exception)) => {
                let text = format!("is excepted from {} until {exception}: it {}", ruling.code, ruling.text);
                vec![Ruling { code: Code::Excepted, effect: Effect::Warn, text }]
            }
            Some(Standing::Ended(exception)) => {
                let expired = exception.expired(ruling.code.as_str());
                ruling.text = format!("{}; its exception ended: {exception}", ruling.text);
                vec![ruling, expired]
            }
        }
    }
}

impl Exception {
    /// Whether it covers a finding of this code. One that names vulnerabilities covers those, and not all of an image.
    fn covers(&self, code: Code) -> bool {
        let by_vulnerability = matches!(code, Code::VulnerableImage | Code::PatchWindowOpen);
        (self.cves.is_empty() || !by_vulnerability) && self.rules.contains(&Rule(code))
    }

    /// The warning that it has ended. `what` is what it covered.
    #[must_use]
    pub fn expired(&self, what: &str) -> Ruling {
        let text =
            format!("had an exception from {what}, which has ended: {self}; renew it, or take it out of `exceptions`");
        Ruling { code: Code::ExpiredException, effect: Effect::Warn, text }
    }
}

/// Shows when it ends, and why it was made.
impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.until.written, Shown(&self.reason))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::{Exception, Exceptions, Source, Standing};
    use crate::evidence::scan::{Severity, Vulnerability};
    use crate::finding::{Code, Effect};
    use crate::rules::Ruling;
    use crate::settings::Settings;

    /// Exceptions as the tests of rules have them.
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
        settings(exceptions).unwrap().exceptions
    }

    fn at(time: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(time).unwrap().to_utc()
    }

    fn stale() -> Ruling {
        Ruling {
            code: Code::StaleImage,
            effect: Effect::Deny,
            text: "was built 2026-07-01; deploy a newer build".to_owned(),
        }
    }

    fn applied(all: &Vec<Exception>, time: &str, ruling: Ruling) -> Vec<(Code, Effect, String)> {
        let exceptions = Exceptions::for_image(all, "docker.io/library/a:1", at(time));
        exceptions.apply(ruling).into_iter().map(|ruling| (ruling.code, ruling.effect, ruling.text)).collect()
    }

    fn vulnerability(id: &str, aliases: &[&str]) -> Vulnerability {
        Vulnerability {
            id: id.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            package: None,
            severity: Severity::Critical,
            fixed_in: None,
            published: None,
        }
    }

    #[test]
    fn an_exception_is_in_force_until_the_last_second_of_its_day() {
        let all =
            exceptions(json!([{"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "SEC-42"}]));
        let excepted =
            "is excepted from stale-image until 2026-12-31 (SEC-42): it was built 2026-07-01; deploy a newer build";
        assert_eq!(
            applied(&all, "2026-12-31T23:59:59Z", stale()),
            [(Code::Excepted, Effect::Warn, excepted.to_owned())]
        );
        let ended = "was built 2026-07-01; deploy a newer build; its exception ended: 2026-12-31 (SEC-42)";
        let expired = "had an exception from stale-image, which has ended: 2026-12-31 (SEC-42); renew it, or take it out of `exceptions`";
        assert_eq!(
            applied(&all, "2027-01-01T00:00:00Z", stale()),
            [
                (Code::StaleImage, Effect::Deny, ended.to_owned()),
                (Code::ExpiredException, Effect::Warn, expired.to_owned())
            ]
        );
    }

    #[test]
    fn an_exception_may_end_at_a_time_of_day() {
        let all = exceptions(
            json!([{"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31T12:00:00+01:00", "reason": "x"}]),
        );
        assert_eq!(applied(&all, "2026-12-31T10:59:59Z", stale())[0].0, Code::Excepted);
        assert_eq!(applied(&all, "2026-12-31T11:00:00Z", stale())[0].0, Code::StaleImage);
    }

    #[test]
    fn an_exception_covers_what_it_names_and_nothing_else() {
        let all = exceptions(json!([
            {"images": ["quay.io/*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "other images"},
            {"images": ["*"], "rules": ["unpinned-image"], "until": "2026-12-31", "reason": "another finding"},
            {"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "a vulnerability"},
        ]));
        assert_eq!(applied(&all, "2026-12-01T00:00:00Z", stale())[0].0, Code::StaleImage);
    }

    #[test]
    fn an_exception_in_force_comes_before_one_that_has_ended() {
        let all = exceptions(json!([
            {"images": ["*"], "rules": ["stale-image"], "until": "2026-10-31", "reason": "old"},
            {"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "new"},
        ]));
        assert!(applied(&all, "2026-12-01T00:00:00Z", stale())[0].2.contains("(new)"));
        let ended = applied(&all, "2027-12-01T00:00:00Z", stale());
        assert!(ended[0].2.ends_with("2026-12-31 (new)"), "the last one is told of: {ended:?}");
    }

    #[test]
    fn a_vulnerability_is_known_by_any_of_its_names() {
        let all =
            exceptions(json!([{"images": ["*"], "cves": ["cve-2026-0001"], "until": "2026-12-31", "reason": "x"}]));
        let exceptions = Exceptions::for_image(&all, "docker.io/library/a:1", at("2026-12-01T00:00:00Z"));
        assert_eq!(exceptions.of_vulnerability(&vulnerability("CVE-2026-0001", &[])), Some(Standing::InForce(&all[0])));
        assert!(exceptions.of_vulnerability(&vulnerability("GHSA-2c4m-59x9-fr2g", &["CVE-2026-0001"])).is_some());
        assert!(
            exceptions
                .of_vulnerability(&vulnerability("ELSA-2026-0001", &["CVE-2026-0001", "CVE-2026-0002"]))
                .is_none()
        );
        assert_eq!(exceptions.of_vulnerability(&vulnerability("CVE-2026-00010", &[])), None);
    }

    #[test]
    fn an_advisory_is_covered_when_each_of_its_vulnerabilities_is() {
        let both = |until: &str| {
            exceptions(json!([
                {"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "x"},
                {"images": ["*"], "cves": ["CVE-2026-0002"], "until": until, "reason": "y"},
            ]))
        };
        let advisory = vulnerability("ELSA-2026-0001", &["CVE-2026-0001", "CVE-2026-0002"]);
        let standing = |all: &Vec<Exception>| {
            let exceptions = Exceptions::for_image(all, "docker.io/library/a:1", at("2026-12-01T00:00:00Z"));
            matches!(exceptions.of_vulnerability(&advisory), Some(Standing::InForce(_)))
        };
        assert!(standing(&both("2026-12-31")));
        assert!(!standing(&both("2026-11-30")), "one of them has ended");
    }

    #[test]
    fn an_exception_for_some_vulnerabilities_is_none_for_all_of_an_image() {
        let all = exceptions(json!([
            {"images": ["*"], "rules": ["vulnerable-image", "stale-image"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "x"},
        ]));
        let ruling = Ruling { code: Code::VulnerableImage, ..stale() };
        assert_eq!(applied(&all, "2026-12-01T00:00:00Z", ruling)[0].0, Code::VulnerableImage);
        assert_eq!(applied(&all, "2026-12-01T00:00:00Z", stale())[0].0, Code::Excepted);
    }

    #[test]
    fn an_exception_that_does_not_end_or_give_a_reason_or_cover_anything_is_refused() {
        let problems = settings(json!([
            {"images": ["*"], "rules": ["stale-image"]},
            {"images": ["*"], "until": "2026-12-31", "reason": "x"},
            {"images": ["*"], "rules": [], "cves": [], "until": "2026-12-31", "reason": " "},
            {"images": ["*"], "rules": ["stale-imgae", "invalid-reference", "zzz"], "until": "tomorrow", "reason": "x"},
            {"images": ["*"], "cves": ["CVE-2026", "openssl", "GHSA-1", 7], "until": "2026-02-30", "reason": "x"},
        ]))
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "exceptions[0]: `until` is missing",
                "exceptions[0]: `reason` is missing",
                "exceptions[1]: it covers nothing; name findings in `rules`, vulnerabilities in `cves`, or both",
                "exceptions[2]: it covers nothing; name findings in `rules`, vulnerabilities in `cves`, or both",
                "exceptions[2].reason: cannot be empty",
                "exceptions[3].until: `tomorrow` is no date; write the last day, `2026-12-31`, or a time by RFC 3339",
                "exceptions[3].rules[0]: `stale-imgae` is no code of a finding; did you mean `stale-image`?",
                "exceptions[3].rules[1]: `invalid-reference` cannot be excepted",
                "exceptions[3].rules[2]: `zzz` is no code of a finding; the codes are unknown-registry, unpinned-image, forbidden-tag, stale-image, patch-due, unknown-build-date, future-build-date, outdated-base-image, base-update-due, unknown-base-image, scan-flagged, vulnerable-image, patch-window-open, unscanned-image, stale-scan, evidence-unavailable",
                "exceptions[4].until: `2026-02-30` is no date; write the last day, `2026-12-31`, or a time by RFC 3339",
                "exceptions[4].cves[0]: `CVE-2026` is no id of a vulnerability; write it as the scanner does, `CVE-2026-12345` or `GHSA-2c4m-59x9-fr2g`",
                "exceptions[4].cves[1]: `openssl` is no id of a vulnerability; write it as the scanner does, `CVE-2026-12345` or `GHSA-2c4m-59x9-fr2g`",
                "exceptions[4].cves[2]: `GHSA-1` is no id of a vulnerability; write it as the scanner does, `CVE-2026-12345` or `GHSA-2c4m-59x9-fr2g`",
                "exceptions[4].cves[3]: expected the id of a vulnerability such as `CVE-2026-12345`, found a number; put it in quotes: \"7\"",
            ]
        );
    }

    #[test]
    fn an_exception_of_the_past_is_valid() {
        assert!(
            settings(json!([{"images": ["*"], "rules": ["stale-image"], "until": "2001-01-01", "reason": "x"}]))
                .is_ok()
        );
    }

    #[test]
    fn ids_are_those_that_scanners_use() {
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
}
