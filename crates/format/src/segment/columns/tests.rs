use tracelake_model::{Owner, Resource, Scope, SpanBatchBuilder, SpanId, SpanScalars, TraceId, Value};

use super::*;

/// A batch of spans with these attributes.
fn batch(spans: &[Vec<(&str, Value)>]) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    builder.resource(Resource::default().into());
    builder.scope(Scope::default().into());
    for attributes in spans {
        for (key, value) in attributes {
            let key = builder.known_term(key);
            builder.push_value(Owner::Span, key, value.clone());
        }
        builder.finish_span(SpanScalars {
            ..SpanScalars::new(
                TraceId::from_bytes(&[1; 16]).expect("not zero"),
                SpanId::from_bytes(&[1; 8]).expect("not zero"),
            )
        });
    }
    builder.finish()
}

fn column(key: &str, kind: AttributeType) -> AttributeColumn {
    AttributeColumn { key: key.to_owned(), kind }
}

#[test]
fn frequent_keys_get_a_column_of_their_most_frequent_type() {
    let mut spans = vec![vec![("always", Value::Int(1)), ("mixed", Value::Text("a".into()))]; 60];
    spans.extend(vec![vec![("always", Value::Int(2)), ("mixed", Value::Bool(true))]; 40]);
    spans[0].push(("rare", Value::Int(1)));
    spans[0].push(("raw", Value::Bytes(Box::from([1u8]))));
    spans[1].push(("edge", Value::Int(1)));
    spans[2].push(("edge", Value::Int(1)));
    let mut columns = AttributeColumns::default();
    assert!(columns.extend_from(&AttributeCounts::of([&batch(&spans)])));
    assert_eq!(
        columns.columns,
        [column("always", AttributeType::Int), column("mixed", AttributeType::String)],
        "exactly 2 % is not more than 2 %"
    );
}

#[test]
fn a_column_is_neither_removed_nor_changed() {
    let mut columns = AttributeColumns { columns: vec![column("a", AttributeType::Double)] };
    let before = columns.clone();
    assert!(!columns.extend_from(&AttributeCounts::of([&batch(&[vec![("a", Value::Int(1))]])])));
    assert!(!columns.extend_from(&AttributeCounts::default()));
    assert_eq!(columns, before);
}

#[test]
fn there_are_no_more_attributes_than_the_limit_and_no_long_keys() {
    let keys: Vec<String> = (0..limits::ATTRIBUTE_KEYS_MAX + 9).map(|index| format!("k{index:04}")).collect();
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let mut attributes: Vec<_> = keys.iter().map(|key| (key.as_str(), Value::Int(1))).collect();
    attributes.insert(0, (&long, Value::Int(1)));
    let mut columns = AttributeColumns::default();
    columns.extend_from(&AttributeCounts::of([&batch(&[attributes])]));
    assert_eq!(columns.columns.len() as u64, limits::ATTRIBUTE_KEYS_MAX);
    assert!(columns.columns.iter().all(|column| column.key.len() == 5));
}

#[test]
fn a_segment_has_columns_for_what_is_most_frequent_in_it() {
    let keys: Vec<String> = (0..100).map(|index| format!("k{index:02}")).collect();
    let known =
        AttributeColumns { columns: keys.iter().map(|key| column(key, AttributeType::Int)).collect() };
    // The later the key, the more spans have it; the first ten are of another type than their column.
    let spans: Vec<Vec<(&str, Value)>> = (0..100)
        .map(|span| {
            let of_span = keys.iter().enumerate().filter(|(place, _)| *place >= span);
            let value = |place| if place < 10 { Value::Bool(true) } else { Value::Int(1) };
            of_span.map(|(place, key)| (key.as_str(), value(place))).collect()
        })
        .collect();
    let counts = AttributeCounts::of([&batch(&spans)]);
    let chosen = |expected: &[&str], counts: &AttributeCounts| -> Vec<String> {
        let expected = expected.iter().map(|key| (*key).to_owned()).collect();
        known.of_segment(counts, &expected).into_iter().map(|column| column.key).collect()
    };
    assert_eq!(chosen(&[], &counts), keys[36..], "the 64 most frequent, in the set's order");
    assert_eq!(chosen(&["k05", "k20"], &counts), keys[36..], "what is expected counts little more");
    let with_32: Vec<String> = keys[32..33].iter().chain(&keys[37..]).cloned().collect();
    assert_eq!(chosen(&["k32"], &counts), with_32, "but more");
    let few = AttributeCounts::of([&batch(&spans[98..])]);
    assert_eq!(chosen(&[], &few), ["k98", "k99"]);
    assert_eq!(chosen(&["k05", "k99", "other"], &few), ["k05", "k98", "k99"]);
}

#[test]
fn the_set_reads_back_from_the_manifest() {
    let columns = AttributeColumns { columns: vec![column("http.route", AttributeType::String)] };
    let json = serde_json::to_string(&columns).expect("plain data");
    assert_eq!(json, r#"[{"key":"http.route","type":"string"}]"#);
    assert_eq!(serde_json::from_str::<AttributeColumns>(&json).expect("own text"), columns);
}
