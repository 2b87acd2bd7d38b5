"""``python -m tutti.io``: classes with Planchet's signature, as a server's commands."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CLASSES = '''
class Reader:
    def __init__(self, metadata):
        print("noise")
        self.parts = [[(0, {"a": 1}), (3, "\u00fc\\n")], [(4, None)], []]

    def __call__(self, n):
        assert n == 7
        return self.parts.pop(0)

class Falling:
    def __init__(self, metadata):
        self.parts = [[(5, 1)], [(5, 2)], []]

    def __call__(self, n):
        return self.parts.pop(0)

class Writer:
    def __init__(self, metadata):
        self.path = metadata["path"]

    def __call__(self, items):
        print("noise")
        with open(self.path, "a") as f:
            f.write(repr(items) + "\\n")
'''


def run(tmp_path, name, lines):
    (tmp_path / "classes.py").write_text(CLASSES, encoding="utf-8")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return subprocess.run([sys.executable, "-m", "tutti.io", name], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
                          env={"PYTHONPATH": str(ROOT)}, timeout=60)


def test_a_reader(tmp_path):
    done = run(tmp_path, "classes:Reader", [{"tutti": "reader", "metadata": {"chunk_size": 7}}])
    assert done.returncode == 0 and done.stdout.decode() == '{"a": 1}\n\n\n"\u00fc\\n"\nnull\n', done.stderr


def test_ids_must_rise(tmp_path):
    done = run(tmp_path, "classes:Falling", [{"tutti": "reader", "metadata": {}}])
    assert done.returncode != 0 and b"ids must rise" in done.stderr


def test_a_writer(tmp_path):
    hello = {"tutti": "sink", "metadata": {"path": str(tmp_path / "out")}}
    done = run(tmp_path, "classes:Writer", [hello, {"id": 1, "value": 1}, {"id": 2, "value": [2]}, {"commit": 1}, {"id": 3, "value": 3}, {"commit": 2}, {"id": 4, "value": 4}])
    assert done.returncode == 0 and [json.loads(line) for line in done.stdout.splitlines()] == [{"committed": 1}, {"committed": 2}], done.stderr
    assert (tmp_path / "out").read_text() == "[1, [2]]\n[3]\n"


def test_what_is_not_there(tmp_path):
    assert run(tmp_path, "classes:Nobody", [{"tutti": "sink", "metadata": {}}]).returncode != 0
    assert run(tmp_path, "classes", [{"tutti": "sink", "metadata": {}}]).returncode != 0
