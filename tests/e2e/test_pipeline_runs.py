"""Runs of pipelines: groups come one after the other, a failed task ends the run, and what people do with a run: cancel, retry, skip, pause, limits."""
from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from tutti_process import Tutti, binary, until

pytestmark = pytest.mark.stores

# Writes a line for each beginning and end into the file `trace`; fails while the file that `fails_while` names is there, waits while `waits_while` is.
STEP = """#!/bin/sh
if [ "$1" = --describe ]; then echo '{"settings":{"fails_while":{"type":"str","default":""},"waits_while":{"type":"str","default":""},"word":{"type":"str","default":""}}}'; exit; fi
settings=$(cat)
value() { printf '%%s' "$settings" | sed -n "s/.*\\"$1\\":\\"\\([^\\"]*\\)\\".*/\\1/p"; }
name=$(printf '%%s' "$TUTTI_TASK" | sed -n 's/.*"transformation":"\\([^"]*\\)".*/\\1/p')
echo "begin $name" >>%(trace)s
echo "task=$TUTTI_TASK word=$(value word) more=$MORE"
w=$(value waits_while); while [ -n "$w" ] && [ -e "$w" ]; do sleep 0.02; done
f=$(value fails_while); if [ -n "$f" ] && [ -e "$f" ]; then echo "no luck" >&2; exit 3; fi
echo "end $name" >>%(trace)s
"""


class Pipes:
    """A server with the program `step`, and what is asked of it."""

    def __init__(self, t: Tutti) -> None:
        self.t, self.trace = t, t.cwd / "trace"
        folder = t.data / "programs"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "step").write_text(STEP % {"trace": self.trace})
        (folder / "step").chmod(0o755)
        (folder / "noop.c").write_text("#include <tutti/program.h>\nstatic int run(const tutti_host *t) { t->log(t, \"run %s of %s\", t->task(t, \"run_id\"), t->task(t, \"pipeline\")); return 0; }\n"
                                       "TUTTI_PROGRAM(.run = run);\n")

    def flag(self, name: str) -> Path:
        path = self.t.cwd / name
        path.write_text("")
        return path

    def start(self, *groups: List[Any], **more: Any) -> int:
        states = [{"state": "s%d" % i, "transformations": [{"name": g, "template": "step"} if isinstance(g, str) else g for g in group]} for i, group in enumerate(groups)]
        answer = self.t.request("POST", "/v1/runs", {"definition": {"pipeline": "p", "retries": 0, **more, "states": states}})
        assert answer.status == 201, answer.body
        return answer.json["id"]

    def run(self, run: int) -> Any:
        return self.t.get("/v1/runs/%d" % run).json

    def end(self, run: int, state: str) -> Any:
        until(lambda: self.run(run)["ended"], "run %d has ended" % run)
        shown = self.run(run)
        assert shown["state"] == state, (shown, self.tasks(run))
        return shown

    def tasks(self, run: int) -> Dict[str, str]:
        return {task["name"].split("_")[-1] + ":" + str(task["number"]): task["state"] for task in self.t.get("/v1/runs/%d/tasks" % run).json["tasks"]}

    def states(self, run: int) -> List[str]:
        return [task["state"] for task in self.t.get("/v1/runs/%d/tasks" % run).json["tasks"]]

    def post(self, path: str, status: int = 200, **params: Any) -> Any:
        answer = self.t.request("POST", path, params=params or None)
        assert answer.status == status, answer.body
        return answer.json

    def lines(self) -> List[str]:
        return self.trace.read_text().split("\n")[:-1] if self.trace.exists() else []


@pytest.fixture
def pipes(tutti) -> Pipes:
    t = tutti(start=False, workers=3)
    made = Pipes(t)
    t.start()
    return made


def test_groups_come_one_after_the_other(pipes):
    run = pipes.start(["a", "b", "c"], [], ["d", {"name": "e", "template": "step", "order": 5}], ["f", {"name": "g", "template": "noop"}])
    shown = pipes.end(run, "finished")
    assert shown["by_state"] == {"finished": 7} and shown["groups"] == 4
    lines = [line.split() for line in pipes.lines()]
    for before, behind in [("abc", "d"), ("d", "e"), ("e", "f")]:
        assert max(i for i, (what, name) in enumerate(lines) if what == "end" and name in before) < min(i for i, (what, name) in enumerate(lines) if what == "begin" and name in behind)
    groups = pipes.t.get("/v1/runs/%d/groups" % run).json["groups"]
    assert [g["spacer"] for g in groups] == ["s0_group_step_0", "s2_group_step_1", "s2_group_step_2", "s3_group_step_3"]
    assert all(g["opened"] <= g["ended"] for g in groups) and [g["count"] for g in groups] == [3, 1, 1, 2]


