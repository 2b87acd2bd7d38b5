"""Every Parquet file of the corpora is read as pyarrow reads it, or refused with a sentence that names what is not supported; damaged ones
are refused or read, and never end the program."""
from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import re
import struct
import subprocess
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import pytest

from tutti_process import BAD_WORDS, binary

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

LIMIT_S = 60
ROWS_MAX = 2_000  # compared of one file; with --long ten times as many
# Damaged in ways that pyarrow passes over.
DAMAGED = {"datapage_v1-corrupt-checksum.parquet": "its checksum is wrong", "rle-dict-uncompressed-corrupt-checksum.parquet": "its checksum is wrong",
           "nested-unsigned-malformed.parquet": "it has 4 values, the row group 2 rows"}
# What may be refused, and how it is said.
REFUSED = re.compile(r"is a list of lists, which is not supported|encrypted, which is not supported|codec \w+ is not supported|"
                     r"codec is unknown|lie in another file, which is not supported|encoding is not supported for this type|more than 64 levels deep")


class Ours(NamedTuple):
    code: int
    out: bytes
    err: str


def tutti(*args: Any) -> Ours:
    done = subprocess.run([str(binary()), "parquet", *map(str, args)], capture_output=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL)
    err = done.stderr.decode(errors="replace")
    assert done.returncode >= 0 and not any(word in err for word in BAD_WORDS), "%s: %s" % (args, err)
    assert done.returncode == 0 or err.startswith(("tutti: ", "{")), err
    return Ours(done.returncode, done.stdout, err)


# ---- pyarrow's values, leaf by leaf, as our text ----

def plain_type(t: Any) -> Any:
    """Moments as integers (Python's lack nanoseconds), categories as values."""
    if pa.types.is_dictionary(t):
        return plain_type(t.value_type)
    if pa.types.is_timestamp(t) or pa.types.is_time64(t) or pa.types.is_duration(t) or pa.types.is_date64(t):
        return pa.int64()
    if pa.types.is_date32(t) or pa.types.is_time32(t):
        return pa.int32()
    if pa.types.is_float16(t):
        return pa.float32()
    if pa.types.is_map(t):
        return pa.map_(plain_type(t.key_type), plain_type(t.item_type))
    if pa.types.is_list(t) or pa.types.is_large_list(t):
        return pa.list_(plain_type(t.value_type))
    if pa.types.is_struct(t):
        return pa.struct([pa.field(t.field(i).name, plain_type(t.field(i).type)) for i in range(t.num_fields)])
    return t


class Leaf(NamedTuple):
    type: Any
    get: Callable[[Any], Any]
    depth: int  # of lists


def leaves(t: Any) -> List[Leaf]:
    if isinstance(t, pa.ExtensionType) and not isinstance(t, pa.UuidType):
        return leaves(t.storage_type)
    if pa.types.is_dictionary(t):
        return leaves(t.value_type)
    if pa.types.is_struct(t):
        return [Leaf(leaf.type, lambda v, name=t.field(i).name, get=leaf.get: None if v is None else get(v[name]), leaf.depth)
                for i in range(t.num_fields) for leaf in leaves(t.field(i).type)]
    if pa.types.is_map(t):
        return [Leaf(leaf.type, lambda v, k=k, get=leaf.get: None if v is None else [get(e[k]) for e in v], leaf.depth + 1)
                for k, member in enumerate((t.key_type, t.item_type)) for leaf in leaves(member)]
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t):
        return [Leaf(leaf.type, lambda v, get=leaf.get: None if v is None else [get(e) for e in v], leaf.depth + 1) for leaf in leaves(t.value_type)]
    return [Leaf(t, lambda v: v, 0)]


PER_SECOND = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}
DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def clock(value: int, unit: str) -> Tuple[int, str]:
    seconds, fraction = divmod(value, PER_SECOND[unit])
    days, seconds = divmod(seconds, 86400)
    text = "%02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)
    return days, text + (".%0*d" % (DIGITS[unit], fraction) if fraction else "")


def date(days: int) -> Optional[str]:
    try:
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=days)).isoformat()
    except OverflowError:
        return None  # no year of Python's


def expected(t: Any, value: Any) -> Any:
    """What our JSON must hold for a value of pyarrow's; ... where Python cannot say it."""
    if value is None:
        return None
    if pa.types.is_timestamp(t):
        days, text = clock(value, t.unit)
        day = date(days)
        return "%sT%s%s" % (day, text, "Z" if t.tz else "") if day else ...
    if pa.types.is_date32(t):
        return date(value) or ...
    if pa.types.is_time32(t) or pa.types.is_time64(t):
        return clock(value, t.unit)[1] if 0 <= value < 86400 * PER_SECOND[t.unit] else ...
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return "\\x" + value.hex()
    return value


