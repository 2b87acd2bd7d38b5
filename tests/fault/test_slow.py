"""Who is slow, stopped or leaving: a worker that stops without dying, a server that stands still, ends in order, starts beside another."""
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tutti_process import alive, binary, children, until
from wire import Wire, numbered, read_jsonl, write_jsonl

CLIENT = Path(__file__).with_name("client.py")
RECORDS = 60


@pytest.fixture
def server(tutti):
    t = tutti()
    write_jsonl(t.cwd / "in.jsonl", numbered(RECORDS))
    return t


@pytest.fixture
def wire(server):
    return Wire(server.url)


def ids(batch):
    return [id for id, _ in batch["items"]]


def test_a_worker_that_stops_without_dying_loses_its_items_and_its_late_result(server, wire, tmp_path):
    wire.create("j", "in.jsonl", "out.jsonl")
    sleeper_code = ("import sys; sys.path[:0] = [%r]; from wire import Wire; import time\n"
                    "wire = Wire(sys.argv[1]); batch = wire.claim('j', 5, lease='1s'); print('has', flush=True)\n"
                    "sys.stdin.readline()\n"
                    "print(wire.results('j', [[i, {'by': 'late'}] for i, _ in batch['items']], lease=batch['lease']), flush=True)\n"
                    % str(Path(__file__).parent.parent))
    sleeper = subprocess.Popen([sys.executable, "-c", sleeper_code, server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert sleeper.stdout.readline() == "has\n"
        sleeper.send_signal(signal.SIGSTOP)
        others = wire.claim("j", 100)
        assert ids(others) == list(range(5, RECORDS))
        again = wire.claim("j", 100, wait="10s")
        assert ids(again) == [0, 1, 2, 3, 4]
        wire.results("j", [[id, {"by": "other"}] for id in ids(others) + ids(again)])
        assert wire.job("j")["status"] == "COMPLETE"
        sleeper.send_signal(signal.SIGCONT)
        sleeper.stdin.write("go on\n")
        sleeper.stdin.flush()
        assert "'duplicate': 5" in sleeper.stdout.readline()
    finally:
        sleeper.kill()
        sleeper.wait()
    assert read_jsonl(server.cwd / "out.jsonl") == [{"by": "other"}] * RECORDS
    assert wire.job("j")["duplicates"] == 5


def test_a_server_that_stands_still_for_a_while(server, wire):
    """Leases run out meanwhile; who comes late with the first result is taken all the same."""
    wire.create("j", "in.jsonl", "out.jsonl")
    batch = wire.claim("j", 10, lease="500ms")
    pid = server.server_pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(pid, signal.SIGCONT)
    assert wire.results("j", [[id, {"id": id}] for id in ids(batch)], lease=batch["lease"])["accepted"] == 10
    rest = wire.claim("j", 100, wait="5s")
    assert ids(rest) == list(range(10, RECORDS))
    wire.results("j", [[id, {"id": id}] for id in ids(rest)])
    assert sorted(row["id"] for row in read_jsonl(server.cwd / "out.jsonl")) == list(range(RECORDS))
    assert server.server_pid == pid


def test_the_wall_clock_does_not_end_leases():
    """No lease, wait or timer looks at it: the rooms that know times have only the monotonic clock."""
    source = Path(__file__).parent.parent.parent / "src" / "items"
    users = {path.name for path in source.glob("*.c") if "tt_wall" in path.read_text()}
    assert users <= {"admin.c", "notes.c"}, "only when a job was made and when an error was noted"


class Load:
    """Threads that claim and answer until told to stop; what was acknowledged."""

    def __init__(self, url, job, count=4):
        self.url, self.job, self.acked, self.odd, self.stop = url, job, set(), [], False
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        wire = Wire(self.url)
        while not self.stop:
            try:
                answer = wire.post("/v1/jobs/%s/claim" % self.job, n=20, wait="200ms")
                if answer.status != 200:
                    self.odd.append(answer)
                    continue
                batch = answer.json()
                if batch["status"] == "COMPLETE":
                    return
                answer = wire.post("/v1/jobs/%s/results" % self.job, [[id, {"id": id}] for id in ids(batch)], lease=batch["lease"])
                if answer.status == 200:
                    self.acked.update(ids(batch))
                else:
                    self.odd.append(answer)
            except OSError:
                time.sleep(0.02)

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


def test_a_stop_under_load_gives_all_leases_back_and_keeps_what_was_answered(tutti):
    t = tutti(args=["--grace", "5s"])
    write_jsonl(t.cwd / "in.jsonl", numbered(40000))
    wire = Wire(t.url)
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=1)  # a stop must not use up the only one
    held = wire.claim("j", 100)
    load = Load(t.url, "j")
    until(lambda: len(load.acked) > 1000, "some results")
    assert t.stop() == 0
    load.end()
    assert {answer.status for answer in load.odd} <= {503}, load.odd
    written = [row["id"] for row in read_jsonl(t.cwd / "out.jsonl")]
    assert len(written) == len(set(written)) and load.acked <= set(written)
    t.start()
    wire = Wire(t.url)
    report = wire.job("j")
    assert (report["served"], report["dead"], report["errors"], report["received"]) == (0, 0, 0, len(written)), report
    assert ids(wire.claim("j", 100)) == ids(held), "they are handed out again"
    wire.post("/v1/jobs/j/clean", output="false")
    rest = Load(t.url, "j")
    until(lambda: wire.job("j")["status"] == "COMPLETE", "the end")
    rest.end()
    assert sorted(row["id"] for row in read_jsonl(t.cwd / "out.jsonl")) == list(range(40000))


def test_a_second_signal_stops_at_once_and_nothing_is_lost(tutti):
    t = tutti(args=["--grace", "60s"])
    write_jsonl(t.cwd / "in.jsonl", numbered(5000))
    wire = Wire(t.url)
    wire.create("j", "in.jsonl", "out.jsonl")
    slow = wire.socket()  # a body that never ends keeps the drain waiting
    slow.sendall(b"POST /v1/jobs/j/results HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n[")
    batch = wire.claim("j", 50)
    assert wire.results("j", [[id, {"id": id}] for id in ids(batch)])["accepted"] == 50
    pid, family = t.pid, children(t.pid)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.3)
    assert t.running, "it waits for the body"
    os.kill(pid, signal.SIGTERM)
    t.wait(limit_s=30)  # half of the grace
    slow.close()
    assert not any(alive(child) for child in family)
    t.start()
    assert Wire(t.url).job("j")["received"] == 50
    assert [row["id"] for row in read_jsonl(t.cwd / "out.jsonl")] == ids(batch)


