"""Is the input still the one that a job started with? Edits that keep the size, touches, copies, while the server is up or down."""
from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest
from tutti_process import Tutti, until

COUNT = 30000
PLAIN = b"".join(b'{"n":%d,"text":"%s"}\n' % (n, b"x" * 40) for n in range(COUNT))
CSV = b"n,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * 40) for n in range(COUNT))


def packed() -> bytes:
    """A stream whose middle can be changed without a change of its size: members of random text, of which one is another."""
    return b"".join(gzip.compress(b'{"n":%d,"text":"%s"}\n' % (n, os.urandom(40).hex().encode()), mtime=0) for n in range(3000))


def begin(one: Tutti, name: str, content: bytes) -> Path:
    path = one.cwd / name
    path.write_bytes(content)
    assert one.post("/v1/jobs", {"name": "j", "input": name, "output": "out.jsonl"}).status == 201
    until(lambda: one.get("/v1/jobs/j").json["total"], "a plan", 60)
    work(one, 1000)
    return path


def claim(one: Tutti, n: int, wait: str = "60s") -> Any:
    return one.post("/v1/jobs/j/claim", params={"n": n, "wait": wait}, timeout=90)


def work(one: Tutti, n: int) -> None:
    items = claim(one, n).json["items"]
    assert len(items) == n
    assert one.post("/v1/jobs/j/results", items).status == 200


def change_middle(path: Path) -> None:
    """Same size, same head and tail, another time stamp."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)
        file.seek(before.st_size // 2)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 5_000_000_000))
    assert path.stat().st_size == before.st_size


def touch(path: Path) -> None:
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns + 7_000_000_000))


def recorded(one: Tutti) -> dict:
    import sqlite3
    with sqlite3.connect(one.data / "ledger.db") as db:
        return json.loads(db.execute("SELECT value FROM records WHERE kind='job' AND name='j'").fetchone()[0])["inputs"][0]


def is_broken(one: Tutti) -> str:
    job = one.get("/v1/jobs/j").json
    return job["detail"] if job["status"] == "BROKEN" else ""


INPUTS = [("in.jsonl", lambda: PLAIN), ("in.csv", lambda: CSV), ("in.jsonl.gz", packed)]


@pytest.mark.parametrize("name,content", INPUTS, ids=[name for name, _ in INPUTS])
def test_a_middle_that_changed_while_the_server_was_down(tutti: Callable[..., Tutti], name: str, content: Callable[[], bytes]) -> None:
    one = tutti()
    path = begin(one, name, content())
    shutil.copy2(path, one.cwd / "kept")
    one.kill()
    change_middle(path)
    one.start()
    detail = until(lambda: is_broken(one), "it is noticed, though nobody asked for items", 60)
    assert "has changed since the job started: its middle holds other bytes than then" in detail and str(path) in detail
    assert claim(one, 10).status == 409
    (one.cwd / "kept").replace(path)
    touch(path)
    assert one.post("/v1/jobs", {"name": "j", "input": name, "output": "out.jsonl"}).status == 200
    work(one, 1000)
    assert not is_broken(one)


@pytest.mark.parametrize("name,content", INPUTS, ids=[name for name, _ in INPUTS])
def test_a_touch_breaks_nothing(tutti: Callable[..., Tutti], name: str, content: Callable[[], bytes]) -> None:
    one = tutti()
    path = begin(one, name, content())
    touch(path)
    work(one, 1000)
    one.stop()
    touch(path)
    one.start()
    work(one, 500)
    assert not is_broken(one)
    one.stop()
    assert recorded(one)["mtime_ns"] == path.stat().st_mtime_ns, "the new time stamp is the recorded one: no second comparison"


def test_a_middle_that_changes_while_the_server_runs(tutti: Callable[..., Tutti]) -> None:
    one = tutti()
    path = begin(one, "in.jsonl", PLAIN * 20)
    change_middle(path)
    numbers: List[int] = []
    while True:  # what is in memory is what it was; then a block is read
        answer = claim(one, 5000)
        if answer.status != 200:
            break
        numbers += [item[1]["n"] for item in answer.json["items"]]
    assert answer.status == 409 and "its middle holds other bytes" in is_broken(one)
    assert numbers == [n % COUNT for n in range(1000, 1000 + len(numbers))]


def test_a_job_from_before_the_hashes_learns_its_own(tutti: Callable[..., Tutti]) -> None:
    import sqlite3
    one = tutti()
    path = begin(one, "in.jsonl", PLAIN)
    one.stop()
    whole = recorded(one)["whole"]
    with sqlite3.connect(one.data / "ledger.db") as db:
        text = db.execute("SELECT value FROM records WHERE kind='job' AND name='j'").fetchone()[0]
        job = json.loads(text)
        del job["inputs"][0]["whole"]
        db.execute("UPDATE records SET value=? WHERE kind='job' AND name='j'", (json.dumps(job).encode(),))
    db.close()
    one.start()
    work(one, 100)
    one.stop()
    assert recorded(one)["whole"] == whole != "0" * 16
    change_middle(path)
    one.start()
    until(lambda: is_broken(one), "noticed", 60)
