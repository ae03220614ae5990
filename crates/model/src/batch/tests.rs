use super::*;
use crate::{KeyValue, SpanId, ValueRef};

fn ids(n: u8) -> (TraceId, SpanId) {
    (TraceId::from_bytes(&[n; 16]).expect("not zero"), SpanId::from_bytes(&[n; 8]).expect("not zero"))
}

fn scalars(builder: &mut SpanBatchBuilder, n: u8) -> SpanScalars {
    let (trace_id, span_id) = ids(n);
    SpanScalars {
        start_unix_nano: 1_000 + u64::from(n),
        end_unix_nano: 2_000,
        kind: 2,
        flags: 0x101,
        dropped_attributes_count: 1,
        dropped_events_count: 2,
        dropped_links_count: 3,
        name: builder.known_term("GET /cart"),
        ..SpanScalars::new(trace_id, span_id)
    }
}

fn begin(builder: &mut SpanBatchBuilder) {
    builder.resource(Arc::new(Resource::default()));
    builder.scope(Arc::new(Scope::default()));
}

/// A span whose attributes are `attributes`, in that order.
fn span_with(builder: &mut SpanBatchBuilder, n: u8, attributes: &[(&str, Value)]) {
    for (key, value) in attributes {
        let key = builder.key(key.as_bytes()).expect("UTF-8");
        match value {
            Value::Text(text) => {
                builder.push_text(Owner::Span, key, text);
            }
            value => builder.push_value(Owner::Span, key, value.clone()),
        }
    }
    let scalars = scalars(builder, n);
    builder.finish_span(scalars);
}

fn some_attributes() -> Vec<(&'static str, Value)> {
    vec![
        ("http.route", Value::Text("/cart".into())),
        ("http.status", Value::Int(-7)),
        ("", Value::Text("empty key".into())),
        ("ratio", Value::Double(-0.0)),
        ("nan", Value::Double(f64::from_bits(0x7ff8_0000_0000_0001))),
        ("flag", Value::Bool(true)),
        ("raw", Value::Bytes(Box::from([0u8, 255]))),
        ("unset", Value::Empty),
        ("twice", Value::Int(1)),
        ("twice", Value::Int(2)),
        (
            "nested",
            Value::Array(vec![
                Value::Int(1),
                Value::Map(vec![KeyValue { key: "k".into(), value: Value::Empty }]),
            ]),
        ),
    ]
}

#[test]
fn attributes_read_back_bit_for_bit() {
    let mut builder = SpanBatchBuilder::new();
    begin(&mut builder);
    let attributes = some_attributes();
    span_with(&mut builder, 1, &attributes);
    span_with(&mut builder, 2, &attributes);
    let batch = builder.finish();
    for span in batch.spans() {
        let read: Vec<_> = span.attributes().map(|(key, value)| (key, value.to_value())).collect();
        assert_eq!(read, attributes);
    }
}

#[test]
fn the_builder_forgets_the_last_batch() {
    let mut builder = SpanBatchBuilder::new();
    begin(&mut builder);
    span_with(&mut builder, 1, &[("http.route", Value::Text("/cart".into()))]);
    builder.finish();
    begin(&mut builder);
    span_with(&mut builder, 2, &[("a", Value::Text("/cart".into())), ("b", Value::Int(3))]);
    let batch = builder.finish();
    assert_eq!(batch.len(), 1);
    let read: Vec<_> = batch.span(0).attributes().collect();
    assert_eq!(read, [("a", ValueRef::Text("/cart")), ("b", ValueRef::Int(3))]);
    assert_eq!(batch.terms().iter().map(|(_, text)| text).collect::<Vec<_>>(), ["", "a", "b", "GET /cart"]);
}

#[test]
fn a_discarded_span_leaves_nothing() {
    let mut builder = SpanBatchBuilder::new();
    begin(&mut builder);
    span_with(&mut builder, 1, &[("kept", Value::Int(1))]);
    let key = builder.key(b"lost").expect("UTF-8");
    builder.push_int(Owner::Span, key, 1);
    builder.push_int(Owner::Event, key, 1);
    builder.finish_event(5, TermId::EMPTY, 0);
    builder.push_int(Owner::Link, key, 1);
    builder.finish_link(&[1; 16], &[2; 8], TermId::EMPTY, 0, 0);
    builder.discard_span();
    span_with(&mut builder, 2, &[("also kept", Value::Int(2))]);
    let batch = builder.finish();
    assert_eq!(batch.len(), 2);
    let second = batch.span(1);
    assert_eq!(second.attributes().collect::<Vec<_>>(), [("also kept", ValueRef::Int(2))]);
    assert_eq!((second.events().len(), second.links().len()), (0, 0));
}

