"""The ids of a query's groups as a file: exactly those that are counted, each once, under its name only when it is complete."""
import csv
import json
import os
import random
import subprocess

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402
from query_cases import ask, command_line, evaluate, random_query, random_table, so_many, write  # noqa: E402
from tutti_process import binary  # noqa: E402


def read_ids(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).column(0).to_pylist()
    with path.open(newline="") as file:
        return [int(row[0]) for row in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("seed", range(3))
def test_ids_are_those_that_the_evaluator_finds(tmp_path, seed, is_long):
    rng = random.Random(seed)
    for _ in range(so_many(is_long, 40, 6)):
        rows = random_table(rng, 100, 15, rng.random() < 0.3)
        query = random_query(rng)
        write(tmp_path / "p.parquet", rows, rng)
        want = evaluate(rows, query)
        out = tmp_path / rng.choice(["ids.parquet", "ids.csv"])
        ask(tmp_path / "p.parquet", query, "--export", str(out))
        assert sorted(read_ids(out)) == want["ids"], query
        before = want["ids"]
        for i, passed in enumerate(want.get("passed", [])):
            ask(tmp_path / "p.parquet", query, "--export", str(out), "--export-step", str(i + 1))
            assert sorted(read_ids(out)) == passed, query
            ask(tmp_path / "p.parquet", query, "--export", str(out), "--export-dropped", str(i + 1))
            assert sorted(read_ids(out)) == sorted(set(before) - set(passed)), query
            before = passed


@pytest.mark.parametrize("ids", [["a", "", "b,c", 'say "x"', "é", "new\nline"], [1, -5, 2**62], pa.array([2**64 - 1, 3], pa.uint64()), pa.array([1, 2], pa.int32())],
                         ids=["texts", "numbers", "unsigned", "narrow"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_ids_of_all_types_over_several_files(tmp_path, ids, suffix):
    """Part by part in the order of the files, whichever is ready first, and of the type that they have there."""
    duckdb = pytest.importorskip("duckdb")
    column, paths = pa.array(ids), []
    for i in range(len(column)):
        paths.append(tmp_path / ("p%d.parquet" % i))
        pq.write_table(pa.table({"user": column.slice(i, 1), "ts": [1]}), paths[-1])
    out = tmp_path / ("ids." + suffix)
    ask(paths[0], {}, *map(str, paths[1:]), "--threads", "3", "--export", str(out))
    if suffix == "parquet":
        table = pq.read_table(out)
        assert table.column("user").to_pylist() == column.to_pylist() and table.schema.field("user").type == column.type
    else:
        kind = "VARCHAR" if pa.types.is_string(column.type) else "HUGEINT"
        assert [row[0] for row in duckdb.sql("SELECT \"user\" FROM read_csv('%s', header=true, quote='\"', escape='\"', nullstr='NULL', columns={'user': '%s'})" % (out, kind)).fetchall()] == column.to_pylist()


@pytest.mark.parametrize("name", ["ids.csv", "ids.parquet"])
@pytest.mark.parametrize("fault", ["open:2+:EACCES", "pwrite:1:ENOSPC", "fsync:1:EIO", "rename:1:EACCES", "fsync:1:kill", "rename:1:kill"])
def test_a_list_that_is_not_complete_is_not_there(tmp_path, name, fault):
    write(tmp_path / "p.parquet", random_table(random.Random(1), 50, 9, False), random.Random(1))
    out = tmp_path / name
    out.write_text("before")
    env = {**os.environ, "TUTTI_FAULT": fault}
    done = subprocess.run([str(binary()), "query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "--empty", "--export", str(out)],
                          capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode != 0 and out.read_text() == "before", done
    assert fault.endswith("kill") or sorted(path.name for path in tmp_path.iterdir()) == sorted(["p.parquet", name])


@pytest.mark.parametrize("arguments, text", [
    (["--export", "ids.txt"], "cannot tell the form of a list of ids"),
    (["--export", "no/such/folder/ids.csv"], "cannot create"),
    (["--export", "p.parquet"], "is one of the files that are asked"),
    (["--export", "ids.csv", "--export-step", "1"], "the query has a funnel of 0 steps"),
    (["--export-step", "1"], "give --export FILE"),
    (["--export", "ids.csv", "--export-step", "0"], "steps are counted from 1"),
    (["--export", "ids.csv", "--export-step", "1", "--export-dropped", "1"], "give --export FILE and one of them"),
])
def test_what_is_wrong_with_an_export(tmp_path, arguments, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.parquet", random_table(random.Random(3), 10, 3, False), random.Random(3))
    done = command_line("query", "p.parquet", "-g", "user", "-t", "ts", "--empty", *arguments)
    assert (done.returncode != 0, text in done.stderr) == (True, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_ids_go_on_to_another_query(tmp_path):
    """The list is a Parquet file like others: those who bought, asked again."""
    write(tmp_path / "p.parquet", random_table(random.Random(5), 200, 30, False), random.Random(5))
    ask(tmp_path / "p.parquet", {"query": {"conditions": [{"filter": ["event", "==", "buy"]}]}}, "--export", str(tmp_path / "ids.parquet"))
    shown = command_line("parquet", "cat", str(tmp_path / "ids.parquet"))
    ids = [json.loads(line)["user"] for line in shown.stdout.splitlines()]
    answer = ask(tmp_path / "p.parquet", {"query": {"conditions": [{"filter": ["user", "in", ids]}]}})
    assert answer["query"]["matchingGroups"] == len(ids) > 0


def test_a_file_without_its_columns_is_not_taken_for_a_dataset(tmp_path):
    for arguments in ((), ("--group", "user")):
        done = command_line("query", str(tmp_path / "p.parquet"), "--empty", *arguments)
        assert done.returncode == 2 and "queries of files need --group COLUMN and --time COLUMN" in done.stderr
    done = command_line("query", str(tmp_path), "--empty", "-g", "user", "-t", "ts")
    assert done.returncode == 2 and "is a directory: give its files" in done.stderr
