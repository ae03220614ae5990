//! Draws what a search found: a table with a line a trace, as wide as the terminal; where that is narrow, the trace's
//! ID has a line of its own.

use std::io;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{DURATION_WIDTH, Ink, Piece, Style, WIDTH_MIN, clean, write_line};
use crate::time::{duration_text, grouped, utc_text};

/// From here on a line has room for the ID, too: it is what people copy, and is never cut.
pub(super) const WIDTH_WITH_ID: usize = 112;

/// A service's or a root's name has so much room at least.
pub(super) const NAME_WIDTH_MIN: usize = 8;

/// Between two columns.
pub(super) const GAP: &str = "  ";

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

/// Which column is how wide: as the first traces need it, and the same for all that follow.
#[derive(Debug)]
pub(crate) struct HitTable {
    style: Style,
    start: usize,
    service: usize,
    name: usize,
    spans: usize,
    errors: usize,
    has_id: bool,
}

impl HitTable {
    pub(crate) fn of(hits: &[Hit], style: Style) -> Self {
        let style = Style { width: style.width.max(WIDTH_MIN), ..style };
        let has_id = style.width >= WIDTH_WITH_ID;
        let widest =
            |least: usize, width: &dyn Fn(&Hit) -> usize| hits.iter().map(width).fold(least, usize::max);
        let spans = widest("spans".len(), &|hit: &Hit| grouped(hit.spans).len());
        let errors = widest("errors".len(), &|hit: &Hit| grouped(hit.errors).len());
        // Milliseconds, or no fraction.
        let start = if has_id { 23 } else { 19 };
        let id = if has_id { 32 + GAP.len() } else { 0 };
        let others = start + DURATION_WIDTH + spans + errors + id + 5 * GAP.len();
        let room = style.width.saturating_sub(others).max(2 * NAME_WIDTH_MIN);
        let service = widest(NAME_WIDTH_MIN, &|hit: &Hit| clean(service(hit)).width()).min(room * 2 / 5);
        let service = service.max(NAME_WIDTH_MIN);
        let name = widest(NAME_WIDTH_MIN, &|hit: &Hit| clean(name(hit)).width()).min(room - service);
        Self { style, start, service, name, spans, errors, has_id }
    }

    /// The columns' names.
    pub(crate) fn write_head(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let names = ["start (UTC)", "duration", "service", "root", "spans", "errors", "trace"];
        let cells = names.map(|name| (Ink::Faint, name.to_owned()));
        self.write_cells(out, cells)
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write, hit: &Hit) -> io::Result<()> {
        let ink = |text: &Option<String>| if text.is_some() { Ink::Plain } else { Ink::Faint };
        let errors = if hit.errors > 0 { Ink::Error } else { Ink::Plain };
        let cells = [
            (Ink::Plain, utc_text(hit.start_unix_nano).chars().take(self.start).collect::<String>()),
            (Ink::Plain, duration_text(hit.duration_nano)),
            (ink(&hit.service), service(hit).to_owned()),
            (ink(&hit.name), name(hit).to_owned()),
            (Ink::Plain, grouped(hit.spans)),
            (errors, grouped(hit.errors)),
            (Ink::Strong, hit.trace_id.clone()),
        ];
        self.write_cells(out, cells)?;
        for line in &hit.below {
            write_line(out, &[(Ink::Faint, format!("{GAP}{}", clean(line)))], self.style)?;
        }
        Ok(())
    }

    fn write_cells(&self, out: &mut dyn io::Write, cells: [Piece; 7]) -> io::Result<()> {
        let [start, duration, service, name, spans, errors, id] = cells;
        let gap = || (Ink::Plain, GAP.to_owned());
        let right = |(ink, text): Piece, width: usize| (ink, format!("{text:>width$}"));
        let left = |(ink, text): Piece, width: usize| (ink, fitted(&text, width));
        let mut line = vec![
            left(start, self.start),
            gap(),
            right(duration, DURATION_WIDTH),
            gap(),
            left(service, self.service),
            gap(),
            left(name, self.name),
            gap(),
            right(spans, self.spans),
            gap(),
            right(errors, self.errors),
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

fn service(hit: &Hit) -> &str {
    hit.service.as_deref().unwrap_or("(no service)")
}

fn name(hit: &Hit) -> &str {
    hit.name.as_deref().unwrap_or("(no root)")
}

/// A text in so many columns: with spaces behind it, or cut with an ellipsis.
pub(super) fn fitted(text: &str, width: usize) -> String {
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

#[cfg(test)]
mod tests {
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
