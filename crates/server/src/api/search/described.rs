//! What the document says of searches: the condition as a tree, what is asked besides, and what is found.

use serde_json::{Value, json};
use tracelake::search::SearchStats;
use tracelake::{ErrorKind, limits};

use super::short::ATTRIBUTES_MAX;
use crate::api::openapi::operation::{Operation, in_json, in_lines};
use crate::api::openapi::schema::{
    asked_time_of_body, count, either, flat, list, nanos_text, noted, number, object, or_null, shared,
    span_id, text, time, trace_id, truth, with_optional, with_required, word,
};

const Q: &str = "The condition as TraceQL.";
const START: &str = "Only spans that start then or later.";
const END: &str = "Only spans that start before.";
const LIMIT: &str = "Traces of the page, or spans, at most `search_traces_max`; of lines more.";
const RESULT: &str = "Summaries of traces; their matching spans, each at its own place in the order; the traces' IDs \
                      alone; or the traces whole.";
const CURSOR: &str = "The `next_cursor` of the page before, for the same range, condition and order, and of spans for \
                      spans. If retention has removed since what was searched it is `gone`.";
const MATCH: &str = "`trace`: each comparison may be satisfied by another span of the trace.";
const SPANS: &str = "Matching spans that are answered of each trace; of summaries alone.";
const COUNT: &str = "All traces are counted, of every page; or all spans.";
const HISTOGRAM: &str = "In so many parts of the range, each trace at its first matching span, and each span at its \
                         own start.";
const EXPLAIN: &str = "How the page was found is told, too.";
const PAGE: &str = "A page by its number, instead of `limit` and `cursor`; it needs `count`.";
const PAGE_SIZE: &str = "Traces of such a page, at most `search_traces_max`.";

