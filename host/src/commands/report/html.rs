//! The report as one HTML page without external resources.

mod timeline;

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, Utc};

use super::model::{Image, Report, Scope, Use, Variant, Verdict};
use crate::html::{card, escaped, foot, head, time, with_code};
use crate::timestamp::rfc3339;

/// The columns: the title, the class of the cells, and whether they are sorted as numbers.
const COLUMNS: [(&str, &str, bool); 10] = [
    ("Deadline", "day", false),
    ("Days left", "number", true),
    ("Verdict", "", true),
    ("Image", "image", false),
    ("Built", "day", false),
    ("Base", "base", false),
    ("Scan", "", false),
    (PODS, "number", true),
    ("Used by", "", true),
    ("Findings", "findings", true),
];

/// The column that a report about manifests does not have. Of a swarm, it counts tasks.
const PODS: &str = "Pods";

/// The most uses of an image that are visible at once.
const MAX_USES: usize = 4;

/// How many days before its deadline the summary counts an image as due.
const DUE_SOON: i64 = 14;

/// The page. Writing to a `String` cannot fail.
pub(super) fn render(report: &Report) -> String {
    let title = match (report.scope, &report.namespace) {
        (Scope::Manifests, _) => "Images of the manifests".to_owned(),
        (Scope::Cluster, None) => "Images of the cluster".to_owned(),
        (Scope::Cluster, Some(namespace)) => format!("Images of the namespace {}", escaped(namespace)),
        (Scope::Swarm, None) => "Images of the swarm".to_owned(),
        (Scope::Swarm, Some(stack)) => format!("Images of the stack {}", escaped(stack)),
    };
    let mut page = head(&title, timeline::STYLE, &format!("As of {}", time(&report.time)));
    summary(report, &mut page);
    if let Some(timeline) = timeline::render(report) {
        page.push_str("<h2>Deadlines</h2>\n");
        page.push_str(&timeline);
    }
    images(report, &mut page);
    drift(report, &mut page);
    notes(report, &mut page);
    page += &foot(
        "The deadline of an image follows from its build date and the patch schedule in the settings of the policy. After the deadline \
         the policy does not accept the image. Verdicts and findings are those of the policy for a new object with this image.",
    );
    page
}

fn summary(report: &Report, page: &mut String) {
    let summary = &report.summary;
    let due = |image: &&Image| image.days_left.is_some_and(|days| (0..DUE_SOON).contains(&days));
    let cards = [
        ("", summary.images, "images", true),
        ("denied", summary.overdue, "past the deadline", true),
        ("warned", report.images.iter().filter(due).count(), "due within 14 days", true),
        ("denied", summary.denied, "denied", true),
        ("failed", summary.failed, "could not be judged", false),
        ("warned", summary.warned, "accepted with warnings", true),
        ("accepted", summary.accepted, "accepted", true),
        ("", summary.exempt, "exempt", false),
        ("", report.drift.len(), "drifting", false),
    ];
    page.push_str("<ul class=\"summary\">\n");
    for (class, number, label, _) in cards.into_iter().filter(|(_, number, _, is_shown)| *is_shown || *number > 0) {
        page.push_str(&card(class, number, label));
    }
    page.push_str("</ul>\n");
    if summary.left_out > 0 {
        let _ = writeln!(
            page,
            "<p class=\"muted\">{} images with a later deadline or without one are left out.</p>",
            summary.left_out
        );
    }
}

