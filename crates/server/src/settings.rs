//! The settings of the server: one flat struct, each setting written once in one table with its
//! default, its kind and what it does.
//!
//! Later layers win: defaults, then the TOML file, then `TRACELAKE_…` in the environment, then
//! flags. A key that is not in the table is refused, so that a misspelt setting cannot be ignored
//! in silence. Every value remembers where it came from. All layers give text and one parser per
//! kind reads it: a value means the same wherever it is written.

mod kinds;
mod retention;
mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracelake::{
    DiskCachePlace, EngineOptions, Location, Options, RetentionLimits, RetentionPolicy, StorePlace,
    TraceCacheLimits, TraceLimits, limits,
};

use kinds::{
    Address, Choice, Count, Endpoint, Folder, FolderIfAny, Kind, LogLevel, NameList, OriginList, Region,
    Seconds, Size, StoreUrl, YES_OR_NO,
};
pub use retention::TenantRetention;
pub use sources::{Origin, SettingsArgs, SettingsError, StorePlaceArgs};

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The web pages that may send spans to the OTLP/HTTP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// These, such as `https://shop.example`; nothing if empty.
    Listed(Vec<String>),
    /// Every one (`*`).
    Any,
}

/// One setting as it is documented.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its name in the TOML file. In the environment it is upper case behind `TRACELAKE_`; as a
    /// flag it has hyphens.
    pub name: &'static str,
    /// Its default, as it would be written.
    pub default: String,
    /// What a value looks like.
    pub shape: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// One setting as it is in force.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Described {
    /// Its name in the TOML file.
    pub name: &'static str,
    /// Its value, as it would be written.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
    /// What it does.
    pub doc: &'static str,
}

