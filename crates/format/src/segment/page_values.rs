//! The values of one Parquet page, of which some are passed over and some taken. Encodings: those that
//! segments are written with, `PLAIN`, dictionaries and deltas.

use bytes::Bytes;
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::errors::ParquetError;

use super::packed::{Deltas, Hybrid};
use super::page::invalid;

/// How the values of a leaf lie in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Numbers of 32 bits.
    Int32,
    /// Numbers of 64 bits; floats by their bits.
    Int64,
    /// Single bits.
    Bool,
    /// So many bytes.
    Fixed(usize),
    /// Bytes with their length before them.
    Bytes,
}

impl Layout {
    pub(super) fn of(physical: PhysicalType, length: i32) -> Result<Self, ParquetError> {
        Ok(match physical {
            PhysicalType::INT32 => Self::Int32,
            PhysicalType::INT64 | PhysicalType::DOUBLE => Self::Int64,
            PhysicalType::BOOLEAN => Self::Bool,
            PhysicalType::FIXED_LEN_BYTE_ARRAY => Self::Fixed(usize::try_from(length).unwrap_or(0)),
            PhysicalType::BYTE_ARRAY => Self::Bytes,
            other => return Err(invalid(&format!("has values of type {other}"))),
        })
    }

    /// Bytes of a plain value; none if they differ.
    fn width(self) -> Option<usize> {
        match self {
            Self::Int32 => Some(4),
            Self::Int64 => Some(8),
            Self::Fixed(width) => Some(width),
            Self::Bool | Self::Bytes => None,
        }
    }
}

/// One value, as it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken<'p> {
    Number(i64),
    Bytes(&'p [u8]),
    /// A place in the dictionary, which has it.
    Place(u32),
}

/// A dictionary's values.
#[derive(Debug, Clone)]
pub(super) struct Dictionary {
    bytes: Bytes,
    layout: Layout,
    values: usize,
    /// Where values of different lengths begin, and where the last ends, with the lengths of the next before.
    starts: Vec<u32>,
}

impl Dictionary {
    /// Of a dictionary page's bytes.
    pub(super) fn parse(bytes: Bytes, values: usize, layout: Layout) -> Result<Self, ParquetError> {
        let mut starts = Vec::new();
        match layout.width() {
            Some(width) => {
                if values.checked_mul(width).is_none_or(|len| len > bytes.len()) {
                    return Err(ends_early());
                }
            }
            None if layout == Layout::Bytes => {
                // Each has at least its length: a wrong number cannot take much memory.
                starts.reserve(values.min(bytes.len() / 4) + 1);
                let mut at = 0;
                for _ in 0..values {
                    let start = u32::try_from(at).map_err(|_| ends_early())?;
                    starts.push(start);
                    at += 4 + length_at(&bytes, at)?;
                    if at > bytes.len() {
                        return Err(ends_early());
                    }
                }
                starts.push(u32::try_from(at).map_err(|_| ends_early())?);
            }
            None => return Err(invalid("is a dictionary of single bits")),
        }
        Ok(Self { bytes, layout, values, starts })
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same with a copy of its bytes.
    pub(super) fn with_bytes(&self, bytes: Bytes) -> Self {
        Self { bytes, ..self.clone() }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.values
    }

    /// What it keeps in memory.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.starts.as_slice()) + size_of::<Self>()
    }

    /// The value at a place.
    pub(super) fn get(&self, place: u32) -> Option<Taken<'_>> {
        let place = place as usize;
        if place >= self.values {
            return None;
        }
        let bytes = match self.layout.width() {
            Some(width) => self.bytes.get(place * width..(place + 1) * width)?,
            None => {
                let (start, end) = (*self.starts.get(place)?, *self.starts.get(place + 1)?);
                self.bytes.get(start as usize + 4..end as usize)?
            }
        };
        Some(taken(bytes, self.layout))
    }
}

fn ends_early() -> ParquetError {
    invalid("ends before its last value")
}

/// The length of the value at a place.
#[inline]
fn length_at(bytes: &[u8], at: usize) -> Result<usize, ParquetError> {
    let length = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>()).ok_or_else(ends_early)?;
    Ok(u32::from_le_bytes(*length) as usize)
}

