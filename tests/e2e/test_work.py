"""The queue and its workers, from outside: tasks by route and command, logs, cancel, limits, deaths, drains."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from tutti_process import Tutti, alive, binary, until

LIMIT_S = 60
pytestmark = pytest.mark.stores


def placeless(text: str) -> str:
    """On a shared ledger the names of workers say where they are."""
    return re.sub(r"@[\w.-]+-[0-9a-f]{4}\b", "", text)


def cli(t: Tutti, *args: str, code: int = 0) -> str:
    done = subprocess.run([binary(), *args, "--server", "http://127.0.0.1:%d" % t.port], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout


def push(t: Tutti, **task: Any) -> int:
    answer = t.post("/v1/tasks", {"kind": "sleep", **task})
    assert answer.status == 200, answer
    return answer.json["id"]


def show(t: Tutti, task: int) -> Dict[str, Any]:
    return json.loads(placeless(t.get("/v1/tasks/%d" % task).body.decode()))


def until_state(t: Tutti, task: int, *states: str) -> Dict[str, Any]:
    return until(lambda: (lambda s: s if s["state"] in states else None)(show(t, task)), "task %d is %s" % (task, " or ".join(states)), LIMIT_S)


def workers(t: Tutti) -> List[Dict[str, Any]]:
    return json.loads(placeless(t.get("/v1/workers").body.decode()))["workers"]


def program(t: Tutti, name: str, script: str) -> None:
    """An executable program in the data directory."""
    path = t.data / "programs" / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n[ \"$1\" = --describe ] && { echo '{\"display_name\":\"%s\",\"settings\":{}}'; exit; }\n%s\n" % (name, script))
    path.chmod(0o700)


def start(t: Tutti, name: str, **more: Any) -> int:
    answer = t.post("/v1/executions", {"program": name, "settings": {}, **more})
    assert answer.status == 201, answer
    return answer.json["task"]


@pytest.mark.both_stores
def test_commands_about_tasks(tutti) -> None:
    t = tutti(workers=1)
    done, failed = push(t, kind="probe", payload="hello"), push(t, payload="nonsense", queue="default")
    until_state(t, done, "finished"), until_state(t, failed, "failed")
    listed = json.loads(cli(t, "execution", "list", "--json"))
    assert [task["id"] for task in listed["tasks"]] == [failed, done] and listed["next"] is None
    assert [task["id"] for task in json.loads(cli(t, "execution", "list", "--before", str(failed), "--json"))["tasks"]] == [done]
    assert [task["id"] for task in json.loads(cli(t, "execution", "list", "--state", "failed", "--json"))["tasks"]] == [failed]
    assert "hello" in cli(t, "execution", "show", str(done))
    assert "no such" not in cli(t, "execution", "list", "-n", "1") and cli(t, "execution", "list", "-n", "1").count("\n") == 2
    assert json.loads(cli(t, "execution", "retry", "--failed", "--json")) == {"schema": 1, "queued": [failed]}
    until_state(t, failed, "failed")
    cli(t, "execution", "retry", str(done), code=5)
    cli(t, "execution", "retry", code=2)
    cli(t, "execution", "delete", str(done))
    cli(t, "execution", "show", str(done), code=4)
    cli(t, "execution", "watch", str(failed), code=1)
    full = t.get("/v1/workers").json["workers"][0]["worker"]
    assert "sanjer1" in cli(t, "worker", "list") and json.loads(cli(t, "worker", "show", full, "--json"))["done"] == 1
    cli(t, "worker", "show", "nobody", code=4)


def test_cancel_kills_the_whole_tree_and_says_so(tutti, tmp_path: Path) -> None:
    t = tutti(workers=1, start=False)
    pids = tmp_path / "pids"
    program(t, "stubborn", "trap '' TERM\nsetsid sh -c 'trap \"\" TERM HUP; echo $$ >>%s; sleep 1000' &\necho $$ >>%s\necho begun\nwhile :; do sleep 1000; done" % (pids, pids))
    t.start()
    task = start(t, "stubborn")
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "both run", LIMIT_S)
    cli(t, "execution", "cancel", str(task), "--reason", "enough")
    ended = until(lambda: (lambda s: s if ";" in s["reason"] else None)(show(t, task)), "the worker says so", LIMIT_S)
    assert ended["state"] == "canceled" and ended["reason"] == "enough; sanjer1 ended it"
    assert not any(alive(int(pid)) for pid in pids.read_text().split())
    log = cli(t, "execution", "log", str(task))
    assert log.startswith("begun\n") and "tutti: the task was canceled; killed " in log
    cli(t, "execution", "watch", str(task), code=8)
    until(lambda: workers(t)[0]["consuming"] and workers(t)[0]["task"] is None, "it goes on", LIMIT_S)


def test_a_log_is_followed_while_it_grows(tutti, tmp_path: Path) -> None:
    t = tutti(workers=1, start=False)
    go = tmp_path / "go"
    program(t, "slow", "echo first\nwhile [ ! -e %s ]; do sleep 0.05; done\necho second >&2\nprintf 'caf\\303\\251'" % go)
    t.start()
    task = start(t, "slow")
    follower = subprocess.Popen([binary(), "execution", "log", str(task), "--follow", "--server", "http://127.0.0.1:%d" % t.port], stdout=subprocess.PIPE)
    try:
        assert follower.stdout.readline() == b"first\n"
        go.touch()
        assert follower.communicate(timeout=LIMIT_S)[0] == b"second\ncaf\xc3\xa9" and follower.returncode == 0
    finally:
        follower.kill()
    assert cli(t, "execution", "log", str(task)) == "first\nsecond\ncaf\xe9"
    assert t.get("/v1/tasks/%d/log?offset=6" % task).body == b"second\ncaf\xc3\xa9"


def test_a_program_that_prints_without_end(tutti) -> None:
    t = tutti(workers=1, start=False, env={"TUTTI_WORK_LOG_SIZE": "20000"})
    program(t, "prints", "head -c 300000000 /dev/zero | tr '\\0' x\necho\necho the end")
    t.start()
    printed = until_state(t, start(t, "prints"), "finished")
    log = t.get("/v1/tasks/%d/log" % printed["id"]).body
    assert len(log) < 200_000 and log.endswith(b"x\nthe end\n") and b"are left out here" in log
    assert sum(path.stat().st_size for path in (t.data / "logs").rglob("*.log")) < 200_000


def test_limits_hold_back_and_let_through(tutti) -> None:
    t = tutti(workers=2)
    cli(t, "queue", "limit", "one", "--concurrency", "1")
    tasks = [push(t, payload="50ms", limit="one") for _ in range(4)]
    assert show(t, tasks[3])["state"] == "deferred"
    for task in tasks:
        until_state(t, task, "finished")
    spans = sorted((show(t, task)["started"], show(t, task)["ended"]) for task in tasks)
    assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:])), spans
    assert "one" in cli(t, "queue", "limits")
    cli(t, "queue", "limit", "one", "--none")
    cli(t, "queue", "limit", "one", "--none", code=4)


@pytest.mark.both_stores
def test_a_task_that_kills_its_workers_is_parked_with_the_signal(tutti) -> None:
    t = tutti(workers=1)
    bad, after = push(t, payload="1000s", max_attempts=3), push(t, kind="probe")
    for attempt in range(1, 4):
        until(lambda: show(t, bad)["attempts"] == attempt and show(t, bad)["state"] == "started", "attempt %d" % attempt, LIMIT_S)
        os.kill(next(w["pid"] for w in workers(t) if w["task"] == bad), signal.SIGKILL)
    parked = until_state(t, bad, "failed")
    assert parked["attempts"] == 3 and parked["reason"].startswith("its worker died: signal 9 (Killed)"), parked
    assert until_state(t, after, "finished")["attempts"] == 1


def test_a_worker_of_its_own_for_some_queues(tutti) -> None:
    t = tutti(workers=0, start=False)
    program(t, "slow", "echo begun\nsleep 1")
    t.start()
    low, high, other = push(t, kind="probe", queue="low"), push(t, kind="probe", queue="high"), push(t, kind="probe", queue="other")
    assert t.get("/health").json["queue"]["no_workers"] is True
    worker = subprocess.Popen([binary(), "worker", "--data", t.data, "--name", "mine", "--queue", "high,low", "--concurrency", "2"], stderr=subprocess.DEVNULL)
    try:
        until_state(t, low, "finished"), until_state(t, high, "finished")
        until(lambda: {w["worker"] for w in workers(t)} == {"mine-1", "mine-2"}, "both have come", LIMIT_S)
        assert show(t, other)["state"] == "queued"
        assert [q["queue"] for q in t.get("/v1/queues").json["queues"]] == ["other"] and "other" in cli(t, "queue", "list")
        victim = next(w["pid"] for w in workers(t) if w["worker"] == "mine-2")
        os.kill(victim, signal.SIGKILL)
        until(lambda: [w for w in workers(t) if w["worker"] == "mine-2" and w["pid"] != victim], "it is started again", LIMIT_S)
        running = start(t, "slow", queue="low")
        until(lambda: t.get("/v1/tasks/%d/log" % running).body == b"begun\n", "it runs", LIMIT_S)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LIMIT_S) == 0
        assert show(t, running)["state"] == "finished", "what runs may end within the grace"
        assert workers(t) == []
    finally:
        worker.kill()
        worker.wait()


def test_who_waits_for_a_queue_that_nobody_serves_is_told(tutti) -> None:
    t = tutti(workers=1, start=False)
    program(t, "quick", "echo done")
    t.start()
    until(lambda: [w["queues"] for w in workers(t)] == [["default"]], "the worker has asked for work", LIMIT_S)
    waiting = subprocess.Popen([binary(), "run", "quick", "--queue", "late", "--wait", "--data", t.data], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env=t.environment())
    worker = None
    try:
        assert waiting.stderr.readline().startswith("tutti: started ")
        assert waiting.stderr.readline() == "tutti: no worker serves the queue `late`: waiting for one (tutti worker --queue late)\n"
        assert waiting.poll() is None
        worker = subprocess.Popen([binary(), "worker", "--data", t.data, "--name", "late", "--queue", "late,other"], stderr=subprocess.DEVNULL)
        assert waiting.wait(LIMIT_S) == 0 and waiting.stderr.read() == ""
        assert ["late", "other"] in [w["queues"] for w in workers(t)]
    finally:
        for process in filter(None, (waiting, worker)):
            process.kill()
            process.wait()
        waiting.stderr.close()


def test_what_is_not_begun_goes_back_when_a_task_is_long(tutti) -> None:
    t = tutti(workers=0)
    tasks = [push(t, kind="probe") for _ in range(64)] + [push(t, payload="1000s")] + [push(t, kind="probe") for _ in range(20)]
    first = subprocess.Popen([binary(), "worker", "--data", t.data, "--name", "first"], stderr=subprocess.DEVNULL)
    second = None
    try:
        until_state(t, tasks[64], "started")
        second = subprocess.Popen([binary(), "worker", "--data", t.data, "--name", "second"], stderr=subprocess.DEVNULL)
        for task in tasks[65:]:
            until_state(t, task, "finished")
        assert show(t, tasks[64])["state"] == "started", "nobody waits behind it"
        cli(t, "execution", "cancel", str(tasks[64]))
        assert all(show(t, task)["attempts"] == 1 for task in tasks)
    finally:
        for one in filter(None, (first, second)):
            one.terminate()
            one.wait(LIMIT_S)


def test_a_killed_worker_that_was_started_by_hand_leaves_nothing_running(tutti, tmp_path: Path) -> None:
    t = tutti(workers=0, start=False)
    program(t, "hides", "setsid sh -c 'echo $$ >%s; exec sleep 600' &\nsleep 600" % (tmp_path / "hidden"))
    t.start()
    for crew in ([], ["--concurrency", "1"]):
        worker = subprocess.Popen([binary(), "worker", "--data", t.data, "--name", "mine", *crew], stderr=subprocess.DEVNULL)
        task = start(t, "hides")
        hidden = until(lambda: (tmp_path / "hidden").exists() and int((tmp_path / "hidden").read_text() or 0), "the program has hidden a process", LIMIT_S)
        worker.kill()
        worker.wait(LIMIT_S)
        until(lambda: not alive(hidden), "what it had started is gone", LIMIT_S)
        assert t.post("/v1/tasks/%d/cancel" % task).status == 200
        (tmp_path / "hidden").unlink()


def test_a_worker_waits_for_a_mended_configuration(tutti, tmp_path: Path) -> None:
    t = tutti()
    config, log = tmp_path / "w.ini", tmp_path / "w.log"
    config.write_text("[work]\nprefetch = many\n")
    worker = subprocess.Popen([binary(), "worker", "--data", t.data, "--name", "mine", "--config", config], stderr=log.open("w"))
    try:
        until(lambda: "work.prefetch" in log.read_text(), "it says what is wrong", LIMIT_S)
        config.write_text("[work]\nprefetch = 2\n")
        until(lambda: [w["worker"] for w in workers(t)] == ["mine"], "it has come", LIMIT_S)
    finally:
        worker.terminate()
    assert worker.wait(LIMIT_S) == 0 and log.read_text().count("waiting until it is mended") == 1
    config.write_text("[work]\nprefetch = many\n")
    worker = subprocess.Popen([binary(), "worker", "--data", t.data, "--config", config], stderr=log.open("w"))
    until(lambda: "waiting" in log.read_text(), "it waits again", LIMIT_S)
    worker.terminate()
    assert worker.wait(LIMIT_S) == 0
    for wrong in (["--listen", ":1"], ["--log-level", "loud"], ["--queue", ""]):  # what is wrong with the command line is said at once
        assert subprocess.run([binary(), "worker", "--data", t.data, *wrong], capture_output=True, timeout=LIMIT_S).returncode == 2
    t.stop()
    worker = subprocess.Popen([binary(), "worker", "--data", t.data], stderr=log.open("w"))
    until(lambda: "no server yet: waiting for it" in log.read_text(), "it says that it waits", LIMIT_S)
    worker.terminate()
    assert worker.wait(LIMIT_S) == 0
