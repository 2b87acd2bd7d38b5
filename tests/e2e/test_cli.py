"""The command line against a small server that speaks the items routes, over TCP and over a Unix socket, and against real shells."""

import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TUTTI = os.environ.get("TUTTI_BIN", str(ROOT / "build" / "tutti"))
if not os.path.isabs(TUTTI):
    TUTTI = str(ROOT / TUTTI)
PATIENCE_S = 20


class State:
    """Jobs in memory; values are kept as the text that came in, so that a changed byte shows."""

    def __init__(self):
        self.lock = threading.Lock()
        self.jobs = {}
        self.calls = []
        self.bodies = []
        self.tokens = []
        self.released = []
        self.failures = []
        self.lease_count = 0
        self.outages = 0
        self.outages_after_first_claim = 0
        self.batches = {}
        self.health = {"status": "ok", "Redis status": "Online", "ledger": {"ok": True, "schema": 3}}
        self.probe = 200

    def add(self, name, values):
        self.jobs[name] = {"name": name, "values": list(values), "leased": {}, "results": {}, "errors": {}, "token": None}

    def view(self, name):
        job = self.jobs[name]
        total, received, errors = len(job["values"]), len(job["results"]), len(job["errors"])
        status = "COMPLETE" if received + errors == total else "IN_PROGRESS"
        return {"name": name, "status": status, "mode": "read-write", "reader": "JsonlReader", "writer": "JsonlWriter", "input": ["in.jsonl"],
                "output": "out.jsonl", "total": total, "received": received, "served": len(job["leased"]), "errors": errors, "dead": 0,
                "pending": total - received - errors, "rate": 12.5, "eta_s": 3, "duplicates": 0,
                "workers": [{"worker": "w1", "in_flight": 1, "received": received}], "detail": None}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "local"

    def answer(self, status, document):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def problem(self, status, code, detail, hint=None):
        self.answer(status, {"type": "about:blank", "title": "Problem", "status": status, "code": code, "detail": detail, "hint": hint, "request_id": "req-7"})

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def do_DELETE(self):
        self.serve("DELETE")

    def serve(self, method):
        state = self.server.state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        parts = [urllib.parse.unquote(p) for p in url.path.split("/")[1:]]
        with state.lock:
            state.calls.append((method, url.path, query))
            state.bodies.append(body)
            state.tokens.append(self.headers.get("Authorization"))
            if state.outages and parts[-1] in ("claim", "results"):
                state.outages -= 1
                return self.problem(503, "unavailable", "the server is starting")
        if parts[:2] == ["v1", "jobs"]:
            if len(parts) == 2:
                return self.jobs(method, body)
            return self.job(method, parts[2], parts[3] if len(parts) > 3 else "", query, body)
        route = getattr(self, "route_" + "_".join(parts).replace(".", "_"), None)
        if not route:
            return self.problem(404, "not_found", "no such route")
        return route(query)

    def route_report(self, query):
        job = self.server.state.jobs.get(query["job_name"])
        self.answer(200, {"served": len(job["leased"]), "received": len(job["results"]), "status": "IN_PROGRESS"} if job else {})

    def route_health(self, query):
        self.answer(200, self.server.state.health)

    def route_readyz(self, query):
        self.answer(200, b"ready\n")

    def route_v1_tasks_probe(self, query):
        self.answer(self.server.state.probe, {"code": "timeout", "detail": "nobody took it"} if self.server.state.probe >= 400 else {})

    def route_v1_workers(self, query):
        self.answer(200, {"schema": 1, "workers": [{"worker": "sanjer1", "pid": 77, "consuming": True, "task": None, "kind": None, "done": 3, "failed": 0}]})

    def jobs(self, method, body):
        state = self.server.state
        if method == "GET":
            return self.answer(200, {"schema": 1, "jobs": [state.view(n) for n in state.jobs]})
        wanted = json.loads(body)
        if wanted["name"] in state.jobs:
            return self.problem(409, "exists", f"job `{wanted['name']}` exists with another definition: choose another name", "try --cont")
        state.add(wanted["name"], [b"1", b"2"])
        self.answer(201, state.view(wanted["name"]))

    def job(self, method, name, verb, query, body):
        state = self.server.state
        if name not in state.jobs:
            return self.problem(404, "not_found", f"no job `{name}`: `tutti job list` shows them")
        job = state.jobs[name]
        if job["token"] and self.headers.get("Authorization") != "Bearer " + job["token"]:
            return self.problem(401, "unauthorized", "a token is needed")
        with state.lock:
            if method == "DELETE":
                del state.jobs[name]
                return self.answer(200, {"deleted": True})
            if verb in ("", "events"):
                pass
            else:
                return getattr(self, "verb_" + verb)(job, query, body)
        if verb == "events":
            return self.events(name)
        self.answer(200, state.view(name))

    def events(self, name):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b": hello\n\n")
        for _ in range(1000):
            view = self.server.state.view(name)
            self.wfile.write(b"event: job\ndata: " + json.dumps(view).encode() + b"\n\n")
            self.wfile.flush()
            if view["status"] == "COMPLETE":
                return
            if self.server.state.outages:
                self.server.state.outages -= 1
                return
            time.sleep(0.02)

    def verb_claim(self, job, query, body):
        state = self.server.state
        if query.get("request_id") in state.batches:
            return self.answer(200, state.batches[query["request_id"]])
        free = [i for i in range(len(job["values"])) if i not in job["leased"] and i not in job["results"] and i not in job["errors"]]
        ids = free[: int(query.get("n", 100))]
        complete = len(job["results"]) + len(job["errors"]) == len(job["values"])
        lease = None
        if ids:
            state.lease_count += 1
            state.outages += state.outages_after_first_claim
            state.outages_after_first_claim = 0
            lease = f"lease/{state.lease_count}"
            job["leased"].update({i: lease for i in ids})
        items = b",".join(b"[%d,%s]" % (i, job["values"][i]) for i in ids)
        head = json.dumps({"schema": 1, "job": 1, "lease": lease, "lease_ms": 60000, "status": "COMPLETE" if complete else "IN_PROGRESS"}).encode()
        answer = head[:-1] + b',"items":[' + items + b"]}"
        state.batches[query.get("request_id")] = answer
        self.answer(200, answer)

    def verb_results(self, job, query, body):
        counts = {"schema": 1, "accepted": 0, "duplicate": 0, "unknown": 0}
        for number, value in json.loads(body):
            if number >= len(job["values"]):
                counts["unknown"] += 1
            elif number in job["results"]:
                counts["duplicate"] += 1
            else:
                counts["accepted"] += 1
                job["results"][number] = value
                job["leased"].pop(number, None)
        self.answer(200, counts)

    def verb_fail(self, job, query, body):
        if query.get("lease") == "gone":
            return self.problem(409, "gone", "the lease ran out")
        for item in json.loads(body):
            job["errors"][item["id"]] = item
            job["leased"].pop(item["id"], None)
        self.answer(200, {"schema": 1, "retry": 0, "dead": 0, "error": len(json.loads(body))})

    def verb_release(self, job, query, body):
        self.server.state.released.append(query["lease"])
        self.answer(200, {"schema": 1, "released": 1})

    def verb_errors(self, job, query, body):
        after, limit = int(query.get("after", -1)), int(query["limit"])
        ids = sorted(i for i in job["errors"] if i > after)
        page = [{"id": i, "state": "error", "reason": job["errors"][i]["reason"], "attempts": 1, "worker": "w", "time": "2026-01-01T00:00:00Z"} for i in ids[:limit]]
        self.answer(200, {"schema": 1, "errors": page, "next": ids[limit - 1] if len(ids) > limit else None})

    def verb_retry(self, job, query, body):
        wanted = json.loads(body).get("ids") or list(job["errors"])
        for i in wanted:
            job["errors"].pop(i, None)
        self.answer(200, {"schema": 1, "retried": len(wanted)})

    def verb_clean(self, job, query, body):
        job["results"].clear()
        self.answer(200, {"schema": 1, "cleaned": True})


class TcpServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    server_name, server_port = "local", 0

    def get_request(self):
        request, _ = super().get_request()
        return request, ("local", 0)


@pytest.fixture
def state():
    return State()


def run_server(server, state):
    server.state = state
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def url(state):
    server = TcpServer(("127.0.0.1", 0), Handler)
    run_server(server, state)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def data_dir(state, tmp_path):
    """A data directory with a server behind its socket."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    server = UnixServer(str(path / "tutti.sock"), Handler)
    run_server(server, state)
    yield path
    server.shutdown()
    server.server_close()


def environment(**more):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_") and k not in ("NO_COLOR", "XDG_CONFIG_HOME")}
    return {**clean, **more}


@pytest.fixture
def tutti(tmp_path):
    """tutti(args...) -> CompletedProcess with bytes; env=, input=."""
    work = tmp_path / "work"
    work.mkdir()

    def call(*args, input=b"", env=None, cwd=work):
        return subprocess.run([TUTTI, *map(str, args)], input=input, capture_output=True, env=environment(**(env or {})), cwd=cwd, timeout=PATIENCE_S * 3)

    return call


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


# ---- plain use ----


def test_help_and_version_need_nothing(tutti):
    for args in ([], ["--help"], ["job"], ["job", "start", "--help"], ["help", "job", "pull"]):
        done = tutti(*args, env={"HOME": "/nonexistent", "TUTTI_CONFIG": "/nonexistent"})
        assert done.returncode == 0 and done.stdout and not done.stderr, args
    assert tutti("-V").stdout.startswith(b"tutti 0.")
    assert json.loads(tutti("version", "--json").stdout)["schema"] == 1


def test_mistakes_exit_with_2_and_a_hint(tutti):
    done = tutti("job", "lst")
    assert done.returncode == 2 and b"did you mean `tutti job list`" in done.stderr and not done.stdout
    done = tutti("job", "list", "--jsn")
    assert done.returncode == 2 and b"did you mean `--json`" in done.stderr
    done = tutti("job", "show", "--json")
    error = json.loads(done.stderr)
    assert done.returncode == 2 and error["code"] == "usage" and set(error) == {"error", "code", "detail", "hint", "request_id"}


def test_without_a_server(tutti, tmp_path):
    for verb in ("watch", "pull", "push"):
        done = tutti("job", verb, "x", "--data", tmp_path / "none")
        assert done.returncode == 7, verb
        assert b"start one with `tutti up`" in done.stderr


def test_unreachable_url(tutti):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = tutti("job", "list", "--server", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert done.returncode == 7 and done.stderr.startswith(b"tutti: ")


def test_list_as_table_tsv_and_json(tutti, url, state):
    state.add("alpha", [b"1"] * 3)
    state.add("ev\x1b[31mil", [b"1"])
    table = tutti("job", "list", "--server", url)
    lines = table.stdout.decode().splitlines()
    assert table.returncode == 0 and lines[0].split() == ["NAME", "STATUS", "DONE", "TOTAL", "ERRORS", "RATE", "ETA", "OUTPUT"]
    assert lines[1].split()[:4] == ["alpha", "IN_PROGRESS", "0", "3"]
    assert "\x1b" not in table.stdout.decode(), "control characters reach no terminal"
    plain = tutti("job", "list", "--server", url, "--plain").stdout.decode().splitlines()
    assert plain[0].split("\t")[:4] == ["alpha", "IN_PROGRESS", "0", "3"] and len(plain) == 2
    document = json.loads(tutti("job", "list", "--json", env={"TUTTI_SERVER": url}).stdout)
    assert document["schema"] == 1 and document["jobs"][0]["name"] == "alpha"


def test_over_the_socket(tutti, data_dir, state):
    state.add("demo", [b"1"])
    done = tutti("job", "show", "demo", "--data", data_dir, "--plain")
    assert done.returncode == 0 and b"status\tIN_PROGRESS\n" in done.stdout
    done = tutti("job", "show", "demo", "-v", env={"TUTTI_DATA": str(data_dir)})
    assert done.returncode == 0 and b"unix:" in done.stderr


def test_a_socket_with_a_long_path(tutti, state, tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    state.add("demo", [b"1"])
    here = os.getcwd()
    os.chdir(deep)
    try:
        server = UnixServer("tutti.sock", Handler)
    finally:
        os.chdir(here)
    run_server(server, state)
    assert tutti("job", "list", "--data", deep).returncode == 0
    server.shutdown()
    server.server_close()


def test_errors_of_the_server_are_passed_on(tutti, url):
    done = tutti("job", "show", "no/pe", "--server", url)
    assert done.returncode == 4 and done.stderr == b"tutti: no job `no/pe`: `tutti job list` shows them\n"
    done = tutti("job", "show", "nope", "--server", url, "--json")
    assert json.loads(done.stderr) == {"error": "Not found", "code": "not_found", "detail": "no job `nope`: `tutti job list` shows them", "hint": None, "request_id": "req-7"}
    assert done.stdout == b""


def test_tokens_come_from_a_file_or_the_environment(tutti, url, state, tmp_path):
    state.add("locked", [b"1"])
    state.jobs["locked"]["token"] = "s3cret-token"
    (tmp_path / "token").write_text("s3cret-token\n")
    assert tutti("job", "show", "locked", "--server", url).returncode == 6
    assert tutti("job", "show", "locked", "--server", url, "--token-file", tmp_path / "token").returncode == 0
    assert tutti("job", "show", "locked", "--server", url, env={"TUTTI_TOKEN": "s3cret-token"}).returncode == 0
    done = tutti("job", "show", "locked", "--server", url, "--token-file", tmp_path / "absent")
    assert done.returncode == 4 and b"token file" in done.stderr


# ---- jobs ----


def test_start_sends_what_was_given(tutti, data_dir, state, tmp_path):
    (tmp_path / "key").write_text("job-key\n")
    done = tutti("job", "start", "demo", "--input", "a/*.jsonl", "--input", "./b.jsonl", "--input=s3://x/y", "--output", "/abs/out.csv", "--reader", "JsonlReader",
                 "--mode", "read-write", "--clean-start", "--overwrite", "--types", "text", "--strict-json", "--lease", "5m", "--max-attempts", "3",
                 "--job-token-file", tmp_path / "key", "--data", data_dir)
    assert done.returncode == 0, done.stderr
    assert b"job `demo` started: 2 items" in done.stderr
    sent = json.loads(state.bodies[-1])
    work = str(tmp_path / "work")
    assert sent == {"name": "demo", "input": [f"{work}/a/*.jsonl", f"{work}/b.jsonl", "s3://x/y"], "output": "/abs/out.csv", "reader": "JsonlReader", "mode": "read-write",
                    "clean_start": True, "overwrite": True, "types": "text", "json": "strict", "lease": "5m", "max_attempts": 3, "token": "job-key"}
    done = tutti("job", "start", "demo", "--input", "x", "--data", data_dir)
    assert done.returncode == 5 and b"try --cont" in done.stderr


def test_start_leaves_paths_alone_for_another_machine(tutti, url, state):
    assert tutti("job", "start", "far", "--input", "in.jsonl", "--output", "out.jsonl", "--server", url, "-q").returncode == 0
    assert json.loads(state.bodies[-1]) == {"name": "far", "input": ["in.jsonl"], "output": "out.jsonl"}
    done = tutti("job", "start", "far2", "--max-attempts", "many", "--server", url)
    assert done.returncode == 2 and b"--max-attempts needs a number" in done.stderr


def test_errors_pages_and_retry(tutti, url, state):
    state.add("demo", [b"1"] * 3000)
    state.jobs["demo"]["errors"] = {i: {"id": i, "reason": f"bad\t{i}"} for i in range(2500)}
    lines = tutti("job", "errors", "demo", "--limit", "0", "--plain", "--server", url).stdout.decode().splitlines()
    assert len(lines) == 2500 and lines[7].split("\t")[0] == "7" and lines[7].endswith("bad 7")
    document = json.loads(tutti("job", "errors", "demo", "-n1500", "--json", "--server", url).stdout)
    assert [e["id"] for e in document["errors"]] == list(range(1500)) and document["next"] == 1499
    done = tutti("job", "errors", "demo", "--server", url)
    assert b"--limit 0" in done.stderr and len(done.stdout.splitlines()) == 1001
    assert b"2 items" in tutti("job", "retry", "demo", "--ids", "1,2", "--server", url).stderr
    assert json.loads(state.bodies[-1]) == {"ids": [1, 2]}
    assert tutti("job", "retry", "demo", "--ids", "1,x", "--server", url).returncode == 2
    assert json.loads(tutti("job", "retry", "demo", "--json", "--server", url).stdout)["retried"] == 2498


def test_report_clean_delete_workers(tutti, url, state):
    state.add("demo", [b"1"])
    assert json.loads(tutti("job", "report", "demo", "--json", "--server", url).stdout)["status"] == "IN_PROGRESS"
    assert tutti("job", "report", "nope", "--server", url).returncode == 4
    assert tutti("job", "clean", "demo", "--output", "--server", url).returncode == 0
    assert state.calls[-1][2] == {"output": "true"}
    done = tutti("job", "delete", "demo", "--server", url)
    assert done.returncode == 2 and b"-y" in done.stderr and "demo" in state.jobs
    assert tutti("job", "delete", "demo", "-y", "--server", url).returncode == 0 and not state.jobs
    assert b"sanjer1" in tutti("worker", "list", "--server", url).stdout


def test_watch_to_the_end(tutti, url, state):
    state.add("demo", [b"1"] * 5)

    def work():
        wait_for(lambda: any(c[1].endswith("/events") for c in state.calls), "the stream")
        for i in range(5):
            state.jobs["demo"]["results"][i] = 1
            time.sleep(0.02)

    worker = threading.Thread(target=work)
    worker.start()
    done = tutti("job", "watch", "demo", "--json", "--server", url)
    worker.join()
    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and states[-1]["status"] == "COMPLETE" and states[0]["received"] < 5
    done = tutti("job", "watch", "demo", "--server", url)
    assert done.returncode == 0 and done.stdout == b"" and done.stderr == b"demo: 5/5 (100 %)\n"


def test_watch_comes_back_after_a_broken_stream(tutti, url, state):
    state.add("demo", [b"1"])
    state.outages = 2
    timer = threading.Thread(target=lambda: (wait_for(lambda: state.outages == 0, "two broken streams"), state.jobs["demo"]["results"].update({0: 1})))
    timer.start()
    assert tutti("job", "watch", "demo", "--server", url).returncode == 0
    timer.join()
    assert sum(c[1].endswith("/events") for c in state.calls) >= 3


def test_watch_tells_of_errors(tutti, url, state):
    state.add("demo", [b"1"])
    state.jobs["demo"]["errors"] = {0: {"id": 0, "reason": "x"}}
    done = tutti("job", "watch", "demo", "--server", url)
    assert done.returncode == 3 and b"tutti job errors demo" in done.stderr
    assert tutti("job", "watch", "nope", "--server", url).returncode == 4


# ---- pull and push ----

VALUES = [b'{"a":1.50,  "b":"\\u00e9"}', '"é\\n"'.encode(), b"[1,2,{}]", b"null", b"1e400", b'{"n":12345678901234567890}']


def test_pull_keeps_bytes(tutti, url, state):
    state.add("demo", VALUES)
    done = tutti("job", "pull", "demo", "-n", "4", "--worker", "me", "--wait", "0", "--server", url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"".join(b'{"id":%d,"lease":"lease/1","value":%s}\n' % (i, v) for i, v in enumerate(VALUES[:4]))
    claim = [c for c in state.calls if c[1].endswith("/claim")][-1][2]
    assert claim["n"] == "4" and claim["worker"] == "me" and claim["lease"] == "10m" and len(claim["request_id"]) == 32
    state.jobs["demo"]["results"] = dict.fromkeys(range(6), 1)
    done = tutti("job", "pull", "demo", "-n", "4", "--server", url)
    assert done.returncode == 4 and done.stdout == b"" and b"complete" in done.stderr
    assert tutti("job", "pull", "nope", "--server", url).returncode == 4
    assert tutti("job", "pull", "demo", "-n", "0", "--server", url).returncode == 2


def pipeline(url, program, *pull_args):
    """tutti job pull | program | tutti job push, as a shell would run it."""
    env = environment()
    pull = subprocess.Popen([TUTTI, "job", "pull", "demo", "--server", url, *pull_args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    middle = subprocess.Popen(program, stdin=pull.stdout, stdout=subprocess.PIPE)
    push = subprocess.Popen([TUTTI, "job", "push", "demo", "--server", url, "--json"], stdin=middle.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    pull.stdout.close()
    middle.stdout.close()
    out, err = push.communicate(timeout=PATIENCE_S * 2)
    pull.wait(timeout=PATIENCE_S)
    middle.wait(timeout=PATIENCE_S)
    pull.stderr.close()
    return pull.returncode, push.returncode, json.loads(out)


def test_a_pipeline_is_a_worker(url, state):
    state.add("demo", [b"%d" % i for i in range(2500)])
    state.outages_after_first_claim = 3
    codes = pipeline(url, ["cat"], "--batch", "300", "--wait", "1s")
    assert codes[:2] == (0, 0) and codes[2]["accepted"] == 2500 and codes[2]["unknown"] == 0
    assert state.jobs["demo"]["results"] == {i: i for i in range(2500)}
    leases = {c[2].get("lease") for c in state.calls if c[1].endswith("/results")}
    assert leases <= {f"lease/{i}" for i in range(1, 20)}


def test_push_names_bad_lines_and_sends_the_good_ones(tutti, url, state):
    state.add("demo", [b"0"] * 5)
    lines = [b'{"id":0,"value":{"x":1.50}}', b"nonsense", b"", b'{"id":1,"value":[1', b'{"value":2}', b'{"id":4,"error":"no luck","lease":"lease/9"}', b'{"id":1,"value":"\xff"}', b'{"id":3,"value":3}\r',
             b'{"id":0,"value":7}']
    done = tutti("job", "push", "demo", "--server", url, input=b"\n".join(lines))
    assert done.returncode == 3
    named = re.findall(rb"line (\d+):", done.stderr)
    assert named == [b"2", b"4", b"5", b"7"], done.stderr
    assert b"2 accepted, 1 duplicate, 0 unknown, 1 error" in done.stderr
    assert state.jobs["demo"]["results"] == {0: {"x": 1.5}, 3: 3}
    assert state.jobs["demo"]["errors"][4] == {"id": 4, "reason": "no luck", "final": False}
    assert [c[2] for c in state.calls if c[1].endswith("/fail")] == [{"lease": "lease/9"}]
    body = next(b for c, b in zip(state.calls, state.bodies) if c[1].endswith("/results"))
    assert body == b'[[0,{"x":1.50}],[3,3],[0,7]]', "values pass byte for byte"


def test_push_counts_unknown_and_gone(tutti, url, state):
    state.add("demo", [b"0"])
    done = tutti("job", "push", "demo", "--server", url, "--json", input=b'{"id":9,"value":1}\n{"id":0,"error":"x","lease":"gone"}\n')
    assert done.returncode == 3 and json.loads(done.stdout) == {"schema": 1, "accepted": 0, "duplicate": 0, "unknown": 1, "retry": 0, "dead": 0, "error": 0, "gone": 1, "bad_lines": 0}
    done = tutti("job", "push", "nope", "--server", url, input=b'{"id":9,"value":1}\n')
    assert done.returncode == 4 and b"lines 1 to 1 were not taken: no job `nope`" in done.stderr


def test_push_bounds_lines(tutti, url, state, tmp_path):
    state.add("demo", [b"0"] * 2)
    (tmp_path / "c.ini").write_text("[limits]\nitem = 100k\n")
    huge = b'{"id":0,"value":"' + b"x" * 3_000_000 + b'"}\n'
    done = tutti("job", "push", "demo", "--server", url, "--config", tmp_path / "c.ini", input=huge + b'{"id":1,"value":1}\n')
    assert done.returncode == 3 and b"line 1: longer than limits.item" in done.stderr
    assert state.jobs["demo"]["results"] == {1: 1}


def test_push_does_not_sit_on_a_slow_stream(url, state):
    state.add("demo", [b"0"] * 2)
    push = subprocess.Popen([TUTTI, "job", "push", "demo", "--server", url, "-q"], stdin=subprocess.PIPE, env=environment())
    push.stdin.write(b'{"id":0,"value":1}\n')
    push.stdin.flush()
    wait_for(lambda: 0 in state.jobs["demo"]["results"], "the first result, although the stream goes on")
    push.stdin.write(b'{"id":1,"value":1}\n')
    push.stdin.close()
    assert push.wait(timeout=PATIENCE_S) == 0 and 1 in state.jobs["demo"]["results"]


def test_pull_gives_back_when_its_reader_goes(url, state):
    state.add("demo", [b'"%s"' % (b"x" * 1000)] * 500)
    pull = subprocess.Popen([TUTTI, "job", "pull", "demo", "--server", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert pull.stdout.read(10)
    pull.stdout.close()
    assert pull.wait(timeout=PATIENCE_S) == 141 and pull.stderr.read() == b""
    assert state.released and state.released[0] == "lease/1"
    pull.stderr.close()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_pull_gives_back_on_a_signal(url, state, sig):
    state.add("demo", [b'"%s"' % (b"x" * 1000)] * 500)
    pull = subprocess.Popen(["/bin/sh", "-c", '"$0" "$@"; exit $?', TUTTI, "job", "pull", "demo", "--server", url], stdout=subprocess.PIPE, env=environment(), start_new_session=True)
    assert pull.stdout.read(10)
    wait_for(lambda: os.path.exists(f"/proc/{pull.pid}/task/{pull.pid}/children") and child_of(pull.pid), "the child")
    os.kill(child_of(pull.pid), sig)
    assert pull.wait(timeout=PATIENCE_S) == 128 + sig
    assert state.released
    pull.stdout.close()


def child_of(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def test_pull_waits_for_its_reader(url, state):
    state.add("demo", [b'"%s"' % (b"x" * 2000)] * 5000)
    pull = subprocess.Popen([TUTTI, "job", "pull", "demo", "--server", url], stdout=subprocess.PIPE, env=environment())
    assert pull.stdout.read(10)
    wait_for(lambda: pathlib.Path(f"/proc/{pull.pid}/syscall").read_text().startswith(("1 ", "7 ")), "a pull that is blocked in a write")
    assert len(state.jobs["demo"]["leased"]) <= 300, "the pipe is the brake"
    pull.kill()
    pull.wait()
    pull.stdout.close()


# ---- the rest ----


def test_closed_pipes_and_full_disks(tutti, url, state):
    for i in range(3000):
        state.add(f"job{i}", [b"1"])
    shown = subprocess.run(f'"{TUTTI}" job list --server {url}; echo "code $?" >&2', shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), executable="/bin/bash")
    assert b"code 0" in shown.stderr
    cut = subprocess.run(f'"{TUTTI}" job list --server {url} | head -1; echo "codes ${{PIPESTATUS[0]}}"', shell=True, capture_output=True, env=environment(), executable="/bin/bash")
    assert cut.stderr == b"" and b"codes 141" in cut.stdout
    with open("/dev/full", "wb") as full:
        done = subprocess.run([TUTTI, "version"], stdout=full, stderr=subprocess.PIPE, env=environment())
    assert done.returncode == 1 and b"standard output" in done.stderr


def test_config_show_masks_secrets_and_names_origins(tutti, tmp_path):
    (tmp_path / "c.ini").write_text("[server]\ntoken = very-secret-token\n")
    done = tutti("config", "show", "--origin", "--plain", "--config", tmp_path / "c.ini", "--data", "/tmp/d", env={"TUTTI_WORKERS": "3"})
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in done.stdout.decode().splitlines()}
    assert rows["server.token"] == ["***", f"{tmp_path}/c.ini:2", "reload"]
    assert rows["workers"] == ["3", "environment TUTTI_WORKERS", "reload"] and rows["data"] == ["/tmp/d", "flag", "restart"]
    document = tutti("config", "show", "--json", "--config", tmp_path / "c.ini").stdout
    assert b"very-secret" not in document and json.loads(document)["schema"] == 1
    assert b"server.listen" in tutti("config", "docs").stdout
    (tmp_path / "c.ini").write_text("[server]\nlissten = x\n")
    assert tutti("config", "show", "--config", tmp_path / "c.ini").returncode == 2


def doctor(done):
    return {c["check"]: c["state"] for c in json.loads(done.stdout)["checks"]}


def test_doctor(tutti, data_dir, state, tmp_path):
    done = tutti("doctor", "--data", data_dir, "--json")
    states = doctor(done)
    assert done.returncode == 0 and states["server"] == states["workers"] == states["data directory"] == states["jobs"] == "ok", states
    assert states["disk"] in ("ok", "warn") and not list(data_dir.glob(".doctor*"))
    state.health["disk"] = {"ok": False, "detail": "no space"}
    state.probe = 504
    done = tutti("doctor", "--data", data_dir)
    assert done.returncode == 1 and b"no space" in done.stdout and b"nobody took it" in done.stdout
    done = tutti("doctor", "--data", tmp_path / "none", "--json")
    assert done.returncode == 0 and doctor(done)["server"] == "warn"
    data_dir.chmod(0o777)
    shown = {"address": "redis://h", "online": True, "stale": False, "lag_ms": 0, "warning": "", "last_failure": ""}
    state.health.update(redis=shown, rq={**shown, "suspended": True})
    states = doctor(tutti("doctor", "--data", data_dir, "--json"))
    assert (states["data directory"], states["mirror"], states["RQ"]) == ("warn", "ok", "warn")
    state.health.update(redis={**shown, "online": False, "last_failure": "no way"}, rq={**shown, "stale": True, "lag_ms": 7})
    done = tutti("doctor", "--data", data_dir)
    assert b"does not answer: no way" in done.stdout and b"7 ms behind" in done.stdout


def test_doctor_knows_who_holds_the_lock(tutti, tmp_path):
    import fcntl

    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = tutti("doctor", "--data", tmp_path)
    assert f"held by process {os.getpid()}".encode() in done.stdout


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_manual_pages_are_clean(tutti, tmp_path):
    pages = tutti("man", "--dir", tmp_path / "man").stdout.decode().split()
    assert {os.path.basename(p) for p in pages} >= {"tutti.1", "tutti-job.1", "tutti.ini.5"}
    checked = subprocess.run(["mandoc", "-Tlint", *pages], capture_output=True, text=True)
    assert checked.stdout == "" and checked.returncode == 0
    assert tutti("man", "tutti-nothing").returncode == 4


# ---- the real server ----


@pytest.fixture
def real_server(tmp_path):
    log = open(tmp_path / "up.log", "wb")
    up = subprocess.Popen([TUTTI, "up", "--data", str(tmp_path / "real"), "--listen", "127.0.0.1:0", "--workers", "0"], stdout=subprocess.PIPE, stderr=log, env=environment(), cwd=tmp_path)
    line = up.stdout.readline().decode()
    assert line.startswith("listening on http://"), (tmp_path / "up.log").read_text()
    yield tmp_path / "real", line.split()[-1]
    up.terminate()
    assert up.wait(timeout=PATIENCE_S) == 0
    up.stdout.close()
    log.close()


def test_a_job_from_start_to_end(tutti, real_server, tmp_path):
    data, url = real_server
    records = [json.dumps({"n": i, "text": "é" * (i % 50)}) for i in range(3000)]
    (tmp_path / "in.jsonl").write_text("\n".join(records) + "\n")
    here = {"env": {"TUTTI_DATA": str(data)}, "cwd": tmp_path}
    assert tutti("job", "start", "demo", "--input", "in.jsonl", "--output", "out.jsonl", **here).returncode == 0
    assert tutti("job", "start", "demo", "--input", "other.jsonl", "--output", "out.jsonl", **here).returncode == 5
    assert pipeline(url, ["cat"], "--batch", "500")[2]["accepted"] == 3000
    assert tutti("job", "watch", "demo", **here).returncode == 0
    assert tutti("job", "pull", "demo", "-n", "1", **here).returncode == 4
    assert sorted((tmp_path / "out.jsonl").read_text().splitlines()) == sorted(records)
    assert doctor(tutti("doctor", "--json", **here))["ready"] == "ok"
    assert tutti("job", "delete", "demo", "-y", **here).returncode == 0
    assert tutti("job", "show", "demo", **here).returncode == 4


def test_inside_this_process_without_a_server(tutti, tmp_path):
    (tmp_path / "in.jsonl").write_text("1\n2\n3\n")
    here = {"env": {"TUTTI_DATA": str(tmp_path / "alone")}, "cwd": tmp_path}
    done = tutti("job", "start", "demo", "--input", "in.jsonl", "--output", "out.jsonl", **here)
    assert done.returncode == 0, done.stderr
    assert json.loads(tutti("job", "list", "--json", **here).stdout)["jobs"][0]["total"] == 3
    done = tutti("job", "start", "two", "--input", "in.jsonl", "--output", "out2.jsonl", "--wait", **here)
    assert done.returncode == 7 and b"no server runs" in done.stderr
    assert tutti("job", "show", "two", **here).returncode == 4


def test_an_interrupt_ends_with_130(url, state):
    state.add("demo", [b"1"])
    watch = subprocess.Popen(["/bin/sh", "-c", '"$0" "$@"; exit $?', TUTTI, "job", "watch", "demo", "--json", "--server", url], stdout=subprocess.PIPE, env=environment(), start_new_session=True)
    assert watch.stdout.readline()
    os.kill(child_of(watch.pid), signal.SIGINT)
    assert watch.wait(timeout=PATIENCE_S) == 130
    watch.stdout.close()


# ---- terminals and shells ----


def on_terminal(args, send=b"", until=None, env=None):
    """Runs args on a pseudo terminal; what it shows, up to `until` or its end."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe(args[0], args, env or environment())
    shown, deadline = b"", time.monotonic() + PATIENCE_S
    try:
        for step in send if isinstance(send, list) else [(b"", send)]:
            ready, text = step
            while ready not in shown and time.monotonic() < deadline:
                if select.select([fd], [], [], 0.1)[0]:
                    shown += os.read(fd, 65536)
            os.write(fd, text)
        while time.monotonic() < deadline and not (until and re.search(until, shown)):
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    chunk = os.read(fd, 65536)
                except OSError:
                    break
                if not chunk:
                    break
                shown += chunk
    finally:
        if until:
            os.kill(pid, signal.SIGKILL)
        os.close(fd)
        os.waitpid(pid, 0)
    return shown


