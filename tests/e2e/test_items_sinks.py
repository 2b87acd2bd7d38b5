"""Outputs that are not plain files: packed ones and those in the input's order, looked at with gzip, zstd and Python."""
import csv
import io
import json
import random
import subprocess

import pytest

from tutti_process import until


def lines(path, count, **more):
    path.write_text("".join(json.dumps({"n": n, **more}) + "\n" for n in range(count)))


def start(t, name="j", **members):
    made = t.post("/v1/jobs", {"name": name, "input": "in.jsonl", **members})
    assert made.status == 201, made.body
    return made.json


def claim(t, name="j", n=100000):
    return t.post("/v1/jobs/%s/claim?n=%d" % (name, n)).json["items"]


def send(t, rows, name="j"):
    answer = t.post("/v1/jobs/%s/results" % name, rows)
    assert answer.status == 200, answer.body
    return answer.json


def job(t, name="j"):
    return t.get("/v1/jobs/" + name).json


def wait_complete(t, name="j"):
    def over():
        report = job(t, name)
        assert "trouble" not in report, report
        return report["status"] == "COMPLETE" and report
    return until(over, "job %s is complete" % name, 60)


def unpacked(path):
    if path.suffix == ".gz":
        return subprocess.run(["gzip", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout
    return path.read_bytes()


def journals(t):
    return sorted(p.name for p in (t.data / "journal").iterdir())


@pytest.mark.parametrize("ending", ["jsonl.gz", "jsonl.zst", "csv.gz", "tsv.zst"])
def test_packed_output_appears_at_the_end(tutti, ending):
    t = tutti()
    lines(t.cwd / "in.jsonl", 500)
    out = t.cwd / ("out." + ending)
    start(t, output=out.name)
    items = claim(t)
    random.Random(1).shuffle(items)
    rows = [[i, {"id": i, "text": "t\u00fc,\"\n %d" % v["n"]}] for i, v in items]
    send(t, rows[:300])
    report = job(t)
    assert report["status"] == "IN_PROGRESS" and report["sink"] == "packed file" and report["promise"] == "exactly once, at the end"
    assert report["output_state"] == "appears when the job is complete" and report["output_bytes"] == 0
    assert report["journal_bytes"] == len(open(report["journal"], "rb").read()) > 0
    assert not out.exists()
    send(t, rows[300:])
    report = wait_complete(t)
    data = unpacked(out)
    assert report["output_bytes"] == out.stat().st_size and report["output_state"] == "there" and report["journal"] is None
    assert journals(t) == []
    if "jsonl" in ending:
        assert [json.loads(line) for line in data.splitlines()] == [row for _, row in rows]
    else:
        read = list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter="\t" if "tsv" in ending else ","))
        assert read == [["id", "text"]] + [[str(row["id"]), row["text"]] for _, row in rows]
    assert sorted(p.name for p in t.cwd.iterdir() if "out" in p.name) == [out.name]
    send(t, rows[:10])  # later ones are duplicates
    t.restart()
    assert job(t)["status"] == "COMPLETE" and unpacked(out) == data


@pytest.mark.parametrize("ending", ["jsonl", "csv", "jsonl.gz", "csv.zst"])
def test_output_in_input_order(tutti, ending):
    t = tutti()
    lines(t.cwd / "in.jsonl", 5000)
    out = t.cwd / ("out." + ending)
    start(t, output=out.name, order="input")
    items = claim(t)
    random.Random(2).shuffle(items)
    for at in range(0, 5000, 500):
        send(t, [[i, {"id": i}] for i, _ in items[at:at + 500]])
    wait_complete(t)
    expected = b"".join((b'{"id": %d}\n' if "jsonl" in ending else b"%d\n") % i for i in range(5000))
    assert unpacked(out) == (expected if "jsonl" in ending else b"id\n" + expected)


def test_the_first_in_order_need_not_have_all_columns(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 3)
    start(t, output="out.csv", order="input")
    send(t, [[2, {"a": 1, "b": 2}], [0, {"b": 5}], [1, {"c": 1}]])
    assert job(t)["errors"] == 1
    wait_complete(t)
    assert (t.cwd / "out.csv").read_text() == "a,b\n,5\n1,2\n"
    assert json.loads((t.cwd / "out.csv.rejects.jsonl").read_text())["id"] == 1