def test_an_empty_pipeline_is_done_at_once(pipes):
    assert pipes.run(pipes.start([]))["state"] == "finished"


def test_a_task_is_told_what_it_is(pipes):
    run = pipes.start([{"name": "a", "template": "step", "id": 41, "variables": {"word": "hello"}, "env": {"MORE": "b"}}, {"name": "n", "template": "noop"}], company="acme",
                      brand="shop")
    pipes.end(run, "finished")
    tasks = pipes.t.get("/v1/runs/%d/tasks" % run).json["tasks"]
    log = pipes.t.get("/v1/tasks/%d/log" % tasks[0]["task"]).body.decode()
    context = json.loads(log[log.index("task=") + 5:log.index(" word=")])
    assert {"id": 41, "run_id": run, "name": "step", "transformation": "a", "pipeline": "p", "state": "s0", "company": "acme", "brand": "shop"}.items() <= context.items()
    assert "word=hello more=b" in log
    assert "run %d of p" % run in pipes.t.get("/v1/tasks/%d/log" % tasks[1]["task"]).body.decode()


@pytest.mark.both_stores
def test_a_failed_task_ends_the_run_and_is_tried_again(pipes):
    flag = pipes.flag("broken")
    run = pipes.start(["a", {"name": "b", "template": "step", "variables": {"fails_while": str(flag)}}], ["c"])
    shown = pipes.end(run, "failed")
    assert "p_s0_step_2" in shown["reason"] and "no luck" in shown["reason"]
    assert pipes.states(run) == ["finished", "failed", "not_run"]
    pipes.post("/v1/runs/%d/retry" % run)
    pipes.end(run, "failed")
    flag.unlink()
    pipes.post("/v1/runs/%d/retry" % run)
    pipes.end(run, "finished")
    assert pipes.states(run) == ["finished"] * 3
    assert pipes.lines().count("begin a") == 1 and pipes.lines().count("begin b") == 3 and pipes.lines().count("begin c") == 1
    pipes.post("/v1/runs/%d/retry" % run, status=409)


def test_retries_of_a_task(pipes):
    flag = pipes.flag("broken")
    run = pipes.start([{"name": "b", "template": "step", "variables": {"fails_while": str(flag)}, "retries": 3, "retry_delay_s": 0}])
    pipes.end(run, "failed")
    assert pipes.lines().count("begin b") == 4
    assert pipes.t.get("/v1/runs/%d/tasks" % run).json["tasks"][0]["attempts"] == 4


def test_parts_run_again(pipes):
    run = pipes.start(["a", "b"], ["c"], ["d"])
    pipes.end(run, "finished")
    pipes.post("/v1/runs/%d/retry" % run, **{"from": "p_s1_step_3"})
    pipes.end(run, "finished")
    assert [pipes.lines().count("begin " + name) for name in "abcd"] == [1, 1, 2, 2]
    pipes.post("/v1/runs/%d/retry" % run, only="1")
    pipes.end(run, "finished")
    assert [pipes.lines().count("begin " + name) for name in "abcd"] == [1, 2, 2, 2]
    pipes.post("/v1/runs/%d/retry" % run, status=404, only="nothing")


@pytest.mark.both_stores
def test_cancel_kills_what_runs(pipes):
    flag = pipes.flag("wait")
    run = pipes.start([{"name": "a", "template": "step", "variables": {"waits_while": str(flag)}}], ["b"])
    until(lambda: "begin a" in pipes.lines(), "the task runs")
    pipes.post("/v1/runs/%d/cancel" % run, reason="enough")
    shown = pipes.end(run, "canceled")
    assert shown["reason"] == "enough" and pipes.states(run) == ["canceled", "canceled"]
    task = pipes.t.get("/v1/runs/%d/tasks" % run).json["tasks"][0]["task"]
    until(lambda: ";" in pipes.t.get("/v1/tasks/%d" % task).json["reason"], "the worker says that it has stopped it")
    flag.unlink()
    assert "end a" not in pipes.lines()
    pipes.post("/v1/runs/%d/cancel" % run, status=409)
    pipes.post("/v1/runs/%d/retry" % run)
    pipes.end(run, "finished")
    assert pipes.lines()[-4:] == ["begin a", "end a", "begin b", "end b"]


