"""The rules of script/lint. Each takes the tree and yields findings; to add one, write it and add it to RULES at the end.

A finding is an error unless its rule says it is a warning. Rules with a number (function length) have a ratchet: what was
longer when the rule came is listed in tests/lint/ratchet with its size, and may only shrink (`script/lint --shrink`)."""
from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from c_source import Function, bare, calls, functions, includes

# A folder of src includes only from lower floors (docs/architecture.md draws them); src/main.c stands on top.
FLOORS = {"base": 0, "io": 1, "ledger": 2, "data": 2, "vault": 2, "work": 3, "lake": 3, "items": 4, "query": 4, "pipeline": 4,
          "transform": 5, "server": 5, "cli": 5}
TOP_FLOOR = 6

FUNCTION_LINES = 70
FILE_LINES = 1000
FILE_BYTES = 1 << 20
C_FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", '-DTT_VERSION="lint"', "-Isrc", "-Iinclude"]

# Spelt so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(r"(?<![\w.$}>~%*])/(?:wor[k]|roo[t]|hom[e])/[\w.]")
REGISTRIES = re.compile(r"registry\.npmj[s]\.org|registry\.yarnpk[g]\.com|pyp[i]\.org|pythonhoste[d]\.org|proxy\.golan[g]\.org|"
                        r"--index-ur[l]|--registr[y][ =]|GOPROX[Y]=|\"resolve[d]\": *\"http|crates\.i[o]/api")
UNFINISHED = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
# Data of tests, byte for byte as it must be.
RAW_DATA = re.compile(r"^tests/fuzz/corpus/|^tests/.*/data/|\.(png|gz|zst|parquet|bin|csv|tsv|jsonl)$")


class Finding(NamedTuple):
    where: str
    text: str
    is_warning: bool = False


class Tree(NamedTuple):
    root: Path
    files: Tuple[str, ...]  # tracked, and new ones that are not ignored

    def named(self, *endings: str, under: str = "") -> List[Path]:
        return [Path(f) for f in self.files if f.endswith(endings) and f.startswith(under)]

    def ratchet(self) -> Dict[str, int]:
        path = self.root / "tests" / "lint" / "ratchet"
        rows = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")] if path.exists() else []
        return {row[0]: int(row[1]) for row in rows}


Rule = Callable[[Tree], Iterator[Finding]]


# ---- the house ----

def folder(path: Path) -> str:
    return path.parts[1] if len(path.parts) > 2 else "main"


def floor(name: str) -> Optional[int]:
    return TOP_FLOOR if name == "main" else FLOORS.get(name)


def floors(tree: Tree) -> Iterator[Finding]:
    """A folder includes only from lower floors, never from a neighbour on its own floor."""
    for path in tree.named(".c", ".h", ".def", under="src/"):
        here = floor(folder(path))
        if here is None:
            yield Finding(str(path), "the folder `%s` has no floor: add it to FLOORS in tests/lint/rules.py" % folder(path))
            continue
        for inc in includes(path):
            where = "%s:%d" % (path, inc.line)
            if inc.is_system or inc.name.startswith("tutti/"):
                continue
            if not Path("src", inc.name).exists():
                yield Finding(where, "`%s` is no file below src: write \"folder/file.h\"" % inc.name)
            elif folder(Path("src", inc.name)) != folder(path) and (floor(folder(Path("src", inc.name))) or 0) >= here:
                yield Finding(where, "floor %d includes `%s` of floor %s" % (here, inc.name, floor(folder(Path("src", inc.name)))))
    for path in tree.named(".h", under="include/"):
        for inc in includes(path):
            if not inc.is_system and not inc.name.startswith("tutti/"):
                yield Finding("%s:%d" % (path, inc.line), "a public header includes `%s`" % inc.name)


