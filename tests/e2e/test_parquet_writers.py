"""What today's writers make of all types, encodings, codecs and page versions is read as pyarrow reads it; what pyarrow cannot read, as the same rows in another file."""
import decimal
import json
import random
from pathlib import Path
from typing import Any, Dict, List

import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
from test_parquet_corpus import check_file, tool, tutti  # noqa: E402

ROWS = 300
WIDE = ("m", "d60", "f16", "fixed_list", "view")  # not of all writers


def all_types(rng: random.Random) -> Any:
    def some(make: Any) -> List[Any]:
        return [None if rng.randrange(5) == 0 else make(i) for i in range(ROWS)]

    def whole(bits: int, signed: bool) -> List[Any]:
        return some(lambda i: rng.randrange(1 << bits) - ((1 << (bits - 1)) if signed else 0))

    def tenths(digits: int) -> List[Any]:
        return some(lambda i: decimal.Decimal(rng.randrange(-10**digits, 10**digits)).scaleb(-2))

    columns: Dict[str, Any] = {"%s%d" % (kind, bits): pa.array(whole(bits, kind == "int"), getattr(pa, "%s%d" % (kind, bits))())
                               for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
    columns.update({
        "f16": pa.array(some(lambda i: float(i % 9) / 4), pa.float16()), "f32": pa.array(some(lambda i: rng.random()), pa.float32()),
        "f64": pa.array(some(lambda i: rng.choice([rng.random(), float("nan"), -0.0, float("inf")]))), "bool": pa.array(some(lambda i: rng.random() < 0.5)),
        "text": pa.array(some(lambda i: rng.choice(["a", "", "é\n"]) * rng.randrange(3))), "ids": pa.array(["user-%d" % rng.randrange(10**9) for _ in range(ROWS)]),
        "binary": pa.array(some(lambda i: rng.randbytes(rng.randrange(9)))), "fixed": pa.array(some(lambda i: rng.randbytes(5)), pa.binary(5)),
        "d9": pa.array(tenths(8), pa.decimal128(9, 2)), "d18": pa.array(tenths(17), pa.decimal128(18, 2)), "d30": pa.array(tenths(26), pa.decimal128(30, 2)),
        "d60": pa.array(tenths(26), pa.decimal256(60, 2)), "date": pa.array(whole(16, True), pa.int32()).cast(pa.date32()),
        "time": pa.array(some(lambda i: rng.randrange(86400 * 10**6)), pa.int64()).cast(pa.time64("us")), "nothing": pa.nulls(ROWS, pa.string()),
        "list": pa.array(some(lambda i: [rng.choice(["x", "y", None]) for _ in range(i % 4)]), pa.list_(pa.string())),
        "fixed_list": pa.array(some(lambda i: [1.5, None]), pa.list_(pa.float64(), 2)), "struct": pa.array(some(lambda i: {"a": i, "b": None if i % 3 else "q"})),
        "m": pa.array(some(lambda i: [("k", i)] if i % 2 else []), pa.map_(pa.string(), pa.int32())), "structs": pa.array(some(lambda i: [{"a": 1, "b": "z"}] * (i % 3))),
        "category": pa.array(some(lambda i: "abc"[i % 3])).dictionary_encode(), "view": pa.array(some(lambda i: "v%d" % (i % 50)), pa.string_view()),
    })
    for unit, per_second in (("ms", 10**3), ("us", 10**6)):
        for zone in (None, "UTC"):
            columns["at_%s_%s" % (unit, zone)] = pa.array(some(lambda i: rng.randrange(-10**9, 2 * 10**9) * per_second + i), pa.int64()).cast(pa.timestamp(unit, zone))
    return pa.table(columns)


def encodings(rng: random.Random, table: Any) -> Dict[str, str]:
    found = {}
    for name, t in zip(table.schema.names, table.schema.types):
        if pa.types.is_integer(t) or pa.types.is_temporal(t):
            found[name] = rng.choice(["DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "PLAIN"])
        elif pa.types.is_float32(t) or pa.types.is_float64(t):
            found[name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_boolean(t):
            found[name] = "RLE"
        elif pa.types.is_string(t) or t == pa.binary():
            found[name] = rng.choice(["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
    return found


def check(paths: List[Path]) -> None:
    faults = []
    for path, said in zip(paths, tool(paths, ROWS)):
        try:
            assert check_file(path, said, ROWS)
        except AssertionError as fault:
            faults.append("%s: %s" % (path.name, str(fault)[:300]))
    assert not faults, "\n".join(faults)


def test_pyarrow(tmp_path: Path, is_long: bool) -> None:
    rng = random.Random(11)
    table = all_types(rng)
    codecs = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
    for version in ("1.0", "2.4", "2.6"):
        for pages in ("1.0", "2.0"):
            for codec in codecs if is_long else rng.sample(codecs, 1):
                pq.write_table(table, tmp_path / ("%s_%s_%s.parquet" % (version, pages, codec)), version=version, data_page_version=pages, compression=codec,
                               data_page_size=rng.choice([100, 3000, 1 << 20]), row_group_size=rng.choice([130, ROWS]), write_page_index=rng.random() < 0.5,
                               write_page_checksum=rng.random() < 0.5, use_dictionary=rng.random() < 0.6, dictionary_pagesize_limit=rng.choice([50, 1 << 20]),
                               store_schema=rng.random() < 0.7, write_statistics=rng.random() < 0.7, use_compliant_nested_type=rng.random() < 0.5)
    for i in range(24 if is_long else 3):
        use = encodings(rng, table)
        pq.write_table(table.select(list(use)), tmp_path / ("encodings_%d.parquet" % i), column_encoding=use, use_dictionary=False, data_page_version=rng.choice(["1.0", "2.0"]),
                       compression=rng.choice(["zstd", "none"]), data_page_size=rng.choice([100, 1 << 20]))
    pq.write_table(table, tmp_path / "int96.parquet", use_deprecated_int96_timestamps=True)
    pq.write_table(table, tmp_path / "decimals.parquet", store_decimal_as_integer=True)
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    check(sorted(tmp_path.iterdir()))


def test_polars(tmp_path: Path, is_long: bool) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.from_arrow(all_types(random.Random(12)).drop(list(WIDE)))
    for codec in ("zstd", "lz4", "uncompressed", "snappy", "gzip", "brotli")[:6 if is_long else 2]:
        frame.write_parquet(tmp_path / (codec + ".parquet"), compression=codec, statistics=codec != "gzip", row_group_size=130 if codec == "zstd" else None, data_page_size=500)
    check(sorted(tmp_path.iterdir()))


def test_duckdb(tmp_path: Path, is_long: bool) -> None:
    """Files of its second version hold columns that pyarrow refuses: there the first version's file says what is in them."""
    duckdb = pytest.importorskip("duckdb")
    rows = all_types(random.Random(13)).drop(list(WIDE))
    firsts = []
    for codec in ("zstd", "uncompressed", "snappy", "gzip", "brotli", "lz4_raw")[:6 if is_long else 2]:
        first, second = (tmp_path / ("%s_%s.parquet" % (version, codec)) for version in ("V1", "V2"))
        for version, path in (("V1", first), ("V2", second)):
            connection = duckdb.connect()
            connection.register("rows", rows)
            connection.sql("COPY rows TO '%s' (FORMAT parquet, PARQUET_VERSION '%s', COMPRESSION '%s')" % (path, version, codec))
        firsts.append(first)
        shown = [tutti("cat", path) for path in (first, second)]
        assert shown[0].out == shown[1].out and len([json.loads(line) for line in shown[0].out.splitlines()]) == ROWS
    check(firsts)
