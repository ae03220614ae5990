//! Draws the spans that a search found: a table with a line a span, as wide as the terminal; where that is narrow,
//! the ID of its trace has a line of its own.

use std::io;

use unicode_width::UnicodeWidthStr;

use super::hits::{GAP, NAME_WIDTH_MIN, WIDTH_WITH_ID, fitted};
use super::{DURATION_WIDTH, Ink, Piece, Style, WIDTH_MIN, clean, write_line};
use crate::time::{duration_text, utc_text};

/// `status`, and all that it can be.
const STATUS_WIDTH: usize = 6;

/// A span that was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpanRow {
    pub(crate) start_unix_nano: u64,
    pub(crate) duration_nano: u64,
    /// None if its resource names none.
    pub(crate) service: Option<String>,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) trace_id: String,
    /// What is shown below it, a line each.
    pub(crate) below: Vec<String>,
}

/// Which column is how wide: as the first spans need it, and the same for all that follow.
#[derive(Debug)]
pub(crate) struct SpanTable {
    style: Style,
    start: usize,
    service: usize,
    name: usize,
    has_id: bool,
}

impl SpanTable {
    pub(crate) fn of(rows: &[SpanRow], style: Style) -> Self {
        let style = Style { width: style.width.max(WIDTH_MIN), ..style };
        let has_id = style.width >= WIDTH_WITH_ID;
        let widest =
            |width: &dyn Fn(&SpanRow) -> usize| rows.iter().map(width).fold(NAME_WIDTH_MIN, usize::max);
        // Milliseconds, or no fraction.
        let start = if has_id { 23 } else { 19 };
        let id = if has_id { 32 + GAP.len() } else { 0 };
        let others = start + DURATION_WIDTH + STATUS_WIDTH + id + 4 * GAP.len();
        let room = style.width.saturating_sub(others).max(2 * NAME_WIDTH_MIN);
        let service = widest(&|row: &SpanRow| clean(service(row)).width()).min(room * 2 / 5);
        let service = service.max(NAME_WIDTH_MIN);
        let name = widest(&|row: &SpanRow| clean(&row.name).width()).min(room - service);
        Self { style, start, service, name, has_id }
    }

    /// The columns' names.
    pub(crate) fn write_head(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let names = ["start (UTC)", "duration", "service", "name", "status", "trace"];
        self.write_cells(out, names.map(|name| (Ink::Faint, name.to_owned())))
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write, row: &SpanRow) -> io::Result<()> {
        let ink = if row.service.is_some() { Ink::Plain } else { Ink::Faint };
        let status = if row.status == "error" { Ink::Error } else { Ink::Plain };
        let cells = [
            (Ink::Plain, utc_text(row.start_unix_nano).chars().take(self.start).collect::<String>()),
            (Ink::Plain, duration_text(row.duration_nano)),
            (ink, service(row).to_owned()),
            (Ink::Plain, row.name.clone()),
            (status, row.status.clone()),
            (Ink::Strong, row.trace_id.clone()),
        ];
        self.write_cells(out, cells)?;
        for line in &row.below {
            write_line(out, &[(Ink::Faint, format!("{GAP}{}", clean(line)))], self.style)?;
        }
        Ok(())
    }

    fn write_cells(&self, out: &mut dyn io::Write, cells: [Piece; 6]) -> io::Result<()> {
        let [start, (duration_ink, duration), service, name, status, id] = cells;
        let gap = || (Ink::Plain, GAP.to_owned());
        let left = |(ink, text): Piece, width: usize| (ink, fitted(&text, width));
        let mut line = vec![
            left(start, self.start),
            gap(),
            (duration_ink, format!("{duration:>DURATION_WIDTH$}")),
            gap(),
            left(service, self.service),
            gap(),
            left(name, self.name),
            gap(),
            left(status, STATUS_WIDTH),
        ];
        let id = (id.0, clean(&id.1));
        if self.has_id {
            line.extend([gap(), id]);
            return write_line(out, &line, self.style);
        }
        write_line(out, &line, self.style)?;
        write_line(out, &[gap(), id], self.style)
    }
}

fn service(row: &SpanRow) -> &str {
    row.service.as_deref().unwrap_or("(no service)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> SpanRow {
        SpanRow {
            start_unix_nano: 1_661_140_339_020_000_000,
            duration_nano: 100_000_000,
            service: Some("frontend".to_owned()),
            name: "GET /cart".to_owned(),
            status: "error".to_owned(),
            trace_id: "8b51e36eaee3265bec099d0c5c63fd37".to_owned(),
            below: Vec::new(),
        }
    }

    fn drawn(rows: &[SpanRow], width: usize) -> String {
        let table = SpanTable::of(rows, Style { width, color: false });
        let mut out = Vec::new();
        table.write_head(&mut out).expect("in memory");
        rows.iter().for_each(|row| table.write(&mut out, row).expect("in memory"));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_span_is_a_line_that_ends_with_the_id_of_its_trace() {
        let other = SpanRow { service: None, status: "unset".to_owned(), ..row() };
        assert_eq!(
            drawn(&[row(), other], 120),
            "\
start (UTC)                duration  service       name       status  trace
2022-08-22 03:52:19.020      100 ms  frontend      GET /cart  error   8b51e36eaee3265bec099d0c5c63fd37
2022-08-22 03:52:19.020      100 ms  (no service)  GET /cart  unset   8b51e36eaee3265bec099d0c5c63fd37
"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_id_is_cut() {
        let long = SpanRow {
            service: Some("サービス".repeat(20)),
            name: "GET /\x1b[31m/".to_owned() + &"x".repeat(300),
            below: vec!["attribute=".repeat(50)],
            ..row()
        };
        for width in 40..200 {
            let text = drawn(&[row(), long.clone()], width);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert_eq!(text.matches("8b51e36eaee3265bec099d0c5c63fd37").count(), 2, "{width}:\n{text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
    }
}
