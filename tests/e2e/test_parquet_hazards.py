"""Files made by hand, each with one thing wrong, are refused with its sentence; those that are odd but sound, as writers of all times made them, are read."""
from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple, Union

import parquet_bomb
import pytest
from parquet_forge import (BIT_PACKED, BOOLEAN, BYTES, BINARY, CODES, DELTA, DELTA_BYTES, DELTA_LENGTH, DOUBLES, FIXED, FLOAT, I8, I32, I64, INT32, INT64, INT96, LIST, OPTIONAL, PLAIN, REPEATED,
                           REQUIRED, RLE, SPLIT, STRUCT, TRUE, Column, data, data_v2, dictionary, ended, fields, file, group, ints, leaf, levels, packed, page, run, texts, varint)
from test_parquet_corpus import tool, tutti
from tutti_process import binary

SNAPPY, GZIP, LZO, BROTLI, LZ4, ZSTD, LZ4_RAW = 1, 2, 3, 4, 5, 6, 7
# What is read of the first column (values, or a sentence that refuses it), or a sentence that refuses the file.
Cases = Dict[str, Tuple[bytes, Union[List[Any], str]]]


def check(folder: Path, cases: Cases) -> None:
    paths = []
    for name, (content, _) in cases.items():
        paths.append(folder / (name.replace(" ", "_").replace("/", "-") + ".parquet"))
        paths[-1].write_bytes(content)
    faults = []
    for (name, (_, wanted)), said in zip(cases.items(), tool(paths, 1000)):
        column = said[1] if len(said) > 1 else said[0]
        got = column.get("values", column.get("error", said[0].get("error")))
        if isinstance(wanted, str) and isinstance(got, list):  # the values may be good, and the rows behind them not
            got = said[-1].get("error", got)
        if not (wanted in got if isinstance(wanted, str) and isinstance(got, str) else got == wanted):
            faults.append("%s: %r, not %r" % (name, got, wanted))
    assert not faults, "\n".join(faults)


def flat(pages: bytes, rows: int, kind: int = INT32, repetition: int = REQUIRED, more: Any = (), codec: int = 0, values: Any = None, **rest: Any) -> bytes:
    """A file of one flat column."""
    return file([Column([leaf(b"c", kind, repetition, *more)], pages, rows if values is None else values, codec, rest.pop("meta", []), rest.pop("chunk", []))], rows, **rest)


def lists(pages: bytes, rows: int, slots: int, kind: int = INT32, **rest: Any) -> bytes:
    """optional list of optional values: levels up to 3 and 1."""
    return file([Column([group(b"c", 1, OPTIONAL, (6, I32, 3)), group(b"list", 1, REPEATED), leaf(b"element", kind, OPTIONAL)], pages, slots, **rest)], rows)


GOOD = data(3, ints(1, 2, 3))
ONE_BIT = levels(run(1, 3, 1))


def test_the_ends_of_the_file_and_its_footer(tmp_path: Path) -> None:
    good = flat(GOOD, 3)
    footer = good[-8 - struct.unpack("<I", good[-8:-4])[0]:-8]
    elements = [group(b"schema", 1), leaf(b"c", INT32)]
    check(tmp_path, {
        "good": (good, [1, 2, 3]),
        "short": (b"PAR1PAR1", "only 8 bytes long"),
        "encrypted": (good[:-4] + b"PARE", "the footer is encrypted"),
        "no magic before": (b"par1" + good[4:], "does not begin and end with PAR1"),
        "no magic behind": (good[:-1] + b"2", "does not begin and end with PAR1"),
        "footer beyond": (good[:-8] + struct.pack("<I", len(good) - 11) + b"PAR1", "is longer than the file"),
        "footer cut": (good[:-8 - len(footer)] + ended(footer[:-9]), "the footer cannot be read"),
        "no schema": (flat(GOOD, 3, by=[(2, LIST, (STRUCT, []))]), "the footer has no schema"),
        "rows below zero": (flat(GOOD, 3, by=[(3, I64, -1)]), "the footer claims -1 rows"),
        "rows that differ": (flat(GOOD, 3, by=[(3, I64, 4)]), [1, 2, 3]),
        "group's rows below zero": (flat(GOOD, 3, group_by=[(3, I64, -3)]), "row group 0 claims -3 rows"),
        "no chunk": (flat(GOOD, 3, group_by=[(1, LIST, (STRUCT, []))]), "row group 0 has 0 columns, the schema 1"),
        "other type": (flat(GOOD, 3, meta=[(1, I32, INT64)]), "the chunk's type is INT64, the schema's INT32"),
        "unknown type in chunk": (flat(GOOD, 3, meta=[(1, I32, 99)]), "the chunk's type is unknown, the schema's INT32"),
        "values below zero": (flat(GOOD, 3, meta=[(5, I64, -3)]), "a size is negative"),
        "offset below zero": (flat(GOOD, 3, meta=[(9, I64, -4)]), "a size is negative"),
        "offset beyond": (flat(GOOD, 3, meta=[(9, I64, 1 << 40)]), "it lies outside of the file"),
        "offset and length wrap": (flat(GOOD, 3, meta=[(7, I64, (1 << 63) - 1), (9, I64, (1 << 63) - 1)]), "it lies outside of the file"),
        "length beyond": (flat(GOOD, 3, meta=[(7, I64, 1 << 40)]), "it lies outside of the file"),
        "length a little short": (flat(GOOD, 3, meta=[(7, I64, len(GOOD) - 5)]), [1, 2, 3]),  # parquet-mr up to 1.2.8
        "unknown codec": (flat(GOOD, 3, codec=99), "its codec is unknown"),
        "codec below zero": (flat(GOOD, 3, codec=-1), "its codec is unknown"),
        "lzo": (flat(GOOD, 3, codec=LZO), "the codec LZO is not supported"),
        "elsewhere": (flat(GOOD, 3, chunk=[(1, BINARY, b"other.parquet")]), "its values lie in another file"),
        "column encrypted": (flat(GOOD, 3, chunk=[(8, STRUCT, [(1, STRUCT, [])])]), "it is encrypted"),
        "no metadata": (flat(GOOD, 3, chunk=[(3, 0, None)]), "the footer cannot be read: a field has an unknown type"),
        "metadata is a number": (flat(GOOD, 3, chunk=[(3, I64, 1)]), "a column's metadata is malformed"),
        "more values than rows": (flat(GOOD, 2, values=3), "it has 3 values, the row group 2 rows"),
        "encodings of booleans": (flat(GOOD, 3, meta=[(2, LIST, bytes([0x21, 1, 1]))]), "encodings are malformed"),
        "no encodings": (flat(GOOD, 3, meta=[(2, LIST, (I32, []))]), [1, 2, 3]),
        "a longer list than bytes": (flat(GOOD, 3, by=[(5, LIST, b"\xfc" + varint(1 << 30))]), "a list is longer than what is left"),
        "a vendor's field": (flat(GOOD, 3, by=[(32767, BINARY, b"anything")]), [1, 2, 3]),
        "a vendor's field below zero": (good[:-8 - len(footer)] + ended(b"\x08\xff\xff\x01\x03abc" + footer), "the footer has no schema"),  # the fields behind it are counted from it
        "a type that is a string": (flat(GOOD, 3, schema=[elements[0], [(1, BINARY, b"x"), (3, I32, 0), (4, BINARY, b"c")]]), "has neither a type nor members"),
        "columns of one name": (file([Column([leaf(b"c", INT32)], GOOD, 3), Column([leaf(b"c", INT32)], data(3, ints(4, 5, 6)), 3)], 3), [1, 2, 3]),
        "a name of any bytes": (file([Column([leaf(b"a.\0b\xff", INT32)], GOOD, 3)], 3), [1, 2, 3]),
    })
    assert "the footer says 4: the row groups count" in tutti("schema", tmp_path / "rows_that_differ.parquet").err


