"""Files of pipelines: the DAG that is made of one is the one that the rules make, mistakes are named with their line, what is written is read again."""
from __future__ import annotations

import json
import random
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

import pytest
from tutti_process import binary

Pipeline = Dict[str, Any]


def show(path: Path, *flags: str, code: int = 0) -> str:
    done = subprocess.run([binary(), "pipeline", "show", "-f", str(path), *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


# ---- the rules, once more ----

def rules(pipeline: Pipeline) -> Tuple[List[str], Set[Tuple[str, str]], List[str]]:
    """Ids of all nodes, the edges, and the states that are left out. Numbers are places in the file unless given."""
    nodes, edges, empty, place = ["RunEvent"], set(), [], 0
    states = []
    for index, state in enumerate(pipeline["states"]):
        tasks = []
        for one in state.get("transformations", []):
            place += 1
            number = one.get("id", place)
            tasks.append((one.get("order", 0), "_".join([pipeline["pipeline"], state["state"], one["template"], str(number)]).lower()))
        states.append((state.get("order", index), state["state"], tasks))
        if not tasks:
            empty.append(state["state"])
    waves = []
    for _, name, tasks in sorted(states, key=lambda s: s[0]):
        for order in sorted({order for order, _ in tasks}):
            waves.append((name, [task for of, task in tasks if of == order]))
    spacers = ["%s_group_step_%d" % (name, i) for i, (name, _) in enumerate(waves)]
    if spacers:
        edges.add(("RunEvent", spacers[0]))
    for i, (_, tasks) in enumerate(waves):
        nodes += tasks
        edges |= {(spacers[i], task) for task in tasks}
        if i + 1 < len(waves):
            edges |= {(task, spacers[i + 1]) for task in tasks}
    return nodes + spacers, edges, empty


def made_up(rng: random.Random, most: int) -> Pipeline:
    names = ["raw", "ingest", "master", "enhance", "enrich", "metrics", "dimensional"]
    rng.shuffle(names)
    orders = rng.sample(range(50), len(names))
    states: List[Any] = []
    numbers = iter(rng.sample(range(1, 100000), 7 * most))
    for name, order in zip(names, orders):
        tasks = [{"name": "%s-%d" % (name, i), "template": "T%d" % rng.randrange(4), "id": next(numbers), "order": rng.choice([0, 1, 3, 7, 1000])}
                 for i in range(rng.choice([0, 1, rng.randrange(most)]))]
        states.append({"state": name, "order": order, **({"transformations": tasks} if tasks or rng.random() < 0.5 else {})})
    return {"pipeline": "Pipe.%d" % rng.randrange(1000), "states": states}


def test_a_dag_is_as_the_rules_make_it(tmp_path: Path, is_long):
    rng = random.Random(7)
    for i in range(300 if is_long else 15):
        pipeline = made_up(rng, 30)
        path = tmp_path / "p.yaml"
        path.write_text(json.dumps(pipeline))  # JSON is YAML
        nodes, edges, empty = rules(pipeline)
        shown = json.loads(show(path, "--json"))
        assert [n["id"] for n in shown["nodes"]] == nodes, pipeline
        assert {tuple(e) for e in shown["edges"]} == edges and len(shown["edges"]) == len(edges)
        assert shown["empty_states"] == empty


def test_the_forms_of_a_dag_show_the_same(tmp_path: Path):
    pipeline = made_up(random.Random(11), 12)
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps(pipeline))
    nodes, edges, empty = rules(pipeline)
    lines = show(path, "--text").splitlines()
    assert {line.strip() for line in lines[1:] if not line.startswith("left out")} == set(nodes)
    assert len([line for line in lines if line.startswith("left out")]) == len(empty)
    dot = show(path, "--dot")
    assert {tuple(line.strip(' ;').replace('"', "").split(" -> ")) for line in dot.splitlines() if "->" in line} == edges
    svg = ElementTree.fromstring(show(path, "--svg"))
    assert {e.text for e in svg.iter("{http://www.w3.org/2000/svg}title")} == set(nodes)


EXAMPLE = """\
pipeline: sales
company: acme
brand: shop
schedule: {every: daily, zone: Europe/Berlin}
templates:
  fetch_orders:
    state: raw
    variables:
      prefix: text
      most: {type: int, default: 100}
      mode: {type: enum, choices: [fast, slow], optional: true}
states:
  - state: raw
    transformations:
      - template: fetch_orders
        variables:
          prefix: orders_
  - state: ingest
    transformations:
      - template: clean
        order: 2
"""


@pytest.mark.parametrize("before, after, told", [
    ("prefix: orders_", "prefx: orders_", ["line 15", "`fetch_orders`", "`prefx`"]),
    ("          prefix: orders_", "          most: 1\n", ["line 15", "lacks", "`prefix`"]),
    ("prefix: orders_", "prefix: orders_\n          most: many", ["line 15", "`most`", "whole number"]),
    ("prefix: orders_", "prefix: 1.5", ["`prefix`", "in quotes"]),
    ("prefix: orders_", "prefix: orders_\n          mode: medium", ["`mode`", "choices"]),
    ("order: 2", "ordr: 2", ["line 21", "states[1].transformations[0].ordr", "did you mean 'order'"]),
    ("order: 2", "order: two", ["line 21", "whole number"]),
    ("order: 2", "id: 1", ["line 20", "`1` is there twice"]),
    ("template: clean", "template: a/b", ["line 20", "a/b", "letters, digits"]),
    ("template: clean", "name: x\n        template: fetch_orders", ["line 20", "is for `raw`"]),
    ("- state: ingest", "- state: ingest\n    order: 0", ["line 18", "`ingest`", "another state has"]),
    ("order: 2", "order: 2\n        variables: {input_transform: clean}", ["line 20", "`clean`", "`input_transform`", "none of them could be the first"]),
    ("order: 2", "order: 2\n        variables: {old_input_transform: x}\n      - {template: x, variables: {input_transform: clean}}", ["from `clean`, which takes it from `x`"]),
    ("pipeline: sales", "pipeline: ..", ["`..`"]),
    ("pipeline: sales", "pipeline: a b", ["letters, digits"]),
    ("pipeline: sales\n", "", ["`pipeline` is missing"]),
    ("company: acme", "company: acme\ncompany: other", ["line 3", "twice"]),
    ("company: acme", "company: &x acme", ["line 2", "anchors"]),
    ("type: int", "type: number of things", ["line 10", "must be a type"]),
    ("states:", "states: {", ["line "]),
    ("    variables:\n      prefix", "  variables:\n      prefix", ["line "]),
])
def test_a_mistake_is_named_with_its_line(tmp_path: Path, before: str, after: str, told: List[str]):
    assert before in EXAMPLE
    path = tmp_path / "bad.yaml"
    path.write_text(EXAMPLE.replace(before, after, 1))
    said = show(path, code=2)
    assert all(part in said for part in told), said
