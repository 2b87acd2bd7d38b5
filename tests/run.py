"""Runs every kind of test on one build and adds up what they say: the engine of script/test, which see.

To add a kind of test: write a function (Run) -> Count, and add it to KINDS."""
from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

ROOT = Path(__file__).resolve().parent.parent
FUZZ_BUILD = ROOT / "build-fuzz"
TSAN_BUILD = ROOT / "build-tsan"
SHOWN_LINES = 60
MAX_UNSTEADY = 8  # more failures than that are no accident
CRITERION = re.compile(r"Tested:\D*(\d+)\D*?\|\D*?Passing:\D*?(\d+)\D*?\|\D*?Failing:\D*?(\d+)\D*?\|\D*?Crashing:\D*?(\d+)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1",
    "LSAN_OPTIONS": "suppressions=%s:print_suppressions=0" % (ROOT / "tests" / "unit" / "lsan.supp"),
}


class Count(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Count") -> "Count":  # type: ignore[override]
        return Count(*(mine + others for mine, others in zip(self, other)))

    def __str__(self) -> str:
        return "%d passed, %d failed" % self[:2] + (", %d skipped" % self.skipped if self.skipped else "")


class Run(NamedTuple):
    build: Path
    patterns: List[str]
    is_long: bool
    shows_logs: bool
    jobs: int
    again: bool  # what fails is run once more, alone; what passes then is named as unsteady

    def wants(self, *names: str) -> bool:
        return not self.patterns or any(pattern in name for pattern in self.patterns for name in names)

    def env(self, **more: str) -> Dict[str, str]:
        """Ours for all tests; a sanitizer's options of the caller go first. `python3` is this very Python, where PATH has a script that looks for one."""
        env = {name: options + (":" + os.environ[name] if os.environ.get(name) else "") for name, options in SANITIZERS.items()}
        path = "%s:%s" % (Path(sys.executable).resolve().parent, os.environ.get("PATH", os.defpath))
        return {**os.environ, **env, "PATH": path, **more}


def say(text: str) -> None:
    print(text, flush=True)


def show(output: str, run: Run) -> None:
    lines = COLOURS.sub("", output).rstrip().splitlines()
    cut = [] if run.shows_logs or len(lines) <= SHOWN_LINES else ["... (%d lines before; script/test --log shows them)" % (len(lines) - SHOWN_LINES)]
    say("\n".join("    " + line for line in cut + (lines[-SHOWN_LINES:] if cut else lines)))


# ---- unit tests ----

def unit_names(build: Path) -> List[str]:
    tests = json.loads(subprocess.check_output(["meson", "introspect", "--tests", str(build)]))
    return [test["name"] for test in tests if "unit" in test["suite"] or any(s.endswith(":unit") for s in test["suite"])]


def criterion_count(output: str, result: str) -> Count:
    """Single tests where Criterion came to its summary, else the whole program as one."""
    summary = CRITERION.search(COLOURS.sub("", output))
    if not summary:
        return Count(passed=1) if result == "OK" else Count(skipped=1) if result == "SKIP" else Count(failed=1)
    tested, passed, failing, _crashing = map(int, summary.groups())
    failed = tested - passed
    return Count(passed, failed + (1 if result != "OK" and not failed else 0))


def unit(run: Run) -> Count:
    names = [name for name in unit_names(run.build) if run.wants("unit", "test_" + name, "tests/unit/test_%s.c" % name)]
    total = Count()
    if not names:
        return total
    env = run.env(**({"TUTTI_TEST_LONG": "1"} if run.is_long else {}))
    command = ["meson", "test", "-C", str(run.build), "--no-rebuild", "--num-processes", str(run.jobs),
               "--timeout-multiplier", "10" if run.is_long else "2", *names]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    log = run.build / "meson-logs" / "testlog.json"
    results = [json.loads(line) for line in log.read_text(errors="replace").splitlines()] if log.exists() else []
    total, bad = unit_results(run, results)
    if len(results) != len(names):
        say("  ✗ meson test ran %d of %d programs" % (len(results), len(names)))
        show(done.stdout + done.stderr, run)
        total += Count(failed=1)
    elif run.again and 0 < len(bad) <= MAX_UNSTEADY:
        subprocess.run(command[:-len(names)] + ["--num-processes", "1", *bad], env=env, stdin=subprocess.DEVNULL, capture_output=True)
        second = [json.loads(line) for line in log.read_text(errors="replace").splitlines()]
        kept, _ = unit_results(run, [result for result in results if unit_name(result) not in bad], quiet=True)
        total = kept + unit_results(run, second)[0]
        say_unsteady([unit_name(result) for result in second if result["result"] == "OK"])
    return total


def unit_name(result: Dict[str, Any]) -> str:
    return str(result["name"]).split(" / ")[-1].split(":")[-1]


def say_unsteady(names: List[str]) -> None:
    if names:
        say("unsteady:          %d failed first and passed alone: %s" % (len(names), ", ".join(names)))


def unit_results(run: Run, results: List[Dict[str, Any]], quiet: bool = False) -> Tuple[Count, List[str]]:
    """What the programs say together, and the names of those with failures."""
    total, bad = Count(), []
    for result in results:
        output = result.get("stdout", "") + result.get("stderr", "")
        count = criterion_count(output, result["result"])
        total += count
        if count.failed:
            bad.append(unit_name(result))
        if count.failed and not quiet:
            say("  ✗ test_%s (%s, %.1f s):" % (unit_name(result), result["result"], result["duration"]))
            show(output, run)
    return total, bad


# ---- Python tests ----

def junit_count(path: Path) -> Optional[Count]:
    if not path.exists():
        return None
    bad, skipped, tests = 0, 0, 0
    for suite in ElementTree.parse(path).iter("testsuite"):
        for case in suite.iter("testcase"):
            tests += 1
            bad += any(child.tag in ("failure", "error") for child in case)
            skipped += any(child.tag == "skipped" for child in case)
    return Count(tests - bad - skipped, bad, skipped)


def junit_failures(path: Path) -> Set[str]:
    return {"%s::%s" % (case.get("classname"), case.get("name")) for case in ElementTree.parse(path).iter("testcase")
            if any(child.tag in ("failure", "error") for child in case)}


def pytest(run: Run, folder: Path, targets: List[str], *options: str, **env: str) -> Count:
    """One pytest run in `folder`; a run that breaks down counts as one failure."""
    report = run.build / ("pytest-%s.xml" % folder.name)
    report.unlink(missing_ok=True)
    names = [p for p in run.patterns if "::" not in p and not (folder / p).exists() and not (ROOT / p).exists()]
    paths = [str(ROOT / p if (ROOT / p.split("::")[0]).exists() else folder / p) for p in run.patterns
             if (ROOT / p.split("::")[0]).exists() or (folder / p.split("::")[0]).exists()]
    paths = [p for p in paths if Path(p.split("::")[0]).is_relative_to(folder)]
    if run.patterns and not names and not paths:
        return Count()
    command = [sys.executable, "-m", "pytest", "-qq", "--no-header", "--tb=short", "--color=%s" % ("yes" if sys.stdout.isatty() else "no"),
               "-o", "cache_dir=%s" % (ROOT / ".cache" / folder.name), "--junitxml", str(report), *options, *(paths or targets)]
    if names:
        command += ["-k", " or ".join(names)]
    env = run.env(PYTHONDONTWRITEBYTECODE="1", **env)
    done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL)
    count = junit_count(report)
    if run.again and count is not None and done.returncode == 1 and 0 < count.failed <= MAX_UNSTEADY:
        first = junit_failures(report)
        done = subprocess.run([*command, "--last-failed", "--numprocesses", "0"], cwd=folder, env=env, stdin=subprocess.DEVNULL)
        second = junit_count(report)
        if second is not None and second.passed + second.failed == count.failed:
            say_unsteady(sorted(first - junit_failures(report)))
            count = Count(count.passed + second.passed, second.failed, count.skipped)
    if count is None or (done.returncode not in (0, 1, 5)):
        return (count or Count()) + Count(failed=1)
    return count + Count(failed=1 if done.returncode == 1 and not count.failed else 0)


