"""Claims that name no job: which job serves them, who waits, and that nothing is lost or doubled on the way."""
import threading
import time
from collections import Counter

import pytest

from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl


@pytest.fixture
def server(tutti):
    return tutti()


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(20))
    return Wire(server.url)


def any_claim(wire, n=100, **params):
    answer = wire.post("/v1/claim", n=n, **params)
    assert answer.status == 200, answer
    return answer.json()


def create(wire, name, **members):
    return wire.create(name, "in.jsonl", name + "-out.jsonl", **members)


def test_the_highest_priority_is_served_first(wire):
    create(wire, "low", priority=-5)
    create(wire, "plain")
    create(wire, "high", priority=7)
    create(wire, "second")
    assert wire.job("high")["priority"] == 7
    got = [any_claim(wire, 20) for _ in range(5)]
    assert [batch["job"] for batch in got] == ["high", "plain", "second", "low", None]
    assert [len(batch["items"]) for batch in got] == [20, 20, 20, 20, 0]
    assert got[4]["lease"] is None and got[4]["status"] == "IN_PROGRESS"
    for batch in got[:4]:
        wire.results(batch["job"], [[i, {}] for i, _ in batch["items"]], lease=batch["lease"])
    assert any_claim(wire)["status"] == "COMPLETE"


def test_a_pattern_picks_jobs(wire):
    for name in ("etl-a", "etl-b", "other"):
        create(wire, name)
    assert [any_claim(wire, jobs="etl-*")["job"] for _ in range(3)] == ["etl-a", "etl-b", None]
    assert any_claim(wire, jobs="nothing*")["status"] == "COMPLETE"
    assert any_claim(wire, jobs="o?her")["job"] == "other"


def test_paused_broken_and_write_jobs_are_passed_over(wire, server):
    create(wire, "paused", priority=9)
    wire.post("/v1/jobs/paused/pause")
    wire.create("takes", None, "takes.jsonl", priority=8)
    create(wire, "fine")
    assert any_claim(wire)["job"] == "fine"
    wire.post("/v1/jobs/paused/resume")
    assert any_claim(wire)["job"] == "paused"


class Waiting:
    def __init__(self, wire, is_timed=False, **params):
        """is_timed: it ends by itself, and on a busy machine it may have."""
        self.batch = None
        self.thread = threading.Thread(target=self.run, args=(wire, params), daemon=True)
        self.thread.start()
        time.sleep(0.1)
        assert self.batch is None or is_timed

    def run(self, wire, params):
        self.batch = any_claim(wire, wait="50s", **params)

    def result(self):
        self.thread.join(60)
        assert self.batch, "no answer"
        return self.batch


def test_a_claim_waits_for_a_job_to_be_started(wire):
    waiting = Waiting(wire)
    create(wire, "new")
    assert (waiting.result()["job"], len(waiting.batch["items"])) == ("new", 20)


def test_it_is_woken_by_whatever_frees_an_item(wire):
    create(wire, "j", rate="1/s")
    create(wire, "k", max_in_flight=5)
    assert any_claim(wire)["job"] == "j"
    five = any_claim(wire)
    assert (five["job"], len(five["items"])) == ("k", 5)
    waiting = Waiting(wire, jobs="k")
    wire.results("k", [[0, {}]], lease=five["lease"])
    assert waiting.result()["items"][0][0] == 5
    waiting = Waiting(wire, jobs="k")
    wire.post("/v1/jobs/k/release", [1], lease=five["lease"])
    assert waiting.result()["items"][0][0] == 1
    waiting = Waiting(wire, is_timed=True, jobs="j")
    assert waiting.result()["job"] == "j", "the rate's timer"
    short = any_claim(wire, jobs="j", wait="20s", lease="300ms")
    wire.post("/v1/jobs/j/pause")
    until(lambda: wire.job("j")["served"] < 3, "the end of its lease")
    waiting = Waiting(wire, jobs="j")
    wire.post("/v1/jobs/j/resume")
    assert waiting.result()["items"][0][0] == short["items"][0][0]


def test_a_wait_ends(wire):
    began = time.monotonic()
    assert any_claim(wire, wait="300ms") == {"schema": 1, "job": None, "lease": None, "lease_ms": 0, "status": "COMPLETE", "items": []}
    assert 0.3 <= time.monotonic() - began < 20


def test_a_wait_ends_with_the_server(wire, server):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(wire.post("/v1/claim", wait="50s")), daemon=True)
    thread.start()
    time.sleep(0.2)
    began = time.monotonic()
    server.stop()
    thread.join(20)
    assert answers and answers[0].status == 503 and time.monotonic() - began < 20


def test_the_same_request_gets_the_same_batch(wire):
    create(wire, "a")
    first = any_claim(wire, 5, request_id="r1")
    create(wire, "b", priority=5)
    again = any_claim(wire, 5, request_id="r1")
    assert first == again and first["job"] == "a"
    assert any_claim(wire, 5, request_id="r2")["job"] == "b"
    wire.results("a", [[i, {}] for i, _ in first["items"]])
    assert any_claim(wire, 5, request_id="r1")["job"] == "b", "its lease is over"


def test_tokens_open_jobs(wire, server):
    create(wire, "locked", priority=5, token="secret")
    create(wire, "open")
    assert any_claim(wire, 20)["job"] == "open"
    assert any_claim(wire, 20)["job"] is None
    assert any_claim(wire, 20, token="wrong")["job"] is None
    assert any_claim(wire, 20, token="secret")["job"] == "locked"
    for more in ({"jobs": "lock*"}, {"jobs": "lock*", "token": "wrong"}, {"jobs": "lock*", "token": "wrong", "wait": "30s"}):
        assert wire.post("/v1/claim", n=1, **more).status == 403, more


@pytest.mark.parametrize("priority", ["high", 1001, -1001, 1.5, True])
def test_what_is_no_priority(wire, priority):
    answer = wire.post("/v1/jobs", {"name": "bad", "input": "in.jsonl", "output": "bad.jsonl", "priority": priority})
    assert answer.status == 400 and "member `priority` must be" in answer.json()["detail"], answer


def test_many_clients_over_many_jobs(wire, server):
    names = ["j%02d" % i for i in range(12)]
    stop, seen, lock = threading.Event(), Counter(), threading.Lock()

    def work():
        mine = Wire(server.url)
        while not stop.is_set():
            batch = any_claim(mine, 7, wait="1s")
            if batch["items"]:
                with lock:
                    seen.update((batch["job"], i) for i, _ in batch["items"])
                mine.results(batch["job"], [[i, {"id": i}] for i, _ in batch["items"]], lease=batch["lease"])

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for name in names:
        create(wire, name)
    until(lambda: all(wire.job(name)["status"] == "COMPLETE" for name in names), "the end of all jobs", 60)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert set(seen.values()) == {1} and len(seen) == 12 * 20
    for name in names:
        assert sorted(row["id"] for row in read_jsonl(server.cwd / (name + "-out.jsonl"))) == list(range(20))
