"""Searches of a store of `tracelake gen`'s shop, with values drawn anew for each request.

Part of bench.py; alone, of a server that runs: scripts/bench_search.py API IDS
"""

import collections
import concurrent.futures
import http.client
import itertools
import json
import random
import statistics
import sys
import time

# What is searched for, with what p50 should be at most, in milliseconds.
SEARCHES = {
    "service_name": ("Search, service and name", 5),
    "service_error": ("Search, service and error", 5),
    "one_trace": ("Search, an attribute value in one trace", 3),
    "eighty_traces": ("Search, an attribute value in some 80 traces", 8),
    "absent": ("Search, an absent value", 1),
    # The shop answers 200, or 500 where it fails, and nothing else.
    "number": ("Search, status code 500, in some 6 % of traces", 8),
    "duration": ("Search, service and duration > 300 ms", 15),
    "three": ("Search, three conditions in one span", 8),
    "prefix": ("Search, name prefix", 8),
    "regex": ("Search, name regex", 15),
    "or": ("Search, one of ten values", 10),
    "not": ("Search, not", 20),
}

# The same of 30 million spans of a day.
LONG_SEARCHES = {
    "common": ("Long run, search, newest 20 of a common value", 10),
    "absent": ("Long run, search, an absent value", 3),
    "one_trace": ("Long run, search, an attribute value in one trace", 10),
}

# What can be chosen from, for completion, over the whole range.
LISTS = {
    "services": ("List of services", "/api/v1/services"),
    "operations": ("List of a service's operations", "/api/v1/operations?service={service}"),
    "attributes": ("List of attributes", "/api/v1/attributes"),
    "values": ("List of the values of http.route", "/api/v1/attributes/http.route/values"),
    "prefix": ("List of the products with a prefix", "/api/v1/attributes/app.product.id/values?prefix={prefix}"),
}

# How often p95 may be what p50 should be.
P95_TO_P50 = 2.5

# Kinds of which the first search after a start is measured.
FIRST_SEARCHES = ["service_name", "service_error", "one_trace", "eighty_traces", "number", "duration"]

# Time for the processes that search at once to be there.
LEAD_SECONDS = 2


