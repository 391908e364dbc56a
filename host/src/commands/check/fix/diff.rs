//! Unified diffs of manifests.

use similar::TextDiff;

use crate::terminal::{Style, log_line, printable};

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const CYAN: &str = "\u{1b}[36m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// The diff as `git apply` and `patch -p1` read it. The lines are exactly those of the files.
pub(super) fn unified(name: &str, before: &str, after: &str) -> String {
    let name = printable(name.strip_prefix("./").unwrap_or(name));
    let lines = |text| Vec::from_iter(str::split_inclusive(text, '\n'));
    // Only line feeds end a line in these programs, and carriage returns belong to the line.
    let (old, new) = (lines(before), lines(after));
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
    diff.unified_diff().header(&format!("a/{name}"), &format!("b/{name}")).to_string()
}

/// The diff for a terminal or a log.
pub(super) fn for_people(name: &str, before: &str, after: &str, style: Style) -> String {
    let diff = unified(name, before, after);
    let lines = diff.split_terminator('\n').map(|line| {
        let text = log_line(line.strip_suffix('\r').unwrap_or(line));
        let color = match text.as_bytes() {
            _ if !style.color => return text + "\n",
            [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => BOLD,
            [b'@', b'@', ..] => CYAN,
            [b'-', ..] => RED,
            [b'+', ..] => GREEN,
            _ => return text + "\n",
        };
        format!("{color}{text}{RESET}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{for_people, unified};
    use crate::terminal::Style;

    const PLAIN: Style = Style { terminal: false, color: false };

    #[test]
    fn a_diff_has_the_lines_of_the_files_with_their_line_ends() {
        assert_eq!(
            unified("./k8s/a.yaml", "a\r\nb\r\nc", "a\r\nB\r\nc"),
            "--- a/k8s/a.yaml\n+++ b/k8s/a.yaml\n@@ -1,3 +1,3 @@\n a\r\n-b\r\n+B\r\n c\n\\ No newline at end of file\n"
        );
        assert_eq!(unified("a\nb", "x\ry\n", "x\rz\n"), "--- a/a\\nb\n+++ b/a\\nb\n@@ -1 +1 @@\n-x\ry\n+x\rz\n");
        assert_eq!(unified("a", "x\n", "x\n"), "");
    }

    #[test]
    fn a_diff_for_people_cannot_control_the_terminal_or_the_runner() {
        let before = "a\u{1b}[2Jb\r\n ::error::x\nb: ##[error]y\nimage: a\n";
        let diff = for_people("a", before, &before.replace("image: a", "image: b"), PLAIN);
        assert_eq!(
            diff,
            "--- a/a\n+++ b/a\n@@ -1,4 +1,4 @@\n a\\u{1b}[2Jb\n  \\u{3a}:error::x\n b: #\\u{23}[error]y\n-image: a\n+image: b\n"
        );
        let colored = for_people("a", "a\n", "b\n", Style { terminal: true, color: true });
        assert_eq!(
            colored,
            "\u{1b}[1m--- a/a\u{1b}[0m\n\u{1b}[1m+++ b/a\u{1b}[0m\n\u{1b}[36m@@ -1 +1 @@\u{1b}[0m\n\u{1b}[31m-a\u{1b}[0m\n\u{1b}[32m+b\u{1b}[0m\n"
        );
    }
}
