"""One worker with the real Planchet client (planchet 0.4.0): takes batches and sends them back until the job is complete.

Usage: real_client.py URL JOB BATCH. Prints one JSON object: items and seconds.
"""
import json
import logging
import sys
import time

from planchet import PlanchetClient


def main():
    url, job, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # The client sets the root logger to DEBUG, which would measure the terminal.
    logging.getLogger().setLevel(logging.ERROR)
    client = PlanchetClient(url)
    begun, done = time.monotonic(), 0
    while True:
        items = client.get(job, batch)
        if items:
            answer = client.send(job, items)
            if answer.status_code != 200:
                raise SystemExit(f"receive: status {answer.status_code}: {answer.text[:200]}")
            done += len(items)
        elif items is None:
            raise SystemExit("serve: refused")
        elif client.get_job_report(job)["status"] == "COMPLETE":
            break
        else:
            time.sleep(0.01)
    print(json.dumps({"items": done, "seconds": time.monotonic() - begun}))


main()
