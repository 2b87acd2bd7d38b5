"""The rows of area `query`: funnels and audiences over the same Parquet files, beside DuckDB, polars and pandas (bench/query_peer.py), then over prepared parts.

Each question is asked of a process of its own; `wall` is its clock, `CPU` what it used on all cores (user and system), which says more on a machine that
is busy. Ours are whole processes, with start and output; of peers the question alone, without their imports, and after a first round that warms up. Rounds
take turns. Results are compared before anything is said about times. To add a question: QUESTIONS here, and its peers' forms in bench/query_peer.py."""
import json
import os
import shutil
import statistics
import subprocess
import time

from .tools import BenchError, run_json

STEPS = ["view", "a2c", "checkout", "purchase"]


def sequence(count, **more):
    return {"funnel": {"sequence": [{"filter": ["event", "==", event]} for event in STEPS[:count]], **more}}


AUDIENCE = {"query": {"relation": "($0 and $1 and $2) or $3", "conditions": [
    {"filter": ["event", "==", "view"], "target": ["count", ">=", 3]}, {"filter": ["event", "==", "purchase"]},
    {"filter": ["event", "==", "purchase"], "target": ["sum", "price", ">", 100]},
    {"filters": [{"column": "event", "op": "==", "value": "event-0"}, {"column": "country", "op": "==", "value": "us"}], "target": ["count", "==", 1]}]}}
PURCHASES = {"query": {"conditions": [{"filter": ["event", "==", "purchase"], "target": ["count", ">=", 2]}]}}


def step_counts(answer):
    return [step["matchingGroups"] for step in answer["funnel"]["sequence"]]


def step_rows(answer):
    return step_counts(answer) + [step["matchingGroupRows"] for step in answer["funnel"]["sequence"]]


def step_values(answer):
    return sorted([number, value, count] for number, step in enumerate(answer["funnel"]["sequence"]) for value, count in step["aggregations"][0]["value"].items())


QUESTIONS = {  # the peers' name: query, and what of the answer is compared
    "purchases": (PURCHASES, lambda answer: [answer["query"]["matchingGroups"]]),
    "audience": (AUDIENCE, lambda answer: [answer["query"]["matchingGroups"], answer["query"]["matchingGroupRows"]]),
    "funnel3": (sequence(3), step_counts), "funnel4": (sequence(4), step_counts), "funnel3-rows": (sequence(3), step_rows), "funnel4-rows": (sequence(4), step_rows),
    "funnel4-values": (sequence(4, stepAggregations=[{"column": "country", "type": "countPerValue", "top": 50}]), step_values),
}


# ---- one run ----

