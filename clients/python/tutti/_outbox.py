"""Results, failures and items to give back that wait to be sent, and how they are sent.

`Outbox` only collects, under its owner's lock.  `Courier` sends what was taken from an
outbox, without any lock, and may be used by several threads at once.
"""

from __future__ import annotations

import logging
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from .api import Failure, JobApi, Received
from .errors import BadRequest, LeaseLost, TuttiError

log = logging.getLogger("tutti")

Encoded = Tuple[int, bytes]

POST_BYTES = 8 << 20
POST_ITEMS = 20_000
MOST_REFUSALS = 8


class Parcel:
    """What one lease has to send.  ``lease`` None: results of items that came without one."""

    def __init__(self, lease: Optional[str]) -> None:
        self.lease = lease
        self.results: List[Encoded] = []
        self.failures: List[Failure] = []
        self.releases: List[int] = []

    def __len__(self) -> int:
        return len(self.results) + len(self.failures) + len(self.releases)


class Outbox:
    """Parcels by lease, with their size."""

    def __init__(self) -> None:
        self._parcels: Dict[Optional[str], Parcel] = {}
        self.count = 0
        self.size_bytes = 0

    def _parcel(self, lease: Optional[str], size_bytes: int) -> Parcel:
        self.count += 1
        self.size_bytes += size_bytes
        parcel = self._parcels.get(lease)
        if parcel is None:
            parcel = self._parcels[lease] = Parcel(lease)
        return parcel

    def add_result(self, lease: Optional[str], id: int, encoded: bytes) -> None:
        self._parcel(lease, len(encoded)).results.append((id, encoded))

    def add_failure(self, lease: Optional[str], failure: Failure) -> None:
        self._parcel(lease, len(failure["reason"])).failures.append(failure)

    def add_release(self, lease: Optional[str], id: int) -> None:
        self._parcel(lease, 8).releases.append(id)

    def take(self) -> List[Parcel]:
        """Everything, leaving the outbox empty."""
        parcels = list(self._parcels.values())
        self._parcels = {}
        self.count = 0
        self.size_bytes = 0
        return parcels


class Tally:
    """What the server said to what was sent."""

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicate = 0
        self.unknown = 0
        self.refused = 0
        self.lost_leases = 0

    def add(self, received: Received) -> None:
        self.accepted += received.accepted
        self.duplicate += received.duplicate
        self.unknown += received.unknown


class Courier:
    """Sends parcels to one job.  The tally is exact if one thread at a time sends."""

    def __init__(self, api: JobApi, worker: Optional[str] = None) -> None:
        self._api = api
        self._worker = worker
        self.tally = Tally()

    def send(self, parcel: Parcel) -> None:
        """Deliver one parcel.  A result that the server refuses becomes a final failure of its item;
        a lost lease costs failures and releases, never results.  Raises what cannot be helped."""
        refused: List[Failure] = []
        for chunk in chunks(parcel.results):
            self._results(parcel.lease, chunk, refused)
        if parcel.lease is None:
            return
        try:
            for failures in (parcel.failures, refused):
                if failures:
                    self._api.fail(failures, lease=parcel.lease)
            if parcel.releases:
                self._api.release(parcel.releases, lease=parcel.lease)
        except LeaseLost as e:
            self.tally.lost_leases += 1
            log.info("%s: the lease is gone, its failed items will be served again: %s", self._api.name, e)

    def _results(self, lease: Optional[str], chunk: Sequence[Encoded], refused: List[Failure]) -> None:
        """Send a chunk; when it is refused, halve it until the results at fault stand alone."""
        try:
            self.tally.add(self._api.results(chunk, lease=lease, worker=self._worker))
        except BadRequest as e:
            if len(chunk) > 1:
                middle = len(chunk) // 2
                self._results(lease, chunk[:middle], refused)
                self._results(lease, chunk[middle:], refused)
                return
            self.tally.refused += 1
            hopeless = len(refused) >= MOST_REFUSALS and not self.tally.accepted
            if lease is None or hopeless:
                raise
            self._refuse(chunk[0][0], e, refused)

    def _refuse(self, id: int, error: TuttiError, refused: List[Failure]) -> None:
        log.error("%s: the result of item %d was refused: %s", self._api.name, id, error)
        refused.append({"id": id, "reason": "result refused: " + error.detail, "final": True})


def chunks(results: Sequence[Encoded]) -> Iterator[Sequence[Encoded]]:
    """Cut results so that a request stays below the server's limit on bodies."""
    start = size_bytes = 0
    for at, (_, encoded) in enumerate(results):
        size_bytes += len(encoded) + 24
        if at > start and (size_bytes > POST_BYTES or at - start >= POST_ITEMS):
            yield results[start:at]
            start, size_bytes = at, len(encoded) + 24
    if start < len(results):
        yield results[start:]


__all__ = ["Courier", "Outbox", "Parcel", "Tally"]
