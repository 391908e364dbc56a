//! Rule `scan`: no image runs that a scanner has flagged.
//!
//! Every source is judged for itself, and the worst one counts. What was found in an image is named once, by the source in
//! which it is worst.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Ruling;
use crate::enforcement::exceptions::{Exception, Exceptions, Standing};
use crate::evidence::reports::ReportSource;
use crate::evidence::scan::{Scan, Severity, Vulnerability};
use crate::finding::{Code, Effect};
use crate::settings::read::{Fields, Path, Problems, Setting, Words, kind_of, section};
use crate::settings::shape::Shape;
use crate::settings::value::{Action, Period};
use crate::shown::Shown;

/// How many vulnerabilities a message names.
const NAMED: usize = 3;

section! {
    /// No image runs that a scanner has flagged.
    pub struct Scanning {
        /// What becomes of an image that is flagged, or has too many vulnerabilities.
        "action" action: Action = Action::Deny,
        /// Whether an image without a scan result that counts is flagged. Reports in the workload's own namespace do not
        /// count for it: see [who is believed](scans.md#who-is-believed).
        "require" require: bool = false,
        /// How old a scan result may be; an older one is no result.
        "maxAge" max_age: Period = Period::days(30),
        /// How many vulnerabilities an image may have of each severity; of one that is left out, any number. Severities
        /// are `critical`, `high`, `medium`, `low`, `negligible` and `unknown`.
        "maxAllowed" max_allowed: BySeverity<Number> = BySeverity(vec![(Severity::Critical, Number(0))]),
        /// Whether only vulnerabilities that have a fix count.
        "fixableOnly" fixable_only: bool = true,
        /// How long after its publication a vulnerability may be in an image. Until then it is a
        /// [warning](patch-window-open.md); from then on it counts against `maxAllowed`, or is too much where that gives
        /// no limit. One without a date is judged by `maxAllowed` alone. For example `{critical: 7d, high: 30d}`.
        "patchWithin" patch_within: BySeverity<Period> = BySeverity(Vec::new()),
        /// Reports of the cluster to read. For example `[{source: sbomscanner, namespace: sbomscanner}]`.
        "reports" reports: Vec<ReportSource> = Vec::new(),
        /// What annotations of a pod are good for. Its requester writes them, so that they can only keep an image out
        /// (`flag`), unless they may also clear it (`trust`), or are good for nothing (`ignore`).
        "podAnnotations" pod_annotations: PodAnnotations = PodAnnotations::Flag,
    }
    check Scanning::check_reports;
}

/// A value for each severity, or for some of them.
#[derive(Debug, Clone, PartialEq)]
pub struct BySeverity<T>(Vec<(Severity, T)>);

impl<T: Copy> BySeverity<T> {
    fn of(&self, severity: Severity) -> Option<T> {
        self.0.iter().find(|(known, _)| *known == severity).map(|(_, value)| *value)
    }
}

impl<T: Setting> Setting for BySeverity<T> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::read(json, at, problems)?;
        let mut values = Vec::new();
        for severity in Severity::ALL {
            values.extend(fields.take(severity.as_str(), at, problems).map(|value| (severity, value)));
        }
        fields.finish(&Severity::ALL.map(Severity::as_str), at, problems);
        Some(Self(values))
    }

    fn shape() -> Shape {
        let keys = Severity::ALL.map(Severity::as_str).to_vec();
        Shape::Each { by: "severity", keys, values: Box::new(T::shape()) }
    }

    fn written(&self) -> Value {
        self.0.iter().map(|(severity, value)| (severity.to_string(), value.written())).collect()
    }
}

/// A number of vulnerabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(u64);

impl Setting for Number {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json.get().parse() {
            Ok(number) => Some(Self(number)),
            Err(_) => {
                let found = if kind_of(json) == "a number" { json.get() } else { kind_of(json) };
                problems.push(at, format_args!("expected a whole number, 0 or more, found {found}"));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Number
    }

    fn written(&self) -> Value {
        self.0.into()
    }
}

/// What annotations of a pod are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodAnnotations {
    /// They can keep an image out.
    Flag,
    /// They can keep an image out, and can clear one.
    Trust,
    /// Nothing.
    Ignore,
}

