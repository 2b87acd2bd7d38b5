"""What queries mean, in a small evaluator that follows docs/semantics.md row by row, and random tables full of ties and nulls with random queries, on
which it is compared with the engine."""
import itertools
import json
import math
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq

from tutti_process import binary, is_sanitized

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
    if op in ("containsAny", "containsAll"):
        return (any if op == "containsAny" else all)(one in cell for one in value)
    if op.startswith("size "):
        return OPERATORS[op[len("size "):]](len(cell), value)
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


def entry_value(rows, sequence, column):
    """The value with which a group enters a funnel: of its earliest row that passes the first step that happens; of several at that time the least that is one."""
    first = next(step for step in sequence if step.get("rowFound", True))
    found = [row for row in rows if row["ts"] is not None and matches(row, first)]
    values = [row[column] for row in found if row["ts"] == min(r["ts"] for r in found)]
    return min((v for v in values if v is not None and v == v), key=order_of, default=None)


def order_of(value):
    return value.encode() if isinstance(value, str) else value


def key_of(value):
    return value if isinstance(value, str) else repr(value)


def break_down(found, levels, funnel):
    """By value (None: without one): for each step the groups that passed it, and their rows."""
    sequence, column = funnel["sequence"], funnel["breakdown"]["column"]
    happens = next(i for i, step in enumerate(sequence) if step.get("rowFound", True))
    table = {}
    for user, own in found.items():
        value = entry_value(own, sequence, column) if levels[user] > happens else None
        steps = table.setdefault(None if value is None else key_of(value), [[0, 0] for _ in sequence])
        for step in steps[:levels[user]]:
            step[0] += 1
            step[1] += len(own)
    return {value: steps for value, steps in table.items() if steps[0][0]}


def retain(rows, found, retention):
    """By the period of a group's first row: how many groups, and how many of them came back after 0, 1, ... periods that can be seen."""
    first, again = retention.get("first"), retention.get("again", retention.get("first"))
    piece = lambda row: row["ts"] // retention["period"]  # noqa: E731
    last = max((piece(row) for row in rows if row["ts"] is not None), default=None)
    table = {}
    for own in found.values():
        timed = [row for row in own if row["ts"] is not None]
        begins = min((row["ts"] for row in timed if not first or matches(row, first)), default=None)
        if begins is None:
            continue
        came = {piece(row) - begins // retention["period"] for row in timed if row["ts"] >= begins and (not again or matches(row, again))}
        cohort = table.setdefault(begins // retention["period"], [0, [0] * (retention["periods"] + 1)])
        cohort[0] += 1
        for later in came:
            if later <= retention["periods"]:
                cohort[1][later] += 1
    return {start: (groups, came[:last - start + 1]) for start, (groups, came) in table.items()}


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
    answer = {"ids": sorted(found), "query": {"matchingGroups": len(found), "matchingGroupRows": sum(map(len, found.values()))}}
    funnel = query.get("funnel")
    if funnel:
        levels = {user: passed(own, funnel["sequence"], funnel.get("maxDuration")) for user, own in found.items()}
        answer["passed"] = [sorted(user for user, level in levels.items() if level > i) for i in range(len(funnel["sequence"]))]
        answer["funnel"] = [(sum(level > i for level in levels.values()), sum(len(found[user]) for user, level in levels.items() if level > i))
                            for i in range(len(funnel["sequence"]))]
        if "breakdown" in funnel:
            answer["breakdown"] = break_down(found, levels, funnel)
    if "retention" in query:
        answer["retention"] = retain(rows, found, query["retention"])
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


def write(path, rows, rng, **more):
    schema = pa.schema([("user", pa.int64()), ("ts", pa.int64()), ("event", pa.string()), ("country", pa.string()), ("n", pa.int32()), ("price", pa.float64())])
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, path, row_group_size=rng.choice([7, 50, 10000]), use_dictionary=rng.choice([True, False]),
                   compression=rng.choice(["snappy", "zstd", "none"]), data_page_version=rng.choice(["1.0", "2.0"]), **more)


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
        if rng.random() < 0.5:
            query["funnel"]["breakdown"] = {"column": rng.choice(["country", "n", "price", "event"]), "top": rng.choice([1, 2, 100])}
    if rng.random() < 0.3:
        query["retention"] = {"period": rng.choice([1, 3, 7, 50]), "periods": rng.choice([1, 4, 70])}
        for member in ("first", "again"):
            if rng.random() < 0.6:
                query["retention"][member] = random_test(rng)
    if rng.random() < 0.2:
        query["timeframe"] = {"from": rng.randrange(10, 15), "to": rng.randrange(20, 40)}
    return query


def so_many(is_long, long, short):
    """Random tables: under a sanitizer, where a process takes ten times as long to start, a third."""
    return long if is_long else max(1, short // 3) if is_sanitized() else short


# ---- asking ----

def command_line(*arguments):
    return subprocess.run([str(binary()), *arguments], capture_output=True, text=True, timeout=120)


def ask(path, query, *more):
    done = command_line("query", str(path), "--group", "user", "--time", "ts", "-e", json.dumps(query), "--json", *more)
    assert done.returncode == 0, (done.stderr, query)
    return json.loads(done.stdout)


# ---- comparing ----

def counts(sequence):
    return [[step["matchingGroups"], step["matchingGroupRows"]] for step in sequence]


def agree_on_breakdown(want, got, query):
    happens = next(i for i, step in enumerate(query["funnel"]["sequence"]) if step.get("rowFound", True))
    ranked = sorted((value for value in want if value is not None), key=lambda value: (-want[value][happens][0], value.encode()))
    top = query["funnel"]["breakdown"]["top"]
    assert [(one["value"], counts(one["sequence"])) for one in got["values"]] == [(value, want[value]) for value in ranked[:top]], query
    others = [[sum(want[value][i][k] for value in ranked[top:]) for k in (0, 1)] for i in range(len(query["funnel"]["sequence"]))]
    assert ("others" in got) == (len(ranked) > top), query
    if "others" in got:
        assert (got["others"]["values"], counts(got["others"]["sequence"])) == (len(ranked) - top, others), query
    assert counts(got.get("without", {}).get("sequence", [])) == want.get(None, []), query


def agree_on_retention(want, got, query):
    period = query["retention"]["period"]
    assert [(one["from"], one["groups"], one["returned"]) for one in got["cohorts"]] == [(str(start * period), *want[start]) for start in sorted(want)], query
    for later, total in enumerate(got["totals"]):
        seen = [cohort for cohort in want.values() if len(cohort[1]) > later]
        assert total == {"groups": sum(groups for groups, _ in seen), "returned": sum(came[later] for _, came in seen)}, query
    assert len(got["totals"]) == max((len(came) for _, came in want.values()), default=0), query


def agree(rows, query, answer):
    want = evaluate(rows, query)
    got = answer["query"]
    assert {k: got[k] for k in want["query"]} == want["query"], query
    if "funnel" in want:
        assert [(s["matchingGroups"], s["matchingGroupRows"]) for s in answer["funnel"]["sequence"]] == want["funnel"], query
    if "breakdown" in want:
        agree_on_breakdown(want["breakdown"], answer["funnel"]["breakdown"], query)
    if "retention" in want:
        agree_on_retention(want["retention"], answer["retention"], query)
    per_value = [a["value"] for a in got["aggregations"]]
    for i, values in enumerate(per_value):
        assert values == {event: tally[i] for event, tally in want["values"].items()}, (query, i)
