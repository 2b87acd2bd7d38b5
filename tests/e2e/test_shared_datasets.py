"""Datasets of servers that share a Redis: registered on one, known to all; the parts of a query are done by whichever query worker of the house has a hand
free. The files lie under the same path everywhere."""
import json
import os
import shutil
import subprocess

import pytest

pytest.importorskip("pandas", reason="pandas is not installed")
import dataset_files  # noqa: E402
from shared_house import LIMIT_S  # noqa: E402
from tutti_process import binary, until  # noqa: E402

TASKS, FILES_OF_A_TASK = 3, 64
QUERY = {"query": {"conditions": [{"filter": ["bool", "==", True], "target": ["count", ">=", 3]}], "aggregations": [{"column": "str_category_few", "type": "groupsPerValue"}]},
         "funnel": {"sequence": [{"filter": ["str_category_few", "==", "1"]}, {"filter": ["str_category_few", "==", "0"]}], "timeToConvert": True}}


@pytest.fixture
def events(house):
    """So many files that a query is several tasks."""
    dataset_files.write(house.dir / "events", 2)
    for i in range(2, TASKS * FILES_OF_A_TASK):
        os.link(house.dir / "events" / ("part-%d.parquet" % (i % 2)), house.dir / "events" / ("part-%d.parquet" % i))
    return house.dir / "events"


def register(t, directory, name="events", **more):
    return t.post("/datasets/register", {"name": name, "basepath": str(directory), "groupIdColumn": "int_64_userid", "timestampColumn": "int_64_ts", "validateUniques": False, **more})


def answers(got):
    assert got.status == 200, got
    return {key: value for key, value in got.json.items() if key in ("query", "funnel")}


def alone(house, events, *arguments):
    """What a command without a server says."""
    done = subprocess.run([binary(), *arguments, "--data", house.dir / "alone"], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_dataset_of_one_server_is_known_to_the_other_and_asked_of_all_workers(house, events):
    root = ["--root", str(house.dir)]
    a, b = (house.server(args=["--shared", house.redis.url, *root]) for _ in range(2))
    for name in ("far", "near"):
        house.machine(name, "--name", name, "--queue", "query", *root)
    assert register(a, events).status == 200
    assert [one["id"]["name"] for one in b.get("/datasets").json] == ["events"]
    assert b.get("/datasets/events/schema?full=true").json == a.get("/datasets/events/schema?full=true").json
    alone(house, events, "dataset", "register", "events", str(events), "-g", "int_64_userid", "-t", "int_64_ts", "--skip-uniques")
    wanted = json.loads(alone(house, events, "query", "events", json.dumps(QUERY), "--json"))

    def helpers():
        for t in (a, b):
            assert answers(t.post("/datasets/events/query", QUERY)) == {key: wanted[key] for key in ("query", "funnel")}
        return {task["worker"].split("@")[0] for task in a.get("/v1/tasks", params={"kind": "query_part"}).json["tasks"]} >= {"far", "near"}
    until(helpers, "both workers have done parts", LIMIT_S)
    made = b.post("/v1/datasets/events/prepare")
    assert made.status == 200 and made.json["prepared"]["parts"] == TASKS * FILES_OF_A_TASK, repr(made.json)
    assert answers(a.post("/datasets/events/query", QUERY)) == {key: wanted[key] for key in ("query", "funnel")}
    assert a.post("/datasets/events/unregister").status == 409, "it was asked just now"
    assert b.post("/datasets/events/unregister", params={"force": "true"}).status == 200
    assert a.get("/datasets").json == [] and a.post("/datasets/events/query", QUERY).status == 404


def test_a_worker_that_does_not_have_the_files_says_so(house, events):
    a = house.server(args=["--shared", house.redis.url, "--root", str(house.dir)])
    here = house.machine("here", "--name", "here", "--queue", "query", "--root", str(house.dir))
    assert register(a, events).status == 200
    here.terminate()
    here.wait(LIMIT_S)
    house.machine("far", "--name", "far", "--queue", "query")
    refused = a.post("/datasets/events/query", QUERY)
    assert refused.status == 422 and "leads outside the allowed directories" in refused.json["errorMessage"], refused.json
    shutil.rmtree(events)
    gone = a.post("/datasets/events/query", QUERY)
    assert gone.status == 404 and str(events) in gone.json["errorMessage"], gone.json
