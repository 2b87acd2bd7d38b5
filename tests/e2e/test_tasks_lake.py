"""Tasks of runs and the data lake: every kind of program is told whose data it makes, and what it publishes is the run's."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from tutti_process import Tutti, binary, until

pq = pytest.importorskip("pyarrow.parquet")

DESCRIBE = "if [ \"$1\" = --describe ]; then echo '{}'; exit; fi\n"
SHELL = "#!/bin/sh\n" + DESCRIBE + """
cat >/dev/null
env | grep ^TUTTI_ | sort >%(place)s/shell.env
printf 'id,word\\n1,a\\n2,b\\n' >%(place)s/rows.csv
"$TUTTI_BIN" lake publish "$TUTTI_CONTRACT" %(place)s/rows.csv
"""
RAW = "#!/bin/sh\n" + DESCRIBE + """
printf 'id\\n7\\n' >%(place)s/seven.csv
"$TUTTI_BIN" lake publish raw %(place)s/seven.csv
"""
PYTHON = '''
import tutti

class Pythonic:
    def __init__(self, most: int, share: float, day: "datetime", names: list, map: dict, login: "secret", loud: bool = False):
        pass

    def _run(self):
        task = tutti.task()
        v = task.variables
        frame = task.contract.sibling("shell").fetch(metadata=False)
        told = task.contract.publish(frame)
        own = tutti.contract("ingest/pythonic").fetch(run=task.run_id)
        return {"told": told["run_id"], "path": task.contract.path, "next": task.contract.next_state, "previous": task.contract.previous_state, "rows": len(own),
                "types": [type(x).__name__ for x in (v.most, v.share, v.day, v.names, v.map, v.loud)], "login": v.login == "s3cr3t-word", "shown": repr(v.login),
                "began": task.run_timestamp.isoformat(), "environment": task.environment}
'''
C = """#include <stdlib.h>
#include <tutti/program.h>
static int run(const tutti_host *t)
{
    t->log(t, "%s %s %s %s", getenv("TUTTI_RUN_ID"), getenv("TUTTI_CONTRACT"), t->task(t, "contract"), getenv("MORE") ? getenv("MORE") : "none");
    return 0;
}
TUTTI_PROGRAM(.run = run);
"""


class House:
    def __init__(self, t: Tutti) -> None:
        self.t = t

    def add(self, name: str, text: str) -> None:
        path = self.t.data / "programs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *transformations: Dict[str, Any], **more: Any) -> int:
        states: List[Dict[str, Any]] = []
        for state in ("raw", "ingest", "master"):
            states.append({"state": state, "transformations": [{"order": i, **{k: v for k, v in t.items() if k != "state"}} for i, t in enumerate(transformations)
                                                              if t.get("state", "ingest") == state]})
        answer = self.t.request("POST", "/v1/runs", {"definition": {"pipeline": "p", "retries": 0, "company": "Acme", "brand": "Shop", **more, "states": states}})
        assert answer.status == 201, answer.body
        return answer.json["id"]

    def end(self, run: int, state: str = "finished") -> List[Dict[str, Any]]:
        until(lambda: self.t.get("/v1/runs/%d" % run).json["ended"], "run %d has ended" % run)
        tasks = self.t.get("/v1/runs/%d/tasks" % run).json["tasks"]
        assert self.t.get("/v1/runs/%d" % run).json["state"] == state, [task["reason"] for task in tasks]
        return tasks

    def log(self, task: Dict[str, Any]) -> str:
        return self.t.get("/v1/tasks/%d/log" % task["task"]).body.decode()

    def parts(self, dataset: str, branch: str = "mine") -> List[Path]:
        return sorted((self.t.data / "lake" / "dev" / branch / dataset).rglob("*.parquet"))


@pytest.fixture
def house(tutti) -> House:
    t = tutti(start=False, workers=1, env={"TUTTI_BRANCH_NAME": "mine", "TUTTI_PROGRAMS_MEMORY": "0"})  # sanitizers reserve more than any limit
    made = House(t)
    made.add("shell", SHELL % {"place": t.cwd})
    made.add("sevens", RAW % {"place": t.cwd})
    made.add("pythonic.py", PYTHON)
    made.add("native.c", C)
    t.start()
    return made


def test_every_kind_of_program_publishes_into_its_run(house: House) -> None:
    assert house.t.request("PUT", "/v1/secrets/shop%2Flogin", {"value": "s3cr3t-word"}).status in (200, 201)
    variables = {"most": 3, "share": 0.5, "day": "2026-01-31", "names": ["a"], "map": {"a": 1}, "login": "secret:shop/login"}
    run = house.run({"name": "s", "template": "sevens", "state": "raw"}, {"name": "a", "template": "shell"}, {"name": "b", "template": "pythonic", "variables": variables},
                    {"name": "c", "template": "native", "env": {"MORE": "more"}}, {"name": "d", "template": "native"},
                    {"name": "e", "template": "dedupe", "state": "master", "variables": {"input": "lake:ingest/shell", "output": "lake:", "keys": ["id"]}})
    tasks = house.end(run)
    said = dict(line.split("=", 1) for line in (house.t.cwd / "shell.env").read_text().splitlines())
    expected = {"TUTTI_RUN_ID": str(run), "TUTTI_CONTRACT": "dev/mine/acme/shop/ingest/shell", "TUTTI_ENVIRONMENT": "dev", "TUTTI_BRANCH_NAME": "mine", "TUTTI_PARENT": "acme",
                "TUTTI_CHILD": "shop", "TUTTI_STATE": "ingest", "TUTTI_DATASET": "shell"}
    assert expected.items() <= said.items()
    assert json.loads(said["TUTTI_TASK"])["contract"] == said["TUTTI_CONTRACT"]
    assert (house.t.data / "lake/dev/mine/acme/shop/raw/seven.csv").read_text() == "id\n7\n"
    assert "has no effect" not in house.log(tasks[0]) + house.log(tasks[1])
    result = tasks[2]["result"]["result"]
    assert result == {"told": run, "path": "dev/mine/acme/shop/ingest/pythonic", "next": "master", "previous": "raw", "rows": 2, "login": True, "shown": "'***'",
                      "types": ["int", "float", "datetime", "list", "dict", "bool"], "began": result["began"], "environment": "dev"}
    assert "%d dev/mine/acme/shop/ingest/native dev/mine/acme/shop/ingest/native more" % run in house.log(tasks[3])
    assert "native none" in house.log(tasks[4]), "the environment of one run is not the next one's"
    for dataset in ("acme/shop/ingest/shell", "acme/shop/ingest/pythonic", "acme/shop/master/dedupe"):
        parts = house.parts(dataset)
        assert parts and all("__metadata_run_id=%d" % run in str(p) for p in parts), (dataset, parts)
        table = pq.read_table(parts[0], partitioning=None)
        assert table.column("__metadata_output_contract").to_pylist() == ["dev/mine/" + dataset] * 2
        stamps = {moment.isoformat(timespec="milliseconds") for moment in table.column("__metadata_run_timestamp").to_pylist()}
        assert stamps == {said["TUTTI_RUN_TIMESTAMP"].replace("Z", "")} or stamps == {said["TUTTI_RUN_TIMESTAMP"].replace("Z", "+00:00")}


def test_a_pipeline_names_its_branch(house: House) -> None:
    run = house.run({"name": "a", "template": "shell"}, branch="Feature-7")
    house.end(run)
    assert len(house.parts("acme/shop/ingest/shell", branch="feature-7")) == 1


def test_without_a_company_there_is_no_contract(house: House) -> None:
    house.add("asks.py", "import tutti\nclass Asks:\n    def _run(self):\n        tutti.task().contract\n")
    tasks = house.end(house.run({"name": "a", "template": "asks"}, company="", brand=""), "failed")
    assert "names no company and brand" in tasks[0]["reason"]


LAKE_C = r"""#include <string.h>
#include <tutti/program.h>
static const tutti_setting settings[] = {{"contract", TUTTI_STR, ""}, {"place", TUTTI_STR}, {0}};
static int run(const tutti_host *t)
{
    char path[4096];
    const char *contract = t->text(t, "contract"), *rows;
    if (!TUTTI_HAS(t, fetch_file) || t->publish(t, contract, "[{\"id\":1,\"word\":\"a,b\"},{\"id\":2,\"word\":null},{\"id\":3,\"word\":\"\u00e4\"}]") != 0)
        return 1;
    rows = t->fetch(t, contract, "id >= 2");
    t->log(t, "fetched %s", rows ? rows : "nothing");
    snprintf(path, sizeof path, "%s/out.csv", t->text(t, "place"));
    if (t->fetch_file(t, contract, "id < 3", path) != 0 || t->publish_file(t, t->task(t, "run_id")[0] ? "master/copies" : "acme/shop/master/copies", path) != 0)
        return 2;
    if (t->publish_file(t, "acme/shop/raw", path) != 0 || t->fetch_file(t, "acme/shop/raw/out.csv", NULL, strcat(path, ".back")) != 0)
        return 3;
    t->log(t, "%d %d %d %d", t->publish(t, "acme/shop/raw", "[]"), t->publish(t, contract, "{}"), t->publish(t, contract, "[1]"), t->publish_file(t, contract, "/nowhere.csv"));
    t->log(t, "%s", t->fetch(t, "acme/shop/enrich/none", NULL) ? "there" : "none");
    return t->fetch(t, contract, "no such filter") ? 4 : 0;
}
TUTTI_PROGRAM(.settings = settings, .run = run);
"""
LAKE_LOG = ["-1 -1 -1 -1", "none", "the state raw has files and no rows", "publish takes a JSON list of objects", "there is nothing of it"]


def test_c_programs_publish_and_fetch(house: House) -> None:
    house.add("writer.c", LAKE_C)
    run = house.run({"name": "a", "template": "writer", "variables": {"place": str(house.t.cwd)}})
    log = house.log(house.end(run)[0])
    fetched = json.loads(log[log.index("fetched ") + 8:log.index("]", log.index("fetched ")) + 1])
    assert [(row["id"], row["word"], row["__metadata_run_id"]) for row in fetched] == [(2, None, run), (3, "ä", run)]
    assert all(said in log for said in LAKE_LOG), log
    for dataset, ids in (("acme/shop/ingest/writer", [1, 2, 3]), ("acme/shop/master/copies", [1, 2])):
        parts = house.parts(dataset)
        assert len(parts) == 1 and "__metadata_run_id=%d" % run in str(parts[0])
        assert pq.read_table(parts[0], partitioning=None).column("id").to_pylist() == ids
    assert (house.t.cwd / "out.csv.back").read_bytes() == (house.t.cwd / "out.csv").read_bytes()


def test_c_programs_publish_outside_of_a_run(house: House) -> None:
    house.add("writer.c", LAKE_C)
    settings = {"place": str(house.t.cwd), "contract": "dev/mine/acme/shop/ingest/plain"}
    answer = house.t.request("POST", "/v1/executions", {"program": "writer", "settings": settings})
    shown = house.t.get("/v1/executions/%d" % answer.json["task"], params={"wait": "60s"}).json
    assert shown["state"] == "finished", shown
    assert len(house.parts("acme/shop/ingest/plain")) == 1
    refused = house.t.request("POST", "/v1/executions", {"program": "writer", "settings": {"place": "/"}})
    shown = house.t.get("/v1/executions/%d" % refused.json["task"], params={"wait": "60s"}).json
    assert shown["state"] == "failed" and "`lake:` alone is the data set of a task" in shown["reason"], shown


NATIVE = """#include <tutti/program.h>
static int run(const tutti_host *t) { return t->publish(t, "acme/shop/ingest/native", "[{\\"id\\":1}]"); }
TUTTI_PROGRAM(.run = run);
"""


@pytest.mark.parametrize("more", [[], ["--concurrency", "1"]])
def test_a_worker_is_told_where_the_lake_is(tutti, more: List[str]) -> None:
    """`tutti worker --lake DIR --env ENV --branch NAME`: for what its programs publish, in C, and with the `tutti` of their environment."""
    t = tutti(start=False, workers=0, env={"TUTTI_BRANCH_NAME": None, "TUTTI_PROGRAMS_MEMORY": "0"})
    house = House(t)
    house.add("native.c", NATIVE)
    house.add("asks", "#!/bin/sh\n" + DESCRIBE + "printf 'id\\n1\\n' >rows.csv; \"$TUTTI_BIN\" lake publish acme/shop/ingest/asks rows.csv\n")
    t.start()
    flags = ["--lake", str(t.cwd / "other"), "--env", "uat", "--branch", "theirs", "--name", "mine"]
    worker = subprocess.Popen([binary(), "worker", "--data", t.data, *flags, *more], stderr=subprocess.DEVNULL, cwd=t.cwd)
    try:
        for program in ("native", "asks"):
            task = t.request("POST", "/v1/executions", {"program": program, "settings": {}}).json["task"]
            shown = t.get("/v1/executions/%d" % task, params={"wait": "60s"}, timeout=90).json
            assert shown["state"] == "finished", (shown, t.get("/v1/tasks/%d/log" % task).body)
            assert len(list((t.cwd / "other" / "uat" / "theirs" / "acme" / "shop" / "ingest" / program).rglob("*.parquet"))) == 1
        assert not (t.data / "lake").exists()
    finally:
        worker.terminate()
        assert worker.wait(60) == 0
    refused = subprocess.run([binary(), "worker", "--data", t.data, "--env", "moon"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "there are dev, uat and prod" in refused.stderr, refused.stderr