def test_a_terminal_gets_progress_and_colors(url, state):
    state.add("demo", [b"1"] * 2)
    timer = threading.Thread(target=lambda: (wait_for(lambda: any(c[1].endswith("/events") for c in state.calls), "the stream"), time.sleep(0.1),
                                             state.jobs["demo"]["results"].update({0: 1, 1: 1})))
    timer.start()
    shown = on_terminal([TUTTI, "job", "watch", "demo", "--server", url], env=environment(TERM="xterm"))
    timer.join()
    assert b"\rdemo: 0/2 (0 %)" in shown and b"demo: 2/2 (100 %)" in shown and b"1 worker" in shown
    assert b"\x1b[1m" in on_terminal([TUTTI, "job", "list", "--server", url], env=environment(TERM="xterm"))
    assert b"\x1b[" not in on_terminal([TUTTI, "job", "list", "--server", url], env=environment(TERM="xterm", NO_COLOR="1"))


def test_delete_asks_on_a_terminal(url, state):
    state.add("demo", [b"1"])
    shown = on_terminal([TUTTI, "job", "delete", "demo", "--server", url], [(b"[y/N]", b"n\n")])
    assert b"nothing was done" in shown and "demo" in state.jobs
    on_terminal([TUTTI, "job", "delete", "demo", "--server", url], [(b"[y/N]", b"y\n")])
    assert "demo" not in state.jobs


