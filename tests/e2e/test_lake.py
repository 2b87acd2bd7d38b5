"""The data lake: contracts, runs that appear whole, partitions with their types; read back by pyarrow and DuckDB."""
from __future__ import annotations

import datetime
import decimal
import json
import os
from pathlib import Path
from typing import Any, Dict

import pytest

from lake_place import METADATA, ORDERS, RUN_ID, Lake

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
duckdb = pytest.importorskip("duckdb")

@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def duck(path: Path) -> Any:
    return duckdb.sql("SELECT * FROM read_parquet('%s/**/*.parquet', hive_partitioning=true)" % path)


# ---- contracts ----


@pytest.mark.parametrize("contract, env, path", [
    ("Acme/WIDGET/ingest/Orders", {}, "dev/local/acme/widget/ingest/Orders"),
    ("dev/mine/acme/widget/enrich/a.b/c(1)", {}, "dev/mine/acme/widget/enrich/a.b/c(1)"),
    ("development/Feature-1/acme/widget/raw/a list.csv", {}, "dev/feature-1/acme/widget/raw/a list.csv"),
    ("acme/widget/metrics/", {"TUTTI_ENVIRONMENT": "prod", "TUTTI_BRANCH_NAME": ""}, "prod/prod/acme/widget/metrics"),
    ("acme/widget/metrics", {"ICHAIN_ENVIRONMENT": "UAT", "TUTTI_BRANCH_NAME": ""}, "uat/uat/acme/widget/metrics"),
    ("acme/widget/master/x", {"TUTTI_BRANCH_NAME": "feature/Deep/x"}, "dev/feature-deep-x/acme/widget/master/x"),
    ("uat/main/acme/widget/master/x", {}, "uat/main/acme/widget/master/x"),
])
def test_a_contract_is_a_typed_path(lake: Lake, contract: str, env: Dict[str, str], path: str) -> None:
    shown = json.loads(lake.run("show", contract, **env).stdout)
    assert shown["path"] == path
    assert (shown["parent"], shown["child"]) == (shown["customer"], shown["brand"]) == ("acme", "widget")


def test_states_have_neighbours(lake: Lake) -> None:
    order = ["raw", "ingest", "master", "enhance", "enrich", "metrics", "dimensional"]
    for i, state in enumerate(order):
        shown = lake.show("acme/widget/%s" % state)
        assert shown["form"] == ("raw" if state == "raw" else "state")
        assert shown["previous_state"] == (order[i - 1] if i else None)
        assert shown["next_state"] == (order[i + 1] if i + 1 < len(order) else None)
    assert lake.show("acme/widget/raw/list.csv")["form"] == "raw" and lake.show(ORDERS)["form"] == "dataset"


@pytest.mark.parametrize("contract, says", [
    ("acme/widget/orders", "STATE is raw, ingest"),
    ("acme/widget/Ingest/orders", "STATE is raw, ingest"),
    ("acme/../ingest/orders", "the child `..` begins with a period"),
    ("acme//ingest/orders", "the child is empty"),
    ("ac me/widget/ingest/orders", "the parent holds a byte 0x20"),
    ("acme/widget/ingest/a/../../../../b", "the dataset `..` begins with a period"),
    ("acme/widget/ingest/a//b", "the dataset is empty"),
    ("acme/widget/ingest/.staging", "begins with a period"),
    ("acme/widget/ingest/%s=3" % RUN_ID, "the dataset holds `=`"),
    ("acme/wid\\get/ingest/x", "the child holds `\\`"),
    ("acmé/widget/ingest/x", "the parent holds a byte 0xc3"),
    ("acme/widget/ingest/" + "x" * 201, "is too long"),
    ("acme/widget/ingest/" + "x/" * 2000, "is too long"),
    ("acme/widget/raw/../x", "holds no slash"),
    ("dev/main/acme/widget/ingest/x", "in dev it belongs to everybody"),
    ("dev/MASTER/acme/widget/ingest/x", "in dev it belongs to everybody"),
])
def test_names_that_break_paths_are_refused(lake: Lake, contract: str, says: str) -> None:
    data = lake.file("x.csv", "a\n1\n")
    for args in (("publish", contract, data), ("fetch", contract), ("show", contract)):
        assert says in lake.run(*args, code=2).stderr
    assert not lake.root.exists()


