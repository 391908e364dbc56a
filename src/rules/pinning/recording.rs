//! Records digests in the pod templates of a workload.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;

use super::FORBIDDEN_TAG;
use super::decision::Decision;
use super::settings::{Pinning, PinningAction, Templates};
use crate::evidence::EVIDENCE_UNAVAILABLE;
use crate::evidence::registry::Registry;
use crate::image::Reference;
use crate::request::AdmissionRequest;
use crate::rules::rule::{Context, Edit, SettingsByImage};
use crate::workload;
use crate::workload::kinds::Placement;
use crate::workload::record_keys::{self, RECORDED_AT};
use crate::workload::records::{self, Change, Written};
use crate::workload::site::{ImageSite, Template, Workload};

/// The size limit for the records of one object in bytes, including keys. Kubernetes allows 256 KiB for all annotations of a template.
pub(super) const MAX_RECORD_BYTES: usize = 64 * 1024;

/// How the records of a template are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// They stay unchanged.
    Leave,
    /// Records that the UPDATE lacks are written again.
    Restore,
    /// Valid records stay, the others are looked up.
    Complete,
    /// All are looked up.
    Renew,
}

/// The outcome for the record of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Recorded {
    /// The record, if there is one, stays unchanged.
    Unchanged,
    /// The digest was looked up, and is written.
    LookedUp,
    /// The registry gave no usable answer, for this reason, so the earlier record stays.
    NotRenewed(String),
    /// The digest could not be looked up, and there is no earlier record.
    NotFound,
    /// The tag is forbidden, so the digest was not looked up.
    Forbidden,
}

/// The outcome for the records of a workload.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// By the index of the image site.
    outcomes: Vec<Recorded>,
    /// The changed templates, by JSON pointer, with the annotations that are written or removed.
    written: Vec<(String, Vec<Written>)>,
    /// The size of the records in bytes, if it exceeds [`MAX_RECORD_BYTES`].
    pub(super) excess: Option<usize>,
}

/// Decides about the records of one request.
pub(super) struct Recorder<'r> {
    pub(super) context: &'r Context<'r>,
    pub(super) settings: &'r dyn SettingsByImage<Pinning>,
    pub(super) now: DateTime<Utc>,
    /// Whether a missing answer refuses the request, unless an exception or a downgrade allows it.
    pub(super) denies_failures: bool,
}

impl Recording {
    /// The outcome for the image site with this index.
    pub(super) fn of(&self, site: usize) -> &Recorded {
        self.outcomes.get(site).unwrap_or(&Recorded::Unchanged)
    }

    /// Removes the record of a site, since its image field gets the digest.
    #[cold]
    pub(super) fn remove(&mut self, site: &ImageSite<'_>) {
        let Some(key) = site.record_key().filter(|_| site.is_of_template() && site.record.is_some()) else { return };
        let template = self.written.iter_mut().find(|(template, _)| template == site.template());
        match template {
            Some((_, written)) => {
                written.retain(|(known, _)| *known != key);
                written.push((key, None));
            }
            None => self.written.push((site.template().to_owned(), vec![(key, None)])),
        }
    }

    /// The edits to the JSON text of the object. `None` if a template cannot be found in it.
    pub(super) fn edits(&self, object: &RawValue) -> Option<Vec<Edit>> {
        self.written.iter().map(|(template, written)| records::annotate(object, template, written)).collect()
    }
}

