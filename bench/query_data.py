"""Event files for the query rows, from a seed: query_data.py DIRECTORY [--rows N] [--files N] [--users N] [--events N] [--ties SHARE]
[--match SHARE] [--order random|time|user] [--ids int|string|uuid] [--codec snappy|zstd|lz4|none] [--writer pyarrow|duckdb|polars|tutti] [--seed N].

Each user's rows lie in one file. Four events (view, a2c, checkout, purchase) take `match` of the rows, the others share the rest; 70 % of
the prices are missing. Times are whole seconds (milliseconds where `--ties 0`)."""
import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STEPS = ["view", "a2c", "checkout", "purchase"]
STEP_SHARES = np.array([0.5, 0.25, 0.13, 0.12])
COUNTRIES = ["de", "fr", "us", "br", "in", "cn", "jp", "gb", "it", "es", "pl", "nl"]
SPAN_S = 30 * 86400


def user_ids(users, kind):
    """One id for each user number."""
    if kind == "int":
        return users
    if kind == "string":
        return np.char.add("user-", np.char.zfill(users.astype("U8"), 8))
    mixed = (users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(0x5DEECE66D)
    return np.array([f"{m >> 32:08x}-{m >> 16 & 0xFFFF:04x}-4{m & 0xFFF:03x}-8{m % 4093:03x}-{u:012x}" for m, u in zip(mixed.tolist(), users.tolist())])


def event_names(count):
    return STEPS + [f"event-{number}" for number in range(count - len(STEPS))]


def part(options, number, rows, rng):
    """The table of one file: the users whose number is that of the file, modulo the files."""
    own = max(1, options.users // options.files)
    users = (rng.random(rows) ** 1.5 * own).astype(np.int64) * options.files + number
    ticks = max(1, int(SPAN_S * (1 - options.ties)))
    seconds = 1_700_000_000 + rng.integers(0, ticks, rows) * SPAN_S // ticks
    others = options.events - len(STEPS)
    shares = np.concatenate([STEP_SHARES * options.match, np.full(others, (1 - options.match) / others)])
    events = np.searchsorted(np.cumsum(shares), rng.random(rows) * shares.sum(), side="right").clip(0, options.events - 1)
    order = {"random": None, "time": np.argsort(seconds, kind="stable"), "user": np.lexsort((seconds, users))}[options.order]
    if order is not None:
        users, seconds, events = users[order], seconds[order], events[order]
    distinct, codes = np.unique(users, return_inverse=True)
    ids = pa.array(user_ids(distinct, options.ids))
    return pa.table({
        "user": ids.take(pa.array(codes)),
        "ts": pa.array(seconds),
        "event": pa.array(event_names(options.events)).take(pa.array(events)),
        "category": pa.array([f"category-{n}" for n in range(1000)]).take(pa.array(rng.integers(0, 1000, rows))),
        "country": pa.array(COUNTRIES).take(pa.array(users % len(COUNTRIES))),
        "price": pa.array(np.round(rng.gamma(2, 20, rows) * 4) / 4, mask=rng.random(rows) < 0.7),
    })


def write(options, table, path):
    if options.writer == "duckdb":
        import duckdb
        duckdb.sql(f"COPY (SELECT * FROM \"table\") TO '{path}' (FORMAT parquet, CODEC '{options.codec.replace('none', 'uncompressed')}', ROW_GROUP_SIZE 1000000)")
    elif options.writer == "polars":
        import polars
        polars.from_arrow(table).write_parquet(path, compression=options.codec.replace("none", "uncompressed"))
    else:
        pq.write_table(table, path, compression=options.codec)
    if options.writer == "tutti":
        again = path.with_suffix(".jsonl")
        with open(again, "w", encoding="utf-8") as out:
            for batch in table.to_batches(65536):
                out.writelines(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in batch.to_pylist())
        subprocess.run([options.tutti, "parquet", "convert", str(again), str(path), "--codec", options.codec], check=True, capture_output=True)
        again.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    for name, default in (("rows", 20_000_000), ("files", 8), ("users", 1_000_000), ("events", 11), ("seed", 7)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--ties", type=float, default=0.5)
    parser.add_argument("--match", type=float, default=0.3)
    parser.add_argument("--order", choices=["random", "time", "user"], default="random")
    parser.add_argument("--ids", choices=["int", "string", "uuid"], default="string")
    parser.add_argument("--codec", choices=["snappy", "zstd", "lz4", "none"], default="snappy")
    parser.add_argument("--writer", choices=["pyarrow", "duckdb", "polars", "tutti"], default="pyarrow")
    parser.add_argument("--tutti", default="build/tutti")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(options.seed)
    paths = []
    for number in range(options.files):
        rows = options.rows // options.files + (number < options.rows % options.files)
        paths.append(options.directory / f"part-{number:03}.parquet")
        write(options, part(options, number, rows, rng), paths[-1])
    print(json.dumps({"files": [str(path) for path in paths], "bytes": sum(path.stat().st_size for path in paths)}))


if __name__ == "__main__":
    main()
