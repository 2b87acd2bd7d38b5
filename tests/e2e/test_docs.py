"""The documentation is run: README.md and docs/*.md, each page from top to bottom in a directory of its own, as a reader would.

What a fence says about its block:
  sh       run; every command in it must succeed
  console  run; lines after `$ ` are commands (a following line that begins with `> ` goes on), the others are what they print:
           `...` stands for any text within a line, a line of only `...` for any lines, several blanks for one or more
  python   a first line `# NAME.py` saves it under that name, otherwise it is run
  c         a first line `/* NAME.c */` saves it under that name
  c, meson  else a change to this tree; the first line says where it goes. All of them are tried on a copy of it (with --long)
  ini, json, text   not run. What cannot be run (apt, systemctl) is text; ini may be saved as above

The pages say port 5005, which becomes a free one; `build`, `clients` and `script` lead to this tree. After a block that starts
`tutti up` in the background, the next one waits until it serves."""
from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import pytest

from tutti_process import ROOT, alive, binary, until

LANGUAGES = {"sh", "console", "python", "ini", "c", "meson", "json", "text"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGE_LIMIT_S = 60
SAVED_AS = re.compile(r"(?:#|/\*) ([\w./-]+\.\w+)(?: \*/)?$")


class Block(NamedTuple):
    line: int  # of the fence, 1-based
    language: str
    text: str


class Step(NamedTuple):
    line: int
    command: str
    expected: Optional[str]  # None: whatever it prints


# ---- reading a page ----


def blocks(page: str) -> Iterator[Block]:
    fence = None
    for number, line in enumerate(page.splitlines(), 1):
        if fence is None and line.startswith("```"):
            fence, language, lines = number, line[3:].strip(), []
        elif fence is not None and line == "```":
            yield Block(fence, language, "\n".join(lines) + "\n")
            fence = None
        elif fence is not None:
            lines.append(line)
    assert fence is None, "the fence of line %d is not closed" % fence


def console_steps(block: Block) -> Iterator[Step]:
    command, expected, at = None, [], block.line
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            if command is not None:
                yield Step(at, command, "\n".join(expected))
            command, expected, at = line[2:], [], number
        elif command is not None and not expected and line.startswith("> "):
            command += "\n" + line[2:]
        else:
            assert command is not None, "line %d: a console block begins with `$ `" % number
            expected.append(line)
    if command is not None:
        yield Step(at, command, "\n".join(expected))


def steps(page: str) -> Iterator[Step]:
    for block in blocks(page):
        saved = SAVED_AS.match(block.text.split("\n", 1)[0])
        if block.language == "sh":
            yield Step(block.line, block.text, None)
        elif block.language == "console":
            yield from console_steps(block)
        elif block.language in ("python", "ini", "c") and saved:
            yield Step(block.line, "cat >%s <<'END_OF_FILE'\n%sEND_OF_FILE" % (saved[1], block.text), None)
        elif block.language == "python":
            yield Step(block.line, "python3 - <<'END_OF_FILE'\n%sEND_OF_FILE" % block.text, None)


def pattern(expected: str) -> "re.Pattern[str]":
    """`...` within a line: any text of that line; alone on a line: any lines, also none. Columns may be wider or narrower."""
    lines = []
    for line in expected.splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*")
        else:
            parts = [re.sub(r"(?:\\ ){2,}", " +", re.escape(part)) for part in line.rstrip().split("...")]
            lines.append(".*".join(parts) + " *\n")
    return re.compile("".join(lines))


def difference(step: Step, output: str) -> Optional[str]:
    if step.expected is None or pattern(step.expected).fullmatch(output if output.endswith("\n") or not output else output + "\n"):
        return None
    return "line %d: `%s` printed\n%s\nwhere the page has\n%s" % (step.line, step.command, output, step.expected)


# ---- running it ----


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def starts_server(command: str) -> bool:
    return re.search(r"^tutti up\b.*&\s*$", command, re.M) is not None


class Runner:
    """One bash that runs the steps of a page one after the other; a step's output and exit code are files."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.place, self.out = home / "place", home / "out"
        for folder in (self.place, self.out, home / "bin"):
            folder.mkdir()
        for name in ("clients", "script"):
            (self.place / name).symlink_to(ROOT / name)
        (self.place / "build").symlink_to(binary().parent)
        (home / "bin" / "tutti").symlink_to(binary())
        python = home / "bin" / "python3"
        python.write_text("#!/bin/sh\nTUTTI_SERVER=http://127.0.0.1:%d exec %s \"$@\"\n" % (self.port, sys.executable))
        python.chmod(0o755)

    def environment(self) -> Dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TUTTI_", "PLANCHET_", "PYTEST_"))}
        return {**kept, "HOME": str(self.home), "TUTTI_DATA": str(self.home / "data"), "TUTTI_SERVER_LISTEN": "127.0.0.1:%d" % self.port,
                "TUTTI_WORKERS": "1", "TUTTI_QUERY_WORKERS": "0", "PYTHONPATH": str(ROOT / "clients" / "python"), "PATH": "%s:%s" % (self.home / "bin", os.environ["PATH"])}

    def script(self, page: List[Step]) -> str:
        lines = ["set -o pipefail"]
        for i, step in enumerate(page):
            command = step.command.replace("5005", str(self.port))
            code = self.out / ("%d.rc" % i)
            strict = "trap 'echo $? >%s' EXIT; set -e\n" % code if step.expected is None else ""
            lines.append("{ %s%s\n} >%s 2>&1; echo $? >%s; set +e; trap - EXIT" % (strict, command, self.out / str(i), code))
            if starts_server(command):
                lines.append("for _ in $(seq 400); do curl -fs http://127.0.0.1:%d/readyz >/dev/null && break; sleep 0.05; done" % self.port)
        return "\n".join(lines) + "\n"

    def run(self, page: List[Step]) -> List[str]:
        """What is wrong with the page; empty: nothing."""
        path = self.home / "page.sh"
        path.write_text(self.script(page))
        shell = subprocess.Popen(["bash", path], cwd=self.place, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        faults = []
        try:
            _, stray = shell.communicate(timeout=PAGE_LIMIT_S)
            faults = [] if not stray.strip() else ["the shell says:\n" + stray]
        except subprocess.TimeoutExpired:
            faults = ["the page takes longer than %d s" % PAGE_LIMIT_S]
        finally:
            end_group(shell)
        return self.faults(page) + faults

    def faults(self, page: List[Step]) -> List[str]:
        for i, step in enumerate(page):
            output = (self.out / str(i)).read_text(errors="replace") if (self.out / str(i)).exists() else ""
            output = output.replace(str(self.port), "5005")
            code = (self.out / ("%d.rc" % i)).read_text().strip() if (self.out / ("%d.rc" % i)).exists() else "none"
            if code != "0":
                return ["line %d: `%s` ended with %s:\n%s" % (step.line, step.command.strip(), code, output)]
            different = difference(step, output)
            if different:
                return [different]
        return []


def end_group(shell: "subprocess.Popen[str]") -> None:
    """The shell and everything of its session."""
    members = [pid for pid in session_of(shell.pid) if pid != shell.pid]
    for pid in [shell.pid, *members]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    shell.wait()
    until(lambda: not any(alive(pid) for pid in members), "the page's processes end")


def session_of(leader: int) -> List[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if any(steps(page.read_text()))], ids=lambda page: page.name)
def test_the_commands_of_a_page(page: Path, tmp_path: Path) -> None:
    todo = list(steps(page.read_text()))
    if any(not shutil.which(tool) for tool in ("jq", "curl")):
        pytest.skip("the pages use jq and curl: script/setup installs them")
    faults = Runner(tmp_path).run(todo)
    assert not faults, "%s: %s" % (page.name, "\n".join(faults))


# ---- the runner itself can fail ----


@pytest.mark.parametrize("page, wrong", [
    ("```sh\ntrue\n```\n```console\n$ echo a b; echo c\na...b\nc\n$ seq 5\n1\n...\n5\n```\n", None),
    ("```sh\nfalse\ntrue\n```\n", "line 1: .* ended with 1"),
    ("```sh\ncd /\n```\n```console\n$ pwd\n/\n```\n```sh\nfalse | true\n```\n", "line 8"),
    ("```console\n$ exit 0\n```\n```console\n$ true\n```\n", "ended with none"),
    ("```console\n$ echo one\ntwo\n```\n", "printed\none"),
    ("```console\n$ echo one\n```\n", "printed\none"),
    ("```console\n$ true\none\n```\n", "where the page has\none"),
    ("```console\n$ echo a\na\n$ false\n```\n", "line 4: .*ended with 1"),
    ("```python\n# x.py\nprint(1)\n```\n```console\n$ python3 x.py\n1\n```\n```python\nraise SystemExit(3)\n```\n", "ended with 3"),
    ("```sh\nexit 7\n```\n", "ended with 7"),
    ("```sh\ntutti up --nonsense &\n```\n```console\n$ tutti job show nothing\n```\n", "ended with"),
])
def test_a_wrong_page_is_found_out(page: str, wrong: Optional[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "starts_server", lambda command: False)
    faults = "\n".join(Runner(tmp_path).run(list(steps(page))))
    assert (re.search(wrong, faults, re.S) if wrong else not faults), faults


# ---- changes to the tree ----


class Change(NamedTuple):
    line: int
    path: str
    how: str  # new, above, below, instead of
    anchor: str
    text: str


PLACE = re.compile(r"(?:/\*|#) ([\w./-]+), (new|above|below|instead of)(?:: (.+?))?(?: \*/)?$")


def changes(page: str) -> List[Change]:
    found = []
    for block in blocks(page):
        if block.language in ("c", "meson") and not SAVED_AS.match(block.text.split("\n", 1)[0]):
            first, _, text = block.text.partition("\n")
            place = PLACE.match(first)
            assert place and (place[2] == "new") == (place[3] is None), "line %d: the first line must say where this goes" % block.line
            found.append(Change(block.line, place[1], place[2], place[3] or "", text))
    return found


def apply(change: Change, tree: Path) -> None:
    path = tree / change.path
    if change.how == "new":
        assert not path.exists(), "line %d: %s is there already" % (change.line, change.path)
        path.write_text(change.text)
        return
    lines = path.read_text().splitlines(keepends=True)
    at = [i for i, line in enumerate(lines) if change.anchor in line]
    assert len(at) == 1, "line %d: `%s` stands on %d lines of %s" % (change.line, change.anchor, len(at), change.path)
    first, past = {"above": (at[0], at[0]), "below": (at[0] + 1, at[0] + 1), "instead of": (at[0], at[0] + 1)}[change.how]
    path.write_text("".join(lines[:first] + [change.text] + lines[past:]))


def copy_of_the_tree(to: Path) -> Path:
    for top in ("src", "include", "tests", "bench"):
        shutil.copytree(ROOT / top, to / top, ignore=shutil.ignore_patterns("__pycache__", "out", "corpus"))
    for name in ("meson.build", "meson_options.txt"):
        shutil.copy(ROOT / name, to / name)
    return to


@pytest.mark.parametrize("page", [page for page in PAGES if changes(page.read_text())], ids=lambda page: page.name)
def test_the_changes_of_a_page_have_their_place(page: Path, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    for change in changes(page.read_text()):
        apply(change, tree)


def ran(command: List[str], cwd: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **env})
    assert done.returncode == 0, "%s: %s" % (" ".join(command), done.stdout[-8000:])
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_examples_of_adding_do_what_they_say(tmp_path: Path, tutti, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    for change in changes((ROOT / "docs" / "adding.md").read_text()):
        apply(change, tree)
    ran(["meson", "setup", "build", "--werror"], tree)
    ran(["ninja", "-C", "build", "-j2", "tutti", "tests/unit/test_lines"], tree)
    ran([str(tree / "build" / "tests" / "unit" / "test_lines")], tree)
    monkeypatch.setenv("TUTTI_BIN", str(tree / "build" / "tutti"))
    server = tutti(env={"TUTTI_ITEMS_CACHE": "2MiB", "TUTTI_FAULT": "fallocate:3:ENOSPC"})
    (server.cwd / "in.txt").write_text('one\ntwo "2"\n')
    assert server.post("/v1/jobs", {"name": "j", "input": "in.txt", "output": "out.txt", "token": "t"}).status == 201
    items = server.post("/v1/jobs/j/claim", params={"token": "t"}).json["items"]
    assert items == [[0, "one"], [1, 'two "2"']]
    assert server.post("/v1/jobs/j/results", items, params={"token": "t"}).json["accepted"] == 2
    assert (server.cwd / "out.txt").read_text() == 'one\ntwo "2"\n'
    assert server.get("/v1/total").json == {"schema": 1, "jobs": 1, "received": 2}
    assert ran([str(tree / "build" / "tutti"), "job", "total", "--data", str(server.data)], server.cwd) == "1 jobs, 2 items received\n"
    assert "tutti_items_jobs_guarded 1\n" in server.get("/metrics").body.decode()
    assert server.post("/v1/jobs", {"name": "n", "input": "in.txt", "output": "nowhere:"}).json["sink"] == "nowhere"
    assert server.post("/v1/jobs/n/results", [[0, "a"], [1, "b"]]).json["accepted"] == 2
    until(lambda: server.get("/v1/jobs/n").json["status"] == "COMPLETE", "what goes nowhere has gone")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_fuzz_target_of_adding(tmp_path: Path) -> None:
    if not shutil.which("clang"):
        pytest.skip("no clang")
    tree = copy_of_the_tree(tmp_path / "tree")
    for change in changes((ROOT / "docs" / "adding.md").read_text()):
        apply(change, tree)
    (tree / "tests" / "fuzz" / "corpus" / "cells").mkdir(parents=True)
    ran(["meson", "setup", "build", "-Dfuzz=true", "-Dtests=disabled"], tree, CC="clang")
    ran(["ninja", "-C", "build", "-j2", "tests/fuzz/fuzz_cells"], tree)
    ran([str(tree / "build" / "tests" / "fuzz" / "fuzz_cells"), "-runs=20000", "tests/fuzz/corpus/cells"], tree)


# ---- form, links, paths ----


def anchors(page: str) -> List[str]:
    """As GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page, flags=re.S | re.M)
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return [re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-") for head in heads]


def broken_links(page: str, folder: Path) -> List[str]:
    text = re.sub(r"^```.*?^```$", "", page, flags=re.S | re.M)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (folder / path) if path else None
        if there and not there.exists():
            broken.append(target)
        elif anchor and anchor not in anchors(there.read_text() if there else page):
            broken.append(target)
    return broken


def missing_paths(page: str) -> List[str]:
    """Paths of this tree in `backquotes`, without placeholders."""
    tops = "|".join(("src", "script", "tests", "docs", "clients", "packaging", "bench", "include", "programs", r"\.ci"))
    named = re.findall(r"`((?:%s)/[\w./-]*\w)`" % tops, page)
    return [path for path in named if not (ROOT / path).exists() and not path.startswith(("bench/out", "build/"))]


def form_faults(page: str) -> List[str]:
    wrong = ["line %d: ```%s: one of %s" % (b.line, b.language, ", ".join(sorted(LANGUAGES))) for b in blocks(page) if b.language not in LANGUAGES]
    outside = re.sub(r"^```.*?^```$", "", page, flags=re.S | re.M)
    return wrong + ["an indented block of code: %s" % line.strip() for line in re.findall(r"(?:\A|\n\n)( {4}\S.*)", outside)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_form_links_and_paths(page: Path) -> None:
    text = page.read_text()
    assert form_faults(text) == []
    assert broken_links(text, page.parent) == []
    assert missing_paths(text) == []


def test_wrong_forms_links_and_paths_are_found_out() -> None:
    assert len(form_faults("```\nx\n```\n\n    script/test\n")) == 2
    assert broken_links("# A `b` c\n[x](#a-b-c) [y](no.md) [z](#nope) [w](README.md#nope)", ROOT) == ["no.md", "#nope", "README.md#nope"]
    assert missing_paths("`src/main.c` `src/nope.c` `src/x/`") == ["src/nope.c"]


# ---- the pages and the program agree ----


def tutti(*args: str) -> str:
    done = subprocess.run([binary(), *args], capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands() -> List[str]:
    """All verbs: `tutti up`, `tutti job list`, ..."""
    found, nouns = [], False
    for line in tutti("--help").splitlines():
        nouns = nouns or line.startswith("Commands on")
        word = re.match(r"  ([a-z]+)(?: \[?[A-Z]|  )", line)
        if word and not nouns:
            found.append(word[1])
        elif word:
            found += re.findall(r"^  (%s [a-z]+)" % word[1], tutti(word[1], "--help"), re.M)
    assert {"up", "doctor", "job list", "worker list", "config docs"} <= set(found), found
    return found


def all_pages() -> str:
    return "\n".join(page.read_text() for page in PAGES)


def test_the_page_of_settings_is_current() -> None:
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text() == tutti("config", "docs"), "run: build/tutti config docs >docs/configuration.md"


def test_every_command_is_documented() -> None:
    text = all_pages()
    assert [command for command in commands() if "tutti " + command not in text] == []


def test_commands_in_the_text_exist() -> None:
    known = set(commands())
    for mention in sorted(set(re.findall(r"`tutti ([a-z][a-z ]*[a-z])", all_pages()))):
        words = mention.split()
        assert words[0] in known or words[0] in {c.split()[0] for c in known}, "`tutti %s` is no command" % mention
        assert words[0] in known or len(words) < 2 or " ".join(words[:2]) in known, "`tutti %s` is no command" % mention


def test_flags_in_the_text_exist() -> None:
    known = "\n".join(tutti(*command.split(), "--help") for command in commands()) + tutti("--help")
    words = "|".join({command.split()[0] for command in commands()})
    used = set()
    for line in all_pages().replace("\\\n", " ").splitlines():
        for part in re.findall(r"tutti (?:%s)\b[^`|&;#]*" % words, line):
            used |= set(re.findall(r"(?<=\s)(--[a-z][a-z-]+)", part))
    assert used and sorted(flag for flag in used if not re.search(re.escape(flag) + r"\b", known)) == []


@pytest.fixture
def described(request: pytest.FixtureRequest) -> Tuple[List[str], List[str]]:
    server = request.getfixturevalue("tutti")()
    api, metrics = server.get("/openapi.json").json, server.get("/metrics").body.decode()
    routes = ["%s %s" % (method.upper(), path) for path, methods in api["paths"].items() for method in methods]
    return routes, re.findall(r"^# TYPE (\S+)", metrics, re.M)


def test_every_route_and_metric_is_documented(described: Tuple[List[str], List[str]]) -> None:
    routes, metrics = described
    text = all_pages()
    assert [route for route in routes if not route.startswith("GET /openapi") and "`%s`" % route not in text] == []
    assert [metric for metric in metrics if "`%s`" % metric not in text] == []


def test_the_manual_has_every_command_and_setting(tmp_path: Path) -> None:
    made = [Path(line) for line in tutti("man", "--dir", str(tmp_path / "man")).split()]
    manual = "".join(path.read_text() for path in made).replace("\\-", "-").replace("\\&", "")
    settings = re.findall(r"^### `([\w.]+)`$", (ROOT / "docs" / "configuration.md").read_text(), re.M)
    assert [key for key in settings if not re.search(r"^\.B %s$" % re.escape(key.rpartition(".")[2]), manual, re.M)] == []
    assert [c for c in commands() if "tutti %s" % c not in manual] == []
    if shutil.which("mandoc"):
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *made], capture_output=True, text=True)
        assert lint.returncode == 0, lint.stdout


def test_the_units_are_well_formed(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    units = tmp_path / "units"
    shutil.copytree(ROOT / "packaging" / "systemd", units)
    for unit in sorted(units.glob("*.service")):
        text = unit.read_text()
        assert text.count("/usr/bin/tutti ") == 1
        unit.write_text(text.replace("/usr/bin/tutti ", "/bin/true "))
    for unit in sorted(units.glob("*.service")):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), unit.name
