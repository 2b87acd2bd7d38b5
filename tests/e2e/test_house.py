"""The house while it runs: settings that change, a state that is told, a server that hangs."""
from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, List

import pytest
from tutti_process import Tutti, alive, binary, children, command_line, until


def up(tutti: Callable[..., Tutti], ini: str, **options: Any) -> Tutti:
    """With a configuration file; TUTTI_LOG_LEVEL and the like stay away from it."""
    one = tutti(start=False, **options)
    one.args += ["--config", str(one.cwd / "tutti.ini")]
    settings(one, ini)
    return one.start()


def settings(one: Tutti, ini: str) -> None:
    (one.cwd / "tutti.ini").write_text(ini)


def logged(one: Tutti, what: str, count: int = 1) -> List[str]:
    """The lines that say so, as soon as there are that many."""
    def lines() -> List[str]:
        found = [line for line in one.log().splitlines() if re.search(what, line)]
        return found if len(found) >= count else []
    return until(lines, "%d log lines with %r; the log:\n%s" % (count, what, one.log()), 60)


def reload(one: Tutti, ini: str) -> None:
    settings(one, ini)
    os.kill(one.pid, signal.SIGHUP)


def workers(one: Tutti) -> List[int]:
    return [pid for pid in children(one.pid) if command_line(pid)[1:2] == ["worker"]]


# ---- SIGHUP ----

def test_reload_applies_what_can_change(tutti: Callable[..., Tutti], tmp_path: Path) -> None:
    one = up(tutti, "[server]\ntoken = first-token\n[limits]\nbody = 2048\n")
    server = one.server_pid
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "in.jsonl").write_text('{"n":1}\n')
    job = {"name": "far", "input": str(outside / "in.jsonl"), "output": str(outside / "out.jsonl")}
    first, second = {"Authorization": "Bearer first-token"}, {"Authorization": "Bearer second-token"}
    assert one.post("/v1/jobs", job, headers=first).status == 403
    assert one.post("/v1/jobs", b"x" * 4000, headers=first).status == 413
    assert one.get("/v1/jobs", headers=second).status == 401
    reload(one, "[server]\ntoken = second-token\naccess_log = false\nroots = %s\n[limits]\nbody = 8192\n[items]\nlease = 7s\n[log]\nformat = json\n"
           % outside)
    logged(one, '"settings reloaded".*"proc":"server"')
    assert one.get("/v1/jobs", headers=first).status == 401
    assert one.get("/v1/jobs", headers=second).status == 200
    assert one.post("/v1/jobs", b"x" * 4000, headers=second).status == 400
    assert one.post("/v1/jobs", job, headers=second).status == 201
    assert one.get("/v1/jobs/far", headers=second).json["lease_ms"] == 7000
    assert "second-token" not in one.log() and '"path":"/v1/jobs/far"' not in one.log()
    assert one.server_pid == server


def test_reload_refuses_all_when_one_is_wrong(tutti: Callable[..., Tutti]) -> None:
    one = up(tutti, "[limits]\nbody = 2048\n", workers=1)
    until(lambda: one.get("/health").json["workers"]["attached"] == 1, "a worker that has read its settings", 60)
    for ini, why in [
        ("[limits]\nbody = 8192\n[items]\nmax_attempts = 99\n", r"items\.max_attempts .*out of range"),
        ("[limits]\nbody = 8192\n[server]\nroots = /nowhere/at/all\n", "/nowhere/at/all"),
        ("[limits]\nbody = 8192\nbodi = 3\n", "did you mean `limits.body`"),
        ("[limits]\nbody = 8192\n[server]\ntrust = 10.0.0.0/99\n", "10.0.0.0/99"),
    ]:
        before = len(one.log())
        reload(one, ini)
        until(lambda: "settings not reloaded" in one.log()[before:], "a refusal", 60)
        lines = [line for line in one.log()[before:].splitlines() if "level=error" in line]
        assert len(lines) == 1 and re.search(why, lines[0]) and "old ones stay" in lines[0], lines
    assert one.post("/v1/jobs", b"x" * 4000).status == 413
    reload(one, "[limits]\nbody = 8192\n")
    logged(one, "settings reloaded.*proc=server.*changed=limits.body")
    assert one.post("/v1/jobs", b"x" * 4000).status == 400