impl Words for PodAnnotations {
    const WORDS: &'static [(&'static str, Self)] =
        &[("flag", Self::Flag), ("trust", Self::Trust), ("ignore", Self::Ignore)];
}

/// What is said of an image.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// By annotations of the pod.
    pub pod: Vec<Scan>,
    /// By everybody else.
    pub others: Vec<Scan>,
    /// Whether no scan that satisfies `require` can be missing.
    pub is_complete: bool,
}

/// How a scan result stands to the limits.
#[derive(Debug, Default)]
struct Assessment<'a> {
    /// Severities of which there are more than allowed: how many there are, and how many are allowed where there is a limit.
    exceeded: Vec<(Severity, u64, Option<u64>)>,
    /// The named vulnerabilities of those severities, the worst first, each with the day by which it had to be patched.
    over: Vec<(&'a Vulnerability, Option<DateTime<Utc>>)>,
    /// Vulnerabilities that have to be patched by some day to come.
    open: Vec<(&'a Vulnerability, DateTime<Utc>)>,
    /// Vulnerabilities that would be too many, but for an exception.
    excepted: Vec<(&'a Vulnerability, &'a Exception)>,
    /// Vulnerabilities that are too many since an exception has ended.
    ended: Vec<(&'a Vulnerability, &'a Exception)>,
}

impl Assessment<'_> {
    /// By how much it is worse than another.
    fn weight(&self) -> (u64, usize, usize) {
        let too_many = self.exceeded.iter().map(|(_, count, allowed)| count - allowed.unwrap_or(0));
        (too_many.fold(0, u64::saturating_add), self.open.len(), self.excepted.len())
    }
}

impl Scanning {
    /// A scan that is required is not satisfied by reports that the requester can write.
    fn check_reports(&self, at: Path<'_>, problems: &mut Problems) {
        if !self.require || self.action.effect().is_none() {
            return;
        }
        let at = Path::Key(&at, "reports");
        for (index, source) in self.reports.iter().enumerate() {
            if source.is_in_namespaces_of_workloads() {
                problems.warn(
                    Path::Index(&at, index),
                    "reports in the workload's own namespace do not satisfy `require`, because people who may create \
                     workloads there may be able to write them; give the `namespace` that the reports are in",
                );
            }
        }
    }

    /// Whether annotations of the pod clear the image, so that nothing else has to be asked.
    #[must_use]
    pub fn is_cleared_by(&self, pod: &[Scan], exceptions: &Exceptions<'_>, now: DateTime<Utc>) -> bool {
        let exceeds = |scan: &Scan| !self.assess(scan, exceptions, now).exceeded.is_empty();
        self.pod_annotations == PodAnnotations::Trust
            && pod.iter().any(|scan| scan.is_exact && self.counts(scan, now))
            && !pod.iter().any(|scan| objection(scan, now).is_some() || (self.counts(scan, now) && exceeds(scan)))
    }

    /// Judges an image by what is said of it: by annotations of the pod, and by everybody else. Where the evidence is not
    /// complete, nothing is said of scan results that are missing.
    #[must_use]
    pub fn judge(&self, evidence: &Evidence, exceptions: &Exceptions<'_>, now: DateTime<Utc>) -> Vec<Ruling> {
        let Evidence { pod, others, is_complete } = evidence;
        let Some(effect) = self.action.effect() else { return Vec::new() };
        let mut rulings = Vec::new();
        let fresh = pod.iter().chain(others).filter(|scan| !self.is_stale(scan, now));
        let mut objections = fresh.filter_map(|scan| objection(scan, now));
        if let Some(first) = objections.next() {
            let text = match objections.count() {
                0 => first,
                more => format!("{first} (and {more} more flags)"),
            };
            rulings.push(Ruling { code: Code::ScanFlagged, effect, text });
        }
        let counting = pod.iter().chain(others).filter(|scan| self.counts(scan, now));
        let worst = counting.map(|scan| (scan, self.assess(scan, exceptions, now))).reduce(|worst, next| {
            // Of equals the first one.
            if next.1.weight() > worst.1.weight() { next } else { worst }
        });
        if let Some((scan, assessment)) = &worst {
            rulings.extend(self.rulings(scan, assessment, effect));
        }
        let clearing: &[Scan] = if self.pod_annotations == PodAnnotations::Trust { pod } else { &[] };
        if *is_complete {
            rulings.extend(self.missing(clearing, others, pod, effect, now));
        }
        rulings
    }

