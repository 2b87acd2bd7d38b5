"""Runs the rules on the tree and prints what they find: the engine of script/lint, which see."""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Tuple

from rules import FUNCTION_LINES, RULES, Finding, Rule, Tree, lengths

ROOT = Path(__file__).resolve().parent.parent.parent
RATCHET_HEAD = """# Functions over the limit when the rule came, and their lines. Numbers only go down, rows only go away: script/lint --shrink.
"""


def tree() -> Tree:
    listed = subprocess.check_output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], text=True)
    return Tree(ROOT, tuple(sorted({name for name in listed.split("\0") if name and os.path.lexists(name)})))


def timed(rule: Rule, of: Tree) -> Tuple[List[Finding], float]:
    started = time.monotonic()
    return list(rule(of)), time.monotonic() - started


def shrink(of: Tree) -> None:
    found = lengths(of)
    rows = {key: min(limit, found[key][0]) for key, limit in of.ratchet().items() if key in found and found[key][0] > FUNCTION_LINES}
    path = of.root / "tests" / "lint" / "ratchet"
    if rows:
        path.write_text(RATCHET_HEAD + "".join("%s %d\n" % row for row in sorted(rows.items())))
    elif path.exists():
        path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(usage="script/lint [--shrink] [--times] [RULE...]")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("rules", nargs="*")
    args = parser.parse_args()
    os.chdir(ROOT)
    of = tree()
    if args.shrink:
        shrink(of)
    chosen = [(name, rule) for name, rule in RULES if not args.rules or any(word in name for word in args.rules)]
    if not chosen:
        parser.error("no such rule; there are: " + ", ".join(name for name, _ in RULES))
    with ThreadPoolExecutor(2) as pool:
        results = [(name, *pool_result.result()) for name, pool_result in [(name, pool.submit(timed, rule, of)) for name, rule in chosen]]
    errors = warnings = 0
    for name, findings, seconds in results:
        if args.times:
            print("%6.2f s  %s" % (seconds, name))
        for finding in findings:
            print("%s: %s%s [%s]" % (finding.where, "warning: " if finding.is_warning else "", finding.text, name))
            warnings += finding.is_warning
            errors += not finding.is_warning
    print("lint: %d files, %d rules: %d errors, %d warnings" % (len(of.files), len(chosen), errors, warnings))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
