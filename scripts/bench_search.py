"""Searches of a store of `tracelake gen`'s shop, with values drawn anew for each request.

Part of bench.py; alone, of a server that runs: scripts/bench_search.py API IDS
"""

import collections
import http.client
import json
import random
import statistics
import sys
import time

# What is searched for, with what p50 should be at most, in milliseconds; p95 at most 2.5 times as much.
SEARCHES = {
    "service_name": ("Search, service and name", 5),
    "service_error": ("Search, service and error", 5),
    "one_trace": ("Search, an attribute value in one trace", 3),
    "eighty_traces": ("Search, an attribute value in some 80 traces", 8),
    "absent": ("Search, an absent value", 1),
    "number": ("Search, status code 503", 8),
    "duration": ("Search, service and duration > 300 ms", 15),
    "three": ("Search, three conditions in one span", 8),
    "prefix": ("Search, name prefix", 8),
    "regex": ("Search, name regex", 15),
    "or": ("Search, one of ten values", 10),
    "not": ("Search, not", 20),
}


class Api:
    """One connection."""

    def __init__(self, api):
        self.connection = http.client.HTTPConnection(api.removeprefix("http://"), timeout=60)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {path} {body or ''}: {answer.status} {text[:500]}")
        return json.loads(text)


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
        if kind == "number":
            return "{ span.http.response.status_code = 503 }"
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
            return {"where": where, "limit": 20}
        return {"q": self.condition(kind), "limit": 20}


def values(attributes):
    return {one["key"]: next(iter(one["value"].values()), None) for one in attributes}


def searches(api, ids, seed, count=200):
    """By kind: p50 and p95 in milliseconds, how many traces were found on average, and the p95 of what it cost."""
    connection = Api(api)
    drawn = Drawn(connection, ids, random.Random(seed))
    measured = {}
    for kind in SEARCHES:
        times, found, candidates = [], [], []
        for at in range(count + 20):
            body = json.dumps(drawn.body(kind))
            begun = time.perf_counter()
            answer = connection.ask("POST", "/api/v1/search", body)
            if at >= 20:
                times.append(1e3 * (time.perf_counter() - begun))
                found.append(len(answer["traces"]))
                candidates.append(answer["stats"]["traces_read"])
        quantiles = statistics.quantiles(times, n=20)
        measured[kind] = {
            "p50": statistics.median(times),
            "p95": quantiles[-1],
            "found": statistics.mean(found),
            "traces_read": statistics.mean(candidates),
        }
    return measured


def main():
    api, ids = sys.argv[1:3]
    for kind, one in searches(api, ids, 1).items():
        what, target = SEARCHES[kind]
        print(
            f"{what:46} p50 {one['p50']:7.2f} ms (≤ {target})  p95 {one['p95']:7.2f}"
            f"  found {one['found']:5.1f} of {one['traces_read']:6.1f} read"
        )


if __name__ == "__main__":
    main()
