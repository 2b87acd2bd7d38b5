"""Executions: asked for over the older routes and ours, checked, queued, run by workers, and looked at."""
import csv
import gzip
import json
import os
import re
import signal
import sqlite3
import subprocess
import urllib.parse

import pytest
from sql_servers import Sqlite
from test_programs import C, DESCRIBE, PYTHON
from tutti_process import alive, binary, children, until

RUN = "/execution/run"
pytestmark = pytest.mark.stores


@pytest.fixture
def place(tutti, tmp_path):
    """A server with one worker and a folder of programs: place.t, place.script(...), place.run(...)."""
    class Place:
        dir = tmp_path / "programs"

        def add(self, name, text, mode=0o755):
            (self.dir / name).write_text(text)
            (self.dir / name).chmod(mode)

        def script(self, name, body, settings={}, **more):
            self.add(name, DESCRIBE % (json.dumps({"settings": settings, **more}), body))

        def start(self, **options):
            self.t = tutti(args=["--programs", str(self.dir)], **{"workers": 1, **options})
            return self

        def run(self, program, settings={}, owner="devTest"):
            answer = self.t.post(RUN, {"_id": owner, "platform_id": program, "settings": settings})
            assert answer.status == 200, answer
            return answer.json["message"]["job_id"]

        def get(self, job, full=False):
            answer = self.t.get("/execution/get?job_id=%s%s" % (urllib.parse.quote(job), "&full" if full else ""))
            assert answer.status == 200, answer
            return answer.json["message"]

        def ended(self, job):
            return until(lambda: (lambda m: m["status"] in ("finished", "failed", "canceled") and m)(self.get(job)), "the end of %s" % job, 60)

        def tutti(self, *args):
            return subprocess.run([binary(), *args, "--data", self.t.data], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    made = Place()
    made.dir.mkdir()
    return made


# ---- the older routes ----


@pytest.mark.both_stores
def test_a_run_from_end_to_end(place):
    place.add("private_scraping_platform_2.py", PYTHON.replace("class Greet", "class PrivateScrapingPlatform2"), 0o644)
    place.start()
    answer = place.t.post(RUN, {"_id": "dev.Test", "platform_id": "private_scraping_platform_2", "settings": {"name": "world"}, "extra": 1})
    assert re.fullmatch(rb'\{"status": "Success", "message": \{"job_id": "\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{6}--dev_Test--private_scraping_platform_2"\}\}', answer.body)
    job = answer.json["message"]["job_id"]
    m = place.ended(job)
    assert m["status"] == "finished" and m["meta"] == {"greeting": "completed", "result": True}, m
    assert [name for name in m if name not in ("attempts", "worker")] == [
        "created_at", "origin", "description", "enqueued_at", "started_at", "ended_at", "result", "timeout", "status", "meta", "ttl"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", m[name]) for name in ("created_at", "enqueued_at", "started_at", "ended_at"))
    assert m["ttl"] == -1 and m["timeout"] == 3600 and m["description"] == "run()" and m["worker"].partition("@")[0] == "sanjer1"
    day, time, micros = job[:10], job[11:19].replace("-", ":"), job[20:26]
    assert place.get("%sT%s.%s::dev.Test::private_scraping_platform_2" % (day, time, micros)) == m  # as the older service wrote ids


def test_a_queued_one_can_be_read(place):
    place.script("waits", "true")
    place.start(workers=0)
    m = place.get(place.run("waits"))
    assert m["status"] == "queued" and m["meta"] == {} and "ttl" not in m and "started_at" not in m and m["attempts"] == 0


def test_data_sets_only_with_full(place):
    place.script("keeps", r"""printf %s '{"progress":{"original":",a\n0,1\n","processed":",a","login":"done"}}' >&3""")
    place.start()
    job = place.run("keeps")
    assert place.ended(job)["meta"] == {"login": "done"}
    assert place.get(job, full=True)["meta"] == {"login": "done", "original": ",a\n0,1\n", "processed": ",a"}


def test_a_failed_one_says_why(place):
    place.add("raises.py", "class A:\n    def _run(self):\n        self.update('login', 'failed')\n        raise Exception('cookie not returned')\n", 0o644)
    place.start()
    m = place.ended(place.run("raises"))
    assert m["status"] == "failed" and "cookie not returned" in m["exc_info"] and m["ttl"] == -1


DATES = {"start_date": {"type": "datetime"}, "end_date": {"type": "datetime"}, "n": {"type": "int", "default": 1}}


@pytest.mark.parametrize("body, said", [
    ({"platform_id": "p", "settings": {}}, "Missing parameters in request: __init__() missing 2 required positional arguments: 'start_date' and 'end_date'"),
    ({"platform_id": "p", "settings": {"start_date": "yesterday", "end_date": "1 day back", "x": 1}},
     "Missing parameters in request: __init__() got an unexpected keyword argument 'x'"),
    ({"platform_id": "p", "settings": {"start_date": "garbage", "end_date": "today"}}, "Invalid settings: 'start_date' is no date"),
    ({"platform_id": "p", "settings": {"start_date": 5, "end_date": "today", "n": "x"}}, "'start_date' expects a date"),
    ({"platform_id": "p", "settings": {"start_date": 5, "end_date": "today", "n": "x"}}, "'n' expects a whole number"),
    ({"platform_id": None, "settings": {}}, "Missing parameters in request: must be str, not NoneType"),
    ({"platform_id": "p", "settings": None}, "Missing parameters in request: argument of type 'NoneType' is not iterable"),
    ({"platform_id": "p", "settings": []}, "Missing parameters in request: `settings` must be an object"),
    ({"platform_id": "nope", "settings": {}}, "Missing or invalid platform_id"),
    ({"platform_id": "../p", "settings": {}}, "Missing or invalid platform_id"),
    ({"platform_id": "base_platform", "settings": {}}, "Missing or invalid platform_id"),
    ({"platform_id": "broken", "settings": {}}, "Missing or invalid platform_id: "),
    ({"settings": {}}, "Missing or invalid platform_id"),
    ({"platform_id": "p"}, "Missing parameters in request: settings"),
    (b"{nonsense", "Missing parameters in request: "), (b"", "Missing parameters in request: "), (b"[1]", "Missing parameters in request: "),
])
def test_a_mistake_is_a_400_that_names_it(place, body, said):
    place.script("p", "true", DATES)
    place.add("broken", "#!/bin/sh\necho x\n")
    place.start(workers=0)
    answer = place.t.post(RUN, body)
    assert answer.status == 400 and answer.json["status"] == "Failed" and said in answer.json["message"], answer
    assert answer.headers["content-type"] == "application/json"
    assert place.t.get("/v1/tasks/1").status == 404  # nothing was queued


def test_a_body_of_another_type_is_no_body(place):
    place.script("p", "true")
    place.start(workers=0)
    body = json.dumps({"platform_id": "p", "settings": {}}).encode()
    assert place.t.post(RUN, body, headers={"Content-Type": "text/plain"}).status == 400
    assert place.t.post(RUN, body, headers={"Content-Type": "application/json; charset=utf-8"}).status == 200


def test_unknown_and_missing_ids(place):
    place.start(workers=0)
    for query, said in (("?job_id=nope", "Missing job"), ("", "Missing job_id"), ("?job_id=1", "Missing job"), ("?job_id=a/b", "Missing job"), ("?job_id=%00", "Missing job")):
        answer = place.t.get("/execution/get" + query)
        assert answer.status == 400 and answer.json == {"status": "Failed", "message": said}, (query, answer)


def test_phrases_become_dates(place):
    place.add("shows", DESCRIBE % (json.dumps({"settings": DATES}), 'printf \'{"result":%s}\\n\' "$(cat)" >&3'))
    place.start()
    result = place.ended(place.run("shows", {"start_date": "2017-08-01", "end_date": "2017-08-01 10:30"}))["result"]
    assert result == {"start_date": "2017-08-01T00:00:00", "end_date": "2017-08-01T10:30:00", "n": 1}


# ---- ours ----


def test_our_route_is_strict(place):
    place.script("p", "true", {"password": {"type": "secret"}})
    place.start(workers=0)
    assert place.t.post("/v1/executions", {"program": "p", "settings": {"password": "geheim"}, "extra": 1}).status == 400
    assert place.t.post("/v1/executions", {"program": "nope"}).status == 404
    assert place.t.post("/v1/executions", {"program": "p"}).json["detail"].startswith("the setting 'password' is missing: ")
    for wrong, said in (({"queue": "a,b"}, "`a,b` is no queue"), ({"priority": 1000001}, "`priority` is 1000001"), ({"max_attempts": 0}, "`max_attempts` is 0"), ({"priority": "high"}, "a whole number")):
        answer = place.t.post("/v1/executions", {"program": "p", "settings": {"password": "geheim"}, **wrong})
        assert answer.status == 400 and said in answer.json["detail"], answer
    answer = place.t.post("/v1/executions", {"program": "p", "settings": {"password": "geheim"}, "owner": "me", "max_attempts": 3, "priority": 5})
    assert answer.status == 201 and answer.json["settings"] == {"password": "***"} and "--me--p" in answer.json["id"]
    shown = place.t.get("/v1/executions/%s" % answer.json["id"]).json
    assert shown["state"] == "queued" and shown["program"] == "p" and shown["task"] == answer.json["task"]


def test_waiting_for_the_end(place):
    place.script("p", "sleep 0.3; echo '{\"result\":7}' >&3")
    place.start()
    started = place.t.post("/v1/executions", {"program": "p"}).json
    shown = place.t.get("/v1/executions/%s?wait=50s" % started["id"], timeout=60).json
    assert shown["state"] == "finished" and shown["result"] == 7
    assert place.t.get("/v1/executions/%s?wait=50s" % started["id"]).json == shown
    assert place.t.get("/v1/executions/%s?wait=1d" % started["id"]).status == 400


def test_one_that_kills_its_worker_is_parked_with_its_last_words(place):
    place.script("p", "echo the last words; while ! [ -e %s/_go ]; do sleep 0.05; done; kill -9 $PPID; sleep 60" % place.dir)
    place.start()
    started = place.t.post("/v1/executions", {"program": "p", "max_attempts": 1}).json
    until(lambda: b"the last words" in place.t.get("/v1/tasks/1/log").body, "its log is there", 60)
    (place.dir / "_go").touch()
    end = until(lambda: (lambda one: one["state"] == "failed" and one)(place.t.get("/v1/executions/%s" % started["id"]).json), "it is parked", 60)
    assert "signal 9 (Killed)" in end["reason"] and "the last words" in end["reason"], end


@pytest.mark.one_store
def test_a_result_that_the_server_does_not_take_fails_with_the_reason(place):
    place.script("p", "printf '{\"result\":\"%200000s\"}\\n' x >&3")
    place.script("q", "echo '{\"result\":7}' >&3")
    place.start(env={"TUTTI_LIMITS_BODY": "100000"})
    started = [place.t.post("/v1/executions", {"program": name}).json["id"] for name in "pqp"]
    ends = [place.t.get("/v1/executions/%s?wait=50s" % one, timeout=60).json for one in started]
    assert [end["state"] for end in ends] == ["failed", "finished", "failed"] and ends[1]["result"] == 7
    assert "limits.body" in ends[0]["reason"] and ends[0]["attempts"] == 1, ends[0]


def test_a_stop_does_not_wait_for_those_who_wait(place):
    place.script("p", "true")
    place.start(workers=0)
    started = place.t.post("/v1/executions", {"program": "p"}).json
    waiting = subprocess.Popen(["curl", "-s", "%s/v1/executions/%s?wait=60s" % (place.t.url, started["id"])], stdout=subprocess.PIPE)
    # Three times: a request that has just been answered may still be counted.
    until(lambda: all(b"tutti_http_requests_running 2" in place.t.get("/metrics").body for _ in range(3)), "the request waits")
    assert place.t.stop(limit_s=20) == 0
    out, _ = waiting.communicate(timeout=20)
    assert json.loads(out)["state"] == "queued"


def test_the_command_line(place):
    place.script("p", "echo '{\"progress\":{\"a\":\"done\"},\"result\":[1]}' >&3", {"name": {"type": "str"}})
    place.script("fails", "exit 3")
    place.start()
    started = place.tutti("run", "p", "--set", "name=x", "--owner", "me")
    assert started.returncode == 0 and started.stdout.endswith("--me--p\n"), started
    waited = place.tutti("run", "p", "--set", "name=x", "--wait")
    assert (waited.returncode, waited.stdout) == (0, "[1]\n"), waited
    followed = place.tutti("run", "p", "--set", "name=x", "--follow", "--json")
    assert json.loads(followed.stdout)["progress"] == {"a": "done"}
    failed = place.tutti("run", "fails", "--wait")
    assert failed.returncode == 1 and "exit 3" in failed.stderr, failed
    missing = place.tutti("run", "p", "--wait")
    assert missing.returncode == 2 and "'name'" in missing.stderr, missing
    assert place.tutti("run", "nope").returncode == 4


def test_a_changed_program_is_not_run_for_an_older_task(place):
    place.script("p", "echo old; echo 1 >%s/_ran" % place.dir)
    place.start(workers=0)
    job = place.run("p")
    old = (place.dir / "p").read_text()
    place.script("p", "echo new; echo 2 >%s/_ran" % place.dir)
    place.t.workers = 1
    place.t.restart()
    shown = until(lambda: (lambda e: e["reason"] and e)(place.t.get("/v1/executions/%s" % job).json), "a worker that says why it leaves the task")
    assert "is not the one that was asked for" in shown["reason"] and shown["attempts"] == 0 and shown["ended"] is None
    place.add("p", old)
    assert place.ended(job)["status"] == "finished" and (place.dir / "_ran").read_text() == "1\n"


def test_progress_and_log_while_it_runs(place):
    place.script("p", "echo '{\"progress\":{\"pull\":\"started\"},\"counters\":{\"rows\":3}}' >&3; echo first line; while ! [ -e %s/_go ]; do sleep 0.05; done; "
                      "echo second line; echo '{\"progress\":{\"pull\":\"completed\"}}' >&3" % place.dir)
    place.start()
    job = place.run("p")
    m = until(lambda: (lambda m: m["meta"] and m)(place.get(job)), "progress of a running one")
    assert m["status"] == "started" and m["meta"] == {"pull": "started"}
    assert place.t.get("/v1/executions/%s" % job).json["counters"] == {"rows": 3}
    until(lambda: place.t.get("/v1/tasks/1/log").body == b"first line\n", "the first line of the log")
    (place.dir / "_go").write_text("")
    assert place.ended(job)["meta"] == {"pull": "completed"}
    followed = place.tutti("run", "p", "--follow")
    assert followed.returncode == 0 and followed.stdout == "first line\nsecond line\n" and "pull: completed" in followed.stderr, followed


def test_a_canceled_one_is_ended_with_all_of_it(place):
    place.script("p", "trap '' TERM; setsid sleep 600 & echo $! >%s/_pid; wait; sleep 600" % place.dir)
    place.start()
    job = place.run("p")
    pid = int(until(lambda: (place.dir / "_pid").exists() and (place.dir / "_pid").read_text(), "its child"))
    assert place.t.post("/v1/tasks/1/cancel").status == 200
    until(lambda: not alive(pid), "the end of what it started")
    assert place.ended(job)["status"] == "canceled"


def test_a_time_limit(place):
    place.script("p", "sleep 600", timeout_s=1)
    place.start()
    m = place.ended(place.run("p"))
    assert m["status"] == "failed" and m["timeout"] == 1 and "1" in m["exc_info"]


@pytest.mark.one_store
def test_ids_are_forgotten_with_their_tasks(place):
    place.script("p", "true")
    place.start()
    job = place.run("p")
    place.ended(job)
    assert place.t.request("DELETE", "/v1/tasks/1").status == 200
    assert place.t.get("/execution/get?job_id=%s" % job).json["message"] == "Missing job"
    place.t.restart()  # looks once after each start
    kept = place.run("p")
    place.ended(kept)

    def records():
        with sqlite3.connect("file:%s?mode=ro" % (place.t.data / "ledger.db"), uri=True) as db:
            return [name for name, in db.execute("SELECT name FROM records WHERE kind = 'execution'")]
    until(lambda: records() == [kept], "only the record of the task that is there")


# ---- in C ----


def test_c_programs_share_a_process_until_one_ends_it(place):
    place.add("inc.c", C, 0o644)
    place.start()
    first, second = (place.ended(place.run("inc"))["result"] for _ in range(2))
    assert first["pid"] == second["pid"] and (first["calls"], second["calls"]) == (1, 2)
    crashed = place.ended(place.run("inc", {"how": "crash"}))
    assert crashed["status"] == "failed" and "last words" in crashed["exc_info"] and crashed["meta"] == {"how": "crash"}
    third = place.ended(place.run("inc"))["result"]
    assert third["pid"] != first["pid"] and third["calls"] == 1


ASKS = """
#include <tutti/program.h>

static const tutti_setting settings[] = {{"names", TUTTI_STR}, {0}};

static int run(const tutti_host *t)
{
    char name[64];
    for (const char *at = t->text(t, "names"); *at; at += *at == ',') {
        int n = 0;
        for (; *at && *at != ','; at++)
            name[n++] = *at;
        name[n] = 0;
        const char *value = t->secret(t, name);
        t->log(t, "%s is %s", name, value ? value : "nothing");
        t->update(t, name, value ? value : "nothing");
        t->count(t, "letters", value ? (int64_t)__builtin_strlen(value) : 0);
    }
    return 0;
}
TUTTI_PROGRAM(.settings = settings, .run = run);
"""


def test_a_c_program_asks_for_secrets_that_nobody_else_sees(place):
    place.add("asks.c", ASKS, 0o644)
    place.start()
    values = {"shop%2Flogin": {"value": json.dumps({"user": "ada", "password": 'ge"heim\n5ö'})}, "plain": {"value": "a plain one"}}
    for name, body in values.items():
        assert place.t.request("PUT", "/v1/secrets/" + name, body).status in (200, 201)
    for _ in range(2):  # the second time in the same process
        m = place.ended(place.run("asks", {"names": "shop/login#password,plain,nothing,not a name,plain"}))
        assert m["status"] == "finished" and m["meta"] == {"shop/login#password": "***", "plain": "***", "nothing": "nothing", "not a name": "nothing"}, m
    assert place.t.get("/v1/executions/2").json["counters"] == {"letters": len('ge"heim\n5ö'.encode()) + 2 * len("a plain one")}
    log = place.t.get("/v1/tasks/1/log").body.decode()
    assert "shop/login#password is ***\nplain is ***\nthe secret nothing: " in log and "the secret not a name: " in log and "plain one" not in log, log
    here = place.tutti("run", "asks", "--here", "--programs", place.dir, "--set", "names=plain")
    assert here.returncode == 0 and "the secret plain: there are no secrets here: only a worker has them" in here.stdout, here


def test_executions_are_listed_page_by_page(place):
    for name in ("one", "two"):
        place.script(name, "true", {"password": {"type": "str", "default": "geheim-1"}})
    place.start(workers=0)
    ids = [place.run(name) for name in ("one", "two", "one")]
    place.t.post("/v1/tasks", {"kind": "probe"})
    seen, before = [], ""
    while before is not None:
        answer = place.t.get("/v1/executions?limit=2&before=%s" % before)
        assert answer.status == 200 and len(answer.json["executions"]) <= 2 and b"geheim" not in answer.body, answer
        seen, before = seen + answer.json["executions"], answer.json["next"]
    assert [e["id"] for e in seen] == ids[::-1] and {e["state"] for e in seen} == {"queued"}
    assert [e["id"] for e in place.t.get("/v1/executions?program=one&before=%s" % ids[2]).json["executions"]] == [ids[0]]
    assert place.t.get("/v1/executions?before=nobody").status == 404 and place.t.get("/v1/executions?limit=0").status == 400


# ---- storage ----

STORES = """
from datetime import datetime
from platforms.base_platform import BasePlatform


class Stores(BasePlatform):
    def __init__(self, rows: list, storage: dict):
        super().__init__()
        self._store = {"mysql": self._store_mysql}.get(storage["type"], lambda rows, settings: self.store(rows))
        self.rows, self.settings = rows, storage["settings"]

    def _run(self):
        self._store(self.rows, self.settings)
        self.update("rows", "given")
        return True
"""
ROWS = [{"day": "2026-01-01", "shop": "a", "sold": 2, "price": 1.5, "who": "x", "extra": 1}, {"day": "2026-01-01", "shop": "b", "sold": 1, "price": None, "who": "y"},
        {"day": "2026-01-01", "shop": "a", "sold": 3, "price": 0.25, "who": "z", "extra": 1}]


def stored(place, storage, rows=ROWS):
    place.add("stores.py", STORES, 0o644)
    return place.ended(place.run("stores", {"rows": rows, "storage": storage}))


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request, place):
    """A database with the face of sql_servers.Server, and the storage that names its table `sales`."""
    place.start()
    if request.param == "sqlite":
        db, settings = Sqlite(place.t.cwd / "shop.db"), {"path": "shop.db"}
    else:
        db = request.getfixturevalue(request.param)
        settings = {"hostname": "127.0.0.1", "port": db.port, "db": db.url.rpartition("/")[2], "username": "tutti", "password": db.password}
    db.ask("DROP TABLE IF EXISTS sales")
    db.storage = {"type": db.kind, "settings": {**settings, "table": "sales"}}
    return db


def test_records_become_rows_of_a_table(place, database):
    auto = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "SERIAL PRIMARY KEY", "mysql": "INTEGER PRIMARY KEY AUTO_INCREMENT"}[database.kind]
    database.ask("CREATE TABLE sales (id %s, day VARCHAR(10), shop VARCHAR(10), sold INTEGER DEFAULT 7, price DECIMAL(8,2), who VARCHAR(10), "
                 "note VARCHAR(10) DEFAULT 'n', UNIQUE (day, shop))" % auto)
    database.ask("INSERT INTO sales (day, shop, sold, note) VALUES ('2026-01-01', 'b', 100, 'kept')")
    m = stored(place, database.storage)
    assert m["status"] == "finished" and m["meta"]["storage"].startswith("loading into "), m
    rows = [[cell.replace("NULL", "") for cell in row] for row in database.rows("SELECT day, shop, sold, price, who, note FROM sales ORDER BY shop")]
    assert [[*row[:3], float(row[3] or 0), *row[4:]] for row in rows] == [["2026-01-01", "a", "5", 1.75, "x", "n"], ["2026-01-01", "b", "1", 0, "y", "kept"]]
    job = place.t.get("/v1/executions/1").json
    assert job["counters"] == {"rows_received": 3, "rows_stored": 2} and database.storage["settings"].get("password", "?!") not in json.dumps(job)
    full = place.get("1", full=True)["meta"]["processed"]
    assert full == ",id,day,shop,sold,price,who,note\n0,,2026-01-01,a,5,1.75,x,\n1,,2026-01-01,b,1,,y,\n"
    log = place.t.get("/v1/tasks/1/log").body.decode()
    assert "column `extra`: dropped, the table has no such column (2 times)" in log and "column `who`: values that differ" in log
    assert stored(place, database.storage)["status"] == "finished"
    assert database.rows("SELECT count(*), sum(sold) FROM sales") == [["2", "6"]]  # values are replaced, not added
    texts = [{"day": "t", "shop": "1", "sold": "2", "price": ""}, {"day": "t", "shop": "1", "sold": " 03", "price": "0.25"}, {"day": "t", "shop": "1", "sold": 4, "price": "1e0"},
             {"day": "t", "shop": "2", "sold": "", "price": "12345.67"}]
    assert stored(place, database.storage, texts)["status"] == "finished"
    rows = [[shop, sold.replace("NULL", ""), float(price)] for shop, sold, price in database.rows("SELECT shop, sold, price FROM sales WHERE day = 't' ORDER BY shop")]
    assert rows == [["1", "9", 1.25], ["2", "", 12345.67]], "numbers that a report writes as texts are numbers"


