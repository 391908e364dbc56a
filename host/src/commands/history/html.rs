//! The history as one HTML page without external resources.

mod days;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;
use chrono::TimeDelta;

use self::days::Requests;
use super::entry::Entry;
use super::output::Output;
use super::patches::{Figures, Patch, TimeToPatch};
use super::record::{Finding, Outcome, Platform};
use super::summary::Summary;
use super::text::duration_text;
use crate::html::{card, escaped, foot, head, time, with_code};
use crate::timestamp::rfc3339;

const STYLE: &str = include_str!("html/history.css");

/// The most entries on the page, and the most bytes of their rows. The earliest entries are left out.
const MAX_ENTRIES: usize = 2_000;
const MAX_BYTES: usize = 8 << 20;

/// The most uses of break-glass on the page. The earliest ones are left out.
const MAX_USES: usize = 500;

/// The most images, findings, repositories and unfinished patches that are named in one place.
const MAX_LISTED: usize = 20;
const MAX_REPOSITORIES: usize = 500;

/// The outcomes, from the bottom of a column of the chart to its top.
const OUTCOMES: [Outcome; 5] =
    [Outcome::Admitted, Outcome::Warned, Outcome::Monitored, Outcome::Rejected, Outcome::Denied];

/// The columns of the entries: the title, the class of the cells, and whether they are sorted as numbers.
const COLUMNS: [(&str, &str, bool); 7] = [
    ("Time", "day", false),
    ("Outcome", "", true),
    ("Image", "image", false),
    ("Age", "number", true),
    ("Object", "text", false),
    ("User", "text", false),
    ("Findings", "findings", true),
];

/// Rows of a table, of which the last ones are kept.
#[derive(Debug, Default)]
struct Rows {
    rows: VecDeque<String>,
    bytes: usize,
    left_out: usize,
}

impl Rows {
    fn push(&mut self, row: String, most: usize) {
        self.bytes += row.len();
        self.rows.push_back(row);
        while self.rows.len() > most || (self.bytes > MAX_BYTES && self.rows.len() > 1) {
            let Some(first) = self.rows.pop_front() else { break };
            self.bytes -= first.len();
            self.left_out += 1;
        }
    }
}

/// Writes the page when the log has ended. Its memory does not depend on the length of the log.
pub(super) struct Html<W> {
    writer: W,
    entries: Rows,
    uses: Rows,
    requests: Requests,
}

