"""Tasks under faults: kill -9 of workers, server, supervisor and Redis at random moments, errors of the disk, programs that hide. Every task ends
once, with a reason, and none is lost. (Clocks that jump in the ledger alone: tests/unit/test_queue.c.)

60 kills in the ordinary run, 1,000 with --long (or TUTTI_TEST_LONG=1). The seed is printed; TUTTI_TEST_SEED=N takes that one."""
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from tutti_process import alive, children, command_line, is_sanitized, until

ENDED = ("finished", "failed", "canceled")
LIMIT_S = 120


@pytest.fixture
def seed():
    number = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % number)
    return number


class Books:
    """What was asked for, and what was seen. A task's `program` is the name that the books know it by, so that a push whose answer was lost can be looked up."""

    def __init__(self, t, rng):
        self.t, self.rng = t, rng
        self.known = {}  # name -> id, once it was acknowledged or found
        self.unsure = {}  # name -> task, pushed without an answer
        self.ended = {}  # id -> how, as first seen
        self.canceled = set()  # ids whose cancel was acknowledged

    def ask(self, method, path, body=None):
        """None when nobody answers: a kill came between."""
        try:
            answer = self.t.request(method, path, body, timeout=20)
        except OSError:
            return None
        return None if answer.status in (502, 503) else answer

    def new_task(self):
        kind = self.rng.choices(["probe", "sleep", "chain", "keyed"], (50, 25, 15, 10))[0]
        task = {"kind": "probe", "payload": "x", "program": "n%d" % (len(self.known) + len(self.unsure)), "max_attempts": 1000}
        if kind == "sleep":
            task.update(kind="sleep", payload="%dms" % self.rng.randrange(1, 60), max_attempts=self.rng.choice([1, 3, 1000]))
        elif kind == "chain" and self.known:
            task["waits_for"] = [self.rng.choice(list(self.known.values()))]
        elif kind == "keyed":
            task.update(limit="narrow", run_in=self.rng.choice([0, "1s"]))
        return task

    def push(self, count):
        tasks = []
        for _ in range(count):
            task = self.new_task()
            self.unsure[task["program"]] = task
            tasks.append(task)
        answer = self.ask("POST", "/v1/tasks", {"tasks": tasks})
        if answer is None:
            return
        assert answer.status == 200, answer
        for task, id in zip(tasks, answer.json["ids"]):
            if id is not None:
                self.known[task["program"]] = id
                del self.unsure[task["program"]]
        # A task that waits for one that is kept no longer is refused; nothing here is deleted, so none is.
        assert not answer.json["refused"], answer

    def cancel_one(self):
        open_ids = [id for id in self.known.values() if id not in self.ended]
        if not open_ids:
            return
        id = self.rng.choice(open_ids)
        answer = self.ask("POST", "/v1/tasks/%d/cancel?reason=enough" % id)
        if answer is not None:
            assert answer.status in (200, 409), answer
            if answer.status == 200:
                self.canceled.add(id)

    def all_tasks(self):
        """Everything the server has; None when it went away meanwhile."""
        found, before = {}, 0
        while True:
            page = self.ask("GET", "/v1/tasks?limit=1000&before=%d" % before)
            if page is None:
                return None
            assert page.status == 200, page
            for task in page.json["tasks"]:
                found[task["id"]] = task
            before = page.json["next"]
            if not before:
                return found

    def check(self):
        """What is durable stays as it was; what was acknowledged is there; nothing is there that nobody asked for."""
        found = self.all_tasks()
        if found is None:
            return None
        names = {}
        for id, task in found.items():
            assert task["program"] not in names, "%s is there twice: %d and %d" % (task["program"], names[task["program"]], id)
            names[task["program"]] = id
            how = (task["state"], task["ended"], task["attempts"], task["reason"].partition(";")[0])
            if task["state"] in ENDED:
                assert self.ended.setdefault(id, how) == how, (id, self.ended[id], how)
                assert task["state"] == "finished" or task["reason"], task
            else:
                assert id not in self.ended, (task, self.ended[id])
            assert task["attempts"] <= task["max_attempts"], task
        for name in [name for name in self.unsure if name in names]:
            self.known[name] = names[name]
            del self.unsure[name]
        for name, id in self.known.items():
            assert names.get(name) == id, "%s (task %d) is lost" % (name, id)
        for id in self.canceled:
            assert found[id]["state"] == "canceled", found[id]
        return found

    def finish(self):
        def over():
            found = self.check()
            return found is not None and all(task["state"] in ENDED for task in found.values()) and found
        found = until(over, "every task ends", LIMIT_S)
        for task in found.values():
            if task["state"] == "failed":
                assert "its worker died" in task["reason"] or "did not finish" in task["reason"] or "lease expired" in task["reason"], task
        return found


