//! The header of a part: its fields, and where the bytes of each are. Read once, kept decoded.

use std::ops::Range;

use bytes::Bytes;

use super::bytes::{Reader, put_varint};
use super::field::{FieldLookup, FieldScope, Universe};
use super::parts::IndexPart;
use super::query::IndexedField;
use super::value::TermType;
use super::{FIELDS_MAX, KEY_BYTES_MAX, damaged, hashed};
use crate::FormatError;

const MAGIC: [u8; 4] = *b"TLPH";
const IS_COMPLETE: u64 = 1;

/// Postings that are in the header itself: as many bytes as where they are would be, and some more that save a read.
const INLINE_BYTES_MAX: usize = 64;

/// What a part has, and where. Of a part without a field nothing but this is read.
#[derive(Debug)]
pub struct IndexHeader {
    part: IndexPart,
    is_complete: bool,
    trace_table: Range<u64>,
    resources: Range<u64>,
    scopes: Range<u64>,
    operations: Range<u64>,
    /// In the order of (scope, key).
    fields: Box<[Field]>,
    heap_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) scope: FieldScope,
    pub(super) key: Box<str>,
    pub(super) exists: Place,
    /// By type.
    pub(super) lists: Box<[List]>,
}

/// The terms of a field that have one type.
#[derive(Debug)]
pub(super) struct List {
    pub(super) term_type: TermType,
    /// In the terms block.
    pub(super) terms: u32,
    pub(super) block: Range<u64>,
    /// Where hash blocks begin, and how many hashes each has.
    pub(super) hashed_from: u64,
    pub(super) hashed: Box<[u32]>,
    pub(super) opaque: Place,
    /// The lowest and the highest term, of numbers.
    pub(super) bounds: Option<([u8; 8], [u8; 8])>,
}

/// Where postings are.
#[derive(Debug)]
pub(super) enum Place {
    Inline(Bytes),
    At(Range<u64>),
}

impl Place {
    pub(super) fn range(&self) -> Option<Range<u64>> {
        match self {
            Self::Inline(_) => None,
            Self::At(range) => Some(range.clone()),
        }
    }
}

/// A field that is written.
#[derive(Debug)]
pub(super) struct WrittenField<'f> {
    pub(super) scope: FieldScope,
    pub(super) key: &'f str,
    /// Its postings.
    pub(super) exists: Vec<u8>,
    pub(super) lists: Vec<WrittenList>,
}

#[derive(Debug)]
pub(super) struct WrittenList {
    pub(super) term_type: TermType,
    pub(super) terms: usize,
    pub(super) block: Vec<u8>,
    pub(super) hashed_counts: Vec<usize>,
    pub(super) hashed: Vec<u8>,
    pub(super) opaque: Vec<u8>,
    pub(super) bounds: Option<([u8; 8], [u8; 8])>,
}

/// Writes a part: what fields have, and the header behind it.
#[derive(Debug)]
pub(super) struct PartWriter {
    out: Vec<u8>,
    head: Vec<u8>,
    fields: Vec<u8>,
    count: u64,
}

impl PartWriter {
    pub(super) fn begin(is_complete: bool, blocks: [&[u8]; 4]) -> Self {
        let mut head = MAGIC.to_vec();
        put_varint(&mut head, if is_complete { IS_COMPLETE } else { 0 });
        for block in blocks {
            put_varint(&mut head, block.len() as u64);
        }
        Self { out: blocks.concat(), head, fields: Vec::new(), count: 0 }
    }

    /// The next field, in order.
    pub(super) fn push(&mut self, field: &WrittenField<'_>) {
        self.count += 1;
        self.fields.push(field.scope as u8);
        put_varint(&mut self.fields, field.key.len() as u64);
        self.fields.extend_from_slice(field.key.as_bytes());
        self.put(&field.exists);
        self.fields.push(field.lists.iter().fold(0, |types, list| types | 1 << list.term_type as u8));
        for list in &field.lists {
            put_varint(&mut self.fields, list.terms as u64);
            put_varint(&mut self.fields, list.block.len() as u64);
            self.out.extend_from_slice(&list.block);
            put_varint(&mut self.fields, list.hashed_counts.len() as u64);
            for count in &list.hashed_counts {
                put_varint(&mut self.fields, *count as u64);
            }
            self.out.extend_from_slice(&list.hashed);
            if list.term_type != TermType::Bool {
                self.put(&list.opaque);
            }
            for bound in list.bounds.iter().flat_map(|(min, max)| [min, max]) {
                self.fields.extend_from_slice(bound);
            }
        }
    }

