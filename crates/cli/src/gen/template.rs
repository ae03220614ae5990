//! Spans with holes. An operation's span is encoded once, when the workload is set up; what changes
//! from span to span has a fixed width, so that writing a span is copying with a few holes filled,
//! and no length has to be worked out twice.

use super::draw::{Draws, TraceContext, put_decimal, put_hex};
use super::shop::{Attribute, Value};
use super::wire::{AnyValue, bytes_field_len, put_bytes, put_key_value, put_len, put_varint, varint_len};

/// Encoded bytes that templates refer to.
#[derive(Debug, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
}

/// A range of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    from: u32,
    to: u32,
}

/// Name, kind and attributes of an operation's spans.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Fixed(Range),
    User,
    Session,
    Product,
    Order,
    Ip,
    Item,
    Hex,
    Digits,
    /// A varint of so many bytes, from the first number on.
    Between {
        least: u64,
        count: u32,
        len: usize,
    },
    Cents {
        least: u32,
        count: u32,
    },
    Percent(u8),
    OneOf(Vec<Range>),
    Outcome {
        success: Range,
        failure: Range,
    },
}

/// What `{hex}` is replaced by: 8 digits.
const HEX_LEN: usize = 8;
/// What `{digits}` is replaced by.
const DIGITS_LEN: usize = 5;

impl Arena {
    pub(super) fn add(&mut self, bytes: &[u8]) -> Range {
        let from = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Range { from, to: self.bytes.len() as u32 }
    }

    #[inline]
    pub(super) fn get(&self, range: Range) -> &[u8] {
        &self.bytes[range.from as usize..range.to as usize]
    }
}

/// Puts a template together.
#[derive(Debug)]
pub(super) struct TemplateBuilder<'a> {
    arena: &'a mut Arena,
    pieces: Vec<Piece>,
    fixed: Vec<u8>,
}

impl<'a> TemplateBuilder<'a> {
    /// A span with this name and kind (OTLP's `SpanKind`).
    pub(super) fn new(arena: &'a mut Arena, name: &str, kind: u8) -> Self {
        let mut fixed = Vec::with_capacity(512);
        put_bytes(&mut fixed, 5, name.as_bytes());
        fixed.extend_from_slice(&[0x30, kind]);
        Self { arena, pieces: Vec::new(), fixed }
    }

    fn hole(&mut self, piece: Piece) {
        if !self.fixed.is_empty() {
            let range = self.arena.add(&self.fixed);
            self.pieces.push(Piece::Fixed(range));
            self.fixed.clear();
        }
        self.pieces.push(piece);
    }

    fn attribute_range(&mut self, key: &str, value: AnyValue<'_>) -> Range {
        let mut encoded = Vec::new();
        put_key_value(&mut encoded, 9, key, value);
        self.arena.add(&encoded)
    }

    /// The start of an attribute whose `AnyValue` takes `any_len` bytes that follow.
    fn attribute_head(&mut self, key: &str, any_len: usize) {
        put_len(&mut self.fixed, 9, bytes_field_len(key.len()) + bytes_field_len(any_len));
        put_bytes(&mut self.fixed, 1, key.as_bytes());
        put_len(&mut self.fixed, 2, any_len);
    }

    pub(super) fn attributes(mut self, attributes: &[Attribute]) -> Self {
        for (key, value) in attributes {
            self = self.attribute(key, *value);
        }
        self
    }

    pub(super) fn attribute(mut self, key: &str, value: Value) -> Self {
        match value {
            Value::Text(text) => self.text(key, text),
            Value::Int(value) => put_key_value(&mut self.fixed, 9, key, AnyValue::Int(value)),
            Value::OneOf(texts) => {
                let ranges =
                    texts.iter().map(|text| self.attribute_range(key, AnyValue::Text(text))).collect();
                self.hole(Piece::OneOf(ranges));
            }
            Value::Outcome(success, failure) => {
                let success = self.attribute_range(key, AnyValue::Int(success));
                let failure = self.attribute_range(key, AnyValue::Int(failure));
                self.hole(Piece::Outcome { success, failure });
            }
            Value::Between(least, most) => {
                let most = most.max(0) as u64;
                let len = varint_len(most);
                let least = (least.max(0) as u64).max(if len == 1 { 0 } else { 1 << (7 * (len - 1)) });
                self.attribute_head(key, 1 + len);
                self.fixed.push(0x18);
                self.hole(Piece::Between { least, count: (most - least + 1) as u32, len });
            }
            Value::Cents(least, most) => {
                self.attribute_head(key, 9);
                self.fixed.push(0x21);
                self.hole(Piece::Cents { least, count: most - least + 1 });
            }
            Value::Percent(percent) => {
                self.attribute_head(key, 2);
                self.fixed.push(0x10);
                self.hole(Piece::Percent(percent));
            }
        }
        self
    }

