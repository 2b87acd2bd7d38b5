"""The no-op task of both peers, and the Celery application. BENCH_REDIS names the store."""
import os

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_REDIS", "redis://127.0.0.1:1/0"))
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = False


@app.task
def noop():
    return None


def plain():
    return None
