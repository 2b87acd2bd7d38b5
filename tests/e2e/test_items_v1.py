"""Our own routes to items: strict, with problem+json, events, reports, metrics and pages."""
import json
import re
import time

import pytest

from tutti_process import until
from wire import Wire, numbered, write_jsonl


@pytest.fixture
def server(common):
    return common


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(20))
    return Wire(server.url)


def problem(answer, status, code, *parts):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"], body["code"]) == ("about:blank", status, code)
    assert body["title"] and body["request_id"] == answer.headers["X-Request-Id"]
    for part in parts:
        assert part in body["detail"], body["detail"]
    return body


# ---- jobs ----


def test_create_show_list_delete(wire, server):
    answer = wire.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.jsonl"})
    assert answer.status == 201
    job = answer.json()
    assert job["name"] == "j" and job["mode"] == "read-write" and job["status"] == "IN_PROGRESS"
    assert (job["reader"], job["writer"]) == ("JsonlReader", "JsonlWriter")
    assert job["input"] == [str(server.cwd / "in.jsonl")] and job["output"] == str(server.cwd / "out.jsonl")
    until(lambda: wire.job("j")["total"] == 20, "the total")
    assert wire.job("j")["pending"] == 20
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", wire.job("j")["created"])
    listing = wire.get("/v1/jobs").json()
    assert listing["schema"] == 1 and [j["name"] for j in listing["jobs"]] == ["j"]
    assert wire.delete("/v1/jobs/j").json() == {"schema": 1, "deleted": True}
    problem(wire.get("/v1/jobs/j"), 404, "not_found", "j")
    problem(wire.delete("/v1/jobs/j"), 404, "not_found", "j")
    assert wire.get("/v1/jobs").json()["jobs"] == []


def test_the_same_job_again(wire):
    body = {"name": "j", "input": "in.jsonl", "output": "out.jsonl"}
    assert wire.post("/v1/jobs", body).status == 201
    wire.claim("j", 5)
    answer = wire.post("/v1/jobs", body)
    assert answer.status == 200 and answer.json()["served"] == 5
    problem(wire.post("/v1/jobs", {**body, "output": "other.jsonl"}), 409, "exists", "Job j already exists.")
    problem(wire.post("/v1/jobs", {**body, "max_attempts": 2}), 409, "exists")


