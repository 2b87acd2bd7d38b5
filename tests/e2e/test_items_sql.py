"""Tables as outputs, looked at with sqlite3, psql and mariadb."""
import json
import random

import pytest

from sql_servers import Sqlite
from test_items_sinks import claim, job, lines, send, start, wait_complete
from tutti_process import until


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request, tmp_path):
    db = Sqlite(tmp_path / "rows.db") if request.param == "sqlite" else request.getfixturevalue(request.param)
    for table in ("r", "commits_of_nobody", "tutti_commits"):
        db.ask("DROP TABLE IF EXISTS %s" % table)
    return db


def up(tutti, db, **declared):
    t = tutti(start=False)
    (t.cwd / "tutti.ini").write_text(db.declare(**declared))
    return t.start()


def test_rows_are_inserted_once(tutti, database):
    database.ask("CREATE TABLE r (id INTEGER PRIMARY KEY, name VARCHAR(100), price DECIMAL(10,2), good BOOLEAN, more VARCHAR(200))")
    t = up(tutti, database)
    lines(t.cwd / "in.jsonl", 2500)
    report = start(t, output="sql:db?table=r")
    assert report["sink"] == "table" and report["promise"] == "exactly once"
    items = claim(t)
    random.Random(3).shuffle(items)
    rows = [[i, {"id": i, "name": "J\u00f6rg '%d' \\ \"x\" ?" % i, "price": i / 4, "good": i % 2 == 0, "more": None if i % 3 else {"deep": [i]}}] for i, _ in items]
    send(t, rows[:1000])
    until(lambda: database.ask("SELECT count(*) FROM r") == "1000", "what is committed goes on at once")
    send(t, rows[1000:])
    report = wait_complete(t)
    assert report["errors"] == 0 and report["journal"] is None
    read = {int(r[0]): r[1:] for r in database.rows("SELECT id, name, price, good, more FROM r")}
    assert len(read) == 2500
    for i, row in rows:
        name, price, good, *more = read[i] + [""]
        assert name == row["name"] and float(price) == row["price"] and good in (("1", "t") if row["good"] else ("0", "f"))
        assert more[0] in ("", "NULL") if row["more"] is None else json.loads(more[0]) == row["more"]
    t.restart()
    assert job(t)["status"] == "COMPLETE" and database.ask("SELECT count(*) FROM r") == "2500"


def test_rows_that_do_not_fit_are_rejected(tutti, database):
    database.ask("CREATE TABLE r (id INTEGER NOT NULL PRIMARY KEY, n INTEGER NOT NULL CHECK (n < 1000))")
    t = up(tutti, database)
    lines(t.cwd / "in.jsonl", 40)
    start(t, output="sql:db?table=r")
    claim(t)
    bad = {3: {"id": 3, "n": None}, 7: {"id": 7, "n": 5000}, 11: {"id": 0, "n": 1}, 12: {"id": 12, "m": 1}, 13: [1], 14: {}, 15: [15, 15]}
    send(t, [[i, bad.get(i, {"id": i, "n": i})] for i in range(40)])
    report = wait_complete(t)
    assert report["errors"] == 6 and report["received"] == 34
    assert [int(r[0]) for r in database.rows("SELECT id FROM r ORDER BY id")] == sorted(set(range(40)) - set(bad) | {15})
    rejects = [json.loads(line) for line in open(t.data / "journal" / "j.rejects.jsonl")]
    assert {r["id"]: json.loads(r["text"]) for r in rejects} == {i: bad[i] for i in bad if i != 15}
    assert {e["id"] for e in t.get("/v1/jobs/j/errors").json["errors"]} == set(bad) - {15}
    assert any("no column `m`" in r["reason"] for r in rejects)
    # once more, and right
    assert t.post("/v1/jobs/j/retry", {}).json["retried"] == 6
    claim(t)
    send(t, [[i, {"id": i, "n": 1}] for i in bad if i != 15])
    wait_complete(t)
    assert database.ask("SELECT count(*) FROM r") == "40"


