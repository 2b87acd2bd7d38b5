"""Files made by hand, each with one thing wrong, are refused with its sentence; those that are odd but sound, as writers of all times made them, are read."""
from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Dict, List, Tuple, Union

from parquet_forge import (BIT_PACKED, BOOLEAN, BYTES, BINARY, CODES, DELTA, DELTA_BYTES, DELTA_LENGTH, DOUBLES, FIXED, FLOAT, I32, I64, INT32, INT64, INT96, LIST, OPTIONAL, PLAIN, REPEATED,
                           REQUIRED, RLE, SPLIT, STRUCT, Column, data, data_v2, dictionary, ended, fields, file, group, ints, leaf, levels, packed, page, run, texts, varint)
from test_parquet_corpus import tool, tutti

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


def lists(pages: bytes, rows: int, slots: int) -> bytes:
    """optional list of optional int32: levels up to 3 and 1."""
    return file([Column([group(b"c", 1, OPTIONAL, (6, I32, 3)), group(b"list", 1, REPEATED), leaf(b"element", INT32, OPTIONAL)], pages, slots)], rows)


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