    /// Whether a scan is as much as has to be known of the image. What people can write who may write to the namespace of the
    /// workload is not what `require` asks for.
    fn satisfies(&self, scan: &Scan, now: DateTime<Utc>) -> bool {
        scan.is_exact && self.counts(scan, now) && !(self.require && scan.is_own)
    }

    /// Whether a scan is a result that counts.
    fn counts(&self, scan: &Scan, now: DateTime<Utc>) -> bool {
        scan.is_result && !self.is_stale(scan, now) && !is_future(scan, now)
    }

    fn is_stale(&self, scan: &Scan, now: DateTime<Utc>) -> bool {
        scan.at.is_some_and(|at| now - at >= self.max_age.delta())
    }

    fn assess<'a, 'e: 'a>(&self, scan: &'a Scan, exceptions: &Exceptions<'e>, now: DateTime<Utc>) -> Assessment<'a> {
        let mut assessment = Assessment::default();
        for severity in Severity::ALL {
            let limit = self.max_allowed.of(severity).map(|Number(limit)| limit);
            let window = self.patch_within.of(severity).map(Period::delta);
            if limit.is_some() || window.is_some() {
                self.assess_severity(scan, (severity, limit, window), exceptions, now, &mut assessment);
            }
        }
        assessment.open.sort_by_key(|(vulnerability, due)| (*due, Reverse(vulnerability.severity)));
        assessment
    }