impl<W: Write> Html<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, entries: Rows::default(), uses: Rows::default(), requests: Requests::default() }
    }

    /// The page. Writing to a `String` cannot fail.
    fn page(&self, summary: &Summary, patches: &TimeToPatch) -> String {
        let about = match (&summary.first, &summary.last, &summary.log.period) {
            (Some(first), Some(last), _) => format!("Requests from {} to {}", time(first), time(last)),
            (_, _, Some((first, last))) => format!("Log from {} to {}", time(first), time(last)),
            _ => "Log without requests".to_owned(),
        };
        let mut page = head("History of images", STYLE, &about);
        if let Some(filters) = summary.filters.sentence() {
            let _ = writeln!(page, "<p class=\"panel note\">{}</p>", escaped(&filters));
        }
        cards(summary, &mut page);
        if let Some(chart) = self.requests.render() {
            page += "<h2>Requests</h2>\n";
            page += &chart;
        }
        time_to_patch(patches, &mut page);
        self.break_glass(&mut page);
        self.entries(summary, &mut page);
        page + &foot(
            "This page is made from the audit log, which is the evidence. The objects of <b>admitted</b> and <b>warned</b> requests were \
             stored. <b>Monitored</b> requests were stored although the policy refuses them, because its mode is monitor. <b>Denied</b> \
             requests were refused by the policy, and <b>rejected</b> requests by something else. The age of an image is the time between \
             its build and the request.",
        )
    }

    fn break_glass(&self, page: &mut String) {
        if self.uses.rows.is_empty() {
            return;
        }
        page.push_str("<h2>Break-glass</h2>\n");
        left_out(self.uses.left_out, "uses", page);
        page.push_str("<div class=\"panel scroll\">\n<table class=\"rows\">\n<thead><tr>");
        for (title, sort) in
            [("Time", " aria-sort=\"descending\""), ("User", ""), ("Reason", ""), ("Permitted by", ""), ("Object", "")]
        {
            let _ = write!(page, "<th scope=\"col\"{sort}>{title}</th>");
        }
        page.push_str("<th scope=\"col\">Images</th></tr></thead>\n<tbody>\n");
        self.uses.rows.iter().rev().for_each(|row| page.push_str(row));
        page.push_str("</tbody>\n</table>\n</div>\n");
    }

    fn entries(&self, summary: &Summary, page: &mut String) {
        page.push_str("<h2>Entries</h2>\n");
        if self.entries.rows.is_empty() {
            let _ = writeln!(page, "<p class=\"panel note\">{}</p>", summary.nothing());
            return;
        }
        left_out(self.entries.left_out, "entries", page);
        if summary.unchanged > 0 {
            let _ = writeln!(
                page,
                "<p class=\"muted\">{} images that their requests did not change are left out.</p>",
                summary.unchanged
            );
        }
        if summary.repeated > 0 {
            let _ = writeln!(
                page,
                "<p class=\"muted\">The log has copies of events ({}). Each event counts once.</p>",
                summary.repeated
            );
        }
        page.push_str(
            "<div class=\"panel scroll\">\n<table class=\"rows entries\" data-filter=\"Filter\">\n<thead><tr>",
        );
        for (title, class, is_number) in COLUMNS {
            let kind = if is_number { "number" } else { "text" };
            let class = if class == "number" { " class=\"number\"" } else { "" };
            let sort = if title == COLUMNS[0].0 { " aria-sort=\"descending\"" } else { "" };
            let _ = write!(page, "<th scope=\"col\"{class} data-type=\"{kind}\"{sort}>{title}</th>");
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        self.entries.rows.iter().rev().for_each(|row| page.push_str(row));
        page.push_str("</tbody>\n</table>\n</div>\n");
    }
}

