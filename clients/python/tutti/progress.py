"""How a job goes, on stderr: a bar on a terminal, a line every ten seconds elsewhere.

A `Progress` asks the server from a thread of its own, so that it shows the whole job and
not only what this process does.  One per process is shown at a time.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import Optional, TextIO

from .api import JobApi, JobInfo
from .errors import TuttiError

BAR_EVERY_S = 1.0
LINE_EVERY_S = 10.0
BAR_CELLS = 24


class Progress:
    """Starts at once; `close` shows the last state.  ``enabled`` None or True shows, False does nothing."""

    _shown = threading.Lock()

    def __init__(self, api: JobApi, enabled: Optional[bool], stream: Optional[TextIO] = None) -> None:
        self._api = api
        self._stream = stream if stream is not None else sys.stderr
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        if enabled is False or self._stream is None or not self._shown.acquire(blocking=False):
            return
        self._bar = self._stream.isatty()
        self._thread = threading.Thread(target=self._run, name="tutti-progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show the final state and end; harmless when repeated."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        thread.join(5.0)
        self._shown.release()

    def _run(self) -> None:
        every_s = BAR_EVERY_S if self._bar else LINE_EVERY_S
        while not self._stop.wait(every_s):
            self._show(last=False)
        self._show(last=True)

    def _show(self, last: bool) -> None:
        try:
            info = self._api.info(timeout_s=3.0)
        except TuttiError:
            return
        try:
            self._write(info, last)
        except (OSError, ValueError):
            pass  # the stream is gone; the work goes on

    def _write(self, info: JobInfo, last: bool) -> None:
        if not self._bar:
            self._stream.write("%s tutti: %s\n" % (time.strftime("%H:%M:%S"), line(info)))
        else:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\x1b[K" + bar(info)[:width] + ("\n" if last else ""))
        self._stream.flush()


def line(info: JobInfo) -> str:
    """``name: 4,200/10,000 (42 %), 530/s, ETA 11s, 3 errors``"""
    parts = ["%s: %s" % (info.get("name", "?"), _count(info)), "%s/s" % _number(info.get("rate") or 0)]
    if info.get("status") == "COMPLETE":
        parts[1] = "complete"
    elif info.get("eta_s") is not None:
        parts.append("ETA " + span(info["eta_s"] or 0))
    parts.append(_errors(info))
    return ", ".join(parts)


def bar(info: JobInfo) -> str:
    """The same as a bar, where the total is known."""
    total, ended = info.get("total"), _ended(info)
    if not total:
        return line(info)
    full = min(BAR_CELLS, BAR_CELLS * ended // total)
    name, rest = line(info).split(": ", 1)
    return "%s [%s%s] %s" % (name, "#" * full, "-" * (BAR_CELLS - full), rest)


def span(seconds: float) -> str:
    """``59s``, ``2m05s``, ``3h07m``"""
    whole = int(round(seconds))
    if whole < 60:
        return "%ds" % whole
    if whole < 3600:
        return "%dm%02ds" % divmod(whole, 60)
    return "%dh%02dm" % divmod(whole // 60, 60)


def _ended(info: JobInfo) -> int:
    return (info.get("received") or 0) + (info.get("errors") or 0) + (info.get("dead") or 0)


def _count(info: JobInfo) -> str:
    total, ended = info.get("total"), _ended(info)
    if total is None:
        return "{:,}".format(ended)
    percent = 100 * ended // total if total else 100
    return "{:,}/{:,} ({} %)".format(ended, total, percent)


def _errors(info: JobInfo) -> str:
    count = (info.get("errors") or 0) + (info.get("dead") or 0)
    return "{:,} error{}".format(count, "" if count == 1 else "s")


def _number(value: float) -> str:
    return "{:,.0f}".format(value) if value >= 10 else "%.1f" % value