@pytest.mark.both_stores
def test_skip(pipes):
    flag, broken = pipes.flag("wait"), pipes.flag("broken")
    run = pipes.start([{"name": "a", "template": "step", "variables": {"waits_while": str(flag)}}], ["b"], [{"name": "c", "template": "step", "variables": {"fails_while": str(broken)}}], ["d"])
    until(lambda: "begin a" in pipes.lines(), "the task runs")
    pipes.post("/v1/runs/%d/skip" % run, task="p_s1_step_2")
    pipes.post("/v1/runs/%d/skip" % run, task="0", reason="known to be good")
    pipes.end(run, "failed")
    assert pipes.states(run) == ["skipped", "skipped", "failed", "not_run"]
    pipes.post("/v1/runs/%d/skip" % run, task="2")
    pipes.post("/v1/runs/%d/skip" % run, status=409, task="2")
    pipes.post("/v1/runs/%d/retry" % run)
    pipes.end(run, "finished")
    assert "begin b" not in pipes.lines() and "end d" in pipes.lines()


def test_one_run_at_a_time_unless_more_are_allowed(pipes):
    flag = pipes.flag("wait")
    slow = {"name": "a", "template": "step", "variables": {"waits_while": str(flag)}}
    first, second = pipes.start([slow]), pipes.start([slow])
    assert [pipes.run(r)["state"] for r in (first, second)] == ["running", "waiting"]
    third = pipes.start([slow], max_runs=3)  # waits for the one before it
    assert pipes.run(third)["state"] == "waiting"
    flag.unlink()
    for run in (first, second, third):
        pipes.end(run, "finished")


@pytest.mark.both_stores
def test_few_tasks_at_a_time(pipes):
    run = pipes.start(["a", "b", "c", "d"], max_tasks=1)
    pipes.end(run, "finished")
    assert [line.split()[0] for line in pipes.lines()] == ["begin", "end"] * 4


@pytest.mark.both_stores
def test_a_paused_pipeline_holds_before_its_next_group(pipes):
    flag = pipes.flag("wait")
    run = pipes.start([{"name": "a", "template": "step", "variables": {"waits_while": str(flag)}}], ["b"])
    until(lambda: "begin a" in pipes.lines(), "the task runs")
    pipes.post("/v1/pipelines/p/pause")
    flag.unlink()
    until(lambda: pipes.run(run)["held"], "the run is held")
    second = pipes.start(["c"])
    assert pipes.run(run)["state"] == "running" and pipes.run(second)["state"] == "waiting" and pipes.lines() == ["begin a", "end a"]
    pipes.post("/v1/pipelines/p/resume")
    pipes.end(run, "finished")
    pipes.end(second, "finished")


def test_drain_returns_when_the_last_task_has_ended(pipes):
    """Built on the pause: what runs ends, nothing else begins, and `resume` goes on with all of it."""
    def drain(*args: str) -> Any:
        return subprocess.Popen([binary(), "pipeline", "drain", "p", "--data", str(pipes.t.data), *args], stderr=subprocess.PIPE, text=True, env=pipes.t.environment())
    assert "there is no pipeline `p`" in drain("--wait").communicate(timeout=60)[1]
    pipes.post("/v1/pipelines/p/pause", status=404)
    pipes.post("/v1/pipelines/p/resume", status=404)
    pipes.end(pipes.start(["first"]), "finished")
    assert "nothing of p runs" in drain("--wait").communicate(timeout=60)[1]  # nothing ran
    pipes.post("/v1/pipelines/p/resume")
    pipes.trace.unlink()
    flag = pipes.flag("wait")
    runs = [pipes.start([{"name": "a%d" % n, "template": "step", "variables": {"waits_while": str(flag)}}], ["b%d" % n], max_runs=2) for n in range(2)]
    until(lambda: len(pipes.lines()) == 2, "both run")
    assert "tasks of 2 of its runs" in drain().communicate(timeout=60)[1]
    waits = drain("--wait")
    assert "is paused" in waits.stderr.readline() and "is running" in waits.stderr.readline()  # it follows the first
    third = pipes.start(["c"], max_runs=2)
    assert waits.poll() is None
    flag.unlink()
    assert "nothing of p runs" in waits.communicate(timeout=60)[1] and waits.returncode == 0
    assert [pipes.run(run)["held"] for run in runs] == [True, True] and pipes.run(third)["state"] == "waiting"
    assert sorted(pipes.lines()) == ["begin a0", "begin a1", "end a0", "end a1"]
    pipes.post("/v1/pipelines/p/resume")
    for run in (*runs, third):
        pipes.end(run, "finished")


