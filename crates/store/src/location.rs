//! Where a store's segments and manifest are, as people write it: a URL, and what it takes to reach it.
//!
//! It opens nothing, and takes no credentials: what is in a setting is shown, logged and copied about.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::str::FromStr;

use object_store::path::Path;

/// Longer than any name that a provider gives.
const BUCKET_NAME_BYTES_MAX: usize = 255;

/// S3 keys have 1,024 bytes; what Tracelake adds to a prefix has some 60.
const PREFIX_BYTES_MAX: usize = 900;

/// Who keeps the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3, and all that speak like it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// What its URLs begin with.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3://",
            Self::Gcs => "gs://",
            Self::Azure => "az://",
        }
    }
}

/// A part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Who keeps it.
    pub provider: Provider,
    /// Its name; with Azure, the container's.
    pub name: String,
    /// What all names in it begin with.
    pub prefix: Path,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.provider.scheme(), self.name)?;
        if self.prefix.as_ref().is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Where the objects are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Location {
    /// In the data folder.
    #[default]
    DataDir,
    /// In a folder of its own.
    Folder(PathBuf),
    /// In a bucket.
    Bucket(Bucket),
}

impl fmt::Display for Location {
    /// As it is written; empty for the data folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir => Ok(()),
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

const EXPECTED: &str =
    "expected s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER";

const NO_CREDENTIALS: &str =
    "credentials are taken from the environment only, as they must not show where settings do";

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::DataDir);
        }
        if let Some(folder) = text.strip_prefix("file://") {
            let absolute = FsPath::new(folder).is_absolute() && folder != "/";
            return if absolute { Ok(Self::Folder(PathBuf::from(folder))) } else { Err(EXPECTED.to_owned()) };
        }
        let found = Provider::ALL
            .into_iter()
            .find_map(|provider| Some((provider, text.strip_prefix(provider.scheme())?)));
        let (provider, rest) = found.ok_or(EXPECTED)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.contains('@') {
            return Err(NO_CREDENTIALS.to_owned());
        }
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || name.len() > BUCKET_NAME_BYTES_MAX || !name.bytes().all(of_a_name) {
            return Err(EXPECTED.to_owned());
        }
        // Such as ?X-Amz-Signature=…, which would otherwise become part of every object's name.
        if prefix.bytes().any(|byte| b"?#\\".contains(&byte) || byte.is_ascii_control()) {
            return Err(format!("{EXPECTED}, with nothing behind; {NO_CREDENTIALS}"));
        }
        if prefix.starts_with('/') {
            return Err(EXPECTED.to_owned());
        }
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(format!("expected a prefix of at most {PREFIX_BYTES_MAX} bytes"));
        }
        let prefix = Path::parse(prefix).map_err(|error| format!("{EXPECTED} ({error})"))?;
        Ok(Self::Bucket(Bucket { provider, name: name.to_owned(), prefix }))
    }
}

/// An endpoint as it is written: the scheme, the host and the port, and perhaps a path. Empty for the
/// provider's own.
///
/// # Errors
/// What was expected; credentials are refused, too.
pub fn parse_endpoint(text: &str) -> Result<String, String> {
    let expected = || Err("expected a URL such as http://127.0.0.1:9000 or https://s3.example".to_owned());
    if text.is_empty() {
        return Ok(String::new());
    }
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(host) = host else { return expected() };
    if host.contains('@') {
        return Err(NO_CREDENTIALS.to_owned());
    }
    let is_url = !host.is_empty() && !host.starts_with(['/', ':']);
    if !is_url || host.bytes().any(|byte| !byte.is_ascii_graphic() || b"?#\\".contains(&byte)) {
        return expected();
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The name of a region, such as `eu-central-1`; empty for what the environment says.
///
/// # Errors
/// What was expected.
pub fn parse_region(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a region, such as eu-central-1".to_owned())
    }
}

/// Where a store is, and how that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlace {
    /// Where the objects are.
    pub location: Location,
    /// The provider's endpoint ([`parse_endpoint`]); empty for its own.
    pub endpoint: String,
    /// The region of an S3 bucket ([`parse_region`]); empty for what the environment says.
    pub region: String,
    /// Whether an S3 bucket's name is in the path of URLs, and not in the host.
    pub path_style: bool,
}

impl Default for StorePlace {
    fn default() -> Self {
        Self {
            location: Location::default(),
            endpoint: String::new(),
            region: String::new(),
            path_style: true,
        }
    }
}

#[cfg(test)]
mod tests;
