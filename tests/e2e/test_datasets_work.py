"""What becomes of queries and datasets when workers die, clients leave, files lie, and limits are met; prepared parts, checks, repartitioning."""
from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List

import duckdb
import numpy as np
import pandas as pd
import pytest

import dataset_files
import parquet_bomb
from tutti_process import Answer, Tutti, binary, until

PARTS = 4
FUNNEL = {"funnel": {"sequence": [{"filter": ["str_category_few", "==", "1"]}, {"filter": ["str_category_few", "==", "0"]}],
                     "stepAggregations": [{"column": "str_category_many", "type": "countPerValue"}]}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset_files.write(tmp_path_factory.mktemp("datasets"), PARTS)


def register(t: Tutti, directory: Path, **more: Any) -> Answer:
    body = {"name": "events", "basepath": str(directory), "groupIdColumn": "int_64_userid", "timestampColumn": "int_64_ts", **more}
    return t.post("/datasets/register", {k: v for k, v in body.items() if v is not None})


def ask(t: Tutti, query: Any = FUNNEL, **params: Any) -> Answer:
    return t.post("/datasets/events/query", query, params=params)


def place(t: Tutti, files: Path) -> Path:
    return Path(shutil.copytree(files, t.cwd / "events"))


def tutti_run(cwd: Path, *args: Any, code: int = 0) -> str:
    done = subprocess.run([str(binary()), *map(str, args)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + (done.stderr if code else "")


def worker_pid(t: Tutti) -> int:
    return until(lambda: [w["pid"] for w in t.get("/v1/workers").json["workers"] if w["consuming"]], "a query worker waits for work")[0]


def tasks(t: Tutti, kind: str = "query_part") -> List[Dict[str, Any]]:
    return t.get("/v1/tasks", params={"kind": kind}).json["tasks"]


class Asked:
    """A query whose worker stands still, so that it can be killed with the query in hand."""

    def __init__(self, t: Tutti) -> None:
        self.t = t
        self.pid = worker_pid(t)
        os.kill(self.pid, signal.SIGSTOP)
        self.answers: List[Answer] = []
        self.thread = threading.Thread(target=lambda: self.answers.append(ask(t)))
        self.thread.start()
        until(lambda: any(task["state"] == "started" for task in tasks(t)), "the worker has the query")

    def answer(self) -> Answer:
        self.thread.join(60)
        assert self.answers, "no answer came"
        return self.answers[0]


# ---- workers that die, clients that leave, time that is over ----


def test_a_worker_that_dies_takes_no_query_with_it(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1)
    register(t, place(t, files))
    expected = ask(t).json
    asked = Asked(t)
    os.kill(asked.pid, signal.SIGKILL)
    answer = asked.answer()
    assert answer.status == 200 and answer.json["funnel"] == expected["funnel"] and answer.json["query"] == expected["query"]


def test_a_part_that_kills_its_workers_fails_the_query(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1, env={"TUTTI_QUERY_MAX_ATTEMPTS": "1"})
    register(t, place(t, files))
    asked = Asked(t)
    os.kill(asked.pid, signal.SIGKILL)
    answer = asked.answer()
    assert answer.status == 500 and answer.json["success"] is False and "query" not in answer.json
    assert answer.json["errorMessage"].startswith("No more retries for task(s): [0], failing. Task errors: [") and "Killed" in answer.json["errorMessage"]
    assert ask(t).status == 200


def test_a_client_that_leaves_is_not_worked_for(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1)
    register(t, place(t, files))
    for path in ("/datasets/events/query", "/datasets/events/query?stream=true"):
        pid = worker_pid(t)
        os.kill(pid, signal.SIGSTOP)
        before = len(tasks(t))
        with socket.create_connection(("127.0.0.1", t.port)) as client:
            client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}" % path.encode())
            until(lambda: len(tasks(t)) > before, "the query is handed out")
        until(lambda: tasks(t)[0]["state"] == "canceled", "it is canceled")
        os.kill(pid, signal.SIGCONT)
        assert ask(t).status == 200


def test_time_that_is_over(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1, env={"TUTTI_QUERY_TIMEOUT": "2s", "TUTTI_QUERY_ERROR_DETAILS": "true"})
    register(t, place(t, files))
    asked = Asked(t)
    answer = asked.answer()
    assert answer.status == 504 and answer.json["errorMessage"].startswith("Query timed out after 2.00 seconds")
    os.kill(asked.pid, signal.SIGCONT)


def test_a_server_that_goes_down_does_not_wait_for_queries(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1, args=["--grace", "5s"])
    register(t, place(t, files))
    asked = Asked(t)
    os.kill(asked.pid, signal.SIGCONT)
    assert t.stop() == 0
    asked.thread.join(60)


# ---- files that lie ----


def test_hostile_files_take_no_server_down(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1, env={"TUTTI_QUERY_ERROR_DETAILS": "false"})
    directory, server = place(t, files), t.server_pid
    (t.cwd / "bomb").mkdir()
    parquet_bomb.write(t.cwd / "bomb" / "petabytes.parquet", 290)
    answer = register(t, t.cwd / "bomb", groupIdColumn="user", timestampColumn="ts")
    assert answer.status == 422 and answer.json["success"] is False and answer.json["errorMessage"] == "Error"
    rng = np.random.default_rng(7)
    whole = (files / "part-1.parquet").read_bytes()
    for _ in range(20):
        broken = bytearray(whole)
        for at in rng.integers(0, len(broken), 30):
            broken[at] = rng.integers(0, 256)
        (directory / "part-1.parquet").write_bytes(bytes(broken[: len(broken) - int(rng.integers(0, 3))]))
        assert register(t, directory, validationMode="SINGLE").status == 200
        assert ask(t).status in (200, 422, 500)
    assert t.server_pid == server
    shutil.copy(files / "part-1.parquet", directory / "part-1.parquet")
    register(t, directory)
    assert ask(t).json["query"] == {"matchingGroups": 800, "matchingGroupRows": 4000}


# ---- prepared parts ----


def test_prepared_parts(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=2, env={"TUTTI_QUERY_PREPARE_AFTER": "3"})
    directory = place(t, files)
    register(t, directory)
    first = ask(t, explain="true").json
    assert first["stats"]["engine"]["preparedParts"] == 0 and first["stats"]["engine"]["parts"] == PARTS
    assert "engine" not in ask(t).json["stats"]
    ask(t)
    until(lambda: ask(t, explain="true").json["stats"]["engine"]["preparedParts"] == PARTS, "parts that are asked often are prepared by themselves")
    again = ask(t, explain="true").json
    assert again["funnel"] == first["funnel"] and again["query"] == first["query"]
    (directory / "part-3.parquet").unlink()
    dataset_files.frame(5).to_parquet(directory / "part-3.parquet")
    register(t, directory)
    changed = ask(t, explain="true").json
    assert changed["stats"]["engine"]["preparedParts"] == PARTS - 1 and changed["query"]["matchingGroups"] == 800
    made = t.post("/v1/datasets/events/prepare").json["prepared"]
    assert (made["parts"], made["made"], made["rows"]) == (PARTS, 1, 1000) and made["bytes"] > 0
    assert ask(t, explain="true").json["stats"]["engine"]["preparedParts"] == PARTS
    assert register(t, directory, name="other", prepare=True, timestampColumn="float_64_ts").json["prepared"]["made"] == PARTS
    assert t.post("/v1/datasets/nowhere/prepare").status == 404
    t.stop()
    shown = tutti_run(t.cwd, "query", "events", json.dumps(FUNNEL), "--explain", "--data", t.data)
    assert "parts 4 (4 prepared)" in shown and "scan " in shown
    assert "0 of 4 parts prepared" in tutti_run(t.cwd, "dataset", "prepare", "events", "--data", t.data)


def test_metrics(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1)
    register(t, place(t, files), name='ev"il')
    t.post("/datasets/ev%22il/query", {})
    text = t.get("/metrics").body.decode()
    labels = 'success="True",dataset="ev\\"il",job_type="query"'
    assert 'scanned_rows_sum{component="worker",%s,worker_startup="warm",load_from="source",part_select_method="set_by_invoker"} 4000\n' % labels in text
    assert 'scanned_rows_bucket{component="worker",%s,worker_startup="warm",load_from="source",part_select_method="set_by_invoker",le="1000.0"} 4\n' % labels in text
    assert 'invoker_total_seconds_count{component="invoker",%s} 1\n' % labels in text
    assert 'invoker_total_seconds_count{component="invoker",success="True",dataset="ev\\"il",job_type="register"} 1\n' in text


# ---- types that are given ----


def test_types_that_are_given(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1)
    directory = place(t, files)
    given = {"int_64_ts": "datetime[ms]", "int_u32": "float", "str_category_few": "string", "str_userid": "category"}
    assert register(t, directory, columns=given).status == 200
    schema = t.get("/datasets/events/schema?full=true").json["columns"]
    assert [schema[c]["coltype"] for c in given] == ["DATETIME", "FLOAT", "STRING", "STRING"]
    assert [schema[c]["colattrs"]["categorical"] for c in ("str_category_few", "str_userid")] == [False, True]
    frame = pd.concat([dataset_files.frame(i) for i in range(PARTS)])
    limit = pd.Timestamp("2021-01-01T00:00:15Z").value // 10 ** 6
    answer = ask(t, {"query": {"conditions": [{"filter": ["int_64_ts", ">=", "2021-01-01T00:00:15"]}, {"filter": ["int_u32", ">", 98.5]}]}})
    late = set(frame[frame.int_64_ts >= limit].int_64_userid) & set(frame[frame.int_u32 > 98.5].int_64_userid)
    assert answer.json["query"]["matchingGroups"] == len(late)
    for columns, text in (({"str_userid": "int"}, "column str_userid cannot be given the type int: it is of type STRING in the file"), ({"nothing": "int"}, "Column nothing not found")):
        assert text in register(t, directory, columns=columns).json["errorMessage"]
    assert register(t, directory, columns={"bool": "boolean"}).status == 400


def test_times_of_parts_that_are_no_samples(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1)
    register(t, place(t, files), validationMode="SINGLE")
    short = t.get("/datasets/events/schema").json
    assert (short["minTimestamp"], short["maxTimestamp"]) == (dataset_files.BASE, dataset_files.BASE + PARTS * 10000)


# ---- check ----


def test_check(tutti: Callable[..., Tutti], files: Path, tmp_path: Path) -> None:
    t = tutti(query_workers=1)
    directory = place(t, files)
    register(t, directory)
    assert t.post("/v1/datasets/events/check").json["advice"] == []
    frame = dataset_files.frame(0)
    frame["nested"] = [[[1]]] * len(frame)
    for i in range(60):
        part = frame if i < 2 else frame.assign(int_64_userid=frame.int_64_userid + 1000 * i)
        part.to_parquet(directory / ("part-%d.parquet" % i), use_dictionary=["str_and_none"])
    assert register(t, directory, validateUniques=False).status == 200
    found = t.post("/v1/datasets/events/check").json["advice"]
    advice = {one["about"]: (one["level"], one["text"]) for one in found}
    assert sorted(one["text"].split()[0] for one in found if one["about"] == "categories") == ["str_category_few", "str_category_many", "str_category_userid"]
    assert advice.pop("ids") == ("fault", "200 groups lie in more than one file: queries take them for several: write the files anew with `tutti dataset repartition`")
    assert advice.pop("nesting") == ("advice", "nested: lists in lists, which queries do not know: flatten them before they are written")
    assert advice["files"][0] == "advice" and advice.pop("files")[1].startswith("60 files of ")
    assert advice["categories"][0] == "advice" and advice.pop("categories")[1].endswith(" has few values, but is not stored as a dictionary in 60 of 60 files: write it as a category (pandas: astype(\"category\"))")
    assert advice == {}
    frame.drop(columns="bool").to_parquet(directory / "part-7.parquet")
    register(t, directory, validateUniques=False, validationMode="SINGLE")
    shown = tutti_run(t.cwd, "dataset", "check", "events", "--data", t.data, code=3)
    assert "fault: `bool` is not in part-7.parquet: " in shown and "fault: 200 groups" in shown


# ---- repartition ----


def rows_of(directory: Path) -> Any:
    return duckdb.sql("select * from read_parquet('%s/*.parquet')" % directory)


def test_repartition_keeps_every_row(tmp_path: Path, files: Path) -> None:
    rng = np.random.default_rng(3)
    source = tmp_path / "days"
    source.mkdir()
    whole = pd.concat([dataset_files.frame(i) for i in range(PARTS)]).sample(frac=1, random_state=1)
    whole["when"] = pd.to_datetime(whole.int_64_ts, unit="ms").dt.tz_localize("UTC")
    whole["tags"] = [list("ab"[: int(n)]) for n in rng.integers(0, 3, len(whole))]
    for day in range(5):
        whole.iloc[day::5].to_parquet(source / ("day-%d.parquet" % day), row_group_size=300)
    for extra in (["--parts", "7"], ["--target-size", "20kB", "--memory", "2MiB"], ["--parts", "3", "--threads", "1", "--codec", "zstd"]):
        target = tmp_path / ("by-user-%d" % len(list(tmp_path.iterdir())))
        said = json.loads(tutti_run(tmp_path, "dataset", "repartition", source, target, "--group", "int_64_userid", "--json", *extra))
        assert said["rows"] == len(whole) and said["parts"] == len(list(target.iterdir())) and said["inputs"] == 5
        assert said["passes"] > 1 or "2MiB" not in extra
        assert duckdb.sql("select max(n) from (select int_64_userid, count(distinct filename) n from read_parquet('%s/*.parquet', filename=true) group by 1)" % target).fetchall() == [(1,)]
        before, after = rows_of(source).df(), rows_of(target).df()
        key = ["int_64_userid", "float_64_ts"]
        pd.testing.assert_frame_equal(before.sort_values(key).reset_index(drop=True), after.sort_values(key).reset_index(drop=True))
        one = pd.read_parquet(next(target.iterdir()))
        assert one.dtypes.astype(str).drop("float_category").to_dict() == whole.dtypes.astype(str).drop("float_category").to_dict()
        assert not list(tmp_path.glob(".*"))


def test_repartition_refuses(tmp_path: Path, files: Path) -> None:
    source = shutil.copytree(files, tmp_path / "in")
    (tmp_path / "there").mkdir()
    refusals = ((["in", "there", "-g", "int_64_userid"], 5, "there is there already"), (["in", "new", "-g", "nothing"], 2, "Column nothing not found"),
                (["in", "new", "-g", "str_and_none"], 2, "Some values in column str_and_none are null"), (["in", "new", "-g", "bool"], 2, "must be either integer or string"),
                (["in", "new", "-g", "int_64_userid", "--codec", "rar"], 2, "--codec rar"), (["nowhere", "new", "-g", "a"], 4, "nowhere is neither"),
                (["in", "no/where/new", "-g", "int_64_userid"], 4, "no/where"))
    for args, code, text in refusals:
        assert text in tutti_run(tmp_path, "dataset", "repartition", *args, "--data", tmp_path / "d", code=code)
    dataset_files.frame(0).drop(columns="bool").to_parquet(Path(source) / "part-0.parquet")
    assert "Schemas differ!" in tutti_run(tmp_path, "dataset", "repartition", "in", "new", "-g", "int_64_userid", code=2)
    (Path(source) / "part-0.parquet").write_bytes(b"PAR1 this is none PAR1")
    tutti_run(tmp_path, "dataset", "repartition", "in", "new", "-g", "int_64_userid", code=1)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*"))


def test_a_repartition_that_is_killed_leaves_nothing_behind(tmp_path: Path, is_long: bool) -> None:
    (tmp_path / "in").mkdir()
    n = 400_000
    frame = pd.DataFrame({"user": np.arange(n) % 5000, "ts": np.arange(n), "text": ["value %d" % i for i in range(n)]})
    frame.to_parquet(tmp_path / "in" / "a.parquet", row_group_size=20000)
    command = [str(binary()), "dataset", "repartition", "in", "out", "--group", "user", "--parts", "20"]
    for _ in range(10 if is_long else 2):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: process.poll() is not None or len(list(tmp_path.glob(".out.tutti-repartition/*"))) > 2, "files are written")
        process.kill()
        process.wait()
        assert not (tmp_path / "out").exists() or process.returncode == 0
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert len(rows_of(tmp_path / "out").df()) == n and [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_dataset_is_repartitioned_by_name(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1)
    directory = place(t, files)
    register(t, directory)
    register(t, directory, name="shop")
    before = ask(t).json
    assert "4,000 rows of 4 files are now in 2 files" in tutti_run(t.cwd, "dataset", "repartition", "shop", "two", "--parts", "2", "--data", t.data)
    assert register(t, t.cwd / "two").status == 200
    after = ask(t).json
    assert after["funnel"] == before["funnel"] and after["query"] == before["query"]


def test_health_tells_workers_apart(tutti: Callable[..., Tutti]) -> None:
    """Those of queries take no tasks: where there are only they, tasks that wait are consumed by nobody."""
    t = tutti(query_workers=1)
    until(lambda: t.get("/health").json["query_workers"] == {"attached": 1, "consuming": 1, "expected": 1}, "a query worker")
    health = t.get("/health").json
    assert {k: health["workers"][k] for k in ("attached", "consuming", "expected")} == {"attached": 0, "consuming": 0, "expected": 0} and health["queue"]["no_workers"] is False
    assert t.post("/v1/tasks", json.dumps({"kind": "probe", "payload": ""}).encode()).status in (200, 201)
    until(lambda: t.get("/health").json["queue"]["no_workers"], "a task waits and nobody takes it")
    metrics = t.get("/metrics").body.decode()
    assert "\ntutti_workers_consuming 0\n" in metrics and "\ntutti_query_workers_consuming 1\n" in metrics


def test_a_small_query_does_not_wait_for_a_large_one(tutti: Callable[..., Tutti], files: Path) -> None:
    t = tutti(query_workers=1)
    large, small = t.cwd / "large", place(t, files)
    large.mkdir()
    part = next(small.iterdir()).read_bytes()
    for i in range(600):  # ten tasks
        (large / ("%04d.parquet" % i)).write_bytes(part)
    for name, directory in (("large", large), ("small", small)):
        body = {"name": name, "basepath": str(directory), "groupIdColumn": "int_64_userid", "timestampColumn": "int_64_ts", "validateUniques": False, "validationMode": "SINGLE"}
        assert t.post("/datasets/register", json.dumps(body).encode()).status == 200
    pid, threads = worker_pid(t), []
    os.kill(pid, signal.SIGSTOP)
    for name, waiting in (("large", 10), ("small", 11)):
        threads.append(threading.Thread(target=lambda name=name: t.post("/datasets/%s/query" % name, b"{}")))
        threads[-1].start()
        until(lambda: len([task for task in tasks(t) if task["kind"] == "query_part"]) == waiting, "the tasks of the %s one" % name)
    os.kill(pid, signal.SIGCONT)
    for thread in threads:
        thread.join(60)
    order = [task["program"] for task in sorted((task for task in tasks(t) if task["kind"] == "query_part"), key=lambda task: task["started"])]
    assert len(order) == 11 and order.index("small") < 8, order


@pytest.mark.parametrize("times", ["int64", "float64", "datetime64[us]"])
def test_times_to_convert_over_parts_are_those_of_the_files(tutti: Callable[..., Tutti], times: str) -> None:
    """They travel packed, whole numbers otherwise than floats: nothing is lost."""
    t, rng = tutti(query_workers=1), np.random.default_rng(5)
    (t.cwd / "shop").mkdir()
    for part in range(3):
        users = np.repeat(np.arange(part * 3000, part * 3000 + 3000), 4)
        ts = np.sort(rng.integers(-40, 2_000, (3000, 4)) if part else rng.integers(0, 2**50, (3000, 4)), axis=1).ravel()
        frame = pd.DataFrame({"user": users, "ts": ts + rng.random(len(ts)) if times == "float64" else ts.astype(times), "event": rng.choice(["view", "cart", "buy"], len(users))})
        frame.to_parquet(t.cwd / "shop" / ("p%d.parquet" % part))
    query = json.dumps({"funnel": {"sequence": [{"filter": ["event", "==", event]} for event in ("view", "cart", "buy")], "timeToConvert": {"quantiles": [0.01, 0.5, 0.77]}}})
    tutti_run(t.cwd, "dataset", "register", "shop", t.cwd / "shop", "--group", "user", "--timestamp", "ts", "--data", t.data)
    direct = json.loads(tutti_run(t.cwd, "query", *sorted((t.cwd / "shop").iterdir()), "-g", "user", "-t", "ts", "-e", query, "--json"))
    served = json.loads(tutti_run(t.cwd, "query", "shop", query, "--json", "--data", t.data))
    assert served["funnel"] == direct["funnel"] and served["funnel"]["sequence"][2]["timeToConvert"]["count"] > 100


def test_a_result_that_is_too_large_says_so(tutti: Callable[..., Tutti]) -> None:
    t = tutti(query_workers=1)
    (t.cwd / "wide").mkdir()
    names = np.char.add("n" * 700, np.arange(20_000).astype(str))
    pd.DataFrame({"user": np.arange(20_000), "ts": 1, "name": names}).to_parquet(t.cwd / "wide" / "p.parquet")
    tutti_run(t.cwd, "dataset", "register", "wide", t.cwd / "wide", "--group", "user", "--timestamp", "ts", "--data", t.data)
    said = tutti_run(t.cwd, "query", "wide", '{"query":{"aggregations":[{"column":"name","type":"countPerValue"}]}}', "--data", t.data, code=1)
    assert "the result of a part has" in said and "tutti dataset repartition" in said
    assert "20,000 groups match" in tutti_run(t.cwd, "query", "wide", "--empty", "--data", t.data)
