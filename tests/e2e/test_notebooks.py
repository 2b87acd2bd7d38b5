"""Notebooks as programs: described without being run, run with their parameters, and the executed copy kept, also when a cell fails."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from tutti_process import Tutti, binary, is_sanitized, until

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")


def book(*cells: str, parameters: str = "", first: str = "# Counts words.") -> str:
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    made.cells = [nbformat.v4.new_markdown_cell(first)]
    if parameters:
        made.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    made.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    return nbformat.writes(made)


class Folder:
    def __init__(self, place: Path) -> None:
        self.place, self.data = place / "programs", place / "d"
        self.place.mkdir()

    def add(self, name: str, text: str) -> Path:
        path = self.place / name
        path.write_text(text)
        return path

    def tutti(self, *args: Any, code: int = 0, **env: str) -> str:
        base = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_")}
        done = subprocess.run([binary(), *map(str, args), "--programs", self.place, "--data", self.data], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
                              env={**base, "TUTTI_PROGRAMS_PYTHON": sys.executable, **env})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def copies(self, name: str) -> List[Path]:
        return sorted((self.data / "notebooks" / name).glob("*.ipynb"))


@pytest.fixture
def programs(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


PARAMETERS = '''from datetime import datetime
day: "datetime" = "2026-01-31"
words: list
share = 0.5
most: int = 3
login: "secret" = "x"
made = datetime.now()
label: str = None
'''


def test_a_notebook_says_its_settings_without_being_run(programs: Folder) -> None:
    programs.add("count.ipynb", book("raise SystemExit('not run')", parameters=PARAMETERS))
    shown = json.loads(programs.tutti("program", "show", "count", "--json"))
    said = {name: (s["type"], s["required"], s["default"]) for name, s in shown["settings"].items()}
    assert (shown["kind"], shown["description"]) == ("notebook", "Counts words.")
    assert said == {"day": ("datetime", False, "2026-01-31"), "words": ("list", True, None), "share": ("float", False, 0.5), "most": ("int", False, 3), "login": ("secret", False, None),
                    "made": ("any", False, None), "label": ("str", False, None)}
    assert "kind notebook with 7 settings" in programs.tutti("program", "check", programs.place / "count.ipynb")


@pytest.mark.parametrize("text, said", [
    ("{", "no JSON"), ("[]", "no notebook of the format 4"), ('{"nbformat": 3, "cells": []}', "no notebook of the format 4"),
    (book(parameters="%matplotlib inline\n"), "the cell `parameters`, line 1"),
    (json.dumps({"nbformat": 4, "cells": [], "metadata": {"kernelspec": {"language": "R"}}}), "its language is R"),
], ids=["json", "list", "old", "magic", "language"])
def test_a_broken_notebook_says_why(programs: Folder, text: str, said: str) -> None:
    assert said in programs.tutti("program", "check", programs.add("broken.ipynb", text), code=3)


def test_what_to_install(programs: Folder, tmp_path: Path) -> None:
    (tmp_path / "bare").write_text("#!/bin/sh\nexec %s -S \"$@\"\n" % sys.executable)
    (tmp_path / "bare").chmod(0o755)
    refused = programs.tutti("program", "check", programs.add("x.ipynb", book()), code=3, TUTTI_PROGRAMS_PYTHON=str(tmp_path / "bare"))
    assert "notebooks need nbclient and ipykernel" in refused and "pip install papermill ipykernel" in refused and "python3-nbclient" in refused


def test_a_new_notebook_works(programs: Folder) -> None:
    programs.tutti("program", "new", "hello", "--kind", "notebook", "--dir", programs.place)
    nbformat.validate(nbformat.read(programs.place / "hello.ipynb", as_version=4))
    assert programs.tutti("run", "hello", "--set", "name=Ann", "--set", "times=2", "--here", "--quiet").startswith("hello Ann\nhello Ann\nthe executed copy: ")
    kept = nbformat.read(programs.copies("hello")[0], as_version=4)
    nbformat.validate(kept)
    assert [c.source for c in kept.cells if "injected-parameters" in c.metadata.get("tags", [])] == ["# Parameters of this run\nname = 'Ann'\ntimes = 2"]


@pytest.mark.skipif(is_sanitized(), reason="is about the other tools")
@pytest.mark.parametrize("tool", ["papermill", "nbconvert"])
def test_it_is_run_as_other_tools_run_it(programs: Folder, tmp_path: Path, tool: str) -> None:
    """papermill with the same parameters, and jupyter nbconvert without any: the same outputs stand in the executed copies."""
    pytest.importorskip(tool)
    notebook = programs.add("adds.ipynb", book("print('sum', a + b)", "[a, b, word]", parameters="a: int = 1\nb = 2\nword = 'x'"))
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    if tool == "papermill":
        call, given = ["papermill", notebook, tmp_path / "theirs.ipynb", "-k", "python3", "-p", "a", "40", "-p", "word", "it's"], ["--set", "a=40", "--set", "word=it's"]
    else:
        call, given = ["nbconvert", "--to", "notebook", "--execute", notebook, "--output", tmp_path / "theirs.ipynb"], []
    done = subprocess.run([sys.executable, "-m", *map(str, call)], capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    programs.tutti("run", "adds", *given, "--here", "--quiet")

    def outputs(path: Path) -> List[Any]:
        cells = nbformat.read(path, as_version=4).cells
        return [[(o.output_type, o.get("text"), o.get("data")) for o in c.outputs] for c in cells if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", [])]
    assert outputs(programs.copies("adds")[0]) == outputs(tmp_path / "theirs.ipynb") != []


def run(t: Tutti, template: str, variables: Dict[str, Any], state: str = "ingest") -> Any:
    definition = {"pipeline": "p", "company": "acme", "brand": "shop", "retries": 0, "states": [{"state": state, "transformations": [{"template": template, "variables": variables}]}]}
    started = t.request("POST", "/v1/runs", {"definition": definition})
    assert started.status == 201, started.body
    until(lambda: t.get("/v1/runs/%d" % started.json["id"]).json["ended"], "the run has ended")
    return started.json["id"], t.get("/v1/runs/%d/tasks" % started.json["id"]).json["tasks"][0]


def test_in_a_run(tutti: Any) -> None:
    t = tutti(start=False, workers=1, env={"TUTTI_PROGRAMS_PYTHON": sys.executable, "TUTTI_BRANCH_NAME": "mine", "TUTTI_PROGRAMS_MEMORY": "0"})
    (t.data / "programs").mkdir(parents=True)
    cells = ["import tutti\ntask = tutti.task()\nprint('login is', login)\nprint(type(task.variables.day).__name__, task.variables.words, repr(task.variables.login), day.year)",
             "task.contract.publish([{'word': w} for w in words])", "print('before', flush=True)\nif most > 3: raise ValueError('no luck with %d' % most)", "print('behind', tutti.Secret(name='door', type_of='ftp').password)"]
    (t.data / "programs" / "count.ipynb").write_text(book(*cells, parameters=PARAMETERS))
    t.start()
    assert t.request("PUT", "/v1/secrets/shop%2Flogin", {"value": "s3cr3t-word"}).status in (200, 201)
    assert t.request("PUT", "/v1/secrets/dev%2Fftp%2Fdoor%2Fread", {"value": {"user": "gob", "host": "h", "password": "o5en-sesame"}}).status in (200, 201)
    number, task = run(t, "count", {"words": ["a", "b"], "login": "secret:shop/login"})
    assert task["state"] == "finished", task
    log = t.get("/v1/tasks/%d/log" % task["task"]).body.decode()
    assert "login is ***" in log and "datetime ['a', 'b'] '***' 2026" in log and log.index("before") < log.index("behind")
    assert len(list((t.data / "lake/dev/mine/acme/shop/ingest/count" / ("__metadata_run_id=%d" % number)).glob("*.parquet"))) == 1
    kept = Path(task["result"]["result"]["notebook"])
    assert kept.parent == t.data / "notebooks" / "count" and "run-%d-0" % number in kept.name and kept.stat().st_mode & 0o77 == 0
    text = kept.read_text()
    nbformat.validate(nbformat.reads(text, as_version=4))
    assert "s3cr3t-word" not in text and "login is ***" in text and "behind ***" in text and "o5en-sesame" not in text
    assert "behind ***" in log and "o5en-sesame" not in log  # fetched by a cell
    _, task = run(t, "count", {"words": ["a"], "most": 4})
    assert task["state"] == "failed" and "cell 6: ValueError: no luck with 4" in task["reason"], task
    copy = Path(task["reason"].partition("the executed copy: ")[2].rstrip(")"))
    failed = nbformat.read(copy, as_version=4)
    assert [o.output_type for o in failed.cells[5].outputs] == ["stream", "error"] and failed.cells[6].outputs == []
    log = t.get("/v1/tasks/%d/log" % task["task"]).body.decode()
    assert "before" in log and "no luck with 4" in log and "\x1b[" not in log
