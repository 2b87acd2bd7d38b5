"""Queries in the words of others: DuckDB's SQL for each kind of question, and pandas, on random tables full of ties, unsorted, sorted by time and by group, cold
and prepared; and the funnels of real histories whose results are known."""
import json
import random

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pd = pytest.importorskip("pandas", reason="pandas is not installed")
duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
import pyarrow.parquet as pq  # noqa: E402

from query_cases import command_line, so_many  # noqa: E402

EVENTS = ["view", "a2c", "checkout", "purchase"]
M = """WITH m AS (SELECT user_id FROM ev GROUP BY user_id HAVING
 (count(*) FILTER (event='view') >= 3 AND count(*) FILTER (event='purchase') > 0 AND coalesce(sum(price) FILTER (event='purchase'),0) > 100)
 OR count(*) FILTER (event='refund' AND country='us') = 1)"""
AUDIENCE = {"relation": "($0 and $1 and $2) or $3", "conditions": [
    {"filter": ["event", "==", "view"], "target": ["count", ">=", 3]}, {"filter": ["event", "==", "purchase"]},
    {"filter": ["event", "==", "purchase"], "target": ["sum", "price", ">", 100]},
    {"filters": [{"column": "event", "op": "==", "value": "refund"}, {"column": "country", "op": "==", "value": "us"}], "target": ["count", "==", 1]}]}


def table(rng, rows, users, order, ids):
    """Few times, so that most rows share theirs with another of the same group."""
    data = []
    for _ in range(rows):
        user = None if rng.random() < 0.02 else int(users * rng.random() ** 2)
        price = rng.choice([None, None, rng.randrange(400) / 4])
        data.append([user, rng.randrange(rng.choice([3, 12, 50])), rng.choice([*EVENTS, *EVENTS, "refund", "login", None]), f"category-{rng.randrange(30)}", price,
                     rng.choice(["de", "us", "fr", None])])
    if order == "time":
        data.sort(key=lambda row: row[1])
    elif order == "user":
        data.sort(key=lambda row: (row[0] is None, row[0], row[1]))
    columns = list(zip(*data)) if data else [[] for _ in range(6)]
    user = pa.array(columns[0], pa.int64())
    if ids == "text":
        user = pa.array([None if one is None else f"user-{one}" + "-with-a-long-name" * (one % 3) for one in columns[0]], pa.string())
    return pa.table({"user_id": user, "ts": pa.array(columns[1], pa.int64()), "event": pa.array(columns[2], pa.string()), "category": pa.array(columns[3], pa.string()),
                     "price": pa.array(columns[4], pa.float64()), "country": pa.array(columns[5], pa.string())})


def chained(steps):
    parts = [f"s0 AS (SELECT user_id, min(ts) t FROM ev WHERE event='{steps[0]}' GROUP BY user_id)"]
    for i, event in enumerate(steps[1:]):
        parts.append(f"s{i + 1} AS (SELECT e.user_id, min(e.ts) t FROM ev e JOIN s{i} s ON e.user_id=s.user_id AND e.ts>s.t WHERE event='{event}' GROUP BY e.user_id)")
    return ", ".join(parts)


def sequence(steps):
    return [{"filter": ["event", "==", event]} for event in steps]


def groups_and_rows(answer):
    return [(answer["query"]["matchingGroups"], answer["query"]["matchingGroupRows"])]


def counted(having):
    return f"WITH m AS (SELECT user_id, count(*) n FROM ev GROUP BY user_id HAVING {having}) SELECT count(*), coalesce(sum(n), 0)::BIGINT FROM m"


def condition(*filters, **more):
    return {"query": {"conditions": [{"filter": list(filters), **more}]}}


def funnel_of(steps):
    sql = f"WITH {chained(steps)}, n AS (SELECT user_id, count(*) n FROM ev GROUP BY user_id) SELECT " + ", ".join(
        f"(SELECT count(*) FROM s{i}), (SELECT coalesce(sum(n), 0)::BIGINT FROM s{i} JOIN n USING (user_id))" for i in range(len(steps)))
    return {"funnel": {"sequence": sequence(steps)}}, sql, lambda answer: [tuple(n for step in answer["funnel"]["sequence"] for n in (step["matchingGroups"], step["matchingGroupRows"]))]


def per_value(answer):
    lists = [one["value"] for one in answer["query"]["aggregations"]]
    return sorted((value, count, *(one.get(value) for one in lists[1:])) for value, count in lists[0].items())


