"""files_fetch and files_publish: files over SFTP (OpenSSH's sshd, and a server that asks for passwords), FTP and FTPS."""
import json
import os
import subprocess

import pytest
import xxhash
from file_servers import Ftp, PasswordSftp, Sshd, fingerprint, make_key
from test_programs import Programs
from tutti_process import until

CONTENT = {"a.csv": b"a\n1\n", "b.csv": b"", "c d%20'.txt": os.urandom(300_000), "ö.csv": b"x"}


class Place:
    """A folder in which files_fetch and files_publish run in the foreground."""

    def __init__(self, tmp_path):
        self.programs, self.cwd = Programs(tmp_path), tmp_path / "work"
        self.cwd.mkdir()

    def run(self, program, **settings):
        sets = [part for k, v in settings.items() for part in ("--set", "%s=%s" % (k, v if isinstance(v, str) else json.dumps(v)))]
        return self.programs.tutti("run", program, "--here", "--json", *sets, cwd=self.cwd)

    def done(self, program, **settings):
        result = self.run(program, **settings)
        assert result.returncode == 0, result
        return json.loads(result.stdout)["result"]

    def fetched(self, folder="in"):
        return {str(path.relative_to(self.cwd / folder)): path.read_bytes() for path in (self.cwd / folder).rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def sshd(tmp_path):
    server = Sshd(tmp_path / "sshd")
    yield server
    server.stop()


@pytest.fixture
def cert(tmp_path):
    path = tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", tmp_path / "pub"], check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "pub").read_text())
    return path


EVERY = pytest.mark.parametrize("server", ["sshd", "password", "questions", "ftp", "ftps"], indirect=True)


@pytest.fixture(params=["sshd", "ftp"])
def server(request, tmp_path):
    """A server of this kind, with the settings that log in as `server.login`."""
    if request.param == "sshd":
        made = request.getfixturevalue("sshd")
        made.login = {"key": made.key.read_text(), "host_key": made.fingerprint}
    elif request.param in ("password", "questions"):
        made = PasswordSftp(tmp_path / "sftp", request.param)
        made.login = {"user": "ada", "password": made.password, "host_key": made.fingerprint}
    else:
        pytest.importorskip("pyftpdlib")
        (tmp_path / "ftp").mkdir()
        made = Ftp(tmp_path / "ftp", request.getfixturevalue("cert") if request.param == "ftps" else None)
        made.login = {"user": made.user, "password": made.password, "ca_file": str(tmp_path / "cert.pem") if request.param == "ftps" else ""}
    yield made
    made.stop()


def fill(folder, content=CONTENT):
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_700_000_000, 1_700_000_000))


# ---- on every kind of server ----


@EVERY
def test_a_folder_is_mirrored(place, server):
    fill(server.files, {**CONTENT, "deep/er/x.csv": b"deep"})
    result = place.done("files_fetch", url=server.url(), to="in", recursive=True, **server.login)
    assert place.fetched() == {**CONTENT, "deep/er/x.csv": b"deep"}
    assert result["files"] == 5 and result["unchanged"] == 0 and sorted(result["names"])[0] == "in/a.csv"
    assert (place.cwd / "in" / "a.csv").stat().st_mtime == 1_700_000_000
    (server.files / "a.csv").write_bytes(b"a\n2\n")  # the same size, another time
    result = place.done("files_fetch", url=server.url(), to="in", recursive=True, **server.login)
    assert (result["files"], result["unchanged"]) == (1, 4) and place.fetched()["a.csv"] == b"a\n2\n"


def test_single_files_and_patterns(place, server):
    fill(server.files)
    assert place.done("files_fetch", url=server.url("a.csv"), to="one", **server.login)["names"] == ["one/a.csv"]
    assert sorted(place.done("files_fetch", url=server.url("?.csv"), to="some", **server.login)["names"])[:2] == ["some/a.csv", "some/b.csv"]
    assert place.done("files_fetch", url=server.url(), pattern="*.txt", to="other", **server.login)["files"] == 1
    assert place.done("files_fetch", url=server.url(), pattern="*.nothing", to="none", **server.login)["files"] == 0
    result = place.run("files_fetch", url=server.url("missing/"), to="x", **server.login)
    assert result.returncode != 0 and "missing" in result.stderr, result


