//! Markdown for a comment on a pull request, in the dialect of GitHub, which GitLab also reads:
//! <https://github.github.com/gfm/>.

use super::sarif::page_url;
use super::{Checked, CheckedObject, totals};
use crate::escape::{markdown, markdown_code, markdown_text};
use crate::judge::verdict::{JudgedObject, Reason, Summary, Verdict};

/// The most bytes of the text. GitHub accepts 65,536 characters in a comment; the rest is for words around it.
const MAX_BYTES: usize = 60_000;
/// The most bytes of the table; the rest is for the findings.
const MAX_TABLE: usize = MAX_BYTES / 3;
/// The bytes that are reserved for the number of omitted objects.
const OMISSION: usize = 200;

/// By this line a script finds the comment that it wrote for the last push.
const MARKER: &str = "<!-- container-patch check -->\n";

/// A summary, a table of the objects with findings or errors, and their findings, collapsed.
pub(super) fn render(checked: &Checked<'_>) -> String {
    let verdicts = [Verdict::Denied, Verdict::Failed, Verdict::Warned];
    let objects: Vec<_> = verdicts.into_iter().flat_map(|verdict| checked.with_verdict(verdict)).collect();
    let mut text =
        format!("{MARKER}### container-patch: {}\n\n{}.\n", headline(checked.summary), markdown_text(&totals(checked)));
    if objects.is_empty() {
        return text;
    }
    text += "\n| Verdict | Object | Place | Findings |\n| --- | --- | --- | --- |\n";
    let rows: Vec<_> = objects.iter().map(|object| row(checked, object)).collect();
    append(&mut text, &rows, MAX_TABLE, |omitted| format!("\n{omitted} more objects are not in this table.\n"));
    let details: Vec<_> = objects.iter().map(|object| details(checked, object)).collect();
    append(&mut text, &details, MAX_BYTES, |omitted| {
        format!(
            "\nThe findings of {omitted} objects are left out here; `--output text` and `--output json` have them all.\n"
        )
    });
    text
}

/// Appends the parts that fit, and says how many do not.
fn append(text: &mut String, parts: &[String], max: usize, omission: impl Fn(usize) -> String) {
    let mut omitted = 0;
    for part in parts {
        if text.len() + part.len() + OMISSION > max {
            omitted += 1;
        } else {
            text.push_str(part);
        }
    }
    if omitted > 0 {
        text.push_str(&omission(omitted));
    }
}

fn headline(summary: Summary) -> String {
    match summary {
        Summary { denied: 0, failed: 0, warned: 0, .. } => "no findings".to_owned(),
        Summary { denied: 0, failed: 0, warned, .. } => format!("{warned} accepted with warnings"),
        Summary { denied, failed: 0, .. } => format!("{denied} denied"),
        Summary { denied: 0, failed, .. } => format!("{failed} could not be judged"),
        Summary { denied, failed, .. } => format!("{denied} denied, {failed} could not be judged"),
    }
}

fn row(checked: &Checked<'_>, object: &CheckedObject<'_>) -> String {
    let judged = object.judged;
    let codes = if judged.findings.is_empty() { "see below".to_owned() } else { codes(judged) };
    format!(
        "| {} | {} | {} | {codes} |\n",
        judged.verdict,
        markdown_code(&title(judged)),
        markdown_code(&place(checked, object))
    )
}

/// The file and the line.
fn place(checked: &Checked<'_>, object: &CheckedObject<'_>) -> String {
    format!("{}:{}", checked.file(object.judged), object.line)
}

/// The kind, namespace and name.
fn title(object: &JudgedObject) -> String {
    object.object.as_ref().map_or_else(|| "(unreadable)".to_owned(), ToString::to_string)
}

/// The codes of an object, each with the number of its findings.
fn codes(object: &JudgedObject) -> String {
    let mut codes: Vec<(&str, usize)> = Vec::new();
    for reason in object.reasons() {
        let Reason::Finding(_, finding) = reason else { continue };
        match codes.iter_mut().find(|(code, _)| *code == finding.code) {
            Some((_, count)) => *count += 1,
            None => codes.push((&finding.code, 1)),
        }
    }
    let link = |(code, count): &(&str, usize)| match count {
        1 => link(code),
        _ => format!("{} ({count})", link(code)),
    };
    codes.iter().map(link).collect::<Vec<_>>().join(", ")
}

