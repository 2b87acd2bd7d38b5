"""What we write is read back by pyarrow, DuckDB and polars, with its types, nulls, statistics and page index; and conversion to and from text."""
from __future__ import annotations

import csv
import datetime
import decimal
import json
import random
import struct
import subprocess
from pathlib import Path
from typing import Any, List

import pytest

from parquet_forge import BOOLEAN, BYTES, DOUBLES, FIXED, FLOAT, I32, INT32, INT64, INT96, STRUCT, Column, data, file, ints, leaf, levels, run, texts
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
    again = pq.read_table(ours, page_checksum_verification=True)
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


def test_every_meaning_goes_round(tmp_path: Path) -> None:
    """Of columns that pyarrow does not write too; bounds are as pyarrow sorts them."""
    def logical(number: int, *members: Any) -> Any:
        return (10, STRUCT, [(number, STRUCT, list(members))])

    def of_time(utc: bool, unit: int) -> List[Any]:
        return [(1, 1 if utc else 2, None), (2, STRUCT, [(unit, STRUCT, [])])]

    def decimal_of(scale: int, precision: int) -> List[Any]:
        return [(6, I32, 5), (7, I32, scale), (8, I32, precision)]

    longs = struct.Struct("<2q").pack
    columns = [
        (leaf(b"enum", BYTES, 0, (6, I32, 4)), texts(b"A", b"B")), (leaf(b"json", BYTES, 0, (6, I32, 19)), texts(b"{}", b"[1]")),
        (leaf(b"uuid", FIXED, 0, (2, I32, 16), logical(14)), bytes(range(32))), (leaf(b"interval", FIXED, 0, (2, I32, 12), (6, I32, 21)), struct.pack("<6I", 1, 2, 3, 4, 5, 6)),
        (leaf(b"f16", FIXED, 0, (2, I32, 2), logical(15)), bytes.fromhex("003c00c0")), (leaf(b"d32", INT32, 0, *decimal_of(2, 9)), ints(-5, 700)),
        (leaf(b"d64", INT64, 0, *decimal_of(3, 18)), longs(-5, 700)), (leaf(b"dfixed", FIXED, 0, (2, I32, 9), *decimal_of(1, 20)), b"\xff" * 9 + b"\0" * 8 + b"\x0c"),
        (leaf(b"dbytes", BYTES, 0, *decimal_of(1, 20)), texts(b"\xff", b"\x01\x00")), (leaf(b"time_ms", INT32, 0, logical(7, *of_time(False, 1))), ints(5, 86399999)),
        (leaf(b"time_us", INT64, 0, logical(7, *of_time(True, 2))), longs(5, 6)), (leaf(b"time_ns", INT64, 0, logical(7, *of_time(True, 3))), longs(5000, 6000)),
        (leaf(b"ts_ms", INT64, 0, (6, I32, 9)), longs(5, 6)), (leaf(b"ts_ns", INT64, 0, logical(8, *of_time(False, 3))), longs(-5, 6)),
        (leaf(b"i96", INT96), b"".join(struct.pack("<qI", n, 2440588) for n in (0, 1000))), (leaf(b"u8", INT32, 0, (6, I32, 11)), ints(0, 255)),
        (leaf(b"u32", INT32, 0, (6, I32, 13)), ints(0, -1)), (leaf(b"u64", INT64, 0, (6, I32, 14)), longs(0, -1)), (leaf(b"i8", INT32, 0, (6, I32, 15)), ints(-128, 127)),
        (leaf(b"date", INT32, 0, (6, I32, 6)), ints(-1, 1)), (leaf(b"later", BYTES, 0, logical(40)), texts(b"a", b"b")), (leaf(b"f", FLOAT), struct.pack("<2f", -0.0, float("nan"))),
        (leaf(b"nan", DOUBLES), struct.pack("<2d", float("nan"), float("nan"))), (leaf(b"b", BOOLEAN), b"\2"), (leaf(b"null", INT32, 1, logical(11)), levels(run(0, 2, 1)))]
    source, ours = tmp_path / "source.parquet", tmp_path / "ours.parquet"
    source.write_bytes(file([Column([element], data(2, values), 2) for element, values in columns], 2))
    tutti("convert", source, ours)
    assert tutti("cat", source).stdout == tutti("cat", ours).stdout
    shown = [{c["name"]: (c["type"], c["physical"]) for c in json.loads(tutti("schema", "--json", path).stdout)["columns"]} for path in (source, ours)]
    assert {name: (shown[0][name], shown[1][name]) for name in shown[0] if shown[0][name] != shown[1][name]} == {
        "i96": (("timestamp[us]", "INT96"), ("timestamp[us]", "INT64")), "null": (("null", "INT32"), ("int32", "INT32"))}
    by_pyarrow = pq.ParquetFile(ours, page_checksum_verification=True)
    table, group = by_pyarrow.read(), by_pyarrow.metadata.row_group(0)
    table.validate(full=True)
    for i, name in enumerate(table.column_names):
        stats, values = group.column(i).statistics, [v for v in table.column(i).to_pylist() if v is not None and v == v]
        assert stats.null_count == table.column(i).null_count
        if name in ("interval", "f16", "dbytes", "nan", "null"):  # without an order that all agree on, or without a value
            assert not stats.has_min_max, name
        elif name == "uuid":
            assert (stats.min, stats.max) == (bytes(range(16)), bytes(range(16, 32)))
        elif name in ("enum", "json", "later"):
            assert (stats.min, stats.max) == (min(values, key=str), max(values, key=str)) or stats.min < stats.max
        elif name not in ("time_ns", "ts_ns", "f"):
            assert (stats.min, stats.max) == (min(values), max(values)), name
    assert str((group.column(21).statistics.min, group.column(21).statistics.max)) == "(-0.0, 0.0)"
    assert len(duckdb.sql("select * from '%s'" % ours).fetchall()) == 2
    fit = [name for name in table.column_names if name != "interval"]  # with which polars reads no column of a file
    tutti("convert", source, tmp_path / "fit.parquet", "--columns", ",".join(fit))
    names = ["d32", "d64", "dfixed", "u8", "u64", "i8", "ts_ms", "date", "b", "null"]
    assert polars.read_parquet(tmp_path / "fit.parquet").select(names).to_dicts() == table.select(names).to_pylist()


