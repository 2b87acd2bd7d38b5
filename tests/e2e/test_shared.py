"""Servers and workers on several machines, which share a Redis and nothing else: another data directory, no socket, programs of their own."""
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
