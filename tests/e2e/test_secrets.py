"""Secrets over HTTP and from the command line: sealed on the disk, hidden in logs, for admins alone."""
from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

from tutti_process import Tutti, binary

VALUE = {"user": "etl", "password": "hunter2-in-the-vault", "host": "db.example", "port": 5432}
NAME = "dev/db/warehouse/read"
PATH = "/v1/secrets/dev%2Fdb%2Fwarehouse%2Fread"


def put(t: Tutti, value: Any = VALUE, path: str = PATH, **options: Any) -> Any:
    return t.request("PUT", path, {"value": value}, **options)


def command(t: Tutti, *args: str, given: Optional[str] = None, code: int = 0) -> str:
    done = subprocess.run([binary(), *args, "--data", str(t.data)], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def files_with(t: Tutti, text: str) -> List[str]:
    return [path.name for path in Path(t.data).rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_set_get_list_remove(tutti):
    t = tutti()
    assert put(t).json == {"schema": 1, "name": NAME, "version": 1}
    answer = t.get(PATH)
    assert answer.json["name"] == NAME and json.loads(answer.json["value"]) == VALUE
    assert answer.headers["cache-control"] == "no-store"
    listed = t.get("/v1/secrets").json["secrets"]
    assert [(s["name"], s["version"], s["fields"]) for s in listed] == [(NAME, 1, ["user", "password", "host", "port"])]
    assert put(t, "another text", "/v1/secrets/plain").json["version"] == 1
    assert put(t, "and another", "/v1/secrets/plain").json["version"] == 2
    assert t.get("/v1/secrets/plain").json["value"] == "and another"
    assert t.request("DELETE", PATH).json == {"schema": 1, "removed": True}
    assert t.get(PATH).status == 404 and t.request("DELETE", PATH).status == 404
    assert not files_with(t, VALUE["password"])
    t.restart()
    assert t.get("/v1/secrets/plain").json["value"] == "and another"


def test_values_are_never_in_the_log(tutti):
    t = tutti(args=["--log-level", "debug"])
    put(t)
    put(t, "a long plain secret", "/v1/secrets/plain")
    t.get(PATH)
    t.get("/v1/secrets/nothing", params={"oops": "a long plain secret"})
    t.request("PUT", "/v1/secrets/x", b'{"value":"a long plain secret"')
    log = t.log()
    assert VALUE["password"] not in log and "a long plain secret" not in log
    audits = [line for line in log.splitlines() if "msg=audit" in line]
    assert any("action=secret.set" in line and NAME in line and "result=ok" in line for line in audits)
    assert any("action=secret.get" in line and "peer=127.0.0.1" in line for line in audits)
    assert any("action=secret.set" in line and "secret=x" in line and "result=invalid" in line for line in audits)


def test_only_admins_see_values(tutti):
    t = tutti(env={"TUTTI_SERVER_TOKEN": "master-token", "TUTTI_SERVER_OPERATOR_TOKEN": "operator-token", "TUTTI_SERVER_READ_TOKEN": "read-token"})

    def as_(token: str) -> Dict[str, str]:
        return {"Authorization": "Bearer " + token}

    assert put(t, headers=as_("master-token")).status == 200
    for method, path in (("GET", "/v1/secrets"), ("GET", PATH), ("PUT", PATH), ("DELETE", PATH), ("POST", "/v1/vault/rotate")):
        assert t.request(method, path, {"value": "x"} if method == "PUT" else None).status == 401, (method, path)
        for token in ("operator-token", "read-token"):
            assert t.request(method, path, {"value": "x"} if method == "PUT" else None, headers=as_(token)).status == 403, (method, path)
    assert t.get(PATH + "/sealed", headers=as_("read-token")).status == 403
    sealed = t.get(PATH + "/sealed", headers=as_("operator-token")).json["sealed"]
    assert sealed.startswith("tv1.") and VALUE["password"] not in sealed
    assert json.loads(t.get(PATH, headers=as_("master-token")).json["value"]) == VALUE


def test_what_is_refused(tutti):
    t = tutti()
    for body in (None, {}, {"value": 5}, {"value": None}, {"value": ""}, {"value": "x", "more": 1}, {"value": "x" * 65537}, []):
        answer = t.request("PUT", "/v1/secrets/x", body)
        assert answer.status == 400 and answer.json["code"] == "invalid", body
    assert put(t, "x" * 200000, "/v1/secrets/x").status == 413
    for name in ("a%20b", ".hidden", "a%2F..%2Fb", "%2Fa", "a%2F", "%C3%A4", "x" * 257):
        assert put(t, "x", "/v1/secrets/" + name).status == 400, name
    for value in ("text", {"user": "u"}, {"user": "u", "host": "h", "port": "5432"}):
        answer = put(t, value)
        assert answer.status == 400 and "field" in answer.json["detail"] or "JSON object" in answer.json["detail"], value
    assert t.get("/v1/secrets").json["secrets"] == []


def test_the_environment_all_stands_in(tutti):
    t = tutti()
    put(t, {**VALUE, "host": "for-all"}, "/v1/secrets/all%2Fdb%2Fwarehouse%2Fread")
    answer = t.get(PATH).json
    assert json.loads(answer["value"])["host"] == "for-all" and answer["fell_back"] is True
    put(t)
    answer = t.get(PATH).json
    assert json.loads(answer["value"])["host"] == "db.example" and answer["fell_back"] is False
    assert t.get("/v1/secrets/dev%2Fdb%2Fwarehouse%2Fwrite").status == 404


def test_the_command_line(tutti):
    t = tutti()
    command(t, "secret", "set", NAME, given=json.dumps(VALUE) + "\n")
    assert json.loads(command(t, "secret", "get", NAME)) == VALUE
    assert command(t, "secret", "get", NAME, "--field", "password") == VALUE["password"] + "\n"
    assert command(t, "secret", "get", NAME, "--field", "port") == "5432\n"
    (t.cwd / "value").write_text("two\nlines\n\n")
    command(t, "secret", "set", "lines", "--file", str(t.cwd / "value"))
    assert command(t, "secret", "get", "lines") == "two\nlines\n\n"
    assert [s["name"] for s in json.loads(command(t, "secret", "list", "--json"))["secrets"]] == [NAME, "lines"]
    assert "no secret `other`" in command(t, "secret", "get", "other", code=4)
    assert "empty" in command(t, "secret", "set", "x", given="\n", code=2)
    assert "not UTF-8" in subprocess.run([binary(), "secret", "set", "x", "--data", str(t.data)], input=b"\xff\xfe", capture_output=True).stderr.decode()
    command(t, "secret", "remove", "lines", "--yes")
    assert "hunter2" not in command(t, "secret", "list")
    # The same without a server.
    t.stop()
    assert command(t, "secret", "get", NAME, "--field", "user") == "etl\n"
    t.start()


def test_rotation_under_kills_and_writes(tutti, is_long):
    t = tutti()
    names = ["s%d" % i for i in range(30)]
    for name in names:
        put(t, "value of " + name, "/v1/secrets/" + name)
    for round_ in range(20 if is_long else 4):
        done = threading.Event()

        def rotate() -> None:
            try:
                t.post("/v1/vault/rotate", params={"forget_old": "true"})
            except OSError:
                pass
            done.set()

        thread = threading.Thread(target=rotate)
        thread.start()
        if round_ % 2:
            done.wait(0.002 * round_)
        t.kill_server()
        thread.join()
        assert [t.get("/v1/secrets/" + name).json["value"] for name in names] == ["value of " + name for name in names]
    assert t.post("/v1/vault/rotate", params={"forget_old": "true"}).json == {"schema": 1, "secrets": len(names), "keys": 1}
    assert len((t.data / "vault.key").read_text().split()) == 1
    assert t.get("/v1/secrets/s7").json["value"] == "value of s7"


def test_a_missing_key_is_said_and_not_replaced_silently(tutti):
    t = tutti()
    put(t)
    t.stop()
    (t.data / "vault.key").rename(t.cwd / "kept")
    t.start()
    answer = t.get(PATH)
    assert answer.status == 503 and "key" in answer.json["detail"] and "backup" in answer.json["detail"]
    for answer in (put(t, "x", "/v1/secrets/other"), t.post("/v1/vault/rotate")):
        assert answer.status == 503 and "restore" in answer.json["detail"]
    assert not (t.data / "vault.key").exists()
    (t.cwd / "kept").rename(t.data / "vault.key")
    assert json.loads(t.get(PATH).json["value"]) == VALUE


def test_keys_from_the_setting(tutti):
    old, new = "ab" * 32, "cd" * 32
    t = tutti(env={"TUTTI_VAULT_KEY": old})
    put(t)
    assert t.post("/v1/vault/rotate").status == 200  # sealed again with the same key
    t.restart(env={"TUTTI_VAULT_KEY": new + " " + old})
    assert t.post("/v1/vault/rotate").json["secrets"] == 1
    assert t.post("/v1/vault/rotate", params={"forget_old": "true"}).status == 409
    t.restart(env={"TUTTI_VAULT_KEY": new})
    assert json.loads(t.get(PATH).json["value"]) == VALUE
    assert not (t.data / "vault.key").exists()
    assert old not in t.log() and new not in t.log()
