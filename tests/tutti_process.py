"""One `tutti up` under test: start it, talk to it, kill parts of it, stop it, and look for bad words in its log.

Everything waits on a condition with a time limit. Tests get it from the fixture `tutti` in conftest.py."""
from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 30.0
STOP_LIMIT_S = 40.0
BAD_WORDS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error: ", "WARNING: ThreadSanitizer", "BUG:")
DEATH = "msg=died name=server"
ANNOUNCEMENT = re.compile(r"^listening on http://(127\.0\.0\.1:\d+)$", re.M)


class Answer(NamedTuple):
    status: int
    json: Any  # None where the body is not JSON
    body: bytes
    headers: Dict[str, str]  # names in lower case


def binary() -> Path:
    """The program under test: TUTTI_BIN, else build/tutti."""
    return Path(os.environ.get("TUTTI_BIN") or ROOT / "build" / "tutti").resolve()


def is_sanitized() -> bool:
    """Whether the program under test looks for its own mistakes while it runs (script/build --asan, --tsan), several times slower."""
    return binary().parent.name in ("build-asan", "build-tsan")


def until(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """What `condition` returns as soon as it is true; AssertionError naming `what` after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "not within %g s: %s" % (limit_s, what)
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """False for a zombie too."""
    try:
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> List[int]:
    """The running children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return [child for child in found if alive(child)]


def command_line(pid: int) -> List[str]:
    try:
        return Path("/proc/%d/cmdline" % pid).read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Tutti:
    """`tutti up` in a directory of its own: .cwd holds the job files, .data (= cwd/d) the ledger.

    env adds to or (value None) removes from the environment, also TUTTI_FAULT; args are appended to the command line."""

    def __init__(self, cwd: Path, *, args: List[str] = [], env: Dict[str, Optional[str]] = {}, workers: int = 0, query_workers: int = 0) -> None:
        self.cwd = Path(cwd)
        self.data = self.cwd / "d"
        self.workers = workers
        self.query_workers = query_workers
        self.args = list(args)
        self.env = dict(env)
        self.port = 0
        self.process: Optional[subprocess.Popen[bytes]] = None
        self._log_path = self.cwd.with_name(self.cwd.name + ".log")

    # ---- life ----

    def start(self, *, port: int = 0, deaths: int = 0) -> "Tutti":
        """Returns when it listens; AssertionError with its log when it ends before, or (with `deaths`, and a log of warnings) when its server died that often."""
        assert self.process is None, "it runs already"
        self.cwd.mkdir(parents=True, exist_ok=True)
        with open(self._log_path, "ab") as log:
            self.process = subprocess.Popen(
                [binary(), "up", "--data", self.data, "--listen", "127.0.0.1:%d" % port, "--workers", str(self.workers), "--query-workers", str(self.query_workers),
                 *self.args],
                cwd=self.cwd, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        self.port = int(self._await_announcement(self.log().count(DEATH) + deaths if deaths else 0).rpartition(":")[2])
        return self

    def environment(self) -> Dict[str, str]:
        base = {k: v for k, v in os.environ.items() if not k.startswith(("TUTTI_", "PLANCHET_", "PYTEST_"))}
        base.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        base.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        base.setdefault("LSAN_OPTIONS", "suppressions=%s:print_suppressions=0" % (ROOT / "tests" / "unit" / "lsan.supp"))
        base.update({k: v for k, v in self.env.items() if v is not None})
        return {k: v for k, v in base.items() if k not in self.env or self.env[k] is not None}

    def _await_announcement(self, deaths: int = 0) -> str:
        assert self.process and self.process.stdout
        fd, seen, deadline = self.process.stdout.fileno(), b"", time.monotonic() + LIMIT_S
        while not ANNOUNCEMENT.search(seen.decode(errors="replace")):
            ready, _, _ = select.select([fd], [], [], max(0.0, min(deadline - time.monotonic(), 0.02 if deaths else LIMIT_S)))
            if not ready and deaths and self.log().count(DEATH) < deaths and time.monotonic() < deadline:
                continue
            more = os.read(fd, 65536) if ready else b""
            if not more:
                code = self.process.poll() if not ready else self.process.wait(timeout=LIMIT_S)
                self.kill()
                raise AssertionError("tutti up does not listen (exit code %s); its log:\n%s" % (code, self.log()))
            seen += more
        return ANNOUNCEMENT.search(seen.decode(errors="replace"))[1]

    def stop(self, *, limit_s: float = STOP_LIMIT_S) -> int:
        """SIGTERM, and the exit code; AssertionError (after SIGKILL) when that takes too long."""
        assert self.process, "it does not run"
        self.process.send_signal(signal.SIGTERM)
        try:
            return self._reap(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("tutti up did not stop within %g s; its log:\n%s" % (limit_s, self.log())) from None

    def kill(self) -> None:
        """SIGKILL to the supervisor; returns when its children are gone too."""
        assert self.process, "it does not run"
        family = children(self.pid)
        self.process.kill()
        self._reap(LIMIT_S)
        until(lambda: not any(alive(pid) for pid in family), "the children end with their supervisor")

    def wait(self, *, limit_s: float = STOP_LIMIT_S) -> int:
        """The exit code of one that ends by itself, or by the test's own signal."""
        assert self.process, "it does not run"
        return self._reap(limit_s)

    def _reap(self, limit_s: float) -> int:
        assert self.process
        code = self.process.wait(timeout=limit_s)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code

    def restart(self, *, env: Optional[Dict[str, Optional[str]]] = None, args: Optional[List[str]] = None,
                same_port: bool = False) -> "Tutti":
        """Stops it when it runs (after kill() it just starts), then starts it on the same data, with another env or args when given."""
        if self.process:
            self.stop()
        self.env = dict(env) if env is not None else self.env
        self.args = list(args) if args is not None else self.args
        return self.start(port=self.port if same_port else 0)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self.process, "it does not run"
        return self.process.pid

    @property
    def server_pid(self) -> int:
        """The server's, as soon as there is one."""
        return until(self._server_pid, "a server process")

    def _server_pid(self) -> int:
        return next((pid for pid in children(self.pid) if command_line(pid)[1:2] == ["server"]), 0)

    def kill_server(self, *, wait: bool = True) -> int:
        """SIGKILL to the server; with `wait` returns when its successor answers. Gives the dead one's pid."""
        victim = self.server_pid
        os.kill(victim, signal.SIGKILL)
        until(lambda: not alive(victim), "the killed server is gone")
        if wait:
            until(lambda: self._server_pid() not in (0, victim), "another server process")
            until(self._answers, "the new server answers")
        return victim

    def _answers(self) -> bool:
        try:
            return self.get("/livez").status == 200
        except OSError:
            return False

    # ---- talk ----

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.port

    def get(self, path: str, *, params: Optional[Dict[str, Any]] = None, headers: Dict[str, str] = {}, timeout: float = LIMIT_S) -> Answer:
        return self.request("GET", path, params=params, headers=headers, timeout=timeout)

    def post(self, path: str, body: Any = None, *, params: Optional[Dict[str, Any]] = None, headers: Dict[str, str] = {},
             timeout: float = LIMIT_S) -> Answer:
        """body: bytes as they are, None for an empty one, anything else as JSON."""
        return self.request("POST", path, body, params=params, headers=headers, timeout=timeout)

    def request(self, method: str, path: str, body: Any = None, *, params: Optional[Dict[str, Any]] = None,
                headers: Dict[str, str] = {}, timeout: float = LIMIT_S) -> Answer:
        """Any status is an Answer; OSError when there was none."""
        url = self.url + path + ("?" + urllib.parse.urlencode(params) if params else "")
        data = body if isinstance(body, bytes) else b"" if body is None and method == "POST" else \
            None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json", **headers})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        try:
            with opener.open(request, timeout=timeout) as answer:
                return _answer(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return _answer(answer)
        except http.client.HTTPException as error:  # the server died in the middle of it
            raise ConnectionError(repr(error)) from error

    # ---- the log ----

    def log(self) -> str:
        """Everything on stderr so far, of all starts."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def check_log(self) -> None:
        lines = [line for line in self.log().splitlines() if any(word in line for word in BAD_WORDS)]
        assert not lines, "the server's log says:\n%s\n\nthe whole log:\n%s" % ("\n".join(lines), self.log()[-20000:])

    def finish(self) -> None:
        """The end of a test: stops what runs (unless it was killed, exit code 0 is wanted), and checks the log."""
        if self.process:
            ended_before = self.process.poll() is not None
            code = self.stop()
            self.check_log()
            assert not ended_before, "tutti up ended by itself (exit code %d); its log:\n%s" % (code, self.log())
            assert code == 0, "tutti up ended with exit code %d; its log:\n%s" % (code, self.log())
        self.check_log()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _answer(answer: Any) -> Answer:
    body = answer.read()
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    return Answer(answer.status, value, body, {k.lower(): v for k, v in answer.headers.items()})
