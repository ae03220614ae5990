//! `GET /api/v1/services`, `/operations`, `/attributes` and `/attributes/{key}/values`: what people can type into a
//! search, with how many traces have it.

pub(super) mod described;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tracelake::traceql::{self, Predicate, TracePredicate};
use tracelake::values::{
    FieldScope, ListedKey, ListedValue, Listing, TypedValue, ValueTypes, ValuesQuery, ValuesRange,
    asks_of_trace, is_listed_intrinsic,
};
use tracelake::{ErrorKind, TenantId, limits};

use super::trace::{PARTIAL_HEADER, header_text, turn};
use super::{parameters, refused, times};
use crate::receive::tenant;
use crate::rejection::Rejection;
use crate::shared::Shared;

/// Entries of an answer, if nothing is said.
const LISTED: u64 = 100;

/// Up to here every integer is a double as well.
const EXACT_INT_MAX: f64 = (1u64 << 53) as f64;

/// What an index tells apart, by the words for it in conditions.
const SCOPES: [(&str, FieldScope); 6] = [
    ("span", FieldScope::Span),
    ("resource", FieldScope::Resource),
    ("instrumentation", FieldScope::Instrumentation),
    ("event", FieldScope::Event),
    ("link", FieldScope::Link),
    ("intrinsic", FieldScope::Intrinsic),
];

const OF_SERVICES: [&str; 4] = ["start", "end", "prefix", "limit"];
const OF_OPERATIONS: [&str; 5] = ["service", "start", "end", "prefix", "limit"];
const OF_ATTRIBUTES: [&str; 5] = ["scope", "start", "end", "prefix", "limit"];
const OF_VALUES: [&str; 6] = ["scope", "q", "start", "end", "prefix", "limit"];

pub(super) async fn services(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let started = Instant::now();
    answered(&shared, list_services(&shared, &uri, &headers).await, started)
}

pub(super) async fn operations(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let started = Instant::now();
    answered(&shared, list_operations(&shared, &uri, &headers).await, started)
}

pub(super) async fn attributes(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let started = Instant::now();
    answered(&shared, list_attributes(&shared, &uri, &headers).await, started)
}

pub(super) async fn values(
    State(shared): State<Arc<Shared>>,
    key: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let started = Instant::now();
    answered(&shared, list_values(&shared, key, &uri, &headers).await, started)
}

