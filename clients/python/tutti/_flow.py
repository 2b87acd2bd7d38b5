"""The flow of items through this process: claimed ahead, kept alive, sent back, given back.

A flow has one lock and three threads of its own: the *fetcher* claims batches, the *sender*
delivers the outbox, the *keeper* renews leases.  The user's threads call `take` and the
three `settle_*`.  No lock is held during a request.

An item is *buffered* (claimed, not handed out), then *in hand*, then *settled* (done, failed
or given back by the user) and *sent*.  A lease lives while one of its items is not yet sent.
When a lease is lost its buffered items are dropped, for others will get them; items in hand
go on, for the first result wins whoever sends it.

A flow belongs to the process that made it: in the child of a fork it refuses to work and
gives nothing back.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional

from ._outbox import Courier, Outbox, Parcel
from ._pace import Pacer
from .api import Batch, JobApi
from .errors import Cancelled, Conflict, Denied, LeaseLost, NotFound, TuttiError

log = logging.getLogger("tutti")

FLUSH_S = 0.5
FLUSH_BYTES = 1 << 20
FLUSH_ITEMS = 10_000
FULL_BYTES = 32 << 20
FULL_ITEMS = 200_000
TICK_S = 0.2
HINT_S = 30.0
LEAVE_S = 5.0

# What an empty answer may say of the job: nothing will come (to us), or something may.
ENDS = ("COMPLETE", "NOTHING_FOR_YOU")
WAITS = ("IN_PROGRESS", "PAUSED")

LeaseHook = Callable[[int, str, bool], None]


class Settings(NamedTuple):
    """How a flow works; durations in seconds."""

    batch: Optional[int] = None
    wait_s: Optional[float] = None
    lease_s: Optional[float] = None
    in_hand: int = 10_000
    hold_s: Optional[float] = 3600.0
    poll_s: float = 2.0
    on_lease: Optional[LeaseHook] = None


class Lease:
    """One claimed batch.  Guarded by its flow's lock."""

    def __init__(self, flow: "Flow", serial: int, token: Optional[str], length_s: float, job: str) -> None:
        self.flow = flow
        self.serial = serial
        self.token = token
        self.job = job
        self.length_s = length_s
        self.renew_at = time.monotonic() + length_s / 3
        self.lost = False
        self.open: Dict[int, float] = {}  # id -> when it was handed out; 0 while buffered
        self.unsent = 0


class Item:
    """One record of the job: ``id`` is its position in the input, ``value`` what the input holds."""

    __slots__ = ("id", "value", "_lease", "_settled")

    def __init__(self, id: int, value: Any, lease: Lease) -> None:
        self.id = id
        self.value = value
        self._lease = lease
        self._settled = False

    @property
    def job(self) -> str:
        """The name of its job."""
        return self._lease.job

    def __repr__(self) -> str:
        return "Item(id=%r, value=%r)" % (self.id, self.value)


class Stats:
    """What has gone through a flow so far."""

    def __init__(self) -> None:
        self.handed = 0
        self.done = 0
        self.failed = 0
        self.released = 0


