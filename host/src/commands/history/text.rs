//! The history for people: some lines for each request, then the totals.

use std::io::Write;

use anyhow::Result;
use chrono::TimeDelta;

use super::csv::finding;
use super::entry::Entry;
use super::output::Output;
use super::patches::{Figures, TimeToPatch};
use super::record::{Finding, Operation, Outcome};
use super::summary::Summary;
use crate::counted::counted;
use crate::table::{render, table};
use crate::terminal::{Style, log_line, printable};
use crate::timestamp::rfc3339;

/// How many digits of a digest are shown.
const DIGITS: usize = 12;

pub(super) struct Text<W> {
    output: W,
    style: Style,
}

impl<W: Write> Text<W> {
    pub(super) fn new(output: W, style: Style) -> Self {
        Self { output, style }
    }

    fn line(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.output, "{}", log_line(text))?)
    }
}

impl<W: Write> Output for Text<W> {
    fn request(&mut self, entries: &[Entry]) -> Result<()> {
        let Some(first) = entries.first() else { return Ok(()) };
        self.line(&request(first))?;
        if let Some(break_glass) = &first.break_glass {
            self.line(&format!("  break-glass: {} ({})", break_glass.reason, break_glass.by))?;
        }
        let mut written: Vec<&Finding> = Vec::new();
        for entry in entries {
            if let Some(image) = image(entry) {
                self.line(&format!("  {image}"))?;
            }
            // Those of the whole object are in each entry.
            for of_entry in &entry.findings {
                if !written.contains(&of_entry) {
                    self.line(&format!("    {}", finding(of_entry)))?;
                    written.push(of_entry);
                }
            }
        }
        if first.shortened {
            self.line("  The log has only a part of the images or findings of this request.")?;
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary, patches: &TimeToPatch) -> Result<()> {
        self.totals(summary)?;
        self.time_to_patch(patches)?;
        Ok(self.output.flush()?)
    }
}

impl<W: Write> Text<W> {
    fn totals(&mut self, summary: &Summary) -> Result<()> {
        let requests = Outcome::ALL.map(|outcome| (outcome.as_str(), summary.of(outcome)));
        let all = requests.iter().map(|(_, count)| count).sum();
        let (Some(from), Some(to)) = (&summary.first, &summary.last) else {
            self.line(&summary.nothing())?;
            if let Some(filters) = summary.filters.sentence() {
                self.line(&filters)?;
            }
            return self.left_out(summary);
        };
        let counts =
            requests.iter().filter(|(_, count)| *count > 0).map(|(outcome, count)| format!("{count} {outcome}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        writeln!(self.output)?;
        if let Some(filters) = summary.filters.sentence() {
            self.line(&filters)?;
        }
        self.line(&format!("{} from {} to {}: {counts}", counted(all, "request"), rfc3339(from), rfc3339(to)))?;
        if summary.break_glass > 0 {
            self.line(&format!("{} admitted by break-glass", counted(summary.break_glass, "request")))?;
        }
        if summary.excepted > 0 {
            self.line(&format!("{} with an exception", counted(summary.excepted, "request")))?;
        }
        self.left_out(summary)
    }

    fn left_out(&mut self, summary: &Summary) -> Result<()> {
        if summary.unchanged > 0 {
            let images = counted(summary.unchanged, "image");
            self.line(&format!("left out: {images} that a request does not change; --unchanged shows them"))?;
        }
        if summary.repeated > 0 {
            let copies =
                if summary.repeated == 1 { "1 copy".to_owned() } else { format!("{} copies", summary.repeated) };
            self.line(&format!("left out: {copies} of events; each event counts once"))?;
        }
        Ok(())
    }

    fn time_to_patch(&mut self, patches: &TimeToPatch) -> Result<()> {
        if !patches.repositories.is_empty() {
            let mut rows = table(["TIME TO PATCH", "PATCHES", "MEAN", "P90", "SLOWEST", "UNFINISHED"], self.style);
            let row = |name: &str, of: &Figures| {
                let shown = |duration: Option<TimeDelta>| duration.map_or_else(|| "-".to_owned(), duration_text);
                [
                    printable(name),
                    of.finished.to_string(),
                    shown(of.mean),
                    shown(of.p90),
                    shown(of.slowest),
                    of.unfinished.to_string(),
                ]
            };
            for (name, of) in &patches.repositories {
                rows.add_row(row(name, of));
            }
            if patches.repositories.len() > 1 {
                rows.add_row(row("all", &patches.total));
            }
            write!(self.output, "\n{}", render(&rows))?;
        }
        for patch in &patches.unfinished {
            let (repository, digest, start) = (&patch.repository, short(&patch.digest), rfc3339(&patch.start));
            let verb = if patch.old_pods == 1 { "runs" } else { "run" };
            let pods = counted(patch.old_pods, "pod");
            self.line(&format!("unfinished: {repository}@{digest} since {start}: {pods} {verb} an older build"))?;
        }
        if patches.unnamed_pods > 0 {
            let pods = counted(patches.unnamed_pods, "pod");
            self.line(&format!("not covered by the time to patch: {pods} whose generated names are not in the log"))?;
        }
        if patches.is_partial {
            self.line(
                "The time to patch covers only a part of the log: it has too many pods, repositories or builds.",
            )?;
        }
        Ok(())
    }
}

fn request(entry: &Entry) -> String {
    let operation = match entry.operation {
        Operation::Create => "creates",
        Operation::Update => "updates",
    };
    let user = entry.user.as_deref().unwrap_or("(no user)");
    let by = entry.impersonated_by.as_ref().map(|by| format!(" (impersonated by {by})")).unwrap_or_default();
    let name = entry.name.as_deref().unwrap_or("(generated name)");
    let namespace = entry.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let own = format!("{}/{name}", entry.kind);
    let workload = entry.workload.as_ref().filter(|workload| **workload != own);
    let workload = workload.map(|workload| format!(" of {workload}")).unwrap_or_default();
    let status = entry.status.filter(|_| !entry.outcome.is_stored());
    let status = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
    let (time, outcome, kind) = (rfc3339(&entry.time), entry.outcome.as_str(), &entry.kind);
    format!("{time}  {outcome:<9} {user}{by} {operation} {kind} {namespace}{name}{workload}{status}")
}

fn image(entry: &Entry) -> Option<String> {
    let mut line = entry.repository.clone()?;
    if let Some(tag) = &entry.tag {
        line += &format!(":{tag}");
    }
    if let Some(digest) = &entry.digest {
        line += &format!("@{}", short(digest));
    }
    if let (Some(built), Some(age)) = (&entry.built, entry.age_days) {
        let days = counted(usize::try_from(age).unwrap_or(0), "day");
        line += &format!(", built {} ({days} old)", built.date_naive());
    }
    if entry.unchanged {
        line += ", unchanged";
    }
    if entry.exempt {
        line += ", exempt";
    }
    Some(line)
}

/// The first digits of a digest.
fn short(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, digits)) => match digits.get(..DIGITS) {
            Some(first) if digits.len() > DIGITS => format!("{algorithm}:{first}…"),
            _ => digest.to_owned(),
        },
        None => digest.to_owned(),
    }
}

/// A duration in its two largest units.
pub(super) fn duration_text(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
