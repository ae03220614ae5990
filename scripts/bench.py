#!/usr/bin/env python3
"""Measures the whole of Tracelake as a user runs it: the release binary as server, `tracelake gen` as
its clients, both on the same cores, over loopback, on an empty store in a temporary folder.

    scripts/bench.py                        all parts once
    scripts/bench.py --runs 3               medians of three
    scripts/bench.py --parts http,lookup    some of them
    scripts/bench.py --json                 the same as one JSON object

Parts:
    http     ingest over OTLP/HTTP: spans a second, CPU of the server, its peak memory, losses
    grpc     the same over OTLP/gRPC
    latency  acknowledgements at half of the rate of `http`; then searches while as much comes in and while nothing
             does, and whether what was acknowledged is found
    disk     every file of the store, and its write-ahead log, 30 s after the last acknowledgement
    lookup   traces by ID, each asked once after other IDs; whether traces read back whole
    compact  all segments merged: its CPU and bytes; after it lookups and searches: one by one, sixteen at once, and
             the first after a start
    restart  kill -9 with a million spans in the write-ahead log: time until ready, peak memory
    long     90,000 spans/s for ten minutes over a day of event time: backlog, memory, acknowledgements,
             a restart, then lookups beside those in a store of `--spans`, and searches (only if named)
    segments the same spans in ten segments and in a thousand, none merged: lookups in turns (only if named)

`disk`, `lookup` and `compact` look at what `http` wrote; `latency` takes its rate from it. Standard library
only; Linux, for /proc.
"""

import argparse
import http.client
import json
import os
import pathlib
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from tracelake_server import free_ports

import bench_search

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ["http", "grpc", "latency", "disk", "lookup", "compact", "restart"]

# Minutes each, and therefore not among what is run without a name.
LONG_PARTS = ["long", "segments"]

# Lookups are measured without it, and so without reading in advance.
NO_TRACE_CACHE = ("--trace-cache-bytes-max", "0")

FEW_SEGMENTS, MANY_SEGMENTS = 10, 1_000
NO_MERGES = (
    "--flushed-segments-max", "10000", "--flushed-segments-waiting-max", "20000", "--slice-bytes", "16GiB",
)  # fmt: skip

# Searches at once: processes, and connections of each.
AT_ONCE = (4, 4)

# Rounds of one search of each kind before spans come in, and as many after.
QUIET_ROUNDS = 25

# Starts after which a kind's first search is measured.
FIRST_STARTS = 3

