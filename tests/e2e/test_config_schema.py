"""The schema over time: what has drifted is found and mended, a site adds migrations of its own, a CORE database is moved over. Both engines."""
from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, List

import pytest
from config_database import Config

STAMPS = "created_at %(time)s NOT NULL DEFAULT %(now)s, updated_at %(time)s NOT NULL DEFAULT %(now)s, last_actor TEXT, id %(id)s PRIMARY KEY"
# The older system's tables, as its migrations leave them: no unique names, and references only where it has them.
CORE = [
    "pharmaceutical_companies (name TEXT NOT NULL, display_name TEXT NOT NULL, {s})",
    "brands (name TEXT NOT NULL, display_name TEXT NOT NULL, pharmaceutical_company_id INTEGER NOT NULL REFERENCES pharmaceutical_companies (id), {s})",
    "segments (name TEXT NOT NULL, {s})",
    "pipeline_types (name TEXT NOT NULL, segment_id INTEGER NOT NULL REFERENCES segments (id), {s})",
    "pipelines (name TEXT NOT NULL, pipeline_type_id INTEGER NOT NULL REFERENCES pipeline_types (id), brand_id INTEGER NOT NULL REFERENCES brands (id), is_active BOOLEAN NOT NULL, "
    "run_frequency TEXT, description TEXT, {s})",
    "pipeline_state_types (name TEXT NOT NULL, {s})",
    "pipeline_states (pipeline_state_type_id INTEGER NOT NULL, pipeline_id INTEGER NOT NULL, graph_order INTEGER NOT NULL, {s})",
    "transformation_templates (name TEXT NOT NULL, variable_structures TEXT, pipeline_state_type_id INTEGER, {s})",
    "transformations (transformation_template_id INTEGER NOT NULL, pipeline_state_id INTEGER NOT NULL, graph_order INTEGER NOT NULL DEFAULT 0, {s})",
    "transformation_variables (transformation_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, {s})",
    "administrators (email_address TEXT NOT NULL, first_name TEXT NOT NULL, last_name TEXT NOT NULL, {s})",
    "run_events (pipeline_id INTEGER NOT NULL, created_at %(time)s NOT NULL DEFAULT %(now)s, updated_at %(time)s, last_actor TEXT, id %(id)s PRIMARY KEY)",
]
ROWS = """
INSERT INTO pharmaceutical_companies (id, name, display_name) VALUES (3, 'Sun', 'Sun Ltd.');
INSERT INTO brands (id, name, display_name, pharmaceutical_company_id) VALUES (5, 'Ilumya', 'Ilumya (R)', 3);
INSERT INTO segments (id, name) VALUES (1, 'patient');
INSERT INTO pipeline_types (id, name, segment_id) VALUES (1, 'EDO', 1);
INSERT INTO pipelines (id, name, pipeline_type_id, brand_id, is_active, run_frequency, last_actor) VALUES (4, 'ilumya_edo', 1, 5, TRUE, 'weekly', 'them@example.com');
INSERT INTO pipeline_state_types (id, name) VALUES (1, 'raw'), (2, 'ingest');
INSERT INTO pipeline_states (id, pipeline_state_type_id, pipeline_id, graph_order) VALUES (10, 1, 4, 0), (11, 2, 4, 1);
INSERT INTO transformation_templates (id, name, variable_structures, pipeline_state_type_id) VALUES
  (7, 'initial_ingest', '{"skip_rows": {"datatype": "INT", "description": "rows"}, "cumulate_flag": {"datatype": "boolean", "description": ""}}', 2);
INSERT INTO transformations (id, transformation_template_id, pipeline_state_id, graph_order) VALUES (21, 7, 11, 1), (22, 7, 11, 0);
INSERT INTO transformation_variables (transformation_id, name, value, id) VALUES (21, 'skip_rows', '0', 1), (21, 'cumulate_flag', '1', 2), (22, 'skip_rows', '3', 3), (22, 'cumulate_flag', '0', 4);
INSERT INTO administrators (id, email_address, first_name, last_name) VALUES (1, 'them@example.com', 'T', 'Hem');
INSERT INTO run_events (id, pipeline_id) VALUES (900, 4);
"""