fn images(report: &Report, page: &mut String) {
    page.push_str("<h2>Images</h2>\n");
    if report.images.is_empty() {
        page.push_str("<p class=\"panel note\">There are no images in this report.</p>\n");
        return;
    }
    page.push_str("<div class=\"panel scroll\">\n<table class=\"rows\">\n<thead><tr>");
    let has = |title: &str| report.scope != Scope::Manifests || title != PODS;
    let titled = |title: &'static str| if title == PODS && report.scope == Scope::Swarm { "Tasks" } else { title };
    for (title, class, is_number) in COLUMNS.into_iter().filter(|(title, ..)| has(title)) {
        let kind = if is_number { "number" } else { "text" };
        let class = if class == "number" { " class=\"number\"" } else { "" };
        // The images are sorted by deadline.
        let sort = if title == COLUMNS[0].0 { " aria-sort=\"ascending\"" } else { "" };
        let _ = write!(page, "<th scope=\"col\"{class} data-type=\"{kind}\"{sort}>{}</th>", titled(title));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for image in &report.images {
        page.push_str("<tr>");
        let cells = COLUMNS.iter().zip(row(image)).filter(|((title, ..), _)| has(title));
        for ((title, class, _), (key, cell)) in cells {
            let _ = write!(
                page,
                "<td class=\"{class}\" data-label=\"{}\" data-key=\"{}\"><div>{cell}</div></td>",
                titled(title),
                escaped(&key)
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

/// The cells of a row, each with the key that it is sorted by.
fn row(image: &Image) -> [(String, String); COLUMNS.len()] {
    let day = |time: Option<DateTime<Utc>>, day: Option<NaiveDate>| {
        let key = time.as_ref().map(rfc3339).unwrap_or_default();
        let cell = day.map(|day| format!("<time datetime=\"{key}\" title=\"{key}\">{day}</time>"));
        (key, cell.unwrap_or_default())
    };
    let (deadline_key, mut deadline) = day(image.deadline, image.deadline_day);
    if let Some(freeze) = &image.freeze {
        let _ = write!(deadline, "<br><span class=\"muted\" title=\"{}\">after freeze</span>", escaped(freeze));
    }
    let days = image.days_left.map(|days| days.to_string()).unwrap_or_default();
    let overdue = if image.days_left.is_some_and(|days| days < 0) { " class=\"overdue\"" } else { "" };
    let days_cell = if days.is_empty() { String::new() } else { format!("<span{overdue}>{days}</span>") };
    let verdict = image.verdict.as_str();
    let severity = Verdict::ALL.iter().position(|known| *known == image.verdict).unwrap_or_default();
    let mut name = format!("<code>{}</code>", escaped(&image.name()));
    if let Some(digest) = &image.digest {
        let _ = write!(name, "<span class=\"digest\">{}</span>", escaped(digest));
    }
    for platform in &image.missing_platforms {
        let _ = write!(name, "<br><span class=\"muted\">no image for {}</span>", escaped(platform));
    }
    let base = image.base.as_ref().map(|base| {
        let status = match base.outdated {
            Some(true) => "<br><span class=\"overdue\">outdated</span>",
            Some(false) => "<br><span class=\"muted\">current</span>",
            None => "",
        };
        let title = base.digest.as_ref().map(|digest| format!(" title=\"{}\"", escaped(digest))).unwrap_or_default();
        (base.name.clone(), format!("<code{title}>{}</code>{status}", escaped(&base.name)))
    });
    [
        (deadline_key, deadline),
        (days, days_cell),
        (severity.to_string(), format!("<span class=\"verdict {verdict}\">{verdict}</span>")),
        (image.name(), name),
        day(image.built, image.built.map(|built| built.date_naive())),
        base.unwrap_or_default(),
        (image.scan.as_str().to_owned(), image.scan.as_str().replace('-', " ")),
        (image.pods.to_string(), image.pods.to_string()),
        (image.used_by.len().to_string(), uses(&image.used_by)),
        (image.findings.len().to_string(), findings(image)),
    ]
}

fn uses(uses: &[Use]) -> String {
    let item = |used: &Use| {
        let mut item =
            format!("<li>{} <span class=\"container\">{}</span>", escaped(&used.object()), with_code(&used.container));
        if let Some(id) = &used.image_id {
            let _ = write!(item, "<span class=\"digest\">local image {}</span>", escaped(id));
        }
        item + "</li>"
    };
    let (visible, hidden) = uses.split_at(uses.len().min(MAX_USES));
    let mut list = format!("<ul class=\"plain\">{}</ul>", visible.iter().map(item).collect::<String>());
    if !hidden.is_empty() {
        let more: String = hidden.iter().map(item).collect();
        let _ =
            write!(list, "<details><summary>{} more</summary><ul class=\"plain\">{more}</ul></details>", hidden.len());
    }
    list
}

fn findings(image: &Image) -> String {
    if image.findings.is_empty() {
        return String::new();
    }
    let item = |finding: &super::model::Finding| {
        format!("<li>{} <span class=\"code\">[{}]</span></li>", with_code(&finding.text), escaped(&finding.code))
    };
    format!("<ul class=\"plain\">{}</ul>", image.findings.iter().map(item).collect::<String>())
}

fn drift(report: &Report, page: &mut String) {
    let drift = &report.drift;
    if drift.is_empty() {
        return;
    }
    page.push_str("<h2>Drift</h2>\n<div class=\"panel note\">\n");
    for drift in &drift.tags {
        let name = escaped(&format!("{}:{}", drift.repository, drift.tag));
        let _ = writeln!(page, "<p><code>{name}</code> is {} different digests:</p>", drift.digests.len());
        variants(&drift.digests, page);
    }
    for drift in &drift.repositories {
        let name = escaped(&drift.repository);
        let _ = writeln!(page, "<p><code>{name}</code> has {} tags in use:</p>", drift.tags.len());
        variants(&drift.tags, page);
    }
    for drift in drift.services.iter().flatten() {
        let _ = writeln!(page, "<p>{} runs another image than it declares:</p>\n<ul>", escaped(&drift.service));
        for image in &drift.images {
            let name = [image.image.as_str(), image.digest.as_deref().unwrap_or_default()].join(" ");
            let [name, role] = [name.trim_end(), &image.role()].map(escaped);
            let _ = write!(page, "<li><code>{name}</code> <span class=\"muted\">{role}</span></li>");
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</div>\n");
}

fn variants(variants: &[Variant], page: &mut String) {
    page.push_str("<ul>");
    for variant in variants {
        let used = variant.used_by.iter().map(|object| escaped(object)).collect::<Vec<_>>().join(", ");
        let _ = write!(page, "<li><code>{}</code> <span class=\"muted\">{used}</span></li>", escaped(&variant.value));
    }
    page.push_str("</ul>\n");
}

fn notes(report: &Report, page: &mut String) {
    if !report.object_findings.is_empty() {
        page.push_str("<h2>Findings about whole objects</h2>\n<div class=\"panel note\"><ul>\n");
        for finding in &report.object_findings {
            let [object, code] = [&finding.object, &finding.code].map(|text| escaped(text));
            let text = with_code(&finding.text);
            let _ = writeln!(page, "<li>{object}: {text} <span class=\"code\">[{code}]</span></li>");
        }
        page.push_str("</ul></div>\n");
    }
    if !report.failures.is_empty() {
        page.push_str("<h2>Not in this report</h2>\n<div class=\"panel note\"><ul>\n");
        for failure in &report.failures {
            let _ = writeln!(page, "<li>{}: {}</li>", escaped(&failure.subject), with_code(&failure.reason));
        }
        page.push_str("</ul></div>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::commands::report::samples;

    #[test]
    fn text_of_others_cannot_become_markup() {
        let page = render(&samples::report());
        assert_eq!(page.matches("<script").count(), 1, "only the script of the page");
        assert!(!page.contains("<script>alert"));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the attack is shown as text");
        assert!(!page.contains('\u{1b}'));
    }

    #[test]
    fn the_page_has_no_external_resources_and_no_inline_attributes_of_style_or_script() {
        let page = render(&samples::report());
        for forbidden in ["src=", "href=", "@import", "url(", " style=", " onclick="] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    }

    #[test]
    fn each_image_has_a_row_and_a_mark_on_the_timeline() {
        let report = samples::report();
        let page = render(&report);
        assert_eq!(page.matches("<tr><td").count(), report.images.len());
        assert_eq!(
            page.matches("<circle").count(),
            report.images.iter().filter(|image| image.deadline.is_some()).count()
        );
    }
}