def test_the_tree_of_the_schema(tmp_path: Path) -> None:
    c = leaf(b"c", INT32)

    def tree(*elements: Any) -> bytes:
        return flat(GOOD, 3, schema=list(elements))

    check(tmp_path, {
        "members below zero": (tree(group(b"schema", -1), c), "claims -1 members"),
        "more members": (tree(group(b"schema", 2), c), "the schema's tree does not fit"),
        "fewer members": (tree(group(b"schema", 1), c, c), "the schema's tree does not fit"),
        "far more members": (tree(group(b"schema", 2**31 - 1), c), "the schema's tree does not fit"),
        "an empty group": (tree(group(b"schema", 2), group(b"g", 0), c), "`g` in the schema has neither a type nor members"),
        "a leaf with members": (tree(group(b"schema", 1), [*c, (5, I32, 1)], c), "`c` in the schema has both a type and members"),
        "deep": (tree(group(b"schema", 1), *[group(b"g", 1) for _ in range(64)], c), "the schema is more than 64 levels deep"),
        "just not too deep": (tree(group(b"schema", 1), *[group(b"g", 1) for _ in range(63)], c), [1, 2, 3]),
        "type 8": (tree(group(b"schema", 1), leaf(b"c", 8)), "is of a type that is not known"),
        "type -1": (tree(group(b"schema", 1), leaf(b"c", -1)), "is of a type that is not known"),
        "type 2147483647": (tree(group(b"schema", 1), leaf(b"c", 2**31 - 1)), "is of a type that is not known"),
        "repetition 3": (tree(group(b"schema", 1), leaf(b"c", INT32, 3)), "neither required nor optional nor repeated"),
        "repetition -1": (tree(group(b"schema", 1), leaf(b"c", INT32, -1)), "neither required nor optional nor repeated"),
        "converted type 2147483647": (tree(group(b"schema", 1), leaf(b"c", INT32, 0, (6, I32, 2**31 - 1))), [1, 2, 3]),
        "fixed of 0 bytes": (tree(group(b"schema", 1), leaf(b"c", FIXED, 0, (2, I32, 0))), "has values of 0 bytes"),
        "fixed of -1 bytes": (tree(group(b"schema", 1), leaf(b"c", FIXED, 0, (2, I32, -1))), "has values of -1 bytes"),
        "fixed of too many bytes": (tree(group(b"schema", 1), leaf(b"c", FIXED, 0, (2, I32, 2**21))), "has values of 2097152 bytes"),
        "a decimal of no digits": (tree(group(b"schema", 1), leaf(b"c", INT32, 0, (6, I32, 5), (7, I32, 2), (8, I32, 0))), [1, 2, 3]),
        "a decimal of a mad scale": (tree(group(b"schema", 1), leaf(b"c", INT32, 0, (6, I32, 5), (7, I32, 2**31 - 1), (8, I32, 9))), [1, 2, 3]),
        "an annotation of a later time": (tree(group(b"schema", 1), leaf(b"c", INT32, 0, (10, STRUCT, [(40, STRUCT, [])]))), [1, 2, 3]),
        "an annotation that does not fit": (tree(group(b"schema", 1), leaf(b"c", INT32, 0, (6, I32, 0))), [1, 2, 3]),
    })


def test_headers_of_pages(tmp_path: Path) -> None:
    few = data(3, ints(1, 2, 3), unpacked=-1)
    check(tmp_path, {
        "unpacked below zero": (flat(few, 3), "a page's size is missing or negative"),
        "packed below zero": (flat(data(3, ints(1, 2, 3), packed=-1), 3), "a page's size is missing or negative"),
        "longer than the chunk": (flat(data(3, ints(1, 2, 3), packed=1 << 20), 3), "it is longer than its chunk"),
        "values below zero": (flat(data(-3, ints(1, 2, 3)), 3), "value count or encoding is missing or negative"),
        "more values than the chunk": (flat(data(4, ints(1, 2, 3, 4)), 3), "it has more values than its chunk"),
        "fewer values than the chunk": (flat(data(2, ints(1, 2)), 3), "page"),
        "sizes differ without codec": (flat(data(3, ints(1, 2, 3), unpacked=16), 3), "its packed and unpacked sizes differ without a codec"),
        "more than snappy can": (flat(data(3, b"\0" * 12, unpacked=1 << 20), 3, codec=SNAPPY), "its unpacked size is more than its bytes can hold"),
        "more than gzip can": (flat(data(3, b"\0" * 12, unpacked=1 << 20), 3, codec=GZIP), "its unpacked size is more than its bytes can hold"),
        "more than lz4 can": (flat(data(3, b"\0" * 12, unpacked=1 << 20), 3, codec=LZ4_RAW), "its unpacked size is more than its bytes can hold"),
        "more than the limit": (flat(data(3, b"\0" * 12, unpacked=1 << 30), 3, codec=ZSTD), "is over the limit of 268435456"),
        "pages without values": (flat(data(0, b"") * 5 + GOOD + data(0, b""), 3), [1, 2, 3]),
        "no header at all": (flat(b"\0" * 100, 3), "a page's size is missing or negative"),
        "unknown kinds of pages": (flat(page(17, b"what", []) + page(1, b"an index", [(6, STRUCT, [])]) + GOOD, 3), [1, 2, 3]),
        "v2 levels longer than packed": (flat(data_v2(3, b"", lengths=(1, 0), defs=b""), 3), "a page's levels are longer than the page"),
        "v2 levels that wrap": (flat(data_v2(3, ints(1, 2, 3), lengths=(2**31 - 1, 2**31 - 1)), 3), "a page's levels are longer than the page"),
        "v2 levels below zero": (flat(data_v2(3, ints(1, 2, 3), lengths=(-1, 1)), 3), "a page's levels are longer than the page"),
        "v2 more nulls than values": (flat(data_v2(3, ints(1, 2, 3), nulls=4), 3), "a page's counts contradict each other"),
        "v2 more rows than values": (flat(data_v2(3, ints(1, 2, 3), rows=4), 3), "a page's counts contradict each other"),
        "v2 fewer rows than values": (flat(data_v2(3, ints(1, 2, 3), rows=2), 3), "it has not one value per row"),
        "v2 levels of none": (flat(data_v2(3, ints(1, 2, 3), reps=b"\6\0", defs=b"\6\0"), 3), [1, 2, 3]),  # Athena
        "a checksum that is a string": (flat(fields([(1, I32, 0), (2, I32, 12), (3, I32, 12), (4, BINARY, b"x"), (5, STRUCT, [(1, I32, 3), (2, I32, 0), (3, I32, 3), (4, I32, 3)])]) + ints(1, 2, 3), 3), [1, 2, 3]),
        "a wrong checksum": (flat(fields([(1, I32, 0), (2, I32, 12), (3, I32, 12), (4, I32, 5), (5, STRUCT, [(1, I32, 3), (2, I32, 0), (3, I32, 3), (4, I32, 3)])]) + ints(1, 2, 3), 3), "its checksum is wrong"),
    })


