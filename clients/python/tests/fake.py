"""A small items server in memory: the wire API as the client sees it, leases and all.

Not a model of the real server's insides: one lock, one dict per job.
"""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit


class Refused(Exception):
    def __init__(self, status, code, detail, hint=None):
        super().__init__(detail)
        self.status, self.code, self.detail, self.hint = status, code, detail, hint


class OldRefused(Refused):
    """The older routes' dialect."""


def seconds(text, default):
    if text is None:
        return default
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60)):
        if text.endswith(unit):
            return float(text[:-len(unit)]) * factor
    return float(text)


class FakeJob:
    def __init__(self, body, values):
        self.definition = {k: body.get(k) for k in ("input", "output", "reader", "writer", "mode")}
        self.name = body["name"]
        self.token = body.get("token") or None
        self.mode = body.get("mode") or "read-write"
        self.output = body.get("output")
        self.lease_s = seconds(body.get("lease"), 60.0)
        self.max_attempts = body.get("max_attempts") or 5
        self.values = values
        self.pending = list(range(len(values)))
        self.attempts = [0] * len(values)
        self.received = {}
        self.failed = {}
        self.leases = {}
        self.answers = {}
        self.duplicates = 0

    def expire(self):
        now = time.monotonic()
        for token in [t for t, lease in self.leases.items() if lease["until"] <= now]:
            self.give_back(token, list(self.leases[token]["ids"]))
            self.leases.pop(token, None)

    def give_back(self, token, ids):
        lease = self.leases[token]
        for id in ids:
            if id in lease["ids"]:
                lease["ids"].discard(id)
                self.again(id, "the lease ran out")
        self.tidy(token)
        self.pending.sort()

    def again(self, id, reason):
        if self.attempts[id] >= self.max_attempts:
            self.failed[id] = {"id": id, "state": "dead", "reason": reason, "attempts": self.attempts[id]}
        elif id not in self.received and id not in self.failed:
            self.pending.append(id)

    def tidy(self, token):
        if token in self.leases and not self.leases[token]["ids"]:
            del self.leases[token]

    def served(self):
        return sum(len(lease["ids"]) for lease in self.leases.values())

    def status(self):
        return "COMPLETE" if not self.pending and not self.served() else "IN_PROGRESS"

    def claim(self, n, lease_s, worker, request_id):
        if request_id in self.answers:
            return self.answers[request_id]
        ids, self.pending = self.pending[:n], self.pending[n:]
        token = None
        if self.mode == "read":
            for id in ids:
                self.received[id] = None
        elif ids:
            token = uuid.uuid4().hex
            for id in ids:
                self.attempts[id] += 1
            self.leases[token] = {"ids": set(ids), "until": time.monotonic() + lease_s, "s": lease_s,
                                  "worker": worker}
        answer = {"schema": 1, "job": self.name, "lease": token, "lease_ms": int(lease_s * 1000),
                  "status": self.status(), "items": [[id, self.values[id]] for id in ids]}
        if request_id and ids:
            self.answers[request_id] = answer
        return answer

    def receive(self, pairs):
        counts = {"schema": 1, "accepted": 0, "duplicate": 0, "unknown": 0}
        for id, value in pairs:
            if not 0 <= id < len(self.values):
                counts["unknown"] += 1
            elif id in self.received:
                counts["duplicate"] += 1
                self.duplicates += 1
            else:
                counts["accepted"] += 1
                self.received[id] = value
                self.failed.pop(id, None)
                if not any(id in lease["ids"] for lease in self.leases.values()) and id in self.pending:
                    self.pending.remove(id)
                if self.output:
                    with open(self.output, "a") as f:
                        f.write(json.dumps(value) + "\n")
            for token in list(self.leases):
                self.leases[token]["ids"].discard(id)
                self.tidy(token)
        return counts

    def info(self):
        done, total = len(self.received), len(self.values)
        states = [f["state"] for f in self.failed.values()]
        return dict(self.definition, name=self.name, status=self.status(), mode=self.mode, total=total, received=done,
                    served=self.served(), errors=states.count("error"), dead=states.count("dead"),
                    pending=len(self.pending), rate=10.0, eta_s=None, duplicates=self.duplicates,
                    workers=[{"worker": lease["worker"], "in_flight": len(lease["ids"])}
                             for lease in self.leases.values()])


