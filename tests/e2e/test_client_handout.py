"""The Python client and its worker against what a job may ask of them: pauses, any job."""
import json
import os
import subprocess
import sys

import pytest

from tutti_process import ROOT, until
from wire import Wire, numbered, read_jsonl, write_jsonl

PACKAGE = ROOT / "clients" / "python"
sys.path.insert(0, str(PACKAGE))

from tutti import Client  # noqa: E402


@pytest.fixture
def server(tutti):
    t = tutti()
    write_jsonl(t.cwd / "in.jsonl", numbered(50))
    (t.cwd / "mywork.py").write_text("def same(value):\n    return value\n")
    return t


@pytest.fixture
def client(server):
    with Client(server.url, timeout=20, worker="me") as made:
        yield made


def start(client, name, **members):
    return client.start_job(name, "in.jsonl", name + "-out.jsonl", **members)


def work(server, *args):
    return subprocess.Popen([sys.executable, "-m", "tutti.worker", "mywork:same", "--server", server.url, "-q", *args], cwd=server.cwd,
                            env={**os.environ, "PYTHONPATH": str(PACKAGE)}, stdout=subprocess.PIPE, text=True)


def test_a_paused_job_waits(client):
    job = start(client, "j", rate="1000/s", max_in_flight=40, priority=3)
    job.pause()
    assert job.status()["status"] == "PAUSED"
    assert list(job.items(progress=False, wait=0.2)) == []
    job.resume()
    for item in job.items(progress=False):
        assert item.job == "j"
        job.done(item)
    assert job.status()["status"] == "COMPLETE"
    assert job.redo([1, 2]) == 2
    assert job.redo() == 48
    assert sum(job.done(item) for item in job.items(progress=False)) == 50


def test_any_job(client, server):
    start(client, "low", priority=-1)
    start(client, "high", priority=1)
    order = []
    jobs = client.any_job()
    for item in jobs.items(progress=False, wait=1.0):
        order.append(item.job)
        if item.id == 7:
            jobs.fail(item, "no seven", final=True)
        else:
            jobs.done(item)
    assert order == ["high"] * 50 + ["low"] * 50
    for name in ("low", "high"):
        assert len(read_jsonl(server.cwd / (name + "-out.jsonl"))) == 49
        assert [e["reason"] for e in client.job(name).errors()] == ["no seven"]
    total = jobs.status()
    assert (total["total"], total["received"], total["errors"], total["status"]) == (100, 98, 2, "COMPLETE")


def test_a_crew_that_serves_any_job(client, server):
    crew = work(server, "--any", "etl-*", "-n", "2", "--json")
    try:
        for name in ("etl-a", "etl-b", "other"):
            start(client, name)
        until(lambda: all(client.job(n).status()["status"] == "COMPLETE" for n in ("etl-a", "etl-b")), "the end of both", 60)
    finally:
        crew.terminate()
        said, _ = crew.communicate(timeout=60)
    assert crew.returncode == 0 and json.loads(said)["done"] == 100
    assert client.job("other").status()["received"] == 0


def test_what_a_dead_worker_held_goes_back_to_its_job(client, server):
    (server.cwd / "mywork.py").write_text("import os\n\ndef same(value):\n    if value['n'] == 3:\n        os._exit(9)\n    return value\n")
    start(client, "j", max_attempts=2)
    crew = work(server, "--any", "-n", "1", "--wait", "3s")
    assert crew.wait(120) == 1, "an item is dead"
    info = client.job("j").status()
    assert (info["received"], info["dead"], info["status"]) == (49, 1, "COMPLETE")
    assert "died" in next(client.job("j").errors())["reason"]


def test_the_wire_names_the_job(client, server):
    start(client, "j")
    assert Wire(server.url).post("/v1/claim", n=1).json()["job"] == "j"


def test_answers_of_several_clients(client, server):
    start(client, "j", overlap=2)
    other = Client(server.url, timeout=20, worker="other")
    for who in (client, other):
        job = who.job("j")
        assert sum(job.done(item, {"by": who._worker}) for item in job.items(progress=False)) == 50, "and the loop ends when nothing is left for it"
    info = client.job("j").status()
    assert (info["status"], info["received"], info["answers"], info["overlap"]) == ("COMPLETE", 50, 100, 2)
    lines = read_jsonl(server.cwd / "j-out.jsonl")
    assert sorted((row["id"], row["value"]["by"]) for row in lines) == [(i, who) for i in range(50) for who in ("me", "other")]