def core_script(postgres: bool) -> str:
    words = {"time": "TIMESTAMPTZ", "now": "now()", "id": "SERIAL"} if postgres else {"time": "DATETIME", "now": "CURRENT_TIMESTAMP", "id": "INTEGER"}
    return ";\n".join("CREATE TABLE " + table.replace("{s}", STAMPS) % words for table in CORE) + ";\n" + ROWS


def older(config: Config, tmp_path: Path, script: str) -> None:
    """The older database, declared as `old`."""
    path = tmp_path / "core.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as db:
        db.executescript(script)
    db.close()
    (tmp_path / "tutti.ini").write_text("[sql.old]\nurl = sqlite://%s\n" % path)


@pytest.fixture
def ready(config):
    if config.server:
        config.run("db", "create")
    else:
        config.run("pipeline", "list")
    return config


def test_a_fresh_database_is_as_the_model_has_it(ready):
    assert ready.json("db", "check")["differences"] == []
    assert ready.json("db", "check")["beyond"] == []
    assert "nothing to write" in ready.run("db", "revision", "-m", "nothing", "--autogenerate", code=5)


def test_what_has_drifted_is_found_and_mended(ready):
    ready.ask("DROP TRIGGER tags_audit%s; ALTER TABLE brands ADD COLUMN region TEXT; CREATE TABLE regions (name TEXT); DROP INDEX run_events_pipeline_id_index; "
              "DROP TABLE transformation_variables; ALTER TABLE administrators DROP COLUMN first_name%s" % (
                  (" ON tags", "; ALTER TABLE tags DROP CONSTRAINT tags_value_key; ALTER TABLE pipelines ALTER COLUMN name DROP NOT NULL") if ready.server else
                  ("_insert; DROP TRIGGER administrators_audit_insert; DROP TRIGGER administrators_audit_update; DROP TRIGGER administrators_audit_delete", "")))
    assert "differs from the model in" in ready.run("db", "check", code=3)
    path = Path(ready.run("db", "revision", "-m", "Back to the model!", "--autogenerate").strip())
    assert path.name == "0001_back_to_the_model.sql" and path.parent == ready.data / "migrations"
    text = path.read_text()
    for piece in ["tags: it is not audited", "run_events: the columns pipeline_id have no index", "CREATE TABLE transformation_variables"]:
        assert piece in text
    assert ready.run("db", "upgrade") == "applied 0001_back_to_the_model\n"
    left = ready.json("db", "check")
    assert left["differences"] == [] and sorted(left["beyond"]) == ["column brands.region", "table regions"]
    assert ready.run("db", "downgrade", "--yes") == "undone 0001_back_to_the_model\n"
    assert "differs from the model in" in ready.run("db", "check", code=3)
    assert ready.run("db", "upgrade", "--quiet") == "applied 0001_back_to_the_model\n"


def test_migrations_of_a_site(ready):
    """In their order, each in one transaction, undone from the last; a broken one changes nothing and is named."""
    first = Path(ready.run("db", "revision", "-m", "Regions").strip())
    engine, other = ("postgresql", "sqlite") if ready.server else ("sqlite", "postgresql")
    first.write_text("-- up\nCREATE TABLE regions (name TEXT NOT NULL);\nINSERT INTO regions (name) VALUES ('a;b');\n-- up %s\nINSERT INTO regions (name) VALUES ('here');\n"
                     "-- up %s\nthis is not for us;\n-- down\nDROP TABLE regions;\n" % (engine, other))
    second = Path(ready.run("db", "revision", "-m", "more of them").strip())
    assert second.name == "0002_more_of_them.sql"
    second.write_text("-- up\nINSERT INTO regions (name) VALUES ('later');\nINSERT INTO nowhere (name) VALUES ('x');\n-- down\nDELETE FROM regions WHERE name = 'later';\n")
    assert "0002_more_of_them" in ready.run("db", "upgrade", code=5)
    assert ready.ask("SELECT count(*) FROM regions") == "2" and ready.run("db", "current") == "0001_regions\n"
    second.write_text("-- up\nINSERT INTO regions (name) VALUES ('later');\nCOMMIT;\n-- down\nDELETE FROM regions WHERE name = 'later';\n")
    assert "leave BEGIN, COMMIT and ROLLBACK out" in ready.run("db", "upgrade", code=5)
    ready.ask("DELETE FROM regions WHERE name = 'later'")
    second.write_text("-- up\nINSERT INTO regions (name) VALUES ('later');\n")
    assert ready.run("db", "upgrade") == "applied 0002_more_of_them\n"
    assert "no section `-- down`" in ready.run("db", "downgrade", "--yes", code=5)
    second.write_text("-- up\n-- down\nDELETE FROM regions WHERE name = 'later';\n")
    assert ready.run("db", "downgrade", "1", "--yes") == "undone 0002_more_of_them\nundone 0001_regions\n"
    assert [m["revision"] for m in ready.json("db", "history")["migrations"]] == ["1", "0001_regions", "0002_more_of_them"]
    ready.run("db", "upgrade", "0001_regions")
    first.unlink()
    assert "is not here, so that it cannot be undone" in ready.run("db", "downgrade", "--yes", code=4)


