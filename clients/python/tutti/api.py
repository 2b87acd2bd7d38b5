"""One method per route of a job: what travels, typed, without any batching or threads.

`tutti.Job` is the comfortable way; this is for programs that keep the accounts themselves.
"""

from __future__ import annotations

import fnmatch
import json
import threading
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypedDict
from uuid import uuid4

from . import errors
from ._http import Query, Reply, Transport
from ._wire import dumps, duration, job_path


class JobInfo(TypedDict, total=False):
    """A job as the server describes it; a newer server may tell more."""

    name: str
    status: str
    mode: str
    reader: Optional[str]
    writer: Optional[str]
    input: List[str]
    output: Optional[str]
    total: Optional[int]
    received: int
    served: int
    errors: int
    dead: int
    pending: Optional[int]
    rate: float
    eta_s: Optional[float]
    duplicates: int
    redone: int
    paused: bool
    rate_limit: Optional[str]
    priority: int
    overlap: int
    answers: Optional[int]
    key: Optional[str]
    max_in_flight: Optional[int]
    output_bytes: int
    oldest_lease_ms: Optional[int]
    workers: List[Dict[str, Any]]
    created: str
    detail: Optional[str]


class ItemError(TypedDict, total=False):
    """An item that ended in error."""

    id: int
    state: str
    reason: str
    attempts: int
    worker: Optional[str]
    time: str


class Failure(TypedDict):
    """What `JobApi.fail` reports of one item."""

    id: int
    reason: str
    final: bool


class Batch(NamedTuple):
    """An answer to a claim.  ``lease`` is None when nothing has to come back."""

    lease: Optional[str]
    lease_s: float
    status: str
    items: List[Tuple[int, Any]]
    size_bytes: int
    job: Optional[str] = None


class Received(NamedTuple):
    """What became of the results of one request."""

    accepted: int
    duplicate: int
    unknown: int


class Calls:
    """Requests that raise for errors and answer parsed JSON."""

    def __init__(self, transport: Transport, token: Optional[str]) -> None:
        if token is not None and ("\r" in token or "\n" in token):
            raise ValueError("a token cannot hold line breaks")
        self.transport = transport
        self.token = token

    def with_token(self, token: Optional[str]) -> "Calls":
        return self if token is None else Calls(self.transport, token)

    def reply(self, method: str, path: str, *, query: Query = (), body: Optional[bytes] = None, harmless: bool,
              timeout_s: Optional[float] = None, wait_s: float = 0.0,
              cancel: Optional[threading.Event] = None) -> Reply:
        """The answer if it is a success (2xx); everything else is raised."""
        reply = self.transport.request(method, path, query=query, body=body, token=self.token, harmless=harmless,
                                       timeout_s=timeout_s, wait_s=wait_s, cancel=cancel)
        if not 200 <= reply.status < 300:
            raise errors.from_reply(reply.status, reply.headers, reply.body)
        return reply

    def json(self, method: str, path: str, *, query: Query = (), body: Optional[bytes] = None, harmless: bool,
             timeout_s: Optional[float] = None) -> Any:
        return parsed(self.reply(method, path, query=query, body=body, harmless=harmless, timeout_s=timeout_s))


def parsed(reply: Reply) -> Any:
    """The JSON of an answer."""
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as e:
        raise errors.ServerError("the answer cannot be read as JSON: %s" % e, status=reply.status,
                                 code="bad_answer", request_id=reply.headers.get("x-request-id")) from e


