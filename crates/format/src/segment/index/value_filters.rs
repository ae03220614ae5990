//! Which values a segment can have: of each part of its attribute index a filter over all that are told from each other.
//! Kept in memory, they spare a search the segments that have none of what it looks for.

use bytes::Bytes;
use tracelake_model::TenantId;

use super::field::FieldScope;
use super::value::{IndexValue, Term, hash, hash_seed};
use super::{KEY_BYTES_MAX, damaged};
use crate::FormatError;
use crate::segment::filter::KeyFilter;
use crate::segment::meta::SegmentMeta;

/// Before a part's filter: the tenant's place, and the filter's length.
const HEAD_BYTES: usize = 8;

/// The filters of a segment's parts.
#[derive(Debug, Clone)]
pub struct ValueFilters {
    /// With the place of their tenant in [`SegmentMeta::tenants`].
    parts: Vec<(u32, KeyFilter)>,
}

/// A value of a field, as filters have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueKey(u64);

impl ValueKey {
    /// None of what filters do not know.
    pub fn of(scope: FieldScope, key: &str, value: IndexValue<'_>) -> Option<Self> {
        let term = Term::of(value).filter(|_| key.len() <= KEY_BYTES_MAX)?;
        Some(Self(hash(term.bytes(), hash_seed(scope, key, term.term_type()))))
    }
}

impl ValueFilters {
    /// Appends the stored filter of the next part.
    pub(in crate::segment) fn push(out: &mut Vec<u8>, tenant: u32, filter: &[u8]) {
        out.extend_from_slice(&tenant.to_le_bytes());
        out.extend_from_slice(&(filter.len() as u32).to_le_bytes());
        out.extend_from_slice(filter);
    }

    /// From the bytes of [`SegmentMeta::value_filters`], which were [verified](crate::segment::OpenSegment::verify_section).
    /// They are kept, not copied.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if they are none.
    pub fn parse(bytes: &Bytes) -> Result<Self, FormatError> {
        let (mut parts, mut rest) = (Vec::new(), bytes.clone());
        while !rest.is_empty() {
            let head: [u8; HEAD_BYTES] =
                *rest.first_chunk().ok_or_else(|| damaged("its filters end early"))?;
            let [t0, t1, t2, t3, l0, l1, l2, l3] = head;
            let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let body = rest.split_off(HEAD_BYTES);
            rest = body;
            if len > rest.len() {
                return Err(damaged("its filters end early"));
            }
            let filter = KeyFilter::parse(rest.split_to(len))?;
            parts.push((u32::from_le_bytes([t0, t1, t2, t3]), filter));
        }
        Ok(Self { parts })
    }

    /// Whether a span of the tenant may have the value; if not, none has.
    pub fn may_hold(&self, meta: &SegmentMeta, tenant: &TenantId, value: ValueKey) -> bool {
        let Some((place, _)) = meta.tenant(tenant) else { return false };
        let of_tenant = self.parts.iter().filter(|(tenant, _)| *tenant as usize == place);
        of_tenant.into_iter().any(|(_, filter)| filter.contains(value.0))
    }

    /// Bytes that they take, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.parts.iter().map(|(_, filter)| size_of::<(u32, KeyFilter)>() + filter.heap_bytes()).sum()
    }
}

#[cfg(test)]
mod tests;
