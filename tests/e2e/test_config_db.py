"""The configuration database: tables, migrations and audit, the same in SQLite and PostgreSQL. What it holds is asked of the engines' own shells."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from config_database import Config

TABLES = ["administrators", "brands", "companies", "pipeline_state_types", "pipeline_states", "pipeline_types", "pipelines", "run_events", "segments", "tags",
          "transformation_templates", "transformation_templates_tags", "transformation_variables", "transformations"]
DEMO = {"administrators": 6, "companies": 2, "brands": 2, "segments": 3, "pipeline_types": 2, "pipelines": 3, "pipeline_state_types": 7, "pipeline_states": 4, "tags": 3,
        "transformation_templates": 2, "transformation_templates_tags": 3, "transformations": 5, "transformation_variables": 4, "run_events": 3}


def test_create_upgrade_downgrade(config):
    assert config.run("db", "current") == "no tables\n"
    assert config.run("db", "create") == "applied 1\n"
    own = {"tutti_migrations"} | ({"auditing_actor", "auditing_events"} if not config.server else set())
    assert config.tables() == sorted(TABLES + list(own))
    assert "has its tables already" in config.run("db", "create", code=5)
    assert config.run("db", "upgrade") == "" and config.run("db", "current") == "1\n"
    assert [(m["revision"], m["applied"]) for m in config.json("db", "history")["migrations"]] == [("1", True)]
    assert config.run("db", "downgrade", "--yes") == "undone 1\n"
    assert config.tables() == ["tutti_migrations"]
    assert config.run("db", "upgrade", "1") == "applied 1\n"
    assert "no migration `7`" in config.run("db", "upgrade", "7", code=4)
    assert "not applied" in config.run("db", "downgrade", "7", "--yes", code=4)
    config.ask("INSERT INTO tutti_migrations (revision, name, version) VALUES ('99', 'of tomorrow', 99)")  # a newer program was here
    assert "knows only version" in config.run("db", "upgrade", code=2)
    assert "is not here" in config.run("db", "downgrade", "--yes", code=4)
    assert "knows only version" in config.run("db", "demo", code=2)


def test_tables_and_columns_are_explained(config):
    """In PostgreSQL by comments, in SQLite by the text of the tables."""
    config.run("db", "create")
    for table in TABLES:
        if config.server:
            assert config.rows("SELECT count(*) FROM pg_attribute WHERE attrelid = '%s'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL" % table) == [["0"]], table
            assert config.ask("SELECT obj_description('%s'::regclass)" % table), table
        else:
            text = config.ask("SELECT sql FROM sqlite_master WHERE name = '%s'" % table)
            assert text.count("/*") + text.count("--") > len(config.rows("SELECT name FROM pragma_table_info('%s')" % table)), text


def test_the_demonstration_rows(config):
    """And what may be done to them: nothing, read-only; nothing, by the older name."""
    config.run("db", "demo")
    counted = config.rows(" UNION ALL ".join("SELECT '%s', count(*) FROM %s" % (t, t) for t in TABLES))
    assert {name: int(count) for name, count in counted} == DEMO
    assert "for an empty one" in config.run("db", "demo", code=5)
    assert config.rows("SELECT name, is_active FROM pipelines ORDER BY id")[2][0] == "temocil_profitablility"
    assert "read-only" in config.run("db", "downgrade", "--yes", code=6, TUTTI_CONFIG_READ_ONLY="true")
    assert config.ask("SELECT count(*) FROM pharmaceutical_companies") == "2"  # the older name, to read
    with pytest.raises((AssertionError, subprocess.CalledProcessError)):
        config.ask("INSERT INTO pharmaceutical_companies (name, display_name) VALUES ('x', 'X')")
    config.ask("INSERT INTO companies (name, display_name) VALUES ('later', 'Later')")
    assert config.ask("SELECT id FROM companies WHERE name = 'later'") == "3"


def test_every_table_is_audited(config):
    """Insert, update and delete in each table by the engine's own shell: who, what before, what after; updated_at moves."""
    config.run("db", "demo", "--quiet")
    first = int(config.ask("SELECT max(id) FROM " + config.events))
    assert first == sum(DEMO.values())
    config.ask("INSERT INTO tags (value, last_actor) VALUES ('mine', 'me@example.com')")
    config.ask("UPDATE tags SET value = 'ours', last_actor = 'you@example.com' WHERE value = 'mine'")
    config.ask("DELETE FROM tags WHERE value = 'ours'")
    events = [(r[0], r[1], json.loads(r[2] or "null"), json.loads(r[3] or "null")) for r in
              config.rows("SELECT table_name, coalesce(actor, ''), coalesce(before_value, 'null'), coalesce(after_value, 'null') FROM %s WHERE id > %d ORDER BY id"
                          % (config.events, first))]
    assert [(t, a) for t, a, _, _ in events[:2]] == [("tags", "me@example.com"), ("tags", "you@example.com")]
    assert events[0][2] is None and events[0][3]["value"] == "mine"
    assert events[1][2]["value"] == "mine" and events[1][3]["value"] == "ours" and events[1][3]["updated_at"] > events[1][2]["updated_at"]
    assert events[2][2]["value"] == "ours" and events[2][3] is None
    assert events[2][1] == ("tutti" if config.server else "")  # a shell of PostgreSQL has a user
    config.ask(";".join("UPDATE %s SET last_actor = 'auditor'" % table for table in TABLES))
    counted = dict(config.rows("SELECT table_name, count(*) FROM %s WHERE actor = 'auditor' GROUP BY table_name" % config.events))
    assert {table: int(count) for table, count in counted.items()} == DEMO
    moved = " UNION ALL ".join("SELECT '%s' FROM %s WHERE updated_at > created_at" % (table, table) for table in TABLES)
    assert len(config.rows(moved)) == sum(DEMO.values())
    assert config.ask("SELECT count(DISTINCT actor) FROM %s WHERE id <= %d" % (config.events, first)) == "1"


def test_named_by_a_secret(tutti: Callable[..., Any], postgres: Any, tmp_path: Path):
    config = Config(tmp_path, postgres)
    t = tutti(env={"TUTTI_CONFIG_URL": "secret:prod/database/configuration_application/write"})
    assert t.get("/v1/db").status == 404  # no such secret yet
    secret = {"rdbms": "postgres", "user": "tutti", "password": postgres.password, "host": "127.0.0.1", "port": postgres.port, "database": "postgres"}
    assert t.request("PUT", "/v1/secrets/prod%2Fdatabase%2Fconfiguration_application%2Fwrite", {"value": secret}).status == 200
    assert t.request("POST", "/v1/db/create").json["applied"] == ["1"]
    assert config.ask("SELECT count(*) FROM tutti_migrations") == "1"
    assert t.get("/v1/db").json["database"] == "postgresql://127.0.0.1:%d/postgres" % postgres.port
    assert postgres.password not in t.log()


def test_in_memory(tutti):
    t = tutti(args=["--config-db", "sqlite::memory:"])
    assert t.get("/v1/db").json["current"] == "1"
    assert not (t.data / "config.db").exists()
    assert t.request("POST", "/v1/sessions", {"token": "good"}).status == 403  # no identity provider, no signing in
    assert t.request("GET", "/config_api/login", headers={"Authorization": "good"}).status == 403
