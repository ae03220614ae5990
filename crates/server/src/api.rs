//! The API port: traces by ID and by what is in them, health, metrics and status. It answers errors as
//! `{"error":{"kind","message"}}` and lets no web page of another origin read anything.

mod accept;
mod batch;
mod body;
mod cache;
mod explain;
mod export;
mod lines;
mod openapi;
mod operations;
mod refused;
mod retention;
mod routes;
mod search;
mod segments;
mod times;
mod trace;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Query};
use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tracelake::ErrorKind;

use self::routes::Route;
use crate::rejection::Rejection;
use crate::shared::Shared;

pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let add = |router: Router<Arc<Shared>>, route: Route| router.route(route.path, route.handler);
    routes::all()
        .into_iter()
        .fold(Router::new(), add)
        .method_not_allowed_fallback(wrong_method)
        .fallback(wrong_path)
        .layer(axum::middleware::map_response(guard))
        .with_state(Arc::clone(shared))
}

/// What an answer says about itself to browsers and caches.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    // A trace grows, and a partial answer must not outlive what made it partial.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn wrong_path() -> Response {
    let message = "there is nothing here; a trace is at /api/v1/traces/{trace_id}, and \
                   /api/v1/openapi.json tells what else there is";
    Rejection::new(ErrorKind::UnknownPath, message).into_api()
}

async fn wrong_method(method: Method, matched: Option<MatchedPath>, uri: Uri) -> Response {
    let allowed = matched.and_then(|path| routes::allowed(path.as_str())).unwrap_or("GET, HEAD");
    let message = format!("{} takes {allowed}, not {method}", uri.path());
    let rejection = Rejection::new(ErrorKind::Invalid, message).with_status(StatusCode::METHOD_NOT_ALLOWED);
    let mut response = rejection.into_api();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Refuses what changes something to web pages: browsers send such a request to any address that a page
/// names.
fn not_for_web_pages(headers: &HeaderMap, instead: &str) -> Result<(), Rejection> {
    if headers.contains_key(ORIGIN) {
        return Err(Rejection::new(
            ErrorKind::Forbidden,
            format!("this is not for web pages; use {instead}"),
        ));
    }
    Ok(())
}

/// The query parameters of a request. One that is not in `known`, or is there twice, is refused: a
/// misspelt one must not be ignored in silence.
fn parameters(uri: &Uri, known: &[&'static str]) -> Result<BTreeMap<String, String>, Rejection> {
    parameters_and_list(uri, known, "").map(|(parameters, _)| parameters)
}

/// The same but for one that may be there any number of times: its values, in their order.
fn parameters_and_list(
    uri: &Uri,
    known: &[&'static str],
    list: &str,
) -> Result<(BTreeMap<String, String>, Vec<String>), Rejection> {
    let invalid = |message: String| Rejection::new(ErrorKind::Invalid, message);
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| invalid("the query of the address cannot be read".to_owned()))?;
    let (mut parameters, mut values) = (BTreeMap::new(), Vec::new());
    for (name, value) in pairs {
        if !known.contains(&name.as_str()) {
            let message = match known {
                [] => format!("the query parameter '{name}' is not known; there are none here"),
                _ => format!("the query parameter '{name}' is not known; there are {}", known.join(", ")),
            };
            return Err(invalid(message));
        }
        if name == list {
            values.push(value);
        } else if parameters.insert(name.clone(), value).is_some() {
            return Err(invalid(format!("the query parameter '{name}' is there more than once")));
        }
    }
    Ok((parameters, values))
}
