"""Servers of files for tests, each on a free port of this machine and ended by the test: OpenSSH's sshd as the current user, a small SFTP server that
asks for a password, and an FTP server, with and without TLS. Fixtures are in test_files.py."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Optional

import pytest

from sql_servers import LIMIT_S, free_port

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


def make_key(path: Path, kind: str = "ed25519", password: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", password, "-f", path], check=True, stdin=subprocess.DEVNULL)
    return path


def fingerprint(key: Path) -> str:
    """SHA256:..."""
    return subprocess.run(["ssh-keygen", "-l", "-f", key], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]


def wait_for(port: int, alive: Any, log: Any) -> None:
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            assert alive(), "the server ended: " + log()
            assert time.monotonic() < deadline, "the server does not answer: " + log()
            time.sleep(0.05)


class Process:
    """A server that is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: Optional[subprocess.Popen[bytes]] = None

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def spawn(self, *argv: Any) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        process = self.process
        wait_for(self.port, lambda: process.poll() is None, self.log)

    def stop(self) -> None:
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()


class Sshd(Process):
    """The real one: the current user logs in with `key`, below whose home `home` lies for the test."""

    def __init__(self, folder: Path, host_kind: str = "ed25519") -> None:
        if not Path(SSHD).exists() or not SFTP_SERVER.exists():
            pytest.skip("no sshd: script/setup installs openssh-server")
        super().__init__(folder)
        folder.mkdir()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.host_key, self.key = make_key(folder / "host", host_kind), make_key(folder / "key", "rsa")
        shutil.copy(folder / "key.pub", folder / "authorized")
        self.files = folder / "files"
        self.files.mkdir()
        (folder / "conf").write_text("\n".join([
            "Port %d" % self.port, "ListenAddress 127.0.0.1", "HostKey %s" % self.host_key, "AuthorizedKeysFile %s" % (folder / "authorized"), "StrictModes no",
            "PidFile none", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "Subsystem sftp %s -d %s" % (SFTP_SERVER, self.files), ""]))
        self.spawn(SSHD, "-D", "-e", "-f", folder / "conf")

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.host_key)

    def url(self, path: str = "") -> str:
        return "sftp://127.0.0.1:%d%s/%s" % (self.port, self.files, path)

    def kill_sessions(self) -> None:
        """As a partner's server that is restarted in the middle: what is connected is cut off, and it answers again."""
        self.stop()
        self.spawn(SSHD, "-D", "-e", "-f", self.folder / "conf")


PASSWORD_SERVER = """
import asyncio, asyncssh, sys
port, host_key, root, way = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode(), sys.argv[4]
PASSWORD = "geheim 5\\u00f6"
class Server(asyncssh.SSHServer):
    def begin_auth(self, username): return True
    def password_auth_supported(self): return way == "password"
    def validate_password(self, username, password): return (username, password) == ("ada", PASSWORD)
    def kbdint_auth_supported(self): return way == "questions"
    def get_kbdint_challenge(self, username, lang, submethods): return ("", "", "", [("Password:", False)])
    def validate_kbdint_response(self, username, responses): return (username, list(responses)) == ("ada", [PASSWORD])
    def public_key_auth_supported(self): return False
class Files(asyncssh.SFTPServer):
    def __init__(self, chan): super().__init__(chan, chroot=root)
async def main():
    await asyncssh.listen("127.0.0.1", port, server_host_keys=[host_key], server_factory=Server, sftp_factory=Files)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class PasswordSftp(Process):
    """An independent server that lets `ada` in with `password`, asked for in one of two ways."""

    password = "geheim 5\u00f6"

    def __init__(self, folder: Path, way: str) -> None:
        super().__init__(folder)
        folder.mkdir()
        self.host_key, self.files = make_key(folder / "host"), folder / "files"
        self.files.mkdir()
        (folder / "server.py").write_text(PASSWORD_SERVER)
        self.spawn(sys.executable, folder / "server.py", self.port, self.host_key, self.files, way)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.host_key)

    def url(self, path: str = "") -> str:
        return "sftp://127.0.0.1:%d/%s" % (self.port, path)


class Ftp:
    """In a thread of this process. cert: a PEM file with its key; then only TLS is spoken."""

    user, password = "ada", "geheim 5"

    def __init__(self, files: Path, cert: Optional[Path] = None) -> None:
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer
        authorizer = DummyAuthorizer()
        authorizer.add_user(self.user, self.password, str(files), perm="elradfmwMT")
        base = TLS_FTPHandler if cert else FTPHandler
        more = {"certfile": str(cert), "tls_control_required": True, "tls_data_required": True, "ssl_context": None} if cert else {}
        handler = type("Handler", (base,), {"authorizer": authorizer, "permit_foreign_addresses": False, **more})
        self.files, self.commands = files, []
        handler.pre_process_command = lambda own, line, cmd, arg: (self.commands.append(line), base.pre_process_command(own, line, cmd, arg))[1]
        self.server = FTPServer(("127.0.0.1", 0), handler, ioloop=IOLoop())
        self.port, self.scheme, self.ending = self.server.address[1], "ftps" if cert else "ftp", threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while not self.ending.is_set():
            self.server.serve_forever(timeout=0.05, blocking=False, handle_exit=False)
        self.server.close_all()

    def url(self, path: str = "") -> str:
        return "%s://localhost:%d/%s" % (self.scheme, self.port, path)

    def stop(self) -> None:
        self.ending.set()
        self.thread.join(LIMIT_S)