def test_reload_never_opens_an_address_without_a_token(tutti: Callable[..., Tutti]) -> None:
    one = up(tutti, "[server]\ntoken = a-good-token\n", args=["--listen", "0.0.0.0:0"])
    reload(one, "[server]\nread_token = another-token\n")
    line = logged(one, "settings not reloaded")[0]
    assert "no token is set" in line
    assert one.get("/v1/jobs", headers={"Authorization": "Bearer another-token"}).status == 401
    assert one.get("/v1/jobs", headers={"Authorization": "Bearer a-good-token"}).status == 200


def test_reload_names_what_needs_a_restart(tutti: Callable[..., Tutti]) -> None:
    one = up(tutti, "[ledger]\ndurability = full\n")
    reload(one, "[ledger]\ndurability = relaxed\n[server]\nthreads = 3\n[log]\nlevel = debug\n")
    line = logged(one, "need a restart")[0]
    assert "server.threads,ledger.durability" in line and "log.level" not in line
    logged(one, "settings reloaded.*proc=server")
    assert one.get("/health").json["ledger"]["durability"] == "full"


def test_reload_changes_the_number_of_workers(tutti: Callable[..., Tutti]) -> None:
    one = tutti(start=False)
    settings(one, "workers = 2\n[query]\nworkers = 1\n")
    one.args = ["--config", str(one.cwd / "tutti.ini")]
    process = subprocess.Popen([binary(), "up", "--data", one.data, "--listen", "127.0.0.1:0", *one.args], cwd=one.cwd,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(one._log_path, "ab"))
    one.process = process
    one.port = int(one._await_announcement().rpartition(":")[2])
    until(lambda: len(workers(one)) == 3, "two workers, and one for queries", 60)
    for tasks, queries in ((4, 0), (1, 2), (3, 0)):
        count = tasks + queries
        reload(one, "workers = %d\n[query]\nworkers = %d\n" % (tasks, queries))
        until(lambda: len(workers(one)) == count, "%d workers" % count, 60)
        for name, expected in (("workers", tasks), ("query_workers", queries)):
            until(lambda: [one.get("/health").json[name][which] for which in ("expected", "attached")] == [expected] * 2, "%d %s" % (expected, name), 60)
    assert "msg=died" not in one.log()


def test_config_show_says_what_can_be_reloaded() -> None:
    shown = subprocess.run([binary(), "config", "show", "--plain"], capture_output=True, text=True, check=True).stdout
    change = {line.split("\t")[0]: line.split("\t")[-1] for line in shown.splitlines()}
    assert change["log.level"] == "reload" and change["data"] == "restart" and change["server.listen"] == "restart"
    page = subprocess.run([binary(), "config", "docs"], capture_output=True, text=True, check=True).stdout
    for key, how in change.items():
        section = page.partition("### `%s`\n" % key)[2].partition("\n### ")[0]
        assert ("SIGHUP applies a change" in section) == (how == "reload"), key


# ---- a server that hangs ----

