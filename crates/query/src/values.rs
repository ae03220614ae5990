//! Listing what people type: services, operations, and the keys and values of attributes, with how many traces have
//! each, from attribute indexes.
//!
//! A source is a segment, or all memtables together. What segments have their indexes tell: in a range that cuts a part
//! of one, of the traces that overlap the range. Of all others the spans that start in the range count. A trace
//! with spans in several sources counts in each; it is a list to choose from, no statistic.

mod answer;
mod asked;
mod indexed;
mod rows;
mod sources;
mod tally;

use std::ops::Range;
use std::sync::Arc;

use tracelake_model::TenantId;
use tracelake_store::Store;
pub use tracelake_store::format::segment::FieldScope;
use tracelake_traceql::{Field, Intrinsic, Predicate};

pub use self::answer::{ListedKey, ListedValue, TypedValue};
use self::asked::{Asked, KIND, NAME, Question, SCOPES, STATUS};
use self::sources::Counted;
pub(crate) use self::sources::ValuesLimits;
pub use self::tally::ValueTypes;
use crate::gap::Gap;

/// Of what is listed, and how much.
#[derive(Debug, Clone)]
pub struct ValuesRange {
    /// Spans whose start is in the range, in nanoseconds since 1970.
    pub starts: Range<u64>,
    /// What is listed begins so.
    pub prefix: String,
    /// Entries of the answer.
    pub limit: usize,
}

/// Which values are listed.
#[derive(Debug, Clone)]
pub struct ValuesQuery {
    /// Of all scopes of attributes if none.
    pub scope: Option<FieldScope>,
    /// The attribute's key, or the name of an intrinsic that [can be listed](is_listed_intrinsic).
    pub key: String,
    /// Only spans that satisfy it count. It must not [ask of a trace](asks_of_trace).
    pub condition: Option<Predicate>,
}

/// What was found.
#[derive(Debug)]
pub struct Listing<T> {
    /// What most traces have first, then by its text.
    pub entries: Vec<T>,
    /// Whether there are more than the limit.
    pub has_more: bool,
    /// Values that are not listed, whatever they begin with: those that one trace of a part of an index alone has, of
    /// which there are hashes, and texts that are too long. One that is in several parts counts in each.
    pub unlisted_values: u64,
    /// What the answer lacks and why.
    pub missing: Vec<Gap>,
    /// Everything that was acknowledged before this time was looked at, in nanoseconds since 1970.
    pub complete_up_to_unix_nano: u64,
}

/// Whether the values of an intrinsic can be listed.
pub fn is_listed_intrinsic(name: &str) -> bool {
    [NAME, KIND, STATUS].contains(&name)
}

/// Whether a condition asks of what a trace has as a whole, which is not known where its spans are counted.
pub fn asks_of_trace(condition: &Predicate) -> bool {
    let mut asks = false;
    condition.fields(&mut |field| {
        asks |= matches!(
            field,
            Field::Intrinsic(Intrinsic::RootName | Intrinsic::RootService | Intrinsic::TraceDuration)
        );
    });
    asks
}

/// Where something is listed from.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) limits: ValuesLimits,
}

impl Listed {
    /// The services that spans are of.
    pub(crate) async fn services(self, range: ValuesRange) -> Listing<ListedValue> {
        let question = Question::Values {
            scopes: vec![FieldScope::Resource],
            key: "service.name".into(),
            texts_alone: true,
        };
        self.values_of(question, None, range).await
    }

    /// The names of spans, of one service or of all.
    pub(crate) async fn operations(self, service: Option<&str>, range: ValuesRange) -> Listing<ListedValue> {
        let question = match service {
            Some(service) => Question::Operations { service: service.into() },
            None => {
                Question::Values { scopes: vec![FieldScope::Intrinsic], key: NAME.into(), texts_alone: true }
            }
        };
        self.values_of(question, None, range).await
    }

    /// The keys of attributes.
    pub(crate) async fn keys(self, scope: Option<FieldScope>, range: ValuesRange) -> Listing<ListedKey> {
        let limit = range.limit;
        let (asked, counted) = self.count(Question::Keys { scope }, None, range).await;
        let (entries, has_more) = answer::keys(&counted.tally, &asked, limit);
        listing(entries, has_more, counted)
    }

    /// The values of an attribute, or of an intrinsic.
    pub(crate) async fn values(self, query: ValuesQuery, range: ValuesRange) -> Listing<ListedValue> {
        let scopes = query.scope.map_or_else(|| SCOPES.to_vec(), |scope| vec![scope]);
        let question = Question::Values { scopes, key: query.key.into(), texts_alone: false };
        self.values_of(question, query.condition, range).await
    }

    async fn values_of(
        self,
        question: Question,
        condition: Option<Predicate>,
        range: ValuesRange,
    ) -> Listing<ListedValue> {
        let limit = range.limit;
        let (asked, counted) = self.count(question, condition, range).await;
        let (entries, has_more) = answer::values(&counted.tally, &asked, limit);
        listing(entries, has_more, counted)
    }

    async fn count(
        self,
        question: Question,
        condition: Option<Predicate>,
        range: ValuesRange,
    ) -> (Arc<Asked>, Counted) {
        let ValuesRange { starts, prefix, .. } = range;
        let asked = Arc::new(Asked { starts, question, prefix: prefix.into(), condition });
        let Self { store, tenant, limits } = self;
        let counted = sources::count(store, tenant, Arc::clone(&asked), limits).await;
        (asked, counted)
    }
}

fn listing<T>(entries: Vec<T>, has_more: bool, counted: Counted) -> Listing<T> {
    Listing {
        entries,
        has_more,
        unlisted_values: counted.tally.unlisted_values(),
        missing: counted.missing,
        complete_up_to_unix_nano: counted.complete_up_to_unix_nano,
    }
}
