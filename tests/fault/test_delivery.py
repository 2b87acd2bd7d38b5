"""The journal and the conversion of packed and ordered outputs: killed, or failing, at each call; and killed at random moments. Afterwards the
output is exact, and nothing else is left beside it or in the data directory."""
import gzip
import json
import os
import random
import subprocess
import time

import pytest

import points
from sql_servers import Sqlite
from tutti_process import DEATH, until

COUNT = 60
FAULTS = [("pwrite", "EIO"), ("pwrite", "short"), ("pwrite", "kill"), ("fdatasync", "kill"), ("fsync", "EIO"), ("fsync", "kill"), ("rename", "EIO"),
          ("rename", "kill"), ("unlink", "EIO"), ("unlink", "kill"), ("open", "EIO"), ("openat2", "EIO"), ("db_sync", "EIO"), ("db_sync", "kill")]


def write_input(t, count=COUNT):
    (t.cwd / "in.jsonl").write_text("".join('{"n":%d}\n' % n for n in range(count)))


def ask(t, method, path, body=None, tries=4):
    """The answer's JSON, or None when there is no server."""
    for _ in range(tries):
        try:
            answer = t.request(method, path, body, timeout=10)
        except OSError:
            return None
        if answer.status < 300:
            return answer.json
        assert answer.status in (409, 500, 503, 507) and len(answer.json["detail"]) > 10, answer
    return None


def work(t, rng, output, order):
    """Everything once, as far as it goes. True: the job is complete."""
    if not ask(t, "POST", "/v1/jobs", {"name": "j", "input": "in.jsonl", "output": output, "order": order, "lease": "60s"}):
        return False
    while True:
        batch = ask(t, "POST", "/v1/jobs/j/claim?n=25")
        if not batch:
            return False
        if not batch["items"]:
            break
        rng.shuffle(batch["items"])
        if not ask(t, "POST", "/v1/jobs/j/results", [[i, {"id": i}] for i, _ in batch["items"]]):
            return False
    deadline, deaths = time.monotonic() + 3, t.log().count(DEATH)
    while time.monotonic() < deadline and t.log().count(DEATH) < deaths + 2:
        report = ask(t, "GET", "/v1/jobs/j")
        if not report or report["status"] == "COMPLETE":
            return bool(report)
        time.sleep(0.01)
    return False


def check(t, output, order, count=COUNT):
    data = (t.cwd / output).read_bytes()
    ids = [json.loads(line)["id"] for line in (gzip.decompress(data) if output.endswith(".gz") else data).splitlines()]
    assert (ids if order == "input" else sorted(ids)) == list(range(count))
    assert {p.name for p in t.cwd.iterdir()} == {"in.jsonl", output, "d"}
    assert list((t.data / "journal").iterdir()) == []


def finish(t, rng, output, order):
    t.restart(env={})
    until(lambda: work(t, rng, output, order), "the job is complete", 60)
    until(lambda: not list((t.data / "journal").iterdir()), "the journal is deleted")
    check(t, output, order)
    t.stop()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("call, what", FAULTS)
def test_every_call_may_fail(tutti, call, what, is_long):
    rng, nth = random.Random(call + what), 1
    while nth < 60:
        fault = "%s:%d:%s" % (call, nth, what) + (",%s:%d:ENOSPC" % (call, nth + 1) if what == "short" else "")
        output, order = rng.choice([("out.jsonl.gz", "arrival"), ("out.jsonl", "input"), ("out.jsonl.gz", "input")])
        t = tutti(start=False, env={"TUTTI_FAULT": fault}, args=["--log-level", "warn"])
        write_input(t)
        try:
            t.start(deaths=2 if what == "kill" else 0)
        except AssertionError:
            t.restart(env={})
        work(t, rng, output, order)
        if what == "kill":
            t.kill()
        finish(t, rng, output, order)
        nth = points.after(nth, is_long, 3)


def killed_behind_the_rename(tutti, output, order):
    """A job that was killed when its output had its name already and the ledger did not know: the fsync of the directory is where. The
    next server may be faster than the end of this one's crew, hence several rounds."""
    for nth in 4 * [*range(1, 40)]:
        t = tutti(start=False, env={"TUTTI_FAULT": "fsync:%d:kill" % nth}, args=["--log-level", "warn"])
        write_input(t)
        try:
            t.start(deaths=2)
            work(t, random.Random(1), output, order)
        except AssertionError:
            pass
        if t.process:
            t.kill()
        journals = list((t.data / "journal").iterdir()) if (t.data / "journal").exists() else []
        if (t.cwd / output).exists() and journals:
            return t
    raise AssertionError("no fsync is behind the rename")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("output, order", [("out.jsonl.gz", "arrival"), ("out.jsonl", "input")])