class Systemd:
    """The other end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}

    def next(self, limit_s: float = 60) -> str:
        """The next message, "" when none comes in time."""
        self.socket.settimeout(limit_s)
        try:
            return self.socket.recv(4096).decode()
        except socket.timeout:
            return ""

    def drain(self) -> None:
        while self.next(0.01):
            pass


def test_a_server_that_hangs_is_replaced(tutti: Callable[..., Tutti], tmp_path: Path) -> None:
    systemd = Systemd(tmp_path / "notify")
    one = tutti(env={**systemd.env, "TUTTI_SERVER_PATIENCE": "2s"})
    until(lambda: systemd.next() == "READY=1", "ready", 60)
    assert systemd.next() == "WATCHDOG=1"
    victim = one.server_pid
    os.kill(victim, signal.SIGSTOP)
    line = logged(one, "does not answer: it is killed")[0]
    assert "level=error" in line and "pid=%d " % victim in line
    assert int(re.search(r"silent_ms=(\d+)", line)[1]) >= 2000
    until(lambda: not alive(victim) and one._server_pid() not in (0, victim), "another server", 60)
    until(one._answers, "it answers", 60)
    systemd.drain()
    assert systemd.next() == "WATCHDOG=1"
    assert "path=/v1/pulse" not in one.log()


def test_the_watchdog_starves_when_the_server_hangs(tutti: Callable[..., Tutti], tmp_path: Path) -> None:
    systemd = Systemd(tmp_path / "notify")
    one = tutti(env={**systemd.env, "TUTTI_SERVER_PATIENCE": "0"})
    until(lambda: systemd.next() == "WATCHDOG=1", "food", 60)
    os.kill(one.server_pid, signal.SIGSTOP)
    until(lambda: systemd.next(1.5) == "", "no more food", 60)
    os.kill(one.server_pid, signal.SIGCONT)
    assert systemd.next() == "WATCHDOG=1"
    assert "does not answer" not in one.log()


def test_a_server_alone_feeds_its_watchdog(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path / "notify")
    env = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_")}
    process = subprocess.Popen([binary(), "server", "--data", tmp_path / "d", "--listen", "127.0.0.1:0"], cwd=tmp_path, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, env={**env, **systemd.env})
    try:
        assert [systemd.next() for _ in range(3)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
    finally:
        process.terminate()
        process.wait(timeout=60)


# ---- SIGQUIT ----

def test_quit_writes_the_state_and_ends_nothing(tutti: Callable[..., Tutti]) -> None:
    one = tutti(workers=1, args=["--log-level", "error"])
    (one.cwd / "in.jsonl").write_text('{"n":1}\n' * 10)
    assert one.post("/v1/jobs", {"name": "demo", "input": "in.jsonl", "output": "out.jsonl"}).status == 201
    assert len(one.post("/v1/jobs/demo/claim", params={"n": 3, "worker": "anna"}).json["items"]) == 3
    until(lambda: one.post("/v1/tasks/probe", params={"timeout": "60s"}).status == 200, "a worker that attached and did a task")
    family = children(one.pid)
    os.kill(one.pid, signal.SIGQUIT)
    told = {what: logged(one, 'msg="state: %s"' % what)[0] for what in
            ("supervisor", "child", "threads", "http", "writer", "workers", "queue", "items", "job")}
    assert "phase=serving" in told["supervisor"] and len(logged(one, 'msg="state: child"', 2)) == 2
    assert re.search(r"ledger:[SRD]", told["threads"]) and "attached=1" in told["workers"] and "finished=1" in told["queue"]
    assert "in_flight=3" in told["items"] and "leases=1" in told["items"] and "oldest_wait_ms=" in told["writer"]
    assert "job=demo" in told["job"] and r'\"worker\":\"anna\"' in told["job"]
    assert one.get("/livez").status == 200 and sorted(children(one.pid)) == sorted(family)


# ---- health and doctor ----

def doctor(one: Tutti, *args: str) -> Any:
    """The exit code, and what each check found."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_")}
    done = subprocess.run([binary(), "doctor", "--json", "--data", str(one.data), *args], capture_output=True, text=True, cwd=one.cwd, env=env, timeout=120)
    return done.returncode, json.loads(done.stdout)["checks"]


def found(checks: Any, check: str) -> Any:
    return [row for row in checks if row["check"] == check]


def test_broken_jobs_are_named_with_their_reasons(tutti: Callable[..., Tutti]) -> None:
    one = tutti(env={"TUTTI_SERVER_TOKEN": "a-good-token"})
    token = {"Authorization": "Bearer a-good-token"}
    for name in ("fine", "lost", "odd"):
        (one.cwd / (name + ".jsonl")).write_text('{"n":1}\n' * 10)
        assert one.post("/v1/jobs", {"name": name, "input": name + ".jsonl", "output": name + "-out.jsonl"}, headers=token).status == 201
    code, checks = doctor(one)
    assert found(checks, "jobs")[0]["state"] == "ok" and found(checks, "outputs")[0]["found"].startswith("outputs: ")
    one.stop()
    (one.cwd / "lost.jsonl").unlink()
    (one.cwd / "odd.jsonl").write_text("other\n")
    one.start()
    broken = {row["job"]: row["detail"] for row in one.get("/health", headers=token).json["broken"]}
    assert set(broken) == {"lost", "odd"} and "lost.jsonl" in broken["lost"] and "has changed since the job started" in broken["odd"]
    public = one.get("/health")
    assert public.json["broken_jobs"] == 2 and b".jsonl" not in public.body, "files are named to those who may read"
    assert {"Redis status", "Number of jobs", "Number of finished jobs"} <= set(public.json)
    assert one.get("/readyz").status == 200
    code, checks = doctor(one)
    rows = found(checks, "jobs")
    assert code == 1 and [row["state"] for row in rows] == ["fail", "fail"]
    assert "job `lost` is broken: " in rows[0]["found"] and broken["odd"] in rows[1]["found"] and all("--clean-start" in row["advice"] for row in rows)


