"""Runs of pipelines under faults: kill -9 of servers, workers and the configuration's database at random moments of running DAGs. Each run ends, no group
begins before the one before it has ended, each output is there exactly once, nothing is stuck, and of two servers on one database one starts the run of a due time.

54 kills in the ordinary run, 500 in each test with --long. The seed is printed; TUTTI_TEST_SEED=N takes that one."""
import calendar
import os
import random
import signal
import time
from typing import Any, Dict, List

import pytest

from config_database import Config
from tutti_process import children, command_line, until

pytestmark = pytest.mark.stores

LIMIT_S, LONG_LIMIT_S = 300, 3600
SHAPES = {"p": (5, 4), "clock": (2, 2)}  # groups, and tasks of each

# Its output appears whole, under a name that the run and the task have; what it does is written down in one line each.
WRITER = """#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <tutti/program.h>
#include <unistd.h>

static const tutti_setting settings[] = {{"folder", TUTTI_STR}, {0}};

static void trace(const char *folder, const char *what, const char *run, const char *task)
{
    char path[4096], line[512];
    snprintf(path, sizeof path, "%s/trace", folder);
    int n = snprintf(line, sizeof line, "%s %s %s\\n", what, run, task), fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd >= 0 && write(fd, line, (size_t)n) == n)
        close(fd);
}

static int run(const tutti_host *t)
{
    char part[4096], whole[4096];
    const char *folder = t->text(t, "folder"), *id = t->task(t, "run_id"), *task = t->task(t, "transformation");
    trace(folder, "begin", id, task);
    snprintf(part, sizeof part, "%s/%s-%s.%d", folder, id, task, (int)getpid());
    snprintf(whole, sizeof whole, "%s/%s-%s", folder, id, task);
    FILE *f = fopen(part, "w");
    if (!f || fprintf(f, "%s %s\\n", id, task) < 0 || fclose(f) != 0 || rename(part, whole) != 0)
        return 1;
    nanosleep(&(struct timespec){0, 3000000}, NULL);
    trace(folder, "end", id, task);
    return 0;
}
TUTTI_PROGRAM(.settings = settings, .run = run);
"""


@pytest.fixture
def seed():
    number = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % number)
    return number


def prepare(t, folder):
    (t.data / "programs").mkdir(parents=True)
    (t.data / "programs" / "writer.c").write_text(WRITER)
    folder.mkdir(exist_ok=True)
    return t.start()


def pipeline(name, folder, **more):
    groups, width = SHAPES[name]
    states = [{"state": "s%d" % g, "transformations": [{"name": "t%d-%d" % (g, i), "template": "writer", "variables": {"folder": str(folder)}} for i in range(width)]}
              for g in range(groups)]
    return {"pipeline": name, "retries": 1000, "retry_delay_s": 0, "max_runs": 2, "states": states, **more}


def ask(t, method, path, body=None):
    """None when nobody answers, or without the database: a kill came between."""
    try:
        answer = t.request(method, path, body, timeout=20)
    except OSError:
        return None
    return None if answer.status in (502, 503, 504) else answer


def kill_something(t, rng):
    workers = [pid for pid in children(t.pid) if "worker" in command_line(pid)]
    victim = rng.choice(workers + [t.server_pid] * 2) if workers else t.server_pid
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        pass


def check_run(t, folder, run):
    """Everything that the run promises."""
    number, (groups, width) = run["id"], SHAPES[run["pipeline"]]
    tasks = t.get("/v1/runs/%d/tasks" % number).json["tasks"]
    assert [task["state"] for task in tasks] == ["finished"] * (groups * width), tasks
    outputs = sorted(p.name for p in folder.glob("%d-*" % number) if "." not in p.name)
    assert outputs == sorted("%d-t%d-%d" % (number, g, i) for g in range(groups) for i in range(width))
    for name in outputs:
        assert (folder / name).read_text() == name.replace("-", " ", 1) + "\n"
    ended: Dict[str, int] = {}
    began: List[int] = []
    for what, of, task in (line.split() for line in (folder / "trace").read_text().splitlines()):
        if of == str(number):
            group = int(task[1])
            if what == "begin":
                missing = [i for i in range(width) if group and "t%d-%d" % (group - 1, i) not in ended]
                assert not missing, "%s began before %s of the group before had ended" % (task, missing)
                began.append(group)
            ended[task] = ended.get(task, 0) + (what == "end")
    assert began == sorted(began), "a group went on after the next one had begun"


def shown_runs(t) -> Any:
    """None: nobody answers."""
    shown, before = [], ""
    while True:
        page = ask(t, "GET", "/v1/runs?limit=1000" + before)
        if page is None:
            return None
        shown += page.json["runs"]
        assert all(run["state"] == "finished" for run in page.json["runs"] if run["ended"]), page.json
        if not page.json["next"]:
            return shown
        before = "&before=%d" % page.json["next"]