def test_what_comes_after_a_kill_behind_the_rename_is_added(tutti, output, order):
    """The target is then neither what was there before nor what the journal would make now."""
    t = killed_behind_the_rename(tutti, output, order)
    size = (t.cwd / output).stat().st_size
    for again in range(2):
        t.restart(env={"TUTTI_FAULT": "rename:1+:EIO"})
        until(lambda: "trouble" in t.get("/v1/jobs/j").json, "the conversion fails", 60)
        assert ask(t, "POST", "/v1/jobs/j/redo", {"ids": [7 + again]}) == {"schema": 1, "redone": 1}
        batch = ask(t, "POST", "/v1/jobs/j/claim?n=25")
        assert [i for i, _ in batch["items"]] == [7 + again]
        assert ask(t, "POST", "/v1/jobs/j/results", [[7 + again, {"id": COUNT + again}]])["accepted"] == 1
        until(lambda: "trouble" in t.get("/v1/jobs/j").json, "the conversion fails again", 60)
        t.kill()
        assert (t.cwd / output).stat().st_size == size
    t.restart(env={})
    until(lambda: t.get("/v1/jobs/j").json["status"] == "COMPLETE", "the job is complete", 60)
    data = (t.cwd / output).read_bytes()
    ids = [json.loads(line)["id"] for line in (gzip.decompress(data) if output.endswith(".gz") else data).splitlines()]
    assert sorted(ids) == list(range(COUNT + 2))


@pytest.mark.parametrize("how", ["delete", "clean"])
def test_a_deleted_job_leaves_no_part_behind(tutti, how):
    """An attempt to make the output was cut off, and the job is given up before the next one."""
    t = tutti(env={"TUTTI_FAULT": "rename:1+:EIO,unlink:1:EIO"}, args=["--log-level", "error"])
    write_input(t)
    assert not work(t, random.Random(2), "out.jsonl.gz", "arrival")
    until(lambda: "trouble" in t.get("/v1/jobs/j").json, "the conversion fails", 60)
    answer = t.request("DELETE", "/v1/jobs/j") if how == "delete" else t.post("/v1/jobs/j/clean?output=true")
    assert answer.status == 200, answer
    assert {p.name for p in t.cwd.iterdir()} == {"in.jsonl", "d"}


@pytest.mark.timeout(600)
def test_kills_at_random_moments(tutti, is_long):
    seed = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % seed)
    rng = random.Random(seed)
    for _ in range(20 if is_long else 1):
        output, order = rng.choice([("out.jsonl.gz", "arrival"), ("out.jsonl.gz", "input")])
        t, count = tutti(args=["--log-level", "error"]), 40000
        (t.cwd / "in.jsonl").write_text("".join('{"n":%d,"pad":"%s"}\n' % (n, "x" * rng.randrange(40)) for n in range(count)))
        made = {"name": "j", "input": "in.jsonl", "output": output, "order": order, "lease": "1s"}
        assert t.post("/v1/jobs", made).status == 201
        kills = 0
        while True:
            time.sleep(rng.uniform(0, 0.02))
            if kills < 12 and rng.random() < 0.4:
                t.kill_server() if rng.random() < 0.8 else (t.kill(), t.restart(same_port=True))
                kills += 1
            batch = ask(t, "POST", "/v1/jobs/j/claim?n=4000")
            if batch and batch["items"]:
                rng.shuffle(batch["items"])
                ask(t, "POST", "/v1/jobs/j/results", [[i, {"id": i, "v": v}] for i, v in batch["items"]])
            elif (ask(t, "GET", "/v1/jobs/j") or {}).get("status") == "COMPLETE":
                break
        until(lambda: not list((t.data / "journal").iterdir()), "the journal is deleted")
        check(t, output, order, count)


# ---- tables ----


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request, tmp_path):
    db = Sqlite(tmp_path / "rows.db") if request.param == "sqlite" else request.getfixturevalue(request.param)
    db.ask("DROP TABLE IF EXISTS tutti_commits")
    db.ask("DROP TABLE IF EXISTS r")
    db.ask("CREATE TABLE r (id INTEGER, pad VARCHAR(2000))")  # nothing but the promise keeps a row from coming twice
    return db


