//! Reading JSON piece by piece with serde: objects whose members come in any order, arrays, and the
//! forms that protobuf's JSON allows for one scalar. Nothing is built that was not asked for: unknown
//! members are stepped over.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::write::NAN_BITS;
use crate::extent::Places;
use crate::wire::{Fault, Nesting};
use crate::{DecodeError, DecodeLimits};

/// Counts what is read. When it refuses, the reader stops with an error of its own, and the reason
/// stands here.
#[derive(Debug)]
pub(super) struct Budget<'l> {
    pub(super) limits: &'l DecodeLimits,
    spans: usize,
    items: usize,
    /// For the elements of the attribute's value being read.
    places: Places,
    refused: Option<DecodeError>,
}

impl<'l> Budget<'l> {
    pub(super) fn new(limits: &'l DecodeLimits) -> Self {
        Self { limits, spans: 0, items: 0, places: Places::new(limits), refused: None }
    }

    pub(super) fn item<E: Error>(&mut self) -> Result<(), E> {
        self.items += 1;
        if self.items > self.limits.items_max {
            return Err(self.refuse(DecodeError::TooManyItems { items_max: self.limits.items_max }));
        }
        Ok(())
    }

    /// One more element of an array or map; whether to keep it.
    pub(super) fn element<E: Error>(&mut self) -> Result<bool, E> {
        self.item()?;
        Ok(self.places.take())
    }

    /// An attribute begins.
    pub(super) fn attribute<E: Error>(&mut self) -> Result<(), E> {
        self.places = Places::new(self.limits);
        self.item()
    }

    /// Elements of the attribute's value that was read last.
    pub(super) fn elements(&self) -> usize {
        self.places.taken()
    }

    pub(super) fn span<E: Error>(&mut self) -> Result<(), E> {
        self.spans += 1;
        if self.spans > self.limits.spans_max {
            return Err(self.refuse(DecodeError::TooManySpans { spans_max: self.limits.spans_max }));
        }
        self.item()
    }

    /// Inside one more message, array or map. What is read here must be readable as protobuf too, as
    /// that is how it is kept: so protobuf's limit of nesting holds for JSON.
    pub(super) fn nest<E: Error>(&mut self, nesting: Result<Nesting, Fault>) -> Result<Nesting, E> {
        nesting.map_err(|_| self.refuse(DecodeError::TooDeep { levels_max: self.limits.value_depth_max }))
    }

    fn refuse<E: Error>(&mut self, reason: DecodeError) -> E {
        let error = E::custom(&reason);
        self.refused = Some(reason);
        error
    }

    /// The reason of an error that serde_json handed back.
    pub(super) fn reason(&mut self, error: &serde_json::Error) -> DecodeError {
        self.refused.take().unwrap_or_else(|| DecodeError::Json { problem: error.to_string() })
    }
}

/// Reads one value of the whole text with `seed`, which counts its own levels.
pub(super) fn read_text<'de, S: DeserializeSeed<'de>>(
    text: &'de str,
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// An object that is read member by member.
pub(super) trait Object<'de> {
    /// What it is, for messages.
    const NAME: &'static str;
    /// The names it knows; at most 32.
    const MEMBERS: &'static [&'static str];

    /// Reads the value of one of its members, each of which comes at most once.
    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads an [`Object`]; gives whether it was there, `null` meaning not.
pub(super) struct ObjectSeed<'o, O>(pub(super) &'o mut O);

impl<'de, O: Object<'de>> DeserializeSeed<'de> for ObjectSeed<'_, O> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, O: Object<'de>> Visitor<'de> for ObjectSeed<'_, O> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} object", O::NAME)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut seen = 0_u32;
        while let Some(Name(name)) = map.next_key()? {
            let Some(place) = O::MEMBERS.iter().position(|member| *member == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen & 1 << place != 0 {
                return Err(A::Error::custom(format_args!("{} has {name:?} twice", O::NAME)));
            }
            seen |= 1 << place;
            self.0.member(O::MEMBERS[place], &mut map)?;
        }
        Ok(true)
    }
}

/// An array that is read element by element.
pub(super) trait Array<'de> {
    /// What it is, for messages.
    const NAME: &'static str;

    /// Reads one element.
    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error>;
}

/// Reads an [`Array`]; `null` is one without elements.
pub(super) struct ArraySeed<'a, A>(pub(super) &'a mut A);

impl<'de, A: Array<'de>> DeserializeSeed<'de> for ArraySeed<'_, A> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, A: Array<'de>> Visitor<'de> for ArraySeed<'_, A> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of {}", A::NAME)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element_seed(ElementSeed(self.0))?.is_some() {}
        Ok(())
    }
}

struct ElementSeed<'a, A>(&'a mut A);

impl<'de, A: Array<'de>> DeserializeSeed<'de> for ElementSeed<'_, A> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.element(deserializer)
    }
}

/// Reads an element that must be an object, not `null`.
pub(super) fn object_element<'de, O: Object<'de>, D: Deserializer<'de>>(
    object: &mut O,
    element: D,
) -> Result<(), D::Error> {
    if ObjectSeed(object).deserialize(element)? {
        Ok(())
    } else {
        Err(D::Error::custom(format_args!("expected {} object, found null", O::NAME)))
    }
}

