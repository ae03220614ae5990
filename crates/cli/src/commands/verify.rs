//! `tracelake verify`: everything that is wrong with a store, what it means, and what to do.

use std::path::PathBuf;

use tracelake::{Location, VerifyReport};
use tracelake_server::StorePlaceArgs;

use super::{print_report, require_folder, store_options};
use crate::outcome::{Failure, Outcome};
use crate::time::grouped;

/// Flags of `tracelake verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The folder of the store
    #[arg(long, value_name = "DIR", default_value = "./tracelake-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    place: StorePlaceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Checks a store.
pub(crate) async fn run(args: VerifyArgs) -> Result<Outcome, Failure> {
    let options = store_options(&args.data_dir, &args.place)?;
    if options.place.location == Location::DataDir {
        require_folder(&options.data_dir)?;
    }
    let report = tracelake::verify(&options.data_dir, &options.place).await?;
    print_report(&report, args.json, || describe(&report))?;
    Ok(Outcome::partly_if(!report.findings.is_empty()))
}

fn describe(report: &VerifyReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let mark = if finding.data_loss { "LOSS" } else { "note" };
        text += &format!("{mark}  {}: {}\n      {}\n", finding.object, finding.what, finding.meaning);
    }
    let count = |count: u64, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{} {one}s", grouped(count)),
    };
    let checked = format!(
        "{} with {}, {} with {}, manifest version {}",
        count(report.segments_checked, "segment"),
        count(report.rows_checked, "row"),
        count(report.wal_files_checked, "WAL file"),
        count(report.wal_frames_checked, "frame"),
        report.manifest_version,
    );
    let losses = report.findings.iter().filter(|finding| finding.data_loss).count() as u64;
    let verdict = match report.findings.len() as u64 {
        0 => "nothing is wrong".to_owned(),
        findings => format!("{}, {losses} of them with loss of data", count(findings, "finding")),
    };
    if report.unnamed_files > 0 {
        text += &format!(
            "to be deleted, after a merge or a crash: {} with {}\n",
            count(report.unnamed_files, "file"),
            count(report.unnamed_bytes, "byte"),
        );
    }
    text + &format!("checked {checked}: {verdict}\n")
}

#[cfg(test)]
mod tests;
