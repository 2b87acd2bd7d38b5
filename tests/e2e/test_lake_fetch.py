"""Filters of the lake against DuckDB, what is read for them, differences against a comparison in Python, and partitions' values."""
from __future__ import annotations

import datetime
import json
import random
from pathlib import Path
from typing import Any, Dict, List

import pytest

from lake_place import ORDERS, RUN_ID, Lake

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def random_rows(rng: random.Random, count: int) -> Any:
    def some(values: List[Any]) -> List[Any]:
        return [None if rng.random() < 0.1 else v for v in values]

    day = datetime.date(2026, 1, 1)
    return pa.table({
        "id": list(range(count)),
        "n": pa.array(some([rng.randrange(-50, 50) for _ in range(count)]), pa.int32()),
        "amount": pa.array(some([round(rng.uniform(-5, 5), 1) for _ in range(count)]), pa.float64()),
        "name": some([rng.choice(["ann", "Bob", "o'neil", "x_y", "", "50%", "zoë"]) for _ in range(count)]),
        "day": some([day + datetime.timedelta(rng.randrange(40)) for _ in range(count)]),
        "moment": pa.array(some([datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=rng.randrange(10**6)) for _ in range(count)]), pa.timestamp("us")),
        "ok": some([rng.random() < 0.5 for _ in range(count)]),
        "price": pa.array(some([rng.randrange(-999, 999) for _ in range(count)]), pa.int64()).cast(pa.decimal128(19, 0)).cast(pa.decimal128(22, 2)),
        "region": some([rng.choice(["EU", "US", "JP"]) for _ in range(count)]),
        "year": [rng.choice([2024, 2025, 2026]) for _ in range(count)],
    })


def random_condition(rng: random.Random, depth: int) -> str:
    """One that both understand."""
    if depth and rng.random() < 0.6:
        kind = rng.choice(["and", "or", "not"])
        a, b = random_condition(rng, depth - 1), random_condition(rng, depth - 1)
        return "not (%s)" % a if kind == "not" else "(%s) %s (%s)" % (a, kind, b)
    sign = rng.choice(["=", "!=", "<", "<=", ">", ">="])
    return rng.choice([
        lambda: "n %s %d" % (sign, rng.randrange(-60, 60)),
        lambda: "n %s %.1f" % (sign, rng.uniform(-60, 60)),
        lambda: "amount %s %.1f" % (sign, rng.uniform(-6, 6)),
        lambda: "amount between %.1f and %.1f" % tuple(sorted((rng.uniform(-6, 6), rng.uniform(-6, 6)))),
        lambda: "name %s %s" % (sign, rng.choice(["'Bob'", "'o''neil'", "''", "'m'", "'zoë'"])),
        lambda: "name %sin ('ann', 'zoë', 'none')" % rng.choice(["", "not "]),
        lambda: "name %slike %s" % (rng.choice(["", "not "]), rng.choice(["'%n%'", "'x_y'", "'B%'", "'%'", "'_nn'", "''"])),
        lambda: "day %s '2026-01-%02d'" % (sign, rng.randrange(1, 32)),
        lambda: "moment %s '2026-01-%02d 10:00:00'" % (sign, rng.randrange(1, 12)),
        lambda: "ok %s %s" % (rng.choice(["=", "!="]), rng.choice(["true", "false"])),
        lambda: "price %s %d.50" % (sign, rng.randrange(-999, 999)),
        lambda: "region %sin ('EU', 'JP')" % rng.choice(["", "not "]),
        lambda: "region %s '%s'" % (sign, rng.choice(["EU", "JP", "A"])),
        lambda: "year %s %d" % (sign, rng.choice([2023, 2024, 2025])),
        lambda: "%s %s %d" % (RUN_ID, sign, rng.randrange(5)),
        lambda: "%s is %snull" % (rng.choice(["n", "region", "name", "day"]), rng.choice(["", "not "])),
    ])()


def test_filters_give_what_duckdb_gives(lake: Lake, is_long: bool) -> None:
    rng = random.Random(11)
    for run in (1, 2, 3):
        pq.write_table(random_rows(rng, 400), lake.place / "in.parquet")
        lake.run("publish", ORDERS, lake.place / "in.parquet", "--run", run, "--partition", "region,year")
    duckdb.sql("CREATE OR REPLACE TABLE orders AS SELECT * FROM read_parquet('%s/**/*.parquet', hive_partitioning=true)" % lake.dataset(ORDERS))
    selected = set()
    for _ in range(300 if is_long else 25):
        condition = random_condition(rng, 3)
        expected = sorted(duckdb.sql("SELECT id, %s FROM orders WHERE %s" % (RUN_ID, condition)).fetchall())
        got = sorted((r["id"], r[RUN_ID]) for r in lake.rows(ORDERS, "--where", condition, "--columns", "id," + RUN_ID))
        assert got == expected, condition
        selected.add(len(got))
    assert len(selected) > 8


