"""The ids of a query's groups, of a whole dataset: those of an export of its files, with query workers and without a server, however many there are."""
from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any, Callable, List

import pytest

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402
from tutti_process import Tutti, binary  # noqa: E402

FUNNEL = {"query": {"conditions": [{"filter": ["event", "in", ["view", "buy", "look"]]}]},
          "funnel": {"sequence": [{"filter": ["event", "==", "view"]}, {"filter": ["event", "==", "buy"]}, {"filter": ["event", "==", "buy"]}]}}
WISHES: List[List[str]] = [[], ["--export-step", "1"], ["--export-step", "2"], ["--export-dropped", "2"], ["--export-dropped", "3"]]
IDS = {"numbers": lambda i: i * 7919 - 5000, "texts": lambda i: 'u"%d,é\n' % i if i else "", "unsigned": lambda i: 2**64 - 1 - i}


def write(directory: Path, kind: str, parts: int = 3, groups: int = 40) -> Path:
    directory.mkdir()
    for part in range(parts):
        users = [part * groups + i for i in range(groups) for _ in range(i % 5 + 1)]
        events = [("view", "buy", "other", "buy", "look")[(i * 3 + i // 7) % 5] for i in range(len(users))]
        ids = pa.array([IDS[kind](u) for u in users], {"numbers": pa.int64(), "texts": pa.string(), "unsigned": pa.uint64()}[kind])
        pq.write_table(pa.table({"user": ids, "ts": list(range(len(users))), "event": events}), directory / ("p%d.parquet" % part))
    return directory


def read_ids(path: Path) -> List[Any]:
    if path.suffix == ".parquet":
        return sorted(pq.read_table(path).column("user").to_pylist())
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["user"]
    return sorted(row[0] for row in rows[1:])


def run(t: Tutti, *args: Any, code: int = 0) -> str:
    done = subprocess.run([str(binary()), *map(str, args), "--data", str(t.data)], cwd=t.cwd, capture_output=True, text=True)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stderr if code else done.stdout


@pytest.mark.parametrize("kind", list(IDS))
def test_ids_are_those_of_the_files(tutti: Callable[..., Tutti], kind: str) -> None:
    t = tutti(query_workers=2)
    files, query, seen = write(t.cwd / "shop", kind), json.dumps(FUNNEL), 0
    run(t, "dataset", "register", "shop", files, "--group", "user", "--timestamp", "ts")
    wishes, wants = WISHES if kind == "numbers" else WISHES[2:4], []
    for wish in wishes:
        run(t, "query", *sorted(files.iterdir()), "-g", "user", "-t", "ts", "-e", query, "--export", t.cwd / "want.parquet", *wish)
        wants.append(read_ids(t.cwd / "want.parquet"))
    for how in ("served", "prepared", "alone"):
        if how == "prepared":
            run(t, "dataset", "prepare", "shop")
        if how == "alone":
            t.stop()
        for i, (wish, want) in enumerate(zip(wishes, wants)):
            name = "got.csv" if i % 2 else "got.parquet"
            assert "groups match" in run(t, "query", "shop", query, "--export", t.cwd / name, *wish)
            assert read_ids(t.cwd / name) == (sorted(map(str, want)) if i % 2 else want), (how, wish)
            seen += len(want)
    assert seen > 100 and sorted(path.name for path in t.cwd.glob("got*")) == ["got.csv", "got.parquet"]


@pytest.mark.parametrize("text", [False, True])
def test_more_ids_than_a_task_gives(tutti: Callable[..., Tutti], text: bool) -> None:
    """4 MiB at a time: parts with more are asked in shares, and each id comes once."""
    t = tutti(query_workers=2)
    directory, count = t.cwd / "many", 30_000 if text else 530_000
    directory.mkdir()
    for part in range(2):
        numbers = range(part * count, (part + 1) * count)
        ids = pa.array(["%0150d" % n for n in numbers]) if text else pa.array(numbers, pa.int64())
        pq.write_table(pa.table({"user": ids, "ts": pa.array([1] * count, pa.int64())}), directory / ("p%d.parquet" % part), compression="zstd")
    run(t, "dataset", "register", "many", directory, "--group", "user", "--timestamp", "ts", "--skip-uniques")
    run(t, "query", "many", "--empty", "--export", t.cwd / "ids.parquet")
    got = pq.read_table(t.cwd / "ids.parquet").column(0).cast(pa.int64()).sort().to_numpy()
    assert len(got) == 2 * count and got[0] == 0 and (got[1:] - got[:-1] == 1).all()


def test_the_route_and_what_is_wrong(tutti: Callable[..., Tutti]) -> None:
    t = tutti(query_workers=1)
    files, out = write(t.cwd / "shop", "numbers"), t.cwd / "ids.csv"
    run(t, "dataset", "register", "shop", files, "--group", "user", "--timestamp", "ts")
    body = json.dumps(FUNNEL).encode()
    answer = t.request("POST", "/v1/datasets/shop/ids?step=2", body=body)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.body.decode())))
    funnel = t.request("POST", "/datasets/shop/query", body=body).json["funnel"]["sequence"]
    assert rows[0] == ["user"] and len(rows) - 1 == funnel[1]["matchingGroups"] > 0
    answer = t.request("POST", "/v1/datasets/shop/ids?format=parquet&dropped=2", body=body)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(answer.body)).num_rows == funnel[0]["matchingGroups"] - funnel[1]["matchingGroups"] > 0
    for query, sent, status, words in (("?step=4", body, 422, "the query has a funnel of 3 steps"), ("?step=0", body, 400, "counted from 1"), ("?step=1&dropped=1", body, 400, "not both"),
                                       ("?format=xml", body, 400, "csv or parquet"), ("", b"", 400, "Expecting value"), ("", b'{"query":{"x":1}}', 422, "x"), ("?what=1", body, 400, "what")):
        answer = t.request("POST", "/v1/datasets/shop/ids" + query, body=sent)
        assert (answer.status, words in answer.json["detail"]) == (status, True), answer.body
    assert t.request("POST", "/v1/datasets/nothing/ids", body=body).status == 404
    out.write_text("before")
    for args, code, words in ((["--export", out, "--export-step", "4"], 2, "a funnel of 3 steps"), (["--export", "ids.txt"], 2, "name it .parquet or .csv"),
                              (["--export-step", "1"], 2, "give --export FILE"), (["--export", "no/such/folder/ids.csv"], 4, "cannot create")):
        assert words in run(t, "query", "shop", json.dumps(FUNNEL), *args, code=code)
    (files / "p1.parquet").write_bytes((files / "p1.parquet").read_bytes() + b" ")
    assert "p1.parquet" in run(t, "query", "shop", json.dumps(FUNNEL), "--export", out, code=1)
    assert out.read_text() == "before" and not list(t.cwd.glob("*.part"))
