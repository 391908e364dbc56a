//! When an image was built, according to its manifest and configuration.
//!
//! Build dates are often wrong. Tools that build reproducibly write the same time into every image: 1970-01-01T00:00:00Z or a
//! second later (distroless, Jib, ko, Nix), 1980-01-01T00:00:01Z (Buildpacks). Such a date is ignored. Copacetic patches an image
//! in place: it writes the time of the patch into the annotations of the manifest and leaves the configuration as it was.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::registry::{CREATED, ImageFacts};
use super::time;

/// The build date of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildDate {
    /// A plausible date.
    At(DateTime<Utc>),
    /// There is no plausible date, but this one more than a day in the future.
    Future(DateTime<Utc>),
    /// There is no plausible date. The value is `created` of the configuration, if it has one.
    Unknown(Option<String>),
}

impl BuildDate {
    /// The date, also if it is in the future.
    #[must_use]
    pub fn claimed(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::At(date) | Self::Future(date) => Some(*date),
            Self::Unknown(_) => None,
        }
    }

    /// The plausible date, if there is one.
    #[must_use]
    pub fn date(&self) -> Option<DateTime<Utc>> {
        if let Self::At(date) = self { Some(*date) } else { None }
    }
}

/// The newest plausible date of the configuration's `created` and the manifest's annotation `org.opencontainers.image.created`;
/// otherwise that of the label of the same name; otherwise the newest `created` in the configuration's history. A date is plausible if it is later
/// than 1980-01-02 and at most a day ahead of `now`.
#[must_use]
pub fn build_date(image: &ImageFacts, now: DateTime<Utc>) -> BuildDate {
    let earliest = NaiveDate::from_ymd_opt(1980, 1, 2).unwrap_or_default().and_time(NaiveTime::MIN).and_utc();
    let latest = now + TimeDelta::days(1);
    let is_plausible = |date: &DateTime<Utc>| *date > earliest && *date <= latest;
    let of_build = [image.created.as_deref(), image.annotation(CREATED)];
    let of_build: Vec<_> = of_build.into_iter().flatten().filter_map(time::parse).collect();
    let label = || image.label(CREATED).and_then(time::parse);
    let layers = || image.history.iter().filter_map(|text| time::parse(text));
    let plausible = of_build.iter().copied().filter(is_plausible).max();
    let plausible = plausible.or_else(|| label().filter(is_plausible)).or_else(|| layers().filter(is_plausible).max());
    if let Some(date) = plausible {
        return BuildDate::At(date);
    }
    let mut others = of_build.into_iter().chain(label()).chain(layers().min());
    let future = others.find(|date| *date > latest);
    future.map_or_else(|| BuildDate::Unknown(image.created.clone()), BuildDate::Future)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{BuildDate, CREATED, build_date};
    use crate::evidence::registry::ImageFacts;

    fn time(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn judged(image: &ImageFacts) -> BuildDate {
        build_date(image, time("2026-11-20T12:00:00Z"))
    }

    fn created(text: &str) -> ImageFacts {
        ImageFacts { created: Some(text.to_owned()), ..ImageFacts::default() }
    }

    #[test]
    fn a_plausible_date_of_the_configuration_is_the_build_date() {
        for (text, date) in [
            ("2026-07-01T10:00:00Z", "2026-07-01T10:00:00Z"),
            ("2026-07-01T10:00:00.123456789Z", "2026-07-01T10:00:00.123456789Z"),
            ("2026-07-01T12:00:00+02:00", "2026-07-01T10:00:00Z"),
            ("2026-07-01T10:00:00", "2026-07-01T10:00:00Z"),
            ("2026-07-01", "2026-07-01T00:00:00Z"),
            ("2026-11-20T13:00:00Z", "2026-11-20T13:00:00Z"),
            ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z"),
            ("1980-01-02T00:00:01Z", "1980-01-02T00:00:01Z"),
        ] {
            assert_eq!(judged(&created(text)), BuildDate::At(time(date)), "{text}");
        }
    }

    #[test]
    fn the_dates_of_reproducible_builds_are_ignored() {
        for text in [
            "1970-01-01",
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:01Z",
            "1980-01-01T00:00:01Z",
            "1980-01-02T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "",
            "yesterday",
        ] {
            assert_eq!(judged(&created(text)), BuildDate::Unknown(Some(text.to_owned())), "{text}");
        }
        assert_eq!(judged(&ImageFacts::default()), BuildDate::Unknown(None));
    }

    #[test]
    fn a_date_more_than_a_day_in_the_future_is_not_plausible() {
        assert_eq!(judged(&created("2026-11-21T12:00:01Z")), BuildDate::Future(time("2026-11-21T12:00:01Z")));
        assert_eq!(judged(&created("2027-11-20T12:00:00Z")), BuildDate::Future(time("2027-11-20T12:00:00Z")));
    }

    fn entry(text: &str) -> std::collections::BTreeMap<String, String> {
        [(CREATED.to_owned(), text.to_owned())].into()
    }

    #[test]
    fn the_label_precedes_the_history_and_the_annotation_precedes_the_label() {
        let mut image = created("1970-01-01T00:00:00Z");
        image.history =
            ["2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", "1970-01-01T00:00:00Z"].map(str::to_owned).into();
        assert_eq!(judged(&image), BuildDate::At(time("2026-04-01T00:00:00Z")));
        image.labels = entry("2026-03-01");
        assert_eq!(judged(&image), BuildDate::At(time("2026-03-01T00:00:00Z")));
        image.annotations = entry("2026-02-01T00:00:00Z");
        assert_eq!(judged(&image), BuildDate::At(time("2026-02-01T00:00:00Z")));
    }

    #[test]
    fn the_newest_of_configuration_and_annotation_is_the_build_date() {
        for (of_config, of_annotation, expected) in [
            // Copacetic patches images in place.
            ("2026-01-01T00:00:00Z", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("2026-11-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("2026-07-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
            ("2026-07-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
            ("2026-07-01T00:00:00Z", "yesterday", "2026-07-01T00:00:00Z"),
            ("2099-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ] {
            let image = ImageFacts { annotations: entry(of_annotation), ..created(of_config) };
            assert_eq!(judged(&image), BuildDate::At(time(expected)), "{of_config} {of_annotation}");
        }
        let label = ImageFacts { labels: entry("2026-06-01"), ..created("2099-01-01T00:00:00Z") };
        assert_eq!(
            judged(&label),
            BuildDate::At(time("2026-06-01T00:00:00Z")),
            "a plausible date precedes one in the future"
        );
    }

    #[test]
    fn a_history_in_the_future_is_not_plausible() {
        let history = ["2099-01-01T00:00:00Z", "2098-01-01T00:00:00Z"].map(str::to_owned).into();
        let image = ImageFacts { history, ..ImageFacts::default() };
        assert_eq!(judged(&image), BuildDate::Future(time("2098-01-01T00:00:00Z")));
    }

    #[test]
    fn a_layer_from_the_future_does_not_hide_other_layers() {
        let mut image = created("1970-01-01T00:00:00Z");
        image.history = ["2026-04-01T00:00:00Z", "2099-01-01T00:00:00Z"].map(str::to_owned).into();
        assert_eq!(judged(&image), BuildDate::At(time("2026-04-01T00:00:00Z")));
    }
}
