//! The kinds of value that settings have: how each is read from text, checked, and written so that
//! it reads back the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tracelake::{Location, location};

use super::CorsOrigins;

/// One kind of value.
pub(super) trait Kind {
    type Value;
    /// What a value looks like, for the help text.
    fn shape(&self) -> &'static str;
    /// Reads and checks a value; the error says what was expected.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;
    /// Writes a value as it would be given.
    fn print(&self, value: &Self::Value) -> String;
}

/// A port on this machine only: what nobody asked for must not be reachable from outside.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A folder's path.
pub(super) struct Folder;

impl Kind for Folder {
    type Value = PathBuf;

    fn shape(&self) -> &'static str {
        "DIR"
    }

    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("expected a folder's path".to_owned()) } else { Ok(PathBuf::from(text)) }
    }

    fn print(&self, value: &PathBuf) -> String {
        Path::display(value).to_string()
    }
}

/// A folder's path; empty for none.
pub(super) struct FolderIfAny;

impl Kind for FolderIfAny {
    type Value = Option<PathBuf>;

    fn shape(&self) -> &'static str {
        "DIR"
    }

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, String> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn print(&self, value: &Option<PathBuf>) -> String {
        value.as_ref().map(|folder| Path::display(folder).to_string()).unwrap_or_default()
    }
}

/// Where objects are; empty for the data folder.
pub(super) struct StoreUrl;

impl Kind for StoreUrl {
    type Value = Location;

    fn shape(&self) -> &'static str {
        "URL"
    }

    fn parse(&self, text: &str) -> Result<Location, String> {
        text.parse()
    }

    fn print(&self, value: &Location) -> String {
        value.to_string()
    }
}

/// Where an object store answers; empty for its provider's own.
pub(super) struct Endpoint;

impl Kind for Endpoint {
    type Value = String;

    fn shape(&self) -> &'static str {
        "URL"
    }

    fn parse(&self, text: &str) -> Result<String, String> {
        location::parse_endpoint(text)
    }

    fn print(&self, value: &String) -> String {
        value.clone()
    }
}

/// A region's name; empty for what the environment says.
pub(super) struct Region;

impl Kind for Region {
    type Value = String;

    fn shape(&self) -> &'static str {
        "NAME"
    }

    fn parse(&self, text: &str) -> Result<String, String> {
        location::parse_region(text)
    }

    fn print(&self, value: &String) -> String {
        value.clone()
    }
}

/// An address to listen on; port 0 lets the system choose.
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn shape(&self) -> &'static str {
        "IP:PORT"
    }

    fn parse(&self, text: &str) -> Result<SocketAddr, String> {
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric.as_deref().unwrap_or(text).parse().map_err(|_| {
            "expected IP:PORT, such as 127.0.0.1:4318, or 0.0.0.0:4318 to listen to other machines".to_owned()
        })
    }

    fn print(&self, value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// Whether something is so.
pub(super) const YES_OR_NO: Choice<bool> = Choice(&[("true", true), ("false", false)], "true | false");

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)], pub(super) &'static str);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn shape(&self) -> &'static str {
        self.1
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("expected {}", self.1))
    }

    fn print(&self, value: &T) -> String {
        self.0.iter().find(|(_, other)| other == value).map_or("", |(word, _)| word).to_owned()
    }
}

/// What `tracing` calls filter directives.
pub(super) struct LogLevel;

impl Kind for LogLevel {
    type Value = String;

    fn shape(&self) -> &'static str {
        "LEVEL"
    }

    fn parse(&self, text: &str) -> Result<String, String> {
        const EXPECTED: &str =
            "expected error, warn, info, debug or trace, or such as info,tracelake_store=debug";
        // A bare word that is no level would be taken as the name of a part, and silence all others.
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let known = |part: &str| part.contains(['=', '[']) || levels.contains(&part.trim());
        if text.is_empty() || !text.split(',').all(known) {
            return Err(EXPECTED.to_owned());
        }
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(EXPECTED.to_owned()),
        }
    }

    fn print(&self, value: &String) -> String {
        value.clone()
    }
}

/// Web origins with commas between.
pub(super) struct OriginList;

