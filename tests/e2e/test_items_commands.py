"""Commands and Python classes as readers and sinks, and queries as inputs."""
import json
import sys

import pytest

from sql_servers import Sqlite
from test_items_sinks import claim, job, journals, lines, send, start, wait_complete
from tutti_process import ROOT, until

HOST = "%s -m tutti.io" % sys.executable
ENV = {"PYTHONPATH": str(ROOT / "clients" / "python")}

CLASSES = '''
import json

class MyReader:
    def __init__(self, metadata):
        print("a reader may print")
        self.ids = iter(range(0, int(metadata["upto"]), 2))

    def __call__(self, n):
        return [(i, {"n": i, "text": "\\u00fc\\n"}) for i, _ in zip(self.ids, range(n))]

class MyWriter:
    def __init__(self, metadata):
        self.path = metadata["output_file_path"]

    def __call__(self, items):
        with open(self.path, "a") as f:
            f.write("".join(json.dumps(item) + "\\n" for item in items))

class Broken:
    def __init__(self, metadata):
        raise RuntimeError("it is broken")
'''

SINK = '''
import json, os, sys
assert json.loads(sys.stdin.readline())["tutti"] == "sink"
rows = []
for line in sys.stdin:
    record = json.loads(line)
    if "commit" not in record:
        rows.append(record)
        continue
    with open("sunk.jsonl", "a") as f:
        f.writelines(json.dumps(r) + "\\n" for r in rows if r["value"] != "bad")
    for r in rows:
        if r["value"] == "bad":
            print(json.dumps({"reject": r["id"], "reason": "it is bad"}))
    if os.path.exists("die") and rows:
        os.unlink("die")
        sys.exit("told to die")
    rows = []
    print(json.dumps({"committed": record["commit"]}), flush=True)
'''


@pytest.fixture
def up(tutti):
    def make(config, **more):
        t = tutti(start=False, env=ENV, **more)
        (t.cwd / "classes.py").write_text(CLASSES)
        (t.cwd / "sink.py").write_text(SINK)
        (t.cwd / "tutti.ini").write_text(config)
        return t.start()
    return make


CONFIG = """
[reader.MyReader]
command = %(host)s classes:MyReader
[reader.Broken]
command = %(host)s classes:Broken
[reader.Lines]
command = printf '{"a":1}\\n\\n{"a":2}\\nno json\\n'
[reader.Many]
command = %(python)s -c "import os, time; os.close(0); [print(n) for n in range(300000)]"
[reader.Away]
command = no-such-program-anywhere
[sink.MyWriter]
command = %(host)s classes:MyWriter
[sink.count]
command = %(python)s "sink.py"
""" % {"host": HOST, "python": sys.executable}


def test_classes_of_the_older_client(up):
    t = up(CONFIG)
    metadata = {"upto": 20, "output_file_path": str(t.cwd / "written.jsonl")}
    answer = t.post("/scramble", metadata, params={"job_name": "j", "reader_name": "MyReader", "writer_name": "MyWriter", "mode": "read-write"})
    assert answer.status == 200, answer.body
    items = t.post("/serve?job_name=j&batch_size=100").json
    assert [i for i, _ in items] == list(range(0, 20, 2)) and items[1][1] == {"n": 2, "text": "\u00fc\n"}
    report = job(t)
    assert report["sink"] == "command" and report["promise"] == "at least once" and t.get("/report?job_name=j").json["promise"] == "at least once"
    assert t.post("/receive?job_name=j&overwrite=false", [[i, {"id": i}] for i, _ in items[:5]]).status == 200
    until(lambda: (t.cwd / "written.jsonl").exists() and len((t.cwd / "written.jsonl").read_text().splitlines()) == 5, "the writer has the first ones")
    t.restart()
    assert t.post("/receive?job_name=j&overwrite=false", [[i, {"id": i}] for i, _ in items]).status == 200
    wait_complete(t)
    assert [json.loads(line) for line in (t.cwd / "written.jsonl").read_text().splitlines()] == [{"id": i} for i in range(0, 20, 2)]
    assert [name for name in journals(t) if name.endswith(".input")]
    assert t.request("DELETE", "/v1/jobs/j").status == 200
    assert journals(t) == []


def test_any_command_is_a_reader(up):
    t = up(CONFIG)
    made = t.post("/v1/jobs", {"name": "j", "reader": "Lines", "output": "out.jsonl"})
    assert made.status == 201, made.body
    assert t.post("/v1/jobs", {"name": "j", "reader": "Lines", "output": "out.jsonl"}).status == 200  # joins
    assert claim(t) == [[0, {"a": 1}], [2, {"a": 2}]]
    t.restart()
    assert claim(t) == [[0, {"a": 1}], [2, {"a": 2}]]
    send(t, [[0, {}], [2, {}]])
    assert wait_complete(t)["errors"] == 1
    assert len([name for name in journals(t) if name.endswith(".input")]) == 1


