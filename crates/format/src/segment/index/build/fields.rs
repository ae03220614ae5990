//! The fields of a part, and what has each.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::segment::index::KEY_BYTES_MAX;
use crate::segment::index::field::FieldScope;
use crate::segment::index::value::TermType;

/// Fields that are told apart; of more none but intrinsics are indexed, so that what is indexed does not depend on
/// which came first.
const SEEN_MAX: usize = 65_536;

/// What a field takes beside its key and what has it, roughly.
const FIELD_BYTES: usize = 96;

/// None; far beyond the ordinals of a part.
const NO_ORDINAL: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Fields {
    fields: Vec<SeenField>,
    places: HashTable<u32>,
    hasher: RandomState,
    bytes: usize,
    pub(super) are_too_many: bool,
}

#[derive(Debug)]
pub(super) struct SeenField {
    pub(super) scope: FieldScope,
    pub(super) key: Box<str>,
    /// What has it. Where values came from more than one column, not in order, and some more than once.
    pub(super) exists: Vec<u32>,
    last: u32,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self {
            fields: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::default(),
            bytes: 0,
            are_too_many: false,
        }
    }

    /// The place of a field; none of one that is not indexed.
    pub(super) fn place(&mut self, scope: FieldScope, key: &str) -> Option<u32> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        let hash = hash(&self.hasher, scope, key);
        let fields = &self.fields;
        let is_it = |place: &u32| {
            fields.get(*place as usize).is_some_and(|field| field.scope == scope && *field.key == *key)
        };
        if let Some(place) = self.places.find(hash, is_it) {
            return Some(*place);
        }
        if self.fields.len() >= SEEN_MAX {
            self.are_too_many = true;
            return None;
        }
        let place = self.fields.len() as u32;
        self.bytes += FIELD_BYTES + key.len();
        self.fields.push(SeenField { scope, key: key.into(), exists: Vec::new(), last: NO_ORDINAL });
        let (fields, hasher) = (&self.fields, &self.hasher);
        self.places.insert_unique(hash, place, |place| {
            fields.get(*place as usize).map_or(0, |field| self::hash(hasher, field.scope, &field.key))
        });
        Some(place)
    }

    /// Notes that an ordinal has a field.
    #[inline]
    pub(super) fn add(&mut self, place: u32, ordinal: u32) {
        if let Some(field) = self.fields.get_mut(place as usize)
            && field.last != ordinal
        {
            field.last = ordinal;
            field.exists.push(ordinal);
            self.bytes += size_of::<u32>();
        }
    }

    /// How many lists of terms they have.
    pub(super) fn lists(&self) -> usize {
        self.fields.len() * TermType::ALL.len()
    }

    pub(super) fn into_fields(self) -> Vec<SeenField> {
        self.fields
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The number of a field's terms of a type.
#[inline]
pub(super) fn list(place: u32, term_type: TermType) -> u32 {
    place * TermType::ALL.len() as u32 + term_type as u32
}

fn hash(hasher: &RandomState, scope: FieldScope, key: &str) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u8(scope as u8);
    state.write(key.as_bytes());
    state.finish()
}
