"""Unlikely orders of events in the items service, each of which once went wrong."""

import pytest

from wire import Wire, numbered, write_jsonl


@pytest.fixture
def server(tutti):
    return tutti()


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(20))
    return Wire(server.url)


def ids(batch):
    return [i for i, _ in batch["items"]]


# ---- records that cannot be served ----


def retried(wire, name, chosen=None):
    answer = wire.post(f"/v1/jobs/{name}/retry", {} if chosen is None else {"ids": chosen})
    assert answer.status == 200, answer
    return answer.json()["retried"]


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_marked_record_that_cannot_be_served_is_never_served(wire, server, seen_before):
    (server.cwd / "holes.jsonl").write_text('\n{"broken\n{"n":2}\n')
    wire.create("j", "holes.jsonl", "out.jsonl")
    if seen_before:
        assert ids(wire.claim("j")) == [2]
        assert wire.post("/mark-errors", [0], job_name="j").status == 400  # a blank line is no item
        assert wire.post("/mark-errors", [1], job_name="j").status == 200
        assert retried(wire, "j") == 0
    else:
        assert wire.post("/mark-errors", [0, 1], job_name="j").status == 200
        assert ids(wire.claim("j")) == [2]
        assert retried(wire, "j") == 2
    assert wire.claim("j")["items"] == []
    wire.results("j", [[2, {"n": 2}]])
    assert wire.claim("j")["status"] == "COMPLETE"
    job = wire.job("j")
    assert (job["total"], job["received"], job["errors"]) == (2, 1, 1)
    assert [e["id"] for e in wire.errors("j")] == [1]


# ---- workers ----


def test_the_list_of_workers_ends_at_a_thousand_and_one(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    for i in range(1010):
        batch = wire.claim("j", 1, worker=f"w{i}")
        wire.post("/v1/jobs/j/release", lease=batch["lease"])
    workers = wire.job("j")["workers"]
    assert len(workers) == 1001
    assert [w["worker"] for w in workers[999:]] == ["w999", "others"]
    assert all(w["in_flight"] == 0 for w in workers)


# ---- what a client may ask for ----


def test_an_input_whose_name_is_not_utf8_is_refused(wire, server):
    (server.cwd / "many").mkdir()
    write_jsonl(server.cwd / "many" / "a.jsonl", numbered(3))
    with open(bytes(server.cwd / "many") + b"/b\xe9.jsonl", "w") as out:
        out.write('{"n":3}\n')
    answer = wire.post("/v1/jobs", {"name": "j", "input": "many/*.jsonl", "output": "out.jsonl"})
    assert answer.status == 400 and "UTF-8" in answer.detail, answer


def test_an_output_in_a_directory_whose_name_is_not_utf8_is_refused(wire, server):
    (server.cwd / "real").mkdir()
    real = bytes(server.cwd) + b"/d\xe9"
    (server.cwd / "real").rename(real.decode(errors="surrogateescape"))
    (server.cwd / "link").symlink_to(b"d\xe9".decode(errors="surrogateescape"))
    answer = wire.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "link/out.jsonl"})
    assert answer.status == 400 and "UTF-8" in answer.detail, answer


def test_failing_items_takes_a_lease(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.claim("j", 5)
    answer = wire.post("/v1/jobs/j/fail?lease=", [{"id": 0, "reason": "x"}])
    assert answer.status in (400, 409), answer
    assert wire.job("j")["errors"] == 0


def test_a_lease_of_years_is_one_of_a_week(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 5, lease="30000d")
    assert batch["lease_ms"] == 7 * 24 * 3600 * 1000
    assert wire.post("/v1/jobs/j/renew", lease=batch["lease"], **{"for": "30000d"}).json()["lease_ms"] == 7 * 24 * 3600 * 1000