#[inline]
fn taken(bytes: &[u8], layout: Layout) -> Taken<'_> {
    match (layout, bytes.first_chunk::<4>(), bytes.first_chunk::<8>()) {
        (Layout::Int32, Some(four), _) => Taken::Number(i64::from(i32::from_le_bytes(*four))),
        (Layout::Int64, _, Some(eight)) => Taken::Number(i64::from_le_bytes(*eight)),
        _ => Taken::Bytes(bytes),
    }
}

/// The values of a data page that are left.
#[derive(Debug)]
pub(super) struct PageValues<'p>(Kind<'p>);

#[derive(Debug)]
enum Kind<'p> {
    Plain { bytes: &'p [u8], at: usize, layout: Layout },
    Bits { bytes: &'p [u8], at: usize },
    Places { places: Hybrid<'p>, dictionary: &'p Dictionary },
    Deltas { deltas: Deltas<'p>, layout: Layout },
}

impl<'p> PageValues<'p> {
    pub(super) fn new(
        bytes: &'p [u8],
        encoding: Encoding,
        layout: Layout,
        dictionary: Option<&'p Dictionary>,
    ) -> Result<Self, ParquetError> {
        Ok(Self(match (encoding, layout) {
            (Encoding::PLAIN, Layout::Bool) => Kind::Bits { bytes, at: 0 },
            (Encoding::PLAIN, _) => Kind::Plain { bytes, at: 0, layout },
            (Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY, _) => {
                let dictionary = dictionary.ok_or_else(|| invalid("needs a dictionary that is not there"))?;
                // Without any value there is not even the width of places.
                let (width, places) = bytes.split_first().unwrap_or((&0, &[]));
                Kind::Places { places: Hybrid::new(places, u32::from(*width))?, dictionary }
            }
            // Nothing but nulls: then there is no header.
            (Encoding::DELTA_BINARY_PACKED, Layout::Int32 | Layout::Int64) if bytes.is_empty() => {
                Kind::Plain { bytes, at: 0, layout }
            }
            (Encoding::DELTA_BINARY_PACKED, Layout::Int32 | Layout::Int64) => {
                Kind::Deltas { deltas: Deltas::new(bytes)?, layout }
            }
            (other, _) => {
                return Err(invalid(&format!("has values in {other}, which Tracelake does not do")));
            }
        }))
    }

    /// Passes over values.
    pub(super) fn skip(&mut self, count: usize) -> Result<(), ParquetError> {
        match &mut self.0 {
            Kind::Plain { bytes, at, layout } => match layout.width() {
                Some(width) => {
                    let len = count.checked_mul(width).ok_or_else(ends_early)?;
                    *at = at.checked_add(len).filter(|at| *at <= bytes.len()).ok_or_else(ends_early)?;
                }
                None => {
                    for _ in 0..count {
                        *at += 4 + length_at(bytes, *at)?;
                    }
                }
            },
            Kind::Bits { at, .. } => *at += count,
            Kind::Places { places, .. } => places.skip(count)?,
            Kind::Deltas { deltas, .. } => deltas.each(count, |_| ())?,
        }
        Ok(())
    }

    /// Gives values one by one to `take`.
    #[inline]
    pub(super) fn each(&mut self, count: usize, mut take: impl FnMut(Taken<'p>)) -> Result<(), ParquetError> {
        match &mut self.0 {
            Kind::Plain { bytes, at, layout } => {
                for _ in 0..count {
                    let (start, len) = match layout.width() {
                        Some(width) => (*at, width),
                        None => (*at + 4, length_at(bytes, *at)?),
                    };
                    *at = start + len;
                    take(taken(bytes.get(start..*at).ok_or_else(ends_early)?, *layout));
                }
            }
            Kind::Bits { bytes, at } => {
                for _ in 0..count {
                    let byte = bytes.get(*at / 8).ok_or_else(ends_early)?;
                    take(Taken::Number(i64::from(byte >> (*at % 8) & 1)));
                    *at += 1;
                }
            }
            Kind::Places { places, dictionary } => {
                let len = dictionary.len() as u64;
                let mut beyond = false;
                places.each(count, |place| {
                    beyond |= u64::from(place) >= len;
                    take(Taken::Place(place));
                })?;
                if beyond {
                    return Err(invalid("has a place that its dictionary has not"));
                }
            }
            Kind::Deltas { deltas, layout: Layout::Int32 } => {
                deltas.each(count, |number| take(Taken::Number(i64::from(number as i32))))?;
            }
            Kind::Deltas { deltas, .. } => deltas.each(count, |number| take(Taken::Number(number)))?,
        }
        Ok(())
    }
}
