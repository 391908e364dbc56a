//! Which requests and images the history shows.

use anyhow::{Result, bail};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use container_patch_policy::image::ImagePattern;
use container_patch_policy::rules::waiver::EXCEPTED;
use serde_json::{Map, Value};

use super::record::{Finding, Image, Outcome, Request};
use crate::at::At;
use crate::commands::explain;
use crate::commands::report::duration;
use crate::timestamp::rfc3339;

/// Which requests and images the history shows. Several values of a flag mean any of them.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub(super) struct Filter {
    /// Only images whose normalised name matches, as in the settings: `registry.example.com/team/*`
    #[arg(long = "image", value_name = "PATTERN", value_parser = pattern)]
    images: Vec<ImagePattern<'static>>,
    /// Only objects in this namespace
    #[arg(short, long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Only this object and what it controls, such as `Deployment/web` or `web`
    #[arg(long = "workload", value_name = "[KIND/]NAME", value_parser = workload)]
    workloads: Vec<Workload>,
    /// Only requests of this user. With impersonation, the impersonated user counts
    #[arg(long = "user", value_name = "NAME")]
    users: Vec<String>,
    /// Start of the period: a time, a day, or a duration before now such as `7d`. Patches count by their start
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// End of the period: a time, a day (included), or a duration before now
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// Only requests of this kind. The flag does not change the time to patch, and neither do --code and --user
    #[arg(long, value_name = "WHAT", value_enum)]
    only: Vec<Only>,
    /// Only images with a finding of this code, such as `stale-image`; `container-patch explain` lists the codes
    #[arg(long = "code", value_name = "CODE", value_parser = explain::known)]
    codes: Vec<&'static str>,
    /// Also print images that the request does not change. By default, they are printed only if they are refused
    #[arg(long)]
    unchanged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The policy refused the request
    Denied,
    /// The policy refuses the request, but only monitors
    Monitored,
    /// Break-glass admitted the request
    BreakGlass,
    /// An exception covers a finding of the image
    Excepted,
    /// A setting or break-glass turned a refusal of the image into a warning
    Passed,
}

/// An object, with or without its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Workload {
    kind: Option<String>,
    name: String,
}

/// A time on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(At),
    Ago(TimeDelta),
}

impl Moment {
    fn parse(text: &str) -> Result<Self, String> {
        if text.ends_with(|last: char| last.is_ascii_alphabetic() && last != 'Z')
            && let Ok(duration) = duration(text)
        {
            return Ok(Self::Ago(duration));
        }
        At::parse(text).map(Self::At).map_err(|error| format!("{error}, or a duration before now such as `7d`"))
    }

    /// The time. `of_day` is the time of a day.
    fn time(self, now: DateTime<Utc>, of_day: fn(NaiveDate) -> DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(At::Time(time)) => time,
            Self::At(At::Day(day)) => of_day(day),
            Self::Ago(duration) => now.checked_sub_signed(duration).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

/// The start of a day in UTC, as audit logs have it.
fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn end_of(day: NaiveDate) -> DateTime<Utc> {
    start_of(day) + TimeDelta::days(1) - TimeDelta::nanoseconds(1)
}

fn pattern(text: &str) -> Result<ImagePattern<'static>, String> {
    ImagePattern::parse(text).map(ImagePattern::into_owned).map_err(|error| error.to_string())
}

fn workload(text: &str) -> Result<Workload, String> {
    let (kind, name) = match text.split_once('/') {
        Some((kind, name)) => (Some(kind.to_owned()), name),
        None => (None, text),
    };
    if name.is_empty() || kind.as_ref().is_some_and(String::is_empty) {
        return Err("expected a name such as `web`, or a kind and a name such as `Deployment/web`".to_owned());
    }
    Ok(Workload { kind, name: name.to_owned() })
}

impl Workload {
    /// Whether it is this object, written as `Kind/name`.
    fn is(&self, object: &str) -> bool {
        let (kind, name) = object.split_once('/').unwrap_or(("", object));
        name == self.name && self.kind.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(kind))
    }
}

/// The filters that are given, for people and programs who read the output later.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Given {
    /// The values of each flag, which match if any of them does.
    values: Vec<(&'static str, Vec<String>)>,
    period: Period,
    unchanged: bool,
}

impl Given {
    /// The flags as JSON.
    pub(super) fn json(&self) -> Map<String, Value> {
        let values = self.values.iter().map(|(flag, values)| ((*flag).to_owned(), Value::from(values.clone())));
        let times = [("since", self.period.since), ("until", self.period.until)];
        let times = times.into_iter().filter_map(|(flag, time)| Some((flag.to_owned(), rfc3339(&time?).into())));
        let unchanged = self.unchanged.then(|| ("unchanged".to_owned(), true.into()));
        values.chain(times).chain(unchanged).collect()
    }

    /// What they select, such as `Only: namespace shop or payments, break-glass.` `None` if they leave out nothing.
    pub(super) fn sentence(&self) -> Option<String> {
        let values = self.values.iter().map(|(flag, values)| {
            let values = values.join(" or ");
            if *flag == "only" { values } else { format!("{flag} {values}") }
        });
        let times = [("since", self.period.since), ("until", self.period.until)];
        let times = times.into_iter().filter_map(|(flag, time)| Some(format!("{flag} {}", rfc3339(&time?))));
        let parts: Vec<String> = values.chain(times).collect();
        (!parts.is_empty()).then(|| format!("Only: {}.", parts.join(", ")))
    }
}