/// A member's name.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor<'de>(PhantomData<&'de ()>);

        impl<'de> Visitor<'de> for NameVisitor<'de> {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.into())))
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
        }

        deserializer.deserialize_str(NameVisitor(PhantomData))
    }
}

/// Anything that is neither object nor array.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'de> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'de, str>),
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor<'de>(PhantomData<&'de ()>);

        impl<'de> Visitor<'de> for ScalarVisitor<'de> {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a truth value")
            }

            fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Unsigned(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Signed(value))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Float(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Owned(text.into())))
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }
        }

        deserializer.deserialize_any(ScalarVisitor(PhantomData))
    }
}

/// Each gives `None` for `null`, and an error that names the member for a form it cannot have.
impl<'de> Scalar<'de> {
    pub(super) fn text<E: Error>(self, name: &str) -> Result<Option<Cow<'de, str>>, E> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            _ => Err(wrong(name, "a text")),
        }
    }

    pub(super) fn bool<E: Error>(self, name: &str) -> Result<Option<bool>, E> {
        match self {
            Self::Null => Ok(None),
            Self::Bool(value) => Ok(Some(value)),
            _ => Err(wrong(name, "true or false")),
        }
    }

    /// An integer, as number or text; also one written as 1e3 or 1.0, as protobuf's JSON allows.
    fn integer<E: Error>(self, name: &str) -> Result<Option<i128>, E> {
        let integer = match self {
            Self::Null => return Ok(None),
            Self::Unsigned(value) => Some(i128::from(value)),
            Self::Signed(value) => Some(i128::from(value)),
            Self::Float(value) => whole(value),
            Self::Text(text) => match text.parse::<i128>() {
                Ok(value) if !text.starts_with('+') => Some(value),
                _ => decimal(&text).and_then(whole),
            },
            Self::Bool(_) => None,
        };
        integer.map(Some).ok_or_else(|| wrong(name, "an integer"))
    }

    pub(super) fn u64<E: Error>(self, name: &str) -> Result<Option<u64>, E> {
        self.integer(name)?.map(u64::try_from).transpose().map_err(|_| wrong(name, "from 0 to 2^64 - 1"))
    }

    pub(super) fn i64<E: Error>(self, name: &str) -> Result<Option<i64>, E> {
        self.integer(name)?.map(i64::try_from).transpose().map_err(|_| wrong(name, "a 64-bit integer"))
    }

    pub(super) fn u32<E: Error>(self, name: &str) -> Result<Option<u32>, E> {
        self.integer(name)?.map(u32::try_from).transpose().map_err(|_| wrong(name, "from 0 to 2^32 - 1"))
    }

    /// An enum's value: a number, never a text.
    pub(super) fn enumeration<E: Error>(self, name: &str) -> Result<Option<i32>, E> {
        if matches!(self, Self::Text(_)) {
            return Err(wrong(name, "an integer: OTLP's JSON has no names of enum values"));
        }
        self.integer(name)?.map(i32::try_from).transpose().map_err(|_| wrong(name, "a 32-bit integer"))
    }

    pub(super) fn double<E: Error>(self, name: &str) -> Result<Option<f64>, E> {
        let value = match self {
            Self::Null => return Ok(None),
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Text(text) => match &*text {
                "NaN" => Some(f64::from_bits(NAN_BITS)),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                text => match text.strip_prefix("NaN:") {
                    Some(bits) => nan(bits),
                    None => decimal(text),
                },
            },
            Self::Bool(_) => None,
        };
        value.map(Some).ok_or_else(|| wrong(name, "a number that a double can hold"))
    }

    /// Base64 in either alphabet, with or without padding, as protobuf's JSON allows.
    pub(super) fn base64<E: Error>(self, name: &str) -> Result<Option<Vec<u8>>, E> {
        const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true);
        const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
        const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
        let Some(text) = self.text(name)? else { return Ok(None) };
        let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
        engine.decode(text.as_bytes()).map(Some).map_err(|_| wrong(name, "base64"))
    }
}

fn wrong<E: Error>(name: &str, expected: &str) -> E {
    E::custom(format_args!("{name:?} must be {expected}"))
}

fn whole(value: f64) -> Option<i128> {
    // Beyond 2^64 there is no field that could hold it; i128 holds all below.
    (value.fract() == 0.0 && value.abs() <= 18_446_744_073_709_551_616.0).then_some(value as i128)
}

/// A JSON number in a text. Rust also reads "inf", "nan" and "+1".
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    if !plain || text.starts_with('+') {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The bits of a NaN, as 16 hexadecimal digits.
fn nan(bits: &str) -> Option<f64> {
    let digits = bits.len() == 16 && bits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = u64::from_str_radix(bits, 16).ok().filter(|_| digits)?;
    Some(f64::from_bits(bits)).filter(|value| value.is_nan())
}

/// The bytes of hexadecimal digits in either case.
pub(super) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs
        .iter()
        .map(|[high, low]| {
            let (high, low) = (char::from(*high).to_digit(16)?, char::from(*low).to_digit(16)?);
            Some((high << 4 | low) as u8)
        })
        .collect()
}
