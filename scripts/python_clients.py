#!/usr/bin/env python3
"""The Python SDK of OpenTelemetry against the real binary: both exporters, then the trace by its ID. Then all of the
API against its OpenAPI document: what is answered is as the document says.

Usage: python_clients.py PATH-TO-TRACELAKE-BINARY (see python_clients.sh, which installs the SDK and the validators).
"""

import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from unittest import mock

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from tracelake_server import Server, get

CHILDREN = 20


def send(exporter, service: str) -> str:
    """Sends one trace and returns its ID."""
    provider = TracerProvider(resource=Resource.create({"service.name": service, "deployment.id": 7}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("python-clients", "1.2.3")
    with tracer.start_as_current_span("checkout", kind=SpanKind.SERVER) as root:
        root.set_attribute("http.response.status_code", 503)
        root.set_attribute("ratio", 0.1)
        root.set_attribute("retried", True)
        root.set_attribute("tags", ["a", "b"])
        root.set_attribute("unicode", "naïve – 追跡")
        root.add_event("exception", {"exception.type": "TimeoutError"})
        root.set_status(Status(StatusCode.ERROR, "payment timed out"))
        for number in range(CHILDREN):
            links = [Link(root.get_span_context(), {"number": number})]
            with tracer.start_as_current_span(f"step {number}", kind=SpanKind.CLIENT, links=links):
                pass
        trace_id = f"{root.get_span_context().trace_id:032x}"
    if not provider.force_flush(30_000):
        raise SystemExit(f"{service}: the exporter could not deliver")
    provider.shutdown()
    return trace_id


def check(api: str, trace_id: str, service: str) -> None:
    trace = json.loads(get(f"{api}/api/v1/traces/{trace_id}"))
    resources = trace["resourceSpans"]
    spans = [span for group in resources for scope in group["scopeSpans"] for span in scope["spans"]]
    assert len(spans) == CHILDREN + 1, f"{service}: {len(spans)} spans"
    assert len({span["spanId"] for span in spans}) == len(spans), f"{service}: a span came twice"
    attributes = {item["key"]: item["value"] for item in resources[0]["resource"]["attributes"]}
    assert attributes["service.name"] == {"stringValue": service}, attributes
    assert attributes["deployment.id"] == {"intValue": "7"}, attributes
    root = next(span for span in spans if span["name"] == "checkout")
    values = {item["key"]: item["value"] for item in root["attributes"]}
    assert values["http.response.status_code"] == {"intValue": "503"}, values
    assert values["ratio"] == {"doubleValue": 0.1}, values
    assert values["retried"] == {"boolValue": True}, values
    assert values["unicode"] == {"stringValue": "naïve – 追跡"}, values
    assert [item["stringValue"] for item in values["tags"]["arrayValue"]["values"]] == ["a", "b"], values
    assert root["kind"] == 2 and "parentSpanId" not in root, root
    assert root["status"] == {"message": "payment timed out", "code": 2}, root["status"]
    assert root["events"][0]["name"] == "exception", root
    child = next(span for span in spans if span["name"] == "step 3")
    assert child["parentSpanId"] == root["spanId"] and child["links"][0]["traceId"] == trace_id, child


class Described:
    """The API of a server, and the document that describes it: every answer is held to that."""

    def __init__(self, api: str):
        self.api = api
        self.document = json.loads(get(f"{api}/api/v1/openapi.json"))
        validate(self.document)
        operations = [one for methods in self.document["paths"].values() for one in methods.values()]
        self.unasked = {operation["operationId"] for operation in operations}

    def check(self, value, schema: dict, where: str) -> None:
        # What the schema refers to is found in the same document.
        validator = Draft202012Validator({**schema, "components": self.document["components"]})
        for error in validator.iter_errors(value):
            raise SystemExit(f"{where}: {error.json_path}: {error.message[:2000]}")

    def ask(self, method: str, path: str, status: int, query: str = "", body=None, headers=None, **names):
        """Gives what is answered: JSON, a list of lines of JSON, or bytes."""
        operation = self.document["paths"][path][method]
        where = f"{method} {path}{query} {body}: {status}"
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content and status < 300:
            self.check(body, content["schema"], f"{where}: asked")
        data = None if body is None else json.dumps(body).encode()
        url = self.api + path.format(**names) + query
        request = urllib.request.Request(url, data, headers or {}, method=method.upper())
        try:
            answer = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
        assert answer.status == status, f"{where}: {answer.status} {text[:500]}"
        described = operation["responses"][str(status)]
        for name in described.get("headers", {}):
            if name == "retry-after":
                assert answer.headers[name].isdigit(), f"{where}: {name}"
        media_type = answer.headers.get_content_type()
        assert media_type in described["content"], f"{where}: {media_type}"
        content = described["content"][media_type]
        self.unasked.discard(operation["operationId"])
        if media_type == "application/json":
            value = json.loads(text)
            self.check(value, content["schema"], where)
            return value
        if media_type == "application/x-ndjson":
            lines = [json.loads(line) for line in text.splitlines()]
            for line in lines:
                self.check(line, content["x-itemSchema"], where)
            return lines
        return text


TRACE = "/api/v1/traces/{trace_id}"
BATCH = "/api/v1/traces/batch"
SEARCH = "/api/v1/search"
EXPORT = "/api/v1/export"
CACHE = "/api/v1/cache/traces"
VALUES = "/api/v1/attributes/{key}/values"
LINES = {"accept": "application/x-ndjson"}
HTML = {"accept": "text/html"}
OF_PAGE = {"origin": "https://shop.example"}
NO_TENANT = {"x-scope-orgid": "a b"}


def send_everything(endpoint: str) -> str:
    """Sends a trace with every member and kind of value, and two different spans under one ID; returns its ID."""
    nested = {"arrayValue": {"values": [{"intValue": "-1"}, {"kvlistValue": {"values": []}}, {}]}}
    values = [
        {"stringValue": "a"}, {"boolValue": False}, {"intValue": "9007199254740993"}, {"doubleValue": 0.5},
        {"doubleValue": "NaN"}, {"doubleValue": "-Infinity"}, {"bytesValue": "YWJj"}, nested, {},
    ]  # fmt: skip
    attributes = [{"key": f"key.{number}", "value": value} for number, value in enumerate(values)]
    more = {"attributes": attributes, "droppedAttributesCount": 1}
    trace_id, start = "ab" * 16, 1_700_000_000_000_000_000
    span = {
        "traceId": trace_id, "spanId": "01" * 8, "parentSpanId": "02" * 8, "traceState": "a=b", "flags": 257,
        "name": "everything", "kind": 9, "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 5_000_000),
        "events": [{"timeUnixNano": str(start), "name": "event", **more}], "droppedEventsCount": 1,
        "links": [{"traceId": "cd" * 16, "spanId": "03" * 8, "traceState": "a=b", "flags": 1, **more}],
        "droppedLinksCount": 1, "status": {"message": "why", "code": 2}, **more,
    }  # fmt: skip
    spans = [span, {**span, "name": "another under its ID", "kind": 3, "status": {}}]
    entity = {"schemaUrl": "urn:c", "type": "service", "idKeys": ["key.0"], "descriptionKeys": ["key.1"]}
    scope = {"name": "scope", "version": "1", **more}
    resource = {"entityRefs": [entity], **more}
    scope_spans = [{"scope": scope, "spans": spans, "schemaUrl": "urn:b"}]
    groups = [{"resource": resource, "scopeSpans": scope_spans, "schemaUrl": "urn:a"}]
    body = json.dumps({"resourceSpans": groups}).encode()
    request = urllib.request.Request(endpoint, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer) == {}, "everything is taken"
    return trace_id


def ask_for_traces(api: Described, trace_ids: list[str]) -> None:
    protobuf = {"accept": "application/x-protobuf"}
    for trace_id in trace_ids:
        api.ask("get", TRACE, 200, "?start=1700000000&end=2100-01-01T00:00:00Z", trace_id=trace_id)
        assert len(api.ask("get", TRACE, 200, headers=protobuf, trace_id=trace_id)) > 100
        assert api.ask("get", TRACE, 200, "?explain=true", trace_id=trace_id)["trace"]["resourceSpans"]
    api.ask("get", TRACE, 404, trace_id="abc")
    assert api.ask("get", TRACE, 404, "?explain=true", trace_id="abc")["trace"] is None
    api.ask("get", TRACE, 400, trace_id="xyz")
    api.ask("get", TRACE, 400, "?end=soon", trace_id="abc")
    api.ask("get", TRACE, 400, headers=NO_TENANT, trace_id="abc")
    api.ask("get", TRACE, 406, headers=HTML, trace_id="abc")

    lines = api.ask("post", BATCH, 200, body={"trace_ids": [*trace_ids, "abc"], "start": 1_700_000_000})
    assert sorted(line["found"] for line in lines) == [False] + [True] * len(trace_ids), lines
    api.ask("post", BATCH, 400, body={"trace_ids": ["xyz"]})
    api.ask("post", BATCH, 400, body=[])

    assert len(api.ask("get", EXPORT, 200)) >= 1
    assert api.ask("get", EXPORT, 200, "?end=2000-01-01T00:00:00Z") == []
    api.ask("get", EXPORT, 400, "?start=2&end=1")


def ask_for_searches(api: Described, traces: int) -> None:
    select = [f".key.{number}" for number in range(9)] + ["statusMessage", "event.key.0", "resource.deployment.id"]
    everything = {
        "q": "{ }", "match": "trace", "start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z",
        "order": "longest", "limit": 2, "select": select, "spans_per_trace": 100, "count": "exact", "histogram": 5,
    }  # fmt: skip
    page = api.ask("post", SEARCH, 200, body=everything)
    assert page["total_count"] == traces and len(page["histogram"]["counts"]) == 5, page
    page = api.ask("post", SEARCH, 200, body={**everything, "cursor": page["next_cursor"], "order": "longest"})
    assert len(page["traces"]) == 2, page
    tree = [
        {"field": "name", "op": "in", "value": ["checkout", "everything"]},
        {"or": [{"field": "status", "op": "=", "value": "error"}, {"field": ".no", "op": "exists"}]},
        {"not": {"field": "duration", "op": ">", "value": "1h"}},
    ]
    asked = {"where": {"and": tree}, "page": 1, "page_size": 1, "count": "exact"}
    assert api.ask("post", SEARCH, 200, body=asked)["total_count"] == traces
    lines = api.ask("post", SEARCH, 200, body={"q": "{ status = error }", "select": select}, headers=LINES)
    assert len(lines) == traces + 1 and "end" in lines[-1], lines
    for result in ["summaries", "spans", "ids", "traces"]:
        asked = {"q": "{ status = error }", "result": result, "explain": True, "limit": 2}
        assert "explain" in api.ask("post", SEARCH, 200, body=asked), result
        assert "end" in api.ask("post", SEARCH, 200, body=asked, headers=LINES)[-1], result
        api.ask("get", SEARCH, 200, f"?status=error&limit=2&result={result}")
    api.ask("post", SEARCH, 400, body={"result": "everything"})
    api.ask("post", SEARCH, 400, body={"q": "{ duration > }"})
    api.ask("post", SEARCH, 400, body={"where": {"field": "colour", "op": "=", "value": 1}})
    api.ask("post", SEARCH, 400, body=[])
    api.ask("post", SEARCH, 406, body={}, headers=HTML)

    query = "?service=python-http&attr=http.response.status_code=503&attr=retried=true&status=error&min_duration=1ns"
    assert len(api.ask("get", SEARCH, 200, f"{query}&select=.tags,span.ratio&count=exact")["traces"]) == 1
    assert len(api.ask("get", SEARCH, 200, "?operation=checkout", headers=LINES)) == traces
    api.ask("get", SEARCH, 400, "?min_duration=300")
    api.ask("get", SEARCH, 406, headers=HTML)

    for path in ["/api/v1/services", "/api/v1/operations", "/api/v1/attributes"]:
        api.ask("get", path, 200, "?limit=5&start=1700000000")
        api.ask("get", path, 400, "?limit=0")
    for key in ["http.response.status_code", "ratio", "retried", "tags", "key.2", "nosuch"]:
        api.ask("get", VALUES, 200, key=key)
    api.ask("get", VALUES, 200, "?scope=intrinsic", key="name")
    api.ask("get", VALUES, 200, "?q=%7B%20status%20%3D%20error%20%7D&prefix=5", key="http.response.status_code")
    api.ask("get", VALUES, 400, "?scope=of", key="name")


def ask_for_operations(api: Described, trace_id: str) -> None:
    for path in ["/api/v1/flush", "/api/v1/compact", "/api/v1/retention"]:
        api.ask("post", path, 200)
        api.ask("post", path, 403, headers=OF_PAGE)
        api.ask("post", path, 400, "?now")
    api.ask("post", "/api/v1/retention", 200, "?dry_run=true")
    for path in ["/api/v1/segments", "/api/v1/partitions"]:
        name = path.rsplit("/", 1)[1]
        assert api.ask("get", path, 200)[name] and api.ask("get", path, 200, "?all=true")[name], path
        api.ask("get", path, 400, "?all=1")
    api.ask("get", "/api/v1/segments", 200, "?after=0&limit=1")

    assert api.ask("delete", CACHE + "/{trace_id}", 200, trace_id=trace_id)["dropped"] in (0, 1)
    api.ask("delete", CACHE + "/{trace_id}", 400, trace_id="xyz")
    api.ask("delete", CACHE + "/{trace_id}", 403, headers=OF_PAGE, trace_id=trace_id)
    api.ask("delete", CACHE, 200)
    api.ask("delete", CACHE, 400, headers=NO_TENANT)
    api.ask("delete", CACHE, 403, headers=OF_PAGE)

    api.ask("get", "/api/v1/status", 200)
    api.ask("get", "/api/v1/status", 400, "?verbose")
    api.ask("get", "/api/v1/openapi.json", 200)
    api.ask("get", "/api/v1/openapi.json", 400, "?version=2")
    assert api.ask("get", "/livez", 200) == b"ok\n"
    assert api.ask("get", "/readyz", 200) == b"ok\n"
    assert api.ask("get", "/readyz", 200, "?verbose")["ready"] is True
    api.ask("get", "/readyz", 400, "?x")
    assert b"tracelake_ready 1" in api.ask("get", "/metrics", 200)


def check_partial(binary: str) -> None:
    """The same of a server that takes little, whose answers lack something, and where old spans expire."""
    small = {
        "TRACELAKE_TRACE_SPANS_MAX": "10",
        "TRACELAKE_BATCH_TRACES_MAX": "1",
        "TRACELAKE_RETENTION_AGE_SECONDS_MAX": "86400",
    }
    with mock.patch.dict(os.environ, small), tempfile.TemporaryDirectory() as folder:
        with Server(binary, folder) as server:
            trace_id = send(HttpExporter(endpoint=f"{server.http}/v1/traces"), "small")
            api = Described(server.api)
            assert api.ask("get", TRACE, 206, trace_id=trace_id)["partial"]["missing"]
            assert api.ask("get", TRACE, 206, "?explain=true", trace_id=trace_id)["missing"]
            assert "partial" in api.ask("post", BATCH, 200, body={"trace_ids": [trace_id]})[-1]
            api.ask("post", BATCH, 413, body={"trace_ids": [trace_id, "abc"]})
            assert api.ask("post", SEARCH, 206, body={})["partial"]["missing"]
            assert api.ask("get", SEARCH, 200, headers=LINES)[-1]["end"]["partial"]
            send_everything(f"{server.http}/v1/traces")
            api.ask("post", "/api/v1/flush", 200)
            # Unless it was removed in the meantime there is a segment with what expires.
            api.ask("post", "/api/v1/retention", 200, "?dry_run=true")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Server(sys.argv[1], folder) as server:
        endpoint = f"{server.http}/v1/traces"
        exporters = {
            "python-grpc": GrpcExporter(endpoint=server.grpc, insecure=True),
            "python-http": HttpExporter(endpoint=endpoint),
            "python-http-gzip": HttpExporter(endpoint=endpoint, compression=Compression.Gzip),
        }
        sent = {service: send(exporter, service) for service, exporter in exporters.items()}
        for service, trace_id in sent.items():
            check(server.api, trace_id, service)
            print(f"{service}: {CHILDREN + 1} spans read back")
        trace_ids = [*sent.values(), send_everything(endpoint)]
        api = Described(server.api)
        ask_for_traces(api, trace_ids)
        ask_for_searches(api, len(trace_ids))
        ask_for_operations(api, trace_ids[0])
        # What is in a segment is answered like what is in memory.
        ask_for_traces(api, trace_ids)
        ask_for_searches(api, len(trace_ids))
        assert not api.unasked, f"nobody asked for {api.unasked}"
    check_partial(sys.argv[1])
    print("the API answers as its document says")


if __name__ == "__main__":
    main()
