"""A job as its workers see it: a loop over items, and what became of each.

    for item in job.items():
        job.done(item, work(item.value))

Everything may be called from several threads; several threads may share one `items()`
or have one each.
"""

from __future__ import annotations

import threading
import time
import weakref
from types import TracebackType
from typing import Any, Callable, Iterator, Optional, Sequence, Type

from ._flow import Flow, Item, LeaseHook, Settings, Stats
from ._wire import dumps
from .api import ItemError, JobApi, JobInfo
from .errors import TuttiError
from .progress import Progress

_SAME = object()


class Items:
    """The iterator of `Job.items`.

    Leaving the loop early (break, an exception, Ctrl-C) sends what is finished and gives back
    what is not, as soon as this object is no longer referenced; `close` or ``with`` do so at
    a definite point, and raise if results could not be sent.
    """

    def __init__(self, flow: Flow, show: Optional[bool]) -> None:
        self._flow = flow
        self._show = show
        self._progress: Optional[Progress] = None
        self._lock = threading.Lock()

    def __iter__(self) -> "Items":
        return self

    def __next__(self) -> Item:
        if self._progress is None:
            self._start_progress()
        try:
            item = self._flow.take()
        except TuttiError:
            self._end()
            raise
        if item is None:
            self.close()
            raise StopIteration
        return item

    @property
    def stats(self) -> Stats:
        """Counts of items handed out, done, failed and given back by this loop."""
        return self._flow.stats

    def stop(self) -> None:
        """Let the loop end before its next item; safe in a signal handler."""
        self._flow.stop_asked = True

    def close(self) -> None:
        """End the loop now: send results, give back the rest.  Raises what kept results from being sent."""
        self._end()
        self._flow.raise_error()

    def __enter__(self) -> "Items":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._end()
        if kind is None:
            self._flow.raise_error()

    def __del__(self) -> None:
        flow = getattr(self, "_flow", None)
        if flow is None:
            return
        if flow.owns_current_thread():
            threading.Thread(target=self._end, daemon=True).start()
        else:
            self._end()

    def _start_progress(self) -> None:
        with self._lock:
            if self._progress is None:
                self._progress = Progress(self._flow.api, self._show)

    def _end(self) -> None:
        self._flow.close()
        if self._progress is not None and self._flow.is_ours():
            self._progress.close()


class Job:
    """A job on the server, by name.  Made by `Client.job` and `Client.start_job`; costs no request.

    ``api`` has one method per route, for programs that want to do without the loop.
    """

    def __init__(self, api: JobApi, worker: Callable[[], str]) -> None:
        self.api = api
        self._worker = worker
        self._loops: "weakref.WeakSet[Items]" = weakref.WeakSet()

    @property
    def name(self) -> str:
        return self.api.name

    def __repr__(self) -> str:
        return "Job(%r)" % self.name

    # -- working

    def items(self, *, batch: Optional[int] = None, wait: Optional[float] = None, lease: Optional[float] = None,
              in_hand: int = 10_000, hold: Optional[float] = 3600.0, progress: Optional[bool] = None,
              on_lease: Optional[LeaseHook] = None) -> Items:
        """The items of the job, one after the other, until the job is COMPLETE.

        Items are claimed in batches of about a second of work (``batch`` fixes their number), the
        next batch while this one is worked on.  Durations are in seconds:

        ``wait``      how long to go on while everything left is leased to others; None: until COMPLETE
        ``lease``     how long the server keeps our items for us if this process falls silent
                      (default: the server's; it is renewed in the background at a third of it)
        ``in_hand``   how many items may be out and unfinished before the loop waits for `done`;
                      with a pool of threads give about twice its size
        ``hold``      an item unfinished for that long is given back; None: never
        ``progress``  a bar on a terminal, else a line every 10 s; False: nothing
        ``on_lease``  called with (serial, token, True) when a batch came and with False when it is settled
        """
        if in_hand < 1:
            raise ValueError("in_hand must be at least 1")
        settings = Settings(batch=batch, wait_s=wait, lease_s=lease, in_hand=in_hand, hold_s=hold,
                            on_lease=on_lease)
        loop = Items(Flow(self.api, self._worker(), settings), progress)
        self._loops.add(loop)
        return loop

    def done(self, item: Item, result: Any = _SAME) -> bool:
        """The item is finished.  Without ``result`` its (perhaps changed) value is the result.

        The result is turned into JSON here (TypeError, ValueError if it cannot be, and the item stays
        unfinished) and sent a little later together with others.  False if the item was settled before.
        """
        encoded = dumps(item.value if result is _SAME else result)
        return item._lease.flow.settle_done(item, encoded)

    def fail(self, item: Item, reason: str, final: bool = False) -> bool:
        """The item could not be worked on.  It is tried again up to the job's number of attempts,
        unless ``final``.  False if it was settled before."""
        return item._lease.flow.settle_failed(item, str(reason), final)

    def skip(self, item: Item) -> bool:
        """Give the item back, for anybody (this worker included) to be served later."""
        return item._lease.flow.settle_released(item)

    release = skip

    def close(self) -> None:
        """End every loop over this job that this object started."""
        for loop in list(self._loops):
            loop.close()

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        for loop in list(self._loops):
            loop.__exit__(kind, error, trace)

    # -- looking after it

    def status(self) -> JobInfo:
        """The job as the server describes it: state, total, received, errors, rate, ETA, workers."""
        return self.api.info()

    def wait(self, timeout: Optional[float] = None, every: float = 0.5) -> bool:
        """Wait until the job is COMPLETE; False if it is not after ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.api.info().get("status") != "COMPLETE":
            if end is not None and time.monotonic() + every > end:
                return False
            time.sleep(every)
        return True

    def errors(self, *, reason: Optional[str] = None, state: Optional[str] = None) -> Iterator[ItemError]:
        """All items that ended in error, page by page; with ``reason`` those that have this text in
        theirs, with ``state`` ("error", "dead") those in it."""
        page, after = self.api.errors(reason=reason, state=state)
        yield from page
        while after is not None:
            page, after = self.api.errors(after=after, reason=reason, state=state)
            yield from page

    def retry(self, ids: Optional[Sequence[int]] = None, *, reason: Optional[str] = None,
              state: Optional[str] = None) -> int:
        """Send failed items (all, these, or those that match as in `errors`) back to be served again; answers
        how many."""
        return self.api.retry(ids, reason=reason, state=state)

    def redo(self, ids: Optional[Sequence[int]] = None) -> int:
        """Have received items (all, or these) worked on once more; their new results are appended to
        the output.  Answers how many."""
        return self.api.redo(ids)

    def pause(self) -> None:
        """Hand nothing out until `resume`; results are taken."""
        self.api.pause()

    def resume(self) -> None:
        """Hand out again."""
        self.api.resume()

    def clean(self, output: bool = False) -> None:
        """Take back what is served; with ``output`` also remove the output."""
        self.api.clean(output=output)

    def delete(self) -> None:
        """Remove the job from the ledger; its files stay."""
        self.api.delete()