def test_a_core_database_is_moved_over(ready, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    older(ready, tmp_path, core_script(postgres=False))
    assert ready.json("pipeline", "import", "old", "--dry-run")["rows"]["transformations"] == 2
    assert ready.ask("SELECT count(*) FROM companies") == "0"
    moved = ready.json("pipeline", "import", "old")
    assert {t: n for t, n in moved["rows"].items() if n} == {
        "companies": 1, "brands": 1, "segments": 1, "pipeline_types": 1, "pipelines": 1, "pipeline_state_types": 2, "pipeline_states": 2, "transformation_templates": 1,
        "transformations": 2, "transformation_variables": 4, "administrators": 1, "run_events": 1}
    listed = ready.json("pipeline", "list")["pipelines"]
    assert [(p["id"], p["name"], p["company"], p["brand"], p["schedule"], p["active"], p["problem"]) for p in listed] == [(4, "ilumya_edo", "Sun", "Ilumya", "weekly", True, None)]
    assert ready.rows("SELECT id, name FROM transformations ORDER BY id") == [["21", "initial_ingest"], ["22", "initial_ingest_22"]]
    assert ready.ask("SELECT last_actor FROM pipelines") == "them@example.com"
    ready.ask("INSERT INTO run_events (pipeline_id) VALUES (4)")
    assert ready.ask("SELECT max(id) FROM run_events") == "901"
    assert "has rows already" in ready.run("pipeline", "import", "old", code=5)
    assert "declares no database `nothing`" in ready.run("pipeline", "import", "nothing", code=4)


WRONG: List[Any] = [
    ("INSERT INTO pharmaceutical_companies (id, name, display_name) VALUES (4, 'a/b', '')", "row 4: the company's name `a/b`"),
    ("INSERT INTO transformation_variables (id, transformation_id, name, value) VALUES (99, 77, 'x', '')", "transformation_variables, row 99"),
    ("INSERT INTO pipelines (id, name, pipeline_type_id, brand_id, is_active) VALUES (8, 'ilumya_edo', 1, 5, TRUE)", "pipelines, row 8"),
    ("UPDATE transformation_templates SET variable_structures = '{'", "transformation_templates, row 7"),
]


def test_what_cannot_be_moved_is_named(ready, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for statement, sentence in WRONG:
        older(ready, tmp_path, core_script(postgres=False) + statement + ";")
        assert sentence in ready.run("pipeline", "import", "old", code=2), statement
    assert ready.ask("SELECT (SELECT count(*) FROM companies) + (SELECT count(*) FROM pipelines)") == "0"


def test_out_of_postgresql(tmp_path, postgres, monkeypatch):
    """The older database in PostgreSQL, ours in SQLite."""
    config = Config(tmp_path, postgres)
    postgres.ask(core_script(postgres=True))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tutti.ini").write_text(postgres.declare("old"))
    config.env = {}
    assert config.json("pipeline", "import", "old")["rows"]["transformation_variables"] == 4
    assert config.json("pipeline", "list")["pipelines"][0]["problem"] is None
