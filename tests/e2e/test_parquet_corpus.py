"""Every Parquet file of the corpora is read as pyarrow reads it, or refused with the sentence that it must be refused with; the cases of fuzzers
are refused or read, and never end the program."""
from __future__ import annotations

import csv
import datetime
import decimal
import fnmatch
import json
import math
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
FILES_LIMIT_S = 300  # all of a corpus, under sanitizers on a busy machine
ROWS_MAX = 2_000  # compared of one file; with --long ten times as many
NO_PARQUET = "no Parquet file: "
LISTS_OF_LISTS = "is a list of lists, which is not supported: choose other columns"
# Why files that pyarrow reads, or that it refuses too, are refused: all of the file, or columns of it. Whatever is refused and not here is a fault, and so is what
# is here and not refused. Lists of lists are known from pyarrow's schema.
REFUSALS: Dict[str, str] = {
    "*/encoding-fuzzing/*": NO_PARQUET,
    "*/generated_simple_numerics/blogs.json": NO_PARQUET,
    "*/timestamp.data": NO_PARQUET,
    "*.crc": NO_PARQUET,
    "*/_SUCCESS": NO_PARQUET,
    "*/cudf/tests/data/parquet/delta_encoding.parquet": "its encoding is not supported for this type (unknown, INT64)",
    "*/cudf/tests/data/parquet/invalid-snappy.parquet": "its compressed bytes are damaged",
    "*/cudf/tests/data/parquet/nested-unsigned-malformed.parquet": "it has 4 values, the row group 2 rows",
    "*/split/_metadata": "its values lie in another file, which is not supported: read that file",
    "*/bad_data/ARROW-GH-41317.parquet": "a struct is cut off",
    "*/bad_data/ARROW-GH-41321.parquet": "its levels are longer than the page|its definition levels are malformed or too few|value count or encoding is missing or negative",
    "*/bad_data/ARROW-GH-45185.parquet": "its first list begins in the middle",
    "*/bad_data/ARROW-GH-47662.parquet": "it holds fewer values than it says",
    "*/bad_data/ARROW-RS-GH-6229-DICTHEADER.parquet": "it lies outside of the file|a page's value count or encoding is missing or negative",
    "*/bad_data/ARROW-RS-GH-6229-LEVELS.parquet": "it has more values than its chunk",
    "*/bad_data/PARQUET-1481.parquet": "column `Handle` is of a type that is not known",
    "*/encrypt_columns_plaintext_footer.parquet.encrypted": "it is encrypted, which is not supported: decrypt the file first",
    "*.parquet.encrypted": "the footer is encrypted, which is not supported: decrypt the file first",
    "*/datapage_v1-corrupt-checksum.parquet": "its checksum is wrong",
    "*/rle-dict-uncompressed-corrupt-checksum.parquet": "its checksum is wrong",
    "*/large_string_map.brotli.parquet": "a page of 1073741828 bytes (1627 packed) is over the limit of 268435456",
    "*/lzo.parquet": "the codec LZO is not supported: write the file with another one",
}
NOT_BY_PYARROW = ("large_string_map.brotli.parquet",)  # 4 GiB of memory and half a minute, and then it cannot
# Read though pyarrow refuses them (it wants the keys of maps to be required): what they hold, as hyparquet's and velox' own tests say.
ONLY_OURS = {
    "incorrect_map_schema.parquet": {"my_map.key_value.key": [["parent", "name"]], "my_map.key_value.value": [["another", "report"]]},
    "row_map_array.parquet": {"c.c0": [1], "c.c1.key_value.key": [["a", "b"]], "c.c1.key_value.value.bag.array_element": LISTS_OF_LISTS},
}


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
    if isinstance(wanted, decimal.Decimal):
        return decimal.Decimal(ours) == wanted
    if isinstance(wanted, float):
        ours = float(ours)
        if math.isnan(ours) and math.isnan(wanted):
            return True
        if pa.types.is_float32(t) or pa.types.is_float16(t):
            ours, wanted = (struct.pack("<f", x) for x in (ours, wanted))
        return ours == wanted
    return type(ours) is type(wanted) and ours == wanted


