"""The Redis mirror: the older service's keys, what deletions in Redis do, losses, and what /health says of them."""
import json
import os
import subprocess

import pytest

from redis_process import in_step
from tutti_process import binary, until
from wire import Wire, numbered, read_jsonl, write_jsonl

COUNT = 30
METADATA = {"input_file_path": "in.jsonl", "output_file_path": "out.jsonl"}


@pytest.fixture
def pair(tutti, redis):
    store = redis()
    server = tutti(args=["--redis", store.url])
    write_jsonl(server.cwd / "in.jsonl", numbered(COUNT))
    in_step(server)
    return server, store


@pytest.fixture
def wire(pair):
    return Wire(pair[0].url)


def back(items):
    return [[i, value] for i, value in items]


def test_keys_and_values_are_the_older_services(pair, wire):
    server, store = pair
    metadata = {**METADATA, "note": "größer 名前 \U0001f600 \\u00E9", "chunk_size": 7}
    wire.start("j", metadata=metadata)
    wire.give("j", back(wire.serve("j", 10))[:4])
    assert wire.post("/mark-errors", [4], job_name="j").status == 200
    in_step(server)
    record = {"metadata": metadata, "reader_name": "JsonlReader", "writer_name": "JsonlWriter", "mode": "read-write"}
    assert store.call("GET", "JOB:j").decode() == json.dumps(record)
    assert store.states("j") == {**{i: "RECEIVED" for i in range(4)}, 4: "ERROR", **{i: "SERVED" for i in range(5, 10)}}
    wire.give("j", [[i, {}] for i in range(5, 10)])
    wire.drain("j")
    in_step(server)
    assert store.call("GET", "JOB:j") == b"COMPLETE"
    assert store.states("j") == {i: "ERROR" if i == 4 else "RECEIVED" for i in range(COUNT)}


def test_other_modes(pair, wire):
    server, store = pair
    wire.start("reading", "in.jsonl", writer="", mode="read")
    wire.serve("reading", 3)
    wire.start("writing", output="w.jsonl", reader="", mode="write")
    wire.give("writing", [[7, {}], [1000000007, {}]])
    in_step(server)
    assert store.states("reading") == {0: "SERVED", 1: "SERVED", 2: "SERVED"}
    assert store.states("writing") == {7: "RECEIVED", 1000000007: "RECEIVED"}
    assert json.loads(store.call("GET", "JOB:writing"))["mode"] == "write"


def test_overlap(pair, wire):
    """Several answers per item: SERVED from the first hand-out on, RECEIVED with the last answer."""
    server, store = pair
    wire.create("j", "in.jsonl", "out.jsonl", overlap=2)
    first = wire.claim("j", 3, worker="a")
    wire.results("j", first["items"][:2], worker="a", lease=first["lease"])
    second = wire.claim("j", 1, worker="b")
    wire.results("j", second["items"], worker="b", lease=second["lease"])
    in_step(server)
    assert store.states("j") == {0: "RECEIVED", 1: "SERVED", 2: "SERVED"}
    store.call("DEL", "j:0")
    until(lambda: server.get("/health").json["redis"]["deletions_honoured"] == 1, "the deletion is honoured")
    assert [i for i, _ in wire.claim("j", 1, worker="c")["items"]] == [0]


def test_tokens_are_hashed_and_plain_ones_are_accepted_and_replaced(pair, wire):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl", token="s3cret-one")
    in_step(server)
    hashed = store.call("GET", "TOKEN:j")
    assert b"s3cret" not in hashed and len(hashed) > 64
    store.call("SET", "TOKEN:j", "s3cret-two")
    until(lambda: store.call("GET", "TOKEN:j") not in (b"s3cret-two", hashed, None), "the plain token is replaced")
    assert wire.post("/serve", job_name="j", batch_size=1, token="s3cret-one").status == 403
    assert len(wire.serve("j", 1, token="s3cret-two")) == 1
    assert "s3cret" not in server.log()
    store.call("DEL", "TOKEN:j")
    until(lambda: wire.post("/serve", job_name="j", batch_size=1).status == 200, "a deleted token opens the job")