fn answered(
    shared: &Shared,
    answer: Result<(&'static str, Response), Rejection>,
    started: Instant,
) -> Response {
    let (outcome, response) = answer.unwrap_or_else(|rejection| (rejection.outcome(), rejection.into_api()));
    shared.metrics.listed(outcome, started.elapsed());
    response
}

async fn list_services(
    shared: &Shared,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(&'static str, Response), Rejection> {
    let asked = Asked::of(uri, headers, &OF_SERVICES)?;
    let store = shared.store()?;
    let _permit = turn(shared).await?;
    let found = store.services(&asked.tenant, asked.range).await;
    Ok(answer("services", &found, |one| named("service", one)))
}

async fn list_operations(
    shared: &Shared,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(&'static str, Response), Rejection> {
    let asked = Asked::of(uri, headers, &OF_OPERATIONS)?;
    let service = asked.parameters.get("service").map(String::as_str);
    let store = shared.store()?;
    let _permit = turn(shared).await?;
    let found = store.operations(&asked.tenant, service, asked.range).await;
    Ok(answer("operations", &found, |one| named("operation", one)))
}

async fn list_attributes(
    shared: &Shared,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(&'static str, Response), Rejection> {
    let asked = Asked::of(uri, headers, &OF_ATTRIBUTES)?;
    let scope = asked.scope()?;
    if scope == Some(FieldScope::Intrinsic) {
        return Err(invalid("the query parameter 'scope' is that of attributes here: intrinsics are none"));
    }
    let store = shared.store()?;
    let _permit = turn(shared).await?;
    let found = store.attributes(&asked.tenant, scope, asked.range).await;
    Ok(answer("attributes", &found, key_json))
}

async fn list_values(
    shared: &Shared,
    key: Result<Path<String>, PathRejection>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(&'static str, Response), Rejection> {
    let asked = Asked::of(uri, headers, &OF_VALUES)?;
    let Path(key) = key.map_err(|_| invalid("the key in the path is not UTF-8"))?;
    let scope = asked.scope()?;
    if scope == Some(FieldScope::Intrinsic) && !is_listed_intrinsic(&key) {
        return Err(invalid("with 'scope' of intrinsic the key is name, kind or status"));
    }
    let condition = asked.parameters.get("q").map(|text| condition(text)).transpose()?;
    let store = shared.store()?;
    let _permit = turn(shared).await?;
    let query = ValuesQuery { scope, key, condition };
    let found = store.values(&asked.tenant, query, asked.range).await;
    Ok(answer("values", &found, value_json))
}

/// What all of them are asked.
struct Asked {
    tenant: TenantId,
    parameters: BTreeMap<String, String>,
    range: ValuesRange,
}

impl Asked {
    fn of(uri: &Uri, headers: &HeaderMap, known: &[&'static str]) -> Result<Self, Rejection> {
        let tenant = tenant(headers)?;
        let mut parameters = parameters(uri, known)?;
        let hint = times::hint(&parameters)?;
        let range = ValuesRange {
            starts: hint.start_unix_nano.unwrap_or(0)..hint.end_unix_nano.unwrap_or(u64::MAX),
            prefix: parameters.remove("prefix").unwrap_or_default(),
            limit: limit(parameters.get("limit").map(String::as_str))?,
        };
        Ok(Self { tenant, parameters, range })
    }

    fn scope(&self) -> Result<Option<FieldScope>, Rejection> {
        let Some(name) = self.parameters.get("scope") else { return Ok(None) };
        let found = SCOPES.iter().find(|(other, _)| other == name).map(|(_, scope)| *scope);
        let names = || SCOPES.map(|(name, _)| name).join(", ");
        found.map(Some).ok_or_else(|| invalid(format!("the query parameter 'scope' is one of {}", names())))
    }
}

fn limit(text: Option<&str>) -> Result<usize, Rejection> {
    let max = limits::VALUES_LISTED_MAX;
    let limit = text.map_or(Some(LISTED), |text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=max).contains(limit)).and_then(|limit| usize::try_from(limit).ok());
    limit.ok_or_else(|| {
        invalid(format!("the query parameter 'limit' is a number from 1 to {max} (values_listed_max)"))
    })
}

/// Of single spans: what a trace has as a whole is not read.
fn condition(text: &str) -> Result<Predicate, Rejection> {
    match traceql::parse(text).map_err(|error| refused::rejection(&error))? {
        TracePredicate::AnySpan(condition) if !asks_of_trace(&condition) => Ok(condition),
        TracePredicate::AnySpan(_) => Err(invalid(
            "the query parameter 'q' is about single spans here: rootName, rootServiceName and traceDuration are of \
             a trace",
        )),
        _ => Err(invalid("the query parameter 'q' is one condition in braces here")),
    }
}

fn answer<T>(name: &str, found: &Listing<T>, one: impl Fn(&T) -> Value) -> (&'static str, Response) {
    let partial = tracelake::summary_of_gaps(&found.missing);
    let entries: Vec<Value> = found.entries.iter().map(one).collect();
    let body = json!({
        name: entries,
        "more": found.has_more,
        "unlisted_values": found.unlisted_values,
        "complete_up_to": times::rfc3339(found.complete_up_to_unix_nano),
        "partial": partial.as_ref().map(|reason| json!({"reason": reason, "missing": found.missing})),
    });
    let (outcome, status) = match &partial {
        Some(_) => ("partial", StatusCode::PARTIAL_CONTENT),
        None => ("complete", StatusCode::OK),
    };
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(partial) = partial {
        response.headers_mut().insert(PARTIAL_HEADER, header_text(&partial));
    }
    (outcome, response)
}

fn named(name: &str, one: &ListedValue) -> Value {
    json!({name: one.value.text(), "traces": one.traces})
}

fn key_json(one: &ListedKey) -> Value {
    let scope = SCOPES.iter().find(|(_, scope)| *scope == one.scope).map(|(name, _)| *name);
    let ValueTypes { texts, numbers, bools } = one.types;
    let types = [("string", texts), ("number", numbers), ("bool", bools)];
    let types: Vec<&str> =
        types.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect();
    json!({"scope": scope, "key": one.key, "types": types, "traces": one.traces})
}

fn value_json(one: &ListedValue) -> Value {
    let (value, name) = match &one.value {
        TypedValue::Text(text) => (json!(text), "string"),
        TypedValue::Bool(value) => (json!(value), "bool"),
        TypedValue::Number(number) => (number_json(*number), "number"),
    };
    json!({"value": value, "type": name, "traces": one.traces})
}

/// JSON has no infinity; a text stands for it, as in OTLP JSON.
fn number_json(number: f64) -> Value {
    if number.is_infinite() {
        json!(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else if number.fract() == 0.0 && number.abs() <= EXACT_INT_MAX {
        json!(number as i64)
    } else {
        json!(number)
    }
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(ErrorKind::Invalid, message)
}
