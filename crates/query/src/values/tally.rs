//! How many traces have what, in one source or in several, within a bound. It decides no order.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use tracelake_model::limits;
use tracelake_store::format::segment::FieldScope;

use super::answer::TypedValue;

/// What is longer is not listed: an index has not it either, and nobody chooses it from a list.
const TEXT_BYTES_MAX: usize = limits::INDEX_TEXT_BYTES_MAX as usize;

/// The same of keys.
const KEY_BYTES_MAX: usize = 256;

/// A value as it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'v> {
    Text(&'v str),
    /// Never a NaN.
    Number(f64),
    Bool(bool),
}

/// The types of a key's values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ValueTypes {
    /// There is a text.
    pub texts: bool,
    /// There is an integer or a float.
    pub numbers: bool,
    /// There is a truth value.
    pub bools: bool,
}

impl ValueTypes {
    pub(super) fn add(&mut self, value: Scalar<'_>) {
        match value {
            Scalar::Text(_) => self.texts = true,
            Scalar::Number(_) => self.numbers = true,
            Scalar::Bool(_) => self.bools = true,
        }
    }

    fn or(&mut self, other: Self) {
        self.texts |= other.texts;
        self.numbers |= other.numbers;
        self.bools |= other.bools;
    }
}

/// Who has something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    /// So many traces.
    Traces(u64),
    /// A trace of a source that is gone through trace by trace, by its number from 1; and where it has it.
    In { trace: u32, scope: FieldScope },
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    traces: u64,
    types: ValueTypes,
    /// The trace that was counted last, and the scopes in which it was.
    newest: u32,
    scopes: u8,
}

impl Count {
    fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Traces(traces) => self.traces += traces,
            Seen::In { trace, scope } => {
                if self.newest != trace {
                    self.newest = trace;
                    self.scopes = 0;
                }
                let scope = 1u8 << scope as u8;
                self.traces += u64::from(self.scopes & scope == 0);
                self.scopes |= scope;
            }
        }
    }
}

/// For how much more there is room.
#[derive(Debug, Clone)]
struct Room {
    left: usize,
    is_over: bool,
}

impl Room {
    fn take(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.is_over |= left.is_none();
        self.left = left.unwrap_or_default();
        left.is_some()
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    texts: HashMap<Box<str>, Count>,
    /// By their bits, with one zero.
    numbers: HashMap<u64, Count>,
    bools: [Count; 2],
    /// By scope.
    keys: [HashMap<Box<str>, Count>; FieldScope::ALL.len()],
    /// Hashes of texts that are too long to be listed.
    long: HashSet<u64>,
    /// Values of which an index has hashes alone.
    hashed: u64,
    room: Room,
    lacks_fields: bool,
}

impl Tally {
    /// With nothing in it.
    pub(super) fn new() -> Self {
        let left = usize::try_from(limits::VALUES_FOUND_MAX).unwrap_or(usize::MAX);
        Self {
            texts: HashMap::new(),
            numbers: HashMap::new(),
            bools: [Count::default(); 2],
            keys: Default::default(),
            long: HashSet::new(),
            hashed: 0,
            room: Room { left, is_over: false },
            lacks_fields: false,
        }
    }

    pub(super) fn add_value(&mut self, value: Scalar<'_>, seen: Seen) {
        match value {
            Scalar::Text(text) if text.len() > TEXT_BYTES_MAX => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                self.add_long(hasher.finish());
            }
            Scalar::Text(text) => {
                if let Some(count) = of_text(&mut self.texts, &mut self.room, text) {
                    count.add(seen);
                }
            }
            Scalar::Number(number) => self.add_number((number + 0.0).to_bits(), seen),
            Scalar::Bool(value) => {
                let [of_false, of_true] = &mut self.bools;
                (if value { of_true } else { of_false }).add(seen);
            }
        }
    }

    /// A key, with types of values that it has there.
    pub(super) fn add_key(&mut self, scope: FieldScope, key: &str, types: ValueTypes, seen: Seen) {
        if key.len() <= KEY_BYTES_MAX
            && let Some(keys) = self.keys.get_mut(scope as usize)
            && let Some(count) = of_text(keys, &mut self.room, key)
        {
            count.types.or(types);
            count.add(seen);
        }
    }

    /// Values that cannot be listed.
    pub(super) fn add_hashed(&mut self, values: u64) {
        self.hashed += values;
    }

    /// An index lists not all of its keys.
    pub(super) fn lack_fields(&mut self) {
        self.lacks_fields = true;
    }

    /// What another source has.
    pub(super) fn merge(&mut self, other: &Self) {
        for (text, count) in &other.texts {
            self.add_value(Scalar::Text(text), Seen::Traces(count.traces));
        }
        for (bits, count) in &other.numbers {
            self.add_number(*bits, Seen::Traces(count.traces));
        }
        for (own, count) in self.bools.iter_mut().zip(&other.bools) {
            own.add(Seen::Traces(count.traces));
        }
        for (scope, keys) in FieldScope::ALL.into_iter().zip(&other.keys) {
            for (key, count) in keys {
                self.add_key(scope, key, count.types, Seen::Traces(count.traces));
            }
        }
        other.long.iter().for_each(|hash| self.add_long(*hash));
        self.hashed += other.hashed;
        self.room.is_over |= other.room.is_over;
        self.lacks_fields |= other.lacks_fields;
    }

    fn add_number(&mut self, bits: u64, seen: Seen) {
        if self.numbers.contains_key(&bits) || self.room.take() {
            self.numbers.entry(bits).or_default().add(seen);
        }
    }

    fn add_long(&mut self, hash: u64) {
        if !self.long.contains(&hash) && self.room.take() {
            self.long.insert(hash);
        }
    }

    /// Whether there was more than there is room for.
    pub(super) fn is_over(&self) -> bool {
        self.room.is_over
    }

    /// Whether an index lists not all of its keys.
    pub(super) fn lacks_fields(&self) -> bool {
        self.lacks_fields
    }

    /// How many values cannot be listed.
    pub(super) fn unlisted_values(&self) -> u64 {
        self.hashed + self.long.len() as u64
    }

    /// The values, in no order, and how many traces have each.
    pub(super) fn values(&self) -> impl Iterator<Item = (TypedValue, u64)> {
        let texts = self.texts.iter().map(|(text, count)| (TypedValue::Text(text.clone()), count.traces));
        let numbers = self.numbers.iter();
        let numbers = numbers.map(|(bits, count)| (TypedValue::Number(f64::from_bits(*bits)), count.traces));
        let bools = [false, true].into_iter().zip(&self.bools).filter(|(_, count)| count.traces > 0);
        texts.chain(numbers).chain(bools.map(|(value, count)| (TypedValue::Bool(value), count.traces)))
    }

    /// The keys, in no order, with the types of their values, and how many traces have each.
    pub(super) fn keys(&self) -> impl Iterator<Item = (FieldScope, &str, ValueTypes, u64)> {
        let by_scope = FieldScope::ALL.into_iter().zip(&self.keys);
        by_scope.flat_map(|(scope, keys)| {
            keys.iter().map(move |(key, count)| (scope, &**key, count.types, count.traces))
        })
    }
}

/// None without room for one that is new.
fn of_text<'m>(
    counts: &'m mut HashMap<Box<str>, Count>,
    room: &mut Room,
    text: &str,
) -> Option<&'m mut Count> {
    if !counts.contains_key(text) {
        if !room.take() {
            return None;
        }
        counts.insert(text.into(), Count::default());
    }
    counts.get_mut(text)
}