def test_the_same_job_however_its_paths_are_written(wire, server):
    here = server.cwd
    assert wire.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.jsonl"}).status == 201
    wire.claim("j", 5)
    for source, output in [([str(here / "in.jsonl")], str(here / "out.jsonl")), ("i?.jsonl", "out.jsonl"),
                           (["./in.jsonl"], "./out.jsonl")]:
        answer = wire.post("/v1/jobs", {"name": "j", "input": source, "output": output})
        assert answer.status == 200 and answer.json()["served"] == 5, answer
    assert wire.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.jsonl", "reader": "JsonlReader"}).status == 200
    write_jsonl(here / "in2.jsonl", numbered(20))
    for other in [{"input": "in2.jsonl"}, {"input": ["in.jsonl", "in2.jsonl"]}, {"output": "out2.jsonl"}, {"mode": "read"}, {"lease": "5s"}]:
        body = problem(wire.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.jsonl", **other}), 409, "exists")
        assert "in.jsonl" in body["detail"] and "out.jsonl" in body["detail"] and "clean_start" in body["detail"]


def test_a_broken_job_opens_again_when_it_is_started_again(wire, server):
    body = {"name": "j", "input": "in.jsonl", "output": "out.jsonl"}
    assert wire.post("/v1/jobs", body).status == 201
    server.stop()
    (server.cwd / "in.jsonl").rename(server.cwd / "aside")
    server.restart()
    again = Wire(server.url)
    problem(again.post("/v1/jobs", body), 409, "conflict", "in.jsonl", "broken")
    (server.cwd / "aside").rename(server.cwd / "in.jsonl")
    assert again.post("/v1/jobs", body).json()["status"] == "IN_PROGRESS"
    assert len(again.claim("j", 100)["items"]) == 20


def test_another_jobs_output(wire):
    wire.create("a", "in.jsonl", "out.jsonl")
    problem(wire.post("/v1/jobs", {"name": "b", "input": "in.jsonl", "output": "out.jsonl"}), 409, "conflict", "Output path not allowed")


@pytest.mark.parametrize("members, part", [
    ({"colour": "red"}, "colour"), ({"name": 5}, "name"), ({"name": ""}, "name"), ({"name": "a/b"}, "name"), ({"mode": "append"}, "append"),
    ({"reader": "Nope"}, "Nope"), ({"writer": "Nope"}, "Nope"), ({"lease": "soon"}, "lease"), ({"lease": -1}, "lease"), ({"lease": 0}, "lease"),
    ({"max_attempts": 0}, "max_attempts"), ({"max_attempts": "3"}, "max_attempts"), ({"max_attempts": 99}, "max_attempts"),
    ({"input": []}, "input"), ({"input": [5]}, "input"), ({"input": {"a": 1}}, "input"), ({"output": 5}, "output"),
    ({"types": "guess"}, "types"), ({"json": "loose"}, "json"),
])
def test_members_that_are_wrong(wire, members, part):
    body = problem(wire.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.jsonl", **members}), 400, "invalid", part)
    assert "input_file_path" not in body["detail"] and "output_file_path" not in body["detail"], "our own names"
    assert wire.get("/v1/jobs").json()["jobs"] == []


def test_a_missing_input(wire, server):
    problem(wire.post("/v1/jobs", {"name": "j", "input": "absent.jsonl", "output": "out.jsonl"}), 404, "not_found", "absent.jsonl")
    assert not (server.cwd / "out.jsonl").exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"5", b"{", b'{"name":"j"}{}', b'{"name":"j","name":"j"}' + b"x"])
def test_bodies_that_are_wrong(wire, body):
    problem(wire.post("/v1/jobs", body), 400, "invalid")


def test_modes_are_guessed(wire, server):
    assert wire.create("r", "in.jsonl")["mode"] == "read"
    assert wire.create("w", None, "log.jsonl")["mode"] == "write"
    assert wire.create("rw", "in.jsonl", "out.jsonl")["mode"] == "read-write"
    assert wire.results("w", [[5, {"a": 1}]])["accepted"] == 1
    problem(wire.post("/v1/jobs/w/claim"), 400, "invalid", "write-only")
    problem(wire.post("/v1/jobs/r/results", [[0, {}]]), 400, "invalid", "read-only")


def test_a_tokened_job(wire):
    wire.create("j", "in.jsonl", "out.jsonl", token="s3cret")
    assert wire.job("j")["protected"] is True
    problem(wire.post("/v1/jobs/j/claim"), 403, "denied", "token")
    problem(wire.post("/v1/jobs/j/results", [[0, {}]], token="wrong"), 403, "denied")
    problem(wire.delete("/v1/jobs/j", token="wrong"), 403, "denied")
    problem(wire.post("/v1/jobs/j/clean"), 403, "denied")
    problem(wire.post("/v1/jobs/j/retry"), 403, "denied")
    assert len(wire.claim("j", 3, token="s3cret")["items"]) == 3
    assert "s3cret" not in json.dumps(wire.get("/v1/jobs").json())


# ---- claim and results ----


def test_claim_and_results(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 3)
    assert batch == {"schema": 1, "job": "j", "lease": batch["lease"], "lease_ms": 60000, "status": "IN_PROGRESS",
                     "items": [[i, row] for i, row in enumerate(numbered(3))]}
    assert re.fullmatch("[0-9a-f]{32}", batch["lease"])
    answer = wire.results("j", [[0, {"r": 0}], [1, 5], [2, "text"], [99, None]])
    assert answer == {"schema": 1, "accepted": 3, "duplicate": 0, "unknown": 1, "rejected": 0}
    assert (server.cwd / "out.jsonl").read_bytes() == b'{"r":0}\n5\n"text"\n'