def python(run: Run) -> Count:
    options = (["--long"] if run.is_long else []) + (["--server-logs"] if run.shows_logs else [])
    folder = ROOT / "tests"
    # The long ones first, so that no process is left with them at the end.
    targets = [name for name in ("fault", "peers", "e2e", "unit", "lint") if any((folder / name).glob("test_*.py"))]
    # Tests of the program wait for disks and processes more than they compute: two at a time for each core.
    return pytest(run, folder, targets, "--numprocesses", str(2 * run.jobs), "--dist", "worksteal", *options,
                  TUTTI_BIN=str(run.build / "tutti"), DATA_TOOL=str(run.build / "tests" / "unit" / "data_tool"))


def client(run: Run) -> Count:
    """Against a server of its own making; most of the time these tests wait."""
    return pytest(run, ROOT / "clients" / "python", ["tests"], "--numprocesses", str(2 * run.jobs), TUTTI_BIN="")


# ---- fuzzers' corpora ----

def fuzz(run: Run) -> Count:
    total = Count()
    for target in sorted((FUZZ_BUILD / "tests" / "fuzz").glob("fuzz_*")):
        name = target.name[len("fuzz_"):]
        inputs = sorted(p for p in (ROOT / "tests" / "fuzz" / "corpus" / name).glob("*") if p.is_file())
        if target.is_dir() or not os.access(target, os.X_OK) or target.suffix or not run.wants("fuzz", target.name):
            continue
        done = subprocess.run([str(target), *map(str, inputs)], env=run.env(), capture_output=True, text=True, errors="replace", timeout=300)
        is_good = done.returncode == 0 and len(inputs) > 0
        total += Count(passed=int(is_good), failed=int(not is_good))
        if not is_good:
            say("  ✗ %s (%d inputs, exit code %d):" % (target.name, len(inputs), done.returncode))
            show(done.stderr if inputs else "no inputs in tests/fuzz/corpus/%s" % name, run)
    return total


