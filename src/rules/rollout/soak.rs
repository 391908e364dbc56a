//! The time that a new image must have run in staging.
//!
//! A ConfigMap records which digests run there, and since when. Container runtimes name an image by the digest of its index, of its
//! manifest or of its configuration, so each of them counts.

mod record;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use super::NOT_SOAKED;
use crate::calendar::zone::Zone;
use crate::config::namespaces::Namespace;
use crate::config::read::{Path, Problems, Setting, is_empty_list, read_string, section};
use crate::config::schema::Schema;
use crate::config::values::{Duration, days};
use crate::evidence::Evidence;
use crate::evidence::build::{Build, Builds};
use crate::finding::{Effect, Violation};
use crate::rules::rule::unverified;
pub use record::RECORDED_AT;
use record::{Ready, Record, Run};

/// The maximum number of ConfigMaps. Each costs a host call for an image that has not soaked.
const MAX_CONFIG_MAPS: usize = 8;

/// The most characters of the name of a ConfigMap (RFC 1123, as Kubernetes limits it).
const MAX_NAME: usize = 253;

section! {
    /// New images must have run in staging.
    pub struct Soak {
        required {
            /// The ConfigMaps with the images that run in staging, at most 8. The longest time in one of them counts. People who can write
            /// one of them decide which images are admitted, so one in the workload's own namespace does not count. For example
            /// `[{namespace: container-patch, name: soaked-images}]`.
            "configMaps" config_maps: ConfigMaps,
        }
        /// How long an image must have run in staging.
        "for" duration: Duration = Duration::days(1),
    }
}

section! {
    /// A ConfigMap with the images that run in staging.
    pub struct ConfigMap {
        required {
            /// The namespace of the ConfigMap.
            "namespace" namespace: Namespace,
            /// The name of the ConfigMap.
            "name" name: ConfigMapName,
        }
    }
}

impl ConfigMap {
    /// The ConfigMap in messages.
    fn called(&self) -> String {
        format!("ConfigMap `{}/{}`", self.namespace.as_str(), self.name.0)
    }
}

/// A list of ConfigMaps: at least one, and not too many.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigMaps(Vec<ConfigMap>);

impl Setting for ConfigMaps {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let example = "{namespace: container-patch, name: soaked-images}";
        if is_empty_list(json) {
            problems.push(at, format_args!("the list is empty; write a ConfigMap such as `{example}`"));
            return None;
        }
        let config_maps = Vec::read(json, at, problems)?;
        if config_maps.len() > MAX_CONFIG_MAPS {
            problems
                .push(at, format_args!("expected at most {MAX_CONFIG_MAPS} ConfigMaps, found {}", config_maps.len()));
            return None;
        }
        Some(Self(config_maps))
    }

    fn schema() -> Schema {
        Schema::List { items: Box::new(ConfigMap::schema()), least: 1 }
    }

    fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

/// The name of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapName(String);

impl Setting for ConfigMapName {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let name = read_string(json, at, "the name of a ConfigMap", problems)?;
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_label = |label: &str| {
            let ends = [label.bytes().next(), label.bytes().next_back()];
            ends.iter().all(|byte| byte.is_some_and(is_inner))
                && label.bytes().all(|byte| is_inner(byte) || byte == b'-')
        };
        // A DNS subdomain (RFC 1123).
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            problems.push(at, format_args!("invalid ConfigMap name `{name}`; write one such as `soaked-images`"));
            return None;
        }
        Some(Self(name))
    }

    fn schema() -> Schema {
        let label = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
        Schema::text("name of a ConfigMap", "names of ConfigMaps", format!("^{label}(\\.{label})*$"))
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The new images of a request, as far as they have been judged. Many containers can have the same image.
#[derive(Default)]
pub(super) struct Soaks(BTreeMap<(*const Soak, Sought), Outcome>);

/// How messages show times.
#[derive(Clone, Copy)]
pub(super) struct Times<'s> {
    /// The time zone of the calendar.
    pub(super) zone: &'s Zone,
    /// The first moment from a time on at which the windows and freezes admit new images, for messages.
    pub(super) admitted_from: &'s dyn Fn(DateTime<Utc>) -> String,
}

/// The result of judging an image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It has run long enough.
    Soaked,
    /// It has not. The text continues the sentence that begins with the image.
    NotSoaked(String),
    /// The ConfigMaps that were read do not admit it, and another one could not be read.
    Unknown(String),
}

