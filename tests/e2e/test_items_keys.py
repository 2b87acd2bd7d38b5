"""Order per key: items with the same key one after the other and in input order, others beside them."""
import json
import random
import threading
from collections import defaultdict

import pytest

from test_items_handout import Later, ids, post  # noqa: F401
from tutti_process import until
from wire import Wire, read_jsonl, write_jsonl


@pytest.fixture
def server(tutti):
    return tutti()


@pytest.fixture
def wire(server):
    return Wire(server.url)


def start(wire, server, keys, name="j", **members):
    write_jsonl(server.cwd / "in.jsonl", [{"n": i, "key": key} if key is not None else {"n": i} for i, key in enumerate(keys)])
    return wire.create(name, "in.jsonl", name + ".jsonl", key="key", **members)


def give(wire, *numbers, **params):
    return wire.results("j", [[i, {"id": i}] for i in numbers], **params)


def test_the_next_of_a_key_when_the_one_before_is_received(wire, server):
    job = start(wire, server, "aabac")
    assert job["key"] == "key"
    assert ids(wire.claim("j", 100)) == [0, 2, 4]
    assert wire.claim("j", 100)["items"] == []
    assert (wire.job("j")["pending"], wire.job("j")["served"]) == (5, 3)
    give(wire, 2, 4)
    assert wire.claim("j", 100)["items"] == []
    waiting = Later(wire.claim, "j", 100, wait="50s")
    give(wire, 0)
    assert ids(waiting.result()) == [1]
    give(wire, 1)
    assert ids(wire.claim("j", 100)) == [3]
    give(wire, 3)
    assert wire.job("j")["status"] == "COMPLETE"


def test_errors_and_death_make_way(wire, server):
    start(wire, server, "aaaa", max_attempts=1)
    first = wire.claim("j", 9)
    post(wire, "/v1/jobs/j/fail", [{"id": 0, "reason": "no", "final": True}], lease=first["lease"])
    assert ids(wire.claim("j", 9, lease="200ms")) == [1]
    assert ids(wire.claim("j", 9, wait="30s")) == [2], "1 is dead"
    assert wire.post("/mark-errors", [2], job_name="j").status == 200
    assert ids(wire.claim("j", 9)) == [3]


def test_what_comes_back_stays_first(wire, server):
    start(wire, server, "aab")
    batch = wire.claim("j", 1)
    post(wire, "/v1/jobs/j/fail", [{"id": 0, "reason": "again"}], lease=batch["lease"])
    assert ids(wire.claim("j", 9)) == [0, 2]


def test_items_without_a_key_are_free(wire, server):
    start(wire, server, ["a", None, None, "a", None])
    assert ids(wire.claim("j", 9)) == [0, 1, 2, 4]
    (server.cwd / "odd.jsonl").write_text('{"key":"a"}\n[1]\n"text"\n{"key":null}\n{"key":"a"}\n{"key":{"x":1}}\n{"key":{"x":1}}\n\nbad\n{"key":null}\n')
    wire.create("k", "odd.jsonl", "k.jsonl", key="key")
    assert ids(wire.claim("k", 99)) == [0, 1, 2, 3, 5, 9]


def test_a_result_without_a_claim(wire, server):
    start(wire, server, "aaaa")
    give(wire, 1, 2)
    assert ids(wire.claim("j", 9)) == [0]
    give(wire, 0)
    assert ids(wire.claim("j", 9)) == [3], "1 and 2 are passed over"


def test_retry_and_redo_never_make_two_of_a_key(wire, server):
    start(wire, server, "aaab")
    batch = wire.claim("j", 9)
    post(wire, "/v1/jobs/j/fail", [{"id": 0, "reason": "no", "final": True}], lease=batch["lease"])
    assert ids(wire.claim("j", 9)) == [1]
    post(wire, "/v1/jobs/j/retry", {"ids": [0]})
    assert wire.claim("j", 9)["items"] == [], "1 is in hand"
    give(wire, 1)
    assert ids(wire.claim("j", 9)) == [0], "it is before 2"
    give(wire, 0, 3)
    assert ids(wire.claim("j", 9)) == [2]
    post(wire, "/v1/jobs/j/redo", {"all": True})
    assert ids(wire.claim("j", 9)) == [3]
    give(wire, 2)
    assert ids(wire.claim("j", 9)) == [0]


def test_columns_of_a_csv(wire, server):
    (server.cwd / "in.csv").write_text("n,who\n0,x\n1,x\n2,y\n3,\n4,\n")
    wire.create("j", "in.csv", "j.csv", key="who")
    assert ids(wire.claim("j", 9)) == [0, 2, 3, 4]
    refused = wire.post("/v1/jobs", {"name": "k", "input": "in.csv", "output": "k.csv", "key": "whom"})
    assert refused.status == 400 and "`whom`" in refused.json()["detail"] and "who" in refused.json()["detail"]