def test_a_drain_that_is_undone_meanwhile_says_so(pipes):
    flag, last = pipes.flag("wait"), pipes.flag("last")
    run = pipes.start([{"name": "a", "template": "step", "variables": {"waits_while": str(flag)}}], [{"name": "b", "template": "step", "variables": {"waits_while": str(last)}}])
    until(lambda: "begin a" in pipes.lines(), "the task runs")
    waits = subprocess.Popen([binary(), "pipeline", "drain", "p", "--wait", "--data", str(pipes.t.data)], stderr=subprocess.PIPE, text=True, env=pipes.t.environment())
    assert "is paused" in waits.stderr.readline() and "is running" in waits.stderr.readline()
    pipes.post("/v1/pipelines/p/resume")
    flag.unlink()
    assert "resumed meanwhile" in waits.communicate(timeout=60)[1] and waits.returncode == 5
    last.unlink()
    pipes.end(run, "finished")


def test_what_cannot_run_is_refused_before_it_begins(pipes):
    def refused(transformation: Any, *told: str) -> None:
        body = {"definition": {"pipeline": "p", "states": [{"state": "s", "transformations": [transformation]}]}}
        answer = pipes.t.request("POST", "/v1/runs", body)
        assert answer.status in (400, 501) and all(part in answer.json["detail"] for part in told), answer.body
    refused({"name": "x", "template": "missing"}, "`x`", "missing")
    refused({"name": "x", "template": "step", "variables": {"wrd": "a"}}, "`x`", "wrd")
    refused({"name": "x", "template": "step", "executor": "moon"}, "moon", "local")
    refused({"name": "x", "template": "step", "image": "some/image"}, "image")
    assert pipes.t.get("/v1/runs").json["runs"] == []


def test_a_run_keeps_its_definition_and_is_forgotten(pipes):
    run = pipes.start(["a"], company="acme")
    pipes.end(run, "finished")
    kept = pipes.t.get("/v1/runs/%d/definition" % run).json["definition"]
    assert kept["company"] == "acme" and kept["states"][0]["transformations"][0] == {"name": "a", "template": "step"}
    assert pipes.t.request("DELETE", "/v1/runs/%d" % run).status == 200
    assert pipes.t.request("GET", "/v1/runs/%d" % run).status == 404
    assert pipes.start(["a"]) > run