def kinds_of(t):
    """The pids below the supervisor: (server, workers)."""
    pids = children(t.pid)
    workers = [pid for pid in pids if "worker" in command_line(pid)[1:2]]
    return [pid for pid in pids if pid not in workers], workers


def kill_some(t, store, rng, what):
    servers, workers = kinds_of(t)
    if what == "redis":
        store.kill()
        store.start()
        return
    if what == "supervisor":
        t.kill()
        t.restart(same_port=True)
        return
    for pid in rng.sample(servers if what == "server" else workers, min(1, len(servers if what == "server" else workers))):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def shown_in(store):
    """The registries of RQ's tools, counted."""
    return {state: sum(store.call("ZCARD", key) for key in store.call("KEYS", "rq:%s:*" % state)) for state in ENDED}


@pytest.mark.timeout(3000)
def test_kills_at_random_moments(tutti, redis, seed, is_long):
    kills = 1000 if is_long or os.environ.get("TUTTI_TEST_LONG") else 60
    rng, store = random.Random(seed), redis()
    t = tutti(args=["--log-level", "warn", "--rq-queue", "*", "--redis", store.url], workers=2)
    books = Books(t, rng)
    until(lambda: books.ask("PUT", "/v1/limits/narrow?concurrency=2"), "a limit is set")
    done = {"worker": 0, "server": 0, "supervisor": 0, "redis": 0}
    for number in range(kills):
        books.push(rng.randrange(1, 30))
        if rng.random() < 0.3:
            books.cancel_one()
        time.sleep(rng.uniform(0, 0.1))
        what = rng.choices(list(done), (55, 28, 9, 8))[0]
        done[what] += 1
        kill_some(t, store, rng, what)
        if number % 5 == 4:
            books.check()
    found = books.finish()
    states = {state: sum(task["state"] == state for task in found.values()) for state in ENDED}
    print("kills: %s; tasks: %s" % (done, states))
    assert states["finished"] > kills
    until(lambda: shown_in(store) == states, "Redis shows how all ended", LIMIT_S)


