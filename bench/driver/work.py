"""The rows of area `work`: the queue and its workers, beside the real RQ and Celery, each with a Redis of its own in the same run."""
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

from . import servers
from .tools import BenchError, free_port, run_json, tree_cpu_s, wait_for_port

PUSH = 10_000
NOOP_C = """#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--describe") == 0)
        puts("{\\"display_name\\":\\"No-op\\",\\"settings\\":{}}");
    return 0;
}
"""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, as workers speak it."""

    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(connection, method, path, body=None):
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise BenchError(f"{path}: status {answer.status}: {data[:300]!r}")
    return json.loads(data)


class Tutti(servers.Tutti):
    """The server; workers are started by the row, as processes of their own."""

    def open(self):
        return UnixConnection(self.directory / "data" / "tutti.sock")

    def start_workers(self, count):
        return [subprocess.Popen(self.placement.client([str(self.context.tutti), "worker", "--data", str(self.directory / "data"), "--name", f"w{number}",
                                                        "--log-level", "error"])) for number in range(count)]


def stop(processes):
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(timeout=60)


def push_probes(connection, count):
    begun = time.monotonic()
    for at in range(0, count, PUSH):
        call(connection, "POST", "/v1/tasks", {"tasks": [{"kind": "probe"}] * min(PUSH, count - at)})
    return count / (time.monotonic() - begun)


def await_done(connection, count, limit_s=600):
    end = time.monotonic() + limit_s
    while True:
        done = sum(worker["done"] + worker["failed"] for worker in call(connection, "GET", "/v1/workers")["workers"])
        if done >= count:
            return done
        if time.monotonic() > end:
            raise BenchError(f"{done} of {count} tasks after {limit_s} s")
        time.sleep(0.02)


def drain_tutti(context, placement, count, workers):
    with Tutti(context, placement) as service:
        connection = service.open()
        pushed = push_probes(connection, count)
        before_s, begun = tree_cpu_s(service.pids[0]), time.monotonic()
        processes = service.start_workers(workers)
        try:
            await_done(connection, count)
            seconds = time.monotonic() - begun
            cpu_s = tree_cpu_s(service.pids[0]) - before_s
        finally:
            stop(processes)
        time.sleep(1.5)  # the ledger copies its log when nobody asks for anything
        size = (service.directory / "data" / "ledger.db").stat().st_size
    return {"tasks_per_s": count / seconds, "push_per_s": pushed, "bytes_each": size / count, "server_cpu_us_per_task": cpu_s * 1e6 / count}


class PeerStore:
    """A Redis for a peer, on a free port."""

    def __init__(self, context, placement):
        self.directory, self.port = context.directory / f"peer-{free_port()}", free_port()
        self.directory.mkdir()
        self.process = subprocess.Popen(placement.server(["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "yes",
                                                          "--appendfsync", "everysec", "--dir", str(self.directory)]), stdout=subprocess.DEVNULL)

    def __enter__(self):
        wait_for_port(self.port, self.process)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def drain_peer(context, placement, peer, count, workers):
    with PeerStore(context, placement) as store:
        environment = dict(os.environ, BENCH_REDIS=f"redis://127.0.0.1:{store.port}/0", PYTHONDONTWRITEBYTECODE="1")
        command = [str(context.work_python), str(servers.BENCH_DIR / "work_peers" / "drain.py"), peer, str(count), str(workers)]
        done = subprocess.run(placement.client(command), capture_output=True, text=True, env=environment, timeout=600)
    if done.returncode:
        raise BenchError(f"{peer}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def repeat(context, name, run):
    """Results of as many rounds as asked for; fewer when one fails."""
    results = []
    for number in range(context.rounds):
        context.say(f"{name}: round {number + 1}/{context.rounds}")
        try:
            results.append(run())
        except (BenchError, OSError, subprocess.SubprocessError) as fault:
            context.fault(f"{name}: {fault}")
            break
    return results


def middle(results, key):
    return statistics.median(result[key] for result in results) if results else None


PEERS = [("rq", "RQ"), ("rq-simple", "RQ SimpleWorker"), ("celery", "Celery")]


def peers(context, placement, workers):
    if not context.work_python.exists() or not shutil.which("redis-server"):
        context.note("RQ and Celery left out: no .venv-bench-work (script/bench makes it), or no redis-server")
        return {}
    counts = {"rq": context.size.rq, "rq-simple": context.size.rq * 2, "celery": context.size.celery}
    return {title: repeat(context, title, lambda peer=peer: drain_peer(context, placement, peer, counts[peer], workers)) for peer, title in PEERS}


def drain(context):
    """Queued no-op tasks, drained by two workers; answers durable here, everysec there."""
    from .rows import at_least, below, divide, line
    placement, count, lines = context.placements[0], context.size.tasks, []
    ours = repeat(context, f"tutti, {count:,} tasks", lambda: drain_tutti(context, placement, count, 2))
    rate, row = middle(ours, "tasks_per_s"), f"drain {count:,} no-op tasks"
    for title, results in peers(context, placement, 2).items():
        peer = middle(results, "tasks_per_s")
        lines.append(line(row, placement.name, "tasks/s", rate, peer, title, divide(rate, peer), ">= 20,000", at_least(rate, 20_000), results=results))
    lines = lines or [line(row, placement.name, "tasks/s", rate, target=">= 20,000", met=at_least(rate, 20_000))]
    size = middle(ours, "bytes_each")
    return lines + [line("ledger, finished tasks", placement.name, "bytes each", size, target="< 300", met=below(size, 300), results=ours),
                    line("queue tasks, 10,000 a call", placement.name, "tasks/s", middle(ours, "push_per_s"))]


class Shared(Tutti):
    """The server over a Redis; so are its workers."""

    def __init__(self, context, placement, store, *more):
        super().__init__(context, placement)
        self.url = f"redis://127.0.0.1:{store.port}"
        self.more = ["--shared", self.url, *more]

    def start_workers(self, count):
        return [subprocess.Popen(self.placement.client([str(self.context.tutti), "worker", "--data", str(self.directory / "data"), "--name", f"w{number}", "--shared", self.url,
                                                        "--log-level", "error"])) for number in range(count)]


def drain_shared(context, placement, count, workers, *more):
    with PeerStore(context, placement) as store, Shared(context, placement, store, *more) as service:
        connection = service.open()
        pushed = push_probes(connection, count)
        begun, processes = time.monotonic(), service.start_workers(workers)
        try:
            await_done(connection, count)
            return {"tasks_per_s": count / (time.monotonic() - begun), "push_per_s": pushed}
        finally:
            stop(processes)


def drain_on_redis(context):
    """The same tasks in a shared ledger, drained by two workers that know its Redis alone; without and with RQ's keys; beside RQ on a Redis of the same settings."""
    from .rows import at_least, divide, line
    placement, count, lines = context.placements[0], context.size.shared, []
    if not shutil.which("redis-server"):
        context.note("the shared ledger is left out: no redis-server")
        return []
    peer = {}
    if context.work_python.exists():
        for kind, title in PEERS[:2]:
            peer[title] = middle(repeat(context, title, lambda kind=kind: drain_peer(context, placement, kind, context.size.rq, 2)), "tasks_per_s")
    for what, target, more in (("shared ledger", 20_000, ()), ("shared ledger, RQ's keys", 5_000, ("--rq-queue", "default"))):
        ours = repeat(context, f"{what}, {count:,} tasks", lambda more=more: drain_shared(context, placement, count, 2, *more))
        rate = middle(ours, "tasks_per_s")
        for title in peer or [None]:
            lines.append(line(f"drain {count:,} no-op tasks, {what}", placement.name, "tasks/s", rate, peer.get(title), title, divide(rate, peer.get(title)), f">= {target:,}",
                              at_least(rate, target), results=ours))
    return lines


