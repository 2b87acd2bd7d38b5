"""The older service's own client package, unmodified, against this server: every kind of job that its documentation names."""
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl

planchet = pytest.importorskip("planchet", reason="the planchet package is not installed: see tests/requirements.txt")


@pytest.fixture(params=["alone", "with a mirror"])
def up(request, tutti, redis):
    """up(env={}) -> a server, without and with the Redis that the older service needed."""
    def make(**options):
        args = ["--redis", redis().url] if request.param == "with a mirror" else []
        return tutti(args=args, **options)
    return make


@pytest.fixture
def server(up):
    server = up()
    write_jsonl(server.cwd / "in.jsonl", numbered(50))
    return server


@pytest.fixture
def client(server):
    return planchet.PlanchetClient(server.url)


METADATA = {"input_file_path": "./in.jsonl", "output_file_path": "./out.jsonl"}


def work_through(client, name, n=7, **token):
    """The loop of the documentation; the ids that were processed."""
    ids = []
    while items := client.get(name, n, **token):
        ids += [id_ for id_, _ in items]
        assert client.send(name, [(id_, {**item, "done": True}) for id_, item in items], **token).status_code == 200
    return ids


def test_versions():
    """What is tested is what its users run: the package's pins hold."""
    import requests
    import urllib3
    assert requests.__version__ == "2.23.0"
    assert urllib3.__version__.startswith("1.25.")


def test_a_regular_job(client, server):
    answer = client.start_job("regular", METADATA, "JsonlReader", "JsonlWriter")
    assert (answer.status_code, answer.text) == (200, "null")
    until(lambda: client.check()["Redis status"] == "Online", "the store is there")
    assert work_through(client, "regular") == list(range(50))
    report = client.get_job_report("regular")
    assert (report["served"], report["received"], report["status"]) == (0, 50, "COMPLETE")
    assert client.check()["Number of finished jobs"] == ["regular"]
    assert read_jsonl(server.cwd / "out.jsonl") == [{**row, "done": True} for row in numbered(50)]


def test_a_csv_job(client, server):
    (server.cwd / "in.csv").write_text("n,text\n" + "".join(f'{i},"row, {i}"\n' for i in range(30)))
    client.start_job("csv", {"input_file_path": "in.csv", "output_file_path": "out.csv"}, "CsvReader", "CsvWriter")
    while items := client.get("csv", 4):
        client.send("csv", items)
    assert (server.cwd / "out.csv").read_bytes() == (server.cwd / "in.csv").read_bytes()


def test_a_second_worker_joins(client, server):
    assert client.start_job("j", METADATA, "JsonlReader", "JsonlWriter").status_code == 200
    again = client.start_job("j", METADATA, "JsonlReader", "JsonlWriter")
    assert (again.status_code, again.json()["detail"]) == (400, "Job j already exists.")
    assert len(work_through(client, "j")) == 50


def test_a_reading_job(client):
    client.start_job("reading", {"input_file_path": "./in.jsonl"}, "JsonlReader", "", mode="read")
    assert [id_ for id_, _ in client.get("reading", 100)] == list(range(50))
    assert client.get("reading", 100) == []
    assert client.send("reading", [(0, {})]).status_code == 400
    assert client.get_job_report("reading")["status"] == "COMPLETE"


def test_a_writing_job(client, server):
    """The documentation's log of errors: ids of the client's own."""
    client.start_job("errors", {"output_file_path": "./errors.jsonl"}, "", "JsonlWriter", mode="write")
    assert client.send("errors", [(3, {"error": "three"}), (12345678, {"error": "many"})]).status_code == 200
    assert client.get("errors", 1) is None
    assert read_jsonl(server.cwd / "errors.jsonl") == [{"error": "three"}, {"error": "many"}]


