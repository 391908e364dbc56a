//! From judged objects to the images of the report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use container_patch_policy::evidence::EVIDENCE_UNAVAILABLE;
use container_patch_policy::image::Reference;
use container_patch_policy::rules::RuleSettings;
use container_patch_policy::rules::base_image::{
    BASE_UPDATE_DUE, DISALLOWED_BASE_IMAGE, OUTDATED_BASE_IMAGE, UNKNOWN_BASE_IMAGE,
};
use container_patch_policy::rules::scan::{
    PATCH_WINDOW_OPEN, SCAN_FLAGGED, STALE_SCAN, UNSCANNED_IMAGE, VULNERABLE_IMAGE,
};
use container_patch_policy::settings::{Override, Settings};

use super::bases::Bases;
use super::inventory::{Entry, Site};
use super::model::{Base, Failure, Finding, Image, ObjectFinding, Scan, Use, Verdict};
use crate::judge::verdict::{self, Effect, JudgedImage, JudgedObject};

/// The images of judged objects, and what is reported about whole objects.
#[derive(Default)]
pub(super) struct Assessment {
    pub(super) images: Vec<Image>,
    pub(super) object_findings: Vec<ObjectFinding>,
    pub(super) failures: Vec<Failure>,
}

/// What the images are compared with.
pub(super) struct Standards<'s> {
    settings: &'s Settings,
    overrides: Vec<Override>,
    bases: &'s Bases,
    now: DateTime<Utc>,
}

/// Repository, and the digest, or the tag if the digest is unknown.
type Key = (String, Result<String, Option<String>>);

/// What the judged objects say about one image.
#[derive(Default)]
struct Collected {
    /// The names and the namespaces for which rules may have judged it. Empty for an image that is exempt everywhere.
    judged_as: BTreeSet<(String, Option<String>)>,
    tags: Vec<String>,
    built: Option<DateTime<Utc>>,
    findings: Vec<Finding>,
    missing_platforms: Vec<String>,
    uses: BTreeMap<UseKey, Use>,
}

/// Namespace, kind and name of the object, the container, the image as written, and its ID on the node.
type UseKey = (String, String, String, String, String, Option<String>);

impl<'s> Standards<'s> {
    pub(super) fn new(settings: &'s Settings, bases: &'s Bases, now: DateTime<Utc>) -> Self {
        Self { settings, overrides: settings.overrides(), bases, now }
    }

    /// The settings of the rules for an image in a namespace.
    fn rules_for(&self, normalized: &str, namespace: Option<&str>) -> &RuleSettings {
        let found = self.overrides.iter().find(|entry| entry.matches(normalized, namespace));
        found.map_or(&self.settings.rules, |entry| &entry.rules)
    }

    /// Collects the images of judged objects.
    pub(super) fn assess(&self, judged: &[(Entry, JudgedObject)]) -> Assessment {
        let mut collected: BTreeMap<Key, Collected> = BTreeMap::new();
        let mut assessment = Assessment::default();
        for (entry, object) in judged {
            assessment.failures.extend(failure(entry, object));
            for finding in &object.findings {
                let is_about_site = entry.sites.iter().any(|site| finding.site.as_ref() == Some(&site.name));
                if !is_about_site {
                    assessment.object_findings.extend(object_findings(entry, object, finding));
                }
            }
            for site in &entry.sites {
                collect(site, object, &mut collected);
            }
        }
        assessment.images = collected.into_iter().map(|(key, collected)| self.image(key, collected)).collect();
        let days = |image: &Image| (image.deadline.is_none(), image.deadline);
        assessment.images.sort_by_key(days);
        assessment.object_findings = grouped(assessment.object_findings);
        assessment.failures.sort();
        assessment.failures.dedup();
        assessment
    }