def same(t: Any, ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(same(t, a, b) for a, b in zip(ours, theirs))
    wanted = expected(t, theirs)
    if wanted is ... or (theirs == 0 and pa.types.is_timestamp(t) and not "1677" < ours < "2263"):
        return isinstance(ours, str)  # of INT96 beyond what nanoseconds hold pyarrow makes 0
    if isinstance(wanted, bool) or wanted is None or isinstance(wanted, str):
        return type(ours) is type(wanted) and ours == wanted
    if isinstance(wanted, decimal.Decimal):
        return decimal.Decimal(ours) == wanted
    if isinstance(wanted, float):
        ours = float(ours)
        if pa.types.is_float32(t) or pa.types.is_float16(t):
            ours, wanted = (struct.pack("<f", x) for x in (ours, wanted)) if not (math.isnan(ours) and math.isnan(wanted)) else (0, 0)
        return ours == wanted or (isinstance(wanted, float) and math.isnan(ours) and math.isnan(wanted))
    return isinstance(ours, str) and int(ours) == wanted


# ---- the comparison ----

def by_pyarrow(path: Path) -> Any:
    """The table, or None when pyarrow refuses the file."""
    try:
        file = pq.ParquetFile(str(path), coerce_int96_timestamp_unit="us")
        table = file.read(use_threads=False)
        table.validate(full=True)
        return table
    except Exception:  # whatever it is: then it is no oracle
        return None


def columns_of(table: Any) -> List[Tuple[Leaf, List[Any]]]:
    found = []
    for i, field in enumerate(table.schema):
        try:
            values = table.column(i).cast(plain_type(field.type)).to_pylist() if not isinstance(field.type, pa.BaseExtensionType) else table.column(i).to_pylist()
        except (pa.ArrowException, UnicodeDecodeError):
            values = None
        found += [(leaf, None if values is None else [leaf.get(v) for v in values]) for leaf in leaves(field.type)]
    return found


def compare(path: Path, table: Any, rows_max: int) -> None:
    shown = tutti("schema", "--json", path)
    if shown.code:
        assert REFUSED.search(shown.err), shown.err
        return
    names = [column["path"] for column in json.loads(shown.out)["columns"]]
    theirs = columns_of(table)
    assert len(theirs) == len(names)
    wanted = [i for i, name in enumerate(names) if "," not in name and names.count(name) == 1]
    rows = rows_of(path, [names[i] for i in wanted], rows_max)
    for i, ours in zip(wanted, rows if rows is not None else [None] * len(wanted)):
        compare_column(path, names[i], theirs[i], ours, rows_max)


def rows_of(path: Path, names: List[str], rows_max: int) -> Optional[List[List[Any]]]:
    """Columns of rows; None: refused."""
    got = tutti("head", "-n", rows_max, *[arg for name in names for arg in ("--columns", name)], path)
    if got.code:
        return None
    lines = [json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str, parse_constant=str).decode(line.decode()) for line in got.out.splitlines()]
    return [[line[i][1] for line in lines] for i in range(len(names))]


def compare_column(path: Path, name: str, theirs: Tuple[Leaf, Optional[List[Any]]], ours: Optional[List[Any]], rows_max: int) -> None:
    leaf, values = theirs
    if ours is None:
        got = tutti("head", "-n", rows_max, "--columns", name, path)
        if got.code:
            assert REFUSED.search(got.err) or DAMAGED.get(path.name, "-") in got.err, "%s: %s" % (name, got.err)
            assert leaf.depth > 1 or "list of lists" not in got.err
            return
        ours = (rows_of(path, [name], rows_max) or [[]])[0]
    if values is None:
        return  # pyarrow reads it, but Python cannot say it
    assert len(ours) == len(values), name
    for i, (a, b) in enumerate(zip(ours, values)):
        assert same(leaf.type, a, b), "column %s, row %d: %r, pyarrow has %r (%s)" % (name, i, a, b, leaf.type)


def catalog(top: Path) -> List[str]:
    with open(top / "parquet" / "CATALOG.csv") as f:
        return [row["path"] for row in csv.DictReader(f)]


