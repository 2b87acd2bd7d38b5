"""``python -m tutti.worker module:function --job NAME``: map a function over a job's items with N processes."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import socket
import stat
import sys
import time
from typing import Any, Dict, List, Optional

from ._crew import Crew, Orders, Summary
from .api import JobInfo
from .client import DEFAULT_URL, Client
from .errors import TuttiError
from .job import Job
from .progress import Progress, span

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 7

DESCRIPTION = """\
Map a function over the items of a job with N processes.

The function takes an item's value and returns its result:
  - what it returns is the item's result (JSON); None is the result null
  - a generator's values become a list: one item, one result
  - an exception fails the item with its message; it is tried again up to the
    job's number of attempts; tutti.Reject fails it for good
"""

EPILOG = """\
SIGTERM and Ctrl-C: no new items are taken, the items in hand are finished (up to
--grace), everything else is given back; a second signal ends at once. A process
that dies is replaced; the item it died on counts as failed once, the rest of its
batch is given back.

Exit codes: 0 the job is complete, or SIGTERM; 1 items ended in error, or a worker
died again and again; 2 usage; 4 no such job; 5 the job does not allow it;
6 token; 7 server out of reach; 130 Ctrl-C.
"""


def seconds(text: str) -> float:
    """``90``, ``90s``, ``500ms``, ``2m``, ``1h30m`` in seconds."""
    units = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|$)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError("%r is no duration: write 30s, 500ms, 2m, 1h30m" % text)
    return sum(float(number) * units[unit] for number, unit in parts)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("%r: give a number from 1 up" % text)
    return int(text)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tutti.worker", description=DESCRIPTION, epilog=EPILOG,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("function", metavar="module:function", help="what to do with each item's value")
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("--job", metavar="NAME", help="the job to work on")
    which.add_argument("--any", nargs="?", const="", metavar="PATTERN",
                       help="work on any job (whose name matches), the highest priority first; stays until it is told to stop, or --wait")
    add("--server", metavar="URL", default=os.environ.get("TUTTI_SERVER") or DEFAULT_URL,
        help="http://host:port or unix:///path (default: $TUTTI_SERVER, else %s)" % DEFAULT_URL)
    add("--token-file", metavar="F", help="file with the token (default: $TUTTI_TOKEN)")
    add("-n", "--processes", type=positive, default=os.cpu_count() or 1, metavar="N",
        help="number of processes (default: one per core)")
    add("--batch", type=positive, metavar="N", help="items per request (default: about a second of work)")
    add("--lease", type=seconds, metavar="DUR", help="how long the server keeps items for a silent process")
    add("--wait", type=seconds, metavar="DUR",
        help="end when nothing was served for so long (default: when the job is complete)")
    add("--timeout", type=seconds, default=60.0, metavar="DUR",
        help="how long a request is repeated before it counts as failed (default: 60s)")
    add("--grace", type=seconds, default=10.0, metavar="DUR",
        help="how long an item in hand may take after a signal (default: 10s)")
    add("--worker", metavar="NAME", help="name in the server's reports (default: host and process id)")
    add("--max-deaths", type=int, default=10, metavar="N",
        help="deaths of a worker in a row, without an item finished, before giving up (default: 10)")
    add("--json", action="store_true", help="print the summary as JSON on standard output")
    add("-q", "--quiet", action="store_true", help="no progress, no summary")
    add("-v", "--verbose", action="store_true", help="log what is usually not worth a line")
    return p


def read_token(path: Optional[str]) -> Optional[str]:
    """The token of a file, or of the environment; None without any."""
    if path is None:
        return os.environ.get("TUTTI_TOKEN") or None
    with open(path, encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            logging.getLogger("tutti").warning("%s can be read by others: chmod 600 it", path)
        return file.read().strip() or None


class Run:
    """One invocation, from the checked arguments to the exit code."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._args = arguments
        worker = arguments.worker or "%s-%d" % (socket.gethostname(), os.getpid())
        token = read_token(arguments.token_file)
        self._client = Client(arguments.server, token, arguments.timeout, worker)
        is_any = arguments.any is not None
        self._job: Job = self._client.any_job(arguments.any) if is_any else self._client.job(arguments.job)
        orders = Orders(arguments.function, arguments.any if is_any else arguments.job, is_any, arguments.server, token, worker, arguments.batch,
                        arguments.wait, arguments.lease, arguments.timeout, arguments.grace)
        self._crew = Crew(self._job.api, orders, arguments.processes, arguments.max_deaths)
        self._signal: Optional[int] = None

    def run(self) -> int:
        self._job.status()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        began = time.monotonic()
        progress = Progress(self._job.api, False if self._args.quiet else None)
        try:
            summary = self._crew.run()
        finally:
            progress.close()
        return self._finish(summary, time.monotonic() - began)

    def _stop(self, number: int, frame: object) -> None:
        self._signal = number
        self._crew.stop()

    def _finish(self, summary: Summary, took_s: float) -> int:
        info: JobInfo = {}
        try:
            info = self._job.api.info(timeout_s=5.0)
        except TuttiError as e:
            logging.getLogger("tutti").warning("the job's state could not be read: %s", e)
        if summary.detail:
            complain(summary.detail)
        code = self._exit_code(summary, info)
        if self._args.json:
            print(json.dumps(as_members(self._args, summary, info, took_s, code)))
        if not self._args.quiet:
            print(as_text(self._args, summary, info, took_s), file=sys.stderr)
        return code

    def _exit_code(self, summary: Summary, info: JobInfo) -> int:
        if summary.exit_code:
            return summary.exit_code
        if self._signal is not None:
            return OK if self._signal == signal.SIGTERM else 128 + self._signal
        return FAILED if (info.get("errors") or 0) + (info.get("dead") or 0) else OK


def as_members(args: argparse.Namespace, summary: Summary, info: JobInfo, took_s: float, code: int) -> Dict[str, Any]:
    return {"schema": 1, "job": args.job, "any": args.any, "status": info.get("status"), "done": summary.done,
            "failed": summary.failed, "deaths": summary.deaths, "processes": args.processes,
            "seconds": round(took_s, 3), "total": info.get("total"), "received": info.get("received"),
            "errors": info.get("errors"), "dead": info.get("dead"), "exit_code": code,
            "detail": summary.detail or None}


def as_text(args: argparse.Namespace, summary: Summary, info: JobInfo, took_s: float) -> str:
    text = "tutti: %s: %s" % ("any job" if args.job is None else "job " + args.job, info.get("status") or "state unknown")
    if info:
        total = info.get("total")
        text += ", {:,}{} received".format(info.get("received") or 0, "" if total is None else " of {:,}".format(total))
        text += ", {:,} errors".format((info.get("errors") or 0) + (info.get("dead") or 0))
    text += "; this run: {:,} done, {:,} failed by {} processes in {} ({:,.0f}/s)".format(
        summary.done, summary.failed, args.processes, span(took_s), summary.done / max(took_s, 0.001))
    if summary.deaths:
        text += "; %d died and were replaced" % summary.deaths
    return text


def complain(detail: str) -> None:
    print("tutti: %s" % detail, file=sys.stderr)


def main(argv: Optional[List[str]] = None) -> int:
    """Run with these arguments; the exit code."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(format="tutti: %(message)s",
                        level=logging.INFO if arguments.verbose else logging.WARNING)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return Run(arguments).run()
    except (ValueError, OSError) as e:
        complain(str(e))
        return USAGE
    except TuttiError as e:
        complain(str(e))
        return e.exit_code


def entry() -> None:
    sys.exit(main())


if __name__ == "__main__":
    entry()
