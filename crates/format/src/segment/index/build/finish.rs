//! From what was collected to the bytes of a part.

use std::cmp::Reverse;

use super::PartBuilder;
use super::fields::{Fields, SeenField, list};
use super::terms::{Seen, TermTable};
use crate::FormatError;
use crate::segment::filter::{KeyFilter, Width};
use crate::segment::index::dictionary::DictionaryBuilder;
use crate::segment::index::field::{FieldScope, Universe, is_never_hashed};
use crate::segment::index::header::{PartWriter, WrittenField, WrittenList};
use crate::segment::index::parts::IndexPart;
use crate::segment::index::value::{TermType, hash, hash_seed};
use crate::segment::index::{FIELDS_MAX, hashed, postings, trace_table};

/// A part as it is written.
#[derive(Debug)]
pub(in crate::segment) struct BuiltPart {
    pub(in crate::segment) bytes: Vec<u8>,
    pub(in crate::segment) part: IndexPart,
    /// As it is stored.
    pub(in crate::segment) value_filter: Vec<u8>,
}

impl PartBuilder {
    /// The part as it lies at `offset` of the file.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] if it is more than the format holds.
    pub(in crate::segment) fn finish(
        self,
        tenant: u32,
        first_row: u64,
        offset: u64,
    ) -> Result<BuiltPart, FormatError> {
        let Self { rows, traces, fields, terms, resources, scopes, spans, operations, .. } = self;
        let trace_count = traces.len() as u32;
        let mut table = Vec::new();
        trace_table::write(&mut table, &traces);
        let of_resources = resources.write(trace_count, |resource, out| spans.write(resource, out));
        let of_scopes = scopes.write(trace_count, |_, _| {});
        let universe = |field: &SeenField| match Universe::of(field.scope, &field.key) {
            Universe::Traces => trace_count,
            Universe::Resources => resources.len() as u32,
            Universe::Scopes => scopes.len() as u32,
        };

        let lists = fields.lists();
        let (chosen, is_complete) = chosen(fields);
        let mut writer =
            PartWriter::begin(is_complete, [&table, &of_resources, &of_scopes, &operations.write(&terms)]);
        let mut grouped = Grouped::of(&terms);
        // By list; none of what is not listed.
        let mut seeds: Vec<Option<u64>> = vec![None; lists];
        for (place, mut field) in chosen {
            let universe = universe(&field);
            let mut lists = Vec::new();
            for term_type in TermType::ALL {
                let seed = hash_seed(field.scope, &field.key, term_type);
                let is_hashed = term_type != TermType::Bool && !is_never_hashed(field.scope, &field.key);
                let list = list(place, term_type);
                if let Some(slot) = seeds.get_mut(list as usize) {
                    *slot = Some(seed);
                }
                lists.extend(grouped.write(&terms, list, term_type, universe, is_hashed.then_some(seed))?);
            }
            let mut exists = Vec::new();
            postings::write(&mut exists, distinct(&mut field.exists), universe);
            writer.push(&WrittenField { scope: field.scope, key: &field.key, exists, lists });
        }
        let (bytes, header_len) = writer.finish();
        let header =
            bytes.len().checked_sub(header_len).and_then(|from| bytes.get(from..)).unwrap_or_default();
        let part = IndexPart {
            tenant,
            first_row,
            rows: rows as u32,
            traces: trace_count,
            resources: resources.len() as u32,
            scopes: scopes.len() as u32,
            offset,
            len: u32::try_from(bytes.len()).map_err(|_| FormatError::TooLarge {
                what: "part of an attribute index",
                size: bytes.len() as u64,
                max: u64::from(u32::MAX),
            })?,
            header_len: header_len as u32,
            header_crc32c: crc32c::crc32c(header),
        };
        // What is not listed may have any value.
        let value_filter = if is_complete { value_filter(&terms, &seeds) } else { KeyFilter::anything() };
        Ok(BuiltPart { bytes, part, value_filter })
    }
}

/// The filter over all terms.
fn value_filter(terms: &TermTable, seeds: &[Option<u64>]) -> Vec<u8> {
    let seed = |list: u32| seeds.get(list as usize).copied().flatten();
    let key = |seen: &Seen| Some(hash(terms.term(seen), seed(seen.list)?));
    let mut keys: Vec<u64> = terms.terms().iter().filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    KeyFilter::build(&keys, Width::One)
}

/// The fields that are listed, in order, with their places; and whether these are all.
fn chosen(fields: Fields) -> (Vec<(u32, SeenField)>, bool) {
    let are_too_many = fields.are_too_many;
    let mut chosen: Vec<(u32, SeenField)> = (0..).zip(fields.into_fields()).collect();
    chosen.retain(|(_, field)| {
        !field.exists.is_empty() && (!are_too_many || field.scope == FieldScope::Intrinsic)
    });
    let is_complete = !are_too_many && chosen.len() <= FIELDS_MAX;
    if chosen.len() > FIELDS_MAX {
        for (_, field) in &mut chosen {
            let distinct = distinct(&mut field.exists).len();
            field.exists.truncate(distinct);
        }
        let rank = |field: &SeenField| match field.scope {
            FieldScope::Intrinsic => 0,
            FieldScope::Resource | FieldScope::Instrumentation => 1,
            FieldScope::Span | FieldScope::Event | FieldScope::Link => 2,
        };
        chosen.sort_by(|(_, a), (_, b)| {
            let key = |field: &SeenField| (rank(field), Reverse(field.exists.len()), field.scope);
            (key(a), &a.key).cmp(&(key(b), &b.key))
        });
        chosen.truncate(FIELDS_MAX);
    }
    chosen.sort_by(|(_, a), (_, b)| (a.scope, &a.key).cmp(&(b.scope, &b.key)));
    (chosen, is_complete)
}

