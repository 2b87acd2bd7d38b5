"""How a job hands out: paused, with a rate, with a bound on what is in flight."""
import threading
import time

import pytest

from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl


@pytest.fixture
def server(common):
    return common


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(20))
    return Wire(server.url)


def ids(batch):
    return [i for i, _ in batch["items"]]


class Later:
    """A call in a thread of its own."""

    def __init__(self, fn, *args, **params):
        self.answer, self.took_s = None, 0.0
        self.thread = threading.Thread(target=self._run, args=(fn, args, params), daemon=True)
        self.thread.start()

    def _run(self, fn, args, params):
        began = time.monotonic()
        self.answer = fn(*args, **params)
        self.took_s = time.monotonic() - began

    def result(self):
        self.thread.join(60)
        assert self.answer is not None, "no answer"
        return self.answer


def post(wire, path, body=None, **params):
    answer = wire.post(path, body, **params)
    assert answer.status == 200, answer
    return answer.json()


def refused(wire, text, **members):
    answer = wire.post("/v1/jobs", {"name": "bad", "input": "in.jsonl", "output": "bad.jsonl", **members})
    assert answer.status == 400, answer
    assert text in answer.json()["detail"], answer


# ---- pause ----


def test_a_paused_job_serves_nothing_and_takes_results(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 5)
    assert post(wire, "/v1/jobs/j/pause") == {"schema": 1, "paused": True}
    empty = wire.claim("j", 5)
    assert empty["items"] == [] and empty["lease"] is None and empty["status"] == "PAUSED"
    assert wire.serve("j", 5) == []
    assert wire.results("j", [[i, {"id": i}] for i in ids(batch)])["accepted"] == 5
    job = wire.job("j")
    assert (job["status"], job["paused"], job["received"]) == ("PAUSED", True, 5)
    assert wire.report("j")["status"] == "PAUSED"
    assert [row["id"] for row in read_jsonl(server.cwd / "out.jsonl")] == [0, 1, 2, 3, 4]


