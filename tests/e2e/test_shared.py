"""Servers and workers on several machines, which share a Redis and nothing else: another data directory, no socket, programs of their own."""
import os
import subprocess

import pytest
from test_programs import DESCRIBE
from tutti_process import Tutti, binary, until

LIMIT_S = 60
KEY = "ab" * 32


class House:
    """A Redis, servers without workers, and machines with workers alone."""

    def __init__(self, tutti, redis, tmp_path):
        self.tutti, self.dir, self.machines, self.redis = tutti, tmp_path, [], redis("--maxmemory-policy", "noeviction")
        (tmp_path / "server-programs").mkdir()

    def env(self):
        return {"TUTTI_VAULT_KEY": KEY}

    def server(self, **more):
        return self.tutti(**{"args": ["--shared", self.redis.url, "--programs", str(self.dir / "server-programs")], "env": self.env(), **more})

    def machine(self, name, *args, url=None):
        """`tutti worker` in a data directory of its own."""
        data = self.dir / name
        (data / "programs").mkdir(parents=True, exist_ok=True)
        data.chmod(0o700)
        base = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_") or k == "TUTTI_BIN"}
        with open(self.dir / (name + ".log"), "ab") as log:
            worker = subprocess.Popen([binary(), "worker", "--data", data, "--shared", url or self.redis.url, "--programs", data / "programs", *args], cwd=data, env={**base, **self.env()},
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.machines.append(worker)
        return worker

    def script(self, name, body, *, on, settings="{}"):
        """The same program on several machines: names of data directories, and "server-programs"."""
        for place in on:
            folder = self.dir / place / "programs" if place != "server-programs" else self.dir / place
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(DESCRIBE % (settings, body))
            (folder / name).chmod(0o755)

    def close(self):
        for one in self.machines:
            if one.poll() is None:
                one.terminate()
        for one in self.machines:
            one.wait(LIMIT_S)
        for log in self.dir.glob("*.log"):
            assert "Sanitizer" not in log.read_text(), log.read_text()


@pytest.fixture
def house(tutti, redis, tmp_path):
    made = House(tutti, redis, tmp_path)
    yield made
    made.close()


def push(t: Tutti, **task):
    answer = t.post("/v1/tasks", {"kind": "probe", **task})
    assert answer.status == 200, answer
    return answer.json["id"]


def show(t, task):
    return t.get("/v1/tasks/%d" % task).json


def until_state(t, task, *states):
    return until(lambda: (lambda s: s if s["state"] in states else None)(show(t, task)), "task %d is %s" % (task, " or ".join(states)), LIMIT_S)


def test_an_execution_runs_on_another_machine(house):
    house.script("greet", "cat >/dev/null\necho hello from the log\necho '{\"progress\":{\"step\":\"half\"},\"result\":{\"rows\":7}}' >&3", on=["server-programs", "far"],
                 settings='{"display_name": "greet", "settings": {"name": {"type": "str", "default": "x"}}}')
    t = house.server()
    house.machine("far", "--name", "helper")
    started = t.post("/v1/executions", {"program": "greet", "settings": {"name": "world"}})
    assert started.status == 201, started
    ended = until_state(t, started.json["task"], "finished", "failed")
    assert ended["state"] == "finished" and ended["worker"].startswith("helper@"), ended
    assert t.get("/v1/tasks/%d/log" % ended["id"]).body == b"hello from the log\n"
    assert "half" in str(show(t, ended["id"])["progress"]), ended
    assert [path.name for path in (house.dir / "far").rglob("ledger.db")] == [], "a worker keeps no ledger"


def test_a_server_that_restarts_sees_all_and_another_one_too(house):
    t = house.server()
    first = push(t, payload="one", queue="late")
    house.machine("far", "--queue", "default,late")
    assert until_state(t, first, "finished")["result"] == "one"
    waits = push(t, payload="two", queue="nobody", unique_key="k", priority=5)
    t.kill_server()
    assert show(t, first)["result"] == "one" and show(t, waits)["unique_key"] == "k"
    other = house.server()
    assert [one["id"] for one in other.get("/v1/tasks").json["tasks"]] == [waits, first]
    again = other.post("/v1/tasks", {"kind": "probe", "unique_key": "k"})
    assert again.status == 409 and str(waits) in again.body.decode()
    assert until_state(t, push(other, payload="three"), "finished")["result"] == "three"
    assert other.post("/v1/tasks/probe").json["ok"] is True


def test_a_cancel_reaches_a_worker_on_another_machine_at_once(house):
    t = house.server()
    house.machine("far")
    task = push(t, kind="sleep", payload="1000s")
    until_state(t, task, "started")
    assert t.post("/v1/tasks/%d/cancel" % task, params={"reason": "enough"}).status == 200
    ended = until(lambda: (lambda s: s if ";" in s["reason"] else None)(show(t, task)), "the worker says so", LIMIT_S)
    assert ended["state"] == "canceled" and ended["reason"].startswith("enough; "), ended
    assert until_state(t, push(t), "finished")