impl Described {
    /// The value as people are shown it; an empty one is to be seen, too.
    pub fn value_text(&self) -> &str {
        if self.value.is_empty() { "(none)" } else { &self.value }
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $kind:expr;)*) => {
        /// What the server runs with.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $type,)*
            origins: std::collections::BTreeMap<&'static str, Origin>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)* origins: std::collections::BTreeMap::new() }
            }
        }

        impl Settings {
            /// All settings, in the order in which they are shown.
            pub fn table() -> Vec<Setting> {
                let defaults = Self::default();
                vec![$(Setting {
                    name: stringify!($name),
                    default: $kind.print(&defaults.$name),
                    shape: $kind.shape(),
                    doc: concat!($($doc),+).trim_ascii(),
                },)*]
            }

            /// Each setting in force, with where its value came from.
            pub fn describe(&self) -> Vec<Described> {
                vec![$(Described {
                    name: stringify!($name),
                    value: $kind.print(&self.$name),
                    origin: self.origins.get(stringify!($name)).cloned().unwrap_or(Origin::Default),
                    doc: concat!($($doc),+).trim_ascii(),
                },)*]
            }

            /// Sets one value from text; `Ok(false)` if there is no such setting.
            pub(crate) fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<bool, String> {
                match name {
                    $(stringify!($name) => {
                        self.$name = $kind.parse(text)?;
                        self.origins.insert(stringify!($name), origin);
                    })*
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}

settings! {
    /// The folder with the WAL, and with all else that is stored if `store` names no other place; made if it is not there.
    data_dir: PathBuf = PathBuf::from("./tracelake-data"), Folder;
    /// Where segments and manifest are: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER; in data_dir if empty.
    store: Location = Location::DataDir, StoreUrl;
    /// Where the object store of `store` answers, such as http://127.0.0.1:9000; as its provider has it if empty.
    store_endpoint: String = String::new(), Endpoint;
    /// The region of an S3 bucket; AWS_REGION if empty.
    store_region: String = String::new(), Region;
    /// Whether URLs have the name of an S3 bucket in their path; in their host if false.
    store_path_style: bool = true, YES_OR_NO;
    /// How long a read from a bucket may take before it is begun a second time; 0 for never.
    store_hedge_milliseconds: u64 = limits::STORE_HEDGE_MILLISECONDS, Count(0, 60_000);
    /// Where OTLP/gRPC is received.
    otlp_grpc_addr: SocketAddr = kinds::loopback(4317), Address;
    /// Where OTLP/HTTP is received, at /v1/traces.
    otlp_http_addr: SocketAddr = kinds::loopback(4318), Address;
    /// Where the API answers, with health and metrics.
    api_addr: SocketAddr = kinds::loopback(8080), Address;
    /// How the log on stderr is written.
    log_format: LogFormat = LogFormat::Text,
        Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)], "text | json");
    /// What the log tells: error, warn, info, debug, trace, or per part as in info,tracelake_store=debug.
    log_level: String = "info".to_owned(), LogLevel;
    /// Web pages that may send spans from a browser, as origins with commas between; * for all, empty for none.
    cors_allowed_origins: CorsOrigins = CorsOrigins::Listed(Vec::new()), OriginList;
    /// An OTLP request as it arrives.
    request_bytes_max: u64 = limits::REQUEST_BYTES_MAX, Size(1 << 10, 1 << 30);
    /// An OTLP request after decompression.
    request_decoded_bytes_max: u64 = limits::REQUEST_DECODED_BYTES_MAX, Size(1 << 10, 1 << 30);
    /// Spans in one OTLP request.
    request_spans_max: u64 = limits::REQUEST_SPANS_MAX, Count(1, 10_000_000);
    /// Bytes of all OTLP requests being worked on at once, and 4 KiB for each.
    in_flight_bytes_max: u64 = limits::IN_FLIGHT_BYTES_MAX, Size(64 << 10, 64 << 30);
    /// Connections of all three ports together.
    connections_max: u64 = limits::CONNECTIONS_MAX, Count(8, 1_000_000);
    /// Memory of the spans not yet flushed.
    generation_bytes_max: u64 = limits::GENERATION_BYTES_MAX, Size(1 << 20, 64 << 30);
    /// Age of the spans not yet flushed.
    generation_age_seconds_max: u64 = limits::GENERATION_AGE_SECONDS_MAX, Seconds(1, 86_400);
    /// Flushed segments that are merged even if they are small.
    flushed_segments_max: u64 = limits::FLUSHED_SEGMENTS_MAX, Count(2, 10_000);
    /// Flushed segments that wait to be merged before spans are turned down.
    flushed_segments_waiting_max: u64 = limits::FLUSHED_SEGMENTS_WAITING_MAX, Count(4, 20_000);
    /// The size that merged segments shall have.
    slice_bytes: u64 = limits::SLICE_BYTES, Size(1 << 20, 16 << 30);
    /// How long a replaced file is kept.
    deletion_grace_seconds: u64 = limits::DELETION_GRACE_SECONDS, Seconds(1, 2_592_000);
    /// How long spans are kept after they ended; 0 for good.
    retention_age_seconds_max: u64 = limits::RETENTION_AGE_SECONDS_MAX, retention::AGE;
    /// Bytes of segments that each tenant's spans may take before the oldest go; 0 for any number.
    retention_bytes_max: u64 = limits::RETENTION_BYTES_MAX, retention::BYTES;
    /// Tenants with limits of their own instead of these two, such as acme=age:30d bytes:50GiB, beta=age:off.
    retention_tenants: Vec<TenantRetention> = Vec::new(), retention::TenantList;
    /// Spans of one trace in one answer.
    trace_spans_max: u64 = limits::TRACE_SPANS_MAX, Count(1, 100_000_000);
    /// Memory of the spans of one trace in one answer.
    trace_bytes_max: u64 = limits::TRACE_BYTES_MAX, Size(1 << 10, 64 << 30);
    /// How long a lookup may take; what is not read by then is named as missing.
    lookup_seconds_max: u64 = limits::LOOKUP_SECONDS_MAX, Seconds(1, 3_600);
    /// Trace IDs in one batch.
    batch_traces_max: u64 = limits::BATCH_TRACES_MAX, Count(1, 1_000_000);
    /// Groups of a batch's traces that are worked on at once.
    batch_workers: u64 = limits::BATCH_WORKERS, Count(1, 256);
    /// How long a search may take; it answers with what it has found by then, and says so.
    search_seconds_max: u64 = limits::SEARCH_SECONDS_MAX, Seconds(1, 3_600);
    /// Traces that a search may have to look at.
    search_candidates_max: u64 = limits::SEARCH_CANDIDATES_MAX, Count(1_000, 1_000_000_000);
    /// Traces of one page of a search.
    search_traces_max: u64 = limits::SEARCH_TRACES_MAX, Count(1_000, 100_000);
    /// Memory for traces that somebody may look at again; 0 for none.
    trace_cache_bytes_max: u64 = limits::TRACE_CACHE_BYTES_MAX, Size(0, 64 << 30);
    /// The same as a number of traces; 0 for any.
    trace_cache_traces_max: u64 = limits::TRACE_CACHE_TRACES_MAX, Count(0, 1_000_000_000);
    /// Whether traces that a trace points at are read into memory in advance.
    prefetch: bool = true, YES_OR_NO;
    /// Attributes of spans that hold the ID of a related trace, with commas between.
    related_trace_attributes: Vec<String> = EngineOptions::default().related_trace_attributes, NameList;
    /// Lookups worked on at once.
    concurrent_lookups_max: u64 = limits::CONCURRENT_LOOKUPS_MAX, Count(1, 100_000);
    /// How long a request's headers may take, and how long an HTTP/1 connection may idle.
    header_read_seconds_max: u64 = limits::HEADER_READ_SECONDS_MAX, Seconds(1, 3_600);
    /// How long a request's body may take.
    body_read_seconds_max: u64 = limits::BODY_READ_SECONDS_MAX, Seconds(1, 3_600);
    /// Memory for the metadata of open segments.
    metadata_cache_bytes_max: u64 = limits::METADATA_CACHE_BYTES_MAX, Size(1 << 20, 64 << 30);
    /// Memory for trace-ID filters.
    filter_cache_bytes_max: u64 = limits::FILTER_CACHE_BYTES_MAX, Size(1 << 20, 64 << 30);
    /// Memory for filters of values, which tell searches that a segment has none of what they look for.
    value_filter_bytes_max: u64 = limits::VALUE_FILTER_BYTES_MAX, Size(1 << 20, 64 << 30);
    /// Memory for pages, directory blocks and resources after they were read.
    block_cache_bytes_max: u64 = limits::BLOCK_CACHE_BYTES_MAX, Size(1 << 20, 64 << 30);
    /// Memory for attribute indexes after they were read.
    index_cache_bytes_max: u64 = limits::INDEX_CACHE_BYTES_MAX, Size(1 << 20, 64 << 30);
    /// A folder of this server alone, on a disk here, for what was read from a bucket; none if empty.
    disk_cache_dir: Option<PathBuf> = None, FolderIfAny;
    /// Disk for that.
    disk_cache_bytes_max: u64 = limits::DISK_CACHE_BYTES_MAX, Size(16 << 20, 1 << 50);
    /// How long requests in flight and the last flush may take when the server stops.
    shutdown_seconds_max: u64 = limits::SHUTDOWN_SECONDS_MAX, Seconds(1, 3_600);
}

