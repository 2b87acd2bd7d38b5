"""The way to one server.

A `Client` may be shared by all threads.  Each thread of each process has a kept-alive
connection of its own; after a fork the child makes new ones by itself.
"""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Type, Union

from ._http import Endpoint, Transport
from ._wire import dumps
from .api import AnyApi, Calls, JobApi, JobInfo
from .job import Job

DEFAULT_URL = "http://127.0.0.1:5005"


class Client:
    """``url``: ``http://host:port``, ``https://...`` or ``unix:///path/tutti.sock``.

    ``token``    sent as ``Authorization: Bearer``
    ``timeout``  seconds that a call may take altogether, repeats included; a server that restarts
                 within it is not noticed
    ``worker``   the name under which items are claimed (default: host name and process id)
    """

    def __init__(self, url: str = DEFAULT_URL, token: Optional[str] = None, timeout: float = 60.0,
                 worker: Optional[str] = None) -> None:
        self._transport = Transport(Endpoint(url), timeout)
        self._calls = Calls(self._transport, token)
        self._worker = worker

    @property
    def url(self) -> str:
        return self._transport.endpoint.url

    def __repr__(self) -> str:
        return "Client(%r)" % self.url

    def job(self, name: str, token: Optional[str] = None) -> Job:
        """A job by name, without asking the server.  ``token``: the job's own, if it has one."""
        return Job(JobApi(self._calls.with_token(token), name), self._worker_name)

    def any_job(self, pattern: Optional[str] = None, token: Optional[str] = None) -> Job:
        """Whatever jobs there are (whose names match), as one that has no end: its `items` come from the
        job with the highest priority that has some, and ``item.job`` names it.  Ends with ``items(wait=...)``."""
        return Job(AnyApi(self._calls.with_token(token), pattern), self._worker_name)

    def start_job(self, name: str, input: Union[str, Sequence[str], None] = None, output: Optional[str] = None, *,
                  reader: Optional[str] = None, writer: Optional[str] = None, mode: Optional[str] = None,
                  token: Optional[str] = None, clean_start: bool = False, cont: bool = False,
                  overwrite: bool = False, types: Optional[str] = None, json: Optional[str] = None,
                  lease: Union[str, float, None] = None, max_attempts: Optional[int] = None, rate: Optional[str] = None,
                  max_in_flight: Optional[int] = None, priority: Optional[int] = None,
                  overlap: Optional[int] = None, key: Optional[str] = None) -> Job:
        """Start a job, or join it if the same definition runs already (several workers may all call this).

        ``input`` is a path, a glob or a list of them, ``output`` a path, both as the server sees them.
        ``rate`` (``"100/s"``, ``"30/m"``) and ``max_in_flight`` bound what is handed out.
        With ``overlap`` each item is answered by so many different workers (a `Client`'s ``worker``); with ``key``
        items that agree in that column are handed out one after the other.
        Raises Conflict if a job of this name has another definition.
        """
        given: Dict[str, Any] = {
            "name": name, "input": input if input is None or isinstance(input, str) else list(input),
            "reader": reader, "writer": writer, "mode": mode, "token": token, "types": types, "json": json,
            "lease": lease if lease is None or isinstance(lease, str) else "%dms" % round(lease * 1000),
            "max_attempts": max_attempts, "clean_start": clean_start or None, "cont": cont or None,
            "overwrite": overwrite or None, "rate": rate, "max_in_flight": max_in_flight,
            "priority": priority, "overlap": overlap, "key": key,
        }
        body = {key: value for key, value in given.items() if value is not None}
        body["output"] = output
        self._calls.json("POST", "/v1/jobs", body=dumps(body), harmless=not (clean_start or cont or overwrite))
        return self.job(name, token)

    def jobs(self) -> List[JobInfo]:
        """All jobs of the server."""
        found: List[JobInfo] = self._calls.json("GET", "/v1/jobs", harmless=True)["jobs"]
        return found

    def workers(self) -> Any:
        """The workers that the server knows."""
        return self._calls.json("GET", "/v1/workers", harmless=True)

    def version(self) -> Any:
        """The server's version."""
        return self._calls.json("GET", "/v1/version", harmless=True)

    def health(self) -> Any:
        """The server's health report."""
        return self._calls.json("GET", "/health", harmless=True)

    def close(self) -> None:
        """Close the connections; the client stays usable."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def _worker_name(self) -> str:
        return self._worker or "%s-%d" % (socket.gethostname(), os.getpid())