def open_of(runs):
    return [run["id"] for run in runs if not run["ended"]]


@pytest.mark.both_stores
@pytest.mark.timeout(LONG_LIMIT_S + 100)
def test_a_dag_goes_on_whatever_is_killed(tutti, seed, is_long):
    rng = random.Random(seed)
    t = tutti(start=False, workers=2)
    folder = t.cwd / "out"
    prepare(t, folder)
    runs, kills, most = [], 0, 500 if is_long else 18
    deadline = time.monotonic() + (LONG_LIMIT_S if is_long else LIMIT_S)
    while kills < most or open_of(runs):
        assert time.monotonic() < deadline, "stuck: %s" % [ask(t, "GET", "/v1/runs/%d" % run) for run in open_of(runs)]
        if kills < most and len(open_of(runs)) < 3:
            ask(t, "POST", "/v1/runs", {"definition": pipeline("p", folder)})
        runs = shown_runs(t) or runs
        time.sleep(rng.uniform(0, 0.15))
        if kills < most:
            kill_something(t, rng)
            kills += 1
    assert runs
    for run in runs:
        check_run(t, folder, run)
    until(lambda: not any(t.get("/v1/queues").json["queues"]), "nothing is left in a queue")


# ---- two servers on one database ----

def seconds(due: str) -> int:
    return calendar.timegm(time.strptime(due[:19], "%Y-%m-%dT%H:%M:%S"))


def dues(runs) -> List[int]:
    return sorted(seconds(run["due"]) for run in runs if run["cause"] == "schedule")


def has_holes(found, last):
    return not found or last not in found or len([due for due in found if due <= last]) < last - found[0] + 1


def due_events(config) -> List[int]:
    return [int(row[0]) for row in config.rows("SELECT due_s FROM run_events WHERE due_s IS NOT NULL ORDER BY due_s")]


def all_runs(houses):
    return [run for t in houses for run in shown_runs(t) or []]


def kill_database(database, houses, rng):
    """It is away for a while, in which the others may be killed too."""
    database.kill()
    try:
        time.sleep(rng.uniform(0, 0.3))
        if rng.random() < 0.5:
            kill_something(rng.choice(houses), rng)
    finally:
        database.start()


@pytest.mark.one_store
@pytest.mark.timeout(LONG_LIMIT_S + 100)
def test_two_servers_and_their_database_are_killed(tutti, postgres, seed, is_long, tmp_path):
    rng = random.Random(seed)
    config, folder = Config(tmp_path, postgres), tmp_path / "out"
    houses = [prepare(tutti(start=False, workers=1, env=config.env), folder) for _ in range(2)]
    assert houses[0].request("POST", "/v1/db/create").status == 200
    assert houses[0].request("PUT", "/v1/pipelines/p", pipeline("p", folder)).status == 201
    clock = pipeline("clock", folder, schedule={"every": "every second", "missed": "all"})
    assert houses[0].request("PUT", "/v1/pipelines/clock", clock).status == 201
    deadline = time.monotonic() + (LONG_LIMIT_S if is_long else LIMIT_S)
    for kill in range(500 if is_long else 18):
        t = rng.choice(houses)
        running = shown_runs(t)
        if running is not None and len([run for run in running if run["pipeline"] == "p" and not run["ended"]]) < 3:
            ask(t, "POST", "/v1/pipelines/p/runs")
        time.sleep(rng.uniform(0, 0.15))
        if kill % 6 == 3:
            kill_database(postgres, houses, rng)
        else:
            kill_something(rng.choice(houses), rng)
    last = max(due_events(config))
    until(lambda: not has_holes(dues(all_runs(houses)), last), "each due time until the last kill has its run", limit_s=LIMIT_S)
    until(lambda: ask(houses[0], "PUT", "/v1/pipelines/clock", {**clock, "active": False}), "the schedule ends", limit_s=LIMIT_S)
    while True:
        assert time.monotonic() < deadline, "stuck: %s" % [shown_runs(t) for t in houses]
        events, shown = due_events(config), [shown_runs(t) for t in houses]
        if None not in shown and not any(open_of(runs) for runs in shown) and len(dues(shown[0] + shown[1])) == len(events):
            break
        time.sleep(0.1)
    runs = shown[0] + shown[1]
    found = dues(runs)
    assert len(found) == len(set(found)) and len({run["id"] for run in runs}) == len(runs)
    assert found == events == list(range(found[0], found[-1] + 1))
    for t, its in zip(houses, shown):
        for run in its:
            check_run(t, folder, run)
        until(lambda: not any(t.get("/v1/queues").json["queues"]), "nothing is left in a queue")