@pytest.mark.timeout(600)
def test_rows_are_there_once_whoever_is_killed(tutti, database, is_long):
    seed = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % seed)
    rng, count, kills = random.Random(seed), 20000, 0
    t = tutti(start=False, args=["--log-level", "error"])
    (t.cwd / "tutti.ini").write_text(database.declare())
    write_input(t, count)
    t.start()
    assert t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "sql:db?table=r", "lease": "1s"}).status == 201
    has_process = database.kind != "sqlite"
    while True:
        time.sleep(rng.uniform(0, 0.02))
        if kills < (100 if is_long else 10) and rng.random() < 0.3:
            kills += 1
            what = rng.random()
            if has_process and what < 0.2:
                database.kill()
                database.start()
            elif what < 0.9:
                t.kill_server()
            else:
                t.kill()
                t.restart(same_port=True)
        batch = ask(t, "POST", "/v1/jobs/j/claim?n=%d" % rng.choice([20, 200, 1500]))
        if batch and batch["items"]:
            ask(t, "POST", "/v1/jobs/j/results", [[i, {"id": i, "pad": "x" * rng.randrange(2000 if is_long else 50)}] for i, _ in batch["items"]])
        elif (ask(t, "GET", "/v1/jobs/j") or {}).get("status") == "COMPLETE":
            break
        elif batch is None or batch["status"] == "COMPLETE":
            time.sleep(0.05)
    assert t.get("/v1/jobs/j").json["errors"] == 0
    assert database.ask("SELECT count(*) FROM r") == str(count)
    assert database.ask("SELECT count(DISTINCT id) FROM r") == str(count)


def rows_over_a_journal(tutti, tmp_path, fault):
    """A job for 101 rows of a table, without space being given back so far."""
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * 65536)
    if subprocess.run(["fallocate", "-p", "-o", "0", "-l", "65536", probe], stderr=subprocess.DEVNULL).returncode or probe.stat().st_blocks:
        pytest.skip("this file system makes no holes")
    db = Sqlite(tmp_path / "rows.db")
    db.ask("CREATE TABLE r (id INTEGER, pad TEXT)")
    t = tutti(start=False, args=["--log-level", "warn"], env={"TUTTI_FAULT": fault})
    (t.cwd / "tutti.ini").write_text(db.declare())
    write_input(t, 101)
    t.start()
    assert t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "sql:db?table=r"}).status == 201
    return t, db


def push(t, count, size=40000):
    batch = ask(t, "POST", "/v1/jobs/j/claim?n=%d" % count)
    assert len(batch["items"]) == count
    assert ask(t, "POST", "/v1/jobs/j/results", [[i, {"id": i, "pad": "x" * size}] for i, _ in batch["items"]])


def report(t):
    return ask(t, "GET", "/v1/jobs/j") or {"freed_bytes": 0}


def space(t):
    [journal] = (t.data / "journal").iterdir()
    return journal.stat().st_blocks * 512


def finish_rows(t, db):
    until(lambda: report(t)["status"] == "COMPLETE", "the job is complete", 60)
    assert db.ask("SELECT count(*), count(DISTINCT id) FROM r") == "101\t101"
    until(lambda: not list((t.data / "journal").iterdir()), "the journal is deleted")


@pytest.mark.timeout(300)
def test_a_journal_gives_back_what_the_target_has(tutti, tmp_path):
    """Killed when the ledger knows that the front is free and the file still has it; then it is given back with the next rows."""
    t, db = rows_over_a_journal(tutti, tmp_path, "fallocate:1:kill")
    pid = t.server_pid
    push(t, 60)
    until(lambda: t.server_pid != pid and report(t)["freed_bytes"], "the server was killed, and is there again", 60)
    is_now = report(t)
    assert 1 << 20 < is_now["freed_bytes"] < is_now["journal_bytes"] == is_now["delivered_bytes"] and space(t) > 2 << 20, is_now
    t.restart(env={"TUTTI_FAULT": "fallocate:2:EIO"})
    push(t, 40)
    until(lambda: report(t)["freed_bytes"] > is_now["journal_bytes"], "more is free", 60)  # and that call fails: what is left is given back with what comes next
    assert space(t) < 2 << 20
    push(t, 1)
    finish_rows(t, db)


@pytest.mark.timeout(300)
def test_a_table_that_was_put_back_is_told_from_what_was_given_back(tutti, tmp_path):
    t, db = rows_over_a_journal(tutti, tmp_path, "")
    push(t, 100)
    until(lambda: report(t)["freed_bytes"] and space(t) < 2 << 20, "the space is given back", 60)
    t.stop()
    [[key, seq]] = [line.split("\t") for line in db.ask("SELECT job, seq FROM tutti_commits").splitlines()]
    db.ask("UPDATE tutti_commits SET seq = 0")
    t.start()
    push(t, 1)
    until(lambda: "given back" in report(t).get("trouble", ""), "the trouble is told", 60)
    assert db.ask("SELECT count(*) FROM r") == "100"
    db.ask("UPDATE tutti_commits SET seq = %s WHERE job = '%s'" % (seq, key))
    t.restart()
    finish_rows(t, db)


@pytest.mark.timeout(300)
def test_a_file_system_without_holes_keeps_the_journal(tutti, tmp_path):
    t, db = rows_over_a_journal(tutti, tmp_path, "fallocate:1+:EOPNOTSUPP")
    push(t, 100)
    until(lambda: "it grows until its job is complete" in t.log(), "the log says so", 60)
    assert space(t) > 3 << 20
    push(t, 1)
    finish_rows(t, db)