def test_commands(pipes, tmp_path: Path):
    def command(*args: str, code: int = 0) -> str:
        done = subprocess.run([binary(), "pipeline", *args, "--data", str(pipes.t.data)], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr
    broken, path = pipes.flag("broken"), tmp_path / "p.yaml"
    path.write_text("pipeline: p\nretries: 0\nstates:\n- state: raw\n  transformations:\n  - {name: a, template: step}\n  - {name: b, template: step, variables: {fails_while: %s}}\n" % broken)
    assert "no luck" in command("run", "-f", str(path), "--wait", code=1)
    run = json.loads(command("runs", "p", "--json"))["runs"][0]["id"]
    assert "failed" in command("runs") and "p_raw_step_2" in command("tasks", str(run))
    assert "== p_raw_step_1 (finished)\ntask=" in command("logs", str(run))
    assert "no luck" in command("logs", str(run), "p_raw_step_2")
    broken.unlink()
    command("retry", str(run), "--wait")
    assert [t["state"] for t in json.loads(command("tasks", str(run), "--json"))["tasks"]] == ["finished", "finished"]
    assert "has ended" in command("cancel", str(run), code=5)
    command("pause", "p")
    waiting = command("run", "-f", str(path)).strip()
    command("skip", waiting, "p_raw_step_1")
    command("resume", "p")
    command("watch", waiting)
    assert json.loads(command("watch", waiting, "--json"))["by_state"] == {"finished": 1, "skipped": 1}
    command("logs", waiting, "p_raw_step_2", "--follow")


def test_one_task_by_itself(pipes, tmp_path: Path):
    def command(*args: str, code: int = 0, program: Path = binary()) -> str:
        done = subprocess.run([program, *args, "--data", str(pipes.t.data)], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr
    out = command("pipeline", "try", "step", "--set", "word=hello", "--state", "enrich")
    assert '"state":"enrich","company":"scratch","brand":"try"' in out and "word=hello" in out
    assert "no luck" in command("pipeline", "try", "step", "--set", "fails_while=" + str(pipes.flag("broken")), code=1)
    assert json.loads(command("pipeline", "try", "noop", "--json"))["state"] == "finished"
    run = pipes.start([{"name": "a", "template": "step", "id": 41, "variables": {"word": "by hand"}}], ["b"])
    pipes.end(run, "finished")
    corebot = tmp_path / "corebot"
    corebot.symlink_to(binary().resolve())
    for printed in (command("worker", "run", "41", str(run)), command("run", "41", str(run), program=corebot)):
        assert '"run_id":%d' % run in printed and "word=by hand" in printed
    assert pipes.lines()[-2:] == ["begin a", "end a"]
    command("worker", "run", "99", str(run), code=4)
    command("worker", "run", "41", "12345", code=4)


REVEAL = """#include <stdio.h>
#include <stdlib.h>
#include <tutti/program.h>
static const tutti_setting settings[] = {{"word", TUTTI_STR}, {"file", TUTTI_STR}, {0}};
static int run(const tutti_host *t)
{
    FILE *f = fopen(t->text(t, "file"), "a");
    fprintf(f, "%s %s %s %s\\n", t->text(t, "word"), t->secret(t, "shop/key"), getenv("MORE"), getenv("TUTTI_RUN_ID"));
    t->log(t, "the word is %s", t->text(t, "word"));
    t->update(t, "step", t->text(t, "word"));
    return fclose(f) + t->result(t, "7");
}
TUTTI_PROGRAM(.settings = settings, .run = run);
"""


def test_a_task_by_hand_has_what_a_worker_gives_it(pipes):
    pipes.t.request("PUT", "/v1/secrets/shop%2Fkey", {"value": "open sesame"})
    (pipes.t.data / "programs" / "reveal.c").write_text(REVEAL)
    seen = pipes.t.cwd / "seen"
    run = pipes.start([{"name": "a", "template": "reveal", "id": 5, "variables": {"word": "secret:shop/key", "file": str(seen)}, "env": {"MORE": "b"}}])
    pipes.end(run, "finished")
    done = subprocess.run([binary(), "worker", "run", "5", str(run), "--data", str(pipes.t.data)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the word is ***\n7\n" and "step: ***" in done.stderr and "sesame" not in done.stderr
    first, second = seen.read_text().splitlines()
    assert first == second == "open sesame open sesame b %d" % run
    refused = pipes.t.request("POST", "/v1/runs", {"definition": {"pipeline": "p", "states": [{"state": "s", "transformations": [
        {"name": "a", "template": "reveal", "variables": {"word": "x", "file": "y"}, "env": {"TUTTI_PROGRAM_ROOTS": "/"}}]}]}})
    assert refused.status == 400 and "TUTTI_PROGRAM_ROOTS" in refused.json["detail"], refused.body


@pytest.mark.one_store
def test_a_pipeline_does_not_choose_what_code_is_loaded(pipes):
    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "BASH_ENV", "PATH", "NODE_OPTIONS"):
        for places in ({"env": {name: "/tmp/x"}}, {}):
            own = {} if places else {"env": {name: "/tmp/x"}}
            answer = pipes.t.request("POST", "/v1/runs", {"definition": {"pipeline": "p", **places, "states": [{"state": "s", "transformations": [{"name": "a", "template": "step", **own}]}]}})
            assert answer.status == 400 and name in answer.json["detail"] and "other code" in answer.json["detail"], answer.body
    run = pipes.start([{"name": "a", "template": "step", "env": {"LD": "1", "PATHS": "2", "MORE": "kept"}}])
    pipes.end(run, "finished")
    assert "more=kept" in pipes.t.get("/v1/tasks/%d/log" % pipes.t.get("/v1/runs/%d/tasks" % run).json["tasks"][0]["task"]).body.decode()


def test_a_python_program_knows_its_task(pipes):
    (pipes.t.data / "programs" / "snake.py").write_text(
        "import tutti\n\nclass Snake:\n    def __init__(self, day: 'datetime', names: list, most: int = 3):\n        self.day = day\n\n    def _run(self):\n        t = tutti.task()\n"
        "        v = t.variables\n        return [t.id, t.run_id, t.name, t.transformation, t.state, t.company, t.brand, str(v.day), v.names, v.most, t.due is None]\n")
    run = pipes.start([{"name": "s", "template": "snake", "id": 9, "variables": {"day": "2026-01-31", "names": ["a", "b"]}}], company="Acme", brand="Shop")
    pipes.end(run, "finished")
    assert pipes.t.get("/v1/runs/%d/tasks" % run).json["tasks"][0]["result"]["result"] == [9, run, "snake", "s", "s0", "Acme", "Shop", "2026-01-31 00:00:00", ["a", "b"], 3, True]


def test_a_sql_file_is_a_program(pipes, tmp_path: Path):
    base = tmp_path / "shop.db"
    with sqlite3.connect(base) as db:
        db.execute("CREATE TABLE sales (day TEXT, item TEXT, price REAL)")
        db.executemany("INSERT INTO sales VALUES (?, ?, ?)", [("2026-01-0%d" % (i % 3 + 1), "it's; :no %d" % i, i * 1.5) for i in range(300)])
    (pipes.t.data / "programs" / "totals.sql").write_text("""-- Sales of a day.
-- day: text = 2026-01-02
-- least: float = 0
CREATE TABLE IF NOT EXISTS totals (day TEXT, total REAL, word TEXT);
DELETE FROM totals WHERE day = :day; -- twice is once; :nothing
INSERT INTO totals SELECT :day, sum(price), :word || ';:x' FROM sales WHERE day = :day AND price >= :least;
SELECT item, price FROM sales WHERE day = :day ORDER BY price;
""")
    where = "sqlite:///%s" % base
    shown = pipes.t.get("/v1/programs/totals").json
    assert shown["kind"] == "sql" and shown["description"] == "Sales of a day."
    assert {name: (s["type"], s["required"]) for name, s in shown["settings"].items()} == {
        "database": ("str", True), "day": ("str", False), "least": ("float", False), "word": ("str", True), "password": ("secret", False), "storage": ("dict", False)}
    first = {"name": "totals", "template": "totals", "variables": {"database": where, "word": "a'b", "least": 10}}
    stored = {"name": "stored", "template": "totals", "order": 1, "variables": {"database": where, "word": "x", "day": "2026-01-03", "storage": {"type": "csv", "settings": {"path": str(pipes.t.cwd / "out.csv")}}}}
    run = pipes.start([first, stored])
    pipes.end(run, "finished")
    result = pipes.t.get("/v1/runs/%d/tasks" % run).json["tasks"][0]["result"]["result"]
    assert result["row_count"] == 100 and result["rows"][0] == {"item": "it's; :no 1", "price": 1.5} and len(result["rows"]) == 100
    assert len((pipes.t.cwd / "out.csv").read_text().splitlines()) == 101
    with sqlite3.connect(base) as db:
        assert db.execute("SELECT * FROM totals WHERE day = '2026-01-02'").fetchall() == [("2026-01-02", sum(i * 1.5 for i in range(300) if i % 3 == 1 and i * 1.5 >= 10), "a'b;:x")]
    bad = {**first, "variables": {**first["variables"], "database": where + ".not/there"}}
    pipes.end(pipes.start([bad]), "failed")
    (pipes.t.data / "programs" / "totals.sql").write_text("DELETE FROM totals; SELEKT :a;")
    failed = pipes.end(pipes.start([{"name": "t", "template": "totals", "variables": {"database": where, "a": "b"}}]), "failed")
    assert "statement 2" in failed["reason"]
    with sqlite3.connect(base) as db:
        assert db.execute("SELECT count(*) FROM totals").fetchone() == (2,)  # all or nothing


def test_old_runs_are_forgotten(pipes, tutti):
    run = pipes.start(["a"])
    pipes.end(run, "finished")
    pipes.t.restart(env={"TUTTI_PIPELINE_KEEP": "0s"})
    until(lambda: pipes.t.request("GET", "/v1/runs/%d" % run).status == 404, "it is forgotten")
