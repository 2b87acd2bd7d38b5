"""A Parquet file of a few KiB that claims as many rows as are asked for: every row group points at the same pages, each of them one run."""
import struct

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12  # wire types of Thrift's compact protocol


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def value(kind, v):
    if kind in (I32, I64):
        return varint((v << 1) ^ (v >> 63))
    if kind == BINARY:
        return varint(len(v)) + v
    if kind == LIST:
        element, items = v
        head = bytes([len(items) << 4 | element]) if len(items) < 15 else bytes([0xF0 | element]) + varint(len(items))
        return head + b"".join(value(element, item) for item in items)
    return fields(v)


def fields(members):
    """[(id, wire type, value), ...] in the order of their ids."""
    out, before = b"", 0
    for number, kind, v in members:
        out += bytes([(number - before) << 4 | kind]) + value(kind, v)
        before = number
    return out + b"\0"


def page(kind, body, more):
    return fields([(1, I32, kind), (2, I32, len(body)), (3, I32, len(body)), *more]) + body


def chunk_pages(entry, rows):
    dictionary = page(2, entry, [(7, STRUCT, [(1, I32, 1), (2, I32, 0)])])
    run = b"\1" + varint(rows << 1) + b"\0"  # of one bit each
    return dictionary, page(0, run, [(5, STRUCT, [(1, I32, rows), (2, I32, 8), (3, I32, 3), (4, I32, 3)])])


def write(path, row_groups, rows=2**31 - 1, text_bytes=7000):
    """Columns user (text of so many bytes) and ts (INT64); the footer is honest about all but the bytes that there are."""
    out = bytearray(b"PAR1")
    chunks = []
    for name, kind, entry, width in ((b"user", 6, struct.pack("<I", text_bytes) + b"x" * text_bytes, text_bytes), (b"ts", 2, struct.pack("<q", 5), 8)):
        dictionary, data = chunk_pages(entry, rows)
        at = len(out)
        out += dictionary + data
        chunks.append([(2, I64, at), (3, STRUCT, [(1, I32, kind), (2, LIST, (I32, [0, 3, 8])), (3, LIST, (BINARY, [name])), (4, I32, 0), (5, I64, rows), (6, I64, rows * width),
                                                  (7, I64, len(dictionary) + len(data)), (9, I64, at + len(dictionary)), (11, I64, at)])])
    schema = [[(4, BINARY, b"schema"), (5, I32, 2)], [(1, I32, 6), (3, I32, 0), (4, BINARY, b"user"), (6, I32, 0)], [(1, I32, 2), (3, I32, 0), (4, BINARY, b"ts")]]
    group = [(1, LIST, (STRUCT, chunks)), (2, I64, rows * (text_bytes + 8)), (3, I64, rows)]
    footer = fields([(1, I32, 1), (2, LIST, (STRUCT, schema)), (3, I64, rows * row_groups), (4, LIST, (STRUCT, [group] * row_groups))])
    out += footer + struct.pack("<I", len(footer)) + b"PAR1"
    path.write_bytes(out)