def test_delete_clean_and_purge_take_their_keys(pair, wire):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl", token="tok-en")
    wire.start("k", "in.jsonl", "k.jsonl")
    store.call("SET", "foreign:1", "x")
    for name, token in (("j", "tok-en"), ("k", None)):
        wire.give(name, back(wire.serve(name, 5, token=token)), token=token)
        wire.serve(name, 5, token=token)
    wire.get("/clean", job_name="k", output="false")
    in_step(server)
    assert store.states("k") == {i: "RECEIVED" for i in range(5)}
    wire.get("/delete", job_name="j", token="tok-en")
    in_step(server)
    assert not [key for key in store.keys() if "j" in key.split(":") and not key.startswith("tutti:")]
    wire.get("/purge")
    in_step(server)
    assert [key for key in store.keys() if not key.startswith("tutti:epoch:")] == ["foreign:1"]


def test_a_clean_start_takes_the_old_keys(pair, wire):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.drain("j")
    wire.start("j", "in.jsonl", "out.jsonl", clean_start="true")
    wire.serve("j", 2)
    in_step(server)
    assert store.states("j") == {0: "SERVED", 1: "SERVED"}
    assert b"JsonlReader" in store.call("GET", "JOB:j")


def test_a_job_whose_record_was_deleted_can_be_started_anew(pair, wire):
    """The older service's own tests do this behind the server's back."""
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", back(wire.serve("j", 20)))
    in_step(server)
    assert len(store.keys("j:*")) == 20
    assert wire.scramble("j", "in.jsonl", "out.jsonl").detail == "Job j already exists."
    store.call("DEL", "JOB:j", *store.keys("j:*"))
    (server.cwd / "out.jsonl").unlink()
    wire.start("j", "in.jsonl", "out.jsonl")
    assert (wire.report("j")["received"], wire.report("j")["served"]) == (0, 0)
    assert wire.drain("j") == list(range(COUNT))
    assert [row["n"] for row in read_jsonl(server.cwd / "out.jsonl")] == list(range(COUNT))


def test_a_job_whose_record_alone_was_deleted_goes_on(pair, wire):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", back(wire.serve("j", 20)))
    in_step(server)
    store.call("DEL", "JOB:j")
    wire.start("j", "in.jsonl", "out.jsonl")
    assert wire.drain("j") == list(range(20, COUNT))
    in_step(server)
    assert store.call("GET", "JOB:j") == b"COMPLETE"


