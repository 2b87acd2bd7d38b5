"""`python -m tutti.worker`: processes that map a function, and how they end."""

import json
import os
import signal
import subprocess
import sys

import pytest

from conftest import eventually

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture
def worker(proxy, tmp_path):
    """Start a worker with these arguments in ``tmp_path``; all are gone at the end of the test.

    It writes to files: a child that outlives it would keep a pipe open."""
    started = []

    def start(function, *arguments, job="words"):
        env = dict(os.environ, PYTHONPATH=os.pathsep.join([os.path.dirname(HERE), HERE]))
        process = subprocess.Popen(
            [sys.executable, "-m", "tutti.worker", function, "--job", job, "--server", proxy.url, "--json"]
            + [str(a) for a in arguments],
            cwd=str(tmp_path), env=env, stdout=open("worker.out", "w"), stderr=open("worker.err", "w"))
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
    for pid in busy(tmp_path):
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def finish(process):
    process.wait(timeout=60)
    with open("worker.out") as out, open("worker.err") as err:
        said = out.read()
        return process.returncode, json.loads(said) if said else None, err.read()


def busy(tmp_path):
    """The ids of the processes that began an item of `functions.slow`."""
    path = tmp_path / "started"
    return {int(text.split()[0]) for text in path.read_text().splitlines()} if path.exists() else set()


def started(tmp_path, count):
    """The ids of processes that began an item, once there are ``count``."""
    eventually(lambda: len(busy(tmp_path)) >= count, "%d busy processes" % count)
    return busy(tmp_path)


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_maps_a_function(make_job, worker, output):
    make_job(200)
    code, summary, err = finish(worker("functions:twice", "-n", 2))
    assert code == 0, err
    assert sorted(r["twice"] for r in output()) == [2 * i for i in range(200)]
    assert (summary["done"], summary["received"], summary["status"]) == (200, 200, "COMPLETE")
    assert "200 of 200 received" in err


def test_generator_and_none(make_job, worker, output):
    make_job(2)
    assert finish(worker("functions:pieces", "-n", 1))[0] == 0
    assert sorted(output()) == [[0, 0], [1, -1]]
    make_job(2, name="nulls", output=os.path.abspath("nulls.jsonl"))
    assert finish(worker("functions:nothing", "-n", 1, job="nulls"))[0] == 0
    with open("nulls.jsonl") as f:
        assert f.read() == "null\nnull\n"


def test_exceptions_fail_the_item_with_their_message(make_job, worker, output):
    job = make_job(6, max_attempts=2)
    code, summary, err = finish(worker("functions:picky", "-n", 1))
    assert code == 1, err
    assert sorted(r["n"] for r in output()) == [0, 5]
    errors = {e["id"]: e for e in job.errors()}
    assert errors[1]["reason"].startswith("ValueError: one is odd (functions.py:")
    assert (errors[1]["state"], errors[1]["attempts"]) == ("dead", 2)
    assert (errors[2]["state"], errors[2]["reason"]) == ("error", "two is out")
    assert "not JSON serializable" in errors[3]["reason"]
    assert errors[4]["reason"].startswith("SystemExit: four leaves")
    assert summary["failed"] == 7


def test_an_item_that_kills_its_worker_is_parked_and_the_others_are_done(make_job, worker, output):
    job = make_job(8, max_attempts=2)
    code, summary, err = finish(worker("functions:deadly", "-n", 1, "--batch", 8))
    assert code == 1, err
    assert sorted(r["n"] for r in output()) == [0, 1, 2, 4, 5, 6, 7]
    (error,) = job.errors()
    assert (error["id"], error["state"]) == (3, "dead") and "SIGKILL" in error["reason"]
    assert summary["deaths"] == 2


def test_killed_process_is_replaced(make_job, worker, tmp_path, output):
    job = make_job(10)
    process = worker("functions:slow", "-n", 2, "--batch", 1)
    victim = min(started(tmp_path, 2))
    os.kill(victim, signal.SIGKILL)
    started(tmp_path, 3)
    (tmp_path / "go").write_text("")
    code, summary, err = finish(process)
    assert code == 0, err
    assert summary["deaths"] == 1 and "SIGKILL" in err
    assert sorted(r["n"] for r in output()) == list(range(10))
    assert job.status()["status"] == "COMPLETE"


