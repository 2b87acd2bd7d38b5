"""Fetches a report that comes by mail: finds messages in a mailbox (IMAP), and shapes the records of their attachments for the storage."""

import base64
import email
import email.errors
import email.header
import fnmatch
import hashlib
import imaplib
import json
import re
import ssl
from datetime import datetime
from typing import Literal

from _report import Report

MOST_PARTS = 1000
MOST_GROWTH = 16  # of a mail, when it is unpacked
MOST_REMEMBERED = 20000
DAMAGE = (email.errors.InvalidBase64CharactersDefect, email.errors.InvalidBase64PaddingDefect, email.errors.InvalidBase64LengthDefect)
USUAL_NAMES = ("*.csv", "*.tsv", "*.txt", "*.json", "*.jsonl", "*.xlsx", "*.zip", "*.gz")
USUAL_TYPES = ("text/csv", "application/csv", "application/json")


class MailReport(Report):
    """Fetches a report that comes by mail and stores its records, each message once."""

    def __init__(self, host: str, user: str, password: str, storage: dict = None, folder: str = "INBOX", sender: str = "", subject: str = "",
                 date: datetime = None, since: datetime = None, attachment: str = "", which: Literal["all", "latest"] = "all", again: bool = False,
                 then: Literal["keep", "mark", "move", "delete"] = "keep", move_to: str = "", security: Literal["tls", "starttls", "none"] = "tls",
                 port: int = 0, ca_file: str = "", most_mb: int = 64, encoding: str = "", sheet: str = "",
                 format: Literal["auto", "csv", "json", "jsonl"] = "auto", delimiter: str = ",", records: str = "", columns: list = [],
                 rename: dict = {}, filters: list = [], derive: dict = {}, multiply: dict = {}, maps: dict = {}, lower: list = [],
                 constants: dict = {}, keep: list = [], timeout_s: float = 60.0):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})
        if then == "move" and not move_to:
            raise ValueError("`then` is move: name the folder with `move_to`")
        self.most_bytes = (most_mb << 20) * MOST_GROWTH
        self.taken, self.failed, self.identities = [], [], {}

    def _run(self):
        key = self.key()
        known = list(self.recall(key, []))
        with self.log_in() as mailbox:
            uids = self.search(mailbox)
            count = sum(self.take(mailbox, uid, frozenset(known)) for uid in uids)
            self.settle(mailbox, uids, frozenset(known))
        self.remember(key, (known + self.taken)[-MOST_REMEMBERED:])
        self.count("messages", len(self.taken))
        self.count("messages_failed", len(self.failed))
        if self.failed and not self.taken:
            raise RuntimeError(self.failed[0])
        self.update("mailbox", "completed" if uids else "no message")
        return count > 0

    def key(self):
        """Under which the messages are remembered that were taken: another mailbox, search or table has its own."""
        target = {name: value for name, value in ((self.storage or {}).get("settings") or {}).items() if name not in ("username", "password")}
        wanted = [self.host, self.port, self.user, self.folder, self.sender, self.subject, self.attachment, target]
        return "mail-" + hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:32]

    # ---- the mailbox ----

    def log_in(self):
        self.update("login", "accessing")
        try:
            if self.security == "tls":
                mailbox = imaplib.IMAP4_SSL(self.host, self.port or 993, ssl_context=self.tls(), timeout=self.timeout_s)
            else:
                mailbox = imaplib.IMAP4(self.host, self.port or 143, timeout=self.timeout_s)
            if self.security == "starttls":
                mailbox.starttls(self.tls())
        except ssl.SSLError as error:
            raise RuntimeError("%s is not who it says it is: %s (`ca_file` names who may vouch for it)" % (self.host, error)) from None
        except OSError as error:
            raise RuntimeError("%s cannot be reached: %s" % (self.host, error)) from None
        self.update("login", "authenticating")
        try:
            if "AUTH=PLAIN" in mailbox.capabilities:  # which takes any letter, where LOGIN takes ASCII
                mailbox.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (self.user, self.password)).encode())
            else:
                mailbox.login(self.user, self.password)
        except imaplib.IMAP4.error:
            self.update("login", "failed")
            raise RuntimeError("%s refuses the login of %s" % (self.host, self.user)) from None
        status, said = mailbox.select(quoted(folder_name(self.folder)), readonly=self.then == "keep")
        if status != "OK":
            raise RuntimeError("there is no folder `%s`: %s" % (self.folder, said[0].decode(errors="replace")))
        self.update("login", "completed")
        return mailbox

    def tls(self):
        return ssl.create_default_context(cafile=self.ca_file or None)

    def search(self, mailbox):
        """Numbers of the messages that are asked for, oldest first."""
        self.update("mailbox", "searching")
        words = ["ALL"]
        words += ["SENTON", self.date.strftime("%d-%b-%Y")] if self.date else []
        words += ["SENTSINCE", self.since.strftime("%d-%b-%Y")] if self.since else []
        words += ["FROM", quoted(self.sender)] if self.sender else []
        if self.subject:
            mailbox.literal = self.subject.encode()  # what comes last is sent apart, and may hold any letter
            words = ["CHARSET", "UTF-8", *words, "SUBJECT"]
        found = answer(mailbox.uid("SEARCH", *words))
        uids = sorted(int(uid) for uid in b" ".join(part for part in found if part).split())
        if len(uids) > 1 and self.which == "latest":
            self.update("warning", "using the latest of multiple matching messages")
            uids = uids[-1:]
        return uids

    def settle(self, mailbox, uids, known):
        """What an earlier run has taken is stored by now, and may be put away: never before."""
        if self.then == "keep":
            return
        can = b" ".join(answer(mailbox.capability())).decode().upper().split()  # more than before the login
        for uid in uids:
            if self.identities.get(uid) not in known:
                continue
            if self.then == "mark":
                answer(mailbox.uid("STORE", str(uid), "+FLAGS", r"(\Seen)"))
            elif self.then == "move" and "MOVE" in can:
                answer(mailbox.uid("MOVE", str(uid), quoted(folder_name(self.move_to))))
            else:
                if self.then == "move":
                    answer(mailbox.uid("COPY", str(uid), quoted(folder_name(self.move_to))))
                answer(mailbox.uid("STORE", str(uid), "+FLAGS", r"(\Deleted)"))
                if "UIDPLUS" in can:
                    answer(mailbox.uid("EXPUNGE", str(uid)))
            self.count("messages_put_away")

    # ---- messages ----

    def take(self, mailbox, uid, known):
        """Gives the records of one message, unless it was taken before; how many. One that cannot be read is left for the next run, and said."""
        said, header = fetched(mailbox, uid, "(RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        identity, body = identity_of(header), b""
        size = int((re.search(rb"RFC822\.SIZE (\d+)", said) or [0, 0])[1])
        if not self.is_known(uid, identity, known):
            if size > self.most_mb << 20:
                return self.skip(uid, "it has %d bytes, and `most_mb` allows %d MiB" % (size, self.most_mb))
            self.update("mailbox", "retrieving mail")
            _, body = fetched(mailbox, uid, "(BODY.PEEK[])")
            identity = identity or "sha256:" + hashlib.sha256(body).hexdigest()
        if self.is_known(uid, identity, known):
            self.count("messages_known")
            return 0
        try:
            rows = self.read(body)
        except Exception as error:  # of whatever a stranger may have sent
            return self.skip(uid, "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__)
        self.taken.append(identity)
        return self.give(rows)

    def is_known(self, uid, identity, known):
        self.identities[uid] = identity
        return identity in self.taken or (identity in known and not self.again)

    def skip(self, uid, why):
        self.failed.append("message %d cannot be read: %s" % (uid, why))
        print(self.failed[-1])
        return 0

    def read(self, body):
        """All records of a message's attachments; none when it carries none that is asked for."""
        rows = []
        found = 0
        for number, part in enumerate(email.message_from_bytes(body).walk()):
            if number == MOST_PARTS:
                raise ValueError("it has more than %d parts" % MOST_PARTS)
            name = attachment_name(part)
            if part.is_multipart() or not self.is_wanted(part, name):
                continue
            found += 1
            data = part.get_payload(decode=True)
            if any(isinstance(defect, DAMAGE) for defect in part.defects):
                raise ValueError("the attachment `%s` is damaged" % name)
            self.update("attachment", name or "without a name")
            rows += self.shaped(self.parse(data, part.get_content_charset()))
        if not found:
            print("a message has no attachment that is asked for")
        return rows

    def is_wanted(self, part, name):
        if self.attachment:
            return fnmatch.fnmatchcase(name.lower(), self.attachment.lower())
        return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in USUAL_NAMES) or part.get_content_type() in USUAL_TYPES


def quoted(text):
    """As a string of IMAP."""
    if not text.isascii() or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("`%s` holds characters that a mailbox cannot be asked for: write an address" % text)
    return '"%s"' % re.sub(r'([\\"])', r"\\\1", text)


def folder_name(text):
    """As IMAP writes the names of folders (RFC 3501, 5.1.3)."""
    def run(match):
        return "&%s-" % base64.b64encode(match[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
    return re.sub(r"[^\x20-\x7e]+", run, text.replace("&", "&-"))


def answer(reply):
    status, said = reply
    if status != "OK":
        raise RuntimeError("the mailbox refuses it: %s" % b" ".join(part for part in said if isinstance(part, bytes)).decode(errors="replace"))
    return said


def fetched(mailbox, uid, what):
    """What the server says of this message, and the text that was asked for. It may speak of other messages meanwhile, too."""
    parts = answer(mailbox.uid("FETCH", str(uid), what))
    for part, behind in zip(parts, parts[1:] + [b""]):
        said = part[0] + b" " + (behind if isinstance(behind, bytes) else b"") if isinstance(part, tuple) else b""
        if re.search(rb"\bUID %d\b" % uid, said):
            return said, part[1]
    raise RuntimeError("message %d is gone" % uid)


def identity_of(header):
    """The message's id; empty where it has none."""
    match = re.search(rb"^message-id:\s*(\S[^\r\n]{0,400})", header, re.I | re.M)
    return match[1].decode(errors="replace").strip() if match else ""


def attachment_name(part):
    """Decoded, without folders and control characters: it is looked at and shown, and never a path."""
    try:
        name = part.get_filename() or ""
        name = str(email.header.make_header(email.header.decode_header(name)))
    except (LookupError, ValueError):
        name = str(part.get_filename() or "")
    return re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[\\/]", name)[-1])[:200]
