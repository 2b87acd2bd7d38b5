"""The services that are measured. Each starts on a free port, in a directory of its own, and ends with its `with` block.

A service has: name, durability (in words), address, pids (server first, then its store), and for the HTTP ones start_job.
To add a service: write a class like these and name it in a row of rows.py.
"""
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

from .tools import BenchError, free_port, kill_tree, wait_for_port

BENCH_DIR = Path(__file__).resolve().parent.parent


class Service:
    def __init__(self, context, placement):
        self.context = context
        self.placement = placement
        self.directory = Path(tempfile.mkdtemp(prefix=self.name.split()[0] + "-", dir=context.directory))
        self.processes = []
        self.address = None

    @property
    def pids(self):
        return [process.pid for process in self.processes]

    def spawn(self, command, **options):
        with open(self.directory / "server.log", "ab") as log:
            options.setdefault("stdout", log)
            process = subprocess.Popen(self.placement.server(command), stdin=subprocess.DEVNULL, stderr=log,
                                       cwd=options.pop("cwd", self.directory), **options)
        self.processes.insert(0, process)
        return process

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                kill_tree(process.pid)
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self):
        return (self.directory / "server.log").read_text(errors="replace")[-500:].strip()


class HttpService(Service):
    """Answers the items routes: POST /scramble, /serve, /receive; GET /report."""

    def request(self, method, path, body=None, timeout_s=120):
        connection = http.client.HTTPConnection(self.address, timeout=timeout_s)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchError(f"{self.name}: {path.partition('?')[0]}: status {answer.status}: {data[:300]!r}")
        return data

    def start_job(self, job, input_path):
        """Starts a JSONL job and returns the path of its output."""
        output = self.directory / f"{job}.out.jsonl"
        query = urllib.parse.urlencode({"job_name": job, "reader_name": "JsonlReader", "writer_name": "JsonlWriter"})
        metadata = {"input_file_path": str(input_path), "output_file_path": str(output)}
        self.request("POST", f"/scramble?{query}", json.dumps(metadata))
        return output

    def report(self, job):
        return json.loads(self.request("GET", f"/report?job_name={job}"))


class Tutti(HttpService):
    name = "tutti"
    durability = "answers wait for the disk"
    more = []

    def start(self):
        # Inputs lie in the directory where the server is started, which is one of its default roots.
        process = self.spawn([str(self.context.tutti), "up", "--data", str(self.directory / "data"), "--listen",
                              "127.0.0.1:0", "--workers", "0", *self.more],
                             stdout=subprocess.PIPE, cwd=self.context.directory)
        watchdog = threading.Timer(30, kill_tree, [process.pid])
        watchdog.start()
        for line in process.stdout:
            text = line.decode().strip()
            if text.startswith("listening on http://"):
                self.address = text.split("http://", 1)[1].rstrip("/")
                break
        watchdog.cancel()
        if not self.address:
            raise BenchError(f"tutti up did not come up: {self.log_tail()}")
        threading.Thread(target=process.stdout.read, daemon=True).start()

    def kill(self):
        """Every process of the service at once, as a power button would."""
        process = self.processes.pop(0)
        kill_tree(process.pid)
        process.wait()
        self.address = None


class TuttiMirrored(Tutti):
    """With the Redis mirror; its store is the second process."""
    name = "tutti with Redis"
    durability = "answers wait for the disk; Redis in memory is written behind them"

    def start(self):
        port = free_port()
        store = self.spawn(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no",
                            "--dir", str(self.directory)])
        wait_for_port(port, store)
        self.store_port, self.more = port, ["--redis", f"redis://127.0.0.1:{port}"]
        super().start()

    def wait_for_mirror(self, job, item_count):
        """Seconds until Redis shows the job as complete and every item as received; then that is proven."""
        begun = time.monotonic()
        while True:
            shown = json.loads(self.request("GET", "/health"))["redis"]
            if shown["online"] and not shown["stale"] and shown["lag_ms"] == 0 and shown["waiting_jobs"] == 0:
                break
            if time.monotonic() - begun > 120:
                raise BenchError(f"the mirror does not get in step: {shown}")
            time.sleep(0.002)
        took_s = time.monotonic() - begun
        counted = subprocess.run(["redis-cli", "-p", str(self.store_port), "dbsize"], capture_output=True, text=True).stdout.split()[-1]
        some = subprocess.run(["redis-cli", "-p", str(self.store_port), "mget", f"JOB:{job}", f"{job}:0", f"{job}:{item_count - 1}"],
                              capture_output=True, text=True).stdout.split()
        if int(counted) != item_count + 3 or some != ["COMPLETE", "RECEIVED", "RECEIVED"]:
            raise BenchError(f"the mirror shows something else: {counted} keys, {some}")
        return took_s


class PlanchetStandin(HttpService):
    name = "planchet stand-in"
    durability = "none: Redis in memory, output not synced"

    def start(self):
        store_port, port = free_port(), free_port()
        store = self.spawn(["redis-server", "--bind", "127.0.0.1", "--port", str(store_port), "--save", "",
                            "--appendonly", "no", "--dir", str(self.directory)])
        wait_for_port(store_port, store)
        environment = dict(os.environ, PLANCHET_REDIS_HOST="127.0.0.1", PLANCHET_REDIS_PORT=str(store_port))
        server = self.spawn([str(self.context.python), "-m", "uvicorn", "planchet_standin.app:app", "--host",
                             "127.0.0.1", "--port", str(port), "--workers", "1", "--no-access-log"],
                            env=environment, cwd=BENCH_DIR)
        wait_for_port(port, server)
        self.address = f"127.0.0.1:{port}"


class Beanstalkd(Service):
    name = "beanstalkd -f 0"
    durability = "binlog, fsync at every write"
    fsync_options = ["-f", "0"]

    def start(self):
        port = free_port()
        process = self.spawn(["beanstalkd", "-l", "127.0.0.1", "-p", str(port), "-b", str(self.directory),
                              *self.fsync_options])
        wait_for_port(port, process)
        self.address = f"127.0.0.1:{port}"


class BeanstalkdRelaxed(Beanstalkd):
    name = "beanstalkd -f 50"
    durability = "binlog, fsync every 50 ms (its default)"
    fsync_options = ["-f", "50"]


class RedisStreams(Service):
    name = "redis-streams always"
    durability = "append-only file, fsync before answers"
    fsync = "always"

    def start(self):
        port = free_port()
        process = self.spawn(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly",
                              "yes", "--appendfsync", self.fsync, "--dir", str(self.directory)])
        wait_for_port(port, process)
        self.address = f"127.0.0.1:{port}"


class RedisStreamsRelaxed(RedisStreams):
    name = "redis-streams everysec"
    durability = "append-only file, fsync every second"
    fsync = "everysec"


def missing(service, context):
    """Why a service cannot run here, or None."""
    if service is Tutti:
        return None if context.tutti.exists() else f"no program at {context.tutti.name} (see --tutti)"
    if service is PlanchetStandin and not context.python.exists():
        return "no .venv-bench (script/bench makes it)"
    program = {"PlanchetStandin": "redis-server", "Beanstalkd": "beanstalkd", "BeanstalkdRelaxed": "beanstalkd"}
    needed = program.get(service.__name__, "redis-server")
    return None if shutil.which(needed) else f"no {needed} on this machine"
