//! Renders the Markdown of `docs/` for a terminal: as much of it as the pages about finding codes use.

const BOLD: &str = "\u{1b}[1m";
const ITALIC: &str = "\u{1b}[3m";
const CODE: &str = "\u{1b}[36m";
const RESET: &str = "\u{1b}[0m";

/// Renders a page. Lines are wrapped at the width, except code. Without color the text has no escape sequences.
pub(super) fn render(page: &str, width: usize, color: bool) -> String {
    let mut renderer = Renderer { text: String::new(), width, color };
    let lines: Vec<&str> = page.lines().collect();
    let mut rest = &lines[..];
    while let Some((line, after)) = rest.split_first() {
        rest = match Block::of(line) {
            Block::Blank => after,
            Block::Fence => renderer.code(after),
            Block::Heading(title) => {
                renderer.gap();
                renderer.heading(title);
                after
            }
            kind => {
                let (block, after) = block(kind, rest);
                renderer.gap();
                renderer.paragraphs(kind, block);
                after
            }
        };
    }
    renderer.text
}

/// What a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block<'a> {
    Blank,
    Fence,
    Heading(&'a str),
    Quote,
    Item,
    Table,
    Paragraph,
}

impl<'a> Block<'a> {
    fn of(line: &'a str) -> Self {
        let start = line.trim_start();
        match start.bytes().next() {
            None => Self::Blank,
            _ if start.starts_with("```") => Self::Fence,
            Some(b'#') => Self::Heading(start.trim_start_matches('#').trim()),
            Some(b'>') => Self::Quote,
            Some(b'|') => Self::Table,
            _ if item(line).is_some() => Self::Item,
            _ => Self::Paragraph,
        }
    }
}

/// The marker of a list item, with the spaces around it, and its text.
fn item(line: &str) -> Option<(&str, &str)> {
    let start = line.trim_start();
    let digits = start.bytes().take_while(u8::is_ascii_digit).count();
    let rest = match digits {
        0 => start.strip_prefix("- ").or_else(|| start.strip_prefix("* ")),
        _ => start.get(digits..).and_then(|rest| rest.strip_prefix(". ")),
    }?;
    Some((line.get(..line.len() - rest.len())?, rest))
}

