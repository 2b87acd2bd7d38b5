"""The configuration database, to read and to change: a session as scripts for the older system know it, with an entity for each table.

    import tutti.configuration as config

    session = config.SessionHelper().session
    for pipeline in session.query(config.Pipeline).filter_by(is_active=True).order_by(config.Pipeline.name):
        print(pipeline.name, pipeline.brand.name)
    session.add(config.Tag(value="checked"))
    session.commit()
    session.close()

It talks to the database itself: SQLite's file, or PostgreSQL where psycopg (or psycopg2) is installed. Who changed what is in the audit, as with tutti's own
changes; what tutti checks when a pipeline is saved is not checked here, but when it is shown or run. `Mock()` is a database of its own with the demonstration's rows."""

from __future__ import annotations

import getpass
import json
import os
import sqlite3
import tempfile
import urllib.parse
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Type

from .errors import TuttiError
from .lake import _module, _tutti


class ConfigurationError(TuttiError, ValueError):
    """The database cannot be reached, or an entity is used wrongly."""


# ---- conditions ----


class Condition:
    """A piece of SQL with its values; `&`, `|` and `~` join conditions."""

    def __init__(self, text: str, values: Sequence[Any] = ()) -> None:
        self.text, self.values = text, list(values)

    def __and__(self, other: "Condition") -> "Condition":
        return Condition("(%s AND %s)" % (self.text, other.text), self.values + other.values)

    def __or__(self, other: "Condition") -> "Condition":
        return Condition("(%s OR %s)" % (self.text, other.text), self.values + other.values)

    def __invert__(self) -> "Condition":
        return Condition("NOT (%s)" % self.text, self.values)


