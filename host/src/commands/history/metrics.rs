//! Metrics for Prometheus.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use container_patch_policy::enforcement::codes;
use container_patch_policy::rules::waiver::EXCEPTED;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

use super::line::Skipped;
use super::patches::Patch;
use super::record::{Finding, Request};
use crate::commands::swarm_authz;
use crate::terminal::printable;

/// The beginning of all names.
const PREFIX: &str = "container_patch_history";

/// The most series of a metric. Requesters choose names, and every series uses memory here and in Prometheus.
const MAX_SERIES: usize = 1000;

/// The most characters of a label.
const MAX_LABEL: usize = 256;

/// The value of a label that is unknown, or that would exceed [`MAX_SERIES`].
const OTHER: &str = "other";

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// The limits of the buckets for the age of images, in seconds.
const AGES: [f64; 8] = [DAY, 7.0 * DAY, 14.0 * DAY, 30.0 * DAY, 60.0 * DAY, 90.0 * DAY, 180.0 * DAY, 365.0 * DAY];

/// The limits of the buckets for the time to patch, in seconds.
const TIMES_TO_PATCH: [f64; 10] =
    [5.0 * MINUTE, 15.0 * MINUTE, HOUR, 4.0 * HOUR, 12.0 * HOUR, DAY, 3.0 * DAY, 7.0 * DAY, 14.0 * DAY, 30.0 * DAY];

/// The settings that turn a refusal into a warning. A finding without one has the empty label.
const PASSED: [&str; 6] = ["", "controllerPods", "unchangedImages", "unrecordedPods", "fixes", "breakGlass"];

/// The labels of a series.
type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

type Time = Gauge<f64, AtomicU64>;

