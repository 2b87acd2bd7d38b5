"""Contracts in the data lake: fetch, publish, compare.

    import tutti

    orders = tutti.contract("acme/widget/ingest/orders")
    orders.publish(frame, run_id=42)
    frame = orders.fetch(where="amount >= 10", columns=["id", "amount"])

Everything is done by the program `tutti` (the one of `TUTTI_BIN`, else of the `PATH`) on the lake of `TUTTI_LAKE`. Frames are those of pandas where it is
installed, else tables of pyarrow, else lists of dicts; all three can be published."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from .errors import TuttiError

METADATA = {
    "__metadata_run_id": "integer",
    "__metadata_run_timestamp": "datetime",
    "__metadata_app_version": "string",
    "__metadata_transform_timestamp": "datetime",
    "__metadata_output_contract": "string",
}
_PARTS = ("env", "branch", "parent", "child", "state", "dataset", "file")
_SIGNS = ("==", "!=", "<", "<=", ">", ">=")


class LakeError(TuttiError, ValueError):
    """tutti refused or failed; its own sentence."""


def _tutti(*arguments: str, env: Optional[Mapping[str, str]] = None) -> str:
    program = os.environ.get("TUTTI_BIN") or "tutti"
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise LakeError(said[len("tutti: "):] if said.startswith("tutti: ") else said or "%s ended with %d" % (program, done.returncode))
    return done.stdout.decode()


def _module(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        return None


# ---- frames ----

def _read(path: str) -> Any:
    if _module("pandas") and _module("pyarrow"):
        import pandas
        return pandas.read_parquet(path)
    import pyarrow.parquet
    return pyarrow.parquet.read_table(path)


@contextlib.contextmanager
def _written(frame: Any) -> Iterator[str]:
    """A file with the rows of a data frame, a table of Arrow, or dicts."""
    with tempfile.TemporaryDirectory(prefix="tutti-") as folder:
        if hasattr(frame, "to_parquet"):
            path = os.path.join(folder, "rows.parquet")
            frame.to_parquet(path, index=False)
        elif hasattr(frame, "schema") and _module("pyarrow"):
            import pyarrow.parquet
            path = os.path.join(folder, "rows.parquet")
            pyarrow.parquet.write_table(frame, path)
        else:
            path = os.path.join(folder, "rows.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                for row in frame:
                    file.write(json.dumps(dict(row), default=str) + "\n")
        yield path


def drop_metadata(frame: Any) -> Any:
    """Without the five columns of publishing."""
    names = [name for name in METADATA if name in (frame.columns if hasattr(frame, "to_parquet") else frame.column_names)]
    return frame.drop(columns=names) if hasattr(frame, "to_parquet") else frame.drop(names)


# ---- filters ----

def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) or hasattr(value, "dtype") and hasattr(value, "item") and isinstance(value.item(), (int, float)):
        return repr(value.item() if hasattr(value, "item") else value)
    return "'%s'" % str(value.isoformat() if hasattr(value, "isoformat") else value).replace("'", "''")


def _condition(given: Mapping[str, Any]) -> str:
    """{"partition": ..., "comparison": "==", "values": [...]}: several values are alternatives, of `!=` none may be it."""
    name, sign, values = (given.get(k) for k in ("partition", "comparison", "values"))
    if not name or sign not in _SIGNS or values is None or isinstance(values, str):
        raise LakeError("a filter has a `partition`, a `comparison` (%s) and a list of `values`: %r" % (" ".join(_SIGNS), dict(given)))
    column, words = '"%s"' % str(name).replace('"', '""'), [_value(v) for v in values]
    if sign in ("==", "!="):
        if not words:
            return "(%s is null and %s is not null)" % (column, column) if sign == "==" else "(%s is null or %s is not null)" % (column, column)
        return "%s %sin (%s)" % (column, "not " if sign == "!=" else "", ", ".join(words))
    if len(words) != 1:
        raise LakeError("filter on `%s`: `%s` takes one value" % (name, sign))
    return "%s %s %s" % (column, sign, words[0])


# ---- contracts ----

class Contract:
    """A place in the lake. Its parts can be changed, and are checked each time."""

    env: str
    branch: str
    parent: str
    child: str
    state: str
    dataset: Optional[str]
    file: Optional[str]
    path: str
    contract_type: str
    previous_state: Optional[str]
    next_state: Optional[str]

    def __init__(self, text: str, partitions: Sequence[str] = ()) -> None:
        self._take(text)
        self.__dict__["partitions"] = list(partitions)

    def _take(self, text: str) -> None:
        if text.startswith("-"):
            raise LakeError("contract `%s`: begins with a dash" % text)
        told = json.loads(_tutti("lake", "show", text, "--parts"))
        for name in _PARTS + ("path", "previous_state", "next_state"):
            self.__dict__[name] = told[name]
        self.__dict__["contract_type"] = told["form"]

    def __setattr__(self, name: str, value: Any) -> None:
        name = {"customer": "parent", "brand": "child"}.get(name, name)
        if name == "partitions":
            self.__dict__[name] = list(value)
        elif name in _PARTS:
            self._take(_text({**{part: self.__dict__[part] for part in _PARTS}, name: value}))
        else:
            raise AttributeError("a contract has no part `%s` that could be changed" % name)

    @property
    def customer(self) -> str:
        return self.parent

    @property
    def brand(self) -> str:
        return self.child

    @property
    def key(self) -> str:
        """The path below the environment."""
        return self.path.partition("/")[2]

    def __repr__(self) -> str:
        return "contract(%r)" % self.path

    def sibling(self, dataset: str, state: Optional[str] = None) -> "Contract":
        """Another dataset of the same parent and child, on the same branch."""
        return contract(env=self.env, branch=self.branch, parent=self.parent, child=self.child, state=state or self.state, dataset=dataset)

    # ---- datasets ----

    def fetch(self, filters: Sequence[Mapping[str, Any]] = (), *, where: Optional[str] = None, columns: Sequence[str] = (), run: Any = None,
              metadata: bool = True) -> Any:
        """The rows, all filters joined by `and`. run: an id, or "latest"."""
        arguments = ["lake", "fetch", self.path, "--quiet"]
        for condition in [_condition(f) for f in filters] + ([where] if where else []):
            arguments += ["--where=" + condition]
        if columns:
            arguments += ["--columns=" + ",".join(columns)]
        if run is not None:
            arguments += ["--run=%s" % run]
        if not metadata:
            arguments += ["--no-metadata"]
        return self._rows(arguments)

    def _rows(self, arguments: List[str]) -> Any:
        if not _module("pyarrow"):
            return [json.loads(line) for line in _tutti(*arguments).splitlines()]
        with tempfile.TemporaryDirectory(prefix="tutti-") as folder:
            path = os.path.join(folder, "rows.parquet")
            _tutti(*arguments, "--output=" + path)
            return _read(path)

    def publish(self, frame: Any, run_id: Optional[int] = None, session: Any = None, *, partitions: Optional[Sequence[str]] = None,
                run_timestamp: Any = None) -> Dict[str, Any]:
        """All rows as one run, which replaces one of the same id; in a task of a pipeline's run that run, unless run_id says another. session is accepted for
        older scripts and not looked at."""
        arguments = ["lake", "publish", self.path]
        for name in self.__dict__["partitions"] if partitions is None else partitions:
            if name != "__metadata_run_id":
                arguments += ["--partition=" + name]
        if run_id is not None:
            arguments += ["--run=%d" % run_id]
        if run_timestamp is not None:
            arguments += ["--run-time=%s" % (run_timestamp.isoformat() if hasattr(run_timestamp, "isoformat") else run_timestamp)]
        with _written(frame) as path:
            told: Dict[str, Any] = json.loads(_tutti(*arguments, "--json", path))
            return told

    def diff(self, newer: Optional["Contract"] = None, *, key: Sequence[str] = (), from_run: Optional[int] = None, to_run: Optional[int] = None) -> Any:
        """The rows that differ, with `__change` in front: added, removed, before, after."""
        arguments = ["lake", "diff", self.path, *([newer.path] if newer else []), "--quiet"]
        arguments += ["--key=" + ",".join([key] if isinstance(key, str) else key)] if key else []
        arguments += ["--from=%d" % from_run] if from_run is not None else []
        arguments += ["--to=%d" % to_run] if to_run is not None else []
        return self._rows(arguments)

    def values(self, partition: str = "__metadata_run_id") -> List[Any]:
        """What the directories say of a partition, each once, in order."""
        return [json.loads(line) for line in _tutti("lake", "values", self.path, partition).splitlines()]

    def max(self, partition: str = "__metadata_run_id") -> Any:
        """The largest; None where there is nothing."""
        found = [json.loads(line) for line in _tutti("lake", "values", self.path, partition, "--max").splitlines()]
        return found[-1] if found else None

    def missing_values(self, values: Sequence[Any], partition: str = "__metadata_run_id", reverse: bool = False) -> List[Any]:
        """Values of the partition that the list lacks; reverse: of the list, that the dataset lacks."""
        there = self.values(partition)
        return [v for v in dict.fromkeys(values) if v not in there] if reverse else [v for v in there if v not in values]

    # ---- raw files ----

    def publish_raw_file(self, path: str) -> str:
        return _tutti("lake", "publish", self.path, path).strip()

    def list_files(self, prefix: str = "", suffix: str = "") -> List[str]:
        """Names of the files of the raw state."""
        return [os.path.basename(e["path"]) for e in self._files() if os.path.basename(e["path"]).startswith(prefix) and e["path"].endswith(suffix)]

    def _files(self) -> List[Dict[str, Any]]:
        told: List[Dict[str, Any]] = json.loads(_tutti("lake", "ls", self._raw("").path, "--json"))
        return told

    def _raw(self, name: str) -> "Contract":
        return contract(env=self.env, branch=self.branch, parent=self.parent, child=self.child, state="raw", file=name)

    def get_latest_file_name(self, prefix: str = "", suffix: str = "") -> str:
        """The newest by its time; empty where there is none."""
        names = set(self.list_files(prefix, suffix))
        newest = max((e for e in self._files() if os.path.basename(e["path"]) in names), key=lambda e: str(e["modified"]), default=None)
        return os.path.basename(newest["path"]) if newest else ""

    @contextlib.contextmanager
    def download_raw_file(self, name: str) -> Iterator[str]:
        """The path of a copy that is gone at the end; FileNotFoundError where there is no such file."""
        if name not in self.list_files():
            raise FileNotFoundError(name)
        with tempfile.TemporaryDirectory(prefix="tutti-") as folder:
            path = os.path.join(folder, name)
            _tutti("lake", "fetch", self._raw(name).path, "--output=" + path)
            yield path


def _text(parts: Mapping[str, Any]) -> str:
    given = [str(parts.get(name) or "") for name in ("parent", "child", "state")]
    tail = parts.get("file") if given[2] == "raw" else parts.get("dataset")
    env = parts.get("env") or os.environ.get("TUTTI_ENVIRONMENT") or os.environ.get("ICHAIN_ENVIRONMENT")
    if parts.get("branch"):
        given = [str(env or "dev"), str(parts["branch"]).replace("/", "-")] + given
    elif parts.get("env"):
        raise LakeError("a contract that names its environment names its branch, too")
    return "/".join(given + ([str(tail)] if tail else []))


def contract(text: Optional[str] = None, *, env: Optional[str] = None, branch: Optional[str] = None, parent: Optional[str] = None, child: Optional[str] = None,
             customer: Optional[str] = None, brand: Optional[str] = None, state: Optional[str] = None, dataset: Optional[str] = None,
             file: Optional[str] = None, partitions: Sequence[str] = ()) -> Contract:
    """A contract, as text or by its parts: `contract(customer="acme", brand="widget", state="ingest", dataset="orders")`."""
    if text is None:
        text = _text({"env": env, "branch": branch, "parent": parent or customer, "child": child or brand, "state": state, "dataset": dataset, "file": file})
    return Contract(text, partitions)


# ---- secrets ----

def _tell_host(fields: Mapping[str, Any]) -> None:
    """In a notebook: what must not stand in the executed copy that is kept of it."""
    path = os.environ.get("TUTTI_SECRETS_SEEN")
    shown = {"user", "host", "host_key", "port", "database", "schema", "role", "rdbms", "address", "method", "mode"}
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(text) + "\n" for name, text in fields.items() if name not in shown and isinstance(text, str))


class Secret:
    """A secret of the vault, its fields as attributes.

        s = Secret(name="hamburger", type_of="FTP", env="dev", mode="read")
        s.password
    """

    def __init__(self, name: str = "", type_of: str = "", env: Optional[str] = None, mode: str = "read", identifier: Optional[str] = None) -> None:
        env = env or os.environ.get("TUTTI_ENVIRONMENT") or os.environ.get("ICHAIN_ENVIRONMENT") or "dev"
        if identifier is not None and len(identifier.split("/")) != 4:
            raise LakeError("secret `%s`: it is ENV/TYPE/NAME/MODE" % identifier)
        self.identifier = identifier or "%s/%s/%s/%s" % (env, type_of.lower(), name, mode)
        _, self.type_of, self.name, self.mode = self.identifier.split("/")
        told = _tutti("secret", "get", self.identifier)
        value = json.loads(told) if told.lstrip().startswith("{") else {"value": told.rstrip("\n")}
        self._fields: Dict[str, Any] = value
        _tell_host(value)

    def __getattr__(self, field: str) -> Any:
        if field.startswith("_"):
            raise AttributeError(field)
        return self._fields.get(field)

    def __repr__(self) -> str:
        return "Secret(%r)" % self.identifier