def test_two_on_one_directory(server, wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    second = subprocess.run([binary(), "up", "--data", server.data, "--listen", "127.0.0.1:0", "--workers", "0"], cwd=server.cwd,
                            capture_output=True, text=True, timeout=60)
    assert second.returncode == 5 and "is in use" in second.stderr, second
    assert len(ids(wire.claim("j", 100))) == RECORDS, "the first one goes on"


def test_after_a_killed_supervisor_nothing_is_left_and_the_next_works_at_once(tutti):
    t = tutti(workers=2)
    write_jsonl(t.cwd / "in.jsonl", numbered(RECORDS))
    Wire(t.url).create("j", "in.jsonl", "out.jsonl")
    family = until(lambda: len(children(t.pid)) == 3 and children(t.pid), "the server and two workers")
    t.kill()
    assert not any(alive(pid) for pid in family)
    before = time.monotonic()
    t.start()
    wire = Wire(t.url)
    assert wire.drain("j") == list(range(RECORDS))
    assert time.monotonic() - before < 30  # not a lease, of ten minutes
    assert len(read_jsonl(t.cwd / "out.jsonl")) == RECORDS


def test_a_stopped_supervisor_does_not_stop_the_work(server, wire):
    wire.create("j", "in.jsonl", "out.jsonl")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert wire.drain("j") == list(range(RECORDS))
    finally:
        os.kill(server.pid, signal.SIGCONT)
