"""Contracts and secrets in Python, with pandas and without; the guide's own lines."""
from __future__ import annotations

import datetime
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Iterator

import pytest

from lake_place import METADATA, RUN_ID, Lake
from tutti_process import ROOT, binary

pa = pytest.importorskip("pyarrow")
pandas = pytest.importorskip("pandas")
sys.path.append(str(ROOT / "clients" / "python"))
tutti = pytest.importorskip("tutti")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    made = Lake(tmp_path)
    for name in [n for n in os.environ if n.startswith("ICHAIN_")]:
        monkeypatch.delenv(name)
    for name, value in made.environment(TUTTI_BIN=str(binary()), TUTTI_DATA=str(tmp_path / "data")).items():
        monkeypatch.setenv(name, value)
    yield made


def test_parts_and_aliases(lake: Lake) -> None:
    c = tutti.contract(customer="Acme", brand="Widget", state="ingest", dataset="Orders")
    assert (c.path, c.key, c.contract_type) == ("dev/local/acme/widget/ingest/Orders", "local/acme/widget/ingest/Orders", "dataset")
    assert (c.customer, c.parent, c.brand, c.child, c.previous_state, c.next_state) == ("acme", "acme", "widget", "widget", "raw", "master")
    c.brand, c.state = "gadget", "dimensional"
    assert c.path == "dev/local/acme/gadget/dimensional/Orders" and c.next_state is None
    for part, value in (("parent", "a/b"), ("state", "Raw"), ("branch", "main"), ("dataset", "../x")):
        with pytest.raises(ValueError):
            setattr(c, part, value)
    with pytest.raises(AttributeError):
        c.colour = "red"
    assert tutti.contract("uat/uat/acme/widget/raw/a.csv").file == "a.csv"


def test_frames_go_in_and_out(lake: Lake) -> None:
    c = tutti.contract("acme/widget/ingest/orders", partitions=["region"])
    frame = pandas.DataFrame({"id": [1, 2, 3], "region": ["EU", "US", None], "amount": [1.5, None, 3.0], "day": pandas.to_datetime(["2026-01-01", "2026-01-02", None])})
    told = c.publish(frame, run_id=42, session=None)
    assert (told["rows"], told["run_id"]) == (3, 42)
    c.publish(pa.table({"id": [4], "region": ["JP"], "amount": [4.0]}), run_id=43)
    c.publish([{"id": 5, "region": "EU", "amount": 1, "day": datetime.date(2026, 1, 5)}], run_id=44, run_timestamp=datetime.datetime(2026, 1, 31))
    back = c.fetch([{"partition": RUN_ID, "comparison": "==", "values": [42]}], metadata=False).sort_values("id")
    assert list(back["id"]) == [1, 2, 3] and list(back["amount"])[::2] == [1.5, 3.0] and back["region"].isna().sum() == 1
    assert str(back["day"].dtype).startswith("datetime64")
    assert set(METADATA) <= set(c.fetch().columns) and set(METADATA).isdisjoint(tutti.lake.drop_metadata(c.fetch()).columns)
    assert (c.values(), c.max(), c.values("region")) == ([42, 43, 44], 44, [None, "EU", "JP", "US"])
    assert (c.missing_values([42, 50]), c.missing_values([42, 50, 50], reverse=True)) == ([43, 44], [50])


@pytest.mark.parametrize("filters, ids", [
    ([{"partition": "region", "comparison": "!=", "values": ["EU", "US"]}], [3]),
    ([{"partition": "region", "comparison": "==", "values": ["EU", "O'Neil"]}], [1]),
    ([{"partition": "id", "comparison": ">", "values": [1]}, {"partition": "id", "comparison": "<=", "values": [2]}], [2]),
    ([{"partition": "region", "comparison": "==", "values": []}], []),
])
def test_filters_of_older_scripts(lake: Lake, filters: Any, ids: Any) -> None:
    c = tutti.contract("acme/widget/ingest/orders")
    c.publish([{"id": 1, "region": "EU"}, {"id": 2, "region": "US"}, {"id": 3, "region": "JP"}], run_id=1, partitions=["region"])
    assert sorted(c.fetch(filters)["id"]) == ids
    assert list(c.fetch(filters, where="id < 0")["id"]) == []
    for wrong in ({"partition": "id", "comparison": "~", "values": [1]}, {"partition": "id", "values": [1]}, {"partition": "id", "comparison": "<", "values": [1, 2]}):
        with pytest.raises(ValueError):
            c.fetch([wrong])


def test_differences(lake: Lake) -> None:
    c = tutti.contract("acme/widget/ingest/orders")
    c.publish([{"id": 1, "v": "a"}, {"id": 2, "v": "b"}], run_id=1)
    c.publish([{"id": 2, "v": "B"}, {"id": 3, "v": "c"}], run_id=2)
    found = sorted(zip(*(c.diff(key="id")[name] for name in ("__change", "id", "v"))))
    assert found == [("added", 3, "c"), ("after", 2, "B"), ("before", 2, "b"), ("removed", 1, "a")]
    other = c.sibling("orders", state="master")
    other.publish(c.fetch(run=1), run_id=9)
    assert len(c.diff(other, key=["id"], from_run=1)) == 0


def test_raw_files(lake: Lake) -> None:
    c = tutti.contract(parent="acme", child="widget", state="raw")
    for i, name in enumerate(["b_1.csv", "a_2.csv", "b_3.txt"]):
        path = lake.file(name, "x\n%d\n" % i)
        os.utime(path, (1000 - i, 1000 - i))
        c.publish_raw_file(str(path))
    assert (c.list_files(), c.list_files("b_", ".csv"), c.get_latest_file_name(suffix=".csv"), c.get_latest_file_name("z")) == (
        ["a_2.csv", "b_1.csv", "b_3.txt"], ["b_1.csv"], "b_1.csv", "")
    with c.download_raw_file("a_2.csv") as copy:
        assert Path(copy).read_text() == "x\n1\n"
    assert not Path(copy).exists()
    with pytest.raises(FileNotFoundError):
        with c.download_raw_file("none"):
            pass


def test_the_guide_reads_a_secret(lake: Lake) -> None:
    value = '{"user": "hamburger_user", "password": "hamburger_password", "host": "ftp.example"}'
    subprocess.run([str(binary()), "secret", "set", "dev/ftp/hamburger/read"], input=value, text=True, check=True, capture_output=True, timeout=60)
    code = textwrap.dedent("""
        from tutti import Secret
        s = Secret( name='hamburger',
                    type_of='FTP',
                    env='dev',
                    mode='read')
        assert s.password == 'hamburger_password' and s.port is None and s.name == 'hamburger'
    """)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python")})
    with pytest.raises(ValueError):
        tutti.Secret(identifier="dev/ftp/hamburger")
