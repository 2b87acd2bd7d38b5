"""One worker process: maps a function over the items of a job.

The parent (`_crew`) starts it with three descriptors: *control* brings one line of JSON with
the orders, later a line for each request to stop, and stays open as long as the parent
lives; on *report* the child tells its parent, line by line, which leases it holds and why it
ends; the *slate* shows what it is working on.  When asked to stop (SIGTERM, a line, or the
parent's end) it finishes the item in hand if that takes no longer than the grace, gives
everything else back, and ends.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, NoReturn, Optional

from ._flow import Item
from ._slate import Slate
from ._wire import dumps
from .api import AnyApi
from .client import Client
from .errors import Reject, TuttiError
from .job import Items, Job

USAGE = 2
STOPPED = 143
log = logging.getLogger("tutti")


class Usage(Exception):
    """The function cannot be used."""


def load(spec: str) -> Callable[[Any], Any]:
    """The function named by ``module:function`` (or ``module:Class.method``)."""
    module_name, colon, path = spec.partition(":")
    if not (module_name and colon and path):
        raise Usage("%r: write it as module:function" % spec)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as e:
        if not isinstance(e, ModuleNotFoundError) or e.name != module_name:
            traceback.print_exc()
        raise Usage("module %r cannot be imported: %s: %s" % (module_name, type(e).__name__, e)) from e
    for name in path.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise Usage("module %r has no function %r" % (module_name, path))
    if inspect.iscoroutinefunction(found):
        raise Usage("%s is a coroutine function; wrap it in a plain function" % spec)
    return found  # type: ignore[no-any-return]


def apply(function: Callable[[Any], Any], value: Any) -> Any:
    """The function's result; a generator's values become a list."""
    result = function(value)
    return list(result) if inspect.isgenerator(result) else result


def one(job: Job, item: Item, function: Callable[[Any], Any]) -> bool:
    """Work on one item and say what became of it; False if it failed."""
    try:
        encoded = dumps(apply(function, item.value))
    except Reject as e:
        job.fail(item, str(e) or "rejected", final=True)
    except (Exception, SystemExit) as e:
        job.fail(item, reason(e))
    else:
        item._lease.flow.settle_done(item, encoded)
        return True
    return False


class Report:
    """Lines of JSON to the parent; nobody listening is no error."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, **members: Any) -> None:
        try:
            os.write(self._fd, json.dumps(members).encode("ascii") + b"\n")
        except OSError:
            pass

    def lease(self, serial: int, token: str, held: bool, job: str) -> None:
        self.send(lease=serial, token=token, held=held, job=job)


class Child:
    """The process's work, its stopping, and its end."""

    def __init__(self, control: int, report: int, slate: int) -> None:
        for fd in (control, report, slate):
            os.set_inheritable(fd, False)
        self._control = os.fdopen(control, "rb")
        self.report = Report(report)
        self._slate = Slate(slate)
        self._loop: Optional[Items] = None
        self._stop = threading.Event()
        self._stops = 0
        self.orders: Dict[str, Any] = json.loads(self._control.readline() or b"null") or sys.exit(STOPPED)

    def run(self) -> int:
        """Work until the job is complete or the parent says stop; the exit code."""
        signal.signal(signal.SIGTERM, self._asked)
        signal.signal(signal.SIGINT, lambda *_: None)  # the parent decides on Ctrl-C
        for name, run in (("parent", self._watch_parent), ("grace", self._watch_grace)):
            threading.Thread(target=run, name="tutti-" + name, daemon=True).start()
        function = load(self.orders["function"])
        orders = self.orders
        client = Client(orders["url"], orders["token"], orders["timeout"], orders["worker"])
        self._work(client.any_job(orders["job"]) if orders["any"] else client.job(orders["job"]), function)
        return STOPPED if self._stop.is_set() else 0

    def _work(self, job: Job, function: Callable[[Any], Any]) -> None:
        orders, slate = self.orders, self._slate
        api = job.api

        def report(serial: int, token: str, held: bool) -> None:
            self.report.lease(serial, token, held, api.job_of(token).name if isinstance(api, AnyApi) else api.name)

        loop = job.items(batch=orders["batch"], wait=orders["wait"], lease=orders["lease"], progress=False,
                         on_lease=report)
        self._loop = loop
        if self._stop.is_set():
            loop.stop()
        with loop:
            for item in loop:
                slate.begin(item._lease.serial, item.id)
                if one(job, item, function):
                    slate.add(done=1)
                else:
                    slate.add(failed=1)
                slate.rest()

    def _asked(self, *_: object) -> None:
        """Stop; the second time without any grace."""
        self._stops += 1
        if self._loop is not None:
            self._loop.stop()
        self._stop.set()

    def _watch_parent(self) -> None:
        """Each further line on the control pipe asks to stop, and so does its end: the parent's."""
        for _ in self._control:
            self._asked()
        self._asked()

    def _watch_grace(self) -> None:
        """Once asked to stop, a function that does not come back is left behind after the grace.

        A process that ends in time takes this thread with it."""
        self._stop.wait()
        end = time.monotonic() + self.orders["grace"]
        while time.monotonic() < end and self._stops < 2:
            time.sleep(0.05)
        if self._loop is not None:
            try:
                self._loop.close()
            except TuttiError as e:
                log.error("%s", e)
        self.report.send(end="stopped")
        leave(STOPPED)


def reason(error: BaseException) -> str:
    """What the job's error list shows: the kind, the message, and where."""
    text = "%s: %s" % (type(error).__name__, error)
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        text += " (%s:%s)" % (os.path.basename(frames[-1].filename), frames[-1].lineno)
    return text[:4000]


def leave(code: int) -> NoReturn:
    """End at once, taking along the processes that the function may have started."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(code)


def main(arguments: List[str]) -> None:
    """``control report slate``: three descriptors."""
    logging.basicConfig(format="tutti: %(message)s", level=logging.WARNING)
    child = Child(*(int(fd) for fd in arguments))
    try:
        code = child.run()
        child.report.send(end="stopped" if code else "complete")
    except Usage as e:
        code = USAGE
        child.report.send(end="usage", detail=str(e), code=code)
    except TuttiError as e:
        code = e.exit_code
        child.report.send(end="error", detail=str(e), code=code)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