impl Settings {
    /// What the store is opened with.
    pub fn store_options(&self) -> Options {
        let mut options = Options::new(&self.data_dir);
        options.place = self.store_place();
        options.generation_bytes_max = self.generation_bytes_max;
        options.generation_age_max = Duration::from_secs(self.generation_age_seconds_max);
        options.decode_limits.spans_max = usize::try_from(self.request_spans_max).unwrap_or(usize::MAX);
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        options.flushed_segments_max = count(self.flushed_segments_max);
        options.flushed_segments_waiting_max = self.flushed_segments_waiting_max;
        options.slice_bytes = self.slice_bytes;
        options.deletion_grace = Duration::from_secs(self.deletion_grace_seconds);
        options.queries = EngineOptions {
            trace: TraceLimits {
                spans_max: count(self.trace_spans_max),
                heap_bytes_max: count(self.trace_bytes_max),
            },
            time_max: Duration::from_secs(self.lookup_seconds_max),
            cache: TraceCacheLimits {
                bytes_max: self.trace_cache_bytes_max,
                traces_max: self.trace_cache_traces_max,
            },
            prefetch: self.prefetch,
            related_trace_attributes: self.related_trace_attributes.clone(),
            batch_workers: count(self.batch_workers),
            search_time_max: Duration::from_secs(self.search_seconds_max),
            search_candidates_max: count(self.search_candidates_max),
        };
        options.read.metadata_cache_bytes_max = self.metadata_cache_bytes_max;
        options.read.filter_cache_bytes_max = self.filter_cache_bytes_max;
        options.read.value_filter_bytes_max = self.value_filter_bytes_max;
        options.read.block_cache_bytes_max = self.block_cache_bytes_max;
        options.read.index_cache_bytes_max = self.index_cache_bytes_max;
        let is_remote = matches!(self.store, Location::Bucket(_));
        let hedge_after = Duration::from_millis(self.store_hedge_milliseconds);
        options.read.hedge_after = (is_remote && !hedge_after.is_zero()).then_some(hedge_after);
        options.disk_cache = self
            .disk_cache_dir
            .clone()
            .map(|folder| DiskCachePlace { folder, bytes_max: self.disk_cache_bytes_max });
        options.retention = self.retention();
        options
    }