def kinds(values: List[Any]) -> List[Any]:
    return [kinds(v) if isinstance(v, list) else type(v) for v in values]


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


def columns_of(table: Any) -> List[Tuple[Leaf, Optional[List[Any]]]]:
    """By leaf; None: pyarrow reads it, but Python cannot say it."""
    found = []
    for i, field in enumerate(table.schema):
        try:
            values = table.column(i).cast(plain_type(field.type)).to_pylist() if not isinstance(field.type, pa.BaseExtensionType) else table.column(i).to_pylist()
        except (pa.ArrowException, UnicodeDecodeError):
            values = None
        found += [(leaf, None if values is None else [leaf.get(v) for v in values]) for leaf in leaves(field.type)]
    return found


NUMBERS = json.JSONDecoder(parse_float=str)  # with all their digits


def tool(paths: List[Path], rows_max: int) -> List[List[Dict[str, Any]]]:
    """What parquet_tool says of each file, all in one process. One that ends before its time is an error that names the file."""
    program = binary().parent / "tests" / "unit" / "parquet_tool"
    if not program.exists():
        pytest.skip("%s is not built (script/build --all)" % program)
    asked = "".join("%d %s\n" % (rows_max, path) for path in paths)
    done = subprocess.run([str(program)], input=asked.encode(), capture_output=True, timeout=FILES_LIMIT_S)
    said: List[List[Dict[str, Any]]] = [[]]
    for line in done.stdout.decode().splitlines():
        one = NUMBERS.decode(line)
        if "done" in one:
            said.append([])
        else:
            said[-1].append(one)
    said.pop()
    assert len(said) == len(paths), "it ended with %s: %s" % (paths[len(said)], done.stderr.decode(errors="replace")[-2000:])
    assert done.returncode == 0 and not done.stderr, done.stderr.decode(errors="replace")[-2000:]
    return said


def reason_for(path: Path) -> Optional[str]:
    return next((reason for pattern, reason in REFUSALS.items() if fnmatch.fnmatch(str(path), pattern)), None)


def check_refusals(path: Path, said: List[Dict[str, Any]], depths: Dict[str, int]) -> None:
    """Every refusal has the reason that it must have, and what must be refused is."""
    reason, met = reason_for(path), 0
    for one, name in zip(said, ["", *said[0].get("names", []), ""]):
        if "error" not in one:
            assert depths.get(name, 0) < 2, "%s is read, and must not be" % name
            continue
        assert one["error"].startswith(str(path) + ": "), one["error"]
        if depths.get(name, 0) > 1:
            assert LISTS_OF_LISTS in one["error"], one["error"]
            continue
        assert reason and any(part in one["error"] for part in reason.split("|")), one["error"]
        met += 1
    assert bool(met) == bool(reason), "it is not refused as it should: %s" % reason


def compare_column(name: str, leaf: Leaf, ours: List[Any], theirs: List[Any]) -> None:
    assert len(ours) == len(theirs), "%s has %d rows, pyarrow has %d" % (name, len(ours), len(theirs))
    if pa.types.is_float64(leaf.type) and leaf.depth == 0:
        ours = [None if v is None else float(v) for v in ours]
    if ours == theirs and kinds(ours) == kinds(theirs):
        return
    for i, (a, b) in enumerate(zip(ours, theirs)):
        assert same(leaf.type, a, b), "column %s, row %d: %r, pyarrow has %r (%s)" % (name, i, a, b, leaf.type)


def compare(path: Path, said: List[Dict[str, Any]], table: Any, rows_max: int) -> None:
    names = said[0].get("names", [])
    theirs = columns_of(table.slice(0, rows_max))
    assert len(theirs) == len(names) or "error" in said[0]
    check_refusals(path, said, {name: leaf.depth for name, (leaf, _) in zip(names, theirs)})
    for name, one, (leaf, values) in zip(names, said[1:], theirs):
        if "values" in one and values is not None:
            compare_column(name, leaf, one["values"], values)
    assert said[-1].get("rows", table.num_rows) == table.num_rows