def test_the_branch_comes_from_git(lake: Lake) -> None:
    def path(**env: str) -> str:
        return json.loads(lake.run("show", "acme/widget/ingest/x", **{"TUTTI_BRANCH_NAME": "", **env}).stdout)["path"]

    assert path() == "dev/local/acme/widget/ingest/x"
    assert path(BRANCH_NAME="ci") == "dev/ci/acme/widget/ingest/x"
    git = lake.place / ".git"
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/fix/Numbers\n")
    assert path(BRANCH_NAME="ci") == "dev/fix-numbers/acme/widget/ingest/x"
    (git / "HEAD").write_text("0123456789abcdef0123456789abcdef01234567\n")
    assert path(BRANCH_NAME="ci") == "dev/ci/acme/widget/ingest/x"
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert "in dev it belongs to everybody" in lake.run("show", "acme/widget/ingest/x", code=2, TUTTI_BRANCH_NAME="").stderr


# ---- publish and fetch ----


def test_a_run_is_read_by_everybody(lake: Lake) -> None:
    data = lake.file("orders.csv", "id,region,amount,day\n1,EU,2.5,2026-01-01\n2,US,3,2026-01-02\n3,,1,\n4,a/b=c %,7,2026-01-02\n")
    done = json.loads(lake.run("publish", ORDERS, data, "--run", 42, "--run-time", "2026-01-31T10:30:00", "--partition", "region", "--column", "day=date", "--json").stdout)
    assert (done["rows"], done["files"], done["run_id"], done["contract"]) == (4, 4, 42, "dev/local/" + ORDERS)
    day = datetime.date
    expected = [(1, "EU", 2.5, day(2026, 1, 1), 42), (2, "US", 3.0, day(2026, 1, 2), 42), (3, None, 1.0, None, 42), (4, "a/b=c %", 7.0, day(2026, 1, 2), 42)]
    columns = ["id", "region", "amount", "day", RUN_ID]
    table = pq.read_table(lake.dataset(ORDERS), ignore_prefixes=["."])
    assert sorted(zip(*(table[c].to_pylist() for c in columns)), key=lambda r: r[0]) == expected
    assert sorted(duck(lake.dataset(ORDERS)).select(*columns).fetchall()) == expected
    moment = datetime.datetime(2026, 1, 31, 10, 30, tzinfo=datetime.timezone.utc)
    assert set(table["__metadata_run_timestamp"].to_pylist()) == {moment}
    assert set(table["__metadata_output_contract"].to_pylist()) == {"dev/local/" + ORDERS}
    assert set(table.column_names) == {"id", "region", "amount", "day", *METADATA}
    assert sorted((r["id"], r["region"], r["amount"], r["day"] and day.fromisoformat(r["day"]), r[RUN_ID]) for r in lake.rows(ORDERS)) == expected


def test_partitions_keep_their_types(lake: Lake) -> None:
    moment = datetime.datetime(2026, 1, 31, 10, 30, 0, 1500)
    table = pa.table({"x": [1, 2], "text": ["007", "08"], "n": [5, -6], "f": [0.1, 1e300], "b": [True, False], "d": [datetime.date(2026, 1, 1), datetime.date(1969, 1, 1)],
                      "t": [moment, moment.replace(year=1950)], "u": pa.array([moment, moment], pa.timestamp("ms", "UTC")), "i": pa.array([1, 2], pa.int32())})
    pq.write_table(table, lake.place / "in.parquet")
    partitions = ["text", "n", "f", "b", "d", "t", "u", "i"]
    lake.run("publish", ORDERS, lake.place / "in.parquet", "--run", 1, "--partition", ",".join(partitions))
    lake.run("fetch", ORDERS, "--no-metadata", "--output", lake.place / "out.parquet", "--columns", ",".join(table.column_names))
    back = pq.read_table(lake.place / "out.parquet").sort_by("x")
    assert back.equals(table.cast(back.schema)) and [str(f.type) for f in back.schema] == [str(f.type) for f in table.schema]
    types = {c["name"]: c["type"] for c in lake.show(ORDERS)["columns"] if c["partition"]}
    assert types == {RUN_ID: "int", "text": "string", "n": "int", "f": "float", "b": "bool", "d": "date", "t": "datetime", "u": "datetime_ms_utc", "i": "int32"}


def test_all_types_come_back(lake: Lake) -> None:
    table = pa.table({
        "k": [1, 2, 3], "u8": pa.array([1, None, 255], pa.uint8()), "u64": pa.array([1, None, 2**64 - 1], pa.uint64()), "f32": pa.array([1.5, None, -0.0], pa.float32()),
        "dec": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-9.99")], pa.decimal128(20, 2)), "bin": pa.array([b"\xff\x00", None, b""], pa.binary()),
        "time": pa.array([1, None, 86399999999], pa.time64("us")), "ns": pa.array([1, None, 10**18], pa.timestamp("ns")),
        "tags": pa.array([["a", None], None, []], pa.list_(pa.string())), "nums": pa.array([[1, 2], [], None], pa.list_(pa.int64())), "none": pa.array([None] * 3, pa.string())})
    pq.write_table(table, lake.place / "in.parquet")
    lake.run("publish", ORDERS, lake.place / "in.parquet", "--run", 1)
    lake.run("fetch", ORDERS, "--no-metadata", "--output", lake.place / "out.parquet")
    back = pq.read_table(lake.place / "out.parquet")
    assert back.to_pydict() == table.to_pydict() and back.schema.names == table.schema.names
    assert [str(f.type).replace("element", "item") for f in back.schema] == [str(f.type).replace("element", "item") for f in table.schema]


