//! `GET /api/v1/openapi.json`: the API as OpenAPI 3.1, made from the table of routes. What an operation takes and
//! answers stands in `described.rs` beside its handler; here is what they share.

pub(super) mod described;
pub(super) mod operation;
mod otlp;
pub(super) mod schema;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::Uri;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use tracelake::ErrorKind;

use self::schema::{list, object, shared, text, with_optional, word};
use super::routes::{self, Route};
use super::{parameters, search};

/// It is the same as long as the process lives.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document(&routes::all()).to_string()));

const DESCRIPTION: &str = "Traces of OpenTelemetry: by their IDs, and by what is in them. Where there is GET there is \
    HEAD; another method is answered 405 with an `Allow` header, another path 404 (`unknown_path`). A query \
    parameter that is not named here, or is there twice, is refused.";

/// The document.
pub(super) async fn answer(uri: Uri) -> Response {
    match parameters(&uri, &[]) {
        Ok(_) => ([(CONTENT_TYPE, "application/json")], Bytes::clone(&DOCUMENT)).into_response(),
        Err(rejection) => rejection.into_api(),
    }
}

fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(route.method.as_str().to_ascii_lowercase(), (route.described)().to_json());
        }
    }
    let schemas: Map<String, Value> = [("Error", error()), ("Gap", gap()), ("Partial", partial())]
        .into_iter()
        .chain(otlp::schemas())
        .chain(search::described::schemas())
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Tracelake", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// The envelope of every error.
fn error() -> Value {
    object([("error", object([("kind", word(&ErrorKind::ALL.map(ErrorKind::name))), ("message", text())]))])
}

/// One thing that an answer lacks.
fn gap() -> Value {
    let kind = word(&["limit", "deadline", "partition", "index", "network"]);
    with_optional(object([("kind", kind), ("why", text())]), [("segment", text())])
}

/// What an answer lacks.
fn partial() -> Value {
    object([("reason", text()), ("missing", list(shared("Gap")))])
}

#[cfg(test)]
mod tests;
