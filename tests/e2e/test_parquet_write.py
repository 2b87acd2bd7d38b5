"""What we write is read back by pyarrow, DuckDB and polars, with its types, nulls, statistics and page index; and conversion to and from text."""
from __future__ import annotations

import csv
import datetime
import decimal
import json
import random
import subprocess
from pathlib import Path
from typing import Any, List

import pytest

from tutti_process import BAD_WORDS, binary

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
duckdb = pytest.importorskip("duckdb")
polars = pytest.importorskip("polars")

LIMIT_S = 60
ROWS = 30_000


def tutti(*args: Any, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run([str(binary()), "parquet", *map(str, args)], capture_output=True, timeout=LIMIT_S, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code and not any(word in done.stderr for word in BAD_WORDS), done.stderr
    return done


def with_nulls(rng: random.Random, values: List[Any], share: float) -> List[Any]:
    return [None if rng.random() < share else v for v in values]


def random_table(rng: random.Random, rows: int) -> Any:
    """Every type that we write, some with few values and some with many, with runs and without, with and without nulls."""
    share = rng.choice([0, 0.01, 0.5, 1])
    words = ["w%d" % i for i in range(rng.choice([1, 3, 200, 300, 70_000]))]
    columns = {
        "run": pa.array(sorted(rng.randrange(5) for _ in range(rows)), pa.int32()),
        "i8": pa.array(with_nulls(rng, [rng.randrange(-128, 128) for _ in range(rows)], share), pa.int8()),
        "u16": pa.array(with_nulls(rng, [rng.randrange(1 << 16) for _ in range(rows)], share), pa.uint16()),
        "i32": pa.array(with_nulls(rng, [rng.randrange(-1 << 31, 1 << 31) for _ in range(rows)], share), pa.int32()),
        "u32": pa.array(with_nulls(rng, [rng.randrange(1 << 32) for _ in range(rows)], share), pa.uint32()),
        "i64": pa.array(with_nulls(rng, [rng.randrange(-1 << 63, 1 << 63) for _ in range(rows)], share), pa.int64()),
        "u64": pa.array(with_nulls(rng, [rng.randrange(1 << 64) for _ in range(rows)], share), pa.uint64()),
        "up": pa.array([10**12 + i * rng.randrange(3) for i in range(rows)], pa.int64()),
        "f": pa.array(with_nulls(rng, [rng.choice([0.0, -0.0, 1.5, float("inf"), rng.gauss(0, 1)]) for _ in range(rows)], share), pa.float32()),
        "d": pa.array(with_nulls(rng, [rng.choice([0.0, float("nan"), rng.gauss(0, 1e9)]) for _ in range(rows)], share), pa.float64()),
        "b": pa.array(with_nulls(rng, [rng.random() < 0.3 for _ in range(rows)], share), pa.bool_()),
        "s": pa.array(with_nulls(rng, [rng.choice(words) for _ in range(rows)], share), pa.string()),
        "long": pa.array(with_nulls(rng, ["x" * rng.randrange(60) + str(i) for i in range(rows)], share), pa.string()),
        "bin": pa.array(with_nulls(rng, [rng.randbytes(rng.randrange(9)) for _ in range(rows)], share), pa.binary()),
        "fixed": pa.array(with_nulls(rng, [rng.randbytes(5) for _ in range(rows)], share), pa.binary(5)),
        "date": pa.array(with_nulls(rng, [rng.randrange(-50_000, 50_000) for _ in range(rows)], share), pa.int32()).cast(pa.date32()),
        "ts": pa.array(with_nulls(rng, [rng.randrange(1 << 50) for _ in range(rows)], share), pa.timestamp("us", "UTC")),
        "local": pa.array(with_nulls(rng, [rng.randrange(1 << 40) for _ in range(rows)], share), pa.timestamp("ms")),
        "ns": pa.array(with_nulls(rng, [rng.randrange(1 << 60) for _ in range(rows)], share), pa.timestamp("ns")),
        "time": pa.array(with_nulls(rng, [rng.randrange(86_400_000_000) for _ in range(rows)], share), pa.time64("us")),
        "dec": pa.array(with_nulls(rng, [decimal.Decimal(rng.randrange(-10**9, 10**9)) / 100 for _ in range(rows)], share), pa.decimal128(20, 2)),
        "tags": pa.array(with_nulls(rng, [[rng.choice([None, *words[:20]]) for _ in range(rng.randrange(4))] for _ in range(rows)], share), pa.list_(pa.string())),
        "nums": pa.array(with_nulls(rng, [[rng.randrange(1 << 40) for _ in range(rng.randrange(3))] for _ in range(rows)], share), pa.list_(pa.int64())),
    }
    return pa.table(columns)


@pytest.mark.parametrize("codec, version", [("zstd", "1.0"), ("snappy", "2.0"), ("lz4_raw", "2.0"), ("gzip", "1.0"), ("none", "2.0")])
def test_all_types_go_round(tmp_path: Path, codec: str, version: str) -> None:
    rng = random.Random(codec)
    table = random_table(rng, ROWS)
    source, ours = tmp_path / "source.parquet", tmp_path / "ours.parquet"
    pq.write_table(table, source, data_page_version=version, row_group_size=rng.choice([7_001, 50_000]), compression=rng.choice(["snappy", "zstd"]),
                   use_dictionary=rng.choice([True, False]), data_page_size=rng.choice([2_000, 1 << 20]))
    group_rows = rng.choice([1_000, 20_000, 1 << 20])
    tutti("convert", source, ours, "--codec", codec, "--group-rows", group_rows)
    again = pq.read_table(ours)
    again.validate(full=True)
    for name in table.column_names:
        assert again.column(name).combine_chunks().cast(table.schema.field(name).type).equals(table.column(name).combine_chunks()) or name == "d", name
    assert again.column("d").combine_chunks().fill_null(7).to_numpy(zero_copy_only=False).tobytes() == \
        table.column("d").combine_chunks().fill_null(7).to_numpy(zero_copy_only=False).tobytes()
    assert pq.ParquetFile(ours).num_row_groups == -(-ROWS // min(group_rows, ROWS))
    by_duckdb = duckdb.sql("select * from '%s'" % ours).to_arrow_table()
    for name in ("i64", "u16", "s", "long", "tags", "nums", "up", "b"):
        assert by_duckdb.column(name).to_pylist() == table.column(name).to_pylist(), name
    by_polars = polars.read_parquet(ours)
    for name in ("i32", "u64", "s", "fixed", "tags", "nums", "up", "run"):
        assert by_polars[name].to_list() == table.column(name).to_pylist(), name


def test_statistics_and_page_index(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = 90_000
    table = pa.table({
        "i": pa.array([rng.randrange(-1000, 1 << 30) for _ in range(rows)], pa.int64()),
        "u": pa.array([rng.randrange(1 << 64) for _ in range(rows)], pa.uint64()),
        "f": pa.array([rng.choice([float("nan"), rng.gauss(0, 1)]) for _ in range(rows)], pa.float64()),
        "s": pa.array(with_nulls(rng, ["\u00e9%d" % rng.randrange(10_000) for _ in range(rows)], 0.1), pa.string()),
        "d": pa.array([decimal.Decimal(rng.randrange(-1000, 1000)) for _ in range(rows)], pa.decimal128(20, 0)),
        "n": pa.nulls(rows, pa.int32()),
    })
    source, ours = tmp_path / "source.parquet", tmp_path / "ours.parquet"
    pq.write_table(table, source)
    tutti("convert", source, ours)
    group = pq.ParquetFile(ours).metadata.row_group(0)
    for i, name in enumerate(table.column_names):
        column, stats = table.column(name), group.column(i).statistics
        assert stats.null_count == column.null_count
        assert group.column(i).has_offset_index and group.column(i).has_column_index
        if name == "n":
            assert not stats.has_min_max
            continue
        good = [v for v in column.to_pylist() if v is not None and v == v]
        key = (lambda v: v.encode()) if name == "s" else (lambda v: v)
        assert (stats.min, stats.max) == (min(good, key=key), max(good, key=key)), name
    shown = [json.loads(line) for line in tutti("stat", "--json", ours).stdout.splitlines()]
    assert all(row["pages"] == 5 and row["page_statistics"] for row in shown)
    # DuckDB and pyarrow prune with what we say: they must still find what is there.
    wanted = sum(1 for v in table.column("i").to_pylist() if v > 1 << 29)
    assert duckdb.sql("select count(*) from '%s' where i > %d" % (ours, 1 << 29)).fetchall() == [(wanted,)]
    assert pq.read_table(ours, filters=[("i", ">", 1 << 29)]).num_rows == wanted
    assert polars.scan_parquet(ours).filter(polars.col("i") > 1 << 29).collect().height == wanted


def test_text_becomes_parquet(tmp_path: Path) -> None:
    rows = [["1", "a,b", "2024-01-31T12:00:00+01:00", "1.5", "x;y", "true"], ["2", 'say "hi"', "", "7", "", "false"], ["-3", "", "1969-12-31 23:59:59.5Z", "", "z", "true"]]
    with open(tmp_path / "in.csv", "w", newline="") as f:
        csv.writer(f).writerows([["id", "text", "when", "price", "tags", "ok"], *rows])
    tutti("convert", tmp_path / "in.csv", tmp_path / "out.parquet", "--column", "when=datetime", "--column", "text=category")
    utc = datetime.timezone.utc
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [
        {"id": 1, "text": "a,b", "when": datetime.datetime(2024, 1, 31, 11, tzinfo=utc), "price": 1.5, "tags": "x;y", "ok": True},
        {"id": 2, "text": 'say "hi"', "when": None, "price": 7.0, "tags": None, "ok": False},
        {"id": -3, "text": None, "when": datetime.datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=utc), "price": None, "tags": "z", "ok": True}]
    records = [{"a": 1, "l": [1, 2], "o": {"k": [1]}, "m": 1}, {"b": "x\u20ac", "l": [], "m": "t"}, {"a": None, "l": None, "b": "", "d": "2024-02-29"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    tutti("convert", tmp_path / "in.jsonl", tmp_path / "j.parquet", "--column", "d=date", "--column", "l=list<int>")
    assert pq.read_table(tmp_path / "j.parquet").to_pylist() == [
        {"d": None, "l": [1, 2], "a": 1, "o": '{"k": [1]}', "m": "1", "b": None},
        {"d": None, "l": [], "a": None, "o": None, "m": "t", "b": "x\u20ac"},
        {"d": datetime.date(2024, 2, 29), "l": None, "a": None, "o": None, "m": None, "b": ""}]
    # And back again.
    tutti("convert", tmp_path / "j.parquet", tmp_path / "back.jsonl")
    assert [json.loads(line) for line in (tmp_path / "back.jsonl").read_text().splitlines()][0] == {"d": None, "l": [1, 2], "a": 1, "o": '{"k": [1]}', "m": "1", "b": None}
    tutti("convert", tmp_path / "out.parquet", tmp_path / "back.csv", "--columns", "id,text,price")
    assert list(csv.reader(open(tmp_path / "back.csv", newline=""))) == [["id", "text", "price"], ["1", "a,b", "1.5"], ["2", 'say "hi"', "7.0"], ["-3", "", ""]]


@pytest.mark.parametrize("text, args, why", [
    ("a\nx\n", ["--column", "a=int"], "record 1, column `a`: `x` is no int"),
    ("a\n1\n", ["--column", "b=int"], "column `b`: not in the header"),
    ("a\n1\n", ["--column", "a=inta"], "no type `inta`: there are string"),
    ("a\n1\n", ["--column", "a"], "write NAME=TYPE"),
    ("a\n1\n", ["--codec", "brotli"], "cannot be written"),
    ("a\n2024-02-30\n", ["--column", "a=date"], "is no date"),
])
def test_what_cannot_be_converted_is_said_and_leaves_nothing(tmp_path: Path, text: str, args: List[str], why: str) -> None:
    (tmp_path / "in.csv").write_text(text)
    done = subprocess.run([str(binary()), "parquet", "convert", str(tmp_path / "in.csv"), str(tmp_path / "out.parquet"), *args], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode in (2, 4) and why in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]
