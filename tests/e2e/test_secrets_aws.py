"""AWS Secrets Manager as a second store: a small server in its place that checks each signature by itself (Amazon's own examples of signatures are in
tests/unit/test_sigv4.c)."""
from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import threading
from typing import Any, Dict, Iterator, List

import pytest
from tutti_process import Tutti, until

KEY, SECRET, TOKEN, REGION = "AKIDTEST", "very/secret+key-of-aws", "session-token-of-aws", "eu-central-1"


class Manager(http.server.BaseHTTPRequestHandler):
    values: Dict[str, str] = {}
    faults: List[str] = []
    asked: List[str] = []
    fail_with = ""

    def log_message(self, *args: Any) -> None:
        pass

    def address_string(self) -> str:
        return "local"

    def check(self, body: bytes) -> None:
        scheme, _, rest = self.headers["Authorization"].partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        names = parts["SignedHeaders"].split(";")
        headers = "".join("%s:%s\n" % (name, self.headers[name].strip()) for name in names)
        request = "\n".join(["POST", "/", "", headers, ";".join(names), hashlib.sha256(body).hexdigest()])
        stamp = self.headers["X-Amz-Date"]
        scope = [stamp[:8], REGION, "secretsmanager", "aws4_request"]
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), hashlib.sha256(request.encode()).hexdigest()])
        key = ("AWS4" + SECRET).encode()
        for part in [*scope, text]:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        good = parts["Signature"] == key.hex() and parts["Credential"] == "/".join([KEY, *scope]) and self.headers["X-Amz-Security-Token"] == TOKEN
        if scheme != "AWS4-HMAC-SHA256" or not good or not {"host", "x-amz-date", "x-amz-target", "x-amz-security-token"} <= set(names) or names != sorted(names):
            self.faults.append(self.headers["Authorization"])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.check(body)
        name = json.loads(body)["SecretId"]
        self.asked.append(name)
        if self.fail_with:
            status, answer = 400, {"__type": self.fail_with, "message": "it is so"}
        elif name in self.values:
            status, answer = 200, {"Name": name, "SecretString": self.values[name]}
        else:
            status, answer = 400, {"__type": "com.amazonaws#ResourceNotFoundException", "Message": "Secrets Manager can't find the specified secret."}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def manager() -> Iterator[str]:
    Manager.values, Manager.faults[:], Manager.asked[:], Manager.fail_with = {}, [], [], ""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Manager)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield "http://127.0.0.1:%d" % server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()
    assert Manager.faults == []


def start(tutti: Any, url: str, **options: Any) -> Tutti:
    return tutti(env={"TUTTI_VAULT_AWS_REGION": REGION, "TUTTI_VAULT_AWS_ENDPOINT": url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
                      "AWS_SESSION_TOKEN": TOKEN}, **options)


def get(t: Tutti, name: str) -> Any:
    return t.get("/v1/secrets/" + name.replace("/", "%2F"))


def test_secrets_of_the_manager(tutti, manager):
    Manager.values = {"prod/database/warehouse/read": '{"user":"u","password":"from-aws-1","host":"h"}', "all/email/reports/read": '{"address":"a"}', "both": "from-aws-2"}
    t = start(tutti, manager)
    assert json.loads(get(t, "prod/database/warehouse/read").json["value"])["password"] == "from-aws-1"
    answer = get(t, "dev/email/reports/read").json
    assert answer["fell_back"] is True and answer["value"] == '{"address":"a"}'
    assert get(t, "nothing").status == 404
    assert t.request("PUT", "/v1/secrets/both", {"value": "of the ledger"}).status == 200
    Manager.asked.clear()
    assert get(t, "both").json["value"] == "of the ledger" and Manager.asked == []
    Manager.fail_with = "AccessDeniedException"
    answer = get(t, "other")
    assert answer.status == 403 and "it is so" in answer.json["detail"]
    log = t.log()
    assert "from-aws" not in log and SECRET not in log and TOKEN not in log


def test_a_program_gets_them(tutti, manager):
    Manager.values = {"dev/x/y/read": '{"password":"from-aws-3"}'}
    t = start(tutti, manager, workers=1)
    folder = t.data / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shows"
    path.write_text('#!/bin/sh\nif [ "$1" = --describe ]; then echo \'{"settings":{"password":{"type":"secret"}}}\'; exit; fi\ncat >%s\n' % (t.cwd / "out"))
    path.chmod(0o755)
    assert t.post("/v1/executions", {"program": "shows", "settings": {"password": "secret:dev/x/y/read#password"}}).status == 201
    until(lambda: (t.cwd / "out").exists() and (t.cwd / "out").read_text(), "the program runs")
    assert "from-aws-3" in (t.cwd / "out").read_text()


def test_a_manager_that_is_away_or_not_configured(tutti, manager):
    t = start(tutti, "http://127.0.0.1:9")
    assert get(t, "x").status == 503
    t.restart(env={"TUTTI_VAULT_AWS_REGION": REGION, "TUTTI_VAULT_AWS_ENDPOINT": manager, "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    answer = get(t, "x")
    assert answer.status == 503 and "AWS_ACCESS_KEY_ID" in answer.json["detail"]
    t.stop()
    t.env = {"TUTTI_VAULT_AWS_REGION": REGION, "TUTTI_VAULT_AWS_ENDPOINT": "no url"}
    with pytest.raises(AssertionError, match="vault.aws_endpoint"):
        t.start()
