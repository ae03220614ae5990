//! What spans are stored according to the JSON that was sent, computed from that JSON alone: an
//! independent reading of OTLP, to compare answers with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Spans by trace, each as a canonical text with its resource and scope; and how many there were
/// before equal ones became one.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) by_trace: BTreeMap<String, BTreeSet<String>>,
    pub(crate) services: BTreeSet<String>,
    pub(crate) total: usize,
}

impl Spans {
    /// Adds what an `ExportTraceServiceRequest` or `TracesData` in JSON holds.
    pub(crate) fn add(&mut self, traces: &Value) {
        for resource_spans in items(traces, "resourceSpans") {
            let resource = with_schema_url(resource_spans, "resource");
            for attribute in items(&resource_spans["resource"], "attributes") {
                if attribute["key"] == "service.name" {
                    self.services.extend(attribute["value"]["stringValue"].as_str().map(str::to_owned));
                }
            }
            for scope_spans in items(resource_spans, "scopeSpans") {
                let scope = with_schema_url(scope_spans, "scope");
                for span in items(scope_spans, "spans") {
                    let trace_id = span["traceId"].as_str().expect("a trace ID").to_ascii_lowercase();
                    let text = format!("{} of {resource} in {scope}", canonical(span));
                    self.by_trace.entry(trace_id).or_default().insert(text);
                    self.total += 1;
                }
            }
        }
    }

    /// Distinct spans.
    pub(crate) fn distinct(&self) -> usize {
        self.by_trace.values().map(BTreeSet::len).sum()
    }
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn with_schema_url(value: &Value, name: &str) -> String {
    // An absent one equals an empty one.
    let text = if value[name].is_null() { "{}".to_owned() } else { canonical(&value[name]) };
    format!("{text}@{}", value["schemaUrl"].as_str().unwrap_or_default())
}

/// A text that is equal for values that OTLP's JSON mapping makes equal: absent or default, a
/// number as a number or as text, members and attributes in any order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(canonical).collect::<Vec<_>>().join(","),
        Value::Object(members) => {
            let members: BTreeMap<&str, String> = members
                .iter()
                .map(|(name, value)| {
                    let text = match (name.as_str(), value) {
                        ("attributes", Value::Array(attributes)) => {
                            // A value that is a default is still a value: only here.
                            let mut texts: Vec<String> = attributes
                                .iter()
                                .map(|attribute| format!("{}={}", attribute["key"], attribute["value"]))
                                .collect();
                            texts.sort();
                            texts.join(",")
                        }
                        (_, value) => canonical(value),
                    };
                    (name.as_str(), text)
                })
                .filter(|(_, text)| !matches!(text.as_str(), "" | "0" | "{}"))
                .collect();
            format!("{members:?}")
        }
    }
}

#[test]
fn equal_spans_are_equal_and_different_ones_are_not() {
    let text = |span: &str| canonical(&serde_json::from_str(span).expect("JSON"));
    let full = r#"{"name":"n","kind":0,"startTimeUnixNano":"5","status":{},"events":[],"attributes":[
        {"key":"a","value":{"stringValue":"x"}},{"key":"b","value":{"boolValue":false}}]}"#;
    let sparse = r#"{"attributes":[{"key":"b","value":{"boolValue":false}},
        {"key":"a","value":{"stringValue":"x"}}],"startTimeUnixNano":5,"name":"n"}"#;
    assert_eq!(text(full), text(sparse));
    for other in [
        r#"{"name":"n"}"#.to_owned(),
        sparse.replace("\"x\"", "\"y\""),
        sparse.replace("false", "true"),
        sparse.replace('5', "6"),
        sparse.replace("\"n\"", "\"m\""),
    ] {
        assert_ne!(text(full), text(&other));
    }
}
