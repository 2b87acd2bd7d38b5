"""Fixtures: a server (the fake one, or the real one named by TUTTI_BIN), a proxy before it, a job."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.environ.get("TUTTI_BIN") and os.path.abspath(os.environ["TUTTI_BIN"])
sys.path[:0] = [os.path.dirname(HERE), HERE]

from fake import FakeServer  # noqa: E402
from faults import Proxy  # noqa: E402
from tutti import Client  # noqa: E402

# A shell that starts us in the background has SIGINT ignored, which programs started from here would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    config.addinivalue_line("markers", "fake: looks inside the fake server; skipped with TUTTI_BIN")


def pytest_collection_modifyitems(items):
    if BINARY:
        for item in items:
            if item.get_closest_marker("fake"):
                item.add_marker(pytest.mark.skip(reason="needs the fake server"))


def eventually(condition, what="the condition", timeout=20.0):
    """Wait until ``condition()`` is true and answer its value; fail after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "%s did not come true in %.0f s" % (what, timeout)
        time.sleep(0.01)


class RealServer:
    """The binary, on a free port, with a data directory below ``folder``."""

    def __init__(self, binary, folder):
        self.process = subprocess.Popen(
            [binary, "up", "--data", os.path.join(folder, "data"), "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, cwd=folder, universal_newlines=True)
        for line in self.process.stdout:
            if "listening on " in line:
                self.url = line.split("listening on ")[1].split()[0]
                return
        raise AssertionError("%s up ended with %s" % (binary, self.process.wait()))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = RealServer(BINARY, str(tmp_path)) if BINARY else FakeServer()
    yield running
    running.close()


@pytest.fixture
def proxy(server):
    running = Proxy(server.url)
    yield running
    running.close()


@pytest.fixture
def client(proxy):
    with Client(proxy.url, timeout=20.0) as made:
        yield made


@pytest.fixture
def make_job(client, tmp_path):
    """Start a job over ``count`` records ``{"n": i}``; its output is ``<name>.out.jsonl``."""

    def make(count=20, name="words", **options):
        source = tmp_path / "in.jsonl"
        source.write_text("".join(json.dumps({"n": i}) + "\n" for i in range(count)))
        if options.get("mode") != "read":
            options.setdefault("output", str(tmp_path / "out.jsonl"))
        return client.start_job(name, str(source), **options)

    return make


@pytest.fixture
def output(tmp_path):
    """The records of the output so far."""

    def read():
        path = tmp_path / "out.jsonl"
        return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []

    return read
