"""Pipelines in the configuration: saved from files and over routes, in SQLite and PostgreSQL alike; what is wrong is refused with a sentence that says where."""
from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
from config_database import Config
from tutti_process import ROOT

SALES: Dict[str, Any] = {
    "pipeline": "sales", "company": "Nfoods", "brand": "Teamocil", "type": "regression", "segment": "Patient", "schedule": {"every": "daily", "zone": "Europe/Berlin"},
    "templates": {
        "extract": {"state": "raw", "tags": ["current", "beta"],
                    "variables": {"folder": {"type": "text"}, "skip": {"type": "int", "default": 0}, "columns": {"type": "list", "optional": True}}},
        "clean": {"description": "Cleans.", "variables": {
            "threshold": {"type": "float"}, "mapping": {"type": "map"}, "mode": {"type": "enum", "choices": ["soft", "hard"]}, "since": {"type": "datetime"},
            "key": {"type": "secret"}, "on": {"type": "bool"}}}},
    "states": [
        {"state": "raw", "transformations": [
            {"template": "extract", "variables": {"folder": "in", "skip": 2, "columns": ["a", "b,c"]}},
            {"name": "second", "template": "extract", "order": 1, "variables": {"folder": "5"}, "cpu": 1.5, "timeout_s": 60, "retries": 0, "env": {"A": "b=\"c\""}}]},
        {"state": "ingest", "transformations": [
            {"template": "clean", "variables": {"threshold": 1.5, "mapping": {"b": 1, "a": [None]}, "mode": "soft", "since": "2026-01-31T12:00:00",
                                                "key": "secret:dev/db/x/read", "on": True}},
            {"template": "free", "variables": {"a": "5", "b": 5, "c": [1], "d": "text", "e": "", "f": "\"q\"", "g": "\u00e4\n"}}]}],
}


@pytest.fixture
def ready(config):
    """A configuration with its tables: a PostgreSQL's are not made by themselves."""
    if config.server:
        config.run("db", "create")
    return config


