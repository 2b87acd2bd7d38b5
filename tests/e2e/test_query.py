"""Queries over Parquet files: `tutti query` against a small evaluator that follows docs/semantics.md row by row, on random
tables full of ties and nulls, and against DuckDB on real histories."""
import itertools
import json
import math
import random
import subprocess

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402

from tutti_process import binary  # noqa: E402

EVENTS = ["view", "cart", "buy", "refund", None]
COUNTRIES = ["de", "fr", "us", None]
OPERATORS = {"==": lambda a, b: a == b, "!=": lambda a, b: a != b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
             "<": lambda a, b: a < b, "<=": lambda a, b: a <= b}


# ---- the evaluator ----

def holds(row, one):
    column, op, value = one
    cell = row[column]
    if isinstance(cell, float) and math.isnan(cell):
        cell = None
    if op in ("!=", "not contains", "not in"):
        positive = {"!=": "==", "not contains": "contains", "not in": "in"}[op]
        return not holds(row, (column, positive, value))
    if cell is None:
        return False
    if op == "contains":
        return value in cell
    if op == "in":
        return cell in value
    return OPERATORS[op](cell, value)


def matches(row, holder):
    filters = holder.get("filters") or [holder["filter"]]
    return all(holds(row, (f["column"], f["op"], f["value"]) if isinstance(f, dict) else f) for f in filters)


def chains(rows, sequence, duration):
    """For each step: None, or the best (time, start): the earliest completion, of those the latest start. By trying all chains."""
    rows = [row for row in rows if row["ts"] is not None]
    wanted = [i for i, step in enumerate(sequence) if step.get("rowFound", True)]
    results = []
    for upto in range(len(sequence)):
        steps = [i for i in wanted if i <= upto]
        if not steps:
            results.append(True)
            continue
        best = None
        for times in itertools.product(*[sorted({r["ts"] for r in rows if matches(r, sequence[i])}) for i in steps]):
            if fits(rows, sequence, steps, times, upto, duration) and (best is None or (times[-1], -times[0]) < (best[0], -best[1])):
                best = (times[-1], times[0])
        results.append(best)
    return results


def fits(rows, sequence, steps, times, upto, duration):
    if any(b <= a for a, b in zip(times, times[1:])) or (duration is not None and times[-1] - times[0] > duration):
        return False
    for k in range(1, len(steps)):
        gap = times[k] - times[k - 1]
        if gap < sequence[steps[k]].get("minGap", 0) or gap > sequence[steps[k]].get("maxGap", math.inf):
            return False
    edges = [-math.inf, *times, math.inf]
    for i, step in enumerate(sequence[:upto + 1]):
        if step.get("rowFound", True):
            continue
        after = sum(1 for s in steps if s < i)      # it stands behind so many steps that happen
        is_last = all(not s.get("rowFound", True) for s in sequence[i:])
        if after == len(steps) and not is_last:
            continue                                # its other neighbour is not part of this chain yet
        if any(edges[after] < r["ts"] < edges[after + 1] and matches(r, step) for r in rows):
            return False
    return True


def passed(rows, sequence, duration):
    count = 0
    for result in chains(rows, sequence, duration):
        if result is None:
            break
        count += 1
    return count


def condition_holds(rows, condition):
    if "sequence" in condition:
        return passed(rows, condition["sequence"], condition.get("maxDuration")) == len(condition["sequence"])
    found = [row for row in rows if matches(row, condition)]
    target = condition.get("target", ["count", ">=", 1])
    if target[0] == "count":
        zero = condition.get("includeZero", target[1:] == ["==", 0])
        return (bool(found) or zero) and OPERATORS[target[1]](len(found), target[2])
    return bool(found) and OPERATORS[target[2]](sum(row[target[1]] or 0 for row in found), target[3])


