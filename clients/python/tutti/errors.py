"""What can go wrong, as exceptions that carry the server's own reason.

The server answers errors in two dialects: ``application/problem+json`` on its own
routes and ``{"detail": ...}`` on the older ones.  `from_reply` reads both.  To add a
kind of error: one class with its exit code, one row in `_BY_STATUS`.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Optional, Type


class TuttiError(Exception):
    """Anything that the service, or the way to it, refused.

    ``detail`` says what failed and why.  ``status`` is the HTTP status (None when no
    answer came), ``code`` the server's short word for it, ``hint`` what to try,
    ``request_id`` what to look for in the server's log.
    """

    exit_code = 1

    def __init__(self, detail: str, *, status: Optional[int] = None, code: Optional[str] = None,
                 hint: Optional[str] = None, request_id: Optional[str] = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.hint = hint
        self.request_id = request_id

    def __str__(self) -> str:
        text = self.detail
        if self.hint:
            text += " (hint: %s)" % self.hint
        marks = [str(m) for m in (self.status, self.code) if m is not None]
        if self.request_id:
            marks.append("request " + self.request_id)
        return text + (" [%s]" % ", ".join(marks) if marks else "")


class BadRequest(TuttiError):
    """The request itself is wrong (400, 405, 422)."""

    exit_code = 2


class TooLarge(BadRequest):
    """The body is larger than the server takes (413)."""


class Denied(TuttiError):
    """The token is missing, wrong, or does not reach that far (401, 403)."""

    exit_code = 6


class NotFound(TuttiError):
    """No such job or route (404)."""

    exit_code = 4


class Conflict(TuttiError):
    """The state of the job does not allow it (409)."""

    exit_code = 5


class LeaseLost(Conflict):
    """The lease has run out or was given back; results are still welcome."""


class Busy(TuttiError):
    """The server asked to come back later, for longer than the deadline allows (429, 503)."""

    exit_code = 7


class ServerError(TuttiError):
    """The server failed (5xx)."""


class Unreachable(TuttiError):
    """No complete answer came: refused, cut, or too late."""

    exit_code = 7


class Cancelled(TuttiError):
    """The caller stopped waiting."""

    exit_code = 8


class Reject(Exception):
    """Raise it in a worker function: the item is at fault and must not be tried again."""


_BY_STATUS: Dict[int, Type[TuttiError]] = {
    400: BadRequest, 405: BadRequest, 422: BadRequest, 413: TooLarge, 401: Denied, 403: Denied,
    404: NotFound, 409: Conflict, 429: Busy, 503: Busy,
}


def from_reply(status: int, headers: Mapping[str, str], body: bytes) -> TuttiError:
    """The exception for an answer that is not a success; header names are in small letters."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else TuttiError)
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    members: Dict[str, Any] = said if isinstance(said, dict) else {}
    detail = _sentence(members.get("detail")) or _text(members.get("title")) or _plain(status, body)
    return kind(detail, status=status, code=_text(members.get("code")), hint=_text(members.get("hint")),
                request_id=_text(members.get("request_id")) or headers.get("x-request-id"))


def reason_of(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Only the sentence of such an answer."""
    return from_reply(status, headers, body).detail


def _text(value: object) -> Optional[str]:
    return value if isinstance(value, str) and value else None


def _sentence(detail: object) -> Optional[str]:
    """``detail`` is a text, or a list of ``{"loc": [...], "msg": ...}`` (the older routes' 422)."""
    if not isinstance(detail, list):
        return _text(detail)
    parts = []
    for fault in detail:
        if isinstance(fault, dict):
            where = ".".join(str(step) for step in fault.get("loc") or ())
            parts.append("%s: %s" % (where, fault.get("msg")))
    return "; ".join(parts) or None


def _plain(status: int, body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace").strip()
    return "the server answered %d%s" % (status, ": " + text if text else "")
