"""Clients write down every hand-out, acknowledgement and result while the server, they themselves and the time are attacked; a checker
that knows nothing of the server's inside looks for a loss, a double, an item in two hands, an early death."""
import os
import random
import signal
import time

import pytest

from checker import Broken, Job, check_dead, check_leases
from crew import Crew


def attack(crew, t, rng):
    what = rng.choices(["server", "supervisor", "client", "stop server", "stop client", "nothing"], (25, 8, 25, 12, 20, 10))[0]
    if what in ("server", "supervisor"):
        begin = time.monotonic()
        t.kill_server() if what == "server" else (t.kill(), t.restart(same_port=True))
        crew.deaths.append((begin, time.monotonic()))
    elif what == "client":
        crew.kill_client()
    elif what != "nothing":
        victims = [c.pid for c in crew.clients if c and c.poll() is None] if what == "stop client" else [t.server_pid]
        pid = rng.choice(victims or [t.server_pid])
        os.kill(pid, signal.SIGSTOP)
        time.sleep(rng.uniform(0.05, 0.8))  # leases are half a second
        os.kill(pid, signal.SIGCONT)
    return what


@pytest.mark.timeout(300)
@pytest.mark.parametrize("run", range(4))
def test_histories_hold(tutti, run, is_long):
    seed = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % seed)
    rng, t = random.Random(seed), tutti(args=["--log-level", "error"])
    crew = Crew(t, seed, {"plain": 3000, "spoilt": 2000}, lease="500ms", clients=5)
    names = list(crew.jobs)
    try:
        until = time.monotonic() + (60 if is_long else 5)
        while time.monotonic() < until:
            crew.keep_busy()
            time.sleep(rng.uniform(0, 0.2))
            attack(crew, t, rng)
            crew.check()
        names = list(dict.fromkeys(names + list(crew.jobs)))
        crew.finish()
    finally:
        crew.stop_clients()
    crew.read()
    for name in {event["job"] for event in crew.history.events}:
        events = [event for event in crew.history.events if event["job"] == name]
        check_leases(events, crew.deaths)
        check_dead(t.get("/v1/jobs/%s/errors" % name).json["errors"], events, crew.max_attempts)


# ---- a checker that finds nothing is none ----


def job_with(tmp_path, lines, sent=(0, 1)):
    (tmp_path / "out.jsonl").write_bytes(b"".join(lines))
    import zlib
    job = Job("j", tmp_path / "out.jsonl", range(2))
    for id in sent:
        job.learn({"e": "send", "ids": [id], "crcs": [zlib.crc32(b'{"id":%d}' % id)]})
    job.learn({"e": "ack", "ids": [0, 1]})
    return job


FINE = [b'{"id":0}\n', b'{"id":1}\n']
REPORT = {"output_bytes": 18, "dead": 0, "received": 2, "errors": 0}


def test_the_checker_is_content_with_what_is_right(tmp_path):
    job_with(tmp_path, FINE).check_end(REPORT)


@pytest.mark.parametrize("lines, sent", [
    (FINE[:1], (0, 1)), (FINE + FINE[:1], (0, 1)), ([FINE[0], b'{"id"\n', FINE[1]], (0, 1)), ([FINE[0], FINE[1][:-1]], (0, 1)),
    ([FINE[0], b'{"id":1 }\n'], (0, 1)), (FINE, (0,)), (FINE + [b'{"id":2}\n'], (0, 1)),
])
def test_the_checker_finds_what_is_wrong(tmp_path, lines, sent):
    with pytest.raises(Broken):
        job = job_with(tmp_path, lines, sent)
        job.check_end({**REPORT, "output_bytes": job.output.stat().st_size})


def take(by, asked, t, lease, ids=(1,)):
    return {"e": "take", "by": by, "n": 1, "asked": asked, "t": t, "lease": lease, "lease_ms": 1000, "ids": list(ids)}


@pytest.mark.parametrize("events, deaths, fine", [
    ([take("a", 0, 0.1, "A"), take("b", 0.5, 0.6, "B")], [], False),
    ([take("a", 0, 0.1, "A"), take("b", 1.1, 1.2, "B")], [], True),
    ([take("a", 0, 0.1, "A"), take("b", 0.5, 0.6, "B")], [(0.3, 0.4)], True),
    ([take("a", 0.35, 0.36, "A"), take("b", 0.5, 0.6, "B")], [(0.3, 0.4)], True),
    ([take("a", 0.45, 0.46, "A"), take("b", 0.5, 0.6, "B")], [(0.3, 0.4)], False),
    ([take("a", 0, 0.1, "A"), {"e": "renewed", "by": "a", "asked": 0.9, "t": 0.95, "lease": "A", "lease_ms": 1000}, take("b", 1.1, 1.2, "B")], [], False),
])
def test_the_checker_of_leases(events, deaths, fine):
    if fine:
        check_leases(events, deaths)
        return
    with pytest.raises(Broken):
        check_leases(events, deaths)


def test_the_checker_of_early_deaths():
    with pytest.raises(Broken):
        check_dead([{"id": 1, "state": "dead", "attempts": 3}], [take("a", 0, 0.1, "A")], 3)
