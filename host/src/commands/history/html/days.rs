//! The requests of each day by outcome, as inline SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{Days, NaiveDate};

use super::OUTCOMES;
use crate::commands::history::record::Outcome;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 150.0;
/// The space above the columns, for the number of the tallest one, and below them, for the days.
const HEAD: f64 = 18.0;
const FOOT: f64 = 22.0;
/// The most columns. For a longer time, a column is several days.
const MAX_COLUMNS: u64 = 62;
/// The most days that are counted. The earliest ones are dropped.
const MAX_DAYS: usize = 4096;

/// The number of requests of a day by outcome, in the order of [`OUTCOMES`].
type Counts = [u64; OUTCOMES.len()];

/// The requests of each day.
#[derive(Debug, Default)]
pub(super) struct Requests {
    days: BTreeMap<NaiveDate, Counts>,
}

impl Requests {
    pub(super) fn add(&mut self, day: NaiveDate, outcome: Outcome) {
        let counts = self.days.entry(day).or_default();
        if let Some(count) = OUTCOMES.iter().position(|known| *known == outcome).and_then(|place| counts.get_mut(place))
        {
            *count += 1;
        }
        if self.days.len() > MAX_DAYS {
            self.days.pop_first();
        }
    }

    /// The columns of the chart. `None` for less than two days. Writing to a `String` cannot fail.
    #[expect(clippy::cast_precision_loss, reason = "positions in pixels")]
    pub(super) fn render(&self) -> Option<String> {
        let (first, last) = (*self.days.keys().next()?, *self.days.keys().next_back()?);
        let days = u64::try_from((last - first).num_days()).ok()? + 1;
        if days < 2 {
            return None;
        }
        let step = days.div_ceil(MAX_COLUMNS);
        let many = days.div_ceil(step);
        let mut columns = vec![Counts::default(); usize::try_from(many).ok()?];
        for (day, counts) in &self.days {
            let place = u64::try_from((*day - first).num_days()).ok()? / step;
            let column = columns.get_mut(usize::try_from(place).ok()?)?;
            column.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let highest = columns.iter().map(|counts| counts.iter().sum::<u64>()).max()?.max(1);
        let pitch = WIDTH / many as f64;
        let scale = (HEIGHT - HEAD - FOOT) / highest as f64;
        let axis = HEIGHT - FOOT;
        let mut svg = format!(
            "<div class=\"panel days\">\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Requests from {first} to {last}\">\n\
             <line class=\"grid\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{HEAD}\" y2=\"{HEAD}\"/><text x=\"0\" y=\"{:.1}\">{highest}</text>\n",
            HEAD - 5.0
        );
        let every = many.div_ceil(16);
        for (place, counts) in columns.iter().enumerate() {
            let (x, day) = (place as f64 * pitch, first + Days::new(place as u64 * step));
            let mut y = axis;
            svg.push_str("<g>");
            let _ = write!(svg, "<title>{}</title>", title(day, step, counts));
            for (outcome, count) in OUTCOMES.iter().zip(counts).filter(|(_, count)| **count > 0) {
                let height = *count as f64 * scale;
                y -= height;
                let _ = write!(
                    svg,
                    "<rect class=\"{}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    outcome.as_str(),
                    x + pitch * 0.12,
                    pitch * 0.76,
                );
            }
            if (place as u64).is_multiple_of(every) {
                let _ = write!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    x + pitch / 2.0,
                    HEIGHT - 6.0,
                    day.format("%m-%d")
                );
            }
            svg.push_str("</g>\n");
        }
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{axis}\" y2=\"{axis}\"/>\n</svg>\n<ul class=\"legend\">"
        );
        for (place, outcome) in OUTCOMES.iter().enumerate() {
            if columns.iter().any(|counts| counts.get(place).is_some_and(|count| *count > 0)) {
                let _ = write!(svg, "<li class=\"{0}\">{0}</li>", outcome.as_str());
            }
        }
        svg.push_str("</ul>\n</div>\n");
        Some(svg)
    }
}

fn title(day: NaiveDate, step: u64, counts: &Counts) -> String {
    let parts: Vec<_> = OUTCOMES
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(outcome, count)| format!("{count} {}", outcome.as_str()))
        .collect();
    let days = if step > 1 { format!("{day} to {}", day + Days::new(step - 1)) } else { day.to_string() };
    if parts.is_empty() { days } else { format!("{days}: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::{MAX_COLUMNS, Requests};
    use crate::commands::history::record::Outcome;

    #[test]
    fn a_long_time_has_columns_of_several_days() {
        let mut requests = Requests::default();
        for day in ["2024-01-01", "2025-06-30", "2026-11-20"] {
            requests.add(day.parse().unwrap(), Outcome::Denied);
        }
        let svg = requests.render().unwrap();
        assert!(svg.matches("<g>").count() <= usize::try_from(MAX_COLUMNS).unwrap());
        assert_eq!(svg.matches("<rect").count(), 3);
    }

    #[test]
    fn one_day_has_no_chart() {
        let mut requests = Requests::default();
        requests.add("2026-11-20".parse().unwrap(), Outcome::Denied);
        assert_eq!(requests.render(), None);
    }
}
