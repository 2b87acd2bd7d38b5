"""What the README shows runs as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def blocks(kind):
    with open(os.path.join(os.path.dirname(HERE), "README.md"), encoding="utf-8") as f:
        return re.findall(r"^```%s\n(.*?)^```" % kind, f.read(), re.M | re.S)


def run(proxy, *arguments):
    env = dict(os.environ, PYTHONPATH=os.path.dirname(HERE), TUTTI_SERVER=proxy.url)
    done = subprocess.run(arguments, env=env, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_readme(client, proxy, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "abc"}\n{"text": "de"}\n{}\n')
    tour, pool, function, old = [text.replace("http://127.0.0.1:5005", proxy.url) for text in blocks("python")]
    said = run(proxy, sys.executable, "-c", tour)
    assert "2 results\n2 no text\n" in said
    run(proxy, sys.executable, "-c", pool)
    assert client.job("pooled").status()["received"] == 3

    (tmp_path / "mywork.py").write_text(function)
    client.start_job("many", "in.jsonl", "many.jsonl")
    _, command, _ = blocks("sh")
    words = shlex.split(command)
    assert "3 of 3 received" in run(proxy, sys.executable, *words[1:])
    run(proxy, sys.executable, "-c", old)
    lengths = [json.loads(text)["length"] for text in (tmp_path / "old.jsonl").read_text().splitlines()]
    assert sorted(lengths) == [0, 2, 3]
