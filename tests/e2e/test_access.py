"""Who may do what: tokens on every route that there is, pages of other sites, names that point at us, files outside."""
import json
import os
import re

import pytest

from wire import Wire, numbered, write_jsonl


@pytest.fixture
def server(tutti):
    server = tutti()
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    return server


@pytest.fixture
def wire(server):
    wire = Wire(server.url)
    wire.start("j", "in.jsonl", "out.jsonl")
    return wire


MASTER = "m4ster-0f-all"
JOB = "j0b-t0ken"


@pytest.fixture
def guarded(tutti):
    server = tutti(env={"PLANCHET_MASTER_TOKEN": MASTER})
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    master = Wire(server.url, token=MASTER)
    master.start("j", "in.jsonl", "out.jsonl", token=JOB)
    return server


def routes(url):
    """Every operation of the API: method, path with the job's name, query with all required parameters, and who may call it."""
    api = Wire(url, token=MASTER).get("/openapi.json").json()
    for path, methods in api["paths"].items():
        for method, op in methods.items():
            query = {}
            for p in op["parameters"]:
                if p["in"] == "query" and p["required"]:
                    query[p["name"]] = "j" if p["name"] == "job_name" else "false" if p["schema"]["type"] == "boolean" else "1"
            yield method.upper(), re.sub(r"\{name\}", "j", path), query, op.get("x-tutti-access"), "requestBody" in op


PUBLIC = {"/", "/docs", "/redoc", "/openapi.json", "/livez", "/readyz", "/health", "/healthz", "/v1/version", "/config_api"}


def bodies(path):
    if path == "/scramble":
        return {"input_file_path": "in.jsonl", "output_file_path": "out.jsonl"}
    if path == "/v1/jobs":
        return {"name": "j", "input": "in.jsonl", "output": "out.jsonl"}
    return []


@pytest.mark.parametrize("token", [None, "", "wrong", MASTER[:-1], MASTER + "x", MASTER.upper()])
@pytest.mark.parametrize("how", ["header", "query"])
def test_every_route_without_the_right_token(guarded, token, how):
    wire = Wire(guarded.url)
    refused = []
    for method, path, query, _, has_body in routes(guarded.url):
        if "{" in path:
            path = re.sub(r"\{\w+\}", "x", path)
        headers = {"Authorization": f"Bearer {token}"} if how == "header" and token is not None else {}
        more = {"token": token} if how == "query" else {}
        answer = wire.call(method, path, bodies(path) if has_body else None, headers=headers, **query, **more)
        if path in PUBLIC or (method, path) == ("GET", "/system/alive"):
            assert answer.status == 200, (method, path, answer)
            continue
        if path == "/report" and answer.status == 200:
            continue  # the older clients send no token with it
        assert answer.status in (401, 403), (method, path, answer)
        assert "token" in answer.text, (method, path, answer)
        assert not token or token not in answer.text
        refused.append(path)
    assert len(refused) > 20
    master = Wire(guarded.url, token=MASTER)
    assert master.report("j")["received"] == 0 and master.report("j")["served"] == 0, "nothing was changed"
    assert [job["name"] for job in master.get("/v1/jobs").json()["jobs"]] == ["j"]
    guarded.stop()
    assert MASTER not in guarded.log() and JOB not in guarded.log()


def test_the_job_token_opens_its_job_only(guarded):
    wire = Wire(guarded.url, token=JOB)
    master = Wire(guarded.url, token=MASTER)
    master.start("other", "in.jsonl", "other.jsonl", token="another")
    assert len(wire.serve("j", 2)) == 2
    assert len(wire.claim("j", 2)["items"]) == 2
    assert wire.results("j", [[0, {}]])["accepted"] == 1
    assert wire.post("/serve", job_name="other").status == 403
    assert wire.post("/v1/jobs/other/claim").status == 403
    assert wire.get("/v1/jobs").status in (401, 403)
    assert wire.get("/purge").status == 403
    assert master.report("other")["served"] == 0


def test_the_wrong_scheme(guarded):
    for value in (MASTER, f"Basic {MASTER}", f"Bearer{MASTER}", f"Token {MASTER}", "Bearer", "Bearer  "):
        assert Wire(guarded.url).call("GET", "/v1/jobs", headers={"Authorization": value}).status == 401
    assert Wire(guarded.url).call("GET", "/v1/jobs", headers={"Authorization": f"bearer {MASTER}"}).status == 200


def test_a_wrong_header_is_not_mended_by_the_query(guarded):
    answer = Wire(guarded.url).call("GET", f"/v1/jobs?token={MASTER}", headers={"Authorization": "Bearer wrong"})
    assert answer.status == 401