def test_a_repair_job(client, server):
    client.start_job("j", METADATA, "JsonlReader", "JsonlWriter")
    items = client.get("j", 20)
    client.send("j", items[:5])
    assert client.mark_errors("j", [10]).status_code == 200
    assert work_through(client, "j") == list(range(20, 50))
    assert client.get("j", 100) == [], "the rest is with a client that is gone"
    assert client.start_job("j", METADATA, "JsonlReader", "JsonlWriter", cont=True).status_code == 200
    assert work_through(client, "j") == [i for i in range(5, 20) if i != 10]
    report = client.get_job_report("j")
    assert (report["received"], report["errors"], report["status"]) == (49, 1, "COMPLETE")
    assert sorted(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == [i for i in range(50) if i != 10]


def test_a_clean_start(client, server):
    client.start_job("j", METADATA, "JsonlReader", "JsonlWriter")
    work_through(client, "j")
    assert client.start_job("j", METADATA, "JsonlReader", "JsonlWriter", clean_start=True).status_code == 200
    assert client.get_job_report("j")["received"] == 0
    assert len(work_through(client, "j")) == 50
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 50


def test_job_tokens(client):
    client.start_job("j", METADATA, "JsonlReader", "JsonlWriter", token="s3cret")
    for token in ("wrong", "", None):
        assert client.get("j", 5, token=token) is None
        assert client.send("j", [(0, {})], token=token).status_code == 403
        assert client.mark_errors("j", [1], token=token).status_code == 403
        assert client.clean_job("j", token=token).status_code == 403
    assert len(work_through(client, "j", token="s3cret")) == 50
    assert client.clean_job("j", token="s3cret").status_code == 200


def test_the_master_token(up):
    server = up(env={"PLANCHET_MASTER_TOKEN": "m4ster"})
    write_jsonl(server.cwd / "in.jsonl", numbered(50))
    client = planchet.PlanchetClient(server.url)
    assert client.start_job("j", METADATA, "JsonlReader", "JsonlWriter", token="own").status_code == 200
    assert len(client.get("j", 5, token="m4ster")) == 5
    assert len(client.get("j", 5, token="own")) == 5
    assert client.purge_server("own").status_code == 403
    assert client.purge_server(None).status_code == 403
    assert client.get_job_report("j")["served"] == 10
    assert client.purge_server("m4ster").status_code == 200
    assert client.get_job_report("j") == {}
    assert not (server.cwd / "out.jsonl").exists()
    assert client.check()["Number of jobs"] == 0


def test_clean_and_delete(client, server):
    client.start_job("j", METADATA, "JsonlReader", "JsonlWriter")
    client.send("j", client.get("j", 5))
    client.get("j", 5)
    assert client.clean_job("j").status_code == 200
    assert not (server.cwd / "out.jsonl").exists()
    assert (client.get_job_report("j")["served"], client.get_job_report("j")["received"]) == (0, 5)
    assert client.delete_job("j").status_code == 200
    assert client.get_job_report("j") == {}
    assert client.delete_job("j").status_code == 200


def test_mistakes(client):
    answer = client.start_job("j", {"input_file_path": "absent", "output_file_path": "out.jsonl"}, "JsonlReader", "JsonlWriter")
    assert answer.status_code == 400 and answer.json()["detail"].startswith("[Errno 2] No such file or directory: ")
    assert client.get("j", 5) is None
    assert client.send("j", []).json()["detail"].startswith("No known job: j")
    assert client.mark_errors("j", []).status_code == 400


def test_names_with_blanks_and_letters(client, server):
    for i, name in enumerate(["two words", "größer", "a:b", "名前"]):
        assert client.start_job(name, {**METADATA, "output_file_path": f"{i}.jsonl"}, "JsonlReader", "JsonlWriter").status_code == 200
        assert len(work_through(client, name, 50)) == 50
        assert client.get_job_report(name)["status"] == "COMPLETE"


def test_workers_side_by_side(client, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(3000))
    client.start_job("j", METADATA, "JsonlReader", "JsonlWriter")
    with ThreadPoolExecutor(6) as pool:
        parts = list(pool.map(lambda n: work_through(planchet.PlanchetClient(server.url), "j", n), [1, 10, 33, 50, 100, 128]))
    assert sorted(sum(parts, [])) == list(range(3000))
    assert Counter(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == Counter(range(3000))


# The second listing of the older README, as printed, but for the model behind `nlp` and for the port.
QUICK_START = '''
from planchet import PlanchetClient
import spacy
from tqdm import tqdm

nlp = spacy.load("en_core_web_sm")

PLANCHET_HOST = 'localhost'  # <--- CHANGE IF NEEDED
PLANCHET_PORT = {port}

url = f'http://{{PLANCHET_HOST}}:{{PLANCHET_PORT}}'
client = PlanchetClient(url)

job_name = 'spacy-ner-job'
metadata = {{ # NOTE: this assumes planchet has access to this path
    'input_file_path': './data/news_headlines.jsonl',
    'output_file_path': './data/entities.jsonl'
}}

# make sure you don't use the clean_start option here
client.start_job(job_name, metadata, 'JsonlReader', writer_name='JsonlWriter')

# make sure the number of items is large enough to avoid blocking the server
n_items = 100
headlines = client.get(job_name, n_items)

while headlines:
    ents = []
    print('Processing headlines batch...')
    for id_, item in tqdm(headlines):
        item['ents'] = [ent.text for ent in nlp(item['text']).ents]
        ents.append((id_, item))
    client.send(job_name, ents)
    headlines = client.get(job_name, n_items)
'''

# Stands in for the language model: an entity is a word with a capital letter.
SPACY = '''
from types import SimpleNamespace


def load(name):
    return lambda text: SimpleNamespace(ents=[SimpleNamespace(text=word) for word in text.split() if word[0].isupper()])
'''


def test_the_quick_start(server, shared, tmp_path):
    """Nine processes through GNU parallel, 40,000 records, each of them in the output once."""
    if not shutil.which("parallel"):
        pytest.skip("GNU parallel is not installed")
    pytest.importorskip("tqdm")
    news = (shared / "jsonl" / "news_headlines.jsonl").read_text() * 200
    (server.cwd / "data").mkdir()
    (server.cwd / "data" / "news_headlines.jsonl").write_text(news)
    scripts = tmp_path / "client"
    scripts.mkdir()
    (scripts / "spacy.py").write_text(SPACY)
    (scripts / "spacy_ner.py").write_text(QUICK_START.format(port=server.port))
    (scripts / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (scripts / "python").chmod(0o755)
    env = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    run = subprocess.run("seq -w 0 8 | parallel python spacy_ner.py {}", shell=True, cwd=scripts, env=env, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count("Processing headlines batch...") == 400
    expected = []
    for line in news.splitlines():
        item = json.loads(line)
        expected.append(json.dumps({**item, "ents": [word for word in item["text"].split() if word[0].isupper()]}, sort_keys=True))
    found = [json.dumps(row, sort_keys=True) for row in read_jsonl(server.cwd / "data" / "entities.jsonl")]
    assert Counter(found) == Counter(expected)
    report = Wire(server.url).report("spacy-ner-job")
    assert (report["received"], report["served"], report["duplicates"], report["status"]) == (40000, 0, 0, "COMPLETE")


def test_the_client_outlives_a_killed_server(client, server):
    """The standard loop goes on with the next server. What was in flight comes back by itself."""
    write_jsonl(server.cwd / "in.jsonl", numbered(2000))
    client.start_job("j", METADATA, "JsonlReader", "JsonlWriter")
    for _ in range(3):
        client.send("j", client.get("j", 100))
        client.get("j", 100)
        server.kill_server()
    assert len(work_through(client, "j", 100)) == 1700
    assert Counter(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == Counter(range(2000))
