//! Random messages as bytes, made from a table of the fields, so that they hold what no encoder would
//! write: fields out of order, repeated ones that should not be, unknown ones, groups, long varints.

use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// From the environment, or any; printed, so that a failure can be repeated.
pub(crate) fn seeded() -> SmallRng {
    let seed = match std::env::var("TRACELAKE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("TRACELAKE_TEST_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("TRACELAKE_TEST_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Key,
    Bytes,
    Id(usize),
    Varint,
    Bool,
    Enum,
    Time,
    Fixed64,
    Fixed32,
    Message(&'static Schema, Often),
}

/// How many of a repeated message.
#[derive(Clone, Copy)]
enum Often {
    AtMostOnce,
    Repeated,
}

type Schema = &'static [(u32, Kind)];

use Kind::{Bool, Bytes, Enum, Fixed32, Fixed64, Id, Key, Message, Text, Time, Varint};
use Often::{AtMostOnce, Repeated};

static TRACES: Schema = &[(1, Message(&RESOURCE_SPANS, Repeated))];
static RESOURCE_SPANS: Schema =
    &[(1, Message(&RESOURCE, AtMostOnce)), (2, Message(&SCOPE_SPANS, Repeated)), (3, Text)];
static SCOPE_SPANS: Schema = &[(1, Message(&SCOPE, AtMostOnce)), (2, Message(&SPAN, Repeated)), (3, Text)];
static RESOURCE: Schema =
    &[(1, Message(&KEY_VALUE, Repeated)), (2, Varint), (3, Message(&ENTITY_REF, AtMostOnce))];
static ENTITY_REF: Schema = &[(1, Text), (2, Text), (3, Key), (4, Key)];
static SCOPE: Schema = &[(1, Text), (2, Text), (3, Message(&KEY_VALUE, Repeated)), (4, Varint)];
static SPAN: Schema = &[
    (1, Id(16)),
    (2, Id(8)),
    (3, Text),
    (4, Id(8)),
    (5, Key),
    (6, Enum),
    (7, Time),
    (8, Time),
    (9, Message(&KEY_VALUE, Repeated)),
    (10, Varint),
    (11, Message(&EVENT, AtMostOnce)),
    (12, Varint),
    (13, Message(&LINK, AtMostOnce)),
    (14, Varint),
    (15, Message(&STATUS, AtMostOnce)),
    (16, Fixed32),
];
static EVENT: Schema = &[(1, Fixed64), (2, Key), (3, Message(&KEY_VALUE, Repeated)), (4, Varint)];
static LINK: Schema =
    &[(1, Id(16)), (2, Id(8)), (3, Text), (4, Message(&KEY_VALUE, Repeated)), (5, Varint), (6, Fixed32)];
static STATUS: Schema = &[(2, Text), (3, Enum)];
static KEY_VALUE: Schema = &[(1, Key), (2, Message(&ANY_VALUE, AtMostOnce)), (3, Varint)];
static ANY_VALUE: Schema = &[
    (1, Text),
    (2, Bool),
    (3, Varint),
    (4, Fixed64),
    (5, Message(&ARRAY, AtMostOnce)),
    (6, Message(&MAP, AtMostOnce)),
    (7, Bytes),
    (8, Varint),
];
static ARRAY: Schema = &[(1, Message(&ANY_VALUE, Repeated))];
static MAP: Schema = &[(1, Message(&KEY_VALUE, Repeated))];

/// How odd the messages are.
#[derive(Clone, Copy)]
pub(crate) struct Oddity {
    /// Of a singular field to occur twice.
    pub(crate) repeat: f64,
    /// Of a message to have its fields shuffled.
    pub(crate) shuffle: f64,
    /// Of a message to have an unknown field.
    pub(crate) unknown: f64,
    /// Of a number to be written longer than needed.
    pub(crate) long_varint: f64,
    /// Of an ID to be of a wrong length, or zero; of a time to be out of range.
    pub(crate) invalid: f64,
}

impl Oddity {
    /// As encoders write.
    pub(crate) const NONE: Self =
        Self { repeat: 0.0, shuffle: 0.0, unknown: 0.0, long_varint: 0.0, invalid: 0.0 };
    /// Valid, but as no encoder writes.
    pub(crate) const MUCH: Self =
        Self { repeat: 0.15, shuffle: 0.3, unknown: 0.15, long_varint: 0.1, invalid: 0.05 };
}

/// A random `TracesData`.
pub(crate) fn traces(rng: &mut SmallRng, oddity: Oddity) -> Vec<u8> {
    let mut generator = Generator { rng, oddity, messages_left: 400 };
    generator.message(&TRACES, 0)
}

struct Generator<'r> {
    rng: &'r mut SmallRng,
    oddity: Oddity,
    /// Keeps messages from growing without end.
    messages_left: usize,
}

impl Generator<'_> {
    fn message(&mut self, schema: &'static Schema, depth: usize) -> Vec<u8> {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        // A value has one of its fields, or none; two when it is odd.
        let chosen: Vec<(u32, Kind)> = if std::ptr::eq(schema, &ANY_VALUE) {
            let count = if self.rng.random_bool(0.9) { 1 } else { 0 };
            let more = usize::from(self.rng.random_bool(self.oddity.repeat));
            (0..count + more).filter_map(|_| schema.choose(self.rng).copied()).collect()
        } else {
            schema.to_vec()
        };
        for (number, kind) in chosen {
            let count = match kind {
                Message(&_, Repeated) => self.rng.random_range(0..4),
                Id(_) => 1,
                _ => usize::from(self.rng.random_bool(0.7)),
            };
            let count = count + usize::from(self.rng.random_bool(self.oddity.repeat));
            for _ in 0..count {
                if self.messages_left > 0 || !matches!(kind, Message(..)) {
                    fields.push(self.field(number, kind, depth));
                }
            }
        }
        if self.rng.random_bool(self.oddity.unknown) {
            let at = self.rng.random_range(0..=fields.len());
            let unknown = self.unknown(0);
            fields.insert(at, unknown);
        }
        if self.rng.random_bool(self.oddity.shuffle) {
            fields.shuffle(self.rng);
        }
        fields.concat()
    }

    fn field(&mut self, number: u32, kind: Kind, depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let wire_type = match kind {
            Varint | Bool | Enum => 0,
            Time | Fixed64 => 1,
            Text | Key | Bytes | Id(_) | Message(..) => 2,
            Fixed32 => 5,
        };
        self.varint(&mut out, u64::from(number << 3 | wire_type));
        match kind {
            Varint => {
                let bits = self.rng.random_range(0..64);
                let value = self.rng.random::<u64>() >> bits;
                self.varint(&mut out, value);
            }
            Bool => {
                let value = self.rng.random_range(0..3);
                self.varint(&mut out, value);
            }
            Enum => {
                let value =
                    if self.rng.random_bool(0.9) { self.rng.random_range(0..6) } else { self.rng.random() };
                self.varint(&mut out, value);
            }
            Time => {
                let mut value = self.rng.random::<u64>() >> 1;
                if self.rng.random_bool(self.oddity.invalid) {
                    value |= 1 << 63;
                }
                out.extend_from_slice(&value.to_le_bytes());
            }
            Fixed64 => {
                let value = [
                    self.rng.random(),
                    0,
                    1 << 63,
                    0x7ff8_0000_0000_0000,
                    0x7ff8_0000_0000_0001,
                    0xfff8_0000_0000_0000,
                    0x7ff0_0000_0000_0001,
                    0x7ff0_0000_0000_0000,
                    0xfff0_0000_0000_0000,
                    1.5_f64.to_bits(),
                ];
                let value = value[self.rng.random_range(0..value.len())];
                out.extend_from_slice(&u64::to_le_bytes(value));
            }
            Fixed32 => out.extend_from_slice(&self.rng.random::<u32>().to_le_bytes()),
            Text => {
                let text = self.text();
                self.bytes(&mut out, text.as_bytes());
            }
            Key => {
                const KEYS: [&str; 6] = ["", "http.method", "url.path", "k", "clé", "service.name"];
                let key = KEYS[self.rng.random_range(0..KEYS.len())];
                self.bytes(&mut out, key.as_bytes());
            }
            Bytes => {
                let len = self.rng.random_range(0..200);
                let bytes: Vec<u8> = (0..len).map(|_| self.rng.random()).collect();
                self.bytes(&mut out, &bytes);
            }
            Id(len) => {
                let mut id: Vec<u8> = (0..len).map(|_| self.rng.random()).collect();
                if self.rng.random_bool(self.oddity.invalid) {
                    match self.rng.random_range(0..3) {
                        0 => id.fill(0),
                        1 => id.truncate(self.rng.random_range(0..len)),
                        _ => id.push(1),
                    }
                }
                self.bytes(&mut out, &id);
            }
            Message(schema, _) => {
                self.messages_left = self.messages_left.saturating_sub(1);
                let message = if depth > 12 { Vec::new() } else { self.message(schema, depth + 1) };
                self.bytes(&mut out, &message);
            }
        }
        out
    }

    fn text(&mut self) -> String {
        const CHARS: [char; 12] =
            ['a', 'b', ' ', '"', '\\', '\n', '\u{1}', '\u{7f}', 'é', '漢', '😀', '\u{2028}'];
        let len = if self.rng.random_bool(0.1) { 200 } else { 12 };
        let len = self.rng.random_range(0..len);
        (0..len).map(|_| CHARS[self.rng.random_range(0..CHARS.len())]).collect()
    }

    /// A field that no message knows, perhaps a group with others in it.
    fn unknown(&mut self, depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let number: u32 = self.rng.random_range(17..0x1fff_ffff);
        let number = if self.rng.random_bool(0.8) { 17 + number % 100 } else { number };
        let wire_type = [0, 1, 2, 3, 5][self.rng.random_range(0..5)];
        self.varint(&mut out, u64::from(number << 3 | wire_type));
        match wire_type {
            0 => {
                let value = self.rng.random();
                self.varint(&mut out, value);
            }
            1 => out.extend_from_slice(&[0xff; 8]),
            2 => {
                let bytes = [0xff; 40];
                let len = self.rng.random_range(0..bytes.len());
                self.bytes(&mut out, &bytes[..len]);
            }
            5 => out.extend_from_slice(&[0xff; 4]),
            _ => {
                for _ in 0..self.rng.random_range(0..3) {
                    if depth < 4 {
                        let inner = self.unknown(depth + 1);
                        out.extend_from_slice(&inner);
                    }
                }
                self.varint(&mut out, u64::from(number << 3 | 4));
            }
        }
        out
    }

    fn bytes(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        self.varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    fn varint(&mut self, out: &mut Vec<u8>, mut value: u64) {
        let mut len = 1;
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
            len += 1;
        }
        if len < 10 && self.rng.random_bool(self.oddity.long_varint) {
            out.push(value as u8 | 0x80);
            out.push(0);
        } else {
            out.push(value as u8);
        }
    }
}

/// Bytes that were once valid.
pub(crate) fn mutated(rng: &mut SmallRng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..8) {
            0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = rng.random(),
            3 => bytes.truncate(at),
            4 => bytes.insert(at, rng.random()),
            5 => drop(bytes.remove(at)),
            6 => {
                let end = rng.random_range(at..=bytes.len().min(at + 40));
                let piece = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ if other.is_empty() => {}
            _ => {
                let from = rng.random_range(0..other.len());
                let piece = &other[from..other.len().min(from + 60)];
                let end = bytes.len().min(at + piece.len());
                bytes.splice(at..end, piece.iter().copied());
            }
        }
    }
    bytes
}
