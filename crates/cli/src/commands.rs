//! The commands, one file each, and what several of them share: how a store or a server is named
//! and opened.

pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod config;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod segments;
pub(crate) mod serve;
pub(crate) mod trace;
pub(crate) mod verify;

use std::path::{Path, PathBuf};

use tracelake::{Options, TenantId, Tracelake};

use crate::outcome::Failure;

/// Where the API of a server listens that was told nothing.
const API_DEFAULT: &str = "http://127.0.0.1:8080";

/// Where traces are read from.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// The API of a running server
    #[arg(long, value_name = "URL", default_value = API_DEFAULT, conflicts_with = "data_dir")]
    api: String,
    /// Read the store in this folder instead; no server may have it open
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Whose traces
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantId>,
}

/// Opens the store in a folder that has one. A folder that is not there is a slip of the pen, not a
/// wish for an empty store.
async fn open_existing(data_dir: &Path) -> Result<Tracelake, Failure> {
    require_folder(data_dir)?;
    Ok(Tracelake::open(Options::new(data_dir)).await?)
}

fn require_folder(data_dir: &Path) -> Result<(), Failure> {
    match std::fs::metadata(data_dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::Failed(format!("{} is not a folder", data_dir.display()))),
        Err(error) => Err(Failure::Failed(format!("there is no store in {}: {error}", data_dir.display()))),
    }
}
