//! `tracelake trace`: one trace, drawn or as OTLP JSON.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Deserialize;
use tracelake::otlp::{DecodeLimits, Decoder};
use tracelake::tree::TraceTree;
use tracelake::{TimeHint, TraceId};

use super::Source;
use crate::client::{ApiClient, TraceFormat};
use crate::draw::{Style, draw};
use crate::outcome::{Failure, Outcome};

/// Columns where there is no terminal to ask.
const WIDTH_WITHOUT_TERMINAL: usize = 120;

/// Flags of `tracelake trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// The trace's ID: hexadecimal, leading zeros may be left out
    #[arg(value_name = "ID")]
    id: TraceId,
    #[command(flatten)]
    source: Source,
    /// Print OTLP JSON instead of drawing
    #[arg(long)]
    json: bool,
    /// Columns to draw in [default: the terminal's, or 120]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
}

/// Prints a trace.
pub(crate) async fn run(args: TraceArgs) -> Result<Outcome, Failure> {
    match args.source.store.open_existing().await? {
        Some(store) => {
            let printed = from_store(&store, &args).await;
            let closed = store.shutdown().await;
            let outcome = printed?;
            closed?;
            Ok(outcome)
        }
        None => from_server(&args).await,
    }
}

async fn from_store(store: &tracelake::Tracelake, args: &TraceArgs) -> Result<Outcome, Failure> {
    let tenant = args.source.tenant.clone().unwrap_or_default();
    let Some(trace) = store.trace(&tenant, args.id, TimeHint::default()).await? else {
        return Err(not_found(args.id));
    };
    let partial = trace.partial().map(str::to_owned);
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = if args.json {
        trace.into_json_chunks().try_for_each(|chunk| out.write_all(&chunk)).and_then(|()| writeln!(out))
    } else {
        draw(&mut out, &TraceTree::build(trace.spans()), partial.as_deref(), style(args.width))
    };
    printed.and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(Outcome::partly_if(partial.is_some()))
}

async fn from_server(args: &TraceArgs) -> Result<Outcome, Failure> {
    let client = ApiClient::new(&args.source.api, args.source.tenant.clone())?;
    let Some(answer) = client.trace(args.id, TraceFormat::Json, (None, None)).await? else {
        return Err(not_found(args.id));
    };
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        let printed = out.write_all(&answer.body).and_then(|()| writeln!(out));
        printed.and_then(|()| out.flush()).map_err(Failure::Output)?;
        return Ok(Outcome::partly_if(answer.partial));
    }
    let decoded = Decoder::new().decode_json(&answer.body, &DecodeLimits::recovery());
    let decoded =
        decoded.map_err(|error| Failure::Failed(format!("the server's answer cannot be read: {error}")))?;
    let partial = answer.partial.then(|| partial_text(&answer.body));
    let drawn =
        draw(&mut out, &TraceTree::build(decoded.batch.spans()), partial.as_deref(), style(args.width));
    drawn.and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(Outcome::partly_if(answer.partial))
}

fn not_found(id: TraceId) -> Failure {
    Failure::Failed(format!("there is no trace {id}"))
}

/// What the `partial` member beside the spans says.
fn partial_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        partial: Option<serde_json::Value>,
    }
    let partial = serde_json::from_slice::<Answer>(body).ok().and_then(|answer| answer.partial);
    match partial {
        Some(serde_json::Value::String(text)) => text,
        Some(serde_json::Value::Object(members)) => {
            let texts: Vec<String> = members
                .iter()
                .map(|(name, value)| match value {
                    serde_json::Value::String(text) => text.clone(),
                    other => format!("{name}: {other}"),
                })
                .collect();
            texts.join("; ")
        }
        _ => "the server does not say what is missing".to_owned(),
    }
}

/// Colours only where a person looks, and not if that person asked for none (no-color.org).
pub(super) fn style(width: Option<u16>) -> Style {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let is_terminal = io::stdout().is_terminal();
    let terminal_width = || {
        let size = if is_terminal { terminal_size::terminal_size() } else { None };
        size.map_or(WIDTH_WITHOUT_TERMINAL, |(width, _)| usize::from(width.0))
    };
    Style {
        width: width.map_or_else(terminal_width, usize::from),
        color: is_terminal && !is_dumb && !is_set("NO_COLOR"),
    }
}

#[cfg(test)]
mod tests;