def test_a_public_address_needs_a_token(tutti):
    server = tutti(start=False)
    server.args = ["--listen", "0.0.0.0:0"]
    with pytest.raises(AssertionError, match="token"):
        server.start()


# ---- pages of other sites ----

STATE_CHANGES = [("POST", "/serve?job_name=j"), ("POST", "/receive?job_name=j&overwrite=0"), ("GET", "/purge"), ("GET", "/delete?job_name=j"),
                 ("GET", "/clean?job_name=j"), ("POST", "/mark-errors?job_name=j"), ("DELETE", "/v1/jobs/j"), ("POST", "/v1/jobs/j/claim"),
                 ("POST", "/scramble?job_name=j&reader_name=&writer_name=&clean_start=1")]
FOREIGN = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "http://localhost"},
           {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Referer": "https://evil.example/page"},
           {"Origin": "http://127.0.0.1.evil.example"}, {"Origin": ""}]


@pytest.mark.parametrize("method, path", STATE_CHANGES)
def test_pages_of_other_sites_change_nothing(wire, server, method, path):
    body = b'{"input_file_path":"in.jsonl","output_file_path":"out.jsonl"}' if path.startswith("/scramble") else b"[]"
    for headers in FOREIGN:
        answer = wire.call(method, path, body if method == "POST" else None, headers={"Content-Type": "text/plain", **headers})
        assert answer.status == 403, (headers, answer)
        assert answer.headers["Access-Control-Allow-Origin"] is None
    assert wire.report("j")["served"] == 0
    assert (server.cwd / "out.jsonl").exists()