impl Recorder<'_> {
    /// Looks up the digests to record, and sets the records of the image sites.
    ///
    /// Requests of Kubernetes' own controllers get no records, and neither does a ReplicaSet that has a controller: a Deployment
    /// compares the template of its ReplicaSet with its own, and creates another ReplicaSet if they differ.
    #[inline(never)]
    pub(super) fn record<'w>(&self, workload: &mut Workload<'w>, registry: &mut Registry<'_>) -> Recording {
        if self.writes_nothing() {
            return Recording::default();
        }
        let plans: HashMap<&str, Plan> =
            workload.templates.iter().map(|template| (template.pointer.as_ref(), self.plan(template))).collect();
        if plans.values().all(|plan| *plan == Plan::Leave) {
            return Recording::default();
        }
        let earlier: HashMap<_, &ImageSite<'_>> =
            self.context.before.sites.iter().filter_map(|site| Some((site.place()?, site))).collect();
        let mut outcomes = Vec::with_capacity(workload.sites.len());
        // The sites whose records this policy does not manage.
        let mut foreign = HashSet::new();
        for (index, site) in workload.sites.iter_mut().enumerate() {
            let plan = plans.get(site.template()).copied().unwrap_or(Plan::Leave);
            let earlier = site.place().and_then(|place| earlier.get(&place)).and_then(|site| site.record.as_deref());
            let outcome = self.record_site(site, plan, earlier, registry);
            if outcome.is_none() {
                foreign.insert(index);
            }
            outcomes.push(outcome.unwrap_or(Recorded::Unchanged));
        }
        let mut recording = Recording { outcomes, ..Recording::default() };
        let mut bytes = 0;
        for template in &workload.templates {
            let plan = plans.get(template.pointer.as_ref()).copied().unwrap_or(Plan::Leave);
            if plan == Plan::Leave {
                continue;
            }
            let of_template = |site: &ImageSite<'_>| site.template() == template.pointer;
            let sites: Vec<(usize, &ImageSite<'_>)> =
                workload.sites.iter().enumerate().filter(|(_, site)| of_template(site)).collect();
            if sites.iter().all(|(index, _)| foreign.contains(index)) {
                continue;
            }
            let written = self.changed_annotations(template, plan, &sites, &foreign, &recording);
            if plan != Plan::Restore {
                bytes += sites.iter().map(|(_, site)| record_bytes(site)).sum::<usize>();
            }
            if !written.is_empty() {
                recording.written.push((template.pointer.to_string(), written));
            }
        }
        for (template, written) in &recording.written {
            let changed: HashSet<&str> = written.iter().map(|(key, _)| key.as_str()).collect();
            let template = workload.templates.iter_mut().find(|known| known.pointer == *template);
            if let Some(template) = template {
                template.records.retain(|(key, _)| !changed.contains(key.as_ref()));
            }
        }
        recording.excess = Some(bytes).filter(|bytes| *bytes > MAX_RECORD_BYTES);
        recording
    }

    fn writes_nothing(&self) -> bool {
        let AdmissionRequest { kind, .. } = self.context.request;
        let is_replica_set = kind.group == "apps" && kind.kind == "ReplicaSet";
        Placement::of(kind) != Placement::Template
            || self.context.request.is_audit()
            || self.context.request.is_by_controller()
            || is_replica_set
                && [Some(self.context.object), self.context.request.old_object()]
                    .into_iter()
                    .flatten()
                    .any(workload::has_controller)
    }

    /// The same template before the UPDATE.
    fn before_of(&self, template: &Template<'_>) -> Option<&Template<'_>> {
        self.context.before.templates.iter().find(|before| before.pointer == template.pointer)
    }

    fn plan(&self, template: &Template<'_>) -> Plan {
        let old = self.before_of(template).and_then(|old| Some((old, self.context.request.old_object()?)));
        let Some((old, old_object)) = old.filter(|_| self.context.request.operation == "UPDATE") else {
            return Plan::Complete;
        };
        let change = records::change(self.context.object, template, old_object, old);
        // The template of a Job is immutable, except for its scheduling directives.
        let is_job = self.context.request.kind.group == "batch" && self.context.request.kind.kind == "Job";
        match change {
            Some(Change::Nothing) => Plan::Leave,
            Some(Change::RecordsWritten) if is_job => Plan::Leave,
            Some(Change::RecordsRemoved) => Plan::Restore,
            _ if is_job => Plan::Restore,
            Some(Change::RecordsWritten) => Plan::Complete,
            Some(Change::Template) | None => Plan::Renew,
        }
    }

    /// Sets the record of a site. Returns `None` if this policy does not manage the record. `earlier` is the record that the
    /// container had before the UPDATE.
    fn record_site(
        &self,
        site: &mut ImageSite<'_>,
        plan: Plan,
        earlier: Option<&str>,
        registry: &mut Registry<'_>,
    ) -> Option<Recorded> {
        let text = site.image.clone();
        let image = Reference::parse(&text).ok().filter(|_| plan != Plan::Leave && site.record_key().is_some())?;
        let name = image.normalized();
        let rule = self.settings.settings_for(&name)?;
        if rule.action != PinningAction::Pin {
            return None;
        }
        if image.digest().is_some() {
            site.record = None;
            return Some(Recorded::Unchanged);
        }
        if rule.templates() == Templates::Ignore {
            return None;
        }
        let is_valid = |record: &&str| record_keys::recorded_digest(record, &image).is_some();
        let own = site.record.as_deref().filter(is_valid);
        if rule.templates() != Templates::Record {
            site.record = own.map(str::to_owned).map(Cow::Owned);
            return Some(Recorded::Unchanged);
        }
        let known = own.or(earlier.filter(is_valid)).map(str::to_owned);
        if plan == Plan::Restore || plan == Plan::Complete && own.is_some() {
            site.record = known.map(Cow::Owned);
            return Some(Recorded::Unchanged);
        }
        let (record, outcome) = if self.is_forbidden(rule, &image, &name) {
            (None, Recorded::Forbidden)
        } else if !registry.may_ask(&image) {
            (None, Recorded::NotFound)
        } else {
            match registry.digest(&image.registry_name()) {
                Ok(digest) => (Some(format!("{name}@{digest}")), Recorded::LookedUp),
                Err(cause) if known.is_some() => (known, Recorded::NotRenewed(cause)),
                Err(_) => {
                    if self.is_refused_without_digest(&name) {
                        registry.request_is_refused();
                    }
                    (None, Recorded::NotFound)
                }
            }
        };
        site.record = record.map(Cow::Owned);
        Some(outcome)
    }

    /// Whether the request is refused because the digest of an image is unknown. Downgrades only apply to an UPDATE here.
    fn is_refused_without_digest(&self, name: &str) -> bool {
        self.denies_failures
            && self.context.request.operation == "CREATE"
            && !self.settings.is_excepted(name, EVIDENCE_UNAVAILABLE)
            && (self.context.is_denial_final)()
    }

    /// Whether a template has the same records as before the UPDATE.
    fn has_earlier_records(&self, template: &Template<'_>, sites: &[(usize, &ImageSite<'_>)]) -> bool {
        let before = self.before_of(template).into_iter().flat_map(|before| &before.records);
        let before: HashMap<&str, &str> = before.map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        let has_same = |site: &ImageSite<'_>| {
            site.record_key().is_none_or(|key| before.get(key.as_str()).copied() == site.record.as_deref())
        };
        sites.iter().all(|(_, site)| has_same(site))
    }

    /// Whether the tag of an image is forbidden and no exception covers that.
    fn is_forbidden(&self, rule: &Pinning, image: &Reference<'_>, name: &str) -> bool {
        matches!(rule.decide(image, Placement::Template), Decision::Refuse { .. })
            && !self.settings.is_excepted(name, FORBIDDEN_TAG)
    }

    /// The annotations of a template that change. Removed annotations have no value.
    fn changed_annotations(
        &self,
        template: &Template<'_>,
        plan: Plan,
        sites: &[(usize, &ImageSite<'_>)],
        foreign: &HashSet<usize>,
        recording: &Recording,
    ) -> Vec<Written> {
        let known: HashMap<&str, &str> =
            template.records.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        let mut wanted: HashMap<String, Option<&str>> = HashMap::new();
        let mut keys = Vec::new();
        // A renewal gets a new time even if the digests stay the same, so that the old and the new revision differ.
        let (mut is_recorded, mut is_new) = (false, plan == Plan::Renew);
        for (index, site) in sites {
            let Some(key) = site.record_key() else { continue };
            let record = if foreign.contains(index) {
                known.get(key.as_str()).copied()
            } else {
                is_new |= *recording.of(*index) == Recorded::LookedUp;
                site.record.as_deref()
            };
            is_recorded |= record.is_some();
            keys.push(key.clone());
            // The API server refuses two containers with the same name. Until then, they share one record.
            let wanted = wanted.entry(key).or_default();
            *wanted = wanted.or(record);
        }
        let now = self.now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let is_time = |text: &&str| DateTime::parse_from_rfc3339(text).is_ok();
        let given = known.get(RECORDED_AT).copied();
        let before = self.before_of(template);
        let before = before.and_then(|before| before.records.iter().find(|(key, _)| key == RECORDED_AT));
        let before = before.map(|(_, before)| before.as_ref());
        // Operators that overwrite the template in each reconciliation must not start a rollout each time.
        let is_same = known.is_empty() && before.is_some() && self.has_earlier_records(template, sites);
        let at = match (is_recorded, is_new) {
            // The restored time is exactly the earlier one, even if it is invalid.
            (is_recorded, _) if plan == Plan::Restore => given.or(before.filter(|_| is_recorded)),
            (false, _) => None,
            (true, true) if !is_same => Some(now.as_str()),
            (true, _) => given.filter(is_time).or(before.filter(is_time)).or(Some(now.as_str())),
        };
        keys.push(RECORDED_AT.to_owned());
        wanted.insert(RECORDED_AT.to_owned(), at);
        // Records of containers that the template does not have are removed, as is the list of looked-up images of a pod.
        if plan != Plan::Restore {
            keys.extend(template.records.iter().map(|(key, _)| key.to_string()));
        }
        let mut seen = HashSet::new();
        let mut written = Vec::new();
        for key in keys.iter().map(String::as_str).filter(|key| seen.insert(*key)) {
            let value = wanted.get(key).copied().flatten();
            if known.get(key).copied() != value {
                written.push((key.to_owned(), value.map(str::to_owned)));
            }
        }
        written
    }
}

/// The size of a site's record in the annotations of its template, in bytes.
fn record_bytes(site: &ImageSite<'_>) -> usize {
    let key = site.record_key().map_or(0, |key| key.len());
    site.record.as_ref().map_or(0, |record| key + record.len())
}
