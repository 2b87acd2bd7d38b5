"""Several answers per item from different workers: who gets what, what is left for whom, what the output holds, and restarts."""
import csv
import json
import random
import time
from collections import defaultdict

import pytest

from test_items_handout import Later, finished, ids, post  # noqa: F401
from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl

ITEMS = 20


@pytest.fixture
def server(tutti):
    return tutti()


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(ITEMS))
    return Wire(server.url)


def answer(wire, batch, by, name="j", **params):
    return wire.results(name, [[i, {"said": by}] for i in ids(batch)], lease=batch["lease"], **params)


def check_output(path, overlap, items=range(ITEMS)):
    """Each (item, answer) once, and no worker twice on an item."""
    slots, workers = defaultdict(list), defaultdict(list)
    for row in read_jsonl(path):
        assert list(row) == ["id", "worker", "answer", "value"]
        slots[row["id"]].append(row["answer"])
        workers[row["id"]].append(row["worker"])
        assert row["value"]["said"] == row["worker"]
    for i in items:
        assert sorted(slots[i]) == list(range(1, overlap + 1)), i
        assert len(set(workers[i])) == overlap
    assert set(slots) == set(items)


def test_no_worker_gets_an_item_twice(wire, server):
    job = wire.create("j", "in.jsonl", "out.jsonl", overlap=3)
    assert (job["overlap"], job["answers"], job["total"]) == (3, 0, ITEMS)
    first = wire.claim("j", 100, worker="ann")
    assert ids(first) == list(range(ITEMS))
    assert wire.claim("j", 100, worker="ann")["status"] == "IN_PROGRESS", "what it holds may come back"
    assert wire.job("j")["served"] == ITEMS
    assert answer(wire, first, "ann")["accepted"] == ITEMS
    nothing = wire.claim("j", 100, worker="ann", wait="50s")
    assert (nothing["items"], nothing["status"]) == ([], "NOTHING_FOR_YOU")
    job = wire.job("j")
    assert (job["received"], job["answers"], job["pending"], job["status"]) == (0, ITEMS, ITEMS, "IN_PROGRESS")
    for worker in ("bob", "cid"):
        assert answer(wire, wire.claim("j", 100, worker=worker), worker)["accepted"] == ITEMS
    job = wire.job("j")
    assert (job["received"], job["answers"], job["status"]) == (ITEMS, 3 * ITEMS, "COMPLETE")
    assert wire.claim("j", 100, worker="dan")["status"] == "COMPLETE"
    check_output(server.cwd / "out.jsonl", 3)


def test_first_items_are_finished_first(wire):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    assert ids(wire.claim("j", 4, worker="ann")) == [0, 1, 2, 3]
    assert ids(wire.claim("j", 6, worker="bob")) == [0, 1, 2, 3, 4, 5]
    assert ids(wire.claim("j", 3, worker="cid")) == [4, 5, 6], "0 to 3 are in two hands"
    assert ids(wire.claim("j", 3, worker="ann")) == [6, 7, 8], "4 and 5 are in two hands"


def test_a_waiting_claim_is_told_when_nothing_can_come(wire):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    mine = wire.claim("j", 100, worker="ann")
    other = wire.claim("j", 100, worker="bob")
    waiting = Later(wire.claim, "j", 100, worker="ann", wait="50s")
    late = Later(wire.claim, "j", 100, worker="cid", wait="50s")
    answer(wire, mine, "ann")
    assert waiting.result()["status"] == "NOTHING_FOR_YOU"
    assert late.answer is None, "what bob holds may come back to cid"
    post(wire, "/v1/jobs/j/release", [5], lease=other["lease"])
    assert ids(late.result()) == [5]


def test_what_comes_back_may_go_to_the_same_worker_or_another(wire):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    first = wire.claim("j", 2, worker="ann", lease="200ms")
    until(lambda: wire.job("j")["served"] == 0, "the end of the lease")
    assert ids(wire.claim("j", 2, worker="ann")) == ids(first) == [0, 1]
    assert answer(wire, first, "ann", worker="ann")["accepted"] == 2, "a late answer of its own"
    assert answer(wire, first, "ann", worker="ann")["duplicate"] == 2


