"""The RQ projection, as the real `rq` and rq-dashboard see it: what they show, what their buttons do, what gets lost and comes back."""
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import chromium
from redis_process import Redis, free_port
from tutti_process import alive, is_sanitized, until

rq = pytest.importorskip("rq", reason="no rq: run script/setup")
import redis as redis_py  # noqa: E402
from rq.command import send_kill_horse_command, send_shutdown_command, send_stop_job_command  # noqa: E402
from rq.job import Job  # noqa: E402

LIMIT_S = 60
pytestmark = pytest.mark.stores
BIN = Path(sys.executable).parent
REGISTRIES = ("started", "finished", "failed", "deferred", "scheduled", "canceled")


class Dashboard:
    def __init__(self, store, log):
        self.port = free_port()
        with open(log, "wb") as out:
            self.process = subprocess.Popen([BIN / "rq-dashboard", "--bind", "127.0.0.1", "--port", str(self.port), "--redis-url", store.url], stdout=out, stderr=out)
        until(self.answers, "rq-dashboard answers", LIMIT_S)

    def answers(self):
        try:
            return self.get("/0/data/queues.json") is not None
        except OSError:
            return False

    def request(self, path, method="GET"):
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), method=method, data=b"" if method == "POST" else None)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.read().decode()

    def get(self, path):
        return json.loads(self.request(path))

    def press(self, path):
        answer = json.loads(self.request(path, "POST"))
        assert answer["status"] == "OK", answer
        return answer

    def counts(self, queue="default"):
        found = {q["name"]: q for q in self.get("/0/data/queues.json")["queues"]}
        if queue not in found:
            return None
        one = found[queue]
        return {"queued": one["count"], **{name: one["%s_job_registry_count" % name] for name in REGISTRIES}}

    def jobs(self, registry, queue="default"):
        return self.get("/0/data/jobs/%s/%s/100/asc/1.json" % (queue, registry))["jobs"]

    def ids(self, registry, queue="default"):
        return [job["id"] for job in self.jobs(registry, queue)]

    def worker(self, state):
        """sanjer1, as soon as it is in this state. (While the job of a busy one is being deleted, RQ has no page of workers.)"""
        def found():
            try:
                return next((w for w in self.get("/0/data/workers.json")["workers"] if w["name"].partition("@")[0] == "sanjer1" and w["state"] == state), None)
            except urllib.error.HTTPError:
                return None
        return until(found, "sanjer1 is " + state, LIMIT_S)


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """One Redis and one dashboard for all; each test begins with an empty Redis."""
    folder = tmp_path_factory.mktemp("rq")
    store = Redis(folder / "redis", appendonly=False)
    try:
        board = Dashboard(store, folder / "dashboard.log")
        yield store, board
        board.process.terminate()
        board.process.wait(LIMIT_S)
    finally:
        store.kill()


@pytest.fixture
def board(tools):
    tools[0].call("FLUSHALL")
    return tools[1]


@pytest.fixture
def store(tools):
    return tools[0]


@pytest.fixture
def conn(store):
    with redis_py.Redis(port=store.port) as one:
        yield one


@pytest.fixture
def t(tutti, board, store):
    """One worker; what its only place is taken for, and what waits behind it, is the test's."""
    return tutti(args=["--rq-queue", "default", "--rq-queue", "account_schedules", "--grace", "100ms"], env={"TUTTI_RQ_REDIS": store.url}, workers=1)


def push(t, *tasks):
    answer = t.post("/v1/tasks", {"tasks": list(tasks)})
    assert answer.status == 200, answer
    return [str(id) for id in answer.json["ids"]]


def state(t, id):
    return t.get("/v1/tasks/%s" % id).json.get("state")


def reaches(t, id, wanted):
    until(lambda: state(t, id) == wanted, "task %s is %s" % (id, wanted), LIMIT_S)


def shown(board, wanted, queue="default"):
    """Until the dashboard has these counts; registries that are not named are to be empty."""
    full = {**dict.fromkeys(("queued", *REGISTRIES), 0), **wanted}
    until(lambda: board.counts(queue) == full, "the dashboard shows %s" % wanted, LIMIT_S)


def in_step(t):
    """Everything that was durable before this call is shown."""
    def ready():
        health = t.get("/health").json["rq"]
        return health["online"] and not health["stale"] and health["lag_ms"] == 0 and health["waiting"] == 0
    until(ready, "the projection is in step", LIMIT_S)


