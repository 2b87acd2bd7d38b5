"""Who has what, and until when: leases, attempts, dead items and their way back, waiting, repeated requests."""
import threading
import time

import pytest

from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl


@pytest.fixture
def server(tutti):
    return tutti()


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(20))
    return Wire(server.url)


def ids(batch):
    return [i for i, _ in (batch["items"] if isinstance(batch, dict) else batch)]


def problem(answer, status, code=None):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["title"] and body["detail"] and body["request_id"]
    if code:
        assert body["code"] == code
    return body["detail"]


# ---- expiry ----


def test_an_expired_lease_is_served_again(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    first = wire.claim("j", 5, lease="300ms")
    assert ids(first) == [0, 1, 2, 3, 4] and first["lease_ms"] == 300
    assert ids(wire.claim("j", 100)) == list(range(5, 20))
    again = wire.claim("j", 100, wait="10s")
    assert ids(again) == [0, 1, 2, 3, 4]
    assert again["lease"] != first["lease"]
    assert wire.job("j")["served"] == 20


def test_a_late_result_counts_when_it_is_the_first(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    first = wire.claim("j", 2, lease="100ms")
    until(lambda: wire.job("j")["served"] == 0, "the end of the lease")
    second = wire.claim("j", 2)
    assert ids(second) == [0, 1]
    assert wire.results("j", [[0, {"by": "first"}]], lease=first["lease"])["accepted"] == 1
    answer = wire.results("j", [[0, {"by": "second"}], [1, {"by": "second"}]], lease=second["lease"])
    assert (answer["accepted"], answer["duplicate"]) == (1, 1)
    assert read_jsonl(server.cwd / "out.jsonl") == [{"by": "first"}, {"by": "second"}]


def test_the_lease_of_older_clients_runs_out_too(wire):
    wire.create("j", "in.jsonl", "out.jsonl", lease="300ms")
    assert len(wire.serve("j", 20)) == 20
    assert wire.serve("j", 20) == [], "everything is in flight"
    assert len(wire.serve("j", 20, wait="10s")) == 20


def test_the_lease_in_the_metadata(wire):
    wire.start("j", "in.jsonl", "out.jsonl", metadata={"lease": 0.3})
    assert len(wire.serve("j", 20)) == 20
    assert len(wire.serve("j", 20, wait="10s")) == 20


def test_older_clients_have_ten_minutes(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 3)
    job = wire.job("j")
    assert job["lease_ms"] == 600000 and job["served"] == 3
    assert wire.claim("j", 3)["lease_ms"] == 60000


def test_a_lease_through_the_older_route(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    answer = wire.post("/serve", job_name="j", batch_size=3, lease="5s")
    lease = answer.headers["X-Tutti-Lease"]
    assert wire.post("/v1/jobs/j/renew", lease=lease).json() == {"schema": 1, "lease_ms": 5000}
    assert wire.post("/serve", job_name="j", batch_size=3).headers["X-Tutti-Lease"] is None


# ---- renewal and giving back ----


def test_a_renewed_lease_lives_on(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 20, lease="600ms")
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert wire.post("/v1/jobs/j/renew", lease=batch["lease"]).json()["lease_ms"] == 600
        time.sleep(0.1)
    assert wire.job("j")["served"] == 20
    assert ids(wire.claim("j", 20, wait="10s")) == list(range(20))


def test_a_renewal_may_set_the_length(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 5)
    answer = wire.post("/v1/jobs/j/renew", **{"lease": batch["lease"], "for": "200ms"})
    assert answer.json()["lease_ms"] == 200
    until(lambda: wire.job("j")["served"] == 0, "the end of the lease")
    problem(wire.post("/v1/jobs/j/renew", lease=batch["lease"]), 409)


def test_results_renew_the_lease(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 20, lease="600ms")
    for i in range(15):
        wire.results("j", [[i, {}]], lease=batch["lease"])
        time.sleep(0.1)
    assert wire.job("j")["served"] == 5


def test_results_under_a_lease_that_is_gone_count(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    answer = wire.post("/v1/jobs/j/results", [[0, {}]], lease="f" * 32)
    assert answer.status == 200 and answer.json()["accepted"] == 1
    assert answer.headers["X-Tutti-Lease-Gone"] == "true"


def test_giving_back(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 10)
    assert wire.post("/v1/jobs/j/release", [3, 4, 15], lease=batch["lease"]).json() == {"schema": 1, "released": 2}
    assert ids(wire.claim("j", 3)) == [3, 4, 10]
    assert wire.post("/v1/jobs/j/release", lease=batch["lease"]).json()["released"] == 8
    problem(wire.post("/v1/jobs/j/release", lease=batch["lease"]), 409)
    assert ids(wire.claim("j", 9)) == [0, 1, 2, 5, 6, 7, 8, 9, 11]


def test_giving_back_forgives_the_attempt(wire):
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=1)
    for _ in range(5):
        batch = wire.claim("j", 20)
        assert len(batch["items"]) == 20
        wire.post("/v1/jobs/j/release", lease=batch["lease"])
    assert wire.job("j")["dead"] == 0


@pytest.mark.parametrize("verb, body", [("renew", None), ("release", None), ("fail", [{"id": 0, "reason": "x"}])])
def test_an_unknown_lease(wire, verb, body):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.claim("j", 5)
    detail = problem(wire.post(f"/v1/jobs/j/{verb}", body, lease="0" * 32), 409)
    assert "lease" in detail
    problem(wire.post(f"/v1/jobs/j/{verb}", body), 400)
    problem(wire.post(f"/v1/jobs/nobody/{verb}", body, lease="0" * 32), 404, "not_found")


# ---- attempts, dead items, redrive ----


def test_items_die_after_their_attempts(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=2)
    for _ in range(2):
        assert ids(wire.claim("j", 2, lease="50ms", worker="w1"))[:2] == [0, 1]
        until(lambda: wire.job("j")["served"] == 0, "the end of the lease")
    job = wire.job("j")
    assert (job["dead"], job["pending"], job["served"]) == (2, 18, 0)
    assert ids(wire.claim("j", 100)) == list(range(2, 20))
    errors = until(lambda: wire.errors("j"), "the error list")
    assert [(e["id"], e["state"], e["attempts"], e["worker"]) for e in errors] == [(0, "dead", 2, "w1"), (1, "dead", 2, "w1")]
    assert "lease ran out" in errors[0]["reason"] and errors[0]["time"]


def test_failures(wire):
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=2)
    batch = wire.claim("j", 4, worker="w")
    failures = [{"id": 0, "reason": "no network"}, {"id": 1, "reason": "bad \"data\"", "final": True}, {"id": 17, "reason": "not mine"}]
    answer = wire.post("/v1/jobs/j/fail", failures, lease=batch["lease"], worker="w")
    assert (answer.json()["retry"], answer.json()["error"], answer.json()["dead"]) == (1, 1, 0)
    assert [(e["id"], e["state"], e["reason"], e["worker"]) for e in wire.errors("j")] == [(1, "error", 'bad "data"', "w")]
    again = wire.claim("j", 1)
    assert ids(again) == [0]
    answer = wire.post("/v1/jobs/j/fail", [{"id": 0, "reason": "still no network"}], lease=again["lease"])
    assert answer.json()["dead"] == 1
    assert [(e["id"], e["state"], e["reason"]) for e in wire.errors("j")] == [
        (0, "dead", "still no network"), (1, "error", 'bad "data"')]


def test_errors_come_in_pages(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 20)
    wire.post("/v1/jobs/j/fail", [{"id": i, "reason": f"r{i}", "final": True} for i in range(20)], lease=batch["lease"])
    page = wire.get("/v1/jobs/j/errors", limit=8).json()
    seen = list(page["errors"])
    assert (len(seen), page["next"]) == (8, 7)
    while page["next"] is not None:
        page = wire.get("/v1/jobs/j/errors", limit=8, after=page["next"]).json()
        seen += page["errors"]
    assert [(e["id"], e["reason"]) for e in seen] == [(i, f"r{i}") for i in range(20)]


def test_redrive(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=1)
    batch = wire.claim("j", 20)
    wire.post("/v1/jobs/j/fail", [{"id": 0, "reason": "a", "final": True}, {"id": 1, "reason": "b"}], lease=batch["lease"])
    wire.results("j", [[i, {"i": i}] for i in range(2, 20)], lease=batch["lease"])
    job = wire.job("j")
    assert (job["status"], job["errors"], job["dead"], job["received"]) == ("COMPLETE", 1, 1, 18)
    assert wire.post("/v1/jobs/j/retry", {"ids": [0, 5, 99]}).json() == {"schema": 1, "retried": 1}
    assert wire.job("j")["status"] == "IN_PROGRESS"
    assert ids(wire.claim("j", 10)) == [0]
    assert wire.post("/v1/jobs/j/retry").json() == {"schema": 1, "retried": 1}
    batch = wire.claim("j", 10)
    assert ids(batch) == [1]
    wire.results("j", [[0, {"i": 0}], [1, {"i": 1}]])
    assert wire.errors("j") == []
    assert wire.job("j")["status"] == "COMPLETE"
    assert sorted(row["i"] for row in read_jsonl(server.cwd / "out.jsonl")) == list(range(20))


def test_redriven_items_have_all_their_attempts(wire):
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=2)
    for _ in range(3):
        for left in (1, 0):
            batch = wire.claim("j", 1)
            assert ids(batch) == [0]
            answer = wire.post("/v1/jobs/j/fail", [{"id": 0, "reason": "x"}], lease=batch["lease"]).json()
            assert (answer["retry"], answer["dead"]) == (left, 1 - left)
        assert wire.post("/v1/jobs/j/retry", {"ids": [0]}).json()["retried"] == 1


def test_a_repair_may_retry_errors(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.post("/mark-errors", [0, 1], job_name="j")
    wire.start("j", "in.jsonl", "out.jsonl", cont="true")
    assert ids(wire.serve("j", 2)) == [2, 3]
    wire.start("j", "in.jsonl", "out.jsonl", cont="true", metadata={"retry_errors": True})
    assert ids(wire.serve("j", 2)) == [0, 1]


def test_attempts_and_errors_survive_a_restart(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=2)
    batch = wire.claim("j", 3)
    wire.post("/v1/jobs/j/fail", [{"id": 0, "reason": "once"}, {"id": 1, "reason": "for good", "final": True}], lease=batch["lease"])
    server.restart()
    wire = Wire(server.url)
    assert [(e["id"], e["reason"]) for e in wire.errors("j")] == [(1, "for good")]
    batch = wire.claim("j", 2)
    assert ids(batch) == [0, 2]
    answer = wire.post("/v1/jobs/j/fail", [{"id": 0, "reason": "x"}, {"id": 2, "reason": "x"}], lease=batch["lease"]).json()
    assert (answer["dead"], answer["retry"]) == (1, 1), "0 failed before; the restart forgave 2 its attempt"


# ---- waiting ----


def test_waiting_ends_with_nothing(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.claim("j", 20)
    begin = time.monotonic()
    batch = wire.claim("j", 5, wait="400ms")
    assert time.monotonic() - begin >= 0.39
    assert (batch["items"], batch["lease"], batch["status"]) == ([], None, "IN_PROGRESS")
    assert wire.claim("j", 5)["items"] == []


def waiting(call):
    """call() in the background, and the list that its answer comes to."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


def test_waiting_ends_with_what_is_given_back(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 20)
    thread, answers = waiting(lambda: wire.claim("j", 5, wait="20s"))
    time.sleep(0.1)
    wire.post("/v1/jobs/j/release", [7], lease=batch["lease"])
    thread.join(10)
    assert ids(answers[0]) == [7]


def test_waiting_ends_when_the_job_is_complete(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 20)
    pairs = [waiting(lambda: wire.claim("j", 5, wait="20s")) for _ in range(4)] + [waiting(lambda: wire.serve("j", 5, wait="20s"))]
    time.sleep(0.1)
    wire.results("j", batch["items"])
    for thread, _ in pairs:
        thread.join(10)
    assert [(a[0]["items"], a[0]["status"]) for _, a in pairs[:4]] == [([], "COMPLETE")] * 4
    assert pairs[4][1] == [[]]


def test_waiting_ends_when_the_job_goes(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.claim("j", 20)
    thread, answers = waiting(lambda: wire.post("/v1/jobs/j/claim", n=5, wait="20s"))
    time.sleep(0.1)
    wire.delete("/v1/jobs/j")
    thread.join(10)
    problem(answers[0], 404)


def test_waiting_ends_with_a_redrive(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.claim("j", 19)
    wire.post("/mark-errors", [19], job_name="j")
    thread, answers = waiting(lambda: wire.claim("j", 5, wait="20s"))
    time.sleep(0.1)
    assert wire.post("/v1/jobs/j/retry").json()["retried"] == 1
    thread.join(10)
    assert ids(answers[0]) == [19]


def test_a_waiting_client_that_goes_away_takes_nothing(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 20)
    sock = wire.socket()
    sock.sendall(b"POST /v1/jobs/j/claim?n=20&wait=20s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    time.sleep(0.2)
    sock.close()
    time.sleep(0.2)
    wire.post("/v1/jobs/j/release", lease=batch["lease"])
    taken = ids(wire.claim("j", 20, wait="5s"))
    gone = 20 - len(taken)
    assert gone == 0, f"{gone} items went to a client that is not there any more"


def test_a_stop_does_not_wait_for_waiting_clients(wire, server):
    wire.create("j", "in.jsonl", "out.jsonl")
    wire.claim("j", 20)
    thread, answers = waiting(lambda: wire.post("/v1/jobs/j/claim", n=5, wait="60s"))
    time.sleep(0.1)
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 10
    thread.join(10)
    problem(answers[0], 503)


# ---- the same request again ----


def test_a_repeated_request_gets_its_batch_again(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    one = wire.claim("j", 5, request_id="r1")
    assert wire.claim("j", 5, request_id="r1") == one
    two = wire.claim("j", 5, request_id="r2")
    assert (ids(one), ids(two)) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    wire.results("j", one["items"][:2])
    assert ids(wire.claim("j", 5, request_id="r1")) == [2, 3, 4], "what is received is not served again"
    assert wire.job("j")["served"] == 8
    wire.results("j", one["items"][2:])
    assert ids(wire.claim("j", 3, request_id="r1")) == [10, 11, 12], "the batch is done: a new one"


def test_a_repeated_request_on_the_older_route(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    one = wire.serve("j", 5, request_id="abc")
    assert wire.serve("j", 5, request_id="abc") == one
    assert wire.report("j")["served"] == 5


def test_a_repeated_request_from_a_packed_input(wire, server):
    import gzip
    lines = b"".join(b'{"n": %d, "pad": "%s"}\n' % (i, b"x" * 500) for i in range(20000))
    (server.cwd / "big.jsonl.gz").write_bytes(gzip.compress(lines, 1))
    wire.create("j", "big.jsonl.gz", "out.jsonl")
    one = wire.claim("j", 12000, request_id="r1")
    assert len(one["items"]) == 12000
    assert wire.claim("j", 12000, request_id="r1") == one


# ---- reports ----


def test_workers_are_reported(wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    a, b = wire.claim("j", 5, worker="anna"), wire.claim("j", 3, worker="bert")
    wire.results("j", a["items"][:2], lease=a["lease"])
    job = wire.job("j")
    assert {w["worker"]: (w["in_flight"], w["received"]) for w in job["workers"]} == {"anna": (3, 2), "bert": (3, 0)}
    assert job["oldest_lease_ms"] >= 0 and b["lease"]
    assert {w["worker"]: (w["in_flight"], w["received"]) for w in wire.report("j")["workers"]} == {"anna": (3, 2), "bert": (3, 0)}


def test_clients_without_a_name_are_known_by_address(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 5)
    wire.serve("j", 5)
    assert [(w["worker"], w["in_flight"]) for w in wire.report("j")["workers"]] == [("127.0.0.1", 10)]


def test_a_deleted_job_is_forgotten_at_once(wire, server):
    """Nothing of it waits for its leases to end: a stop right behind it leaves nothing in memory (LeakSanitizer would say so)."""
    for i in range(3):
        wire.create(f"j{i}", "in.jsonl", f"out{i}.jsonl")
        wire.claim(f"j{i}", 5, lease="1h")
        assert wire.delete(f"/v1/jobs/j{i}").status == 200
    assert server.stop() == 0
