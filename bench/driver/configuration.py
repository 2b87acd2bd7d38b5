"""Rows of pipelines. A configuration of the size that a real one has: 4 pipelines, 28 states, 31 templates, 80 transformations, 1,677 variables."""
import json
import random
import sqlite3
import time
import urllib.request

from . import servers
from .tools import BenchError

STATES = ["raw", "ingest", "master", "enhance", "enrich", "metrics", "dimensional"]
TRANSFORMATIONS, TEMPLATES, VARIABLES = (22, 6, 25, 27), 31, 1677


def configuration():
    """Four definitions: each template declares as many variables as its transformations are to have."""
    random.seed(1)
    uses = list(range(TEMPLATES)) + [random.randrange(TEMPLATES) for _ in range(sum(TRANSFORMATIONS) - TEMPLATES)]
    counts = [1] * TEMPLATES
    left = VARIABLES - sum(counts[t] for t in uses)
    for template in sorted(range(TEMPLATES), key=uses.count):  # the rest fits exactly: one template is used once
        more = left // uses.count(template) if template == max(range(TEMPLATES), key=uses.count) else min(left // uses.count(template), 20)
        counts[template] += more
        left -= more * uses.count(template)
    single = next(t for t in range(TEMPLATES) if uses.count(t) == 1)
    counts[single] += left
    rules = [{"v%03d" % i: {"type": "text", "description": "what it is for"} for i in range(count)} for count in counts]
    definitions, at = [], 0
    for number, size in enumerate(TRANSFORMATIONS):
        used = uses[at:at + size]
        at += size
        states = [{"state": state, "transformations": []} for state in STATES]
        for place, template in enumerate(used):
            states[place * len(STATES) // size]["transformations"].append(
                {"name": "t%d" % place, "template": "template_%02d" % template, "order": place + 1, "variables": {name: "a value of %s" % name for name in rules[template]}})
        definitions.append({"pipeline": "pipeline_%d" % number, "company": "Acme", "brand": "Brand%d" % number, "type": "EDO", "segment": "patient", "schedule": "weekly",
                            "templates": {"template_%02d" % t: {"variables": rules[t]} for t in sorted(set(used))}, "states": states})
        for state in states:
            if not state["transformations"]:
                del state["transformations"]
    return definitions


def median_ms(fn, rounds):
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        fn()
        taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)[len(taken) // 2]


def configuration_load(context):
    """All pipelines of a configuration loaded from SQLite, checked and listed, beside Python's sqlite3 reading the same rows."""
    from .rows import below, divide, line  # rows.py names this file's rows
    with servers.Tutti(context, context.placements[0]) as service:
        def ask(method, path, body=None):
            request = urllib.request.Request("http://%s%s" % (service.address, path), method=method, data=json.dumps(body).encode() if body else None)
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)

        for definition in configuration():
            ask("PUT", "/v1/pipelines/%s?programs=any" % definition["pipeline"], definition)
        listed = ask("GET", "/v1/pipelines")["pipelines"]
        if [p["transformations"] for p in listed] != list(TRANSFORMATIONS) or any(p["problem"] for p in listed):
            raise BenchError("the configuration is not what was put there")
        with sqlite3.connect(service.directory / "data" / "config.db") as database:
            def read():
                return [database.execute("SELECT * FROM " + table).fetchall() for table in ("pipelines", "pipeline_states", "transformation_templates", "transformations", "transformation_variables")]

            counts = [len(rows) for rows in read()]
            if counts != [len(TRANSFORMATIONS), len(TRANSFORMATIONS) * len(STATES), TEMPLATES, sum(TRANSFORMATIONS), VARIABLES]:
                raise BenchError("the configuration has %s rows" % counts)
            peer = median_ms(read, max(5, context.rounds))
        ours = median_ms(lambda: ask("GET", "/v1/pipelines"), max(5, context.rounds))
    return [line("pipeline: load 4 pipelines with 1,677 variables", "plain", "ms", ours, peer, "sqlite3 of Python, rows alone", divide(ours, peer), "< 1000 ms", below(ours, 1000))]


ROWS = [configuration_load]
