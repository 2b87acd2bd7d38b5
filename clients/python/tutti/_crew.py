"""N worker processes: started, watched, replaced when they die, stopped together.

The crew runs in the parent's main thread; a thread per child only reads its reports.  A
child that dies gets its lease settled here: the item it was working on fails with how the
process died (so that an item that kills its worker is parked after some attempts), the
others of its batches go back at once.  Its place is filled again after a pause that doubles
with every death that follows without progress.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any, Dict, NamedTuple, Optional

from ._slate import NOTHING, Slate
from .api import AnyApi, JobApi
from .errors import TuttiError

log = logging.getLogger("tutti")

TICK_S = 0.1
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
SETTLE_S = 10.0
ENDS_THE_CREW = frozenset((2, 4, 5, 6))


class Orders(NamedTuple):
    """What every child is told; durations in seconds."""

    function: str
    job: str
    any: bool
    url: str
    token: Optional[str]
    worker: str
    batch: Optional[int]
    wait: Optional[float]
    lease: Optional[float]
    timeout: float
    grace: float


class Place:
    """One of the N: the process that fills it now, and what became of those before it."""

    def __init__(self, number: int, api: JobApi) -> None:
        self.number = number
        self.api = api
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.slate: Optional[Slate] = None
        self.reader: Optional[threading.Thread] = None
        self.control: Optional[IO[bytes]] = None
        self.leases: Dict[int, str] = {}
        self.last: Dict[str, Any] = {}
        self.deaths_in_a_row = 0
        self.start_at = 0.0
        self.finished = False

    @property
    def alive(self) -> bool:
        return self.process is not None


class Summary:
    """What the crew did."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.deaths = 0
        self.exit_code = 0
        self.detail = ""


