//! The commands, one file each, and what several of them share: how a store or a server is named
//! and opened, and how a report is printed.

pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod config;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod search;
pub(crate) mod segments;
pub(crate) mod serve;
pub(crate) mod trace;
pub(crate) mod verify;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tracelake::{Options, TenantId, Tracelake};
use tracelake_server::StorePlaceArgs;

use crate::outcome::Failure;

/// Where the API of a server listens that was told nothing.
const API_DEFAULT: &str = "http://127.0.0.1:8080";

/// Where traces are read from.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// The API of a running server
    #[arg(long, value_name = "URL", default_value = API_DEFAULT, conflicts_with = "data_dir")]
    api: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Whose traces
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantId>,
}

/// A store that is worked on without a server.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Work on the store in this folder, without a server; no server may have it open
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    place: StorePlaceArgs,
}

impl StoreArgs {
    /// What the store is opened with; none if a server is meant.
    fn options(&self) -> Result<Option<Options>, Failure> {
        match &self.data_dir {
            Some(data_dir) => Ok(Some(store_options(data_dir, &self.place)?)),
            None if self.place.is_given() => Err(Failure::Usage(
                "flags that say where a store is need --data-dir, the folder with its WAL; a server knows \
                 where its own is"
                    .to_owned(),
            )),
            None => Ok(None),
        }
    }

    /// Opens the store if there is one; none if a server is meant. A folder that is not there is a slip
    /// of the pen, not a wish for an empty store.
    async fn open_existing(&self) -> Result<Option<Tracelake>, Failure> {
        let Some(options) = self.options()? else { return Ok(None) };
        require_folder(&options.data_dir)?;
        Ok(Some(Tracelake::open(options).await?))
    }
}

fn store_options(data_dir: &Path, place: &StorePlaceArgs) -> Result<Options, Failure> {
    let mut options = Options::new(data_dir);
    options.place = place.place().map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(options)
}

/// Prints what a command has to say: as JSON, or as people read it.
fn print_report(
    report: &impl Serialize,
    as_json: bool,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let text = if as_json {
        serde_json::to_string_pretty(report).map_err(|error| unprintable(&error))? + "\n"
    } else {
        text()
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

/// A report as a server would have sent it.
fn to_value(report: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(report).map_err(|error| unprintable(&error))
}

fn unprintable(error: &serde_json::Error) -> Failure {
    Failure::Failed(format!("the report cannot be printed: {error}"))
}

fn require_folder(data_dir: &Path) -> Result<(), Failure> {
    match std::fs::metadata(data_dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::Failed(format!("{} is not a folder", data_dir.display()))),
        Err(error) => Err(Failure::Failed(format!("there is no store in {}: {error}", data_dir.display()))),
    }
}
