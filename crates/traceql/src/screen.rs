//! A condition made ready for one batch: what is the same for many of its rows is decided once, by the evaluator's own
//! functions, so that most rows are decided by a look into a table. It gives no condition a meaning: what no table can
//! tell is left to the evaluator.

use std::collections::HashMap;

use tracelake_model::{SpanBatch, SpanView, TermId};

use crate::evaluate::{Asked, TraceFacts};
use crate::field::{AttributeScope, Field, Intrinsic};
use crate::predicate::Predicate;

/// What the tables of a condition may take for a batch: thousands of them where it has some hundred rows. What has no
/// table is left to the evaluator.
const TABLES_BYTES_MAX: usize = 1 << 20;

/// A condition on the spans of one batch.
#[derive(Debug)]
pub struct Screen<'p> {
    predicate: &'p Predicate,
    test: Test<'p>,
}

impl Predicate {
    /// The same, made ready for the spans of a batch.
    pub fn screen<'p>(&'p self, batch: &'p SpanBatch) -> Screen<'p> {
        Screen { predicate: self, test: Screening::of(batch).test(self) }
    }
}

impl Screen<'_> {
    /// Whether no span of the batch can satisfy the condition. Where one could, it may be that none does.
    pub fn is_empty(&self) -> bool {
        self.test.is(Verdict::No)
    }

    /// Whether a span of the batch satisfies the condition: what [`Predicate::matches`] says.
    #[inline]
    pub fn matches(&self, span: &SpanView<'_>, trace: &TraceFacts<'_>) -> bool {
        match self.test.verdict(span, trace) {
            Verdict::No => false,
            Verdict::Yes => true,
            Verdict::Perhaps => self.predicate.matches(span, trace),
        }
    }
}

/// What a test says of a span: a yes and a no are what the evaluator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    No,
    Perhaps,
    Yes,
}

impl Verdict {
    fn of(is_yes: bool) -> Self {
        if is_yes { Self::Yes } else { Self::No }
    }

    fn opposite(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }
}

/// A part of a condition. Conditions that `&&` combines are of one and the same event, or link: so of those a part is
/// known only where the span has none, or each would give the same answer.
#[derive(Debug)]
enum Test<'p> {
    /// The same of every span.
    Known(Verdict),
    Shared(Table),
    /// Of what a span, or its trace, has once.
    Intrinsic(Intrinsic, Asked<'p>),
    /// Of an event; it is known what follows where there is none.
    Event(bool),
    /// Of a link, likewise.
    Link(bool),
    Attribute(Attribute<'p>),
    Not(Box<Self>),
    /// One that says `decisive` decides: a no where all have to hold, a yes where one has to.
    Parts {
        decisive: bool,
        parts: Vec<Self>,
    },
}

/// What follows from what many spans share, by its number in the batch; nothing of what no span has.
#[derive(Debug)]
struct Table {
    by: Shared,
    answers: Vec<Option<bool>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    Name,
    StatusMessage,
    Resource,
    Scope,
}

/// Of an attribute: the span's own decides if it is there, then its resource's, then its scope's. One of what is asked
/// has to hold.
#[derive(Debug)]
struct Attribute<'p> {
    /// None if no span of the batch has it, or it is not looked for there.
    key: Option<TermId>,
    asked: Vec<Asked<'p>>,
    resources: Vec<Option<bool>>,
    scopes: Vec<Option<bool>>,
}

