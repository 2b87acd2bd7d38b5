"""What a Python program of tutti may use. A program is a file with one class; its constructor's annotated parameters are its settings.

    from tutti.program import Program

    class Hello(Program):
        def __init__(self, name: str, times: int = 1):
            self.name, self.times = name, times

        def _run(self):
            self.update("greeting", "started")
            self.store([{"name": self.name, "greetings": self.times}])
            return True

Deriving from `Program` is a convenience: a class without it gets the same methods when it runs.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional

ROWS_AT_ONCE = 500


class Program:
    """Methods that tell tutti what goes on. Without tutti around (a test, a shell) they do nothing."""

    _reporter: Any = None
    logger = logging.getLogger("program")

    def __init__(self) -> None:
        pass

    __init__._takes_no_settings = True  # type: ignore[attr-defined]

    def _say(self, **members: Any) -> None:
        if Program._reporter is not None:
            Program._reporter.say(**members)

    def update(self, procedure: str, message: Any) -> None:
        """The latest message of a procedure: `update("login", "completed")`."""
        self.logger.debug("%s:%s", procedure, message)
        self._say(progress={procedure: message})

    def count(self, name: str, more: float = 1) -> None:
        """Adds to a counter that is shown with the execution."""
        self._say(counters={name: more})

    def store(self, rows: Any, storage: Optional[Mapping[str, Any]] = None) -> None:
        """Records for the storage: dicts, or a data frame. They are stored together when the program has ended well."""
        if storage is not None:
            self._say(storage=storage)
        piece: List[Dict[str, Any]] = []
        for row in records(rows):
            piece.append(row)
            if len(piece) == ROWS_AT_ONCE:
                self._say(rows=piece)
                piece = []
        if piece:
            self._say(rows=piece)

    # ---- what the next run of this program shall know ----

    def recall(self, name: str, fallback: Any = None) -> Any:
        """What an earlier run remembered under this name."""
        try:
            with open(os.environ.get("TUTTI_STATE_FILE", os.devnull), encoding="utf-8") as file:
                return json.loads(file.read() or "{}").get(name, fallback)
        except FileNotFoundError:
            return fallback

    def remember(self, name: str, value: Any) -> None:
        """Kept when this run has ended well and its records are stored, so that a run that came to nothing is forgotten as a whole."""
        self._say(remember={name: value})


def records(rows: Any) -> Iterable[Dict[str, Any]]:
    """Rows of a data frame as dicts, its missing values (NaN, NaT) as None; anything else as it is."""
    if not hasattr(rows, "to_dict"):
        return (dict(row) for row in rows)
    return ({name: None if value != value else value for name, value in row.items()} for row in rows.to_dict("records"))


# ---- conversion maps: country and currency, kept from one execution to the next ----

def maps_dir() -> str:
    return os.environ.get("TUTTI_MAPS_DIR") or os.path.join(os.path.expanduser("~"), ".local", "state", "tutti", "maps")


def read_map(name: str) -> Dict[str, Any]:
    """A map that a program stored; KeyError where there is none."""
    try:
        with open(os.path.join(maps_dir(), os.path.basename(name) + ".json"), encoding="utf-8") as file:
            found: Dict[str, Any] = json.load(file)
            return found
    except FileNotFoundError:
        raise KeyError("there is no conversion map `%s`: run the program that makes it first" % name) from None


def write_map(name: str, values: Mapping[str, Any]) -> None:
    """Keys are kept in lower case. Whoever reads meanwhile sees the old map or the new one."""
    os.makedirs(maps_dir(), mode=0o700, exist_ok=True)
    path = os.path.join(maps_dir(), os.path.basename(name) + ".json")
    with open("%s.%d" % (path, os.getpid()), "w", encoding="utf-8") as file:
        json.dump({str(key).lower(): value for key, value in values.items()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)


def conversion(name: str, fallback: Any = "") -> Callable[[str], Any]:
    """A function that looks values up, whatever their case."""
    values = read_map(name)
    return lambda value: values.get(str(value).lower(), fallback)


# ---- the task of a pipeline's run ----

class SecretText(str):
    """A variable of the type `secret`: the text itself, but for people who look at it."""

    def __repr__(self) -> str:
        return "'***'"


def _moment(text: Optional[str]) -> Optional[datetime]:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


class Task:
    """What a transformation knows about itself: `id` (the transformation's number), `name` (its template), `transformation`, `task` (its id in the DAG), `pipeline`, `state`,
    `environment`, `branch`, `company`, `brand`, `run_id`, `run_timestamp`, `due` (the time that the run is for, or None), its typed `variables`, and `contract`, the place of its
    data set in the lake, where `contract.publish(frame)` writes the run's own partition."""

    def __init__(self, said: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self.id: int = said["id"]
        self.run_id: int = said["run_id"]
        self.name: str = said["name"]
        self.transformation: str = said["transformation"]
        self.task: str = said["task"]
        self.pipeline: str = said["pipeline"]
        self.state: str = said["state"]
        self.environment: str = said.get("environment", "")
        self.branch: str = said["branch"]
        self.company: str = said["company"]
        self.brand: str = said["brand"]
        self.run_timestamp: Optional[datetime] = _moment(said.get("run_timestamp"))
        due = said.get("due_ms")
        self.due: Optional[datetime] = datetime.fromtimestamp(due / 1000, timezone.utc) if due else None
        self.variables = SimpleNamespace(**variables)
        self._contract: Any = None

    @property
    def contract(self) -> Any:
        """A `tutti.Contract`. LookupError where the pipeline names no company and brand; LakeError where its names can be no path."""
        from tutti import lake  # only who asks for it needs the package

        if not self.company or not self.brand:
            raise LookupError("the pipeline `%s` names no company and brand: its tasks have no place in the lake" % self.pipeline)
        if self._contract is None:
            self._contract = lake.contract(env=self.environment, branch=self.branch, parent=self.company, child=self.brand, state=self.state,
                                           dataset=None if self.state == "raw" else self.name)
        return self._contract

    def session(self) -> Any:
        """A session on the configuration database (`tutti.configuration`), to read and to change: `with task.session() as session: ...`."""
        from tutti import configuration

        return configuration.SessionHelper().session

    def __repr__(self) -> str:
        return "Task(%r, run_id=%d)" % (self.task, self.run_id)


_variables: Dict[str, Any] = {}  # of the program that runs in this process


def _of_environment() -> Dict[str, Any]:
    """In a notebook's kernel, which another process started: the variables, and their types."""
    said = json.loads(os.environ.get("TUTTI_VARIABLES") or "{}")
    kinds: Dict[str, Callable[[str], Any]] = {"datetime": datetime.fromisoformat, "secret": SecretText}
    types = said.get("types", {})
    return {name: kinds[types[name]](value) if types.get(name) in kinds and isinstance(value, str) else value for name, value in said.get("values", {}).items()}


def task() -> Task:
    """The task that this process runs; LookupError outside of a pipeline's run."""
    said = os.environ.get("TUTTI_TASK")
    if not said:
        raise LookupError("this is no task of a pipeline's run: $TUTTI_TASK is not set")
    return Task(json.loads(said), _variables or _of_environment())
