//! Draws the traces that a search found: a table with a line a trace.

use super::table::{Column, Row, Table, named};
use super::{Ink, Style};
use crate::time::grouped;

/// A trace that was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hit {
    pub(crate) start_unix_nano: u64,
    pub(crate) duration_nano: u64,
    /// Of its root; none if none has arrived.
    pub(crate) service: Option<String>,
    /// The same.
    pub(crate) name: Option<String>,
    pub(crate) spans: u64,
    pub(crate) errors: u64,
    pub(crate) trace_id: String,
    /// What is shown below it, a line each.
    pub(crate) below: Vec<String>,
}

pub(crate) type HitTable = Table<Hit>;

impl HitTable {
    pub(crate) fn of(hits: &[Hit], style: Style) -> Self {
        let counts = |title: &'static str, count: fn(&Hit) -> u64| {
            let width = hits.iter().map(|hit| grouped(count(hit)).len()).fold(title.len(), usize::max);
            Column { title, width, is_number: true }
        };
        let others = vec![counts("spans", |hit| hit.spans), counts("errors", |hit| hit.errors)];
        Self::new("root", others, hits, Hit::row, style)
    }
}

impl Hit {
    fn row(&self) -> Row<'_> {
        let errors = if self.errors > 0 { Ink::Error } else { Ink::Plain };
        Row {
            start_unix_nano: self.start_unix_nano,
            duration_nano: self.duration_nano,
            service: named(self.service.as_deref(), "(no service)"),
            name: named(self.name.as_deref(), "(no root)"),
            others: vec![(Ink::Plain, grouped(self.spans)), (errors, grouped(self.errors))],
            trace_id: &self.trace_id,
            below: &self.below,
        }
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn hit() -> Hit {
        Hit {
            start_unix_nano: 1_661_140_339_020_000_000,
            duration_nano: 100_000_000,
            service: Some("frontend".to_owned()),
            name: Some("GET /cart".to_owned()),
            spans: 1_234,
            errors: 1,
            trace_id: "8b51e36eaee3265bec099d0c5c63fd37".to_owned(),
            below: Vec::new(),
        }
    }

    fn drawn(hits: &[Hit], width: usize) -> String {
        let table = HitTable::of(hits, Style { width, color: false });
        let mut out = Vec::new();
        table.write_head(&mut out).expect("in memory");
        hits.iter().for_each(|hit| table.write(&mut out, hit).expect("in memory"));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_trace_is_a_line_that_ends_with_its_id() {
        let rootless = Hit { service: None, name: None, errors: 0, ..hit() };
        assert_eq!(
            drawn(&[hit(), rootless], 120),
            "\
start (UTC)                duration  service       root       spans  errors  trace
2022-08-22 03:52:19.020      100 ms  frontend      GET /cart  1,234       1  8b51e36eaee3265bec099d0c5c63fd37
2022-08-22 03:52:19.020      100 ms  (no service)  (no root)  1,234       0  8b51e36eaee3265bec099d0c5c63fd37
"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_id_is_cut() {
        let long = Hit {
            service: Some("サービス".repeat(20)),
            name: Some("GET /\x1b[31m/".to_owned() + &"x".repeat(300)),
            below: vec!["attribute=".repeat(50)],
            ..hit()
        };
        for width in 40..200 {
            let text = drawn(&[hit(), long.clone()], width);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert_eq!(text.matches("8b51e36eaee3265bec099d0c5c63fd37").count(), 2, "{width}:\n{text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
    }
}
