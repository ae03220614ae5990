//! Attributes that a search answers of matching spans, with the types that they have.

use serde_json::json;
use tracelake::model::{KeyValue, ValueRef};
use tracelake::otlp::json::write_value as write_any_value;
use tracelake::traceql::{self, AttributeScope, Field, Intrinsic, Predicate};
use tracelake::{SpanView, limits};

use super::invalid;
use crate::rejection::Rejection;

/// Up to here every integer is a double as well, which is what many readers of JSON make of it.
const EXACT_INT_MAX: u64 = 1 << 53;

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    /// As it was written, and is answered.
    name: String,
    pub(super) field: Field,
}

/// Each once, in the order in which they were named.
pub(super) fn selected(names: &[String]) -> Result<Vec<Selected>, Rejection> {
    if names.len() as u64 > limits::SEARCH_SELECT_MAX {
        return Err(invalid(format!(
            "`select` has at most {} attributes (search_select_max)",
            limits::SEARCH_SELECT_MAX
        )));
    }
    let mut all: Vec<Selected> = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let field = field(name).map_err(|message| invalid(format!("`select`[{at}]: {message}")))?;
        if all.iter().all(|other| other.name != *name) {
            all.push(Selected { name: name.clone(), field });
        }
    }
    Ok(all)
}

/// A field is written as in a condition.
fn field(name: &str) -> Result<Field, String> {
    match traceql::from_json(&json!({"field": name, "op": "exists"}), "select") {
        Ok(Predicate::Exists(field)) if is_selectable(&field) => Ok(field),
        Ok(_) => {
            Err(format!("`{name}` is no attribute: select has those, and what else there is has its member"))
        }
        Err(error) => Err(error.message),
    }
}

/// Of what has no attributes, that which has no member of its own in an answer.
fn is_selectable(field: &Field) -> bool {
    let Field::Intrinsic(intrinsic) = field else { return true };
    matches!(
        intrinsic,
        Intrinsic::StatusMessage | Intrinsic::InstrumentationName | Intrinsic::InstrumentationVersion
    )
}

/// Appends what a span has of them as an object; what it does not have is not there.
pub(super) fn write_selected(out: &mut String, span: &SpanView<'_>, select: &[Selected]) {
    out.push('{');
    let mut separator = "";
    for Selected { name, field } in select {
        let Some(found) = find(span, field) else { continue };
        out.push_str(separator);
        separator = ",";
        write_text(out, name);
        out.push(':');
        match found {
            Found::One(value) => write_value(out, value),
            Found::Each(values) => {
                out.push('[');
                for (at, value) in values.into_iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_value(out, value);
                }
                out.push(']');
            }
        }
    }
    out.push('}');
}

/// What a span has of a field.
enum Found<'a> {
    One(ValueRef<'a>),
    /// Of its events, or links.
    Each(Vec<ValueRef<'a>>),
}

fn find<'a>(span: &SpanView<'a>, field: &Field) -> Option<Found<'a>> {
    let (scope, key) = match field {
        Field::Attribute { scope, key } => (*scope, &**key),
        Field::Intrinsic(intrinsic) => {
            let text = match intrinsic {
                Intrinsic::StatusMessage => span.status_message(),
                Intrinsic::InstrumentationName => &*span.scope().name,
                Intrinsic::InstrumentationVersion => &*span.scope().version,
                _ => return None,
            };
            return (!text.is_empty()).then_some(Found::One(ValueRef::Text(text)));
        }
    };
    let of_span = || first(span.attributes(), key);
    let of_resource = || first(owned(&span.resource().attributes), key);
    let of_instrumentation = || first(owned(&span.scope().attributes), key);
    let one = match scope {
        AttributeScope::Any => of_span().or_else(of_resource).or_else(of_instrumentation),
        AttributeScope::Span => of_span(),
        AttributeScope::Resource => of_resource(),
        AttributeScope::Instrumentation => of_instrumentation(),
        AttributeScope::Event => {
            return each(span.events().filter_map(|event| first(event.attributes(), key)).collect());
        }
        AttributeScope::Link => {
            return each(span.links().filter_map(|link| first(link.attributes(), key)).collect());
        }
    };
    one.map(Found::One)
}