def test_an_answer_without_a_claim_is_taken_while_one_is_missing(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    held = wire.claim("j", 1, worker="ann")
    for worker, taken in (("bob", 1), ("bob", 0), ("cid", 1), ("dan", 0)):
        assert wire.results("j", [[0, {"said": worker}]], worker=worker)["accepted"] == taken, worker
    assert answer(wire, held, "ann", worker="ann")["duplicate"] == 1, "two others were faster"
    assert sorted(row["worker"] for row in read_jsonl(server.cwd / "out.jsonl")) == ["bob", "cid"]


def test_the_same_batch_again(wire):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    first = wire.claim("j", 5, worker="ann", request_id="r")
    assert wire.claim("j", 5, worker="ann", request_id="r") == first
    assert wire.job("j")["served"] == 5


def test_who_has_no_name_is_refused(wire):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    for refused in (wire.post("/v1/jobs/j/claim", n=1), wire.post("/v1/jobs/j/results", [[0, {}]]), wire.post("/serve", job_name="j"),
                    wire.receive("j", [[0, {}]]), wire.post("/v1/jobs/j/results", [[0, {}]], lease="f" * 32)):
        assert refused.status == 400 and "say who you are, with worker=NAME" in refused.json()["detail"], refused
    assert len(wire.serve("j", 3, worker="old")) == 3
    wire.give("j", [[0, {"said": "old"}]], worker="old")
    assert wire.job("j")["answers"] == 1
    wire.create("k", "in.jsonl", "k.jsonl")
    assert wire.post("/v1/claim", n=1).json()["job"] == "k", "any: passed over"
    assert wire.post("/v1/claim", n=1, worker="new").json()["job"] == "j"


def test_errors_end_an_item_for_all(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=3, max_attempts=1)
    ann, bob = wire.claim("j", 4, worker="ann"), wire.claim("j", 2, worker="bob")
    rows = [{"id": 0, "reason": "torn", "final": True}, {"id": 2, "reason": "once is enough"}]
    assert post(wire, "/v1/jobs/j/fail", rows, lease=ann["lease"]) == {"schema": 1, "retry": 0, "dead": 1, "error": 1, "unknown": 0}
    assert ids(wire.claim("j", 4, worker="cid")) == [1, 3, 4, 5], "0 and 2 are closed"
    assert wire.results("j", [[0, {"said": "bob"}]], lease=bob["lease"])["accepted"] == 1, "bob had it in hand"
    job = wire.job("j")
    assert (job["errors"], job["dead"], job["answers"]) == (1, 1, 1)
    assert [(e["id"], e["state"], e["worker"]) for e in wire.errors("j")] == [(0, "error", "ann"), (2, "dead", "ann")]
    assert post(wire, "/v1/jobs/j/retry", {"ids": [0, 2]})["retried"] == 2
    assert ids(wire.claim("j", 2, worker="dan")) == [0, 2], "1 is in three hands"
    assert wire.errors("j") == []


def test_a_lease_that_runs_out_for_the_last_time_ends_the_item(wire):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2, max_attempts=1)
    wire.claim("j", 1, worker="ann", lease="100ms")
    until(lambda: wire.job("j")["dead"] == 1, "the end of the lease")
    assert ids(wire.claim("j", 1, worker="bob")) == [1]


def test_marks_of_older_clients(wire):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    ann = wire.claim("j", 2, worker="ann")
    assert wire.post("/mark-errors", [0, 5], job_name="j").status == 200
    assert (wire.job("j")["errors"], ids(wire.claim("j", 2, worker="bob"))) == (2, [1, 2])
    answer(wire, ann, "ann")
    assert wire.job("j")["answers"] == 2


def test_bad_records_count_once(wire, server):
    (server.cwd / "odd.jsonl").write_text('{"n":0}\nnot json\n\n{"n":3}\n')
    wire.create("j", "odd.jsonl", "odd-out.jsonl", overlap=2)
    for worker in ("ann", "bob"):
        answer(wire, wire.claim("j", 10, worker=worker, wait="10s"), worker)
    job = wire.job("j")
    assert (job["total"], job["received"], job["errors"], job["status"]) == (3, 2, 1, "COMPLETE")
    assert len((server.cwd / "odd-out.jsonl.rejects.jsonl").read_text().splitlines()) == 1
    server.kill_server()
    assert wire.job("j")["status"] == "COMPLETE"