def evaluate(rows, query):
    frame = query.get("timeframe", {})
    rows = [r for r in rows if r["user"] is not None
            and ("from" not in frame or (r["ts"] is not None and r["ts"] >= frame["from"]))
            and ("to" not in frame or (r["ts"] is not None and r["ts"] < frame["to"]))]
    groups = {}
    for row in rows:
        groups.setdefault(row["user"], []).append(row)
    part = query.get("query", {})
    conditions = part.get("conditions", [])
    join = any if part.get("relation") == "or" else all
    found = {user: own for user, own in groups.items() if join(condition_holds(own, c) for c in conditions) or not conditions}
    answer = {"query": {"matchingGroups": len(found), "matchingGroupRows": sum(map(len, found.values()))}}
    funnel = query.get("funnel")
    if funnel:
        levels = {user: passed(own, funnel["sequence"], funnel.get("maxDuration")) for user, own in found.items()}
        answer["funnel"] = [(sum(level > i for level in levels.values()), sum(len(found[user]) for user, level in levels.items() if level > i))
                            for i in range(len(funnel["sequence"]))]
    values = {}
    for user, own in found.items():
        for row in own:
            if row["event"] is not None:
                tally = values.setdefault(row["event"], [0, set(), 0])
                tally[0] += 1
                tally[1].add(user)
                tally[2] += row["n"] or 0
    answer["values"] = {event: (rows_, len(users), total) for event, (rows_, users, total) in values.items()}
    return answer


# ---- random tables and queries ----

def random_table(rng, count, users, ordered):
    rows = [{"user": rng.choice([None, *range(users)] if rng.random() < 0.02 else range(users)), "ts": rng.choice([None] + [rng.randrange(40)] * 30),
             "event": rng.choice(EVENTS), "country": rng.choice(COUNTRIES), "n": rng.choice([None, -3, 0, 1, 2, 7]),
             "price": rng.choice([None, float("nan"), 0.5, 2.25, -1.0])} for _ in range(count)]
    if ordered:
        rows.sort(key=lambda r: (r["ts"] is None, r["ts"]))
    return rows


def write(path, rows, rng):
    schema = pa.schema([("user", pa.int64()), ("ts", pa.int64()), ("event", pa.string()), ("country", pa.string()), ("n", pa.int32()), ("price", pa.float64())])
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, path, row_group_size=rng.choice([7, 50, 10000]), use_dictionary=rng.choice([True, False]),
                   compression=rng.choice(["snappy", "zstd", "none"]), data_page_version=rng.choice(["1.0", "2.0"]))


def random_filter(rng):
    return rng.choice([["event", rng.choice(["==", "!="]), rng.choice(["view", "cart", "buy"])], ["event", rng.choice(["contains", "not contains"]), rng.choice(["u", "e", ""])],
                       ["country", rng.choice(["in", "not in"]), ["de", "us"]], ["n", rng.choice(list(OPERATORS)), rng.choice([-3, 0, 1, 1.5, 2])],
                       ["price", rng.choice(list(OPERATORS)), rng.choice([0.5, 2])], ["ts", rng.choice(list(OPERATORS)), rng.randrange(40)]])


def random_test(rng):
    if rng.random() < 0.7:
        return {"filter": random_filter(rng)}
    return {"filters": [dict(zip(("column", "op", "value"), random_filter(rng))) for _ in range(2)]}


def random_sequence(rng, extended):
    steps = [random_test(rng) for _ in range(rng.randrange(1, 4))]
    if not extended:
        return {"sequence": steps}
    for i, step in enumerate(steps):
        if rng.random() < 0.3:
            step["rowFound"] = False
        elif i and rng.random() < 0.4:
            step[rng.choice(["minGap", "maxGap"])] = rng.randrange(1, 15)
    steps.insert(rng.randrange(len(steps) + 1), random_test(rng))
    if not steps[0].get("rowFound", False):
        steps[0].pop("minGap", None), steps[0].pop("maxGap", None)
    first = steps[0]
    first.pop("minGap", None), first.pop("maxGap", None)
    return {"sequence": steps, **({"maxDuration": rng.randrange(30)} if rng.random() < 0.5 else {})}


