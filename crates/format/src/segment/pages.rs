//! The pages of row groups: where they are, and from bytes that were fetched and verified, what is in them. A
//! page that was not fetched is an error, not zeros.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescriptor;
use tracelake_model::Resource;
use ulid::Ulid;

use super::layout::{ChunkCodec, GroupLayout};
use super::page::{decode_page, invalid};
use super::page_values::{Dictionary, Layout};

/// Keeps what reading had to work for, within a budget of bytes: pages after decompression, so that the
/// next lookup nearby need neither fetch, verify nor decompress them, and resources, which are few and the
/// same everywhere.
pub trait ReadCache: std::fmt::Debug + Send + Sync {
    /// A page.
    fn page(&self, key: PageKey) -> Option<CachedPage>;
    /// Whether to offer a page of so many bytes that it did not have: what is offered may have to be copied.
    fn wants_page(&self, key: PageKey, bytes: usize) -> bool;
    /// Offers a page.
    fn insert_page(&self, key: PageKey, page: CachedPage);
    /// The resource that is stored as this text.
    fn resource(&self, text: &str) -> Option<Arc<Resource>>;
    /// Offers a resource.
    fn insert_resource(&self, text: &str, resource: &Arc<Resource>);
}

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageKey {
    /// In whose file.
    pub segment: Ulid,
    /// Where it begins there.
    pub offset: u64,
    /// Whether it is a dictionary: those are for all pages of a column in a row group.
    pub is_dictionary: bool,
}

/// A page in a [`ReadCache`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CachedPage(Arc<Decoded>);

#[derive(Debug)]
enum Decoded {
    Data(Page),
    Dictionary(Dictionary),
}

impl CachedPage {
    pub(super) fn new(page: Page, descriptor: &ColumnDescriptor) -> Result<Self, ParquetError> {
        Ok(Self(Arc::new(match page {
            Page::DictionaryPage { buf, num_values, encoding, .. } => {
                if !matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) {
                    return Err(invalid(&format!("is a dictionary in {encoding}")));
                }
                let layout = Layout::of(descriptor.physical_type(), descriptor.type_length())?;
                Decoded::Dictionary(Dictionary::parse(buf, num_values as usize, layout)?)
            }
            page => Decoded::Data(page),
        })))
    }

    pub(super) fn data(&self) -> Option<&Page> {
        match &*self.0 {
            Decoded::Data(page) => Some(page),
            Decoded::Dictionary(_) => None,
        }
    }

    pub(super) fn dictionary(&self) -> Option<&Dictionary> {
        match &*self.0 {
            Decoded::Data(_) => None,
            Decoded::Dictionary(dictionary) => Some(dictionary),
        }
    }

    /// The same without what was fetched around it, which its bytes would keep in memory.
    pub(super) fn without(&self, fetched: &Bytes) -> Self {
        let buffer = match &*self.0 {
            Decoded::Data(page) => page.buffer(),
            Decoded::Dictionary(dictionary) => dictionary.bytes(),
        };
        if !fetched.as_ptr_range().contains(&buffer.as_ptr()) {
            return self.clone();
        }
        let alone = Bytes::copy_from_slice(buffer);
        Self(Arc::new(match &*self.0 {
            Decoded::Data(page) => {
                let mut page = page.clone();
                if let Page::DataPage { buf, .. } = &mut page {
                    *buf = alone;
                }
                Decoded::Data(page)
            }
            Decoded::Dictionary(dictionary) => Decoded::Dictionary(dictionary.with_bytes(alone)),
        }))
    }

    /// What it keeps in memory.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Decoded>()
            + match &*self.0 {
                Decoded::Data(page) => page.buffer().len(),
                Decoded::Dictionary(dictionary) => dictionary.heap_bytes(),
            }
    }
}

/// The parts of a file that were fetched.
#[derive(Debug)]
pub(super) struct PageSource {
    /// By offset, without overlap.
    parts: Vec<(u64, Bytes)>,
}

impl PageSource {
    pub(super) fn new(parts: Vec<(u64, Bytes)>) -> Self {
        Self { parts }
    }

    /// Bytes of the file, not verified.
    pub(super) fn fetched(&self, range: &Range<u64>) -> Result<Bytes, ParquetError> {
        let after = self.parts.partition_point(|(offset, _)| *offset <= range.start);
        let part = after.checked_sub(1).and_then(|index| self.parts.get(index));
        let within = part.and_then(|(offset, bytes)| {
            let from = usize::try_from(range.start - offset).ok()?;
            let to = usize::try_from(range.end - offset).ok()?;
            (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
        });
        within.ok_or_else(|| ParquetError::EOF(format!("bytes {range:?} were not fetched")))
    }

    /// A page, and the bytes that it was made of, which were verified before.
    pub(super) fn load(&self, codec: ChunkCodec, range: &Range<u64>) -> Result<(Page, Bytes), ParquetError> {
        let bytes = self.fetched(range)?;
        let bytes_max = usize::try_from(codec.uncompressed_bytes).unwrap_or(usize::MAX);
        decode_page(&bytes, codec.compression, bytes_max).map(|page| (page, bytes))
    }
}

/// A page of a column chunk: where it is, and the rows that it has, of which a dictionary has none.
#[derive(Debug, Clone)]
pub(super) struct PagePlace {
    pub(super) range: Range<u64>,
    /// Counted within the row group.
    pub(super) rows: Option<Range<u64>>,
}

impl PagePlace {
    pub(super) fn key(&self, segment: Ulid) -> PageKey {
        PageKey { segment, offset: self.range.start, is_dictionary: self.rows.is_none() }
    }
}

/// One row group.
pub(super) struct GroupPages<'s> {
    pub(super) source: Arc<PageSource>,
    pub(super) layout: &'s GroupLayout,
    pub(super) metadata: &'s ParquetMetaData,
    pub(super) group: usize,
}

impl RowGroups for GroupPages<'_> {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.row_group(self.group).num_rows()).unwrap_or(usize::MAX)
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let codec = self.layout.codec(leaf).ok_or_else(|| invalid("is of a column that is not there"))?;
        let places = self.layout.pages(leaf).collect();
        let pages = ChunkPages { source: Arc::clone(&self.source), codec, places };
        Ok(Box::new(OneChunk(Some(pages))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// The one column chunk that a leaf has in a row group.
struct OneChunk(Option<ChunkPages>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pages: Box<dyn PageReader> = Box::new(self.0.take()?);
        Some(Ok(pages))
    }
}

impl PageIterator for OneChunk {}

struct ChunkPages {
    source: Arc<PageSource>,
    codec: ChunkCodec,
    places: VecDeque<PagePlace>,
}

impl Iterator for ChunkPages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ChunkPages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let Some(place) = self.places.pop_front() else { return Ok(None) };
        self.source.load(self.codec, &place.range).map(|(page, _)| Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        Ok(self.places.front().map(|place| PageMetadata {
            num_rows: place.rows.as_ref().map(|rows| (rows.end - rows.start) as usize),
            num_levels: None,
            is_dict: place.rows.is_none(),
        }))
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.places.pop_front();
        Ok(())
    }

    /// Pages of files with an offset index begin with a row.
    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        Ok(true)
    }
}