    fn image(&self, (repository, version): Key, mut collected: Collected) -> Image {
        let rules = collected.judged_as.iter().map(|(name, namespace)| self.rules_for(name, namespace.as_deref()));
        let rules: Vec<_> = rules.collect();
        collected.findings.sort_by(|a, b| (b.effect, &a.code, &a.text).cmp(&(a.effect, &b.code, &b.text)));
        collected.tags.sort();
        collected.tags.dedup();
        let digest = version.ok();
        let scheduled = rules.iter().map(|rules| &rules.schedule).filter(|schedule| schedule.action.effect().is_some());
        // Namespaces may have different schedules. The deadline is the earliest one.
        let deadline = collected.built.and_then(|built| {
            scheduled.map(|schedule| (schedule, schedule.deadline(built))).min_by_key(|(_, deadline)| deadline.at)
        });
        let has = |codes: &[&str]| collected.findings.iter().any(|finding| codes.contains(&finding.code.as_str()));
        let is_judged = !rules.is_empty() && !has(&[EVIDENCE_UNAVAILABLE.as_str()]);
        let base = digest.as_deref().and_then(|digest| self.bases.of(digest)).map(|base| {
            // The policy does not ask about a base for whose name it refuses the image.
            let is_refused = collected
                .findings
                .iter()
                .any(|finding| finding.code == DISALLOWED_BASE_IMAGE.as_str() && finding.effect == Effect::Deny);
            let is_compared = is_judged
                && collected.built.is_some()
                && rules.iter().any(|rules| rules.base_image.action.effect().is_some())
                && base.comparable().is_ok()
                && !is_refused
                && !has(&[UNKNOWN_BASE_IMAGE.as_str()]);
            let outdated = has(&[OUTDATED_BASE_IMAGE.as_str(), BASE_UPDATE_DUE.as_str()]);
            Base {
                digest: base.digest().map(str::to_owned),
                outdated: (is_compared || outdated).then_some(outdated),
                name: base.name,
            }
        });
        let scan = if has(&[SCAN_FLAGGED.as_str(), VULNERABLE_IMAGE.as_str()]) {
            Scan::Flagged
        } else if has(&[PATCH_WINDOW_OPEN.as_str()]) {
            Scan::PatchSoon
        } else if has(&[STALE_SCAN.as_str()]) {
            Scan::Stale
        } else if has(&[UNSCANNED_IMAGE.as_str()]) {
            Scan::Missing
        } else if is_judged && digest.is_some() && rules.iter().any(|rules| rules.scan.action.effect().is_some()) {
            Scan::NoFindings
        } else {
            Scan::NotJudged
        };
        Image {
            verdict: verdict(&collected),
            repository,
            tags: collected.tags,
            digest,
            built: collected.built,
            deadline: deadline.as_ref().map(|(_, deadline)| deadline.at),
            deadline_day: deadline.as_ref().map(|(schedule, deadline)| schedule.zone().local(deadline.at).date_naive()),
            days_left: deadline.as_ref().map(|(_, deadline)| (deadline.at - self.now).num_seconds().div_euclid(86_400)),
            freeze: deadline.and_then(|(_, deadline)| deadline.moved_by).map(|freeze| freeze.reason.clone()),
            base,
            scan,
            findings: collected.findings,
            missing_platforms: collected.missing_platforms,
            pods: pods(collected.uses.values()),
            used_by: collected.uses.into_values().collect(),
        }
    }
}