class Api:
    """One connection. The server ends those that nothing comes over for some seconds."""

    def __init__(self, api):
        self.connection = http.client.HTTPConnection(api.removeprefix("http://"), timeout=60)
        # That it takes time is no part of what is measured.
        self.connection.connect()

    def read(self, method, path, body=None):
        """What is answered, as it comes."""
        self.connection.request(method, path, body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {path} {body or ''}: {answer.status} {text[:500]}")
        return text

    def ask(self, method, path, body=None):
        return json.loads(self.read(method, path, body))

    def search(self, body):
        """The answer, and the milliseconds that it took."""
        begun = time.perf_counter()
        answer = self.ask("POST", "/api/v1/search", body)
        return answer, 1e3 * (time.perf_counter() - begun)


class Drawn:
    """Values of traces that were drawn."""

    def __init__(self, api, ids, draw):
        self.draw = draw
        self.names = []
        self.requests = []
        self.values = collections.defaultdict(list)
        with open(ids) as file:
            chosen = draw.sample([line.split()[0] for line in file], 400)
        for trace_id in chosen:
            trace = api.ask("GET", "/api/v1/traces/" + trace_id)
            for part in trace["resourceSpans"]:
                of_resource = values(part["resource"]["attributes"])
                for span in (span for scope in part["scopeSpans"] for span in scope["spans"]):
                    self.names.append((of_resource["service.name"], span["name"]))
                    attributes = values(span.get("attributes", []))
                    if "http.response.status_code" in attributes:
                        self.requests.append((of_resource["service.name"], attributes))
                    for key, value in attributes.items():
                        self.values[key].append(value)

    def condition(self, kind):
        draw = self.draw
        service, name = draw.choice(self.names)
        if kind == "service_name":
            return f'{{ resource.service.name = "{service}" && name = "{name}" }}'
        if kind == "service_error":
            return f'{{ resource.service.name = "{service}" && status = error }}'
        if kind == "one_trace":
            return f'{{ span.messaging.kafka.message.key = "{draw.choice(self.values["messaging.kafka.message.key"])}" }}'
        if kind == "eighty_traces":
            return f'{{ span.app.product.id = "{draw.choice(self.values["app.product.id"])}" }}'
        if kind == "absent":
            return f'{{ span.app.product.id = "nobody has {draw.random()}" }}'
        if kind == "common":
            return f'{{ resource.service.name = "{service}" }}'
        if kind == "number":
            return "{ span.http.response.status_code = 500 }"
        if kind == "duration":
            return f'{{ resource.service.name = "{service}" && duration > {draw.randrange(300, 310)}ms }}'
        if kind == "three":
            service, attributes = draw.choice(self.requests)
            return (
                f'{{ resource.service.name = "{service}" && span.url.path = "{attributes["url.path"]}"'
                f" && span.http.response.status_code = {attributes['http.response.status_code']} }}"
            )
        if kind == "regex":
            return f'{{ name =~ ".*{name[len(name) // 2 :].replace("{", ".").replace("}", ".")}" }}'
        if kind == "or":
            chosen = draw.sample(sorted(set(self.values["app.product.id"])), 10)
            return "{ " + " || ".join(f'span.app.product.id = "{value}"' for value in chosen) + " }"
        return f'{{ !(resource.service.name = "{service}") && kind = server }}'

    def body(self, kind):
        if kind == "prefix":
            _, name = self.draw.choice(self.names)
            where = {"field": "name", "op": "prefix", "value": name[: max(2, len(name) // 2)]}
            return json.dumps({"where": where, "limit": 20})
        return json.dumps({"q": self.condition(kind), "limit": 20})

    def round(self):
        """One of each kind."""
        return [self.body(kind) for kind in SEARCHES]


class Marks:
    """Spans with a value that no other has, each searched for as soon as it is acknowledged."""

    def __init__(self, otlp, api, draw):
        self.otlp, self.api, self.draw = otlp, api, draw

    def is_found(self):
        """Whether the next one is: with its trace, and nothing else."""
        mark, trace_id = f"{self.draw.getrandbits(128):032x}", f"{self.draw.getrandbits(128):032x}"
        now = time.time_ns()
        span = {
            "traceId": trace_id, "spanId": trace_id[16:], "name": "marked", "kind": 1,
            "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1_000_000),
            "attributes": [{"key": "bench.mark", "value": {"stringValue": mark}}],
        }  # fmt: skip
        service = {"key": "service.name", "value": {"stringValue": "bench"}}
        resource_spans = {"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [span]}]}
        # Connections of their own: the server closes what has been idle for some seconds.
        Api(self.otlp).ask("POST", "/v1/traces", json.dumps({"resourceSpans": [resource_spans]}))
        query = json.dumps({"q": f'{{ span.bench.mark = "{mark}" }}'})
        answer, _ = Api(self.api).search(query)
        return [(trace["trace_id"], trace["matched"]) for trace in answer["traces"]] == [(trace_id, 1)]


def values(attributes):
    return {one["key"]: next(iter(one["value"].values()), None) for one in attributes}


def measures(prefix, kinds):
    """By name: what it is, its unit and its target, as bench.py lists them."""
    return {
        f"{prefix}_{kind}_{quantile}_ms": (f"{what}, {quantile}", "ms", ("<=", target * factor))
        for kind, (what, target) in kinds.items()
        for quantile, factor in (("p50", 1), ("p95", P95_TO_P50))
    }


def p95(times):
    return statistics.quantiles(times, n=20)[-1]


def searches(api, ids, seed, kinds=SEARCHES, count=200):
    """By kind: p50 and p95 in milliseconds, how many traces were found on average, and how many were read for it."""
    connection = Api(api)
    drawn = Drawn(connection, ids, random.Random(seed))
    measured = {}
    for kind in kinds:
        times, found, candidates = [], [], []
        for at in range(count + 20):
            answer, took_ms = connection.search(drawn.body(kind))
            if at >= 20:
                times.append(took_ms)
                found.append(len(answer["traces"]))
                candidates.append(answer["stats"]["traces_read"])
        measured[kind] = {
            "p50": statistics.median(times),
            "p95": p95(times),
            "found": statistics.mean(found),
            "traces_read": statistics.mean(candidates),
        }
    return measured


def lists(api, ids, seed, count=50):
    """By kind: p50 in milliseconds, and how many were listed on average."""
    connection, draw = Api(api), random.Random(seed)
    drawn = Drawn(connection, ids, draw)
    measured = {}
    for kind, (_, path) in LISTS.items():
        times, listed = [], []
        for _ in range(count):
            service, _ = draw.choice(drawn.names)
            prefix = draw.choice(drawn.values["app.product.id"])[:6]
            begun = time.perf_counter()
            answer = connection.ask("GET", path.format(service=service, prefix=prefix))
            times.append(1e3 * (time.perf_counter() - begun))
            listed.append(max(len(one) for one in answer.values() if isinstance(one, list)))
        measured[kind] = statistics.median(times), statistics.mean(listed)
    return measured


def search_at_once(server, ids, seed, processes, connections, seconds=10):
    """Searches a second of all kinds over so many connections of each process, and the cores that the server used for
    them."""
    draw = random.Random(seed)
    drawn = Drawn(Api(server.api), ids, draw)
    bodies = [body for _ in range(50) for body in drawn.round()]
    begin = time.monotonic() + LEAD_SECONDS
    end = begin + seconds
    # Processes, as Python runs one thread at a time; the clock is the same in all of them.
    with concurrent.futures.ProcessPoolExecutor(processes) as pool:
        sent = [
            pool.submit(send_over_some, server.api, draw.sample(bodies, len(bodies)), connections, begin, end)
            for _ in range(processes)
        ]
        time.sleep(max(0.0, begin - time.monotonic()))
        cpu_before, begun = server.cpu_seconds(), time.monotonic()
        time.sleep(max(0.0, end - time.monotonic()))
        cores = (server.cpu_seconds() - cpu_before) / (time.monotonic() - begun)
        return sum(one.result() for one in sent) / seconds, cores


def send_over_some(api, bodies, connections, begin, end):
    """How many were answered."""
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        sent = [
            pool.submit(send_over_one, api, bodies[at::connections], begin, end) for at in range(connections)
        ]
        return sum(one.result() for one in sent)


def send_over_one(api, bodies, begin, end):
    connection = Api(api)
    time.sleep(max(0.0, begin - time.monotonic()))
    for answered, body in enumerate(itertools.cycle(bodies)):
        if time.monotonic() >= end:
            return answered
        # Not parsed: that would take from the server's cores.
        connection.read("POST", "/api/v1/search", body)


def main():
    api, ids = sys.argv[1:3]
    for kind, one in searches(api, ids, 1).items():
        what, target = SEARCHES[kind]
        is_met = one["p50"] <= target and one["p95"] <= target * P95_TO_P50
        print(
            f"{what:46} p50 {one['p50']:7.2f} ms (≤ {target})  p95 {one['p95']:7.2f} (≤ {target * P95_TO_P50:g})"
            f"  {'met' if is_met else 'missed':6}  found {one['found']:5.1f} of {one['traces_read']:6.1f} read"
        )
    for kind, (p50, listed) in lists(api, ids, 2).items():
        print(f"{LISTS[kind][0]:46} p50 {p50:7.2f} ms  listed {listed:5.1f}")


if __name__ == "__main__":
    main()
