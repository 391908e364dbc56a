//! Judges an image by its scan results.
//!
//! Each source is judged separately, and the worst one counts. So a message names the vulnerabilities of one source only.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::result::{Scan, Severity, Vulnerability};
use super::settings::{Number, PodAnnotations, Scanning};
use super::{PATCH_WINDOW_OPEN, SCAN_FLAGGED, STALE_SCAN, UNSCANNED_IMAGE, VULNERABLE_IMAGE};
use crate::config::values::{Duration, days};
use crate::finding::{Effect, Violation};
use crate::rules::waiver::{EXCEPTED, Terms, Waiver, Waivers};
use crate::sanitized::Sanitized;

/// How many vulnerabilities a message names.
const NAMED: usize = 3;

/// All scans of an image.
#[derive(Debug, Clone, Default)]
pub struct ScanEvidence {
    /// From annotations of the pod.
    pub pod: Vec<Scan>,
    /// From all other sources.
    pub others: Vec<Scan>,
    /// Whether every source could be read, so that no scan that satisfies `require` is missing.
    pub is_complete: bool,
}

/// A scan result compared with the limits.
#[derive(Default)]
struct Assessment<'a> {
    /// Severities with more vulnerabilities than allowed: the number, and the limit if there is one.
    exceeded: Vec<(Severity, u64, Option<u64>)>,
    /// The named vulnerabilities of those severities, the worst first, each with the day by which it had to be patched.
    over: Vec<(&'a Vulnerability, Option<DateTime<Utc>>)>,
    /// Vulnerabilities with the day by which they must be patched, which is not over yet.
    open: Vec<(&'a Vulnerability, DateTime<Utc>)>,
    /// Vulnerabilities that would be too many without an exception.
    excepted: Vec<(&'a Vulnerability, Terms<'a>)>,
    /// Vulnerabilities that are too many because their exception has ended.
    ended: Vec<(&'a Vulnerability, Terms<'a>)>,
    /// Whether the numbers include vulnerabilities of which the source does not say whether they have a fix.
    may_lack_fixes: bool,
}

impl Assessment<'_> {
    /// How bad it is. The assessment with the greatest weight counts.
    fn weight(&self) -> (u64, usize, usize) {
        let too_many = self.exceeded.iter().map(|(_, count, allowed)| count - allowed.unwrap_or(0));
        (too_many.fold(0, u64::saturating_add), self.open.len(), self.excepted.len())
    }
}

impl Scanning {
    /// Whether annotations of the pod clear the image. Other sources are then not read.
    #[must_use]
    pub fn is_cleared_by(&self, pod: &[Scan], waivers: &dyn Waivers, now: DateTime<Utc>) -> bool {
        let exceeds = |scan: &Scan| !self.assess(scan, waivers, now).exceeded.is_empty();
        self.pod_annotations == PodAnnotations::Trust
            && pod.iter().any(|scan| scan.is_exact && self.is_valid(scan, now))
            && !pod.iter().any(|scan| objection(scan, now).is_some() || (self.is_valid(scan, now) && exceeds(scan)))
    }

    /// Judges an image by all its scans. Missing scan results are reported only if the evidence is complete.
    #[must_use]
    pub fn judge(&self, evidence: &ScanEvidence, waivers: &dyn Waivers, now: DateTime<Utc>) -> Vec<Violation> {
        let ScanEvidence { pod, others, is_complete } = evidence;
        let Some(effect) = self.action.effect() else { return Vec::new() };
        let mut violations = Vec::new();
        let fresh = pod.iter().chain(others).filter(|scan| !self.is_stale(scan, now));
        let mut objections = fresh.filter_map(|scan| objection(scan, now));
        if let Some(first) = objections.next() {
            let text = match objections.count() {
                0 => first,
                1 => format!("{first} (and 1 more flag)"),
                more => format!("{first} (and {more} more flags)"),
            };
            violations.push(Violation { code: SCAN_FLAGGED, effect, text });
        }
        let counting = pod.iter().chain(others).filter(|scan| self.is_valid(scan, now));
        let worst = counting.map(|scan| (scan, self.assess(scan, waivers, now))).reduce(|worst, next| {
            // The first of several equal ones counts.
            if next.1.weight() > worst.1.weight() { next } else { worst }
        });
        if let Some((scan, assessment)) = &worst {
            violations.extend(self.violations(scan, assessment, effect));
        }
        let clearing: &[Scan] = if self.pod_annotations == PodAnnotations::Trust { pod } else { &[] };
        if *is_complete {
            violations.extend(self.missing(clearing, others, pod, effect, now));
        }
        violations
    }

