"""Clients write down every hand-out, acknowledgement and result while the server, they themselves and the time are attacked; a checker
that knows nothing of the server's inside looks for a loss, a double, an item in two hands, an early death. Four runs of 5 seconds; with --long 200, and four of a minute.
TUTTI_TEST_SEED=N takes that seed."""
import os
import random
import resource
import signal
import time
from contextlib import contextmanager

import pytest

from checker import Broken, Job, check_dead, check_leases
from crew import Crew
from redis_process import Proxy


FILLED_S = (0.05, 0.6)  # leases are half a second


@contextmanager
def no_space(t, rng):
    """What a full disk is to the server, without privileges: none of its files grows beyond the longest that is there, or no file takes anything.
    A server that is started meanwhile does not know of it."""
    pid = t.server_pid
    most = rng.choice((512, max(path.stat().st_size for path in t.data.rglob("*") if path.is_file())))
    try:
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        yield
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    except ProcessLookupError:
        pass


def attack(crew, t, proxy, rng):
    what = rng.choices(["server", "supervisor", "client", "stop server", "stop client", "cut", "refuse", "fill", "nothing"], (25, 8, 25, 12, 20, 20, 5, 10, 10))[0]
    if what in ("server", "supervisor"):
        begin = time.monotonic()
        t.kill_server() if what == "server" else (t.kill(), t.restart(same_port=True))
        crew.deaths.append((begin, time.monotonic()))
    elif what == "client":
        crew.kill_client()
    elif what == "cut":
        proxy.cut()
    elif what == "refuse":
        proxy.refuses = True
        proxy.cut()
        time.sleep(rng.uniform(0.05, 0.8))
        proxy.refuses = False
    elif what == "fill":
        with no_space(t, rng):
            time.sleep(rng.uniform(*FILLED_S))
    elif what != "nothing":
        victims = [c.pid for c in crew.clients if c and c.poll() is None] if what == "stop client" else [t.server_pid]
        pid = rng.choice(victims or [t.server_pid])
        os.kill(pid, signal.SIGSTOP)
        time.sleep(rng.uniform(0.05, 0.8))
        os.kill(pid, signal.SIGCONT)
    return what


def hold(tutti, seconds):
    seed = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % seed)
    rng, t = random.Random(seed), tutti(args=["--log-level", "error"])
    proxy = Proxy(t.port)
    crew = Crew(t, seed, {"plain": 3000, "spoilt": 2000}, lease="500ms", clients=5, url="http://127.0.0.1:%d" % proxy.port)
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            crew.keep_busy()
            time.sleep(rng.uniform(0, 0.2))
            attack(crew, t, proxy, rng)
            crew.check()
        crew.finish()
    finally:
        crew.stop_clients()
        proxy.close()
    crew.read()
    for name in {event["job"] for event in crew.history.events}:
        events = [event for event in crew.history.events if event["job"] == name]
        check_leases(events, crew.deaths)
        check_dead(t.get("/v1/jobs/%s/errors" % name).json["errors"], events, crew.max_attempts)


def pytest_generate_tests(metafunc):
    if metafunc.function is test_histories_hold:
        metafunc.parametrize("run", range(200 if metafunc.config.getoption("--long") else 4))


@pytest.mark.timeout(300)
def test_histories_hold(tutti, run):
    hold(tutti, 5)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", range(4))
def test_histories_of_a_minute_hold(tutti, run):
    hold(tutti, 60)


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