class FakeServer:
    """Serves on 127.0.0.1 at a free port until `close`."""

    def __init__(self, token=None):
        self.jobs = {}
        self.token = token
        self.max_value_bytes = 1 << 20
        self.seen = []
        self.changed = threading.Condition()
        handler = type("Handler", (Handler,), {"fake": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def job(self, name):
        if name not in self.jobs:
            raise Refused(404, "not_found", "job %r: no such job: start it first" % name, "`tutti job list`")
        self.jobs[name].expire()
        return self.jobs[name]

    def route(self, method, path, query, body):
        steps = [unquote(step) for step in path.strip("/").split("/")]
        if steps[0] != "v1":
            return self.old_route(steps[0], query, body)
        if steps == ["v1", "jobs"]:
            return self.start(body) if method == "POST" else (200, {"schema": 1, "jobs": [
                j.info() for j in self.jobs.values()]})
        if steps == ["v1", "version"]:
            return 200, {"schema": 1, "version": "fake"}
        if steps[:2] == ["v1", "jobs"]:
            job = self.job(steps[2])
            verb = steps[3] if len(steps) > 3 else {"GET": "info", "DELETE": "delete"}[method]
            return getattr(self, "do_" + verb)(job, query, body)
        raise Refused(404, "not_found", "no such route: " + path)

    def start(self, body):
        name = body["name"]
        if name in self.jobs and not body.get("clean_start"):
            same = FakeJob(body, []).definition == self.jobs[name].definition
            if not same:
                raise Refused(409, "conflict", "job %r: exists with another definition" % name)
            return 200, self.jobs[name].info()
        try:
            with open(body["input"]) as f:
                values = [json.loads(text) for text in f]
        except OSError as e:
            raise Refused(400, "invalid", "input %r: %s" % (body["input"], e.strerror))
        self.jobs[name] = FakeJob(body, values)
        return 201, self.jobs[name].info()

    def do_info(self, job, query, body):
        return 200, job.info()

    def do_delete(self, job, query, body):
        del self.jobs[job.name]
        return 200, {"deleted": True}

    def do_claim(self, job, query, body):
        end = time.monotonic() + seconds(query.get("wait"), 0)
        lease_s = seconds(query.get("lease"), job.lease_s)
        while True:
            job.expire()
            answer = job.claim(int(query.get("n", 1)), lease_s, query.get("worker"), query.get("request_id"))
            left = end - time.monotonic()
            if answer["items"] or answer["status"] == "COMPLETE" or left <= 0:
                return 200, answer
            self.changed.wait(min(left, 0.05))

    def do_results(self, job, query, body):
        if job.mode == "read":
            raise Refused(400, "invalid", "job %r only reads" % job.name)
        if any(len(json.dumps(value)) > self.max_value_bytes for _, value in body):
            raise Refused(413, "too_large", "a value is larger than the limit")
        return 200, job.receive(body)

    def leased(self, job, query):
        if query.get("lease") not in job.leases:
            raise Refused(409, "lease_lost", "lease: unknown or over: claim again")
        return job.leases[query["lease"]]

    def do_fail(self, job, query, body):
        lease = self.leased(job, query)
        counts = {"schema": 1, "retry": 0, "dead": 0, "error": 0}
        for fault in body:
            id = fault["id"]
            if id not in lease["ids"]:
                continue
            lease["ids"].discard(id)
            if fault.get("final"):
                job.failed[id] = {"id": id, "state": "error", "reason": fault["reason"], "attempts": job.attempts[id]}
            else:
                job.again(id, fault["reason"])
            state = job.failed.get(id, {}).get("state", "retry")
            counts[state] += 1
        job.tidy(query["lease"])
        return 200, counts

    def do_renew(self, job, query, body):
        lease = self.leased(job, query)
        lease["until"] = time.monotonic() + lease["s"]
        return 200, {"schema": 1, "lease_ms": int(lease["s"] * 1000)}

    def do_release(self, job, query, body):
        ids = sorted(self.leased(job, query)["ids"]) if body is None else body
        for id in ids:
            job.attempts[id] -= 1
        job.give_back(query["lease"], ids)
        return 200, {"schema": 1, "released": len(ids)}

    def do_errors(self, job, query, body):
        after = int(query.get("after", -1))
        found = [job.failed[id] for id in sorted(job.failed) if id > after]
        page = found[:int(query.get("limit", 1000))]
        return 200, {"schema": 1, "errors": page, "next": page[-1]["id"] if len(page) < len(found) else None}

    def do_retry(self, job, query, body):
        ids = list(job.failed) if body is None else [id for id in body["ids"] if id in job.failed]
        for id in ids:
            del job.failed[id]
            job.attempts[id] = 0
            job.pending.append(id)
        return 200, {"schema": 1, "retried": len(ids)}

    def do_clean(self, job, query, body):
        return 200, {"schema": 1, "cleaned": True}

    # -- the older routes

    def old_route(self, verb, query, body):
        if verb == "health":
            return 200, {"Redis status": "Online", "Number of jobs": len(self.jobs)}
        if verb == "scramble":
            definition = {"name": query["job_name"], "input": body["input_file_path"], "token": query.get("token"),
                          "output": body.get("output_file_path"), "mode": query["mode"]}
            if definition["name"] in self.jobs and query["clean_start"] == "False" and query["cont"] == "False":
                raise OldRefused(400, None, "Job %s already exists." % definition["name"])
            self.start(dict(definition, clean_start=True))
            return 200, None
        if verb == "purge":
            self.jobs.clear()
            return 200, None
        name = query["job_name"]
        if verb == "report":
            return 200, self.jobs[name].info() if name in self.jobs else {}
        if name not in self.jobs:
            raise OldRefused(400, None, "No known job: " + name)
        job = self.jobs[name]
        if job.token and query.get("token") != job.token:
            raise OldRefused(403, None, "Wrong or missing authentication token")
        return 200, getattr(self, "old_" + verb.replace("-", "_"))(job, query, body)

    def old_serve(self, job, query, body):
        return job.claim(int(query["batch_size"]), 600, None, query.get("request_id"))["items"]

    def old_receive(self, job, query, body):
        if query["overwrite"] not in ("True", "False"):
            raise OldRefused(422, None, [{"loc": ["query", "overwrite"], "msg": "value could not be parsed"}])
        job.receive(body)

    def old_mark_errors(self, job, query, body):
        for id in body:
            job.failed[id] = {"id": id, "state": "error", "reason": "", "attempts": 1}

    def old_delete(self, job, query, body):
        del self.jobs[job.name]

    def old_clean(self, job, query, body):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake = None

    def log_message(self, *args):
        pass

    def handle_any(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        fake = self.fake
        with fake.changed:
            fake.seen.append((self.command, url.path, query, self.client_address))
            try:
                if fake.token and self.headers.get("Authorization") != "Bearer " + fake.token:
                    raise Refused(401, "denied", "token: missing or wrong: send Authorization: Bearer")
                status, said = fake.route(self.command, url.path, query, json.loads(body) if body else None)
                kind = "application/json"
            except OldRefused as e:
                status, kind, said = e.status, "application/json", {"detail": e.args and e.detail}
            except Refused as e:
                status, kind = e.status, "application/problem+json"
                said = {"type": "about:blank", "title": "refused", "status": status, "code": e.code,
                        "detail": e.detail, "hint": e.hint, "request_id": "r-1"}
            fake.changed.notify_all()
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = handle_any
