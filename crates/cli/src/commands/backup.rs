//! `tracelake backup`: a consistent copy of a store, made beside the server that has it open.

use std::path::PathBuf;
use std::time::Duration;

use tracelake::{Location, Options, Tracelake};
use tracelake_server::StorePlaceArgs;

use super::{API_DEFAULT, print_report, require_folder, store_options};
use crate::client::ApiClient;
use crate::outcome::{Failure, Outcome};
use crate::time::grouped;

/// What is in memory may be a hundred megabytes, on a slow disk.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// Flags of `tracelake backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The folder of the store; a server on this machine may have it open
    #[arg(long, value_name = "DIR", default_value = "./tracelake-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    place: StorePlaceArgs,
    /// The folder of backups; made if it is not there, added to if it is
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The API of the server that has the store open: it is asked to flush first
    #[arg(long, value_name = "URL", default_value = API_DEFAULT)]
    api: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes a backup. Without a flush before it, that is said, and the exit code is that of a part.
pub(crate) async fn run(args: BackupArgs) -> Result<Outcome, Failure> {
    let options = store_options(&args.data_dir, &args.place)?;
    let (data_dir, place) = (options.data_dir.clone(), options.place.clone());
    if place.location == Location::DataDir {
        require_folder(&data_dir)?;
    }
    let flushed_by = flush(options, &args.api).await?;
    let summary = tracelake::back_up(&data_dir, &place, &args.to, flushed_by.as_deref()).await?;
    if flushed_by.is_some() && !summary.flushed {
        warn("the server that flushed is not the one that has this store open");
    }
    let text = || {
        format!(
            "backed up version {} into {}: {} segments with {} bytes, of them copied now {} with {} bytes\n",
            summary.version,
            args.to.display(),
            grouped(summary.segments),
            grouped(summary.bytes),
            grouped(summary.copied_segments),
            grouped(summary.copied_bytes),
        )
    };
    print_report(&summary, args.json, text)?;
    Ok(Outcome::partly_if(!summary.flushed))
}

/// Has what is in memory, or only in the WAL, written to segments; by which writer.
async fn flush(options: Options, api: &str) -> Result<Option<String>, Failure> {
    // Of objects elsewhere, who has them open is not known here: to open them would end that server's.
    let is_idle =
        options.place.location == Location::DataDir && !tracelake::is_in_use(&options.data_dir).await?;
    if is_idle {
        // To open it replays the WAL, and to close it flushes.
        let store = Tracelake::open(options).await?;
        let writer = store.writer();
        store.shutdown().await?;
        return Ok(Some(writer));
    }
    let client = ApiClient::with_timeout(api, None, FLUSH_TIMEOUT)?;
    match client.post_json("/api/v1/flush").await {
        Ok(answer) => Ok(answer.get("writer").and_then(serde_json::Value::as_str).map(str::to_owned)),
        Err(error) => {
            warn(&format!("the server could not be asked to flush: {error}"));
            Ok(None)
        }
    }
}

fn warn(why: &str) {
    eprintln!("warning: {why}; what is not flushed yet is not in this backup");
}
