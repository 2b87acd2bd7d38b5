"""Taking over a Redis that the older service filled, in exactly its keys and values."""
import json
import subprocess

import pytest

from redis_process import in_step
from tutti_process import binary
from wire import Wire, numbered, read_jsonl, write_jsonl

COUNT = 30


def put_job(store, name, states, *, token=None, blank="", mode="read-write", reader="JsonlReader", writer="JsonlWriter", **metadata):
    """As the older service leaves it: Python's JSON, one key for each item."""
    store.call("SET", "JOB:" + name, json.dumps({"metadata": metadata, "reader_name": reader, "writer_name": writer, "mode": mode}))
    for id, state in states.items():
        store.call("SET", f"{name}:{blank}{id}", state)
    if token:
        store.call("SET", "TOKEN:" + name, token)


def some_states():
    return {**{i: "RECEIVED" for i in range(10)}, 10: "ERROR", **{i: "SERVED" for i in range(11, 15)}}


@pytest.fixture
def filled(tutti, redis):
    """A server without a mirror, a Redis with jobs, and the files of the older service."""
    store, server = redis(), tutti()
    write_jsonl(server.cwd / "in.jsonl", numbered(COUNT))
    write_jsonl(server.cwd / "out.jsonl", numbered(10))
    put_job(store, "j", some_states(), input_file_path="./in.jsonl", output_file_path="out.jsonl", overwrite=True)
    return server, store


def adopt(server, *args):
    return subprocess.run([binary(), "job", "adopt", "--json", *args, "--data", server.data], capture_output=True, text=True, timeout=60)


def rows(run):
    return {row["name"]: row for row in json.loads(run.stdout)["jobs"]}