impl<W: Write> Output for Html<W> {
    fn request(&mut self, entries: &[Entry]) -> Result<()> {
        let Some(first) = entries.first() else { return Ok(()) };
        self.requests.add(first.time.date_naive(), first.outcome);
        if let Some(row) = use_of_break_glass(entries) {
            self.uses.push(row, MAX_USES);
        }
        for entry in entries {
            self.entries.push(row(entry), MAX_ENTRIES);
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary, patches: &TimeToPatch) -> Result<()> {
        let page = self.page(summary, patches);
        self.writer.write_all(page.as_bytes())?;
        Ok(self.writer.flush()?)
    }
}

/// Says how many earlier rows are left out.
fn left_out(many: usize, what: &str, page: &mut String) {
    if many > 0 {
        let _ = writeln!(page, "<p class=\"muted\">{many} earlier {what} are left out. The totals count them.</p>");
    }
}

fn cards(summary: &Summary, page: &mut String) {
    let of = |outcome| summary.of(outcome);
    let cards = [
        ("accepted", of(Outcome::Admitted), "admitted", true),
        ("warned", of(Outcome::Warned), "admitted with warnings", true),
        ("denied", of(Outcome::Denied), "denied", true),
        ("monitored", of(Outcome::Monitored), "monitored: admitted, but refused by the policy", false),
        ("", of(Outcome::Rejected), "rejected by something else", false),
        ("denied", summary.break_glass, "break-glass", true),
        ("warned", summary.excepted, "with an exception", true),
    ];
    page.push_str("<ul class=\"summary\">\n");
    for (class, number, label, _) in cards.into_iter().filter(|(_, number, _, is_shown)| *is_shown || *number > 0) {
        page.push_str(&card(class, number, label));
    }
    page.push_str("</ul>\n");
}

/// A cell of a table, with the key that it is sorted by.
fn cell(title: &str, class: &str, key: &str, content: &str) -> String {
    format!("<td class=\"{class}\" data-label=\"{title}\" data-key=\"{}\"><div>{content}</div></td>", escaped(key))
}

fn row(entry: &Entry) -> String {
    let outcome = entry.outcome.as_str();
    let severity = OUTCOMES.iter().position(|known| *known == entry.outcome).unwrap_or_default();
    let mut verdict = format!("<span class=\"verdict {outcome}\">{outcome}</span>");
    if entry.break_glass.is_some() {
        verdict += "<br><span class=\"overdue\">break-glass</span>";
    }
    let age = entry.age_days.map(|days| days.to_string()).unwrap_or_default();
    let built = entry.built.map(|built| built.date_naive().to_string()).unwrap_or_default();
    let age_cell = match age.as_str() {
        "" => String::new(),
        days => format!("<span title=\"built {built}\">{days} d</span>"),
    };
    let user = entry.user.clone().unwrap_or_default();
    let mut user_cell = breakable(&user);
    if let Some(by) = &entry.impersonated_by {
        let _ = write!(user_cell, "<br><span class=\"muted\">impersonated by {}</span>", breakable(by));
    }
    let cells = [
        (rfc3339(&entry.time), entry.time.format("%Y-%m-%d %H:%M:%S").to_string()),
        (severity.to_string(), verdict),
        (entry.image.clone().unwrap_or_default(), image(entry)),
        (age, age_cell),
        (object_name(entry), object(entry)),
        (user, user_cell),
        (entry.findings.len().to_string(), findings(&entry.findings, entry.shortened)),
    ];
    let cells = COLUMNS.iter().zip(cells).map(|((title, class, _), (key, content))| cell(title, class, &key, &content));
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

fn image(entry: &Entry) -> String {
    let name = [entry.repository.as_deref(), entry.tag.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(":");
    if name.is_empty() {
        return String::new();
    }
    let mut image = format!("<code>{}</code>", escaped(&name));
    if let Some(digest) = &entry.digest {
        let short: String = digest.chars().take("sha256:".len() + 12).collect();
        let _ = write!(image, "<span class=\"digest\" title=\"{}\">{}…</span>", escaped(digest), escaped(&short));
    }
    for (is_so, label) in [(entry.unchanged, "unchanged"), (entry.exempt, "exempt")] {
        if is_so {
            let _ = write!(image, "<span class=\"muted\">{label}</span> ");
        }
    }
    image
}

/// A user name, whose parts can be in several lines.
fn breakable(name: &str) -> String {
    escaped(name).replace(':', ":<wbr>")
}

/// The object as in kubectl, with its namespace.
fn object_name(entry: &Entry) -> String {
    let name = entry.name.as_deref().unwrap_or("(generated name)");
    let namespace = entry.namespace.iter().map(|namespace| format!("{namespace}/"));
    format!("{} {}{name}", entry.kind, namespace.collect::<String>())
}

fn object(entry: &Entry) -> String {
    let name = object_name(entry);
    let mut object = escaped(&name);
    // The workload of a pod. Other objects are their own workload.
    if let Some(workload) = entry.workload.as_ref().or(entry.owner.as_ref())
        && workload.split_once('/').is_none_or(|(kind, name)| kind != entry.kind || Some(name) != entry.name.as_deref())
    {
        let _ = write!(object, "<br><span class=\"muted\">{}</span>", escaped(workload));
    }
    if entry.platform == Platform::Docker {
        object += "<br><span class=\"muted\">Docker</span>";
    }
    object
}

fn findings(findings: &[Finding], is_shortened: bool) -> String {
    let (listed, others) = findings.split_at(findings.len().min(MAX_LISTED));
    let mut items: String = listed.iter().map(finding).collect();
    if !others.is_empty() {
        let _ = write!(items, "<li class=\"muted\">{} more</li>", others.len());
    }
    if is_shortened {
        items += "<li class=\"muted\">the log has only a part of the list</li>";
    }
    if items.is_empty() { items } else { format!("<ul class=\"plain\">{items}</ul>") }
}

fn finding(finding: &Finding) -> String {
    let passed = finding.passed.iter().map(|setting| format!(", passed by {}", escaped(setting))).collect::<String>();
    format!("<li>{} <span class=\"code\">[{}{passed}]</span></li>", with_code(&finding.text), escaped(&finding.code))
}

/// The row of a request that break-glass admitted.
fn use_of_break_glass(entries: &[Entry]) -> Option<String> {
    let first = entries.first()?;
    let by = first.break_glass.as_ref()?;
    let images = entries.iter().filter(|entry| entry.image.is_some()).take(MAX_LISTED);
    let images: String = images.map(|entry| format!("<li>{}</li>", image(entry))).collect();
    let user = first.user.clone().unwrap_or_default();
    let cells = [
        ("Time", "day", rfc3339(&first.time), first.time.format("%Y-%m-%d %H:%M:%S").to_string()),
        ("User", "text", user.clone(), breakable(&user)),
        ("Reason", "text", by.reason.clone(), escaped(&by.reason)),
        ("Permitted by", "text", by.by.clone(), escaped(&by.by)),
        ("Object", "text", object_name(first), object(first)),
        ("Images", "image", String::new(), format!("<ul class=\"plain\">{images}</ul>")),
    ];
    let cells: String = cells.iter().map(|(title, class, key, content)| cell(title, class, key, content)).collect();
    Some(format!("<tr>{cells}</tr>\n"))
}

fn time_to_patch(patches: &TimeToPatch, page: &mut String) {
    if patches.repositories.is_empty() {
        return;
    }
    page.push_str("<h2>Time to patch</h2>\n<p class=\"muted\">From the first admission of a newer build until the last pod of an older one is deleted.</p>\n");
    let slowest = patches.repositories.iter().filter_map(|(_, figures)| figures.slowest).max().unwrap_or_default();
    page.push_str("<div class=\"panel scroll\">\n<table class=\"rows\">\n<thead><tr><th scope=\"col\">Repository</th>");
    for title in ["Patches", "Unfinished", "Mean", "P90", "Slowest"] {
        let _ = write!(page, "<th scope=\"col\" class=\"number\" data-type=\"number\">{title}</th>");
    }
    page.push_str("<th scope=\"col\" data-type=\"number\">Time</th></tr></thead>\n<tbody>\n");
    for (repository, figures) in patches.repositories.iter().take(MAX_REPOSITORIES) {
        let name = format!("<code>{}</code>", escaped(repository));
        page.push_str(&patch_row(&cell("Repository", "image", repository, &name), figures, slowest));
    }
    if patches.repositories.len() > 1 {
        page.push_str(&patch_row(&cell("Repository", "image", "", "All repositories"), &patches.total, slowest));
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
    page.push_str(
        "<ul class=\"legend\"><li class=\"mean\">mean</li><li class=\"p90\">P90: 90 % of the patches took at most this time</li><li class=\"slowest\">slowest</li></ul>\n",
    );
    let more = patches.repositories.len().saturating_sub(MAX_REPOSITORIES);
    if more > 0 {
        let _ = writeln!(page, "<p class=\"muted\">{more} more repositories are left out. The total counts them.</p>");
    }
    unfinished(&patches.unfinished, page);
    if patches.unnamed_pods > 0 {
        let _ = writeln!(
            page,
            "<p class=\"muted\">{} pods are not covered, because the log does not have their names.</p>",
            patches.unnamed_pods
        );
    }
    if patches.is_partial {
        page.push_str(
            "<p class=\"muted\">The time to patch covers only a part of the log: it has too many pods, repositories or builds.</p>\n",
        );
    }
}

fn patch_row(name: &str, figures: &Figures, slowest: TimeDelta) -> String {
    let number = |title: &str, number: usize| cell(title, "number", &number.to_string(), &number.to_string());
    let length = |title: &str, time: Option<TimeDelta>| {
        let [key, text] =
            time.map_or_else(Default::default, |time| [time.num_seconds().to_string(), duration_text(time)]);
        cell(title, "number", &key, &text)
    };
    let mean = figures.mean.map(|mean| mean.num_seconds().to_string()).unwrap_or_default();
    [
        "<tr>",
        name,
        &number("Patches", figures.finished),
        &number("Unfinished", figures.unfinished),
        &length("Mean", figures.mean),
        &length("P90", figures.p90),
        &length("Slowest", figures.slowest),
        &cell("Time", "wide", &mean, &bar(figures, slowest)),
        "</tr>\n",
    ]
    .concat()
}

/// The figures as a bar. The width is the slowest of all patches.
#[expect(clippy::cast_precision_loss, reason = "widths in pixels")]
fn bar(figures: &Figures, slowest: TimeDelta) -> String {
    let whole = slowest.num_seconds().max(1) as f64;
    let part = |class: &str, time: Option<TimeDelta>| {
        let width = 400.0 * time?.num_seconds().max(0) as f64 / whole;
        Some(format!("<rect class=\"{class}\" width=\"{:.1}\" height=\"14\"/>", width.max(1.5)))
    };
    let parts = [part("slowest", figures.slowest), part("p90", figures.p90), part("mean", figures.mean)];
    let parts: String = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return parts;
    }
    format!("<svg class=\"bar\" viewBox=\"0 0 400 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{parts}</svg>")
}

fn unfinished(patches: &[Patch], page: &mut String) {
    if patches.is_empty() {
        return;
    }
    page.push_str("<h3>Unfinished patches</h3>\n<div class=\"panel note\"><ul>\n");
    let (listed, others) = patches.split_at(patches.len().min(MAX_LISTED));
    for patch in listed {
        let pods = if patch.old_pods == 1 { "pod runs" } else { "pods run" };
        let _ = writeln!(
            page,
            "<li><code>{}</code> since {}: {} {pods} an older build</li>",
            escaped(&patch.repository),
            time(&patch.start),
            patch.old_pods
        );
    }
    if !others.is_empty() {
        let _ = writeln!(page, "<li class=\"muted\">{} more</li>", others.len());
    }
    page.push_str("</ul></div>\n");
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{Html, MAX_BYTES, MAX_ENTRIES, MAX_USES};
    use crate::commands::history::entry::Entry;
    use crate::commands::history::output::Output as _;
    use crate::commands::history::patches::{Figures, Patch, TimeToPatch};
    use crate::commands::history::record::{BreakGlass, Finding, Image, Object, Operation, Outcome, Platform, Request};
    use crate::commands::history::summary::Summary;

    const ATTACK: &str = "=1|`\"'></td><script>alert(1)</script>\u{1b}[31m\n\u{202e}&";

    fn request(number: usize, text: &str, outcome: Outcome) -> Vec<Entry> {
        let finding = Finding {
            code: text.to_owned(),
            effect: "deny".to_owned(),
            site: Some(text.to_owned()),
            image: Some(text.to_owned()),
            passed: Some(text.to_owned()),
            text: text.to_owned(),
        };
        let image = Image {
            repository: text.to_owned(),
            tag: Some(text.to_owned()),
            digest: Some(format!("sha256:{text}")),
            built: "2026-08-01T08:00:00Z".parse().ok(),
            sites: vec![text.to_owned()],
            unchanged: true,
            exempt: true,
        };
        let request = Request {
            time: "2026-11-20T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap()
                + TimeDelta::hours(i64::try_from(number).unwrap()),
            outcome,
            status: Some(201),
            operation: Operation::Create,
            object: Object {
                kind: text.to_owned(),
                namespace: text.to_owned(),
                name: Some(format!("{text}-{number}")),
                owner: Some(format!("{text}/{text}")),
                platform: Platform::Docker,
            },
            user: text.to_owned(),
            impersonated_by: Some(text.to_owned()),
            images: vec![image.clone()],
            findings: vec![finding],
            break_glass: Some(BreakGlass { reason: text.to_owned(), by: text.to_owned() }),
            is_shortened: true,
            is_by_namespaced_policy: false,
        };
        vec![Entry::new(&request, Some(&image), Some(text)), Entry::new(&request, None, None)]
    }

    fn patches(text: &str) -> TimeToPatch {
        let figures = Figures {
            finished: 2,
            unfinished: 1,
            mean: Some(TimeDelta::hours(3)),
            p90: Some(TimeDelta::hours(30)),
            slowest: Some(TimeDelta::hours(30)),
        };
        let unfinished = Patch {
            repository: text.to_owned(),
            digest: text.to_owned(),
            start: "2026-11-20T12:00:00Z".parse().unwrap(),
            end: None,
            old_pods: 1,
        };
        TimeToPatch {
            repositories: vec![(text.to_owned(), figures.clone()), ("b".to_owned(), Figures::default())],
            total: figures,
            unfinished: vec![unfinished],
            unnamed_pods: 3,
            is_partial: true,
        }
    }

    fn page(requests: &[Vec<Entry>], patches: &TimeToPatch) -> String {
        let mut page = Vec::new();
        let mut html = Html::new(&mut page);
        let mut summary = Summary { break_glass: requests.len(), unchanged: 7, ..Summary::default() };
        for entries in requests {
            html.request(entries).unwrap();
            *summary.requests.entry(entries[0].outcome).or_default() += 1;
            summary.first = summary.first.or(Some(entries[0].time));
            summary.last = Some(entries[0].time);
        }
        html.end(&summary, patches).unwrap();
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn text_of_requesters_cannot_become_markup() {
        let page = page(&[request(0, ATTACK, Outcome::Denied), request(30, ATTACK, Outcome::Warned)], &patches(ATTACK));
        assert_eq!(page.matches("<script").count(), 1, "only the script of the page");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the attack is shown as text");
        for forbidden in ['\u{1b}', '\u{202e}'] {
            assert!(!page.contains(forbidden), "{forbidden:?}");
        }
        for (tag, end) in [("<td", "</td>"), ("<tr>", "</tr>"), ("<code>", "</code>")] {
            assert_eq!(page.matches(tag).count(), page.matches(end).count(), "{tag}");
        }
        for forbidden in ["src=", "href=", "@import", "url(", " style=", " onclick="] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_page_keeps_the_last_entries_and_the_totals_count_all() {
        let requests: Vec<_> = (0..MAX_ENTRIES).map(|number| request(number, "web", Outcome::Warned)).collect();
        let page = page(&requests, &TimeToPatch::default());
        assert!(page.contains(&format!("<strong>{MAX_ENTRIES}</strong><span>admitted with warnings</span>")));
        assert!(page.contains(&format!("<p class=\"muted\">{MAX_ENTRIES} earlier entries are left out.")));
        assert!(page.contains(&format!("<p class=\"muted\">{} earlier uses are left out.", MAX_ENTRIES - MAX_USES)));
        assert_eq!(page.matches("<tr><td").count(), MAX_ENTRIES + MAX_USES);
        let newest = page.find(&format!("web-{}<", MAX_ENTRIES - 1)).unwrap();
        assert!(newest < page.find(&format!("web-{}<", MAX_ENTRIES - 2)).unwrap(), "the newest entry is the first");
    }

    #[test]
    fn long_texts_leave_out_more_entries() {
        let long = "x".repeat(32 << 10);
        let requests: Vec<_> = (0..30).map(|number| request(number, &long, Outcome::Warned)).collect();
        let page = page(&requests, &TimeToPatch::default());
        assert!(page.len() < 3 * MAX_BYTES, "{}", page.len());
        assert!(page.contains(" earlier entries are left out."));
    }

    #[test]
    fn a_history_without_requests_is_a_page() {
        let page = page(&[], &TimeToPatch::default());
        assert!(
            page.contains("<p class=\"panel note\">No requests.</p>")
                && page.contains("Log without requests, by container-patch")
        );
        assert!(!page.contains("Time to patch") && !page.contains("<h2>Break-glass"));
    }

    #[test]
    fn the_time_to_patch_of_each_repository_has_a_bar() {
        let page = page(&[request(0, "web", Outcome::Admitted)], &patches("registry.example.com/web"));
        // The repository `b` has no finished patch.
        assert_eq!(page.matches("<svg class=\"bar\"").count(), 2);
        assert!(page.contains("1d 6h") && page.contains(">3h 0m<"));
        assert!(page.contains("1 pod runs an older build") && page.contains("3 pods are not covered"));
    }
}