/// By their names.
pub(crate) fn schemas() -> [(&'static str, Value); 10] {
    [
        ("Condition", condition()),
        ("FoundTrace", found_trace()),
        ("FoundSpan", found_span()),
        ("FoundSpanRow", found_span_row()),
        ("WholeTrace", whole_trace()),
        ("SearchPage", with_end(object([("traces", list(shared("FoundTrace")))]))),
        ("SpanPage", with_end(object([("spans", list(shared("FoundSpanRow")))]))),
        ("TraceIdPage", with_end(object([("trace_ids", list(trace_id()))]))),
        ("WholeTracePage", with_end(object([("traces", list(shared("WholeTrace")))]))),
        ("SearchEnd", with_end(object([]))),
    ]
}

pub(crate) fn by_body() -> Operation {
    answered(Operation::new("search", "search", "The traces with spans that satisfy a condition"))
        .body(asked())
        .error_as(408, ErrorKind::Invalid, "the body came too slowly.")
        .errors(&[ErrorKind::TooLarge])
}

pub(crate) fn by_address() -> Operation {
    let many = json!({"type": "array", "items": text(), "maxItems": ATTRIBUTES_MAX});
    let named = Operation::new("searchByAddress", "search", "The same for people, by an address")
        .query("q", text(), "The condition as TraceQL, or what follows: all of it is satisfied by one span.")
        .query("service", text(), "`resource.service.name` is this.")
        .query("operation", text(), "`name` is this.")
        .query("attr", many, "KEY=VALUE: `.KEY` is this, as a text or what else it can be read as.")
        .query("min_duration", text(), "`duration` is at least this, as `300ms`.")
        .query("max_duration", text(), "`duration` is at most this.")
        .query("status", word(&["error", "ok", "unset"]), "`status` is this.");
    answered(
        named
            .times("when spans started")
            .query("limit", streamed(), LIMIT)
            .query("cursor", text(), CURSOR)
            .query("order", order(), "Which traces come first.")
            .query("match", unit(), MATCH)
            .query("result", result(), RESULT)
            .query("select", text(), "As in the body, with commas between the names.")
            .query("spans_per_trace", number(0, limits::SEARCH_SPANS_MAX), SPANS)
            .query("count", word(&["exact"]), COUNT)
            .query("histogram", number(1, limits::SEARCH_HISTOGRAM_MAX), HISTOGRAM)
            .query("explain", word(&["true", "false", ""]), EXPLAIN)
            .query("page", numbered(), PAGE)
            .query("page_size", numbered(), PAGE_SIZE),
    )
}

/// What both ways of asking answer.
fn answered(operation: Operation) -> Operation {
    // A page without any traces is one of summaries and one of whole traces.
    let page = || {
        let pages = ["SearchPage", "SpanPage", "TraceIdPage", "WholeTracePage"].map(shared);
        in_json(json!({"anyOf": pages}))
    };
    let id = object([("trace_id", trace_id())]);
    let end = object([("end", shared("SearchEnd"))]);
    let line = either([shared("FoundTrace"), shared("FoundSpanRow"), id, shared("WholeTrace"), end]);
    operation
        .description(
            "A page as one JSON document or, with `Accept: application/x-ndjson`, a line for each trace as it is \
             found, or span; without the line with `end` the answer broke off, and its status is 200 whatever \
             `partial` says. A document of whole traces is sent while they are read, so its status is 200, too.",
        )
        .tenant()
        .answer(200, "The traces.", [page(), in_lines(line)])
        .partial([page()])
        .error_as(406, ErrorKind::UnsupportedMedia, "`Accept` allows neither form.")
        .errors(&[ErrorKind::Invalid, ErrorKind::Gone, ErrorKind::Throttled, ErrorKind::Unavailable])
}

/// The body.
fn asked() -> Value {
    let select = "Attributes that are answered of matching spans: `span.KEY`, `.KEY`, `resource.KEY` …";
    let names = json!({"type": "array", "items": text(), "maxItems": limits::SEARCH_SELECT_MAX});
    with_optional(
        object([]),
        [
            ("q", noted(text(), Q)),
            ("where", noted(shared("Condition"), "The condition as a tree, instead of `q`.")),
            ("match", noted(unit(), MATCH)),
            ("result", noted(result(), RESULT)),
            ("start", noted(asked_time_of_body(), START)),
            ("end", noted(asked_time_of_body(), END)),
            ("order", order()),
            ("limit", noted(streamed(), LIMIT)),
            ("cursor", noted(text(), CURSOR)),
            ("select", noted(names, select)),
            ("spans_per_trace", noted(number(0, limits::SEARCH_SPANS_MAX), SPANS)),
            ("count", noted(word(&["exact"]), COUNT)),
            ("histogram", noted(number(1, limits::SEARCH_HISTOGRAM_MAX), HISTOGRAM)),
            ("explain", noted(truth(), EXPLAIN)),
            ("page", noted(numbered(), PAGE)),
            ("page_size", noted(numbered(), PAGE_SIZE)),
        ],
    )
}

fn streamed() -> Value {
    number(1, limits::SEARCH_STREAMED_TRACES_MAX)
}

fn numbered() -> Value {
    number(1, limits::SEARCH_NUMBERED_TRACES_MAX)
}

fn order() -> Value {
    word(&["newest", "oldest", "longest"])
}

fn unit() -> Value {
    word(&["span", "trace"])
}

fn result() -> Value {
    word(&["summaries", "spans", "ids", "traces"])
}

/// The condition as a tree.
fn condition() -> Value {
    let some = || json!({"type": "array", "items": shared("Condition"), "minItems": 1});
    let op = word(&["=", "!=", ">", ">=", "<", "<=", "=~", "!~", "prefix", "contains", "exists", "in"]);
    let value = noted(json!({}), "A text, a number, a truth, null, or of `in` a list.");
    either([
        object([("and", some())]),
        object([("or", some())]),
        object([("not", shared("Condition"))]),
        with_optional(object([("field", text()), ("op", op)]), [("value", value)]),
    ])
}

fn found_trace() -> Value {
    object([
        ("trace_id", trace_id()),
        ("root_service", or_null(text())),
        ("root_name", or_null(text())),
        ("start_time", time()),
        ("start_time_unix_nano", nanos_text()),
        ("duration_nano", count()),
        ("span_count", count()),
        ("error_count", count()),
        ("services", list(text())),
        ("service_count", count()),
        ("matched", count()),
        ("spans", list(shared("FoundSpan"))),
    ])
}

fn found_span() -> Value {
    let or_number = |words: &[&str]| either([word(words), json!({"type": "integer"})]);
    let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
    object([
        ("span_id", span_id()),
        ("name", text()),
        ("service", or_null(text())),
        ("start_time_unix_nano", nanos_text()),
        ("duration_nano", count()),
        ("status", or_number(&["unset", "ok", "error"])),
        ("kind", or_number(&kinds)),
        ("attributes", noted(json!({"type": "object"}), "What was selected, by the name that it was given.")),
    ])
}

/// What every span has, and what it needs where its trace is not around it.
fn found_span_row() -> Value {
    let parent = or_null(span_id());
    with_required(
        found_span(),
        [("trace_id", trace_id()), ("parent_span_id", parent), ("start_time", time())],
    )
}

fn whole_trace() -> Value {
    let lacking = object([("kind", word(&["partial"])), ("message", text())]);
    object([("trace_id", trace_id()), ("trace", or_null(shared("Trace"))), ("error", or_null(lacking))])
}

/// What there is to say of all that is found, in a page and at the end of lines.
fn with_end(object_of: Value) -> Value {
    let histogram = object([
        ("start_time", time()),
        ("start_time_unix_nano", nanos_text()),
        ("width_nano", count()),
        ("counts", list(count())),
    ]);
    let end = with_required(
        object_of,
        [
            ("next_cursor", or_null(text())),
            ("complete_up_to", time()),
            ("partial", or_null(shared("Partial"))),
            ("stats", flat::<SearchStats>()),
        ],
    );
    with_optional(end, [("total_count", count()), ("histogram", histogram), ("explain", explained())])
}

/// How a page was found.
fn explained() -> Value {
    let condition = object([
        ("condition", noted(text(), "As TraceQL.")),
        ("how", word(&["index", "index, upper bound", "rows"])),
        ("index_bytes", or_null(count())),
    ]);
    let source = object([
        ("source", noted(text(), "`memory`, or a segment by its path.")),
        ("how", word(&["memory", "index", "scan", "not_read"])),
        ("parts", count()),
        ("candidates", count()),
        ("took_us", count()),
    ]);
    let why = word(&["unreadable", "trace_ids", "stopped", "filters", "time_range", "later"]);
    let others = json!({"type": "object", "additionalProperties": count()});
    object([
        ("as_of_generation", count()),
        ("conditions", list(condition)),
        ("sources", list(with_optional(source, [("why", noted(why, "Of one that was not read."))]))),
        ("others", noted(others, "How many further sources there are, by `how`.")),
        ("sources_us", count()),
        ("decide_us", count()),
        ("total_us", count()),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::asked::Asked;
    use super::super::short::KNOWN;
    use super::*;

    #[test]
    fn what_an_address_may_have_is_all_described() {
        let operation = by_address().to_json();
        let parameters = operation["parameters"].as_array().expect("parameters").iter();
        let of_query = parameters.filter(|parameter| parameter["in"] == "query");
        let described: BTreeSet<_> = of_query.map(|one| one["name"].as_str().expect("a name")).collect();
        assert_eq!(described, BTreeSet::from(KNOWN));
    }

    #[test]
    fn what_a_body_may_have_is_all_described() {
        let refused = serde_json::from_value::<Asked>(json!({"?": 1})).expect_err("no member").to_string();
        // The refusal names all that there are, between backticks.
        let names: BTreeSet<&str> = refused.split('`').skip(3).step_by(2).collect();
        let asked = asked();
        let described = asked["properties"].as_object().expect("members");
        let described: BTreeSet<&str> = described.keys().map(String::as_str).collect();
        assert_eq!(described, names, "{refused}");
    }
}