/// The metrics of the history.
pub(super) struct Metrics {
    registry: Arc<Registry>,
    codes: BTreeSet<&'static str>,
    requests: Bounded<2, Counter>,
    findings: Bounded<4, Counter>,
    ages: Bounded<1, Histogram, fn() -> Histogram>,
    break_glass: Bounded<2, Counter>,
    break_glass_last_use: Bounded<2, Time>,
    exceptions: Bounded<1, Counter>,
    exceptions_last_use: Bounded<1, Time>,
    last_event: LastTime,
    last_decision: LastTime,
    skipped: Bounded<1, Counter>,
    times_to_patch: Bounded<1, Histogram, fn() -> Histogram>,
    unfinished: Bounded<1, Time>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let to = &mut registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "The version of container-patch", build);
        let requests = Bounded::register(to, "requests", "Requests that the policy has judged, by outcome", 1);
        let findings = Bounded::register(
            to,
            "findings",
            "Findings, counted once per image of a request. The label passed has the setting that turned a refusal into a warning",
            1,
        );
        let ages = Bounded::register_histogram(
            to,
            "admitted_image_age_seconds",
            "Time from the build of an image until a request with it was stored. Unchanged images do not count",
            || Histogram::new(AGES),
        );
        let break_glass = Bounded::register(to, "break_glass", "Requests that were stored because of break-glass", 2);
        let break_glass_last_use = Bounded::register(
            to,
            "break_glass_last_use_timestamp_seconds",
            "Time of the last request that was stored because of break-glass",
            2,
        );
        let exceptions =
            Bounded::register(to, "exceptions", "Findings that an exception covers, in requests that were stored", 1);
        let exceptions_last_use = Bounded::register(
            to,
            "exceptions_last_use_timestamp_seconds",
            "Time of the last stored request with a finding that an exception covers",
            1,
        );
        let [last_event, last_decision] = [(); 2].map(|()| LastTime::default());
        to.register(
            "last_event_timestamp_seconds",
            "Time of the last event of the logs, of any kind",
            last_event.clone(),
        );
        to.register(
            "last_decision_timestamp_seconds",
            "Time of the last request that the policy has judged",
            last_decision.clone(),
        );
        let mut skipped = Bounded::register(to, "skipped_lines", "Lines of the logs that could not be read", 0);
        for reason in Skipped::ALL {
            skipped.get([("reason", reason.as_str().into())], |_: &Counter| {});
        }
        let times_to_patch = Bounded::register_histogram(
            to,
            "time_to_patch_seconds",
            "Time from the first admission of a new build until the last pod of an older build was deleted",
            || Histogram::new(TIMES_TO_PATCH),
        );
        let unfinished = Bounded::register(
            to,
            "unfinished_patch_start_timestamp_seconds",
            "Time of the first admission of the new build, for the oldest unfinished patch of the repository",
            1,
        );
        let codes = codes::all().into_iter().map(|code| code.as_str());
        let codes = codes.chain(swarm_authz::CODES.map(|(code, _)| code)).collect();
        Self {
            registry: Arc::new(registry),
            codes,
            requests,
            findings,
            ages,
            break_glass,
            break_glass_last_use,
            exceptions,
            exceptions_last_use,
            last_event,
            last_decision,
            skipped,
            times_to_patch,
            unfinished,
        }
    }

    /// The metrics, to be served.
    pub(super) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// An event of any kind has this time.
    pub(super) fn event(&mut self, time: DateTime<Utc>) {
        self.last_event.raise(time);
    }

    /// A line was skipped.
    pub(super) fn skipped(&mut self, reason: Skipped) {
        self.skipped.get([("reason", reason.as_str().into())], |lines| _ = lines.inc());
    }

    /// The policy has judged a request.
    pub(super) fn request(&mut self, request: &Request) {
        let time = request.time;
        let namespace = || ("namespace", label(&request.object.namespace));
        self.last_decision.raise(time);
        self.requests.get([namespace(), ("outcome", request.outcome.as_str().into())], |requests| _ = requests.inc());
        // Several containers can have the same image. A refusal takes precedence.
        let mut findings: Vec<&Finding> = request.findings.iter().collect();
        findings.sort_by_key(|finding| finding.effect != "deny");
        let mut counted = HashSet::new();
        findings.retain(|finding| counted.insert((&finding.code, &finding.image)));
        for finding in &findings {
            self.finding(namespace(), finding);
        }
        if !request.outcome.is_stored() {
            return;
        }
        if request.break_glass.is_some() {
            let labels = || [namespace(), ("user", label(&request.user))];
            self.break_glass.get(labels(), |uses| _ = uses.inc());
            self.break_glass_last_use.get(labels(), |last| raise(last, time));
        }
        for _ in findings.iter().filter(|finding| finding.code == EXCEPTED.as_str()) {
            self.exceptions.get([namespace()], |uses| _ = uses.inc());
            self.exceptions_last_use.get([namespace()], |last| raise(last, time));
        }
        for image in request.images.iter().filter(|image| !image.unchanged) {
            if let Some(built) = image.built {
                // The clock of the builder can be ahead.
                let age = seconds(time) - seconds(built);
                self.ages.get([namespace()], |ages| ages.observe(age.max(0.0)));
            }
        }
    }

    fn finding(&mut self, namespace: (&'static str, Cow<'static, str>), finding: &Finding) {
        let code = self.codes.get(finding.code.as_str()).copied().unwrap_or(OTHER);
        let effect = if finding.effect == "deny" { "deny" } else { "warn" };
        let passed = finding.passed.as_deref().unwrap_or_default();
        let passed = PASSED.into_iter().find(|known| *known == passed).unwrap_or(OTHER);
        let labels = [namespace, ("code", code.into()), ("effect", effect.into()), ("passed", passed.into())];
        self.findings.get(labels, |findings| _ = findings.inc());
    }

    /// A patch was finished.
    pub(super) fn patched(&mut self, patch: &Patch) {
        let Some(duration) = patch.duration() else { return };
        #[expect(clippy::cast_precision_loss, reason = "a duration in this millennium has few enough digits")]
        let seconds = duration.num_seconds().max(0) as f64;
        self.times_to_patch.get([("repository", label(&patch.repository))], |times| times.observe(seconds));
    }

    /// The patches that are not finished now.
    pub(super) fn unfinished(&mut self, patches: &[Patch]) {
        let mut oldest: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
        for patch in patches {
            let start = oldest.entry(&patch.repository).or_insert(patch.start);
            *start = patch.start.min(*start);
        }
        let mut starts: BTreeMap<Cow<'static, str>, DateTime<Utc>> = BTreeMap::new();
        let mut oldest: Vec<_> = oldest.into_iter().map(|(repository, start)| (start, repository)).collect();
        // The oldest patches keep their labels.
        oldest.sort_unstable();
        for (start, repository) in oldest {
            let repository = if starts.len() < MAX_SERIES - 1 { label(repository) } else { OTHER.into() };
            starts.entry(repository).or_insert(start);
        }
        self.unfinished.retain(|[(_, repository)]| starts.contains_key(repository));
        for (repository, start) in starts {
            self.unfinished.get([("repository", repository)], |time| _ = time.set(seconds(start)));
        }
    }
}