    fn put(&mut self, postings: &[u8]) {
        let is_inline = postings.len() <= INLINE_BYTES_MAX;
        put_varint(&mut self.fields, (postings.len() as u64) << 1 | u64::from(is_inline));
        if is_inline { &mut self.fields } else { &mut self.out }.extend_from_slice(postings);
    }

    /// The part's bytes, and how many of them are the header.
    pub(super) fn finish(mut self) -> (Vec<u8>, usize) {
        put_varint(&mut self.head, self.count);
        let header_len = self.head.len() + self.fields.len();
        self.out.extend_from_slice(&self.head);
        self.out.extend_from_slice(&self.fields);
        (self.out, header_len)
    }
}

impl IndexHeader {
    /// From its bytes, whose checksum is verified first.
    pub(super) fn decode(part: &IndexPart, bytes: &Bytes) -> Result<Self, FormatError> {
        if bytes.len() as u64 != u64::from(part.header_len) || crc32c::crc32c(bytes) != part.header_crc32c {
            return Err(damaged(format!(
                "checksum of the header of the part at byte {} differs",
                part.offset
            )));
        }
        Self::parse(part, bytes)
    }

    pub(super) fn parse(part: &IndexPart, bytes: &Bytes) -> Result<Self, FormatError> {
        let mut reader = HeaderReader { bytes, reader: Reader::new(bytes), part, next: part.offset };
        if reader.reader.array()? != MAGIC {
            return Err(damaged("the header of a part does not begin with TLPH"));
        }
        let flags = reader.reader.varint()?;
        let [trace_table, resources] = [reader.range()?, reader.range()?];
        let [scopes, operations] = [reader.range()?, reader.range()?];
        let count = reader.reader.count(4)?;
        if count > FIELDS_MAX {
            return Err(damaged("a part has too many fields"));
        }
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            fields.push(reader.field()?);
        }
        let is_sorted = fields.is_sorted_by(|a, b| (a.scope, &a.key) < (b.scope, &b.key));
        if !is_sorted || !reader.reader.rest.is_empty() || reader.next != part.header_range().start {
            return Err(damaged("the header of a part contradicts itself"));
        }
        let of_field = |field: &Field| {
            let lists = field.lists.iter().map(|list| size_of::<List>() + size_of_val(&*list.hashed));
            size_of::<Field>() + field.key.len() + lists.sum::<usize>()
        };
        // Inline postings keep the header's bytes.
        let heap_bytes = size_of::<Self>() + bytes.len() + fields.iter().map(of_field).sum::<usize>();
        Ok(Self {
            part: *part,
            is_complete: flags & IS_COMPLETE != 0,
            trace_table,
            resources,
            scopes,
            operations,
            fields: fields.into(),
            heap_bytes,
        })
    }

    /// The part that it is of.
    pub fn part(&self) -> &IndexPart {
        &self.part
    }

    /// Whether a field that it does not list is on no trace.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What is known of a field.
    pub fn field(&self, scope: FieldScope, key: &str) -> FieldLookup<'_> {
        let found = self.fields.binary_search_by(|field| (field.scope, &*field.key).cmp(&(scope, key)));
        let is_listed = self.is_complete && key.len() <= KEY_BYTES_MAX;
        match found.ok().and_then(|at| self.fields.get(at)) {
            Some(field) => FieldLookup::Known(IndexedField { header: self, field }),
            None if is_listed => FieldLookup::Absent,
            None => FieldLookup::Unknown,
        }
    }

    /// All fields that it lists, by (scope, key).
    pub fn fields(&self) -> impl Iterator<Item = IndexedField<'_>> {
        self.fields.iter().map(|field| IndexedField { header: self, field })
    }

    /// The bytes of the part's [`TraceTable`](super::TraceTable).
    pub fn trace_table_range(&self) -> Range<u64> {
        self.trace_table.clone()
    }

    /// The bytes of the part's [`Operations`](super::Operations).
    pub fn operations_range(&self) -> Range<u64> {
        self.operations.clone()
    }

    /// The bytes that say which traces have a resource, or a scope.
    pub(super) fn traces_of(&self, universe: Universe) -> Option<Range<u64>> {
        match universe {
            Universe::Traces => None,
            Universe::Resources => Some(self.resources.clone()),
            Universe::Scopes => Some(self.scopes.clone()),
        }
    }

    /// How many ordinals there are.
    pub(super) fn universe(&self, universe: Universe) -> u32 {
        match universe {
            Universe::Traces => self.part.traces,
            Universe::Resources => self.part.resources,
            Universe::Scopes => self.part.scopes,
        }
    }

    /// Bytes that it takes, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}

