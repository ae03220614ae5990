//! A table of what a search found, with a line a row, as wide as the terminal; where that is narrow, the trace's ID has
//! a line of its own. What stands between a row's name and that ID is not decided here.

use std::io;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{DURATION_WIDTH, Ink, Piece, Style, WIDTH_MIN, clean, write_line};
use crate::time::{duration_text, utc_text};

/// From here on a line has room for the ID, too: it is what people copy, and is never cut.
const WIDTH_WITH_ID: usize = 112;

/// A service's name has so much room at least, and so has the one behind it.
const NAME_WIDTH_MIN: usize = 8;

/// Between two columns.
const GAP: &str = "  ";

#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) width: usize,
    /// It stands on the right, and is never cut.
    pub(super) is_number: bool,
}

/// What a line shows.
#[derive(Debug)]
pub(super) struct Row<'r> {
    pub(super) start_unix_nano: u64,
    pub(super) duration_nano: u64,
    pub(super) service: (Ink, &'r str),
    pub(super) name: (Ink, &'r str),
    /// One for each further column.
    pub(super) others: Vec<Piece>,
    pub(super) trace_id: &'r str,
    /// What is shown below it, a line each.
    pub(super) below: &'r [String],
}

/// Which column is how wide: as the first rows need it, and the same for all that follow.
#[derive(Debug)]
pub(crate) struct Table<R> {
    style: Style,
    start_width: usize,
    columns: Vec<Column>,
    has_id: bool,
    row: fn(&R) -> Row<'_>,
}

impl<R> Table<R> {
    /// `name` is the title of the names, `others` what stands behind them.
    pub(super) fn new(
        name: &'static str,
        others: Vec<Column>,
        rows: &[R],
        row: fn(&R) -> Row<'_>,
        style: Style,
    ) -> Self {
        let style = Style { width: style.width.max(WIDTH_MIN), ..style };
        let has_id = style.width >= WIDTH_WITH_ID;
        let (mut service_width, mut name_width) = (NAME_WIDTH_MIN, NAME_WIDTH_MIN);
        for Row { service, name, .. } in rows.iter().map(row) {
            service_width = service_width.max(clean(service.1).width());
            name_width = name_width.max(clean(name.1).width());
        }
        // Milliseconds, or no fraction.
        let start_width = if has_id { 23 } else { 19 };
        let id_width = if has_id { GAP.len() + 32 } else { 0 };
        let others_width: usize = others.iter().map(|column| GAP.len() + column.width).sum();
        let taken = start_width + DURATION_WIDTH + 3 * GAP.len() + others_width + id_width;
        let room = style.width.saturating_sub(taken).max(2 * NAME_WIDTH_MIN);
        let service_width = service_width.min(room * 2 / 5).max(NAME_WIDTH_MIN);
        let name_width = name_width.min(room - service_width);
        let mut columns = vec![
            Column { title: "start (UTC)", width: start_width, is_number: false },
            Column { title: "duration", width: DURATION_WIDTH, is_number: true },
            Column { title: "service", width: service_width, is_number: false },
            Column { title: name, width: name_width, is_number: false },
        ];
        columns.extend(others);
        Self { style, start_width, columns, has_id, row }
    }

    /// The columns' titles.
    pub(crate) fn write_head(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let titles = self.columns.iter().map(|column| (Ink::Faint, column.title.to_owned()));
        self.write_cells(out, titles, (Ink::Faint, "trace"))
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write, row: &R) -> io::Result<()> {
        let row = (self.row)(row);
        let start: String = utc_text(row.start_unix_nano).chars().take(self.start_width).collect();
        let times = [(Ink::Plain, start), (Ink::Plain, duration_text(row.duration_nano))];
        let names = [row.service, row.name].map(|(ink, text)| (ink, text.to_owned()));
        let cells = times.into_iter().chain(names).chain(row.others);
        self.write_cells(out, cells, (Ink::Strong, row.trace_id))?;
        for line in row.below {
            write_line(out, &[(Ink::Faint, format!("{GAP}{}", clean(line)))], self.style)?;
        }
        Ok(())
    }

    fn write_cells(
        &self,
        out: &mut dyn io::Write,
        cells: impl Iterator<Item = Piece>,
        (id_ink, id): (Ink, &str),
    ) -> io::Result<()> {
        let gap = || (Ink::Plain, GAP.to_owned());
        let mut line = Vec::new();
        for (column, (ink, text)) in self.columns.iter().zip(cells) {
            if !line.is_empty() {
                line.push(gap());
            }
            let width = column.width;
            let text = if column.is_number { format!("{text:>width$}") } else { fitted(&text, width) };
            line.push((ink, text));
        }
        let id = [gap(), (id_ink, clean(id))];
        if self.has_id {
            line.extend(id);
            return write_line(out, &line, self.style);
        }
        write_line(out, &line, self.style)?;
        write_line(out, &id, self.style)
    }
}

/// A name, or what is said where there is none.
pub(super) fn named<'t>(name: Option<&'t str>, nameless: &'t str) -> (Ink, &'t str) {
    name.map_or((Ink::Faint, nameless), |name| (Ink::Plain, name))
}

/// A text in so many columns: with spaces behind it, or cut with an ellipsis.
fn fitted(text: &str, width: usize) -> String {
    let text = clean(text);
    let is_cut = text.width() > width;
    let room = if is_cut { width.saturating_sub(1) } else { width };
    let (mut fitted, mut used) = (String::new(), 0);
    for c in text.chars() {
        let next = used + c.width().unwrap_or(0);
        if next > room {
            break;
        }
        fitted.push(c);
        used = next;
    }
    if is_cut {
        fitted.push('…');
        used += 1;
    }
    fitted.push_str(&" ".repeat(width.saturating_sub(used)));
    fitted
}
