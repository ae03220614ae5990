//! What retention removes, decided from the manifest alone. docs/retention.md has the rules.
//!
//! It reads no file and changes nothing: the same manifest, limits and time give the same plan, which
//! is what a dry run shows and what the store then does.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::SegmentMeta;
use tracelake_model::TenantId;
use ulid::Ulid;

/// A day in nanoseconds: how far ahead of its arrival a span's time can be.
const AHEAD_MAX: u64 = 86_400_000_000_000;

/// 2000-01-01 in nanoseconds since 1970: no earlier time is one.
const EARLIEST: u64 = 946_684_800_000_000_000;

/// How much of a tenant's data is kept. None: all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionLimits {
    /// How long, by the newest end in a segment.
    pub age_max: Option<Duration>,
    /// How many bytes of segments.
    pub bytes_max: Option<u64>,
}

impl RetentionLimits {
    fn is_off(&self) -> bool {
        self.age_max.is_none() && self.bytes_max.is_none()
    }
}

/// The limits of all tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionPolicy {
    /// Of those who are not named.
    pub others: RetentionLimits,
    /// Of those who are: all of theirs, whatever the others have.
    pub tenants: BTreeMap<TenantId, RetentionLimits>,
}

/// Why a tenant's part of a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// Its newest span ended longer ago than this.
    AgeSecondsMax(u64),
    /// The tenant's segments took more bytes than this, and this is of the oldest.
    BytesMax(u64),
}

/// A tenant's part of a segment that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpiredPart {
    /// Whose spans.
    #[serde(serialize_with = "as_text")]
    pub tenant: TenantId,
    /// How many.
    pub spans: u64,
    /// In how many traces.
    pub traces: u64,
    /// Its share of the file, by the number of spans.
    pub bytes: u64,
    /// Why.
    pub because: Expiry,
}

/// A segment of which something goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpiredSegment {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub id: Ulid,
    /// How often its rows were merged.
    pub level: u32,
    /// Nothing of it stays; otherwise it is rewritten without the parts that go.
    pub whole: bool,
    /// Size of its file.
    pub bytes: u64,
    /// The earliest start, in nanoseconds since 1970.
    pub start_unix_nano_min: u64,
    /// What its age counts from, in nanoseconds since 1970: the newest end, unless that is no time it
    /// can have.
    pub newest_unix_nano: u64,
    /// What goes.
    pub parts: Vec<ExpiredPart>,
}

impl ExpiredSegment {
    /// Spans that go.
    pub fn spans(&self) -> u64 {
        self.parts.iter().map(|part| part.spans).sum()
    }

    /// Bytes that go.
    pub fn bytes_expired(&self) -> u64 {
        if self.whole { self.bytes } else { self.parts.iter().map(|part| part.bytes).sum() }
    }
}

impl RetentionPolicy {
    /// Whether nothing is ever removed.
    pub fn is_off(&self) -> bool {
        self.others.is_off() && self.tenants.values().all(RetentionLimits::is_off)
    }

    /// The shortest age of any tenant.
    pub fn age_min(&self) -> Option<Duration> {
        self.tenants.values().chain([&self.others]).filter_map(|limits| limits.age_max).min()
    }

    fn limits(&self, tenant: &TenantId) -> RetentionLimits {
        self.tenants.get(tenant).copied().unwrap_or(self.others)
    }

    /// What goes now, oldest first.
    pub fn plan(&self, now_unix_nano: u64, segments: &[&SegmentEntry]) -> Vec<ExpiredSegment> {
        if self.is_off() {
            return Vec::new();
        }
        let mut oldest_first: Vec<&SegmentMeta> = segments.iter().map(|entry| &entry.meta).collect();
        oldest_first.sort_by_key(|meta| (newest(meta), meta.id));
        let mut excess = self.excess(now_unix_nano, &oldest_first);
        let mut planned = Vec::new();
        for meta in oldest_first {
            let age = now_unix_nano.saturating_sub(newest(meta));
            let parts: Vec<ExpiredPart> = meta
                .tenants
                .iter()
                .filter_map(|part| {
                    let limits = self.limits(&part.tenant);
                    let because = expired_by_age(limits, age).or_else(|| {
                        let excess = excess.get_mut(&part.tenant).filter(|excess| **excess > 0)?;
                        *excess = excess.saturating_sub(meta.bytes_of(part.rows));
                        limits.bytes_max.map(Expiry::BytesMax)
                    })?;
                    Some(ExpiredPart {
                        tenant: part.tenant.clone(),
                        spans: part.rows,
                        traces: part.traces,
                        bytes: meta.bytes_of(part.rows),
                        because,
                    })
                })
                .collect();
            if !parts.is_empty() {
                planned.push(ExpiredSegment {
                    id: meta.id,
                    level: meta.level,
                    whole: parts.len() == meta.tenants.len(),
                    bytes: meta.size_bytes,
                    start_unix_nano_min: meta.start_unix_nano_min,
                    newest_unix_nano: newest(meta),
                    parts,
                });
            }
        }
        planned
    }

    /// By how much each tenant with a limit is above it, without what is too old anyway.
    fn excess(&self, now_unix_nano: u64, segments: &[&SegmentMeta]) -> BTreeMap<TenantId, u64> {
        let mut bytes: BTreeMap<TenantId, u64> = BTreeMap::new();
        for meta in segments {
            let age = now_unix_nano.saturating_sub(newest(meta));
            for part in &meta.tenants {
                let limits = self.limits(&part.tenant);
                if limits.bytes_max.is_some() && expired_by_age(limits, age).is_none() {
                    let bytes = bytes.entry(part.tenant.clone()).or_default();
                    *bytes = bytes.saturating_add(meta.bytes_of(part.rows));
                }
            }
        }
        for (tenant, bytes) in &mut bytes {
            *bytes = bytes.saturating_sub(self.limits(tenant).bytes_max.unwrap_or(u64::MAX));
        }
        bytes
    }
}

fn expired_by_age(limits: RetentionLimits, age_nano: u64) -> Option<Expiry> {
    let age_max = limits.age_max.filter(|age_max| u128::from(age_nano) > age_max.as_nanos())?;
    Some(Expiry::AgeSecondsMax(age_max.as_secs()))
}

/// What a segment's age counts from. A span that says it ends in 200 years must not keep it for as long,
/// and spans that say 1970 must not be gone as soon as they are written: what is no possible time counts
/// from when the file was written, which its name tells.
fn newest(meta: &SegmentMeta) -> u64 {
    let written = meta.id.timestamp_ms().saturating_mul(1_000_000);
    let newest = meta.end_unix_nano_max.max(meta.start_unix_nano_max);
    if newest < EARLIEST { written } else { newest.min(written.saturating_add(AHEAD_MAX)) }
}

fn as_text<T: std::fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

#[cfg(test)]
mod tests;
