"""Just enough C for the rules: text without comments and strings, includes, functions with their extents, calls."""
from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import List, NamedTuple

TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"\n]+)[>\"]", re.M)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.M | re.S)
NAME_BEFORE_PARAMETERS = re.compile(r"(\w+)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)[\s\w]*$", re.S)
TEST_MACROS = ("Test", "ParameterizedTest", "Theory")


class Include(NamedTuple):
    line: int
    is_system: bool
    name: str


class Function(NamedTuple):
    name: str
    line: int  # of the first line of its head
    line_count: int
    body: str  # without comments and strings
    is_test: bool


def _blank(match: "re.Match[str]") -> str:
    text = match.group(0)
    if text[0] in "\"'":
        return text[0] + " " * (len(text) - 2) + text[0]
    return re.sub(r"[^\n]", " ", text)


@lru_cache(maxsize=None)
def bare(path: Path) -> str:
    """The text with comments and the insides of literals blanked; every offset and line stays."""
    return TOKEN.sub(_blank, path.read_text(errors="replace"))


def includes(path: Path) -> List[Include]:
    text = path.read_text(errors="replace")
    plain = re.sub(r"/\*.*?\*/", _blank, text, flags=re.S)
    return [Include(plain.count("\n", 0, m.start()) + 1, m[1] == "<", m[2]) for m in INCLUDE.finditer(plain)]


@lru_cache(maxsize=None)
def functions(path: Path) -> List[Function]:
    """Every definition at the top level, Criterion's tests included."""
    text = DIRECTIVE.sub(_blank, bare(path))
    found, depth, opened, head_start = [], 0, 0, 0
    for match in re.finditer(r"[{};]", text):
        char, at = match.group(0), match.start()
        if char == "{":
            if depth == 0:
                opened = at
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                found += _function(text, head_start, opened, at)
                head_start = at + 1
        elif depth == 0:
            head_start = at + 1
    return found


def _function(text: str, head_start: int, opened: int, closed: int) -> List[Function]:
    head = text[head_start:opened]
    match = NAME_BEFORE_PARAMETERS.search(head)
    if not match or "=" in head[:match.start()]:
        return []
    name, is_test = match[1], match[1] in TEST_MACROS
    if is_test:
        name = ".".join(part.strip() for part in head[match.end(1):].strip(" \n()").split(",")[:2])
    first = head_start + len(head) - len(head.lstrip())
    line = text.count("\n", 0, first) + 1
    return [Function(name, line, text.count("\n", first, closed) + 1, text[opened:closed + 1], is_test)]


def calls(body: str) -> List[str]:
    return re.findall(r"\b([A-Za-z_]\w*)\s*\(", body)