/// Adds what a judged object says about the image of a container or volume.
fn collect(site: &Site, object: &JudgedObject, images: &mut BTreeMap<Key, Collected>) {
    let reference = Reference::parse(&site.image).ok();
    let normalized = reference.as_ref().map_or_else(|| site.image.clone(), Reference::normalized);
    let judged = judged_image(site, reference.as_ref(), &normalized, &object.images);
    let pinned =
        judged.and_then(|image| image.digest.clone().or_else(|| digest_of(&Reference::parse(&image.image).ok()?)));
    let digest = reference.as_ref().and_then(digest_of).or(pinned);
    let tag = reference.as_ref().and_then(Reference::effective_tag).map(str::to_owned);
    let repository = reference.as_ref().map_or_else(|| site.image.clone(), |image| repository(image));
    let key = (repository, digest.ok_or(tag));
    let image = images.entry(key).or_default();
    let findings =
        object.findings.iter().filter(|finding| finding.site.as_ref() == Some(&site.name)).map(|finding| Finding {
            code: finding.code.clone(),
            effect: finding.effect,
            passed: finding.passed.clone(),
            fix: finding.fix.clone(),
            text: finding.text.clone(),
        });
    findings.for_each(|finding| add(finding, &mut image.findings));
    if let Some(judged) = judged {
        if !judged.exempt {
            let namespace = object.object.as_ref().and_then(|object| object.namespace.clone());
            image.judged_as.insert((normalized, namespace.filter(|name| !name.is_empty())));
        }
        let built = judged.built.as_deref().and_then(|built| DateTime::parse_from_rfc3339(built).ok());
        let built = built.map(|built| built.to_utc());
        // Pods may select other platforms. The deadline is that of the oldest image that may run.
        image.built = [image.built, built].into_iter().flatten().min();
        for platform in &judged.missing_platforms {
            if !image.missing_platforms.contains(platform) {
                image.missing_platforms.push(platform.clone());
            }
        }
    } else if object.verdict != verdict::Verdict::Skipped {
        // The answer of the policy has room for about 50 images of an object.
        let text = match object.verdict {
            verdict::Verdict::Failed => object.messages.join("; "),
            _ => "could not be verified: the answer of the policy has no room for this image".to_owned(),
        };
        let code = EVIDENCE_UNAVAILABLE.as_str().to_owned();
        image.findings.push(Finding { code, effect: Effect::Deny, passed: None, fix: None, text });
    }
    for used in site.uses() {
        image.tags.extend(Reference::parse(&used.image).ok().and_then(|written| tag_of(&written)));
        let Use { namespace, kind, name, container, image: written, image_id, .. } = used.clone();
        let known = image.uses.entry((namespace, kind, name, container, written, image_id));
        let known = known.or_insert_with(|| Use { declared: false, pods: 0, ..used.clone() });
        known.declared |= used.declared;
        known.pods += used.pods;
    }
}

/// What the policies say about the image of a container or volume. A policy that pins it gives it another name for the next policy.
fn judged_image<'i>(
    site: &Site,
    reference: Option<&Reference<'_>>,
    normalized: &str,
    images: &'i [JudgedImage],
) -> Option<&'i JudgedImage> {
    let is_at_site = |image: &&JudgedImage| image.sites.contains(&site.name);
    let Some(reference) = reference else { return images.iter().find(is_at_site) };
    // The sites of an image are not complete in the answer if there are many.
    let find = |is_same: &dyn Fn(&JudgedImage) -> bool| {
        let same = || images.iter().filter(|image| is_same(image));
        same().find(is_at_site).or_else(|| same().next())
    };
    let is_pinned = |image: &JudgedImage| {
        Reference::parse(&image.image).is_ok_and(|pinned| {
            reference.digest().is_none()
                && pinned.digest().is_some()
                && pinned.has_repository_of(reference)
                && (pinned.tag().is_none() || pinned.tag() == reference.effective_tag())
        })
    };
    find(&|image| image.image == normalized).or_else(|| find(&is_pinned))
}

/// Adds a finding. Of one that has different effects in different namespaces, the strictest remains. A refusal can say more at its end:
/// the build to deploy.
fn add(finding: Finding, to: &mut Vec<Finding>) {
    let is_same = |known: &Finding| {
        let (short, long) = if known.effect < finding.effect { (known, &finding) } else { (&finding, known) };
        let is_part = long.effect > short.effect && long.text.starts_with(&format!("{};", short.text));
        (&known.code, &known.passed) == (&finding.code, &finding.passed) && (long.text == short.text || is_part)
    };
    match to.iter_mut().find(|known| is_same(known)) {
        Some(known) if known.effect < finding.effect => *known = finding,
        Some(_) => {}
        None => to.push(finding),
    }
}