def test_levels(tmp_path: Path) -> None:
    nothing = dict(repetition=OPTIONAL)
    two_of_three = packed([1, 0, 1], 1)
    list_levels = packed([0, 1, 0, 0, 0], 1), packed([3, 2, 3, 1, 0], 2)  # [1, null], [2], [], null
    listed = [[1, None], [2], [], None]
    check(tmp_path, {
        "no length": (flat(data(3, b"\1\0"), 3, **nothing), "its levels are missing"),
        "length beyond": (flat(data(3, struct.pack("<I", 99) + b"\6\1" + ints(1, 2, 3)), 3, **nothing), "its levels are longer than the page"),
        "too few": (flat(data(3, levels(run(1, 2, 1)) + ints(1, 2, 3)), 3, **nothing), "definition levels are malformed or too few"),
        "none": (flat(data(3, levels(b"") + ints(1, 2, 3)), 3, **nothing), "definition levels are malformed or too few"),
        "a run of no values": (flat(data(3, levels(b"\0\1" * 9) + ints(1, 2, 3)), 3, **nothing), "definition levels are malformed or too few"),
        "above the highest": (flat(data(3, levels(run(2, 3, 1)) + ints(1, 2, 3)), 3, **nothing), "definition levels are malformed or too few"),
        "one null": (flat(data(3, levels(two_of_three) + ints(1, 2)), 3, **nothing), [1, None, 2]),
        "fewer values than levels": (flat(data(3, levels(two_of_three) + ints(1)), 3, **nothing), "it holds fewer values than it says"),
        "bits, highest first": (flat(data(3, b"\xa0" + ints(1, 2), levels=(BIT_PACKED, BIT_PACKED)), 3, **nothing), [1, None, 2]),
        "bits, cut": (flat(data(9, b"\xa0", levels=(BIT_PACKED, BIT_PACKED)), 9, **nothing), "its levels are longer than the page"),
        "bits are stamped where there are none": (flat(data(3, ints(1, 2, 3), levels=(BIT_PACKED, BIT_PACKED)), 3), [1, 2, 3]),
        "an encoding that levels have not": (flat(data(3, ONE_BIT + ints(1, 2, 3), levels=(DELTA, RLE)), 3, **nothing), "its encoding is not supported"),
        "v2": (flat(data_v2(3, ints(1, 2), nulls=1, defs=two_of_three), 3, **nothing), [1, None, 2]),
        "v2 with more nulls than it says": (flat(data_v2(3, ints(1, 2), nulls=0, defs=two_of_three), 3, **nothing), "it has more nulls than it says, or fewer"),
        "v2 with fewer nulls than it says": (flat(data_v2(3, ints(1, 2), nulls=2, defs=two_of_three), 3, **nothing), "it has more nulls than it says, or fewer"),
        "lists": (lists(data(5, levels(list_levels[0]) + levels(list_levels[1]) + ints(1, 2)), 4, 5), listed),
        "lists of v2": (lists(data_v2(5, ints(1, 2), nulls=3, rows=4, reps=list_levels[0], defs=list_levels[1]), 4, 5), listed),
        "lists of v2 that are counted as slots": (lists(data_v2(5, ints(1, 2), nulls=3, rows=5, reps=list_levels[0], defs=list_levels[1]), 4, 5), listed),  # pyarrow before 12
        "lists of v2 with fewer rows": (lists(data_v2(5, ints(1, 2), nulls=3, rows=3, reps=list_levels[0], defs=list_levels[1]), 4, 5), "it has more lists than it says, or fewer"),
        "more lists than rows": (lists(data(5, levels(list_levels[0]) + levels(list_levels[1]) + ints(1, 2)), 3, 5), "hold more rows than the row group"),
        "fewer lists than rows": (lists(data(5, levels(list_levels[0]) + levels(list_levels[1]) + ints(1, 2)), 5, 5), "hold fewer rows than the row group"),
        "more pages than rows": (lists(data(1, levels(run(0, 1, 1)) + levels(run(3, 1, 2)) + ints(1)) * 2, 1, 2), "hold more rows than the row group"),
        "the first list begins in the middle": (lists(data(2, levels(run(1, 2, 1)) + levels(run(3, 2, 2)) + ints(1, 2)), 2, 2), "its first list begins in the middle"),
        "a list over pages": (lists(data(2, levels(run(0, 2, 1)) + levels(run(3, 2, 2)) + ints(1, 2)) + data(1, levels(run(1, 1, 1)) + levels(run(3, 1, 2)) + ints(3)), 2, 3), [[1], [2, 3]]),
        "a list over pages of v2": (lists(data_v2(2, ints(1, 2), rows=1, reps=packed([0, 1], 1), defs=run(3, 2, 2)) + data_v2(2, ints(3, 4), rows=1, reps=packed([1, 0], 1), defs=run(3, 2, 2)), 2, 4),
                                    "its first list begins in the middle"),
        "lists that contradict": (lists(data(2, levels(packed([0, 1], 1)) + levels(packed([3, 0], 2)) + ints(1)), 1, 2), "its levels contradict each other"),
        "too few of lists": (lists(data(5, levels(run(0, 3, 1)) + levels(list_levels[1]) + ints(1, 2)), 4, 5), "its levels are malformed or too few"),
    })


