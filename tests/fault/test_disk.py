"""A disk that fails: errors at every call, a full file system, files that change behind the server's back, a damaged ledger.

The client gets an error with a reason or a success, never a lie; afterwards the job comes to its end, every item once."""
import json
import os
import resource
import sqlite3
import subprocess
import zlib

import pytest

import points
from checker import Job
from tutti_process import until

RECORDS = 30
BAD = {7, 22}
GOOD = set(range(RECORDS)) - BAD


def write_input(path, count=RECORDS, bad=BAD, pad=0):
    path.write_text("".join('{"n":%d\n' % n if n in bad else '{"n":%d,"pad":"%s"}\n' % (n, "x" * pad) for n in range(count)))


class Visitor:
    """One client that does everything once, and again when it fails; keeps the books in .job."""

    def __init__(self, t, good=GOOD, bad=BAD, output="out.jsonl", tries=8):
        self.t, self.tries, self.errors = t, tries, []
        self.job = Job("j", t.cwd / output, good, bad)
        self.output = output

    def ask(self, method, path, body=None, **params):
        """A success, or None when there is no server any more. An error has a reason, and passes."""
        for _ in range(self.tries):
            try:
                answer = self.t.request(method, path, body, params=params)
            except OSError:
                return None
            if answer.status < 300:
                return answer
            assert answer.status in (409, 500, 503, 507), answer
            assert len(answer.json["detail"]) > 10, answer
            self.errors.append(answer)
        raise AssertionError("the fault does not pass: %s" % [answer.body for answer in self.errors])

    def create(self):
        return self.ask("POST", "/v1/jobs", {"name": "j", "input": "in.jsonl", "output": self.output})

    def send(self, items):
        values = [(id, json.dumps({"id": id, "value": value})) for id, value in items]
        self.job.learn({"e": "send", "ids": [id for id, _ in values], "crcs": [zlib.crc32(text.encode()) for _, text in values]})
        answer = self.ask("POST", "/v1/jobs/j/results", ("[%s]" % ",".join("[%d,%s]" % pair for pair in values)).encode())
        if answer:
            assert answer.json["accepted"] + answer.json["duplicate"] == len(values)
            self.job.learn({"e": "ack", "ids": [id for id, _ in values]})
        return answer

    def work(self, batches=1000, n=10):
        """False: the server is gone."""
        for _ in range(batches):
            batch = self.ask("POST", "/v1/jobs/j/claim", n=n, wait="1s")
            if not batch:
                return False
            if batch.json["status"] == "COMPLETE":
                return True
            if batch.json["items"] and not self.send(batch.json["items"]):
                return False
        return True

    def clean(self):
        """What is in the output goes, and is not expected any more."""
        answer = self.ask("POST", "/v1/jobs/j/clean", output="true")
        if answer:
            self.job.good -= self.job.acked
            self.job.acked.clear()
        return answer

    def start_anew(self):
        answer = self.ask("POST", "/v1/jobs", {"name": "j", "input": "in.jsonl", "output": self.output, "clean_start": True})
        if answer:
            self.job.good = set(GOOD)
            self.job.acked.clear()
        return answer

    def visit(self):
        return bool(self.create() and self.work(1) and self.start_anew() and self.work(1) and self.clean() and self.work())

    def finish(self):
        """On a sound disk. What was received before the clean stays received."""
        t, job = self.t, self.job
        assert self.create() and self.work()
        report = t.get("/v1/jobs/j").json
        assert (report["status"], report["dead"], report["errors"]) == ("COMPLETE", 0, len(job.bad)), report
        lines = job.output.read_bytes() if job.output.exists() else b""
        assert report["output_bytes"] == len(lines)
        seen = []
        for line in lines.splitlines():
            seen.append(json.loads(line)["id"])
            assert zlib.crc32(line) in job.sent[seen[-1]]
        assert len(seen) == len(set(seen)), "twice: %s" % seen
        assert job.good - set(seen) == set(), "missing"
        assert set(seen) <= GOOD or job.bad != BAD
        job.check_rejects()


# ---- an error at the N-th call ----