def test_upsert_on_the_unique_key(tutti, database):
    auto = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "SERIAL PRIMARY KEY", "mysql": "INTEGER PRIMARY KEY AUTO_INCREMENT"}[database.kind]
    database.ask("CREATE TABLE r (no %s, a VARCHAR(20) NOT NULL, b INTEGER NOT NULL, c INTEGER, d INTEGER DEFAULT 9, UNIQUE (a, b))" % auto)
    database.ask("INSERT INTO r (a, b, c, d) VALUES ('x', 1, 100, 200), ('y', 1, 100, 200)")
    t = up(tutti, database)
    lines(t.cwd / "in.jsonl", 6)
    start(t, output="sql:db?table=r&mode=upsert")
    claim(t)
    send(t, [[0, {"a": "x", "b": 1, "c": 1}], [1, {"a": "z", "b": 1, "c": 2}], [2, {"a": "z", "b": 1, "c": 3}], [3, {"c": 5}], [4, {"a": "y", "b": 1}]])
    send(t, [[5, {"a": "x", "b": 2, "d": 4}]])
    report = wait_complete(t)
    assert report["errors"] == 1
    rows = [[a, b, "" if c == "NULL" else c, d] for a, b, c, d in database.rows("SELECT a, b, c, d FROM r ORDER BY a, b")]
    assert rows == [["x", "1", "1", "200"], ["x", "2", "", "4"], ["y", "1", "100", "200"], ["z", "1", "3", "9"]]
    assert "unique key" in t.get("/v1/jobs/j/errors").json["errors"][0]["reason"]


@pytest.mark.parametrize("output, status, sentence", [
    ("sql:nope?table=r", 400, "[sql.nope]"), ("sql:db", 400, "table=T"), ("sql:db?table=r&mode=replace", 400, "insert and upsert"),
    ("sql:db?table=nothing", 403, "tables="), ("sql:db?table=absent", 400, "no table"), ("sql:db?table=r&mode=upsert", 400, "unique key"),
    ("sql:db?table=r&what=1", 400, "means nothing"), ("sql:db?table=k&mode=upsert&key=a,c", 400, "no unique key (a,c)"), ("sql:db?table=k&mode=upsert&key=b", 400, "(a, b)"),
])
def test_what_cannot_be(tutti, tmp_path, output, status, sentence):
    db = Sqlite(tmp_path / "rows.db")
    db.ask("CREATE TABLE r (id INTEGER)")
    db.ask("CREATE TABLE k (a INTEGER, b INTEGER, c INTEGER, UNIQUE (a, b))")
    t = up(tutti, db, tables="r, k, absent")
    lines(t.cwd / "in.jsonl", 2)
    answer = t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": output})
    assert answer.status == status and sentence in answer.json["detail"], answer.body


def test_a_database_that_is_away_is_waited_for(tutti, postgres):
    postgres.ask("DROP TABLE IF EXISTS r; CREATE TABLE r (id INTEGER PRIMARY KEY)")
    t = up(tutti, postgres)
    lines(t.cwd / "in.jsonl", 30)
    start(t, output="sql:db?table=r")
    claim(t)
    send(t, [[i, {"id": i}] for i in range(10)])
    until(lambda: postgres.ask("SELECT count(*) FROM r") == "10", "the first rows are there")
    postgres.kill()
    start(t, "other", output="other.jsonl")  # others are not held up
    send(t, [[i, {"id": i}] for i in range(10, 30)])
    send(t, [[i, {"id": i}] for i, _ in claim(t, "other")], "other")
    assert job(t, "other")["status"] == "COMPLETE"
    report = until(lambda: job(t).get("trouble") and job(t), "the trouble is said", 60)
    assert report["status"] == "IN_PROGRESS" and "s3cret" not in json.dumps(report)
    t.restart()
    postgres.start()
    until(lambda: job(t)["status"] == "COMPLETE", "it goes on by itself", 60)
    assert postgres.ask("SELECT count(*) FROM r") == "30"


def test_the_password_is_nowhere(tutti, postgres):
    t = up(tutti, postgres)
    lines(t.cwd / "in.jsonl", 1)
    postgres.password, right = "wrong s3cret", postgres.password
    t.stop()
    (t.cwd / "tutti.ini").write_text(postgres.declare())
    t.start()
    postgres.password = right
    answer = t.post("/v1/jobs", {"name": "j", "input": "in.jsonl", "output": "sql:db?table=r"})
    assert answer.status == 503 and "password" in answer.json["detail"] and b"s3cret" not in answer.body
    assert "s3cret" not in t.log()
    postgres.declare()
