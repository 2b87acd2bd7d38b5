"""When pipelines of the configuration run: each due time starts one run, whatever is killed and however many servers look at one configuration; backfills; run
events."""
from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, List

import pytest
from config_database import Config
from tutti_process import Tutti, binary, until

pytestmark = pytest.mark.stores


def definition(name: str, schedule: Any, template: str = "noop", **more: Any) -> Any:
    return {"pipeline": name, "company": "acme", "brand": "shop", "schedule": schedule, **more, "states": [{"state": "raw", "transformations": [{"template": template}]}]}


def prepare(t: Tutti) -> Tutti:
    folder = t.data / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "noop.c").write_text("#include <tutti/program.h>\nstatic int run(const tutti_host *t) { return 0; }\nTUTTI_PROGRAM(.run = run);\n")
    return t.start()


def save(t: Tutti, body: Any) -> None:
    answer = t.request("PUT", "/v1/pipelines/%s" % body["pipeline"], body)
    assert answer.status in (200, 201), answer.body


def runs(t: Tutti, name: str) -> List[Any]:
    return t.get("/v1/runs", params={"pipeline": name, "limit": 1000}).json["runs"]


def dues(t: Tutti, name: str) -> List[str]:
    return sorted(run["due"] for run in runs(t, name) if run["cause"] == "schedule")