/// Sorts ordinals, and gives each once.
fn distinct(ordinals: &mut [u32]) -> &[u32] {
    if ordinals.is_sorted_by(|a, b| a < b) {
        return ordinals;
    }
    ordinals.sort_unstable();
    let mut kept = 0;
    for at in 0..ordinals.len() {
        let ordinal = ordinals.get(at).copied();
        if kept == 0 || ordinals.get(kept - 1).copied() != ordinal {
            ordinals.swap(kept, at);
            kept += 1;
        }
    }
    ordinals.get(..kept).unwrap_or_default()
}

/// Terms by list, and the ordinals of each.
struct Grouped {
    /// That have several ordinals: by list, then by the first eight of their bytes.
    several: Vec<(u32, u64, u32)>,
    /// That have one: by list. Most terms may be such, and hardly any order of them matters.
    single: Vec<(u32, u32)>,
    /// Behind the last ordinal of each term.
    ends: Vec<u32>,
    ordinals: Vec<u32>,
}

impl Grouped {
    fn of(table: &TermTable) -> Self {
        let seen = table.terms();
        let mut ends = vec![1u32; seen.len()];
        for (term, _) in &table.more {
            if let Some(count) = ends.get_mut(*term as usize) {
                *count += 1;
            }
        }
        let (mut several, mut single) = (Vec::new(), Vec::new());
        for ((term, seen), count) in (0u32..).zip(seen).zip(&ends) {
            match count {
                1 => single.push((seen.list, term)),
                _ => several.push((seen.list, first_eight(table.term(seen)), term)),
            }
        }
        several.sort_unstable();
        single.sort_unstable();

        let mut end = 0;
        for count in &mut ends {
            // Where it begins, which what is added moves to where it ends.
            end += std::mem::replace(count, end);
        }
        let mut ordinals = vec![0; end as usize];
        let firsts = (0u32..).zip(seen).map(|(term, seen)| (term, seen.first));
        for (term, ordinal) in firsts.chain(table.more.iter().copied()) {
            if let Some(end) = ends.get_mut(term as usize)
                && let Some(slot) = ordinals.get_mut(*end as usize)
            {
                *slot = ordinal;
                *end += 1;
            }
        }
        Self { several, single, ends, ordinals }
    }

    fn ordinals_of(&mut self, term: u32) -> &mut [u32] {
        let end = |term: u32| self.ends.get(term as usize).copied();
        let start = term.checked_sub(1).and_then(end).unwrap_or_default();
        let range = start as usize..end(term).unwrap_or_default() as usize;
        self.ordinals.get_mut(range).unwrap_or_default()
    }

    /// The terms of a list, hashed with `seed` where one ordinal alone has them. None without any.
    fn write(
        &mut self,
        table: &TermTable,
        list: u32,
        term_type: TermType,
        universe: u32,
        seed: Option<u64>,
    ) -> Result<Option<WrittenList>, FormatError> {
        let mut listed: Vec<(u64, u32)> = of_list(&self.several, list, |term| term.0)
            .iter()
            .map(|(_, eight, term)| (*eight, *term))
            .collect();
        let single: Vec<u32> =
            of_list(&self.single, list, |term| term.0).iter().map(|(_, term)| *term).collect();
        if listed.is_empty() && single.is_empty() {
            return Ok(None);
        }
        let bytes =
            |term: u32| table.terms().get(term as usize).map(|seen| table.term(seen)).unwrap_or_default();
        let bounds = (term_type == TermType::Number).then(|| {
            let number = |term: u32| bytes(term).first_chunk::<8>().copied().unwrap_or_default();
            let numbers = || listed.iter().map(|(_, term)| *term).chain(single.iter().copied()).map(number);
            (numbers().min().unwrap_or_default(), numbers().max().unwrap_or_default())
        });

        let (mut hashes, mut opaque) = (Vec::new(), Vec::new());
        match seed {
            Some(seed) => {
                for term in &single {
                    let hash = hash(bytes(*term), seed);
                    hashes.extend(self.ordinals_of(*term).iter().map(|ordinal| (hash, *ordinal)));
                }
                opaque.extend(hashes.iter().map(|(_, ordinal)| *ordinal));
            }
            None => listed.extend(single.iter().map(|term| (first_eight(bytes(*term)), *term))),
        }
        listed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| bytes(a.1).cmp(bytes(b.1))));
        let mut dictionary = DictionaryBuilder::new(listed.len(), universe);
        for (_, term) in &listed {
            let ordinals = distinct(self.ordinals_of(*term));
            dictionary.push(bytes(*term), ordinals)?;
            if term_type == TermType::LongText {
                opaque.extend_from_slice(ordinals);
            }
        }
        let mut written = WrittenList {
            term_type,
            terms: listed.len(),
            block: dictionary.finish()?,
            hashed_counts: Vec::new(),
            hashed: Vec::new(),
            opaque: Vec::new(),
            bounds,
        };
        written.hashed_counts = hashed::write(&mut written.hashed, &hashes, universe);
        postings::write(&mut written.opaque, distinct(&mut opaque), universe);
        Ok(Some(written))
    }
}

/// What begins a term, as a number that orders as that does.
fn first_eight(term: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight.iter_mut().zip(term).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(eight)
}

/// Those of a list, of all that are sorted by it.
fn of_list<T>(sorted: &[T], list: u32, list_of: impl Fn(&T) -> u32) -> &[T] {
    let from = sorted.partition_point(|other| list_of(other) < list);
    let to = sorted.partition_point(|other| list_of(other) <= list);
    sorted.get(from..to).unwrap_or_default()
}
