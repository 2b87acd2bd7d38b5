"""Many more jobs than descriptors in one server: all of them are worked on, killed in the middle, and every result is there once.
600 jobs with 256 descriptors in the ordinary run, 10,000 with 512 with --long."""
import gzip
import http.client
import json
import os
import random
import resource
import subprocess
import threading
from collections import Counter

import pytest

from tutti_process import binary, until

THREADS, ITEMS = 6, 8
KINDS = ("plain", "packed in", "table", "packed out", "ordered", "rejects")


class Caller:
    """A kept connection; a call whose answer was lost is made again."""

    def __init__(self, t):
        self.t, self.wire = t, None

    def __call__(self, method, path, body=None):
        def once():
            try:
                self.wire = self.wire or http.client.HTTPConnection("127.0.0.1", self.t.port, timeout=60)
                self.wire.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
                answer = self.wire.getresponse()
                text = answer.read()
                return None if answer.status == 503 else (answer.status, json.loads(text))
            except (OSError, http.client.HTTPException):
                self.wire = None
        return until(once, "an answer to %s %s" % (method, path), 60)


def of_all(t, count, work):
    """work(caller, number) for all jobs in a random order, by several threads."""
    numbers, faults = list(range(count)), []
    random.shuffle(numbers)

    def run(mine):
        caller = Caller(t)
        try:
            for number in mine:
                work(caller, number)
        except BaseException as fault:
            faults.append(fault)
    threads = [threading.Thread(target=run, args=(numbers[i::THREADS],)) for i in range(THREADS)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if faults:
        raise faults[0]


def write_input(t, number):
    kind = KINDS[number % len(KINDS)]
    lines = "".join('{"job": %d, "n": %d}\n' % (number, n) for n in range(ITEMS))
    if kind == "table":
        (t.cwd / ("in/%d.csv" % number)).write_text("job,n\n" + "".join("%d,%d\n" % (number, n) for n in range(ITEMS)))
    elif kind == "packed in":
        (t.cwd / ("in/%d.jsonl.gz" % number)).write_bytes(gzip.compress(lines.encode(), 1))
    else:
        (t.cwd / ("in/%d.jsonl" % number)).write_text(lines + ("no record\n" if kind == "rejects" else ""))


def start(call, number):
    kind = KINDS[number % len(KINDS)]
    ending = {"table": "csv", "packed in": "jsonl.gz"}.get(kind, "jsonl")
    output = {"table": "csv", "packed out": "jsonl.gz"}.get(kind, "jsonl")
    members = {"order": "input"} if kind == "ordered" else {}
    status, answer = call("POST", "/v1/jobs", {"name": "j%05d" % number, "input": "in/%d.%s" % (number, ending),
                                               "output": "out/%d.%s" % (number, output), **members})
    assert status in (200, 201), answer


def work_on(call, number, n):
    name = "j%05d" % number
    status, batch = call("POST", "/v1/jobs/%s/claim?n=%d" % (name, n))
    assert status == 200, batch
    status, answer = call("POST", "/v1/jobs/%s/results" % name, batch["items"])
    assert status == 200 and answer["accepted"] + answer["duplicate"] == len(batch["items"]), answer
    return len(batch["items"])


def finish(call, number):
    while work_on(call, number, 5):
        pass


def check_output(t, number):
    kind = KINDS[number % len(KINDS)]
    if kind == "table":
        lines = (t.cwd / ("out/%d.csv" % number)).read_text().splitlines()
        assert lines[0] == "job,n" and Counter(lines[1:]) == Counter("%d,%d" % (number, n) for n in range(ITEMS)), number
        return
    path = t.cwd / ("out/%d.jsonl%s" % (number, ".gz" if kind == "packed out" else ""))
    text = gzip.decompress(path.read_bytes()).decode() if kind == "packed out" else path.read_text()
    got = [json.loads(line) for line in text.splitlines()]
    assert Counter(row["n"] for row in got) == Counter(range(ITEMS)) and all(row["job"] == number for row in got), number
    assert kind != "ordered" or [row["n"] for row in got] == list(range(ITEMS)), number
    if kind == "rejects":
        rejects = (t.cwd / ("out/%d.jsonl.rejects.jsonl" % number)).read_text().splitlines()
        assert [json.loads(line)["id"] for line in rejects] == [ITEMS], number


def pages(call, query):
    names, after = [], ""
    while after is not None:
        status, page = call("GET", "/v1/jobs?%s%s" % (query, "&after=" + after if after else ""))
        assert status == 200 and len(page["jobs"]) <= 97
        names += [job["name"] for job in page["jobs"]]
        after = page["next"]
    return names


@pytest.mark.timeout(900)
def test_there_may_be_more_jobs_than_descriptors(tutti, is_long):
    count, descriptors = (10000, 512) if is_long else (600, 256)
    t = tutti(args=["--log-level", "warn"])
    resource.prlimit(t.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
    t.kill_server()
    assert resource.prlimit(t.server_pid, resource.RLIMIT_NOFILE) == (descriptors, descriptors)
    (t.cwd / "in").mkdir()
    (t.cwd / "out").mkdir()
    for number in range(count):
        write_input(t, number)
    of_all(t, count, start)
    of_all(t, count, lambda call, number: work_on(call, number, 3))
    assert len(os.listdir("/proc/%d/fd" % t.server_pid)) < descriptors * 3 // 4
    killer = threading.Timer(0.3, t.kill_server)
    killer.start()
    of_all(t, count, lambda call, number: work_on(call, number, 2))
    killer.join()
    t.restart(same_port=True)
    of_all(t, count, finish)
    call, names = Caller(t), ["j%05d" % number for number in range(count)]
    until(lambda: pages(call, "limit=97&status=COMPLETE") == names, "all jobs are complete", 300)
    assert pages(call, "limit=97") == names and pages(call, "limit=97&status=BROKEN") == []
    for number in range(count):
        check_output(t, number)
    assert not [line for line in t.log().splitlines() if "level=error" in line]


def test_the_list_has_pages_on_the_command_line_too(tutti):
    t = tutti()
    (t.cwd / "in.jsonl").write_text("{}\n")
    for name in ("b", "d", "a", "c"):
        assert t.post("/v1/jobs", {"name": name, "input": "in.jsonl", "output": name + ".jsonl"}).status == 201
    assert t.post("/v1/jobs/c/pause").status == 200

    def run(*words):
        return subprocess.run([binary(), "job", "list", "--server", t.url, *words], capture_output=True, text=True, timeout=60)
    done = run("--plain")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["a", "b", "c", "d"] and not done.stderr
    done = run("--plain", "--limit", "3")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["a", "b", "c"] and "behind `c`" in done.stderr
    whole = json.loads(run("--json", "--limit", "1").stdout)
    assert [job["name"] for job in whole["jobs"]] == ["a"] and whole["next"] == "a"
    assert [job["name"] for job in json.loads(run("--json", "--status", "PAUSED").stdout)["jobs"]] == ["c"]
    assert run("--limit", "-1").returncode == 2 and run("--status", "FINE").returncode == 2
    assert t.get("/v1/jobs", params={"limit": -1}).status == 400
