//! Exceptions: findings that an admin allows for a limited time. Every exception has an end and a reason.

use std::cell::OnceCell;
use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use super::codes;
use crate::config::images::Images;
use crate::config::namespaces::Namespaces;
use crate::config::read::{Path, Problems, Setting, nearest, read_string, section};
use crate::config::schema::{Constraint, Schema, StringFormat, Text};
use crate::config::values::{DAY, TIME_OF_DAY};
use crate::finding::{Code, Effect, Violation};
use crate::rules::scan::CODES_BY_VULNERABILITY;
use crate::rules::waiver::{EXCEPTED, Terms, Waiver, Waivers};

/// Prefixes of advisory ids in the databases of scanners, besides `CVE-` and `GHSA-`.
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
    /// Findings about some images that are allowed until a given time.
    pub struct Exception {
        required {
            /// The images that the exception applies to.
            "images" images: Images,
            /// The end of the exception. A date is its last day, in UTC.
            "until" until: Until,
            /// The reason for the exception. The warning shows it.
            "reason" reason: String,
        }
        /// The namespaces that the exception applies to: names, or patterns with `*` and `?`. By default, it applies to all requests.
        /// With `namespaces`, it does not apply to a request without a namespace. For example `[staging, staging-*]`.
        "namespaces" namespaces: Namespaces = Namespaces::Every,
        /// The codes of the findings that it covers. Every finding about an image can be excepted, except
        /// [`invalid-reference`](invalid-reference.md).
        "rules" rules: Vec<ExceptableCode> = Vec::new(),
        /// The ids of the vulnerabilities that it covers: `CVE-…`, `GHSA-…`, or the id of an advisory (`RHSA-…`, `DLA-…`, `GO-…`).
        /// Use the id of the scanner, or an alias that the scanner gives.
        "cves" cves: Vec<VulnerabilityId> = Vec::new(),
    }
    constraints {
        Constraint::NotAllEmpty(&["rules", "cves"])
            => "the exception covers nothing; list findings in `rules`, vulnerabilities in `cves`, or both",
    }
}

/// The code of a finding that can be excepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExceptableCode(Code);

/// The id of a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VulnerabilityId(String);

/// The end of an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    /// The first moment after the exception.
    end: DateTime<Utc>,
    /// The end as the settings give it.
    written: String,
}

impl Setting for ExceptableCode {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a finding code such as `stale-image`", problems)?;
        let exceptable = codes::exceptable();
        if let Some(code) = exceptable.iter().find(|code| code.as_str() == text) {
            return Some(Self(*code));
        }
        if codes::all().iter().any(|code| code.as_str() == text) {
            problems.push(at, format_args!("`{text}` cannot be excepted"));
            return None;
        }
        let codes: Vec<&str> = exceptable.into_iter().map(Code::as_str).collect();
        let advice = match nearest(&text, &codes) {
            Some(code) => format!("did you mean `{code}`?"),
            None => format!("the codes are {}", codes.join(", ")),
        };
        problems.push(at, format_args!("unknown finding code `{text}`; {advice}"));
        None
    }

    fn schema() -> Schema {
        let format = StringFormat::OneOf(codes::exceptable().into_iter().map(Code::as_str).collect());
        Schema::Text(Text { one: "finding code", many: "finding codes", format })
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

impl Setting for VulnerabilityId {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a vulnerability id such as `CVE-2026-12345`", problems)?;
        if !is_vulnerability_id(&text) {
            problems.push(
                at,
                format_args!(
                    "invalid vulnerability id `{text}`; write it as the scanner does, such as `CVE-2026-12345` or \
                     `GHSA-2c4m-59x9-fr2g`"
                ),
            );
            return None;
        }
        Some(Self(text))
    }

    fn schema() -> Schema {
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
        Schema::text("vulnerability id", "vulnerability ids", pattern)
    }

    fn to_json(&self) -> Value {
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
        // A CVE id has a year, and a number of at least four digits.
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
                format_args!("invalid date `{written}`; write the last day, such as `2026-12-31`, or an RFC 3339 time"),
            );
            return None;
        };
        Some(Self { end, written })
    }

    fn schema() -> Schema {
        Schema::text("date or RFC 3339 time", "dates or RFC 3339 times", format!("^{DAY}({TIME_OF_DAY})?$"))
    }

    fn to_json(&self) -> Value {
        self.written.as_str().into()
    }
}

fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// A source of exceptions.
pub trait Source {
    /// The exceptions for the image of a normalised name.
    fn exceptions_for(&self, normalized: &str) -> Vec<&Exception>;
}

/// The exceptions for one image at a given time.
pub struct Exceptions<'s> {
    all: &'s dyn Source,
    image: &'s str,
    /// The exceptions for the image. Looked up on first use, because most images need none.
    found: OnceCell<Vec<&'s Exception>>,
    now: DateTime<Utc>,
    /// The exceptions by the vulnerability ids that they cover, in lower case. Reports and settings may both have thousands of ids,
    /// so a search for each pair would be too slow.
    by_vulnerability: OnceCell<HashMap<String, Vec<&'s Exception>>>,
}

impl<'s> Exceptions<'s> {
    /// The exceptions that apply to the image of this normalised name.
    #[must_use]
    pub fn for_image(all: &'s dyn Source, normalized: &'s str, now: DateTime<Utc>) -> Self {
        Self { all, image: normalized, found: OnceCell::new(), now, by_vulnerability: OnceCell::new() }
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

    /// The exception that covers findings of a code.
    fn of_finding(&self, code: Code) -> Option<Waiver<'s>> {
        let covering: Vec<_> = self.found().iter().copied().filter(|exception| exception.covers(code)).collect();
        self.applicable(&covering)
    }

    /// The first exception that is in force, or else the one that ended last.
    fn applicable(&self, covering: &[&'s Exception]) -> Option<Waiver<'s>> {
        let covering = || covering.iter().copied();
        let in_force = covering().find(|exception| self.now < exception.until.end);
        let ended = || covering().max_by_key(|exception| exception.until.end);
        in_force
            .map(|exception| Waiver::InForce(exception.terms()))
            .or_else(|| ended().map(|exception| Waiver::Ended(exception.terms())))
    }

    /// Whether an exception that is in force covers findings of a code.
    #[must_use]
    pub fn covers(&self, code: Code) -> bool {
        matches!(self.of_finding(code), Some(Waiver::InForce(_)))
    }

    /// Applies the exceptions to a violation. With an exception in force it becomes a warning. With an exception that has ended it
    /// stays, and its message says so.
    #[must_use]
    pub fn apply(&self, mut violation: Violation) -> Vec<Violation> {
        match self.of_finding(violation.code) {
            None => vec![violation],
            Some(Waiver::InForce(terms)) => {
                let text = format!("is excepted from {} until {terms}: it {}", violation.code, violation.text);
                vec![Violation { code: EXCEPTED, effect: Effect::Warn, text }]
            }
            Some(Waiver::Ended(terms)) => {
                let expired = terms.expired(violation.code.as_str());
                violation.text = format!("{}; its exception ended: {terms}", violation.text);
                vec![violation, expired]
            }
        }
    }
}

impl Waivers for Exceptions<'_> {
    fn for_vulnerability(&self, id: &str, aliases: &[String]) -> Option<Waiver<'_>> {
        if self.found().is_empty() {
            return None;
        }
        let by_vulnerability = self.by_vulnerability.get_or_init(|| self.index());
        let named = |name: &str| self.applicable(by_vulnerability.get(&name.to_ascii_lowercase())?);
        if let Some(waiver) = named(id) {
            return Some(waiver);
        }
        let mut waivers = aliases.iter().map(|alias| named(alias));
        let first = waivers.next()??;
        waivers.try_fold(first, |so_far, next| match (so_far, next?) {
            (Waiver::InForce(_), next) => Some(next),
            (ended, _) => Some(ended),
        })
    }

    fn identity(&self) -> Vec<*const ()> {
        self.found().iter().map(|exception| std::ptr::from_ref(*exception).cast()).collect()
    }
}

impl Exception {
    /// Whether it covers findings of this code. An exception with `cves` covers only these vulnerabilities, not all of the image.
    fn covers(&self, code: Code) -> bool {
        let is_by_vulnerability = CODES_BY_VULNERABILITY.contains(&code);
        (self.cves.is_empty() || !is_by_vulnerability) && self.rules.contains(&ExceptableCode(code))
    }

    fn terms(&self) -> Terms<'_> {
        Terms { until: &self.until.written, reason: &self.reason }
    }
}

#[cfg(test)]
mod tests;
