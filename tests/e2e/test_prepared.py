"""Prepared parts of Parquet files: when they are used, made anew, refused; what a kill, a full cache and a hostile file do. That they give the same answers is
in test_query.py."""
import json
import os
import random
import signal
import subprocess

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402

import parquet_bomb  # noqa: E402
from tutti_process import binary  # noqa: E402

FUNNEL = {"query": {"conditions": [{"filter": ["event", "==", "view"]}], "aggregations": [{"column": "country", "type": "groupsPerValue"}]},
          "funnel": {"sequence": [{"filter": ["event", "==", event]} for event in ("view", "cart", "buy")]}}


def write(path, rows, seed, row_group_size=50_000):
    rng = random.Random(seed)
    table = pa.table({"user": [f"user-{rng.randrange(rows // 7 + 1)}" for _ in range(rows)], "ts": [rng.randrange(1000) for _ in range(rows)],
                      "event": [rng.choice(["view", "cart", "buy", "other", None]) for _ in range(rows)],
                      "country": [rng.choice(["de", "fr", None]) for _ in range(rows)], "n": [rng.choice([None, *range(100)]) for _ in range(rows)]})
    pq.write_table(table, path, row_group_size=row_group_size)


def run(*arguments, **more):
    return subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=120, **more)


def prepare(path, cache, *more):
    return run("parquet", "prepare", path, "--group", "user", "--time", "ts", "--cache", cache, "--json", *more)


def ask(path, query, *more):
    done = run("query", path, "-g", "user", "-t", "ts", "-e", json.dumps(query), "--json", *more)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer, answer.pop("stats")


def parts(cache):
    return sorted(cache.glob("*.part"))


def test_it_is_used_and_made_anew_when_the_file_changes(tmp_path):
    path, cache = tmp_path / "p.parquet", tmp_path / "cache"
    write(path, 20_000, 1)
    plain, stats = ask(path, FUNNEL)
    assert stats["preparedParts"] == 0 and stats["unpackedBytes"] > 0
    assert json.loads(prepare(path, cache).stdout)["prepared"] == 1
    assert json.loads(prepare(path, cache).stdout)["prepared"] == 0
    quick, stats = ask(path, FUNNEL, "--prepared", "--cache", cache)
    assert quick == plain and stats["preparedParts"] == 1 and stats["unpackedBytes"] == 0
    write(path, 20_000, 2)
    changed, stats = ask(path, FUNNEL, "--prepared", "--cache", cache)
    assert stats["preparedParts"] == 0 and changed != plain
    assert json.loads(prepare(path, cache).stdout)["prepared"] == 1
    assert ask(path, FUNNEL, "--prepared", "--cache", cache)[0] == changed
    assert len(parts(cache)) == 1


def test_it_is_made_at_the_third_query(tmp_path):
    path, cache = tmp_path / "p.parquet", tmp_path / "cache"
    write(path, 5_000, 3)
    used = [ask(path, FUNNEL, "--prepared", "--cache", cache)[1]["preparedParts"] for _ in range(4)]
    assert used == [0, 0, 1, 1]


def test_columns_that_are_not_in_it_are_read_from_the_file(tmp_path):
    path, cache = tmp_path / "p.parquet", tmp_path / "cache"
    table = pa.table({"user": [1, 1, 2], "ts": [1, 2, 3], "tags": [["a"], ["a", "b"], None], "event": ["x", "y", "x"]})
    pq.write_table(table, path)
    assert prepare(path, cache).returncode == 0
    tags = {"query": {"conditions": [{"filter": ["tags", "contains", "b"]}]}}
    answer, stats = ask(path, tags, "--prepared", "--cache", cache)
    assert answer["query"]["matchingGroups"] == 1 and stats["preparedParts"] == 0
    assert ask(path, {"query": {"conditions": [{"filter": ["event", "==", "x"]}]}}, "--prepared", "--cache", cache)[1]["preparedParts"] == 1


