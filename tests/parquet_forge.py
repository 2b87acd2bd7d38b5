"""Parquet files made by hand, of bytes that no writer would write: the wire format of their headers, and a file of given schema, pages and metadata."""
import struct
from typing import Any, Iterable, List, Optional, Sequence, Tuple

TRUE, FALSE, I8, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)  # wire types of Thrift's compact protocol
BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLES, BYTES, FIXED = range(8)
REQUIRED, OPTIONAL, REPEATED = range(3)
PLAIN, RLE, BIT_PACKED, DELTA, DELTA_LENGTH, DELTA_BYTES, CODES, SPLIT = 0, 3, 4, 5, 6, 7, 8, 9
Fields = List[Tuple[int, int, Any]]


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def zigzag(n: int) -> bytes:
    return varint((n << 1) ^ (n >> 63))


def value(kind: int, v: Any) -> bytes:
    """Bytes that are no string stand for themselves."""
    if kind in (I16, I32, I64):
        return v if isinstance(v, bytes) else zigzag(v)
    if kind == BINARY:
        return varint(len(v)) + v
    if kind == LIST and not isinstance(v, bytes):
        element, items = v
        head = bytes([len(items) << 4 | element]) if len(items) < 15 else bytes([0xF0 | element]) + varint(len(items))
        return head + b"".join(value(element, item) for item in items)
    return v if isinstance(v, bytes) else fields(v) if kind == STRUCT else b""


def fields(members: Iterable[Tuple[int, int, Any]]) -> bytes:
    """[(id, wire type, value), ...] in any order of their ids."""
    out, before = b"", 0
    for number, kind, v in members:
        step = number - before
        out += (bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + zigzag(number)) + value(kind, v)
        before = number
    return out + b"\0"


# ---- pages ----

def page(kind: int, body: bytes, more: Fields, unpacked: Optional[int] = None, packed: Optional[int] = None) -> bytes:
    return fields([(1, I32, kind), (2, I32, len(body) if unpacked is None else unpacked), (3, I32, len(body) if packed is None else packed), *more]) + body


def data(count: int, body: bytes, encoding: int = PLAIN, levels: Tuple[int, int] = (RLE, RLE), **sizes: int) -> bytes:
    return page(0, body, [(5, STRUCT, [(1, I32, count), (2, I32, encoding), (3, I32, levels[0]), (4, I32, levels[1])])], **sizes)


def data_v2(count: int, values: bytes, encoding: int = PLAIN, nulls: int = 0, rows: Optional[int] = None, defs: bytes = b"", reps: bytes = b"", packs: Optional[bool] = None,
            lengths: Optional[Tuple[int, int]] = None, **sizes: int) -> bytes:
    lengths = lengths or (len(defs), len(reps))
    more: Fields = [(1, I32, count), (2, I32, nulls), (3, I32, count if rows is None else rows), (4, I32, encoding), (5, I32, lengths[0]), (6, I32, lengths[1])]
    if packs is not None:
        more.append((7, TRUE if packs else FALSE, None))
    return page(3, reps + defs + values, [(8, STRUCT, more)], **sizes)


def dictionary(count: int, body: bytes, encoding: int = PLAIN, **sizes: int) -> bytes:
    return page(2, body, [(7, STRUCT, [(1, I32, count), (2, I32, encoding)])], **sizes)


def run(v: int, count: int, width: int) -> bytes:
    return varint(count << 1) + v.to_bytes((width + 7) // 8, "little")


def packed(values: Sequence[int], width: int) -> bytes:
    """One run of bits, least significant first."""
    groups = -(-len(values) // 8)
    bits = sum(v << (i * width) for i, v in enumerate(values))
    return varint(groups << 1 | 1) + bits.to_bytes(groups * width, "little")


def levels(stream: bytes) -> bytes:
    """Of version 1: with its length in front."""
    return struct.pack("<I", len(stream)) + stream


def ints(*values: int) -> bytes:
    return struct.pack("<%di" % len(values), *values)


def texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(v)) + v for v in values)


# ---- files ----

def leaf(name: bytes, kind: Any, repetition: int = REQUIRED, *more: Tuple[int, int, Any]) -> Fields:
    return sorted([(1, I32, kind), (3, I32, repetition), (4, BINARY, name), *more], key=lambda f: f[0])


def group(name: bytes, children: int, repetition: int = REQUIRED, *more: Tuple[int, int, Any]) -> Fields:
    return sorted([(3, I32, repetition), (4, BINARY, name), (5, I32, children), *more], key=lambda f: f[0])


def changed(members: Fields, by: Fields) -> Fields:
    """Members of `by` take the place of those with their ids."""
    ids = {f[0] for f in by}
    return sorted([f for f in members if f[0] not in ids] + by, key=lambda f: f[0])


class Column:
    """A leaf with all its pages in one row group."""

    def __init__(self, elements: List[Fields], pages: bytes, values: int, codec: int = 0, meta: Fields = [], chunk: Fields = []) -> None:
        self.elements, self.pages, self.values, self.codec, self.meta, self.chunk = elements, pages, values, codec, meta, chunk

    def chunk_at(self, at: int) -> Fields:
        kind = next((f[2] for f in self.elements[-1] if f[0] == 1), 0)
        path = [f[2] for element in self.elements for f in element if f[0] == 4]
        meta: Fields = [(1, I32, kind), (2, LIST, (I32, [0])), (3, LIST, (BINARY, path)), (4, I32, self.codec), (5, I64, self.values), (6, I64, len(self.pages)),
                        (7, I64, len(self.pages)), (9, I64, at)]
        return changed([(2, I64, 0), (3, STRUCT, changed(meta, self.meta))], self.chunk)


def file(columns: Sequence[Column], rows: int, schema: Optional[List[Fields]] = None, group_by: Fields = [], by: Fields = [], orders: bool = True) -> bytes:
    """One row group. group_by and by: members of it and of the footer that take the place of what would stand there."""
    out = bytearray(b"PAR1")
    chunks = []
    for column in columns:
        chunks.append(column.chunk_at(len(out)))
        out += column.pages
    elements = schema or [group(b"schema", len(columns)), *(element for column in columns for element in column.elements)]
    one = changed([(1, LIST, (STRUCT, chunks)), (2, I64, 0), (3, I64, rows)], group_by)
    footer: Fields = [(1, I32, 1), (2, LIST, (STRUCT, elements)), (3, I64, rows), (4, LIST, (STRUCT, [one]))]
    if orders:
        footer.append((7, LIST, (STRUCT, [[(1, STRUCT, [])] for _ in columns])))
    return bytes(out) + ended(fields(changed(footer, by)))


def ended(footer: bytes) -> bytes:
    return footer + struct.pack("<I", len(footer)) + b"PAR1"
