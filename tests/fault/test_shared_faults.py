"""A shared ledger whose Redis is stopped, started, emptied, paused, slowed and cut off, whose workers and server are killed: every task ends once with a reason, none is lost or
doubled, a word under an old lease is refused and counted, and /health tells the truth."""
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest
from redis_process import Proxy
from shared_house import LIMIT_S, push, show, until_state
from tutti_process import binary, children, until


def health(t):
    return t.get("/health").json["shared"]


def test_redis_goes_away_and_comes_back(house):
    t = house.server()
    waits = push(t, payload="before", queue="later")
    assert health(t)["online"] and health(t)["appendonly"] and health(t)["eviction"] == "noeviction" and health(t)["warning"] == ""
    house.redis.kill()
    refused = t.post("/v1/tasks", {"kind": "probe"})
    assert refused.status == 503 and b"cannot be reached" in refused.body, refused
    assert t.get("/livez").status == 200 and t.get("/readyz").status == 503
    assert health(t)["online"] is False and health(t)["last_failure"]
    assert t.post("/scramble", {"job_name": "j"}).status != 503, "jobs need no Redis"
    house.redis.start()
    until(lambda: health(t)["online"], "Redis is back", LIMIT_S)
    assert show(t, waits)["payload"] == "before"
    house.machine("far", "--queue", "later")
    assert until_state(t, waits, "finished")["attempts"] == 1
    assert health(t)["losses"] == 0
    rows = subprocess.run([binary(), "doctor", "--json", "--server", t.url], capture_output=True, text=True, timeout=LIMIT_S).stdout
    assert "holds the tasks" in rows, rows


