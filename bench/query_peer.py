"""The peers of the query rows: query_peer.py FORM QUERY DIRECTORY THREADS ROUNDS.

FORM is duckdb (chained joins), duckdb-list (one grouping, lists of times), duckdb-native, polars, pandas, or pandas-category. QUERY is one of QUERIES;
`funnel3` and `funnel4` count the groups of each step, those with `-rows` also the rows of these groups, as tutti always does. Prints {"wall_ns": the
median round, "cpu_ns": of the same, all threads, "load_ns", "peak_kib", "result"}; `duckdb-native` first loads a table sorted by user and time, with integer
ids and ENUMs, and says what that took. bench/driver/query.py asks the same of tutti, and compares the results."""
import glob
import json
import os
import resource
import sys
import time

STEPS = ["view", "a2c", "checkout", "purchase"]
QUERIES = ["purchases", "audience", "funnel3", "funnel4", "funnel3-rows", "funnel4-rows", "funnel4-values"]


def steps_of(query):
    return STEPS[:3] if query.startswith("funnel3") else STEPS


def chained(steps, table):
    """Each step's earliest time after that of the step before, by group."""
    parts = [f"s0 AS (SELECT user, min(ts) t FROM {table} WHERE event='{steps[0]}' GROUP BY user)"]
    for i, event in enumerate(steps[1:]):
        parts.append(f"s{i + 1} AS (SELECT e.user, min(e.ts) t FROM {table} e JOIN s{i} s ON e.user=s.user AND e.ts>s.t WHERE event='{event}' GROUP BY e.user)")
    return "WITH " + ", ".join(parts)


def listed(steps, table, rows):
    """One grouping: lists for the steps between, max for the last."""
    last = len(steps) - 1
    lists = ", ".join(f"list(ts) FILTER (event='{e}') l{i}" for i, e in enumerate(steps) if 0 < i < last)
    words = ", ".join(f"'{e}'" for e in steps)
    where = "" if rows else f"WHERE event IN ({words}) "
    sql = (f"WITH g0 AS (SELECT user, count(*) n, min(ts) FILTER (event='{steps[0]}') t0, {lists}, max(ts) FILTER (event='{steps[last]}') m FROM {table} "
           f"{where}GROUP BY user)")
    for i in range(1, last):
        sql += f", g{i} AS (SELECT *, list_min(list_filter(l{i}, lambda x: x > t{i - 1})) t{i} FROM g{i - 1})"
    passed = [f"t{i} IS NOT NULL" for i in range(last)] + [f"m > t{last - 1}"]
    columns = [f"count(*) FILTER ({test})" for test in passed]
    if rows:
        columns += [f"coalesce(sum(n) FILTER ({test}), 0)::BIGINT" for test in passed]
    return sql + f" SELECT {', '.join(columns)} FROM g{last - 1}"


def sql_of(query, table, form):
    if query == "purchases":
        return f"SELECT count(*) FROM (SELECT user FROM {table} WHERE event='purchase' GROUP BY user HAVING count(*) >= 2)"
    if query == "audience":
        return (f"WITH m AS (SELECT user, count(*) n FROM {table} GROUP BY user HAVING (count(*) FILTER (event='view') >= 3 AND "
                f"count(*) FILTER (event='purchase') > 0 AND coalesce(sum(price) FILTER (event='purchase'),0) > 100) OR "
                f"count(*) FILTER (event='event-0' AND country='us') = 1) SELECT count(*), coalesce(sum(n), 0)::BIGINT FROM m")
    steps = steps_of(query)
    if query == "funnel4-values":
        levels = " UNION ALL ".join(f"SELECT user, {i} k FROM s{i}" for i in range(4))
        return (chained(steps, table) + f", lv AS (SELECT user, max(k) k FROM ({levels}) GROUP BY user) SELECT st.k, e.country, count(*) FROM {table} e "
                "JOIN lv USING (user) JOIN (SELECT unnest(range(4)) k) st ON st.k <= lv.k GROUP BY ALL ORDER BY 1, 2")
    if form == "duckdb-list":
        return listed(steps, table, query.endswith("-rows"))
    if not query.endswith("-rows"):
        return chained(steps, table) + " SELECT " + ", ".join(f"(SELECT count(*) FROM s{i})" for i in range(len(steps)))
    return (chained(steps, table) + f", n AS (SELECT user, count(*) n FROM {table} GROUP BY user) SELECT " +
            ", ".join([f"(SELECT count(*) FROM s{i})" for i in range(len(steps))] + [f"(SELECT coalesce(sum(n), 0)::BIGINT FROM s{i} JOIN n USING (user))" for i in range(len(steps))]))


