//! When an image was built, as far as it says.
//!
//! Build dates lie. Tools that build reproducibly write one instant into every image: 1970-01-01T00:00:00Z or a second
//! later (distroless, Jib, ko, Nix), 1980-01-01T00:00:01Z (Buildpacks). Such a date is no date, and other places are
//! asked for one.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::registry::{CREATED, ImageFacts};
use super::time;

/// When an image was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildDate {
    /// At this time.
    At(DateTime<Utc>),
    /// Nowhere a plausible date; at least one that lies in the future, more than a day ahead.
    Future(DateTime<Utc>),
    /// Nowhere a plausible date. What the configuration says, where it says something.
    Unknown(Option<String>),
}

impl BuildDate {
    /// The date, where it is known.
    #[must_use]
    pub fn date(&self) -> Option<DateTime<Utc>> {
        if let Self::At(date) = self { Some(*date) } else { None }
    }
}

/// The first plausible date of: the configuration's `created`; the label, then the manifest's annotation,
/// `org.opencontainers.image.created`; the newest `created` in the configuration's history. Plausible is what is later
/// than 1980-01-02 and at most a day ahead of `now`.
#[must_use]
pub fn build_date(image: &ImageFacts, now: DateTime<Utc>) -> BuildDate {
    let earliest = NaiveDate::from_ymd_opt(1980, 1, 2).unwrap_or_default().and_time(NaiveTime::MIN).and_utc();
    let latest = now + TimeDelta::days(1);
    let layers = || image.history.iter().filter_map(|text| time::parse(text));
    let newest_layer =
        || layers().filter(|date| *date <= latest).max().filter(|date| *date > earliest).or_else(|| layers().min());
    let said = [image.created.as_deref(), image.label(CREATED), image.annotation(CREATED)];
    let dates = said.into_iter().flatten().filter_map(time::parse).chain(std::iter::once_with(newest_layer).flatten());
    let mut future = None;
    for date in dates.filter(|date| *date > earliest) {
        if date <= latest {
            return BuildDate::At(date);
        }
        future = future.or(Some(date));
    }
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
    fn the_dates_of_reproducible_builds_are_no_dates() {
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
    fn a_date_more_than_a_day_ahead_is_no_build_date() {
        assert_eq!(judged(&created("2026-11-21T12:00:01Z")), BuildDate::Future(time("2026-11-21T12:00:01Z")));
        assert_eq!(judged(&created("2027-11-20T12:00:00Z")), BuildDate::Future(time("2027-11-20T12:00:00Z")));
    }

    #[test]
    fn the_label_the_annotation_and_the_history_are_asked_in_this_order() {
        let entry = |text: &str| [(CREATED.to_owned(), text.to_owned())].into();
        let mut image = created("1970-01-01T00:00:00Z");
        image.history =
            ["2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", "1970-01-01T00:00:00Z"].map(str::to_owned).into();
        assert_eq!(judged(&image), BuildDate::At(time("2026-04-01T00:00:00Z")));
        image.annotations = entry("2026-05-01T00:00:00Z");
        assert_eq!(judged(&image), BuildDate::At(time("2026-05-01T00:00:00Z")));
        image.labels = entry("2026-06-01");
        assert_eq!(judged(&image), BuildDate::At(time("2026-06-01T00:00:00Z")));
        image.created = Some("2026-07-01T00:00:00Z".to_owned());
        assert_eq!(judged(&image), BuildDate::At(time("2026-07-01T00:00:00Z")));
        image.created = Some("2099-01-01T00:00:00Z".to_owned());
        assert_eq!(judged(&image), BuildDate::At(time("2026-06-01T00:00:00Z")), "a plausible date beats one ahead");
    }

    #[test]
    fn a_history_that_lies_in_the_future_is_no_build_date() {
        let history = ["2099-01-01T00:00:00Z", "2098-01-01T00:00:00Z"].map(str::to_owned).into();
        let image = ImageFacts { history, ..ImageFacts::default() };
        assert_eq!(judged(&image), BuildDate::Future(time("2098-01-01T00:00:00Z")));
    }

    #[test]
    fn a_layer_from_the_future_does_not_hide_the_others() {
        let mut image = created("1970-01-01T00:00:00Z");
        image.history = ["2026-04-01T00:00:00Z", "2099-01-01T00:00:00Z"].map(str::to_owned).into();
        assert_eq!(judged(&image), BuildDate::At(time("2026-04-01T00:00:00Z")));
    }
}
