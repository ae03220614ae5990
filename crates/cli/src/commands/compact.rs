//! `tracelake compact`: merges segments now that a server would merge in its own time, or not at all.

use std::io::{self, Write};
use std::time::Duration;

use super::{API_DEFAULT, StoreArgs};
use crate::client::ApiClient;
use crate::outcome::{Failure, Outcome};
use crate::time::grouped;

/// Gigabytes take minutes; the server goes on even if nobody waits.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// Flags of `tracelake compact`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompactArgs {
    /// The API of a running server
    #[arg(long, value_name = "URL", default_value = API_DEFAULT, conflicts_with = "data_dir")]
    api: String,
    #[command(flatten)]
    store: StoreArgs,
}

/// Merges, and says what the store is like then.
pub(crate) async fn run(args: CompactArgs) -> Result<Outcome, Failure> {
    let (merges, rows, duplicates) = if let Some(store) = args.store.open_existing().await? {
        let compacted = store.compact().await;
        let closed = store.shutdown().await;
        let status = compacted?;
        closed?;
        (status.merges, status.rows, status.duplicates)
    } else {
        let client = ApiClient::with_timeout(&args.api, None, TIMEOUT)?;
        let status = client.compact().await?;
        let number = |name: &str| status.get(name).and_then(serde_json::Value::as_u64).unwrap_or_default();
        (number("merges"), number("rows"), number("duplicates"))
    };
    let text = format!(
        "merged; since the start {} merges wrote {} rows and left out {} that were there twice\n",
        grouped(merges),
        grouped(rows),
        grouped(duplicates),
    );
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)?;
    Ok(Outcome::Done)
}