def tsan(run: Run) -> Count:
    """With --long: the tests of the whole program again, on a build with ThreadSanitizer. (Criterion's processes do not start under it.)"""
    return python(run._replace(build=TSAN_BUILD, is_long=False)) if run.is_long else Count()


KINDS: List[Tuple[str, Callable[[Run], Count]]] = [
    ("unit", unit), ("program", python), ("client", client), ("fuzz corpora", fuzz), ("thread sanitizer", tsan)]


def coverage(run: Run, shows_lines: bool) -> None:
    command = ["gcovr", "--root", str(ROOT), "--filter", "src/", "--object-directory", str(run.build), "--exclude-unreachable-branches",
               "--exclude-throw-branches", "--gcov-ignore-parse-errors", "-j", str(run.jobs)]
    summary = run.build / "coverage.json"
    table = subprocess.run([*command, "--txt", "--json-summary", str(summary), str(run.build)], cwd=ROOT, capture_output=True, text=True)
    if table.returncode != 0:
        say("gcovr failed:\n" + table.stderr)
        return
    if shows_lines:
        say(table.stdout)
    figures = json.loads(summary.read_text())
    say("coverage: %.1f %% of lines (%d of %d)" % (figures["line_percent"], figures["line_covered"], figures["line_total"]))


def forget_coverage(build: Path) -> None:
    for counts in build.rglob("*.gcda"):
        counts.unlink()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(usage="script/test [--long] [--log] [--line] [--again] [--asan] [PATTERN...]")
    parser.add_argument("--build", default="build")
    for flag in ("--long", "--log", "--line", "--figure", "--again"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--only", help="kinds, with commas: " + ", ".join(name for name, _ in KINDS))
    parser.add_argument("patterns", nargs="*")
    return parser.parse_args()


def main() -> int:
    args = parse()
    run = Run(ROOT / args.build, args.patterns, args.long, args.log, args.jobs, args.again)
    measures = args.line or args.figure
    total = Count()
    if measures:
        forget_coverage(run.build)
    for name, kind in KINDS:
        if args.only and name not in args.only.split(","):
            continue
        started = time.monotonic()
        count = kind(run)
        total += count
        if any(count):
            say("%-18s %s   (%.1f s)" % (name + ":", count, time.monotonic() - started))
    if measures:
        coverage(run, args.line)
    if not any(total):
        say("no test matches")
        total = Count(failed=1)
    say(str(total))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