def test_a_repeat_replaces_the_run(lake: Lake) -> None:
    first = lake.file("a.csv", "id,region\n1,EU\n2,US\n")
    lake.run("publish", ORDERS, first, "--run", 7, "--partition", "region")
    lake.run("publish", ORDERS, lake.file("b.csv", "id,region\n5,EU\n"), "--run", 8, "--partition", "region")
    lake.run("publish", ORDERS, first, "--run", 7, "--partition", "region")
    assert [(r["id"], r[RUN_ID]) for r in lake.rows(ORDERS)] == [(1, 7), (2, 7), (5, 8)]
    lake.run("publish", ORDERS, lake.file("c.csv", "id,region\n9,JP\n"), "--run", 7)
    assert [(r["id"], r["region"], r[RUN_ID]) for r in lake.rows(ORDERS)] == [(9, "JP", 7), (5, "EU", 8)]
    assert [(r["run_id"], r["rows"], r["files"]) for r in lake.show(ORDERS)["runs"]] == [(7, 1, 1), (8, 1, 1)]
    assert [r["id"] for r in lake.rows(ORDERS, "--run", "latest")] == [5] and [r["id"] for r in lake.rows(ORDERS, "--run", 7)] == [9]
    assert list((lake.root / ".staging").iterdir()) == []


def test_files_become_one_table(lake: Lake) -> None:
    a, b = lake.file("a.csv", "id,n,when\n1,5,2026-01-01\n"), lake.file("b.jsonl", '{"n": 2.5, "id": 2, "extra": ["x"]}\n')
    assert "no file has this column" in lake.run("publish", ORDERS, a, "--column", "nn=int", code=4).stderr
    lake.run("publish", ORDERS, a, b, "--run", 1, "--column", "extra=list<string>", "--column", "when=date")
    assert [(r["id"], r["n"], r["when"], r["extra"]) for r in lake.rows(ORDERS)] == [(1, 5.0, "2026-01-01", None), (2, 2.5, None, ["x"])]
    lake.run("publish", ORDERS, lake.file("c.csv", "id,n\nx,\n"), "--run", 2)
    assert [(r["id"], r["n"]) for r in lake.rows(ORDERS)] == [("1", 5.0), ("2", 2.5), ("x", None)]


def test_no_row_is_a_table_too(lake: Lake) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", "id,region\n"), "--run", 1, "--partition", "region")
    assert lake.rows(ORDERS) == [] and lake.run("fetch", ORDERS, "--no-metadata", "--csv").stdout == "id,region\n"
    assert duck(lake.dataset(ORDERS)).fetchall() == []


def test_metadata_that_comes_in_gives_way(lake: Lake) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", "id\n1\n"), "--run", 1)
    lake.run("fetch", ORDERS, "--output", lake.place / "again.parquet")
    lake.run("publish", "acme/widget/master/orders", lake.place / "again.parquet", "--run", 2)
    (row,) = lake.rows("acme/widget/master/orders")
    assert row[RUN_ID] == 2 and row["__metadata_output_contract"] == "dev/local/acme/widget/master/orders"


def test_datasets_of_similar_names_know_nothing_of_each_other(lake: Lake) -> None:
    for i, name in enumerate(["new", "new_2", "new/part"]):
        lake.run("publish", "acme/widget/ingest/" + name, lake.file("a.csv", "id\n%d\n" % i), "--run", 1)
    for i, name in enumerate(["new", "new_2", "new/part"]):
        assert [r["id"] for r in lake.rows("acme/widget/ingest/" + name)] == [i]
    listed = json.loads(lake.run("ls", "--json").stdout)
    assert [e["path"].rpartition("ingest/")[2] for e in listed] == ["new/part", "new", "new_2"]