impl Kind for OriginList {
    type Value = CorsOrigins;

    fn shape(&self) -> &'static str {
        "ORIGIN,…"
    }

    fn parse(&self, text: &str) -> Result<CorsOrigins, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts == ["*"] {
            return Ok(CorsOrigins::Any);
        }
        // As browsers send it: scheme, host and port, nothing behind. Anything else never matches.
        let is_origin = |part: &&str| {
            let host = part.strip_prefix("https://").or_else(|| part.strip_prefix("http://"));
            host.is_some_and(|host| {
                !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#*@".contains(&byte))
            })
        };
        match parts.iter().find(|part| !is_origin(part)) {
            None => Ok(CorsOrigins::Listed(parts.into_iter().map(str::to_ascii_lowercase).collect())),
            Some(_) => {
                Err("expected origins such as https://shop.example or http://localhost:3000, with commas \
                            between, or * alone"
                    .to_owned())
            }
        }
    }

    fn print(&self, value: &CorsOrigins) -> String {
        match value {
            CorsOrigins::Any => "*".to_owned(),
            CorsOrigins::Listed(origins) => origins.join(","),
        }
    }
}

/// Names, with commas between.
pub(super) struct NameList;

impl Kind for NameList {
    type Value = Vec<String>;

    fn shape(&self) -> &'static str {
        "NAME,…"
    }

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    fn print(&self, value: &Vec<String>) -> String {
        value.join(",")
    }
}

/// Bytes between two bounds, both included.
pub(super) struct Size(pub(super) u64, pub(super) u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Bytes in the largest binary unit that divides them.
pub(super) fn print_size(bytes: u64) -> String {
    let unit = UNITS[..3].iter().find(|(_, size)| bytes != 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| bytes.to_string(), |(name, size)| format!("{}{name}", bytes / size))
}

impl Kind for Size {
    type Value = u64;

    fn shape(&self) -> &'static str {
        "BYTES"
    }

    fn parse(&self, text: &str) -> Result<u64, String> {
        let lower = text.to_ascii_lowercase();
        let unit = UNITS.iter().find(|(name, _)| lower.ends_with(&name.to_ascii_lowercase()));
        let (digits, size) = unit.map_or((text, 1), |(name, size)| (&text[..text.len() - name.len()], *size));
        let bytes = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(size));
        bytes.filter(|bytes| (self.0..=self.1).contains(bytes)).ok_or_else(|| {
            format!("expected bytes, such as 64MiB, from {} to {}", print_size(self.0), print_size(self.1))
        })
    }

    fn print(&self, value: &u64) -> String {
        print_size(*value)
    }
}

/// Whole seconds between two bounds, both included.
pub(super) struct Seconds(pub(super) u64, pub(super) u64);

impl Kind for Seconds {
    type Value = u64;

    fn shape(&self) -> &'static str {
        "SECONDS"
    }

    fn parse(&self, text: &str) -> Result<u64, String> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b's') => (&text[..text.len() - 1], 1),
            Some(b'm') => (&text[..text.len() - 1], 60),
            Some(b'h') => (&text[..text.len() - 1], 3_600),
            Some(b'd') => (&text[..text.len() - 1], 86_400),
            _ => (text, 1),
        };
        let seconds = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        seconds
            .filter(|seconds| (self.0..=self.1).contains(seconds))
            .ok_or_else(|| format!("expected seconds, such as 60 or 60s, from {} to {}", self.0, self.1))
    }

    fn print(&self, value: &u64) -> String {
        format!("{value}s")
    }
}

/// A count between two bounds, both included.
pub(super) struct Count(pub(super) u64, pub(super) u64);

impl Kind for Count {
    type Value = u64;

    fn shape(&self) -> &'static str {
        "COUNT"
    }

    fn parse(&self, text: &str) -> Result<u64, String> {
        let number = text.replace('_', "").parse::<u64>().ok();
        number
            .filter(|number| (self.0..=self.1).contains(number))
            .ok_or_else(|| format!("expected a whole number from {} to {}", self.0, self.1))
    }

    fn print(&self, value: &u64) -> String {
        value.to_string()
    }
}