def check_file(path: Path, said: List[Dict[str, Any]], rows_max: int) -> bool:
    """True: it was compared."""
    assert said
    if "/fuzzing/" in str(path):  # read, or refused, and not more is known
        assert all(one["error"].startswith(str(path) + ": ") for one in said if "error" in one)
        return False
    table = by_pyarrow(path) if path.name not in NOT_BY_PYARROW else None
    if table is not None:
        compare(path, said, table, rows_max)
        return True
    if path.name not in ONLY_OURS:
        nested = {name: 2 for name, one in zip(said[0].get("names", []), said[1:]) if LISTS_OF_LISTS in one.get("error", "")}
        check_refusals(path, said, nested)
        assert reason_for(path), "pyarrow refuses it, and nobody says what it holds"
        return False
    for (name, values), one in zip(ONLY_OURS[path.name].items(), said[1:]):
        assert one.get("values") == values or (isinstance(values, str) and values in one["error"]), name
    return True


def catalog(top: Path) -> Dict[str, Dict[str, str]]:
    with open(top / "parquet" / "CATALOG.csv") as f:
        return {row["path"]: row for row in csv.DictReader(f)}


def check_catalog(row: Dict[str, str], said: List[Dict[str, Any]]) -> None:
    """What another reader of footers found."""
    if not row["parse_error"] and said[0].get("names"):
        assert len(said[0]["names"]) == int(row["leaf_columns"])
        assert said[-1].get("rows", int(row["rows"])) == int(row["rows"]) or row["rows"] == "0"  # which an old parquet-rs left in the footer


FOLDERS = ["arrow", "arrow-testing", "cudf", "fastparquet", "hyparquet", "parquet-java", "parquet-testing", "polars", "velox"]


