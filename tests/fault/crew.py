"""Inputs of several kinds, jobs over them, and client processes that work on them and may be killed."""
import csv
import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from checker import Broken, History, Job
from tutti_process import until

CLIENT = Path(__file__).with_name("client.py")


# ---- inputs: each writes a file and gives (good ids, bad ids) ----


def text_of(rng, most):
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz \"\\\u00fc\u6f22") for _ in range(rng.randrange(most)))


def size_of(rng):
    """Many small ones, some of kilobytes, few that are larger than a buffer."""
    return rng.choices((30, 300, 3000, 60000), (700, 250, 47, 1))[0]


def jsonl_lines(rng, count):
    pool = [text_of(rng, size_of(rng)) for _ in range(200)]
    return [json.dumps({"n": n, "text": rng.choice(pool)}, ensure_ascii=rng.random() < 0.5) for n in range(count)]


def plain(path, rng, count):
    path.write_text("\n".join(jsonl_lines(rng, count)) + "\n", encoding="utf-8")
    return range(count), ()


def packed(path, rng, count):
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as out:
        out.write("\n".join(jsonl_lines(rng, count)) + "\n")
    return range(count), ()


def spoilt(path, rng, count):
    """With malformed lines and blank ones."""
    lines, bad, blank = jsonl_lines(rng, count), set(), set()
    for n in range(count):
        fate = rng.random()
        if fate < 0.02:
            lines[n], _ = lines[n][:-1], bad.add(n)
        elif fate < 0.03:
            lines[n], _ = "", blank.add(n)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return set(range(count)) - bad - blank, bad


def table(path, rng, count):
    with open(path, "w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["id", "text", "number"])
        for n in range(count):
            rows.writerow([n, "a \"b\", c\nd" if n % 50 == 3 else "text %d" % n, n * 7])
    return range(count), ()


KINDS = {"plain": (plain, "jsonl"), "packed": (packed, "jsonl.gz"), "spoilt": (spoilt, "jsonl"), "table": (table, "csv")}


class Crew:
    def __init__(self, t, seed, kinds, *, clients=4, lease="2s", max_attempts=15, is_kept=True, url=None):
        """kinds: {kind: how many records}; a job each, made anew under another name when it is complete. is_kept: ended ones and their events stay.
        url: where the clients find the server."""
        self.url = url or t.url
        self.t, self.rng, self.is_ending, self.is_kept = t, random.Random(seed), False, is_kept
        self.folder = t.cwd / "histories"
        self.folder.mkdir()
        self.history, self.deaths = History(self.folder, is_kept), []
        self.lease, self.max_attempts = lease, max_attempts
        self.kinds, self.inputs, self.jobs, self.ended = kinds, {}, {}, 0
        self.clients, self.count, self.made = [None] * clients, 0, 0
        for kind, records in kinds.items():
            write, ending = KINDS[kind]
            path = t.cwd / ("%s.%s" % (kind, ending))
            self.inputs[kind] = (path, *write(path, self.rng, records))
            self.start(kind)

    def start(self, kind):
        path, good, bad = self.inputs[kind]
        self.made += 1
        name = "%s-%d" % (kind, self.made)
        output = "%s.%s" % (name, "csv" if kind == "table" else "jsonl")
        made = self.t.post("/v1/jobs", {"name": name, "input": path.name, "output": output, "lease": self.lease, "max_attempts": self.max_attempts})
        assert made.status == 201, made.body
        self.jobs[name] = Job(name, self.t.cwd / output, good, bad, kind == "table")

    # ---- clients ----

    def spawn(self, place):
        self.count += 1
        style = "older" if place % 2 else "token"
        names = list(self.jobs)
        self.rng.shuffle(names)
        self.clients[place] = subprocess.Popen([sys.executable, CLIENT, self.url, style, str(self.rng.randrange(10**9)),
                                                self.folder / ("%d.history" % self.count), *names])

    def keep_busy(self):
        """Who died or has ended is replaced; complete jobs are checked and replaced."""
        for name in list(self.jobs):
            report = self.t.get("/v1/jobs/" + name).json
            if report["status"] == "COMPLETE":
                self.end(name)
                if not self.is_ending:
                    self.start(name.split("-")[0])
        for place, client in enumerate(self.clients):
            if self.jobs and (client is None or client.poll() is not None):
                assert client is None or client.returncode in (0, -9), "a client failed"
                self.spawn(place)

    def kill_client(self):
        client = self.rng.choice([c for c in self.clients if c and c.poll() is None] or [None])
        if client:
            client.kill()
            client.wait()

    def stop_clients(self):
        for client in self.clients:
            if client:
                client.kill()
                client.wait()
        self.clients = [None] * len(self.clients)

    # ---- accounts ----

    def read(self):
        for event in self.history.read():
            job = self.jobs.get(event["job"])
            if job:
                job.learn(event)

    def check(self):
        """All that was acknowledged is in what is committed, once."""
        self.read()
        for name, job in self.jobs.items():
            acked = set(job.acked)
            report = self.t.get("/v1/jobs/" + name).json
            if report["status"] == "BROKEN":
                raise Broken("%s is broken: %s" % (name, report["detail"]))
            self.read()  # what was sent up to that answer
            job.check(acked, report["output_bytes"])

    def end(self, name):
        report = self.t.get("/v1/jobs/" + name).json
        self.read()
        self.jobs[name].check_end(report)
        if not self.is_kept:
            assert self.t.request("DELETE", "/v1/jobs/" + name).status == 200
            self.jobs[name].output.unlink()
        del self.jobs[name]
        self.ended += 1

    def finish(self, limit_s=60):
        """Without further faults all jobs come to their end."""
        self.is_ending = True

        def over():
            self.keep_busy()
            time.sleep(0.05)
            return not self.jobs

        until(over, "the end of all jobs", limit_s)
        self.stop_clients()