class Flow:
    """See the module.  Starts with the first `take`; `close` ends it, from any thread, any number of times."""

    def __init__(self, api: JobApi, worker: str, settings: Settings) -> None:
        self.api = api
        self.stats = Stats()
        self.courier = Courier(api, worker)
        self.stop_asked = False
        self._worker = worker
        self._set = settings
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)    # the user's threads: items came, the outbox drained
        self._to_fetch = threading.Condition(self._lock)
        self._to_send = threading.Condition(self._lock)
        self._to_keep = threading.Condition(self._lock)
        self._cancel = threading.Event()
        self._pacer = Pacer(settings.batch)
        self._buffer: Deque[Item] = deque()
        self._leases: Dict[int, Lease] = {}
        self._outbox = Outbox()
        self._threads: Dict[str, threading.Thread] = {}
        self._serial = 0
        self._in_hand = 0
        self._waiting = 0
        self._dry = False           # the last claim brought nothing
        self._dry_since = 0.0
        self._complete = False
        self._leaving = False
        self._drained = False       # the sender has nothing more to expect
        self._closed = False
        self._error: Optional[TuttiError] = None
        self._work_from = time.monotonic()
        self._work_count = 0
        self._idle_s = 0.0
        _flows.add(self)

    # -- the user's side

    def take(self) -> Optional[Item]:
        """The next item, or None when the job is complete, `wait_s` is over, or the flow was stopped."""
        self._own()
        with self._lock:
            self._start()
            began = time.monotonic()
            hinted = began
            while True:
                if self._error is not None:
                    raise self._error
                if self._leaving or self.stop_asked:
                    return None
                if self._buffer and self._in_hand < self._set.in_hand:
                    return self._hand_out()
                if not self._buffer and self._is_over(began):
                    return None
                hinted = self._hint(began, hinted)
                self._await_items()

    def _hand_out(self) -> Item:
        item = self._buffer.popleft()
        lease = item._lease
        self.stats.handed += 1
        if lease.token is None:
            lease.open.pop(item.id, None)
            self._work_count += 1
            self._retire(lease)
        else:
            lease.open[item.id] = time.monotonic()
            self._in_hand += 1
        if self._wants_batch():
            self._to_fetch.notify()
        return item

    def _is_over(self, began: float) -> bool:
        if self._complete:
            return True
        wait_s = self._set.wait_s
        if wait_s is None or not self._dry or self._dry_since < began:
            return False
        return time.monotonic() - began >= wait_s

    def _await_items(self) -> None:
        """Wait a tick for the fetcher; what is waited without anything in hand is not work."""
        began = time.monotonic()
        idle = self._in_hand == 0
        self._waiting += 1
        self._to_fetch.notify()
        if self._outbox.count:
            self._to_send.notify()
        try:
            self._room.wait(TICK_S)
        finally:
            self._waiting -= 1
            if idle:
                self._idle_s += time.monotonic() - began

    def _hint(self, began: float, hinted: float) -> float:
        """Say so when the loop waits for nothing but items that it was given itself."""
        now = time.monotonic()
        if now - hinted < HINT_S or not self._in_hand:
            return hinted
        log.warning("%s: waiting since %.0f s while %d items handed out here are neither done, failed nor "
                    "given back", self.api.name, now - began, self._in_hand)
        return now

    def settle_done(self, item: Item, encoded: bytes) -> bool:
        """Queue a result.  False if the item was settled before."""
        self._own()
        lease = item._lease
        with self._lock:
            if not self._settle(item):
                return False
            self.stats.done += 1
            if not self._closed:
                self._outbox.add_result(lease.token, item.id, encoded)
                self._queued(lease)
                return True
        self._send_late(lease, item.id, encoded)
        return True

    def settle_failed(self, item: Item, reason: str, final: bool) -> bool:
        self._own()
        with self._lock:
            known = item.id in item._lease.open
            if not self._settle(item):
                return False
            self.stats.failed += 1
            if known and not self._closed:
                self._outbox.add_failure(item._lease.token, {"id": item.id, "reason": reason, "final": final})
                self._queued(item._lease)
        return True

    def settle_released(self, item: Item) -> bool:
        self._own()
        with self._lock:
            known = item.id in item._lease.open
            if not self._settle(item):
                return False
            self.stats.released += 1
            if known and not self._closed:
                self._outbox.add_release(item._lease.token, item.id)
                self._queued(item._lease)
        return True

    def _settle(self, item: Item) -> bool:
        if self._error is not None:
            raise self._error
        if item._settled:
            return False
        item._settled = True
        if item._lease.open.pop(item.id, None) is not None:
            self._in_hand -= 1
        self._work_count += 1
        return True

    def _queued(self, lease: Lease) -> None:
        """Something of this lease was put into the outbox: wake the sender, and wait if it cannot follow."""
        lease.unsent += 1
        outbox = self._outbox
        if outbox.count == 1 or self._is_due():
            self._to_send.notify()
        while outbox.size_bytes > FULL_BYTES or outbox.count > FULL_ITEMS:
            if self._error is not None:
                raise self._error
            self._room.wait(TICK_S)

    def _send_late(self, lease: Lease, id: int, encoded: bytes) -> None:
        """The loop is over, so nobody flushes: a result that comes now is sent by itself."""
        parcel = Parcel(lease.token)
        parcel.results.append((id, encoded))
        self.courier.send(parcel)

    def _own(self) -> None:
        if not self.is_ours():
            raise RuntimeError("this loop over job %r was started in process %d: start one of its own "
                               "after a fork" % (self.api.name, self._pid))

    # -- threads

    def _start(self) -> None:
        if self._threads or self._leaving:
            return
        self._work_from = time.monotonic()
        for name, run in (("fetcher", self._fetch), ("sender", self._send), ("keeper", self._keep)):
            thread = threading.Thread(target=self._guard, args=(run,), name="tutti-" + name, daemon=True)
            self._threads[name] = thread
            thread.start()

    def _guard(self, run: Callable[[], None]) -> None:
        """A thread's failure is raised in the user's next call."""
        try:
            run()
        except Cancelled:
            pass
        except TuttiError as e:
            self._fail(e)
        except Exception as e:
            log.exception("%s: %s failed", self.api.name, threading.current_thread().name)
            self._fail(TuttiError("the client failed: %s: %s" % (type(e).__name__, e), code="client"))

    def _fail(self, error: TuttiError) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
            self._wake_all()

    def _wake_all(self) -> None:
        for waiters in (self._room, self._to_fetch, self._to_send, self._to_keep):
            waiters.notify_all()

    # -- fetcher

    def _fetch(self) -> None:
        gap_s = 0.0
        while True:
            with self._lock:
                while not (self._leaving or self._error or self._wants_batch()):
                    self._to_fetch.wait()
                if self._leaving or self._error:
                    return
                n = self._next_size()
            began = time.monotonic()
            batch = self.api.claim(n, wait_s=self._poll_s(), lease_s=self._set.lease_s, worker=self._worker,
                                   cancel=self._cancel)
            if not self._arrived(batch):
                return
            gap_s = 0.0 if batch.items else min(1.0, gap_s * 2 or 0.05)
            self._cancel.wait(max(0.0, gap_s - (time.monotonic() - began)))

    def _wants_batch(self) -> bool:
        if self.stop_asked:
            return False
        if self._waiting and not self._buffer:
            return True
        return not self._dry and self._pacer.wants_ahead(len(self._buffer))

    def _next_size(self) -> Optional[int]:
        now = time.monotonic()
        busy_s = now - self._work_from - self._idle_s
        self._pacer.note_work(self._work_count, max(busy_s, 0.0))
        if self._work_count:
            self._work_from, self._work_count, self._idle_s = now, 0, 0.0
        return self._pacer.next_size()

    def _poll_s(self) -> float:
        wait_s = self._set.wait_s
        return self._set.poll_s if wait_s is None else min(self._set.poll_s, wait_s)

    def _arrived(self, batch: Batch) -> bool:
        """Take in a batch.  False when there is no point in asking for another."""
        with self._lock:
            late = self._drained
            if not late:
                self._pacer.note_batch(len(batch.items), batch.size_bytes)
                self._dry = not batch.items
                if batch.items:
                    self._lease_batch(batch)
                else:
                    self._nothing_came(batch.status)
                self._room.notify_all()
                self._to_keep.notify()
        if late and batch.lease is not None:
            self.api.release(lease=batch.lease, timeout_s=LEAVE_S)
        return not (late or self._complete)

    def _nothing_came(self, status: str) -> None:
        self._dry_since = time.monotonic()
        self._complete = status in ENDS
        if status not in ENDS and status not in WAITS:
            raise Conflict("job %r is %s: see its detail in the report" % (self.api.name, status), code="broken")

    def _lease_batch(self, batch: Batch) -> None:
        self._serial += 1
        lease = Lease(self, self._serial, batch.lease, batch.lease_s, batch.job or self.api.name)
        self._leases[lease.serial] = lease
        for id, value in batch.items:
            lease.open[id] = 0.0
            self._buffer.append(Item(id, value, lease))
        if self._set.on_lease is not None and lease.token is not None:
            self._set.on_lease(lease.serial, lease.token, True)

    # -- sender

    def _is_due(self) -> bool:
        outbox = self._outbox
        if not outbox.count:
            return False
        starving = self._waiting > 0 and not self._buffer
        return starving or self._leaving or outbox.size_bytes >= FLUSH_BYTES or outbox.count >= FLUSH_ITEMS

    def _send(self) -> None:
        while True:
            parcels = self._due_parcels()
            if parcels is None:
                return
            for parcel in parcels:
                self.courier.send(parcel)
            with self._lock:
                self._sent(parcels)

    def _due_parcels(self) -> Optional[List[Parcel]]:
        """Wait until something has to go; None when nothing more will come."""
        with self._lock:
            flush_at = 0.0
            while not self._is_due():
                if self._drained:
                    return None
                now = time.monotonic()
                if not self._outbox.count:
                    flush_at = 0.0
                    self._to_send.wait()
                elif not flush_at:
                    flush_at = now + FLUSH_S
                elif now >= flush_at:
                    break
                else:
                    self._to_send.wait(flush_at - now)
            parcels = self._outbox.take()
            self._room.notify_all()
            return parcels

    def _sent(self, parcels: List[Parcel]) -> None:
        count_by_token = {parcel.lease: len(parcel) for parcel in parcels}
        for lease in list(self._leases.values()):
            lease.unsent -= count_by_token.get(lease.token, 0)
            self._retire(lease)

    def _retire(self, lease: Lease) -> None:
        """Forget a lease of which nothing is left."""
        if lease.open or lease.unsent or self._leases.pop(lease.serial, None) is None:
            return
        if self._set.on_lease is not None and lease.token is not None:
            self._set.on_lease(lease.serial, lease.token, False)

    # -- keeper

    def _keep(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                self._drop_overheld(now)
                if self.stop_asked:
                    self._drop_buffered()
                due = [lease for lease in self._leases.values() if self._renewable(lease) and lease.renew_at <= now]
                if not due:
                    if self._drained:
                        return
                    self._to_keep.wait(self._until_renewal_s(now))
                    continue
            for lease in due:
                self._renew(lease)

    def _renewable(self, lease: Lease) -> bool:
        return lease.token is not None and not lease.lost

    def _until_renewal_s(self, now: float) -> float:
        times = [lease.renew_at - now for lease in self._leases.values() if self._renewable(lease)]
        return max(0.01, min(times + [1.0]))

    def _renew(self, lease: Lease) -> None:
        assert lease.token is not None
        asked_at = time.monotonic()
        try:
            length_s = self.api.renew(lease=lease.token, timeout_s=max(1.0, lease.length_s / 3))
        except LeaseLost as e:
            self._lost(lease, e)
        except (NotFound, Denied):
            raise
        except TuttiError as e:
            log.info("%s: a lease could not be renewed yet: %s", self.api.name, e)
            lease.renew_at = time.monotonic() + min(1.0, lease.length_s / 6)
        else:
            lease.length_s = length_s
            lease.renew_at = asked_at + length_s / 3

    def _lost(self, lease: Lease, why: LeaseLost) -> None:
        with self._lock:
            if lease.serial not in self._leases or not (lease.open or lease.unsent):
                return
            lease.lost = True
            kept = [item for item in self._buffer if item._lease is not lease]
            dropped = len(self._buffer) - len(kept)
            self._buffer = deque(kept)
            for id in [id for id, handed in lease.open.items() if handed == 0.0]:
                del lease.open[id]
            self._retire(lease)
            self._room.notify_all()
        log.warning("%s: a lease was lost (%s); %d items that waited here go to others, results in hand are "
                    "still sent", self.api.name, why.detail, dropped)

    def _drop_overheld(self, now: float) -> None:
        """Give back what was handed out too long ago, so that a stuck loop keeps no item for ever."""
        hold_s = self._set.hold_s
        if hold_s is None:
            return
        for lease in list(self._leases.values()):
            overheld = [id for id, handed in lease.open.items() if handed and now - handed > hold_s]
            for id in overheld:
                log.warning("%s: item %d is in hand for more than %.0f s: given back", self.api.name, id, hold_s)
                del lease.open[id]
                self._in_hand -= 1
                lease.unsent += 1
                self._outbox.add_release(lease.token, id)
            if overheld:
                self._to_send.notify()
                self._room.notify_all()

    def _drop_buffered(self) -> None:
        """Asked to stop: what was not handed out goes back now, not when the item in hand is finished."""
        for item in self._buffer:
            lease = item._lease
            if lease.token is not None and lease.open.pop(item.id, None) is not None:
                lease.unsent += 1
                self.stats.released += 1
                self._outbox.add_release(lease.token, item.id)
        self._buffer.clear()
        self._to_send.notify()

    # -- leaving

    def close(self) -> None:
        """Send what is finished, give back what is not, stop the threads.  Raises what kept results from
        being sent, once."""
        if not self.is_ours():
            return
        with self._lock:
            first = not self._leaving
            self._leaving = True
            self._cancel.set()
            self._wake_all()
        if not first:
            return
        self._join("fetcher", LEAVE_S)
        self._give_back()
        with self._lock:
            self._drained = True
            self._wake_all()
        self._join("sender", None)
        self._join("keeper", LEAVE_S)
        with self._lock:
            self._closed = True
            unsent = self._outbox.count
        if self._error is not None and unsent:
            log.error("%s: %d results could not be sent; their items will be served again", self.api.name, unsent)

    def raise_error(self) -> None:
        """Raise what ended the flow's threads, if anything did."""
        if self._error is not None:
            raise self._error

    def _join(self, name: str, timeout_s: Optional[float]) -> None:
        thread = self._threads.get(name)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _give_back(self) -> None:
        with self._lock:
            self._buffer.clear()
            unfinished = [(lease, list(lease.open)) for lease in self._leases.values() if lease.open]
            for lease, ids in unfinished:
                lease.open.clear()
                self.stats.released += len(ids)
                self._retire(lease)
            self._in_hand = 0
        for lease, ids in unfinished:
            if lease.token is None or lease.lost:
                continue
            try:
                self.api.release(ids, lease=lease.token, timeout_s=LEAVE_S)
            except TuttiError as e:
                log.warning("%s: %d items could not be given back, they return when their lease ends: %s",
                            self.api.name, len(ids), e)

    def is_ours(self) -> bool:
        """False in the child of a fork."""
        return self._pid == os.getpid()

    def owns_current_thread(self) -> bool:
        return threading.current_thread() in self._threads.values()


_flows: "weakref.WeakSet[Flow]" = weakref.WeakSet()


def _close_all() -> None:
    for flow in list(_flows):
        try:
            flow.close()
        except Exception as e:
            log.error("%s: %s", flow.api.name, e)


atexit.register(_close_all)