def test_a_claim_that_waits_is_woken_by_resume(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    post(wire, "/v1/jobs/j/pause")
    waiting = Later(wire.claim, "j", 7, wait="50s")
    time.sleep(0.2)
    assert waiting.answer is None
    assert post(wire, "/v1/jobs/j/resume") == {"schema": 1, "resumed": True}
    assert len(waiting.result()["items"]) == 7
    assert wire.job("j")["status"] == "IN_PROGRESS"


def test_a_wait_in_a_paused_job_ends(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    post(wire, "/v1/jobs/j/pause")
    empty = wire.claim("j", 7, wait="200ms")
    assert empty["items"] == [] and empty["status"] == "PAUSED"


def test_a_pause_outlives_a_kill(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    post(wire, "/v1/jobs/j/pause")
    server.kill_server()
    assert wire.job("j")["status"] == "PAUSED"
    assert wire.claim("j", 5)["items"] == []
    post(wire, "/v1/jobs/j/resume")
    server.kill_server()
    assert len(wire.claim("j", 5, wait="10s")["items"]) == 5


def test_a_paused_job_can_complete(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 20)
    post(wire, "/v1/jobs/j/pause")
    wire.results("j", [[i, {}] for i in ids(batch)])
    assert wire.job("j")["status"] == "COMPLETE"
    assert wire.claim("j", 5, wait="30s")["status"] == "COMPLETE"


def test_pausing_what_is_not_there(wire):
    assert wire.post("/v1/jobs/none/pause").status == 404
    assert wire.post("/v1/jobs/none/resume").status == 404


# ---- rate ----


def test_a_rate_bounds_what_is_handed_out(wire, server):
    write_jsonl(server.cwd / "many.jsonl", numbered(1000))
    job = wire.create("j", "many.jsonl", "out.jsonl", rate="100/s")
    assert job["rate_limit"] == "100/s"
    began, got = time.monotonic(), 0
    while got < 250:
        got += len(wire.claim("j", 1000, wait="10s")["items"])
        assert got <= 100 + 100 * (time.monotonic() - began) + 1, "a second's worth at the start, then as time goes"
    assert time.monotonic() - began >= 1.4


def test_a_claim_waits_for_the_rate_without_polling(wire):
    wire.create("j", "in.jsonl", "out.jsonl", rate="2/s")
    assert len(wire.claim("j", 20)["items"]) == 2
    assert wire.claim("j", 20)["items"] == []
    began = time.monotonic()
    assert len(wire.claim("j", 20, wait="30s")["items"]) == 1
    assert time.monotonic() - began < 20


def test_a_wait_for_the_rate_ends(wire):
    wire.create("j", "in.jsonl", "out.jsonl", rate="1/h")
    assert len(wire.claim("j", 20)["items"]) == 1
    assert wire.claim("j", 20, wait="200ms")["items"] == []


def test_the_rate_holds_after_a_restart(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", rate="3/d")
    server.kill_server()
    assert wire.job("j")["rate_limit"] == "3/d"
    assert len(wire.claim("j", 20, wait="10s")["items"]) == 1


@pytest.mark.parametrize("rate", ["fast", "10", 10, "0/s", "-1/s", "1/y", "1/ss", "nan/s", "inf/s", "1e300/s", "0x10/s", "", "1/s " + "x" * 40])
def test_what_is_no_rate(wire, rate):
    refused(wire, "member `rate` must be", rate=rate)


# ---- in flight ----


def test_a_bound_on_what_is_in_flight(wire):
    wire.create("j", "in.jsonl", "out.jsonl", max_in_flight=8)
    first = wire.claim("j", 5)
    assert ids(wire.claim("j", 100)) == [5, 6, 7]
    assert wire.claim("j", 100)["items"] == []
    waiting = Later(wire.claim, "j", 100, wait="50s")
    wire.results("j", [[0, {}], [1, {}]], lease=first["lease"])
    assert ids(waiting.result()) == [8, 9]
    assert wire.job("j")["max_in_flight"] == 8
    waiting = Later(wire.claim, "j", 100, wait="50s")
    post(wire, "/v1/jobs/j/release", [2], lease=first["lease"])
    assert ids(waiting.result()) == [2]


@pytest.mark.parametrize("bound", [0, -1, "many", 1.5])
def test_what_is_no_bound(wire, bound):
    refused(wire, "member `max_in_flight` must be", max_in_flight=bound)


def test_a_read_job_has_nothing_in_flight(wire):
    answer = wire.post("/v1/jobs", {"name": "r", "input": "in.jsonl", "max_in_flight": 5})
    assert answer.status == 400 and "max_in_flight" in answer.json()["detail"]


def test_nor_does_a_write_job_hand_out(wire):
    answer = wire.post("/v1/jobs", {"name": "w", "output": "w.jsonl", "rate": "5/s"})
    assert answer.status == 400 and "rate" in answer.json()["detail"]


def test_the_rules_through_the_older_route(wire):
    wire.start("j", "in.jsonl", "out.jsonl", metadata={"rate": "5/m", "max_in_flight": 2})
    assert (wire.job("j")["rate_limit"], wire.job("j")["max_in_flight"]) == ("5/m", 2)
    assert len(wire.serve("j", 20)) == 1


def test_everything_goes_through_in_the_end(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", max_in_flight=3, rate="200/s")
    seen = []
    while (batch := wire.claim("j", 7, wait="20s"))["status"] != "COMPLETE":
        assert len(batch["items"]) <= 3
        seen += ids(batch)
        wire.results("j", [[i, {"id": i}] for i in ids(batch)], lease=batch["lease"])
    assert seen == list(range(20))
    assert [row["id"] for row in read_jsonl(server.cwd / "out.jsonl")] == seen
    until(lambda: wire.job("j")["status"] == "COMPLETE", "the end")


# ---- redo ----


def finished(wire, name="j", **members):
    wire.create(name, "in.jsonl", "out.jsonl", **members)
    wire.results(name, [[i, {"id": i}] for i in range(20)])
    assert wire.job(name)["status"] == "COMPLETE"


def lines(server):
    return [row["id"] for row in read_jsonl(server.cwd / "out.jsonl")]


def test_redo_of_some_items(wire, server):
    finished(wire)
    assert post(wire, "/v1/jobs/j/redo", {"ids": [3, 7, 7, 99]}) == {"schema": 1, "redone": 2}
    job = wire.job("j")
    assert (job["status"], job["received"], job["redone"], job["pending"]) == ("IN_PROGRESS", 18, 2, 2)
    assert wire.report("j")["redone"] == 2
    batch = wire.claim("j", 100, wait="10s")
    assert ids(batch) == [3, 7]
    assert wire.results("j", [[3, {"id": 3}], [7, {"id": 7}], [8, {"id": 8}]], lease=batch["lease"])["duplicate"] == 1
    assert lines(server) == list(range(20)) + [3, 7]
    assert wire.job("j")["status"] == "COMPLETE"


def test_redo_of_all_items_and_of_none(wire, server):
    finished(wire)
    assert post(wire, "/v1/jobs/j/redo", {"all": True})["redone"] == 20
    assert post(wire, "/v1/jobs/j/redo", {"all": True})["redone"] == 0
    server.kill_server()
    assert (wire.job("j")["pending"], wire.job("j")["redone"]) == (20, 20)
    assert wire.drain("j", 6) == list(range(20))
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 40


def test_redo_wakes_a_claim(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.results("j", [[i, {}] for i in range(19)])
    held = wire.claim("j", 1)
    assert ids(held) == [19]
    waiting = Later(wire.claim, "j", 5, wait="50s")
    time.sleep(0.1)
    post(wire, "/v1/jobs/j/redo", {"ids": [4, 19]})
    assert ids(waiting.result()) == [4], "19 is not received"


def test_redo_looks_again_at_what_was_never_read(wire, server):
    (server.cwd / "odd.jsonl").write_text('{"n":0}\nnot json\n\n{"n":3}\n')
    wire.create("j", "odd.jsonl", "odd-out.jsonl")
    assert wire.results("j", [[0, {}], [1, {}], [3, {}]])["accepted"] == 3, "nobody has looked at the records yet"
    post(wire, "/v1/jobs/j/redo", {"all": True})
    assert ids(wire.claim("j", 10, wait="10s")) == [0, 3]
    assert [e["id"] for e in wire.errors("j")] == [1]


def test_redo_in_jobs_that_only_read_or_write(wire, server):
    wire.create("r", "in.jsonl")
    assert len(wire.claim("r", 100)["items"]) == 20
    assert post(wire, "/v1/jobs/r/redo", {"ids": [5]})["redone"] == 1
    assert ids(wire.claim("r", 100)) == [5]
    wire.create("w", None, "out.jsonl")
    wire.results("w", [[5, {"id": 5}]])
    assert wire.results("w", [[5, {"id": 5}]])["duplicate"] == 1
    assert post(wire, "/v1/jobs/w/redo", {"ids": [5]})["redone"] == 1
    assert wire.results("w", [[5, {"id": 5}]])["accepted"] == 1
    assert lines(server) == [5, 5]


@pytest.mark.parametrize("body", [None, {}, {"all": False}, {"ids": 5}, {"ids": ["a"]}, {"ids": [1], "all": True}, [1], {"some": 1}])
def test_what_is_no_redo(wire, body):
    wire.create("j", "in.jsonl", "out.jsonl")
    assert wire.post("/v1/jobs/j/redo", body).status in (400, 422)


def test_redo_of_a_job_that_is_not_there(wire):
    assert wire.post("/v1/jobs/none/redo", {"all": True}).status == 404


# ---- errors as data ----


def failed(wire):
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=1)
    batch = wire.claim("j", 10)
    rows = [{"id": i, "reason": "HTTP %d from the \u00fcpstream" % (500 + i % 2), "final": i < 6} for i in range(10)]
    post(wire, "/v1/jobs/j/fail", rows, lease=batch["lease"])


def listed(wire, **params):
    answer = wire.get("/v1/jobs/j/errors", **params)
    assert answer.status == 200, answer
    return [e["id"] for e in answer.json()["errors"]], answer.json()["next"]


def test_errors_by_reason_and_state(wire):
    failed(wire)
    assert listed(wire, reason="HTTP 500") == ([0, 2, 4, 6, 8], None)
    assert listed(wire, state="dead") == ([6, 7, 8, 9], None)
    assert listed(wire, state="error", reason="501 from the \u00fcp") == ([1, 3, 5], None)
    assert listed(wire, reason="HTTP 500", limit=2) == ([0, 2], 2)
    assert listed(wire, reason="HTTP 500", limit=2, after=2) == ([4, 6], 6)
    assert listed(wire, reason="HTTP 500", limit=2, after=6) == ([8], None)
    assert listed(wire, reason="nobody said so") == ([], None)
    assert wire.get("/v1/jobs/j/errors", state="fine").status == 400


def test_retry_by_reason_and_state(wire):
    failed(wire)
    assert post(wire, "/v1/jobs/j/retry", {"reason": "HTTP 501", "state": "dead"})["retried"] == 2
    assert listed(wire) == ([0, 1, 2, 3, 4, 5, 6, 8], None)
    assert post(wire, "/v1/jobs/j/retry", {"reason": "HTTP 500"})["retried"] == 5
    assert post(wire, "/v1/jobs/j/retry", {"state": "error"})["retried"] == 3
    assert listed(wire) == ([], None)
    assert ids(wire.claim("j", 10)) == list(range(10))


@pytest.mark.parametrize("body", [{"reason": 5}, {"state": "fine"}, {"reason": "x", "ids": [1]}, {"state": "dead", "more": 1}])
def test_what_is_no_retry(wire, body):
    failed(wire)
    assert wire.post("/v1/jobs/j/retry", body).status in (400, 422)
    assert len(listed(wire)[0]) == 10


# ---- the size of a batch ----


def sizes(wire, seconds_per_item, rounds, worker="w", **params):
    """The sizes of batches that a worker of this speed is given."""
    found = []
    for _ in range(rounds):
        answer = wire.post("/v1/jobs/j/claim", worker=worker, **params)
        items = answer.json()["items"]
        found.append(len(items))
        time.sleep(seconds_per_item * len(items))
        wire.results("j", [[i, {}] for i, _ in items], lease=answer.json()["lease"])
    return found


def test_batches_grow_with_fast_work_and_stay_small_with_slow(wire, server):
    write_jsonl(server.cwd / "many.jsonl", numbered(20000))
    wire.create("j", "many.jsonl", "out.jsonl")
    fast = sizes(wire, 0, 8, "fast")
    assert fast[:3] == [8, 16, 32] and fast[-1] > 200
    slow = sizes(wire, 0.2, 3, "slow")
    assert slow[0] == 8 and slow[-1] <= 7, "each worker has its own"
    assert len(wire.claim("j", 300, worker="slow")["items"]) == 300, "a number that is named is given"
    assert len(wire.post("/serve", job_name="j").json()) == 100
    assert wire.post("/v1/jobs/j/claim", n=0).json()["items"] == []


def test_batches_of_large_items_are_bounded_in_bytes(wire, server):
    write_jsonl(server.cwd / "large.jsonl", [{"text": "x" * 1000000} for _ in range(12)])
    wire.create("j", "large.jsonl", "out.jsonl")
    assert len(wire.post("/v1/jobs/j/claim", worker="w").json()["items"]) == 5, "4 MiB and what goes over it"


def test_a_lease_that_runs_out_halves_the_batch(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    assert sizes(wire, 0, 1) == [8]
    assert len(wire.post("/v1/jobs/j/claim", worker="w", lease="100ms").json()["items"]) == 12, "16 are wanted, 12 are there"
    until(lambda: wire.job("j")["served"] == 0, "the end of the lease")
    assert len(wire.post("/v1/jobs/j/claim", worker="w").json()["items"]) == 8


# ---- a repair may change how a job hands out ----


def test_a_repair_changes_the_rules_that_it_may(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", max_in_flight=5, lease="90s")
    assert len(wire.claim("j", 100)["items"]) == 5
    body = {"name": "j", "input": "in.jsonl", "output": "out.jsonl", "cont": True}
    made = wire.post("/v1/jobs", {**body, "max_in_flight": 12, "rate": "1000/s", "priority": 7, "max_attempts": 9})
    assert made.status in (200, 201), made
    seen = wire.job("j")
    assert (seen["max_in_flight"], seen["rate_limit"], seen["priority"], seen["max_attempts"], seen["lease_ms"]) == (12, "1000/s", 7, 9, 90000)
    assert len(wire.claim("j", 100)["items"]) == 12
    server.kill_server()
    again = wire.job("j")
    assert {k: again[k] for k in ("max_in_flight", "rate_limit", "priority", "max_attempts", "lease_ms")} == {
        k: seen[k] for k in ("max_in_flight", "rate_limit", "priority", "max_attempts", "lease_ms")}
    assert wire.post("/v1/jobs", {**body, "lease": "20s"}).status in (200, 201)
    assert wire.job("j")["lease_ms"] == 20000 and wire.job("j")["max_in_flight"] == 12
    assert wire.post("/v1/jobs", {**body, "max_in_flight": 12, "priority": 7, "rate": "1000/s", "max_attempts": 9, "lease": "20s", "cont": False}).status == 200


@pytest.mark.parametrize("members, word", [({"overlap": 2}, "overlap 1"), ({"key": "n"}, "key null"), ({"order": "input"}, 'order "arrival"'), ({"types": "text"}, 'types "infer"'),
                                           ({"overwrite": True}, "overwrite false"), ({"reader": "CsvReader"}, "reader `JsonlReader`"), ({"rate": "no"}, "rate` must be")])
def test_a_repair_says_what_it_cannot_change(wire, members, word):
    wire.create("j", "in.jsonl", "out.jsonl", reader="JsonlReader")
    wire.claim("j", 5)
    body = {"name": "j", "input": "in.jsonl", "output": "out.jsonl", "cont": True, "priority": 3}
    answer = wire.post("/v1/jobs", {**body, **members})
    assert answer.status in (400, 409) and word in answer.json()["detail"], answer
    seen = wire.job("j")
    assert seen["served"] == 5 and seen["priority"] == 0, "nothing was changed"
    assert wire.post("/v1/jobs", {**body, "overlap": 1, "key": None, "order": "arrival", "overwrite": False}).status in (200, 201)
    assert wire.job("j")["priority"] == 3