def by_duckdb(form, query, directory, threads):
    import duckdb
    con = duckdb.connect()
    con.execute(f"SET threads = {threads}")
    table, load_ns = f"'{directory}/*.parquet'", 0
    if form == "duckdb-native":
        begun = time.perf_counter_ns()
        con.execute(f"CREATE TYPE event_t AS ENUM (SELECT DISTINCT event FROM {table} ORDER BY 1)")
        con.execute(f"CREATE TYPE country_t AS ENUM (SELECT DISTINCT country FROM {table} ORDER BY 1)")
        con.execute(f"CREATE TABLE ids AS SELECT user, (row_number() OVER (ORDER BY user))::INTEGER id FROM (SELECT DISTINCT user FROM {table})")
        con.execute(f"CREATE TABLE ev AS SELECT id AS user, ts, event::event_t event, country::country_t country, price FROM {table} JOIN ids USING (user) ORDER BY 1, 2")
        load_ns, table = time.perf_counter_ns() - begun, "ev"
    sql = sql_of(query, table, "duckdb-list" if form == "duckdb-native" else form)

    def run():
        rows = con.execute(sql).fetchall()
        return [[int(k), str(c), int(n)] for k, c, n in rows] if query == "funnel4-values" else [int(value) for value in rows[0]]
    return run, load_ns


def polars_funnel(pl, lazy, steps, rows):
    before, counts, row_counts = None, [], []
    sizes = lazy.group_by("user").len("n").collect() if rows else None
    for event in steps:
        step = lazy.filter(pl.col("event") == event)
        if before is not None:
            step = step.join(before.lazy(), on="user").filter(pl.col("ts") > pl.col("t"))
        before = step.group_by("user").agg(pl.col("ts").min().alias("t")).collect()
        counts.append(before.height)
        if rows:
            row_counts.append(int(sizes.join(before, on="user", how="semi")["n"].sum()))
    return counts + row_counts


def polars_audience(pl, lazy):
    def is_event(name):
        return pl.col("event") == name
    by_user = lazy.group_by("user").agg(
        pl.len().alias("n"), is_event("view").sum().alias("views"), is_event("purchase").sum().alias("purchases"),
        pl.col("price").filter(is_event("purchase")).sum().alias("spent"), (is_event("event-0") & (pl.col("country") == "us")).sum().alias("other"))
    found = by_user.filter(((pl.col("views") >= 3) & (pl.col("purchases") > 0) & (pl.col("spent") > 100)) | (pl.col("other") == 1)).collect()
    return [found.height, int(found["n"].sum())]


def by_polars(query, directory):
    import polars as pl
    lazy = pl.scan_parquet(sorted(glob.glob(directory + "/*.parquet")))
    if query == "purchases":
        return lambda: [lazy.filter(pl.col("event") == "purchase").group_by("user").len().filter(pl.col("len") >= 2).collect().height]
    if query == "audience":
        return lambda: polars_audience(pl, lazy)
    return lambda: polars_funnel(pl, lazy.select("user", "ts", "event"), steps_of(query), query.endswith("-rows"))


def pandas_funnel(frame, steps, rows):
    before, counts, row_counts = None, [], []
    for event in steps:
        step = frame[frame.event == event]
        if before is not None:
            step = step[step.ts > step.user.map(before).astype("float64")]
        before = step.groupby("user", sort=False, observed=True).ts.min()
        counts.append(len(before))
        if rows:
            row_counts.append(int(frame.user.isin(before.index).sum()))
    return counts + row_counts


def by_pandas(form, query, directory):
    import pandas as pd
    import pyarrow.parquet as pq
    columns = ["user", "ts", "event"]

    def read(path):
        if form == "pandas-category":  # of the events alone: with the ids too it is slower
            return pq.read_table(path, columns=columns, read_dictionary=["event"]).to_pandas()
        return pd.read_parquet(path, columns=columns)

    def run():
        counts = None
        for path in sorted(glob.glob(directory + "/*.parquet")):  # a part at a time, as the engine that this stands for does
            frame = read(path)
            if query == "purchases":
                found = [int((frame[frame.event == "purchase"].groupby("user", observed=True).size() >= 2).sum())]
            else:
                found = pandas_funnel(frame, steps_of(query), query.endswith("-rows"))
            counts = found if counts is None else [a + b for a, b in zip(counts, found)]
        return counts
    return run


def main():
    form, query, directory, threads, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    load_ns = 0
    if form.startswith("duckdb"):
        run, load_ns = by_duckdb(form, query, directory, threads)
    else:
        run = by_polars(query, directory) if form == "polars" else by_pandas(form, query, directory)
    times, result = [], None
    for number in range(rounds + 1):
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        result = run()
        if number or rounds == 0:  # the first warms up
            times.append((time.perf_counter_ns() - wall, time.process_time_ns() - cpu))
    wall, cpu = sorted(times)[len(times) // 2]
    print(json.dumps({"wall_ns": wall, "cpu_ns": cpu, "load_ns": load_ns, "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "result": result}))


if __name__ == "__main__":
    main()
