"""Drained workers: they get nothing more, end what they have, and stay so until they are resumed, on the ledger of one machine and on a shared one."""
from __future__ import annotations

import subprocess
from typing import Any, List

import pytest
from tutti_process import Tutti, binary, until

pytestmark = pytest.mark.stores


def push(t: Tutti, **task: Any) -> int:
    return t.post("/v1/tasks", {"kind": "probe", **task}).json["id"]


def states(t: Tutti, tasks: List[int]) -> List[str]:
    return [t.get("/v1/tasks/%d" % task).json["state"] for task in tasks]


def command(t: Tutti, *args: str, code: int = 0) -> str:
    done = subprocess.run([binary(), "worker", *args, "--data", str(t.data)], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.both_stores
def test_all_workers(tutti):
    t = tutti(workers=2)
    until(lambda: len(t.get("/v1/workers").json["workers"]) == 2, "two workers")
    slow = push(t, kind="sleep", payload="1500ms")
    until(lambda: states(t, [slow]) == ["started"], "it runs")
    answer = t.post("/v1/workers/drain").json
    assert (answer["draining"], answer["drained"], answer["drains"]) == (1, False, ["*"]), answer
    waiting = [push(t) for _ in range(3)]
    assert "drained: 2 workers" in command(t, "drain", "--wait")
    assert states(t, [slow] + waiting) == ["finished"] + ["queued"] * 3
    t.kill_server()
    until(lambda: len(t.get("/v1/workers").json["workers"]) == 2, "the workers are back")
    assert t.get("/v1/workers").json["drained"] and states(t, waiting) == ["queued"] * 3
    name = t.get("/v1/workers").json["workers"][0]["worker"]
    assert "resume them all" in command(t, "resume", name, code=5)
    assert "take work" in command(t, "resume")
    until(lambda: states(t, waiting) == ["finished"] * 3, "what waited is done")


def test_one_worker(tutti):
    t = tutti(workers=2)
    until(lambda: len(t.get("/v1/workers").json["workers"]) == 2, "two workers")
    first, second = sorted(w["worker"] for w in t.get("/v1/workers").json["workers"])
    command(t, "drain", first, "--wait")
    tasks = [push(t, kind="sleep", payload="10ms") for _ in range(10)]
    until(lambda: states(t, tasks) == ["finished"] * 10, "the other one does it all")
    assert {t.get("/v1/tasks/%d" % task).json["worker"] for task in tasks} == {second}
    command(t, "drain", "nobody", code=4)
    command(t, "drain", second)
    assert sorted(t.get("/v1/workers").json["drains"]) == [first, second]
    task = push(t)
    command(t, "resume", first)
    until(lambda: states(t, [task]) == ["finished"], "the first one does it")
    assert t.get("/v1/tasks/%d" % task).json["worker"] == first