def test_no_file_of_the_corpora_is_left_out(shared: Path) -> None:
    """Every file that begins or ends as Parquet does stands in the catalog, and every folder of the catalog is gone through."""
    def is_parquet(path: Path) -> bool:
        content = path.read_bytes()
        return content[:4] in (b"PAR1", b"PARE") or content[-4:] in (b"PAR1", b"PARE")

    names = catalog(shared)
    assert {name.split("/")[1] for name in names} == set(FOLDERS)
    there = {str(path.relative_to(shared)) for path in (shared / "parquet").rglob("*") if path.is_file() and is_parquet(path)}
    assert there <= set(names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_corpora(shared: Path, folder: str, is_long: bool) -> None:
    faults: Dict[str, str] = {}
    compared, rows_max = 0, ROWS_MAX * (10 if is_long else 1)
    rows = catalog(shared)
    paths = [shared / name for name in rows if name.split("/")[1] == folder]
    for path, said in zip(paths, tool(paths, rows_max)):
        try:
            check_catalog(rows[str(path.relative_to(shared))], said)
            compared += check_file(path, said, rows_max)
        except (AssertionError, ValueError, KeyError) as fault:
            faults[str(path)] = str(fault).splitlines()[0][:400]
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


# ---- the answers that lie beside hyparquet's files ----

def answer_leaves(schema: List[Dict[str, Any]]) -> List[Optional[Tuple[Dict[str, Any], Callable[[List[Any]], Any], bool]]]:
    """Of each leaf: its element, its value in a row, whether it is a list; None where their form of the row does not say it (maps, lists of structs, variants)."""
    found: List[Any] = []

    def walk(i: int, get: Any, is_list: bool, listed: Optional[Dict[str, Any]]) -> int:
        element, after = schema[i], i + 1
        count, name = element.get("num_children", 0), element["name"]
        repeats = element.get("repetition_type") == "REPEATED"
        annotated = element.get("converted_type") == "LIST" or element.get("logical_type", {}).get("type") == "LIST"
        layer = listed is not None and repeats and count == 1 and not is_list  # the repeated group of three levels: not in the row
        inside = get if layer or (listed is not None and not repeats) else get and (lambda row: None if get(row) is None else get(row).get(name) if isinstance(get(row), dict) else ...)
        if repeats and not layer or is_list and count or element.get("converted_type", "").startswith("MAP") or element.get("logical_type", {}).get("type") in ("MAP", "VARIANT"):
            inside = None
        if not count:
            found.append((element, inside, is_list) if inside else None)
        for _ in range(count):
            after = walk(after, inside, is_list or layer, element if annotated else schema[i] if layer else None)
        return after

    after, fields = 1, schema[0].get("num_children", 0)
    for k in range(fields):
        name = schema[after]["name"]
        after = walk(after, lambda row, k=k, name=name: {name: row[k]}, False, None)
    return found


def says(element: Dict[str, Any], ours: Any, theirs: Any) -> bool:
    if ours is None or theirs is None or theirs is ...:
        return ours is theirs or theirs is ... or (theirs is None and ours != ours)  # NaN is null there
    if isinstance(theirs, list) and isinstance(ours, str):  # bytes
        return (bytes.fromhex(ours[2:]) if ours.startswith("\\x") else ours.encode()) == bytes(theirs)
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(says(element, a, b) for a, b in zip(ours, theirs))
    if isinstance(theirs, dict) or (isinstance(ours, str) and ours.startswith("\\x")):
        return True  # a document, a geometry: bytes to us
    if isinstance(theirs, bool):
        return ours is theirs
    if isinstance(theirs, (int, float)):
        return math.isclose(float(ours), theirs, rel_tol=1e-6 if element["type"] == "FLOAT" else 1e-14)
    if "T" in theirs and theirs.endswith("Z"):  # milliseconds there
        day, _, time = str(ours).rstrip("Z").partition("T")
        return "%sT%s" % (day, ((time or "00:00:00") + ("" if "." in time else ".000"))[:12]) == theirs[:-1] or (len(day) > 10)
    return ours == theirs


def compare_answers(path: Path, said: List[Dict[str, Any]]) -> int:
    schema = json.loads(path.with_suffix(".metadata.json").read_text())["schema"]
    rows, compared = json.loads(path.with_suffix(".json").read_text()), 0
    leaves_there = answer_leaves(schema)
    assert len(leaves_there) == len(said[0]["names"])
    for name, one, leaf in zip(said[0]["names"], said[1:], leaves_there):
        if leaf is None or "values" not in one:
            continue
        element, get, _ = leaf
        assert len(one["values"]) == len(rows), name
        for i, (ours, row) in enumerate(zip(one["values"], rows)):
            assert says(element, ours, get(row)), "%s, row %d: %r, there %r" % (name, i, ours, get(row))
        compared += 1
    return compared


def compare_metadata(path: Path) -> None:
    there = json.loads(path.with_suffix(".metadata.json").read_text())
    shown = [json.loads(line) for line in tutti("stat", "--json", path).out.splitlines()]
    chunks = [(group, column["meta_data"]) for group in there["row_groups"] for column in group["columns"]]
    assert len(shown) == len(chunks)
    for ours, (group, meta) in zip(shown, chunks):
        assert ours["rows"] == group["num_rows"] and ours["values"] == meta["num_values"] and ours["codec"] == meta["codec"]
        assert (ours["bytes"], ours["unpacked_bytes"]) == (meta["total_compressed_size"], meta["total_uncompressed_size"])
        assert set(ours["encodings"]) == set(meta["encodings"]), ours["column"]
        statistics = meta.get("statistics", {})
        assert ours["nulls"] == statistics.get("null_count", -1), ours["column"]
        for side in ("min", "max"):
            said_there = statistics.get(side + "_value", statistics.get(side))
            assert ours[side] is None or says({"type": meta["type"]}, ours[side], said_there), (ours["column"], side, ours[side], said_there)


def test_the_answers_beside_the_files(shared: Path) -> None:
    paths = sorted(path for path in (shared / "parquet" / "hyparquet").rglob("*.parquet") if path.with_suffix(".metadata.json").exists() and path.with_suffix(".json").exists())
    assert paths
    faults, compared = [], 0
    for path, said in zip(paths, tool(paths, 10_000)):
        try:
            compare_metadata(path)
            compared += compare_answers(path, said)
        except AssertionError as fault:
            faults.append("%s: %s" % (path.name, str(fault).splitlines()[0][:300]))
    assert not faults, "\n".join(faults)
    assert compared > 400