    /// Whether a scan is a valid result for the image. Reports that people of the workload's own namespace can write do not satisfy
    /// `require`.
    fn satisfies(&self, scan: &Scan, now: DateTime<Utc>) -> bool {
        scan.is_exact && self.is_valid(scan, now) && !(self.require && scan.is_own)
    }

    /// Whether a scan is a result of a valid age.
    fn is_valid(&self, scan: &Scan, now: DateTime<Utc>) -> bool {
        scan.is_result && !self.is_stale(scan, now) && !is_future(scan, now)
    }

    fn is_stale(&self, scan: &Scan, now: DateTime<Utc>) -> bool {
        scan.at.is_some_and(|at| now - at >= self.max_age.delta())
    }

    fn assess<'a>(&self, scan: &'a Scan, waivers: &'a dyn Waivers, now: DateTime<Utc>) -> Assessment<'a> {
        let mut assessment = Assessment::default();
        for severity in Severity::ALL {
            let limit = self.max_allowed.of(severity).map(|Number(limit)| limit);
            let window = self.patch_within.of(severity).map(Duration::delta);
            if limit.is_some() || window.is_some() {
                self.assess_severity(scan, (severity, limit, window), waivers, now, &mut assessment);
            }
        }
        assessment.open.sort_by_key(|(vulnerability, due)| (*due, Reverse(vulnerability.severity)));
        assessment
    }