def test_records_become_a_file_that_appears_whole(place):
    place.start()
    (place.t.cwd / "sales.csv").write_text("what was there before")
    m = stored(place, {"type": "csv", "settings": {"path": "sales.csv"}})
    assert m["status"] == "finished", m
    with open(place.t.cwd / "sales.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(row["day"], row["shop"], row["sold"]) for row in read] == [("2026-01-01", "a", "2"), ("2026-01-01", "b", "1"), ("2026-01-01", "a", "3")]
    m = stored(place, {"type": "jsonl", "settings": {"path": "sales.jsonl.gz"}})
    assert m["status"] == "finished", m
    with gzip.open(place.t.cwd / "sales.jsonl.gz", "rt") as file:
        assert [json.loads(line) for line in file] == ROWS
    m = stored(place, {"type": "jsonl", "settings": {"path": "../outside.jsonl"}})
    assert m["status"] == "failed" and not (place.t.cwd.parent / "outside.jsonl").exists()


def test_a_worker_that_is_killed_while_it_stores_leaves_nothing_half(place):
    place.add("stores.py", STORES, 0o644)
    place.start()
    db = sqlite3.connect(place.t.cwd / "shop.db", isolation_level=None)
    db.execute("CREATE TABLE sales (day TEXT, shop TEXT, sold INTEGER, UNIQUE (day, shop))")
    db.execute("BEGIN EXCLUSIVE")  # the worker waits for it
    storage = {"type": "sqlite", "settings": {"path": "shop.db", "table": "sales"}}
    rows = [{"day": "d%d" % i, "shop": "s", "sold": i} for i in range(2000)]
    started = place.t.post("/v1/executions", {"program": "stores", "settings": {"rows": rows, "storage": storage}, "max_attempts": 3}).json
    url = "/v1/executions/%s" % started["id"]
    until(lambda: place.t.get(url).json["progress"].get("rows") and not children_of_worker(place), "the program has ended, and its worker stores", 60)
    assert place.t.get(url).json["ended"] is None
    worker = place.t.get("/v1/workers").json["workers"][0]["pid"]
    os.kill(worker, signal.SIGKILL)
    until(lambda: not alive(worker), "the worker's end")
    db.execute("COMMIT")
    shown = until(lambda: (lambda e: e["ended"] and e)(place.t.get(url).json), "its end", 60)
    assert shown["state"] == "finished" and shown["attempts"] >= 2, shown
    assert db.execute("SELECT count(*), sum(sold) FROM sales").fetchone() == (2000, sum(range(2000)))


def children_of_worker(place):
    return [child for worker in place.t.get("/v1/workers").json["workers"] for child in children(worker["pid"])]


def test_a_database_that_is_not_there_is_tried_again(place):
    place.add("stores.py", STORES, 0o644)
    place.start()
    storage = {"type": "mysql", "settings": {"hostname": "127.0.0.1", "port": 1, "db": "d", "username": "u", "password": "geheim-9", "table": "t"}}
    started = place.t.post("/v1/executions", {"program": "stores", "settings": {"rows": ROWS, "storage": storage}, "max_attempts": 2}).json
    shown = until(lambda: (lambda e: e["state"] == "failed" and e)(place.t.get("/v1/executions/%s?wait=5s" % started["id"]).json), "its end", 60)
    assert shown["attempts"] == 2 and "geheim" not in shown["reason"], shown


def test_what_cannot_be_stored_leaves_the_table_alone(place):
    place.start()
    db = sqlite3.connect(place.t.cwd / "shop.db")
    db.execute("CREATE TABLE sales (day TEXT, shop TEXT, sold INTEGER CHECK (sold < 5), UNIQUE (day, shop))")
    db.execute("CREATE TABLE keyless (day TEXT)")
    db.commit()
    for table, said in (("sales", "CHECK"), ("keyless", "no unique key"), ("nothing", "there is no table `nothing`")):
        m = stored(place, {"type": "sqlite", "settings": {"path": "shop.db", "table": table}})
        assert m["status"] == "failed" and said in m["exc_info"], m
        assert ("rows" in m["meta"]) == (table != "keyless"), "a table that can never take them is refused before the program is run"
    assert db.execute("SELECT count(*) FROM sales").fetchone() == (0,)
    m = stored(place, {"type": "sqlite", "settings": {"path": "../outside.db", "table": "sales"}})
    assert m["status"] == "failed" and not (place.t.cwd.parent / "outside.db").exists()
    place.script("rows", "echo '{\"rows\":[{\"a\":1}]}' >&3")
    m = place.ended(place.run("rows"))
    assert m["status"] == "failed" and "nothing says where they are stored" in m["exc_info"]


@pytest.mark.parametrize("storage, said", [
    ({"settings": {}}, "needs a `type`"), ({"type": "mail", "settings": {}}, "no storage of type `mail`"), ({"type": "mysql"}, "needs `settings`"),
    ({"type": "mysql", "settings": {"hostname": "h", "db": "d", "username": "u", "table": "t"}}, "needs the setting `password`"),
])
def test_a_storage_that_cannot_be_is_refused(place, storage, said):
    place.add("stores.py", STORES, 0o644)
    place.script("rows", "true")
    place.start(workers=0)
    answer = place.t.post(RUN, {"platform_id": "stores", "settings": {"rows": [], "storage": storage}})
    assert answer.status == 400 and answer.json["message"].startswith("Invalid settings: 'storage': ") and said in answer.json["message"], answer
    assert said in place.t.post("/v1/executions", {"program": "rows", "storage": storage}).json["detail"]


# ---- secrets ----


def test_settings_are_sealed_on_the_disk_and_in_answers(place):
    place.script("p", "true", {"password": {"type": "str"}, "name": {"type": "str"}})
    place.start(workers=0)
    started = place.t.post("/v1/executions", {"program": "p", "settings": {"password": "geheim-1", "name": "offen-1"}, "storage": {"type": "mysql", "settings": {
            "hostname": "h", "db": "d", "username": "u", "password": "geheim-2", "table": "t"}}}).json
    assert started["settings"] == {"password": "***", "name": "offen-1"}
    for path in ("/v1/tasks/1", "/v1/executions/1", "/execution/get?job_id=1"):
        assert not any(word in place.t.get(path).body for word in (b"geheim", b"offen"))
    place.t.stop()
    for path in place.t.data.glob("ledger.db*"):
        assert not any(word in path.read_bytes() for word in (b"geheim", b"offen")), path
    assert "geheim" not in place.t.log()


def test_a_setting_may_refer_to_a_secret(place):
    place.script("p", "cat >%s; cat %s; exit 3" % (place.dir / "_seen", place.dir / "_seen"), {"login": {"type": "dict"}, "password": {"type": "str"}})
    place.start()
    assert place.t.request("PUT", "/v1/secrets/shop%2Flogin", {"value": {"user": "ada", "word": "geheim-3"}}).status == 200
    m = place.ended(place.run("p", {"login": {"who": "secret:shop/login#user", "word": "secret:shop/login#word"}, "password": "geheim-4"}))
    assert json.loads((place.dir / "_seen").read_text()) == {"login": {"who": "ada", "word": "geheim-3"}, "password": "geheim-4"}
    assert m["status"] == "failed" and "exit 3" in m["exc_info"] and "***" in m["exc_info"] and "geheim" not in m["exc_info"]
    place.script("tells", "printf %%s '{\"progress\":{\"said\":\"geheim-4 \\\\u00e9\"},\"result\":[\"geheim-3\"],\"error\":\"no geheim-4\"}' >&3; exit $(ls %s | grep -c _fail)" % place.dir,
                 {"list": {"type": "list"}, "password": {"type": "str"}})
    for status in ("finished", "failed"):
        m = place.ended(place.run("tells", {"list": ["secret:shop/login#word"], "password": "geheim-4"}))
        assert m["status"] == status and m["meta"]["said"].startswith("*** ") and "geheim" not in json.dumps(m), m
        (place.dir / "_fail").write_text("")
    m = place.ended(place.run("p", {"login": {"who": "secret:none"}, "password": "x"}))
    assert m["status"] == "failed" and "none" in m["exc_info"]
