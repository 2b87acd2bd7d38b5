"""What platforms of the Etlas collector derive from, on top of tutti: the same methods, with what they are told as tutti's progress and storage."""

from __future__ import annotations

import email
import email.message
import re
import ssl
from imaplib import IMAP4, IMAP4_SSL
from typing import Any, Callable, Dict, List, Mapping, Optional

from tutti.program import Program, conversion


class BasePlatform(Program):
    MAIL_CONFIG: Dict[str, str] = {}

    def __init__(self) -> None:
        super().__init__()

    __init__._takes_no_settings = True  # type: ignore[attr-defined]

    def get_conversion_map(self, map_type: str, fallback: Any = "") -> Callable[[str], Any]:
        return conversion(map_type, fallback)

    def _regex(self, column: Any, pattern: str, fallback: str = "") -> Any:
        """Each cell's first group where it matches, else the fallback."""
        compiled = re.compile(pattern)

        def first_group(cell: Any) -> str:
            match = compiled.search(str(cell))
            return match.group(1) if match else fallback

        return column.map(first_group)

    # ---- storage ----

    def _store_mysql(self, data: Any, storage_settings: Mapping[str, Any]) -> bool:
        self.store(data, {"type": "mysql", "settings": dict(storage_settings)})
        return True

    def _send_mail(self, data: Any, storage_settings: Mapping[str, Any]) -> bool:
        raise NotImplementedError("storage by mail does not exist: use mysql, or another type of storage")

    # ---- mailboxes ----

    def _get_mailbox(self) -> IMAP4:
        self.update("login", "accessing")
        host, _, port = self.MAIL_CONFIG["host"].partition(":")
        mailbox: IMAP4 = IMAP4_SSL(host, int(port or 993), ssl_context=ssl.create_default_context(), timeout=60)
        self.update("login", "authenticating")
        user, password = self.MAIL_CONFIG["user"], self.MAIL_CONFIG["password"]
        if "AUTH=PLAIN" in mailbox.capabilities:  # which takes any letter, where LOGIN takes ASCII
            mailbox.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (user, password)).encode())
        else:
            mailbox.login(user, password)
        mailbox.select("inbox")
        self.update("login", "completed")
        return mailbox

    def _search_mailbox(self, mailbox: IMAP4, subject: Optional[str] = None) -> List[int]:
        """Numbers of the messages of the day; an error that says so where there are none."""
        self.update("mailbox", "searching")
        wanted = {"SENTON": self.date.strftime("%d-%b-%Y"), "HEADER FROM": quoted(self.MAIL_CONFIG["sender"]),  # type: ignore[attr-defined]
                  "SUBJECT": quoted(subject or self.MAIL_CONFIG["subject"])}
        _, found = mailbox.uid("SEARCH", "(%s)" % " ".join("%s %s" % pair for pair in wanted.items()))
        numbers = [int(number) for number in (found[0] or b"").split()]
        if not numbers:
            self.update("mailbox", "no message")
            raise LookupError("no message of %s on that day" % self.MAIL_CONFIG["sender"])
        return numbers

    def _get_message(self, mailbox: IMAP4, uid: int) -> email.message.Message:
        self.update("mailbox", "retrieving mail")
        return email.message_from_bytes(mailbox.uid("FETCH", str(uid), "(RFC822)")[1][0][1])

    def _find_attachment(self, attachment_name: str, mailbox: IMAP4, search_group: List[int]) -> List[int]:
        """Those messages that carry an attachment of this name, whatever its case."""
        def names(uid: int) -> List[str]:
            structure = mailbox.uid("FETCH", str(uid), "(BODYSTRUCTURE)")[1][0]
            text = structure.decode(errors="replace") if isinstance(structure, bytes) else str(structure)
            return [name.lower() for name in re.findall(r'"(?:FILE)?NAME" "([^"]*)"', text, re.I)]

        return [uid for uid in search_group if attachment_name.lower() in names(uid)]


def quoted(text: str) -> str:
    """As a string of IMAP."""
    return '"%s"' % re.sub(r'([\\"])', r"\\\1", text.replace("\r", " ").replace("\n", " "))
