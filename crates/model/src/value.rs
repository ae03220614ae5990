//! Attribute values with their types: owned ([`Value`]) where they are rare or shared, borrowed
//! from a batch ([`ValueRef`]) where there are many.
//!
//! Equality here is equality of bits: −0.0 is not 0.0, and a NaN equals the same NaN.

/// An attribute's value, owned.
#[derive(Debug, Clone)]
pub enum Value {
    /// A key whose value was not set.
    Empty,
    /// UTF-8 text.
    Text(Box<str>),
    /// A truth value.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float, every bit of it kept.
    Double(f64),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// Values of any types.
    Array(Vec<Value>),
    /// Keys and values in their order; a key may occur more than once.
    Map(Vec<KeyValue>),
}

/// An attribute, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key; may be empty, may repeat among its siblings.
    pub key: Box<str>,
    /// The value.
    pub value: Value,
}

/// An attribute's value, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// A key whose value was not set.
    Empty,
    /// UTF-8 text.
    Text(&'a str),
    /// A truth value.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Always [`Value::Array`] or [`Value::Map`].
    Nested(&'a Value),
}

impl Value {
    /// The same value, borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Empty => ValueRef::Empty,
            Self::Text(text) => ValueRef::Text(text),
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Double(value) => ValueRef::Double(*value),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
            Self::Array(_) | Self::Map(_) => ValueRef::Nested(self),
        }
    }

    /// Bytes on the heap, this value's own included, for accounting.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Empty | Self::Bool(_) | Self::Int(_) | Self::Double(_) => 0,
                Self::Text(text) => text.len(),
                Self::Bytes(bytes) => bytes.len(),
                Self::Array(values) => values.iter().map(Self::heap_bytes).sum(),
                Self::Map(entries) => entries.iter().map(KeyValue::heap_bytes).sum(),
            }
    }
}

impl KeyValue {
    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Box<str>>() + self.key.len() + self.value.heap_bytes()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Array(_) | Self::Map(_), _) | (_, Self::Array(_) | Self::Map(_)) => false,
            _ => self.as_ref() == other.as_ref(),
        }
    }
}

impl Eq for Value {}

impl PartialEq for ValueRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Empty, Self::Empty) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Nested(a), Self::Nested(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for ValueRef<'_> {}

impl ValueRef<'_> {
    /// The same value, owned.
    pub fn to_value(self) -> Value {
        match self {
            Self::Empty => Value::Empty,
            Self::Text(text) => Value::Text(text.into()),
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Double(value) => Value::Double(value),
            Self::Bytes(bytes) => Value::Bytes(bytes.into()),
            Self::Nested(value) => value.clone(),
        }
    }
}