#[test]
fn what_was_kept_around_a_discarded_span_keeps_its_own_attributes() {
    let mut builder = SpanBatchBuilder::new();
    begin(&mut builder);
    let key = builder.key(b"n").expect("UTF-8");
    let events_and_links = |builder: &mut SpanBatchBuilder, first: i64| {
        for number in first..first + 2 {
            builder.push_int(Owner::Event, key, number);
            builder.finish_event(number as u64, TermId::EMPTY, 0);
            builder.push_int(Owner::Link, key, 10 * number);
            builder.finish_link(&[1; 16], &[2; 8], TermId::EMPTY, number as u32, 0);
        }
    };
    events_and_links(&mut builder, 1);
    span_with(&mut builder, 1, &[("kept", Value::Int(1))]);
    events_and_links(&mut builder, 3);
    // Of an event and a link that were not finished.
    builder.push_int(Owner::Event, key, 5);
    builder.push_int(Owner::Link, key, 50);
    builder.discard_span();
    events_and_links(&mut builder, 6);
    span_with(&mut builder, 2, &[]);
    let batch = builder.finish();
    let numbers = |span: SpanView<'_>| -> Vec<(u64, ValueRef<'_>, u32, ValueRef<'_>)> {
        let only = |mut attributes: AttributeIter<'_>| {
            assert_eq!(attributes.len(), 1);
            attributes.next().map_or(i64::MIN, |(_, value)| match value {
                ValueRef::Int(number) => number,
                _ => i64::MIN,
            })
        };
        let pairs = span.events().zip(span.links());
        pairs
            .map(|(event, link)| {
                let (of_event, of_link) = (only(event.attributes()), only(link.attributes()));
                (event.time_unix_nano(), ValueRef::Int(of_event), link.flags(), ValueRef::Int(of_link))
            })
            .collect()
    };
    let expected = |first: i64| {
        [first, first + 1].map(|n| (n as u64, ValueRef::Int(n), n as u32, ValueRef::Int(10 * n)))
    };
    assert_eq!(numbers(batch.span(0)), expected(1));
    assert_eq!(numbers(batch.span(1)), expected(6));
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let mut builder = SpanBatchBuilder::new();
    assert_eq!(builder.term(&[0xff]), Err(InvalidUtf8));
    let key = builder.key(b"k").expect("UTF-8");
    builder.push_text_bytes(Owner::Span, key, &[0xc3]);
    assert_eq!(builder.try_finish().map(|_| ()), Err(InvalidUtf8), "even of a span that was not finished");
    assert_eq!(builder.try_finish().map(|batch| batch.len()), Ok(0));
}

#[test]
fn texts_that_are_utf8_only_together_are_refused() {
    for character in ["é", "€", "🦀"] {
        for at in 1..character.len() {
            let (head, tail) = character.as_bytes().split_at(at);
            let mut builder = SpanBatchBuilder::new();
            begin(&mut builder);
            let keys = [b"a", b"b"].map(|key| builder.key(key).expect("UTF-8"));
            builder.push_text_bytes(Owner::Span, keys[0], head);
            builder.push_text_bytes(Owner::Span, keys[1], tail);
            span_with(&mut builder, 1, &[]);
            assert_eq!(builder.try_finish().map(|_| ()), Err(InvalidUtf8), "{character} cut at {at}");
            // What was refused has left nothing.
            begin(&mut builder);
            span_with(&mut builder, 1, &[("a", Value::Text(character.into()))]);
            assert_eq!(builder.try_finish().map(|batch| batch.len()), Ok(1));
        }
    }
}

#[test]
fn the_order_of_attributes_does_not_make_a_span_another_one() {
    let mut builder = SpanBatchBuilder::new();
    begin(&mut builder);
    let mut attributes = some_attributes();
    span_with(&mut builder, 1, &attributes);
    attributes.reverse();
    span_with(&mut builder, 1, &attributes);
    attributes[0].0 = "another";
    span_with(&mut builder, 1, &attributes);
    let batch = builder.finish();
    assert!(batch.span(0).is_duplicate_of(&batch.span(1)));
    assert!(!batch.span(1).is_duplicate_of(&batch.span(2)));
    assert_eq!(batch.span(0).content_hash(), batch.span(1).content_hash());
    assert_ne!(batch.span(1).content_hash(), batch.span(2).content_hash());
}

#[test]
fn a_copy_is_a_duplicate() {
    let mut builder = SpanBatchBuilder::new();
    begin(&mut builder);
    let key = builder.key(b"exception.type").expect("UTF-8");
    builder.push_text(Owner::Event, key, "io");
    let name = builder.known_term("exception");
    builder.finish_event(u64::MAX, name, 4);
    builder.finish_link(&[1; 3], &[], name, 1, 2);
    span_with(&mut builder, 1, &some_attributes());
    let batch = builder.finish();
    let resource = builder.resource(Arc::clone(&batch.resources()[0]));
    let scope = builder.scope(Arc::clone(&batch.scopes()[0]));
    builder.copy_span(batch.span(0), resource, scope);
    let copy = builder.finish();
    assert!(copy.span(0).is_duplicate_of(&batch.span(0)), "{:?}\n{:?}", copy.span(0), batch.span(0));
    assert_eq!(copy.span(0).links().next().map(|link| link.trace_id()), Some(&[1u8; 3][..]));
}
