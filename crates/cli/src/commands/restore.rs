//! `tracelake restore`: makes a store of a backup.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::outcome::{Failure, Outcome};
use crate::time::{grouped, utc_text};

/// Flags of `tracelake restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The folder of backups
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The folder of the new store: empty, or not there
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The manifest version to restore [default: the newest]
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Restores a store.
pub(crate) async fn run(args: RestoreArgs) -> Result<Outcome, Failure> {
    let summary = tracelake::restore(&args.from, args.version, &args.data_dir).await?;
    let text = if args.json {
        let json = serde_json::to_string_pretty(&summary);
        json.map_err(|error| Failure::Failed(format!("the summary cannot be printed: {error}")))? + "\n"
    } else {
        let note = if summary.flushed { "" } else { "; what was only in the WAL then is not in it" };
        format!(
            "restored version {} of {} into {}: {} segments with {} bytes, epoch {}{note}\n",
            summary.version,
            utc_text(summary.taken_unix_nano),
            args.data_dir.display(),
            grouped(summary.segments),
            grouped(summary.bytes),
            summary.epoch,
        )
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)?;
    Ok(Outcome::Done)
}
