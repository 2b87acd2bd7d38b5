"""The peers of bench_parquet, on one thread, and the file that all read: make FILE ROWS | pyarrow FILE COLUMN ROUNDS | duckdb FILE COLUMN ROUNDS.

Prints JSON as bench_parquet does. pyarrow reads the column into Arrow arrays (text as a dictionary, as we give it); DuckDB adds up
what it decodes (of text its lengths), which is the least that makes it look at every value."""
import json
import sys
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

EVENTS = ["view", "cart", "buy", "refund", "search", "login", "logout", "share", "rate", "help", "error"]


def make(path, rows, codec):
    """Events as of a shop: skewed users, times in order with ties, 70 % of prices missing."""
    rng = np.random.default_rng(7)
    users = (rng.pareto(1.2, rows) * 1000).astype(np.int64) % (rows // 20 + 1)
    price = pa.array(np.round(rng.gamma(2, 20, rows), 2), mask=rng.random(rows) < 0.7)
    table = pa.table({
        "event": pa.array(np.array(EVENTS)[np.minimum(rng.geometric(0.3, rows) - 1, len(EVENTS) - 1)]),
        "category": pa.array(np.char.add("category-", rng.integers(0, 1000, rows).astype(str))),
        "ts": pa.array(1_700_000_000_000_000 + np.cumsum(rng.integers(0, 3, rows)) * 1_000_000, pa.timestamp("us")),
        "user": pa.array(np.char.add("user-", np.char.zfill(users.astype(str), 8))),
        "user_id": pa.array(users, pa.int64()),
        "price": price,
    })
    pq.write_table(table, path, compression=codec)


def measured(rounds, read):
    best, result = None, None
    for _ in range(rounds):
        start = time.perf_counter_ns()
        result = read()
        took = time.perf_counter_ns() - start
        best = took if best is None else min(best, took)
    return best, result


def by_pyarrow(path, column, rounds):
    file = pq.ParquetFile(path)
    is_text = pa.types.is_string(file.schema_arrow.field(column).type)
    file = pq.ParquetFile(path, read_dictionary=[column] if is_text else None)
    best, table = measured(rounds, lambda: file.read(columns=[column], use_threads=False))
    values = table.column(0)
    if is_text:
        total = pc.sum(pc.binary_length(values.cast(pa.string()))).as_py()
    elif pa.types.is_floating(values.type):
        total = int(np.sum(values.drop_null().to_numpy().view(np.uint64), dtype=np.uint64))
    else:
        total = pc.sum(values.cast(pa.int64())).as_py() % 2**64
    return {"ns": best, "values": len(values), "nulls": values.null_count, "sum": str(total)}


def by_duckdb(path, column, rounds):
    con = duckdb.connect()
    con.execute("set threads = 1")
    kind = con.execute("select typeof(%s) from '%s' where %s is not null limit 1" % (column, path, column)).fetchall()[0][0]
    look = {"VARCHAR": "strlen(%s)", "TIMESTAMP": "epoch_us(%s)"}.get(kind, "%s") % column
    best, _ = measured(rounds, lambda: con.execute("select sum(%s) from '%s'" % (look, path)).fetchall())
    return {"ns": best}


if __name__ == "__main__":
    verb, path = sys.argv[1:3]
    if verb == "make":
        make(path, int(sys.argv[3]), sys.argv[4])
        print("{}")
    else:
        print(json.dumps({"pyarrow": by_pyarrow, "duckdb": by_duckdb}[verb](path, sys.argv[3], int(sys.argv[4]))))