FAULTS = [("pwrite", "EIO"), ("pwrite", "short"), ("pwrite", "kill"), ("fdatasync", "EIO"), ("fdatasync", "kill"), ("fsync", "EIO"), ("fsync", "kill"),
          ("ftruncate", "EIO"), ("rename", "EIO"), ("unlink", "EIO"), ("unlink", "kill"), ("open", "EIO"), ("open", "EMFILE"), ("openat2", "EIO"),
          ("db_write", "EIO"), ("db_write", "ENOSPC"), ("db_write", "kill"), ("db_sync", "EIO"), ("db_sync", "kill")]
LAST = 400  # no visit makes so many calls of one kind


def visit_with_fault(make, fault):
    """Whether the fault was felt."""
    t = make(start=False, env={"TUTTI_FAULT": fault}, args=["--log-level", "warn"])
    write_input(t.cwd / "in.jsonl")
    visitor, killed = Visitor(t), fault.endswith("kill")
    try:
        t.start(deaths=2 if killed else 0)
    except AssertionError as failure:
        assert killed or "error=" in str(failure), "it must say why: %s" % failure
        t.restart(env={})
        visitor.visit()
        visitor.finish()
        return True
    lived = visitor.visit()
    assert lived or killed, "the server is gone: %s" % t.log()
    felt = not lived or bool(visitor.errors)
    if killed or not lived:
        t.kill()
    t.restart(env={})
    if not lived:
        visitor.visit()
    visitor.finish()
    t.stop()
    return felt


@pytest.mark.timeout(600)
@pytest.mark.parametrize("call, what", FAULTS)
def test_every_call_may_fail(tutti, call, what, is_long):
    quiet, nth, felt = 0, 1, 0
    while quiet < (10 if is_long else 1) and nth < LAST:
        fault = "%s:%d:%s" % (call, nth, what)
        if what == "short":  # half of it, and no room for the rest
            fault += ",%s:%d:ENOSPC" % (call, nth + 1)
        is_felt = visit_with_fault(tutti, fault)
        quiet, felt, nth = 0 if is_felt else quiet + 1, felt + is_felt, points.after(nth, is_long)
    print("%s: felt at %d points before %d" % (call, felt, nth))
    assert quiet, "%s still fails at call %d" % (call, nth)


@pytest.mark.parametrize("fault", ["pwrite:4+:ENOSPC", "fdatasync:3+:EIO", "db_write:90+:ENOSPC", "db_sync:9+:EIO"])
def test_a_fault_that_stays_is_said_and_the_server_still_ends_in_order(tutti, fault):
    t = tutti(env={"TUTTI_FAULT": fault})
    write_input(t.cwd / "in.jsonl")
    visitor = Visitor(t, tries=2)
    with pytest.raises(AssertionError, match="the fault does not pass"):
        visitor.visit()
    assert t.get("/livez").status == 200
    t.restart(env={})
    visitor.visit()
    visitor.finish()


# ---- no space ----


def test_a_full_disk_below_the_output(tutti, small_disk):
    place = small_disk("256k")
    t = tutti(args=["--root", str(place.parent)])
    write_input(place.parent / "in.jsonl", 400, (), 1000)
    visitor = Visitor(t, range(400), (), str(place / "out.jsonl"), tries=2)
    visitor.ask("POST", "/v1/jobs", {"name": "j", "input": str(place.parent / "in.jsonl"), "output": visitor.output})
    with pytest.raises(AssertionError, match="No space left"):
        visitor.work()
    assert {answer.status for answer in visitor.errors} == {507}
    assert len(visitor.job.acked) > 100
    small_disk("8m")
    visitor.create = lambda: True
    visitor.t.post("/v1/jobs/j/clean", params={"output": "false"})  # gives back what is in flight
    visitor.finish()


def test_a_full_disk_below_the_ledger(tutti, small_disk):
    place = small_disk("1m")
    t = tutti(start=False, args=["--root", "."])
    t.data = place / "data"
    t.start()
    write_input(t.cwd / "in.jsonl", 3000, (), 50)
    visitor = Visitor(t, range(3000), ())
    assert visitor.create() and visitor.work(3)
    (place / "filler").write_bytes(b"x" * (os.statvfs(place).f_bavail * os.statvfs(place).f_frsize))
    visitor.tries = 2
    try:
        visitor.work(400, 7)
        full = False
    except AssertionError:
        full = True
        assert {answer.status for answer in visitor.errors} <= {507, 500}, visitor.errors
    assert full, "the ledger needs space"
    (place / "filler").unlink()
    visitor.tries = 8
    visitor.t.post("/v1/jobs/j/clean", params={"output": "false"})
    visitor.work(n=1000)
    visitor.finish()