FOLDERS = ["arrow", "arrow-testing", "cudf", "fastparquet", "hyparquet", "parquet-java", "parquet-testing", "polars", "velox"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_corpora(shared: Path, folder: str, is_long: bool) -> None:
    faults: Dict[str, str] = {}
    compared, rows_max = 0, ROWS_MAX * (10 if is_long else 1)
    names = [name for name in catalog(shared) if name.split("/")[1] == folder]
    for i, name in enumerate(names):
        if "/fuzzing/" in name and i % 3 and not is_long:
            continue
        path = shared / name
        table = None if "/fuzzing/" in name or "/bad_data/" in name else by_pyarrow(path)
        try:
            if table is None:
                tutti("cat", path)
            else:
                compare(path, table.slice(0, rows_max), rows_max)
                compared += 1
        except (AssertionError, subprocess.TimeoutExpired, ValueError) as fault:
            faults[name] = str(fault).splitlines()[0][:400]
    assert not faults, "\n".join("%s: %s" % item for item in faults.items())
    assert compared


@pytest.mark.parametrize("options", [{"data_page_version": "2.0", "compression": "zstd"}, {"compression": "none"}, {"use_dictionary": False, "compression": "snappy"},
                                     {"data_page_version": "2.0", "compression": "none", "data_page_size": 3000}])
def test_rows_are_passed_over(tmp_path: Path, options: Dict[str, Any]) -> None:
    rows = 30_000
    table = pa.table({"n": pa.array(range(rows), pa.int64()), "s": pa.array([None if i % 7 == 0 else "t%d" % (i % 900) for i in range(rows)]),
                      "l": pa.array([["e%d" % k for k in range(i % 4)] if i % 5 else None for i in range(rows)], pa.list_(pa.string())),
                      "b": pa.array([i % 3 == 0 for i in range(rows)])})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=13_000, **options)
    for skip in (0, 1, 4095, 4096, 5000, 12_999, 13_000, 25_500, 29_999, 30_000, 40_000):
        got = tutti("head", "-n", 3, "--skip", skip, tmp_path / "a.parquet").out.splitlines()
        assert [json.loads(line) for line in got] == table.slice(skip, 3).to_pylist(), skip


def test_hints_of_pandas_and_arrow(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"c": pd.Categorical(["a", "b", "a"]), "n": pd.array([1, None, 3], dtype="Int64"), "s": ["x", "y", "z"],
                          "t": pd.to_datetime(["2024-01-01"] * 3).tz_localize("Europe/Berlin")}, index=["p", "q", "r"])
    frame.to_parquet(tmp_path / "pandas.parquet")
    table = pa.table({"c": pa.array(["a", "b"]).dictionary_encode(), "s": ["x", "y"], "t": pa.array([1, 2], pa.timestamp("us", "Asia/Tokyo")),
                      "l": pa.array([["a"], None], pa.list_(pa.dictionary(pa.int32(), pa.string())))})
    pq.write_table(table, tmp_path / "arrow.parquet")

    def columns(name: str) -> Dict[str, Any]:
        return {c["name"]: c for c in json.loads(tutti("schema", "--json", tmp_path / name).out)["columns"]}

    shown = columns("pandas.parquet")
    assert [n for n, c in shown.items() if c["category"]] == ["c"] and [n for n, c in shown.items() if c["index"]] == ["__index_level_0__"]
    assert shown["n"]["pandas_type"] == "Int64" and shown["t"]["zone"] == "Europe/Berlin" and shown["s"]["zone"] is None
    shown = columns("arrow.parquet")
    assert [n for n, c in shown.items() if c["category"]] == ["c", "l"] and shown["t"]["zone"] == "Asia/Tokyo"


def test_memory_is_of_a_batch_and_not_of_the_rows(tmp_path: Path) -> None:
    """A million rows in a few thousand bytes are read in the memory of a batch."""
    pq.write_table(pa.table({"a": pa.array([7] * 1_000_000, pa.int64())}), tmp_path / "one.parquet", row_group_size=1_000_000, store_schema=False)
    assert (tmp_path / "one.parquet").stat().st_size < 10_000
    got = tutti("head", "-n", 3, tmp_path / "one.parquet")
    assert got.out == b'{"a":7}\n' * 3
    peak = subprocess.run(["/usr/bin/env", "python3", "-c", "import resource,subprocess,sys;subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,check=True);"
                           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)", str(binary()), "parquet", "cat", str(tmp_path / "one.parquet")],
                          capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert int(peak.stdout) < (64 << 10) * (8 if "asan" in str(binary()) else 1)  # KiB: a batch, not a million rows