def test_a_finished_job_says_so(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.results("j", wire.claim("j", 100)["items"])
    assert wire.claim("j", 5) == {"schema": 1, "job": "j", "lease": None, "lease_ms": 0, "status": "COMPLETE", "items": []}


def test_a_read_job_needs_no_lease(wire):
    wire.create("j", "in.jsonl")
    batch = wire.claim("j", 15)
    assert (batch["lease"], len(batch["items"])) == (None, 15)
    assert (wire.job("j")["received"], wire.job("j")["served"]) == (15, 0)


def test_results_that_are_wrong(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    problem(wire.post("/v1/jobs/j/results", b"[[0,{}]"), 400, "invalid", "JSON")
    problem(wire.post("/v1/jobs/j/results", b'[[0,{}],["x",{}]]'), 422, "unprocessable", "entry 1")
    problem(wire.post("/v1/jobs/j/results", b"{}"), 422, "unprocessable", "list")
    problem(wire.post("/v1/jobs/j/results", [[98, {}], [99, {}]]), 400, "invalid", "98")
    problem(wire.post("/v1/jobs/nobody/results", [[0, {}]]), 404, "not_found", "nobody")
    problem(wire.post("/v1/jobs/j/fail", b"{}", lease="x"), 422, "unprocessable")
    problem(wire.post("/v1/jobs/j/fail", b'[{"id":-1}]', lease="x"), 422, "unprocessable")
    problem(wire.post("/v1/jobs/j/fail", b'[{"id":1,"reason":5}]', lease="x"), 422, "unprocessable")
    problem(wire.post("/v1/jobs/j/fail", b"5", lease="x"), 400, "invalid")
    problem(wire.post("/v1/jobs/j/retry", b'{"ids":5}'), 422, "unprocessable")
    problem(wire.post("/v1/jobs/j/retry", b'{"ids":["x"]}'), 422, "unprocessable")
    problem(wire.post("/v1/jobs/j/retry", b'[]'), 400, "invalid")
    problem(wire.post("/v1/jobs/j/retry", b'{"id":[1]}'), 400, "invalid", "ids")
    problem(wire.post("/v1/jobs/j/retry", b'{"ids":[1],"all":true}'), 400, "invalid", "ids")
    assert wire.job("j")["received"] == 0


def test_ids_are_strict(wire):
    """The older dialect's coercions are not ours."""
    wire.create("j", "in.jsonl", "out.jsonl")
    for bad in (b'[[-1,{}]]', b'[[99999999999999999999999,{}]]', b'[["x",{}]]', b'[[null,{}]]'):
        problem(wire.post("/v1/jobs/j/results", bad), 422, "unprocessable")


# ---- strictness ----


@pytest.mark.parametrize("method, path, hint", [
    ("POST", "/v1/jobs/j/claim?count=5", None), ("POST", "/v1/jobs/j/claim?requestid=5", "request_id"), ("GET", "/v1/jobs?x=1", None),
    ("GET", "/v1/jobs/j/errors?limits=5", "limit"), ("GET", "/v1/version?x", None),
])
def test_unknown_parameters(wire, method, path, hint):
    wire.create("j", "in.jsonl", "out.jsonl")
    body = problem(wire.call(method, path), 400, "invalid", "unknown")
    assert hint is None or hint in body["hint"]


@pytest.mark.parametrize("query, part", [("n=x", "n"), ("n=", "n"), ("wait=soon", "wait"), ("wait=-1", "wait"), ("lease=1y", "lease"), ("lease=", "lease")])
def test_bad_parameters(wire, query, part):
    wire.create("j", "in.jsonl", "out.jsonl")
    problem(wire.post(f"/v1/jobs/j/claim?{query}"), 400, "invalid", f"`{part}`")


@pytest.mark.parametrize("text, ms", [("1500ms", 1500), ("2s", 2000), ("1.5", 1500), ("3", 3000), ("2m", 120000), ("1h", 3600000)])
def test_durations(wire, text, ms):
    wire.create("j", "in.jsonl", "out.jsonl")
    assert wire.claim("j", 1, lease=text)["lease_ms"] == ms


def test_wrong_methods(wire):
    answer = wire.call("PUT", "/v1/jobs")
    problem(answer, 405, "method")
    assert sorted(answer.headers["Allow"].replace(" ", "").split(",")) == ["GET", "HEAD", "POST"]
    problem(wire.call("GET", "/v1/jobs/j/claim"), 405, "method")


def test_head(wire):
    answer = wire.call("HEAD", "/v1/jobs")
    assert (answer.status, answer.body) == (200, b"") and answer.headers["Content-Type"] == "application/json"


def test_a_body_where_none_belongs(wire):
    problem(wire.call("GET", "/v1/jobs", body=b"x"), 400, "invalid", "body")


def test_request_ids(wire, server):
    assert wire.call("GET", "/v1/jobs", headers={"X-Request-Id": "my-id.1"}).headers["X-Request-Id"] == "my-id.1"
    for bad in ("a b", "x" * 100, 'a"b', "<script>"):
        assert wire.call("GET", "/v1/jobs", headers={"X-Request-Id": bad}).headers["X-Request-Id"] != bad
    assert "request_id=my-id.1" in server.log()


def test_names_in_the_path(wire):
    from urllib.parse import quote
    for i, name in enumerate(["two words", "größer", "a:b", "a%b", "a+b", "c#d"]):
        wire.create(name, "in.jsonl", f"{i}.jsonl")
        assert wire.get("/v1/jobs/" + quote(name, safe="")).json()["name"] == name
        assert len(wire.post(f"/v1/jobs/{quote(name, safe='')}/claim", n=3).json()["items"]) == 3


# ---- clean ----


def test_clean(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 10)
    wire.results("j", batch["items"][:3])
    assert wire.post("/v1/jobs/j/clean").json() == {"schema": 1, "cleaned": True}
    assert (server.cwd / "out.jsonl").exists()
    assert (wire.job("j")["served"], wire.job("j")["received"]) == (0, 3)
    assert wire.post("/v1/jobs/j/clean", output="true").status == 200
    assert not (server.cwd / "out.jsonl").exists()
    problem(wire.post("/v1/jobs/nobody/clean"), 404, "not_found")


# ---- events ----


class Events:
    """A listener on /v1/jobs/NAME/events."""

    def __init__(self, wire, name):
        self.sock = wire.socket(timeout=20)
        self.sock.sendall(f"GET /v1/jobs/{name}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        import http.client
        self.answer = http.client.HTTPResponse(self.sock)
        self.answer.begin()

    def next(self):
        """The next event's job; None at the end of the stream."""
        lines = []
        while line := self.answer.readline():
            if line == b"\n":
                break
            lines.append(line.decode().rstrip("\n"))
        if not lines:
            return None
        assert lines[0] == "event: job" and lines[1].startswith("data: ") and len(lines) == 2
        return json.loads(lines[1][6:])


def test_events(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    events = Events(wire, "j")
    assert (events.answer.status, events.answer.headers["Content-Type"]) == (200, "text/event-stream")
    first = events.next()
    assert first["name"] == "j" and first["received"] == 0
    batch = wire.claim("j", 20)
    wire.results("j", batch["items"][:7])
    while (job := events.next())["received"] == 0:
        pass
    assert job["received"] == 7
    wire.results("j", batch["items"][7:])
    last = job
    while job := events.next():
        last = job
    assert (last["status"], last["received"]) == ("COMPLETE", 20), "the stream ends when the job is complete"


def test_events_of_a_job_that_goes(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    events = Events(wire, "j")
    events.next()
    wire.delete("/v1/jobs/j")
    while events.next():
        pass
    problem(wire.get("/v1/jobs/j/events"), 404, "not_found")


def test_a_stop_ends_events(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    events = Events(wire, "j")
    events.next()
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 10


def test_listeners_that_go_away(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    for _ in range(20):
        events = Events(wire, "j")
        events.next()
        events.sock.close()
    wire.results("j", wire.claim("j", 20)["items"])
    assert wire.job("j")["status"] == "COMPLETE"


# ---- reports ----


def test_the_report_has_more(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    items = wire.serve("j", 10, worker="w")
    wire.give("j", items[:4], worker="w")
    until(lambda: wire.report("j")["total"] == 20, "the total")
    report = wire.report("j")
    assert {k: report[k] for k in ("served", "received", "errors", "dead", "pending", "duplicates", "output_bytes")} == {
        "served": 6, "received": 4, "errors": 0, "dead": 0, "pending": 16, "duplicates": 0, "output_bytes": (server.cwd / "out.jsonl").stat().st_size}
    assert report["rate"] > 0 and report["eta_s"] >= 0 and report["oldest_lease_ms"] >= 0


def metrics(wire):
    """Name and labels -> value, by a reader of the format that is not ours and is strict."""
    answer = wire.get("/metrics")
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    samples = {}
    for family in parser.text_string_to_metric_families(answer.text):
        for sample in family.samples:
            samples[sample.name, *sorted(sample.labels.items())] = sample.value
    return samples


def test_metrics(wire):
    wire.create("done", "in.jsonl", "done.jsonl")
    wire.results("done", wire.claim("done", 20)["items"])
    wire.create("open", "in.jsonl", "open.jsonl")
    wire.claim("open", 5)
    wire.results("open", [[0, {}], [0, {}]])
    wire.post("/mark-errors", [19], job_name="open")
    expected = {"jobs": 2, "jobs_complete": 1, "jobs_broken": 0, "received": 21, "in_flight": 4, "errors": 1, "dead": 0, "pending": 18, "duplicates": 1, "leases": 1}
    found = metrics(wire)
    assert {name: found[f"tutti_items_{name}",] for name in expected} == expected
    serves = ("tutti_http_requests_total", ("method", "POST"), ("route", "/serve"), ("status", "200"))
    for _ in range(3):
        wire.serve("open", 1)
    assert metrics(wire)[serves] == found.get(serves, 0) + 3


def test_life_and_readiness(wire):
    assert wire.get("/livez").status == 200
    assert wire.get("/readyz").status == 200
    health = wire.get("/health").json()
    assert health["Redis status"] == "Online" and health["ledger"]["ok"] is True and health["ledger"]["durability"] == "full"


def test_relaxed_durability_is_shown(tutti):
    wire = Wire(tutti(args=["--durability", "relaxed"]).url)
    assert wire.get("/health").json()["ledger"]["durability"] == "relaxed"


def test_version(wire):
    version = wire.get("/v1/version").json()
    assert re.match(r"\d+\.\d+", version["version"])


# ---- pages ----


def test_the_start_page(wire):
    answer = wire.get("/")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    assert "tutti" in answer.text and "/docs" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_docs_page_names_every_route(wire):
    answer = wire.get("/docs")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    for path in wire.get("/openapi.json").json()["paths"]:
        assert path in answer.text
    assert not re.search(r'(src|href)="?(https?:)?//', answer.text), "nothing is fetched from elsewhere"


def test_openapi(wire):
    api = wire.get("/openapi.json").json()
    assert api["openapi"].startswith("3.")
    for path, methods in {"/scramble": ["post"], "/serve": ["post"], "/receive": ["post"], "/mark-errors": ["post"], "/delete": ["get"], "/clean": ["get"],
                          "/purge": ["get"], "/report": ["get"], "/health": ["get"], "/v1/jobs": ["get", "post"], "/v1/jobs/{name}": ["get", "delete"],
                          "/v1/jobs/{name}/claim": ["post"], "/v1/jobs/{name}/events": ["get"]}.items():
        assert sorted(api["paths"][path]) == sorted(methods)
    ids = [op["operationId"] for methods in api["paths"].values() for op in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in api["paths"].items():
        for op in methods.values():
            assert op["summary"] and "default" in op["responses"]
            braces = set(re.findall(r"\{(\w+)\}", path))
            assert {p["name"] for p in op["parameters"] if p["in"] == "path"} == braces
    overwrite = [p for p in api["paths"]["/receive"]["post"]["parameters"] if p["name"] == "overwrite"][0]
    assert overwrite["required"] is True and overwrite["schema"]["type"] == "boolean"