/// Splits off the lines of a block.
fn block<'l, 'a>(kind: Block<'_>, lines: &'l [&'a str]) -> (&'l [&'a str], &'l [&'a str]) {
    let belongs = |line: &&str| match (kind, Block::of(line)) {
        (Block::Item, Block::Paragraph) => true,
        (kind, found) => kind == found,
    };
    let end = lines.iter().skip(1).position(|line| !belongs(line)).map_or(lines.len(), |end| end + 1);
    lines.split_at(end)
}

struct Renderer {
    text: String,
    width: usize,
    color: bool,
}

impl Renderer {
    /// An empty line between blocks.
    fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn heading(&mut self, title: &str) {
        let words = words(title, self.color);
        let (bold, reset) = if self.color { (BOLD, RESET) } else { ("", "") };
        self.text.push_str(bold);
        self.text.push_str(&words.join(" "));
        self.text.push_str(reset);
        self.text.push('\n');
    }

    /// Adds the code up to the end of the fence, and returns the lines after it.
    fn code<'l, 'a>(&mut self, lines: &'l [&'a str]) -> &'l [&'a str] {
        self.gap();
        let end = lines.iter().position(|line| line.trim_start().starts_with("```")).unwrap_or(lines.len());
        let (code, after) = lines.split_at(end);
        for line in code {
            let line = format!("    {line}");
            self.text.push_str(&style(line.trim_end(), CODE, self.color));
            self.text.push('\n');
        }
        after.get(1..).unwrap_or_default()
    }

    fn paragraphs(&mut self, kind: Block<'_>, lines: &[&str]) {
        match kind {
            Block::Quote => {
                let text: Vec<&str> = lines.iter().map(|line| line.trim_start().trim_start_matches('>')).collect();
                self.wrap(&text.join(" "), "│ ", "│ ");
            }
            Block::Item => {
                let starts = lines.iter().enumerate().filter_map(|(index, line)| Some((index, item(line)?)));
                let starts: Vec<(usize, (&str, &str))> = starts.collect();
                let ends = starts.iter().skip(1).map(|(index, _)| *index).chain([lines.len()]);
                for ((index, (marker, first)), end) in starts.iter().zip(ends) {
                    let more = lines.get(index + 1..end).unwrap_or_default();
                    let indent = " ".repeat(marker.len());
                    self.wrap(&[&[*first], more].concat().join(" "), marker, &indent);
                }
            }
            Block::Table => self.table(lines),
            _ => self.wrap(&lines.join(" "), "", ""),
        }
    }

    /// Cells of tables are long sentences, so each row becomes an item: its first cell, and the others below it.
    fn table(&mut self, lines: &[&str]) {
        let rows = lines.iter().map(|line| line.trim().trim_matches('|').split(" | ").map(str::trim));
        let rows = rows.map(Iterator::collect::<Vec<_>>);
        let is_rule = |row: &Vec<&str>| row.iter().all(|cell| cell.bytes().all(|byte| b"-:| ".contains(&byte)));
        for (index, row) in rows.enumerate().filter(|(_, row)| !is_rule(row)) {
            let Some((first, others)) = row.split_first() else { continue };
            if index == 0 {
                self.wrap(&format!("**{}**", row.join(": ")), "", "");
                continue;
            }
            self.wrap(first, "- ", "  ");
            for cell in others {
                self.wrap(cell, "  → ", "    ");
            }
        }
    }

    /// Adds a text, wrapped at the width.
    fn wrap(&mut self, text: &str, first: &str, next: &str) {
        let mut length = 0;
        for (index, word) in words(text, self.color).into_iter().enumerate() {
            let columns = columns(&word);
            if index == 0 {
                self.text.push_str(first);
                length = first.chars().count();
            } else if length + 1 + columns > self.width {
                self.text.push('\n');
                self.text.push_str(next);
                length = next.chars().count();
            } else {
                self.text.push(' ');
                length += 1;
            }
            self.text.push_str(&word);
            length += columns;
        }
        self.text.push('\n');
    }
}

/// The columns that a word takes, without its escape sequences.
fn columns(word: &str) -> usize {
    let mut columns = 0;
    let mut escaped = false;
    for character in word.chars() {
        match character {
            '\u{1b}' => escaped = true,
            'm' if escaped => escaped = false,
            _ if escaped => {}
            _ => columns += 1,
        }
    }
    columns
}

fn style(text: &str, style: &str, color: bool) -> String {
    if color && !style.is_empty() && !text.is_empty() { format!("{style}{text}{RESET}") } else { text.to_owned() }
}

/// The words of a text, each with its own style, so that lines can break between them.
fn words(text: &str, color: bool) -> Vec<String> {
    let mut words = vec![String::new()];
    spans(text, "", &mut |part, current| {
        // Without color, backticks separate code from text.
        let part = if current == CODE && !color { &format!("`{part}`") } else { part };
        for (index, word) in part.split(' ').enumerate() {
            if index > 0 {
                words.push(String::new());
            }
            if let Some(last) = words.last_mut() {
                last.push_str(&style(word, current, color));
            }
        }
    });
    words.retain(|word| !word.is_empty());
    words
}

/// Splits a text into parts of one style.
fn spans(text: &str, current: &'static str, add: &mut impl FnMut(&str, &'static str)) {
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        let (before, from) = rest.split_at(at);
        add(before, current);
        let enclosed = |mark: &str| {
            let inner = from.strip_prefix(mark)?;
            let end = inner.find(mark).filter(|end| *end > 0)?;
            Some((inner.get(..end)?, inner.get(end + mark.len()..)?))
        };
        rest = if let Some((code, after)) = enclosed("`") {
            add(code, CODE);
            after
        } else if let Some((strong, after)) = enclosed("**") {
            spans(strong, BOLD, add);
            after
        } else if let Some((emphasis, after)) = enclosed("*") {
            spans(emphasis, ITALIC, add);
            after
        } else if let Some((label, target, after)) = link(from) {
            spans(label, current, add);
            // The link to another code says nothing that its label does not say.
            if target.strip_suffix(".md") != Some(label.trim_matches('`')) {
                add(&format!(" ({})", address(target)), current);
            }
            after
        } else {
            let next = from.chars().next().map_or(from.len(), char::len_utf8);
            let (mark, after) = from.split_at(next);
            add(mark, current);
            after
        };
    }
    add(rest, current);
}

