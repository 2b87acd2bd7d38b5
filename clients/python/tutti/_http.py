"""HTTP to one server: a kept-alive connection for each process and thread, retries, deadlines.

A request says whether repeating it is harmless.  If it is, everything that looks
passing is tried again: refused and cut connections, lost answers, 429 and 5xx.  If it
is not, only what certainly had no effect is (no connection came about; 429; 503).
Pauses grow exponentially with jitter, `Retry-After` lengthens them, and nothing goes on
beyond the request's total deadline.

A Transport may be used from all threads.  After a fork the child opens connections of
its own and never touches the inherited ones.
"""

from __future__ import annotations

import email.utils
import http.client
import itertools
import logging
import os
import random
import socket
import ssl
import threading
import time
import weakref
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote, unquote, urlencode, urlsplit

from .errors import Cancelled, TuttiError, Unreachable

log = logging.getLogger("tutti")

Query = Iterable[Tuple[str, Optional[str]]]

PASSING_STATUSES = frozenset((408, 429, 500, 502, 503, 504, 507))
UNTOUCHED_STATUSES = frozenset((429, 503))
CONNECT_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
READ_BYTES = 1 << 20


class Reply(NamedTuple):
    """A complete answer; header names are in small letters."""

    status: int
    reason: str
    headers: Dict[str, str]
    body: bytes


class Request(NamedTuple):
    """What to send.  ``harmless``: repeating it changes nothing."""

    method: str
    target: str
    headers: Dict[str, Union[str, bytes]]
    body: Optional[bytes]
    harmless: bool


class NotConnected(Exception):
    """No connection came about: the request had no effect."""


class Broken(Exception):
    """The connection failed under way: the request may have had its effect.

    ``stale``: it was a kept connection that the server had closed meanwhile, most likely.
    """

    def __init__(self, why: str, stale: bool) -> None:
        super().__init__(why)
        self.stale = stale


