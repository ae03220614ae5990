//! The typed tree: what is asked of a span, and of a trace.

use std::fmt;

use regex::Regex;
use tracelake_model::limits;

use crate::QueryError;
use crate::field::Field;
use crate::names::{name_of, of_name};

/// What is asked of a trace: which of its spans match what, and how that is combined.
#[derive(Debug, Clone, PartialEq)]
pub enum TracePredicate {
    /// Some span satisfies the condition. Those that do are the trace's matching spans.
    AnySpan(Predicate),
    /// All of them hold, each with spans of its own.
    And(Vec<TracePredicate>),
    /// One of them holds.
    Or(Vec<TracePredicate>),
    /// It does not hold. TraceQL has no such thing; [`anywhere`](Self::anywhere) makes it.
    Not(Box<TracePredicate>),
}

/// What is asked of one span.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Of every span, or of none.
    Constant(bool),
    /// One value against another. False if one of them is absent; of types that do not compare only `!=` is true.
    Compare {
        /// What stands to the left.
        left: Operand,
        /// How.
        comparison: Comparison,
        /// What stands to the right.
        right: Operand,
    },
    /// A text matches, or does not. Both are false if it is absent, or no text.
    Match {
        /// What is matched.
        field: Field,
        /// With what.
        pattern: Pattern,
        /// Whether it must not.
        negated: bool,
    },
    /// There is a value, whatever it is.
    Exists(Field),
    /// There is none. Of an event or a link, the one that other conditions are of has none, which `Not` of `Exists`
    /// would say of all.
    Absent(Field),
    /// All of them hold.
    And(Vec<Predicate>),
    /// One of them holds.
    Or(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// What the span has.
    Field(Field),
    /// What the query says.
    Literal(Literal),
    /// What follows from two numbers.
    Arithmetic {
        /// To the left.
        left: Box<Operand>,
        /// How.
        operation: Arithmetic,
        /// To the right.
        right: Box<Operand>,
    },
    /// A number with the other sign.
    Negated(Box<Operand>),
}

/// How a number follows from two. Of integers it is an integer where that is exact, else a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; by zero it is no number, which equals nothing.
    Divide,
    /// `%`, with the sign of the left side.
    Remainder,
    /// `^`
    Power,
}

/// A value that a query names.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A text.
    Text(Box<str>),
    /// An integer.
    Int(i64),
    /// A double, never a NaN.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Nanoseconds; compared as the number that it is.
    Duration(i64),
    /// A status.
    Status(Status),
    /// A kind of span.
    Kind(Kind),
}

/// A span's status, with OTLP's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nobody said.
    Unset = 0,
    /// It succeeded.
    Ok = 1,
    /// It failed.
    Error = 2,
}

/// A span's kind, with OTLP's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nobody said.
    Unspecified = 0,
    /// Within a process.
    Internal = 1,
    /// It answers.
    Server = 2,
    /// It asks.
    Client = 3,
    /// It sends to a queue.
    Producer = 4,
    /// It takes from a queue.
    Consumer = 5,
}

impl Status {
    /// All, by their words.
    const ALL: [(&str, Self); 3] = [("unset", Self::Unset), ("ok", Self::Ok), ("error", Self::Error)];

    /// The one of this word.
    pub fn of(word: &str) -> Option<Self> {
        of_name(&Self::ALL, word)
    }

    /// The one of this number; none of one that OTLP has no word for.
    pub fn of_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().map(|(_, one)| one).find(|one| *one as i32 == number)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, &self)
    }
}

impl Kind {
    /// All, by their words.
    const ALL: [(&str, Self); 6] = [
        ("unspecified", Self::Unspecified),
        ("internal", Self::Internal),
        ("server", Self::Server),
        ("client", Self::Client),
        ("producer", Self::Producer),
        ("consumer", Self::Consumer),
    ];

    /// The one of this word.
    pub fn of(word: &str) -> Option<Self> {
        of_name(&Self::ALL, word)
    }

    /// The one of this number; none of one that OTLP has no word for.
    pub fn of_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().map(|(_, one)| one).find(|one| *one as i32 == number)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, &self)
    }
}

impl Comparison {
    /// All, by their symbols.
    const ALL: [(&str, Self); 6] = [
        ("=", Self::Equal),
        ("!=", Self::NotEqual),
        (">", Self::Greater),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
    ];

    pub(crate) fn of(symbol: &str) -> Option<Self> {
        of_name(&Self::ALL, symbol)
    }

    /// What it becomes when the sides change places.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            same => same,
        }
    }
}

/// As TraceQL has them.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Self::ALL, self))
    }
}