def test_doctor_looks_into_the_ledger(tutti: Callable[..., Tutti]) -> None:
    one = tutti()
    for n in range(40):
        (one.cwd / "in.jsonl").write_text('{"n":1}\n')
        assert one.post("/v1/jobs", {"name": "j%d" % n, "input": "in.jsonl", "output": "%d-out.jsonl" % n}).status == 201
    row = found(doctor(one)[1], "ledger")[0]
    assert row["state"] == "ok" and re.match(r"schema version \d+, sound", row["found"])
    one.stop()
    ledger = one.data / "ledger.db"
    good = ledger.read_bytes()
    ledger.write_bytes(good[:4096 * 2] + b"\x0d\x00\x10" + os.urandom(4096 * 2) + good[4096 * 4 + 3:])
    code, checks = doctor(one)
    row = found(checks, "ledger")[0]
    assert code == 1 and row["state"] == "fail" and "restore ledger.db from a backup" in row["advice"]
    ledger.write_bytes(b"this is no database at all, " * 1000)
    row = found(doctor(one)[1], "ledger")[0]
    assert row["state"] == "fail" and "ledger.db" in row["found"]
    ledger.write_bytes(good)
    with sqlite3.connect(ledger) as db:
        db.execute("PRAGMA user_version=999")
    db.close()
    row = found(doctor(one)[1], "ledger")[0]
    assert row["state"] == "fail" and "a newer tutti wrote it" in row["found"]


def test_doctor_sees_a_limit_of_files_that_is_too_low(tutti: Callable[..., Tutti]) -> None:
    one = tutti(start=False)
    done = subprocess.run(["sh", "-c", 'ulimit -n 1000; exec "$0" "$@"', binary(), "doctor", "--json", "--data", one.data], capture_output=True, text=True)
    row = found(json.loads(done.stdout)["checks"], "open files")[0]
    assert row["state"] == "warn" and "at most 1000" in row["found"] and "ulimit -n" in row["advice"]
    assert found(json.loads(done.stdout)["checks"], "clock")[0]["state"] == "ok"


# ---- wrong usage ----

