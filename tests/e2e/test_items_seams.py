"""Where parts of the items meet: order per key, several answers, once more, journals, tables, and a server that is killed in between."""
import json
import sys

import pytest

from redis_process import in_step
from sql_servers import Sqlite
from test_items_commands import SINK
from test_items_handout import ids, post
from test_items_sinks import job, journals, lines, send, start, unpacked, wait_complete
from tutti_process import until
from wire import Wire, read_jsonl, write_jsonl


@pytest.fixture
def server(tutti):
    return tutti()


@pytest.fixture
def wire(server):
    return Wire(server.url)


# ---- order per key ----

def keyed(wire, server, values, **members):
    write_jsonl(server.cwd / "in.jsonl", values)
    return wire.create("j", "in.jsonl", "j.jsonl", key="key", **members)


def give(wire, *numbers, **params):
    return wire.results("j", [[i, {"id": i}] for i in numbers], **params)


@pytest.mark.parametrize("how", ["redo", "retry"])
def test_what_was_over_before_a_restart_has_its_key_when_it_is_opened_again(wire, server, how):
    keyed(wire, server, [{"n": i, "key": "a"} for i in range(3)])
    first = wire.claim("j", 9)
    if how == "redo":
        give(wire, 0)
    else:
        post(wire, "/v1/jobs/j/fail", [{"id": 0, "reason": "no", "final": True}], lease=first["lease"])
    server.kill_server()
    assert ids(wire.claim("j", 9)) == [1]
    post(wire, "/v1/jobs/j/" + how, {"ids": [0]})
    assert wire.claim("j", 9)["items"] == [], "1 has the same key and is in hand"
    give(wire, 1)
    assert ids(wire.claim("j", 9)) == [0]


def test_what_is_opened_again_before_all_that_is_known_is_served(wire, server):
    keyed(wire, server, [{"n": i, "key": "a", "fill": "x" * 1200000} for i in range(20)])
    first = wire.claim("j", 9)
    assert ids(first) == [0]
    post(wire, "/v1/jobs/j/fail", [{"id": 0, "reason": "no", "final": True}], lease=first["lease"])
    second = wire.claim("j", 9, wait="20s")
    assert ids(second) == [1]
    post(wire, "/v1/jobs/j/release", lease=second["lease"])
    post(wire, "/v1/jobs/j/retry", {"ids": [0]})
    for i in range(20):
        assert ids(wire.claim("j", 9, wait="20s")) == [i]
        give(wire, i)
    assert wire.job("j")["status"] == "COMPLETE"


# ---- tables ----

def with_table(tutti, tmp_path, create):
    db = Sqlite(tmp_path / "rows.db")
    db.ask(create)
    t = tutti(start=False)
    (t.cwd / "tutti.ini").write_text(db.declare())
    return db, t.start()


def test_a_job_with_rejects_whose_output_was_cleaned_opens_again(tutti, tmp_path):
    db, t = with_table(tutti, tmp_path, "CREATE TABLE r (id INTEGER PRIMARY KEY)")
    lines(t.cwd / "in.jsonl", 3)
    start(t, output="sql:db?table=r")
    send(t, [[0, {"id": 0}], [1, {"id": 0}]])
    until(lambda: job(t)["errors"] == 1, "the second is refused")
    assert t.post("/v1/jobs/j/clean?output=true").status == 200
    t.kill_server()
    assert job(t)["status"] == "IN_PROGRESS" and job(t)["sink"] == "table", job(t)
    send(t, [[2, {"id": 0}]])
    until(lambda: job(t)["errors"] == 2, "the third is refused")
    rejects = read_jsonl(t.data / "journal" / "j.rejects.jsonl")
    assert [r["id"] for r in rejects] == [1, 2]


def test_an_answer_that_the_table_refuses_is_the_one_that_is_missing(tutti, tmp_path):
    db, t = with_table(tutti, tmp_path, "CREATE TABLE r (id INTEGER, worker TEXT CHECK (worker <> 'bob'), answer INTEGER, value TEXT)")
    lines(t.cwd / "in.jsonl", 2)
    start(t, output="sql:db?table=r", overlap=2)
    for worker in ("ann", "bob"):
        assert t.post("/v1/jobs/j/results?worker=" + worker, [[0, {"by": worker}]]).status == 200
    until(lambda: job(t)["errors"] == 1, "bob's answer is refused")
    assert t.post("/v1/jobs/j/retry", {"ids": [0]}).json["retried"] == 1

    def claim(by):
        return ids(t.post("/v1/jobs/j/claim?n=9&worker=" + by).json)

    assert claim("ann") == [1], "ann has answered 0"
    assert claim("cid") == [0, 1]


def test_what_a_command_has_is_not_sent_again_when_its_section_was_missing(tutti):
    t = tutti(start=False)
    config = "[sink.count]\ncommand = %s sink.py\n" % sys.executable
    (t.cwd / "sink.py").write_text(SINK)
    (t.cwd / "tutti.ini").write_text(config)
    t.start()
    lines(t.cwd / "in.jsonl", 4)
    start(t, output="sink:count")
    send(t, [[i, {"id": i}] for i in range(3)])
    until(lambda: job(t)["delivered_bytes"] == job(t)["journal_bytes"], "the first ones are there")
    t.stop()
    (t.cwd / "tutti.ini").write_text("")
    t.start()
    assert job(t)["status"] == "BROKEN"
    assert t.post("/v1/jobs/j/pause").status == 200 and t.post("/v1/jobs/j/resume").status == 200
    t.stop()
    (t.cwd / "tutti.ini").write_text(config)
    t.start()
    send(t, [[3, {"id": 3}]])
    wait_complete(t)
    assert [row["id"] for row in read_jsonl(t.cwd / "sunk.jsonl")] == [0, 1, 2, 3]