# What is measured: name, unit, what it should be (None: for information).
MEASURES = {
    "http_spans_per_second": ("HTTP ingest", "spans/s", (">=", 150_000)),
    "http_mb_per_second": ("HTTP ingest, OTLP bytes", "MB/s", None),
    "http_cpu_seconds": ("HTTP ingest, server CPU at ack", "s per million spans", ("<=", 10)),
    "http_cpu_seconds_settled": ("HTTP ingest, server CPU until flushed and idle", "s per million spans", None),
    "http_peak_mb": ("HTTP ingest, server peak memory", "MB", ("<=", 600)),
    "http_lost": ("HTTP ingest, spans lost or rejected", "spans", ("<=", 0)),
    "http_ack_p99_ms": ("HTTP ingest, ack p99 at full rate", "ms", None),
    "grpc_spans_per_second": ("gRPC ingest", "spans/s", None),
    "grpc_to_http": ("gRPC ingest against HTTP", "ratio", (">=", 0.8)),
    "grpc_cpu_seconds": ("gRPC ingest, server CPU at ack", "s per million spans", None),
    "grpc_peak_mb": ("gRPC ingest, server peak memory", "MB", ("<=", 600)),
    "grpc_lost": ("gRPC ingest, spans lost or rejected", "spans", ("<=", 0)),
    "latency_spans_per_second": ("Half rate, achieved", "spans/s", None),
    "latency_p50_ms": ("Half rate, ack p50", "ms", None),
    "latency_p99_ms": ("Half rate, ack p99", "ms", ("<=", 150)),
    "latency_max_ms": ("Half rate, ack max", "ms", None),
    "raw_bytes_per_span": ("OTLP protobuf, uncompressed", "bytes a span", None),
    "disk_bytes_per_span": ("Disk, everything 30 s after the last ack", "bytes a span", None),
    "disk_ratio": ("OTLP bytes to disk bytes", "ratio", (">=", 7)),
    "wal_idle_mb": ("WAL when idle", "MB", ("<=", 64)),
    "lookup_p50_ms": ("Trace by ID, p50", "ms", ("<=", 3)),
    "lookup_p95_ms": ("Trace by ID, p95", "ms", ("<=", 10)),
    "lookup_max_ms": ("Trace by ID, max", "ms", None),
    "unknown_p50_ms": ("Unknown ID, p50", "ms", ("<=", 1)),
    "unknown_p95_ms": ("Unknown ID, p95", "ms", None),
    "lookup_not_whole": ("Traces that do not read back whole", "traces", ("<=", 0)),
    "compact_cpu_seconds": ("Compaction, server CPU", "s per million spans", None),
    "compact_bytes_per_span": ("Compacted, segments", "bytes a span", None),
    "compact_amplification": ("Segment bytes written to those that remain", "ratio", ("<=", 2.5)),
    "compact_lookup_p50_ms": ("Compacted, trace by ID, p50", "ms", ("<=", 2)),
    "compact_lookup_p95_ms": ("Compacted, trace by ID, p95", "ms", ("<=", 6)),
    "compact_unknown_p50_ms": ("Compacted, unknown ID, p50", "ms", ("<=", 0.5)),
    "cached_p50_ms": ("Compacted, trace by ID once more, p50", "ms", ("<=", 0.5)),
    "singles_ms": ("Compacted, 1,000 traces one by one", "ms", None),
    "batch_ms": ("Compacted, 1,000 traces in a batch", "ms", None),
    "batch_to_singles": ("Batch against one by one", "ratio", ("<=", 1 / 3)),
    "compact_not_whole": ("Compacted, traces that do not read back whole", "traces", ("<=", 0)),
    **bench_search.measures("search", bench_search.SEARCHES),
    **{f"list_{kind}_p50_ms": (f"{what}, p50", "ms", None) for kind, (what, _) in bench_search.LISTS.items()},
    "search_single_per_second": ("Searches of all kinds, one at a time", "searches/s", None),
    "search_at_once_per_second": ("Searches of all kinds, 16 at once", "searches/s", None),
    "search_at_once_cores": ("Searches, 16 at once, cores that the server used", "cores", (">=", 1.6)),
    "search_first_ms": ("Search, the first after a start, median of six kinds", "ms", None),
    "search_first_to_warm": ("Search, the first after a start against that kind's warm p50", "ratio", ("<=", 3)),
    "search_quiet_p95_ms": ("Searches of all kinds, no ingest, p95", "ms", None),
    "search_ingest_p95_ms": ("Searches of all kinds, ingest at half rate, p95", "ms", None),
    "search_ingest_to_quiet": ("Searches, p95 with ingest against p95 without", "ratio", ("<=", 2)),
    "search_ingest_spans_per_second": ("Ingest beside searches, achieved", "spans/s", None),
    "search_ingest_lost": ("Ingest beside searches, spans lost or rejected", "spans", ("<=", 0)),
    "search_marked": ("Ingest beside searches, spans searched for at their ack", "spans", None),
    "search_marked_not_found": ("Ingest beside searches, those that were not found", "spans", ("<=", 0)),
    "restart_wal_mb": ("Restart, WAL to replay", "MB", None),
    "restart_ready_seconds": ("Restart, until ready", "s", ("<=", 5)),
    "restart_peak_mb": ("Restart, peak memory", "MB", ("<=", 600)),
    "restart_not_whole": ("Restart, traces that do not read back whole", "traces", ("<=", 0)),
    "long_spans": ("Long run, spans", "spans", (">=", 30_000_000)),
    "long_spans_per_second": ("Long run, achieved", "spans/s", None),
    "long_lost": ("Long run, spans lost or rejected", "spans", ("<=", 0)),
    "long_retries": ("Long run, requests that were slowed down", "requests", ("<=", 0)),
    "long_ack_p99_ms": ("Long run, ack p99", "ms", ("<=", 150)),
    "long_waiting_max_first_half": ("Long run, segments that wait to be merged, highest of the first half", "", None),
    "long_waiting_max_second_half": ("Long run, the same of the second half", "", None),
    "long_memory_mb_first_half": ("Long run, memory, highest of the first half", "MB", None),
    "long_memory_mb_second_half": ("Long run, memory, highest of the second half", "MB", None),
    "long_cpu_seconds": ("Long run, server CPU, settled", "s per million spans", ("<=", 14)),
    "long_bytes_per_span": ("Long run, settled, segments", "bytes a span", None),
    "long_amplification": ("Long run, segment bytes written to those that remain", "ratio", ("<=", 2.5)),
    "long_segments": ("Long run, segments", "", None),
    "long_lookup_p50_ms": ("Long run, trace by ID, p50", "ms", None),
    "long_few_lookup_p50_ms": ("Long run, the same in a store of `--spans`, compacted, in turns", "ms", None),
    "long_lookup_to_few": ("Long run, the one to the other", "ratio", ("<=", 1.5)),
    "long_lookup_p95_ms": ("Long run, trace by ID, p95", "ms", None),
    "long_unknown_p50_ms": ("Long run, unknown ID, p50", "ms", ("<=", 0.5)),
    "long_not_whole": ("Long run, traces that do not read back whole", "traces", ("<=", 0)),
    **bench_search.measures("long_search", bench_search.LONG_SEARCHES),
    "segments_few_lookup_p50_ms": ("10 segments, trace by ID, p50", "ms", None),
    "segments_many_lookup_p50_ms": ("1,000 segments of the same spans, trace by ID, p50", "ms", None),
    "segments_many_to_few": ("1,000 segments to 10, trace by ID, p50", "ratio", ("<=", 1.5)),
    "segments_many_first_read_p50_ms": ("1,000 segments, the first 100 reads after a start, p50", "ms", ("<=", 10)),
    "segments_many_unknown_p50_ms": ("1,000 segments, unknown ID, p50", "ms", ("<=", 0.5)),
    "segments_many_unknown_reads": ("1,000 segments, what 20,000 unknown IDs read", "ranges", ("<=", 20)),
    "segments_many_resident_kb": ("1,000 segments, filter and metadata resident", "KB a segment", None),
    "segments_few_resident_kb": ("10 segments, the same", "KB a segment", None),
    "segments_not_whole": ("10 and 1,000 segments, traces that do not read back whole", "traces", ("<=", 0)),
    "long_restart_ready_seconds": ("Long run, restart until ready", "s", ("<=", 5)),
    "long_first_read_p50_ms": ("Long run, the first 100 reads after it, p50", "ms", ("<=", 10)),
}


