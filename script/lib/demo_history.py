"""The third act of script/demo: what became of the files of this project, asked of its own history.

The history of the clone (file, time, kind of change, author), or where there is none the package manager's log, becomes a dataset; a funnel over it is
drawn, broken down, with who came back; and a dozen lines of Python count the same funnel from the same events."""
from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional

from demo import ROOT, DemoFailed, Screen, grouped, play_act

DPKG_LOG = Path("/var/log/dpkg.log")
DPKG_LINE = re.compile(r"(\S+) (\S+) (install|upgrade|configure|status|remove|purge) (\S+) (\S+)")
LEAST_EVENTS = 100


class Event(NamedTuple):
    subject: str
    at: str
    kind: str
    part: str


class History(NamedTuple):
    """Events, and what to ask of them: each step of the funnel is a kind of event."""
    told: str
    steps: List[str]
    part: str
    events: List[Event]


# ---- where events come from ----

def of_clone(root: Path) -> Iterator[Event]:
    """One event for each file that a commit added, changed or removed."""
    kinds = {"A": "added", "M": "changed", "D": "removed", "T": "changed"}
    log = subprocess.run(["git", "-c", "core.quotePath=false", "log", "--reverse", "--no-renames", "--name-status", "--format=%x01%at"], cwd=root, capture_output=True, text=True,
                         errors="replace")
    at = ""
    for line in log.stdout.splitlines() if log.returncode == 0 else []:
        if line.startswith("\x01"):
            at = datetime.fromtimestamp(int(line[1:]), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        elif "\t" in line:
            kind, path = line.split("\t", 1)
            yield Event(path, at, kinds.get(kind[0], "other"), path.split("/", 1)[0] if "/" in path else "(top)")


def of_packages(lines: Iterable[str]) -> Iterator[Event]:
    """One event for each thing that the package manager did; its clock is taken as UTC."""
    for line in lines:
        found = DPKG_LINE.match(line)
        if not found:
            continue
        day, clock, action, first, second = found.groups()
        package, kind = (second, first) if action == "status" else (first, action)
        name, _, architecture = package.partition(":")
        yield Event(name, "%sT%sZ" % (day, clock), kind, architecture or "(none)")


def find_history(root: Path, log: Path) -> Optional[History]:
    """None: this machine has neither."""
    events = list(of_clone(root)) if (root / ".git").exists() and shutil.which("git") else []
    if len(events) >= LEAST_EVENTS:
        return History("the history of this clone", ["added", "changed", "changed", "changed"], "folder", events)
    events = list(of_packages(log.read_text(errors="replace").splitlines())) if log.is_file() else []
    return History("the package manager's log", ["install", "configure", "upgrade"], "architecture", events) if events else None


# ---- the same, counted by hand ----

def count_by_hand(history: History) -> List[int]:
    """How many subjects pass each step: the earliest event of its kind that is later than the step before."""
    times: Dict[str, Dict[str, List[str]]] = defaultdict(lambda: defaultdict(list))
    for event in history.events:
        times[event.subject][event.kind].append(event.at)
    passed = [0] * len(history.steps)
    for own in times.values():
        last = ""
        for i, step in enumerate(history.steps):
            later = [at for at in own[step] if at > last]
            if not later:
                break
            last = min(later)
            passed[i] += 1
    return passed


# ---- the act ----

def query_of(history: History) -> Dict[str, Any]:
    return {"funnel": {"sequence": [{"filter": ["event", "==", step]} for step in history.steps], "timeToConvert": True, "breakdown": {"column": history.part, "top": 6}},
            "retention": {"period": "day", "periods": 6, "first": {"filter": ["event", "==", history.steps[0]]}, "again": {"filter": ["event", "!=", history.steps[0]]}}}


def run_tutti(program: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run([str(program), *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise DemoFailed("tutti %s: %s" % (" ".join(arguments[:2]), done.stderr.strip()))
    return done.stdout


def play(program: Path, folder: Path, history: History, screen: Screen) -> None:
    with open(folder / "events.csv", "w", newline="", encoding="utf-8", errors="replace") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["subject", "at", "event", history.part])
        writer.writerows(history.events)
    (folder / "events").mkdir()
    run_tutti(program, folder, "parquet", "convert", "events.csv", "events/all.parquet", "--column", "at=datetime", "--column", "subject=string", "--column", "event=category")
    run_tutti(program, folder, "dataset", "register", "history", "events", "--group", "subject", "--timestamp", "at", "--data", "d")
    screen.good("%s events: %s, as a dataset" % (grouped(len(history.events)), history.told))
    (folder / "query.json").write_text(json.dumps(query_of(history)))
    ask = ["query", "history", "--file", "query.json", "--data", "d"]
    screen.line("    " + ", then ".join(history.steps) + ":\n")
    for line in run_tutti(program, folder, *ask).splitlines():
        screen.line("  " + line)
    passed = [step["matchingGroups"] for step in json.loads(run_tutti(program, folder, *ask, "--json"))["funnel"]["sequence"]]
    by_hand = count_by_hand(history)
    if passed != by_hand:
        raise DemoFailed("the funnel is %s, counted by hand it is %s" % (passed, by_hand))
    screen.line()
    screen.good("counted once more by hand, in Python: the same funnel")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "tutti")
    parser.add_argument("--root", type=Path, default=ROOT, help="the clone whose history is asked")
    parser.add_argument("--log", type=Path, default=DPKG_LOG, help="the package manager's log, where there is no history")
    args = parser.parse_args()

    def act(folder: Path, screen: Screen) -> None:
        history = find_history(args.root, args.log)
        if history:
            play(args.program.resolve(), folder, history, screen)
        else:
            screen.line("    (neither a history of this clone nor a log of the package manager is here: nothing to ask)")

    return play_act("Who did what, and in which order?", act)


if __name__ == "__main__":
    sys.exit(main())