class Deadline:
    """A point in monotonic time."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left_s(self) -> float:
        return self.at - time.monotonic()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket file of a server on this machine."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.close()
            raise


class Endpoint:
    """A server's address: ``http://host:port/prefix``, ``https://...`` or ``unix:///path``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "unix"):
            raise ValueError("server address %r: use http://host:port, https://host:port or unix:///path" % url)
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("server address: user names, ? and # have no meaning in it; give a token as token=")
        self.url = url.rstrip("/")
        self.scheme = parts.scheme
        self.socket_path = unquote(parts.path) if parts.scheme == "unix" else ""
        self.prefix = "" if parts.scheme == "unix" else parts.path.rstrip("/")
        self.host = parts.hostname or ""
        self.port = parts.port
        if not (self.socket_path if parts.scheme == "unix" else self.host):
            raise ValueError("server address %r names no %s" % (url, "file" if parts.scheme == "unix" else "host"))

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is not open yet."""
        if self.scheme == "unix":
            return UnixConnection(self.socket_path, CONNECT_TIMEOUT_S)
        if self.scheme == "https":
            return http.client.HTTPSConnection(self.host, self.port or 443, timeout=CONNECT_TIMEOUT_S)
        return http.client.HTTPConnection(self.host, self.port or 80, timeout=CONNECT_TIMEOUT_S)


class Transport:
    """Sends requests to one endpoint.  ``timeout_s`` is the total time of a request, retries included."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        if timeout_s <= 0:
            raise ValueError("timeout must be more than 0 seconds")
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._adopt()

    def _adopt(self) -> None:
        """Start without connections, as new or as the child of a fork."""
        self._pid = os.getpid()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: "weakref.WeakSet[http.client.HTTPConnection]" = weakref.WeakSet()

    def request(self, method: str, path: str, *, query: Query = (), body: Optional[bytes] = None,
                token: Optional[str] = None, harmless: bool, timeout_s: Optional[float] = None,
                wait_s: float = 0.0, retries: Optional[int] = None,
                cancel: Optional[threading.Event] = None) -> Reply:
        """The server's answer, whatever its status.

        ``wait_s`` is how long the server itself may think about it (long poll), on top of the
        deadline.  ``retries`` None means until the deadline.  Raises Unreachable, or Cancelled
        once ``cancel`` is set between two attempts.
        """
        request = Request(method, self._target(path, query), _headers(token, body), body, harmless)
        total_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = Deadline(total_s + wait_s)
        try_s = max(total_s / 3, 1.0) + wait_s
        for attempt in itertools.count():
            last = self._attempt(request, deadline, try_s)
            pause_s = _pause_s(last, request, attempt)
            if pause_s is None:
                return _reply_of(last, self.endpoint, deadline)
            if pause_s >= deadline.left_s() or (retries is not None and attempt >= retries):
                return _reply_of(last, self.endpoint, deadline)
            if attempt == 1:
                log.warning("%s: %s; trying again for up to %.0f s", self.endpoint.url, _what(last),
                            deadline.left_s())
            _pause(pause_s, cancel)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close every connection; the next request opens one again."""
        if self._pid != os.getpid():
            self._adopt()
        with self._lock:
            for connection in list(self._open):
                connection.close()

    def _target(self, path: str, query: Query) -> str:
        pairs = [(name, value) for name, value in query if value is not None]
        asked = urlencode(pairs, quote_via=quote, safe="", errors="surrogatepass")
        return self.endpoint.prefix + path + ("?" + asked if asked else "")

    def _connection(self) -> http.client.HTTPConnection:
        if self._pid != os.getpid():
            self._adopt()
        found: Optional[http.client.HTTPConnection] = getattr(self._local, "connection", None)
        if found is None:
            found = self.endpoint.connection()
            self._local.connection = found
            with self._lock:
                self._open.add(found)
        return found

    def _attempt(self, request: Request, deadline: Deadline, try_s: float) -> Union[Reply, NotConnected, Broken]:
        connection = self._connection()
        kept = connection.sock is not None
        if kept and not request.harmless:
            connection.close()
            kept = False
        limit = Deadline(min(try_s, max(deadline.left_s(), 0.001)))
        try:
            if not kept:
                _connect(connection, limit)
            return _exchange(connection, request, limit)
        except NotConnected as e:
            connection.close()
            return e
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            return Broken(str(e) or type(e).__name__, stale=kept and not isinstance(e, socket.timeout))
        except BaseException:
            connection.close()
            raise


def _headers(token: Optional[str], body: Optional[bytes]) -> Dict[str, Union[str, bytes]]:
    headers: Dict[str, Union[str, bytes]] = {"Accept": "application/json", "User-Agent": "tutti-client"}
    if token is not None:
        headers["Authorization"] = b"Bearer " + token.encode("utf-8")
    if body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def _connect(connection: http.client.HTTPConnection, limit: Deadline) -> None:
    connection.timeout = min(CONNECT_TIMEOUT_S, max(limit.left_s(), 0.001))
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as e:
        raise Unreachable("the server's certificate is not trusted: %s" % e) from e
    except socket.gaierror as e:
        if e.errno == socket.EAI_NONAME:
            raise Unreachable("no such host %r" % connection.host) from e
        raise NotConnected(str(e)) from e
    except OSError as e:
        raise NotConnected(str(e) or type(e).__name__) from e


def _exchange(connection: http.client.HTTPConnection, request: Request, limit: Deadline) -> Reply:
    _set_timeout(connection.sock, limit)
    sending: Optional[OSError] = None
    try:
        connection.request(request.method, request.target, request.body, request.headers)
    except (BrokenPipeError, ConnectionResetError) as e:
        sending = e  # a server that refuses a body early has answered before it hung up
    try:
        _set_timeout(connection.sock, limit)
        response = connection.getresponse()
    except (OSError, http.client.HTTPException):
        if sending is not None:
            raise sending from None
        raise
    body = _read(connection, response, limit)
    if sending is not None:
        connection.close()
    return Reply(response.status, response.reason,
                 {name.lower(): value for name, value in response.getheaders()}, body)


def _read(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, limit: Deadline) -> bytes:
    """The whole body, checked against its announced length, within the limit even if it drips."""
    expected = response.length
    pieces: List[bytes] = []
    sock = connection.sock
    while not response.isclosed():
        _set_timeout(sock, limit)
        piece = response.read1(READ_BYTES)
        if not piece:
            break
        pieces.append(piece)
    body = b"".join(pieces)
    response.close()
    if expected is not None and len(body) < expected:
        raise http.client.IncompleteRead(body, expected - len(body))
    return body


def _set_timeout(sock: Optional[socket.socket], limit: Deadline) -> None:
    left_s = limit.left_s()
    if left_s <= 0:
        raise socket.timeout("timed out")
    if sock is not None:
        try:
            sock.settimeout(left_s)
        except OSError:
            pass  # closed already: the read that follows has its bytes in the buffer or fails by itself


def _pause_s(last: Union[Reply, NotConnected, Broken], request: Request, attempt: int) -> Optional[float]:
    """How long to pause before the next attempt, None for no further attempt."""
    backoff_s: float = min(FIRST_PAUSE_S * 2 ** min(attempt, 16), LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
    if isinstance(last, NotConnected):
        return backoff_s
    if isinstance(last, Broken):
        if not request.harmless:
            return None
        return 0.0 if last.stale and attempt == 0 else backoff_s
    passing = PASSING_STATUSES if request.harmless else UNTOUCHED_STATUSES
    if last.status not in passing:
        return None
    return max(backoff_s, retry_after_s(last.headers.get("retry-after")))


def retry_after_s(text: Optional[str]) -> float:
    """Seconds that a `Retry-After` header asks for (a number or a date), 0 without one."""
    if not text:
        return 0.0
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, at.timestamp() - time.time())


def _reply_of(last: Union[Reply, NotConnected, Broken], endpoint: Endpoint, deadline: Deadline) -> Reply:
    if isinstance(last, Reply):
        return last
    hint = "is the server running, and is this its address?" if isinstance(last, NotConnected) else None
    raise Unreachable("%s: %s" % (endpoint.url, _what(last)), code="unreachable", hint=hint)


def _what(last: Union[Reply, NotConnected, Broken]) -> str:
    if isinstance(last, Reply):
        return "answered %d" % last.status
    if isinstance(last, NotConnected):
        return "no connection: %s" % last
    return "no answer: %s" % last


def _pause(seconds: float, cancel: Optional[threading.Event]) -> None:
    if cancel is None:
        time.sleep(seconds)
    elif cancel.wait(seconds):
        raise Cancelled("stopped while waiting for the server", code="cancelled")


__all__ = ["Endpoint", "Transport", "Reply", "Query", "TuttiError", "retry_after_s"]
