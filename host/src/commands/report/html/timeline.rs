//! The timeline of deadlines, with patch days and freezes, as inline SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::commands::report::model::{Freeze, Image, Report, Verdict};
use crate::html::escaped;

/// The style of the timeline.
pub(super) const STYLE: &str = include_str!("timeline.css");

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 16.0;
/// The marks of one column are stacked upwards from the axis.
const STEP: f64 = 11.0;
const RADIUS: f64 = 4.5;
/// The most marks in a column. The rest is a number above them.
const MAX_STACK: usize = 12;
/// The height above the marks, for the labels of freezes.
const HEAD: f64 = 40.0;
/// The height below the axis, for the names of months and patch days.
const FOOT: f64 = 40.0;
/// The width of a letter, and the fewest letters of a shortened label.
const LETTER: f64 = 7.0;
const MIN_LETTERS: usize = 8;
/// How long before and after the report the timeline reaches at least, and at most.
const BEFORE: (TimeDelta, TimeDelta) = (TimeDelta::days(14), TimeDelta::days(90));
const AFTER: (TimeDelta, TimeDelta) = (TimeDelta::days(30), TimeDelta::days(400));

/// The time that the timeline shows.
struct Span {
    begin: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Span {
    fn of(report: &Report) -> Self {
        let deadlines = || report.images.iter().filter_map(|image| image.deadline);
        let first = deadlines().min().unwrap_or(report.time) - TimeDelta::days(3);
        let last = deadlines().max().unwrap_or(report.time) + TimeDelta::days(7);
        Self {
            begin: first.clamp(report.time - BEFORE.1, report.time - BEFORE.0),
            end: last.clamp(report.time + AFTER.0, report.time + AFTER.1),
        }
    }

    /// The horizontal position of a time. Times outside are at the edges.
    #[expect(clippy::cast_precision_loss, reason = "a position in pixels")]
    fn x(&self, time: DateTime<Utc>) -> f64 {
        let whole = (self.end - self.begin).num_seconds().max(1) as f64;
        let part = (time - self.begin).num_seconds() as f64;
        MARGIN + (part / whole).clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN)
    }

    fn has(&self, time: DateTime<Utc>) -> bool {
        self.begin <= time && time <= self.end
    }
}

/// The timeline. `None` if no image has a deadline. Writing to a `String` cannot fail.
pub(super) fn render(report: &Report) -> Option<String> {
    let span = Span::of(report);
    let columns = columns(report, &span);
    if columns.is_empty() {
        return None;
    }
    let tallest = columns.values().map(|images| images.len().min(MAX_STACK)).max().unwrap_or(1).max(4);
    #[expect(clippy::cast_precision_loss, reason = "a position in pixels")]
    let axis = HEAD + (tallest as f64 + 1.0) * STEP;
    let height = axis + FOOT;
    let mut svg = format!(
        "<div class=\"panel timeline\">\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Deadlines of images from {} to {}\">\n",
        span.begin.date_naive(),
        span.end.date_naive()
    );
    report.calendar.freezes.iter().for_each(|freeze| draw_freeze(freeze, &span, axis, &mut svg));
    months(&span, axis, &mut svg);
    for day in report.calendar.patch_days.iter().filter(|day| span.has(**day)) {
        let x = span.x(*day);
        let _ = writeln!(
            svg,
            "<g><title>Patch day {}</title><line class=\"patch-day\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEAD}\" y2=\"{axis}\"/>\
             <path class=\"patch-mark\" d=\"M{:.1} {:.1}h8l-4 7z\"/></g>",
            day.format("%Y-%m-%d %H:%M UTC"),
            x - 4.0,
            HEAD - 7.0,
        );
    }
    let now = span.x(report.time);
    let _ = writeln!(
        svg,
        "<line class=\"now\" x1=\"{now:.1}\" x2=\"{now:.1}\" y1=\"18\" y2=\"{axis}\"/>\
         <text class=\"now-label\" x=\"{now:.1}\" y=\"13\" text-anchor=\"middle\">today</text>\n\
         <line class=\"axis\" x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{axis}\" y2=\"{axis}\"/>",
        WIDTH - MARGIN
    );
    for (column, images) in &columns {
        draw_column(*column, images, axis, &mut svg);
    }
    svg.push_str("</svg>\n");
    svg.push_str(&legend(report));
    svg.push_str("</div>\n");
    Some(svg)
}

