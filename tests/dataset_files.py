"""The older query service's test data set: parts of 1,000 rows and 200 groups with every kind of column."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BASE = 1609459200000
ROWS, GROUPS = 1000, 200


def frame(part: int) -> Any:
    rng = np.random.default_rng(1000 + part)
    ids = np.concatenate([np.arange(GROUPS), rng.integers(0, GROUPS, ROWS - GROUPS)]) + 100000 * part
    rng.shuffle(ids)
    ts = BASE + 10000 * part + rng.integers(1, 10000, ROWS)
    ts[0], ts[1] = BASE + 10000 * part, BASE + 10000 * (part + 1)
    float_32 = rng.random(ROWS).astype("float32")
    float_32[[0, -1]] = np.nan
    few = rng.permutation(np.repeat(["0", "1", "2", "3"], [900, 70, 20, 10]))
    many = rng.permutation(np.concatenate([np.repeat("0", 500), np.repeat("1", 200), np.repeat([str(i) for i in range(2, 32)], 10)]))
    text_ids = [str(i) for i in ids]
    return pd.DataFrame({
        "int_64_userid": ids, "int_64_ts": ts, "float_64_ts": ts + rng.random(ROWS), "int_u32": rng.integers(0, 100, ROWS).astype("uint32"),
        "float_32": float_32, "float_all_none": np.full(ROWS, np.nan), "float_category": pd.Series(rng.choice([1.5, 2.5], ROWS)).astype("category"),
        "str_userid": text_ids, "str_category_userid": pd.Series(text_ids).astype("category"),
        "str_and_none": rng.choice(np.array(["1", "2", "3", "part-%d" % part, None], dtype=object), ROWS),
        "str_category_few": few, "str_category_many": pd.Categorical(many), "bool": rng.random(ROWS) < 0.5,
        "list_of_ints": [[1, 2]] * ROWS, "datetimes": pd.to_datetime(ts, unit="ms"),
    })


def write(directory: Path, parts: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        frame(part).to_parquet(directory / ("part-%d.parquet" % part))
    return directory