def test_what_cannot_match_is_not_read(lake: Lake) -> None:
    for run in (1, 2, 3):
        lake.run("publish", ORDERS, lake.file("a.csv", "id,region\n" + "".join("%d,%s\n" % (run * 10 + i, r) for i, r in enumerate(["EU", "US"]))), "--run", run, "--partition", "region")

    def read(where: str) -> Any:
        done = lake.run("fetch", ORDERS, "--where", where, "--columns", "id")
        return [json.loads(line)["id"] for line in done.stdout.splitlines()], done.stderr.split(" files")[0].replace("tutti: ", "")

    assert read(RUN_ID + " = 2") == ([20, 21], "2 of 6")
    assert read("region == 'US'") == ([11, 21, 31], "3 of 6")
    assert read("id >= 31") == ([31], "1 of 6")
    assert read("id > 10 and not (region = 'EU' or %s < 3)" % RUN_ID) == ([31], "1 of 6")
    assert read(RUN_ID + " == 9")[0] == [] and read("region is null") == ([], "0 of 6")
    for path in lake.dataset(ORDERS).glob("*=[12]/*/*"):
        path.write_bytes(b"not a file of Parquet")
    assert read(RUN_ID + " > 2")[0] == [30, 31]


def test_row_groups_are_passed_over(lake: Lake) -> None:
    place = lake.dataset(ORDERS) / "year=2026"
    place.mkdir(parents=True)
    pq.write_table(pa.table({"x": list(range(1000)), "f": [float(i) for i in range(999)] + [float("nan")]}), place / "0.parquet", row_group_size=100)
    for where, ids, groups in (("x between 250 and 251", [250, 251], "1 of their 10"), ("x < 3 or x = 999", [0, 1, 2, 999], "2 of their 10"), ("x < 0", [], "0 of their 0"),
                               ("f > 997", [998], "1 of their 10"), ("not f <= 997", [998, 999], None), ("f != 5 and x > 997", [998, 999], "1 of their 10")):
        done = lake.run("fetch", ORDERS, "--where", where, "--columns", "x")
        assert [json.loads(line)["x"] for line in done.stdout.splitlines()] == ids, where
        assert groups is None or groups in done.stderr or (groups.startswith("0") and " 0 of " in done.stderr), done.stderr


def test_an_empty_answer_has_its_columns(lake: Lake) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", "id,region,d\n1,EU,2026-01-01\n"), "--run", 1, "--partition", "region", "--column", "d=date")
    lake.run("fetch", ORDERS, "--where", RUN_ID + " == 5", "--no-metadata", "--output", lake.place / "none.parquet")
    none = pq.read_table(lake.place / "none.parquet")
    assert none.num_rows == 0 and [(f.name, str(f.type)) for f in none.schema] == [("id", "int64"), ("d", "date32[day]"), ("region", "string")]


@pytest.mark.parametrize("where, says, code", [
    ("id >", "it ends where a value", 2),
    ("id ? 5", "a name, a value or a comparison", 2),
    ("id = 5 id", "`and`, `or` or the end", 2),
    ("(id = 5", "it ends where a comma or a closing parenthesis", 2),
    ("id = 'x", "the quote ' has no end", 2),
    ("id in ()", "a value", 2),
    ("id between 1 or 2", "`and` and the upper bound", 2),
    ("id is 5", "`null`", 2),
    ("nope = 5", "there is no column `nope`", 4),
    ("id = 'x'", "cannot be compared with `x`", 2),
    ("day = 'tomorrow'", "cannot be compared", 2),
    ("id like '5%'", "`like` is for texts", 2),
    ("(" * 500 + "id = 5" + ")" * 500, "more than 100 levels", 2),
    ("id = 5 and id", "a comparison", 2),
    ("5 = id", "the name of a column", 2),
])
def test_filters_that_are_refused(lake: Lake, where: str, says: str, code: int) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", "id,day\n1,2026-01-01\n"), "--run", 1, "--column", "day=date")
    assert says in lake.run("fetch", ORDERS, "--where", where, code=code).stderr


def test_names_and_texts_in_quotes(lake: Lake) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", 'and,"x ""y",z\n1,it\'s,3\n2,b,4\n'), "--run", 1)
    assert [r["and"] for r in lake.rows(ORDERS, "--where", '"x ""y" = \'it\'\'s\' and `and` < 2')] == [1]
    assert [r["and"] for r in lake.rows(ORDERS, "--where", "z > 3", "--where", "\"and\" = 2 OR Z = 1".replace("Z", "z"))] == [2]
    many = " or ".join("z = %d" % i for i in range(4000))
    assert len(lake.rows(ORDERS, "--where", many)) == 2


# ---- differences ----


def expected_diff(old: List[Dict[str, Any]], new: List[Dict[str, Any]], keys: List[str]) -> List[Any]:
    def by_key(rows: List[Dict[str, Any]]) -> Dict[Any, Any]:
        return {tuple(r[k] for k in keys): r for r in rows}

    a, b = by_key(old), by_key(new)
    found = [("added", b[k]) for k in b if k not in a] + [("removed", a[k]) for k in a if k not in b]
    return found + [pair for k in a if k in b and a[k] != b[k] for pair in (("before", a[k]), ("after", b[k]))]


