//! The report as Markdown, for a pull request or a wiki.

use std::fmt::Write as _;

use chrono::NaiveDate;

use super::model::{Image, Report, ServiceImage, Variant, short_digest};
use super::text;
use crate::escape::{markdown as plain, markdown_code as code};
use crate::timestamp::rfc3339;

/// The most objects that a cell names.
const MAX_OBJECTS: usize = 5;

/// The totals, the images, drift and failures. Writing to a `String` cannot fail.
pub(super) fn render(report: &Report) -> String {
    let mut page =
        format!("## Images by deadline\n\n{}\nAs of {}.\n", text::totals(report.summary), rfc3339(&report.time));
    if !report.images.is_empty() {
        page.push_str("\n| deadline | days left | verdict | image | built | base | scan | used by | findings |\n");
        page.push_str("| --- | ---: | --- | --- | --- | --- | --- | --- | --- |\n");
        report.images.iter().for_each(|image| row(image, &mut page));
    }
    let drift = &report.drift;
    if !drift.is_empty() {
        page.push_str("\n### Drift\n\n");
        for drift in &drift.tags {
            let name = code(&format!("{}:{}", drift.repository, drift.tag));
            let _ =
                writeln!(page, "- {name} is {} different digests: {}", drift.digests.len(), variants(&drift.digests));
        }
        for drift in &drift.repositories {
            let name = code(&drift.repository);
            let _ = writeln!(page, "- {name} has {} tags in use: {}", drift.tags.len(), variants(&drift.tags));
        }
        for drift in drift.services.iter().flatten() {
            let images = drift.images.iter().map(service_image).collect::<Vec<_>>().join(", ");
            let _ = writeln!(page, "- {} runs another image than it declares: {images}", code(&drift.service));
        }
    }
    if !report.object_findings.is_empty() {
        page.push_str("\n### Findings about whole objects\n\n");
        for finding in &report.object_findings {
            let _ = writeln!(page, "- {}: {} {}", code(&finding.object), plain(&finding.text), code(&finding.code));
        }
    }
    if !report.failures.is_empty() {
        page.push_str("\n### Not in this report\n\n");
        for failure in &report.failures {
            let _ = writeln!(page, "- {}: {}", code(&failure.subject), plain(&failure.reason));
        }
    }
    page
}

fn row(image: &Image, page: &mut String) {
    let day = |day: Option<NaiveDate>| day.map(|day| day.to_string()).unwrap_or_default();
    let digest =
        image.digest.as_deref().map(|digest| format!("<br>{}", code(&short_digest(digest)))).unwrap_or_default();
    let base = image.base.as_ref().map(|base| {
        let outdated = if base.outdated == Some(true) { " (outdated)" } else { "" };
        code(&base.name) + outdated
    });
    let objects = image.objects();
    let mut used: Vec<String> = objects.iter().take(MAX_OBJECTS).map(|object| code(object)).collect();
    if let Some(more) = objects.len().checked_sub(MAX_OBJECTS).filter(|more| *more > 0) {
        used.push(format!("and {more} more"));
    }
    let findings = image.findings.iter().map(|finding| format!("{} {}", plain(&finding.text), code(&finding.code)));
    let cells = [
        day(image.deadline_day),
        image.days_left.map(|days| days.to_string()).unwrap_or_default(),
        image.verdict.as_str().to_owned(),
        code(&image.name()) + &digest,
        day(image.built.map(|built| built.date_naive())),
        base.unwrap_or_default(),
        image.scan.as_str().to_owned(),
        used.join("<br>"),
        findings.collect::<Vec<_>>().join("<br>"),
    ];
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn service_image(image: &ServiceImage) -> String {
    let digest = image.digest.as_deref().map(|digest| format!(" {}", code(&short_digest(digest)))).unwrap_or_default();
    format!("{}{digest} ({})", code(&image.image), image.role())
}

fn variants(variants: &[Variant]) -> String {
    let variant = |variant: &Variant| {
        let objects: Vec<String> = variant.used_by.iter().take(MAX_OBJECTS).map(|object| code(object)).collect();
        let more = variant.used_by.len().saturating_sub(MAX_OBJECTS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} ({}{more})", code(&short_digest(&variant.value)), objects.join(", "))
    };
    variants.iter().map(variant).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::commands::report::samples;

    #[test]
    fn every_row_has_the_columns_of_the_header() {
        let page = render(&samples::report());
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
        assert_eq!(rows.len(), 2 + samples::report().images.len());
        assert!(rows.iter().all(|row| row.matches('|').count() == 10), "{page}");
        assert!(page.contains("### Drift"), "{page}");
    }
}
