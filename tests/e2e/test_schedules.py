"""Schedules: each due time fires once, whatever is killed and whenever; what is missed, what overlaps; routes and commands."""
from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from typing import Any, List

import pytest
from tutti_process import Tutti, binary, until

PROBE = {"when": "every 1 second", "kind": "probe", "payload": "x", "overlap": "allow"}
pytestmark = pytest.mark.stores


def put(t: Tutti, name: str, body: Any, status: int = 201, **params: Any) -> Any:
    answer = t.request("PUT", "/v1/schedules/" + name, body, params=params or None)
    assert answer.status == status, answer.body
    return answer.json


def show(t: Tutti, name: str) -> Any:
    return t.get("/v1/schedules/" + name).json


def due_times(t: Tutti, name: str) -> List[int]:
    """Of all tasks that the schedule has pushed, in their order; of a server that is stopped, from its file."""
    if not t.running:
        with sqlite3.connect("file:%s?mode=ro" % (t.data / "ledger.db"), uri=True, timeout=30) as db:
            return due_of(name, [row[0] for row in db.execute("SELECT CAST(unique_key AS TEXT) FROM tasks ORDER BY id")])
    tasks, before = [], 0
    while before is not None:
        page = t.get("/v1/tasks", params={"limit": 1000, "before": before}).json
        tasks, before = tasks + page["tasks"], page["next"]
    return due_of(name, [task["unique_key"] for task in reversed(tasks)])


def due_of(name: str, keys: List[str]) -> List[int]:
    return [int(key.split("/")[2]) for key in keys if key and key.startswith("schedule/%s/" % name) and not key.endswith("by-hand")]