    fn assess_severity<'a, 'e: 'a>(
        &self,
        scan: &'a Scan,
        (severity, limit, window): (Severity, Option<u64>, Option<TimeDelta>),
        exceptions: &Exceptions<'e>,
        now: DateTime<Utc>,
        assessment: &mut Assessment<'a>,
    ) {
        let (mut over, mut excepted, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        let of_severity = scan.named.iter().filter(|vulnerability| vulnerability.severity == severity);
        for vulnerability in of_severity.filter(|found| found.fixed_in.is_some() || !self.fixable_only) {
            let due = window.zip(vulnerability.published).map(|(window, published)| published + window);
            if due.is_none() && limit.is_none() {
                continue;
            }
            match (exceptions.of_vulnerability(vulnerability), due) {
                (Some(Standing::InForce(exception)), _) => excepted.push((vulnerability, exception)),
                (_, Some(due)) if now < due => assessment.open.push((vulnerability, due)),
                (standing, due) => {
                    over.push((vulnerability, due));
                    if let Some(Standing::Ended(exception)) = standing {
                        ended.push((vulnerability, exception));
                    }
                }
            }
        }
        // A count has no date, and is judged by the limit alone. In a summary it stands for vulnerabilities that have one,
        // and some of them may be overdue.
        let counts = limit.is_some() || scan.is_summary;
        let counted = scan.counted.iter().filter(|count| counts && count.severity == severity);
        let counted = counted.map(|count| if self.fixable_only { count.fixable } else { count.all });
        let count = counted.fold(over.len() as u64, u64::saturating_add);
        // What has a time to be patched in, and no limit, may not be there when that time is over.
        let allowed = limit.unwrap_or(0);
        if count.saturating_add(excepted.len() as u64) > allowed {
            assessment.excepted.append(&mut excepted);
        }
        if count > allowed {
            over.sort_by(|(a, a_due), (b, b_due)| {
                (a_due.is_none(), a_due, &a.id).cmp(&(b_due.is_none(), b_due, &b.id))
            });
            assessment.exceeded.push((severity, count, limit));
            assessment.over.append(&mut over);
            assessment.ended.append(&mut ended);
        }
    }

    fn rulings(&self, scan: &Scan, assessment: &Assessment<'_>, effect: Effect) -> Vec<Ruling> {
        let by = match scan.at {
            Some(at) => format!("{}, {}", scan.source, at.date_naive()),
            None => scan.source.clone(),
        };
        let mut rulings = Vec::new();
        if !assessment.exceeded.is_empty() {
            rulings.push(Ruling { code: Code::VulnerableImage, effect, text: self.too_many(scan, assessment, &by) });
        }
        for (exception, vulnerabilities) in by_exception(&assessment.ended) {
            rulings.push(exception.expired(&listed(&vulnerabilities)));
        }
        for (exception, vulnerabilities) in by_exception(&assessment.excepted) {
            let text = format!("is excepted from {} until {exception}", listed(&vulnerabilities));
            rulings.push(Ruling { code: Code::Excepted, effect: Effect::Warn, text });
        }
        if !assessment.open.is_empty() {
            rulings.push(Ruling {
                code: Code::PatchWindowOpen,
                effect: Effect::Warn,
                text: still_open(assessment, &by),
            });
        }
        rulings
    }

    fn too_many(&self, scan: &Scan, assessment: &Assessment<'_>, by: &str) -> String {
        let counts: Vec<String> = assessment
            .exceeded
            .iter()
            .map(|(severity, count, allowed)| match allowed {
                Some(allowed) => format!("{count} {severity} ({allowed} allowed)"),
                None if scan.is_summary => format!("{count} possibly overdue {severity}"),
                None => format!("{count} overdue {severity}"),
            })
            .collect();
        let total =
            assessment.exceeded.iter().map(|(_, count, _)| count).fold(0_u64, |sum, count| sum.saturating_add(*count));
        let (with_fix, way_out) = if self.fixable_only && !scan.is_summary {
            (" with a fix", "deploy a build that has the fixes")
        } else {
            ("", "deploy a build without them")
        };
        let had_to = |due: &Option<DateTime<Utc>>| {
            due.map(|due| format!("had to be patched by {}", due.date_naive())).unwrap_or_default()
        };
        let named = assessment.over.iter().map(|(vulnerability, due)| (*vulnerability, had_to(due)));
        let noun = if total == 1 { "vulnerability" } else { "vulnerabilities" };
        let named = named_few(named, total);
        let named = if named.is_empty() { String::new() } else { format!(": {named}") };
        let ended: Vec<String> = by_exception(&assessment.ended)
            .iter()
            .map(|(exception, ids)| format!("; the exception for {} ended: {exception}", listed(ids)))
            .collect();
        // What to do comes before the list: warnings are cut at their end.
        format!("has {} {noun}{with_fix}; {way_out}{named} (by {by}){}", enumerated(&counts), ended.concat())
    }

    /// What is said of an image that has no scan result that counts. `clearing` are the annotations of the pod where they can
    /// clear.
    fn missing(
        &self,
        clearing: &[Scan],
        others: &[Scan],
        pod: &[Scan],
        effect: Effect,
        now: DateTime<Utc>,
    ) -> Option<Ruling> {
        if clearing.iter().chain(others).any(|scan| self.satisfies(scan, now)) {
            return None;
        }
        // Which finding an image is refused for is not for its requester to choose: an exception may cover one of the two.
        let telling = if self.require { clearing } else { pod };
        let telling = telling.iter().chain(others.iter().filter(|scan| !(self.require && scan.is_own)));
        let stale = telling.filter(|scan| self.is_stale(scan, now));
        if let Some((scan, at)) = stale.filter_map(|scan| Some((scan, scan.at?))).max_by_key(|(_, at)| *at) {
            let days = (now - at).num_days();
            let text = format!(
                "was last scanned {} ({days} days ago), and a scan counts for {}; scan it again (by {})",
                at.date_naive(),
                self.max_age,
                scan.source
            );
            let effect = if self.require { effect } else { Effect::Warn };
            return Some(Ruling { code: Code::StaleScan, effect, text });
        }
        let is_own_result = |scan: &Scan| scan.is_own && scan.is_exact && self.counts(scan, now);
        let hint = if others.iter().any(is_own_result) {
            "; reports in the workload's own namespace do not count for `scan.require`"
        } else if pod.iter().any(|scan| scan.is_result) && self.pod_annotations == PodAnnotations::Flag {
            "; annotations of the pod itself do not count, see `scan.podAnnotations`"
        } else if others.iter().any(|scan| !scan.is_exact) {
            "; only other images of its index were scanned"
        } else {
            ""
        };
        self.require.then(|| Ruling {
            code: Code::UnscannedImage,
            effect,
            text: format!("has no scan result that counts; have it scanned before it is deployed{hint}"),
        })
    }
}

