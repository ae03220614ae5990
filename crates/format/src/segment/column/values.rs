//! The values of a column as they are collected, and the Arrow array that they become. Texts are bounded: a few bytes
//! of a page can stand for a whole stack trace in each of thousands of rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int32Array,
    PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use parquet::errors::ParquetError;

use crate::segment::page::invalid;
use crate::segment::page_values::{Dictionary, Layout, Taken};

/// What the texts of several columns may take together. Several threads can read those of one slab.
#[derive(Debug)]
pub(in crate::segment) struct TextRoom {
    left: AtomicUsize,
    /// So much is claimed at once, by each leaf that has any text: by a hundred of them a tenth of it.
    claim: usize,
}

impl TextRoom {
    pub(in crate::segment) fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes), claim: bytes / 1_024 }
    }

    /// Takes as much of it, if there is so much.
    fn claim(&self, bytes: usize) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// Values of one leaf.
#[derive(Debug)]
pub(super) enum Data<'p> {
    Numbers(Vec<i64>),
    Fixed {
        bytes: Vec<u8>,
        width: usize,
    },
    Bytes(Texts<'p>),
    /// Places in a dictionary of those that occur.
    Keys {
        keys: Vec<i32>,
        texts: Texts<'p>,
        known: Vec<Option<i32>>,
    },
}

#[derive(Debug)]
pub(super) struct Texts<'p> {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// None: they are bounded by what they come from.
    room: Option<&'p TextRoom>,
    /// Of the room.
    claimed: usize,
    is_too_large: bool,
}

impl<'p> Texts<'p> {
    fn new(room: Option<&'p TextRoom>) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), room, claimed: 0, is_too_large: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.claimed {
            self.claim(bytes.len());
        }
        if !self.is_too_large {
            self.bytes.extend_from_slice(bytes);
        }
        self.ends.push(self.bytes.len());
    }

    #[cold]
    fn claim(&mut self, bytes: usize) {
        let Some(room) = self.room else { return };
        let claim = bytes.max(room.claim);
        self.is_too_large |= !room.claim(claim);
        self.claimed += claim;
    }

    fn finish(self) -> Result<(OffsetBuffer<i32>, Buffer), ParquetError> {
        i32::try_from(self.bytes.len())
            .map_err(|_| invalid("has more text in a few rows than can be held"))?;
        let offsets = std::iter::once(0).chain(self.ends.into_iter().map(|end| end as i32));
        Ok((OffsetBuffer::new(offsets.collect()), Buffer::from_vec(self.bytes)))
    }
}

impl<'p> Data<'p> {
    pub(super) fn new(layout: Layout, data_type: &DataType, room: &'p TextRoom) -> Self {
        match layout {
            Layout::Int32 | Layout::Int64 | Layout::Bool => Self::Numbers(Vec::new()),
            Layout::Fixed(width) => Self::Fixed { bytes: Vec::new(), width },
            Layout::Bytes if matches!(data_type, DataType::Dictionary(..)) => {
                // Each text once: no more than the dictionary has.
                Self::Keys { keys: Vec::new(), texts: Texts::new(None), known: Vec::new() }
            }
            Layout::Bytes => Self::Bytes(Texts::new(Some(room))),
        }
    }