/// The time of the last event. It has no sample before the first one.
#[derive(Debug, Clone, Default)]
struct LastTime(Time);

impl LastTime {
    fn raise(&self, time: DateTime<Utc>) {
        raise(&self.0, time);
    }
}

impl EncodeMetric for LastTime {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }

    fn is_empty(&self) -> bool {
        self.0.get() == 0.0
    }
}

/// A metric whose series are bounded.
struct Bounded<const N: usize, M, C = fn() -> M> {
    family: Family<Labels<N>, M, C>,
    series: HashSet<Labels<N>>,
    /// How many of the labels, from the first one on, have values that requesters choose.
    free: usize,
}

impl<const N: usize, M> Bounded<N, M>
where
    M: Default + TypedMetric,
    Family<Labels<N>, M, fn() -> M>: Metric + Clone,
{
    /// Registers a metric. Requesters choose the values of the first `free` labels.
    fn register(registry: &mut Registry, name: &str, help: &str, free: usize) -> Self {
        Self::with(registry, name, help, free, M::default)
    }
}

impl<const N: usize> Bounded<N, Histogram, fn() -> Histogram>
where
    Family<Labels<N>, Histogram, fn() -> Histogram>: Metric + Clone,
{
    fn register_histogram(registry: &mut Registry, name: &str, help: &str, new: fn() -> Histogram) -> Self {
        Self::with(registry, name, help, N, new)
    }
}

impl<const N: usize, M, C> Bounded<N, M, C>
where
    M: TypedMetric,
    C: MetricConstructor<M> + Clone,
    Family<Labels<N>, M, C>: Metric + Clone,
{
    fn with(registry: &mut Registry, name: &str, help: &str, free: usize, new: C) -> Self {
        let family = Family::new_with_constructor(new);
        registry.register(name, help, family.clone());
        Self { family, series: HashSet::new(), free }
    }

    /// Gives the series with these labels to a function.
    fn get(&mut self, mut labels: Labels<N>, change: impl FnOnce(&M)) {
        if !self.series.contains(&labels) {
            if self.series.len() >= MAX_SERIES {
                labels.iter_mut().take(self.free).for_each(|(_, value)| *value = OTHER.into());
            }
            self.series.insert(labels.clone());
        }
        change(&self.family.get_or_create(&labels));
    }

    /// Removes the other series.
    fn retain(&mut self, keep: impl Fn(&Labels<N>) -> bool) {
        self.series.retain(|labels| {
            let is_kept = keep(labels);
            if !is_kept {
                self.family.remove(labels);
            }
            is_kept
        });
    }
}

/// The value of a label, from a text that a requester chooses.
fn label(text: &str) -> Cow<'static, str> {
    let text = match text.char_indices().nth(MAX_LABEL).and_then(|(end, _)| text.get(..end)) {
        Some(beginning) => format!("{beginning}…"),
        None => text.to_owned(),
    };
    printable(&text).into()
}

fn seconds(time: DateTime<Utc>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a time in this millennium has few enough digits")]
    let milliseconds = time.timestamp_millis() as f64;
    milliseconds / 1000.0
}

/// Sets the time, unless it is already later: the lines of several logs are not in order.
fn raise(gauge: &Time, time: DateTime<Utc>) {
    let time = seconds(time);
    // A new gauge has the time 0.
    if time > gauge.get() {
        gauge.set(time);
    }
}
