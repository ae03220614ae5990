//! The table of what the API port answers. The router and the document are both made from it: there is no route that
//! is not described, and no description without its route.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use http::Method;

use super::openapi::operation::Operation;
use super::{batch, cache, export, openapi, operations, retention, search, segments, trace, values};
use crate::shared::Shared;

/// One operation.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) handler: MethodRouter<Arc<Shared>>,
    /// What the document says of it.
    pub(super) described: fn() -> Operation,
}

/// All of them. Of one path GET is the first.
pub(super) fn all() -> Vec<Route> {
    vec![
        get("/api/v1/traces/{trace_id}", trace::by_id, trace::described::by_id),
        post("/api/v1/traces/batch", batch::traces, batch::described::traces),
        get("/api/v1/search", search::by_address, search::described::by_address),
        post("/api/v1/search", search::by_body, search::described::by_body),
        get("/api/v1/services", values::services, values::described::services),
        get("/api/v1/operations", values::operations, values::described::operations),
        get("/api/v1/attributes", values::attributes, values::described::attributes),
        get("/api/v1/attributes/{key}/values", values::values, values::described::values),
        get("/api/v1/export", export::time_range, export::described::time_range),
        delete("/api/v1/cache/traces", cache::drop_all, cache::described::drop_all),
        delete("/api/v1/cache/traces/{trace_id}", cache::drop_one, cache::described::drop_one),
        post("/api/v1/compact", operations::compact, operations::described::compact),
        post("/api/v1/flush", operations::flush, operations::described::flush),
        post("/api/v1/retention", retention::apply, retention::described::apply),
        get("/api/v1/segments", segments::segments, segments::described::segments),
        get("/api/v1/partitions", segments::partitions, segments::described::partitions),
        get("/api/v1/status", operations::status, operations::described::status),
        get("/api/v1/openapi.json", openapi::answer, openapi::described::answer),
        get("/livez", operations::livez, operations::described::livez),
        get("/readyz", operations::readyz, operations::described::readyz),
        get("/metrics", operations::metrics, operations::described::metrics),
    ]
}

/// The methods of a path, as an Allow header names them.
pub(super) fn allowed(path: &str) -> Option<&'static str> {
    static ALLOWED: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
        let mut allowed: BTreeMap<&'static str, String> = BTreeMap::new();
        for Route { method, path, .. } in all() {
            let methods = allowed.entry(path).or_default();
            if !methods.is_empty() {
                methods.push_str(", ");
            }
            // The handler of GET answers HEAD.
            methods.push_str(if method == Method::GET { "GET, HEAD" } else { method.as_str() });
        }
        allowed
    });
    ALLOWED.get(path).map(String::as_str)
}

fn get<H, T>(path: &'static str, handler: H, described: fn() -> Operation) -> Route
where
    H: Handler<T, Arc<Shared>>,
    T: 'static,
{
    Route { method: Method::GET, path, handler: routing::get(handler), described }
}

fn post<H, T>(path: &'static str, handler: H, described: fn() -> Operation) -> Route
where
    H: Handler<T, Arc<Shared>>,
    T: 'static,
{
    Route { method: Method::POST, path, handler: routing::post(handler), described }
}

fn delete<H, T>(path: &'static str, handler: H, described: fn() -> Operation) -> Route
where
    H: Handler<T, Arc<Shared>>,
    T: 'static,
{
    Route { method: Method::DELETE, path, handler: routing::delete(handler), described }
}