def test_a_difference_by_key(lake: Lake) -> None:
    rng = random.Random(5)
    old = [{"k": i, "g": rng.choice("ab"), "v": rng.choice([None, 1.5, 2.5]), "region": rng.choice(["EU", "US"])} for i in range(3000)]
    new = [dict(r) for r in old if rng.random() < 0.9] + [{"k": i, "g": "a", "v": None, "region": "EU"} for i in range(3000, 3100)]
    for row in new:
        if rng.random() < 0.05:
            row["v"] = 9.5
    rng.shuffle(new)
    for run, rows in ((1, old), (2, new)):
        lake.run("publish", ORDERS, lake.file("in.jsonl", "".join(json.dumps(r) + "\n" for r in rows)), "--run", run, "--partition", "region")
    done = lake.run("diff", ORDERS, "--key", "g,k")
    got = [json.loads(line) for line in done.stdout.splitlines()]

    def key(pair: Any) -> str:
        return json.dumps(pair, sort_keys=True)

    assert sorted(((r.pop("__change"), r) for r in got), key=key) == sorted(expected_diff(old, new, ["g", "k"]), key=key)
    assert "run 1 to run 2" in done.stderr
    lake.run("diff", ORDERS, "--key", "k", "--key", "g", "--from", 2, "--to", 1, "--output", lake.place / "d.parquet")
    back = pq.read_table(lake.place / "d.parquet").to_pylist()
    assert sorted(((r.pop("__change"), r) for r in back), key=key) == sorted(expected_diff(new, old, ["g", "k"]), key=key)


def test_a_difference_of_whole_rows(lake: Lake) -> None:
    other = "acme/widget/master/orders"
    lake.run("publish", ORDERS, lake.file("a.csv", "a,b\n1,x\n1,x\n1,x\n2,\n3,z\n"), "--run", 1)
    lake.run("publish", other, lake.file("b.csv", "b,a\nx,1\n,2\nw,3\nw,3\n"), "--run", 7)
    got = [json.loads(line) for line in lake.run("diff", ORDERS, other).stdout.splitlines()]
    assert sorted((r["__change"], r["a"], r["b"]) for r in got) == [("added", 3, "w"), ("added", 3, "w"), ("removed", 1, "x"), ("removed", 1, "x"), ("removed", 3, "z")]
    assert lake.run("diff", ORDERS, ORDERS, "--from", 1, "--to", 1).stdout == ""


def test_types_are_brought_together_for_a_difference(lake: Lake) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", "k,v\n1,5\n2,\n"), "--run", 1)
    lake.run("publish", ORDERS, lake.file("b.csv", "k,v,w\n1,5.0,\n2,,new\n"), "--run", 2)
    assert [(r["__change"], r["k"]) for r in map(json.loads, lake.run("diff", ORDERS, "--key", "k").stdout.splitlines())] == [("after", 2), ("before", 2)]


def test_differences_that_are_refused(lake: Lake) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", "k,v\n1,5\n1,6\n"), "--run", 1)
    assert "there are no two runs to compare" in lake.run("diff", ORDERS, "--key", "k", code=4).stderr
    lake.run("publish", ORDERS, lake.file("a.csv", "k,v\n1,5\n2,6\n"), "--run", 2)
    assert "the older side has more than one row with k=1" in lake.run("diff", ORDERS, "--key", "k", code=2).stderr
    assert "the newer side has more than one row with k=1" in lake.run("diff", ORDERS, "--key", "k", "--from", 2, "--to", 1, code=2).stderr
    assert "key `x`: there is no column" in lake.run("diff", ORDERS, "--key", "x", code=4).stderr
    assert "run 9: there is none" in lake.run("diff", ORDERS, "--to", 9, code=4).stderr
    assert "datasets are compared" in lake.run("diff", "acme/widget/ingest", code=2).stderr


def test_values_of_partitions(lake: Lake) -> None:
    for run, day in ((9, "2026-01-05"), (10, "2026-01-04"), (2, "")):
        lake.run("publish", ORDERS, lake.file("a.csv", "id,day\n1,%s\n" % day), "--run", run, "--partition", "day", "--column", "day=date")

    def values(*args: Any) -> List[Any]:
        return [json.loads(line) for line in lake.run("values", ORDERS, *args).stdout.splitlines()]

    assert values(RUN_ID) == [2, 9, 10] and values(RUN_ID, "--max") == [10]
    assert values("day") == [None, "2026-01-04", "2026-01-05"] and values("day", "--max") == ["2026-01-05"]
    assert "is no partition" in lake.run("values", ORDERS, "id", code=2).stderr
    assert lake.run("values", "acme/widget/ingest/none", RUN_ID).stdout == ""
