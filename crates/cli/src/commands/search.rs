//! `tracelake search`: the traces with spans that satisfy a condition, those spans, or the traces' IDs, as a table or
//! as JSON, one a line.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tracelake::{TenantId, limits};

use super::API_DEFAULT;
use super::trace::style;
use crate::client::ApiClient;
use crate::draw::{Hit, HitTable, SpanRow, SpanTable};
use crate::r#gen::parse::duration;
use crate::outcome::{Failure, Outcome};
use crate::time::{parse_time, rfc3339};

/// Longer than any server searches (`search_seconds_max`).
const TIMEOUT: Duration = Duration::from_secs(3_660);

/// Traces that are shown if nothing is said, or spans.
const LIMIT: u64 = 20;

/// Flags of `tracelake search`.
#[derive(Debug, clap::Args)]
pub(crate) struct SearchArgs {
    /// What spans are to satisfy, as TraceQL, such as '{ resource.service.name = "cart" && duration > 300ms }'
    #[arg(value_name = "QUERY", default_value = "{ }")]
    query: String,
    /// The API of a running server
    #[arg(long, value_name = "URL", default_value = API_DEFAULT)]
    api: String,
    /// Whose traces
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantId>,
    /// Spans that started within this time up to now: 90s, 15m, 1h30m, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["start", "end"])]
    last: Option<Duration>,
    /// Spans that start at this time or later: RFC 3339, or a number since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    start: Option<u64>,
    /// Spans that start before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    end: Option<u64>,
    /// Traces at most, or spans [default: 20, or with --all as many as there are]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Which traces come first
    #[arg(long, value_enum, default_value_t = Order::Newest)]
    order: Order,
    /// Whether one span satisfies all of the condition, or each comparison any span of the trace
    #[arg(long = "match", value_enum, default_value_t = Unit::Span)]
    unit: Unit,
    /// Attributes of matching spans that are shown, such as span.http.route, with commas between
    #[arg(long, value_name = "ATTRIBUTES", value_delimiter = ',')]
    select: Vec<String>,
    /// Show the matching spans, each at its own place in the order
    #[arg(long)]
    spans: bool,
    /// Print the IDs of the traces alone, one a line
    #[arg(long, conflicts_with_all = ["spans", "select"])]
    ids: bool,
    /// Ask for one page after the other
    #[arg(long)]
    all: bool,
    /// Print what was found as the API has it, as JSON, one a line
    #[arg(long)]
    json: bool,
    /// Say on stderr how the first page was found: what was looked into, and by what
    #[arg(long)]
    explain: bool,
    /// Columns of the table [default: the terminal's, or 120]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Those that started last
    Newest,
    /// Those that started first
    Oldest,
    /// Those that took longest
    Longest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// One span satisfies all of it
    Span,
    /// Each comparison is satisfied by any span
    Trace,
}

/// What is shown, which decides how it is told.
#[derive(Debug)]
enum Table {
    Traces(HitTable),
    Spans(SpanTable),
}

/// Prints what is found, page by page.
pub(crate) async fn run(args: SearchArgs) -> Result<Outcome, Failure> {
    let client = ApiClient::with_timeout(&args.api, args.tenant.clone(), TIMEOUT)?;
    let mut search = search(&args)?;
    let mut left = args.limit.unwrap_or(if args.all { u64::MAX } else { LIMIT });
    let (mut table, mut has_found) = (None, false);
    let mut plan = None;
    let mut partial: Option<String> = None;
    loop {
        let limit = if args.all { left.min(limits::SEARCH_TRACES_MAX) } else { left };
        search.insert("limit".to_owned(), limit.into());
        let answer = client.search(&Value::Object(search.clone())).await?;
        let found = list(&answer, args.list());
        print(found, &args, &mut table).map_err(Failure::Output)?;
        has_found |= !found.is_empty();
        if let Some(said) = answer.get("partial").filter(|partial| !partial.is_null()) {
            let reason = said.get("reason").and_then(Value::as_str).unwrap_or("the server does not say why");
            partial.get_or_insert_with(|| reason.to_owned());
        }
        if search.remove("explain").is_some() {
            plan = answer.get("explain").cloned();
        }
        left = left.saturating_sub(found.len() as u64);
        let next = answer.get("next_cursor").and_then(Value::as_str);
        match next {
            Some(cursor) if args.all && left > 0 && !found.is_empty() => {
                search.insert("cursor".to_owned(), cursor.into());
            }
            _ => {
                if let Some(plan) = &plan {
                    writeln!(io::stderr(), "{plan:#}").ok();
                }
                tell(&args, has_found, next.is_some(), partial.as_deref());
                return Ok(Outcome::partly_if(partial.is_some()));
            }
        }
    }
}

/// The search as the API takes it. Its range is the same for every page.
fn search(args: &SearchArgs) -> Result<Map<String, Value>, Failure> {
    let start = match args.last {
        Some(last) => Some(ago(last)?),
        None => args.start,
    };
    let mut search = Map::new();
    search.insert("q".to_owned(), args.query.as_str().into());
    search.insert("order".to_owned(), json!(args.order));
    search.insert("match".to_owned(), json!(args.unit));
    search.insert("result".to_owned(), args.result().into());
    search.insert("select".to_owned(), json!(args.select));
    if args.explain {
        search.insert("explain".to_owned(), true.into());
    }
    for (name, time) in [("start", start), ("end", args.end)] {
        if let Some(time) = time {
            search.insert(name.to_owned(), rfc3339(time).into());
        }
    }
    Ok(search)
}

