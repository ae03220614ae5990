//! `tracelake search`: the traces with spans that satisfy a condition, as a table or as JSON, a trace a line.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tracelake::{TenantId, limits};

use super::API_DEFAULT;
use super::trace::style;
use crate::client::ApiClient;
use crate::draw::{Hit, HitTable};
use crate::r#gen::parse::duration;
use crate::outcome::{Failure, Outcome};
use crate::time::{parse_time, rfc3339};

/// Longer than any server searches (`search_seconds_max`).
const TIMEOUT: Duration = Duration::from_secs(3_660);

/// Traces that are shown if nothing is said.
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
    /// Traces at most [default: 20, or with --all as many as there are]
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
    /// Ask for one page after the other
    #[arg(long)]
    all: bool,
    /// Print the traces as the API has them, as JSON, a trace a line
    #[arg(long)]
    json: bool,
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

/// Prints the traces, page by page.
pub(crate) async fn run(args: SearchArgs) -> Result<Outcome, Failure> {
    let client = ApiClient::with_timeout(&args.api, args.tenant.clone(), TIMEOUT)?;
    let mut search = search(&args)?;
    let mut left = args.limit.unwrap_or(if args.all { u64::MAX } else { LIMIT });
    let mut table = None;
    let mut partial: Option<String> = None;
    loop {
        let limit = if args.all { left.min(limits::SEARCH_TRACES_MAX) } else { left };
        search.insert("limit".to_owned(), limit.into());
        let answer = client.search(&Value::Object(search.clone())).await?;
        let traces = list(&answer, "traces");
        print(traces, &args, &mut table).map_err(Failure::Output)?;
        if let Some(said) = answer.get("partial").filter(|partial| !partial.is_null()) {
            let reason = said.get("reason").and_then(Value::as_str).unwrap_or("the server does not say why");
            partial.get_or_insert_with(|| reason.to_owned());
        }
        left = left.saturating_sub(traces.len() as u64);
        let next = answer.get("next_cursor").and_then(Value::as_str);
        match next {
            Some(cursor) if args.all && left > 0 && !traces.is_empty() => {
                search.insert("cursor".to_owned(), cursor.into());
            }
            _ => {
                tell(&args, table.is_some(), next.is_some(), partial.as_deref());
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
    search.insert("select".to_owned(), json!(args.select));
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

/// What is no trace goes to stderr. If that is gone nobody reads it.
fn tell(args: &SearchArgs, has_traces: bool, has_more: bool, partial: Option<&str>) {
    let say = |text: &str| writeln!(io::stderr(), "{text}").ok();
    if let Some(reason) = partial {
        say(&format!("not everything was looked at: {reason}"));
    }
    if has_more {
        let how =
            if args.all { "a higher --limit shows more" } else { "--limit shows more, --all shows all" };
        say(&format!("there are more traces: {how}"));
    } else if !has_traces && !args.json {
        say("no trace was found");
    }
}

/// The first page that has traces decides about the table.
fn print(traces: &[Value], args: &SearchArgs, table: &mut Option<HitTable>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        for trace in traces {
            writeln!(out, "{trace}")?;
        }
        return out.flush();
    }
    let hits: Vec<Hit> = traces.iter().map(|trace| hit(trace, !args.select.is_empty())).collect();
    if table.is_none() && !hits.is_empty() {
        let new = HitTable::of(&hits, style(args.width));
        new.write_head(&mut out)?;
        *table = Some(new);
    }
    if let Some(table) = table {
        for hit in &hits {
            table.write(&mut out, hit)?;
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
    let attributes = span.get("attributes").and_then(Value::as_object).into_iter().flatten();
    let attributes = attributes.map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    let service = text(span, "service").unwrap_or("(no service)");
    let name = text(span, "name").unwrap_or_default();
    std::iter::once(format!("{service}  {name}")).chain(attributes).collect::<Vec<_>>().join("  ")
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
