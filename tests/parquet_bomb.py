"""A Parquet file of a few KiB that claims as many rows as are asked for: every row group points at the same pages, each of them one run."""
import struct

from parquet_forge import BINARY, I32, I64, LIST, STRUCT, data, dictionary, ended, fields, varint


def chunk_pages(entry, rows):
    run = b"\1" + varint(rows << 1) + b"\0"  # of one bit each
    return dictionary(1, entry), data(rows, run, 8)


def write(path, row_groups, rows=2**31 - 1, text_bytes=7000):
    """Columns user (text of so many bytes) and ts (INT64); the footer is honest about all but the bytes that there are."""
    out = bytearray(b"PAR1")
    chunks = []
    for name, kind, entry, width in ((b"user", 6, struct.pack("<I", text_bytes) + b"x" * text_bytes, text_bytes), (b"ts", 2, struct.pack("<q", 5), 8)):
        entries, values = chunk_pages(entry, rows)
        at = len(out)
        out += entries + values
        chunks.append([(2, I64, at), (3, STRUCT, [(1, I32, kind), (2, LIST, (I32, [0, 3, 8])), (3, LIST, (BINARY, [name])), (4, I32, 0), (5, I64, rows), (6, I64, rows * width),
                                                  (7, I64, len(entries) + len(values)), (9, I64, at + len(entries)), (11, I64, at)])])
    schema = [[(4, BINARY, b"schema"), (5, I32, 2)], [(1, I32, 6), (3, I32, 0), (4, BINARY, b"user"), (6, I32, 0)], [(1, I32, 2), (3, I32, 0), (4, BINARY, b"ts")]]
    group = [(1, LIST, (STRUCT, chunks)), (2, I64, rows * (text_bytes + 8)), (3, I64, rows)]
    footer = fields([(1, I32, 1), (2, LIST, (STRUCT, schema)), (3, I64, rows * row_groups), (4, LIST, (STRUCT, [group] * row_groups))])
    path.write_bytes(bytes(out) + ended(footer))
