//! `tracelake retention`: removes what has expired, or tells what that would be.

use std::time::Duration;

use serde_json::Value;
use tracelake::Tracelake;
use tracelake_server::{Settings, SettingsArgs};

use super::{API_DEFAULT, print_report, require_folder, to_value};
use crate::client::ApiClient;
use crate::outcome::{Failure, Outcome};
use crate::time::{grouped, utc_text};

/// Segments may have to be written anew; the server goes on even if nobody waits.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// Flags of `tracelake retention`.
#[derive(Debug, clap::Args)]
pub(crate) struct RetentionArgs {
    /// The API of a running server, whose own limits apply. With --data-dir that folder is worked on
    /// instead, which no server may have open, with limits as `serve` takes them
    #[arg(long, value_name = "URL", default_value = API_DEFAULT)]
    api: String,
    /// Only tell what would go, and why
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Applies retention, and says what went.
pub(crate) async fn run(args: RetentionArgs) -> Result<Outcome, Failure> {
    let report = if args.settings.gives("data_dir") { offline(&args).await? } else { online(&args).await? };
    print_report(&report, args.json, || describe(&report))?;
    Ok(Outcome::Done)
}

async fn online(args: &RetentionArgs) -> Result<Value, Failure> {
    if args.settings.gives_any() {
        let text = "a running server has limits of its own: settings are only for --data-dir";
        return Err(Failure::Usage(text.to_owned()));
    }
    let client = ApiClient::with_timeout(&args.api, None, TIMEOUT)?;
    let query = if args.dry_run { "?dry_run=true" } else { "" };
    Ok(client.post_json(&format!("/api/v1/retention{query}")).await?)
}

async fn offline(args: &RetentionArgs) -> Result<Value, Failure> {
    let settings = Settings::load(&args.settings).map_err(|error| Failure::Usage(error.to_string()))?;
    require_folder(&settings.data_dir)?;
    let mut options = settings.store_options();
    // Opened without limits: with them, what has expired would begin to go by itself.
    let limits = std::mem::take(&mut options.retention);
    let store = Tracelake::open(options).await?;
    let report = store.retention_with(&limits, args.dry_run).await;
    let closed = store.shutdown().await;
    let report = report?;
    closed?;
    to_value(&report)
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What goes, a line for each segment and each tenant in it, and the sum.
fn describe(report: &Value) -> String {
    let mut lines = String::new();
    for segment in list(report, "segments") {
        lines += &format!(
            "{}  {}, {} bytes, newest {}\n",
            text(segment, "id"),
            if is(segment, "whole") { "whole" } else { "in part" },
            grouped(number(segment, "bytes")),
            utc_text(number(segment, "newest_unix_nano")),
        );
        for part in list(segment, "parts") {
            let because = part.get("because").unwrap_or(&Value::Null);
            let age = number(because, "age_seconds_max");
            let why = match because.get("bytes_max").and_then(Value::as_u64) {
                Some(bytes) => format!("the tenant has more than {} bytes", grouped(bytes)),
                None => format!("older than {} s", grouped(age)),
            };
            lines += &format!(
                "  {}: {} spans, {} traces, {} bytes: {why}\n",
                text(part, "tenant"),
                grouped(number(part, "spans")),
                grouped(number(part, "traces")),
                grouped(number(part, "bytes")),
            );
        }
    }
    let more = number(report, "more_segments");
    if more > 0 {
        lines += &format!("and {} segments more\n", grouped(more));
    }
    if !is(report, "on") {
        return lines + "retention is off: no limit is set\n";
    }
    let did = if is(report, "dry_run") { "would remove" } else { "removed" };
    let rewritten = number(report, "segments_rewritten");
    lines
        + &format!(
            "{did} {} spans with {} bytes: {} segments whole, {} in part\n",
            grouped(number(report, "spans_removed")),
            grouped(number(report, "bytes_removed")),
            grouped(number(report, "segments_removed")),
            grouped(rewritten),
        )
}

#[cfg(test)]
mod tests;