@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_finishes_the_item_in_hand_and_gives_back_the_rest(make_job, worker, tmp_path, output, number, code):
    job = make_job(20)
    process = worker("functions:slow", "-n", 1, "--batch", 10, "--grace", "30s")
    (pid,) = started(tmp_path, 1)
    process.send_signal(number)
    eventually(lambda: job.status()["served"] == 1, "all but the item in hand given back")
    (tmp_path / "go").write_text("")
    assert finish(process)[0] == code
    assert not is_alive(pid)
    info = job.status()
    assert (info["received"], info["served"]) == (1, 0)


def test_function_that_does_not_end_is_left_behind_after_the_grace(make_job, worker, tmp_path):
    job = make_job(20)
    process = worker("functions:slow", "-n", 1, "--batch", 10, "--grace", "200ms")
    (pid,) = started(tmp_path, 1)
    process.terminate()
    assert finish(process)[0] == 0
    assert not is_alive(pid)
    assert (job.status()["received"], job.status()["served"]) == (0, 0)


def test_second_signal_ends_at_once(make_job, worker, tmp_path):
    job = make_job(20)
    process = worker("functions:slow", "-n", 1, "--batch", 10, "--grace", "10m")
    (pid,) = started(tmp_path, 1)
    process.terminate()
    eventually(lambda: process.poll() is None, "still alive")
    eventually(lambda: (process.terminate(), process.poll() is not None)[1], "the end")
    assert not is_alive(pid)
    assert job.status()["served"] == 0


def test_children_die_with_their_parent_and_give_back(make_job, worker, tmp_path):
    job = make_job(20)
    process = worker("functions:slow", "-n", 2, "--batch", 4, "--grace", "200ms")
    pids = started(tmp_path, 2)
    process.kill()
    eventually(lambda: not any(is_alive(pid) for pid in pids), "the end of the children")
    eventually(lambda: job.status()["served"] == 0, "the items back")


@pytest.mark.parametrize("function,words", [("functions:missing", "no function"), ("nomodule:f", "cannot be imported"),
                                            ("functions", "module:function"), ("functions:plain", "no function"),
                                            ("functions:later", "coroutine")])
def test_usage_errors(make_job, worker, function, words):
    make_job(3)
    code, _, err = finish(worker(function, "-n", 2))
    assert code == 2 and words in err


def test_exit_codes_without_a_job_or_a_server(make_job, worker, proxy, tmp_path):
    code, _, err = finish(worker("functions:twice"))
    assert code == 4 and "words" in err
    make_job(3)
    proxy.spoil("/v1/jobs", 403, times=10)
    assert finish(worker("functions:twice"))[0] == 6
    proxy.faults[:] = []
    proxy.spoil("/v1/jobs", "refuse", times=1000)
    assert finish(worker("functions:twice", "--timeout", "500ms"))[0] == 7
    assert finish(worker("functions:twice", "--token-file", "missing"))[0] == 2


def test_wait_ends_a_worker_that_gets_nothing(make_job, worker):
    job = make_job(4)
    job.api.claim(4, lease_s=600)
    code, summary, err = finish(worker("functions:twice", "-n", 1, "--wait", "100ms"))
    assert (code, summary["done"], summary["status"]) == (0, 0, "IN_PROGRESS"), err


def test_token_comes_from_a_file(make_job, worker, server, tmp_path):
    if not hasattr(server, "token"):
        pytest.skip("needs the fake server")
    make_job(3)
    server.token = "t0ken"
    path = tmp_path / "token"
    path.write_text("t0ken\n")
    path.chmod(0o600)
    code, _, err = finish(worker("functions:twice", "-n", 1, "--token-file", path))
    assert code == 0 and "chmod" not in err
    assert "t0ken" not in err