def include_circles(tree: Tree) -> Iterator[Finding]:
    """No header includes itself by way of others."""
    edges = {str(p)[4:]: [i.name for i in includes(p) if not i.is_system] for p in tree.named(".h", under="src/")}
    done: Set[str] = set()

    def walk(name: str, way: List[str]) -> Iterator[Finding]:
        if name in way:
            yield Finding("src/" + name, "include circle: " + " -> ".join(way[way.index(name):] + [name]))
        elif name not in done:
            for other in edges.get(name, []):
                yield from walk(other, way + [name])
            done.add(name)

    for name in sorted(edges):
        yield from walk(name, [])


def own_header_first(tree: Tree) -> Iterator[Finding]:
    """x.c begins with its x.h, so that each header is seen to stand alone."""
    for path in tree.named(".c", under="src/"):
        found = includes(path)
        own = str(path.with_suffix(".h"))[4:]
        if path.with_suffix(".h").exists() and (not found or found[0].name != own):
            yield Finding("%s:%d" % (path, found[0].line if found else 1), "does not begin with its own header `%s`" % own)


def headers_stand_alone(tree: Tree) -> Iterator[Finding]:
    """Every header compiles by itself."""
    headers = [str(p) for p in tree.named(".h", under="src/") + tree.named(".h", under="include/")]
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not headers or not compiler:
        yield Finding("headers", "not compiled: no C compiler (run script/setup)")
        return
    done = subprocess.run([compiler, "-fsyntax-only", "-x", "c", *C_FLAGS, *headers], capture_output=True, text=True)
    for line in done.stderr.splitlines():
        if re.search(r":\d+: (fatal )?error:|: error: ", line):
            yield Finding(line.split(": ")[0], "the header does not stand alone: " + line.split(": ", 1)[1])
    if done.returncode != 0 and "error:" not in done.stderr:
        yield Finding("headers", done.stderr)


# ---- size ----

def c_files(tree: Tree) -> List[Path]:
    return tree.named(".c", ".h")


def lengths(tree: Tree) -> Dict[str, Tuple[int, int]]:
    """`path:function` -> (lines, line where it stands)."""
    return {"%s:%s" % (path, f.name.replace(" ", "")): (f.line_count, f.line) for path in c_files(tree) for f in functions(path)}


def function_length(tree: Tree) -> Iterator[Finding]:
    """No function over 70 lines; the ratchet's ones only shrink."""
    found, allowed = lengths(tree), tree.ratchet()
    for key, (line_count, line) in found.items():
        limit = max(allowed.get(key, 0), FUNCTION_LINES)
        path, name = key.split(":", 1)
        if line_count > limit:
            yield Finding("%s:%d" % (path, line), "`%s` has %d lines; %d is the limit" % (name, line_count, limit))
    for key, limit in allowed.items():
        if found.get(key, (0, 0))[0] < limit:
            yield Finding("tests/lint/ratchet", "`%s` is shorter now: run script/lint --shrink" % key)


def file_length(tree: Tree) -> Iterator[Finding]:
    """A file over 1,000 lines may hold two nouns."""
    for path in c_files(tree) + tree.named(".py"):
        line_count = path.read_bytes().count(b"\n")
        if line_count > FILE_LINES:
            yield Finding(str(path), "%d lines: two nouns in one?" % line_count, is_warning=True)


def file_size(tree: Tree) -> Iterator[Finding]:
    for name in tree.files:
        size = os.lstat(name).st_size
        if size > FILE_BYTES:
            yield Finding(name, "%d bytes: files over 1 MiB do not belong into the repository" % size)


# ---- banned names ----

@lru_cache(maxsize=None)
def banned_names() -> Tuple[str, ...]:
    text = Path("src/base/banned.h").read_text()
    return tuple(sorted({name for line in re.findall(r"#pragma GCC poison ([\w ]+)", text) for name in line.split()}))


