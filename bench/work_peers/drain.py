"""Queues COUNT no-op tasks with the peer's own client, starts its own workers, and prints how long they took to drain them.

Usage: drain.py rq|rq-simple|celery COUNT WORKERS, with BENCH_REDIS in the environment. One JSON object on standard output."""
import json
import os
import subprocess
import sys
import time

import redis

HERE = os.path.dirname(os.path.abspath(__file__))


def push_rq(store, count):
    from rq import Queue
    from tasks import plain
    queue = Queue("bench", connection=store)
    queue.enqueue_many([Queue.prepare_data(plain, result_ttl=0) for _ in range(count)])
    return lambda: store.llen("rq:queue:bench")


def push_celery(store, count):
    from tasks import app, noop
    with app.producer_pool.acquire() as producer:
        for _ in range(count):
            noop.apply_async(producer=producer)
    return lambda: store.llen("celery") + store.hlen("unacked")


def commands(peer, workers):
    bin_dir = os.path.dirname(sys.executable)
    if peer == "celery":
        return [[os.path.join(bin_dir, "celery"), "-A", "tasks", "worker", "-c", str(workers), "--loglevel=ERROR", "--without-gossip", "--without-mingle", "-Ofair"]]
    kind = ["-w", "rq.worker.SimpleWorker"] if peer == "rq-simple" else []
    return [[os.path.join(bin_dir, "rq"), "worker", "--url", os.environ["BENCH_REDIS"], "--burst", "--logging_level", "ERROR", *kind, "bench"] for _ in range(workers)]


def main():
    peer, count, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    store = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    store.flushall()
    left = (push_celery if peer == "celery" else push_rq)(store, count)
    begun_bytes = store.info("memory")["used_memory_dataset"]
    processes = [subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands(peer, workers)]
    try:
        while left() > count * 0.98:  # their interpreters' start is not what is measured
            if all(process.poll() is not None for process in processes) and left():
                sys.exit("the workers ended at their start")
            time.sleep(0.005)
        begun, first = time.monotonic(), left()
        while left():
            time.sleep(0.005)
        seconds = time.monotonic() - begun
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    print(json.dumps({"tasks": first, "seconds": seconds, "tasks_per_s": first / seconds, "bytes_each": begun_bytes / count}))


main()
