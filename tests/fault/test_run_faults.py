"""Runs of pipelines under faults: kill -9 of server and workers at random moments of a running DAG. Each run ends, no group begins before the one
before it has ended, each output is there exactly once, and nothing is stuck.

8 kills in the ordinary run, 500 with --long. The seed is printed; TUTTI_TEST_SEED=N takes that one."""
import os
import random
import signal
import time

import pytest

from tutti_process import children, command_line, until

LIMIT_S = 180
GROUPS, WIDTH = 5, 4

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


def pipeline(folder):
    states = [{"state": "s%d" % g, "transformations": [{"name": "t%d-%d" % (g, i), "template": "writer", "variables": {"folder": str(folder)}} for i in range(WIDTH)]}
              for g in range(GROUPS)]
    return {"pipeline": "p", "retries": 1000, "retry_delay_s": 0, "max_runs": 2, "states": states}


def ask(t, method, path, body=None):
    """None when nobody answers: a kill came between."""
    try:
        answer = t.request(method, path, body, timeout=20)
    except OSError:
        return None
    return None if answer.status in (502, 503) else answer


def kill_something(t, rng):
    workers = [pid for pid in children(t.pid) if "worker" in command_line(pid)]
    victim = rng.choice(workers + [t.server_pid] * 2) if workers else t.server_pid
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        pass


def check_run(t, folder, run):
    """Everything that the run promises."""
    tasks = t.get("/v1/runs/%d/tasks" % run).json["tasks"]
    assert [task["state"] for task in tasks] == ["finished"] * (GROUPS * WIDTH), tasks
    outputs = sorted(p.name for p in folder.iterdir() if p.name.startswith("%d-" % run) and "." not in p.name)
    assert outputs == sorted("%d-t%d-%d" % (run, g, i) for g in range(GROUPS) for i in range(WIDTH))
    for name in outputs:
        assert (folder / name).read_text() == name.replace("-", " ", 1) + "\n"
    ended, groups = {}, []
    for what, of, task in (line.split() for line in (folder / "trace").read_text().splitlines()):
        if of == str(run):
            group = int(task[1])
            if what == "begin":
                missing = [i for i in range(WIDTH) if group and "t%d-%d" % (group - 1, i) not in ended]
                assert not missing, "%s began before %s of the group before had ended" % (task, missing)
                groups.append(group)
            ended[task] = ended.get(task, 0) + (what == "end")
    assert groups == sorted(groups), "a group went on after the next one had begun"


def test_a_dag_goes_on_whatever_is_killed(tutti, seed, is_long):
    rng = random.Random(seed)
    t = tutti(start=False, workers=2)
    folder = t.cwd / "out"
    folder.mkdir()
    (t.data / "programs").mkdir(parents=True)
    (t.data / "programs" / "writer.c").write_text(WRITER)
    t.start()
    open_runs, done, kills, most = [], [], 0, 500 if is_long else 8
    deadline = time.monotonic() + (3600 if is_long else LIMIT_S)
    while kills < most or open_runs:
        assert time.monotonic() < deadline, "stuck: %s" % [ask(t, "GET", "/v1/runs/%d" % run) for run in open_runs]
        if kills < most and len(open_runs) < 3:
            ask(t, "POST", "/v1/runs", {"definition": pipeline(folder)})
        shown = ask(t, "GET", "/v1/runs?limit=1000")
        if shown is not None:
            open_runs = [run["id"] for run in shown.json["runs"] if not run["ended"]]
            done = [run["id"] for run in shown.json["runs"] if run["ended"]]
            assert all(run["state"] == "finished" for run in shown.json["runs"] if run["ended"]), shown.json
        time.sleep(rng.uniform(0, 0.15))
        if kills < most:
            kill_something(t, rng)
            kills += 1
    assert done
    for run in done:
        check_run(t, folder, run)
    until(lambda: not any(t.get("/v1/queues").json["queues"]), "nothing is left in a queue")
