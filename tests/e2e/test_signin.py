"""Administrators sign in with tokens of an identity provider, here a small one of the test's own, or with the server's tokens; what they may see and do ends with them."""
from __future__ import annotations

import json
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Dict, Iterator

import pytest
from sql_servers import Sqlite
from tutti_process import until

ANSWERS: Dict[str, Any] = {
    "good": {"email": "gob@example.com", "email_verified": True, "aud": "tutti"},
    "listed": {"email": "gob@example.com", "aud": ["x", "tutti"]},
    "stranger": {"email": "nobody@example.com", "aud": "tutti"},
    "unverified": {"email": "gob@example.com", "email_verified": "false", "aud": "tutti"},
    "foreign": {"email": "gob@example.com", "aud": "another"},
    "nameless": {"sub": "1", "aud": "tutti"},
}


@pytest.fixture
def provider() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = self.headers.get("Authorization", "").partition(" ")[2]
            answer = ANSWERS.get(token)
            body = json.dumps(answer or {"error": "invalid_token"}).encode()
            self.send_response(200 if answer else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield "http://127.0.0.1:%d/userinfo" % server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def signed(tutti, provider):
    """A server with a master token, the demonstration rows, and that provider."""
    t = tutti(args=["--config-db", "sqlite::memory:"], env={"TUTTI_SIGNIN_URL": provider, "TUTTI_SIGNIN_CLIENT_ID": "tutti", "TUTTI_SERVER_TOKEN": "master-token"})
    return t


def master(t: Any, method: str, path: str, body: Any = None) -> Any:
    return t.request(method, path, body, headers={"Authorization": "Bearer master-token"})


def older(t: Any, path: str, token: str = "", cookie: str = "") -> Any:
    headers = {"Authorization": token} if token else {}
    return t.request("GET", "/config_api" + path, headers={**headers, **({"Cookie": cookie} if cookie else {})})


def test_the_older_routes(signed):
    """Statuses, texts and shapes of the older service; a cookie alone, or a token alone, opens nothing."""
    t = signed
    assert older(t, "").status == 200 and b"/config_api/login" in older(t, "").body
    for path in ("/login", "/validate", "/index", "/filters"):
        assert older(t, path).status == 401
    for token in ("unknown", "stranger", "unverified", "foreign", "nameless"):
        assert older(t, "/login", token).status == 403, token
    answer = older(t, "/login", "good")
    assert answer.status == 200 and "HttpOnly" in answer.headers["set-cookie"]
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert older(t, "/validate", "good", cookie).status == 200
    for token, jar in (("listed", cookie), ("good", ""), ("good", cookie[:-1] + "0"), ("", cookie)):
        assert older(t, "/validate", token, jar).status == (403 if token else 401), (token, jar)
        assert older(t, "/index", token, jar).status == (403 if token else 401)
    index = older(t, "/index", "good", cookie)
    assert index.headers["content-type"].startswith("application/json") and sorted(index.json) == ["1", "2", "3"]
    assert index.json["2"] == {"run_id": 2, "name": "bluth_profitability", "brand": "Cornballer", "pharma_company": "Sitwell", "type": "profitability", "status": "Active",
                               "description": None, "run_freq": "hourly", "states": ["raw", "ingest"], "transformations": ["extract_from_ftp", "initial_ingest", "initial_ingest"]}
    assert index.json["3"]["status"] == "Inactive" and index.json["3"]["states"] == []
    assert older(t, "/filters", "good", cookie).json == {"data": {"brands": ["Cornballer", "Teamocil"], "companies": ["Nfoods", "Sitwell"],
                                                                  "types": ["profitability", "regression"], "activeStatus": ["Active", "Inactive"]}}
    assert older(t, "/index", "Bearer master-token").status == 200  # the server's own
    log = t.log()
    assert "action=session.open" in log and cookie.partition("=")[2] not in log


def test_an_administrator_that_is_removed_is_out_at_once(signed):
    t = signed
    cookie = older(t, "/login", "good").headers["set-cookie"].partition(";")[0]
    session = t.request("POST", "/v1/sessions", {"token": "good"}).json["session"]
    with_session = {"Authorization": "Bearer " + session}
    assert t.request("GET", "/v1/pipelines", headers=with_session).status == 200
    assert len(master(t, "GET", "/v1/sessions").json["sessions"]) == 2
    assert master(t, "DELETE", "/v1/administrators/gob@example.com").json == {"schema": 1, "removed": True, "sessions": 2}
    assert older(t, "/validate", "good", cookie).status == 403 and older(t, "/login", "good").status == 403
    assert t.request("GET", "/v1/pipelines", headers=with_session).status == 401
    assert t.request("GET", "/v1/jobs", headers=with_session).status == 401
    assert master(t, "PUT", "/v1/administrators/gob@example.com").status == 200
    assert older(t, "/login", "good").status == 200
    assert "gob@example.com" in [a["email"] for a in master(t, "GET", "/v1/administrators").json["administrators"]]


def test_what_a_session_may_do(signed):
    t = signed
    made = t.request("POST", "/v1/sessions", {"token": "good"})
    assert made.status == 201 and made.json["email"] == "gob@example.com" and made.headers["cache-control"] == "no-store"
    with_session = {"Authorization": "Bearer " + made.json["session"]}
    tree = {"pipeline": "mine", "states": []}
    assert t.request("PUT", "/v1/pipelines/mine?actor=somebody", tree, headers=with_session).status == 201
    assert any("action=pipeline.save" in line and "actor=gob@example.com" in line for line in t.log().splitlines())  # not who they say they are
    for method, path in (("GET", "/v1/secrets"), ("GET", "/v1/sessions"), ("POST", "/v1/db/downgrade"), ("DELETE", "/v1/administrators/gob@example.com")):
        assert t.request(method, path, headers=with_session).status == 403, path  # not an admin of the server
    for token in ("unknown", "stranger", "", "with blank", "x" * 20000):
        assert t.request("POST", "/v1/sessions", {"token": token}).status == 403, token[:20]
    assert t.request("POST", "/v1/sessions", {"token": 5}).status == 401
    assert t.request("DELETE", "/v1/sessions/own", headers=with_session).json == {"schema": 1, "closed": True}
    assert t.request("GET", "/v1/pipelines", headers=with_session).status == 401
    other = t.request("POST", "/v1/sessions", {"token": "listed"}).json
    assert master(t, "DELETE", "/v1/sessions/" + other["id"]).status == 200 and master(t, "DELETE", "/v1/sessions/" + other["id"]).status == 404
    assert t.request("GET", "/v1/pipelines", headers={"Authorization": "Bearer " + other["session"]}).status == 401


def test_removed_in_the_database(tutti, provider):
    """By the database's own shell: what works on the configuration sees it with the next request."""
    t = tutti(env={"TUTTI_SIGNIN_URL": provider, "TUTTI_SERVER_TOKEN": "master-token"})
    master(t, "POST", "/v1/db/demo")
    session = t.request("POST", "/v1/sessions", {"token": "foreign"}).json["session"]  # no client_id is asked for here
    with_session = {"Authorization": "Bearer " + session}
    assert t.request("GET", "/v1/pipelines", headers=with_session).status == 200
    Sqlite(t.data / "config.db").ask("DELETE FROM administrators WHERE email_address = 'gob@example.com'")
    assert t.request("GET", "/v1/pipelines", headers=with_session).status == 403
    assert t.request("GET", "/v1/jobs", headers=with_session).status == 401


def bearer(session: str) -> Dict[str, str]:
    return {"Authorization": "Bearer " + session}


def test_sessions_outlive_the_server(signed):
    """Also when it is killed; but not those that were ended, and the ledger has no token that opens anything."""
    t = signed
    stays, ended, own = (t.request("POST", "/v1/sessions", {"token": "good"}).json for _ in range(3))
    cookie = older(t, "/login", "good").headers["set-cookie"].partition(";")[0]
    assert master(t, "DELETE", "/v1/sessions/" + ended["id"]).status == 200
    assert t.request("DELETE", "/v1/sessions/own", headers=bearer(own["session"])).status == 200
    t.kill_server()
    for again in range(2):
        assert t.request("GET", "/v1/pipelines", headers=bearer(stays["session"])).status == 200
        assert older(t, "/validate", "good", cookie).status == 200
        assert [t.request("GET", "/v1/pipelines", headers=bearer(one["session"])).status for one in (ended, own)] == [401, 401]
        assert stays["id"] in [one["id"] for one in master(t, "GET", "/v1/sessions").json["sessions"]]
        if again == 0:
            t.stop()
            kept = b"".join(path.read_bytes() for path in t.data.glob("ledger.db*"))
            assert stays["id"].encode() in kept and not any(one["session"].encode() in kept for one in (stays, ended, own)) and cookie.partition("=")[2].encode() not in kept
            t.start()
    assert master(t, "DELETE", "/v1/administrators/gob@example.com").json["sessions"] == 2
    t.stop()
    t.start()
    assert t.request("GET", "/v1/jobs", headers=bearer(stays["session"])).status == 401  # though the rows of the demonstration are there again


def test_sessions_end_by_their_time(signed):
    """Its time is over while no server runs: it opens nothing, and goes from the ledger. What is damaged is no session."""
    t = signed
    over, damaged, stays = (t.request("POST", "/v1/sessions", {"token": "good"}).json for _ in range(3))
    t.stop()
    with sqlite3.connect(t.data / "ledger.db") as db:
        for name, value in db.execute("SELECT name, value FROM records WHERE kind = 'session'").fetchall():
            record = json.loads(value)
            if record["id"] == over["id"]:
                db.execute("UPDATE records SET value = ? WHERE kind = 'session' AND name = ?", (json.dumps({**record, "ends_ms": int(time.time() * 1000) - 1}).encode(), name))
            if record["id"] == damaged["id"]:
                db.execute("UPDATE records SET value = ? WHERE kind = 'session' AND name = ?", (b'{"id":5', name))
    t.start()
    assert [t.request("GET", "/v1/jobs", headers=bearer(one["session"])).status for one in (over, damaged, stays)] == [401, 401, 200]
    assert [one["id"] for one in master(t, "GET", "/v1/sessions").json["sessions"]] == [stays["id"]]
    t.stop()
    with sqlite3.connect(t.data / "ledger.db") as db:
        assert not [value for (value,) in db.execute("SELECT value FROM records WHERE kind = 'session'") if over["id"].encode() in value]


def test_each_server_of_a_shared_ledger_takes_a_session(tutti, provider, redis, tmp_path):
    url = redis("--maxmemory-policy", "noeviction").url
    config = "sqlite://%s/config.db" % tmp_path
    env = {"TUTTI_SIGNIN_URL": provider, "TUTTI_SIGNIN_CLIENT_ID": "tutti", "TUTTI_SERVER_TOKEN": "master-token", "TUTTI_VAULT_KEY": "ab" * 32}
    a, b = (tutti(args=["--shared", url, "--config-db", config], env=env) for _ in range(2))
    assert master(a, "POST", "/v1/db/demo").status == 200
    session = a.request("POST", "/v1/sessions", {"token": "good"}).json
    until(lambda: b.request("GET", "/v1/jobs", headers=bearer(session["session"])).status == 200, "the other one knows it")
    assert b.request("GET", "/v1/pipelines", headers=bearer(session["session"])).status == 200
    assert master(a, "DELETE", "/v1/sessions/" + session["id"]).status == 200
    assert b.request("GET", "/v1/pipelines", headers=bearer(session["session"])).status in (401, 403)  # at once
    until(lambda: b.request("GET", "/v1/jobs", headers=bearer(session["session"])).status == 401, "it is over there")