class Column:
    """A column of an entity: `Pipeline.name == "sales"`, `Tag.id.desc()`."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.name = '"%s"' % name.replace('"', '""')

    def _is(self, sign: str, value: Any) -> Condition:
        return Condition("%s %s ?" % (self.name, sign), [value])

    def __eq__(self, value: Any) -> Condition:  # type: ignore[override]
        return Condition("%s IS NULL" % self.name) if value is None else self._is("=", value)

    def __ne__(self, value: Any) -> Condition:  # type: ignore[override]
        return Condition("%s IS NOT NULL" % self.name) if value is None else self._is("<>", value)

    def __lt__(self, value: Any) -> Condition:
        return self._is("<", value)

    def __le__(self, value: Any) -> Condition:
        return self._is("<=", value)

    def __gt__(self, value: Any) -> Condition:
        return self._is(">", value)

    def __ge__(self, value: Any) -> Condition:
        return self._is(">=", value)

    def like(self, pattern: str) -> Condition:
        return self._is("LIKE", pattern)

    def in_(self, values: Sequence[Any]) -> Condition:
        return Condition("%s IN (%s)" % (self.name, ", ".join("?" for _ in values)), list(values)) if values else Condition("1 = 0")

    def asc(self) -> str:
        return self.name

    def desc(self) -> str:
        return self.name + " DESC"


# ---- entities ----


class _Columns(type):
    def __getattr__(cls, name: str) -> Column:
        if name.startswith("_"):
            raise AttributeError(name)
        return Column(name)


class Entity(metaclass=_Columns):
    """A row. Its columns are attributes, and what a column `x_id` refers to is the attribute `x`. What is assigned is written before the next query or commit."""

    _table = ""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(_values=dict(values), _changed=set(values), _session=None)

    def __getattr__(self, name: str) -> Any:
        values: Dict[str, Any] = self.__dict__["_values"]
        if name in values:
            return values[name]
        session, kind = self.__dict__["_session"], _ENTITIES.get(name.replace("_", ""))
        if session is None or kind is None or name + "_id" not in values:
            raise AttributeError("this row of %s has no `%s`" % (self._table, name))
        return session.query(kind).get(values[name + "_id"])

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["_values"][name] = value
        self.__dict__["_changed"].add(name)

    def __repr__(self) -> str:
        return "%s(%s)" % (type(self).__name__, ", ".join("%s=%r" % item for item in self.__dict__["_values"].items()))


class Company(Entity):
    _table = "companies"


PharmaceuticalCompany = Company


class Brand(Entity):
    _table = "brands"


class Segment(Entity):
    _table = "segments"


class PipelineType(Entity):
    _table = "pipeline_types"


class Pipeline(Entity):
    _table = "pipelines"


class PipelineStateType(Entity):
    _table = "pipeline_state_types"


class PipelineState(Entity):
    _table = "pipeline_states"


class Tag(Entity):
    _table = "tags"


class TransformationTemplate(Entity):
    _table = "transformation_templates"


class Transformation(Entity):
    _table = "transformations"


class TransformationVariable(Entity):
    _table = "transformation_variables"


class Administrator(Entity):
    _table = "administrators"


class RunEvent(Entity):
    _table = "run_events"


_ENTITIES: Dict[str, Type[Entity]] = {kind.__name__.lower(): kind for kind in Entity.__subclasses__()}
_ENTITIES["pharmaceuticalcompany"] = Company


# ---- databases ----


class _Database:
    """A connection of the standard's kind (DB-API), and how this engine differs."""

    def __init__(self, url: str, password: Optional[str]) -> None:
        self.is_sqlite = url.startswith("sqlite://")
        if self.is_sqlite:
            path = url[len("sqlite://"):]
            if not os.path.exists(path):
                raise ConfigurationError("there is no configuration database %s yet: `tutti db create` makes it" % path)
            self.connection: Any = sqlite3.connect(path, timeout=60)
            self.connection.execute("PRAGMA foreign_keys = ON")
        elif url.startswith(("postgresql://", "postgres://")):
            self.connection = self._postgresql(url, password)
        else:
            raise ConfigurationError("`%s` is neither sqlite:///PATH nor postgresql://" % url.partition(":")[0])

    @staticmethod
    def _postgresql(url: str, password: Optional[str]) -> Any:
        driver = _module("psycopg") or _module("psycopg2")
        if driver is None:
            raise ConfigurationError("PostgreSQL needs the Python package psycopg (or psycopg2): install one of them")
        try:
            return driver.connect(url, **({"password": password} if password else {}))
        except driver.Error as error:
            raise ConfigurationError("the configuration database cannot be reached: %s" % str(error).strip()) from None

    def ask(self, text: str, values: Sequence[Any]) -> Any:
        cursor = self.connection.cursor()
        cursor.execute(text if self.is_sqlite else text.replace("%", "%%").replace("?", "%s"), list(values))
        return cursor

    def begin(self, actor: str) -> None:
        """Before the first change of a transaction: in whose name it is."""
        if self.is_sqlite:
            self.ask("DELETE FROM auditing_actor", [])
            self.ask("INSERT INTO auditing_actor (name) VALUES (?)", [actor])
        else:
            self.ask("SELECT set_config('tutti.actor', ?, true)", [actor])

    def end(self) -> None:
        if self.is_sqlite:
            self.ask("DELETE FROM auditing_actor", [])


# ---- sessions ----