impl Arithmetic {
    /// All, by their symbols.
    const ALL: [(&str, Self); 6] = [
        ("+", Self::Add),
        ("-", Self::Subtract),
        ("*", Self::Multiply),
        ("/", Self::Divide),
        ("%", Self::Remainder),
        ("^", Self::Power),
    ];

    pub(crate) fn of(symbol: &str) -> Option<Self> {
        of_name(&Self::ALL, symbol)
    }
}

/// As TraceQL has them.
impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Self::ALL, self))
    }
}

/// What a text is matched with, anchored at both ends.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// An expression in RE2's syntax.
    Regex {
        /// As it was written.
        source: Box<str>,
        /// Compiled, with its anchors.
        regex: Regex,
    },
    /// A text that begins so.
    Prefix(Box<str>),
    /// A text with this anywhere in it.
    Contains(Box<str>),
}

impl Pattern {
    /// An expression in RE2's syntax.
    ///
    /// # Errors
    /// If it is none, or is too large.
    pub(crate) fn regex(source: &str, bytes: std::ops::Range<usize>) -> Result<Self, QueryError> {
        // On its own first: a stray `)` must not end the group, and places are told in what was written. A comment of
        // `(?x)` ends with its line, and the group behind it.
        let escaped = with_literal_braces(source);
        let compiled = compile(&escaped).and_then(|_| {
            compile(&format!("^(?:{escaped})$")).or_else(|_| compile(&format!("^(?:{escaped}\n)$")))
        });
        match compiled {
            Ok(regex) => Ok(Self::Regex { source: source.into(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => {
                let message = "this regular expression is too large when it is compiled: repeat less in it";
                Err(QueryError::too_large(bytes, message))
            }
            Err(error) => {
                Err(QueryError::malformed(bytes, format!("this is no regular expression: {error}")))
            }
        }
    }

    /// Whether a text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Regex { regex, .. } => regex.is_match(text),
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Contains(part) => text.contains(&**part),
        }
    }
}

/// As in RE2 a `{` that begins no repetition is a character like others (`/users/{id}`); the regex crate
/// refuses it.
fn with_literal_braces(source: &str) -> String {
    let mut escaped = String::with_capacity(source.len());
    // Brackets that are open: one class may stand within another.
    let mut classes = 0usize;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let mut taken = first.len_utf8();
        match first {
            '\\' => {
                let behind = &rest[taken..];
                taken += behind.chars().next().map_or(0, char::len_utf8);
                // Braces of `\p{Greek}` and `\x{1F600}` belong to them.
                if behind.starts_with(['p', 'P', 'x', 'u', 'U']) && rest[taken..].starts_with('{') {
                    taken = rest.find('}').map_or(rest.len(), |end| end + 1);
                }
            }
            '[' => {
                classes += 1;
                taken += usize::from(rest[taken..].starts_with('^'));
                // The first in a class does not end it.
                taken += usize::from(rest[taken..].starts_with(']'));
            }
            ']' => classes = classes.saturating_sub(1),
            '{' if classes == 0 && !is_repetition(&rest[taken..]) => escaped.push('\\'),
            _ => {}
        }
        let (part, behind) = rest.split_at(taken);
        escaped.push_str(part);
        rest = behind;
    }
    escaped
}

/// Whether a `{` before this counts: `{2}`, `{2,}`, `{2,3}`.
fn is_repetition(behind: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let from = digits(behind);
    let rest = behind.get(from..).unwrap_or_default();
    let rest = rest.strip_prefix(',').map_or(rest, |to| to.get(digits(to)..).unwrap_or_default());
    from > 0 && rest.starts_with('}')
}

fn compile(source: &str) -> Result<Regex, regex::Error> {
    let bytes_max = usize::try_from(limits::QUERY_PATTERN_BYTES_MAX).unwrap_or(usize::MAX);
    regex::RegexBuilder::new(source).size_limit(bytes_max).dfa_size_limit(bytes_max).build()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Regex { source: a, .. }, Self::Regex { source: b, .. }) => a == b,
            (Self::Prefix(a), Self::Prefix(b)) | (Self::Contains(a), Self::Contains(b)) => a == b,
            _ => false,
        }
    }
}

