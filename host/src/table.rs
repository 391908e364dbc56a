//! Tables for people.

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};

use crate::terminal::Style;

/// The minimum width of a terminal for which lines are wrapped. Some terminals report a width of 0.
const MIN_WIDTH: u16 = 40;

/// An empty table without borders. On a terminal it fits the width.
pub(crate) fn table<const N: usize>(titles: [&str; N], style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if style.terminal && table.width().is_some_and(|width| width >= MIN_WIDTH) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.force_no_tty();
    }
    if style.color {
        table.enforce_styling();
    }
    table.set_header(titles.map(|title| {
        let cell = Cell::new(title);
        if style.color { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    table
}

/// The lines of a table, without blanks at their ends.
pub(crate) fn render(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