fn ago(last: Duration) -> Result<u64, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now =
        now.map_err(|_| Failure::Failed("the clock shows a time before 1970; give --start".to_owned()))?;
    Ok(u64::try_from(now.saturating_sub(last).as_nanos()).unwrap_or(u64::MAX))
}

impl SearchArgs {
    /// What the API is to answer.
    fn result(&self) -> &'static str {
        match (self.spans, self.ids) {
            (true, _) => "spans",
            (_, true) => "ids",
            _ => "summaries",
        }
    }

    /// Where it has that.
    fn list(&self) -> &'static str {
        match (self.spans, self.ids) {
            (true, _) => "spans",
            (_, true) => "trace_ids",
            _ => "traces",
        }
    }
}

/// What is not found goes to stderr. If that is gone nobody reads it.
fn tell(args: &SearchArgs, has_found: bool, has_more: bool, partial: Option<&str>) {
    let say = |text: &str| writeln!(io::stderr(), "{text}").ok();
    if let Some(reason) = partial {
        say(&format!("not everything was looked at: {reason}"));
    }
    if has_more {
        let how =
            if args.all { "a higher --limit shows more" } else { "--limit shows more, --all shows all" };
        say(&format!("there are more {}: {how}", if args.spans { "spans" } else { "traces" }));
    } else if !has_found && !args.json {
        say(if args.spans { "no span was found" } else { "no trace was found" });
    }
}

/// The first page that has something decides about the table.
fn print(found: &[Value], args: &SearchArgs, table: &mut Option<Table>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        for one in found {
            writeln!(out, "{one}")?;
        }
        return out.flush();
    }
    if args.ids {
        for id in found.iter().filter_map(Value::as_str) {
            writeln!(out, "{id}")?;
        }
        return out.flush();
    }
    if found.is_empty() {
        return Ok(());
    }
    let with_attributes = !args.select.is_empty();
    if args.spans {
        let rows: Vec<SpanRow> = found.iter().map(|span| span_row(span, with_attributes)).collect();
        if table.is_none() {
            let new = SpanTable::of(&rows, style(args.width));
            new.write_head(&mut out)?;
            *table = Some(Table::Spans(new));
        }
        if let Some(Table::Spans(table)) = table {
            rows.iter().try_for_each(|row| table.write(&mut out, row))?;
        }
    } else {
        let hits: Vec<Hit> = found.iter().map(|trace| hit(trace, with_attributes)).collect();
        if table.is_none() {
            let new = HitTable::of(&hits, style(args.width));
            new.write_head(&mut out)?;
            *table = Some(Table::Traces(new));
        }
        if let Some(Table::Traces(table)) = table {
            hits.iter().try_for_each(|hit| table.write(&mut out, hit))?;
        }
    }
    out.flush()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn hit(trace: &Value, with_attributes: bool) -> Hit {
    let start = text(trace, "start_time_unix_nano").and_then(|start| start.parse().ok());
    let below = list(trace, "spans").iter().filter(|_| with_attributes).map(span_line);
    Hit {
        start_unix_nano: start.unwrap_or_default(),
        duration_nano: number(trace, "duration_nano"),
        service: text(trace, "root_service").map(str::to_owned),
        name: text(trace, "root_name").map(str::to_owned),
        spans: number(trace, "span_count"),
        errors: number(trace, "error_count"),
        trace_id: text(trace, "trace_id").unwrap_or_default().to_owned(),
        below: below.collect(),
    }
}

/// A matching span with what was selected.
fn span_line(span: &Value) -> String {
    let service = text(span, "service").unwrap_or("(no service)");
    let name = text(span, "name").unwrap_or_default();
    std::iter::once(format!("{service}  {name}")).chain(attributes(span)).collect::<Vec<_>>().join("  ")
}

/// What was selected of a span.
fn attributes(span: &Value) -> Vec<String> {
    let attributes = span.get("attributes").and_then(Value::as_object).into_iter().flatten();
    let attributes = attributes.map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    attributes.collect()
}

fn span_row(span: &Value, with_attributes: bool) -> SpanRow {
    let start = text(span, "start_time_unix_nano").and_then(|start| start.parse().ok());
    // A number that OTLP has no word for is one.
    let status = match span.get("status") {
        Some(Value::String(status)) => status.clone(),
        Some(number) => number.to_string(),
        None => String::new(),
    };
    let below = if with_attributes { attributes(span).join("  ") } else { String::new() };
    SpanRow {
        start_unix_nano: start.unwrap_or_default(),
        duration_nano: number(span, "duration_nano"),
        service: text(span, "service").map(str::to_owned),
        name: text(span, "name").unwrap_or_default().to_owned(),
        status,
        trace_id: text(span, "trace_id").unwrap_or_default().to_owned(),
        below: if below.is_empty() { Vec::new() } else { vec![below] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_of_the_api_becomes_a_row_with_what_was_selected_below() {
        let trace = json!({
            "trace_id": "8b51e36eaee3265bec099d0c5c63fd37", "root_service": "frontend", "root_name": null,
            "start_time_unix_nano": "1661140339020000000", "duration_nano": 5, "span_count": 3, "error_count": 1,
            "spans": [{"service": "cart", "name": "Get", "attributes": {"span.a": "x", "span.b": 500}}],
        });
        let row = hit(&trace, true);
        assert_eq!((row.start_unix_nano, row.duration_nano), (1_661_140_339_020_000_000, 5));
        assert_eq!((row.service.as_deref(), row.name, row.spans, row.errors), (Some("frontend"), None, 3, 1));
        assert_eq!(row.below, ["cart  Get  span.a=x  span.b=500"]);
        assert!(hit(&trace, false).below.is_empty());
    }
}