impl Test<'_> {
    fn is(&self, verdict: Verdict) -> bool {
        matches!(self, Self::Known(known) if *known == verdict)
    }

    #[inline]
    fn verdict(&self, span: &SpanView<'_>, trace: &TraceFacts<'_>) -> Verdict {
        match self {
            Self::Known(verdict) => *verdict,
            Self::Shared(table) => table.verdict(span),
            Self::Intrinsic(intrinsic, asked) => Verdict::of(asked.of_intrinsic(*intrinsic, span, trace)),
            Self::Event(of_none) if span.events().len() == 0 => Verdict::of(*of_none),
            Self::Link(of_none) if span.links().len() == 0 => Verdict::of(*of_none),
            Self::Event(_) | Self::Link(_) => Verdict::Perhaps,
            Self::Attribute(attribute) => Verdict::of(attribute.holds(span)),
            Self::Not(of) => of.verdict(span, trace).opposite(),
            Self::Parts { decisive, parts } => of_parts(*decisive, parts, span, trace),
        }
    }

    /// In which order parts are asked.
    fn cost(&self) -> u8 {
        match self {
            Self::Shared(_) => 0,
            Self::Intrinsic(..) | Self::Event(_) | Self::Link(_) => 1,
            Self::Attribute(_) => 2,
            Self::Not(_) | Self::Parts { .. } => 3,
            Self::Known(_) => 4,
        }
    }
}

fn of_parts(decisive: bool, parts: &[Test<'_>], span: &SpanView<'_>, trace: &TraceFacts<'_>) -> Verdict {
    let (decided, mut verdict) = (Verdict::of(decisive), Verdict::of(!decisive));
    for part in parts {
        match part.verdict(span, trace) {
            of_part if of_part == decided => return decided,
            Verdict::Perhaps => verdict = Verdict::Perhaps,
            _ => {}
        }
    }
    verdict
}

impl Table {
    fn verdict(&self, span: &SpanView<'_>) -> Verdict {
        let number = match self.by {
            Shared::Name => span.name_term().index(),
            Shared::StatusMessage => span.status_message_term().index(),
            Shared::Resource => span.resource_index(),
            Shared::Scope => span.scope_index(),
        };
        answer(&self.answers, number).map_or(Verdict::Perhaps, Verdict::of)
    }

    /// Both tables in one, where an answer that is `decisive` decides.
    fn add(&mut self, other: &Self, decisive: bool) {
        add_answers(&mut self.answers, &other.answers, decisive);
    }
}

impl Attribute<'_> {
    fn holds(&self, span: &SpanView<'_>) -> bool {
        let of_span =
            self.key.and_then(|key| Asked::any_of_values(&self.asked, span.attributes().values_of(key)));
        of_span
            .or_else(|| answer(&self.resources, span.resource_index()))
            .or_else(|| answer(&self.scopes, span.scope_index()))
            .unwrap_or_else(|| self.asked.iter().any(Asked::of_none))
    }

    /// Whether the other asks for further values of the same attribute, which then are looked for together.
    fn takes(&self, other: &Self) -> bool {
        let is_of_value = |one: &Self| one.asked.iter().all(Asked::is_of_value);
        self.key.is_some() && self.key == other.key && is_of_value(self) && is_of_value(other)
            // What is asked of a span alone has no tables.
            && (self.resources.len(), self.scopes.len()) == (other.resources.len(), other.scopes.len())
    }

    fn add(&mut self, other: Self) {
        self.asked.extend(other.asked);
        add_answers(&mut self.resources, &other.resources, true);
        add_answers(&mut self.scopes, &other.scopes, true);
    }
}

/// Puts answers together, of which one that is `decisive` decides.
fn add_answers(own: &mut [Option<bool>], others: &[Option<bool>], decisive: bool) {
    for (own, other) in own.iter_mut().zip(others) {
        *own = own.zip(*other).map(|(a, b)| if a == decisive { a } else { b });
    }
}

fn answer(answers: &[Option<bool>], number: usize) -> Option<bool> {
    answers.get(number).copied().flatten()
}

/// Makes the tests of one condition for one batch.
struct Screening<'p> {
    batch: &'p SpanBatch,
    /// Keys that were looked for: a condition may name one many times.
    keys: HashMap<&'p str, Option<TermId>>,
    room_bytes: usize,
}

impl<'p> Screening<'p> {
    fn of(batch: &'p SpanBatch) -> Self {
        Self { batch, keys: HashMap::new(), room_bytes: TABLES_BYTES_MAX }
    }