class Data:
    """Files of the seeded generator; each kind is made once in a run of the benchmark."""
    made = {}

    def __init__(self, context, name, **knobs):
        self.name, self.knobs, self.rows = name, knobs, knobs.get("rows", context.size.query_rows)
        self.directory = context.directory / f"query-{name}"
        if not context.python.exists():
            raise BenchError("the peers' Python packages are not there: script/bench installs them")
        if name not in Data.made:
            if shutil.disk_usage(context.directory).free < self.rows * 60:
                raise BenchError(f"not enough disk for {self.rows} rows and their prepared parts")
            context.say(f"query: {self.rows:,} rows, {name}")
            options = {"rows": self.rows, "users": self.rows // 20, "files": context.size.query_files, **knobs}
            Data.made[name] = run_json([str(context.python), str(context.bench_dir / "query_data.py"), str(self.directory), "--tutti", str(context.tutti),
                                        *(word for key, value in options.items() for word in (f"--{key}", str(value)))], timeout_s=7200)["files"]
        self.files = Data.made[name]


def pinned(command, is_pinned):
    return ["taskset", "-c", "0", *command] if is_pinned and shutil.which("taskset") else command


def timed(command, env=None):
    """Output, and wall and CPU time and peak memory of one process."""
    begun = time.perf_counter_ns()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter_ns() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchError(f"exit {process.returncode}: {' '.join(command[:4])} ...")
    return output, {"wall_ns": wall, "cpu_ns": int((usage.ru_utime + usage.ru_stime) * 1e9), "peak_kib": usage.ru_maxrss}


def ask(context, data, question, threads, cache=None, env=None):
    query, compared = QUESTIONS[question]
    command = [str(context.tutti), "query", *data.files, "--group", "user", "--time", "ts", "--json", "--threads", str(threads), "--string", json.dumps(query)]
    if cache:
        command += ["--prepared", "--cache", str(cache)]
    output, run = timed(pinned(command, threads == 1), env)
    answer = json.loads(output)
    if bool(cache) != (answer["stats"]["preparedParts"] == len(data.files)):
        raise BenchError(f"{question}: {answer['stats']['preparedParts']} of {len(data.files)} parts were prepared")
    return {**run, "result": compared(answer)}


def ask_peer(context, data, question, form, threads):
    return run_json(pinned([str(context.python), str(context.bench_dir / "query_peer.py"), form, question, str(data.directory), str(threads), "1"], threads == 1), timeout_s=3600)


def in_turns(context, data, question, forms, threads, cache=None):
    """By form, "tutti" among them: the runs of all rounds. All results are the same, or it is a failure."""
    runs = {form: [] for form in ["tutti", *forms]}
    ask(context, data, question, threads, cache)  # warms up
    for number in range(context.query_rounds):
        for form, list_of in runs.items():
            context.say(f"query: {question}, {data.name}, {form}: round {number + 1}/{context.query_rounds}")
            run = ask(context, data, question, threads, cache) if form == "tutti" else ask_peer(context, data, question, form, threads)
            if run["result"] != (runs["tutti"] or [run])[0]["result"]:
                raise BenchError(f"{question} of {data.name}: {form} says {str(run['result'])[:200]}, tutti {str(runs['tutti'][0]['result'])[:200]}")
            list_of.append(run)
    return runs


def median(runs, clock):
    return statistics.median(run[clock] for run in runs)


CLOCKS = {"wall": "wall_ns", "CPU": "cpu_ns"}
DUCKDB = ("duckdb", "duckdb-list")
LABELS = {"duckdb": "DuckDB, joins", "duckdb-list": "DuckDB, lists", "duckdb-native": "DuckDB, own sorted table", "polars": "polars", "pandas": "pandas",
          "pandas-category": "pandas, categories"}


def against(data, title, runs, form, target=None):
    """Two lines, one for each clock; both are held against the target."""
    from .rows import at_least, divide, line
    lines = []
    for mode, clock in CLOCKS.items():
        ours, peer = median(runs["tutti"], clock), median(runs[form], clock)
        ratio = divide(peer, ours)
        lines.append(line(title, mode, "ns/row", ours / data.rows, peer / data.rows, LABELS[form], ratio, f">= {target} x" if target else "",
                          at_least(ratio, target) if target else None, runs={name: runs[name] for name in ("tutti", form)}))
    return lines


# ---- rows ----

def cold(context):
    """Funnels of 3 and 4 steps over snappy Parquet, all cores, beside DuckDB's best form, polars and pandas."""
    lines, cores = [], os.cpu_count()
    data = Data(context, "texts")
    for question in ("funnel3-rows", "funnel4-rows", "funnel3", "funnel4"):
        answers_same = question.endswith("-rows")
        forms = [*DUCKDB, "polars", "pandas-category", "pandas"] if answers_same else DUCKDB
        runs = in_turns(context, data, question, forms, cores)
        best = min(DUCKDB, key=lambda form: median(runs[form], "cpu_ns"))
        title = f"query: {question[6]} steps, text ids" + ("" if answers_same else "; the peer counts no rows")
        lines += against(data, title, runs, best, 3)
        for form, target in (("polars", None), ("pandas-category", 15), ("pandas", 30)) if answers_same else ():
            lines += against(data, title, runs, form, target)
    return lines


def cold_ids(context):
    """The same with whole numbers as ids, and over files that are sorted by user."""
    lines = []
    for data in (Data(context, "numbers", ids="int"), Data(context, "sorted", order="user")):
        runs = in_turns(context, data, "funnel4-rows", DUCKDB, os.cpu_count())
        lines += against(data, f"query: 4 steps, {data.name}", runs, min(DUCKDB, key=lambda form: median(runs[form], "cpu_ns")), 3)
    return lines


def budget(data, title, runs, most_ns, per="ns/row"):
    from .rows import line
    ours = median(runs["tutti"], "cpu_ns") / data.rows
    peer = min((median(list_of, "cpu_ns"), form) for form, list_of in runs.items() if form != "tutti") if len(runs) > 1 else None
    return line(title, "CPU, 1 thread", per, ours, peer and peer[0] / data.rows, LABELS[peer[1]] if peer else "", peer and peer[0] / data.rows / ours, f"<= {most_ns} {per}",
                ours <= most_ns, runs=runs)


def budgets(context):
    """One thread on files as DuckDB writes them (one page per column chunk): what each question may cost."""
    lines = []
    for name, bounds in (("texts", {"purchases": 20, "audience": 45, "funnel4": 50}), ("numbers", {"purchases": 4, "funnel4": 18}), ("sorted", {"funnel4": 25})):
        data = Data(context, f"{name} of DuckDB", writer="duckdb", ids="int" if name == "numbers" else "string", order="user" if name == "sorted" else "random")
        for question, most_ns in bounds.items():
            runs = in_turns(context, data, question, DUCKDB if question == "funnel4" else ["duckdb"], 1)
            lines.append(budget(data, f"query: {question}, {data.name}", runs, most_ns))
    return lines


def prepare(context, data):
    cache = context.directory / f"parts-{data.name}"
    _, run = timed(pinned([str(context.tutti), "parquet", "prepare", *data.files, "--group", "user", "--time", "ts", "--threads", "1", "--cache", str(cache)], True))
    return cache, run


def prepared(context):
    """Prepared parts on one core: what preparing costs, and how many rows a second then."""
    from .rows import at_least, line
    lines = []
    for name, users, questions in (("20 rows a user", 20, {"funnel4": 0.5, "funnel4-values": 0.2, "purchases": 2, "audience": None}), ("10 rows a user", 10, {"funnel4": 0.5}),
                                   ("50 rows a user", 50, {"funnel4": 1.2, "purchases": 2})):
        data = Data(context, "texts" if users == 20 else name, users=context.size.query_rows // users)
        cache, made = prepare(context, data)
        lines.append(budget(data, f"query: prepare, {name}", {"tutti": [made]}, 150))
        for question, least in questions.items():
            forms = ["duckdb-native"] if question in ("funnel4", "funnel4-values") and users == 20 else []
            runs = in_turns(context, data, question, forms, 1, cache)
            rate = data.rows / median(runs["tutti"], "cpu_ns")
            peer = data.rows / median(runs["duckdb-native"], "cpu_ns") if forms else None
            lines.append(line(f"query: {question}, prepared, {name}", "CPU, 1 thread", "billion rows/s", rate, peer, LABELS["duckdb-native"] if forms else "", peer and rate / peer,
                              f">= {least}" if least else "", at_least(rate, least) if least else None, runs=runs))
        shutil.rmtree(cache)
    return lines


def two_cores(context):
    """Twice the cores: the quickest of several rounds each, cold and prepared."""
    from .rows import at_least, line
    data, lines = Data(context, "texts"), []
    cache, _ = prepare(context, data)
    for name, where in (("cold", None), ("prepared", cache)):
        walls = {1: [], 2: []}
        for _ in range(max(3, context.query_rounds) * (1 if name == "cold" else 5)):
            for threads, list_of in walls.items():
                list_of.append(ask(context, data, "funnel4", threads, where)["wall_ns"])
        ratio = min(walls[1]) / min(walls[2])
        lines.append(line(f"query: 4 steps, {name}, two threads", "wall", "ns/row", min(walls[2]) / data.rows, min(walls[1]) / data.rows, "one thread", ratio, ">= 1.8 x",
                          at_least(ratio, 1.8) if os.cpu_count() > 1 else None, walls=walls))
    shutil.rmtree(cache)
    return lines


def memory(context):
    """Peak memory of a cold query over one file, at the size of the others and at a quarter of it, with as many users."""
    from .rows import line
    lines, users = [], context.size.query_rows // 20
    for rows in (context.size.query_rows // 4, context.size.query_rows):
        data = Data(context, f"one file of {rows:,}", rows=rows, users=users, files=1)
        for question, conditions, key_bytes in (("funnel4", 1, 13), ("audience", 4, 13)):
            peak = ask(context, data, question, 1)["peak_kib"] / 1024
            bound = 64 + users * (16 * (conditions + 2) + key_bytes) / 1048576
            lines.append(line(f"query: {question}, {rows:,} rows, {users:,} users", "1 thread", "MiB peak", peak, target=f"<= {bound:.0f}", met=peak <= bound))
    return lines


def variants(context):
    """Prepared and cold with AVX2 at most, and with plain C, beside the best that this processor has."""
    from .rows import line
    data, lines = Data(context, "texts"), []
    cache, _ = prepare(context, data)
    for name, where in (("cold", None), ("prepared", cache)):
        cpu = {level: [] for level in ("", "avx2", "word")}
        for _ in range(max(3, context.query_rounds)):
            for level, list_of in cpu.items():
                list_of.append(ask(context, data, "funnel4", 1, where, {"TUTTI_SIMD": level} if level else None)["cpu_ns"])
        best = statistics.median(cpu[""])
        for level in ("avx2", "word"):
            slow = statistics.median(cpu[level])
            lines.append(line(f"query: 4 steps, {name}, at most {level}", "CPU, 1 thread", "ns/row", slow / data.rows, best / data.rows, "all of it", best / slow,
                              ">= 0.67 x" if level == "avx2" else "", best / slow >= 0.67 if level == "avx2" else None))
    shutil.rmtree(cache)
    return lines


ROWS = [cold, cold_ids, budgets, prepared, two_cores, memory, variants]
