"""A Dovecot under test: IMAP on free ports of this machine, plain and TLS, with one mailbox for each user who logs in.

`mail_server` is a fixture of conftest.py: it gives a MailServer, or skips where Dovecot is not installed. Messages are put in with Python's own IMAP client."""
from __future__ import annotations

import grp
import imaplib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import List, Optional

from sql_servers import LIMIT_S, free_port

PROGRAM = shutil.which("dovecot") or "/usr/sbin/dovecot"
MOST_USERS = 500
PASSWORD = "geheim \"5\\ö"

CONFIG = """
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
ssl_dh =
disable_plaintext_auth = no
auth_failure_delay = 0
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
mail_location = maildir:{folder}/mail/%u
first_valid_uid = {uid}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class MailServer:
    def __init__(self) -> None:
        # Dovecot wants a short path for its sockets, and gives no mail to root.
        self.folder = Path(tempfile.mkdtemp(prefix="tutti-mail-", dir="/tmp"))
        self.port, self.tls_port = free_port(), free_port()
        self.process: Optional[subprocess.Popen[bytes]] = None
        is_root = os.geteuid() == 0
        me = pwd.getpwuid(os.geteuid()).pw_name
        owner = pwd.getpwnam("nobody") if is_root else pwd.getpwuid(os.geteuid())
        (self.folder / "mail").mkdir()
        if is_root:
            self.folder.chmod(0o755)
            os.chown(self.folder / "mail", owner.pw_uid, owner.pw_gid)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (self.folder / "users").write_text("".join("user%d:{PLAIN}%s\n" % (n, PASSWORD) for n in range(MOST_USERS)))
        self.given = 0
        (self.folder / "conf").write_text(CONFIG.format(
            folder=self.folder, port=self.port, tls_port=self.tls_port, uid=owner.pw_uid, gid=owner.pw_gid,
            internal="dovecot" if is_root else me, internal_group="dovecot" if is_root else grp.getgrgid(os.getegid()).gr_name, login="dovenull" if is_root else me))

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    def log(self) -> str:
        return "".join(path.read_text(errors="replace")[-4000:] for path in (self.folder / "out", self.folder / "log") if path.exists())

    def start(self) -> "MailServer":
        with open(self.folder / "out", "ab") as out:
            self.process = subprocess.Popen([PROGRAM, "-F", "-c", self.folder / "conf"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + LIMIT_S
        while not self.answers():
            assert self.process.poll() is None, "dovecot ended: " + self.log()
            assert time.monotonic() < deadline, "dovecot does not answer: " + self.log()
            time.sleep(0.05)
        return self

    def answers(self) -> bool:
        try:
            imaplib.IMAP4("127.0.0.1", self.port, timeout=10).logout()
            return True
        except (OSError, imaplib.IMAP4.error):
            return False

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def mailbox(self) -> "Mailbox":
        """A new, empty one."""
        assert self.given < MOST_USERS
        self.given += 1
        return Mailbox(self, "user%d" % (self.given - 1))


class Mailbox:
    """What a test puts into a user's folders, and finds there."""

    def __init__(self, server: MailServer, user: str) -> None:
        self.server, self.user, self.password = server, user, PASSWORD

    def client(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.server.port, timeout=LIMIT_S)
        client.authenticate("PLAIN", lambda _: b"\0%s\0%s" % (self.user.encode(), self.password.encode()))
        return client

    def put(self, message: bytes, folder: str = "INBOX") -> None:
        client = self.client()
        client.create(folder)
        status, said = client.append(folder, "", datetime.now(timezone.utc), message)
        client.logout()
        assert status == "OK", said

    def flags(self, folder: str = "INBOX") -> List[str]:
        """Of each message."""
        client = self.client()
        status, said = client.select(folder, readonly=True)
        found = client.fetch("1:*", "(FLAGS)")[1] if status == "OK" and int(said[0]) else []
        client.logout()
        return [line.decode() for line in found]
