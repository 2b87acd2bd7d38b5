"""Where programs run and what the kernel says about them. Standard library only."""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A run that cannot be measured; the text says why."""


class Placement:
    """Which core servers and clients run on. `plain` leaves it to the kernel."""

    def __init__(self, name):
        self.name = name

    def server(self, command):
        return ["taskset", "-c", "0", *command] if self.name == "pinned" else command

    def client(self, command):
        return ["taskset", "-c", "1", *command] if self.name == "pinned" else command


def placements():
    plain = Placement("plain")
    if os.cpu_count() < 2 or not shutil.which("taskset"):
        return [plain]
    return [plain, Placement("pinned")]


def run_json(command, timeout_s=900):
    """Runs a program that prints one JSON object."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode != 0:
        raise BenchError(f"exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, timeout_s=30):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BenchError(f"{process.args[0]} ended with {process.returncode} at its start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise BenchError(f"nothing listens on port {port} after {timeout_s} s")


def _stat_fields(pid):
    """The fields of /proc/PID/stat from the state on: [1] is the parent, [11..14] the CPU ticks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def process_tree(pid):
    """The process and its living descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(_stat_fields(entry)[1]), []).append(int(entry))
            except OSError:
                continue
    tree, queue = [], [pid]
    while queue:
        tree.append(queue.pop())
        queue.extend(children.get(tree[-1], []))
    return tree


def tree_cpu_s(pid):
    ticks = 0
    for member in process_tree(pid):
        try:
            ticks += sum(int(field) for field in _stat_fields(member)[11:15])
        except OSError:
            continue
    return ticks / TICKS_PER_S


def kill_tree(pid):
    """SIGKILL to the process and all below it, at once."""
    for member in process_tree(pid):
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            pass


def tree_memory_kib(pid):
    """RssAnon and VmHWM, summed over the tree."""
    totals = {"RssAnon": 0, "VmHWM": 0}
    for member in process_tree(pid):
        try:
            for line in Path(f"/proc/{member}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in totals:
                    totals[name] += int(value.split()[0])
        except OSError:
            continue
    return totals


class MemorySampler:
    """Watches a tree's memory in the background while a job runs; `peak` holds the largest sums, in KiB."""

    def __init__(self, pid, every_s):
        self.peak = {"RssAnon": 0, "VmHWM": 0}
        self._pid, self._every_s = pid, every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _sample(self):
        for name, value in tree_memory_kib(self._pid).items():
            self.peak[name] = max(self.peak[name], value)

    def _watch(self):
        while not self._end.wait(self._every_s):
            self._sample()

    def __enter__(self):
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._sample()
        self._end.set()
        self._thread.join()
