use super::super::tally::{Scalar, Seen};
use super::*;

fn asked(question: Question, prefix: &str) -> Asked {
    Asked { starts: 0..u64::MAX, question, prefix: prefix.into(), condition: None }
}

fn values_of(scope: FieldScope, key: &str, prefix: &str) -> Asked {
    asked(Question::Values { scopes: vec![scope], key: key.into(), texts_alone: false }, prefix)
}

fn texts(listed: &[ListedValue]) -> Vec<(String, u64)> {
    listed.iter().map(|one| (one.value.text().into_owned(), one.traces)).collect()
}

#[test]
fn what_most_traces_have_comes_first_and_what_begins_otherwise_does_not_come() {
    let mut tally = Tally::new();
    for (value, traces) in [
        (Scalar::Text("b"), 2),
        (Scalar::Text("a"), 2),
        (Scalar::Number(200.0), 5),
        (Scalar::Number(-0.0), 1),
        (Scalar::Number(0.0), 1),
        (Scalar::Text("200"), 5),
        (Scalar::Bool(true), 1),
    ] {
        tally.add_value(value, Seen::Traces(traces));
    }
    let (all, has_more) = values(&tally, &values_of(FieldScope::Span, "k", ""), 100);
    let expected = [("200", 5), ("200", 5), ("0", 2), ("a", 2), ("b", 2), ("true", 1)];
    assert_eq!(texts(&all), expected.map(|(text, traces)| (text.to_owned(), traces)));
    assert_eq!(all.first().map(|one| &one.value), Some(&TypedValue::Text("200".into())));
    assert!(!has_more);
    let (some, has_more) = values(&tally, &values_of(FieldScope::Span, "k", "2"), 1);
    assert_eq!((some.len(), has_more), (1, true));
}

#[test]
fn kinds_and_statuses_have_their_words() {
    let mut tally = Tally::new();
    tally.add_value(Scalar::Number(2.0), Seen::Traces(3));
    tally.add_value(Scalar::Number(77.0), Seen::Traces(1));
    let of = |key| texts(&values(&tally, &values_of(FieldScope::Intrinsic, key, ""), 9).0);
    assert_eq!(of("kind"), [("server".to_owned(), 3), ("77".to_owned(), 1)]);
    assert_eq!(of("status"), [("error".to_owned(), 3), ("77".to_owned(), 1)]);
    let of_span = values(&tally, &values_of(FieldScope::Span, "kind", ""), 9).0;
    assert_eq!(texts(&of_span), [("2".to_owned(), 3), ("77".to_owned(), 1)]);
}

#[test]
fn a_trace_counts_once_in_each_scope() {
    let mut tally = Tally::new();
    for (trace, scope) in [
        (1, FieldScope::Span),
        (1, FieldScope::Resource),
        (1, FieldScope::Span),
        (1, FieldScope::Resource),
        (2, FieldScope::Span),
    ] {
        tally.add_value(Scalar::Text("x"), Seen::In { trace, scope });
    }
    assert_eq!(texts(&values(&tally, &values_of(FieldScope::Span, "k", ""), 9).0), [("x".to_owned(), 3)]);
}

#[test]
fn what_is_too_long_or_too_much_is_told() {
    let mut tally = Tally::new();
    let long = "x".repeat(257);
    tally.add_value(Scalar::Text(&long), Seen::Traces(1));
    tally.add_value(Scalar::Text(&long), Seen::Traces(1));
    assert_eq!((tally.unlisted_values(), tally.is_over()), (1, false));
    for number in 0..200_000 {
        tally.add_value(Scalar::Number(f64::from(number)), Seen::Traces(1));
    }
    assert!(tally.is_over());
    assert_eq!(values(&tally, &values_of(FieldScope::Span, "k", ""), usize::MAX).0.len(), 99_999);
}

#[test]
fn keys_are_told_apart_by_scope() {
    let mut tally = Tally::new();
    let (numbers, texts) = (
        ValueTypes { numbers: true, ..Default::default() },
        ValueTypes { texts: true, ..Default::default() },
    );
    tally.add_key(FieldScope::Span, "a", numbers, Seen::Traces(1));
    tally.add_key(FieldScope::Span, "a", texts, Seen::Traces(1));
    tally.add_key(FieldScope::Resource, "a", texts, Seen::Traces(2));
    tally.add_key(FieldScope::Span, "b", texts, Seen::Traces(9));
    let (all, _) = keys(&tally, &asked(Question::Keys { scope: None }, "a"), 9);
    let found: Vec<_> = all.iter().map(|key| (key.scope, key.traces)).collect();
    assert_eq!(found, [(FieldScope::Span, 2), (FieldScope::Resource, 2)]);
    assert_eq!(all[0].types, ValueTypes { texts: true, numbers: true, bools: false });
    let (of_resource, _) = keys(&tally, &asked(Question::Keys { scope: Some(FieldScope::Resource) }, ""), 9);
    assert_eq!(of_resource.len(), 1);
}