/// The number of pods. Several containers of a pod may run the image.
pub(super) fn pods<'u>(uses: impl Iterator<Item = &'u Use>) -> usize {
    let mut by_object: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for used in uses {
        let pods = by_object.entry((&used.namespace, &used.kind, &used.name)).or_default();
        *pods = used.pods.max(*pods);
    }
    by_object.into_values().sum()
}

/// The tag that a reference names: `latest` if it has neither tag nor digest.
pub(super) fn tag_of(image: &Reference<'_>) -> Option<String> {
    image.tag().or(image.effective_tag()).map(str::to_owned)
}

/// The digest that a reference names.
fn digest_of(image: &Reference<'_>) -> Option<String> {
    image.digest().map(|digest| digest.as_str().to_owned())
}

/// The normalised repository, with its registry.
fn repository(image: &Reference<'_>) -> String {
    format!("{}/{}", image.normalized_registry(), image.repository())
}

/// Findings without an answer count as failures, unless a rule was broken too.
fn verdict(image: &Collected) -> Verdict {
    let is_failure = |finding: &Finding| finding.code == EVIDENCE_UNAVAILABLE.as_str();
    let denies = |finding: &Finding| finding.effect == Effect::Deny;
    if image.findings.iter().any(|finding| denies(finding) && !is_failure(finding)) {
        Verdict::Denied
    } else if image.findings.iter().any(|finding| denies(finding) && is_failure(finding)) {
        Verdict::Failed
    } else if !image.findings.is_empty() {
        Verdict::Warned
    } else if !image.judged_as.is_empty() {
        Verdict::Accepted
    } else {
        Verdict::Exempt
    }
}

/// The findings about objects, each text once. A finding about the settings would otherwise be repeated for every object.
fn grouped(findings: Vec<ObjectFinding>) -> Vec<ObjectFinding> {
    let mut by_text: BTreeMap<(Reverse<Effect>, String, String), BTreeSet<String>> = BTreeMap::new();
    for ObjectFinding { object, code, effect, text } in findings {
        by_text.entry((Reverse(effect), code, text)).or_default().insert(object);
    }
    let named = |objects: BTreeSet<String>| match objects.len() {
        1 => objects.into_iter().next().unwrap_or_default(),
        several => format!("{several} objects"),
    };
    let finding =
        |((Reverse(effect), code, text), objects)| ObjectFinding { object: named(objects), code, effect, text };
    by_text.into_iter().map(finding).collect()
}

/// Why an object, or a part of it, is not in the report.
fn failure(entry: &Entry, object: &JudgedObject) -> Option<Failure> {
    let reason = match object.omitted_findings {
        // The reason is with its images.
        0 if object.verdict != verdict::Verdict::Failed || !object.images.is_empty() => return None,
        0 => object.messages.join("; "),
        omitted => format!("the answer of the policy has no room for {omitted} of the findings about this object"),
    };
    Some(Failure { subject: subject(entry, object), reason })
}

fn object_findings(entry: &Entry, object: &JudgedObject, finding: &verdict::Finding) -> Vec<ObjectFinding> {
    let text = match (&finding.site, &finding.image) {
        (Some(site), Some(image)) => format!("{site}: image `{image}` {}", finding.text),
        _ => finding.text.clone(),
    };
    vec![ObjectFinding { object: subject(entry, object), code: finding.code.clone(), effect: finding.effect, text }]
}

/// The name of an object that stands for others, for messages: the first workload that uses it, or its place in a manifest.
fn subject(entry: &Entry, object: &JudgedObject) -> String {
    let used = entry.sites.iter().flat_map(Site::uses).next();
    let named = used.map(|used| used.object()).or_else(|| object.object.as_ref().map(ToString::to_string));
    named.unwrap_or_else(|| object.source.to_string())
}