fn each(values: Vec<ValueRef<'_>>) -> Option<Found<'_>> {
    (!values.is_empty()).then_some(Found::Each(values))
}

fn owned(attributes: &[KeyValue]) -> impl Iterator<Item = (&str, ValueRef<'_>)> {
    attributes.iter().map(|attribute| (&*attribute.key, attribute.value.as_ref()))
}

/// A key may occur more than once.
fn first<'a>(
    mut attributes: impl Iterator<Item = (&'a str, ValueRef<'a>)>,
    key: &str,
) -> Option<ValueRef<'a>> {
    attributes.find(|(other, _)| *other == key).map(|(_, value)| value)
}

/// As JSON has it, where that keeps it as it is; else as OTLP JSON does.
fn write_value(out: &mut String, value: ValueRef<'_>) {
    match value {
        ValueRef::Empty => out.push_str("null"),
        ValueRef::Text(text) => write_text(out, text),
        ValueRef::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        ValueRef::Int(int) if int.unsigned_abs() <= EXACT_INT_MAX => out.push_str(&int.to_string()),
        ValueRef::Int(int) => write_text(out, &int.to_string()),
        // The shortest digits that read back as the same bits, with a point or an exponent.
        ValueRef::Double(double) if double.is_finite() => out.push_str(&format!("{double:?}")),
        ValueRef::Double(_) | ValueRef::Bytes(_) | ValueRef::Nested(_) => write_any_value(out, value),
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&json!(text).to_string());
}

#[cfg(test)]
mod tests {
    use tracelake::model::Value;

    use super::*;

    #[test]
    fn a_value_keeps_its_type() {
        let nested = Value::Array(vec![Value::Int(1), Value::Text("a".into())]);
        for (value, expected) in [
            (ValueRef::Empty, "null"),
            (ValueRef::Text("a \"b\"\n"), r#""a \"b\"\n""#),
            (ValueRef::Bool(true), "true"),
            (ValueRef::Int(-500), "-500"),
            (ValueRef::Int(1 << 53), "9007199254740992"),
            (ValueRef::Int((1 << 53) + 1), "\"9007199254740993\""),
            (ValueRef::Int(i64::MIN), "\"-9223372036854775808\""),
            (ValueRef::Double(500.0), "500.0"),
            (ValueRef::Double(-0.0), "-0.0"),
            (ValueRef::Double(1e300), "1e300"),
            (ValueRef::Double(f64::INFINITY), r#"{"doubleValue":"Infinity"}"#),
            (ValueRef::Bytes(b"abc"), r#"{"bytesValue":"YWJj"}"#),
            (
                ValueRef::Nested(&nested),
                r#"{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"a"}]}}"#,
            ),
        ] {
            let mut out = String::new();
            write_value(&mut out, value);
            assert_eq!(out, expected);
            serde_json::from_str::<serde_json::Value>(&out).expect("JSON");
        }
    }

    #[test]
    fn only_attributes_are_selected_each_once() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let select = selected(&names(&["span.a b", ".x", "span.a b", "statusMessage"])).expect("fields");
        let select: Vec<&str> = select.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(select, ["span.a b", ".x", "statusMessage"]);
        for (name, word) in
            [("http.route", "`.http.route`"), ("duration", "`duration`"), ("parent.x", "`parent.x`")]
        {
            let rejection = selected(&names(&[".x", name])).expect_err(name);
            assert!(rejection.message().starts_with("`select`[1]: "), "{}", rejection.message());
            assert!(rejection.message().contains(word), "{}", rejection.message());
        }
        assert!(selected(&vec![".x".to_owned(); 65]).is_err());
    }
}
