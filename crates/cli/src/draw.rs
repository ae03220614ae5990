//! Draws the tree of a trace for a terminal: a line a span with its place in the tree, its service,
//! its name, how long it took and a bar on the trace's time line; what is odd about it below.
//!
//! Texts of spans come from anyone: nothing in them can move the cursor, set a colour or turn the
//! direction of writing.

mod hits;
mod spans;
mod table;

use std::io;

use tracelake::SpanView;
use tracelake::tree::{Attachment, Node, TraceTree};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub(crate) use self::hits::{Hit, HitTable};
pub(crate) use self::spans::{SpanRow, SpanTable};
use crate::time::{duration_text, grouped, utc_text};

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// Whether to colour.
    pub(crate) color: bool,
}

/// Narrower than this nothing fits; lines may then be broken by the terminal.
const WIDTH_MIN: usize = 40;

/// Columns of a duration: `123 m 05 s`.
const DURATION_WIDTH: usize = 10;

/// Columns of one level of the tree.
const LEVEL_WIDTH: usize = 3;

/// Characters of a text that are looked at: names of megabytes are possible, and nobody reads them.
const TEXT_CHARS_MAX: usize = 2_000;

/// Services named in the header; further ones are counted.
const SERVICES_LISTED_MAX: usize = 40;

/// Colours (of the 256) that are told apart on a dark and on a light ground. Red is for errors.
const SERVICE_COLORS: [u8; 14] = [33, 37, 64, 68, 71, 74, 97, 102, 133, 136, 139, 142, 172, 175];

/// What a piece of a line is; decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Plain,
    Strong,
    Faint,
    Error,
    Warning,
    Service(u8),
}

/// A piece of a line.
type Piece = (Ink, String);

/// Draws a trace. `partial` is what is missing and why.
pub(crate) fn draw(
    out: &mut dyn io::Write,
    tree: &TraceTree<'_>,
    partial: Option<&str>,
    style: Style,
) -> io::Result<()> {
    let style = Style { width: style.width.max(WIDTH_MIN), ..style };
    let colors: Vec<u8> = tree.services().iter().map(|service| color_of(service.name)).collect();
    let layout = Layout::of(tree, style.width);
    write_header(out, tree, partial, &colors, style)?;
    write_ruler(out, tree, &layout, style)?;

    // Per level from 1: whether a sibling of the ancestor there is still to come.
    let mut open: Vec<bool> = Vec::new();
    for step in tree.walk() {
        let node = &tree.nodes()[step.node];
        open.truncate(step.depth.saturating_sub(1));
        if step.depth > 0 {
            open.push(!step.is_last);
        }
        let color = colors[node.service];
        let mut label = vec![(Ink::Faint, guides(&open, layout.levels_max, true))];
        label.extend(span_label(node, service_name(tree, node), color));
        let width = write_clipped(out, &label, layout.label_width, style)?;
        let padding = layout.label_width - width;
        write!(out, "{:padding$} {:>DURATION_WIDTH$} ", "", duration_text(node.span.duration_nano()))?;
        let ink = if node.is_error() { Ink::Error } else { Ink::Service(color) };
        write_line(out, &[(ink, bar(tree, &node.span, layout.bar_width))], style)?;

        let below = details(node);
        if !below.is_empty() {
            let has_children = !tree.children(step.node).is_empty();
            if has_children {
                open.push(true);
            }
            let guides = guides(&open, layout.levels_max, false);
            if has_children {
                open.pop();
            }
            for (ink, text) in below {
                write_line(out, &[(Ink::Faint, guides.clone()), (ink, text)], style)?;
            }
        }
    }
    Ok(())
}

/// Which column begins where.
#[derive(Debug)]
struct Layout {
    label_width: usize,
    bar_width: usize,
    /// Levels drawn one by one; deeper ones are counted.
    levels_max: usize,
}

impl Layout {
    fn of(tree: &TraceTree<'_>, width: usize) -> Self {
        let room = width - DURATION_WIDTH - 2;
        let label_width_max = room * 3 / 5;
        let levels_max = (label_width_max / 2 / LEVEL_WIDTH).max(4);
        let label_width = |step: tracelake::tree::Step| {
            let node = &tree.nodes()[step.node];
            let label = span_label(node, service_name(tree, node), 0);
            let text: usize = label.iter().map(|(_, text)| text.width()).sum();
            step.depth.min(levels_max) * LEVEL_WIDTH + text
        };
        let label_width = tree.walk().map(label_width).max().unwrap_or(0).clamp(16, label_width_max);
        Self { label_width, bar_width: room - label_width, levels_max }
    }
}

fn service_name<'a>(tree: &TraceTree<'a>, node: &Node<'a>) -> Option<&'a str> {
    tree.services().get(node.service).and_then(|service| service.name)
}