def test_odd_tables_and_what_duckdb_says_of_their_chunks(tmp_path: Path) -> None:
    rng = random.Random(5)
    tables = {
        "no rows": pa.table({"a": pa.array([], pa.int64()), "l": pa.array([], pa.list_(pa.string()))}),
        "one null": pa.table({"a": pa.nulls(1, pa.int64()), "l": pa.nulls(1, pa.list_(pa.string()))}),
        "empty lists": pa.table({"l": pa.array([[], None, [None], []] * 30_000, pa.list_(pa.string()))}),
        "long texts": pa.table({"s": [rng.choice("xyz") * rng.randrange(1 << 20, 3 << 20) for _ in range(7)] + ["", None]}),
        "long lists": pa.table({"l": [list(range(400_000)), [], list(range(5))]}),
        "many rows": pa.table({"a": pa.array([rng.randrange(1 << 62) for _ in range(90_000)], pa.int64()), "c": pa.array([i % 3 for i in range(90_000)], pa.int32())}),
    }
    for name, table in tables.items():
        source, ours = tmp_path / "source.parquet", tmp_path / "ours.parquet"
        pq.write_table(table, source)
        tutti("convert", source, ours, "--codec", "snappy")
        assert pq.read_table(ours, page_checksum_verification=True).to_pylist() == table.to_pylist(), name
        assert duckdb.sql("select * from '%s'" % ours).to_arrow_table().to_pylist() == table.to_pylist(), name
        assert polars.read_parquet(ours).height == table.num_rows
        at, end = 4, ours.stat().st_size
        for row in duckdb.sql("select * from parquet_metadata('%s')" % ours).to_arrow_table().to_pylist():
            first = row["dictionary_page_offset"] or row["data_page_offset"]
            assert first == at and row["total_compressed_size"] > 0 and set(row["encodings"].split(", ")) <= {"RLE", "PLAIN", "RLE_DICTIONARY", "DELTA_BINARY_PACKED"}, (name, row)
            at += row["total_compressed_size"]
        assert at < end
    shown = [json.loads(line) for line in tutti("stat", "--json", ours).stdout.splitlines()]
    assert [row["pages"] for row in shown] == [5, 5]  # of 20,000 rows at most


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
