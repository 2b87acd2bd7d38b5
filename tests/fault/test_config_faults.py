"""A server that is killed while it saves pipelines: each is there as one of the definitions that were sent, whole, and nothing of the others is."""
from __future__ import annotations

import copy
import os
import random
import signal
import sqlite3
import threading
import time
from typing import Any, Dict

from tutti_process import until

ROUNDS, LONG_ROUNDS = 4, 60


def definition(number: int) -> Dict[str, Any]:
    """Every part of it depends on the number."""
    states = [{"state": state, "transformations": [
        {"name": "t%d_%d" % (place, i), "template": "work_%d" % (i % 3), "order": i + 1, "variables": {"n": number, "text": "v%d" % number}} for i in range(6)]}
        for place, state in enumerate(["raw", "ingest", "master"])]
    if number % 2:
        states.reverse()
        del states[0]["transformations"][number % 5]
    return {"pipeline": "p", "description": "number %d" % number, "states": states}


def rows(t: Any) -> Dict[str, int]:
    with sqlite3.connect(t.data / "config.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok" and not db.execute("PRAGMA foreign_key_check").fetchall()
        counts = {table: db.execute("SELECT count(*) FROM " + table).fetchone()[0] for table in ("transformations", "transformation_variables", "pipeline_states", "auditing_actor")}
    db.close()
    return counts


def test_killed_while_it_saves(tutti, is_long):
    t = tutti()
    rng = random.Random(7)
    assert t.request("PUT", "/v1/pipelines/p?programs=any", definition(0)).status == 201
    sent = [0]
    for _ in range(LONG_ROUNDS if is_long else ROUNDS):
        ending = threading.Event()

        def save() -> None:
            while not ending.is_set():
                sent.append(sent[-1] + 1)
                try:
                    t.request("PUT", "/v1/pipelines/p?programs=any", definition(sent[-1]))
                except OSError:
                    pass  # the server is gone for a moment

        thread = threading.Thread(target=save)
        before = len(sent)
        thread.start()
        until(lambda: len(sent) > before + 1, "a save")
        time.sleep(rng.random() * 0.03)  # not a guess of anything: any moment will do
        os.kill(t.server_pid, signal.SIGKILL)
        ending.set()
        thread.join()
        now = until(lambda: reached(t), "the server to answer again")
        expected = copy.deepcopy(definition(int(now["definition"]["description"].split()[1])))
        assert now["problem"] is None and now["definition"] == expected
        counts = rows(t)
        transformations = sum(len(s["transformations"]) for s in expected["states"])
        assert counts == {"transformations": transformations, "transformation_variables": 2 * transformations, "pipeline_states": 3, "auditing_actor": 0}


def reached(t: Any) -> Any:
    try:
        answer = t.get("/v1/pipelines/p?plain=true")
    except OSError:
        return None
    return answer.json if answer.status == 200 else None
