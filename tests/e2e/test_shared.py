"""Servers and workers on several machines, which share a Redis and nothing else: another data directory, no socket, programs of their own."""
import sys

from config_database import Config
from shared_house import LIMIT_S, push, show, until_state
from tutti_process import until


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


def test_two_servers_fire_each_due_time_once(house):
    a, b = house.server(), house.server()
    made = a.request("PUT", "/v1/schedules/each", {"when": "every 1 second", "kind": "probe", "payload": "x", "overlap": "allow", "missed": "all"})
    assert made.status == 201, made

    def due():
        tasks = b.get("/v1/tasks").json["tasks"]
        return sorted(int(task["unique_key"].split("/")[2]) for task in tasks)
    until(lambda: len(due()) >= 4, "four due times", LIMIT_S)
    found = due()
    assert found == list(range(found[0], found[0] + len(found))), found
    assert "level=error" not in a.log() + b.log()


ASKING = """
import os, subprocess
import tutti
from tutti.configuration import RunEvent, Tag

class Asking:
    def __init__(self, opens: bool = True):
        self.opens = opens

    def _run(self):
        login = tutti.Secret(name="shop", type_of="ftp", env="prod")
        print("logging in as", login.user, "with", login.password, flush=True)
        told = subprocess.run([os.environ["TUTTI_BIN"], "secret", "get", "token/of/us"], capture_output=True, text=True)
        self.update("login", "with " + told.stdout.strip())
        try:
            tutti.Secret(name="none", type_of="ftp")
        except tutti.TuttiError as error:
            print("refused:", error)
        if self.opens:
            with tutti.task().session() as session:
                session.add(Tag(value="run %d" % tutti.task().run_id))
                session.commit()
                return {"actor": session.query(RunEvent).get(tutti.task().run_id).last_actor, "password": login.password == "geheim-wort", "told": told.stdout.strip() == "t0ken-value"}
        with tutti.task().session():
            pass
"""


def test_a_task_on_another_machine_has_secrets_and_a_session(house, postgres, tmp_path):
    """The worker there asks for secrets itself; what it tells is masked in the log, and in the progress."""
    config = Config(tmp_path, postgres)
    (house.dir / "server-programs" / "asking.py").write_text(ASKING)
    common = {"TUTTI_PROGRAMS_PYTHON": sys.executable, "TUTTI_PROGRAMS_MEMORY": "0"}  # sanitizers reserve more than any limit
    server = house.server(env={**house.env(), **config.env, **common})
    assert server.post("/v1/db/create").status == 200
    login = {"user": "tutti", "password": postgres.password, "host": "127.0.0.1", "port": postgres.port, "database": "postgres"}
    for name, value in (("all/ftp/shop/read", {"user": "gob", "password": "geheim-wort", "host": "h"}), ("token/of/us", "t0ken-value"), ("dev/database/conf/write", login)):
        assert server.request("PUT", "/v1/secrets/" + name.replace("/", "%2F"), {"value": value}).status in (200, 201)

    def run(name, variables, **env):
        (house.dir / name / "programs").mkdir(parents=True)
        (house.dir / name / "programs" / "asking.py").write_text(ASKING)
        worker = house.machine(name, env={**common, **env})
        definition = {"pipeline": "p", "retries": 0, "states": [{"state": "s", "transformations": [{"template": "asking", "variables": variables}]}]}
        started = server.request("POST", "/v1/runs", {"definition": definition}, params={"actor": "ann"})
        assert started.status == 201, started.body
        until(lambda: server.get("/v1/runs/%d?wait=20s" % started.json["id"]).json["ended"], "the run ends", LIMIT_S)
        worker.terminate()
        worker.wait(LIMIT_S)
        task = server.get("/v1/runs/%d/tasks" % started.json["id"]).json["tasks"][0]
        return task, server.get("/v1/tasks/%d/log" % task["task"]).body.decode()

    task, log = run("far", {}, TUTTI_CONFIG_URL="secret:dev/database/conf/write")
    assert task["state"] == "finished" and task["result"]["result"] == {"actor": "ann", "password": True, "told": True}, (task, log)
    assert "logging in as gob with ***" in log and "there is no secret `dev/ftp/none/read`" in log and show(server, task["task"])["progress"]["login"] == "with ***", (log, task)
    assert "t0ken-value" not in str(task) + log and "geheim-wort" not in str(task) + log
    assert [row[0] for row in config.rows("SELECT actor FROM auditing.events WHERE table_name = 'tags'")] == ["p_s_asking_1 of run %s" % config.rows("SELECT max(id) FROM run_events")[0][0]]
    task, _ = run("lost", {"opens": False})
    assert task["state"] == "failed" and "config.url" in task["reason"], task


def test_runs_of_a_pipeline_go_on_wherever_there_is_a_worker(house, postgres, tmp_path):
    config = Config(tmp_path, postgres)
    house.script("greet", 'cat >/dev/null\necho "$TUTTI_TASK"', on=["server-programs", "far", "near"])
    servers = [house.server(env={**house.env(), **config.env})]
    assert servers[0].post("/v1/db/create").status == 200
    servers.append(house.server(env={**house.env(), **config.env}))
    for name in ("far", "near"):
        house.machine(name, "--name", name)
    states = [{"state": "s%d" % i, "transformations": [{"name": "t%d_%d" % (i, k), "template": "greet"} for k in range(4)]} for i in range(3)]
    run = servers[0].post("/v1/runs", {"definition": {"pipeline": "hand", "states": states}}).json["id"]
    ended = until(lambda: (lambda r: r if r["ended"] else None)(servers[1].get("/v1/runs/%d?wait=20s" % run).json), "the run ends", LIMIT_S)
    assert ended["state"] == "finished", servers[0].get("/v1/runs/%d/tasks" % run).json
    tasks = servers[1].get("/v1/runs/%d/tasks" % run).json["tasks"]
    assert {task["worker"].split("@")[0] for task in tasks} <= {"far", "near"} and [task["attempts"] for task in tasks] == [1] * 12
    servers[1].kill_server()
    each = {"pipeline": "each", "schedule": {"every": "every second", "missed": "all"}, "max_runs": 100, "states": states[:1]}
    assert servers[0].request("PUT", "/v1/pipelines/each", each).status == 201

    def dues():
        return sorted(int(r["due"][17:19]) for r in servers[1].get("/v1/runs?pipeline=each&limit=1000").json["runs"])
    until(lambda: len(dues()) >= 5, "five due times", LIMIT_S)
    found = dues()
    assert len(found) == len(set(found)) and (found[-1] - found[0] + 1 == len(found) or 59 in found), found
    assert [row[0] for row in config.rows("SELECT count(*) - count(DISTINCT due_s) FROM run_events WHERE due_s IS NOT NULL")] == ["0"]