def test_our_own_pages_may(wire):
    own = f"http://{wire.host}:{wire.port}"
    for headers in ({"Origin": own}, {"Referer": own + "/docs"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        answer = wire.call("POST", "/serve?job_name=j&batch_size=1", headers=headers)
        assert (answer.status, len(answer.json())) == (200, 1)


def test_no_preflight_is_granted(wire):
    answer = wire.call("OPTIONS", "/v1/jobs", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    assert answer.status >= 400 and answer.headers["Access-Control-Allow-Origin"] is None


# ---- names that point at us ----


@pytest.mark.parametrize("host", ["evil.example", "evil.example:PORT", "127.0.0.1.evil.example", "localhost.evil.example", "evil", "[::1", "", "8.8.8.8", "a b"])
def test_names_that_are_not_ours(wire, host):
    host = host.replace("PORT", str(wire.port))
    for method, path in [("GET", "/report?job_name=j"), ("GET", "/v1/jobs"), ("POST", "/serve?job_name=j"), ("GET", "/"), ("GET", "/nothing")]:
        answer = wire.call(method, path, headers={"Host": host})
        assert answer.status in (400, 403), (method, path, answer)
        assert b"in.jsonl" not in answer.body
    assert wire.report("j")["served"] == 0


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:PORT", "[::1]:PORT", "app.localhost"])
def test_names_that_are_ours(wire, host):
    assert wire.call("GET", "/report?job_name=j", headers={"Host": host.replace("PORT", str(wire.port))}).status == 200


def test_more_names(tutti):
    server = tutti(args=["--allow-host", "data.example"])
    wire = Wire(server.url)
    assert wire.call("GET", "/v1/jobs", headers={"Host": "data.example:80"}).status == 200
    assert wire.call("GET", "/v1/jobs", headers={"Host": "x.data.example"}).status == 403


def test_no_host_at_all(wire):
    answer = wire.raw(b"GET /v1/jobs HTTP/1.1\r\n\r\n")
    assert answer.status in (400, 403)
    answer = wire.raw(b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert answer.status in (200, 400, 403)


def test_a_token_passes_any_name(guarded):
    answer = Wire(guarded.url, token=MASTER).call("GET", "/v1/jobs", headers={"Host": "proxy.example"})
    assert answer.status == 200


# ---- files outside ----


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.jsonl").write_text('{"secret": 1}\n')
    return folder


def escapes(server, outside):
    (server.cwd / "link.jsonl").symlink_to(outside / "secret.jsonl")
    (server.cwd / "folder").symlink_to(outside)
    (server.cwd / "up").symlink_to("..")
    return ["../outside/secret.jsonl", str(outside / "secret.jsonl"), "link.jsonl", "folder/secret.jsonl", "up/outside/secret.jsonl",
            "sub/../../outside/secret.jsonl", "./../outside/secret.jsonl", "//" + str(outside / "secret.jsonl"), "/etc/passwd",
            "/proc/self/environ", "/proc/self/cwd/../outside/secret.jsonl", "~/x", "file:///etc/passwd", "http://127.0.0.1/x", "in.jsonl\0.txt",
            f"{server.cwd}/../outside/secret.jsonl", f"{server.cwd}extra"]


def test_inputs_outside_are_refused(wire, server, outside):
    (server.cwd / "sub").mkdir()
    for path in escapes(server, outside) + ["../outside/*.jsonl", "folder/*.jsonl", "/etc/pass*", "**/../../outside/*"]:
        answer = wire.scramble("x", path, "x.jsonl")
        assert answer.status in (400, 403), (path, answer)
        assert answer.detail and "secret\": 1" not in answer.text
        assert wire.report("x") == {}
        answer = wire.post("/v1/jobs", {"name": "x", "input": path})
        assert answer.status in (400, 403, 404), (path, answer)


def test_outputs_outside_are_refused(wire, server, outside):
    (server.cwd / "sub").mkdir()
    before = (outside / "secret.jsonl").read_bytes()
    for path in escapes(server, outside) + ["../new.jsonl", "folder/new.jsonl", "../outside/new.jsonl", "/tmp/new-of-tutti.jsonl", "sub/", ".", "..", "/", ""]:
        for metadata in ({}, {"overwrite": True}):
            answer = wire.scramble("x", "in.jsonl", path, metadata=metadata)
            assert answer.status in (400, 403), (path, answer)
            assert wire.report("x") == {}
    assert (outside / "secret.jsonl").read_bytes() == before
    assert [p.name for p in outside.iterdir()] == ["secret.jsonl"]
    assert not os.path.exists("/tmp/new-of-tutti.jsonl")


def test_a_link_made_later_is_not_followed(wire, server, outside):
    """The output is gone and a link lies in its place when the server comes back."""
    wire.give("j", wire.serve("j", 5))
    server.stop()
    data = (server.cwd / "out.jsonl").read_bytes()
    (outside / "secret.jsonl").write_bytes(data + b"more")
    (server.cwd / "out.jsonl").unlink()
    (server.cwd / "out.jsonl").symlink_to(outside / "secret.jsonl")
    server.restart()
    wire = Wire(server.url)
    answer = wire.receive("j", [[7, {}]])
    assert answer.status == 400, answer
    assert (outside / "secret.jsonl").read_bytes() == data + b"more"


def test_special_files_are_refused(wire, server):
    os.mkfifo(server.cwd / "pipe.jsonl")
    for source, output in (("pipe.jsonl", "x.jsonl"), ("in.jsonl", "pipe.jsonl"), (".", "x.jsonl")):
        answer = wire.scramble("x", source, output)
        assert answer.status == 400, answer


def test_the_ledger_is_no_job_file(wire, server):
    """Paths below the data directory are allowed, but not the server's own files."""
    (server.cwd / "soft.db").symlink_to("d/ledger.db")
    (server.cwd / "data").symlink_to("d")
    for name in ("d/ledger.db", "d/ledger.db-wal", "d/ledger.db-journal", "d/config.db", "d/lock", "d/tutti.sock", "d/programs/x.py", "d/cache/x",
                 "data/ledger.db", "./d//ledger.db", str(server.data / "ledger.db"), "soft.db"):
        answer = wire.scramble("x", "in.jsonl", name, metadata={"overwrite": True})
        assert answer.status in (400, 403), (name, answer)
        answer = wire.scramble("x", name, "x.jsonl")
        assert answer.status in (400, 403), (name, answer)
    assert wire.scramble("x", "d/*", "x.jsonl").status in (400, 403)
    wire.start("below", "in.jsonl", "d/fine.jsonl")
    wire.drain("below")
    server.restart()
    assert Wire(server.url).report("below")["status"] == "COMPLETE"


def test_more_roots(tutti, outside):
    server = tutti(args=["--root", ".", "--root", str(outside)])
    wire = Wire(server.url)
    wire.start("j", str(outside / "secret.jsonl"), str(outside / "new.jsonl"))
    assert wire.drain("j") == [0]
    assert (outside / "new.jsonl").read_text() == '{"secret":1}\n'


def test_refusals_do_not_tell_what_exists_outside(wire, outside):
    there = wire.scramble("x", "../outside/secret.jsonl", "x.jsonl")
    absent = wire.scramble("x", "../outside/absent.jsonl", "x.jsonl")
    assert there.status == absent.status
    assert there.detail.replace("secret.jsonl", "F") == absent.detail.replace("absent.jsonl", "F")


def test_files_are_private(server):
    assert (server.data.stat().st_mode & 0o077) == 0
    for name in ("ledger.db", "tutti.sock"):
        assert (server.data / name).stat().st_mode & 0o007 == 0


def test_the_unix_socket_is_the_owners(server):
    import http.client
    import socket
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(server.data / "tutti.sock"))
    sock.sendall(b"GET /v1/jobs HTTP/1.1\r\nHost: tutti\r\n\r\n")
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    assert answer.status == 200 and json.loads(answer.read())["schema"] == 1