/// The images by the column of their deadline, the most severe first.
fn columns<'r>(report: &'r Report, span: &Span) -> BTreeMap<u32, Vec<&'r Image>> {
    let mut columns: BTreeMap<u32, Vec<&Image>> = BTreeMap::new();
    for image in &report.images {
        if let Some(deadline) = image.deadline {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a column of a picture")]
            let column = (span.x(deadline) / STEP) as u32;
            columns.entry(column).or_default().push(image);
        }
    }
    for images in columns.values_mut() {
        images.sort_by_key(|image| std::cmp::Reverse(image.verdict));
    }
    columns
}

#[expect(clippy::cast_precision_loss, reason = "a position in pixels")]
fn draw_column(column: u32, images: &[&Image], axis: f64, svg: &mut String) {
    let x = (f64::from(column) + 0.5) * STEP;
    let y = |index: usize| axis - (index as f64 + 0.5) * STEP - 1.0;
    for (index, image) in images.iter().take(MAX_STACK).enumerate() {
        let deadline = image.deadline_day.map(|day| day.to_string()).unwrap_or_default();
        let _ = writeln!(
            svg,
            "<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"{RADIUS}\"><title>{deadline}: {} ({})</title></circle>",
            image.verdict.as_str(),
            y(index),
            escaped(&image.name()),
            image.verdict.as_str(),
        );
    }
    if let Some(more) = images.len().checked_sub(MAX_STACK).filter(|more| *more > 0) {
        let _ =
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">+{more}</text>", y(MAX_STACK) + 3.0);
    }
}

/// A freeze as a band, and its reason above it.
fn draw_freeze(freeze: &Freeze, span: &Span, axis: f64, svg: &mut String) {
    let start = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let after = freeze.to.checked_add_days(Days::new(1)).unwrap_or(freeze.to);
    let (from, to) = (span.x(start(freeze.from)), span.x(start(after)));
    if to <= from {
        return;
    }
    let reason = escaped(&freeze.reason);
    // A long reason is complete in the tooltip.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of letters")]
    let room = ((to - from - 10.0) / LETTER).max(0.0) as usize;
    let short: String = freeze.reason.chars().take(room).collect();
    let short = match (short.len() < freeze.reason.len(), room) {
        (true, 0..MIN_LETTERS) => String::new(),
        (true, _) => format!("{}…", short.trim_end()),
        (false, _) => short,
    };
    let _ = writeln!(
        svg,
        "<g><title>Freeze {} to {}: {reason}</title><rect class=\"freeze\" x=\"{from:.1}\" y=\"18\" width=\"{:.1}\" height=\"{:.1}\"/>\
         <text x=\"{:.1}\" y=\"30\">{}</text></g>",
        freeze.from,
        freeze.to,
        to - from,
        axis - 18.0,
        from + 5.0,
        escaped(&short),
    );
}

/// The first days of the months.
fn months(span: &Span, axis: f64, svg: &mut String) {
    let first = span.begin.date_naive().with_day(1);
    let mut month = first.and_then(|first| first.checked_add_months(Months::new(1)));
    while let Some(day) = month.filter(|day| day.and_time(NaiveTime::MIN).and_utc() < span.end) {
        let x = span.x(day.and_time(NaiveTime::MIN).and_utc());
        let label = if day.month() == 1 { day.format("%b %Y") } else { day.format("%b") };
        let _ = writeln!(
            svg,
            "<line class=\"month\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{axis}\" y2=\"{:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            axis + 20.0,
            x + 4.0,
            axis + 18.0,
        );
        month = day.checked_add_months(Months::new(1));
    }
}

/// What the marks mean. Only what the timeline has is explained.
fn legend(report: &Report) -> String {
    let mut legend = String::from("<ul class=\"legend\">");
    let has = |verdict: Verdict| report.images.iter().any(|image| image.deadline.is_some() && image.verdict == verdict);
    for verdict in Verdict::ALL.into_iter().filter(|verdict| has(*verdict)) {
        let name = verdict.as_str();
        let _ = write!(legend, "<li class=\"{name}\">deadline of an image, {name}</li>");
    }
    if !report.calendar.patch_days.is_empty() {
        let _ = write!(legend, "<li class=\"patch-day\">patch day ({})</li>", escaped(&report.calendar.time_zone));
    }
    if !report.calendar.freezes.is_empty() {
        legend.push_str("<li class=\"freeze\">freeze</li>");
    }
    legend + "</ul>\n"
}
