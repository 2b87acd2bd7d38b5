"""The main job on real input: the engine of script/demo, which see.

The installed packages' file lists become JSON lines (with lines of these files where they are few); worker processes look at each; on the way workers, the server and
all of tutti are killed with SIGKILL; at the end input and output are sorted by an independent program and compared."""
from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, TextIO, Tuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "clients" / "python"))

from tutti import Client, TuttiError  # noqa: E402

PACKAGE_LISTS = Path("/var/lib/dpkg/info")
WANTED_RECORDS = 120_000
TEXT_FILES = (".py", ".pm", ".h", ".sh")
JOB = "files"
BATCH = 500
LEASE = "3s"
LIMIT_S = 120.0
FIRST_PORT = 5005  # below the range of outgoing connections, so that it is still ours after a restart


class DemoFailed(Exception):
    pass


# ---- what people see ----

class Screen:
    """A bar that stays at the bottom of a terminal, and lines above it; without a terminal the lines and every fifth of the way."""

    def __init__(self, use_terminal: Optional[bool] = None) -> None:
        self.is_terminal = sys.stdout.isatty() if use_terminal is None else use_terminal
        self._has_colours = self.is_terminal and not os.environ.get("NO_COLOR")
        self._bar_is_shown = False
        self._fifths = 0

    def paint(self, code: str, text: str) -> str:
        return "\x1b[%sm%s\x1b[0m" % (code, text) if self._has_colours else text

    def line(self, text: str = "") -> None:
        self._wipe()
        print(text, flush=True)

    def good(self, text: str) -> None:
        self.line("  %s %s" % (self.paint("32", "✓"), text))

    def kill(self, text: str) -> None:
        self.line("  %s %s" % (self.paint("31", "✗"), text))

    def progress(self, done: int, total: int, rate: float) -> None:
        share = done / max(total, 1)
        if self.is_terminal:
            width = max(10, min(40, shutil.get_terminal_size().columns - 48))
            eighths = int(share * width * 8)
            bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
            self._wipe()
            print("  %s %3d %%  %s of %s  %s/s" % (
                self.paint("36", bar) + self.paint("2", "░" * (width - len(bar))), share * 100, grouped(done), grouped(total), grouped(rate)),
                end="", flush=True)
            self._bar_is_shown = True
        elif int(share * 5) > self._fifths:
            self._fifths = int(share * 5)
            print("  %3d %%  %s of %s" % (share * 100, grouped(done), grouped(total)), flush=True)

    def _wipe(self) -> None:
        if self._bar_is_shown:
            print("\r\x1b[K", end="")
            self._bar_is_shown = False


def grouped(number: float) -> str:
    return "{:,}".format(round(number))


def play_act(title: str, act: Callable[[Path, Screen], None]) -> int:
    """An act in a folder of its own; the exit code."""
    screen, folder = Screen(), Path(tempfile.mkdtemp(prefix="tutti-demo."))
    screen.line("\n  " + title)
    try:
        act(folder, screen)
        return 0
    except DemoFailed as fault:
        screen.line("\nscript/demo: %s" % fault)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- processes ----

