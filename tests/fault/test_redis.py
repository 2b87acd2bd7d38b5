"""Redis is stopped, started again, emptied, paused, slowed and cut off while clients work and the server is killed: no item is lost or doubled, /health
tells the truth, and in the end the mirror shows what the ledger says."""
import json
import random
import threading
import time
from collections import Counter
from http.client import HTTPException

import pytest

from redis_process import Proxy, in_step
from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl

COUNT = 8000
SLOW_S = 0.2


class Clients:
    """Threads that claim and send until they are stopped, or the job is complete; now and then one leaves items behind, or marks one."""

    def __init__(self, server, jobs, count, seed):
        self.server, self.jobs, self.stopping, self.fault, self.marked = server, jobs, False, None, {job: set() for job in jobs}
        self.threads = [threading.Thread(target=self._work, args=(random.Random(seed * 100 + i),), daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _work(self, rng):
        try:
            while not self.stopping:
                if not any([self._step(rng, job) for job in self.jobs]):
                    time.sleep(0.01)
        except Exception as fault:  # noqa: BLE001 - the test shows it
            self.fault = fault

    def _step(self, rng, job):
        wire = Wire(self.server.url)
        try:
            items = wire.serve(job, rng.choice((1, 20, 200)))
            if not items or rng.random() < 0.03:
                return bool(items)
            if rng.random() < 0.05:
                marked = items.pop()[0]
                if wire.post("/mark-errors", [marked], job_name=job).status == 200:
                    self.marked[job].add(marked)
            wire.give(job, [[i, value] for i, value in items])
            return True
        except (OSError, HTTPException):
            return True  # the server was killed; what was sent may have arrived

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)
        assert self.fault is None, self.fault


class Nemesis:
    def __init__(self, server, store, proxy, rng):
        self.server, self.store, self.proxy, self.rng = server, store, proxy, rng
        self.deeds = [self.kill, self.flush, self.pause, self.slow, self.cut, self.refuse, self.kill_server, self.lose]

    def kill(self):
        self.store.kill()
        until(lambda: self.health()["Redis status"] == "Offline", "a dead Redis shows", 60)
        self.store.start()

    def lose(self):
        """The same, and its files are gone."""
        self.store.kill()
        self.store.lose_all()
        self.store.start()

    def flush(self):
        self.store.call(self.rng.choice(("FLUSHALL", "FLUSHDB")))

    def pause(self):
        self.store.pause()
        time.sleep(0.3)
        self.store.resume()

    def slow(self):
        self.proxy.delay_s = SLOW_S
        time.sleep(0.5)
        self.proxy.delay_s = 0.0

    def cut(self):
        for _ in range(5):
            self.proxy.cut()
            time.sleep(self.rng.random() * 0.05)

    def refuse(self):
        self.proxy.refuses = True
        self.proxy.cut()
        until(lambda: self.health()["Redis status"] == "Offline", "a Redis that is cut off shows", 60)
        self.proxy.refuses = False

    def kill_server(self):
        self.server.kill_server()

    def health(self):
        return self.server.get("/health").json


def settled(server, store, wire, job):
    """The report and the states of one moment, or None: leases ran out between the two."""
    report = wire.report(job)
    in_step(server, checked=True)
    states = store.states(job)
    return (report, states) if wire.report(job)["served"] == report["served"] else None


def check(server, store, jobs):
    """Clients are still: what Redis shows is what the output and the ledger say."""
    health = in_step(server, checked=True)
    assert health["Redis status"] == "Online" and health["redis"]["deletions_honoured"] == 0
    wire = Wire(server.url)
    for job in jobs:
        report, states = until(lambda job=job: settled(server, store, wire, job), "no lease runs out meanwhile", 60)
        rows = Counter(row["n"] for row in read_jsonl(server.cwd / (job + ".jsonl")))
        assert all(n == 1 for n in rows.values()), "doubled: %s" % [k for k, n in rows.items() if n > 1][:10]
        shown = {state: {i for i, s in states.items() if s == state} for state in ("SERVED", "RECEIVED", "ERROR")}
        assert shown["RECEIVED"] == set(rows)
        errors, after = set(), None
        while True:
            page = wire.get(f"/v1/jobs/{job}/errors", after=after).json()
            errors |= {row["id"] for row in page["errors"]}
            after = page["next"]
            if after is None:
                break
        assert shown["ERROR"] == errors
        assert len(shown["SERVED"]) == report["served"]
        assert len(states) == sum(map(len, shown.values()))
        record = store.call("GET", "JOB:" + job)
        assert (record == b"COMPLETE") == (report["status"] == "COMPLETE")
        assert record == b"COMPLETE" or json.loads(record)["metadata"]["output_file_path"] == job + ".jsonl"


def run(tutti, redis, seed, deeds, count):
    rng = random.Random(seed)
    store = redis()
    proxy = Proxy(store.port)
    try:
        server = tutti(args=["--redis", proxy.url, "--access-log=false"])
        jobs = ["a", "b:c"]
        write_jsonl(server.cwd / "in.jsonl", numbered(count))
        for job in jobs:
            Wire(server.url).start(job, "in.jsonl", job + ".jsonl", metadata={"lease": "3s"})
        nemesis = Nemesis(server, store, proxy, rng)
        for round_deeds in deeds(nemesis, rng):
            clients = Clients(server, jobs, 3, seed)
            for deed in round_deeds:
                time.sleep(rng.random() * 0.2)
                deed()
            clients.stop()
            check(server, store, jobs)
        clients = Clients(server, jobs, 3, seed + 1)
        until(lambda: all(Wire(server.url).report(job)["status"] == "COMPLETE" for job in jobs), "the jobs are complete", 120)
        clients.stop()
        check(server, store, jobs)
        for job in jobs:
            states = Counter(store.states(job).values())
            assert sum(states.values()) == count and set(states) <= {"RECEIVED", "ERROR"}
    finally:
        proxy.close()


def each_once(nemesis, rng):
    """Every deed, in four rounds."""
    order = list(nemesis.deeds)
    rng.shuffle(order)
    return [order[i::4] for i in range(4)]


def test_every_deed_once(tutti, redis):
    run(tutti, redis, 1, each_once, COUNT)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_deeds(tutti, redis, seed):
    run(tutti, redis, seed, lambda nemesis, rng: [rng.choices(nemesis.deeds, k=6) for _ in range(6)], 20 * COUNT)


def test_clients_do_not_feel_a_redis_that_hangs(tutti, redis):
    """It takes connections and never answers: what clients ask is answered all the same, and a stop does not wait for it."""
    store = redis()
    server = tutti(args=["--redis", store.url])
    in_step(server)
    wire = Wire(server.url)
    write_jsonl(server.cwd / "in.jsonl", numbered(2000))
    store.pause()
    try:
        wire.start("j", "in.jsonl", "out.jsonl")
        assert wire.drain("j") == list(range(2000))
        assert wire.get("/health").json()["redis"]["lag_ms"] > 0
        assert server.stop(limit_s=20) == 0
    finally:
        store.resume()
    server.start()
    in_step(server)
    assert store.states("j") == {i: "RECEIVED" for i in range(2000)}