# ---- journals that are gone ----

@pytest.mark.parametrize("output", ["j.jsonl.gz", "j.parquet"])
def test_a_result_that_comes_again_after_the_end_changes_nothing(tutti, output):
    t = tutti()
    lines(t.cwd / "in.jsonl", 5)
    start(t, output=output)
    send(t, [[i, {"id": i}] for i in range(5)])
    wait_complete(t)
    before = (t.cwd / output).read_bytes()
    assert send(t, [[4, {"id": 4}]])["duplicate"] == 1
    assert job(t)["status"] == "COMPLETE" and job(t)["journal"] is None and journals(t) == []
    assert (t.cwd / output).read_bytes() == before


def test_a_complete_job_stays_complete_when_its_output_is_cleaned(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 3)
    start(t, output="j.jsonl.gz")
    send(t, [[i, {"id": i}] for i in range(3)])
    wait_complete(t)
    assert t.post("/v1/jobs/j/clean?output=true").status == 200
    for _ in range(2):
        assert (job(t)["status"], job(t)["output_state"]) == ("COMPLETE", "deleted")
        t.kill_server()


def test_more_results_of_a_packed_output_in_input_order(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 5)
    start(t, output="j.jsonl.gz", order="input")
    send(t, [[i, {"id": i}] for i in (4, 2, 0, 1, 3)])
    wait_complete(t)
    assert t.post("/v1/jobs/j/redo", {"ids": [3, 1]}).json["redone"] == 2
    send(t, [[3, {"id": 3, "again": True}]])
    t.kill_server()
    send(t, [[1, {"id": 1, "again": True}]])
    t.kill_server()
    wait_complete(t)
    rows = [json.loads(line) for line in unpacked(t.cwd / "j.jsonl.gz").splitlines()]
    assert [r["id"] for r in rows] == [0, 1, 2, 3, 4, 1, 3] and journals(t) == []


def test_a_parquet_file_that_is_there_takes_no_more(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 3)
    start(t, output="j.parquet")
    send(t, [[i, {"id": i}] for i in range(2)])
    assert t.post("/v1/jobs/j/redo", {"ids": [0]}).json["redone"] == 1, "as long as there is a journal"
    send(t, [[0, {"id": 0}], [2, {"id": 2}]])
    wait_complete(t)
    refused = t.post("/v1/jobs/j/redo", {"all": True})
    assert refused.status == 409 and "start the job anew" in refused.json["detail"]
    assert job(t)["status"] == "COMPLETE" and job(t)["redone"] == 1
    assert t.post("/v1/jobs/j/clean?output=true").status == 200
    assert t.post("/v1/jobs/j/redo", {"all": True}).json["redone"] == 3
    send(t, [[i, {"id": i}] for i in range(3)])
    wait_complete(t)


def test_a_deletion_in_redis_does_not_open_a_parquet_file(tutti, redis):
    store = redis()
    t = tutti(args=["--redis", store.url])
    lines(t.cwd / "in.jsonl", 3)
    in_step(t)
    start(t, output="j.parquet")
    send(t, [[i, {"id": i}] for i in range(3)])
    wait_complete(t)
    in_step(t)
    store.call("DEL", "j:1")
    assert t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "j.parquet", "cont": True}).json["redone"] == 0
    in_step(t)
    assert job(t)["status"] == "COMPLETE" and store.states("j")[1] == "RECEIVED"


@pytest.mark.parametrize("is_killed", [False, True])
def test_columns_stay_where_they_are_when_more_is_packed(tutti, is_killed):
    t = tutti()
    lines(t.cwd / "in.jsonl", 2)
    start(t, output="j.csv.gz")
    send(t, [[i, {"a": i, "b": "b"}] for i in range(2)])
    wait_complete(t)
    if is_killed:
        t.kill_server()
    assert t.post("/v1/jobs/j/redo", {"ids": [1]}).json["redone"] == 1
    if is_killed:
        t.kill_server()
    send(t, [[1, {"b": "again", "a": 1}]])
    wait_complete(t)
    assert unpacked(t.cwd / "j.csv.gz").decode().split() == ["a,b", "0,b", "1,b", "1,again"]


# ---- rejects of the job before ----

def test_a_job_with_rejects_starts_anew_with_another_table(tutti, tmp_path):
    db, t = with_table(tutti, tmp_path, "CREATE TABLE r (id INTEGER PRIMARY KEY)")
    lines(t.cwd / "in.jsonl", 2)
    start(t, output="sql:db?table=r")
    send(t, [[0, {"id": 0}], [1, {"id": 0}]])
    until(lambda: job(t)["errors"] == 1 and job(t)["output_state"] == "there", "the second is refused")
    start(t, output="sql:db?table=r&mode=upsert", clean_start=True)
    send(t, [[0, {"id": 0}], [1, {"id": 0}]])
    assert wait_complete(t)["received"] == 2
    assert [p for p in journals(t) if "rejects" in p] == ["j.rejects.jsonl", "j.rejects.jsonl.1"]


def test_a_job_with_rejects_starts_anew_after_a_clean(tutti):
    t = tutti()
    (t.cwd / "in.jsonl").write_text('{"n":0}\nno json\n')
    start(t, output="j.jsonl")
    t.post("/v1/jobs/j/claim?n=9")
    until(lambda: (t.cwd / "j.jsonl.rejects.jsonl").exists(), "the second is rejected")
    assert t.post("/v1/jobs/j/clean?output=true").status == 200
    start(t, output="j.jsonl", clean_start=True)
    send(t, [[0, {"id": 0}]])
    assert read_jsonl(t.cwd / "j.jsonl") == [{"id": 0}]