/// The same colour for a service in every trace and on every machine.
fn color_of(service: Option<&str>) -> u8 {
    // FNV-1a: fixed for good, which the standard library's hash is not.
    let hash = service
        .unwrap_or_default()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    SERVICE_COLORS[(hash % SERVICE_COLORS.len() as u64) as usize]
}

/// Lines of the tree left of a span. `open` has an entry a level; with `branch`, the last one is the
/// span's own.
fn guides(open: &[bool], levels_max: usize, branch: bool) -> String {
    // What stands for the levels left out takes the room of three of them.
    let left_out = if open.len() > levels_max { open.len() - (levels_max - 3) } else { 0 };
    let mut text = String::new();
    if left_out > 0 {
        text = format!("{:<width$}", format!("⋯ +{left_out}"), width = 3 * LEVEL_WIDTH);
    }
    for (level, is_open) in open.iter().enumerate().skip(left_out) {
        let is_own = branch && level + 1 == open.len();
        text.push_str(match (is_own, is_open) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        });
    }
    text
}

fn span_label(node: &Node<'_>, service: Option<&str>, color: u8) -> Vec<Piece> {
    let mut label = Vec::with_capacity(4);
    if node.is_error() {
        label.push((Ink::Error, "✗ ".to_owned()));
    }
    label.push((Ink::Service(color), clean(service.unwrap_or("(no service)"))));
    label.push((Ink::Plain, format!("  {}", clean(node.span.name()))));
    let events = node.span.events().len();
    if events > 0 {
        label.push((Ink::Faint, format!("  {}", counted(events, "event", "events"))));
    }
    label
}

/// What is odd about a span, a line each.
fn details(node: &Node<'_>) -> Vec<Piece> {
    let span = &node.span;
    let mut lines = Vec::new();
    if node.is_error() && !span.status_message().is_empty() {
        lines.push((Ink::Error, format!("✗ {}", clean(span.status_message()))));
    }
    match node.attachment {
        Attachment::Root | Attachment::Child(_) => {}
        Attachment::Orphan { parent } => {
            lines.push((Ink::Warning, format!("! its parent {parent} is not in the trace")));
        }
        Attachment::Cycle { parent } => {
            let text = format!("! its parent {parent} is also below it: cut here");
            lines.push((Ink::Warning, text));
        }
    }
    if node.shares_id {
        let text = format!("! another span has the same ID {} and other content", span.span_id());
        lines.push((Ink::Warning, text));
    }
    if span.end_unix_nano() < span.start_unix_nano() {
        let early = duration_text(span.start_unix_nano() - span.end_unix_nano());
        lines.push((Ink::Warning, format!("! ends {early} before it starts")));
    }
    lines
}

fn write_header(
    out: &mut dyn io::Write,
    tree: &TraceTree<'_>,
    partial: Option<&str>,
    colors: &[u8],
    style: Style,
) -> io::Result<()> {
    if let Some(first) = tree.nodes().first() {
        write_line(out, &[(Ink::Strong, format!("trace {}", first.span.trace_id()))], style)?;
    }
    let mut facts = vec![
        (Ink::Plain, utc_text(tree.start_unix_nano())),
        (Ink::Plain, format!(" · {}", duration_text(tree.duration_nano()))),
        (Ink::Plain, format!(" · {}", counted(tree.nodes().len(), "span", "spans"))),
        (Ink::Plain, format!(" · {}", counted(tree.services().len(), "service", "services"))),
    ];
    let errors = tree.error_count();
    let ink = if errors > 0 { Ink::Error } else { Ink::Plain };
    facts.push((ink, format!(" · {}", counted(errors, "error", "errors"))));
    write_line(out, &facts, style)?;
    write_services(out, tree, colors, style)?;

    let mut warnings = Vec::new();
    if let Some(partial) = partial {
        warnings.push(format!("partial: {}", clean(partial)));
    }
    // Of a part nobody can say what has not arrived.
    let whole = partial.is_none();
    if whole && tree.root().is_none() && !tree.nodes().is_empty() {
        warnings.push("the root span has not arrived".to_owned());
    }
    if whole && tree.orphan_count() > 0 {
        let spans = counted(tree.orphan_count(), "span has a parent", "spans have parents");
        warnings.push(format!("{spans} that did not arrive"));
    }
    if tree.cycle_count() > 0 {
        let circles = counted(tree.cycle_count(), "circle", "circles");
        warnings.push(format!("parents form {circles}"));
    }
    for warning in warnings {
        write_line(out, &[(Ink::Warning, format!("! {warning}"))], style)?;
    }
    writeln!(out)
}

