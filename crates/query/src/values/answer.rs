//! What was counted as it is answered: what most traces have first, then by its text.

use std::borrow::Cow;
use std::cmp::Reverse;

use tracelake_store::format::segment::FieldScope;
use tracelake_traceql::{Kind, Status};

use super::asked::{Asked, KIND, Question, STATUS};
use super::tally::{Tally, ValueTypes};

/// A value with its type.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedValue {
    /// A text; of a kind or a status, its word.
    Text(Box<str>),
    /// An integer or a float, which are the same where they are equal. Integers beyond 2⁵³ are the nearest double.
    Number(f64),
    /// A truth value.
    Bool(bool),
}

impl TypedValue {
    /// As people type it.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        }
    }

    fn type_rank(&self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::Number(_) => 1,
            Self::Bool(_) => 2,
        }
    }
}

/// A value, and how many traces have it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedValue {
    /// The value.
    pub value: TypedValue,
    /// How many traces, in each segment that has some of their spans.
    pub traces: u64,
}

/// A key of attributes, and how many traces have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// Where it stands.
    pub scope: FieldScope,
    /// The key.
    pub key: Box<str>,
    /// The types of its values; none of bytes, maps and keys without a value.
    pub types: ValueTypes,
    /// As of a [`ListedValue`].
    pub traces: u64,
}

/// The first values, and whether there are more.
pub(super) fn values(tally: &Tally, asked: &Asked, limit: usize) -> (Vec<ListedValue>, bool) {
    let listed = tally.values().map(|(value, traces)| ListedValue { value: named(value, asked), traces });
    let mut listed: Vec<ListedValue> =
        listed.filter(|one| one.value.text().starts_with(&*asked.prefix)).collect();
    listed.sort_by_cached_key(|one| {
        (Reverse(one.traces), one.value.text().into_owned(), one.value.type_rank())
    });
    first(listed, limit)
}

/// The same of keys.
pub(super) fn keys(tally: &Tally, asked: &Asked, limit: usize) -> (Vec<ListedKey>, bool) {
    let found = tally.keys().filter(|&(scope, key, ..)| asked.lists_key(scope, key));
    let mut listed: Vec<ListedKey> = found
        .map(|(scope, key, types, traces)| ListedKey { scope, key: key.into(), types, traces })
        .collect();
    listed.sort_unstable_by(|a, b| {
        (Reverse(a.traces), &a.key, a.scope).cmp(&(Reverse(b.traces), &b.key, b.scope))
    });
    first(listed, limit)
}

fn first<T>(mut listed: Vec<T>, limit: usize) -> (Vec<T>, bool) {
    let has_more = listed.len() > limit;
    listed.truncate(limit);
    (listed, has_more)
}

/// Kinds and statuses have words. Numbers that OTLP has none for stay.
fn named(value: TypedValue, asked: &Asked) -> TypedValue {
    let Question::Values { scopes, key, .. } = &asked.question else { return value };
    let TypedValue::Number(number) = value else { return value };
    if *scopes != [FieldScope::Intrinsic] {
        return value;
    }
    // Both are 32-bit integers, which a double has exactly.
    let word = match &**key {
        KIND => Kind::of_number(number as i32).map(Kind::name),
        STATUS => Status::of_number(number as i32).map(Status::name),
        _ => None,
    };
    word.map_or(value, |word| TypedValue::Text(word.into()))
}

#[cfg(test)]
mod tests;