class JobApi:
    """The routes of one job.  Any thread, any process."""

    def __init__(self, calls: Calls, name: str) -> None:
        self.name = name
        self._calls = calls
        job_path(name)

    def info(self, *, timeout_s: Optional[float] = None) -> JobInfo:
        info: JobInfo = self._calls.json("GET", job_path(self.name), harmless=True, timeout_s=timeout_s)
        return info

    def claim(self, n: Optional[int] = None, *, wait_s: float = 0.0, lease_s: Optional[float] = None, worker: Optional[str] = None,
              request_id: Optional[str] = None, cancel: Optional[threading.Event] = None) -> Batch:
        """Up to ``n`` items (None: as many as this worker gives back within about a second).  With the same request id a repeated claim answers the same batch,
        so that a lost answer costs nothing; without one, one is made."""
        query = [("n", None if n is None else str(n)), ("wait", duration(wait_s)), ("lease", duration(lease_s)), ("worker", worker),
                 ("request_id", request_id or uuid4().hex)]
        return self._claim(job_path(self.name, "claim"), query, wait_s, cancel)

    def _claim(self, path: str, query: Query, wait_s: float, cancel: Optional[threading.Event]) -> Batch:
        reply = self._calls.reply("POST", path, query=query, body=b"", harmless=True, wait_s=wait_s, cancel=cancel)
        said = parsed(reply)
        return Batch(said.get("lease"), (said.get("lease_ms") or 0) / 1000, said["status"],
                     [(pair[0], pair[1]) for pair in said["items"]], len(reply.body), said.get("job"))

    def results(self, encoded: Sequence[Tuple[int, bytes]], *, lease: Optional[str] = None,
                worker: Optional[str] = None, timeout_s: Optional[float] = None) -> Received:
        """Results as pairs of id and JSON.  The first result of an item wins, so repeating is harmless.
        In a job with overlap ``worker`` says who answers, should the lease be gone."""
        body = b"[" + b",".join([b"[%d,%s]" % pair for pair in encoded]) + b"]"
        said = self._calls.json("POST", job_path(self.name, "results"), query=[("lease", lease), ("worker", worker)],
                                body=body, harmless=True, timeout_s=timeout_s)
        return Received(said.get("accepted", 0), said.get("duplicate", 0), said.get("unknown", 0))

    def fail(self, failures: Sequence[Failure], *, lease: str, timeout_s: Optional[float] = None) -> None:
        """Report failed items; raises LeaseLost when the lease is gone."""
        self._leased("fail", lease, dumps(list(failures)), timeout_s)

    def renew(self, *, lease: str, timeout_s: Optional[float] = None) -> float:
        """Keep a lease; answers its length in seconds, raises LeaseLost when it is gone."""
        said = self._leased("renew", lease, b"", timeout_s)
        return float(said["lease_ms"]) / 1000

    def release(self, ids: Optional[Sequence[int]] = None, *, lease: str, timeout_s: Optional[float] = None) -> None:
        """Give items back (None: all of the lease); raises LeaseLost when it is gone."""
        self._leased("release", lease, b"" if ids is None else dumps(list(ids)), timeout_s)

    def _leased(self, verb: str, lease: str, body: bytes, timeout_s: Optional[float]) -> Any:
        try:
            return self._calls.json("POST", job_path(self.name, verb), query=[("lease", lease)], body=body,
                                    harmless=True, timeout_s=timeout_s)
        except errors.LeaseLost:
            raise
        except errors.Conflict as e:
            raise errors.LeaseLost(e.detail, status=e.status, code=e.code, hint=e.hint,
                                   request_id=e.request_id) from None

    def errors(self, *, limit: int = 1000, after: Optional[int] = None, reason: Optional[str] = None,
               state: Optional[str] = None) -> Tuple[List[ItemError], Optional[int]]:
        """One page of failed items, and where the next page starts.  ``reason``: a text in it."""
        query = [("limit", str(limit)), ("after", None if after is None else str(after)), ("reason", reason),
                 ("state", state)]
        said = self._calls.json("GET", job_path(self.name, "errors"), query=query, harmless=True)
        return said["errors"], said.get("next")

    def retry(self, ids: Optional[Sequence[int]] = None, *, reason: Optional[str] = None,
              state: Optional[str] = None) -> int:
        """Of failed items these, or those that match, or all."""
        named = {"ids": list(ids) if ids is not None else None, "reason": reason, "state": state}
        given = {name: value for name, value in named.items() if value is not None}
        body = dumps(given) if given else b""
        return int(self._calls.json("POST", job_path(self.name, "retry"), body=body, harmless=False)["retried"])

    def redo(self, ids: Optional[Sequence[int]] = None) -> int:
        """Received items (None: all of them) are pending again; answers how many."""
        body = dumps({"ids": list(ids)} if ids is not None else {"all": True})
        return int(self._calls.json("POST", job_path(self.name, "redo"), body=body, harmless=False)["redone"])

    def pause(self) -> None:
        self._calls.json("POST", job_path(self.name, "pause"), body=b"", harmless=True)

    def resume(self) -> None:
        self._calls.json("POST", job_path(self.name, "resume"), body=b"", harmless=True)

    def clean(self, *, output: bool = False) -> None:
        self._calls.json("POST", job_path(self.name, "clean"), query=[("output", str(output).lower())], body=b"",
                         harmless=False)

    def delete(self) -> None:
        self._calls.json("DELETE", job_path(self.name), harmless=False)


