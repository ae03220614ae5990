//! A search in an address, for people: `?q={…}`, or short forms such as `?service=cart&min_duration=300ms`. They
//! become the tree that a body would have.

use std::collections::BTreeMap;

use http::Uri;
use serde_json::{Map, Value, json};
use tracelake::traceql::{
    self, AttributeScope, Comparison, Field, Intrinsic, Literal, Operand, Predicate, TracePredicate,
};

use super::asked::Asked;
use super::{Question, invalid};
use crate::api::parameters_and_list;
use crate::rejection::Rejection;

/// All that there are; those of a body mean the same here.
pub(super) const KNOWN: [&str; 21] = [
    "q",
    "service",
    "operation",
    "attr",
    "min_duration",
    "max_duration",
    "status",
    "start",
    "end",
    "limit",
    "cursor",
    "order",
    "match",
    "result",
    "select",
    "spans_per_trace",
    "count",
    "histogram",
    "explain",
    "page",
    "page_size",
];

/// More than people write. Each may become several comparisons.
pub(super) const ATTRIBUTES_MAX: usize = 64;

pub(super) fn of_address(uri: &Uri) -> Question {
    let (mut parameters, attributes) = parameters_and_list(uri, &KNOWN, "attr")?;
    let condition = condition(&mut parameters, &attributes)?;
    if condition.is_some() && parameters.contains_key("q") {
        return Err(invalid(
            "the query parameter 'q' says all that is searched for: put service, operation, attr, min_duration, \
             max_duration and status into it",
        ));
    }
    let mut members = Map::new();
    for (name, text) in parameters {
        let value = match name.as_str() {
            "limit" | "spans_per_trace" | "histogram" | "page" | "page_size" => number(&name, &text)?,
            "explain" => truth(&name, &text)?,
            "select" => text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
            _ => Value::from(text),
        };
        members.insert(name, value);
    }
    let asked: Asked = serde_json::from_value(Value::Object(members))
        .map_err(|error| invalid(format!("a query parameter cannot be read: {error}")))?;
    let condition = match condition {
        Some(condition) => TracePredicate::AnySpan(condition),
        None => asked.condition()?,
    };
    Ok((asked, condition))
}

fn number(name: &str, text: &str) -> Result<Value, Rejection> {
    let number = text.parse::<u64>().map(Value::from);
    number
        .map_err(|_| invalid(format!("the query parameter '{name}' is a whole number, and '{text}' is not")))
}

/// The name alone is enough.
fn truth(name: &str, text: &str) -> Result<Value, Rejection> {
    match text {
        "true" | "" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        _ => Err(invalid(format!("the query parameter '{name}' is true or false, and '{text}' is not"))),
    }
}

/// What the short forms say together, which are taken out; none if there are none.
fn condition(
    parameters: &mut BTreeMap<String, String>,
    attributes: &[String],
) -> Result<Option<Predicate>, Rejection> {
    let mut all = Vec::new();
    if let Some(service) = parameters.remove("service") {
        let field = Field::attribute(AttributeScope::Resource, "service.name");
        all.push(equal(field, Literal::Text(service.into())));
    }
    if let Some(operation) = parameters.remove("operation") {
        all.push(equal(Field::Intrinsic(Intrinsic::Name), Literal::Text(operation.into())));
    }
    for (name, field, op) in
        [("min_duration", "duration", ">="), ("max_duration", "duration", "<="), ("status", "status", "=")]
    {
        if let Some(text) = parameters.remove(name) {
            all.push(typed(name, field, op, &text)?);
        }
    }
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(invalid(format!("the query parameter 'attr' is there at most {ATTRIBUTES_MAX} times")));
    }
    for attribute in attributes {
        let pair = attribute.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, text) = pair.ok_or_else(|| {
            invalid(format!("the query parameter 'attr' is KEY=VALUE, and '{attribute}' is not"))
        })?;
        let field = Field::attribute(AttributeScope::Any, key);
        let any = literals(text).into_iter().map(|literal| equal(field.clone(), literal)).collect();
        all.push(joined(any, Predicate::Or));
    }
    Ok((!all.is_empty()).then(|| joined(all, Predicate::And)))
}

