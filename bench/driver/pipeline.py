"""The rows of area `pipeline`: a run of many no-op C transformations in groups, how soon a group follows the one before it, and what schedules cost at rest."""
import json
import statistics
import subprocess
import time
from datetime import datetime

from .tools import BenchError, tree_cpu_s
from .work import Tutti, call, middle, repeat, stop

NOOP = "#include <tutti/program.h>\nstatic int run(const tutti_host *t) { (void)t; return 0; }\nTUTTI_PROGRAM(.run = run);\n"
PYTHON_NOOP = "class Noop:\n    def __init__(self):\n        pass\n\n    def _run(self):\n        pass\n"
RUN_TARGET_S, LATENCY_TARGET_MS, IDLE_TARGET = 5.0, 5.0, 0.01
CHAIN = 200
IDLE_S = 20


def write_program(service):
    folder = service.directory / "data" / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "noop.c").write_text(NOOP)
    (folder / "noop_python.py").write_text(PYTHON_NOOP)


def definition(name, groups, width, template="noop", **more):
    tasks = [{"name": f"t{group}-{number}", "template": template, "order": group} for group in range(groups) for number in range(width)]
    return {"pipeline": name, "company": "acme", "brand": "shop", **more, "states": [{"state": "raw", "transformations": tasks}]}


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def await_end(connection, run, limit_s=300):
    end = time.monotonic() + limit_s
    while True:
        shown = call(connection, "GET", f"/v1/runs/{run}?wait=10s")
        if shown["ended"]:
            break
        if time.monotonic() > end:
            raise BenchError(f"run {run} has not ended after {limit_s} s: {shown['by_state']}")
    if shown["state"] != "finished":
        raise BenchError(f"run {run} is {shown['state']}: {shown['reason']}")
    return shown


def measure_run(service, connection, groups, width, template="noop"):
    """From the call that starts it to its end, as the caller sees it; the server's processor time per task."""
    before_s, begun = tree_cpu_s(service.pids[0]), time.monotonic()
    run = call(connection, "POST", "/v1/runs", {"definition": definition("wide", groups, width, template)})["id"]
    started_s = time.monotonic() - begun
    await_end(connection, run)
    return {"seconds": time.monotonic() - begun, "start_s": started_s, "server_cpu_us_per_task": (tree_cpu_s(service.pids[0]) - before_s) * 1e6 / (groups * width), "run": run}


def measure_latency(connection):
    """In a chain of single tasks: from the end of one, as the ledger has it, to the beginning of the next."""
    run = call(connection, "POST", "/v1/runs", {"definition": definition("chain", CHAIN, 1)})["id"]
    await_end(connection, run)
    tasks = call(connection, "GET", f"/v1/runs/{run}/tasks")["tasks"]
    gaps = sorted(1000 * (instant(behind["started"]) - instant(task["ended"])) for task, behind in zip(tasks, tasks[1:]))
    return {"median_ms": statistics.median(gaps), "p99_ms": gaps[int(len(gaps) * 0.99)]}


def line(row, unit, ours, target, met, **extra):
    return {"row": row, "mode": "plain", "unit": unit, "ours": ours, "peer": None, "peer_name": "", "ratio": None, "target": target, "met": met, **extra}


def wide_run(context):
    """A run of no-op C transformations in 100 groups, and how soon one group follows the other."""
    groups, width = (100, context.size.transformations // 100)
    results, gaps = [], []
    for number in range(context.rounds):
        context.say(f"pipeline run: round {number + 1}/{context.rounds}")
        with Tutti(context, context.placements[0]) as service:
            write_program(service)
            connection = service.open()
            workers = service.start_workers(2)
            try:
                measure_run(service, connection, 2, 2)  # the program is compiled once
                results.append(measure_run(service, connection, groups, width))
                gaps.append(measure_latency(connection))
            finally:
                stop(workers)
    seconds, median_ms = statistics.median(r["seconds"] for r in results), statistics.median(g["median_ms"] for g in gaps)
    return [line(f"{groups * width} no-op C transformations in {groups} groups", "s", seconds, f"< {RUN_TARGET_S:g} s for 10,000", seconds < RUN_TARGET_S,
                 start_s=statistics.median(r["start_s"] for r in results), server_cpu_us_per_task=statistics.median(r["server_cpu_us_per_task"] for r in results)),
            line("from a task's end to the next one's beginning", "ms", median_ms, f"< {LATENCY_TARGET_MS:g} ms", median_ms < LATENCY_TARGET_MS,
                 p99_ms=statistics.median(g["p99_ms"] for g in gaps))]


def schedules_at_rest(context):
    """What the schedules of many pipelines cost while none is due."""
    with Tutti(context, context.placements[0]) as service:
        write_program(service)
        connection = service.open()
        context.say(f"pipeline schedules: saving {context.size.pipelines} pipelines")
        for number in range(context.size.pipelines):
            call(connection, "PUT", f"/v1/pipelines/p{number}", definition(f"p{number}", 1, 1, schedule={"every": "daily", "zone": "Europe/Berlin"}))
        end = time.monotonic() + 60
        while time.monotonic() < end:  # until each has been looked at
            try:
                call(connection, "GET", f"/v1/pipelines/p{context.size.pipelines - 1}/schedule")
                break
            except BenchError:
                time.sleep(0.2)
        time.sleep(2)
        before_s, begun = tree_cpu_s(service.pids[0]), time.monotonic()
        time.sleep(IDLE_S)
        share = (tree_cpu_s(service.pids[0]) - before_s) / (time.monotonic() - begun)
    return [line(f"{context.size.pipelines} scheduled pipelines at rest: the server's share of a core", "%", 100 * share, f"< {100 * IDLE_TARGET:g} % for 1,000", share < IDLE_TARGET)]


def ours_beside_airflow(context, groups, width, template):
    with Tutti(context, context.placements[0]) as service:
        write_program(service)
        connection = service.open()
        workers = service.start_workers(2)
        try:
            measure_run(service, connection, 2, 2, template)
            return measure_run(service, connection, groups, width, template)
        finally:
            stop(workers)


def airflow_run(context, groups, width):
    directory = context.directory / "airflow"
    directory.mkdir(exist_ok=True)
    done = subprocess.run([str(context.airflow_python), str(context.bench_dir / "airflow_peer.py"), str(directory), str(groups), str(width)], capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise BenchError(f"Airflow: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def beside_airflow(context):
    """The same DAG of tasks that do nothing, run by tutti (in C, and in Python) and by Airflow's dag.test()."""
    from .rows import divide
    groups, width = 10, context.size.beside_airflow // 10
    ours = {"C": "noop", "Python": "noop_python"}
    results = {language: repeat(context, f"pipeline beside Airflow, {language}", lambda name=name: ours_beside_airflow(context, groups, width, name)) for language, name in ours.items()}
    peer = []
    if context.airflow_python.exists():
        peer = repeat(context, "Airflow", lambda: airflow_run(context, groups, width))
    else:
        context.note("Airflow left out: no .venv-bench-airflow (script/bench makes it)")
    seconds, version = middle(peer, "seconds"), peer[0]["version"] if peer else None
    return [{**line(f"{groups * width} no-op {language} transformations in {groups} groups", "s", middle(found, "seconds"), "", None, results=found, peer_results=peer),
             "peer": seconds, "peer_name": f"Airflow {version}, dag.test()" if peer else "", "ratio": divide(seconds, middle(found, "seconds"))} for language, found in results.items()]


ROWS = [wide_run, schedules_at_rest, beside_airflow]
