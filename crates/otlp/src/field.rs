//! Keys of the fields that are read and written: number and wire type as they stand on the wire, from
//! opentelemetry-proto 1.11 (`trace/v1`, `resource/v1`, `common/v1`).
//!
//! `…_LAST` is a message's highest known field number: numbers up to it are known (but for those that
//! their message skips), and a known field of another wire type is an error.

const fn varint(number: u32) -> u32 {
    number << 3
}

const fn fixed64(number: u32) -> u32 {
    number << 3 | 1
}

const fn delimited(number: u32) -> u32 {
    number << 3 | 2
}

const fn fixed32(number: u32) -> u32 {
    number << 3 | 5
}

macro_rules! keys {
    ($($message:ident { $($name:ident = $kind:ident $number:literal),* $(,)? })*) => {
        $(pub(crate) mod $message {
            $(pub(crate) const $name: u32 = super::$kind($number);)*
        })*
    };
}

keys! {
    traces { RESOURCE_SPANS = delimited 1 }
    resource_spans { RESOURCE = delimited 1, SCOPE_SPANS = delimited 2, SCHEMA_URL = delimited 3 }
    scope_spans { SCOPE = delimited 1, SPANS = delimited 2, SCHEMA_URL = delimited 3 }
    resource { ATTRIBUTES = delimited 1, DROPPED_ATTRIBUTES = varint 2, ENTITY_REFS = delimited 3 }
    entity_ref { SCHEMA_URL = delimited 1, KIND = delimited 2, ID_KEYS = delimited 3, DESCRIPTION_KEYS = delimited 4 }
    scope { NAME = delimited 1, VERSION = delimited 2, ATTRIBUTES = delimited 3, DROPPED_ATTRIBUTES = varint 4 }
    span {
        TRACE_ID = delimited 1, SPAN_ID = delimited 2, TRACE_STATE = delimited 3, PARENT_SPAN_ID = delimited 4,
        NAME = delimited 5, KIND = varint 6, START = fixed64 7, END = fixed64 8, ATTRIBUTES = delimited 9,
        DROPPED_ATTRIBUTES = varint 10, EVENTS = delimited 11, DROPPED_EVENTS = varint 12,
        LINKS = delimited 13, DROPPED_LINKS = varint 14, STATUS = delimited 15, FLAGS = fixed32 16,
    }
    event { TIME = fixed64 1, NAME = delimited 2, ATTRIBUTES = delimited 3, DROPPED_ATTRIBUTES = varint 4 }
    link {
        TRACE_ID = delimited 1, SPAN_ID = delimited 2, TRACE_STATE = delimited 3, ATTRIBUTES = delimited 4,
        DROPPED_ATTRIBUTES = varint 5, FLAGS = fixed32 6,
    }
    status { MESSAGE = delimited 2, CODE = varint 3 }
    key_value { KEY = delimited 1, VALUE = delimited 2, KEY_STRINDEX = varint 3 }
    any_value {
        TEXT = delimited 1, BOOL = varint 2, INT = varint 3, DOUBLE = fixed64 4, ARRAY = delimited 5,
        MAP = delimited 6, BYTES = delimited 7, TEXT_STRINDEX = varint 8,
    }
    array { VALUES = delimited 1 }
    map { VALUES = delimited 1 }
}
