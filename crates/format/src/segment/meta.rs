//! What is known of a segment without reading it. The manifest holds one for each; the same text,
//! as far as a file can say it of itself, lies in the Parquet footer.

use serde::{Deserialize, Serialize};
use tracelake_model::TenantId;
use ulid::Ulid;

use super::FORMAT_VERSION;

/// Bytes of the file that have a checksum of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Where they begin in the file.
    pub offset: u64,
    /// How many there are.
    pub len: u64,
    /// CRC32C of them.
    pub crc32c: u32,
}

impl Section {
    /// First byte to first byte after.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.offset.saturating_add(self.len)
    }
}

/// A tenant's part of a segment: a range of rows, in order of [`tracelake_model::hash::trace_hash`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentTenant {
    /// Whose rows they are.
    #[serde(with = "as_text")]
    pub tenant: TenantId,
    /// The first of them.
    pub first_row: u64,
    /// How many.
    pub rows: u64,
    /// In how many traces.
    pub traces: u64,
}

/// A segment as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentMeta {
    /// Version of the segment format.
    pub format_version: u32,
    /// Names the file.
    #[serde(with = "as_text")]
    pub id: Ulid,
    /// How often its rows were merged: 0 as flushed, 1 and more for slices.
    pub level: u32,
    /// The lowest generation of its rows; `u64::MAX` without rows.
    pub generation_min: u64,
    /// The highest generation of its rows; 0 without rows.
    pub generation_max: u64,
    /// Size of the file. In the file itself: 0, as the footer cannot hold what is known after it.
    pub size_bytes: u64,
    /// Spans of all tenants.
    pub rows: u64,
    /// Traces of all tenants.
    pub traces: u64,
    /// The earliest start, in nanoseconds since 1970; `u64::MAX` without rows.
    pub start_unix_nano_min: u64,
    /// The latest start, in nanoseconds since 1970; 0 without rows.
    pub start_unix_nano_max: u64,
    /// The latest end, in nanoseconds since 1970; 0 without rows.
    pub end_unix_nano_max: u64,
    /// The lowest trace hash of any tenant; `u64::MAX` without rows.
    pub trace_hash_min: u64,
    /// The highest trace hash of any tenant; 0 without rows.
    pub trace_hash_max: u64,
    /// Tenants by name; their rows follow each other without a gap.
    pub tenants: Vec<SegmentTenant>,
    /// The trace-ID filter.
    pub filter: Section,
    /// The filters of the attribute index's parts, before the directory's index; none if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_filters: Option<Section>,
    /// The index of the directory's blocks.
    pub directory: Section,
    /// The parts of the attribute index; none if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Section>,
    /// The checksum table, which covers everything before it.
    pub checksums: Section,
    /// Parquet's page index and footer, to the end of the file. In the file itself: all 0.
    pub footer: Section,
}

/// The first version of the format whose attribute index is used.
const INDEX_VERSION: u32 = 4;

impl SegmentMeta {
    /// A segment without rows, of which nothing is written yet.
    pub fn new(id: Ulid, level: u32) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            id,
            level,
            generation_min: u64::MAX,
            generation_max: 0,
            size_bytes: 0,
            rows: 0,
            traces: 0,
            start_unix_nano_min: u64::MAX,
            start_unix_nano_max: 0,
            end_unix_nano_max: 0,
            trace_hash_min: u64::MAX,
            trace_hash_max: 0,
            tenants: Vec::new(),
            filter: Section::default(),
            directory: Section::default(),
            value_filters: None,
            index: None,
            checksums: Section::default(),
            footer: Section::default(),
        }
    }

    /// Whether it has an attribute index that is used: the first version of it lacked what later ones have.
    pub fn has_index(&self) -> bool {
        self.format_version >= INDEX_VERSION && self.index.is_some()
    }

    /// The share of the file that so many of its rows have.
    pub fn bytes_of(&self, rows: u64) -> u64 {
        let share = u128::from(self.size_bytes) * u128::from(rows) / u128::from(self.rows.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// The tenant's place in [`Self::tenants`] and its part.
    pub fn tenant(&self, tenant: &TenantId) -> Option<(usize, &SegmentTenant)> {
        let ordinal = self.tenants.binary_search_by(|part| part.tenant.cmp(tenant)).ok()?;
        Some((ordinal, self.tenants.get(ordinal)?))
    }

    /// As it stands in the file's footer: without what only the finished file can tell.
    pub(super) fn without_footer(&self) -> Self {
        Self { size_bytes: 0, footer: Section::default(), ..self.clone() }
    }
}

/// A type that reads as text, as that text.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}