def step_values(answer):
    return sorted((i, value, step["aggregations"][1]["value"][value], count) for i, step in enumerate(answer["funnel"]["sequence"])
                  for value, count in step["aggregations"][0]["value"].items())


# query, SQL over ev (rows without a group are none), and the answer's rows as the SQL gives them
ON_EVERY_VALUE = [{"column": "category", "type": kind, "top": 100, **({"otherColumn": "price"} if kind[0] in "sm" else {})}
                  for kind in ("countPerValue", "groupsPerValue", "sumPerValue", "meanPerValue")]
QUESTIONS = {
    "a count": (condition("event", "==", "purchase", target=["count", ">=", 2]), counted("count(*) FILTER (event='purchase') >= 2"), groups_and_rows),
    "a sum": (condition("event", "==", "purchase", target=["sum", "price", ">", 100]),
              counted("count(*) FILTER (event='purchase') > 0 AND coalesce(sum(price) FILTER (event='purchase'),0) > 100"), groups_and_rows),
    "with zero": (condition("event", "==", "purchase", target=["count", "<", 2], includeZero=True), counted("count(*) FILTER (event='purchase') < 2"), groups_and_rows),
    "without zero": (condition("event", "==", "purchase", target=["count", "<", 2]), counted("count(*) FILTER (event='purchase') = 1"), groups_and_rows),
    "an expression": ({"query": AUDIENCE}, M + " SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM ev WHERE user_id IN (SELECT user_id FROM m))", groups_and_rows),
    "contains": (condition("category", "contains", "7", target=["count", ">=", 2]), counted("count(*) FILTER (contains(category, '7')) >= 2"), groups_and_rows),
    "not equal": (condition("event", "!=", "view", target=["count", ">=", 5]), counted("count(*) FILTER (event IS DISTINCT FROM 'view') >= 5"), groups_and_rows),
    "values of an audience": ({"query": {**AUDIENCE, "aggregations": ON_EVERY_VALUE}},
                              M + " SELECT category, count(*), count(DISTINCT user_id), coalesce(sum(price), 0), avg(price) FROM ev "
                              "WHERE category IS NOT NULL AND user_id IN (SELECT user_id FROM m) GROUP BY category ORDER BY 1", per_value),
    **{f"a funnel of {len(steps)}": funnel_of(steps) for steps in (EVENTS[:1], EVENTS[:2], EVENTS[:3], EVENTS, ["view", "view", "a2c", "view", "a2c", "login", "purchase", "view"])},
    "values of each step": ({"funnel": {"sequence": sequence(EVENTS), "stepAggregations": [{"column": "country", "type": kind} for kind in ("countPerValue", "groupsPerValue")]}},
                            f"WITH {chained(EVENTS)}, lv AS (SELECT user_id, max(k) k FROM (" + " UNION ALL ".join(f"SELECT user_id, {i} k FROM s{i}" for i in range(4)) +
                            ") GROUP BY user_id) SELECT st.k, e.country, count(DISTINCT e.user_id), count(*) FROM ev e JOIN lv USING (user_id) JOIN (SELECT unnest(range(4)) k) st "
                            "ON st.k <= lv.k WHERE country IS NOT NULL GROUP BY ALL ORDER BY 1, 2", step_values),
    "a sequence and a count": ({"query": {"conditions": [{"sequence": sequence(EVENTS)}, {"filter": ["event", "==", "view"], "target": ["count", ">=", 2]}]}},
                               f"WITH {chained(EVENTS)}, m AS (SELECT user_id, count(*) n FROM ev WHERE user_id IN (SELECT user_id FROM s3) GROUP BY user_id "
                               "HAVING count(*) FILTER (event='view') >= 2) SELECT count(*), coalesce(sum(n), 0)::BIGINT FROM m", groups_and_rows),
}