class Server:
    """A `tracelake serve` of our own."""

    def __init__(self, binary, data_dir, log_path, extra=()):
        grpc, http, api = free_ports(3)
        self.grpc = f"http://127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self.api = f"http://127.0.0.1:{api}"
        self.data_dir = data_dir
        self.log_path = log_path
        self.log = open(log_path, "ab")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [
                binary,
                "serve",
                "--data-dir",
                str(data_dir),
                "--otlp-grpc-addr",
                f"127.0.0.1:{grpc}",
                "--otlp-http-addr",
                f"127.0.0.1:{http}",
                "--api-addr",
                f"127.0.0.1:{api}",
                *extra,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def wait_ready(self, timeout=120.0):
        """Seconds from start to the first 200 of /readyz."""
        while time.monotonic() - self.started < timeout:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}; see {self.log_path}")
            try:
                with urllib.request.urlopen(f"{self.api}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return time.monotonic() - self.started
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.01)
        raise SystemExit(f"the server was not ready within {timeout} s; see {self.log_path}")

    def cpu_seconds(self):
        """User and system time so far."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        # The command's name is in parentheses and may hold anything.
        fields = stat[stat.rindex(")") + 2 :].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def store_status(self):
        """What /api/v1/status says of the store."""
        with urllib.request.urlopen(f"{self.api}/api/v1/status", timeout=5) as answer:
            return json.load(answer)["store"]

    def peak_mb(self, line_of="VmHWM:"):
        """Peak resident memory so far, or that of now (VmRSS)."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(line_of):
                return int(line.split()[1]) * 1024 / 1e6
        return float("nan")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SystemExit("the server did not end within 60 s of SIGTERM")
        self.log.close()
        if self.process.returncode != 0:
            raise SystemExit(f"the server ended with {self.process.returncode}; see {self.log_path}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


def file_bytes(folder):
    """All bytes of all files: (everything, the write-ahead log's). A file counts as long as it is,
    or as much as it occupies if that is more, so that room taken in advance is not overlooked."""
    total = wal = 0
    for path in pathlib.Path(folder).rglob("*"):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            size = max(stat.st_size, stat.st_blocks * 512)
            total += size
            if "wal" in path.relative_to(folder).parts[:-1]:
                wal += size
    return total, wal


def median_of(rounds, which, kind, quantile):
    """Of lookups in one of two stores, over rounds of both."""
    return statistics.median(both[which][kind][quantile] for both in rounds)


def median_ratio(rounds):
    """Of lookups in the second store to those in the first, which were measured in the same moments."""
    return statistics.median(second["lookup_ms"]["p50"] / first["lookup_ms"]["p50"] for first, second in rounds)


def not_whole(rounds):
    lookups = [one for both in rounds for one in both]
    return sum(one["missing"] + one["wrong"] + one["partial"] for one in lookups)


class Bench:
    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.servers = []

    def note(self, text):
        print(text, file=sys.stderr, flush=True)

    def gen(self, *arguments):
        """The report of one `tracelake gen`."""
        return self.report(self.begin_gen(*arguments))

    def begin_gen(self, *arguments):
        """One that runs beside what is measured."""
        command = [self.args.binary, "gen", "--json", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def report(self, running):
        """What it says at its end. Exit code 3 is a report with losses."""
        said, _ = running.communicate()
        if running.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(running.args)}: exit code {running.returncode}")
        report = json.loads(said)
        for key in ("first_failure", "first"):
            if report.get(key):
                self.note(f"  gen: {report[key]}")
        return report

    def start(self, name, extra=(), keep=False):
        data_dir = self.folder / name
        if data_dir.exists() and not keep:
            shutil.rmtree(data_dir)
        server = Server(self.args.binary, data_dir, self.folder / f"{name}.log", extra)
        self.servers.append(server)
        return server

    def ingest(self, name, server, protocol, ids=None):
        endpoint = server.grpc if protocol == "grpc" else server.http
        extra = ["--ids-out", ids] if ids else []
        before = server.cpu_seconds()
        report = self.gen(
            "--spans", self.args.spans, "--seed", self.args.seed, "--protocol", protocol,
            "--endpoint", endpoint, "--connections", self.args.connections, *extra,
        )  # fmt: skip
        cpu = server.cpu_seconds() - before
        millions = report["acked_spans"] / 1e6
        result = {
            f"{name}_spans_per_second": report["spans_per_second"],
            f"{name}_mb_per_second": report["mb_per_second"],
            f"{name}_cpu_seconds": cpu / millions,
            f"{name}_lost": report["lost_spans"] + report["rejected_spans"],
            f"{name}_ack_p99_ms": report["ack_ms"]["p99"],
        }
        return report, before, result

    def check_whole(self, server, ids, lookups, seed):
        report = self.gen(
            "--lookup-ids", ids, "--api", server.api, "--lookups", lookups, "--lookup-warmup", 0,
            "--lookup-format", "protobuf", "--seed", seed,
        )  # fmt: skip
        return report["missing"] + report["wrong"] + report["partial"]

    def run(self, parts):
        result = {}
        if {"http", "latency", "disk", "lookup", "compact"} & parts:
            self.note("http: ingest")
            ids = self.folder / "ids"
            server = self.start("http", NO_TRACE_CACHE)
            server.wait_ready()
            report, cpu_before, measured = self.ingest("http", server, "http", ids)
            acked = time.monotonic()
            measured["http_peak_mb"] = server.peak_mb()
            raw_bytes = report["raw_bytes"]
            result["raw_bytes_per_span"] = raw_bytes / report["spans"]
            result.update(measured)
            if "disk" in parts:
                self.note("disk: waiting for 30 s after the last ack")
                time.sleep(max(0.0, acked + 30 - time.monotonic()))
                total, wal = file_bytes(server.data_dir)
                result["disk_bytes_per_span"] = total / report["spans"]
                result["disk_ratio"] = raw_bytes / total
                result["wal_idle_mb"] = wal / 1e6
                millions = report["acked_spans"] / 1e6
                result["http_cpu_seconds_settled"] = (server.cpu_seconds() - cpu_before) / millions
                # Memory may peak while the last spans are flushed.
                result["http_peak_mb"] = server.peak_mb()
            if "lookup" in parts:
                self.note("lookup: by ID")
                lookups = self.lookups(server, ids, self.args.seed)
                result["lookup_p50_ms"] = lookups["lookup_ms"]["p50"]
                result["lookup_p95_ms"] = lookups["lookup_ms"]["p95"]
                result["lookup_max_ms"] = lookups["lookup_ms"]["max"]
                result["unknown_p50_ms"] = lookups["unknown_ms"]["p50"]
                result["unknown_p95_ms"] = lookups["unknown_ms"]["p95"]
                bad = lookups["missing"] + lookups["wrong"] + lookups["partial"]
                sample = self.args.check_traces
                result["lookup_not_whole"] = bad + self.check_whole(server, ids, sample, self.args.seed + 1)
            if "compact" in parts:
                result.update(self.compact(server, ids, report["acked_spans"] / 1e6))
            else:
                server.stop()
            shutil.rmtree(server.data_dir)
        if "grpc" in parts:
            self.note("grpc: ingest")
            server = self.start("grpc")
            server.wait_ready()
            _, _, measured = self.ingest("grpc", server, "grpc")
            measured["grpc_peak_mb"] = server.peak_mb()
            result.update(measured)
            server.stop()
            shutil.rmtree(server.data_dir)
        if "latency" in parts:
            result.update(self.latency(max(1, int(result["http_spans_per_second"] / 2))))
        if "restart" in parts:
            result.update(self.restart())
        if "long" in parts:
            result.update(self.long())
        if "segments" in parts:
            result.update(self.segments())
        return result

    def lookups(self, server, ids, seed, unknown=1_000, count=2_000, warmup=200):
        return self.gen(
            "--lookup-ids", ids, "--api", server.api, "--lookups", count, "--lookup-warmup", warmup,
            "--lookup-unknown", unknown, "--seed", seed,
        )  # fmt: skip

    def latency(self, rate):
        self.note(f"latency: at {rate} spans/s")
        ids = self.folder / "latency-ids"
        server = self.start("latency")
        server.wait_ready()
        sent = [
            "--spans", self.args.spans, "--endpoint", server.http, "--connections", self.args.connections,
            "--rate", rate,
        ]  # fmt: skip
        report = self.gen(*sent, "--seed", self.args.seed, "--ids-out", ids)
        measured = {
            "latency_spans_per_second": report["spans_per_second"],
            "latency_p50_ms": report["ack_ms"]["p50"],
            "latency_p99_ms": report["ack_ms"]["p99"],
            "latency_max_ms": report["ack_ms"]["max"],
        }
        measured.update(self.search_beside_ingest(server, ids, [*sent, "--seed", self.args.seed + 1]))
        server.stop()
        shutil.rmtree(server.data_dir)
        return measured

    def search_beside_ingest(self, server, ids, sent):
        """The same kinds in turns before, while and after spans come in: the store grows meanwhile, so what is without
        ingest is of both sides of it."""
        drawn = bench_search.Drawn(bench_search.Api(server.api), ids, random.Random(self.args.seed + 9))

        def rounds(count):
            connection = bench_search.Api(server.api)
            return [connection.search(body)[1] for _ in range(count) for body in drawn.round()]

        self.note("latency: searches without ingest")
        self.wait_idle(server)
        rounds(5)
        quiet = rounds(QUIET_ROUNDS)
        self.note("latency: searches beside ingest")
        beside, found = [], []
        marks = bench_search.Marks(server.http, server.api, random.Random(self.args.seed + 10))
        sending = self.begin_gen(*sent)
        while sending.poll() is None:
            found.append(marks.is_found())
            beside += rounds(1)
        report = self.report(sending)
        self.note("latency: searches without ingest once more")
        self.wait_idle(server)
        rounds(5)
        quiet += rounds(QUIET_ROUNDS)
        quiet_ms, beside_ms = bench_search.p95(quiet), bench_search.p95(beside)
        return {
            "search_quiet_p95_ms": quiet_ms,
            "search_ingest_p95_ms": beside_ms,
            "search_ingest_to_quiet": beside_ms / quiet_ms,
            "search_ingest_spans_per_second": report["spans_per_second"],
            "search_ingest_lost": report["lost_spans"] + report["rejected_spans"],
            "search_marked": len(found),
            "search_marked_not_found": found.count(False),
        }

    def long(self):
        seconds, rate = self.args.long_seconds, self.args.long_rate
        self.note(f"long: {rate} spans/s for {seconds} s")
        ids = self.folder / "long-ids"
        server = self.start("long")
        server.wait_ready()
        sending = self.begin_gen(
            "--spans", seconds * rate, "--rate", rate, "--span-of-time", "24h", "--seed", self.args.seed,
            "--endpoint", server.http, "--connections", self.args.connections, "--ids-out", ids,
        )  # fmt: skip
        samples = []
        while sending.poll() is None:
            store = server.store_status()
            samples.append((store["compaction"]["waiting_segments"], server.peak_mb("VmRSS:")))
            time.sleep(2)
        report = self.report(sending)
        first, second = samples[: len(samples) // 2], samples[len(samples) // 2 :]
        self.note("long: until everything is merged that is to be")
        cpu = self.wait_idle(server)
        store = server.store_status()
        millions = report["acked_spans"] / 1e6
        # What is there is what was flushed and written by merges less what they read and replaced.
        written = store["segment_bytes"] + store["compaction"]["bytes_read"]
        measured = {
            "long_spans": report["acked_spans"],
            "long_spans_per_second": report["spans_per_second"],
            "long_lost": report["lost_spans"] + report["rejected_spans"],
            "long_retries": report["retries"],
            "long_ack_p99_ms": report["ack_ms"]["p99"],
            "long_waiting_max_first_half": max(waiting for waiting, _ in first),
            "long_waiting_max_second_half": max(waiting for waiting, _ in second),
            "long_memory_mb_first_half": max(memory for _, memory in first),
            "long_memory_mb_second_half": max(memory for _, memory in second),
            "long_cpu_seconds": cpu / millions,
            "long_bytes_per_span": store["segment_bytes"] / store["segment_rows"],
            "long_amplification": written / store["segment_bytes"],
            "long_segments": store["segments"],
        }
        server.stop()
        self.note("long: restart")
        server = self.start("long", NO_TRACE_CACHE, keep=True)
        measured["long_restart_ready_seconds"] = server.wait_ready()
        reads = self.lookups(server, ids, self.args.seed + 7, 0, 100, 0)
        measured["long_first_read_p50_ms"] = reads["lookup_ms"]["p50"]
        measured.update(self.beside_few(server, ids))
        self.note("long: searches")
        measured.update(self.searches("long_search", server, ids, bench_search.LONG_SEARCHES))
        server.stop()
        shutil.rmtree(server.data_dir)
        return measured

    def beside_few(self, server, ids):
        """Lookups in a large store, and in the same minutes in a compacted one of `--spans`."""
        few_ids = self.folder / "few-ids"
        few = self.start("few", NO_TRACE_CACHE)
        few.wait_ready()
        self.note("long: the store to compare with")
        self.ingest("few", few, "http", few_ids)
        self.wait_flushed(few)
        self.compact_all(few)
        few.stop()
        few = self.start("few", NO_TRACE_CACHE, keep=True)
        few.wait_ready()
        self.note("long: lookups in both, in turns")
        rounds = [
            (self.lookups(few, few_ids, seed), self.lookups(server, ids, seed))
            for seed in range(self.args.seed, self.args.seed + 5)
        ]
        few.stop()
        shutil.rmtree(few.data_dir)
        return {
            "long_lookup_p50_ms": median_of(rounds, 1, "lookup_ms", "p50"),
            "long_lookup_p95_ms": median_of(rounds, 1, "lookup_ms", "p95"),
            "long_unknown_p50_ms": median_of(rounds, 1, "unknown_ms", "p50"),
            "long_few_lookup_p50_ms": median_of(rounds, 0, "lookup_ms", "p50"),
            "long_lookup_to_few": median_ratio(rounds),
            "long_not_whole": not_whole(rounds),
        }

    def segments(self):
        few, few_ids = self.unmerged("few", FEW_SEGMENTS)
        many, many_ids = self.unmerged("many", MANY_SEGMENTS)
        first = self.lookups(many, many_ids, self.args.seed + 7, 0, 100, 0)
        self.note("segments: lookups in both, in turns")
        rounds = [
            (self.lookups(few, few_ids, seed), self.lookups(many, many_ids, seed))
            for seed in range(self.args.seed, self.args.seed + 5)
        ]
        read_before = many.store_status()["reads"]["range_reads"]
        self.lookups(many, many_ids, self.args.seed + 8, 20_000, 0, 0)
        result = {
            "segments_few_lookup_p50_ms": median_of(rounds, 0, "lookup_ms", "p50"),
            "segments_many_lookup_p50_ms": median_of(rounds, 1, "lookup_ms", "p50"),
            "segments_many_to_few": median_ratio(rounds),
            "segments_many_first_read_p50_ms": first["lookup_ms"]["p50"],
            "segments_many_unknown_p50_ms": median_of(rounds, 1, "unknown_ms", "p50"),
            "segments_many_unknown_reads": many.store_status()["reads"]["range_reads"] - read_before,
            "segments_not_whole": not_whole(rounds),
        }
        for name, server in (("few", few), ("many", many)):
            store = server.store_status()
            resident = store["caches"]["metadata_bytes"] + store["caches"]["filter_bytes"]
            result[f"segments_{name}_resident_kb"] = resident / store["segments"] / 1_000
            server.stop()
            shutil.rmtree(server.data_dir)
        return result

    def unmerged(self, name, segments):
        """A server with so many segments, its filters in memory, and the IDs of its traces."""
        self.note(f"segments: {segments}")
        shutil.rmtree(self.folder / name, ignore_errors=True)
        fill = ["cargo", "run", "--release", "-p", "tracelake", "--example", "segments", "--"]
        arguments = [self.folder / name, segments, self.args.spans]
        subprocess.run([*fill, *map(str, arguments)], cwd=ROOT, check=True)
        server = self.start(name, (*NO_TRACE_CACHE, *NO_MERGES), keep=True)
        server.wait_ready()
        while (store := server.store_status())["caches"]["filters"] < segments:
            time.sleep(0.1)
        if store["segments"] != segments:
            raise SystemExit(f"{store['segments']} segments instead of {segments}")
        return server, self.folder / f"{name}.ids"

    def wait_flushed(self, server):
        """What is in memory is no segment yet."""
        while server.store_status()["memtable_spans"]:
            time.sleep(1)

    def wait_idle(self, server):
        """Everything is flushed and merged that is to be; the CPU time that the server has taken by then."""
        self.wait_flushed(server)
        quiet, cpu = 0, server.cpu_seconds()
        while quiet < 10:
            time.sleep(2)
            now = server.cpu_seconds()
            quiet, cpu = (quiet + 2 if now - cpu < 0.2 else 0), now
        return cpu

    def compact_all(self, server):
        """Merges everything; the answer."""
        request = urllib.request.Request(server.api + "/api/v1/compact", method="POST")
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def compact(self, server, ids, millions):
        self.note("compact: all segments")
        self.wait_flushed(server)
        before = server.cpu_seconds()
        done = self.compact_all(server)
        cpu = server.cpu_seconds() - before
        store = server.store_status()
        lookups = self.lookups(server, ids, self.args.seed + 2)
        bad = lookups["missing"] + lookups["wrong"] + lookups["partial"]
        singles, batch = self.batches(server, ids)
        self.note("compact: searches")
        searched = self.searches("search", server, ids, bench_search.SEARCHES)
        listed = bench_search.lists(server.api, ids, self.args.seed + 13)
        searched.update({f"list_{kind}_p50_ms": p50 for kind, (p50, _) in listed.items()})
        searched.update(self.searches_at_once(server, ids))
        sample = self.args.check_traces
        bad += self.check_whole(server, ids, sample, self.args.seed + 3)
        searched.update(self.first_searches(server, ids, searched))
        server = self.start("http", keep=True)
        server.wait_ready()
        # Few enough to be in the cache together; the first pass fills it.
        for _ in range(2):
            cached = self.gen(
                "--lookup-ids", ids, "--api", server.api, "--lookups", 300,
                "--lookup-warmup", 0, "--seed", self.args.seed + 4,
            )  # fmt: skip
        server.stop()
        return {
            "cached_p50_ms": cached["lookup_ms"]["p50"],
            **searched,
            "singles_ms": singles,
            "batch_ms": batch,
            "batch_to_singles": batch / singles,
            "compact_cpu_seconds": cpu / millions,
            "compact_bytes_per_span": store["segment_bytes"] / store["segment_rows"],
            "compact_amplification": (done["bytes_read"] + done["bytes_written"]) / store["segment_bytes"],
            "compact_lookup_p50_ms": lookups["lookup_ms"]["p50"],
            "compact_lookup_p95_ms": lookups["lookup_ms"]["p95"],
            "compact_unknown_p50_ms": lookups["unknown_ms"]["p50"],
            "compact_not_whole": bad,
        }

    def searches(self, prefix, server, ids, kinds):
        measured = bench_search.searches(server.api, ids, self.args.seed + 6, kinds)
        return {
            f"{prefix}_{kind}_{quantile}_ms": one[quantile]
            for kind, one in measured.items()
            for quantile in ("p50", "p95")
        }

    def searches_at_once(self, server, ids):
        self.note("compact: searches, 16 at once and one at a time")
        seed = self.args.seed + 11
        at_once, cores = bench_search.search_at_once(server, ids, seed, *AT_ONCE)
        single, _ = bench_search.search_at_once(server, ids, seed, 1, 1)
        return {
            **{f"list_{kind}_p50_ms": (f"{what}, p50", "ms", None) for kind, (what, _) in bench_search.LISTS.items()},
    "search_single_per_second": single,
            "search_at_once_per_second": at_once,
            "search_at_once_cores": cores,
        }

    def first_searches(self, server, ids, warm):
        """One search a start, each after a kill. Values are drawn before, as that reads what a search would. What the
        kernel has of the files stays."""
        self.note("compact: the first search after a start")
        drawn = bench_search.Drawn(bench_search.Api(server.api), ids, random.Random(self.args.seed + 12))
        times, ratios = [], []
        kinds = bench_search.FIRST_SEARCHES * FIRST_STARTS
        for kind, body in [(kind, drawn.body(kind)) for kind in kinds]:
            server.kill()
            server = self.start("http", NO_TRACE_CACHE, keep=True)
            server.wait_ready()
            _, took_ms = bench_search.Api(server.api).search(body)
            times.append(took_ms)
            ratios.append(took_ms / warm[f"search_{kind}_p50_ms"])
        server.stop()
        return {"search_first_ms": statistics.median(times), "search_first_to_warm": statistics.median(ratios)}

    def batches(self, server, ids):
        """Other IDs each time, none asked before: milliseconds one by one, and as a batch, on average over rounds in
        turns: the machine is not the same from second to second."""
        self.note("compact: 1,000 traces one by one and in a batch, in turns")
        rounds = 3
        with open(ids) as file:
            lines = [line.split() for line in file]
        chosen = random.Random(self.args.seed + 5).sample(lines, 2_000 * rounds)
        pairs = [self.batch(server, chosen[2_000 * at :][:2_000]) for at in range(rounds)]
        return [statistics.mean(times) for times in zip(*pairs)]

    def batch(self, server, chosen):
        host = server.api.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=600)

        def ask(method, path, body=None):
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{method} {path}: {answer.status} {text[:500]}")
            return text

        begun = time.perf_counter()
        for trace_id, _ in chosen[:1_000]:
            ask("GET", "/api/v1/traces/" + trace_id)
        singles = time.perf_counter() - begun
        wanted = dict(chosen[1_000:])
        begun = time.perf_counter()
        text = ask("POST", "/api/v1/traces/batch", json.dumps({"trace_ids": list(wanted)}))
        batch = time.perf_counter() - begun
        for line in map(json.loads, text.splitlines()):
            scopes = [scope for part in line["trace"]["resourceSpans"] for scope in part["scopeSpans"]]
            spans = sum(len(scope["spans"]) for scope in scopes)
            if line["error"] or spans != int(wanted.pop(line["trace_id"])):
                raise SystemExit(f"the batch answers {line['trace_id']} wrongly")
        if wanted:
            raise SystemExit(f"the batch lacks {len(wanted)} traces")
        return 1e3 * singles, 1e3 * batch

    def restart(self):
        """Nothing is flushed before the kill; the start after it has the settings of a usual one."""
        self.note("restart: ingest with a generation larger than all of it")
        ids = self.folder / "restart-ids"
        never = ["--generation-bytes-max", str(32 << 30), "--generation-age-seconds-max", "86400"]
        server = self.start("restart", never)
        server.wait_ready()
        spans = self.args.restart_spans
        report = self.gen("--spans", spans, "--seed", self.args.seed, "--endpoint", server.http, "--ids-out", ids)
        if report["lost_spans"]:
            raise SystemExit(f"restart: {report['lost_spans']} spans were not acknowledged before the kill")
        server.kill()
        _, wal = file_bytes(server.data_dir)
        self.note("restart: after kill -9")
        server = self.start("restart", keep=True)
        ready = server.wait_ready()
        measured = {
            "restart_wal_mb": wal / 1e6,
            "restart_ready_seconds": ready,
            "restart_peak_mb": server.peak_mb(),
        }
        measured["restart_not_whole"] = self.check_whole(server, ids, 1_000, self.args.seed)
        server.stop()
        shutil.rmtree(server.data_dir)
        return measured


def build():
    subprocess.run(["cargo", "build", "--release", "-p", "tracelake-cli"], cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return str(pathlib.Path(target) / "release" / "tracelake")


def text(value):
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def is_met(value, target):
    relation, bound = target
    return value >= bound if relation == ">=" else value <= bound


def markdown(machine, medians, runs):
    lines = [
        f"{machine['version']}, {machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel']}; "
        f"median of {len(runs)}.",
        "",
        "| measure | target | measured | | each run |",
        "|---|---|---|---|---|",
    ]
    for name, (title, unit, target) in MEASURES.items():
        if name not in medians:
            continue
        wanted = f"{'≥' if target[0] == '>=' else '≤'} {text(target[1])}" if target else ""
        mark = "" if not target else ("met" if is_met(medians[name], target) else "**missed**")
        each = ", ".join(text(run[name]) for run in runs if name in run) if len(runs) > 1 else ""
        lines.append(f"| {title} ({unit}) | {wanted} | {text(medians[name])} | {mark} | {each} |")
    return "\n".join(lines)


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas between")
    parser.add_argument("--runs", type=int, default=1, help="how often; the table has the medians")
    parser.add_argument("--spans", type=int, default=1_500_000, help="spans of each ingest")
    parser.add_argument("--restart-spans", type=int, default=1_000_000, help="spans in the log of `restart`")
    parser.add_argument("--check-traces", type=int, default=5_000, help="traces to read back in `lookup`")
    parser.add_argument("--connections", type=int, default=4, help="connections that send")
    parser.add_argument("--long-seconds", type=int, default=600, help="how long `long` sends")
    parser.add_argument("--long-rate", type=int, default=90_000, help="spans a second that it sends")
    parser.add_argument("--seed", type=int, default=1, help="of the workload")
    parser.add_argument("--folder", help="where stores go instead of a temporary folder; is kept")
    parser.add_argument("--binary", help="a tracelake that is built already")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    parts = set(args.parts.split(","))
    if unknown := parts - set(PARTS + LONG_PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS + LONG_PARTS)}")
    args.binary = args.binary or build()
    version = subprocess.run([args.binary, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    folder = pathlib.Path(args.folder or tempfile.mkdtemp(prefix="tracelake-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(args, folder)
    try:
        runs = []
        for number in range(args.runs):
            bench.note(f"run {number + 1} of {args.runs}")
            runs.append(bench.run(parts))
    except SystemExit:
        # The logs say why.
        bench.note(f"left as it is: {folder}")
        raise
    else:
        if not args.folder:
            shutil.rmtree(folder)
    finally:
        for server in bench.servers:
            server.kill()
    names = [name for name in MEASURES if any(name in run for run in runs)]
    medians = {name: statistics.median(run[name] for run in runs if name in run) for name in names}
    if "grpc_spans_per_second" in medians and "http_spans_per_second" in medians:
        # Of the medians: a shared machine is slow for minutes, and then for one of the two only.
        medians["grpc_to_http"] = medians["grpc_spans_per_second"] / medians["http_spans_per_second"]
    machine = {
        "version": version.stdout.strip(),
        "cores": os.cpu_count(),
        "cpu": cpu_name(),
        "kernel": platform.release(),
    }
    if args.json:
        missed = [name for name in names if MEASURES[name][2] and not is_met(medians[name], MEASURES[name][2])]
        print(json.dumps({"machine": machine, "medians": medians, "missed": missed, "runs": runs}, indent=2))
    else:
        print(markdown(machine, medians, runs))


if __name__ == "__main__":
    main()