@pytest.mark.parametrize("moment", ["in turn", "repair", "restart"])
def test_items_whose_keys_were_deleted_are_served_again(pair, wire, moment):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", back(wire.serve("j", 10)))
    assert wire.post("/mark-errors", [10], job_name="j").status == 200
    in_step(server)
    if moment == "restart":
        server.stop()
    store.call("DEL", "j:3", "j:5", "j:10")
    if moment == "restart":
        server.start()
        wire = Wire(server.url)
    if moment == "repair":
        wire.start("j", "in.jsonl", "out.jsonl", cont="true")
        assert wire.report("j")["received"] == 8
    until(lambda: wire.report("j")["received"] == 8, "the deletions are honoured")
    assert wire.drain("j") == [3, 5, *range(10, COUNT)]
    assert sorted(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == sorted([3, 5, *range(COUNT)])
    assert in_step(server)["redis"]["deletions_honoured"] == 3


def test_what_is_missing_after_a_flush_or_a_restart_of_redis_is_filled_again(pair, wire):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl", token="tok-en")
    wire.give("j", back(wire.serve("j", 20, token="tok-en")), token="tok-en")
    before = in_step(server)["redis"]["refills"]
    shown = {key: value for key, value in store.all().items() if not key.startswith("tutti:")}
    store.call("FLUSHALL")
    until(lambda: server.get("/health").json["redis"]["refills"] > before, "the loss is seen")
    in_step(server)
    assert {key: value for key, value in store.all().items() if not key.startswith("tutti:")} == shown
    store.kill()
    store.lose_all()
    store.start()
    until(lambda: server.get("/health").json["redis"]["refills"] > before + 1, "the loss is seen")
    assert in_step(server)["redis"]["deletions_honoured"] == 0
    assert {key: value for key, value in store.all().items() if not key.startswith("tutti:")} == shown
    assert wire.report("j")["received"] == 20


def test_a_killed_server_takes_nothing_for_deleted(pair, wire):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", back(wire.serve("j", 20)))
    in_step(server)
    server.kill()
    store.call("DEL", "j:3")
    server.start()
    health = in_step(server)
    assert health["redis"]["deletions_honoured"] == 0 and health["redis"]["refills"] == 1
    assert store.states("j") == {i: "RECEIVED" for i in range(20)}


def test_jobs_deleted_while_redis_is_away_are_deleted_there_later(pair, wire):
    server, store = pair
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.start("k", "in.jsonl", "k.jsonl")
    wire.drain("j")
    wire.drain("k")
    in_step(server)
    store.kill()
    wire.get("/delete", job_name="j")
    server.kill()
    store.start()
    server.start()
    in_step(server)
    assert not store.states("j") and store.call("EXISTS", "JOB:j") == 0
    assert len(store.states("k")) == COUNT


def test_a_job_of_another_service_is_not_written_over(pair, wire):
    server, store = pair
    store.call("SET", "JOB:theirs", "{}")
    answer = wire.scramble("theirs", "in.jsonl", "out.jsonl")
    assert answer.status == 400 and "tutti job adopt" in answer.detail
    wire.start("theirs", "in.jsonl", "out.jsonl", clean_start="true")


def test_redis_is_not_needed(tutti, redis):
    store = redis()
    store.kill()
    server = tutti(args=["--redis", store.url])
    wire = Wire(server.url)
    write_jsonl(server.cwd / "in.jsonl", numbered(COUNT))
    wire.start("j", "in.jsonl", "out.jsonl")
    assert wire.drain("j", 7) == list(range(COUNT))
    health = wire.get("/health").json()
    assert (health["Redis status"], health["status"], health["redis"]["stale"]) == ("Offline", "ok", True)
    assert "cannot be reached" in health["redis"]["last_failure"] and health["redis"]["lag_ms"] > 0
    assert b"\ntutti_mirror_online 0\n" in wire.get("/metrics").body
    store.start()
    assert in_step(server)["Redis status"] == "Online"
    assert store.states("j") == {i: "RECEIVED" for i in range(COUNT)}
    metrics = wire.get("/metrics").text
    assert "\ntutti_mirror_online 1\n" in metrics and "\ntutti_mirror_stale 0\n" in metrics


def test_what_redis_can_promise_is_shown(tutti, redis):
    store = redis("--requirepass", "pass word", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", appendonly=False)
    server = tutti(env={"PLANCHET_REDIS_HOST": "127.0.0.1", "PLANCHET_REDIS_PORT": str(store.port), "PLANCHET_REDIS_PWD": "pass word"})
    shown = in_step(server)["redis"]
    assert (shown["appendonly"], shown["eviction"], shown["address"]) == (False, "allkeys-lru", f"{store.url}/0")
    assert "evicts" in shown["warning"] and shown["version"]
    wire = Wire(server.url)
    write_jsonl(server.cwd / "in.jsonl", numbered(COUNT))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", back(wire.serve("j", 20)))
    in_step(server)


def test_evicted_keys_are_not_taken_for_deleted(tutti, redis):
    store = redis("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    server = tutti(args=["--redis", store.url])
    wire = Wire(server.url)
    write_jsonl(server.cwd / "in.jsonl", numbered(COUNT))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", back(wire.serve("j", 20)))
    in_step(server)
    store.call("DEL", "j:3")
    until(lambda: len(store.states("j")) == 20, "the key is written again")
    assert wire.report("j")["received"] == 20


@pytest.mark.parametrize("url, why", [
    ("rediss://h", "TLS"), ("http://h", "redis://"), ("redis://", "no host"), ("redis://h:0", "port"), ("redis://h/x", "database"), ("redis://:%zz@h", "%"),
])
def test_addresses_that_are_none(tutti, url, why):
    server = tutti(start=False, args=["--redis", url])
    with pytest.raises(AssertionError, match=why):
        server.start()


def test_the_password_is_part_of_the_address_and_is_never_shown(tutti, redis):
    store = redis("--requirepass", "p@ss:w/rd%")
    server = tutti(env={"TUTTI_REDIS": f"redis://:p@ss:w%2frd%25@127.0.0.1:{store.port}/3"})
    write_jsonl(server.cwd / "in.jsonl", numbered(COUNT))
    health = in_step(server)
    assert health["redis"]["address"] == f"redis://127.0.0.1:{store.port}/3"
    shown = subprocess.run([binary(), "config", "show", "--plain"], env={**os.environ, **server.env}, capture_output=True, text=True).stdout
    assert f"redis://:***@127.0.0.1:{store.port}/3" in shown
    assert "p@ss" not in server.log() + json.dumps(health) + shown


def test_a_wrong_password_is_said(tutti, redis):
    store = redis("--requirepass", "right-one")
    server = tutti(args=["--redis", store.url.replace("://", "://:wrong-one@")])
    until(lambda: "refuses" in server.get("/health").json["redis"]["last_failure"], "the refusal is shown")
    assert server.get("/health").json["Redis status"] == "Offline"
