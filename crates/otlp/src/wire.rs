//! Protobuf's wire format, read from a slice: keys, varints, fixed-width numbers, lengths, and skipping
//! what is unknown. It accepts and refuses what prost 0.14 accepts and refuses.

use tracelake_model::batch::InvalidUtf8;

use crate::{DecodeError, DecodeLimits};

/// What is wrong with bytes on the wire. One byte, so that results stay in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Truncated,
    Varint,
    Key,
    WireType,
    Group,
    Utf8,
    Recursion,
    /// Not protobuf's limits but ours.
    TooDeep,
    TooManySpans,
}

impl Fault {
    pub(crate) fn into_error(self, limits: &DecodeLimits) -> DecodeError {
        let problem = match self {
            Self::Truncated => "a field ends after its message",
            Self::Varint => "a number is cut off or has more than 64 bits",
            Self::Key => "a field has an impossible number",
            Self::WireType => "a field has a wire type that is not its own",
            Self::Group => "a group ends that did not begin",
            Self::Utf8 => "a text is not UTF-8",
            Self::Recursion => "messages nest deeper than 100 levels",
            Self::TooDeep => return DecodeError::TooDeep { levels_max: limits.value_depth_max },
            Self::TooManySpans => return DecodeError::TooManySpans { spans_max: limits.spans_max },
        };
        DecodeError::Malformed { problem }
    }
}

impl From<InvalidUtf8> for Fault {
    fn from(_: InvalidUtf8) -> Self {
        Self::Utf8
    }
}

/// Messages inside messages (and groups inside groups) that protobuf implementations read.
pub(crate) const RECURSION_MAX: u32 = 100;

/// How much deeper it may go from here: in arrays and maps by our limit, in messages by protobuf's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nesting {
    levels_left: usize,
    recursion_left: u32,
}

impl Nesting {
    /// For a message that lies inside `messages` others.
    pub(crate) fn new(levels_max: usize, messages: u32) -> Self {
        Self { levels_left: levels_max, recursion_left: RECURSION_MAX - messages }
    }

    /// No limit but that of levels: for text of our own, which holds what was accepted before.
    pub(crate) fn of_levels(levels_max: usize) -> Self {
        Self { levels_left: levels_max, recursion_left: u32::MAX }
    }

    /// Inside one more message.
    #[inline]
    pub(crate) fn message(self) -> Result<Self, Fault> {
        let recursion_left = self.recursion_left.checked_sub(1).ok_or(Fault::Recursion)?;
        Ok(Self { recursion_left, ..self })
    }

    /// Inside one more array or map, which is also a message.
    pub(crate) fn level(self) -> Result<Self, Fault> {
        let levels_left = self.levels_left.checked_sub(1).ok_or(Fault::TooDeep)?;
        Ok(Self { levels_left, ..self.message()? })
    }

    pub(crate) fn recursion_left(self) -> u32 {
        self.recursion_left
    }
}

/// A text field that may occur more than once: the last one counts, yet each must be UTF-8.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TextField<'a>(&'a [u8]);

impl<'a> TextField<'a> {
    #[inline]
    pub(crate) fn set(&mut self, text: &'a [u8]) -> Result<(), Fault> {
        if !self.0.is_empty() {
            utf8(self.0)?;
        }
        self.0 = text;
        Ok(())
    }

    /// Not yet checked.
    #[inline]
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn text(self) -> Result<&'a str, Fault> {
        utf8(self.0)
    }
}

#[inline]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Fault::Utf8)
}

/// One message's bytes, read from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's key, none at the end. Whether it is a possible one shows when it is compared
    /// with known keys, or in [`skip`](Self::skip).
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<Option<u32>, Fault> {
        match self.rest {
            [] => Ok(None),
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(Some(u32::from(*byte)))
            }
            _ => u32::try_from(self.varint()?).map(Some).map_err(|_| Fault::Key),
        }
    }

    /// Steps over the key if it is this one, of a field below 16.
    #[inline(always)]
    pub(crate) fn take_key(&mut self, key: u32) -> bool {
        match self.rest {
            [byte, rest @ ..] if u32::from(*byte) == key => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            // Lengths of spans.
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for (place, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                // The tenth byte holds the 64th bit and nothing else.
                if place == 9 && *byte > 1 {
                    return Err(Fault::Varint);
                }
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(Fault::Varint)
    }

    /// What a length-delimited field holds.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let len = usize::try_from(self.varint()?).map_err(|_| Fault::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline(always)]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    #[inline(always)]
    pub(crate) fn fixed32(&mut self) -> Result<u32, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// Steps over a field whose key is none of the message's. `last` is its highest known number.
    #[cold]
    pub(crate) fn unknown(&mut self, key: u32, last: u32, recursion_left: u32) -> Result<(), Fault> {
        if (1..=last).contains(&(key >> 3)) {
            return Err(Fault::WireType);
        }
        self.skip(key, recursion_left)
    }

    /// Steps over a field of any kind, groups included.
    pub(crate) fn skip(&mut self, key: u32, recursion_left: u32) -> Result<(), Fault> {
        if key >> 3 == 0 {
            return Err(Fault::Key);
        }
        if recursion_left == 0 {
            return Err(Fault::Recursion);
        }
        match key & 7 {
            0 => self.varint().map(drop),
            1 => self.fixed64().map(drop),
            2 => self.bytes().map(drop),
            3 => loop {
                let inner = self.key()?.ok_or(Fault::Truncated)?;
                if inner >> 3 == 0 {
                    return Err(Fault::Key);
                }
                if inner & 7 == 4 {
                    return if inner >> 3 == key >> 3 { Ok(()) } else { Err(Fault::Group) };
                }
                self.skip(inner, recursion_left - 1)?;
            },
            4 => Err(Fault::Group),
            5 => self.fixed32().map(drop),
            _ => Err(Fault::WireType),
        }
    }
}

#[cfg(test)]
mod tests;
