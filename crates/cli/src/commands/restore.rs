//! `tracelake restore`: makes a store of a backup.

use std::path::{Path, PathBuf};

use tracelake::Location;
use tracelake_server::StorePlaceArgs;

use super::{print_report, store_options};
use crate::outcome::{Failure, Outcome};
use crate::time::{grouped, utc_text};

/// Flags of `tracelake restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The folder of backups
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The folder of the new store: empty, or not there; none is needed where --store says that it is elsewhere
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    place: StorePlaceArgs,
    /// The manifest version to restore [default: the newest]
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Restores a store.
pub(crate) async fn run(args: RestoreArgs) -> Result<Outcome, Failure> {
    let options = store_options(args.data_dir.as_deref().unwrap_or(Path::new("")), &args.place)?;
    let into = match (&options.place.location, &args.data_dir) {
        (Location::DataDir, None) => {
            return Err(Failure::Usage("--data-dir or --store says where the new store is to be".to_owned()));
        }
        (Location::DataDir, Some(data_dir)) => data_dir.display().to_string(),
        (elsewhere, _) => elsewhere.to_string(),
    };
    let (data_dir, place) = (&options.data_dir, &options.place);
    let summary = tracelake::restore(&args.from, args.version, data_dir, place).await?;
    let text = || {
        let note = if summary.flushed { "" } else { "; what was only in the WAL then is not in it" };
        format!(
            "restored version {} of {} into {into}: {} segments with {} bytes, epoch {}{note}\n",
            summary.version,
            utc_text(summary.taken_unix_nano),
            grouped(summary.segments),
            grouped(summary.bytes),
            summary.epoch,
        )
    };
    print_report(&summary, args.json, text)?;
    Ok(Outcome::Done)
}