    /// An attribute that is one of `texts`, which need not live as long as the shop's own.
    pub(super) fn one_of(mut self, key: &str, texts: &[String]) -> Self {
        let ranges = texts.iter().map(|text| self.attribute_range(key, AnyValue::Text(text))).collect();
        self.hole(Piece::OneOf(ranges));
        self
    }

    fn text(&mut self, key: &str, text: &str) {
        let parts = parts(text);
        let len = parts.iter().map(Part::len).sum();
        self.attribute_head(key, bytes_field_len(len));
        put_len(&mut self.fixed, 1, len);
        for part in parts {
            match part {
                Part::Text(text) => self.fixed.extend_from_slice(text.as_bytes()),
                Part::Hole(piece, _) => self.hole(piece),
            }
        }
    }

    pub(super) fn finish(mut self) -> Template {
        if !self.fixed.is_empty() {
            let range = self.arena.add(&self.fixed);
            self.pieces.push(Piece::Fixed(range));
        }
        Template { pieces: self.pieces }
    }
}

enum Part<'a> {
    Text(&'a str),
    Hole(Piece, usize),
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Hole(_, len) => *len,
        }
    }
}

/// `text` cut at its `{…}`; braces around anything else are text.
fn parts(text: &str) -> Vec<Part<'_>> {
    const NAMES: &[&str] =
        &["{user}", "{session}", "{product}", "{order}", "{ip}", "{item}", "{hex}", "{digits}"];
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((at, name)) =
        NAMES.iter().filter_map(|name| rest.find(name).map(|at| (at, *name))).min_by_key(|(at, _)| *at)
    {
        if at > 0 {
            parts.push(Part::Text(&rest[..at]));
        }
        let (piece, len) = match name {
            "{user}" => (Piece::User, 12),
            "{session}" => (Piece::Session, 16),
            "{product}" => (Piece::Product, 10),
            "{order}" => (Piece::Order, 20),
            "{ip}" => (Piece::Ip, 15),
            "{item}" => (Piece::Item, 10),
            "{hex}" => (Piece::Hex, HEX_LEN),
            _ => (Piece::Digits, DIGITS_LEN),
        };
        parts.push(Part::Hole(piece, len));
        rest = &rest[at + name.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

impl Template {
    /// Appends name, kind and attributes, with the holes filled.
    #[inline]
    pub(super) fn put(
        &self,
        into: &mut Vec<u8>,
        arena: &Arena,
        trace: &TraceContext,
        draws: &mut Draws,
        failed: bool,
    ) {
        for piece in &self.pieces {
            match piece {
                Piece::Fixed(range) => into.extend_from_slice(arena.get(*range)),
                Piece::User => into.extend_from_slice(&trace.user),
                Piece::Session => into.extend_from_slice(&trace.session),
                Piece::Product => into.extend_from_slice(&trace.product),
                Piece::Order => into.extend_from_slice(&trace.order),
                Piece::Ip => into.extend_from_slice(&trace.ip),
                Piece::Item => into.extend_from_slice(&draws.product()),
                Piece::Hex => {
                    let mut digits = [0; HEX_LEN];
                    put_hex(&mut digits, draws.bits());
                    into.extend_from_slice(&digits);
                }
                Piece::Digits => {
                    let mut digits = [0; DIGITS_LEN];
                    put_decimal(&mut digits, draws.bits() >> 32);
                    into.extend_from_slice(&digits);
                }
                Piece::Between { least, count, len } => {
                    let value = least + u64::from(draws.below(*count));
                    if *len == 1 {
                        into.push(value as u8);
                    } else {
                        put_varint(into, value);
                    }
                }
                Piece::Cents { least, count } => {
                    let cents = least + draws.below(*count);
                    into.extend_from_slice(&(f64::from(cents) / 100.0).to_le_bytes());
                }
                Piece::Percent(percent) => into.push(u8::from(draws.percent(*percent))),
                Piece::OneOf(ranges) => {
                    // The smaller of two: the first is drawn most often, the last least.
                    let bits = draws.bits();
                    let count = ranges.len() as u64;
                    let first = ((bits & 0xffff_ffff) * count) >> 32;
                    let second = ((bits >> 32) * count) >> 32;
                    into.extend_from_slice(arena.get(ranges[first.min(second) as usize]));
                }
                Piece::Outcome { success, failure } => {
                    into.extend_from_slice(arena.get(if failed { *failure } else { *success }));
                }
            }
        }
    }
}
