"""Databases for tests: each is made in a temporary directory, started on a free port, and ended with the test session.

postgres() and mariadb() are fixtures of conftest.py: they give a Server, or skip where the programs are not installed."""
from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

LIMIT_S = 60.0
PASSWORD = "s3cret'\"\\x"


def find(program: str) -> Optional[str]:
    """In PATH, or where Debian keeps PostgreSQL's own programs."""
    return shutil.which(program) or next((str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/" + program), reverse=True)), None)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A database server: .url is its address without a password, .password the password."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tutti-sql-"))
        self.port, self.password = free_port(), PASSWORD
        self.process: Optional[subprocess.Popen[bytes]] = None
        # Database servers refuse to run as root.
        self.user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)

    def own(self, argv: List[Any], **more: Any) -> Dict[str, Any]:
        """Arguments for subprocess: as the server's user."""
        return {"args": [str(a) for a in argv], "user": self.user if os.geteuid() == 0 else None, "cwd": self.folder, **more}

    def wait(self) -> None:
        deadline = time.monotonic() + LIMIT_S
        while self.ask("SELECT 1", check=False) != "1":
            assert self.process and self.process.poll() is None, "the database ended: " + self.log()
            assert time.monotonic() < deadline, "the database does not answer: " + self.log()
            time.sleep(0.05)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def start(self) -> "Server":
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(**self.own(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        self.wait()
        return self

    def kill(self) -> None:
        """As a power cut of the database: SIGKILL to all of it."""
        assert self.process
        for pid in self.family():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process = None

    def family(self) -> List[int]:
        assert self.process
        below = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], stdout=subprocess.PIPE, text=True).stdout.split()
        return [self.process.pid] + [int(pid) for pid in below]

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGINT if isinstance(self, Postgres) else signal.SIGTERM)
            try:
                self.process.wait(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def declare(self, name: str = "db", **more: str) -> str:
        """A section for the configuration file."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        lines = {"url": self.url, "user": "tutti", "password": "file:%s" % secret, **more}
        return "[sql.%s]\n" % name + "".join("%s = %s\n" % pair for pair in lines.items())

    def rows(self, statement: str) -> List[List[str]]:
        return [line.split("\t") for line in self.ask(statement).splitlines()]

    def command(self) -> List[Any]:
        raise NotImplementedError

    def ask(self, statement: str, check: bool = True) -> str:
        raise NotImplementedError

    url = ""


class Postgres(Server):
    kind = "postgresql"

    def __init__(self) -> None:
        super().__init__()
        password = self.folder / "pw"
        password.write_text(self.password)
        password.chmod(0o644)
        subprocess.run(**self.own([find("initdb"), "-D", self.folder / "data", "-U", "tutti", "-A", "scram-sha-256", "--pwfile", password, "--no-sync", "-E", "UTF8",
                                   "--locale", "C"], stdout=subprocess.DEVNULL, check=True))
        self.url = "postgresql://127.0.0.1:%d/postgres" % self.port

    def command(self) -> List[Any]:
        return [find("postgres"), "-D", self.folder / "data", "-p", self.port, "-c", "listen_addresses=127.0.0.1", "-k", self.folder]

    def ask(self, statement: str, check: bool = True) -> str:
        done = subprocess.run([find("psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "tutti", "-d", "postgres", "-AtqX", "-F", "\t", "-v", "ON_ERROR_STOP=1",
                               "-c", statement], env={**os.environ, "PGPASSWORD": self.password}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()


class MariaDb(Server):
    kind = "mysql"

    def __init__(self) -> None:
        super().__init__()
        subprocess.run(**self.own(["mariadb-install-db", "--no-defaults", "--datadir=%s" % (self.folder / "data"), "--auth-root-authentication-method=normal",
                                   "--skip-test-db"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True))
        self.url = "mysql://127.0.0.1:%d/tutti" % self.port

    def start(self) -> "Server":
        super().start()
        quoted = self.password.replace("\\", "\\\\").replace("'", "''")
        self.as_root("CREATE DATABASE IF NOT EXISTS tutti CHARACTER SET utf8mb4; CREATE USER IF NOT EXISTS tutti@'%%' IDENTIFIED BY '%s'; GRANT ALL ON tutti.* TO tutti@'%%'"
                     % quoted)
        return self

    def command(self) -> List[Any]:
        return [find("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", "--datadir=%s" % (self.folder / "data"), "--port=%d" % self.port, "--bind-address=127.0.0.1",
                "--socket=%s" % (self.folder / "sock"), "--skip-name-resolve", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"]

    def as_root(self, statement: str) -> str:
        return subprocess.run(["mariadb", "--no-defaults", "-S", str(self.folder / "sock"), "-u", "root", "-NBre", statement], stdout=subprocess.PIPE, check=True,
                              text=True).stdout

    def ask(self, statement: str, check: bool = True) -> str:
        done = subprocess.run(["mariadb", "--no-defaults", "-S", str(self.folder / "sock"), "-u", "root", "-NBr", "--default-character-set=utf8mb4", "-e", statement,
                               *(["tutti"] if check else [])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()


class Sqlite:
    """A file of SQLite, with the face of a server."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    def declare(self, name: str = "db", **more: str) -> str:
        return "[sql.%s]\nurl = sqlite://%s\n" % (name, self.path) + "".join("%s = %s\n" % pair for pair in more.items())

    def ask(self, statement: str) -> str:
        return subprocess.run(["sqlite3", "-batch", "-separator", "\t", self.path, "PRAGMA busy_timeout=60000", statement], stdout=subprocess.PIPE, check=True,
                              text=True).stdout.strip().partition("\n")[2]

    def rows(self, statement: str) -> List[List[str]]:
        return [line.split("\t") for line in self.ask(statement).splitlines()]