def random_condition(rng):
    if rng.random() < 0.3:
        return random_sequence(rng, rng.random() < 0.4)
    condition = random_test(rng)
    if rng.random() < 0.7:
        condition["target"] = rng.choice([["count", rng.choice(["==", "!=", ">", ">=", "<", "<="]), rng.randrange(4)], ["sum", "n", rng.choice(list(OPERATORS)), rng.randrange(-3, 9)]])
        if condition["target"][0] == "count" and condition["target"][1] in ("<=", "!=") and condition["target"][2] > 0 and rng.random() < 0.5:
            condition["includeZero"] = True
    return condition


def random_query(rng):
    query = {"query": {"conditions": [random_condition(rng) for _ in range(rng.randrange(3))], "relation": rng.choice(["and", "or"]),
                       "aggregations": [{"column": "event", "type": "countPerValue"}, {"column": "event", "type": "groupsPerValue"},
                                        {"column": "event", "type": "sumPerValue", "otherColumn": "n"}]}}
    if rng.random() < 0.8:
        query["funnel"] = random_sequence(rng, rng.random() < 0.5)
    if rng.random() < 0.2:
        query["timeframe"] = {"from": rng.randrange(10, 15), "to": rng.randrange(20, 40)}
    return query


def command_line(*arguments):
    return subprocess.run([str(binary()), *arguments], capture_output=True, text=True, timeout=120)


def ask(path, query, *more):
    done = command_line("query", str(path), "--group", "user", "--time", "ts", "-e", json.dumps(query), "--json", *more)
    assert done.returncode == 0, (done.stderr, query)
    return json.loads(done.stdout)


def agree(rows, query, answer):
    want = evaluate(rows, query)
    got = answer["query"]
    assert {k: got[k] for k in want["query"]} == want["query"], query
    if "funnel" in want:
        assert [(s["matchingGroups"], s["matchingGroupRows"]) for s in answer["funnel"]["sequence"]] == want["funnel"], query
    per_value = [a["value"] for a in got["aggregations"]]
    for i, values in enumerate(per_value):
        assert values == {event: tally[i] for event, tally in want["values"].items()}, (query, i)


@pytest.mark.parametrize("seed", range(6))
def test_random_queries_agree_with_the_evaluator(tmp_path, seed, is_long):
    rng = random.Random(seed)
    path = tmp_path / "part.parquet"
    for _ in range(60 if is_long else 6):
        rows = random_table(rng, rng.choice([0, 1, 30, 150]), rng.choice([1, 5, 20]), rng.random() < 0.3)
        write(path, rows, rng)
        for _ in range(8):
            query = random_query(rng)
            agree(rows, query, ask(path, query))


def test_several_files_are_added_up(tmp_path):
    rng = random.Random(99)
    tables = [[{**row, "user": None if row["user"] is None else row["user"] + 1000 * part} for row in random_table(rng, 200, 20, False)] for part in range(3)]
    paths = []
    for part, rows in enumerate(tables):
        paths.append(tmp_path / f"part-{part}.parquet")
        write(paths[-1], rows, rng)
    for _ in range(10):
        query = random_query(rng)
        agree([row for rows in tables for row in rows], query, ask(paths[0], query, *map(str, paths[1:])))