/// The first and the last time that the history covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Period {
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl Period {
    /// Whether a time is in it.
    pub(super) fn has(self, time: DateTime<Utc>) -> bool {
        self.since.is_none_or(|since| since <= time) && !self.is_before(time)
    }

    /// Whether a time is after it.
    pub(super) fn is_before(self, time: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until < time)
    }
}

impl Filter {
    /// The period, from the time now.
    ///
    /// # Errors
    /// When it ends before it begins.
    pub(super) fn period(&self, now: DateTime<Utc>) -> Result<Period> {
        let since = self.since.map(|moment| moment.time(now, start_of));
        let until = self.until.map(|moment| moment.time(now, end_of));
        if let (Some(since), Some(until)) = (&since, &until)
            && until < since
        {
            bail!("--until {} is before --since {}", rfc3339(until), rfc3339(since));
        }
        Ok(Period { since, until })
    }

    /// The filters that are given, with this period.
    pub(super) fn given(&self, period: Period) -> Given {
        let names = |only: &Only| only.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let workloads = self.workloads.iter().map(|Workload { kind, name }| match kind {
            Some(kind) => format!("{kind}/{name}"),
            None => name.clone(),
        });
        let values = [
            ("image", self.images.iter().map(ToString::to_string).collect()),
            ("namespace", self.namespaces.clone()),
            ("workload", workloads.collect()),
            ("user", self.users.clone()),
            ("only", self.only.iter().map(names).collect()),
            ("code", self.codes.iter().map(|code| (*code).to_owned()).collect()),
        ];
        let values = values.into_iter().filter(|(_, values): &(_, Vec<String>)| !values.is_empty()).collect();
        Given { values, period, unchanged: self.unchanged }
    }

    /// Whether an object is selected. `chain` has the object itself and what controls it, as `Kind/name`.
    pub(super) fn has_object(&self, namespace: &str, chain: &[String]) -> bool {
        let is_selected = |workload: &Workload| chain.iter().any(|object| workload.is(object));
        (self.namespaces.is_empty() || self.namespaces.iter().any(|name| name == namespace))
            && (self.workloads.is_empty() || self.workloads.iter().any(is_selected))
    }

    /// Whether only some images are selected.
    pub(super) fn selects_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// Whether an image is selected by its name.
    pub(super) fn has_image(&self, image: &Image) -> bool {
        self.images.is_empty() || {
            let name = if image.tag.is_none() && image.digest.is_none() {
                format!("{}:latest", image.repository)
            } else {
                image.reference()
            };
            // The policy matches names as they are written, often without the digest.
            let tagged = image.tag.as_ref().map(|tag| format!("{}:{tag}", image.repository));
            self.images
                .iter()
                .any(|pattern| pattern.matches(&name) || tagged.as_ref().is_some_and(|tagged| pattern.matches(tagged)))
        }
    }

    /// The images of a request that have an entry, and the number of unchanged ones that are left out. A request without images can have
    /// an entry, too.
    pub(super) fn images<'r>(&self, request: &'r Request) -> (Vec<Option<&'r Image>>, usize) {
        if !self.users.is_empty() && !self.users.contains(&request.user) {
            return (Vec::new(), 0);
        }
        if request.images.is_empty() {
            let says_something = !request.findings.is_empty() || request.outcome == Outcome::Denied;
            let is_selected = self.images.is_empty() && says_something && self.is_wanted(request, None);
            return (if is_selected { vec![None] } else { Vec::new() }, 0);
        }
        let selected = request.images.iter().filter(|image| self.has_image(image));
        let selected: Vec<&Image> = selected.filter(|image| self.is_wanted(request, Some(image))).collect();
        let is_refused = |image: &Image| {
            request.findings.iter().any(|finding| finding.effect == "deny" && Request::is_about(finding, image))
        };
        let shown: Vec<&Image> =
            selected.iter().copied().filter(|image| self.unchanged || !image.unchanged || is_refused(image)).collect();
        // A refusal or break-glass that is about no image in particular.
        let matters = request.break_glass.is_some() || request.findings.iter().any(|finding| finding.effect == "deny");
        let shown = if shown.is_empty() && matters { selected.clone() } else { shown };
        let left_out = selected.len() - shown.len();
        (shown.into_iter().map(Some).collect(), left_out)
    }

    fn is_wanted(&self, request: &Request, image: Option<&Image>) -> bool {
        let has = |is_wanted: &dyn Fn(&Finding) -> bool| request.findings_of(image).any(is_wanted);
        let is_like = |only: &Only| match only {
            Only::Denied => request.outcome == Outcome::Denied,
            Only::Monitored => request.outcome == Outcome::Monitored,
            Only::BreakGlass => request.break_glass.is_some(),
            Only::Excepted => has(&|finding| finding.code == EXCEPTED.as_str()),
            Only::Passed => has(&|finding| finding.passed.is_some()),
        };
        (self.only.is_empty() || self.only.iter().any(is_like))
            && (self.codes.is_empty() || has(&|finding| self.codes.contains(&finding.code.as_str())))
    }
}