def command(t: Tutti, *args: str, code: int = 0) -> str:
    done = subprocess.run([binary(), *args, "--data", str(t.data)], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def program(t: Tutti, name: str, script: str, settings: Any = None) -> None:
    folder = t.data / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\nif [ \"$1\" = --describe ]; then cat <<'END'\n%s\nEND\nexit; fi\n%s\n" % (json.dumps({"settings": settings or {}}), script))
    path.chmod(0o755)


@pytest.mark.both_stores
def test_due_times_fire_once_whatever_is_killed(tutti, is_long):
    t = tutti()
    put(t, "each", {**PROBE, "missed": "all"})
    rng = random.Random(3)
    for _ in range(40 if is_long else 4):
        time.sleep(rng.uniform(0.2, 1.2))
        t.kill_server()
    until(lambda: len(due_times(t, "each")) >= 5, "five due times")
    found = due_times(t, "each")
    assert found == list(range(found[0], found[0] + len(found)))


@pytest.mark.one_store
def test_of_missed_times_the_latest_fires(tutti):
    t = tutti()
    for missed in ("latest", "skip", "all"):
        put(t, missed, {"when": "every 3 seconds", "kind": "probe", "missed": missed, "overlap": "allow"})
    until(lambda: len(due_times(t, "latest")) >= 1, "a first time")
    t.stop()
    before = {missed: len(due_times(t, missed)) for missed in ("latest", "all")}
    time.sleep(7)
    t.start()
    until(lambda: len(due_times(t, "all")) >= before["all"] + 2, "the missed ones")
    latest = due_times(t, "latest")
    until(lambda: set(latest) <= set(due_times(t, "all")), "all of them")
    every = due_times(t, "all")
    assert all(b - a == 3 for a, b in zip(every, every[1:]))
    gaps = [b - a for a, b in zip(latest, latest[1:])]
    assert any(gap >= 6 for gap in gaps) and latest == sorted(set(latest))


def test_no_run_beside_one_that_has_not_ended(tutti):
    t = tutti(workers=0)
    put(t, "slow", {"when": "every second", "kind": "probe"})
    until(lambda: (show(t, "slow")["last"] or {}).get("outcome") == "skipped", "a skipped time")
    assert "not ended" in show(t, "slow")["last"]["reason"]
    assert len(due_times(t, "slow")) == 1
    assert 'tutti_schedule_times_total{outcome="started"} 1' in t.get("/metrics").body.decode()


def test_a_program_runs_with_settings_of_its_time(tutti):
    t = tutti(workers=1)
    program(t, "greet", 'cat >"$OUT"', {"day": {"type": "datetime"}, "password": {"type": "str", "secret": True}, "n": {"type": "int", "default": 3}})
    out = t.cwd / "out"
    t.restart(env={"OUT": str(out)})
    answer = put(t, "hello", {"when": "every second", "program": "greet", "settings": {"day": "yesterday", "password": "open-sesame-1"},
                              "storage": {"type": "csv", "settings": {"path": "out.csv", "password": "open-sesame-2"}}})
    assert answer["settings"] == {"day": "yesterday", "password": "***"} and answer["storage"]["settings"]["password"] == "***"
    until(lambda: out.exists() and out.read_text().strip(), "the program runs")
    given = json.loads(out.read_text().strip().splitlines()[-1])
    assert "open-sesame-1" in json.dumps(given) and len(show(t, "hello")["last"]["execution"]) > 20
    assert t.get("/v1/executions/" + show(t, "hello")["last"]["execution"]).status == 200
    task = json.loads(t.get("/v1/tasks?program=greet&limit=1").body)["tasks"][0]
    assert (task["program"], task["timeout_ms"], task["memory_bytes"]) == ("greet", 3600 * 1000, 4 << 30)
    command(t, "secret", "rotate", "--forget-old", "--yes")
    until(lambda: show(t, "hello")["last"]["outcome"] == "started" and show(t, "hello")["settings"]["password"] == "***", "it goes on under the new key")
    t.request("DELETE", "/v1/schedules/hello")
    assert not [p.name for p in t.data.rglob("ledger.db*") if b"open-sesame" in p.read_bytes()]
    assert "open-sesame" not in t.log()


def test_a_program_that_went_away_is_said(tutti):
    t = tutti()
    program(t, "gone", "true")
    put(t, "x", {"when": "every second", "program": "gone"})
    (t.data / "programs" / "gone").unlink()
    until(lambda: (show(t, "x")["last"] or {}).get("outcome") == "failed", "a failed time")
    assert "gone" in show(t, "x")["last"]["reason"] and show(t, "x")["next"]


def test_definitions(tutti):
    t = tutti()
    body = {"when": "daily at 2:30", "zone": "Europe/Berlin", "kind": "probe"}
    first = put(t, "a", body)
    assert first["rule"] == "RRULE:BYHOUR=2;BYMINUTE=30;INTERVAL=1;FREQ=DAILY" and first["missed"] == "latest" and first["overlap"] == "skip" and first["last"] is None
    assert put(t, "a", body, 200) == first
    assert put(t, "a", {**body, "when": "hourly"}, 409)["code"] == "exists"
    assert put(t, "a", {**body, "when": "hourly"}, replace="true")["rule"] == "RRULE:INTERVAL=1;FREQ=HOURLY"
    assert t.post("/v1/schedules/a/pause").json["next"] is None and show(t, "a")["enabled"] is False
    assert t.post("/v1/schedules/a/resume").json["next"] is not None
    assert t.post("/v1/schedules/a/run").json["last"]["outcome"] == "started"
    assert [s["name"] for s in t.get("/v1/schedules").json["schedules"]] == ["a"]
    assert t.request("DELETE", "/v1/schedules/a").status == 200 and t.request("DELETE", "/v1/schedules/a").status == 404
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/run")):
        assert t.request(method, "/v1/schedules/a" + path).status == 404


def test_what_is_refused(tutti):
    t = tutti()
    program(t, "p", "true", {"n": {"type": "int"}})
    good = {"when": "daily", "kind": "probe"}
    for body in ({}, [], {"when": "daily"}, {"kind": "probe"}, {**good, "when": "never"}, {**good, "when": 5}, {**good, "zone": "Mars"}, {**good, "missed": "x"},
                 {**good, "overlap": "x"}, {**good, "nothing": 1}, {**good, "program": "p"}, {**good, "kind": "execution"}, {**good, "priority": "x"},
                 {**good, "max_attempts": 0}, {**good, "enabled": "yes"}, {"when": "daily", "program": "p", "settings": {"n": "x"}}, {"when": "daily", "program": "p"},
                 {**good, "when": "daily until 2017-01-01"}):
        answer = t.request("PUT", "/v1/schedules/x", body)
        assert answer.status == 400 and answer.json["code"] == "invalid", (body, answer.body)
    assert t.request("PUT", "/v1/schedules/x", {"when": "daily", "program": "nope"}).status == 404
    for name in ("a%20b", "explain2%2Fx", "%C3%A4", "x" * 65):
        assert t.request("PUT", "/v1/schedules/" + name, good).status in (400, 404), name
    assert t.get("/v1/schedules").json["schedules"] == []


def test_only_operators_change_them(tutti):
    t = tutti(env={"TUTTI_SERVER_TOKEN": "master-token", "TUTTI_SERVER_READ_TOKEN": "read-token"})
    read = {"Authorization": "Bearer read-token"}
    assert t.get("/v1/schedules", headers=read).status == 200
    for method, path in (("PUT", "x"), ("DELETE", "x"), ("POST", "x/run"), ("POST", "x/pause"), ("POST", "x/resume")):
        body = {"when": "daily", "kind": "probe"} if method == "PUT" else None
        assert t.request(method, "/v1/schedules/" + path, body, headers=read).status == 403
        assert t.request(method, "/v1/schedules/" + path, body).status == 401


def test_the_command_line(tutti):
    t = tutti()
    program(t, "p", "true", {"n": {"type": "int", "default": 1}, "day": {"type": "datetime", "default": "today"}})
    command(t, "schedule", "add", "nightly", "--when", "daily at 2:30", "--program", "p", "--set", "n=5", "--set", "day=yesterday", "--zone", "UTC", "--attempts", "3")
    listed = json.loads(command(t, "schedule", "list", "--json"))["schedules"]
    assert [(s["name"], s["program"], s["max_attempts"], s["next"][11:]) for s in listed] == [("nightly", "p", 3, "02:30:00.000Z")]
    assert json.loads(command(t, "schedule", "show", "nightly", "--json"))["settings"] == {"n": "5", "day": "yesterday"}
    assert "paused" in subprocess.run([binary(), "schedule", "pause", "nightly", "--data", str(t.data)], capture_output=True, text=True).stderr
    assert "paused" in command(t, "schedule", "list")
    command(t, "schedule", "resume", "nightly")
    command(t, "schedule", "run", "nightly")
    assert "started" in command(t, "schedule", "show", "nightly")
    assert "another schedule `nightly`" in command(t, "schedule", "add", "nightly", "--when", "hourly", "--program", "p", code=5)
    command(t, "schedule", "remove", "nightly", "--yes")
    assert command(t, "schedule", "list", "--plain").strip().splitlines()[1:] == []
    assert "no schedule" in command(t, "schedule", "show", "nightly", code=4)