def test_files_are_published_and_never_over_others(place, server):
    fill(place.cwd)
    assert place.done("files_publish", **{"from": "*", "url": server.url()}, **server.login)["files"] == 4
    assert {path.name: path.read_bytes() for path in server.files.iterdir()} == CONTENT
    result = place.done("files_publish", **{"from": "*", "url": server.url()}, **server.login)
    assert (result["files"], result["unchanged"]) == (0, 4)
    (server.files / "a.csv").write_bytes(b"b\n1\n")  # a partner's, of the same size
    result = place.run("files_publish", **{"from": "a.csv", "url": server.url()}, **server.login)
    assert result.returncode != 0 and "another content: it was left as it is" in result.stderr, result
    assert (server.files / "a.csv").read_bytes() == b"b\n1\n"


@EVERY
def test_who_is_not_let_in_is_told(place, server):
    login = {name: value for name, value in server.login.items() if name in ("host_key", "ca_file", "user")}
    login.update({"password": "wrong-one"} if "password" in server.login else {"key": make_key(place.cwd / "other").read_text()})
    result = place.run("files_fetch", url=server.url(), to="in", **login)
    assert result.returncode != 0 and "refuses the login of" in result.stderr and "wrong-one" not in result.stderr, result


def test_what_was_begun_goes_on(place, server):
    big = os.urandom(2_000_000)
    fill(server.files, {"big.bin": big})
    fill(place.cwd / "in", {".big.bin.2000000-1700000000.part": big[:1_234_567]})
    result = place.run("files_fetch", url=server.url(), pattern="big.*", to="in", **server.login)
    assert result.returncode == 0 and "went on at byte 1234567" in result.stderr, result
    assert place.fetched() == {"big.bin": big}
    assert (result := place.done("files_publish", **{"from": "in/big.bin", "url": server.url()}, **server.login))["unchanged"] == 1
    (server.files / "big.bin").unlink()
    (server.files / (".big.bin.%s.part" % xxhash.xxh3_64_hexdigest(big))).write_bytes(big[:777_777])
    result = place.run("files_publish", **{"from": "in/big.bin", "url": server.url()}, **server.login)
    assert result.returncode == 0 and "went on at byte 777777" in result.stderr, result
    assert {path.name: path.read_bytes() for path in server.files.iterdir()} == {"big.bin": big}


def test_files_are_taken_away_when_they_are_here(place, server):
    fill(server.files)
    assert place.done("files_fetch", url=server.url(), pattern="*.csv", then="delete", to="in", **server.login)["files"] == 3
    assert [path.name for path in server.files.iterdir()] == ["c d%20'.txt"]
    assert len(place.fetched()) == 3


# ---- who answers ----


def test_hosts_are_known_or_refused(place, sshd, tmp_path):
    fill(sshd.files)
    login = {"url": sshd.url(), "to": "in", "key": sshd.key.read_text()}
    result = place.run("files_fetch", **login, known_hosts=str(tmp_path / "none"))
    assert result.returncode != 0 and "is not known yet: it shows the key %s" % sshd.fingerprint in result.stderr, result
    known = tmp_path / "known"
    known.write_text("[127.0.0.1]:%d %s" % (sshd.port, (sshd.folder / "host.pub").read_text()))
    assert place.done("files_fetch", **login, known_hosts=str(known))["files"] == 4
    known.write_text("[127.0.0.1]:%d %s" % (sshd.port, make_key(tmp_path / "another").with_suffix(".pub").read_text()))
    result = place.run("files_fetch", **login, known_hosts=str(known))
    assert result.returncode != 0 and "is not the one that is known" in result.stderr, result
    result = place.run("files_fetch", **login, host_key=fingerprint(tmp_path / "another"))
    assert result.returncode != 0 and "is not the host that was named" in result.stderr, result