def changed(path: str, value: Any, tree: Dict[str, Any] = SALES) -> Dict[str, Any]:
    """A copy with one member set; "states/0/state"."""
    result = copy.deepcopy(tree)
    *way, last = path.split("/")
    at: Any = result
    for part in way:
        at = at[int(part) if part.isdigit() else part]
    if value is None:
        del at[int(last) if last.isdigit() else last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return result


def write(config: Config, tree: Dict[str, Any], name: str = "p.yaml") -> Path:
    path = config.data / name
    path.write_text(json.dumps(tree, ensure_ascii=False))  # JSON is YAML
    return path


def read_yaml(text: str) -> Any:
    """By another reader: Debian's PyYAML."""
    done = subprocess.run(["/usr/bin/python3", "-c", "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def apply(config: Config, tree: Dict[str, Any], verb: str = "apply", **more: Any) -> str:
    return config.run("pipeline", verb, write(config, tree), "--any-program", **more)


def counts(config: Config) -> str:
    return config.ask("SELECT count(*), max(id) FROM " + config.events)


def test_apply_export_diff(ready):
    assert apply(ready, SALES).startswith("sales: created\n")
    written = counts(ready)
    assert apply(ready, SALES) == "sales: unchanged\n" and counts(ready) == written  # nothing is written, so nothing audited
    exported = ready.run("pipeline", "export", "sales")
    assert read_yaml(exported) == SALES
    assert ready.ask("SELECT value FROM transformation_variables WHERE name = 'mapping'") == '{"b":1,"a":[null]}'
    assert ready.ask("SELECT value FROM transformation_variables WHERE name = 'folder' ORDER BY id LIMIT 1") == "in"
    ids = ready.rows("SELECT id FROM transformations ORDER BY id")
    after = changed("states/0/transformations/0/variables/skip", 3)
    after["states"] = [dict(after["states"][1], state="master"), dict(after["states"][0])]  # other order, other state
    after["states"][0]["transformations"][0]["variables"]["mode"] = "hard"
    del after["states"][1]["transformations"][1]
    shown = apply(ready, after, "diff", code=3)
    assert "1 pipeline would be changed" in shown and counts(ready) == written
    shown = apply(ready, after)
    assert "~ states.raw.transformations.extract.variables.skip: 2 -> 3\n" in shown and "- states.raw.transformations.second:" in shown
    assert apply(ready, after, "diff") == "sales: unchanged\n"
    kept = ready.rows("SELECT id FROM transformations ORDER BY id")
    assert kept == [i for i in ids if i != ids[1]]  # they keep their numbers, and with them the ids of their tasks
    assert ready.run("pipeline", "list").splitlines()[1].split()[:4] == ["sales", "Nfoods", "Teamocil", "yes"]
    assert ready.run("pipeline", "delete", "sales", "--yes") == "" and ready.ask("SELECT count(*) FROM transformation_variables") == "0"
    assert "no pipeline `sales`" in ready.run("pipeline", "export", "sales", code=4)


WRONG = [
    ("states/0/transformations/0/variables/skip", "many", "variable `skip` of the transformation `extract`"),
    ("states/0/transformations/0/variables/extra", 1, "variable `extra`"),
    ("states/0/transformations/1/variables/folder", None, "`second` lacks the variable `folder`"),
    ("states/1/transformations/0/variables/mode", "loud", "variable `mode` of the transformation `clean`"),
    ("states/1/transformations/0/variables/key", "hunter2", "variable `key` of the transformation `clean`"),
    ("states/1/transformations/0/variables/since", "2026-02-30", "variable `since`"),
    ("states/1/transformations/0/variables/mapping", [1], "variable `mapping`"),
    ("states/1/transformations/0/variables/on", "maybe", "variable `on`"),
    ("states/1/state", "raw", "the state `raw` is there twice"),
    ("states/1/order", 0, "states come one after the other"),
    ("states/1/transformations/1/name", "second", "the transformation `second` is there twice"),
    ("company", "N/foods", "company's name `N/foods`"),
    ("brand", "Team ocil", "brand's name `Team ocil`"),
    ("brand", None, "names a company and no brand"),
    ("states/0/transformations/0/template", "clean", "transformation `clean`"),
]


def test_what_is_wrong_is_refused_with_its_place(tutti):
    """By the route, which is what the server relies on: files are checked before they are sent as well."""
    t = tutti()
    for path, value, sentence in WRONG:
        answer = t.request("PUT", "/v1/pipelines/sales?programs=any", changed(path, value))
        assert answer.status == 400 and sentence in answer.json["detail"], (path, answer.json)
    assert t.get("/v1/pipelines").json["pipelines"] == []
    answer = t.request("PUT", "/v1/pipelines/sales", SALES)
    assert answer.status == 400 and "the transformation `extract` of the state `raw`: there is no program `extract`" in answer.json["detail"]
    assert t.request("PUT", "/v1/pipelines/other?programs=any", SALES).status == 400
    assert t.request("PUT", "/v1/pipelines/sales?programs=some", SALES).status == 400


def test_create_show_delete_over_routes(tutti):
    t = tutti()
    answer = t.request("POST", "/v1/pipelines?programs=any&actor=me@example.com", SALES)
    assert (answer.status, answer.json["outcome"], answer.json["was"], answer.json["is"]) == (201, "created", None, SALES)
    assert t.request("POST", "/v1/pipelines?programs=any", SALES).status == 409
    answer = t.request("PUT", "/v1/pipelines/sales?programs=any&dry_run=true", changed("description", "New."))
    assert (answer.status, answer.json["outcome"], answer.json["is"]["description"]) == (200, "updated", "New.")
    shown = t.get("/v1/pipelines/sales").json
    assert shown["problem"] is None and "description" not in shown["definition"] and shown["definition"]["id"] == 1
    assert t.request("DELETE", "/v1/pipelines/sales").json == {"schema": 1, "deleted": True}
    assert t.request("DELETE", "/v1/pipelines/sales").status == 404
    assert any("action=pipeline.save" in line and "actor=me@example.com" in line for line in t.log().splitlines())


def test_a_template_that_others_use(ready):
    """A change that would break another pipeline is refused; one that does not is everybody's."""
    other = {"pipeline": "other", "states": [{"state": "raw", "transformations": [{"template": "extract", "variables": {"folder": "x"}}]}]}
    apply(ready, SALES)
    apply(ready, other)
    assert read_yaml(ready.run("pipeline", "export", "other"))["templates"]["extract"] == SALES["templates"]["extract"]
    stricter = changed("templates/extract/variables/day", {"type": "datetime"})
    for transformation in stricter["states"][0]["transformations"]:
        transformation["variables"]["day"] = "2026-01-31T00:00:00"
    assert "the pipeline `other` uses a template that this changes: the transformation `extract` lacks the variable `day`" in apply(ready, stricter, code=5)
    stricter["templates"]["extract"]["variables"]["day"]["default"] = "2026-01-01"
    assert "templates.extract.variables.day" in apply(ready, stricter)
    wrong = changed("states/0/transformations/0/variables/day", 5, other)
    assert "variable `day` of the transformation `extract`" in apply(ready, wrong, code=2)


def chain(pipeline: str, brand: str, **inputs: str) -> Dict[str, Any]:
    """Each takes its input from the template that is named; "": from none."""
    return {"pipeline": pipeline, "company": "acme", "brand": brand, "states": [{"state": "s%d" % i, "transformations": [
        {"template": name, "variables": {"input_transform": source} if source else {}}]} for i, (name, source) in enumerate(inputs.items())]}


def test_inputs_that_nothing_makes_are_refused(ready):
    said = apply(ready, chain("sales", "shop", fetch="", clean="fetsh"), code=2)
    assert "`clean`" in said and "`input_transform`" in said and "`fetsh`" in said and ready.json("pipeline", "list")["pipelines"] == []
    assert "`a`, which takes it from `b`" in apply(ready, chain("sales", "shop", a="b", b="a"), code=2).replace("`b`, which takes it from `a`", "`a`, which takes it from `b`")
    apply(ready, chain("sales", "shop", fetch="", clean="fetch"))
    apply(ready, chain("more", "shop", sums="clean"))  # of another pipeline of the brand
    apply(ready, chain("other", "other", sums="clean"), code=2)
    said = apply(ready, chain("sales", "shop", fetch=""), code=5)
    assert "`more`" in said and "`sums`" in said and "`clean`" in said
    assert "`more`" in ready.run("pipeline", "delete", "sales", "--yes", code=5)
    ready.run("pipeline", "delete", "more", "--yes")
    apply(ready, chain("sales", "shop", fetch=""))


def test_rows_of_others_are_told_what_is_wrong(config):
    """Rows that nobody checked: of the demonstration only one transformation has all of its variables; a name may be missing."""
    config.run("db", "demo")
    listed = {p["name"]: p["problem"] for p in config.json("pipeline", "list")["pipelines"]}
    assert "the transformation `extract_from_ftp` lacks the variable `filesystem_path`" in listed["bluth_banana_regression"]
    assert "the transformation `initial_ingest` lacks" in listed["bluth_profitability"] and listed["temocil_profitablility"] is None
    config.ask("UPDATE transformations SET name = NULL")
    tree = read_yaml(config.run("pipeline", "export", "bluth_profitability"))
    assert [t.get("name", t["template"]) for t in tree["states"][1]["transformations"]] == ["initial_ingest", "initial_ingest_5"]
    assert tree["states"][0]["transformations"][0]["variables"]["secret_type_of"] == "FTP"
    assert "has 1 run" in config.run("pipeline", "delete", "bluth_profitability", "--yes", code=5)
    config.ask("UPDATE transformation_templates SET variable_structures = '{\"x\":{\"datatype\":\"blob\"}}'")
    assert "datatype `blob`" in config.run("pipeline", "export", "bluth_profitability", code=2)


def test_export_into_a_folder(ready, tmp_path):
    apply(ready, SALES)
    apply(ready, {"pipeline": "empty", "states": []})
    folder = tmp_path / "files"
    folder.mkdir()
    assert sorted(Path(line).name for line in ready.run("pipeline", "export", "--dir", folder).splitlines()) == ["empty.yaml", "sales.yaml"]
    assert ready.run("pipeline", "diff", "--any-program", *sorted(folder.iterdir())) == "empty: unchanged\nsales: unchanged\n"


def test_a_configuration_of_a_real_size(tutti, config):
    """Four pipelines, 28 states, 31 templates, 80 transformations, 1,677 variables: what is loaded is what was put there (script/bench pipeline has the time)."""
    sys.path.insert(0, str(ROOT / "bench"))
    from driver.configuration import configuration
    t = tutti(env=config.env)
    if not config.server:
        config.shell.path = t.data / "config.db"
    t.request("POST", "/v1/db/create")
    for tree in configuration():
        assert t.request("PUT", "/v1/pipelines/%s?programs=any" % tree["pipeline"], tree).status == 201
        assert t.get("/v1/pipelines/%s?plain=true" % tree["pipeline"]).json == {"schema": 1, "definition": tree, "problem": None}
    assert [p["transformations"] for p in t.get("/v1/pipelines").json["pipelines"]] == [22, 6, 25, 27]
    tables = ("pipelines", "pipeline_states", "transformation_templates", "transformations", "transformation_variables")
    assert config.rows("SELECT %s" % ", ".join("(SELECT count(*) FROM %s)" % table for table in tables)) == [["4", "28", "31", "80", "1677"]]