@pytest.fixture
def shell_env(tmp_path, data_dir, state):
    """tutti in PATH, jobs behind its socket, and no settings of the person who runs the test."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "tutti").symlink_to(TUTTI)
    state.add("alpha-1", [b"1"])
    state.add("$(touch hacked)", [b"1"])
    home = tmp_path / "home"
    home.mkdir()
    return environment(PATH=f"{binaries}:{os.environ['PATH']}", TUTTI_DATA=str(data_dir), HOME=str(home), TERM="dumb", PS1="ready> ")


def bash_completes(env, tmp_path, *words):
    script = 'source <(tutti completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tutti; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", "tutti", *words], capture_output=True, env=env, text=True, cwd=tmp_path)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_completion_in_bash(shell_env, tmp_path):
    def complete(*words):
        return bash_completes(shell_env, tmp_path, *words)

    assert {"job", "doctor", "config"} <= complete("")
    assert complete("jo") == {"job"}
    assert {"start", "push"} <= complete("job", "")
    assert complete("--server", "http://x", "job", "st") == {"start"}
    assert complete("job", "show", "") == {"alpha-1"}
    assert not (tmp_path / "hacked").exists()
    assert {"--lines", "--wait", "--json"} <= complete("job", "pull", "x", "-")
    assert "--clean-start" not in complete("job", "pull", "--")
    assert complete("completion", "z") == {"zsh"}
    (tmp_path / "input.jsonl").touch()
    assert complete("job", "start", "x", "--input", "inp") == {"input.jsonl"}


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_completion_in_fish(shell_env, tmp_path):
    def complete(line):
        done = subprocess.run(["fish", "--no-config", "-c", f"tutti completion fish | source; complete -C '{line}'"], capture_output=True, env=shell_env, text=True, cwd=tmp_path)
        assert done.stderr == ""
        return {row.split("\t")[0] for row in done.stdout.splitlines()}

    assert {"job", "doctor", "config"} <= complete("tutti ")
    assert {"start", "push"} <= complete("tutti job ") and "job" not in complete("tutti job ")
    assert complete("tutti job st") == {"start"}
    assert "alpha-1" in complete("tutti job show ")
    assert "--lines" in complete("tutti job pull --l")
    assert "--clean-start" not in complete("tutti job pull --c")
    assert complete("tutti completion z") == {"zsh"}


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_completion_in_zsh(shell_env, tmp_path):
    setup = b"PS1='ready> '; autoload -U compinit; compinit -D -u; source <(tutti completion zsh); print set''up\n"

    def complete(line, expected):
        shown = on_terminal(["zsh", "-f", "-i"], [(b"", setup), (b"setup", line.encode() + b"\t")], until=re.escape(expected).encode(), env=shell_env)
        return expected.encode() in shown

    assert complete("tutti conf", "tutti config")
    assert complete("tutti job sta", "tutti job start ")
    assert complete("tutti job show alp", "tutti job show alpha-1")
    assert complete("tutti job pull x --li", "tutti job pull x --lines")
    assert complete("tutti completion z", "tutti completion zsh")