/// Services with their spans, as many a line as fit.
fn write_services(
    out: &mut dyn io::Write,
    tree: &TraceTree<'_>,
    colors: &[u8],
    style: Style,
) -> io::Result<()> {
    let mut line: Vec<Piece> = Vec::new();
    let mut used = 0;
    for (service, color) in tree.services().iter().zip(colors).take(SERVICES_LISTED_MAX) {
        let name = clean(service.name.unwrap_or("(no service)"));
        let errors = match service.errors {
            0 => String::new(),
            errors => format!(" ✗{errors}"),
        };
        let spans = format!(" {}", service.spans);
        let width = name.width() + spans.width() + errors.width();
        if used > 0 && used + 3 + width > style.width {
            write_line(out, &line, style)?;
            line.clear();
            used = 0;
        }
        if used > 0 {
            line.push((Ink::Faint, " · ".to_owned()));
            used += 3;
        }
        line.extend([(Ink::Service(*color), name), (Ink::Plain, spans), (Ink::Error, errors)]);
        used += width;
    }
    write_line(out, &line, style)?;
    match tree.services().len().saturating_sub(SERVICES_LISTED_MAX) {
        0 => Ok(()),
        more => write_line(out, &[(Ink::Faint, format!("and {more} more services"))], style),
    }
}

/// The time line above the bars: from nothing to the trace's duration.
fn write_ruler(
    out: &mut dyn io::Write,
    tree: &TraceTree<'_>,
    layout: &Layout,
    style: Style,
) -> io::Result<()> {
    let left = layout.label_width + DURATION_WIDTH + 2;
    let end = duration_text(tree.duration_nano());
    let gap = layout.bar_width.saturating_sub(1 + end.width());
    write_line(out, &[(Ink::Faint, format!("{:left$}0{:gap$}{end}", "", ""))], style)
}

/// Where a span lies on the trace's time line, to half a column.
fn bar(tree: &TraceTree<'_>, span: &SpanView<'_>, width: usize) -> String {
    let halves = 2 * width as u128;
    let total = u128::from(tree.duration_nano()).max(1);
    let offset = u128::from(span.start_unix_nano() - tree.start_unix_nano());
    let length = u128::from(span.duration_nano());
    let from = (offset * halves / total).min(halves - 1) as usize;
    let to = ((offset + length) * halves).div_ceil(total).min(halves) as usize;
    let is_thin = length * halves < total;

    let mut text = " ".repeat(from / 2);
    if is_thin {
        text.push(if from.is_multiple_of(2) { '▏' } else { '▕' });
        return text;
    }
    for column in from / 2..to.div_ceil(2) {
        let (left, right) = (2 * column, 2 * column + 1);
        text.push(match ((from..to).contains(&left), (from..to).contains(&right)) {
            (true, true) => '█',
            (true, false) => '▌',
            _ => '▐',
        });
    }
    text
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count as u64), if count == 1 { one } else { many })
}

/// A span's text made harmless and of bounded length: white space becomes a space, other control
/// characters and those that turn the direction of writing a replacement character.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c: char| match c {
        c if c.is_whitespace() => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().take(TEXT_CHARS_MAX).map(harmless).collect()
}

/// Writes pieces, cut with an ellipsis where they are wider than `width`; answers with the columns
/// taken.
fn write_clipped(out: &mut dyn io::Write, pieces: &[Piece], width: usize, style: Style) -> io::Result<usize> {
    let total: usize = pieces.iter().map(|(_, text)| text.width()).sum();
    let room = if total > width { width - 1 } else { width };
    let mut used = 0;
    for (ink, text) in pieces {
        let mut end = text.len();
        for (at, c) in text.char_indices() {
            let next = used + c.width().unwrap_or(0);
            if next > room {
                end = at;
                break;
            }
            used = next;
        }
        write_ink(out, *ink, &text[..end], style)?;
        if end < text.len() {
            break;
        }
    }
    if total > width {
        write_ink(out, Ink::Faint, "…", style)?;
        used += 1;
    }
    Ok(used)
}

/// Writes pieces as a line of at most the terminal's width.
fn write_line(out: &mut dyn io::Write, pieces: &[Piece], style: Style) -> io::Result<()> {
    write_clipped(out, pieces, style.width, style)?;
    writeln!(out)
}

fn write_ink(out: &mut dyn io::Write, ink: Ink, text: &str, style: Style) -> io::Result<()> {
    if !style.color || text.is_empty() {
        return out.write_all(text.as_bytes());
    }
    match ink {
        Ink::Plain => out.write_all(text.as_bytes()),
        Ink::Strong => write!(out, "\x1b[1m{text}\x1b[0m"),
        Ink::Faint => write!(out, "\x1b[2m{text}\x1b[0m"),
        Ink::Error => write!(out, "\x1b[31m{text}\x1b[0m"),
        Ink::Warning => write!(out, "\x1b[33m{text}\x1b[0m"),
        Ink::Service(color) => write!(out, "\x1b[38;5;{color}m{text}\x1b[0m"),
    }
}

#[cfg(test)]
mod tests;
