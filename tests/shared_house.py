"""Servers and workers on several machines that share a Redis and nothing else: each has a data directory of its own, and no socket of another one."""
import os
import subprocess

from tutti_process import Tutti, binary, until

LIMIT_S = 60
KEY = "ab" * 32
DESCRIBE = "#!/bin/sh\nif [ \"$1\" = --describe ]; then echo '%s'; exit; fi\n%s\n"


class House:
    """A Redis, servers without workers, and machines with workers alone."""

    def __init__(self, tutti, redis, tmp_path):
        self.tutti, self.dir, self.machines, self.redis = tutti, tmp_path, [], redis("--maxmemory-policy", "noeviction")
        (tmp_path / "server-programs").mkdir()

    def env(self):
        return {"TUTTI_VAULT_KEY": KEY}

    def server(self, **more):
        return self.tutti(**{"args": ["--shared", self.redis.url, "--programs", str(self.dir / "server-programs")], "env": self.env(), **more})

    def machine(self, name, *args, url=None, env=None):
        """`tutti worker` in a data directory of its own."""
        data = self.dir / name
        (data / "programs").mkdir(parents=True, exist_ok=True)
        data.chmod(0o700)
        base = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_") or k == "TUTTI_BIN"}
        with open(self.dir / (name + ".log"), "ab") as log:
            worker = subprocess.Popen([binary(), "worker", "--data", data, "--shared", url or self.redis.url, "--programs", data / "programs", *args], cwd=data, env={**base, **self.env(), **(env or {})},
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.machines.append(worker)
        return worker

    def script(self, name, body, *, on, settings="{}"):
        """The same program on several machines: names of data directories, and "server-programs"."""
        for place in on:
            folder = self.dir / place / "programs" if place != "server-programs" else self.dir / place
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(DESCRIBE % (settings, body))
            (folder / name).chmod(0o755)

    def close(self):
        for one in self.machines:
            if one.poll() is None:
                one.terminate()
        for one in self.machines:
            one.wait(LIMIT_S)
        for log in self.dir.glob("*.log"):
            assert "Sanitizer" not in log.read_text(), log.read_text()


def push(t: Tutti, **task):
    answer = t.post("/v1/tasks", {"kind": "probe", **task})
    assert answer.status == 200, answer
    return answer.json["id"]


def show(t, task):
    return t.get("/v1/tasks/%d" % task).json


def until_state(t, task, *states):
    return until(lambda: (lambda s: s if s["state"] in states else None)(show(t, task)), "task %d is %s" % (task, " or ".join(states)), LIMIT_S)