def run(cwd: Path, *args: Any, user: int = 0) -> Any:
    """The exit code and the message."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_")}
    done = subprocess.run([binary(), *map(str, args)], capture_output=True, text=True, cwd=cwd, env={**env, "TUTTI_DATA": str(cwd / "d")}, timeout=120,
                          stdin=subprocess.DEVNULL, user=user or None)
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize("args,code,words", [
    ("job start x", 2, "with --input FILE .* with --output FILE"),
    ("job start x --input none.jsonl --output o.jsonl", 4, "none.jsonl.*: check the path"),
    ("job start x --input in.jsonl --output no/dir/o.jsonl", 4, "make the directories of an output first"),
    ("job start x --input folder --output o.jsonl", 2, "'DIR/\\*.jsonl'"),
    ("job start x --input in.jsonl --output folder", 2, "name a file"),
    ("job start x --input in.jsonl --output o.odd", 2, "--writer"),
    ("job list --config none.ini", 2, "none.ini.*name another one with --config"),
    ("job list --config folder", 2, "folder.*name another one with --config"),
    ("job list --sever http://127.0.0.1:1", 2, "did you mean `--server`"),
    ("job watch x", 7, "start one with `tutti up`"),
    ("job list --server http://127.0.0.1:1", 7, "does `tutti up` run there"),
    ("run ./hello --here", 2, "setting 'name' is missing: .*give it a value"),
    ("run ./hello --here --set nme=x", 2, "no setting 'nme': there is 'name'"),
    ("run ./hello --here --set name", 2, "takes NAME=VALUE"),
    ("run ./hello --here --set name=x --queue a", 2, "leave out --queue, or --here"),
    ("run ./hello --here --settings none.json", 2, "none.json: No such file"),
    ("run ./hello --here --settings in.jsonl --set name=x", 2, "no setting 'n'"),
    ("run ./in.jsonl --here", 2, "chmod \\+x makes it one"),
    ("run none --here", 4, "`tutti program list` shows what there is"),
    ("run none", 7, "start one with `tutti up`"),
    ("program new a --kind ruby", 2, "c, python, notebook and executable"),
    ("execution lst", 2, "did you mean `tutti execution list`"),
    ("execution show 1", 4, "no task 1"),
    ("execution watch 1", 7, "^tutti: no server answers.*start one with `tutti up`"),
    ("execution log 1 --follow", 7, "^tutti: no server answers.*start one with `tutti up`"),
    ("schedule explain flurb", 2, "this is no date, and cannot read the recurrence `flurb`.*use a phrase"),
    ("schedule add x --when sometimes --program x", 2, "use a phrase"),
    ("secret get none", 4, "set it with `tutti secret set none`"),
    ("secret set none", 2, "give it on standard input or with --file"),
    ("secret set none value", 2, "one argument too many: `value`"),
    ("worker --concurrency many", 2, "--concurrency takes a whole number, 1 to 1024, not `many`"),
    ("worker list", 7, "start one with `tutti up`"),
    ("up --listen 5005", 2, "write 127.0.0.1:5005"),
    ("up --listen 192.0.2.1:0 --insecure", 2, "ip address"),
    ("up --data in.jsonl", 4, "choose another one with --data"),
    ("up --workers many", 2, "workers.*many"),
])
def test_wrong_usage_says_what_to_do(tmp_path: Path, args: str, code: int, words: str) -> None:
    (tmp_path / "in.jsonl").write_text('{"n":1}\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "hello").write_text("#!/bin/sh\necho '{\"settings\":{\"name\":{\"type\":\"str\"}}}'\n")
    (tmp_path / "hello").chmod(0o755)
    got, message = run(tmp_path, *args.split())
    assert got == code and re.search(words, message), (got, message)
    assert message.count("\n") == 0, "one sentence"


def test_a_port_or_a_directory_in_use(tutti: Callable[..., Tutti]) -> None:
    one = tutti()
    (one.cwd / "second").mkdir()
    code, message = run(one.cwd / "second", "up", "--listen", "127.0.0.1:%d" % one.port)
    assert code == 5 and "choose another one with --listen" in message
    code, message = run(one.cwd, "up", "--listen", "127.0.0.1:0")
    assert code == 5 and "pid %d" % one.pid in message and "--data" in message
    (one.cwd / "in.jsonl").write_text('{"n":1}\n')
    assert run(one.cwd, "job", "start", "x", "--input", "in.jsonl", "--output", "a.jsonl")[0] == 0
    code, message = run(one.cwd, "job", "start", "x", "--input", "in.jsonl", "--output", "b.jsonl")
    assert code == 5 and "(--clean-start)" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_belongs_to_another_user() -> None:
    with tempfile.TemporaryDirectory() as name:  # where another user may go, unlike tmp_path
        place = Path(name)
        place.chmod(0o755)
        shutil.copy(binary(), place / "tutti")
        (place / "d").mkdir()
        (place / "d").chmod(0o755)
        (place / "d" / "lock").touch(0o600)
        (place / "closed").mkdir(0o700)

        def run_as_other(*arguments: Any) -> str:
            done = subprocess.run([place / "tutti", *arguments], capture_output=True, text=True, cwd=place, user=65534, group=65534, extra_groups=[], timeout=120,
                                  env={"PATH": os.environ["PATH"], "HOME": name, "ASAN_OPTIONS": "detect_leaks=0"})
            assert done.returncode == 6, done
            return done.stderr

        assert "belongs to another user: run tutti as that user" in run_as_other("up", "--data", place / "d", "--listen", "127.0.0.1:0")
        owner = "the directory belongs to another user, `%s` (uid 0): run as that user" % pwd.getpwuid(0).pw_name
        assert owner in run_as_other("job", "list", "--data", place / "closed") and owner in run_as_other("worker", "--data", place / "closed", "--root", name)


def test_a_ledger_of_a_newer_tutti(tutti: Callable[..., Tutti]) -> None:
    one = tutti()
    one.stop()
    with sqlite3.connect(one.data / "ledger.db") as db:
        db.execute("PRAGMA user_version=999")
    db.close()
    for command in (["up", "--listen", "127.0.0.1:0"], ["job", "list"]):
        code, message = run(one.cwd, *command)
        assert code == 2 and "a newer tutti wrote it, use that one or restore a backup" in message
