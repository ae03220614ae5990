#!/usr/bin/env python3
"""The Python SDK of OpenTelemetry against the real binary: both exporters, then the trace by its ID.

Usage: python_clients.py PATH-TO-TRACELAKE-BINARY (see python_clients.sh, which installs the SDK).
"""

import json
import sys
import tempfile

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


if __name__ == "__main__":
    main()
