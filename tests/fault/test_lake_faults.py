"""The lake's commit: a publish that is killed or fails at any of its calls leaves the run as it was before or as it is meant to be, and a repeat completes it."""
from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, List, Optional

import pytest

from lake_place import ORDERS, RUN_ID, Lake
from tutti_process import binary

OLD = [(i, "EU") for i in range(5)]
NEW = [(i, region) for i in range(20) for region in ("US", "JP", "a/b")]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def write(lake: Lake, name: str, rows: List[Any]) -> Path:
    return lake.file(name, "id,region\n" + "".join("%d,%s\n" % row for row in rows))


def content(lake: Lake, run: int) -> Optional[List[Any]]:
    done = lake.start("fetch", ORDERS, "--run", run, "--csv", "--columns", "id,region")
    return [(int(i), r) for i, r in (line.split(",") for line in done.stdout.splitlines()[1:])] if done.returncode == 0 else None


def check(lake: Lake, before: Optional[List[Any]]) -> bool:
    """As before or as meant, and the other run untouched. True: as meant."""
    now = content(lake, 2)
    assert now is None and before is None or sorted(now or []) in (sorted(before or []), sorted(NEW)), now
    assert content(lake, 1) == OLD
    return now is not None and len(now) == len(NEW)


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("call", ["fsync", "rename", "renameat2", "pwrite"])
@pytest.mark.parametrize("what", ["kill", "EIO"])
def test_every_call(lake: Lake, call: str, what: str, replaces: bool, is_long: bool) -> None:
    lake.run("publish", ORDERS, write(lake, "old.csv", OLD), "--run", 1, "--partition", "region")
    new, ended = write(lake, "new.csv", NEW), False
    step = 1 if is_long else 9
    for nth in range(1, 200, step):
        before = None
        if replaces:
            lake.run("publish", ORDERS, write(lake, "old.csv", OLD), "--run", 2, "--partition", "region")
            before = OLD
        else:
            subprocess.run(["rm", "-rf", str(lake.dataset(ORDERS) / (RUN_ID + "=2"))], check=True)
        done = lake.start("publish", ORDERS, new, "--run", 2, "--partition", "region", TUTTI_FAULT="%s:%d:%s" % (call, nth, what))
        assert done.returncode in (0, -signal.SIGKILL if what == "kill" else 1), done.stderr
        is_meant = check(lake, before)
        if done.returncode == 0:
            assert is_meant
            ended = True
            break
    assert ended
    lake.run("publish", ORDERS, new, "--run", 2, "--partition", "region")
    assert check(lake, None) and list((lake.root / ".staging").iterdir()) == []


def test_kills_at_random_times(lake: Lake, is_long: bool) -> None:
    """Two at a time, of the same run."""
    rng = random.Random(3)
    lake.run("publish", ORDERS, write(lake, "old.csv", OLD), "--run", 1, "--partition", "region")
    new = write(lake, "new.csv", NEW)
    command = [str(binary()), "lake", "publish", ORDERS, str(new), "--run", "2", "--partition", "region"]
    begun = time.monotonic()
    subprocess.run(command, env=lake.environment(), cwd=lake.place, check=True, capture_output=True)
    usual = time.monotonic() - begun
    for _ in range(200 if is_long else 8):
        both = [subprocess.Popen(command, env=lake.environment(), cwd=lake.place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
        for process in both:
            try:
                process.wait(rng.uniform(0, usual))
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
        assert check(lake, None)
    lake.run("publish", ORDERS, new, "--run", 2, "--partition", "region")
    assert check(lake, None) and list((lake.root / ".staging").iterdir()) == []


def test_a_full_disk_leaves_nothing(lake: Lake) -> None:
    done = lake.start("publish", ORDERS, write(lake, "new.csv", NEW), "--run", 2, TUTTI_FAULT="fsync:3+:ENOSPC")
    assert done.returncode == 1 and "No space left" in done.stderr
    assert not (lake.root / "dev").exists() and list((lake.root / ".staging").iterdir()) == []