def ask(path, query, *more, group="user_id", time="ts"):
    done = command_line("query", str(path), "--group", group, "--time", time, "--string", json.dumps(query), "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("seed", range(2))
def test_random_tables_agree_with_duckdb(tmp_path, seed, is_long):
    rng = random.Random(seed + 400)
    path, cache = tmp_path / "ev.parquet", tmp_path / "cache"
    for trial in range(30 if is_long else 1):
        ev = table(rng, rng.choice([40, 400, 3000]), rng.choice([3, 40, 300]), rng.choice(["random", "time", "user"]), rng.choice(["int", "text"]))
        if (trial + seed) % 2:
            duckdb.sql(f"COPY ev TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
        else:
            pq.write_table(ev, path, row_group_size=rng.choice([100, 5000]), data_page_size=rng.choice([200, 1 << 20]), dictionary_pagesize_limit=rng.choice([100, 1 << 20]))
        assert command_line("parquet", "prepare", str(path), "--group", "user_id", "--time", "ts", "--cache", str(cache)).returncode == 0
        ev = ev.filter(ev["user_id"].is_valid())
        for name, (query, sql, rows_of) in QUESTIONS.items():
            want = [tuple(row) for row in duckdb.sql(sql).fetchall()]
            for more in ((), ("--prepared", "--cache", str(cache))):
                assert rows_of(ask(path, query, *more)) == want, (seed, trial, name, more)


def pandas_funnel(frame, steps):
    """The algorithm of the older engine: for each step the earliest time behind that of the step before."""
    before, counts = None, []
    for event in steps:
        step = frame[frame.event == event]
        if before is not None:
            step = step[step.ts > step.user_id.map(before).astype("float64")]
        before = step.groupby("user_id").ts.min()
        counts.append((len(before), int(frame.user_id.isin(before.index).sum())))
    return counts


def test_random_tables_agree_with_pandas(tmp_path, is_long):
    rng, path = random.Random(77), tmp_path / "ev.parquet"
    for _ in range(so_many(is_long, 40, 2)):
        ev = table(rng, rng.choice([0, 40, 2000]), rng.choice([3, 200]), rng.choice(["random", "time", "user"]), rng.choice(["int", "text"]))
        pq.write_table(ev, path)
        frame = ev.to_pandas().dropna(subset=["user_id"])
        answer = ask(path, {"funnel": {"sequence": sequence(EVENTS)}, "query": {"aggregations": ON_EVERY_VALUE}})
        assert [(step["matchingGroups"], step["matchingGroupRows"]) for step in answer["funnel"]["sequence"]] == pandas_funnel(frame, EVENTS)
        by = frame.groupby("category")
        want = zip(by.size().index, by.size(), by.user_id.nunique(), by.price.sum(), by.price.mean())
        assert per_value(answer) == [(c, n, g, s, None if m != m else m) for c, n, g, s, m in want]


@pytest.mark.parametrize("steps, counts", [(["add", "modify", "delete"], [3530, 2676, 1076]), (["report", "review", "commit", "merge"], [849, 54, 44, 8])])
def test_the_known_funnels_of_a_real_history(shared, tmp_path, steps, counts):
    path = shared / "events" / "gitlog_events.parquet"
    for more in ((), ("--threads", "1")):
        answer = ask(path, {"funnel": {"sequence": sequence(steps)}}, *more, group="userid")
        assert answer["query"] == {"matchingGroups": 14_100, "matchingGroupRows": 2_110_221}
        assert [step["matchingGroups"] for step in answer["funnel"]["sequence"]] == counts


def log_of(shared, name):
    """Case, activity and time of a process log. (A case of sepsis is called NA.)"""
    if name == "receipt":
        return pd.read_parquet(shared / "events" / "receipt.parquet")[["case:concept:name", "concept:name", "time:timestamp"]]
    return pd.read_csv(shared / "events" / f"{name}.csv", sep=";" if name == "sepsis" else ",", low_memory=False, keep_default_na=False).iloc[:, :3]


@pytest.mark.parametrize("name", ["receipt", "sepsis", "helpdesk"])
def test_real_process_logs_agree_with_pandas(shared, tmp_path, name):
    """The commonest activities, one behind the other."""
    frame = log_of(shared, name)
    times = [column for column in frame.columns if "time" in column.lower() or "date" in column.lower()][0]
    others = sorted((column for column in frame.columns if column != times), key=lambda column: frame[column].nunique())
    frame = pd.DataFrame({"event": frame[others[0]].astype(str), "user_id": frame[others[1]].astype(str),
                          "ts": pd.to_datetime(frame[times], format="mixed", utc=True).astype("datetime64[us, UTC]").astype("int64")})
    path, steps = tmp_path / "log.parquet", list(frame.event.value_counts().index[:4])
    frame.to_parquet(path)
    answer = ask(path, {"funnel": {"sequence": sequence(steps)}})
    assert answer["query"] == {"matchingGroups": frame.user_id.nunique(), "matchingGroupRows": len(frame)}
    assert [(step["matchingGroups"], step["matchingGroupRows"]) for step in answer["funnel"]["sequence"]] == pandas_funnel(frame, steps)