/// The address of a page or file of the documentation, for readers without the repository.
fn address(target: &str) -> String {
    const BRANCH: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
    match target.strip_prefix("../") {
        _ if target.contains("://") => target.to_owned(),
        Some(file) => format!("{BRANCH}{file}"),
        None => format!("{BRANCH}docs/{target}"),
    }
}

/// The label and the target of a link at the start of a text, and the text after it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (label, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (target, after) = rest.split_once(')')?;
    (!label.contains(']') || label.contains('`')).then_some((label, target, after))
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn paragraphs_are_wrapped_and_lists_are_indented() {
        let page = "# title\n\nOne two three\nfour.\n\n- first item\n  goes on\n- second\n\n1. one\n2. two\n";
        assert_eq!(
            render(page, 12, false),
            "title\n\nOne two\nthree four.\n\n- first item\n  goes on\n- second\n\n1. one\n2. two\n"
        );
    }

    #[test]
    fn code_is_indented_and_not_wrapped() {
        let page = "Run:\n\n```console\nkubectl get pods --all-namespaces\n\n  # *no* emphasis\n```\nDone.\n";
        assert_eq!(
            render(page, 10, false),
            "Run:\n\n    kubectl get pods --all-namespaces\n\n      # *no* emphasis\n\nDone.\n"
        );
    }

    #[test]
    fn quotes_have_a_bar() {
        assert_eq!(render("> a b\n> c\n\n> d\n", 5, false), "│ a b\n│ c\n\n│ d\n");
    }

    #[test]
    fn links_show_their_addresses_except_those_to_other_codes() {
        let page = "See [settings](settings.md#schedule), [stale-image](stale-image.md) and [`a`](a.md); a[0] stays.";
        let docs = "https://github.com/container-patch/container-patch-policy/blob/main";
        assert_eq!(
            render(page, 200, false),
            format!("See settings ({docs}/docs/settings.md#schedule), stale-image and `a`; a[0] stays.\n")
        );
        let page = "[one](../deploy/enforce.yaml), [two](https://example.com/a.md)";
        assert_eq!(
            render(page, 200, false),
            format!("one ({docs}/deploy/enforce.yaml), two (https://example.com/a.md)\n")
        );
    }

    #[test]
    fn the_rows_of_a_table_are_items() {
        let page = "| cause | do this |\n| --- | --- |\n| a `b|c` | d |\n";
        assert_eq!(render(page, 80, false), "cause: do this\n- a `b|c`\n  → d\n");
    }

    #[test]
    fn styles_do_not_count_as_columns_and_end_with_each_word() {
        assert_eq!(
            render("**a b** `c d` *e*", 5, true),
            "\u{1b}[1ma\u{1b}[0m \u{1b}[1mb\u{1b}[0m \u{1b}[36mc\u{1b}[0m\n\u{1b}[36md\u{1b}[0m \u{1b}[3me\u{1b}[0m\n"
        );
    }

    #[test]
    fn marks_without_an_end_are_text() {
        assert_eq!(render("a * b, [c, `d", 80, false), "a * b, [c, `d\n");
    }
}