def test_the_group_s_column_can_be_asked_for(tmp_path):
    path, cache = tmp_path / "p.parquet", tmp_path / "cache"
    write(path, 3_000, 5)
    assert prepare(path, cache).returncode == 0
    query = {"query": {"conditions": [{"filter": ["user", "contains", "1"], "target": ["count", ">=", 3]}], "aggregations": [{"column": "user", "type": "countPerValue", "top": 500}]}}
    ids = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert ask(path, query, "--export", ids[0])[0] == ask(path, query, "--prepared", "--cache", cache, "--export", ids[1])[0]
    assert sorted(ids[0].read_text().split()) == sorted(ids[1].read_text().split())


def test_a_file_that_cannot_be_believed_is_refused_and_made_anew(tmp_path):
    """Flipped bytes, cut ends, and other files under its name: the answer is always the same."""
    path, cache, rng = tmp_path / "p.parquet", tmp_path / "cache", random.Random(6)
    write(path, 3_000, 6)
    plain, _ = ask(path, FUNNEL)
    assert prepare(path, cache).returncode == 0
    part = parts(cache)[0]
    good = part.read_bytes()
    bad = [good[:n] for n in (0, 10, 200, len(good) // 2, len(good) - 1)] + [b"x" * 500, good + b"x"]
    for _ in range(25):
        flipped = bytearray(good)
        flipped[rng.choice([rng.randrange(len(good)), rng.randrange(1500)])] ^= 1 << rng.randrange(8)
        bad.append(bytes(flipped))
    used = 0
    for content in bad:
        part.write_bytes(content)
        answer, stats = ask(path, FUNNEL, "--prepared", "--cache", cache)
        assert answer == plain
        used += stats["preparedParts"]
    assert used < len(bad) * 3 / 4  # a flipped byte in the ids, the times, or a column that nobody looks at, or between sections, is not seen
    part.write_bytes(good[:-1])
    assert json.loads(prepare(path, cache).stdout)["prepared"] == 1
    assert part.read_bytes() == good


def test_a_kill_leaves_no_half_of_it(tmp_path):
    path, cache = tmp_path / "p.parquet", tmp_path / "cache"
    write(path, 60_000, 7)
    plain, _ = ask(path, FUNNEL)
    command = [str(binary()), "parquet", "prepare", str(path), "-g", "user", "-t", "ts", "--cache", str(cache)]
    for call in ("pwrite:1:kill", "pwrite:4:kill", "pwrite:9:kill", "fsync:1:kill", "rename:1:kill"):
        done = subprocess.run(command, env={**os.environ, "TUTTI_FAULT": call}, capture_output=True, timeout=60)
        assert done.returncode == -signal.SIGKILL, (call, done)
        assert parts(cache) == [] and ask(path, FUNNEL, "--prepared", "--cache", cache)[0] == plain
        for uses in cache.glob("*.uses"):
            uses.unlink()
    left = sorted(cache.glob("*.making"))
    assert left
    for file in left:
        os.utime(file, (0, 0))  # of long ago
    assert prepare(path, cache).returncode == 0
    assert len(parts(cache)) == 1 and not list(cache.glob("*.making"))


@pytest.mark.parametrize("fault", ["pwrite:3:ENOSPC", "fsync:1:EIO", "rename:1:EIO", "malloc:40:ENOMEM", "malloc:90:ENOMEM"])
def test_a_failure_is_said_and_leaves_nothing(tmp_path, fault):
    path, cache = tmp_path / "p.parquet", tmp_path / "cache"
    write(path, 3_000, 8)
    done = run("parquet", "prepare", path, "-g", "user", "-t", "ts", "--cache", cache, env={**os.environ, "TUTTI_FAULT": fault})
    assert done.returncode != 0 and done.stderr.startswith("tutti: "), done
    assert not cache.exists() or not list(cache.iterdir())


def test_the_cache_is_bounded(tmp_path):
    """Those go that were not used for longest."""
    cache, paths = tmp_path / "cache", [tmp_path / f"p{i}.parquet" for i in range(4)]
    for i, path in enumerate(paths):
        write(path, 5_000, i)
    for i, path in enumerate(paths[:3]):
        assert prepare(path, cache).returncode == 0
    by_size = sum(p.stat().st_size for p in parts(cache))
    for age, path in enumerate(reversed(paths[:3])):
        ask(path, FUNNEL, "--prepared", "--cache", cache)
        newest = max(parts(cache), key=lambda p: p.stat().st_mtime_ns)
        os.utime(newest, (1_000_000 + age, 1_000_000 + age))
    assert prepare(paths[3], cache, "--cache-size", str(by_size + 1000)).returncode == 0
    assert sum(p.stat().st_size for p in parts(cache)) <= by_size + 1000
    used = [ask(path, FUNNEL, "--prepared", "--cache", cache)[1]["preparedParts"] for path in paths]
    assert used == [1, 1, 0, 1]
    refused = prepare(paths[2], cache, "--cache-size", "1000")
    assert refused.returncode != 0 and "more than all prepared parts may have" in refused.stderr


def test_a_part_of_which_a_query_holds_a_map_may_go(tmp_path):
    """Queries and preparing at the same time, of a file that changes: every answer is that of the file as it was or is."""
    path, other, cache = tmp_path / "p.parquet", tmp_path / "other", tmp_path / "cache"
    write(path, 20_000, 10)
    answers = [ask(path, FUNNEL)[0]]
    write(other, 20_000, 11)
    for turn in range(3):
        asked = [subprocess.Popen([str(binary()), "query", str(path), "-g", "user", "-t", "ts", "-e", json.dumps(FUNNEL), "--json", "--prepared", "--cache", str(cache)],
                                  stdout=subprocess.PIPE) for _ in range(3)]
        assert prepare(path, cache).returncode == 0
        for one in asked:
            answer = json.loads(one.communicate(timeout=120)[0])
            answer.pop("stats")
            assert answer == answers[-1]
        if turn == 1:
            os.replace(other, path)
            answers.append(ask(path, FUNNEL)[0])


def run_measured(*arguments):
    """Exit code, standard error and the peak of resident memory in MiB."""
    child = subprocess.Popen([str(binary()), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    error = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stderr.close()
    return child.returncode, error, usage.ru_maxrss / 1024


def test_a_file_that_claims_petabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.parquet"
    parquet_bomb.write(path, 290)
    assert path.stat().st_size < 100_000
    empty = run_measured("query", tmp_path / "small.parquet", "-g", "user", "-t", "ts", "--empty")  # there is none: what a process takes in any case
    for command in (["query", path, "-g", "user", "-t", "ts", "--empty"], ["parquet", "prepare", path, "-g", "user", "-t", "ts", "--cache", tmp_path / "c"]):
        code, error, peak_mib = run_measured(*command)
        assert code != 0 and "it claims 622770257630 rows" in error or "622770257630 rows are too many" in error, error
        assert peak_mib < empty[2] + 64
    # Of one row group alone the rows may be there; what is taken does not depend on them.
    parquet_bomb.write(path, 1)
    code, error, peak_mib = run_measured("parquet", "prepare", path, "-g", "user", "-t", "ts", "--cache", tmp_path / "c")
    assert code != 0 and "2147483647 rows are too many to be prepared" in error and peak_mib < empty[2] + 64
    parquet_bomb.write(path, 3, rows=1000)
    answer, _ = ask(path, {})
    assert answer["query"]["matchingGroupRows"] == 3000


def test_what_is_missing_is_said(tmp_path):
    path = tmp_path / "p.parquet"
    write(path, 10, 1)
    for arguments, text in ((["--time", "ts"], "--group is missing"), (["--group", "user"], "--time is missing"), (["--group", "user", "--time", "nope"], "Column nope not found")):
        done = run("parquet", "prepare", path, "--cache", tmp_path / "c", *arguments)
        assert done.returncode == 2 and text in done.stderr, done