@pytest.mark.parametrize("body, sentence", [
    ({"reader": "Broken", "output": "o.jsonl"}, "it is broken"), ({"reader": "Away", "output": "o.jsonl"}, "no-such-program"),
    ({"reader": "Nobody", "output": "o.jsonl"}, "input"), ({"input": "in.jsonl", "output": "sink:nobody"}, "[sink.nobody]"),
    ({"input": "sql:x?query=q", "output": "o.jsonl"}, "[sql.x]"),
])
def test_what_cannot_be(up, body, sentence):
    t = up(CONFIG)
    lines(t.cwd / "in.jsonl", 1)
    answer = t.post("/v1/jobs", {"name": "j", **body})
    assert answer.status == 400 and sentence in answer.json["detail"], answer.body
    assert journals(t) == []


def test_a_command_that_does_not_listen(up):
    t = up(CONFIG)
    assert t.post("/v1/jobs", {"name": "j", "reader": "Many", "output": "out.jsonl"}).status == 201
    until(lambda: job(t)["total"] == 300000, "all of it is there")


def test_a_command_that_takes_results(up):
    t = up(CONFIG)
    lines(t.cwd / "in.jsonl", 100)
    start(t, output="sink:count")
    claim(t)
    send(t, [[i, "bad" if i == 7 else {"id": i}] for i in range(50)])
    errors = until(lambda: t.get("/v1/jobs/j/errors").json["errors"], "the reject is told")
    assert [(e["id"], e["reason"]) for e in errors] == [(7, "it is bad")]
    (t.cwd / "die").touch()
    send(t, [[i, {"id": i}] for i in range(50, 100)])
    until(lambda: job(t)["status"] == "COMPLETE", "it is started again", 60)
    ids = [json.loads(line)["id"] for line in (t.cwd / "sunk.jsonl").read_text().splitlines()]
    assert set(ids) == set(range(100)) - {7} and len(ids) > 99  # at least once
    assert "told to die" in t.log()


def test_a_command_that_hangs_does_not_hold_up_the_end(up):
    t = up("[sink.slow]\ncommand = sleep 1000\n[reader.slow]\ncommand = sleep 1000\n")
    lines(t.cwd / "in.jsonl", 3)
    start(t, output="sink:slow")
    claim(t)
    send(t, [[i, {"id": i}] for i in range(3)])
    assert t.stop(limit_s=20) == 0


def test_queries_are_inputs(tutti, tmp_path):
    db = Sqlite(tmp_path / "rows.db")
    db.ask("CREATE TABLE r (id INTEGER, name TEXT, price REAL); INSERT INTO r VALUES (1, 'J\u00f6rg \"x\"', 1.5), (2, NULL, 3)")
    t = tutti(start=False)
    (t.cwd / "tutti.ini").write_text(db.declare(**{"query.all": "SELECT id, name, price FROM r ORDER BY id", "query.bad": "SELECT nothing FROM nowhere"}))
    t.start()
    start(t, input="sql:db?query=all", output="out.jsonl")
    assert claim(t) == [[0, {"id": 1, "name": "J\u00f6rg \"x\"", "price": 1.5}], [1, {"id": 2, "name": None, "price": 3.0}]]
    db.ask("DELETE FROM r")  # it is spooled
    t.restart()
    assert len(claim(t)) == 2
    for query in ("bad", "none", "SELECT 1"):
        answer = t.post("/v1/jobs", {"name": "k", "input": "sql:db?query=" + query, "output": "k.jsonl"})
        assert 400 <= answer.status < 500, answer.body


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_queries_of_servers(tutti, server, request):
    db = request.getfixturevalue(server)
    db.ask("DROP TABLE IF EXISTS q")
    db.ask("CREATE TABLE q (id INTEGER, name VARCHAR(50), price DECIMAL(10,2), more JSON, day DATE)")
    db.ask("INSERT INTO q VALUES (1, 'J\u00f6rg \"x\"', 1.50, '{\"a\": [1, 2]}', '2026-01-31'), (2, NULL, NULL, NULL, NULL)")
    t = tutti(start=False)
    (t.cwd / "tutti.ini").write_text(db.declare(**{"query.all": "SELECT * FROM q ORDER BY id"}))
    t.start()
    start(t, input="sql:db?query=all", output="out.jsonl")
    (_, first), (_, second) = claim(t)
    if isinstance(first["more"], str):
        first["more"] = json.loads(first["more"])  # MariaDB's JSON is text
    assert first == {"id": 1, "name": "J\u00f6rg \"x\"", "price": 1.5, "more": {"a": [1, 2]}, "day": "2026-01-31"}
    assert second == {"id": 2, "name": None, "price": None, "more": None, "day": None}
