"""kill -9 of the server while items are asked for several times, sent back, and ordered by key; independent books of clients and of the test.

The promise: each accepted generation of an item (and with overlap each answer of it) is in the output exactly once; an acknowledged result is
never lost; no worker is given an item of which it has an answer; of a key never two items are in hand, and they come in input order."""
import json
import os
import random
import threading
import time
import urllib.error
from collections import Counter, defaultdict

import pytest

from checker import Broken, demand
from tutti_process import until


@pytest.fixture
def seed():
    number = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % number)
    return number


class Books:
    """What the clients know, under one lock. sent: texts of results; acked: those that were accepted for certain."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent, self.acked = Counter(), Counter()
        self.answered = set()    # (worker, id) that are acknowledged
        self.held = {}           # key -> (id, worker, until, deaths before) of what is certainly in hand
        self.broken = None


class Worker(threading.Thread):
    """Claims and answers until it is told that all is over; what gets no answer is tried again."""

    def __init__(self, t, books, name, seed, key=None, lease_s=20.0):
        super().__init__(daemon=True)
        self.t, self.books, self.name_, self.random = t, books, name, random.Random(seed)
        self.key, self.lease_s, self.over = key, lease_s, threading.Event()

    def call(self, path, body=None, **params):
        while not self.over.is_set():
            try:
                answer = self.t.post("/v1/jobs/j" + path, body, params=params, timeout=20)
                if answer.status < 500:
                    return answer
            except (OSError, ValueError, urllib.error.URLError):
                pass
            time.sleep(0.02)
        return None

    def run(self):
        try:
            while not self.over.is_set() and self.step():
                pass
        except AssertionError as e:
            self.books.broken = e

    def take(self):
        asked = time.monotonic()
        answer = self.call("/claim", n=self.random.choice((1, 5, 30)), worker=self.name_, wait="200ms", lease="%dms" % (self.lease_s * 1000))
        if answer is None:
            return None
        demand(answer.status == 200, "a claim was refused: %s", answer.body)
        with self.books.lock:
            for id, value in answer.json["items"]:
                self.check(id, value, asked)
        return answer.json

    def check(self, id, value, asked):
        demand((self.name_, id) not in self.books.answered or self.key is not None, "%s was given item %d again", self.name_, id)
        if self.key is None:
            return
        other = self.books.held.get(value[self.key])
        demand(not other or other[0] == id or other[2] < time.monotonic() or other[3] != self.t.deaths, "item %d was given out while %s of its key is in hand", id, other)
        self.books.held[value[self.key]] = (id, self.name_, asked + self.lease_s, self.t.deaths)

    def step(self):
        batch = self.take()
        if batch is None:
            return False
        if not batch["items"]:
            time.sleep(0.05)  # complete, or nothing for us: the test says when it is over, for it may send items back
            return True
        if self.random.random() < 0.05:
            with self.books.lock:
                self.let_go(batch)
            self.call("/release", lease=batch["lease"])
            return True
        self.give(batch)
        return True

    def let_go(self, batch):
        for _, value in batch["items"] if self.key is not None else ():
            self.books.held.pop(value[self.key], None)

    def give(self, batch):
        texts = {id: json.dumps({"id": id, "by": self.name_, "nonce": self.random.getrandbits(60)}) for id, _ in batch["items"]}
        with self.books.lock:
            self.books.sent.update(texts.values())
            self.let_go(batch)
        body = ("[" + ",".join("[%d,%s]" % pair for pair in texts.items()) + "]").encode()
        answer = self.call("/results", body, lease=batch["lease"], worker=self.name_)
        if answer is None:
            return
        demand(answer.status == 200, "results were refused: %s", answer.body)
        with self.books.lock:
            if answer.json["accepted"] == len(texts):
                self.books.acked.update(texts.values())
            if answer.json["accepted"] + answer.json["duplicate"] == len(texts):
                self.books.answered.update((self.name_, id) for id in texts)


def start(t, count, **members):
    (t.cwd / "in.jsonl").write_text("".join(json.dumps({"n": i, "k": i % 7}) + "\n" for i in range(count)))
    made = t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.jsonl", "max_attempts": 15, **members})
    assert made.status == 201, made.body


def killing(t, workers, books, rng, kills, between=lambda: None):
    t.deaths = 0
    for worker in workers:
        worker.start()
    try:
        for _ in range(kills):
            time.sleep(rng.uniform(0, 0.25))
            between()
            with books.lock:
                t.deaths += 1  # what was in hand is given out again from here on
                books.held.clear()
            t.kill_server()
            if books.broken:
                raise books.broken
    except BaseException:
        for worker in workers:
            worker.over.set()
        raise


def finish(t, workers, books, limit_s=120):
    until(lambda: books.broken or t.get("/v1/jobs/j").json["status"] == "COMPLETE", "the end of the job", limit_s)
    for worker in workers:
        worker.over.set()
    for worker in workers:
        worker.join(60)
    if books.broken:
        raise books.broken


def lines(t):
    return (t.cwd / "out.jsonl").read_text().splitlines()


def check_sent(texts, books, redone=Counter()):
    """Every line is one that a client sent, once; every acknowledged one is there. A request that is repeated because its answer was lost counts as new for
    the items that were redone meanwhile."""
    found = Counter(texts)
    twice = [text for text, times in found.items() if times > 1 and (not redone or times > 1 + redone[json.loads(text)["id"]])]
    demand(not twice, "a line is there twice: %s", twice[:1])
    strange = set(found) - set(books.sent)
    demand(not strange, "a line that nobody sent: %s", sorted(strange)[:1])
    lost = set(books.acked) - set(found)
    demand(not lost, "an acknowledged result is lost: %s", sorted(lost)[:1])


@pytest.mark.timeout(600)
def test_answers_are_there_once_each(tutti, seed, is_long):
    count, overlap = 1500, 3
    t, rng, books = tutti(args=["--log-level", "error"]), random.Random(seed), Books()
    start(t, count, overlap=overlap)
    workers = [Worker(t, books, "w%d" % i, seed + i) for i in range(overlap + 1)]
    killing(t, workers, books, rng, 100 if is_long else 8)
    finish(t, workers, books)
    rows = [json.loads(line) for line in lines(t)]
    check_sent([json.dumps(row["value"]) for row in rows], books)
    slots = Counter((row["id"], row["answer"]) for row in rows)
    demand(set(slots) == {(i, a) for i in range(count) for a in range(1, overlap + 1)} and max(slots.values()) == 1, "not every answer is there once")
    givers = Counter((row["id"], row["worker"]) for row in rows)
    demand(max(givers.values()) == 1, "a worker answered an item twice: %s", givers.most_common(1))
    demand(all(row["value"]["by"] == row["worker"] for row in rows), "an answer under another's name")
    report = t.get("/v1/jobs/j").json
    demand((report["answers"], report["received"], report["dead"]) == (count * overlap, count, 0), "the report: %s", report)


@pytest.mark.timeout(600)
def test_each_generation_is_there_once(tutti, seed, is_long):
    """asked: redos of each item that were answered; those without an answer may have happened or not."""
    count = 1500
    t, rng, books = tutti(args=["--log-level", "error"]), random.Random(seed), Books()
    asked, perhaps, redone = Counter(), Counter(), [0]
    start(t, count)

    class Redoing(Worker):
        def check(self, id, value, asked):
            pass

    def send_back():
        ids = rng.sample(range(count), 40)
        try:
            answer = t.post("/v1/jobs/j/redo", {"ids": ids}, timeout=20)
        except (OSError, urllib.error.URLError):
            perhaps.update(ids)
            return
        assert answer.status == 200, answer.body
        redone[0] += answer.json["redone"]
        (asked if answer.json["redone"] == len(ids) else perhaps).update(ids)

    workers = [Redoing(t, books, "w%d" % i, seed + i) for i in range(3)]
    killing(t, workers, books, rng, 100 if is_long else 8, send_back)
    finish(t, workers, books)
    texts = lines(t)
    check_sent(texts, books, asked + perhaps)
    found = Counter(json.loads(text)["id"] for text in texts)
    for id in range(count):
        demand(1 + asked[id] <= found[id] <= 1 + asked[id] + perhaps[id], "item %d is there %d times; redone %d times, and perhaps %d more", id, found[id], asked[id], perhaps[id])
    report = t.get("/v1/jobs/j").json
    demand(report["received"] == count and report["redone"] >= redone[0], "the report: %s", report)
    demand(len(texts) == count + report["redone"], "%d lines, %d items, %d redone", len(texts), count, report["redone"])


@pytest.mark.timeout(600)
def test_items_of_a_key_come_in_order(tutti, seed, is_long):
    count = 700
    t, rng, books = tutti(args=["--log-level", "error"]), random.Random(seed), Books()
    start(t, count, key="k")
    workers = [Worker(t, books, "w%d" % i, seed + i, key="k") for i in range(4)]
    killing(t, workers, books, rng, 100 if is_long else 8)
    finish(t, workers, books)
    texts = lines(t)
    check_sent(texts, books)
    order = defaultdict(list)
    for text in texts:
        order[json.loads(text)["id"] % 7].append(json.loads(text)["id"])
    demand(sorted(sum(order.values(), [])) == list(range(count)), "not every item is there once")
    for key, ids in order.items():
        demand(ids == sorted(ids), "key %d is not in input order", key)


def test_the_checker_finds_what_is_wrong():
    books = Books()
    books.sent.update(["a", "b"])
    books.acked.update(["a"])
    check_sent(["a"], books)
    for wrong in (["b"], ["a", "a"], ["a", "c"]):
        with pytest.raises(Broken):
            check_sent(wrong, books)