struct HeaderReader<'b> {
    bytes: &'b Bytes,
    reader: Reader<'b>,
    part: &'b IndexPart,
    /// Where in the file comes what the header names next.
    next: u64,
}

impl HeaderReader<'_> {
    /// The next so many bytes of the part.
    fn advance(&mut self, len: u64) -> Result<Range<u64>, FormatError> {
        let start = self.next;
        let end = start.checked_add(len).filter(|end| *end <= self.part.header_range().start);
        self.next = end.ok_or_else(|| self.reader.damaged())?;
        Ok(start..self.next)
    }

    fn range(&mut self) -> Result<Range<u64>, FormatError> {
        let len = self.reader.varint()?;
        self.advance(len)
    }

    fn place(&mut self) -> Result<Place, FormatError> {
        let head = self.reader.varint()?;
        if head & 1 == 0 {
            return self.advance(head >> 1).map(Place::At);
        }
        let len = usize::try_from(head >> 1).map_err(|_| self.reader.damaged())?;
        self.reader.take(len).map(|bytes| Place::Inline(self.bytes.slice_ref(bytes)))
    }

    fn field(&mut self) -> Result<Field, FormatError> {
        let scope = usize::from(self.reader.byte()?);
        let scope = *FieldScope::ALL.get(scope).ok_or_else(|| self.reader.damaged())?;
        let key = std::str::from_utf8(self.reader.sized()?).map_err(|_| self.reader.damaged())?;
        let exists = self.place()?;
        let types = self.reader.byte()?;
        if types >> TermType::ALL.len() != 0 {
            return Err(self.reader.damaged());
        }
        let universe = match Universe::of(scope, key) {
            Universe::Traces => self.part.traces,
            Universe::Resources => self.part.resources,
            Universe::Scopes => self.part.scopes,
        };
        let types = TermType::ALL.into_iter().filter(|term_type| types >> *term_type as u8 & 1 == 1);
        let lists = types.map(|term_type| self.list(term_type, universe)).collect::<Result<_, _>>()?;
        Ok(Field { scope, key: key.into(), exists, lists })
    }

    fn list(&mut self, term_type: TermType, universe: u32) -> Result<List, FormatError> {
        let terms = u32::try_from(self.reader.varint()?).map_err(|_| self.reader.damaged())?;
        let block = self.range()?;
        // Each term is a byte at least.
        if u64::from(terms) > block.end - block.start {
            return Err(self.reader.damaged());
        }
        let blocks = self.reader.count(1)?;
        let hashed_from = self.next;
        let mut hashed = Vec::with_capacity(blocks);
        for _ in 0..blocks {
            let hashes = u32::try_from(self.reader.varint()?).map_err(|_| self.reader.damaged())?;
            let len = hashed::block_len(hashes as usize, universe).ok_or_else(|| self.reader.damaged())?;
            self.advance(len as u64)?;
            hashed.push(hashes);
        }
        let opaque =
            if term_type == TermType::Bool { Place::Inline(Bytes::from_static(&[0])) } else { self.place()? };
        let bounds = if term_type == TermType::Number {
            Some((self.reader.array()?, self.reader.array()?))
        } else {
            None
        };
        Ok(List { term_type, terms, block, hashed_from, hashed: hashed.into(), opaque, bounds })
    }
}

#[cfg(test)]
mod tests;