def test_after_a_kill_the_order_is_the_same(wire, server):
    start(wire, server, "aaabbb")
    assert ids(wire.claim("j", 9)) == [0, 3]
    give(wire, 0)
    assert ids(wire.claim("j", 9)) == [1]
    server.kill_server()
    assert ids(wire.claim("j", 9, wait="10s")) == [1, 3]
    assert wire.job("j")["pending"] == 5


@pytest.mark.parametrize("members, text", [({"key": ""}, "member `key`"), ({"key": 5}, "member `key`"), ({"key": "k", "overlap": 2}, "exclude"),
                                           ({"key": "k", "output": None}, "read-write")])
def test_what_is_no_key(wire, server, members, text):
    write_jsonl(server.cwd / "in.jsonl", [{}])
    body = {"name": "bad", "input": "in.jsonl", "output": "bad.jsonl", **members}
    refused = wire.post("/v1/jobs", {k: v for k, v in body.items() if v is not None})
    assert refused.status == 400 and text in refused.json()["detail"], refused


def test_many_keys_many_blocks_many_workers(wire, server):
    """Each worker writes down when it got and when it gave an item; per key these do not overlap and are in order."""
    rng, count = random.Random(7), 30000
    keys = ["hot" if rng.random() < 0.02 else "k%d" % rng.randrange(3000) for _ in range(count)]
    start(wire, server, keys, lease="60s")
    clock, lock, spans = [0], threading.Lock(), defaultdict(list)

    def tick():
        clock[0] += 1
        return clock[0]

    def work(seed):
        mine, dice = Wire(server.url), random.Random(seed)
        while True:
            batch = mine.claim("j", dice.choice((50, 400, 2000)), wait="30s")
            if batch["status"] == "COMPLETE":
                return
            with lock:
                taken = tick()
            if dice.random() < 0.05:
                post(mine, "/v1/jobs/j/release", lease=batch["lease"])
                continue
            with lock:
                for i, value in batch["items"]:
                    spans[value["key"]].append((taken, tick(), i))
            mine.results("j", [[i, {"id": i, "key": value["key"]}] for i, value in batch["items"]], lease=batch["lease"])

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    assert wire.job("j")["status"] == "COMPLETE"
    for key, list_ in spans.items():
        list_.sort()
        assert [i for _, _, i in list_] == sorted(i for _, _, i in list_), key
        assert all(list_[n][1] < list_[n + 1][0] for n in range(len(list_) - 1)), key
    order = defaultdict(list)
    for row in read_jsonl(server.cwd / "j.jsonl"):
        order[row["key"]].append(row["id"])
    assert sum(map(len, order.values())) == count
    assert all(got == sorted(got) for got in order.values()), "so is the output"


def test_one_key_over_more_than_fits(wire, server):
    """A key that fills the window: the others behind it wait, and memory does not grow."""
    count = 70000
    write_jsonl(server.cwd / "in.jsonl", [{"key": "a" if i < 66000 else i} for i in range(count)])
    wire.create("j", "in.jsonl", "j.jsonl", key="key")
    until(lambda: wire.job("j")["total"] == count, "the plan")
    first = wire.claim("j", 10, wait="10s")
    assert ids(first) == [0]
    give(wire, *range(1, 66000))
    assert wire.job("j")["received"] == 65999
    give(wire, 0)
    assert ids(wire.claim("j", 3, wait="10s")) == [66000, 66001, 66002]
    json.dumps(first)


def test_what_is_sent_back_from_a_finished_block_takes_its_place(wire, server):
    start(wire, server, ["a"] + ["x%d" % i for i in range(5000)] + ["a", "a"])
    until(lambda: wire.job("j")["total"] == 5003, "the plan")
    give(wire, *range(5001))
    assert ids(wire.claim("j", 9, wait="10s")) == [5001]
    assert wire.claim("j", 9)["items"] == [], "5002 waits for 5001"
    post(wire, "/v1/jobs/j/redo", {"ids": [0]})
    assert wire.claim("j", 9, wait="300ms")["items"] == [], "5001 is in hand"
    give(wire, 5001)
    assert ids(wire.claim("j", 9, wait="10s")) == [0]
    give(wire, 0)
    assert ids(wire.claim("j", 9, wait="10s")) == [5002]


def test_everything_of_many_open_blocks_again(wire, server):
    """One item of each block stays open, so that all blocks stay known; then all others, each of its own key, are sent back."""
    count = 60000
    start(wire, server, ["k%d" % i for i in range(count)])
    until(lambda: wire.job("j")["total"] == count, "the plan")
    seen = []
    while len(seen) < count:
        batch = wire.claim("j", 5000, wait="10s")
        seen += ids(batch)
        give(wire, *[i for i in ids(batch) if i % 4000], lease=batch["lease"])
    assert seen == list(range(count))
    assert post(wire, "/v1/jobs/j/redo", {"all": True})["redone"] == count - 15
    seen = []
    while len(seen) < count - 15:
        batch = wire.claim("j", 5000, wait="10s")
        seen += ids(batch)
        give(wire, *ids(batch), lease=batch["lease"])
    assert sorted(seen) == [i for i in range(count) if i % 4000]