/// A value is read as in a body.
fn typed(parameter: &str, field: &str, op: &str, text: &str) -> Result<Predicate, Rejection> {
    let condition = json!({"field": field, "op": op, "value": text});
    traceql::from_json(&condition, parameter)
        .map_err(|error| invalid(format!("the query parameter '{parameter}' is '{text}': {}", error.message)))
}

fn equal(field: Field, literal: Literal) -> Predicate {
    Predicate::Compare {
        left: Operand::Field(field),
        comparison: Comparison::Equal,
        right: Operand::Literal(literal),
    }
}

/// An address has no types: a text, and what else it can be.
fn literals(text: &str) -> Vec<Literal> {
    let mut literals = vec![Literal::Text(text.into())];
    // A whole number beyond 64 bits would become another as a double.
    let is_whole = text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    if let Ok(int) = text.parse() {
        literals.push(Literal::Int(int));
    } else if let Ok(double) = text.parse::<f64>()
        && double.is_finite()
        && !is_whole
    {
        literals.push(Literal::Double(double));
    } else if let Ok(value) = text.parse() {
        literals.push(Literal::Bool(value));
    }
    literals
}

/// One stands for itself.
fn joined(conditions: Vec<Predicate>, join: fn(Vec<Predicate>) -> Predicate) -> Predicate {
    <[Predicate; 1]>::try_from(conditions).map_or_else(join, |[one]| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(query: &str) -> Result<String, String> {
        let uri = format!("/api/v1/search?{query}").parse().expect("an address");
        let asked = of_address(&uri).map(|(_, condition)| condition.to_string());
        asked.map_err(|rejection| rejection.message().to_owned())
    }

    #[test]
    fn short_forms_are_the_tree_of_a_query() {
        for (query, expected) in [
            ("", "{ }"),
            ("limit=5&order=oldest&select=.a,%20span.b&explain", "{ }"),
            ("q=%7B%20name%20%3D%20%22a%22%20%7D", "{ name = \"a\" }"),
            ("service=cart", "{ resource.service.name = \"cart\" }"),
            ("service=a%22b", "{ resource.service.name = \"a\\\"b\" }"),
            ("operation=GET%20/cart", "{ name = \"GET /cart\" }"),
            ("min_duration=300ms", "{ duration >= 300ms }"),
            ("max_duration=1h30m&min_duration=1s", "{ duration >= 1s && duration <= 90m }"),
            ("status=error", "{ status = error }"),
            ("attr=user.id=ann", "{ .user.id = \"ann\" }"),
            ("attr=a=b=c", "{ .a = \"b=c\" }"),
            ("attr=a=", "{ .a = \"\" }"),
            ("attr=a%20b=x", "{ .\"a b\" = \"x\" }"),
            ("attr=code=500", "{ .code = \"500\" || .code = 500 }"),
            ("attr=code=-2.5", "{ .code = \"-2.5\" || .code = -2.5 }"),
            ("attr=cached=true", "{ .cached = \"true\" || .cached = true }"),
            ("attr=n=99999999999999999999", "{ .n = \"99999999999999999999\" }"),
            ("attr=n=inf", "{ .n = \"inf\" }"),
            (
                "service=cart&attr=code=500&attr=a=b",
                "{ resource.service.name = \"cart\" && (.code = \"500\" || .code = 500) && .a = \"b\" }",
            ),
        ] {
            assert_eq!(printed(query).expect(query), expected, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let many = vec!["attr=a=b"; ATTRIBUTES_MAX + 1].join("&");
        for (query, word) in [
            ("services=cart", "'services'"),
            ("service=a&service=b", "'service'"),
            ("attr=a", "KEY=VALUE"),
            ("attr==a", "KEY=VALUE"),
            (many.as_str(), "64 times"),
            ("min_duration=300", "'min_duration'"),
            ("max_duration=soon", "'max_duration'"),
            ("status=fine", "'status'"),
            ("limit=all", "'limit'"),
            ("order=best", "`newest`"),
            ("count=yes", "`exact`"),
            ("explain=yes", "'explain'"),
            ("where=%7B%7D", "'where'"),
            ("q=%7B%7D&service=a", "'q'"),
            ("q=%7Bnam%7D", "^^^"),
        ] {
            let message = printed(query).expect_err(query);
            assert!(message.contains(word), "{query}: {message}");
        }
    }
}
