"""Parquet files as the input of jobs."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List

import pytest
from test_parquet_hazards import text_bomb
from tutti_process import Tutti, until

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def rows_of(start: int, count: int) -> List[Any]:
    return [{"n": i, "s": None if i % 7 == 0 else "text %d" % i, "l": [i, i + 1] if i % 3 else None} for i in range(start, start + count)]


def write(path: Path, start: int, count: int, **options: Any) -> None:
    schema = pa.schema([("n", pa.int64()), ("s", pa.string()), ("l", pa.list_(pa.int64()))])
    pq.write_table(pa.Table.from_pylist(rows_of(start, count), schema), path, **options)


def claim(one: Tutti, n: int) -> List[Any]:
    answer = one.post("/v1/jobs/j/claim", params={"n": n, "wait": "60s"}, timeout=90)
    assert answer.status == 200, answer.json
    return answer.json["items"]


def results(one: Tutti, items: List[Any]) -> None:
    assert one.post("/v1/jobs/j/results", items, timeout=90).status == 200


def test_rows_are_items_over_files_and_a_crash(tutti) -> None:
    one = tutti(start=False)
    write(one.cwd / "a.parquet", 0, 9_000, row_group_size=2_500, data_page_size=1_000, compression="snappy")
    write(one.cwd / "b.parquet", 9_000, 6_000, compression="zstd", data_page_version="2.0")
    one.start()
    assert one.post("/v1/jobs", {"name": "j", "input": "*.parquet", "output": "out.jsonl"}).status == 201
    until(lambda: one.get("/v1/jobs/j").json["total"] == 15_000, "a plan", 60)
    results(one, claim(one, 5_000))
    one.kill()
    one.start()
    while True:
        items = claim(one, 4_000)
        if not items:
            break
        results(one, items)
    out = [json.loads(line) for line in (one.cwd / "out.jsonl").read_text().splitlines()]
    assert sorted(out, key=lambda row: row["n"]) == rows_of(0, 15_000)


def test_what_cannot_be_read_refuses_the_job(tutti) -> None:
    one = tutti()
    pq.write_table(pa.table({"deep": pa.array([[[1]]], pa.list_(pa.list_(pa.int64())))}), one.cwd / "deep.parquet")
    (one.cwd / "bad.parquet").write_bytes(b"PAR1 no footer PAR1")
    for name, why in (("deep", "column `deep.list.element.list.element` is a list of lists"), ("bad", "the footer")):
        answer = one.post("/v1/jobs", {"name": "j", "input": "%s.parquet" % name, "output": "out.jsonl"})
        assert 400 <= answer.status < 500 and why in answer.json["detail"], answer


def test_a_row_of_terabytes_is_an_error_of_its_own(tutti) -> None:
    """Lists that say one text again and again: the server refuses the rows and keeps its memory."""
    one = tutti()
    (one.cwd / "bomb.parquet").write_bytes(text_bomb(3))
    assert one.post("/v1/jobs", {"name": "j", "input": "bomb.parquet", "output": "out.jsonl"}).status == 201
    until(lambda: one.get("/v1/jobs/j").json["total"] == 3, "a plan", 60)
    assert claim(one, 10) == []
    errors = one.get("/v1/jobs/j/errors").json["errors"]
    assert len(errors) == 3 and all(e["reason"].startswith("the row is longer than 8388608 bytes") for e in errors), errors


def test_results_become_a_file(tutti) -> None:
    """Results of different shapes, some of which cannot be rows, over a crash; the file appears at the end, with types from all of them."""
    one = tutti(start=False)
    count = 3_000
    (one.cwd / "in.jsonl").write_text("".join('{"n":%d}\n' % i for i in range(count)))
    one.start()
    made = one.post("/scramble", {"input_file_path": "in.jsonl", "output_file_path": "out.parquet", "columns": {"day": "date"}, "codec": "snappy"},
                    params={"job_name": "j", "reader_name": "JsonlReader", "writer_name": "ParquetWriter"})
    assert made.status == 200, made.json
    bad = {7: [7], 8: "eight", 9: {"n": 9, "day": "no day"}}

    def value(i: int) -> Any:
        return bad.get(i, {"n": i, "half": i / 2, "day": "2024-01-%02d" % (i % 28 + 1), **({"tags": ["a"] * (i % 3)} if i % 2 else {})})

    for kills in (True, False):
        todo = claim(one, 1_500)
        results(one, [[i, value(i)] for i, _ in todo])
        assert not (one.cwd / "out.parquet").exists() or not kills
        if kills:
            one.kill()
            one.start()
    until(lambda: (one.cwd / "out.parquet").exists(), "the output", 60)
    table = pq.read_table(one.cwd / "out.parquet")
    assert {f.name: str(f.type) for f in table.schema} == {"day": "date32[day]", "n": "int64", "half": "double", "tags": "list<element: string>"}
    rows = sorted(table.to_pylist(), key=lambda row: row["n"])
    wanted = [i for i in range(count) if i not in bad]
    assert [row["n"] for row in rows] == wanted and [row["half"] for row in rows] == [i / 2 for i in wanted]
    assert [row["tags"] for row in rows] == [["a"] * (i % 3) if i % 2 else None for i in wanted]
    assert [row["day"].day for row in rows] == [i % 28 + 1 for i in wanted]
    assert sum(1 for line in (one.cwd / "out.parquet.rejects.jsonl").read_text().splitlines() if line) == len(bad)