def test_time_to_convert_and_texts(tmp_path):
    rows = [{"user": u, "ts": t, "event": e, "country": None, "n": None, "price": None} for u, t, e in
            [(1, 0, "view"), (1, 5, "view"), (1, 9, "buy"), (2, 3, "view"), (2, 4, "buy"), (3, 1, "buy"), (3, 2, "view")]]
    write(tmp_path / "p.parquet", rows, random.Random(1))
    query = {"funnel": {"sequence": [{"filter": ["event", "==", "view"]}, {"filter": ["event", "==", "buy"]}], "timeToConvert": True,
                        "endAggregations": [{"column": "event", "type": "meanPerValue", "otherColumn": "ts", "name": "when"}]}}
    answer = ask(tmp_path / "p.parquet", query)
    times = answer["funnel"]["sequence"][1]["timeToConvert"]
    assert times == pytest.approx({"count": 2, "min": 1, "25%": 1.75, "median": 2.5, "75%": 3.25, "95%": 3.85, "max": 4, "mean": 2.5})
    assert answer["funnel"]["endAggregations"] == [{"column": "event", "type": "meanPerValue", "value": {"buy": 6.5, "view": 8 / 3}, "top": 10, "name": "when"}]
    shown = command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-e", json.dumps(query))
    assert shown.returncode == 0 and "3 groups match, with 7 of 7 rows" in shown.stdout and "66.7 %" in shown.stdout


@pytest.mark.parametrize("arguments, code, text", [
    (["--time", "ts", "--empty"], 2, "--group is missing"),
    (["--group", "user", "--time", "ts"], 2, "give the query once"),
    (["--group", "nope", "--time", "ts", "--empty"], 2, "Column nope not found in file"),
    (["--group", "price", "--time", "ts", "--empty"], 2, "must be either integer or string, but found: FLOAT"),
    (["--group", "user", "--time", "event", "--empty"], 2, "Column event is not numeric"),
    (["--group", "user", "--time", "ts", "-e", "{"], 2, "the query is not JSON"),
    (["--group", "user", "--time", "ts", "-e", '{"blah":1}'], 2, "ValidationError(SCHEMA: Additional properties are not allowed ('blah' was unexpected))"),
    (["--group", "user", "--time", "ts", "-e", '{"query":{"conditions":[{"filter":["event","regex","("]}]}}'], 2, "the regular expression `(` cannot be read"),
])
def test_what_is_wrong_is_said(tmp_path, arguments, code, text):
    write(tmp_path / "p.parquet", random_table(random.Random(3), 10, 3, False), random.Random(3))
    done = command_line("query", str(tmp_path / "p.parquet"), *arguments)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr


def test_a_real_history_agrees_with_duckdb(shared):
    duckdb = pytest.importorskip("duckdb")
    path = shared / "events" / "gitlog_events.parquet"
    events = ["commit", "add", "modify"]
    query = {"funnel": {"sequence": [{"filter": ["event", "==", e]} for e in events]},
             "query": {"conditions": [{"filter": ["event", "==", "modify"], "target": ["count", ">=", 5]}]}}
    done = command_line("query", str(path), "-g", "userid", "-t", "ts", "-e", json.dumps(query), "--json")
    answer = json.loads(done.stdout)
    steps = ["SELECT userid, min(ts) t FROM ev WHERE event='%s' GROUP BY userid" % events[0]]
    steps += ["SELECT e.userid, min(e.ts) t FROM ev e JOIN s%d s ON e.userid=s.userid AND e.ts>s.t WHERE event='%s' GROUP BY e.userid" % (i, e)
              for i, e in enumerate(events[1:])]
    sql = "WITH m AS (SELECT userid FROM '%s' WHERE event='modify' GROUP BY userid HAVING count(*) >= 5), ev AS (SELECT * FROM '%s' WHERE userid IN (SELECT userid FROM m)), %s" % (
        path, path, ", ".join("s%d AS (%s)" % (i, s) for i, s in enumerate(steps)))
    counts = duckdb.sql(sql + " SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM ev), " + ", ".join("(SELECT count(*) FROM s%d)" % i for i in range(3))).fetchall()[0]
    got = [answer["query"]["matchingGroups"], answer["query"]["matchingGroupRows"]] + [s["matchingGroups"] for s in answer["funnel"]["sequence"]]
    assert got == list(counts)
