"""A worker as a process of its own, which may be killed at any moment: claims, answers, and writes down all that it does.

    python client.py URL STYLE SEED HISTORY JOB [JOB ...]

STYLE is `token` (our routes, leases with a token, renewed) or `older` (serve, receive and mark-errors, a connection per request).
Of each job it takes batches in turn until it is COMPLETE, or gone; where nothing answers it tries again. HISTORY gets one JSON line for each
event, before a request (`ask`, `send`) and after its answer; times are monotonic and the same for all processes of a machine.
A result is the item's value with its id and a tag around it, as JSON text; `send` has the checksum of that text."""
import http.client
import json
import os
import random
import sys
import time
import zlib
from urllib.parse import urlencode, urlsplit

TRY_AGAIN_S = 0.05
MARKED_EVERY = 97  # ids that are reported as errors instead of received


def is_marked(id):
    return id % MARKED_EVERY == 96


class Client:
    def __init__(self, url, style, seed, history, lease="2s"):
        self.address = urlsplit(url).hostname, urlsplit(url).port
        self.style, self.lease, self.random = style, lease, random.Random(seed)
        self.name = "%s-%s" % (style, seed)
        self.history = os.open(history, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.conn = None
        self.count = 0

    def note(self, event, job, **members):
        line = json.dumps({"e": event, "job": job, "by": self.name, "t": time.monotonic(), **members}) + "\n"
        os.write(self.history, line.encode())

    def call(self, path, body=b"", **params):
        """(status, parsed body), or None when no answer came."""
        try:
            if self.conn is None:
                self.conn = http.client.HTTPConnection(*self.address, timeout=20)
            self.conn.request("POST", path + "?" + urlencode(params), body)
            answer = self.conn.getresponse()
            text = answer.read()
            if self.style == "older":
                self.close()
            return answer.status, json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return None

    def close(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def take(self, job):
        """(items, lease, is complete); items None: ask again later."""
        n, asked = self.random.choice((1, 7, 40, 150)), time.monotonic()
        self.count += 1
        self.note("ask", job, n=self.count)
        if self.style == "older":
            answer = self.call("/serve", job_name=job, batch_size=n, wait="300ms")
            items, lease, lease_ms = (answer[1] if answer and answer[0] == 200 else None), None, 0
            complete = bool(answer) and not items and self.is_complete(job)
        else:
            answer = self.call("/v1/jobs/%s/claim" % job, n=n, wait="300ms", lease=self.lease, worker=self.name)
            fine = answer and answer[0] == 200
            items, lease = (answer[1]["items"], answer[1]["lease"]) if fine else (None, None)
            lease_ms, complete = (answer[1]["lease_ms"], answer[1]["status"] == "COMPLETE") if fine else (0, bool(answer) and answer[0] == 404)
        if items:
            self.note("take", job, n=self.count, ids=[id for id, _ in items], lease=lease, lease_ms=lease_ms, asked=asked)
        else:
            self.note("none", job, n=self.count)
        return items, lease, complete

    def is_complete(self, job):
        try:
            self.close()
            self.conn = http.client.HTTPConnection(*self.address, timeout=20)
            self.conn.request("GET", "/v1/jobs/" + job)
            answer = self.conn.getresponse()
            return answer.status == 404 or json.loads(answer.read()).get("status") == "COMPLETE"
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            self.close()

    def result(self, id, value):
        if isinstance(value, list):  # a row of CSV; its first cell is its id
            return json.dumps(value)
        return json.dumps({"id": id, "by": self.name, "try": self.count, "value": value})

    def until_answered(self, path, body, **params):
        """The answer; 4xx and 2xx are one, what the server cannot do at the moment is tried again."""
        for _ in range(400):
            answer = self.call(path, body, **params)
            if answer and answer[0] < 500:
                return answer
            time.sleep(TRY_AGAIN_S)
        return None

    def give(self, job, items, lease):
        good = [(id, self.result(id, value)) for id, value in items if not is_marked(id)]
        marks = [id for id, _ in items if is_marked(id)]
        if good:
            body = ("[" + ",".join("[%d,%s]" % pair for pair in good) + "]").encode()
            self.note("send", job, ids=[id for id, _ in good], crcs=[zlib.crc32(text.encode()) for _, text in good], lease=lease)
            path, params = ("/receive", {"job_name": job, "overwrite": "false"}) if self.style == "older" else \
                ("/v1/jobs/%s/results" % job, {"lease": lease, "worker": self.name})
            answer = self.until_answered(path, body, **params)
            if answer and answer[0] == 200:
                self.note("ack", job, ids=[id for id, _ in good], lease=lease)
            else:
                self.note("refused", job, ids=[id for id, _ in good], answer=answer)
        if marks:
            self.note("mark", job, ids=marks, lease=lease)
            if self.style == "older":
                answer = self.until_answered("/mark-errors", json.dumps(marks).encode(), job_name=job)
            else:
                rows = [{"id": id, "reason": "no good", "final": True} for id in marks]
                answer = self.until_answered("/v1/jobs/%s/fail" % job, json.dumps(rows).encode(), lease=lease)
            if answer and answer[0] == 200 and (self.style == "older" or answer[1]["error"] == len(marks)):
                self.note("marked", job, ids=marks, lease=lease)

    def step(self, job):
        """False when the job is complete."""
        items, lease, complete = self.take(job)
        if complete:
            return False
        if items is None:
            time.sleep(TRY_AGAIN_S)
        elif items and self.random.random() < 0.02:
            self.note("drop", job, ids=[id for id, _ in items], lease=lease)  # its lease has to run out
        elif items:
            if lease and self.random.random() < 0.2:
                asked = time.monotonic()
                answer = self.call("/v1/jobs/%s/renew" % job, lease=lease)
                if answer and answer[0] == 200:
                    self.note("renewed", job, lease=lease, lease_ms=answer[1]["lease_ms"], asked=asked)
            self.give(job, items, lease)
        return True


def main(url, style, seed, history, *jobs):
    client, open_jobs = Client(url, style, seed, history), list(jobs)
    while open_jobs:
        job = client.random.choice(open_jobs)
        if not client.step(job):
            open_jobs.remove(job)


if __name__ == "__main__":
    main(*sys.argv[1:])