SLEEP = {"kind": "sleep", "payload": "1000s"}
FAIL = {"kind": "sleep", "payload": "<b>not</b> a time"}
PROBE = {"kind": "probe", "payload": "hello"}


def block(t):
    """A task that keeps the only worker busy."""
    [id] = push(t, SLEEP)
    reaches(t, id, "started")
    return id


@pytest.mark.both_stores
def test_every_state_is_shown(t, board, store, conn):
    done, failed = push(t, PROBE, FAIL)
    reaches(t, failed, "failed")
    reaches(t, done, "finished")
    busy = block(t)
    queued, later, waits, gone = push(t, {**PROBE, "program": "report"}, {**PROBE, "run_in": "1h"}, {**PROBE, "waits_for": [int(busy)]}, PROBE)
    elsewhere, = push(t, {**PROBE, "queue": "account_schedules"})
    hidden, = push(t, {**PROBE, "queue": "private"})
    assert t.post("/v1/tasks/%s/cancel?reason=enough" % gone).status == 200
    shown(board, {"queued": 1, **dict.fromkeys(REGISTRIES, 1)})
    shown(board, {"queued": 1}, "account_schedules")
    assert board.counts("private") is None and not store.call("EXISTS", "rq:job:" + hidden)
    assert [board.ids(name) for name in ("queued", *REGISTRIES)] == [[queued], [busy], [done], [failed], [waits], [later], [gone]]
    job = board.get("/0/data/job/%s.json" % failed)
    assert job["status"] == "failed" and "not" in job["exc_info"] and "<" not in job["exc_info"] and job["ended_at"] >= job["started_at"] >= job["created_at"]
    assert board.get("/0/data/job/%s.json" % done)["result"] == "hello"
    assert "report" in board.jobs("queued")[0]["description"]
    worker = board.worker("busy")
    assert worker["current_job"]["job_id"] == busy and worker["queues"] == ["default"]
    assert worker["successful_job_count"] == 1 and worker["failed_job_count"] == 1 and worker["pid"] == t.get("/v1/workers").json["workers"][0]["pid"]
    for page in ("/", "/0/view/workers", "/0/view/jobs", "/0/view/job/" + failed):
        assert "RQ" in board.request(page)
    text = subprocess.run([BIN / "rq", "info", "-u", store.url, "--raw"], capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout
    assert "queue default 1, 1 executing, 1 finished, 1 failed" in text and re.search(r"worker sanjer1\S* \(.* %d\) busy default" % worker["pid"], text), text
    mine = Job.fetch(later, connection=conn)
    assert mine.get_status() == "scheduled" and mine.func_name == "probe" and mine.args == () and mine.origin == "default"
    shown(board, {"queued": 1, **dict.fromkeys(REGISTRIES, 1)})  # also after `rq info` has cleaned up


def test_an_execution_has_its_id_and_its_progress_and_no_settings(tutti, board, store, conn):
    t = tutti(args=["--rq-queue", "*", "--redis", store.url], workers=1, start=False)
    programs = t.data / "programs"
    programs.mkdir(mode=0o700, parents=True)
    (programs / "speaks").write_text("""#!/bin/sh
[ "$1" = --describe ] && { echo '{"display_name":"Speaks","settings":{"word":{"type":"secret","required":true}}}'; exit; }
echo '{"progress":{"login":"<i>done</i>"}}' >&3
until [ -e %s/go ]; do sleep 0.02; done
""" % t.cwd)
    (programs / "speaks").chmod(0o700)
    t.start()
    answer = t.post("/execution/run", {"platform_id": "speaks", "settings": {"word": "s3cr3t-w0rd"}, "_id": "dev::Test"}).json
    id = answer["message"]["job_id"]
    job = until(lambda: (lambda j: j if j["metadata"] != "{}" else None)(board.get("/0/data/job/%s.json" % id)) if store.call("EXISTS", "rq:job:" + id) else None,
                "the job says how far it is", LIMIT_S)
    assert job["status"] == "started" and "done" in json.loads(job["metadata"])["login"] and "<" not in job["metadata"]
    assert Job.fetch(id, connection=conn).func_name == "speaks"
    (t.cwd / "go").touch()
    shown(board, {"finished": 1})
    assert b"s3cr3t" not in b"".join(b"".join(store.call("HGETALL", key)) for key in store.keys("rq:job:*"))


def test_delete_cancels_or_forgets(t, board):
    done, failed = push(t, PROBE, FAIL)
    reaches(t, failed, "failed")
    reaches(t, done, "finished")
    busy = block(t)
    queued, later = push(t, PROBE, {**PROBE, "run_in": "1h"})
    shown(board, {"queued": 1, "started": 1, "finished": 1, "failed": 1, "scheduled": 1})
    board.press("/job/%s/delete" % done)
    for id in (queued, later, busy):
        board.press("/job/%s/delete" % id)
        reaches(t, id, "canceled")
        assert "Redis" in t.get("/v1/tasks/" + id).json["reason"]
    until(lambda: t.get("/v1/tasks/" + done).status == 404, "an ended one is forgotten", LIMIT_S)
    board.worker("idle")
    in_step(t)
    assert board.counts() == {"queued": 0, **dict.fromkeys(REGISTRIES, 0), "failed": 1}  # the deleted ones do not come back
    assert t.post("/v1/tasks/%s/retry" % later).status == 200
    shown(board, {"finished": 1, "failed": 1})  # until they begin anew


def test_requeue(t, board):
    failed = push(t, FAIL, FAIL, FAIL)
    for id in failed:
        reaches(t, id, "failed")
    shown(board, {"failed": 3})
    busy = block(t)
    board.press("/job/%s/requeue" % failed[0])
    reaches(t, failed[0], "queued")
    shown(board, {"queued": 1, "failed": 2, "started": 1})
    assert board.press("/requeue/default")["count"] == 2
    for id in failed:
        reaches(t, id, "queued")
    shown(board, {"queued": 3, "started": 1})
    assert t.post("/v1/tasks/%s/cancel" % busy).status == 200
    for id in failed:
        reaches(t, id, "failed")
        assert t.get("/v1/tasks/" + id).json["attempts"] == 1
    shown(board, {"failed": 3, "canceled": 1})


def test_empty_and_compact(t, board):
    failed = push(t, FAIL, FAIL)
    for id in failed:
        reaches(t, id, "failed")
    block(t)
    queued = push(t, *[PROBE] * 5)
    shown(board, {"queued": 5, "started": 1, "failed": 2})
    board.press("/queue/default/compact")
    shown(board, {"queued": 5, "started": 1, "failed": 2})
    assert board.ids("queued") == queued
    board.press("/queue/default/queued/empty")
    for id in queued:
        reaches(t, id, "canceled")
    board.press("/queue/default/failed/empty")
    for id in failed:
        until(lambda: t.get("/v1/tasks/" + id).status == 404, "it is forgotten", LIMIT_S)
    shown(board, {"started": 1})


def test_cancel_stop_and_suspend(t, board, conn, store):
    busy = block(t)
    queued, = push(t, PROBE)
    shown(board, {"queued": 1, "started": 1})
    Job.fetch(queued, connection=conn).cancel()
    reaches(t, queued, "canceled")
    send_stop_job_command(conn, busy)
    reaches(t, busy, "canceled")
    shown(board, {"canceled": 2})
    send_shutdown_command(conn, board.worker("idle")["name"])
    until(lambda: "command=shutdown" in t.log(), "what cannot be obeyed is said", LIMIT_S)
    subprocess.run([BIN / "rq", "suspend", "-u", store.url], check=True, timeout=LIMIT_S, capture_output=True)
    until(lambda: t.get("/health").json["rq"]["suspended"], "it rests", LIMIT_S)
    waiting, = push(t, PROBE)
    elsewhere, = push(t, {**PROBE, "queue": "private"})
    board.worker("suspended")
    assert state(t, waiting) == "queued"
    subprocess.run([BIN / "rq", "resume", "-u", store.url], check=True, timeout=LIMIT_S, capture_output=True)
    reaches(t, waiting, "finished")
    again = block(t)
    send_kill_horse_command(conn, board.worker("busy")["name"])
    reaches(t, again, "canceled")


def test_foreign_jobs_and_keys_are_left_alone(t, board, conn, store):
    foreign = rq.Queue("default", connection=conn).enqueue("os.getpid")
    store.call("SET", "rq:job:99", "not a job")
    busy = block(t)
    queued, = push(t, PROBE)
    until(lambda: t.get("/health").json["rq"]["foreign_jobs"] == 1, "it is counted", LIMIT_S)
    assert "not ours" in t.log() and "queue=default jobs=1" in t.log()
    shown(board, {"queued": 2, "started": 1})
    assert Job.fetch(foreign.id, connection=conn).get_status() == "queued"
    board.press("/job/%s/delete" % foreign.id)
    until(lambda: t.get("/health").json["rq"]["foreign_jobs"] == 0, "it is gone", LIMIT_S)
    assert state(t, busy) == "started" and state(t, queued) == "queued"


def test_what_others_moved_about_is_put_right(t, board, store):
    """Out of its list, twice in it, and taken by a worker of RQ's that failed to run it."""
    block(t)
    lost, doubled, taken = push(t, PROBE, PROBE, PROBE)
    shown(board, {"queued": 3, "started": 1})
    store.call("LREM", "rq:queue:default", 0, lost)
    store.call("RPUSH", "rq:queue:default", doubled)
    store.call("RPUSH", "rq:queue:default", doubled)
    store.call("HSET", "rq:job:" + taken, "status", "failed")
    store.call("ZADD", "rq:failed:default", "1e10", taken)
    until(lambda: sorted(store.call("LRANGE", "rq:queue:default", 0, -1)) == sorted(id.encode() for id in (lost, doubled, taken)), "the list is right", LIMIT_S)
    until(lambda: store.call("HGET", "rq:job:" + taken, "status") == b"queued" and not store.call("ZCARD", "rq:failed:default"), "so is the job", LIMIT_S)
    assert [state(t, id) for id in (lost, doubled, taken)] == ["queued"] * 3


def test_what_is_lost_is_filled_again(t, board, store):
    done, failed = push(t, PROBE, FAIL)
    reaches(t, failed, "failed")
    busy = block(t)
    queued = push(t, PROBE, PROBE)
    wanted = {"queued": 2, "started": 1, "finished": 1, "failed": 1}
    shown(board, wanted)
    refills = t.get("/health").json["rq"]["refills"]
    store.call("FLUSHALL")
    until(lambda: t.get("/health").json["rq"]["refills"] == refills + 1, "the loss is noticed", LIMIT_S)
    shown(board, wanted)
    assert sorted(board.ids("queued")) == queued and [state(t, id) for id in (busy, *queued)] == ["started", "queued", "queued"]
    board.worker("busy")


def test_redis_may_be_away(t, board, store):
    """Tasks neither wait nor suffer; afterwards everything is shown."""
    push(t, PROBE)
    shown(board, {"finished": 1})
    store.kill()
    try:
        ids = push(t, *[PROBE] * 20, FAIL)
        for id in ids[:-1]:
            reaches(t, id, "finished")
        until(lambda: not t.get("/health").json["rq"]["online"], "it is said", LIMIT_S)
        assert t.get("/readyz").status == 200
        t.kill_server()
        more = push(t, PROBE)
        reaches(t, more[0], "finished")
    finally:
        store.start()
    shown(board, {"finished": 22, "failed": 1})


def test_a_server_that_is_killed_goes_on(t, board, store):
    busy = block(t)
    queued = push(t, *[PROBE] * 3)
    shown(board, {"queued": 3, "started": 1})
    t.kill_server()
    reaches(t, busy, "started")
    shown(board, {"queued": 3, "started": 1})
    assert t.post("/v1/tasks/%s/cancel" % busy).status == 200
    for id in queued:
        reaches(t, id, "finished")
    shown(board, {"finished": 3, "canceled": 1})
    worker = t.get("/v1/workers").json["workers"][0]["pid"]
    t.stop()
    assert not alive(worker)
    assert not store.call("SMEMBERS", "rq:workers") or "the grace is over" in t.log(), "workers that ended are shown no longer"


def test_a_slow_redis_slows_no_task(t, board, store):
    push(t, PROBE)
    shown(board, {"finished": 1})
    store.pause()
    try:
        ids = push(t, *[PROBE] * 10)
        for id in ids:
            reaches(t, id, "finished")
    finally:
        store.resume()
    shown(board, {"finished": 11})


def test_without_a_redis_the_option_is_refused(tutti):
    t = tutti(start=False, args=["--rq-queue", "default"], env={"TUTTI_REDIS": None})
    with pytest.raises(AssertionError, match="does not listen"):
        t.start()
    assert "rq.queues" in t.log() and "--redis" in t.log()


# ---- as a person sees it ----


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium.missing():
        pytest.skip(chromium.missing())
    one = chromium.Chromium(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


class Pages:
    """The dashboard's pages in the browser. Each is loaded anew until it shows what is awaited: the dashboard looks only every 2.5 s."""

    def __init__(self, board, browser):
        self.at, self.browser = "http://127.0.0.1:%d" % board.port, browser

    def show(self, page, rows, wanted):
        """The texts of these rows, as soon as they are what is wanted."""
        self.browser.open(self.at + page)

        def found():
            texts = self.browser.texts(rows)
            return texts if wanted(texts) else None
        try:
            return until(found, "%s shows it" % page, 10)
        except AssertionError:
            self.browser.open(self.at + page)
            return until(found, "%s shows it, loaded anew: %s" % (page, self.browser.texts("body")), LIMIT_S)

    def press(self, button):
        """A button, and Yes where it asks."""
        self.browser.click(button)
        if "requeue-job-btn" not in button:
            self.browser.click("#confirmation-modal-yes")


HOSTILE = "<img src=/nothing onerror=document.title='hurt'>"


@pytest.mark.skipif(is_sanitized(), reason="is about what a person sees; the same keys are asked for over HTTP")
def test_the_dashboard_in_a_browser(t, board, browser):
    done, failed = push(t, PROBE, {**FAIL, "payload": HOSTILE, "program": HOSTILE})
    reaches(t, failed, "failed")
    reaches(t, done, "finished")
    busy = block(t)
    queued = push(t, {**PROBE, "program": "report"}, {**PROBE, "program": HOSTILE}, PROBE)
    shown(board, {"queued": 3, "started": 1, "finished": 1, "failed": 1})
    pages = Pages(board, browser)
    browser.complaints()
    cells = pages.show("/", "#queues tr[data-role=queue] td", lambda texts: len(texts) >= 8)
    assert cells[:8] == ["default", "3", "0", "0", "1", "1", "1", "0"], cells
    worker, job, queues = pages.show("/0/view/workers", "#workers tr[data-role=worker] td", lambda texts: len(texts) == 3)
    assert worker.startswith("sanjer1") and job == "sleep()" and queues == "default", (worker, job, queues)
    rows = pages.show("/0/view/jobs/default/queued/8/asc/1", "#jobs tr[data-role=job]", lambda texts: len(texts) == 3)
    assert all(id in row and "Delete" in row and "Requeue" not in row for id, row in zip(queued, rows)) and "report" in rows[0], rows
    [text] = pages.show("/0/view/job/" + failed, "#job-data", lambda texts: "Status" in texts[0])
    assert re.search(r"Status:\s+failed", text) and "onerror" in text and "is not a duration" in text, text
    assert browser.texts("#requeue-job-btn") == ["Requeue"]

    [row] = pages.show("/0/view/jobs/default/failed/8/asc/1", "#jobs tr[data-role=job]", len)
    assert failed in row and "Failed" in row and "Requeue" in row, row
    pages.press("[data-role=requeue-job-btn]")
    reaches(t, failed, "queued")
    pages.show("/0/view/job/" + busy, "#job-data", lambda texts: re.search(r"Status:\s+started", texts[0]))
    pages.press("#delete-job-btn")
    reaches(t, busy, "canceled")
    for id in queued:  # its worker goes on
        reaches(t, id, "finished")
    reaches(t, failed, "failed")
    block(t)
    more = push(t, PROBE, PROBE)
    pages.show("/0/view/jobs/default/queued/8/asc/1", "#jobs tr[data-role=job]", lambda texts: len(texts) == 2)
    pages.press("#empty-btn")
    for id in more:
        reaches(t, id, "canceled")
    pages.show("/0/view/jobs/default/queued/8/asc/1", "#jobs tbody tr", lambda texts: texts == ["No jobs."])
    pages.show("/0/view/jobs/default/failed/8/asc/1", "#jobs tr[data-role=job]", len)
    pages.press("#requeue-all-btn")
    reaches(t, failed, "queued")
    assert browser.run("return document.title") == "RQ dashboard" and not browser.complaints()


@pytest.mark.long
def test_many(t, board):
    for _ in range(100):
        push(t, *[PROBE] * 1000)
    until(lambda: board.counts()["finished"] == 100000, "all are shown", 300)