def claim_times(service, rounds):
    """One claim at a time, as a worker of our own; ms."""
    connection, times = service.open(), []
    call(connection, "POST", "/v1/workers/attach", {"name": "bench", "pid": os.getpid()})
    for _ in range(rounds):
        begun = time.monotonic()
        tasks = call(connection, "POST", "/v1/tasks/claim?worker=bench&lease=600s")["tasks"]
        times.append((time.monotonic() - begun) * 1000)
        if not tasks:
            raise BenchError("nothing to claim")
    return sorted(times)


def claims(context):
    """How long a claim takes with a few tasks queued and with very many."""
    from .rows import divide, line
    placement, p50 = context.placements[0], {}
    for count in (1_000, context.size.tasks):
        with Tutti(context, placement) as service:
            push_probes(service.open(), count)
            time.sleep(1)
            times = claim_times(service, 500)
            p50[count] = (times[len(times) // 2], times[len(times) * 99 // 100])
    few, many = p50[1_000], p50[context.size.tasks]
    ratio = divide(many[0], few[0])
    return [line(f"claim p50 with {context.size.tasks:,} queued", placement.name, "ms", many[0], few[0], "with 1,000 queued", ratio, "flat (<= 1.5 x)", ratio is not None and ratio <= 1.5,
                 p99={"many": many[1], "few": few[1]})]


def start_times(service, rounds):
    """From before a task is sent until a waiting worker has it; ms. The worker is a thread here, on a connection of its own."""
    sys.setswitchinterval(0.0001)  # or the interpreter's lock is what is measured: a thread may keep it for 5 ms
    pusher, worker = service.open(), service.open()
    call(worker, "POST", "/v1/workers/attach", {"name": "bench", "pid": os.getpid()})
    came, times = [], []
    ready = threading.Semaphore(0)

    def wait_for_work():
        for _ in range(rounds):
            ready.release()
            task = call(worker, "POST", "/v1/tasks/claim?worker=bench&lease=600s&wait=60s")["tasks"][0]
            came.append(time.monotonic())
            call(worker, "POST", f"/v1/tasks/{task['id']}/finish?lease={task['lease']}")

    thread = threading.Thread(target=wait_for_work)
    thread.start()
    for number in range(rounds):
        ready.acquire()
        time.sleep(0.02)  # idle: the worker waits, nothing is under way
        begun = time.monotonic()
        call(pusher, "POST", "/v1/tasks", {"kind": "probe"})
        while len(came) <= number:
            time.sleep(0.0002)
        times.append((came[number] - begun) * 1000)
    thread.join()
    return sorted(times)


def start(context):
    """A task on an idle machine: from the client's send to the worker's hands, durable."""
    from .rows import line
    placement, fsync = context.placements[0], context.figures["fsync_4k_ms"]
    with Tutti(context, placement) as service:
        times = start_times(service, context.size.starts)
    bound, p99 = 2 + fsync["p99"], times[len(times) * 99 // 100]
    return [line("enqueue -> start, p99", placement.name, "ms", p99, fsync["p99"], "one fsync, p99", None, f"< 2 ms + one fsync ({bound:.2f})", p99 < bound,
                 p50=times[len(times) // 2], fsync=fsync)]


def noop_program(context, directory):
    source = context.directory / "noop.c"
    source.write_text(NOOP_C)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = directory / "noop"
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    program.chmod(0o700)
    return program


def executables_per_s(context, placement, count):
    with Tutti(context, placement) as service:
        noop_program(context, service.directory / "data" / "programs")
        connection = service.open()
        for _ in range(count):
            call(connection, "POST", "/v1/executions", {"program": "noop", "settings": {}})
        processes = service.start_workers(1)
        try:
            first = await_done(connection, 1)  # the worker's own start is not what is measured
            begun = time.monotonic()
            return (await_done(connection, count) - first) / (time.monotonic() - begun)
        finally:
            stop(processes)


def bare_per_s(context, program, count):
    begun = time.monotonic()
    run_json([str(context.probe), "spawn", str(count), str(program)])
    return count / (time.monotonic() - begun)


def executables(context):
    """An executable that does nothing, run by one worker, beside a bare loop that spawns it and waits."""
    from .rows import at_least, divide, line
    placement, count, ours, bare = context.placements[0], context.size.executables, [], []
    program = noop_program(context, context.directory / "bare")
    for number in range(context.rounds):
        context.say(f"no-op executable: round {number + 1}/{context.rounds}")
        before = bare_per_s(context, program, count)
        ours.append(executables_per_s(context, placement, count))
        bare.append((before + bare_per_s(context, program, count)) / 2)
    rate, loop = statistics.median(ours), statistics.median(bare)
    ratio = divide(rate, loop)
    return [line("no-op executable", placement.name, "runs/s", rate, loop, "bare spawn-and-wait", ratio, ">= 0.7 x", at_least(ratio, 0.7), ours_each=ours, bare_each=bare)]


ROWS = [drain, drain_on_redis, claims, start, executables]
