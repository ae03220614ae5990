//! One Parquet page: its header and what it decompresses to.
//!
//! The Parquet crate reads pages too, but makes a compressor and a decompressor for each column of each
//! lookup, and lets nobody keep what was decompressed. Only what Tracelake's segments have is read here:
//! data pages of version 1 and dictionary pages, uncompressed or in zstd frames that name their size.
//! The header's format: Parquet's `parquet.thrift`, in Thrift's compact protocol.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::Page;
use parquet::errors::ParquetError;

use super::inflate::inflate;

/// Nesting of what a header may have that is not known here.
const SKIP_DEPTH_MAX: u32 = 8;

/// The page in `bytes`, which have its header and nothing behind it. `bytes_max` is what it may be decompressed.
pub(super) fn decode_page(
    bytes: &Bytes,
    compression: Compression,
    bytes_max: usize,
) -> Result<Page, ParquetError> {
    let mut reader = CompactReader { bytes, at: 0 };
    let header = PageHeader::read(&mut reader)?;
    let body = bytes.slice(reader.at..);
    let (compressed, size) = (header.compressed_bytes, header.uncompressed_bytes);
    if usize::try_from(compressed) != Ok(body.len()) {
        return Err(invalid("has another length than its header says"));
    }
    let size = usize::try_from(size).ok().filter(|size| *size <= bytes_max);
    let size = size.ok_or_else(|| invalid("is larger than its column chunk"))?;
    let buf = match compression {
        Compression::UNCOMPRESSED => body,
        _ if size == 0 => Bytes::new(),
        Compression::ZSTD(_) => Bytes::from(inflate(&body, size)?),
        other => return Err(invalid(&format!("is compressed as {other}, which Tracelake does not do"))),
    };
    if buf.len() != size {
        return Err(invalid("decompresses to another length than its header says"));
    }
    Ok(match header.kind {
        PageKind::Data { values, encoding, definition, repetition } => Page::DataPage {
            buf,
            num_values: values,
            encoding,
            def_level_encoding: definition,
            rep_level_encoding: repetition,
            statistics: None,
        },
        PageKind::Dictionary { values, encoding, is_sorted } => {
            Page::DictionaryPage { buf, num_values: values, encoding, is_sorted }
        }
    })
}

pub(super) fn invalid(detail: &str) -> ParquetError {
    ParquetError::General(format!("a page {detail}"))
}

/// What is needed of a header.
#[derive(Debug)]
struct PageHeader {
    compressed_bytes: i32,
    uncompressed_bytes: i32,
    kind: PageKind,
}

#[derive(Debug)]
enum PageKind {
    Data { values: u32, encoding: Encoding, definition: Encoding, repetition: Encoding },
    Dictionary { values: u32, encoding: Encoding, is_sorted: bool },
}

impl PageHeader {
    fn read(reader: &mut CompactReader<'_>) -> Result<Self, ParquetError> {
        let (mut uncompressed, mut compressed, mut kind) = (None, None, None);
        let mut field = 0;
        while let Some(wire) = reader.field(&mut field)? {
            match field {
                2 if wire::is_int(wire) => uncompressed = Some(reader.int()?),
                3 if wire::is_int(wire) => compressed = Some(reader.int()?),
                5 if wire == wire::STRUCT => kind = Some(Self::read_kind(reader, false)?),
                7 if wire == wire::STRUCT => kind = Some(Self::read_kind(reader, true)?),
                _ => reader.skip(wire, SKIP_DEPTH_MAX)?,
            }
        }
        let missing =
            || invalid("has a header that lacks something, or is of a kind that Tracelake does not write");
        Ok(Self {
            compressed_bytes: compressed.ok_or_else(missing)?,
            uncompressed_bytes: uncompressed.ok_or_else(missing)?,
            kind: kind.ok_or_else(missing)?,
        })
    }

    /// Both kinds begin with the number of values and their encoding.
    fn read_kind(reader: &mut CompactReader<'_>, is_dictionary: bool) -> Result<PageKind, ParquetError> {
        let (mut values, mut encoding) = (None, None);
        let (mut definition, mut repetition, mut is_sorted) = (Encoding::RLE, Encoding::RLE, false);
        let mut field = 0;
        while let Some(wire) = reader.field(&mut field)? {
            match (field, is_dictionary) {
                (1, _) if wire::is_int(wire) => values = Some(reader.int()?),
                (2, _) if wire::is_int(wire) => encoding = Some(read_encoding(reader)?),
                (3, false) if wire::is_int(wire) => definition = read_encoding(reader)?,
                (4, false) if wire::is_int(wire) => repetition = read_encoding(reader)?,
                (3, true) if wire <= wire::FALSE => is_sorted = wire == wire::TRUE,
                _ => reader.skip(wire, SKIP_DEPTH_MAX)?,
            }
        }
        let values = values.and_then(|values| u32::try_from(values).ok());
        let (Some(values), Some(encoding)) = (values, encoding) else {
            return Err(invalid("does not say how many values it has, or their encoding"));
        };
        Ok(if is_dictionary {
            PageKind::Dictionary { values, encoding, is_sorted }
        } else {
            PageKind::Data { values, encoding, definition, repetition }
        })
    }
}

fn read_encoding(reader: &mut CompactReader<'_>) -> Result<Encoding, ParquetError> {
    Ok(match reader.int()? {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        other => return Err(invalid(&format!("has the encoding {other}, which is not known"))),
    })
}

/// Types of fields on the wire.
mod wire {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const STRUCT: u8 = 12;

    /// 16, 32 and 64 bits.
    pub(super) fn is_int(wire: u8) -> bool {
        (4..=6).contains(&wire)
    }
}

/// Thrift's compact protocol, as far as a header needs it.
struct CompactReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl CompactReader<'_> {
    fn byte(&mut self) -> Result<u8, ParquetError> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| invalid("ends within its header"))
    }

    fn varint(&mut self) -> Result<u64, ParquetError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("has a number without end in its header"))
    }

    /// Integers of all sizes, zigzag.
    fn int(&mut self) -> Result<i32, ParquetError> {
        let value = self.varint()?;
        let value = (value >> 1) as i64 ^ -((value & 1) as i64);
        i32::try_from(value).map_err(|_| invalid("has a number in its header that is too large"))
    }

    /// The next field's type, its ID in `field`; none behind the last.
    fn field(&mut self, field: &mut i32) -> Result<Option<u8>, ParquetError> {
        let byte = self.byte()?;
        let wire = byte & 0x0f;
        if wire == 0 {
            return Ok(None);
        }
        *field = match byte >> 4 {
            0 => self.int()?,
            delta => field.saturating_add(i32::from(delta)),
        };
        Ok(Some(wire))
    }

    fn skip(&mut self, wire: u8, depth: u32) -> Result<(), ParquetError> {
        match wire {
            wire::TRUE | wire::FALSE => {}
            wire::BYTE => self.at += 1,
            4..=6 => {
                self.varint()?;
            }
            wire::DOUBLE => self.at += 8,
            wire::BINARY => {
                let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                self.at = self.at.saturating_add(len);
            }
            wire::STRUCT if depth > 0 => {
                let mut field = 0;
                while let Some(wire) = self.field(&mut field)? {
                    self.skip(wire, depth - 1)?;
                }
            }
            _ => return Err(invalid("has something in its header that is not known")),
        }
        if self.at > self.bytes.len() { Err(invalid("ends within its header")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