def banned_calls(tree: Tree) -> Iterator[Finding]:
    """What banned.h poisons is not reached before it is included, through builtins, through dlsym, or by ending the poison."""
    names = "|".join(banned_names())
    call = re.compile(r"(?<![\w.>])(?:__builtin_(?:__)?|__)?(%s)(?:_chk)?\s*\(" % names)
    by_name = re.compile(r"dlsym\s*\([^,]+,\s*\"(?:%s)\"" % names)
    for path in tree.named(".c", ".h", under="src/") + tree.named(".h", under="include/"):
        if str(path) == "src/base/banned.h":
            continue
        text = path.read_text(errors="replace")
        for match in list(call.finditer(bare(path))) + list(by_name.finditer(text)):
            yield Finding("%s:%d" % (path, text.count("\n", 0, match.start()) + 1), "`%s` is banned (src/base/banned.h)" % match[0].strip())
        if path.suffix == ".c" and not reaches("base/banned.h", str(path)[4:]):
            yield Finding(str(path), "never includes base/banned.h (base/err.h brings it)")


@lru_cache(maxsize=None)
def reachable(name: str) -> Set[str]:
    seen: Set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop()
        path = Path("src", one)
        if one not in seen and path.exists():
            seen.add(one)
            todo += [inc.name for inc in includes(path) if not inc.is_system]
    return seen


def reaches(wanted: str, start: str) -> bool:
    return wanted in reachable(start)


# ---- text ----

@lru_cache(maxsize=None)
def text_of(name: str) -> Optional[str]:
    """None for binary files, links, and raw data."""
    if RAW_DATA.search(name) or os.path.islink(name):
        return None
    data = Path(name).read_bytes()
    return None if b"\0" in data[:8192] else data.decode(errors="replace")


def lines_with(tree: Tree, pattern: "re.Pattern[str]", what: str) -> Iterator[Finding]:
    for name in tree.files:
        text = text_of(name)
        for match in pattern.finditer(text or ""):
            assert text is not None
            yield Finding("%s:%d" % (name, text.count("\n", 0, match.start()) + 1), "%s: `%s`" % (what, match[0].strip()))


def machine_paths(tree: Tree) -> Iterator[Finding]:
    yield from lines_with(tree, MACHINE_PATHS, "a path of one machine")


def registries(tree: Tree) -> Iterator[Finding]:
    yield from lines_with(tree, REGISTRIES, "a package registry's address")


def unfinished(tree: Tree) -> Iterator[Finding]:
    yield from lines_with(tree, UNFINISHED, "unfinished")


def blanks(tree: Tree) -> Iterator[Finding]:
    """No blanks at line ends, a line break at the end, no tabs in C and Python."""
    yield from lines_with(tree, re.compile(r"[ \t\r]+$", re.M), "trailing blank")
    yield from lines_with(tree, re.compile(r"[^\n]\Z"), "no line break at the end")
    for path in c_files(tree) + tree.named(".py"):
        at = path.read_bytes().find(b"\t")
        if at >= 0:
            yield Finding("%s:%d" % (path, path.read_bytes().count(b"\n", 0, at) + 1), "a tab")


# ---- scripts and Python ----

def shell_scripts(tree: Tree) -> List[str]:
    def is_shell(name: str) -> bool:
        first = (text_of(name) or "").split("\n", 1)[0]
        return name.endswith(".sh") or bool(re.match(r"#!.*\b(ba|da)?sh\b", first))
    return [name for name in tree.files if is_shell(name)]


def shellcheck(tree: Tree) -> Iterator[Finding]:
    scripts = shell_scripts(tree)
    if not shutil.which("shellcheck"):
        yield Finding("scripts", "not checked: shellcheck is missing (run script/setup)")
    elif scripts:
        done = subprocess.run(["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", "--format=gcc", *scripts], capture_output=True, text=True)
        for line in (done.stdout + done.stderr).splitlines():
            where, _, what = line.partition(": ")
            yield Finding(where, what)
    for name in scripts:
        if (text_of(name) or "").startswith("#!") and not os.access(name, os.X_OK):
            yield Finding(name, "has a #! line and is not executable")


