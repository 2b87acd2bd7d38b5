"""A Redis under test, a raw RESP client to look at it, and a proxy that slows and cuts the way to it. Standard library only.

`Redis(folder)` starts a redis-server on a free port, with its data in `folder`; it is stopped, killed and started again on the same port.
TUTTI_TEST_REDIS names another server to start, an older Redis or a Valkey: `TUTTI_TEST_REDIS=/opt/valkey/bin/valkey-server script/test test_shared`."""
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from tutti_process import until

READY_S = 60
SERVER = os.environ.get("TUTTI_TEST_REDIS", "redis-server")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class RedisError(Exception):
    pass


class Resp:
    """One connection: call("GET", "x") -> bytes, int, list, None; an error raises."""

    def __init__(self, port, timeout=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.lines = self.sock.makefile("rb")

    def close(self):
        self.lines.close()
        self.sock.close()

    def call(self, *args):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self._reply()

    def _reply(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionError("Redis has closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        count = int(rest)
        if count < 0:
            return None
        if kind == b"$":
            return self.lines.read(count + 2)[:-2]
        return [self._reply() for _ in range(count)]


class Redis:
    def __init__(self, folder, *options, appendonly=True):
        if not shutil.which(SERVER):
            pytest.skip(SERVER + " is not installed: see script/setup")
        self.folder, self.options, self.process, self.port = folder, options, None, free_port()
        self.appendonly = "yes" if appendonly else "no"
        folder.mkdir(exist_ok=True)
        self.start()

    @property
    def url(self):
        return "redis://127.0.0.1:%d" % self.port

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([SERVER, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", "",
                                             "--appendonly", self.appendonly, *self.options], stdout=log, stderr=log)
        until(self._answers, "redis-server answers", READY_S)

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            conn = Resp(self.port, 5)
        except OSError:
            return False
        try:
            return conn.call("PING") == b"PONG"
        except RedisError as fault:
            return "NOAUTH" in str(fault)
        except OSError:
            return False
        finally:
            conn.close()

    def lose_all(self):
        """Of one that is killed: what it kept on disk is gone. A directory since Redis 7, a file before."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        (self.folder / "appendonly.aof").unlink(missing_ok=True)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def call(self, *args):
        conn = Resp(self.port)
        try:
            return conn.call(*args)
        finally:
            conn.close()

    def keys(self, pattern="*"):
        return sorted(key.decode() for key in self.call("KEYS", pattern))

    def all(self):
        """Every plain value: {key: value}."""
        conn = Resp(self.port)
        try:
            keys = conn.call("KEYS", "*")
            found = {}
            for at in range(0, len(keys), 1000):
                page = keys[at:at + 1000]
                found.update((k.decode(), v.decode()) for k, v in zip(page, conn.call("MGET", *page)) if v is not None)
            return found
        finally:
            conn.close()

    def states(self, job):
        """{id: value} of a job's items, as they are under the exact keys of the older service."""
        pattern = re.compile(re.escape(job) + r":(\d+)\Z")
        return {int(m[1]): value for key, value in self.all().items() if (m := pattern.match(key))}


class Proxy:
    """A TCP proxy to a port of this machine: .delay_s holds up each piece on its way there, cut() ends all connections, .refuses takes no new ones."""

    def __init__(self, port):
        self.target, self.delay_s, self.refuses, self.is_open = port, 0.0, False, True
        self.pairs, self.ended, self.lock = [], set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return "redis://127.0.0.1:%d" % self.port

    def _accept(self):
        while self.is_open:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.refuses:
                    raise OSError("not now")
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.pairs += [client, server]
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, sink, is_slowed):
        try:
            while data := source.recv(65536):
                if is_slowed and self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        except OSError:
            pass
        with self.lock:
            for one in (source, sink):
                if one in self.ended:  # both ways are over
                    self.ended.discard(one)
                    self.pairs = [kept for kept in self.pairs if kept is not one]
                    one.close()
                    continue
                self.ended.add(one)
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for one in pairs:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def close(self):
        self.is_open = False
        self.listener.close()
        self.cut()


def in_step(server, *, checked=False, limit_s=READY_S):
    """Waits until /health says that the mirror shows everything; with `checked` also that it has looked for losses since this was called. The health."""
    begun = time.monotonic()

    def ready():
        health = server.get("/health").json
        redis = health["redis"]
        is_checked = not checked or 0 <= redis["checked_ms"] < (time.monotonic() - begun) * 1000
        return health if redis["online"] and not redis["stale"] and redis["lag_ms"] == 0 and redis["waiting_jobs"] == 0 and is_checked else None
    return until(ready, "the mirror is in step", limit_s)
