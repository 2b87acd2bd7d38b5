"""The older client's class, method names and signatures, on the older routes.

A script that imports ``PlanchetClient`` from here instead of from ``planchet`` runs as it
is.  What differs: names and tokens are escaped, one connection is kept instead of one per
call, a repeated `get` after a lost answer brings the same batch, calls end (``timeout``),
and what `get` hides behind None is logged with the server's reason.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import quote, urlencode
from uuid import uuid4

from ._http import Endpoint, Reply, Transport
from ._wire import dumps
from .errors import from_reply, reason_of

log = logging.getLogger("tutti")

Params = Mapping[str, object]


class Response:
    """The part of ``requests.Response`` that scripts use."""

    def __init__(self, reply: Reply, url: str) -> None:
        self.status_code = reply.status
        self.reason = reply.reason
        self.headers = reply.headers
        self.content = reply.body
        self.url = url

    @property
    def ok(self) -> bool:
        return self.status_code < 400

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        return json.loads(self.content)

    def raise_for_status(self) -> None:
        """Raise the error that the answer tells of, if it does."""
        if not self.ok:
            raise from_reply(self.status_code, self.headers, self.content)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return "<Response [%d]>" % self.status_code


class PlanchetClient:
    """Drop-in for Planchet's client.  ``timeout``: seconds that a call may take, retries included."""

    RETRIES = 5

    def __init__(self, url: str, *, timeout: float = 300.0) -> None:
        self._transport = Transport(Endpoint(url), timeout)
        self.url = self._transport.endpoint.url + "/"

    def start_job(self, job_name: str, metadata: Dict[str, Any], reader_name: str, writer_name: str,
                  clean_start: bool = False, token: Optional[str] = None, retries: int = 1,
                  mode: str = "read-write", cont: bool = False) -> Response:
        """Start a job; a second start of one name answers 400, which workers may ignore."""
        params = {"job_name": job_name, "reader_name": reader_name, "writer_name": writer_name, "mode": mode,
                  "clean_start": clean_start, "cont": cont, "token": token}
        return self._send("POST", "scramble", params, retries, body=dumps(metadata))

    def get(self, job_name: str, n_items: int, token: Optional[str] = None,
            retries: int = RETRIES) -> Optional[List[Any]]:
        """Up to ``n_items`` pairs of id and value; [] when nothing is left, None (logged) if refused."""
        params = {"job_name": job_name, "batch_size": n_items, "token": token, "request_id": uuid4().hex}
        found: Optional[List[Any]] = self._parsed(
            self._send("POST", "serve", params, retries, body=b"", harmless=True), "serve")
        return found

    def send(self, job_name: str, items: Sequence[Tuple[int, Union[Dict[str, Any], List[Any]]]],
             token: Optional[str] = None, overwrite: bool = False, retries: int = RETRIES) -> Response:
        """Return results as pairs of id and value."""
        if overwrite:
            log.warning("overwrite=True writes items again that were received before; leave it out")
        params = {"job_name": job_name, "overwrite": overwrite, "token": token}
        return self._send("POST", "receive", params, retries, body=dumps(list(items)), harmless=not overwrite)

    def mark_errors(self, job_name: str, ids: Sequence[int], token: Optional[str] = None,
                    retries: int = RETRIES) -> Response:
        """Mark items as errors; they are not served again unless they are redriven."""
        return self._send("POST", "mark-errors", {"job_name": job_name, "token": token}, retries,
                          body=dumps(list(ids)), harmless=True)

    def delete_job(self, job_name: str, token: Optional[str] = None, retries: int = RETRIES) -> Response:
        """Forget a job; its files stay."""
        return self._send("GET", "delete", {"job_name": job_name, "token": token}, retries)

    def clean_job(self, job_name: str, token: Optional[str] = None, retries: int = RETRIES) -> Response:
        """Take back what is served and delete the output file."""
        return self._send("GET", "clean", {"job_name": job_name, "token": token}, retries)

    def purge_server(self, master_token: Optional[str], output: bool = True, retries: int = RETRIES) -> Response:
        """Remove all jobs, and their output files unless ``output`` is False."""
        return self._send("GET", "purge", {"token": master_token, "output": output}, retries)

    def get_job_report(self, job_name: str, retries: int = RETRIES) -> Any:
        """The job's report, {} for an unknown job, None (logged) if refused."""
        return self._parsed(self._send("GET", "report", {"job_name": job_name}, retries, harmless=True), "report")

    def check(self, retries: int = RETRIES) -> Any:
        """The server's health, None (logged) if refused."""
        return self._parsed(self._send("GET", "health", {}, retries, harmless=True), "health")

    def make_param_url(self, endpoint: str, params: Params) -> str:
        """The full address of a request."""
        return self.url + endpoint + "?" + urlencode(_texts(params), quote_via=quote, safe="")

    def _send(self, method: str, endpoint: str, params: Params, retries: int, body: Optional[bytes] = None,
              harmless: bool = False) -> Response:
        reply = self._transport.request(method, "/" + endpoint, query=_texts(params), body=body,
                                        harmless=harmless, retries=retries)
        return Response(reply, self.url + endpoint)

    def _parsed(self, response: Response, what: str) -> Any:
        if response.status_code == 200:
            return response.json()
        log.warning("%s: the server answered %d: %s", what, response.status_code,
                    reason_of(response.status_code, response.headers, response.content))
        return None


def _texts(params: Params) -> List[Tuple[str, str]]:
    return [(name, str(value)) for name, value in params.items() if value is not None]