def test_raw_files_go_as_they_are(lake: Lake) -> None:
    content = bytes(range(256)) * 3
    path = lake.place / "A list (1).bin"
    path.write_bytes(content)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    assert lake.run("publish", "acme/widget/raw", path).stdout == "dev/local/acme/widget/raw/A list (1).bin\n"
    lake.run("publish", "acme/widget/raw/other.bin", path)
    lake.run("fetch", "acme/widget/raw/A list (1).bin", "--output", "back.bin")
    back = lake.place / "back.bin"
    assert back.read_bytes() == content and back.stat().st_mtime == 1_500_000_000
    assert [(e["path"], e["bytes"]) for e in json.loads(lake.run("ls", "acme/widget/raw", "--json").stdout)] == [
        ("dev/local/acme/widget/raw/A list (1).bin", 768), ("dev/local/acme/widget/raw/other.bin", 768)]
    assert "cannot open" in lake.run("fetch", "acme/widget/raw/none.bin", code=4).stderr


def test_a_lake_of_another_program_is_read(lake: Lake) -> None:
    place = lake.dataset(ORDERS)
    for year, region in ((2025, "EU"), (2026, "U S")):
        (place / ("year=%d" % year) / ("region=" + region.replace(" ", "%20"))).mkdir(parents=True)
        pq.write_table(pa.table({"x": [year]}), place / ("year=%d" % year) / ("region=" + region.replace(" ", "%20")) / "0.parquet")
    assert lake.rows(ORDERS) == [{"x": 2025, "year": 2025, "region": "EU"}, {"x": 2026, "year": 2026, "region": "U S"}]


# ---- what is refused ----


def test_what_cannot_be_published(lake: Lake) -> None:
    data = lake.file("a.csv", "id,select,x y,tags\n1,2,3,4\n")
    for args, says in [
        ((ORDERS, data, "--partition", "nothing"), "the data has no column of this name"),
        ((ORDERS, data, "--partition", "select"), "Hive keeps this word to itself"),
        ((ORDERS, data, "--partition", "x y"), "a name takes letters"),
        ((ORDERS, data, "--partition", "id", "--partition", "id"), "stands twice"),
        ((ORDERS, data, "--partition", RUN_ID), "each run is a partition already"),
        ((ORDERS, data, "--run", "-1"), "it is 0 or more"),
        ((ORDERS, data, "--run", "x"), "x"),
        ((ORDERS, data, "--column", "id=integer"), "no type `integer`"),
        ((ORDERS, lake.file("a.xls", "")), "cannot tell its form"),
        ((ORDERS, lake.file("b.parquet", "PAR1")), "b.parquet"),
        ((ORDERS, lake.place / "none.csv"), "none.csv"),
        (("acme/widget/ingest", data), "rows are published to a dataset"),
        (("acme/widget/raw", lake.place), "is no file"),
        (("acme/widget/raw/x", data, data), "one name for 2 files"),
    ]:
        done = lake.start("publish", *args)
        assert done.returncode != 0 and says in done.stderr, (args, done.stderr)
    assert not lake.root.exists() or [p.name for p in lake.root.iterdir()] == [".staging"]


def test_a_value_too_long_for_a_directory(lake: Lake) -> None:
    assert "too long for a directory" in lake.run("publish", ORDERS, lake.file("a.csv", "k\n%s\n" % ("x" * 300)), "--partition", "k", code=2).stderr


def test_the_value_that_stands_for_null(lake: Lake) -> None:
    assert "stands for null" in lake.run("publish", ORDERS, lake.file("a.csv", "k\n__HIVE_DEFAULT_PARTITION__\n"), "--partition", "k", code=2).stderr


def test_links_in_the_lake_are_not_followed(lake: Lake) -> None:
    lake.run("publish", ORDERS, lake.file("a.csv", "id\n1\n"), "--run", 1)
    secret = lake.place / "elsewhere"
    secret.mkdir()
    pq.write_table(pa.table({"id": [99]}), secret / "s.parquet")
    (lake.dataset(ORDERS) / (RUN_ID + "=2")).symlink_to(secret)
    (lake.dataset(ORDERS) / (RUN_ID + "=1") / "loop=1").symlink_to("..")
    assert [r["id"] for r in lake.rows(ORDERS)] == [1]


def test_a_dataset_that_is_not_there(lake: Lake) -> None:
    assert "there is nothing of it in the lake" in lake.run("fetch", ORDERS, code=4).stderr
    lake.run("publish", ORDERS, lake.file("a.csv", "id\n1\n"), "--run", 1)
    assert "there is no such run" in lake.run("fetch", ORDERS, "--run", 2, code=4).stderr
    assert "there is none of this name" in lake.run("fetch", ORDERS, "--columns", "idd", code=4).stderr
    assert lake.run("ls", "prod").stdout.count("\n") == 1
    assert "the path `..` begins with a period" in lake.run("ls", "dev/../..", code=2).stderr
    assert "a lake is a directory" in lake.run("ls", "--lake", "s3://bucket/lake", code=2).stderr
