#!/usr/bin/env python3
"""Other tools read what Tracelake stores: spans are sent to the real binary, it is stopped, and its
segment files are opened with DuckDB and with pyarrow, which know nothing of Tracelake. Searches count as many
traces as DuckDB does.

Usage: read_segments.py PATH-TO-TRACELAKE-BINARY (see python_clients.sh, which installs both).
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import duckdb
import pyarrow
import pyarrow.parquet
from tracelake_server import Server

# Of fewer spans the store does not decide which attributes have columns of their own.
SPANS = 2_000
START = 1_700_000_000_123_456_789
SERVICE = "naïve-shop"

# What a search is asked, and the same of the columns. Each is true of some traces, and not of all.
CONDITIONS = [
    ("span.cart.items = 3 && duration < 1us", '"attr.cart.items" = 3 AND duration_nano < 1000'),
    ("span.cart.items = 3 && span.cart.total > 400", '"attr.cart.items" = 3 AND "attr.cart.total" > 400'),
    ('span.cart.items != 3 && name = "step 3"', "\"attr.cart.items\" <> 3 AND name = 'step 3'"),
    ("span.cart.total < 20.5", '"attr.cart.total" < 20.5'),
    ("span.cart.total >= 20.5 && span.cart.total <= 100", '"attr.cart.total" BETWEEN 20.5 AND 100'),
    ("span.cached = true && span.later != nil", '"attr.cached" AND "attr.later" IS NOT NULL'),
    ("span.cached = false && status = error", 'NOT "attr.cached" AND status_code = 2'),
    ('span.user.id = "user 7 – 追跡"', "\"attr.user.id\" = 'user 7 – 追跡'"),
    ('span.user.id =~ "user 1.*"', "\"attr.user.id\" LIKE 'user 1%'"),
    ("span.user.id = nil && span.later > 1500", '"attr.user.id" IS NULL AND "attr.later" > 1500'),
    ("span.later = nil", '"attr.later" IS NULL'),
    ('span.rare = "once"', "list_contains(attributes, {'key': 'rare', 'type': 'string', 'value': 'once'})"),
    (f'resource.service.name = "{SERVICE}" && status = error', f"service_name = '{SERVICE}' AND status_code = 2"),
    ('name = "step 3" && kind = server', "name = 'step 3' AND kind = 2"),
    ('name =~ "step [12]" && kind = server', "name IN ('step 1', 'step 2') AND kind = 2"),
    ('name > "step 3" && status = error', "name > 'step 3' AND status_code = 2"),
    ("status = error", "status_code = 2"),
    ("status = unset && span.cart.total < 10", 'status_code = 0 AND "attr.cart.total" < 10'),
    ("kind = client && status = error", "kind = 3 AND status_code = 2"),
    ("duration > 20us", "duration_nano > 20000"),
    ("duration <= 5us || span.later >= 1990", 'duration_nano <= 5000 OR "attr.later" >= 1990'),
    ("!(status = error) && span.later < 50", 'NOT status_code = 2 AND "attr.later" < 50'),
    (
        'name = "step 4" && span.cart.items > 4 && duration > 10us',
        "name = 'step 4' AND \"attr.cart.items\" > 4 AND duration_nano > 10000",
    ),
]


def value(of) -> dict:
    # bool before int: in Python it is one.
    names = [(bool, "boolValue"), (int, "intValue"), (float, "doubleValue"), (str, "stringValue")]
    name = next(name for kind, name in names if isinstance(of, kind))
    return {name: str(of) if name == "intValue" else of}


def make_spans(run: int) -> list[dict]:
    """Spans of one run of the server, which become one segment."""
    spans = []
    for number in range(SPANS):
        attributes = {"cart.items": number % 7, "cart.total": number / 4, "cached": number % 3 == 0}
        if number % 2:
            attributes["user.id"] = f"user {number} – 追跡"
        if number == 5:
            # Too rare for a column.
            attributes["rare"] = "once"
        if run == 1:
            # The second segment has a column that the first one lacks.
            attributes["later"] = number
        spans.append(
            {
                "trace_id": f"{(run + 1) * 1_000_000 + number // 4:032x}",
                "span_id": f"{(run + 1) * 1_000_000 + number + 1:016x}",
                "parent_span_id": None if number % 4 == 0 else f"{(run + 1) * 1_000_000 + number:016x}",
                "name": f"step {number % 5}",
                "start": START + number * 1_000_003,
                "duration": number * 17,
                "kind": 2 if number % 4 == 0 else 3,
                "status": 2 if number % 11 == 0 else 0,
                "attributes": attributes,
            }
        )
    return spans


def send(endpoint: str, spans: list[dict]) -> None:
    otlp = []
    for span in spans:
        attributes = [{"key": key, "value": value(of)} for key, of in span["attributes"].items()]
        one = {
            "traceId": span["trace_id"], "spanId": span["span_id"], "name": span["name"],
            "kind": span["kind"], "status": {"code": span["status"]},
            "startTimeUnixNano": str(span["start"]), "attributes": attributes,
            "endTimeUnixNano": str(span["start"] + span["duration"]),
        }  # fmt: skip
        if span["parent_span_id"]:
            one["parentSpanId"] = span["parent_span_id"]
        otlp.append(one)
    resource = {"attributes": [{"key": "service.name", "value": value(SERVICE)}]}
    scope = {"name": "reader", "version": "1.2.3"}
    scope_spans = [{"scope": scope, "spans": otlp}]
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scope_spans}]}).encode()
    request = urllib.request.Request(f"{endpoint}/v1/traces", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == {}, "everything is taken"


def facts_of(spans: list[dict]) -> list[tuple]:
    names = ["trace_id", "span_id", "parent_span_id", "name", "start", "duration"]
    keys = ["cart.items", "cart.total", "cached", "user.id", "later"]
    return sorted(
        tuple(span[name] for name in names) + tuple(span["attributes"].get(key) for key in keys)
        for span in spans
    )


def as_key(row: tuple) -> tuple:
    return row[:2]


def database_of(files: list[pathlib.Path]) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    names = ", ".join(f"'{file}'" for file in files)
    database.execute(f"CREATE VIEW spans AS SELECT * FROM read_parquet([{names}], union_by_name = true)")
    return database


def check_duckdb(files: list[pathlib.Path], spans: list[dict]) -> None:
    database = database_of(files)
    types = {row[0]: row[1] for row in database.execute("DESCRIBE spans").fetchall()}
    for column, expected in {
        "tenant": "VARCHAR", "trace_id": "BLOB", "span_id": "BLOB", "name": "VARCHAR", "kind": "INTEGER",
        "start_time": "TIMESTAMP_NS", "duration_nano": "BIGINT", "service_name": "VARCHAR",
        "resource": "VARCHAR", "scope": "VARCHAR", "attr.cart.items": "BIGINT",
        "attr.cart.total": "DOUBLE", "attr.cached": "BOOLEAN", "attr.user.id": "VARCHAR",
        "attr.later": "BIGINT",
    }.items():  # fmt: skip
        assert types.get(column) == expected, f"DuckDB: {column} is {types.get(column)}, not {expected}"
    count, items, total = database.execute(
        'SELECT count(*), sum("attr.cart.items"), sum("attr.cart.total") FROM spans'
    ).fetchone()
    assert count == len(spans), f"DuckDB: {count} rows of {len(spans)}"
    assert items == sum(span["attributes"]["cart.items"] for span in spans), items
    assert total == sum(span["attributes"]["cart.total"] for span in spans), total
    rows = database.execute(
        """SELECT lower(hex(trace_id)), lower(hex(span_id)), lower(hex(parent_span_id)), name,
                  epoch_ns(start_time), duration_nano, "attr.cart.items", "attr.cart.total",
                  "attr.cached", "attr.user.id", "attr.later" FROM spans"""
    ).fetchall()
    assert sorted(rows, key=as_key) == facts_of(spans), "DuckDB: rows are not the spans that were sent"
    resources = database.execute("SELECT DISTINCT resource, scope, service_name FROM spans").fetchall()
    [(resource, scope, service)] = resources
    assert service == SERVICE and json.loads(resource)["attributes"][0]["value"] == value(SERVICE), resource
    assert json.loads(scope)["name"] == "reader", scope
    rare = database.execute(
        "SELECT attribute.key, attribute.type, attribute.value "
        "FROM (SELECT unnest(attributes) AS attribute FROM spans)"
    ).fetchall()
    assert rare == [("rare", "string", "once")] * 2, rare
    joined = database.execute(
        """SELECT count(*) FROM spans AS child JOIN spans AS parent
           ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id"""
    ).fetchone()
    assert joined == (sum(span["parent_span_id"] is not None for span in spans),), joined


def check_pyarrow(files: list[pathlib.Path], spans: list[dict]) -> None:
    tables = [pyarrow.parquet.read_table(file) for file in files]
    table = pyarrow.concat_tables(tables, promote_options="default")
    assert table.num_rows == len(spans), f"pyarrow: {table.num_rows} rows of {len(spans)}"
    for column, expected in {
        "trace_id": pyarrow.binary(16), "span_id": pyarrow.binary(8), "start_time": pyarrow.timestamp("ns"),
        "duration_nano": pyarrow.int64(), "attr.cart.items": pyarrow.int64(),
        "attr.cart.total": pyarrow.float64(), "attr.cached": pyarrow.bool_(), "attr.later": pyarrow.int64(),
    }.items():  # fmt: skip
        actual = table.schema.field(column).type
        assert actual == expected, f"pyarrow: {column} is {actual}, not {expected}"
    columns = {
        name: table.column(name).to_pylist()
        for name in ["trace_id", "span_id", "parent_span_id", "name", "duration_nano", "attr.cart.items",
                     "attr.cart.total", "attr.cached", "attr.user.id", "attr.later"]
    }  # fmt: skip
    starts = table.column("start_time").cast(pyarrow.int64()).to_pylist()
    ids = [
        [None if one is None else one.hex() for one in columns.pop(name)]
        for name in ["trace_id", "span_id", "parent_span_id"]
    ]
    rows = list(zip(*ids, columns.pop("name"), starts, *columns.values()))
    assert sorted(rows, key=as_key) == facts_of(spans), "pyarrow: rows are not the spans that were sent"


def counted(api: str, condition: str) -> int:
    """Traces with a span that satisfies it, as the search says."""
    body = json.dumps({"q": f"{{ {condition} }}", "count": "exact", "limit": 1}).encode()
    request = urllib.request.Request(f"{api}/api/v1/search", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    assert found["partial"] is None, found
    return found["total_count"]


def check_counts(folder: str, files: list[pathlib.Path], traces: int, what: str) -> None:
    database = database_of(files)
    with Server(sys.argv[1], folder) as server:
        for condition, where in CONDITIONS:
            query = f"SELECT count(DISTINCT trace_id) FROM spans WHERE {where}"
            [expected] = database.execute(query).fetchone()
            assert 0 < expected < traces, f"{condition}: {expected} of {traces} traces, which tells little"
            found = counted(server.api, condition)
            assert found == expected, f"{condition}: the search counts {found} traces in {what}, DuckDB {expected}"
    print(f"DuckDB {duckdb.__version__}: {len(CONDITIONS)} searches count the same traces in {what}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        spans = []
        for run in range(2):
            sent = make_spans(run)
            with Server(sys.argv[1], folder) as server:
                send(server.http, sent)
            spans += sent
        files = segments(folder)
        assert len(files) == 2, f"one segment a run, not {files}"
        check(files, spans, "segments as they were flushed")
        traces = len({span["trace_id"] for span in spans})
        check_counts(folder, files, traces, "segments as they were flushed")
        subprocess.run([sys.argv[1], "compact", "--data-dir", folder], check=True)
        # What was merged stays until the grace is over.
        merged = [file for file in segments(folder) if file not in files]
        assert len(merged) == 1, f"one merged segment, not {merged}"
        check(merged, spans, "a merged segment")
        check_counts(folder, merged, traces, "a merged segment")


def segments(folder: str) -> list[pathlib.Path]:
    return sorted(pathlib.Path(folder, "store", "segments").glob("*.parquet"))


def check(files: list[pathlib.Path], spans: list[dict], what: str) -> None:
    check_duckdb(files, spans)
    print(f"DuckDB {duckdb.__version__}: {len(spans)} spans read from {what}")
    check_pyarrow(files, spans)
    print(f"pyarrow {pyarrow.__version__}: {len(spans)} spans read from {what}")


if __name__ == "__main__":
    main()