def test_a_limit_of_file_size_does_not_end_the_server(tutti):
    t = tutti()
    write_input(t.cwd / "in.jsonl", 400, (), 1000)
    visitor, server = Visitor(t, range(400), (), tries=2), t.server_pid
    assert visitor.create() and visitor.work(1)
    before = resource.prlimit(server, resource.RLIMIT_FSIZE, (200000, resource.RLIM_INFINITY))
    with pytest.raises(AssertionError, match="File too large|cannot commit"):  # the output, or the ledger
        visitor.work()
    assert t.server_pid == server, "a signal has ended it"
    resource.prlimit(server, resource.RLIMIT_FSIZE, before)
    t.post("/v1/jobs/j/clean", params={"output": "false"})
    visitor.finish()


def test_a_full_disk_takes_nothing_committed_off_the_output(tutti):
    """Small results are safe in the ledger before the output is synced; a large one that finds no space must leave them where they are."""
    t = tutti()
    (t.cwd / "in.jsonl").write_text("".join('{"n":%d}\n' % n for n in range(4)))
    assert t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.jsonl"}).status == 201
    assert len(t.post("/v1/jobs/j/claim", params={"n": 9}).json["items"]) == 4
    for n in range(2):
        assert t.post("/v1/jobs/j/results", [[n, {"n": n, "pad": "x" * 1000}]]).json["accepted"] == 1
    committed = (t.cwd / "out.jsonl").read_bytes()
    before = resource.prlimit(t.server_pid, resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
    for _ in range(2):
        assert t.post("/v1/jobs/j/results", [[2, {"n": "x" * 300000}]]).status in (500, 503, 507)
        assert (t.cwd / "out.jsonl").read_bytes() == committed and t.get("/v1/jobs/j").json["output_bytes"] == len(committed) > 2000
    resource.prlimit(t.server_pid, resource.RLIMIT_FSIZE, before)
    for n in (2, 3):
        until(lambda: t.post("/v1/jobs/j/results", [[n, {"n": n}]]).status == 200, "there is room again")
    assert [json.loads(line)["n"] for line in (t.cwd / "out.jsonl").read_text().splitlines()] == [0, 1, 2, 3]


def test_rejects_whose_commit_failed_are_not_counted_on(tutti):
    """The file of rejects had its line, the ledger had no space: the next commit, which rejects nothing, must not say that the line is there."""
    t = tutti()
    (t.cwd / "in.jsonl").write_text('{"n":0}\n{"n":1}\n')
    assert t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "out.csv"}).status == 201
    assert len(t.post("/v1/jobs/j/claim", params={"n": 9}).json["items"]) == 2
    before = resource.prlimit(t.server_pid, resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
    assert t.post("/v1/jobs/j/results", [[0, "no row"]]).status in (500, 507)
    resource.prlimit(t.server_pid, resource.RLIMIT_FSIZE, before)
    assert t.post("/v1/jobs/j/results", [[1, ["one"]]]).json["accepted"] == 1
    t.kill_server()
    until(lambda: t.get("/v1/jobs/j").json["status"] == "IN_PROGRESS", "the job is there again")
    assert t.post("/v1/jobs/j/results", [[0, ["none"]]]).json["accepted"] == 1
    assert (t.cwd / "out.csv").read_text() == "one\nnone\n"
    rejects = t.cwd / "out.csv.rejects.jsonl"
    assert not rejects.exists() or rejects.read_text() == ""


def test_a_read_only_directory_is_refused_with_a_reason(tutti, small_disk):
    place = small_disk("1m")
    t = tutti(args=["--root", str(place.parent)])
    write_input(place.parent / "in.jsonl")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    answer = t.post("/v1/jobs", {"name": "j", "input": str(place.parent / "in.jsonl"), "output": str(place / "out.jsonl")})
    assert answer.status == 403 and "Read-only file system" in answer.json["detail"], answer
    assert t.get("/v1/jobs/j").status == 404


# ---- strangers ----


def refused(visitor):
    """A result is refused; gives the reason."""
    batch = visitor.t.post("/v1/jobs/j/claim", params={"n": 5})
    answer = visitor.t.post("/v1/jobs/j/results", [[id, value] for id, value in batch.json["items"]])
    assert answer.status == 409, answer
    visitor.t.post("/v1/jobs/j/clean", params={"output": "false"})
    return answer.json["detail"]


@pytest.fixture
def half(tutti):
    """A job of which ten items are received."""
    t = tutti()
    write_input(t.cwd / "in.jsonl")
    visitor = Visitor(t)
    assert visitor.create() and visitor.work(1)
    return visitor


@pytest.mark.parametrize("change, undo, word", [
    (lambda out: out.rename(out.with_name("away")), lambda out: out.with_name("away").rename(out), "moved or replaced"),
    (lambda out: out.write_bytes(out.read_bytes() + b"mine\n"), lambda out: os.truncate(out, out.stat().st_size - 5), "appended"),
    (lambda out: (out.with_name("kept").write_bytes(out.read_bytes()), os.truncate(out, 10)),
     lambda out: out.write_bytes(out.with_name("kept").read_bytes()), "cut"),
])
def test_an_output_changed_while_running_is_left_alone_and_can_be_put_right(half, change, undo, word):
    out = half.job.output
    change(out)
    before = out.read_bytes() if out.exists() else None
    assert word in refused(half)
    assert (out.read_bytes() if out.exists() else None) == before, "not a byte of a stranger's is touched"
    undo(out)
    half.finish()


def test_an_output_deleted_while_running_is_said(half):
    half.job.output.unlink()
    assert "deleted" in refused(half)
    answer = half.t.post("/scramble", {"input_file_path": "in.jsonl", "output_file_path": "out.jsonl"},
                         params={"job_name": "j", "reader_name": "JsonlReader", "writer_name": "JsonlWriter", "clean_start": "true"})
    assert answer.status == 200, answer
    fresh = Visitor(half.t)
    fresh.create = lambda: True
    fresh.finish()


@pytest.mark.parametrize("change, word", [
    (lambda out: out.unlink(), "missing"),
    (lambda out: os.truncate(out, 10), "10 of the"),
    (lambda out: out.write_bytes(out.read_bytes().replace(b"id", b"di")), "not the file"),
])
def test_an_output_changed_while_stopped_breaks_its_job_alone_until_it_is_back(half, change, word):
    t, out = half.t, half.job.output
    t.post("/v1/jobs", {"name": "other", "input": "in.jsonl", "output": "other.jsonl"})
    t.stop()
    kept = out.read_bytes()
    change(out)
    t.restart()
    report = t.get("/v1/jobs/j").json
    assert report["status"] == "BROKEN" and word in report["detail"], report
    assert t.get("/v1/jobs/other").json["status"] == "IN_PROGRESS"
    assert t.post("/v1/jobs/j/claim", params={"n": 1}).status == 409
    out.write_bytes(kept)
    answer = t.post("/scramble", {"input_file_path": "in.jsonl", "output_file_path": "out.jsonl"},
                    params={"job_name": "j", "reader_name": "", "writer_name": "", "cont": "true"})
    assert answer.status == 200, answer
    half.finish()


def test_bytes_behind_the_record_are_cut_off_at_the_start(half):
    half.t.kill()
    with open(half.job.output, "ab") as out:
        out.write(b'{"id":11,"value":{"n"')
    half.t.restart()
    half.finish()


def test_what_somebody_appends_to_a_finished_output_is_not_cut_off(tutti):
    t = tutti()
    write_input(t.cwd / "in.jsonl", 10, ())
    visitor = Visitor(t, range(10), ())
    assert visitor.create() and visitor.work()
    t.stop()
    with open(visitor.job.output, "ab") as out:
        out.write(b"my own line\n")
    kept = visitor.job.output.read_bytes()
    t.restart()
    report = t.get("/v1/jobs/j").json
    assert report["status"] == "BROKEN" and "left as it is" in report["detail"], report
    assert visitor.job.output.read_bytes() == kept


def test_an_input_changed_while_running_is_refused_until_it_is_back(tutti):
    t = tutti()
    path = t.cwd / "in.jsonl"
    write_input(path, 20000, (), 300)  # several blocks
    visitor = Visitor(t, range(20000), ())
    assert visitor.create() and visitor.work(1)
    kept, times = path.read_bytes(), path.stat()
    path.write_bytes(kept.replace(b'"n"', b'"m"'))
    t.restart()
    report = t.get("/v1/jobs/j").json
    assert report["status"] == "BROKEN" and "in.jsonl" in report["detail"], report
    path.write_bytes(kept)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    t.restart()
    visitor.work(n=5000)
    visitor.finish()


# ---- the ledger ----


def test_a_damaged_page_breaks_its_job_alone(half):
    t = half.t
    t.post("/v1/jobs", {"name": "other", "input": "in.jsonl", "output": "other.jsonl"})
    t.stop()
    ledger = sqlite3.connect(t.data / "ledger.db")
    rows = ledger.execute("SELECT id, bytes FROM pages ORDER BY id").fetchall()
    id, page = next((id, page) for id, page in rows if id >> 32 == 1 and id & 0xffffffff == 1)
    ledger.execute("UPDATE pages SET bytes = ? WHERE id = ?", (page[:-1] + bytes([page[-1] ^ 1]), id))
    ledger.commit()
    ledger.close()
    t.restart()
    report = t.get("/v1/jobs/j").json
    assert report["status"] == "BROKEN" and "page" in report["detail"], report
    assert t.get("/v1/jobs/other").json["status"] == "IN_PROGRESS"


def fails_to_start(t):
    with pytest.raises(AssertionError) as failure:
        t.start()
    assert "exit code -" not in str(failure.value)
    return str(failure.value)


def test_a_damaged_ledger_is_named(half):
    t = half.t
    t.stop()
    data = bytearray((t.data / "ledger.db").read_bytes())
    data[:16] = b"x" * 16
    (t.data / "ledger.db").write_bytes(data)
    assert "ledger.db" in fails_to_start(t)


def test_a_ledger_with_flipped_bytes_never_crashes_nor_lies(half, is_long):
    t = half.t
    t.stop()
    whole, output = (t.data / "ledger.db").read_bytes(), half.job.output.read_bytes()
    for number in range(60 if is_long else 6):
        data = bytearray(whole)
        for k in range(20):
            data[zlib.crc32(b"%d %d" % (number, k)) % len(data)] ^= 0xff
        (t.data / "ledger.db").write_bytes(data)
        try:
            t.start()
        except AssertionError as failure:
            assert "ledger.db" in str(failure) and "BUG" not in str(failure), failure
            continue
        report = t.get("/v1/jobs/j")
        assert report.status in (200, 404, 500)
        t.kill()
        assert half.job.output.read_bytes() == output, "damage changed an output"


def test_a_ledger_of_a_newer_program_is_refused(half):
    t = half.t
    t.stop()
    ledger = sqlite3.connect(t.data / "ledger.db")
    ledger.execute("PRAGMA user_version = 99")
    ledger.commit()
    ledger.close()
    text = fails_to_start(t)
    assert "newer" in text and "ledger.db" in text, text


def test_marks_that_are_refused_leave_no_gap_in_the_ledger(tutti):
    """A job that only takes in makes room for ids as they come."""
    t = tutti()
    made = t.post("/v1/jobs", {"name": "w", "mode": "write", "output": "w.jsonl"})
    assert made.status == 201, made
    assert t.post("/v1/jobs/w/results", [[1, {"id": 1}]]).status == 200
    assert t.post("/mark-errors", [5000, 1], params={"job_name": "w"}).status == 400
    assert t.post("/v1/jobs/w/results", [[90000, {"id": 90000}]]).status == 200
    t.kill()
    t.restart()
    report = t.get("/v1/jobs/w").json
    assert (report["status"], report["received"]) == ("IN_PROGRESS", 2), report