class Query:
    """Rows of an entity; each step gives a new one."""

    def __init__(self, session: "Session", kind: Type[Entity], where: Sequence[Condition] = (), order: Sequence[str] = (), most: Optional[int] = None) -> None:
        self._session, self._kind, self._where, self._order, self._most = session, kind, list(where), list(order), most

    def filter(self, *conditions: Condition) -> "Query":
        return Query(self._session, self._kind, self._where + list(conditions), self._order, self._most)

    def filter_by(self, **values: Any) -> "Query":
        return self.filter(*(Column(name) == value for name, value in values.items()))  # type: ignore[arg-type]

    def order_by(self, *columns: Any) -> "Query":
        return Query(self._session, self._kind, self._where, self._order + [c.asc() if isinstance(c, Column) else c for c in columns], self._most)

    def limit(self, most: int) -> "Query":
        return Query(self._session, self._kind, self._where, self._order, int(most))

    def _ask(self, what: str) -> Any:
        text = "SELECT %s FROM %s" % (what, self._kind._table)
        if self._where:
            text += " WHERE " + " AND ".join("(%s)" % condition.text for condition in self._where)
        if self._order and what == "*":
            text += " ORDER BY " + ", ".join(self._order)
        if self._most is not None and what == "*":
            text += " LIMIT %d" % self._most
        return self._session._ask(text, [value for condition in self._where for value in condition.values])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.all())

    def all(self) -> List[Any]:
        cursor = self._ask("*")
        names = [column[0] for column in cursor.description]
        return [self._session._entity(self._kind, dict(zip(names, row))) for row in cursor.fetchall()]

    def first(self) -> Any:
        """None where there is none."""
        return next(iter(self.limit(1).all()), None)

    def one(self) -> Any:
        found = self.limit(2).all()
        if len(found) != 1:
            raise ConfigurationError("%s row of %s is there" % ("no such" if not found else "more than one such", self._kind._table))
        return found[0]

    def get(self, id: Any) -> Any:
        return self.filter_by(id=id).first()

    def count(self) -> int:
        return int(self._ask("count(*)").fetchone()[0])


class Session:
    """One connection. Changes are seen by others after `commit`; `with` closes it."""

    def __init__(self, database: _Database, actor: str) -> None:
        self._database, self._actor = database, actor
        self._known: Dict[Tuple[str, Any], Entity] = {}
        self._new: List[Entity] = []
        self._has_begun = False

    def query(self, kind: Type[Entity]) -> Query:
        return Query(self, kind)

    def add(self, entity: Entity) -> None:
        if entity.__dict__["_session"] is None and entity not in self._new:
            self._new.append(entity)

    def add_all(self, entities: Sequence[Entity]) -> None:
        for entity in entities:
            self.add(entity)

    def delete(self, entity: Entity) -> None:
        self.flush()
        self._change("DELETE FROM %s WHERE id = ?" % entity._table, [entity.id])
        self._known.pop((entity._table, entity.id), None)

    def flush(self) -> None:
        """Writes what was added and assigned."""
        new, self._new = self._new, []
        for entity in new:
            self._insert(entity)
        for entity in list(self._known.values()):
            if entity.__dict__["_changed"]:
                self._update(entity)

    def commit(self) -> None:
        self.flush()
        if self._has_begun:
            self._database.end()
        self._database.connection.commit()
        self._has_begun = False

    def rollback(self) -> None:
        self._database.connection.rollback()
        self._new, self._has_begun = [], False
        self._known.clear()

    def close(self) -> None:
        self._database.connection.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # -- inside

    def _ask(self, text: str, values: Sequence[Any]) -> Any:
        self.flush()
        return self._database.ask(text, values)

    def _change(self, text: str, values: Sequence[Any]) -> Any:
        if not self._has_begun:
            self._database.begin(self._actor)
            self._has_begun = True
        return self._database.ask(text, [json.dumps(v) if isinstance(v, (dict, list)) else v for v in values])

    def _insert(self, entity: Entity) -> None:
        values = {"last_actor": self._actor, **entity.__dict__["_values"]}
        cursor = self._change("INSERT INTO %s (%s) VALUES (%s) RETURNING *" % (entity._table, ", ".join(Column(n).name for n in values), ", ".join("?" for _ in values)),
                              list(values.values()))
        entity.__dict__.update(_values=dict(zip([column[0] for column in cursor.description], cursor.fetchone())), _changed=set(), _session=self)
        self._known[entity._table, entity.id] = entity

    def _update(self, entity: Entity) -> None:
        changed = {name: entity.__dict__["_values"][name] for name in entity.__dict__["_changed"]}
        changed.setdefault("last_actor", self._actor)
        self._change("UPDATE %s SET %s WHERE id = ?" % (entity._table, ", ".join("%s = ?" % Column(n).name for n in changed)), [*changed.values(), entity.id])
        entity.__dict__["_changed"] = set()

    def _entity(self, kind: Type[Entity], values: Dict[str, Any]) -> Entity:
        """One object for each row of this session."""
        key = (kind._table, values["id"])
        entity = self._known.get(key)
        if entity is None:
            entity = self._known[key] = kind()
        entity.__dict__.update(_values=values, _changed=set(), _session=self)
        return entity