    fn test(&mut self, predicate: &'p Predicate) -> Test<'p> {
        match predicate {
            Predicate::Constant(value) => Test::Known(Verdict::of(*value)),
            Predicate::And(all) => self.parts(all, false),
            Predicate::Or(any) => self.parts(any, true),
            Predicate::Not(of) => match self.test(of) {
                Test::Known(verdict) => Test::Known(verdict.opposite()),
                Test::Shared(mut table) => {
                    table.answers.iter_mut().flatten().for_each(|answer| *answer = !*answer);
                    Test::Shared(table)
                }
                test => Test::Not(Box::new(test)),
            },
            leaf => match leaf.asked() {
                Some((field, asked)) => self.leaf(field, asked),
                None => Test::Known(of_both_sides(self.batch, leaf)),
            },
        }
    }

    /// Of conditions that all have to hold, or of which one has to. Those on the same that spans share become one, and
    /// so do several values of one attribute.
    fn parts(&mut self, predicates: &'p [Predicate], decisive: bool) -> Test<'p> {
        let (mut tables, mut parts) = (Vec::<Table>::new(), Vec::new());
        for predicate in predicates {
            match self.test(predicate) {
                Test::Shared(table) => {
                    self.room_bytes += table.answers.len();
                    match tables.iter_mut().find(|other| other.by == table.by) {
                        Some(other) => other.add(&table, decisive),
                        None => tables.push(table),
                    }
                }
                Test::Attribute(attribute) => {
                    let same = parts.iter_mut().find_map(|part| match part {
                        Test::Attribute(other) if decisive && other.takes(&attribute) => Some(other),
                        _ => None,
                    });
                    match same {
                        Some(other) => other.add(attribute),
                        None => parts.push(Test::Attribute(attribute)),
                    }
                }
                part => parts.push(part),
            }
        }
        parts.extend(tables.into_iter().map(|table| self.table(table.by, table.answers)));
        let (decided, other) = (Verdict::of(decisive), Verdict::of(!decisive));
        if parts.iter().any(|part| part.is(decided)) {
            return Test::Known(decided);
        }
        parts.retain(|part| !part.is(other));
        parts.sort_by_key(Test::cost);
        parts.dedup_by(|a, b| a.is(Verdict::Perhaps) && b.is(Verdict::Perhaps));
        if parts.len() < 2 {
            return parts.pop().unwrap_or(Test::Known(other));
        }
        Test::Parts { decisive, parts }
    }

    fn leaf(&mut self, field: &'p Field, asked: Asked<'p>) -> Test<'p> {
        if field.is_of_event() || field.is_of_link() {
            let of_none = asked.of_none();
            return match field {
                // What the batch has no term for is in no event and no link of it.
                Field::Attribute { key, .. } if self.key(key).is_none() => Test::Known(Verdict::of(of_none)),
                _ if field.is_of_event() => Test::Event(of_none),
                _ => Test::Link(of_none),
            };
        }
        match field {
            Field::Intrinsic(intrinsic) => self.intrinsic(*intrinsic, asked),
            Field::Attribute { scope, key } => self.attribute(*scope, key, asked),
        }
    }

    fn intrinsic(&mut self, intrinsic: Intrinsic, asked: Asked<'p>) -> Test<'p> {
        let scopes = self.batch.scopes();
        match intrinsic {
            Intrinsic::Name => self.of_terms(Shared::Name, intrinsic, &asked),
            Intrinsic::StatusMessage => self.of_terms(Shared::StatusMessage, intrinsic, &asked),
            Intrinsic::InstrumentationName => {
                let names = scopes.iter().map(|scope| Some(asked.of_own_text(intrinsic, &scope.name)));
                self.table(Shared::Scope, names.collect())
            }
            Intrinsic::InstrumentationVersion => {
                let versions = scopes.iter().map(|scope| Some(asked.of_own_text(intrinsic, &scope.version)));
                self.table(Shared::Scope, versions.collect())
            }
            _ => Test::Intrinsic(intrinsic, asked),
        }
    }

    /// Of a text that is a term of the batch.
    fn of_terms(&mut self, by: Shared, intrinsic: Intrinsic, asked: &Asked<'_>) -> Test<'p> {
        let (batch, terms) = (self.batch, self.batch.terms());
        let of_term = |term: TermId| Some(asked.of_own_text(intrinsic, terms.get(term)));
        let answers = match asked.only_text() {
            // A text is one term, and no other is equal to it: then rows are not looked at.
            Some(text) => {
                let mut answers = vec![Some(false); terms.len()];
                if let Some(term) = terms.find(text)
                    && let Some(of_text) = answers.get_mut(term.index())
                {
                    *of_text = of_term(term);
                }
                answers
            }
            None => {
                let mut answers = vec![None; terms.len()];
                for span in batch.spans() {
                    let term = match by {
                        Shared::StatusMessage => span.status_message_term(),
                        _ => span.name_term(),
                    };
                    if let Some(answer) = answers.get_mut(term.index())
                        && answer.is_none()
                    {
                        *answer = of_term(term);
                    }
                }
                answers
            }
        };
        self.table(by, answers)
    }

    fn attribute(&mut self, scope: AttributeScope, key: &'p str, asked: Asked<'p>) -> Test<'p> {
        let is_in = |one: AttributeScope| scope == AttributeScope::Any || scope == one;
        let term = if is_in(AttributeScope::Span) { self.key(key) } else { None };
        let (mut resources, mut scopes) = (Vec::<Option<bool>>::new(), Vec::<Option<bool>>::new());
        if is_in(AttributeScope::Resource) {
            let all = self.batch.resources().iter();
            resources.extend(all.map(|resource| asked.of_list(&resource.attributes, key)));
        }
        if is_in(AttributeScope::Instrumentation) {
            let all = self.batch.scopes().iter();
            scopes.extend(all.map(|scope| asked.of_list(&scope.attributes, key)));
        }
        let of_none = asked.of_none();
        let known = |answers: Vec<Option<bool>>| -> Vec<Option<bool>> {
            answers.into_iter().map(|answer| Some(answer.unwrap_or(of_none))).collect()
        };
        let is_there = |answers: &[Option<bool>]| answers.iter().any(Option::is_some);
        match (term, is_there(&resources), is_there(&scopes)) {
            (None, false, false) => Test::Known(Verdict::of(of_none)),
            (None, true, false) => self.table(Shared::Resource, known(resources)),
            (None, false, true) => self.table(Shared::Scope, known(scopes)),
            _ if self.takes(resources.len() + scopes.len()) => {
                Test::Attribute(Attribute { key: term, asked: vec![asked], resources, scopes })
            }
            _ => Test::Known(Verdict::Perhaps),
        }
    }

    /// The term of an attribute's key; none if no span, event or link of the batch has it.
    fn key(&mut self, key: &'p str) -> Option<TermId> {
        let terms = self.batch.terms();
        *self.keys.entry(key).or_insert_with(|| terms.find(key))
    }

    fn table(&mut self, by: Shared, answers: Vec<Option<bool>>) -> Test<'p> {
        if !answers.contains(&Some(true)) {
            return Test::Known(Verdict::No);
        }
        if !answers.contains(&Some(false)) {
            return Test::Known(Verdict::Yes);
        }
        if self.takes(answers.len()) {
            Test::Shared(Table { by, answers })
        } else {
            Test::Known(Verdict::Perhaps)
        }
    }

    /// Whether there is room for a table.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.room_bytes.checked_sub(bytes);
        self.room_bytes = left.unwrap_or(self.room_bytes);
        left.is_some()
    }
}

/// Of a comparison of two sides: nothing that holds compares to what is not there, and more is not known.
fn of_both_sides(batch: &SpanBatch, comparison: &Predicate) -> Verdict {
    let mut verdict = Verdict::Perhaps;
    comparison.fields(&mut |field| {
        if Screening::of(batch).leaf(field, Asked::Exists).is(Verdict::No) {
            verdict = Verdict::No;
        }
    });
    verdict
}

#[cfg(test)]
mod tests;
