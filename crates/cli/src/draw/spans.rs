//! Draws the spans that a search found: a table with a line a span.

use super::table::{Column, Row, Table, named};
use super::{Ink, Style};

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

pub(crate) type SpanTable = Table<SpanRow>;

impl SpanTable {
    pub(crate) fn of(rows: &[SpanRow], style: Style) -> Self {
        let status = Column { title: "status", width: STATUS_WIDTH, is_number: false };
        Self::new("name", vec![status], rows, SpanRow::row, style)
    }
}

impl SpanRow {
    fn row(&self) -> Row<'_> {
        let status = if self.status == "error" { Ink::Error } else { Ink::Plain };
        Row {
            start_unix_nano: self.start_unix_nano,
            duration_nano: self.duration_nano,
            service: named(self.service.as_deref(), "(no service)"),
            name: (Ink::Plain, self.name.as_str()),
            others: vec![(status, self.status.clone())],
            trace_id: &self.trace_id,
            below: &self.below,
        }
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

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