impl Predicate {
    /// All of them; what is an `And` becomes part of it.
    pub(crate) fn all(conditions: Vec<Self>) -> Self {
        let mut all = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match condition {
                Self::And(more) => all.extend(more),
                one => all.push(one),
            }
        }
        <[Self; 1]>::try_from(all).map_or_else(Self::And, |[one]| one)
    }

    /// One of them; what is an `Or` becomes part of it.
    pub(crate) fn any(conditions: Vec<Self>) -> Self {
        let mut any = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match condition {
                Self::Or(more) => any.extend(more),
                one => any.push(one),
            }
        }
        <[Self; 1]>::try_from(any).map_or_else(Self::Or, |[one]| one)
    }

    /// Whether it asks of such a field, where no `Not` stands before it: what that asks is of all.
    pub(crate) fn asks(&self, is: fn(&Field) -> bool) -> bool {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().any(|one| one.asks(is)),
            Self::Not(_) => false,
            leaf => {
                let mut asks = false;
                leaf.fields(&mut |field| asks |= is(field));
                asks
            }
        }
    }

    /// Refuses what would have to be tried for every event with every link: a comparison of both, and an
    /// `Or` of both among conditions that are of one event or link. Its parts have been checked before.
    pub(crate) fn check_events_and_links(&self) -> Result<(), &'static str> {
        let asks_of_both = |one: &Self| one.asks(Field::is_of_event) && one.asks(Field::is_of_link);
        let is_refused = match self {
            Self::And(all) => all.iter().any(|one| matches!(one, Self::Or(_)) && asks_of_both(one)),
            Self::Or(_) | Self::Not(_) => false,
            leaf => asks_of_both(leaf),
        };
        if is_refused {
            Err("conditions on an event and on a link are combined with && alone")
        } else {
            Ok(())
        }
    }

    /// Calls for every field that it asks of, as often as it does.
    pub fn fields(&self, visit: &mut impl FnMut(&Field)) {
        match self {
            Self::Constant(_) => {}
            Self::Compare { left, right, .. } => {
                left.fields(visit);
                right.fields(visit);
            }
            Self::Match { field, .. } | Self::Exists(field) | Self::Absent(field) => visit(field),
            Self::And(all) | Self::Or(all) => all.iter().for_each(|one| one.fields(visit)),
            Self::Not(of) => of.fields(visit),
        }
    }
}

impl Operand {
    fn fields(&self, visit: &mut impl FnMut(&Field)) {
        match self {
            Self::Field(field) => visit(field),
            Self::Literal(_) => {}
            Self::Arithmetic { left, right, .. } => {
                left.fields(visit);
                right.fields(visit);
            }
            Self::Negated(of) => of.fields(visit),
        }
    }
}

impl TracePredicate {
    /// Of conditions on one span the same of any: each comparison may be satisfied by another span of the trace. What is
    /// asked of one event stays of one event, and so with links.
    #[must_use]
    pub fn anywhere(self) -> Self {
        match self {
            Self::AnySpan(predicate) => lifted(predicate),
            Self::And(all) => Self::And(all.into_iter().map(Self::anywhere).collect()),
            Self::Or(any) => Self::Or(any.into_iter().map(Self::anywhere).collect()),
            Self::Not(of) => Self::Not(Box::new(of.anywhere())),
        }
    }

    /// Calls for every field that it asks of, as often as it does.
    pub fn fields(&self, visit: &mut impl FnMut(&Field)) {
        match self {
            Self::AnySpan(predicate) => predicate.fields(visit),
            Self::And(all) | Self::Or(all) => all.iter().for_each(|one| one.fields(visit)),
            Self::Not(of) => of.fields(visit),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            one => Self::And(vec![one, other]),
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut all) => {
                all.push(other);
                Self::Or(all)
            }
            one => Self::Or(vec![one, other]),
        }
    }
}

/// What `&&` combines, at whatever depth.
fn flat(predicate: Predicate) -> Vec<Predicate> {
    match predicate {
        Predicate::And(all) => all.into_iter().flat_map(flat).collect(),
        one => vec![one],
    }
}

/// Conditions on one and the same; one alone may be taken apart.
fn together(mut all: Vec<Predicate>) -> Option<TracePredicate> {
    match all.len() {
        0 | 1 => all.pop().map(lifted),
        _ => Some(TracePredicate::AnySpan(Predicate::And(all))),
    }
}

fn lifted(predicate: Predicate) -> TracePredicate {
    match predicate {
        Predicate::And(all) => {
            let (mut each, mut of_event, mut of_link) = (Vec::new(), Vec::new(), Vec::new());
            for one in all.into_iter().flat_map(flat) {
                if one.asks(Field::is_of_event) {
                    of_event.push(one);
                } else if one.asks(Field::is_of_link) {
                    of_link.push(one);
                } else {
                    each.push(lifted(one));
                }
            }
            each.extend([of_event, of_link].into_iter().filter_map(together));
            TracePredicate::And(each)
        }
        Predicate::Or(any) => TracePredicate::Or(any.into_iter().map(lifted).collect()),
        Predicate::Not(of) => TracePredicate::Not(Box::new(lifted(*of))),
        leaf => TracePredicate::AnySpan(leaf),
    }
}