class Crew:
    """`run` works until the job is complete, `stop` was called often enough, or it is hopeless."""

    def __init__(self, api: JobApi, orders: Orders, processes: int, most_deaths: int) -> None:
        self._api = api
        self._orders = orders
        self._places = [Place(number + 1, api) for number in range(processes)]
        self._most_deaths = most_deaths
        self._asked = 0
        self._told = 0
        self._kill_at: Optional[float] = None
        self.summary = Summary()

    def stop(self) -> None:
        """Ask all to stop; a second time: at once.  Safe in a signal handler."""
        self._asked += 1

    def run(self) -> Summary:
        try:
            while self._tick():
                time.sleep(TICK_S)
        finally:
            self._kill_all()
        return self.summary

    def _tick(self) -> bool:
        """One look at everybody; False when nobody is left and nobody is to be started."""
        self._pass_on_stop()
        for place in self._places:
            if place.process is not None and place.process.poll() is not None:
                self._ended(place, place.process)
            if not place.alive and not place.finished and not self._asked and time.monotonic() >= place.start_at:
                self._start(place)
        return any(place.alive or not (place.finished or self._asked) for place in self._places)

    # -- starting

    def _start(self, place: Place) -> None:
        control_r, control_w = os.pipe()
        report_r, report_w = os.pipe()
        place.slate = Slate.new()
        fds = (control_r, report_w, place.slate.fd)
        try:
            place.process = subprocess.Popen(
                [sys.executable, "-c", "import sys; sys.path[:] = %r; from tutti._child import main; "
                 "main(sys.argv[1:])" % (sys.path,)] + [str(fd) for fd in fds],
                stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True)
        finally:
            os.close(control_r)
            os.close(report_w)
        place.leases, place.last = {}, {}
        place.control = os.fdopen(control_w, "wb", buffering=0)
        place.reader = threading.Thread(target=_read_reports, args=(place, os.fdopen(report_r, "rb")), daemon=True)
        place.reader.start()
        orders = self._orders._replace(worker="%s-%d" % (self._orders.worker, place.number))
        _write(place.control, json.dumps(orders._asdict()).encode("ascii") + b"\n")

    # -- ending

    def _ended(self, place: Place, process: "subprocess.Popen[bytes]") -> None:
        slate = self._clear(place)
        counts = slate.counts
        self.summary.done += counts.done
        self.summary.failed += counts.failed
        end, code = place.last.get("end"), process.returncode
        if end == "complete" or (end == "stopped" and self._asked):
            place.finished = True
        elif end in ("usage", "error") and place.last.get("code") in ENDS_THE_CREW:
            self._give_up(place, int(place.last["code"]), str(place.last.get("detail")))
        else:
            self._died(place, slate, counts.done + counts.failed, code)
        slate.close()

    def _clear(self, place: Place) -> Slate:
        """Everything that its process has said is read; the place is empty."""
        assert place.reader is not None and place.control is not None and place.slate is not None
        place.reader.join(5.0)
        place.control.close()
        slate, place.slate, place.process, place.control = place.slate, None, None, None
        return slate

    def _died(self, place: Place, slate: Slate, progress: int, code: int) -> None:
        how = str(place.last.get("detail") or how_ended(code))
        self.summary.deaths += 1
        self._settle(place, slate, "worker process died: " + how)
        if self._asked:
            place.finished = True
            return
        place.deaths_in_a_row = 0 if progress else place.deaths_in_a_row + 1
        if place.deaths_in_a_row > self._most_deaths:
            self._give_up(place, int(place.last.get("code") or 1),
                          "worker %d died %d times without finishing an item, last: %s"
                          % (place.number, place.deaths_in_a_row, how))
            return
        pause_s = min(FIRST_PAUSE_S * 2 ** place.deaths_in_a_row, LONGEST_PAUSE_S)
        place.start_at = time.monotonic() + pause_s
        log.warning("worker %d died (%s), a new one starts in %.1f s", place.number, how, pause_s)

    def _settle(self, place: Place, slate: Slate, why: str) -> None:
        """Answer for what a dead child held."""
        for serial, token in place.leases.items():
            try:
                if slate.current != NOTHING and slate.lease == serial:
                    self._api.fail([{"id": slate.current, "reason": why, "final": False}], lease=token,
                                   timeout_s=SETTLE_S)
                self._api.release(lease=token, timeout_s=SETTLE_S)
            except TuttiError as e:
                log.info("items of the dead worker %d return when their lease ends: %s", place.number, e)

    def _give_up(self, place: Place, code: int, detail: str) -> None:
        place.finished = True
        if not self.summary.exit_code:
            self.summary.exit_code, self.summary.detail = code, detail
        self._asked = max(self._asked, 1)

    # -- stopping

    def _pass_on_stop(self) -> None:
        """Tell the children what was asked since the last look."""
        while self._told < min(self._asked, 2):
            self._told += 1
            for place in self._places:
                if place.control is not None:
                    _write(place.control, b"stop\n")
            self._kill_at = time.monotonic() + (self._orders.grace if self._told == 1 else 0.0) + SETTLE_S
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self._kill_all()

    def _kill_all(self) -> None:
        for place in self._places:
            if place.process is not None and place.process.poll() is None:
                _kill_group(place.process)


def _read_reports(place: Place, pipe: IO[bytes]) -> None:
    with pipe:
        for text in pipe:
            try:
                said = json.loads(text)
            except ValueError:
                continue  # cut off by its death
            if "lease" not in said:
                place.last = said
            elif said["held"]:
                if isinstance(place.api, AnyApi):
                    place.api.adopt(said["token"], said["job"])
                place.leases[said["lease"]] = said["token"]
            else:
                place.leases.pop(said["lease"], None)


def _write(pipe: IO[bytes], line: bytes) -> None:
    """A line to a child; one that has died is found at the next look."""
    try:
        pipe.write(line)
    except (BrokenPipeError, ValueError):
        pass


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """The child leads a session of its own, so its group is what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def how_ended(code: int) -> str:
    """``exit code 3``, ``SIGKILL``"""
    if code >= 0:
        return "exit code %d" % code
    try:
        return signal.Signals(-code).name
    except ValueError:
        return "signal %d" % -code
