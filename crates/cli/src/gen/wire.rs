//! Writing protobuf by hand: the few shapes of OTLP that the workload has. Lengths are exact and
//! varints minimal, as every other encoder writes them.

/// How many bytes `value` takes in base 128.
pub(super) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// `value` in base 128.
pub(super) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Length-delimited field `number`.
pub(super) fn put_bytes(into: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_len(into, number, bytes.len());
    into.extend_from_slice(bytes);
}

/// What stands before the `len` bytes of length-delimited field `number`.
pub(super) fn put_len(into: &mut Vec<u8>, number: u32, len: usize) {
    put_varint(into, u64::from(number) << 3 | 2);
    put_varint(into, len as u64);
}

/// How many bytes [`put_bytes`] writes for a field number below 16.
pub(super) fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// An `AnyValue`, encoded.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnyValue<'a> {
    Text(&'a str),
    Int(i64),
    Double(f64),
    Bool(bool),
    Bytes(&'a [u8]),
    Texts(&'a [&'a str]),
    Map(&'a [(&'a str, AnyValue<'a>)]),
}

impl AnyValue<'_> {
    fn put(self, into: &mut Vec<u8>) {
        match self {
            Self::Text(text) => put_bytes(into, 1, text.as_bytes()),
            Self::Bool(value) => into.extend_from_slice(&[0x10, u8::from(value)]),
            Self::Int(value) => {
                into.push(0x18);
                put_varint(into, value as u64);
            }
            Self::Double(value) => {
                into.push(0x21);
                into.extend_from_slice(&value.to_le_bytes());
            }
            Self::Texts(texts) => {
                let mut array = Vec::new();
                for text in texts {
                    let mut element = Vec::new();
                    Self::Text(text).put(&mut element);
                    put_bytes(&mut array, 1, &element);
                }
                put_bytes(into, 5, &array);
            }
            Self::Map(entries) => {
                let mut map = Vec::new();
                for (key, value) in entries {
                    put_key_value(&mut map, 1, key, *value);
                }
                put_bytes(into, 6, &map);
            }
            Self::Bytes(bytes) => put_bytes(into, 7, bytes),
        }
    }
}

/// A `KeyValue` as field `number`.
pub(super) fn put_key_value(into: &mut Vec<u8>, number: u32, key: &str, value: AnyValue<'_>) {
    let mut any = Vec::with_capacity(64);
    value.put(&mut any);
    put_len(into, number, bytes_field_len(key.len()) + bytes_field_len(any.len()));
    put_bytes(into, 1, key.as_bytes());
    put_bytes(into, 2, &any);
}