def test_redo_asks_everybody_again(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    for worker in ("ann", "bob"):
        answer(wire, wire.claim("j", 100, worker=worker), worker)
    assert post(wire, "/v1/jobs/j/redo", {"ids": [4]})["redone"] == 1
    assert ids(wire.claim("j", 100, worker="ann")) == [4]
    job = wire.job("j")
    assert (job["received"], job["answers"], job["redone"]) == (ITEMS - 1, 2 * ITEMS - 2, 1)
    assert post(wire, "/v1/jobs/j/redo", {"all": True})["redone"] == ITEMS - 1
    assert wire.job("j")["answers"] == 0


def test_in_csv_the_value_is_a_cell(wire, server):
    wire.create("j", "in.jsonl", "out.csv", overlap=2)
    for worker in ("ann", "bob"):
        answer(wire, wire.claim("j", 2, worker=worker), worker)
    with open(server.cwd / "out.csv", newline="") as rows:
        rows = list(csv.reader(rows))
    assert rows[0] == ["id", "worker", "answer", "value"] and len(rows) == 5
    assert json.loads(rows[1][3]) == {"said": rows[1][1]}


def test_everything_is_known_after_a_kill(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=3)
    answer(wire, wire.claim("j", 12, worker="ann"), "ann")
    answer(wire, wire.claim("j", 15, worker="b\u00fcb"), "b\u00fcb")
    held = wire.claim("j", 100, worker="cid")
    before = wire.job("j")
    server.kill_server()
    after = wire.job("j")
    assert (before["served"], after["served"]) == (ITEMS, 0)
    assert [after[m] for m in ("answers", "received", "pending")] == [before[m] for m in ("answers", "received", "pending")] == [27, 0, ITEMS]
    assert ids(wire.claim("j", 100, worker="ann")) == list(range(12, ITEMS)), "ann's answers are hers still"
    refused = wire.post("/v1/jobs/j/results", [[0, {}]], lease=held["lease"])
    assert refused.status == 400, "nobody knows that lease any more"
    assert answer(wire, held, "cid", worker="cid")["accepted"] == ITEMS
    assert wire.job("j")["received"] == 12


@pytest.mark.parametrize("overlap", [0, -1, 17, "two", 1.5])
def test_what_is_no_overlap(wire, overlap):
    refused = wire.post("/v1/jobs", {"name": "bad", "input": "in.jsonl", "output": "bad.jsonl", "overlap": overlap})
    assert refused.status == 400 and "member `overlap` must be" in refused.json()["detail"], refused


def test_one_is_none(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", overlap=1)
    assert wire.results("j", [[0, {"n": 0}]])["accepted"] == 1
    assert read_jsonl(server.cwd / "out.jsonl") == [{"n": 0}]


def test_random_workers_over_many_blocks(wire, server):
    count, overlap = 9000, 3
    write_jsonl(server.cwd / "many.jsonl", numbered(count))
    wire.create("j", "many.jsonl", "out.jsonl", overlap=overlap)
    rng, seen = random.Random(5), defaultdict(set)
    workers, done = ["w%d" % i for i in range(5)], set()
    end = time.monotonic() + 100
    while len(done) < len(workers) and time.monotonic() < end:
        worker = rng.choice([w for w in workers if w not in done])
        batch = wire.claim("j", rng.choice((1, 300, 2000)), worker=worker, wait="5s")
        if batch["status"] in ("COMPLETE", "NOTHING_FOR_YOU"):
            done.add(worker)
            continue
        if rng.random() < 0.1:
            post(wire, "/v1/jobs/j/release", lease=batch["lease"])
            continue
        assert not seen[worker] & set(ids(batch)), "never twice"
        seen[worker] |= set(ids(batch))
        assert answer(wire, batch, worker)["accepted"] == len(batch["items"])
    assert wire.job("j")["status"] == "COMPLETE"
    check_output(server.cwd / "out.jsonl", overlap, range(count))