def free_port() -> int:
    """Any one of a thousand: what else starts at the same time takes another."""
    for port in random.sample(range(FIRST_PORT, FIRST_PORT + 1000), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise DemoFailed("no free port from %d on" % FIRST_PORT)


def children(pid: int) -> List[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return sorted(found)


def arguments(pid: int) -> List[str]:
    try:
        return Path("/proc/%d/cmdline" % pid).read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


class Tutti:
    """`tutti up` in the demo's folder, always on the same port."""

    def __init__(self, program: Path, folder: Path, workers: int = 0) -> None:
        self.program, self.folder, self.workers, self.port = program, folder, workers, free_port()
        self.process: Optional[subprocess.Popen[str]] = None

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.port

    def start(self) -> None:
        with open(self.folder / "tutti.log", "a") as log:
            # A session of its own: Ctrl-C in the terminal is for the demo, which then stops it, and --keep leaves it behind.
            self.process = subprocess.Popen(
                [str(self.program), "up", "--data", "data", "--listen", "127.0.0.1:%d" % self.port, "--workers", str(self.workers)],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        assert self.process.stdout
        if not self.process.stdout.readline().startswith("listening on "):
            raise DemoFailed("tutti up does not start:\n" + (self.folder / "tutti.log").read_text())

    def server_pid(self) -> int:
        assert self.process
        return next((pid for pid in children(self.process.pid) if arguments(pid)[1:2] == ["server"]), 0)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()


class Crew:
    """Worker processes of the Python client, and their parent, which replaces the dead."""

    def __init__(self, tutti: Tutti, size: int) -> None:
        path = os.pathsep.join([str(ROOT / "clients" / "python"), str(ROOT / "script" / "lib")])
        with open(tutti.folder / "workers.log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tutti.worker", "demo_work:look", "--job", JOB, "--server", tutti.url, "--quiet",
                 "-n", str(size), "--batch", str(BATCH), "--lease", LEASE],
                env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=tutti.folder, start_new_session=True)

    def workers(self) -> List[int]:
        return children(self.process.pid)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)


# ---- the input ----

def files() -> Iterator[Dict[str, Any]]:
    """One record for each file of an installed package."""
    for path in sorted(PACKAGE_LISTS.glob("*.list")):
        with open(path, encoding="utf-8", errors="backslashreplace") as lines:
            for line in lines:
                yield {"package": path.stem, "path": line.rstrip("\n")}


def text_lines(count: int) -> Iterator[Dict[str, Any]]:
    """For a machine with few packages: up to `count` lines out of their text files."""
    for record in files():
        if count > 0 and record["path"].endswith(TEXT_FILES) and os.path.isfile(record["path"]):
            with open(record["path"], encoding="utf-8", errors="backslashreplace") as lines:
                for number, line in enumerate(lines, 1):
                    yield dict(record, line=number, text=line)
                    count -= 1
                    if count == 0:
                        return


def write_records(records: Iterator[Dict[str, Any]], out: TextIO) -> int:
    count = 0
    for count, record in enumerate(records, 1):
        out.write(json.dumps(record, ensure_ascii=False) + "\n")
    return count


def write_input(path: Path) -> Tuple[int, int]:
    """How many files, and how many lines of them."""
    with open(path, "w", encoding="utf-8") as out:
        file_count = write_records(files(), out)
        return file_count, write_records(text_lines(WANTED_RECORDS - file_count), out)


# ---- the run, and what happens on the way ----

class Blow(NamedTuple):
    """Something that is killed when this share of the records is done."""
    at_share: float
    what: str
    strike: Callable[["Demo"], str]


def kill_worker(demo: "Demo") -> str:
    victims = demo.crew.workers()
    if not victims:
        raise DemoFailed("no worker is there to be killed")
    os.kill(victims[demo.blow_count % len(victims)], signal.SIGKILL)
    return "a worker killed (SIGKILL)"


def kill_server(demo: "Demo") -> str:
    victim = demo.tutti.server_pid()
    if not victim:
        raise DemoFailed("no server is there to be killed")
    os.kill(victim, signal.SIGKILL)
    return "the server killed (SIGKILL)"


def kill_everything(demo: "Demo") -> str:
    demo.tutti.kill()
    demo.tutti.start()
    return "all of tutti killed (SIGKILL), and started again"


BLOWS = [Blow(0.15, "worker", kill_worker), Blow(0.35, "server", kill_server), Blow(0.55, "worker", kill_worker),
         Blow(0.75, "tutti", kill_everything)]


class Demo:
    def __init__(self, program: Path, folder: Path, screen: Screen, crew_size: int) -> None:
        self.folder, self.screen, self.crew_size = folder, screen, crew_size
        self.tutti = Tutti(program, folder)
        self.crew: Crew
        self.blow_count = 0
        self.seconds = 0.0
        self.total = 0

    def run(self) -> None:
        file_count, line_count = write_input(self.folder / "records.jsonl")
        if not file_count:
            raise DemoFailed("no package lists in %s: this demo wants a Debian" % PACKAGE_LISTS)
        self.total = file_count + line_count
        lines = " (%s), and %s lines of them" % (grouped(file_count), grouped(line_count)) if line_count else ""
        self.screen.good("%s records: the files of the installed packages%s" % (grouped(self.total), lines))
        if self.total < WANTED_RECORDS:
            self.screen.line("    (few packages are installed here: fewer than %s records)" % grouped(WANTED_RECORDS))
        self.tutti.start()
        self.screen.good("tutti up at %s" % self.tutti.url)
        self.client = Client(self.tutti.url, timeout=30)
        job = self.client.start_job(JOB, "records.jsonl", "results.jsonl")
        self.crew = Crew(self.tutti, self.crew_size)
        self.screen.good("%d worker processes look at every one" % self.crew_size)
        started = time.monotonic()
        self._watch(job, started)
        self.seconds = time.monotonic() - started

    def _watch(self, job: object, started: float) -> None:
        """Until the job is complete; strikes as soon as enough is done."""
        to_come = list(BLOWS)
        while True:
            state = job.status()  # type: ignore[attr-defined]  # waits for a server that restarts
            done, seconds = state["received"], time.monotonic() - started
            self.screen.progress(done, self.total, done / max(seconds, 0.001))
            if to_come and done >= to_come[0].at_share * self.total:
                self.screen.kill("%s at %s records" % (to_come.pop(0).strike(self), grouped(done)))
                self.blow_count += 1
            elif state["status"] == "COMPLETE":
                break
            elif state["status"] == "BROKEN":
                raise DemoFailed("the job broke: %s" % state.get("detail"))
            elif self.crew.process.poll() is not None:
                raise DemoFailed("the workers ended early:\n" + (self.folder / "workers.log").read_text()[-2000:])
            if seconds > LIMIT_S:
                raise DemoFailed("not done after %d s: %s" % (LIMIT_S, state))
            time.sleep(0.05)
        self.screen.progress(self.total, self.total, self.total / max(time.monotonic() - started, 0.001))
        if to_come:
            raise DemoFailed("the job was done before %s could be killed" % to_come[0].what)


# ---- the proof ----

def keys(path: Path, out: Path) -> int:
    """One line with each record as it was in the input; how many there are. A record that is not intact ends the demo."""
    count = 0
    with open(path, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as keys_out:
        for count, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                keys_out.write(json.dumps([record["package"], record["path"], record.get("line"), record.get("text")]) + "\n")
            except (ValueError, KeyError, TypeError) as fault:
                raise DemoFailed("%s:%d is no intact record: %s" % (path, count, fault)) from None
    return count


def sort_file(path: Path) -> Path:
    out = path.with_suffix(".sorted")
    subprocess.run(["sort", "--output", str(out), str(path)], check=True, env={**os.environ, "LC_ALL": "C"})
    return out


def prove(folder: Path, total: int) -> None:
    """Input and output are the same multiset of records: both sorted by sort(1), compared by cmp(1)."""
    counts = {name: keys(folder / name, folder / (name + ".keys")) for name in ("records.jsonl", "results.jsonl")}
    before, after = (sort_file(folder / (name + ".keys")) for name in counts)
    same = subprocess.run(["cmp", "--silent", str(before), str(after)]).returncode == 0
    if not same or counts["records.jsonl"] != total:
        only = subprocess.run(["comm", "-3", str(before), str(after)], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
        raise DemoFailed("NOT exactly once: %s records in, %s out; the first differences:\n%s" % (
            grouped(counts["records.jsonl"]), grouped(counts["results.jsonl"]), "\n".join(only.stdout.splitlines()[:10])))


def summarise(demo: Demo) -> None:
    screen = demo.screen
    rate = demo.total / max(demo.seconds, 0.001)
    rows = [("records", grouped(demo.total)), ("seconds", "%.1f" % demo.seconds), ("items/s", grouped(rate)),
            ("killed", "%d times (%s)" % (demo.blow_count, ", ".join(blow.what for blow in BLOWS))),
            ("exactly once", screen.paint("1;32", "yes") + ": sorted, input and output are the same, byte for byte")]
    screen.line()
    for name, value in rows:
        screen.line("  %-14s%s" % (name, value))


def keep(demo: Demo) -> None:
    assert demo.tutti.process
    demo.screen.line("\n  The server is left running for a look around:\n    %s        (also /docs, /report?job_name=%s, /metrics)\n"
                     "    %s   input, output, log\n  To stop it and remove its folder:\n    kill %d; sleep 1; rm -r %s" % (
                         demo.tutti.url, JOB, demo.folder, demo.tutti.process.pid, demo.folder))


def main() -> int:
    parser = argparse.ArgumentParser(usage="script/demo [--keep]")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "tutti")
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()
    screen = Screen()
    folder = Path(tempfile.mkdtemp(prefix="tutti-demo."))
    demo = Demo(args.program.resolve(), folder, screen, args.workers)
    is_kept = False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        demo.run()
        prove(folder, demo.total)
        summarise(demo)
        if args.keep:
            keep(demo)
            is_kept = True
        return 0
    except (DemoFailed, TuttiError) as fault:
        screen.line("\nscript/demo: %s\n(its files stay in %s)" % (fault, folder))
        is_kept = args.keep
        folder = Path()
        return 1
    except KeyboardInterrupt:
        screen.line("\nstopped")
        return 130
    finally:
        if hasattr(demo, "crew"):
            demo.crew.end()
        if not is_kept:
            demo.tutti.stop()
            if folder.name:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