/// Why a source wants an image kept out, where it does.
fn objection(scan: &Scan, now: DateTime<Utc>) -> Option<String> {
    let source = &scan.source;
    if let Some(at) = scan.at.filter(|_| is_future(scan, now)) {
        let day = at.date_naive();
        return Some(format!(
            "is flagged: {source} says that it was scanned {day}, which is in the future; scan it again"
        ));
    }
    let objection = scan.objection.as_ref()?;
    Some(format!("is flagged: {source} {objection}; deploy an image that is not flagged, or correct the flag"))
}

/// Clocks may differ by a day.
fn is_future(scan: &Scan, now: DateTime<Utc>) -> bool {
    scan.at.is_some_and(|at| at - now > TimeDelta::days(1))
}

fn still_open(assessment: &Assessment<'_>, by: &str) -> String {
    let total = assessment.open.len() as u64;
    let due = |due: &DateTime<Utc>| format!("due {}", due.date_naive());
    let named = named_few(assessment.open.iter().map(|(vulnerability, at)| (*vulnerability, due(at))), total);
    let noun = if total == 1 { "vulnerability" } else { "vulnerabilities" };
    let first = assessment.open.first().map(|(_, due)| format!(" by {}", due.date_naive())).unwrap_or_default();
    format!("has {total} {noun} to be patched{first}; deploy a build that has the fixes: {named} (by {by})")
}

/// The worst few vulnerabilities, each once, and how many more there are.
fn named_few<'a>(vulnerabilities: impl Iterator<Item = (&'a Vulnerability, String)>, total: u64) -> String {
    let mut named: Vec<(&Vulnerability, String)> = Vec::new();
    let mut covered = 0;
    for (vulnerability, remark) in vulnerabilities {
        let known = named.iter().any(|(known, _)| known.id == vulnerability.id);
        if !known && named.len() < NAMED {
            named.push((vulnerability, remark));
        }
        if known || named.last().is_some_and(|(last, _)| std::ptr::eq(*last, vulnerability)) {
            covered += 1;
        }
    }
    let mut items: Vec<String> = named
        .into_iter()
        .map(|(vulnerability, remark)| {
            let id = Shown(&vulnerability.id);
            let package = vulnerability.package.as_ref().map(|package| format!(" in {}", Shown(package)));
            let fix = vulnerability.fixed_in.as_ref().map(|version| format!("fixed in {}", Shown(version)));
            let remarks: Vec<String> = fix.into_iter().chain((!remark.is_empty()).then_some(remark)).collect();
            let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) };
            format!("{id}{}{remarks}", package.unwrap_or_default())
        })
        .collect();
    if items.is_empty() {
        return String::new();
    }
    if total > covered {
        items.push(format!("and {} more", total - covered));
    }
    items.join(", ")
}

/// Vulnerabilities by the exception that is about them, each once, in the order in which they come.
fn by_exception<'a>(pairs: &[(&'a Vulnerability, &'a Exception)]) -> Vec<(&'a Exception, Vec<&'a str>)> {
    let mut groups: Vec<(&Exception, Vec<&str>)> = Vec::new();
    let mut indexes: HashMap<*const Exception, usize> = HashMap::new();
    let mut known: HashSet<(usize, &str)> = HashSet::new();
    for (vulnerability, exception) in pairs {
        let index = *indexes.entry(std::ptr::from_ref(*exception)).or_insert(groups.len());
        if index == groups.len() {
            groups.push((exception, Vec::new()));
        }
        if known.insert((index, &vulnerability.id))
            && let Some((_, ids)) = groups.get_mut(index)
        {
            ids.push(&vulnerability.id);
        }
    }
    groups
}

/// The first few ids, and how many more there are.
fn listed(ids: &[&str]) -> String {
    let mut shown: Vec<String> = ids.iter().take(NAMED).map(|id| Shown(id).to_string()).collect();
    if let Some(more) = ids.len().checked_sub(NAMED).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    enumerated(&shown)
}

/// `a`, `a and b`, `a, b and c`.
fn enumerated(items: &[String]) -> String {
    match items.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