def test_a_redis_that_may_lose_much_is_named(redis, tutti):
    plain, evicts = redis(appendonly=False), redis("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    assert "append-only" in health(tutti(args=["--shared", plain.url]))["warning"]
    assert "evict" in health(tutti(args=["--shared", evicts.url]))["warning"]


def test_a_redis_that_was_emptied_begins_anew(house):
    t = house.server()
    house.machine("far")
    old = push(t, kind="sleep", payload="2s")
    until_state(t, old, "started")
    house.redis.call("FLUSHALL")
    until(lambda: health(t)["losses"] == 1, "the loss is noticed", LIMIT_S)
    assert "lost" in health(t)["warning"] and t.log().count("has lost the shared ledger") == 1
    new = push(t, payload="after", queue="nobody")
    assert show(t, new)["state"] == "queued"
    done = push(t, payload="goes on")
    assert until_state(t, done, "finished")["attempts"] == 1
    until(lambda: [w for w in t.get("/v1/workers").json["workers"] if w["done"] >= 1], "the worker has come again", LIMIT_S)
    house.redis.kill()
    house.redis.lose_all()
    t.stop()
    house.redis.start()
    t.start()
    until(lambda: health(t)["losses"] == 1, "a loss is noticed that came while the server was away", LIMIT_S)


def test_a_result_under_an_old_lease_is_refused_and_counted(house):
    t = house.server()
    task = push(t)
    assert t.post("/v1/workers/attach", {"name": "w", "pid": 1}).status == 200
    lease = t.post("/v1/tasks/claim?worker=w").json["tasks"][0]["lease"]
    assert t.post("/v1/tasks/%d/finish?lease=%d" % (task, lease - 1), b"wrong").status == 409
    assert t.post("/v1/tasks/%d/finish?lease=%d" % (task, lease), b"right").status == 200
    assert t.post("/v1/tasks/%d/finish?lease=%d" % (task, lease), b"late").status == 409
    assert show(t, task)["result"] == "right" and health(t)["refused"] == 2


class Nemesis:
    def __init__(self, house, server, proxies, crews, rng):
        self.house, self.server, self.proxies, self.crews, self.rng, self.did = house, server, proxies, crews, rng, Counter()

    def kill_a_worker(self):
        victims = [pid for crew in self.crews for pid in children(crew.pid)]
        if victims:
            os.kill(self.rng.choice(victims), signal.SIGKILL)

    def kill_the_server(self):
        self.server.kill_server(wait=self.rng.random() < 0.5)

    def cut(self):
        self.rng.choice(self.proxies).cut()

    def slow(self):
        proxy = self.rng.choice(self.proxies)
        proxy.delay_s = self.rng.choice((0.0, 0.02))

    def pause(self):
        self.house.redis.pause()
        time.sleep(self.rng.uniform(0.05, 0.4))
        self.house.redis.resume()

    def restart(self):
        self.house.redis.kill()
        time.sleep(self.rng.uniform(0, 0.3))
        self.house.redis.start()

    def run(self, rounds):
        deeds = [self.kill_a_worker, self.kill_the_server, self.cut, self.slow, self.pause, self.restart]
        for i in range(rounds):
            deed = deeds[i % len(deeds)] if i < len(deeds) else self.rng.choice(deeds)
            self.did[deed.__name__] += 1
            deed()
            time.sleep(self.rng.uniform(0.02, 0.3))
        for proxy in self.proxies:
            proxy.delay_s = 0.0


def keep_pushing(t, stop, known, rng):
    """known: {payload: number, or None where no answer came}."""
    n = 0
    while not stop.is_set():
        n += 1
        payload = "p%d" % n
        kind = {"kind": "probe", "payload": payload} if rng.random() < 0.9 else {"kind": "sleep", "payload": "%dms" % rng.choice((1, 60, 300)), "program": payload}
        known[payload] = None
        try:
            answer = t.post("/v1/tasks", {**kind, "max_attempts": 50, "backoff": "10ms"}, timeout=20)
            known[payload] = answer.json["id"] if answer.status == 200 else None
        except (OSError, ValueError):
            time.sleep(0.02)
        time.sleep(0.002)


def all_tasks(t):
    tasks, before = [], 0
    while before is not None:
        page = t.get("/v1/tasks", params={"limit": 1000, "before": before}).json
        tasks, before = tasks + page["tasks"], page["next"]
    return tasks


@pytest.mark.parametrize("seed,rounds", [(1, 9)] + [pytest.param(seed, 25, marks=pytest.mark.long) for seed in range(2, 42)])
def test_every_task_ends_once_whatever_is_killed(house, seed, rounds):
    rng = random.Random(seed)
    proxies = [Proxy(house.redis.port) for _ in range(3)]
    t = house.server(args=["--shared", proxies[0].url])
    crews = [house.machine("far%d" % i, "--concurrency", "2", url=proxies[i + 1].url) for i in range(2)]
    known, stop = {}, threading.Event()
    pusher = threading.Thread(target=keep_pushing, args=(t, stop, known, random.Random(seed)), daemon=True)
    pusher.start()
    nemesis = Nemesis(house, t, proxies, crews, rng)
    try:
        nemesis.run(rounds)
    finally:
        stop.set()
        pusher.join(LIMIT_S)
    until(lambda: health(t)["online"], "Redis and server are there", LIMIT_S)
    until(lambda: all(task["state"] in ("finished", "failed") for task in all_tasks(t)), "all have ended: %s" % Counter(x["state"] for x in all_tasks(t)), 100)
    tasks = {task["id"]: task for task in all_tasks(t)}
    names = Counter(task["program"] or show(t, task["id"])["payload"] for task in tasks.values())
    assert len(known) > 20 and max(names.values()) == 1, "nothing is doubled: %s" % names.most_common(3)
    lost = [payload for payload, task in known.items() if task is not None and task not in tasks]
    assert not lost, "%d tasks of %d are lost: %s; %s" % (len(lost), len(known), lost[:5], nemesis.did)
    assert all(task["state"] == "finished" or task["reason"] for task in tasks.values())
    assert not [task for task in tasks.values() if task["state"] == "failed"], "fifty attempts are enough"
    for proxy in proxies:
        proxy.close()
