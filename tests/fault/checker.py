"""Whether a job kept its promise, from three witnesses: what its clients wrote down (client.py), its output, and its input.

    every record's result is in the output at most once, as the bytes that some client sent; at the end exactly once
    every acknowledged result is there; every bad record is in the rejects exactly once
    no item is in two hands at once while the first lease is certainly alive; none is dead before its attempts are used up"""
import csv
import io
import json
import os
import zlib
from collections import defaultdict
from pathlib import Path


class Broken(AssertionError):
    """The promise is broken."""


def demand(condition, text, *args):
    if not condition:
        raise Broken(text % args)


class History:
    """All events of a folder of history files; read() gives what has come since, and keeps it in .events (unless is_kept is false).
    An event that was cut off by a kill is not one."""

    def __init__(self, folder, is_kept=True):
        self.folder, self.is_kept, self.offsets, self.events, self.count = Path(folder), is_kept, {}, [], 0

    def read(self):
        for path in [entry.path for entry in os.scandir(self.folder) if entry.stat().st_size > self.offsets.get(entry.path, 0)]:
            with open(path, "rb") as file:
                file.seek(self.offsets.get(path, 0))
                data = file.read()
            whole = data[:data.rfind(b"\n") + 1]
            self.offsets[path] = self.offsets.get(path, 0) + len(whole)
            for line in whole.splitlines():
                yield self.keep(json.loads(line))

    def keep(self, event):
        self.count += 1
        if self.is_kept:
            self.events.append(event)
        return event


class Job:
    """One job's books. good, bad: the ids of its input."""

    def __init__(self, name, output, good, bad=(), is_csv=False):
        self.name, self.output, self.is_csv = name, Path(output), is_csv
        self.good, self.bad = set(good), set(bad)
        self.sent, self.acked, self.marked, self.marking = defaultdict(set), set(), set(), set()
        self.seen, self.checked_bytes, self.checksum = set(), 0, 0

    def learn(self, event):
        if event["e"] == "send":
            for id, crc in zip(event["ids"], event["crcs"]):
                self.sent[id].add(crc)
        elif event["e"] == "ack":
            self.acked.update(event["ids"])
        elif event["e"] == "mark":
            self.marking.update(event["ids"])
        elif event["e"] == "marked":
            self.marked.update(event["ids"])

    def records(self, data):
        """(id, checksum as it was sent) of each record in these bytes of the output, which begin and end with a record."""
        demand(data == b"" or data.endswith(b"\n"), "%s: the output ends in the middle of a line: %r", self.name, data[-80:])
        if self.is_csv:
            rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
            for row in rows[1:] if self.checked_bytes == 0 else rows:
                yield int(row[0]), None
            return
        for line in data.split(b"\n")[:-1]:
            try:
                id = json.loads(line)["id"]
            except (ValueError, KeyError, TypeError):
                raise Broken("%s: a torn line: %r" % (self.name, line[:200])) from None
            yield id, zlib.crc32(line)

    def check(self, acked, committed_bytes):
        """acked was read before the server said that so many bytes are committed."""
        with open(self.output, "rb") as file:
            file.seek(self.checked_bytes)
            data = file.read(committed_bytes - self.checked_bytes)
        demand(len(data) == committed_bytes - self.checked_bytes, "%s: the output is shorter than the committed %d bytes", self.name, committed_bytes)
        for id, crc in self.records(data):
            demand(id in self.good, "%s: item %d is in the output and is no good record", self.name, id)
            demand(id not in self.seen, "%s: item %d is in the output twice", self.name, id)
            demand(crc is None or crc in self.sent[id], "%s: item %d is in the output as nobody sent it", self.name, id)
            self.seen.add(id)
        self.checked_bytes, self.checksum = committed_bytes, zlib.crc32(data, self.checksum)
        lost = acked - self.seen
        demand(not lost, "%s: %d acknowledged items are lost, e.g. %s", self.name, len(lost), sorted(lost)[:5])

    def check_end(self, report):
        """The job is complete: report is what GET /v1/jobs/NAME says."""
        size = self.output.stat().st_size
        self.check(self.acked, size)
        demand(zlib.crc32(self.output.read_bytes()) == self.checksum, "%s: bytes that were committed have changed", self.name)
        demand(report["output_bytes"] == size, "%s: %d bytes reported, %d there", self.name, report["output_bytes"], size)
        missing = self.good - self.seen - self.marking
        demand(not missing, "%s: %d items are missing at the end, e.g. %s", self.name, len(missing), sorted(missing)[:5])
        both = self.seen & self.marked
        demand(not both - self.acked, "%s: marked and in the output: %s", self.name, sorted(both)[:5])
        demand(report["dead"] == 0, "%s: %d items are dead", self.name, report["dead"])
        demand(report["received"] == len(self.seen), "%s: %d received, %d in the output", self.name, report["received"], len(self.seen))
        errors = len(self.good | self.bad) - len(self.seen)
        demand(report["errors"] == errors, "%s: %d errors reported, %d expected", self.name, report["errors"], errors)
        self.check_rejects()

    def check_rejects(self):
        path = self.output.with_name(self.output.name + ".rejects.jsonl")
        ids = sorted(json.loads(line)["id"] for line in path.read_bytes().splitlines()) if path.exists() else []
        demand(ids == sorted(self.bad), "%s: the rejects are %s... instead of %s...", self.name, ids[:10], sorted(self.bad)[:10])


# ---- leases ----


def leases_of(events):
    """One row per hand-out with a lease: ids, when it was certainly there, until when it was certainly alive."""
    rows, by_token = [], {}
    for event in sorted(events, key=lambda e: e["t"]):
        token = event.get("lease")
        if event["e"] == "take" and token:
            row = {"by": event["by"], "ids": set(event["ids"]), "asked": event["asked"], "from": event["t"],
                   "until": event["asked"] + event["lease_ms"] / 1000, "lease_ms": event["lease_ms"]}
            rows.append(row)
            by_token[token] = row
        elif event["e"] == "renewed" and token in by_token and event["t"] <= by_token[token]["until"]:
            by_token[token]["until"] = event["asked"] + event["lease_ms"] / 1000
        elif event["e"] in ("send", "mark") and token in by_token:
            by_token[token]["until"] = min(by_token[token]["until"], event["t"])
    return rows


def check_leases(events, deaths):
    """deaths: from when until when the server may have been killed; its leases are void then, and nobody knows the moment."""
    holders = defaultdict(list)
    for row in leases_of(events):
        row["until"] = min([row["until"]] + [max(begin, row["asked"]) for begin, end in deaths if end >= row["asked"]])
        for id in row["ids"]:
            for other in holders[id]:
                demand(not (row["asked"] > other["from"] and row["from"] < other["until"]),
                       "item %d was given to %s while %s held it", id, row["by"], other["by"])
            holders[id].append(row)


def check_dead(errors, events, max_attempts):
    """errors: the job's list. Lost answers may have handed out items that nobody saw."""
    taken = defaultdict(int)
    answered = {(e["by"], e["n"]) for e in events if e["e"] in ("take", "none")}
    lost = sum(e["e"] == "ask" and (e["by"], e["n"]) not in answered for e in events)
    for event in events:
        for id in event["ids"] if event["e"] == "take" else ():
            taken[id] += 1
    for row in errors:
        if row["state"] == "dead":
            demand(row["attempts"] >= max_attempts, "item %d is dead after %d attempts", row["id"], row["attempts"])
            demand(taken[row["id"]] + lost >= max_attempts, "item %d is dead after %d hand-outs", row["id"], taken[row["id"]])