def seconds(due: str) -> int:
    return int(time.mktime(time.strptime(due[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone)


@pytest.mark.one_store
def test_a_run_of_the_configuration_has_its_event(tutti, tmp_path: Path):
    t = prepare(tutti(start=False, workers=1))
    save(t, definition("sales", "none"))
    started = t.request("POST", "/v1/pipelines/sales/runs", params={"actor": "ann"})
    assert started.status == 201, started.body
    run = started.json["id"]
    given = t.request("POST", "/v1/runs", {"definition": definition("other", "none")}).json["id"]
    assert given == run + 1
    until(lambda: all(t.get("/v1/runs/%d" % r).json["state"] == "finished" for r in (run, given)), "both have run")
    with sqlite3.connect("file:%s?mode=ro" % (t.data / "config.db"), uri=True) as db:
        rows = db.execute("SELECT e.id, p.name, e.last_actor, e.due_s FROM run_events e LEFT JOIN pipelines p ON p.id = e.pipeline_id ORDER BY e.id").fetchall()
    assert rows == [(run, "sales", "ann", None), (given, None, "127.0.0.1", None)]
    assert t.request("POST", "/v1/pipelines/nothing/runs").status == 404
    t.stop()
    for part in t.data.glob("config.db*"):
        part.unlink()  # another configuration: numbers go on behind those that the ledger knows
    t.start()
    assert t.request("POST", "/v1/runs", {"definition": definition("other", "none")}).json["id"] > given
    shown = subprocess.run([binary(), "pipeline", "run", "sales", "--data", str(t.data)], capture_output=True, text=True)
    assert shown.returncode == 4 and "sales" in shown.stderr


def test_due_times_start_one_run_each_whatever_is_killed(tutti, is_long):
    t = prepare(tutti(start=False, workers=1))
    save(t, definition("each", {"every": "every second", "missed": "all"}, max_runs=1000))
    rng = random.Random(5)
    for _ in range(40 if is_long else 3):
        time.sleep(rng.uniform(0.3, 1.2))
        t.kill_server()
    until(lambda: len(dues(t, "each")) >= 5, "five due times")
    t.stop()
    t.start()
    found = [seconds(due) for due in dues(t, "each")]
    assert found == list(range(found[0], found[0] + len(found)))


@pytest.mark.one_store
def test_of_missed_times_the_last_starts_one_run_whatever_is_killed(tutti, is_long):
    """Times of ten days passed while no server ran; the next one is killed again and again while it deals with them: one run for the last time of each pipeline, and no other."""
    names, rng = ["p%02d" % n for n in range(60 if is_long else 12)], random.Random(7)
    t = prepare(tutti(start=False, workers=1))
    for name in names:
        save(t, definition(name, {"every": "daily", "missed": "latest"}))
    until(lambda: all(t.request("GET", "/v1/pipelines/%s/schedule" % name).status == 200 for name in names), "all are known")
    t.stop()
    last = int(time.time()) // 86400 * 86400
    with sqlite3.connect(t.data / "ledger.db") as db:
        for name, value in db.execute("SELECT name, value FROM records WHERE kind = 'timetable'").fetchall():
            then = {**json.loads(value), "next_s": last - 10 * 86400, "made_s": last - 11 * 86400}
            db.execute("UPDATE records SET value = ? WHERE kind = 'timetable' AND name = ?", (json.dumps(then).encode(), name))
    t.start()
    for _ in range(10 if is_long else 3):
        time.sleep(rng.uniform(0, 0.1))
        t.kill_server()

    def moved() -> bool:
        shown = [t.get("/v1/pipelines/%s/schedule" % name).json for name in names]
        return all(seconds(one["next"]) > last for one in shown)
    until(moved, "all times are dealt with")
    today = int(time.time()) // 86400 * 86400
    for name in names:
        assert [seconds(due) for due in dues(t, name)] in ([last], [today], [last, today]), name  # it may be midnight
    t.stop()
    with sqlite3.connect(t.data / "config.db") as db:
        assert db.execute("SELECT count(*), count(DISTINCT pipeline_id) FROM run_events WHERE due_s = ?", (last,)).fetchone() == (len(names), len(names))


def test_a_changed_schedule_counts_from_then_on(tutti):
    t = prepare(tutti(start=False, workers=1))
    save(t, definition("p", "every second"))
    until(lambda: dues(t, "p"), "a run by schedule")
    save(t, definition("p", "yearly"))
    until(lambda: "-01-01T00:00:00" in t.get("/v1/pipelines/p/schedule").json["next"], "the new schedule")
    before = len(runs(t, "p"))
    save(t, definition("p", "every second"))
    until(lambda: len(runs(t, "p")) > before, "the third one")
    t.request("POST", "/v1/pipelines/p/pause")
    shown = t.get("/v1/pipelines/p/schedule").json
    assert shown["paused"]


def test_a_time_that_cannot_start_says_why(tutti):
    t = prepare(tutti(start=False, workers=1))
    save(t, definition("p", "every second"))
    (t.data / "programs" / "noop.c").unlink()
    until(lambda: t.request("GET", "/v1/pipelines/p/schedule").status == 200 and (t.get("/v1/pipelines/p/schedule").json["last"] or {}).get("outcome") == "failed", "a failed time")
    assert "noop" in t.get("/v1/pipelines/p/schedule").json["last"]["reason"]


def test_backfill(tutti):
    t = prepare(tutti(start=False, workers=1))
    save(t, definition("p", {"every": "daily", "zone": "Europe/Berlin"}, max_runs=10))
    def ask(status: int = 200, **params: Any) -> Any:
        answer = t.request("POST", "/v1/pipelines/p/backfill", params=params)
        assert answer.status == status, answer.body
        return answer.json
    period = {"from": "2026-03-27", "to": "2026-04-01"}
    assert ask(dry_run="true", **period)["times"] == 5 and not runs(t, "p")
    assert len(ask(**period)["runs"]) == 5
    assert sorted(run["due"][:16] for run in runs(t, "p")) == ["2026-03-26T23:00", "2026-03-27T23:00", "2026-03-28T23:00", "2026-03-29T22:00", "2026-03-30T22:00"]  # clocks change
    again = ask(**{**period, "to": "2026-04-02"})
    assert (again["present"], len(again["runs"])) == (5, 1)
    ask(status=413, **{"from": "1990-01-01", "to": "2026-01-01"})


@pytest.mark.one_store
def test_two_servers_on_one_configuration_start_each_time_once(tutti, postgres, tmp_path: Path):
    config = Config(tmp_path, postgres)
    servers = [tutti(start=False, workers=1, env=config.env) for _ in range(2)]
    prepare(servers[0])
    assert servers[0].request("POST", "/v1/db/create").status == 200
    prepare(servers[1])
    save(servers[0], definition("each", {"every": "every second"}, max_runs=1000))
    until(lambda: sum(len(dues(t, "each")) for t in servers) >= 6, "six due times")
    found = sorted(due for t in servers for due in dues(t, "each"))
    assert len(found) == len(set(found)), found
    ids = [run["id"] for t in servers for run in runs(t, "each")]
    assert len(ids) == len(set(ids))
