"""A stand-in for Planchet's server, for benchmarks only.

What it is: Planchet's package in the Python registry (0.4.0) holds the client alone; its server was never published. This
file follows the written behaviour of that server (routes, modes, cost model), not its code: one process, one worker, one
Redis on the same machine, plain (not async) route functions that the framework runs in its thread pool, pandas for CSV.
The cost model is the original's: serve asks Redis for each item and then sets it (two round trips per item), receive with
overwrite=false asks for each item and then sets it (two more), the reader is under a lock, the writer opens its file for
each batch, and nothing is synced to disk.

How far to trust it: the original is reported to handle 2,400 to 8,000 items/s on such a machine. A figure of this
stand-in within or above that range may be held against the original; a figure below it may not.

Left out, because no benchmark asks for it: tokens, restoring jobs at start, purge, the size limit.
Run: uvicorn planchet_standin.app:app --workers 1 (PLANCHET_REDIS_HOST, PLANCHET_REDIS_PORT).
"""
import json
import os
from typing import Dict, List, Tuple, Union

import redis
from fastapi import FastAPI, HTTPException

from . import files

SERVED, RECEIVED, ERROR = b"SERVED", b"RECEIVED", b"ERROR"

app = FastAPI()
ledger = redis.Redis(
    host=os.environ.get("PLANCHET_REDIS_HOST", "localhost"),
    port=int(os.environ.get("PLANCHET_REDIS_PORT", "6379")),
)
jobs: Dict[str, "Job"] = {}
outputs = set()


class Job:
    """A reader, a writer, and the ids that are in flight and done. Item states live in Redis, one key per item."""

    def __init__(self, name, reader, writer, mode, cont):
        self.name = name
        self.reader = reader
        self.writer = writer
        self.mode = mode
        self.cont = cont
        self.served = set()
        self.received = set()
        self.exhausted = False
        self._load_states()

    def key(self, item_id):
        return f"{self.name}:{item_id}"

    def _load_states(self):
        for key in ledger.scan_iter(f"{self.name}:*"):
            item_id = int(key.split(b":", 1)[1])
            state = ledger.get(key)
            if state == SERVED:
                self.served.add(item_id)
            elif state == RECEIVED:
                self.received.add(item_id)

    def is_free(self, item_id):
        state = ledger.get(self.key(item_id))
        return state is None or (self.cont and state == SERVED)

    def serve(self, count):
        batch = []
        while len(batch) < count:
            pulled = self.reader(count - len(batch))
            if not pulled:
                self.exhausted = True
                break
            for item_id, value in pulled:
                if self.is_free(item_id):
                    ledger.set(self.key(item_id), SERVED)
                    self.served.add(item_id)
                    batch.append((item_id, value))
        return batch

    def receive(self, items, overwrite):
        if self.mode == "read-write" and not overwrite:
            items = [item for item in items if not self.is_received(item[0])]
        self.writer([value for _, value in items])
        for item_id, _ in items:
            self.received.add(item_id)
            self.served.discard(item_id)
            ledger.set(self.key(item_id), RECEIVED)
        if self.status == "COMPLETE":
            ledger.set(f"JOB:{self.name}", "COMPLETE")

    def is_received(self, item_id):
        state = ledger.get(self.key(item_id))
        if state is None:
            raise KeyError(item_id)
        return state == RECEIVED

    def clear_served(self):
        for key in ledger.scan_iter(f"{self.name}:*"):
            if ledger.get(key) == SERVED:
                ledger.delete(key)
        self.served.clear()

    def forget(self):
        for key in ledger.scan_iter(f"{self.name}:*"):
            ledger.delete(key)
        self.served.clear()
        self.received.clear()
        self.exhausted = False

    @property
    def status(self):
        return "COMPLETE" if self.exhausted and not self.served else "IN_PROGRESS"


def known_job(job_name):
    if job_name not in jobs:
        raise HTTPException(400, f"No known job: {job_name}")
    return jobs[job_name]


@app.post("/scramble")
def scramble(job_name: str, metadata: Dict, reader_name: str, writer_name: str, clean_start: bool = False,
             mode: str = "read-write", cont: bool = False, force_overwrite: bool = False):
    try:
        reader = files.READERS[reader_name](metadata) if reader_name else None
        writer = files.WRITERS[writer_name](metadata) if writer_name else None
    except OSError as fault:
        raise HTTPException(400, str(fault))
    if writer and writer.file_path in outputs and not force_overwrite:
        raise HTTPException(400, f"Output path not allowed `{writer.file_path}`.")
    known = ledger.get(f"JOB:{job_name}") is not None
    if known and not clean_start and not cont:
        raise HTTPException(400, f"Job {job_name} already exists.")
    if known and cont:
        jobs.pop(job_name).clear_served()
    job = Job(job_name, reader, writer, mode, cont)
    if clean_start:
        job.forget()
    jobs[job_name] = job
    if writer:
        outputs.add(writer.file_path)
    record = {"metadata": metadata, "reader_name": reader_name, "writer_name": writer_name, "mode": mode}
    ledger.set(f"JOB:{job_name}", json.dumps(record))


@app.post("/serve")
def serve(job_name: str, batch_size: int = 100):
    job = known_job(job_name)
    if job.mode == "write":
        raise HTTPException(400, "Trying to read from a write-only job")
    return job.serve(batch_size)


@app.post("/receive")
def receive(job_name: str, items: List[Tuple[int, Union[Dict, List]]], overwrite: bool):
    job = known_job(job_name)
    if job.mode == "read":
        raise HTTPException(400, "Trying to send to a read-only job")
    if job.writer is None:
        raise HTTPException(400, "No valid writer initialised")
    job.receive(items, overwrite)


@app.post("/mark-errors")
def mark_errors(job_name: str, ids: List[int]):
    job = known_job(job_name)
    for item_id in ids:
        if ledger.get(job.key(item_id)) == RECEIVED:
            raise HTTPException(400, f"Item already received: {item_id}")
        ledger.set(job.key(item_id), ERROR)


@app.get("/delete")
def delete(job_name: str):
    jobs.pop(job_name, None)
    ledger.delete(f"JOB:{job_name}")
    for key in ledger.scan_iter(f"{job_name}:*"):
        ledger.delete(key)


@app.get("/clean")
def clean(job_name: str, output: bool = True):
    if job_name not in jobs:
        raise HTTPException(400, f'Could not find a job name "{job_name}"')
    job = jobs[job_name]
    job.clear_served()
    if output and job.writer:
        job.writer.clean()
    outputs.discard(getattr(job.writer, "file_path", None))


@app.get("/report")
def report(job_name: str):
    job = jobs.get(job_name)
    if job is None:
        return {}
    return {"served": len(job.served), "received": len(job.received), "status": job.status}


@app.get("/health")
def health():
    ledger.ping()
    finished = [name for name, job in jobs.items() if job.status == "COMPLETE"]
    return {"Redis status": "Online", "Number of jobs": len(jobs), "Number of finished jobs": finished}