def _actor() -> str:
    task = os.environ.get("TUTTI_TASK")
    if task:
        said = json.loads(task)
        return "%s of run %d" % (said["task"], said["run_id"])
    return getpass.getuser()


def _current() -> str:
    """The database of the server; a worker on a machine without one is told which it is."""
    data = os.environ.get("TUTTI_DATA", "")
    if os.environ.get("TUTTI_TASK") and not any(os.environ.get("TUTTI_SERVER") or os.path.exists(os.path.join(data, name)) for name in ("tutti.sock", "config.db")):
        raise ConfigurationError("no server runs on this machine: tell its worker where the configuration is, with the setting config.url (TUTTI_CONFIG_URL)")
    return str(json.loads(_tutti("db", "current", "--json"))["database"])


def _referred(text: Optional[str]) -> Optional[str]:
    """What a setting refers to, as tutti itself reads it."""
    kind, _, name = (text or "").partition(":")
    if kind == "file":
        with open(name, encoding="utf-8") as file:
            return file.read().strip()
    if kind == "secret":
        secret, _, field = name.partition("#")
        return _tutti("secret", "get", secret, *(["--field=" + field] if field else [])).rstrip("\n")
    return os.environ.get(name) if kind == "env" else text


def _named(url: str) -> Tuple[str, Optional[str]]:
    """The address, and the password that a secret has beside it."""
    if not url.startswith("secret:"):
        return url, None
    told = str(_referred(url))
    if not told.lstrip().startswith("{"):
        return told, None
    parts = json.loads(told)
    place = "postgresql://%s@%s:%d/%s" % (urllib.parse.quote(parts["user"], ""), parts["host"], int(parts.get("port") or 5432), urllib.parse.quote(parts["database"], ""))
    return place, parts.get("password")


class SessionHelper:
    """`session` is one on the database that tutti itself uses, or on `url` (as the setting config.url has it). A password that is not in the environment of PostgreSQL's
    own tools is given; actor: who stands in the audit, the user or the task."""

    def __init__(self, url: Optional[str] = None, password: Optional[str] = None, actor: Optional[str] = None) -> None:
        self.url, kept = _named(url or os.environ.get("TUTTI_CONFIG_URL") or _current())
        if self.url.startswith("sqlite::memory:"):
            raise ConfigurationError("the configuration is in the memory of tutti alone: use Mock() for one of your own")
        parts = urllib.parse.urlsplit(self.url)
        password = password or parts.password or kept or _referred(os.environ.get("TUTTI_CONFIG_PASSWORD"))
        self.session = Session(_Database(self.url, password), actor or _actor())


class Mock:
    """A database of its own, gone with the object: with all tables, and with the demonstration's rows after `generate_mocks()`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tutti-")
        self._url = "sqlite://%s/config.db" % self._folder.name
        self._run("create")

    def _run(self, verb: str) -> None:
        """On our own folder alone, whatever the environment says."""
        kept = {name: value for name, value in os.environ.items() if name not in ("TUTTI_SERVER", "TUTTI_CONFIG_PASSWORD", "TUTTI_CONFIG_READ_ONLY", "TUTTI_CONFIG_MIGRATIONS")}
        _tutti("db", verb, env={**kept, "TUTTI_DATA": self._folder.name, "TUTTI_CONFIG_URL": self._url})

    def generate_mocks(self) -> None:
        self._run("demo")

    def get_session(self) -> Session:
        return SessionHelper(self._url).session


ConfigurationMocker = Mock