    fn assess_severity<'a>(
        &self,
        scan: &'a Scan,
        (severity, limit, window): (Severity, Option<u64>, Option<TimeDelta>),
        waivers: &'a dyn Waivers,
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
            match (waivers.for_vulnerability(&vulnerability.id, &vulnerability.aliases), due) {
                (Some(Waiver::InForce(terms)), _) => excepted.push((vulnerability, terms)),
                (_, Some(due)) if now < due => assessment.open.push((vulnerability, due)),
                (waiver, due) => {
                    over.push((vulnerability, due));
                    if let Some(Waiver::Ended(terms)) = waiver {
                        ended.push((vulnerability, terms));
                    }
                }
            }
        }
        // A count has no date, so only the limit applies. The vulnerabilities in a summary have dates, and some may be overdue.
        let counts = limit.is_some() || scan.is_summary;
        let counted = scan.counted.iter().filter(|count| counts && count.severity == severity);
        let numbers = counted.clone().map(|count| if self.fixable_only { count.fixable } else { count.all });
        let count = numbers.fold(over.len() as u64, u64::saturating_add);
        // Without a limit, no vulnerability is allowed once its time to patch is over.
        let allowed = limit.unwrap_or(0);
        if count.saturating_add(excepted.len() as u64) > allowed {
            assessment.excepted.append(&mut excepted);
        }
        if count > allowed {
            over.sort_by(|(a, a_due), (b, b_due)| {
                (a_due.is_none(), a_due, &a.id).cmp(&(b_due.is_none(), b_due, &b.id))
            });
            assessment.exceeded.push((severity, count, limit));
            assessment.may_lack_fixes |= counted.clone().any(|count| count.fixable > 0 && !count.is_fixable_known);
            assessment.over.append(&mut over);
            assessment.ended.append(&mut ended);
        }
    }

    fn violations(&self, scan: &Scan, assessment: &Assessment<'_>, effect: Effect) -> Vec<Violation> {
        let by = match scan.at {
            Some(at) => format!("{}, {}", scan.source, at.date_naive()),
            None => scan.source.clone(),
        };
        let mut violations = Vec::new();
        if !assessment.exceeded.is_empty() {
            violations.push(Violation { code: VULNERABLE_IMAGE, effect, text: self.too_many(scan, assessment, &by) });
        }
        for (exception, vulnerabilities) in by_exception(&assessment.ended) {
            violations.push(exception.expired(&listed(&vulnerabilities)));
        }
        for (exception, vulnerabilities) in by_exception(&assessment.excepted) {
            let text = format!("is excepted from {} until {exception}", listed(&vulnerabilities));
            violations.push(Violation { code: EXCEPTED, effect: Effect::Warn, text });
        }
        if !assessment.open.is_empty() {
            violations.push(Violation {
                code: PATCH_WINDOW_OPEN,
                effect: Effect::Warn,
                text: still_open(assessment, &by),
            });
        }
        violations
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
        let without = if total == 1 { "deploy a build without it" } else { "deploy a build without them" };
        let (with_fix, advice) = match (self.fixable_only, assessment.may_lack_fixes) {
            (true, false) => (" with a fix", "deploy a build that has the fixes"),
            (true, true) => (" that may have a fix", without),
            (false, _) => ("", without),
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
        // The advice comes before the list, because Kubernetes cuts off the end of long warnings.
        format!("has {} {noun}{with_fix}; {advice}{named} (by {by}){}", enumerated(&counts), ended.concat())
    }

    /// The violation of an image without a valid scan result. `clearing` are the annotations of the pod, if they can clear it.
    fn missing(
        &self,
        clearing: &[Scan],
        others: &[Scan],
        pod: &[Scan],
        effect: Effect,
        now: DateTime<Utc>,
    ) -> Option<Violation> {
        if clearing.iter().chain(others).any(|scan| self.satisfies(scan, now)) {
            return None;
        }
        // The requester must not be able to choose between the two findings: an exception may cover one of them.
        let eligible = if self.require { clearing } else { pod };
        let eligible = eligible.iter().chain(others.iter().filter(|scan| !(self.require && scan.is_own)));
        let stale = eligible.filter(|scan| self.is_stale(scan, now));
        if let Some((scan, at)) = stale.filter_map(|scan| Some((scan, scan.at?))).max_by_key(|(_, at)| *at) {
            let text = format!(
                "was last scanned {} ({} ago), and a scan is valid for {}; scan it again (by {})",
                at.date_naive(),
                days((now - at).num_days()),
                self.max_age,
                scan.source
            );
            let effect = if self.require { effect } else { Effect::Warn };
            return Some(Violation { code: STALE_SCAN, effect, text });
        }
        let is_own_result = |scan: &Scan| scan.is_own && scan.is_exact && self.is_valid(scan, now);
        let hint = if others.iter().any(is_own_result) {
            "; reports in the workload's own namespace do not satisfy `scan.require`"
        } else if pod.iter().any(|scan| scan.is_result) && self.pod_annotations == PodAnnotations::Flag {
            "; annotations of the pod do not count, see `scan.podAnnotations`"
        } else if others.iter().any(|scan| !scan.is_exact) {
            "; only other images of its index were scanned"
        } else {
            ""
        };
        self.require.then(|| Violation {
            code: UNSCANNED_IMAGE,
            effect,
            text: format!("has no valid scan result; scan it, and publish the result where `scan` reads it{hint}"),
        })
    }
}

/// Why a source flags an image, if it does.
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

/// Whether a scan is dated in the future. Clocks may differ by a day.
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

/// The first [`NAMED`] vulnerabilities, each once, and the number of the others.
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
            let id = Sanitized(&vulnerability.id);
            let package = vulnerability.package.as_ref().map(|package| format!(" in {}", Sanitized(package)));
            let fix = vulnerability.fixed_in.as_ref().map(|version| format!("fixed in {}", Sanitized(version)));
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

/// Vulnerabilities by the exception that covers them, each once, in their order.
fn by_exception<'a>(pairs: &[(&'a Vulnerability, Terms<'a>)]) -> Vec<(Terms<'a>, Vec<&'a str>)> {
    let mut groups: Vec<(Terms<'_>, Vec<&str>)> = Vec::new();
    let mut indexes: HashMap<*const str, usize> = HashMap::new();
    let mut known: HashSet<(usize, &str)> = HashSet::new();
    for (vulnerability, terms) in pairs {
        let index = *indexes.entry(std::ptr::from_ref(terms.until)).or_insert(groups.len());
        if index == groups.len() {
            groups.push((*terms, Vec::new()));
        }
        if known.insert((index, &vulnerability.id))
            && let Some((_, ids)) = groups.get_mut(index)
        {
            ids.push(&vulnerability.id);
        }
    }
    groups
}

/// The first [`NAMED`] ids, and the number of the others.
fn listed(ids: &[&str]) -> String {
    let mut shown: Vec<String> = ids.iter().take(NAMED).map(|id| Sanitized(id).to_string()).collect();
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