@pytest.mark.parametrize("ending", ["jsonl.gz", "jsonl.zst", "jsonl"])
def test_a_file_that_is_there_stays_in_front(tutti, ending):
    t = tutti()
    lines(t.cwd / "in.jsonl", 5)
    out = t.cwd / ("out." + ending)
    for name in ("a", "b"):
        start(t, name, output=out.name, order="input")
        send(t, [[i, {"job": name, "id": i}] for i, _ in claim(t, name)], name)
        wait_complete(t, name)
        assert t.request("DELETE", "/v1/jobs/" + name).status == 200
    read = [json.loads(line) for line in unpacked(out).splitlines()]
    assert read == [{"job": j, "id": i} for j in "ab" for i in range(5)]
    start(t, "c", output=out.name, order="input", overwrite=True)
    assert len(unpacked(out).splitlines()) == 10  # until the new one is there
    send(t, [[i, {}] for i, _ in claim(t, "c")], "c")
    wait_complete(t, "c")
    assert unpacked(out) == b"{}\n" * 5
    start(t, "c", output=out.name, order="input", clean_start=True)
    assert not out.exists() and unpacked(t.cwd / (out.name + ".1")) == b"{}\n" * 5 if ending == "jsonl" else not out.exists()
    send(t, [[i, {"c": 2}] for i, _ in claim(t, "c")], "c")
    wait_complete(t, "c")
    assert unpacked(out) == b'{"c": 2}\n' * 5


def test_errors_are_tried_again_into_the_same_file(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 4)
    start(t, output="out.jsonl.gz", order="input")
    claim(t)
    send(t, [[i, {"id": i}] for i in (3, 0, 2)])
    assert t.post("/mark-errors?job_name=j", [1]).status == 200
    report = wait_complete(t)
    assert report["journal"] and len(unpacked(t.cwd / "out.jsonl.gz").splitlines()) == 3
    assert t.post("/v1/jobs/j/retry", {}).json["retried"] == 1
    assert job(t)["status"] == "IN_PROGRESS"
    t.restart()
    claim(t)
    send(t, [[1, {"id": 1}]])
    assert wait_complete(t)["journal"] is None
    assert [json.loads(line)["id"] for line in unpacked(t.cwd / "out.jsonl.gz").splitlines()] == [0, 1, 2, 3]


def test_a_strange_file_in_the_place_of_the_output_is_left_alone(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 2)
    out = t.cwd / "out.jsonl.gz"
    start(t, output=out.name)
    out.write_bytes(b"precious")
    send(t, [[i, {"id": i}] for i, _ in claim(t)])
    report = until(lambda: job(t).get("trouble") and job(t), "the trouble is said")
    assert report["status"] == "IN_PROGRESS" and report["output_state"] == "waiting" and "move it away" in report["trouble"]
    assert out.read_bytes() == b"precious" and len(open(report["journal"]).readlines()) == 4
    out.unlink()
    assert t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": out.name, "cont": True}).status == 200
    wait_complete(t)
    assert len(unpacked(out).splitlines()) == 2


def test_an_empty_input_gives_an_empty_packed_file(tutti):
    t = tutti()
    (t.cwd / "in.jsonl").write_text("\n\n")
    start(t, output="out.jsonl.zst")
    assert claim(t) == []
    wait_complete(t)
    assert unpacked(t.cwd / "out.jsonl.zst") == b""


def test_clean_deletes_journal_and_output(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 4)
    start(t, output="out.jsonl.gz")
    claim(t)
    send(t, [[0, {"id": 0}]])
    assert t.post("/v1/jobs/j/clean?output=true").status == 200
    assert journals(t) == []
    claim(t)
    send(t, [[i, {"id": i}] for i in range(4)])
    wait_complete(t)
    assert [json.loads(line)["id"] for line in unpacked(t.cwd / "out.jsonl.gz").splitlines()] == [1, 2, 3]
    assert t.request("GET", "/purge?output=true").status == 200
    assert not (t.cwd / "out.jsonl.gz").exists()


def test_what_is_deleted_leaves_no_journal(tutti):
    t = tutti()
    lines(t.cwd / "in.jsonl", 4)
    start(t, output="out.jsonl.gz")
    claim(t)
    send(t, [[0, {"id": 0}]])
    assert len(journals(t)) == 1
    assert t.request("DELETE", "/v1/jobs/j").status == 200
    assert journals(t) == []
    (t.data / "journal" / "0123456789abcdef.journal").write_text("left over by a crash")
    t.restart()
    assert journals(t) == []


@pytest.mark.parametrize("members, sentence", [
    ({"output": "out.jsonl.gz", "mode": "write"}, "mode write"),
    ({"output": "out.jsonl", "order": "sideways"}, "order"),
    ({"output": "nowhere/out.jsonl.gz"}, "No such file"),
    ({"output": "in.jsonl", "order": "input"}, "Output path not allowed"),
])
def test_what_cannot_be(tutti, members, sentence):
    t = tutti()
    lines(t.cwd / "in.jsonl", 2)
    body = {"name": "j", **members}
    if members.get("mode") != "write":
        body["input"] = "in.jsonl"
    answer = t.post("/v1/jobs", body)
    assert 400 <= answer.status < 500 and sentence in answer.json["detail"], answer.body
    assert journals(t) == []