    /// Whether texts had no room. Then nothing else means anything.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Bytes(texts) if texts.is_too_large)
    }

    /// The array, with nulls where a value is not valid.
    pub(super) fn finish(self, valid: Vec<bool>, data_type: &DataType) -> Result<ArrayRef, ParquetError> {
        let has_null = valid.contains(&false);
        let nulls = has_null.then(|| NullBuffer::from(valid));
        Ok(match (self, data_type) {
            (Self::Numbers(numbers), DataType::Int32) => primitive::<Int32Type>(numbers, nulls, |n| n as i32),
            (Self::Numbers(numbers), DataType::UInt32) => {
                primitive::<UInt32Type>(numbers, nulls, |n| n as u32)
            }
            (Self::Numbers(numbers), DataType::Int64) => primitive::<Int64Type>(numbers, nulls, |n| n),
            (Self::Numbers(numbers), DataType::UInt64) => {
                primitive::<UInt64Type>(numbers, nulls, |n| n as u64)
            }
            (Self::Numbers(numbers), DataType::Timestamp(TimeUnit::Nanosecond, None)) => {
                primitive::<TimestampNanosecondType>(numbers, nulls, |n| n)
            }
            (Self::Numbers(numbers), DataType::Float64) => {
                let floats = numbers.into_iter().map(|bits| f64::from_bits(bits as u64));
                Arc::new(Float64Array::try_new(floats.collect::<Vec<_>>().into(), nulls)?)
            }
            (Self::Numbers(numbers), DataType::Boolean) => {
                let bits = BooleanBuffer::from_iter(numbers.into_iter().map(|bit| bit != 0));
                Arc::new(BooleanArray::new(bits, nulls))
            }
            (Self::Fixed { bytes, width }, DataType::FixedSizeBinary(size))
                if usize::try_from(*size) == Ok(width) =>
            {
                Arc::new(FixedSizeBinaryArray::try_new(*size, Buffer::from_vec(bytes), nulls)?)
            }
            (Self::Bytes(texts), DataType::Utf8) => {
                let (offsets, bytes) = texts.finish()?;
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            (Self::Bytes(texts), DataType::Binary) => {
                let (offsets, bytes) = texts.finish()?;
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            (Self::Keys { keys, texts, .. }, DataType::Dictionary(..)) => {
                let (offsets, bytes) = texts.finish()?;
                let texts = StringArray::try_new(offsets, bytes, None)?;
                let keys = Int32Array::try_new(ScalarBuffer::from(keys), nulls)?;
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts))?)
            }
            (_, other) => return Err(invalid(&format!("is not of a column of type {other}"))),
        })
    }

    /// Makes room for so many values more.
    pub(super) fn reserve(&mut self, values: usize) {
        match self {
            Self::Numbers(numbers) => numbers.reserve(values),
            Self::Fixed { bytes, width } => bytes.reserve(values * *width),
            Self::Bytes(texts) => texts.ends.reserve(values),
            Self::Keys { keys, .. } => keys.reserve(values),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, value: Taken<'_>, dictionary: Option<&Dictionary>) {
        if let (Self::Keys { keys, texts, known }, Taken::Place(place)) = (&mut *self, value) {
            if known.is_empty() {
                known.resize(dictionary.map_or(0, Dictionary::len), None);
            }
            let key = known.get_mut(place as usize).map(|key| {
                *key.get_or_insert_with(|| {
                    match dictionary.and_then(|dictionary| dictionary.get(place)) {
                        Some(Taken::Bytes(bytes)) => texts.push(bytes),
                        _ => texts.push(&[]),
                    }
                    texts.ends.len() as i32 - 1
                })
            });
            // A place beyond the dictionary: `PageValues::each` returns the error.
            keys.push(key.unwrap_or_default());
            return;
        }
        let value = match value {
            // Of a place beyond the dictionary nothing is pushed but a none, before `PageValues::each` returns the
            // error.
            Taken::Place(place) => dictionary.and_then(|dictionary| dictionary.get(place)),
            value => Some(value),
        };
        match (self, value) {
            (Self::Numbers(numbers), Some(Taken::Number(number))) => numbers.push(number),
            (Self::Fixed { bytes, .. }, Some(Taken::Bytes(value))) => bytes.extend_from_slice(value),
            (Self::Bytes(texts), Some(Taken::Bytes(value))) => texts.push(value),
            (Self::Keys { keys, texts, .. }, Some(Taken::Bytes(value))) => {
                keys.push(texts.ends.len() as i32);
                texts.push(value);
            }
            (data, _) => data.push_none(),
        }
    }

    #[inline]
    pub(super) fn push_none(&mut self) {
        match self {
            Self::Numbers(numbers) => numbers.push(0),
            Self::Fixed { bytes, width } => bytes.resize(bytes.len() + *width, 0),
            Self::Bytes(texts) => texts.push(&[]),
            Self::Keys { keys, .. } => keys.push(0),
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    numbers: Vec<i64>,
    nulls: Option<NullBuffer>,
    convert: impl Fn(i64) -> T::Native,
) -> ArrayRef {
    let values: Vec<T::Native> = numbers.into_iter().map(convert).collect();
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}