def test_lists_are_passed_over_whatever_pages_say_of_their_rows(tmp_path: Path) -> None:
    """Of pages of version 2 pyarrow before 12 gave the number of slots for that of rows, and let a list go on in the next page."""
    pages, slots = b"", 0
    for i in range(30):  # lists of three: 0 0 0, 1 1 1, ...; pages of 1000 slots cut every third one
        values = [k // 3 for k in range(i * 1000, (i + 1) * 1000)]
        pages += data_v2(1000, ints(*values), rows=1000, reps=packed([int(k % 3 > 0) for k in range(i * 1000, (i + 1) * 1000)], 1), defs=run(3, 1000, 2))
        slots += 1000
    (tmp_path / "a.parquet").write_bytes(lists(pages, slots // 3, slots))
    for skip in (1, 333, 334, 5000, 9998):
        got = [json.loads(line)["c"] for line in tutti("head", "-n", 2, "--skip", skip, tmp_path / "a.parquet").out.splitlines()]
        assert got == [[skip] * 3, [skip + 1] * 3], skip


def test_dictionaries(tmp_path: Path) -> None:
    two = dictionary(2, ints(7, 8))
    codes = b"\1" + packed([0, 1, 0], 1)
    wide = b"\x09" + packed([0, 1, 0], 9)
    check(tmp_path, {
        "good": (flat(two + data(3, codes, CODES), 3), [7, 8, 7]),
        "wider than need be": (flat(two + data(3, wide, CODES), 3), [7, 8, 7]),
        "as it was written first": (flat(dictionary(2, ints(7, 8), 2) + data(3, codes, 2), 3), [7, 8, 7]),
        "mixed with plain pages": (flat(two + data(3, codes, CODES) + data(2, ints(9, 10)), 5), [7, 8, 7, 9, 10]),
        "more values in the last group": (flat(two + data(3, b"\1" + varint(32 << 1 | 1) + b"\2" + b"\0" * 31, CODES), 3), [7, 8, 7]),  # DuckDB
        "a cut last group": (flat(two + data(25, b"\5" + varint(4 << 1 | 1) + b"\x21\x84\x10\x42\x08" * 3 + b"\1", CODES), 25), [8] * 25),  # Arrow's issue 47981
        "a group cut too short": (flat(two + data(25, b"\5" + varint(4 << 1 | 1) + b"\x21\x84\x10\x42\x08" * 3, CODES), 25), "it holds fewer values than it says"),
        "width 0 without a run": (flat(dictionary(1, ints(7)) + data(3, b"\0", CODES), 3), [7, 7, 7]),
        "width 0 with a run": (flat(dictionary(1, ints(7)) + data(3, b"\0" + run(0, 3, 0), CODES), 3), [7, 7, 7]),
        "width 33": (flat(two + data(3, b"\x21" + b"\0" * 99, CODES), 3), "its codes have more than 32 bits"),
        "no width": (flat(two + data(3, b"", CODES), 3), "it holds fewer values than it says"),
        "the last code is beyond": (flat(two + data(3, b"\2" + packed([0, 1, 2], 2), CODES), 3), "a code is not in the dictionary"),
        "a run beyond": (flat(two + data(3, b"\2" + run(3, 3, 2), CODES), 3), "a code is not in the dictionary"),
        "a wide run beyond": (flat(two + data(3, b"\x20" + run(2**32 - 1, 3, 32), CODES), 3), "a code is not in the dictionary"),
        "junk above the width": (flat(two + data(3, b"\1" + b"\6\x81", CODES), 3), "a code is not in the dictionary"),
        "no dictionary": (flat(data(3, codes, CODES), 3), "it needs a dictionary, and there is none"),
        "two dictionaries": (flat(two + two + data(3, codes, CODES), 3), "a second dictionary, or one behind values"),
        "a dictionary behind values": (flat(GOOD + two + data(3, codes, CODES), 6), "a second dictionary, or one behind values"),
        "more entries than bytes": (flat(dictionary(3, ints(7, 8)) + data(3, codes, CODES), 3), "its dictionary claims more entries than it has bytes"),
        "entries below zero": (flat(dictionary(-1, ints(7, 8)) + data(3, codes, CODES), 3), "value count or encoding is missing or negative"),
        "texts that are longer": (flat(dictionary(1, b"\xff\xff\xff\x7fab") + data(3, b"\0", CODES), 3, BYTES), "a value is longer than the page"),
        "of booleans": (flat(dictionary(1, b"\1") + data(3, b"\0", CODES), 3, BOOLEAN), "its dictionary's encoding is not supported"),
        "in another encoding": (flat(dictionary(2, ints(7, 8), DELTA) + data(3, codes, CODES), 3), "its dictionary's encoding is not supported"),
        "empty, of nulls": (flat(dictionary(0, b"") + data(3, levels(run(0, 3, 1)), CODES), 3, repetition=OPTIONAL), [None] * 3),
        "empty, of nulls, with a codec": (flat(dictionary(0, b"") + data(3, b"\x08" + b"\x1c" + levels(run(0, 3, 1)) + b"\0\0", CODES, unpacked=8), 3, repetition=OPTIONAL, codec=SNAPPY), [None] * 3),
        "empty, of values": (flat(dictionary(0, b"") + data(3, b"\0", CODES), 3), "a code is not in the dictionary"),
        "offset 0 is none": (flat(two + data(3, codes, CODES), 3, meta=[(11, I64, 0)]), [7, 8, 7]),
        "offset said": (flat(two + data(3, codes, CODES), 3, meta=[(9, I64, 4 + len(two)), (11, I64, 4)]), [7, 8, 7]),
    })


def test_encodings(tmp_path: Path) -> None:
    delta = bytes.fromhex("80010405020200000000")  # 1, 2, 3, 4, 5
    four = bytes.fromhex("8001 04 04 0a 00 01000000 02000000") + b"HelloWorldFoobarABCDEF"
    names = {PLAIN: "PLAIN", RLE: "RLE", DELTA: "DELTA_BINARY_PACKED", DELTA_LENGTH: "DELTA_LENGTH_BYTE_ARRAY", DELTA_BYTES: "DELTA_BYTE_ARRAY", SPLIT: "BYTE_STREAM_SPLIT", 10: "ALP", 1: "unknown"}
    takes = {RLE: (BOOLEAN,), DELTA: (INT32, INT64), DELTA_LENGTH: (BYTES,), DELTA_BYTES: (BYTES, FIXED), SPLIT: (INT32, INT64, FLOAT, DOUBLES, FIXED), 10: (), 1: (), 77: (), BIT_PACKED: ()}
    cases: Cases = {
        "%s of %d" % (names.get(encoding, encoding), kind): (flat(data(1, b"\0" * 16, encoding), 1, kind, more=[(2, I32, 16)] if kind == FIXED else []), "its encoding is not supported for this type")
        for encoding, kinds in takes.items() for kind in range(8) if kind not in kinds}
    cases.update({
        "plain, too few": (flat(data(3, ints(1, 2)), 3), "it holds fewer values than it says"),
        "bits, too few": (flat(data(9, b"\xff"), 9, BOOLEAN), "it holds fewer values than it says"),
        "texts, too few": (flat(data(3, texts(b"a", b"b")), 3, BYTES), "it holds fewer values than it says"),
        "a text that is longer": (flat(data(1, b"\xff\xff\xff\xffa"), 1, BYTES), "a value is longer than the page"),
        "int96, too few": (flat(data(2, b"\0" * 23), 2, INT96), "it holds fewer values than it says"),
        "runs, too long": (flat(data(3, struct.pack("<I", 9) + b"\6\1", RLE), 3, BOOLEAN), "its runs are longer than the page"),
        "runs": (flat(data(3, levels(b"\6\1"), RLE), 3, BOOLEAN), [True] * 3),
        "runs of v2": (flat(data_v2(3, levels(b"\6\1"), RLE), 3, BOOLEAN), [True] * 3),
        "delta": (flat(data(5, delta, DELTA), 5), [1, 2, 3, 4, 5]),
        "delta, too few": (flat(data(6, delta, DELTA), 6), "it holds fewer values than it says"),
        "delta length": (flat(data(4, four, DELTA_LENGTH), 4, BYTES), ["Hello", "World", "Foobar", "ABCDEF"]),
        "delta length, cut": (flat(data(4, four[:-1], DELTA_LENGTH), 4, BYTES), "a value is longer than the page"),
        "delta length below zero": (flat(data(1, b"\x80\1\4\1\1abc", DELTA_LENGTH), 1, BYTES), "a value is longer than the page"),
        "delta bytes": (flat(data(2, bytes.fromhex("8001 04 02 00 04 00000000 8001 04 02 06 03 00000000") + b"abcd", DELTA_BYTES), 2, BYTES), ["abc", "abd"]),
        "delta bytes, first continues": (flat(data(1, bytes.fromhex("8001 04 01 04 8001 04 01 02") + b"a", DELTA_BYTES), 1, BYTES), "its first value continues one of another page"),
        "delta bytes, prefix too long": (flat(data(2, bytes.fromhex("8001 04 02 00 0a 00000000 8001 04 02 02 00 00000000") + b"ab", DELTA_BYTES), 2, BYTES), "a prefix is longer than the value before"),
        "delta bytes, prefix below zero": (flat(data(2, bytes.fromhex("8001 04 02 00 01 00000000 8001 04 02 02 00 00000000") + b"ab", DELTA_BYTES), 2, BYTES), "a prefix is longer than the value before"),
        "delta bytes, counts differ": (flat(data(1, bytes.fromhex("8001 04 01 00 8001 04 02 02 00 00000000") + b"ab", DELTA_BYTES), 1, BYTES), "it has more prefixes than suffixes, or fewer"),
        "delta bytes, width": (flat(data(1, bytes.fromhex("8001 04 01 00 8001 04 01 06") + b"abc", DELTA_BYTES), 1, FIXED, more=[(2, I32, 2)]), "a value has another length than the column"),
        "split": (flat(data(3, bytes.fromhex("010203 000000 000000 000000"), SPLIT), 3), [1, 2, 3]),
        "split, odd": (flat(data(3, b"\0" * 13, SPLIT), 3), "its streams of bytes have different lengths"),
        "split, too few": (flat(data(3, b"\0" * 8, SPLIT), 3), "it holds fewer values than it says"),
        "split, too many": (flat(data(3, b"\0" * 16, SPLIT), 3), "it holds more values than it says"),
    })
    check(tmp_path, cases)


def test_codecs(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    plain, wanted = ints(*range(40)), list(range(40))
    rest = dict(unpacked=len(plain))

    def by(name: str, content: bytes = plain) -> bytes:
        return pa.compress(content, codec=name, asbytes=True)

    raw, zstd, gzip = by("lz4_raw"), by("zstd"), by("gzip")
    damaged = "its compressed bytes are damaged"
    nulls = dict(nulls=3, defs=run(0, 3, 1), unpacked=2)
    old_cpp = [(6, BINARY, b"parquet-cpp version 1.5.1-SNAPSHOT")]
    cases: Cases = {
        "brotli": (flat(data(40, by("brotli"), **rest), 40, codec=BROTLI), wanted),
        "gzip of two members": (flat(data(80, gzip + by("gzip", b"") + gzip, unpacked=320), 80, codec=GZIP), wanted * 2),
        "zstd of two frames": (flat(data(80, zstd + zstd, unpacked=320), 80, codec=ZSTD), wanted * 2),
        "lz4, a block": (flat(data(40, raw, **rest), 40, codec=LZ4_RAW), wanted),
        "lz4, a bare block": (flat(data(40, raw, **rest), 40, codec=LZ4), wanted),
        "lz4, a frame": (flat(data(40, by("lz4"), **rest), 40, codec=LZ4), wanted),
        "lz4, Hadoop's": (flat(data(80, (struct.pack(">2I", 160, len(raw)) + raw) * 2, unpacked=320), 80, codec=LZ4), wanted * 2),
        "lz4, Hadoop's of two blocks": (flat(data(80, struct.pack(">I", 320) + (struct.pack(">I", len(raw)) + raw) * 2, unpacked=320), 80, codec=LZ4), wanted * 2),
        "lz4, Hadoop's with a rest": (flat(data(40, struct.pack(">2I", 160, len(raw)) + raw + b"\0" * 7, **rest), 40, codec=LZ4), damaged),
        "v2, not packed": (flat(data_v2(3, ints(1, 2, 3), packs=False), 3, codec=SNAPPY), [1, 2, 3]),
        "v2, packed whatever it says": (flat(data_v2(40, by("snappy"), packs=False, **rest), 40, codec=SNAPPY, by=old_cpp), wanted),
        "v2, nothing and no frame": (flat(data_v2(3, b"", **nulls), 3, codec=ZSTD, repetition=OPTIONAL), [None] * 3),
        "v2, nothing in a frame": (flat(data_v2(3, by("zstd", b""), **nulls), 3, codec=ZSTD, repetition=OPTIONAL), [None] * 3),
        "v2, levels are not packed": (flat(data_v2(40, by("snappy"), defs=run(1, 40, 1), unpacked=len(plain) + 2), 40, codec=SNAPPY, repetition=OPTIONAL), wanted),
        "a dictionary's offset behind the data": (flat(GOOD, 3, meta=[(11, I64, 90)]), [1, 2, 3]),
    }
    for name, codec in (("snappy", SNAPPY), ("gzip", GZIP), ("brotli", BROTLI), ("zstd", ZSTD), ("lz4_raw", LZ4_RAW)):
        content = by(name)
        cases["%s, cut" % name] = (flat(data(40, content[:-1], **rest), 40, codec=codec), damaged)
        cases["%s, one byte more" % name] = (flat(data(40, content, unpacked=161), 40, codec=codec), damaged)
        cases["%s, one byte fewer" % name] = (flat(data(39, content, unpacked=159), 39, codec=codec), damaged)
        cases["%s, nothing" % name] = (flat(data(40, b"", **rest), 40, codec=codec), "page at")
    check(tmp_path, cases)


# ---- what values mean ----

def logical(number: int, members: Any = ()) -> Tuple[int, int, Any]:
    return (10, STRUCT, [(number, STRUCT, list(members))])


def unit(number: int, utc: bool = False) -> List[Any]:
    return [(1, TRUE if utc else 2, None), (2, STRUCT, [(number, STRUCT, [])])]


def test_types(tmp_path: Path) -> None:
    fixed = lambda n: (2, I32, n)  # noqa: E731
    julian = 2440588
    cases: List[Tuple[str, Any, bytes, int, Any]] = [  # what it is, its element, its plain values, how many, what is read
        ("timestamp by the vector of the format", leaf(b"c", INT64, 0, (6, I32, 10), (10, STRUCT, bytes.fromhex("8c111c2c00000000"))), struct.pack("<q", 1), 1, ["1970-01-01T00:00:00.000001Z"]),
        ("timestamp of nanoseconds, local", leaf(b"c", INT64, 0, logical(8, unit(3))), struct.pack("<2q", -1, 10**9), 2, ["1969-12-31T23:59:59.999999999", "1970-01-01T00:00:01"]),
        ("timestamp of an unknown unit", leaf(b"c", INT64, 0, logical(8, unit(7))), struct.pack("<q", 5), 1, [5]),
        ("timestamp, converted", leaf(b"c", INT64, 0, (6, I32, 9)), struct.pack("<q", 1500), 1, ["1970-01-01T00:00:01.500Z"]),
        ("time", leaf(b"c", INT32, 0, logical(7, unit(1))), ints(86399999), 1, ["23:59:59.999"]),
        ("date", leaf(b"c", INT32, 0, (6, I32, 6)), ints(-719162, 0, 2932896), 3, ["0001-01-01", "1970-01-01", "9999-12-31"]),
        ("uint32", leaf(b"c", INT32, 0, (6, I32, 13)), ints(-1, 0), 2, [2**32 - 1, 0]),
        ("uint64", leaf(b"c", INT64, 0, (6, I32, 14)), struct.pack("<q", -1), 1, [2**64 - 1]),
        ("uint8, logical", leaf(b"c", INT32, 0, logical(10, [(1, I8, b"\x08"), (2, 2, None)])), ints(255), 1, [255]),
        ("integer of a mad width", leaf(b"c", INT32, 0, logical(10, [(1, I8, b"\x63"), (2, TRUE, None)])), ints(-7), 1, [-7]),
        ("int96", leaf(b"c", INT96), b"".join(struct.pack("<qI", n, d) for n, d in ((0, julian), (-1, julian), (10**9, julian + 1), (0, 0))), 4,
         ["1970-01-01T00:00:00", "1969-12-31T23:59:59.999999", "1970-01-02T00:00:01", "-4713-11-24T00:00:00"]),
        ("int96 beyond what there is", leaf(b"c", INT96), struct.pack("<qI", -2**63, 2**32 - 1), 1, ...),
        ("float16", leaf(b"c", FIXED, 0, fixed(2), logical(15)), bytes.fromhex("003c 00c0 ff7b 0100 0080"), 5, ["1.0", "-2.0", "65504.0", "5.9604645e-08", "-0.0"]),
        ("float16 of 3 bytes", leaf(b"c", FIXED, 0, fixed(3), logical(15)), b"abc", 1, ["abc"]),
        ("uuid", leaf(b"c", FIXED, 0, fixed(16), logical(14)), bytes(range(16)), 1, ["00010203-0405-0607-0809-0a0b0c0d0e0f"]),
        ("interval", leaf(b"c", FIXED, 0, fixed(12), (6, I32, 21)), struct.pack("<3I", 1, 2, 2**32 - 1), 1, [{"months": 1, "days": 2, "milliseconds": 2**32 - 1}]),
        ("decimal of int32", leaf(b"c", INT32, 0, (6, I32, 5), (7, I32, 2), (8, I32, 9)), ints(-2**31, 5), 2, ["-21474836.48", "0.05"]),
        ("decimal of int64", leaf(b"c", INT64, 0, (6, I32, 5), (7, I32, 0), (8, I32, 18)), struct.pack("<q", -2**63), 1, [-2**63]),
        ("decimal of bytes", leaf(b"c", BYTES, 0, (6, I32, 5), (7, I32, 1), (8, I32, 40)), texts(b"", b"\xff", b"\x01\x00"), 3, ["0.0", "-0.1", "25.6"]),
        ("decimal of fixed bytes", leaf(b"c", FIXED, 0, fixed(9), (6, I32, 5), (7, I32, 1), (8, I32, 20)), b"\xff" * 9 + b"\0" * 8 + b"\x0c", 2, ["-0.1", "1.2"]),
        ("decimal, both annotations", leaf(b"c", INT32, 0, (6, I32, 5), (7, I32, 9), (8, I32, 9), logical(5, [(1, I32, 1), (2, I32, 5)])), ints(15), 1, ["1.5"]),
        ("text without annotation", leaf(b"c", BYTES), texts("\u00e9".encode(), b"\xff"), 2, ["\u00e9", "\\xff"]),
        ("text that is none", leaf(b"c", BYTES, 0, (6, I32, 0)), texts(b"a\xffb", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5", b'"\\\n\0'), 5, ["a\ufffdb", ..., ..., ..., '"\\\n\0']),
        ("an annotation of a later time", leaf(b"c", BYTES, 0, logical(40)), texts(b"a"), 1, ["a"]),
        ("always null", leaf(b"c", INT32, 1, logical(11)), levels(run(0, 2, 1)), 2, [None, None]),
    ]
    paths = []
    for i, (_, element, values, rows, _) in enumerate(cases):
        paths.append(tmp_path / ("%d.parquet" % i))
        paths[-1].write_bytes(file([Column([element], data(rows, values), rows)], rows))
    for (name, _, _, rows, wanted), said in zip(cases, tool(paths, 1000)):
        got = said[1].get("values")
        assert got and len(got) == rows, (name, said)
        assert wanted is ... or [w if w is ... else g for g, w in zip(got, wanted)] == wanted, (name, got)


def test_bytes_that_are_no_text_leave_the_output_text(tmp_path: Path) -> None:
    bad = [b"\xff", b"a\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc1\x81", b"ok\0\x1f\x7f"]
    columns = [Column([leaf(b"\xffname", BYTES, 0, (6, I32, kind))], data(len(bad), texts(*bad)), len(bad)) for kind in (0, 4, 19, 20)]
    (tmp_path / "a.parquet").write_bytes(file(columns, len(bad)))
    for args in (["cat"], ["cat", "--csv"], ["schema", "--json"], ["stat", "--json"]):
        out = tutti(*args, tmp_path / "a.parquet").out.decode()  # all of it is UTF-8
        assert "\ufffd" in out, args
        if args == ["cat"]:
            assert [len(json.loads(line, object_pairs_hook=list)) for line in out.splitlines()] == [4] * len(bad)


def test_lists_of_all_times(tmp_path: Path) -> None:
    """The rules by which the repeated member of a LIST is an element or a layer, and what is no LIST at all."""
    c, annotated, mapped = b"c", (6, I32, 3), (6, I32, 1)

    def inside(*elements: Any) -> List[Any]:
        return list(elements)

    trees = {
        "primitive": (inside(group(c, 1, 1, annotated), leaf(b"element", INT32, REPEATED)), {"c": "list<int32>"}),
        "several members": (inside(group(c, 1, 1, annotated), group(b"element", 2, REPEATED), leaf(b"s", INT32), leaf(b"n", INT64)), {"c.s": "list<int32>", "c.n": "list<int64>"}),
        "a repeated member": (inside(group(c, 1, 1, annotated), group(b"list", 1, REPEATED), leaf(b"e", INT32, REPEATED)), {"c.e": "nested<int32>"}),
        "array": (inside(group(c, 1, 1, annotated), group(b"array", 1, REPEATED), leaf(b"s", INT32)), {"c.s": "list<int32>"}),
        "tuple": (inside(group(c, 1, 1, annotated), group(b"c_tuple", 1, REPEATED), leaf(b"s", INT32)), {"c.s": "list<int32>"}),
        "another's tuple": (inside(group(c, 1, 1, annotated), group(b"d_tuple", 1, REPEATED), leaf(b"s", INT32)), {"c": "list<int32>"}),
        "bag": (inside(group(c, 1, 1, annotated), group(b"bag", 1, REPEATED), leaf(b"array_element", INT32, 1)), {"c": "list<int32>"}),
        "logical": (inside(group(c, 1, 1, logical(3)), group(b"list", 1, REPEATED), leaf(b"item", INT32, 1)), {"c": "list<int32>"}),
        "bare": (inside(leaf(c, INT32, REPEATED)), {"c": "list<int32>"}),
        "a struct in a list": (inside(group(c, 1, 1, annotated), group(b"list", 1, REPEATED), group(b"element", 1, 1), leaf(b"x", INT32, 1)), {"c.x": "list<int32>"}),
        "map": (inside(group(c, 1, 1, mapped), group(b"key_value", 2, REPEATED), leaf(b"key", INT32), leaf(b"value", INT64, 1)), {"c.key": "list<int32>", "c.value": "list<int64>"}),
        "map, older": (inside(group(c, 1, 1, (6, I32, 2)), group(b"map", 2, REPEATED), leaf(b"k", INT32), leaf(b"v", INT64, 1)), {"c.k": "list<int32>", "c.v": "list<int64>"}),
    }
    for name, (elements, wanted) in trees.items():
        leaves = [e for e in elements if any(f[0] == 1 for f in e)]
        columns = [Column([one], b"", 0) for one in leaves]
        (tmp_path / "a.parquet").write_bytes(file(columns, 0, schema=[group(b"schema", 1), *elements]))
        shown = json.loads(tutti("schema", "--json", tmp_path / "a.parquet").out)["columns"]
        assert {one["name"]: one["type"] for one in shown} == wanted, name


# ---- statistics ----

def test_bounds_that_cannot_be_believed_are_absent(tmp_path: Path) -> None:
    def i32(v: int) -> bytes:
        return struct.pack("<i", v)

    def f64(v: float) -> bytes:
        return struct.pack("<d", v)

    def new(low: Any, high: Any) -> List[Any]:
        return ([(5, BINARY, high)] if high is not None else []) + ([(6, BINARY, low)] if low is not None else [])

    def old(low: bytes, high: bytes) -> List[Any]:
        return [(1, BINARY, high), (2, BINARY, low)]

    plain, unsigned, text, fixed5 = leaf(b"c", INT32), leaf(b"c", INT32, 0, (6, I32, 13)), leaf(b"c", BYTES, 0, (6, I32, 0)), leaf(b"c", FIXED, 0, (2, I32, 5))
    decimal = leaf(b"c", FIXED, 0, (2, I32, 9), (6, I32, 5), (7, I32, 1), (8, I32, 20))
    nan = float("nan")
    none = (None, None)
    cases: List[Tuple[Any, List[Any], Tuple[Any, Any], Tuple[Any, Any]]] = [  # element, statistics; what they say where an order is stated, and where none is
        (plain, new(i32(-5), i32(7)), (-5, 7), none),
        (plain, old(i32(-5), i32(7)), (-5, 7), (-5, 7)),
        (plain, old(i32(-5), i32(7)) + new(i32(-6), i32(8)), (-6, 8), (-5, 7)),  # DuckDB writes both
        (plain, new(None, i32(7)), (None, 7), none),
        (plain, new(i32(7), i32(-5)), none, none),
        (plain, new(b"\0" * 8, b"\0" * 8), none, none),
        (plain, new(b"", b""), none, none),
        (leaf(b"c", INT64), new(i32(1), i32(2)), none, none),
        (leaf(b"c", BOOLEAN), old(b"\0", b"\1"), (False, True), (False, True)),
        (leaf(b"c", BOOLEAN), new(b"\0\0", b"\2"), none, none),
        (unsigned, new(i32(1), i32(-1)), (1, 2**32 - 1), none),
        (unsigned, new(i32(-1), i32(1)), none, none),
        (unsigned, old(i32(1), i32(2)), none, none),
        (unsigned, old(i32(2), i32(2)), (2, 2), (2, 2)),
        (text, new(b"a", "\u00e9".encode()), ("a", "\u00e9"), none),
        (text, old(b"a", b"b"), none, none),
        (text, old(b"a", b"a"), ("a", "a"), ("a", "a")),
        (fixed5, new(b"abcde", b"abcdf"), ("abcde", "abcdf"), none),
        (fixed5, new(b"abcd", b"abcdfg"), none, none),
        (leaf(b"c", FLOAT), new(f64(1), f64(2)), none, none),
        (leaf(b"c", DOUBLES), new(f64(nan), f64(2)), (None, 2.0), none),
        (leaf(b"c", DOUBLES), new(f64(1), f64(nan)), (1.0, None), none),
        (leaf(b"c", DOUBLES), new(f64(0.0), f64(-0.0)), (-0.0, 0.0), none),
        (leaf(b"c", INT96), new(b"\0" * 12, b"\0" * 12), none, none),
        (leaf(b"c", FIXED, 0, (2, I32, 2), logical(15)), new(b"\0\0", b"\0\0"), none, none),
        (leaf(b"c", FIXED, 0, (2, I32, 12), (6, I32, 21)), new(b"\0" * 12, b"\0" * 12), none, none),
        (leaf(b"c", BYTES, 0, logical(17)), new(b"a", b"b"), none, none),
        (leaf(b"c", BYTES, 0, logical(40)), new(b"a", b"b"), none, none),
        (decimal, new(b"\xff" * 9, b"\0" * 8 + b"\x0c"), (-0.1, 1.2), none),
        (decimal, new(b"\xff" * 8, b"\x0c"), none, none),
        (decimal, new(b"\x80" + b"\0" * 8, b"\x7f" + b"\0" * 8), none, none),
        (leaf(b"c", BYTES, 0, (6, I32, 5), (7, I32, 0), (8, I32, 20)), new(b"\xff\xfe", b"\0\x80"), (-2, 128), none),
    ]
    counts = [([], -1), ([(3, I64, 1)], 1), ([(3, I64, 3)], 3), ([(3, I64, 4)], -1), ([(3, I64, -1)], -1)]
    columns = [Column([element], b"", 3, meta=[(12, STRUCT, sorted(statistics, key=lambda f: f[0]))]) for element, statistics, _, _ in cases]
    columns += [Column([leaf(b"c", INT32, 1)], b"", 3, meta=[(12, STRUCT, statistics)]) for statistics, _ in counts]
    unknown = [[(9, STRUCT, [])] for _ in columns]
    for kind, content in enumerate((file(columns, 3), file(columns, 3, orders=False), file(columns, 3, by=[(7, LIST, (STRUCT, unknown))]), file(columns, 3, by=[(7, LIST, (STRUCT, unknown[:1]))]))):
        (tmp_path / "a.parquet").write_bytes(content)
        shown = [json.loads(line) for line in tutti("stat", "--json", tmp_path / "a.parquet").out.splitlines()]
        assert len(shown) == len(columns)
        for i, ((element, statistics, stated, legacy), one) in enumerate(zip(cases, shown)):
            wanted = (stated, legacy, none, none)[kind]
            assert repr((one["min"], one["max"])) == repr(wanted), (kind, i, element, statistics)
        assert [one["nulls"] for one in shown[len(cases):]] == [n for _, n in counts]


# ---- bloom filters ----

def test_bloom_filters_that_make_no_sense_are_not_asked(tmp_path: Path) -> None:
    def header(size: int, algorithm: int = 1, hashed: int = 1, packed_how: int = 1) -> bytes:
        return fields([(1, I32, size), *((i, STRUCT, [(member, STRUCT, [])]) for i, member in ((2, algorithm), (3, hashed), (4, packed_how)))])

    def with_filter(bloom: bytes, at: Any = None) -> bytes:
        longs = struct.Struct("<3q").pack
        users, times, values = data(3, longs(1, 1, 2)), data(3, longs(1, 2, 3)), data(3, longs(5, 6, 5))
        where = 4 + len(users) + len(times) + len(values) if at is None else at
        return file([Column([leaf(b"user", INT64)], users, 3), Column([leaf(b"ts", INT64)], times, 3),
                     Column([leaf(b"c", INT64)], values + bloom, 3, meta=[(14, I64, where), (15, I32, len(bloom))])], 3)

    def groups(content: bytes) -> int:
        (tmp_path / "a.parquet").write_bytes(content)
        done = subprocess.run([str(binary()), "query", str(tmp_path / "a.parquet"), "-g", "user", "-t", "ts", "--json", "-e", '{"query":{"conditions":[{"filter":["c","==",5]}]}}'],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["query"]["matchingGroups"]

    nothing, everything = b"\0" * 64, b"\xff" * 64
    assert groups(with_filter(header(64) + nothing)) == 0  # one that makes sense is believed, and this one says that nothing is there
    assert groups(with_filter(header(64) + everything)) == 2
    for bloom in (header(0), header(-32), header(33) + nothing, header(16) + nothing, header(64, algorithm=2) + nothing, header(64, hashed=2) + nothing, header(64, packed_how=2) + nothing,
                  header(256 << 20) + nothing, header(1 << 20) + nothing, header(2**31 - 32) + nothing, b"\x15", b"\xff" * 40, b"\1" * 300, header(64)[:-1] + b"\x18\xff\xff\xff\xff\x0f"):
        assert groups(with_filter(bloom)) == 2, bloom
    for at in (0, -5, 1 << 40, (1 << 63) - 1):
        assert groups(with_filter(header(64) + nothing, at)) == 2, at


# ---- what other programs say about the columns ----

def test_metadata_of_other_programs_never_makes_a_file_unreadable(tmp_path: Path) -> None:
    def with_keys(*pairs: Any) -> bytes:
        return flat(GOOD, 3, by=[(5, LIST, (STRUCT, [[(1, BINARY, k), *([] if v is None else [(2, BINARY, v)])] for k, v in pairs]))])

    values = [None, b"", b"{", b"[]", b'{"columns":5,"index_columns":7}', b'{"columns":[1,{"name":5},{"name":"c","pandas_type":[],"numpy_type":{}}],"index_columns":[{},null,"c"]}', b"[" * 100000, b"\xff\xfe\0",
              b"////", b"/////w==", b"AAAA" * 9, b"!" * 40, b"/////" + b"/" * 399, b"/////wQAAAD/////" + b"f" * 200]
    cases: Cases = {"%s %d" % (key.decode().replace(":", ""), i): (with_keys((key, v)), [1, 2, 3]) for key in (b"pandas", b"ARROW:schema") for i, v in enumerate(values)}
    cases["keys that repeat"] = (with_keys((b"pandas", b"{}"), (b"pandas", b"{"), (b"", None)), [1, 2, 3])
    check(tmp_path, cases)
    two = [Column([leaf(b"c", INT32)], GOOD, 3) for _ in range(2)]
    said = b'{"columns":[{"name":"c","field_name":"c","pandas_type":"categorical"}],"index_columns":["c"]}'
    (tmp_path / "two.parquet").write_bytes(file(two, 3, by=[(5, LIST, (STRUCT, [[(1, BINARY, b"pandas"), (2, BINARY, said)]]))]))
    shown = json.loads(tutti("schema", "--json", tmp_path / "two.parquet").out)["columns"]
    assert [(c["category"], c["index"]) for c in shown] == [(True, True), (False, False)]  # of a name that stands twice the first is meant


# ---- bombs ----

def peak_kib(*args: Any) -> int:
    """Of `tutti parquet ARGS`, whose output goes nowhere."""
    script = ("import resource,subprocess,sys;subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,check=True);"
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", script, str(binary()), "parquet", *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def text_bomb(rows: int = 1) -> bytes:
    """Lists of which each says a text of 1 MiB two million times: 2 TiB in 1 MiB."""
    slots = 1 << 21
    body = levels(b"".join(run(0, 1, 1) + run(1, slots - 1, 1) for _ in range(rows))) + levels(run(3, slots * rows, 2)) + b"\0"
    counts = [[(1, I32, kind), (2, I32, encoding), (3, I32, 1)] for kind, encoding in ((2, PLAIN), (0, CODES))]  # so that they stay codes
    return lists(dictionary(1, texts(b"x" * (1 << 20))) + data(slots * rows, body, CODES), rows, slots * rows, BYTES, meta=[(13, LIST, (STRUCT, counts))])


def test_a_row_that_is_too_long_is_refused_and_not_put_together(tmp_path: Path, is_long: bool) -> None:
    if not is_long:
        pytest.skip("up to 3 GiB of memory: --long")
    (tmp_path / "a.parquet").write_bytes(text_bomb())
    for args in (["cat", tmp_path / "a.parquet"], ["cat", "--csv", tmp_path / "a.parquet"], ["convert", tmp_path / "a.parquet", tmp_path / "b.jsonl"]):
        assert "a text grew beyond its limit of 1073741824 bytes" in tutti(*args).err, args
    assert "its row is longer than 1 GiB" in tutti("convert", tmp_path / "a.parquet", tmp_path / "b.parquet").err
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_long_lists_come_in_smaller_batches(tmp_path: Path) -> None:
    """Vectors of 5,000 numbers: 20 million in 4,096 rows, more than a batch may hold."""
    rows, length = 4096, 5000
    body = levels((run(0, 1, 1) + run(1, length - 1, 1)) * rows) + levels(run(3, rows * length, 2)) + b"\0"
    (tmp_path / "a.parquet").write_bytes(lists(dictionary(1, ints(7)) + data(rows * length, body, CODES), rows, rows * length))
    said = tool([tmp_path / "a.parquet"], 1)[0]
    assert said[1] == {"values": [[7] * length]} and said[-1] == {"rows": rows}


def test_bombs(tmp_path: Path) -> None:
    path = tmp_path / "text.parquet"
    parquet_bomb.write(path, 3, text_bytes=1 << 20)  # each of 6 billion rows says the same text of 1 MiB
    assert peak_kib("head", "-n", 150, path) < (48 << 10) * (8 if "asan" in str(binary()) else 1)
    slots = 2**31 - 1
    one_list = levels(run(0, 1, 1) + run(1, slots - 1, 1)) + levels(run(3, slots, 2)) + b"\0"
    deep = b"g" * 200_000
    check(tmp_path, {
        "a list of 2 billion": (lists(dictionary(1, ints(7)) + data(slots, one_list, CODES), 1, slots), "a batch of lists has more than 16777216 elements"),
        "a list of 2 billion texts": (lists(dictionary(1, texts(b"")) + data(slots, one_list, CODES), 1, slots, BYTES), "a batch of lists has more than 16777216 elements"),
        "a list of 2^61": (file([Column([leaf(b"c", INT64, REPEATED)], data(3, levels(run(0, 3, 1)) + levels(run(1, 3, 1)) + b"\0" * 24), 2**61 - 1)], 1), "page"),
        "names": (flat(GOOD, 3, schema=[group(b"schema", 1), group(deep, 3000), *[leaf(b"c", INT32) for _ in range(3000)]]), "the schema's names are too long"),
        "a page of many pages": (flat(data(0, b"") * 100_000 + GOOD, 3), [1, 2, 3]),
    })
