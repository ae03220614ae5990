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
fn there_are_no_more_columns_than_the_limit_and_no_long_keys() {
    let keys: Vec<String> = (0..200).map(|index| format!("k{index:03}")).collect();
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let mut attributes: Vec<_> = keys.iter().map(|key| (key.as_str(), Value::Int(1))).collect();
    attributes.insert(0, (&long, Value::Int(1)));
    let mut columns = AttributeColumns::default();
    columns.extend_from(&AttributeCounts::of([&batch(&[attributes])]));
    assert_eq!(columns.columns.len() as u64, limits::ATTRIBUTE_COLUMNS_MAX);
    assert!(columns.columns.iter().all(|column| column.key.len() == 4));
}

#[test]
fn the_set_reads_back_from_the_manifest() {
    let columns = AttributeColumns { columns: vec![column("http.route", AttributeType::String)] };
    let json = serde_json::to_string(&columns).expect("plain data");
    assert_eq!(json, r#"[{"key":"http.route","type":"string"}]"#);
    assert_eq!(serde_json::from_str::<AttributeColumns>(&json).expect("own text"), columns);
}