impl Soaks {
    /// Judges a new image by the time that it has run in staging. `own` is the namespace of the workload.
    pub(super) fn judge(
        &mut self,
        (soak, effect): (&Soak, Effect),
        (digest, builds): (Option<&str>, &Builds),
        times: Times<'_>,
        own: Option<&str>,
        evidence: &mut Evidence<'_>,
    ) -> Option<Violation> {
        // The zone, the windows and the freezes, too, are part of the settings with this address.
        let key = (std::ptr::from_ref(soak), Sought::new(digest, builds));
        let outcome = match self.0.get(&key) {
            Some(known) => known.clone(),
            None => {
                let outcome = soak.outcome(&key.1, own, times, evidence);
                self.0.insert(key, outcome.clone());
                outcome
            }
        };
        match outcome {
            Outcome::Soaked => None,
            Outcome::NotSoaked(text) => Some(Violation { code: NOT_SOAKED, effect, text }),
            Outcome::Unknown(cause) => Some(unverified(effect, &cause, evidence)),
        }
    }
}

/// The keys under which a record can name an image.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sought {
    /// The key of the digest that is judged. `None` if it is not a sha256 digest.
    own: Option<String>,
    /// The images that nodes can choose.
    builds: Vec<SoughtBuild>,
    /// Whether these are all images that nodes can choose.
    is_complete: bool,
}

/// One of the images that nodes can choose.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SoughtBuild {
    /// The platform, if messages name it.
    platform: Option<String>,
    /// The keys of its manifest and its configuration.
    keys: Vec<String>,
}

impl Sought {
    fn new(digest: Option<&str>, builds: &Builds) -> Self {
        let sought = |build: &Build| SoughtBuild {
            platform: build.platform.clone(),
            keys: [build.facts.digest.as_deref(), build.facts.config_digest.as_deref()]
                .into_iter()
                .filter_map(|digest| key_of(digest?))
                .collect(),
        };
        Self {
            own: digest.and_then(key_of),
            builds: builds.builds.iter().map(sought).collect(),
            is_complete: builds.gap.is_none(),
        }
    }

    /// The fields of a ConfigMap with these keys. A record can have thousands of entries.
    fn fields(&self) -> Vec<String> {
        let keys = self.own.iter().chain(self.builds.iter().flat_map(|build| &build.keys));
        let mut fields: Vec<String> = keys.map(|key| format!("data.{key}")).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }
}

/// The key of a digest in a record. `None` if it is not a sha256 digest: the builder of an image chooses the text in its manifest.
fn key_of(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:")?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (hex.len() == 64 && hex.bytes().all(is_hex)).then(|| format!("sha256-{hex}"))
}

impl Soak {
    /// Reads the ConfigMaps until the image has soaked. A ConfigMap in the namespace of the workload does not count: people who deploy
    /// there may be able to write it.
    fn outcome(&self, sought: &Sought, own: Option<&str>, times: Times<'_>, evidence: &mut Evidence<'_>) -> Outcome {
        let fields = sought.fields();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let mut known = Known {
            sought,
            required: self.duration,
            now: evidence.now,
            times,
            runs: BTreeMap::new(),
            gaps: Vec::new(),
            has_fault: false,
        };
        let mut failure = None;
        // A mask without fields would ask for the whole record.
        let config_maps = if fields.is_empty() { &[][..] } else { &self.config_maps.0[..] };
        for config_map in config_maps {
            let called = config_map.called();
            if own == Some(config_map.namespace.as_str()) {
                known.gaps.push(format!("{called} does not count for workloads in its own namespace"));
                continue;
            }
            let answer = evidence.cluster.config_map(config_map.namespace.as_str(), &config_map.name.0, &fields);
            let record = answer.and_then(|answer| {
                let record = answer.map(|answer| Record::read(&answer));
                record.transpose().map_err(|cause| format!("{called} cannot be read: {cause}"))
            });
            match record {
                Ok(record) => known.add(&called, record),
                // Another ConfigMap may have the image.
                Err(cause) => drop(failure.get_or_insert(cause)),
            }
            if known.is_enough() {
                return Outcome::Soaked;
            }
        }
        failure.map_or_else(|| Outcome::NotSoaked(known.explained()), Outcome::Unknown)
    }
}

/// What the ConfigMaps say about an image.
struct Known<'s> {
    sought: &'s Sought,
    required: Duration,
    now: DateTime<Utc>,
    times: Times<'s>,
    /// The best run for each key.
    runs: BTreeMap<String, Run>,
    /// What is missing in the ConfigMaps, at most one line for each.
    gaps: Vec<String>,
    /// Whether an entry about the image cannot be read.
    has_fault: bool,
}

