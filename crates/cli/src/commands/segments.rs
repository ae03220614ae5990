//! `tracelake segments`: the live segments of a store, or the partitions that they make up, as a table.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tracelake::{Location, StorePlace, TenantId, Whose, limits};
use tracelake_server::StorePlaceArgs;

use super::{API_DEFAULT, print_report, store_options, to_value};
use crate::client::ApiClient;
use crate::outcome::{Failure, Outcome};
use crate::time::{grouped, utc_text};

/// Flags of `tracelake segments`.
#[derive(Debug, clap::Args)]
pub(crate) struct SegmentsArgs {
    /// The API of a running server
    #[arg(long, value_name = "URL", default_value = API_DEFAULT, conflicts_with = "data_dir")]
    api: String,
    /// Read the manifest in this folder instead, or where --store says; a server may have it open
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    place: StorePlaceArgs,
    /// Only what has spans of this tenant, and nothing of others
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantId>,
    /// Show what a lookup goes through: segments of one day and one range of hashes together
    #[arg(long)]
    partitions: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the segments.
pub(crate) async fn run(args: SegmentsArgs) -> Result<Outcome, Failure> {
    let rows = if args.partitions { partitions(&args).await? } else { segments(&args).await? };
    let text = || {
        if args.partitions {
            let names = ["day", "hashes", "segments", "flushed", "spans", "traces", "bytes"];
            table(&names, rows.iter().map(partition))
        } else {
            let names = ["id", "level", "spans", "traces", "bytes", "from", "to", "generations", "tenants"];
            table(&names, rows.iter().map(segment))
        }
    };
    print_report(&rows, args.json, text)?;
    Ok(Outcome::Done)
}

/// The folder of a store and where its objects are; none if a server is meant.
fn store(args: &SegmentsArgs) -> Result<Option<(PathBuf, StorePlace)>, Failure> {
    if args.data_dir.is_none() && !args.place.is_given() {
        return Ok(None);
    }
    let options = store_options(args.data_dir.as_deref().unwrap_or(Path::new("")), &args.place)?;
    if args.data_dir.is_none() && options.place.location == Location::DataDir {
        return Err(Failure::Usage("--store or --data-dir says where the store is".to_owned()));
    }
    Ok(Some((options.data_dir, options.place)))
}

fn whose(args: &SegmentsArgs) -> Whose {
    args.tenant.clone().map_or(Whose::All, Whose::Tenant)
}

/// A whole list, page by page.
async fn segments(args: &SegmentsArgs) -> Result<Vec<Value>, Failure> {
    let (client, store) = (ApiClient::new(&args.api, args.tenant.clone())?, store(args)?);
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = match &store {
            Some((data_dir, place)) => {
                let (whose, limit) = (whose(args), limits::SEGMENTS_LISTED_MAX);
                to_value(&tracelake::segments(data_dir, place, &whose, after.as_deref(), limit).await?)?
            }
            None => {
                let after = after.as_deref().map(|after| format!("&after={after}")).unwrap_or_default();
                client.get_json(&format!("/api/v1/segments?all={}{after}", args.tenant.is_none())).await?
            }
        };
        rows.extend(page.get("segments").and_then(Value::as_array).into_iter().flatten().cloned());
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            return Ok(rows);
        }
    }
}

async fn partitions(args: &SegmentsArgs) -> Result<Vec<Value>, Failure> {
    let answer = match store(args)? {
        Some((data_dir, place)) => {
            to_value(&tracelake::partitions_of(&data_dir, &place, &whose(args)).await?)?
        }
        None => {
            let client = ApiClient::new(&args.api, args.tenant.clone())?;
            client.get_json(&format!("/api/v1/partitions?all={}", args.tenant.is_none())).await?
        }
    };
    let rows = answer.get("partitions").and_then(Value::as_array);
    Ok(rows.into_iter().flatten().cloned().collect())
}

fn number(row: &Value, name: &str) -> String {
    grouped(row.get(name).and_then(Value::as_u64).unwrap_or_default())
}

fn time(row: &Value, name: &str) -> String {
    utc_text(row.get(name).and_then(Value::as_u64).unwrap_or_default())
}

fn text(row: &Value, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn segment(row: &Value) -> Vec<String> {
    let tenants = row.get("tenants").and_then(Value::as_array).into_iter().flatten();
    let tenants: Vec<&str> = tenants.filter_map(Value::as_str).collect();
    vec![
        text(row, "id"),
        number(row, "level"),
        number(row, "spans"),
        number(row, "traces"),
        number(row, "bytes"),
        time(row, "start_unix_nano_min"),
        time(row, "end_unix_nano_max"),
        format!("{}-{}", number(row, "generation_min"), number(row, "generation_max")),
        tenants.join(","),
    ]
}

fn partition(row: &Value) -> Vec<String> {
    let numbers = ["segments", "flushed_segments", "spans", "traces", "bytes"];
    let texts = [text(row, "day"), text(row, "hashes")];
    texts.into_iter().chain(numbers.map(|name| number(row, name))).collect()
}

/// Columns as wide as what is in them, numbers to the right.
fn table(names: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> =
        std::iter::once(names.iter().map(|&name| name.to_owned()).collect()).chain(rows).collect();
    let widths: Vec<usize> = (0..names.len())
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut lines = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).zip(names).map(|((cell, &width), name)| {
            let is_number = matches!(*name, "level" | "segments" | "flushed" | "spans" | "traces" | "bytes");
            if is_number { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        lines += cells.collect::<Vec<_>>().join("  ").trim_end();
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests;
