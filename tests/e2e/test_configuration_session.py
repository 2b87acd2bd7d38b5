"""Sessions on the configuration database in Python, on both engines, compared with what the engine's own shell sees; the older guide's own lines."""
from __future__ import annotations

import sys
from typing import Any

import pytest
from config_database import Config
from tutti_process import ROOT, binary, until

sys.path.append(str(ROOT / "clients" / "python"))
tutti_config: Any = pytest.importorskip("tutti.configuration")


@pytest.fixture
def session(config: Config, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TUTTI_BIN", str(binary()))
    config.run("db", "demo")
    if config.server:
        pytest.importorskip("psycopg")
        helper = tutti_config.SessionHelper(config.env["TUTTI_CONFIG_URL"], config.env["TUTTI_CONFIG_PASSWORD"], actor="ann")
    else:
        monkeypatch.setenv("TUTTI_DATA", str(config.data))
        monkeypatch.delenv("TUTTI_CONFIG_URL", raising=False)
        helper = tutti_config.SessionHelper(actor="ann")
    with helper.session as made:
        yield made


def test_rows_are_read_and_changed(config: Config, session: Any) -> None:
    c = tutti_config
    for kind in (c.Company, c.Pipeline, c.TransformationTemplate, c.TransformationVariable, c.RunEvent):
        assert session.query(kind).count() == int(config.ask("SELECT count(*) FROM " + kind._table))
    pipeline = session.query(c.Pipeline).filter_by(name="temocil_profitablility").one()
    assert (pipeline.is_active, pipeline.brand.name, pipeline.brand.pharmaceutical_company.name) == (False, "Teamocil", "Nfoods")
    active = session.query(c.Pipeline).filter(c.Pipeline.is_active == True, c.Pipeline.name.like("bluth%")).order_by(c.Pipeline.name.desc())  # noqa: E712
    assert [p.name for p in active] == ["bluth_profitability", "bluth_banana_regression"]
    assert session.query(c.Tag).filter(c.Tag.value.in_(["beta", "x"]) | (c.Tag.id == 1)).count() == 2
    assert session.query(c.Pipeline).filter(c.Pipeline.description != None).count() == int(config.ask("SELECT count(*) FROM pipelines WHERE description IS NOT NULL"))  # noqa: E711
    pipeline.description = "100% o'clock?"
    session.add_all([c.Tag(value="new; --"), c.Tag(value="other")])
    assert session.query(c.Tag).count() == 5 and config.ask("SELECT count(*) FROM tags").strip() == "3", "others see it after the commit"
    session.commit()
    assert config.ask("SELECT count(*) FROM tags").strip() == "5"
    assert config.ask("SELECT description FROM pipelines WHERE id = %d" % pipeline.id).strip() == "100% o'clock?"
    session.delete(session.query(c.Tag).filter_by(value="new; --").one())
    session.commit()
    audit = [row for row in config.rows("SELECT table_name, actor FROM %s ORDER BY id" % config.events) if row[1] == "ann"]
    assert audit == [["tags", "ann"], ["tags", "ann"], ["pipelines", "ann"], ["tags", "ann"]]
    config.run("db", "check")
    if not config.server:
        assert config.ask("SELECT count(*) FROM auditing_actor").strip() == "0", "the next one is not taken for us"


def test_what_is_taken_back_and_what_is_refused(config: Config, session: Any) -> None:
    c = tutti_config
    session.add(c.Tag(value="gone"))
    assert session.query(c.Tag).filter_by(value="gone").first().id > 3
    session.rollback()
    assert session.query(c.Tag).filter_by(value="gone").first() is None
    for wrong in (lambda: session.query(c.Tag).filter_by(value="no").one(), lambda: session.query(c.Pipeline).one()):
        with pytest.raises(ValueError):
            wrong()
    session.add(c.Brand(name="x", display_name="x", pharmaceutical_company_id=999))
    with pytest.raises(Exception, match="(?i)foreign key"):
        session.commit()
    session.rollback()
    with pytest.raises(AttributeError):
        session.query(c.Pipeline).first().colour


def test_where_there_is_none(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="tutti db create"):
        tutti_config.SessionHelper("sqlite://%s/config.db" % tmp_path)
    with pytest.raises(ValueError, match="neither"):
        tutti_config.SessionHelper("mysql://x/y")


def test_the_guides_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As the guide has them, but for the names of modules; the last `print(total)` there is to print the new one."""
    monkeypatch.setenv("TUTTI_BIN", str(binary()))
    monkeypatch.setenv("TUTTI_CONFIG_URL", "postgresql://nowhere.invalid/x")  # not touched
    exec("""
# using configurations
from tutti.configuration import ConfigurationMocker as CMock
import tutti.configuration as config

## creates the mock db
mock = CMock()
session = mock.get_session()

## uses the config entity classes
transform_template = config.TransformationTemplate

## you can seed the db
mock.generate_mocks()

total = session.query(transform_template).count()
print(total)
## 2

## you can also add entities as you need them
session.add(transform_template(name='great_new_transform_template'))
session.commit()

added = session.query(transform_template).order_by(transform_template.id.desc()).first()
print(added.name)
## 'great_new_transform_template'

new_total = session.query(transform_template).count()
print(new_total)
## 3
session.close()
""", {})
    assert capsys.readouterr().out.split() == ["2", "great_new_transform_template", "3"]


def test_a_task_has_a_session(tutti: Any) -> None:
    t = tutti(start=False, workers=1, env={"TUTTI_PROGRAMS_MEMORY": "0"})  # sanitizers reserve more than any limit
    (t.data / "programs").mkdir(parents=True)
    (t.data / "programs" / "tags.py").write_text("""
import tutti
from tutti.configuration import Pipeline, Tag, RunEvent

class Tags:
    def _run(self):
        task = tutti.task()
        with task.session() as session:
            session.add(Tag(value="run %d" % task.run_id))
            session.commit()
            run = session.query(RunEvent).get(task.run_id)
            return [run.pipeline.name, run.pipeline.brand.name, task.company]
""")
    t.start()
    definition = {"pipeline": "p", "company": "acme", "brand": "shop", "retries": 0, "states": [{"state": "raw", "transformations": [{"template": "tags"}]}]}
    assert t.request("POST", "/v1/pipelines", definition).status == 201
    run = t.request("POST", "/v1/pipelines/p/runs").json["id"]
    until(lambda: t.get("/v1/runs/%d" % run).json["ended"], "the run has ended")
    task = t.get("/v1/runs/%d/tasks" % run).json["tasks"][0]
    assert task["state"] == "finished" and task["result"]["result"] == ["p", "shop", "acme"], task
    import sqlite3
    rows = sqlite3.connect(t.data / "config.db").execute("SELECT actor FROM auditing_events WHERE table_name = 'tags'").fetchall()
    assert rows == [("p_raw_tags_1 of run %d" % run,)]