class AnyApi(JobApi):
    """The routes of whatever job a claim is served from: leases know theirs.

    There is no end: a job may be started at any time, so that an empty answer never says COMPLETE.
    """

    MOST_LEASES = 100_000

    def __init__(self, calls: Calls, pattern: Optional[str]) -> None:
        super().__init__(calls, "any job")
        self._pattern = pattern or None
        self._lock = threading.Lock()
        self._jobs: Dict[str, JobApi] = {}

    def adopt(self, lease: str, job: str) -> None:
        """From here on ``lease`` is one of this job."""
        with self._lock:
            self._jobs[lease] = JobApi(self._calls, job)
            while len(self._jobs) > self.MOST_LEASES:
                del self._jobs[next(iter(self._jobs))]

    def job_of(self, lease: Optional[str]) -> JobApi:
        with self._lock:
            found = self._jobs.get(lease) if lease else None
        if found is None:
            raise errors.LeaseLost("the lease is none of ours", status=409, code="gone")
        return found

    def info(self, *, timeout_s: Optional[float] = None) -> JobInfo:
        """All jobs that the pattern matches, summed up."""
        jobs = self._calls.json("GET", "/v1/jobs", harmless=True, timeout_s=timeout_s)["jobs"]
        mine = [job for job in jobs if self._pattern is None or fnmatch.fnmatchcase(job["name"], self._pattern)]

        def total(member: str) -> int:
            return sum(job.get(member) or 0 for job in mine)

        complete = all(job["status"] == "COMPLETE" for job in mine)
        known = all(job.get("total") is not None for job in mine)
        return {"name": self.name, "status": "COMPLETE" if complete else "IN_PROGRESS",
                "total": total("total") if known else None, "received": total("received"), "served": total("served"),
                "errors": total("errors"), "dead": total("dead"), "duplicates": total("duplicates"),
                "rate": sum(job.get("rate") or 0.0 for job in mine), "eta_s": None}

    def claim(self, n: Optional[int] = None, *, wait_s: float = 0.0, lease_s: Optional[float] = None, worker: Optional[str] = None,
              request_id: Optional[str] = None, cancel: Optional[threading.Event] = None) -> Batch:
        query = [("jobs", self._pattern), ("n", None if n is None else str(n)), ("wait", duration(wait_s)), ("lease", duration(lease_s)),
                 ("worker", worker), ("request_id", request_id or uuid4().hex)]
        batch = self._claim("/v1/claim", query, wait_s, cancel)
        if batch.lease is not None and batch.job is not None:
            self.adopt(batch.lease, batch.job)
        return batch._replace(status="IN_PROGRESS")

    def results(self, encoded: Sequence[Tuple[int, bytes]], *, lease: Optional[str] = None,
                worker: Optional[str] = None, timeout_s: Optional[float] = None) -> Received:
        return self.job_of(lease).results(encoded, lease=lease, worker=worker, timeout_s=timeout_s)

    def _leased(self, verb: str, lease: str, body: bytes, timeout_s: Optional[float]) -> Any:
        return self.job_of(lease)._leased(verb, lease, body, timeout_s)