/// A code with a link to its page. Only our own codes have one; another module may have others.
fn link(code: &str) -> String {
    let is_plain = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if is_plain { format!("[{code}]({})", page_url(code)) } else { markdown_code(code) }
}

/// The reasons of an object in a collapsed section.
fn details(checked: &Checked<'_>, object: &CheckedObject<'_>) -> String {
    let judged = object.judged;
    let reasons = judged.reasons();
    let count = match reasons.len() {
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    let name = match &judged.object {
        Some(object) => object.to_string(),
        None => place(checked, object),
    };
    let count = if judged.findings.is_empty() { judged.verdict.to_string() } else { count };
    let mut text = format!("\n<details><summary>{}: {count}</summary>\n\n", markdown_code(&name));
    for reason in reasons {
        text += &match reason {
            Reason::Finding(_, finding) => format!("- {} {}\n", markdown(&finding.statement()), link(&finding.code)),
            Reason::Message(message) => format!("- {}\n", markdown(&message)),
        };
    }
    text + "\n</details>\n"
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::commands::check::output::Checked;
    use crate::commands::check::output::tests::{denied, finding, objects, source};
    use crate::judge::verdict::{Effect, FailOn, Finding, JudgedObject, Verdict};

    fn markdown(objects: &[JudgedObject]) -> String {
        render(&Checked::new(objects, FailOn::Deny))
    }

    #[test]
    fn a_comment_has_a_summary_a_table_and_the_findings() {
        let objects = [denied(vec![finding("patch-due", Effect::Warn), finding("unpinned-image", Effect::Deny)])];
        let text = markdown(&objects);
        assert!(text.contains("### container-patch: 1 denied\n\n1 object judged&#58; 1 denied"), "{text}");
        assert!(text.contains("| denied | <code>Pod shop/web</code> | <code>"), "{text}");
        assert!(text.contains("[unpinned-image](https://github.com/"), "{text}");
        assert!(
            text.contains("<details><summary><code>Pod shop/web</code>: 2 findings</summary>\n\n- container "),
            "{text}"
        );
        assert!(text.find("unpinned-image") < text.find("patch-due"), "{text}");
        let accepted = [JudgedObject { verdict: Verdict::Accepted, ..denied(vec![]) }];
        assert!(markdown(&accepted).contains("### container-patch: no findings\n"));
    }

    #[test]
    fn an_unreadable_file_is_named_by_its_path() {
        let text = markdown(&[JudgedObject::failed(None, source(), "invalid YAML".to_owned())]);
        let row = text.lines().find(|line| line.starts_with("| failed")).unwrap();
        assert!(row.contains("shop/web.yaml&#58;1</code> | see below |"), "{text}");
        let summary = text.lines().find(|line| line.starts_with("<details>")).unwrap();
        assert!(summary.ends_with("shop/web.yaml&#58;1</code>: failed</summary>"), "{text}");
    }

    #[test]
    fn hostile_text_has_no_meaning() {
        let text = markdown(&objects());
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 2 + 5);
        assert!(rows.iter().all(|row| row.matches('|').count() == 5), "{text}");
        for part in ["<script", "](http://x)", "@all", "#1 ", "\u{1b}", "](x", "<!--c-->"] {
            assert!(!text.contains(part), "{part}: {text}");
        }
        assert_eq!(crate::escape::markdown("as `a|b` @all"), "as <code>a&#124;b</code> &#64;<!-- -->all");
        assert_eq!(crate::escape::markdown_code("</code>@all\\"), "<code>&#60;/code&#62;&#64;all&#92;</code>");
    }

    #[test]
    fn a_comment_fits_and_says_what_is_left_out() {
        let long = Finding { text: "@é ".repeat(300), ..finding("stale-image", Effect::Deny) };
        let objects: Vec<_> = (0..2_000).map(|_| denied(vec![long.clone()])).collect();
        let text = markdown(&objects);
        assert!(text.len() < 65_536, "{}", text.len());
        assert!(text.contains(" more objects are not in this table.\n"));
        assert!(text.contains(" objects are left out here; `--output text`"));
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    }
}