impl Known<'_> {
    /// Adds the record in a ConfigMap. `None` if it does not exist.
    fn add(&mut self, called: &str, record: Option<Record>) {
        let Some(record) = record else {
            self.gaps.push(format!("{called} does not exist"));
            return;
        };
        let (mut is_named, mut fault) = (false, None);
        for key in self.sought.own.iter().chain(self.sought.builds.iter().flat_map(|build| &build.keys)) {
            let Some(run) = record.run(key, called, self.now) else { continue };
            is_named = true;
            match run {
                Ok(run) => {
                    let is_better = |known: &Run| self.ready(&run) < self.ready(known);
                    if self.runs.get(key).is_none_or(is_better) {
                        self.runs.insert(key.clone(), run);
                    }
                }
                Err(cause) => drop(fault.get_or_insert(cause)),
            }
        }
        match fault {
            Some(cause) => {
                self.has_fault = true;
                self.gaps.push(format!("its entry in {called} does not count: {cause}"));
            }
            None if !is_named => self.gaps.push(format!("{called} has no entry for it")),
            None => {}
        }
    }

    fn ready(&self, run: &Run) -> Ready {
        run.ready(self.required.delta())
    }

    /// The run that decides about the image, with the platform if the image is one of several. `None` if the image, or one of the
    /// images that nodes can choose, has not run.
    fn deciding(&self) -> Option<(&Run, Option<&str>)> {
        let own = self.sought.own.as_ref().and_then(|key| self.runs.get(key)).map(|run| (run, None));
        [own, self.of_builds()].into_iter().flatten().min_by_key(|(run, _)| self.ready(run))
    }

    /// The run of the image that is ready last. A new index can combine an image that has soaked with one that has not.
    fn of_builds(&self) -> Option<(&Run, Option<&str>)> {
        if !self.sought.is_complete {
            return None;
        }
        let mut last: Option<(&Run, Option<&str>)> = None;
        for build in &self.sought.builds {
            let run = self.of_build(build)?;
            if last.is_none_or(|(known, _)| self.ready(known) < self.ready(run)) {
                last = Some((run, build.platform.as_deref()));
            }
        }
        last
    }

    fn of_build(&self, build: &SoughtBuild) -> Option<&Run> {
        build.keys.iter().filter_map(|key| self.runs.get(key)).min_by_key(|run| self.ready(run))
    }

    fn is_enough(&self) -> bool {
        self.deciding().is_some_and(|(run, _)| matches!(self.ready(run), Ready::From(time) if time <= self.now))
    }

    /// Why the image may not be deployed yet. What to do comes before the details.
    fn explained(&self) -> String {
        let Self { required, now, times: Times { zone, admitted_from }, .. } = self;
        let of_platform =
            |platform: Option<&str>| platform.map(|platform| format!("({platform}) ")).unwrap_or_default();
        let Some((run, platform)) = self.deciding() else {
            let without_run = self.sought.builds.iter().find(|build| self.of_build(build).is_none());
            let platform = without_run.filter(|_| !self.runs.is_empty()).and_then(|build| build.platform.as_deref());
            let mut details = self.gaps.clone();
            if !self.sought.is_complete {
                details.push("not all images of its index are known".to_owned());
            }
            if self.sought.fields().is_empty() {
                details.push("a record names images by sha256 digests".to_owned());
            }
            let advice = if self.has_fault {
                format!(
                    "must run in staging for {required}, and how long it has run is unknown; renew the record with `container-patch soak`"
                )
            } else {
                format!("has not run in staging, where it must run for {required}; deploy it there first")
            };
            return format!("{}{advice}{}", of_platform(platform), details_of(&details));
        };
        let (platform, ran) = (of_platform(platform), rounded(run.ran(*now)));
        let mut details = vec![run.source()];
        details.extend_from_slice(&self.gaps);
        let details = details_of(&details);
        match (self.ready(run), run.until) {
            (Ready::From(time), _) => {
                let time = admitted_from(time);
                format!(
                    "{platform}has run in staging for {ran} and must run there for {required}; deploy it on or after {time}{details}"
                )
            }
            (Ready::Never(_), _) if let Some(last_record) = run.last_record => format!(
                "{platform}has run in staging for {ran}, according to the record of {}, and must run there for {required}; renew the record with \
                 `container-patch soak`{details}",
                zone.rfc3339(last_record)
            ),
            (Ready::Never(_), until) => {
                let until = until.map(|until| format!(" until {}", zone.rfc3339(until))).unwrap_or_default();
                format!(
                    "{platform}ran in staging for {ran}{until} and must run there for {required}; deploy it there again{details}"
                )
            }
        }
    }
}

/// Details at the end of a message.
fn details_of(details: &[String]) -> String {
    if details.is_empty() { String::new() } else { format!(" ({})", details.join("; ")) }
}

/// A time in a message, rounded down.
fn rounded(span: TimeDelta) -> String {
    match (span.num_minutes(), span.num_hours()) {
        (..1, _) => "less than a minute".to_owned(),
        (1, _) => "1 minute".to_owned(),
        (minutes @ 2..120, _) => format!("{minutes} minutes"),
        (_, hours @ ..72) => format!("{hours} hours"),
        _ => days(span.num_days()),
    }
}

#[cfg(test)]
mod tests;