    fn retention(&self) -> RetentionPolicy {
        let limits = |age_seconds: u64, bytes: u64| RetentionLimits {
            age_max: (age_seconds > 0).then(|| Duration::from_secs(age_seconds)),
            bytes_max: (bytes > 0).then_some(bytes),
        };
        let of_tenant = |one: &TenantRetention| {
            let age_seconds = one.age_seconds_max.unwrap_or(self.retention_age_seconds_max);
            (one.tenant.clone(), limits(age_seconds, one.bytes_max.unwrap_or(self.retention_bytes_max)))
        };
        RetentionPolicy {
            others: limits(self.retention_age_seconds_max, self.retention_bytes_max),
            tenants: self.retention_tenants.iter().map(of_tenant).collect(),
        }
    }

    /// Where segments and manifest are.
    pub fn store_place(&self) -> StorePlace {
        StorePlace {
            location: self.store.clone(),
            endpoint: self.store_endpoint.clone(),
            region: self.store_region.clone(),
            path_style: self.store_path_style,
        }
    }

    /// Whether somebody set it: it came from somewhere, or a program that has the server as a library
    /// changed it.
    pub fn is_set(&self, now: &Described) -> bool {
        let is_default = |setting: &Setting| setting.name == now.name && setting.default == now.value;
        now.origin != Origin::Default || !Self::table().iter().any(is_default)
    }

    /// What holds between settings; each alone is checked where it is read.
    fn validate(&self) -> Result<(), SettingsError> {
        let largest = self.request_bytes_max.max(self.request_decoded_bytes_max);
        if self.in_flight_bytes_max < largest {
            return Err(SettingsError::Together {
                message: format!(
                    "in_flight_bytes_max is less than one request may have ({}): such a request could never \
                     be taken; raise it, or lower request_bytes_max and request_decoded_bytes_max",
                    kinds::print_size(largest)
                ),
            });
        }
        if self.flushed_segments_waiting_max / 2 < self.flushed_segments_max {
            return Err(SettingsError::Together {
                message: format!(
                    "flushed_segments_waiting_max ({}) is less than twice flushed_segments_max ({}): spans would \
                     be turned down while what is there is merged; raise the one, or lower the other",
                    self.flushed_segments_waiting_max, self.flushed_segments_max
                ),
            });
        }
        let bytes_min = SLICES_KEPT_MIN.saturating_mul(self.slice_bytes);
        let of_tenants = self.retention_tenants.iter().filter_map(|one| one.bytes_max);
        if of_tenants.chain([self.retention_bytes_max]).any(|bytes| bytes > 0 && bytes < bytes_min) {
            return Err(SettingsError::Together {
                message: format!(
                    "a limit of bytes in retention_bytes_max or retention_tenants is less than \
                     {SLICES_KEPT_MIN} times slice_bytes ({}): whole slices go at once, so nearly nothing \
                     might be left; raise it, or lower slice_bytes",
                    kinds::print_size(bytes_min)
                ),
            });
        }
        Ok(())
    }
}

/// A limit of bytes has room for so many slices.
const SLICES_KEPT_MIN: u64 = 4;

#[cfg(test)]
mod tests;