FAULTS = ["fdatasync:3:EIO", "pwrite:20:EIO", "pwrite:40+:ENOSPC", "fdatasync:8+:EIO"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_loses_no_task(tutti, fault):
    """Each answer is the truth: what was acknowledged is there when the disk is well again, what was not may be."""
    t = tutti(workers=1, env={"TUTTI_FAULT": fault}, start=False)
    acknowledged = []
    try:
        t.start()
        for number in range(30):
            answer = t.post("/v1/tasks", {"kind": "probe", "program": "n%d" % number, "max_attempts": 100})
            if answer.status == 200:
                acknowledged.append(answer.json["id"])
            else:
                assert answer.status in (500, 503, 507) and len(answer.json["detail"]) > 10, answer
    except (OSError, AssertionError) as gone:
        assert not isinstance(gone, AssertionError) or "does not listen" in str(gone), gone
    if t.process:
        t.kill()
    t.restart(env={"TUTTI_FAULT": None})
    for id in acknowledged:
        until(lambda: t.get("/v1/tasks/%d" % id).json["state"] == "finished", "task %d ends" % id, LIMIT_S)


def test_a_full_disk_for_logs_fails_no_task(tutti, tmp_path):
    """The log cannot be kept: the task goes on without."""
    t = tutti(workers=1)
    shutil.rmtree(t.data / "logs")
    (t.data / "logs").write_text("no directory any more")
    task = t.post("/v1/tasks", {"kind": "sleep", "payload": "10ms"}).json["id"]
    until(lambda: t.get("/v1/tasks/%d" % task).json["state"] == "finished", "it ends", LIMIT_S)


def test_programs_that_hide_and_fill_memory(tutti, tmp_path):
    t = tutti(workers=1, start=False)
    pids = tmp_path / "pids"
    programs = t.data / "programs"
    programs.mkdir(mode=0o700, parents=True)
    scripts = {
        "hides": "(setsid sh -c 'trap \"\" TERM HUP INT; echo $$ >>%s; sleep 1000; sleep 1000' >/dev/null 2>&1 &) \nwhile [ ! -s %s ]; do sleep 0.01; done" % (pids, pids),
        "fills": "exec python3 -c 'import time; x = [bytearray(1 << 20) for _ in range(4000)]; time.sleep(1000)'",
    }
    for name, script in scripts.items():
        described = '{"display_name":"%s","settings":{},"memory_mb":300,"timeout_s":60}' % name
        (programs / name).write_text("#!/bin/sh\n[ \"$1\" = --describe ] && { echo '%s'; exit; }\n%s\n" % (described, script))
        (programs / name).chmod(0o700)
    t.start()
    started = {name: t.post("/v1/executions", {"program": name, "settings": {}}).json["task"] for name in ("hides", "fills")}
    ended = {name: until(lambda: (lambda s: s if s["state"] in ENDED else None)(t.get("/v1/tasks/%d" % task).json), "%s ends" % name, LIMIT_S)
             for name, task in started.items()}
    assert ended["hides"]["state"] == "finished"
    assert not alive(int(pids.read_text())), "what hid is dead"
    assert "that it left behind" in t.get("/v1/tasks/%d/log" % started["hides"]).body.decode()
    assert ended["fills"]["state"] == "failed", ended["fills"]
    assert "memory" in ended["fills"]["reason"].lower(), ended["fills"]


BAD = {
    "garbage": "head -c 3000000 /dev/urandom >&3; printf '\\n{\"progress\":{\"step\":\"done\"},\"result\":7}\\n' >&3; head -c 100000 /dev/zero >&3",
    "closes": "exec 3>&- 1>&- 2>&-; sleep 0.1",
    "floods": "head -c 300000000 /dev/zero | tr '\\0' x; echo; echo the end",
    "ignores": "trap '' TERM INT HUP QUIT; echo $$ >%(pids)s/ignores; while :; do sleep 1; done",
    "forks": "for i in 1 2 3 4; do (trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >%(pids)s/fork'$i'; sleep 1000; sleep 1000' 3>&1 &) ; done; "
             "until [ -s %(pids)s/fork4 ]; do sleep 0.01; done; kill -9 $$",
}


def test_programs_that_misbehave_harm_only_themselves(tutti, tmp_path):
    """Garbage on descriptor 3, all descriptors closed, gigabytes of output, no ear for signals, children that hide when it dies: each ends once with a reason,
    nothing stays behind, and what the same worker runs beside and behind them is as it should be."""
    t = tutti(workers=1, start=False, env={"TUTTI_WORK_LOG_SIZE": "100000"})
    programs = t.data / "programs"
    programs.mkdir(mode=0o700, parents=True)
    for name, script in BAD.items():
        described = json.dumps({"settings": {}, "timeout_s": 2 if name == "ignores" else 300})
        (programs / name).write_text("#!/bin/sh\n[ \"$1\" = --describe ] && { echo '%s'; exit; }\n%s\n" % (described, script % {"pids": tmp_path} if "pids" in script else script))
        (programs / name).chmod(0o700)
    t.start()
    started = {name: (t.post("/v1/executions", {"program": name, "settings": {}}).json["task"], t.post("/v1/tasks", {"kind": "probe", "payload": name}).json["id"]) for name in BAD}
    tasks = {name: until(lambda: (lambda s: s if s["state"] in ENDED else None)(t.get("/v1/tasks/%d" % task).json), "%s ends" % name, LIMIT_S) for name, (task, _) in started.items()}
    for name, (_, behind) in started.items():
        after = until(lambda: (lambda s: s if s["state"] in ENDED else None)(t.get("/v1/tasks/%d" % behind).json), "what is behind it ends", LIMIT_S)
        assert (after["state"], after["attempts"], after["result"]) == ("finished", 1, name)
    assert {name: task["state"] for name, task in tasks.items()} == {"garbage": "finished", "closes": "finished", "floods": "finished", "ignores": "failed", "forks": "failed"}, tasks
    assert all(task["attempts"] == 1 for task in tasks.values())
    logs = {name: t.get("/v1/tasks/%d/log" % task["id"]).body for name, task in tasks.items()}
    shown = t.get("/v1/executions/%d" % tasks["garbage"]["id"]).json
    assert shown["progress"] == {"step": "done"} and shown["result"] == 7 and b"lines on descriptor 3 were not understood" in logs["garbage"], shown
    assert len(logs["floods"]) < 300_000 and logs["floods"].endswith(b"the end\n") and b"are left out here" in logs["floods"]
    assert "time" in tasks["ignores"]["reason"] and "signal 9" in tasks["forks"]["reason"], tasks
    hidden = [int(path.read_text()) for path in sorted(tmp_path.glob("fork*")) + [tmp_path / "ignores"]]
    assert len(hidden) == 5 and not any(alive(pid) for pid in hidden)
    assert [w["consuming"] for w in t.get("/v1/workers").json["workers"]] == [True]


JUMPS = """#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
/* The wall clock, as far ahead as a file says. */
static long ahead(void)
{
    long s = 0;
    FILE *f = fopen(getenv("JUMP_FILE"), "re");
    if (f) {
        if (fscanf(f, "%ld", &s) != 1)
            s = 0;
        fclose(f);
    }
    return s;
}
int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += ahead();
    return rc;
}
int gettimeofday(struct timeval *t, void *zone) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000; return 0; }
time_t time(time_t *ret) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); if (ret) *ret = now.tv_sec; return now.tv_sec; }
"""


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer has to be loaded before all else")
def test_a_clock_that_jumps_ends_and_doubles_nothing(tutti, tmp_path):
    """The wall clock of server and workers goes two days ahead, and four back, while tasks run, wait, are limited and scheduled."""
    (tmp_path / "jumps.c").write_text(JUMPS)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "jumps.so", tmp_path / "jumps.c"], check=True, timeout=LIMIT_S)
    by = tmp_path / "by"
    by.write_text("0\n")
    t = tutti(workers=2, env={"LD_PRELOAD": str(tmp_path / "jumps.so"), "JUMP_FILE": str(by)})
    assert t.request("PUT", "/v1/limits/one?concurrency=1").status == 200

    def jump(seconds):
        (tmp_path / "next").write_text("%d\n" % seconds)
        (tmp_path / "next").rename(by)

    def push(**task):
        return t.post("/v1/tasks", {"kind": "sleep", "payload": "10ms", **task}).json["id"]

    def state(task):
        return t.get("/v1/tasks/%d" % task).json
    running = push(payload="3s")
    until(lambda: state(running)["state"] == "started", "it runs", LIMIT_S)
    later, limited = push(run_in="1d"), [push(limit="one") for _ in range(3)]
    assert state(later)["state"] == "scheduled"
    jump(2 * 86400)
    until(lambda: state(later)["state"] == "finished", "its time has come", LIMIT_S)
    after = [push() for _ in range(3)]
    jump(-2 * 86400)
    after += [push() for _ in range(3)] + [push(run_in="1s"), push(limit="one")]
    for task in (*limited, *after):
        until(lambda: state(task)["state"] == "finished", "task %d ends" % task, LIMIT_S)
    until(lambda: state(running)["state"] in ENDED, "it ends", LIMIT_S)
    assert state(running)["state"] == "finished" and all(state(task)["attempts"] == 1 for task in (running, later, *limited, *after)), state(running)
    assert all(w["consuming"] for w in t.get("/v1/workers").json["workers"])