def test_a_job_goes_on_where_it_was(filled):
    server, store = filled
    before = store.all()
    run = adopt(server, "--redis", store.url, "j")
    assert run.returncode == 0, run.stderr
    assert rows(run)["j"] == {"name": "j", "status": "adopted", "reason": "", "received": 10, "errors": 1, "served": 4, "unknown": 0, "protected": False}
    wire = Wire(server.url)
    report = wire.report("j")
    assert (report["received"], report["errors"], report["served"], report["status"]) == (10, 1, 0, "IN_PROGRESS")
    assert [e["id"] for e in wire.errors("j")] == [10]
    wire.give("j", [[12, {"n": 12}]])  # by a client of the older service that still had it
    assert wire.drain("j") == [11, *range(13, COUNT)]
    assert sorted(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == [i for i in range(COUNT) if i != 10]
    assert store.all() == before, "without a mirror Redis is only read"


def test_it_lasts(filled):
    server, store = filled
    adopt(server, "--redis", store.url)
    server.kill()
    server.start()
    wire = Wire(server.url)
    assert wire.report("j")["received"] == 10
    assert wire.drain("j") == list(range(11, COUNT))


def test_a_dry_run_changes_nothing(filled):
    server, store = filled
    run = adopt(server, "--redis", store.url, "--dry-run")
    assert rows(run)["j"]["status"] == "ready" and rows(run)["j"]["received"] == 10
    assert Wire(server.url).report("j") == {}


def test_tokens_plain_and_hashed(filled):
    server, store = filled
    put_job(store, "plain", {}, token="s3cret-one", input_file_path="in.jsonl", output_file_path="p.jsonl")
    assert rows(adopt(server, "--redis", store.url, "plain"))["plain"]["protected"]
    wire = Wire(server.url)
    assert wire.post("/serve", job_name="plain", batch_size=1).status == 403
    assert wire.post("/serve", job_name="plain", batch_size=1, token="s3cret-one").status == 200


@pytest.mark.parametrize("name", ["a:b", "größer", "two words", "a: b"])
def test_names_and_the_blank_after_the_colon(filled, name):
    server, store = filled
    put_job(store, name, some_states(), blank=" ", input_file_path="in.jsonl", output_file_path="out.jsonl")
    store.call("SET", f"{name}:11", "RECEIVED")
    row = rows(adopt(server, "--redis", store.url, name))[name]
    assert (row["status"], row["received"], row["served"]) == ("adopted", 11, 3)


def test_other_modes_and_csv(filled):
    server, store = filled
    (server.cwd / "in.csv").write_text("n,text\n" + "".join(f"{i},row {i}\n" for i in range(COUNT)))
    (server.cwd / "out.csv").write_text("0,row 0\n")
    (server.cwd / "w.jsonl").write_text('{"n":7}\n')
    put_job(store, "table", {0: "RECEIVED"}, reader="CsvReader", writer="CsvWriter", input_file_path="in.csv", output_file_path="out.csv")
    put_job(store, "reading", {i: "SERVED" for i in range(5)}, mode="read", writer="", input_file_path="in.jsonl")
    put_job(store, "writing", {7: "RECEIVED"}, mode="write", reader="", output_file_path="w.jsonl")
    run = adopt(server, "--redis", store.url, "table", "reading", "writing")
    assert run.returncode == 0, run.stdout
    wire = Wire(server.url)
    assert wire.drain("table") == list(range(1, COUNT))
    assert (server.cwd / "out.csv").read_text().splitlines() == [f"{i},row {i}" for i in range(COUNT)]
    assert [i for i, _ in wire.serve("reading", 100)] == list(range(5, COUNT))
    wire.give("writing", [[7, {"n": 7}], [8, {"n": 8}]])
    assert [row["n"] for row in read_jsonl(server.cwd / "w.jsonl")] == [7, 8]


def test_what_cannot_be_taken_over_is_said(filled):
    server, store = filled
    store.call("SET", "JOB:done", "COMPLETE")
    store.call("SET", "JOB:odd", "{'metadata'")
    put_job(store, "noinput", {}, input_file_path="absent.jsonl", output_file_path="n.jsonl")
    put_job(store, "nooutput", {0: "RECEIVED"}, input_file_path="in.jsonl", output_file_path="lost.jsonl")
    put_job(store, "class", {}, reader="MyReader", input_file_path="in.jsonl", output_file_path="c.jsonl")
    put_job(store, "same", {}, input_file_path="in.jsonl", output_file_path="./out.jsonl")
    put_job(store, "more", {500: "RECEIVED"}, input_file_path="in.jsonl", output_file_path="m.jsonl")
    (server.cwd / "m.jsonl").write_text("")
    run = adopt(server, "--redis", store.url)
    assert run.returncode == 3
    found = rows(run)
    reasons = {name: row["reason"] for name, row in found.items() if row["status"] == "skipped"}
    assert set(reasons) == {"done", "odd", "noinput", "nooutput", "class", "same"}
    assert "complete" in reasons["done"] and "record" in reasons["odd"] and "absent.jsonl" in reasons["noinput"]
    assert "output is not there" in reasons["nooutput"] and "MyReader" in reasons["class"] and "Output path not allowed" in reasons["same"]
    assert found["more"]["unknown"] == 1
    again = rows(adopt(server, "--redis", store.url, "j", "missing"))
    assert "already" in again["j"]["reason"] and "no JOB:" in again["missing"]["reason"]


def test_the_servers_own_redis_becomes_the_mirror(tutti, redis):
    store = redis()
    server = tutti(args=["--redis", store.url])
    write_jsonl(server.cwd / "in.jsonl", numbered(COUNT))
    write_jsonl(server.cwd / "out.jsonl", numbered(10))
    put_job(store, "j", some_states(), token="s3cret-one", input_file_path="in.jsonl", output_file_path="out.jsonl")
    in_step(server)
    assert rows(adopt(server))["j"]["status"] == "adopted"
    assert in_step(server)["redis"]["deletions_honoured"] == 0
    wire = Wire(server.url)
    assert b"s3cret" not in store.call("GET", "TOKEN:j")
    ids = []
    while items := wire.serve("j", 100, token="s3cret-one"):
        ids += [i for i, _ in items]
        wire.give("j", items, token="s3cret-one")
    assert ids == list(range(11, COUNT))
    in_step(server)
    assert store.states("j") == {i: "ERROR" if i == 10 else "RECEIVED" for i in range(COUNT)}
    assert store.call("GET", "JOB:j") == b"COMPLETE"


def test_mistakes_are_said(filled):
    server, _ = filled
    for args, why in ((["--redis", "rediss://h"], "TLS"), (["--redis", "h:1"], "redis://"), ([], "no Redis is named"), (["--redis", "redis://127.0.0.1:1"], "cannot be reached")):
        run = adopt(server, *args)
        assert run.returncode != 0 and why in run.stderr, run.stderr
    answer = Wire(server.url).post("/v1/adopt", {"redes": 1})
    assert answer.status == 400 and "redes" in answer.text