@lru_cache(maxsize=None)
def parsed(path: Path) -> Optional[ast.Module]:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError):
        return None


def python(tree: Tree) -> Iterator[Finding]:
    """Python compiles, and ruff (where .venv has it) finds nothing."""
    for path in tree.named(".py"):
        try:
            compile(path.read_bytes(), str(path), "exec")
        except (SyntaxError, ValueError) as fault:
            yield Finding("%s:%s" % (path, getattr(fault, "lineno", 1)), str(fault))
    ruff = Path(".venv/bin/ruff")
    files = [str(p) for p in tree.named(".py")]
    if ruff.exists() and files:
        done = subprocess.run([str(ruff), "check", "--isolated", "--no-cache", "--output-format=concise", "--ignore=E741", *files],
                              capture_output=True, text=True)
        for line in done.stdout.splitlines():
            where, _, what = line.partition(": ")
            if re.search(r":\d+:\d+$", where):
                yield Finding(where, what)


# ---- tests that cannot fail ----

C_ASSERTION = re.compile(r"^(cr_|tt_assert|assert|abort$)")


def c_tests_assert(path: Path, shared: Set[str]) -> Iterator[Finding]:
    found = functions(path)
    checking = closure(found, shared)
    for f in found:
        if f.is_test and not asserts_in_c(f, checking):
            yield Finding("%s:%d" % (path, f.line), "the test `%s` asserts nothing" % f.name)


def asserts_in_c(f: Function, checking: Set[str]) -> bool:
    return "cr_" in f.body or any(C_ASSERTION.match(name) or name in checking for name in calls(f.body))


def closure(found: List[Function], checking: Set[str]) -> Set[str]:
    """The functions that assert, by themselves or by calling one that does."""
    result = set(checking)
    while True:
        more = {f.name for f in found if not f.is_test and f.name not in result and asserts_in_c(f, result)}
        if not more:
            return result
        result |= more


def python_asserting(node: ast.AST, checking: Set[str]) -> bool:
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Assert, ast.Raise)):
            return True
        if isinstance(inner, ast.Call):
            name = inner.func.attr if isinstance(inner.func, ast.Attribute) else inner.func.id if isinstance(inner.func, ast.Name) else ""
            if name in checking or name in ("raises", "fail", "check_call", "check_output"):
                return True
    return False


def python_functions(paths: List[Path]) -> List[Tuple[Path, ast.AST, str]]:
    found = []
    for path in paths:
        for node in ast.walk(parsed(path) or ast.Module([], [])):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.append((path, node, node.name))
    return found


def tests_assert(tree: Tree) -> Iterator[Finding]:
    """Every test asserts something, itself or through a function of the tests that it calls."""
    c_tests = tree.named(".c", ".h", under="tests/")
    shared = closure([f for path in c_tests if path.suffix == ".h" for f in functions(path)], set())
    for path in c_tests:
        yield from c_tests_assert(path, shared)
    found = python_functions([p for p in tree.named(".py") if "tests" in p.parts and "lint" not in p.parts])
    checking: Set[str] = set()
    while True:
        more = {name for _, node, name in found if name not in checking and not name.startswith("test_") and python_asserting(node, checking)}
        if not more:
            break
        checking |= more
    for path, node, name in found:
        if name.startswith("test_") and path.name.startswith("test_") and not python_asserting(node, checking):
            yield Finding("%s:%d" % (path, node.lineno), "the test `%s` asserts nothing" % name)  # type: ignore[attr-defined]


RULES: List[Tuple[str, Rule]] = [
    ("floors", floors), ("include circles", include_circles), ("own header first", own_header_first),
    ("headers stand alone", headers_stand_alone), ("function length", function_length), ("file length", file_length),
    ("file size", file_size), ("banned names", banned_calls), ("paths of one machine", machine_paths),
    ("registries", registries), ("unfinished", unfinished), ("blanks", blanks), ("shellcheck", shellcheck),
    ("python", python), ("tests assert", tests_assert),
]