def test_keys_with_a_password_and_rsa_hosts(place, tmp_path):
    server = Sshd(tmp_path / "rsa", "rsa")
    try:
        fill(server.files)
        locked = make_key(tmp_path / "locked", password="pass phrase")
        with open(server.folder / "authorized", "a") as authorized:
            authorized.write(locked.with_suffix(".pub").read_text())
        login = {"url": server.url(), "to": "in", "key": locked.read_text(), "host_key": server.fingerprint}
        assert place.done("files_fetch", **login, key_password="pass phrase")["files"] == 4
        result = place.run("files_fetch", **login, key_password="wrong")
        assert result.returncode != 0 and "cannot be used" in result.stderr, result
    finally:
        server.stop()


def test_a_certificate_is_checked(place, cert, tmp_path):
    pytest.importorskip("pyftpdlib")
    (tmp_path / "ftp").mkdir()
    server = Ftp(tmp_path / "ftp", cert)
    try:
        result = place.run("files_fetch", url=server.url(), to="in", user=server.user, password=server.password)
        assert result.returncode != 0 and "certificate" in result.stderr, result
        assert not any("PASS" in line for line in server.commands)
    finally:
        server.stop()


# ---- hostile and broken ----


def test_addresses_that_are_none(place):
    for url, said in (("http://x/", "is no address of files"), ("sftp:///x", "is no address"), ("sftp://h:99999/", "is no address"),
                      ("sftp://a:b@h/", "holds a password"), ("sftp://127.0.0.1:1/x", "cannot be reached"), ("ftp://127.0.0.1:1/x", "cannot reach")):
        result = place.run("files_fetch", url=url, to="in")
        assert result.returncode != 0 and said in result.stderr, result


def test_files_stay_below_the_roots(place, sshd, tmp_path):
    fill(sshd.files, {"ledger.db": b"evil", "x": b"1"})
    login = {"key": sshd.key.read_text(), "host_key": sshd.fingerprint}
    (place.cwd / "in").mkdir()
    for to in ("../outside", "/etc/tutti-test", "in/../../outside"):
        result = place.run("files_fetch", url=sshd.url("x"), to=to, **login)
        assert result.returncode != 0 and "leads outside" in result.stderr, result
    (place.cwd / "link").symlink_to(tmp_path)
    result = place.run("files_fetch", url=sshd.url("x"), to="link", **login)
    assert result.returncode != 0 and "leads outside" in result.stderr, result
    result = place.run("files_publish", **{"from": "../key", "url": sshd.url()}, **login)
    assert result.returncode != 0 and "leads outside" in result.stderr, result
    assert not (tmp_path / "outside").exists() and not (tmp_path / "x").exists()


def test_a_worker_fetches_below_its_roots(tutti, sshd):
    fill(sshd.files, {"ledger.db": b"evil", "x.csv": b"1"})
    t = tutti(workers=1)

    def run(**more):
        settings = {"url": sshd.url(), "key": "secret:partner/key", "host_key": sshd.fingerprint, "to": "in", **more}
        started = t.post("/v1/executions", {"program": "files_fetch", "settings": settings, "max_attempts": 1}).json
        return until(lambda: (lambda e: e["ended"] and e)(t.get("/v1/executions/%s?wait=5s" % started["id"]).json), "its end", 60)

    assert t.request("PUT", "/v1/secrets/partner%2Fkey", {"value": sshd.key.read_text()}).status in (200, 201)
    shown = run(pattern="*.csv")
    assert shown["state"] == "finished" and shown["counters"] == {"bytes": 1, "files": 1} and shown["progress"]["transfer"] == "completed", shown
    assert (t.cwd / "in" / "x.csv").read_bytes() == b"1"
    shown = run(to=str(t.data), pattern="ledger.db")
    assert shown["state"] == "failed" and "is a file of the server itself" in shown["reason"], shown
    assert "PRIVATE KEY" not in json.dumps(t.get("/v1/tasks/1").json) + t.log()
