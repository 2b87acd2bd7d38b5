"""The built-in transforms, each against pandas."""
from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from file_servers import SFTP_SERVER, Sshd
from lake_place import RUN_ID, Lake
from tutti_process import BAD_WORDS, binary

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
LIMIT_S = 120


class Place(Lake):
    """Runs a program where its files are."""

    def start_program(self, name: str, settings: Dict[str, Any]) -> subprocess.CompletedProcess:
        words = [word for k, v in settings.items() for word in ("--set", "%s=%s" % (k, v if isinstance(v, str) else json.dumps(v)))]
        env = self.environment(TUTTI_DATA=str(self.place / "data"))
        return subprocess.run([str(binary()), "run", name, "--here", "--json", *words], capture_output=True, text=True, timeout=LIMIT_S, cwd=self.place, env=env, stdin=subprocess.DEVNULL)

    def program(self, name: str, source: str = "in.parquet", output: str = "out.parquet", **settings: Any) -> Any:
        """The table that it makes."""
        done = self.start_program(name, {"input": source, "output": output, **settings})
        assert done.returncode == 0 and not any(word in done.stderr for word in BAD_WORDS), done.stdout + done.stderr
        return pandas.read_parquet(self.place / output) if output.endswith(".parquet") else (self.place / output).read_text()

    def refuses(self, name: str, **settings: Any) -> str:
        done = self.start_program(name, {"input": "in.parquet", "output": "none.parquet", **settings})
        assert done.returncode != 0 and not (self.place / "none.parquet").exists()
        return done.stdout + done.stderr

    def frame(self, **columns: Any) -> Any:
        frame = pandas.DataFrame(columns)
        frame.to_parquet(self.place / "in.parquet", index=False)
        return frame


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def same(got: Any, expected: Any) -> None:
    def plain(frame: Any) -> Any:
        return frame.reset_index(drop=True).astype(object).where(frame.reset_index(drop=True).notna(), None)

    pandas.testing.assert_frame_equal(plain(got), plain(expected), check_dtype=False)


def test_read_delimited(place: Place) -> None:
    place.file("a.txt", "id|name|n\n1|x;y|2\n2||3.5\n")
    same(place.program("read_delimited", "a.txt", input_format="csv", input_separator="|"), pandas.DataFrame({"id": [1, 2], "name": ["x;y", None], "n": [2.0, 3.5]}))
    assert list(place.program("read_delimited", "a.txt", input_format="csv", input_separator="|", as_text=True)["id"]) == ["1", "2"]
    place.file("p-1.csv", "id\n1\n")
    place.file("p-2.csv", "id,more\n2,x\n")
    same(place.program("read_delimited", "p-*.csv"), pandas.DataFrame({"id": [1, 2], "more": [None, "x"]}))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16", "shift_jis"])
def test_read_delimited_of_another_encoding(place: Place, encoding: str) -> None:
    word = {"shift_jis": "\u5927\u304d\u3055", "cp1252": "5 \u20ac"}.get(encoding, "Gr\u00f6\u00dfe")
    text = "A list,\r\n\r\nof \"today\r\nname;%s\r\n" % word + "".join("%d;%s%d\r\n" % (i, word, i) for i in range(20_000))
    for name, data in (("a.csv", text.encode(encoding)), ("a.csv.gz", gzip.compress(text.encode(encoding)))):
        (place.place / name).write_bytes(data)
        same(place.program("read_delimited", name, encoding=encoding, skip_rows=3), pandas.read_csv(place.place / name, encoding=encoding, skiprows=3, sep=";", quoting=3))


def test_read_delimited_refuses_another_encoding(place: Place) -> None:
    (place.place / "in.csv").write_bytes("a\n\u00f6".encode("latin-1"))
    assert "is not UTF-8" in place.refuses("read_delimited", input="in.csv") and "there is no encoding `nope`" in place.refuses("read_delimited", input="in.csv", encoding="nope")
    assert "cannot be unpacked (UTF-16) at byte 3" in place.refuses("read_delimited", input="in.csv", encoding="UTF-16")
    assert "skip_rows" in place.refuses("read_delimited", input="in.csv", skip_rows=-1) and "is empty" in place.refuses("read_delimited", input="in.csv", skip_rows=9)


def test_write_delimited(place: Place) -> None:
    place.frame(a=["x|y", 'q"', None, ""], b=[1.5, None, 2.0, 3.0], __metadata_app_version=["1"] * 4)
    assert place.program("write_delimited", output="o.csv", separator="|") == 'a|b\n"x|y"|1.5\n"q"""|\n|2.0\n""|3.0\n'
    assert place.program("write_delimited", output="o.csv", metadata=True).startswith("a,b,__metadata_app_version\n")


def test_map_columns(place: Place) -> None:
    frame = place.frame(x=[1, 2], y=["a", None], z=[True, False])
    got = place.program("map_columns", columns={"third": "z", "first": "x", "again": "x", "none": "", "gone": "nope"}, required=["third"])
    same(got, pandas.DataFrame({"third": frame.z, "first": frame.x, "again": frame.x, "none": [None, None], "gone": [None, None]}))
    assert "required column `gone`" in place.refuses("map_columns", columns={"gone": "nope"}, required=["gone"])


def test_cast_numbers(place: Place) -> None:
    place.frame(k=[1, 2, 3, 4], n=["1.5", "$ 1,234.50", " ", None], m=["1", "2", "3e2", "-4"])
    same(place.program("cast_numbers", columns=["n", "m"]), pandas.DataFrame({"k": [1, 2, 3, 4], "n": [1.5, 1234.5, None, None], "m": [1.0, 2, 300, -4]}))
    place.frame(n=["1", "none", "3"])
    same(place.program("cast_numbers", columns=["n"], bad="null"), pandas.DataFrame({"n": [1.0, None, 3.0]}))
    same(place.program("cast_numbers", columns=["n"], bad="reject", rejects="bad.parquet"), pandas.DataFrame({"n": [1.0, 3.0]}))
    same(pandas.read_parquet(place.place / "bad.parquet"), pandas.DataFrame({"n": ["none"], "__reject_reason": ["column `n`: `none` is no number"]}))
    assert "row 2, column `n`: `none` is no number" in place.refuses("cast_numbers", columns=["n"])


def test_parse_dates(place: Place) -> None:
    frame = place.frame(d=["01/31/2026", "12/01/1999", "", "n/a", "01/01/2300"])
    got = place.program("parse_dates", columns=["d"], format="%m/%d/%Y", exceptions=["n/a"])
    expected = pandas.to_datetime(frame.d.where(frame.d.isin(["01/31/2026", "12/01/1999"])), format="%m/%d/%Y").dt.date
    assert [d if d == d and d is not None else None for d in got.d] == [d if d == d else None for d in expected]
    place.frame(d=["2026-01-31 10:30:00", "2026-02-01T00:00:00Z"])
    assert list(place.program("parse_dates", columns=["d"], to="datetime").d) == [pandas.Timestamp("2026-01-31 10:30"), pandas.Timestamp("2026-02-01")]
    assert "is no date" in place.refuses("parse_dates", columns=["d"], format="%d.%m.%Y")


def test_clean_text(place: Place) -> None:
    frame = place.frame(s=["  Ab_c\r\n.", 'x  "y"', None, "."], n=[1, 2, 3, 4])
    got = place.program("clean_text", case="upper", to_blank="_", remove='\r\n"\'.\t', empty_is_null=True)
    expected = frame.s.str.upper().str.replace("_", " ").str.replace("[\r\n\"'.\t]", "", regex=True).str.replace(" +", " ", regex=True).str.strip().replace({"": None})
    same(got, pandas.DataFrame({"s": expected, "n": frame.n}))


def test_replace_values(place: Place) -> None:
    frame = place.frame(a=["x", "y", None], b=["x", "z", "y"], n=[1, 2, 1])
    same(place.program("replace_values", columns=["a", "n"], values={"x": "why", "y": None, "1": "10"}), frame.assign(a=["why", None, None], n=[10, 2, 10]))
    same(place.program("replace_values", values={"x": "X"}), frame.replace({"x": "X"}))
    assert "cannot hold `ten`" in place.refuses("replace_values", values={"1": "ten"})


def test_keep_in_domain(place: Place) -> None:
    frame = place.frame(s=["ACTIVE", "active", None, "PENDING"], k=[1, 2, 3, 4])
    same(place.program("keep_in_domain", column="s", values=["ACTIVE", "PENDING"], rejects="bad.csv"), frame[frame.s.isin(["ACTIVE", "PENDING"])])
    assert (place.place / "bad.csv").read_text().splitlines() == [
        "s,k,__reject_reason", "active,2,column `s`: `active` is not in the domain", ",3,column `s`: `null` is not in the domain"]
    same(place.program("keep_in_domain", column="k", values=[2, 3], nulls=True), frame[frame.k.isin([2, 3])])


def test_lookup_map(place: Place) -> None:
    frame = place.frame(code=[1, 2, 9, None], kind=["a", "b", "a", "a"], label=["old"] * 4)
    place.file("map.csv", "c,k,name,score\n1,a,one,0.5\n2,b,two,\n2,a,other,1\n")
    table = pandas.read_csv(place.place / "map.csv")
    merged = frame.merge(table, how="left", left_on=["code", "kind"], right_on=["c", "k"])
    place.file("map.jsonl", "".join(json.dumps({"c": float(c), "k": k, "name": n, "score": s}) + "\n" for c, k, n, s in
                                    ((1, "a", "one", 0.5), (2, "b", "two", None), (2, "a", "other", 1.5))))
    got = place.program("lookup_map", map="map.jsonl", on={"code": "c", "kind": "k"}, take={"name": "name", "score": "score", "label": "name"})
    same(got, frame.assign(label=merged["name"].where(merged["name"].notna(), "old"), name=merged["name"], score=merged["score"].where(merged["name"] != "two", None))[["code", "kind", "label", "name", "score"]])
    same(place.program("lookup_map", map="map.jsonl", on={"code": "c", "kind": "k"}, take={"name": "name"}, missing="reject"), got[got.name.notna()][["code", "kind"]].assign(label="old", name=["one", "two"]))
    place.file("map.jsonl", '{"c": 1.0, "n": "a"}\n{"c": 1.0, "n": "b"}\n')
    assert "the map has a key twice" in place.refuses("lookup_map", map="map.jsonl", on={"code": "c"}, take={"n": "n"})


def test_dedupe(place: Place) -> None:
    frame = place.frame(a=[1, 1, 2, 1, None, None], b=["x", "x", "y", "z", "q", "q"], n=[1, 2, 3, 4, 5, 6])
    for keep in ("first", "last"):
        same(place.program("dedupe", keys=["a", "b"], keep=keep), frame.drop_duplicates(["a", "b"], keep=keep))
    frame = place.frame(a=[1, 1, 2], b=["x", "x", "x"])
    same(place.program("dedupe"), frame.drop_duplicates())


def test_fill_null(place: Place) -> None:
    frame = place.frame(g=["a", "b", "a", "b", "a"], v=[None, 2.0, 1.0, None, 5.0], w=[9.0, 8.0, 7.0, 6.0, 5.0])
    groups = frame.groupby("g").v
    same(place.program("fill_null", columns=["v"], value="0"), frame.assign(v=frame.v.fillna(0)))
    same(place.program("fill_null", columns=["v"], **{"with": "column"}, column="w"), frame.assign(v=frame.v.fillna(frame.w)))
    same(place.program("fill_null", columns=["v"], **{"with": "forward"}, by=["g"]), frame.assign(v=groups.ffill()))
    for way in ("min", "max", "first", "last"):
        same(place.program("fill_null", columns=["v"], **{"with": way}, by=["g"]), frame.assign(v=frame.v.fillna(groups.transform(way))))


def test_filter(place: Place) -> None:
    frame = place.frame(a=[1, 2, 3, None], s=["x", "yy", None, "z"])
    same(place.program("filter", where="a >= 2 and s is not null", rejects="bad.parquet"), frame[(frame.a >= 2) & frame.s.notna()])
    assert len(pandas.read_parquet(place.place / "bad.parquet")) == 3
    assert "there is no column `nope`" in place.refuses("filter", where="nope = 1")


def test_case_when(place: Place) -> None:
    frame = place.frame(fills=[0, 3, None], kind=["a", "b", "c"])
    cases = [{"when": "fills = 0", "then": "N"}, {"when": "fills > 0", "then": "R"}]
    same(place.program("case_when", column="rx", cases=cases), frame.assign(rx=["N", "R", None]))
    same(place.program("case_when", column="rx", cases=cases, otherwise="?"), frame.assign(rx=["N", "R", "?"]))
    same(place.program("case_when", column="kind", cases=[{"when": "kind = 'b'", "then": None}]), frame.assign(kind=["a", None, "c"]))
    same(place.program("case_when", column="n", type="int", cases=[{"when": "kind = 'b'", "then": 5}], otherwise="-1"), frame.assign(n=[-1, 5, -1]))
    assert "cannot hold `N`" in place.refuses("case_when", column="fills", cases=cases)


def test_pick_row(place: Place) -> None:
    frame = place.frame(g=["a", "b", "a", "b", "a"], t=[3, 1, 1, 1, 3], k=[1, 2, 3, 4, 5])
    same(place.program("pick_row", by=["g"], order=["t"]), frame.sort_values("t", kind="stable").groupby("g").head(1).sort_index())
    same(place.program("pick_row", by=["g"], order=["t", "k"], which="last"), frame.sort_values(["t", "k"]).groupby("g").tail(1).sort_index())


def test_contracts_are_ends_too(place: Place) -> None:
    place.frame(id=[1, 2, 3], region=["EU", "US", "EU"])
    done = place.start_program("filter", {"input": "in.parquet", "output": "lake:acme/widget/ingest/orders", "run_id": "7", "partitions": ["region"], "where": "id > 1"})
    assert done.returncode == 0, done.stderr
    assert [(r["id"], r["region"], r[RUN_ID]) for r in place.rows("acme/widget/ingest/orders")] == [(3, "EU", 7), (2, "US", 7)]
    got = place.program("filter", "lake:acme/widget/ingest/orders", where="region = 'EU'", input_run="latest")
    assert list(got.id) == [3]
    assert "needs the id of a run" in place.refuses("filter", output="lake:acme/widget/ingest/orders", where="id > 1")
    assert "STATE is raw" in place.refuses("filter", output="lake:acme/../orders", where="id > 1", run_id="1")
    assert not os.path.exists("/tmp/elsewhere.parquet")
    assert place.refuses("filter", output="/tmp/elsewhere.parquet", where="id > 1")


def test_a_contract_of_a_pipeline_is_short(place: Place) -> None:
    place.frame(id=[1])
    assert "no pipeline says whose it is: write PARENT/CHILD/ingest/orders" in place.refuses("filter", output="lake:ingest/orders", where="id > 0", run_id="1")
    assert "`seven` is no number" in place.refuses("filter", output="lake:acme/widget/ingest/orders", where="id > 0", run_id="seven")


def test_raw_files_are_an_input(place: Place) -> None:
    raw = place.place / "lake" / "dev" / "local" / "acme" / "widget" / "raw"
    raw.mkdir(parents=True)
    for name, row in (("a-1.csv", 1), ("a-2.csv", 2), ("b.csv", 3)):
        (raw / name).write_text("id\n%d\n" % row)
        os.utime(raw / name, (1000 - row, 1000 - row))
    source = "lake:acme/widget/raw/"
    assert list(place.program("read_delimited", source + "a-*.csv").id) == [1, 2]
    assert list(place.program("read_delimited", source + "a-*.csv", input_run="latest").id) == [1]
    assert list(place.program("read_delimited", source + "b.csv").id) == [3]
    assert "there is no such file in the lake" in place.refuses("read_delimited", input=source + "c*.csv")


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    yield server
    server.stop()


def mirror(place: Place, sshd: Sshd, path: str = "", **settings: Any) -> Any:
    done = place.start_program("sftp_mirror", {"url": sshd.url(path), "key": sshd.key.read_text(), "host_key": sshd.fingerprint, "output": "lake:acme/widget/raw", **settings})
    return json.loads(done.stdout)["result"] if done.returncode == 0 else done.stdout + done.stderr


def test_sftp_mirror(place: Place, sshd: Sshd) -> None:
    raw = place.place / "lake" / "dev" / "local" / "acme" / "widget" / "raw"
    for name in ("a.csv", "b.csv", "c.txt"):
        (sshd.files / name).write_bytes(name.encode() * 1000)
        os.utime(sshd.files / name, (1_700_000_000, 1_700_000_000))
    (sshd.files / "below").mkdir()
    assert mirror(place, sshd, "*.csv") == {"files": 2, "bytes": 10000, "unchanged": 0, "names": ["a.csv", "b.csv"]}
    assert (raw / "b.csv").read_bytes() == b"b.csv" * 1000 and (raw / "b.csv").stat().st_mtime == 1_700_000_000
    assert mirror(place, sshd)["names"] == ["c.txt"]
    (sshd.files / "a.csv").write_text("other")
    assert mirror(place, sshd, "a.csv") == {"files": 1, "bytes": 5, "unchanged": 0, "names": ["a.csv"]}
    assert (raw / "a.csv").read_text() == "other" and mirror(place, sshd)["unchanged"] == 3
    assert sorted(path.name for path in raw.iterdir()) == ["a.csv", "b.csv", "c.txt"]
    assert "is no contract" in mirror(place, sshd, output="folder") and "is not the raw state" in mirror(place, sshd, output="lake:acme/widget/ingest/x")
    assert "has no file `*.zip`" in mirror(place, sshd, "*.zip") and "`most_mb` allows" in mirror(place, sshd, most_mb="0", output="lake:acme/other/raw")
    (sshd.files / "a b.csv").write_text("x")
    assert "leave it out with `pattern`" in mirror(place, sshd)


def test_sftp_mirror_goes_on_where_it_was_cut_off(place: Place, sshd: Sshd) -> None:
    """The connection ends in the middle; the next run fetches the rest, but of a file that has changed all of it."""
    big, flag, wrapper, conf = os.urandom(8_000_000), sshd.folder / "cut", sshd.folder / "sftp", sshd.folder / "conf"
    wrapper.write_text("#!/bin/sh\nif [ -e %s ]; then %s \"$@\" | (dd bs=32768 count=60; kill 0); else exec %s \"$@\"; fi\n" % (flag, SFTP_SERVER, SFTP_SERVER))
    wrapper.chmod(0o755)
    conf.write_text(conf.read_text().replace("sftp %s" % SFTP_SERVER, "sftp %s" % wrapper))
    sshd.kill_sessions()

    def begin(content: bytes, when: int) -> int:
        (sshd.files / "big.bin").write_bytes(content)
        os.utime(sshd.files / "big.bin", (when, when))
        flag.touch()
        assert isinstance(mirror(place, sshd, "big.bin"), str)
        flag.unlink()
        sizes = [part.stat().st_size for part in staging.glob("again-*/*.part") if "-%d." % when in part.name]
        assert len(sizes) == 1 and 0 < sizes[0] < 3_000_000
        return sizes[0]

    staging, raw = place.place / "lake" / ".staging", place.place / "lake" / "dev" / "local" / "acme" / "widget" / "raw"
    begin(big[::-1], 1_600_000_000)
    size = begin(big, 1_700_000_000)
    assert not raw.exists() or not list(raw.iterdir())
    done = place.start_program("sftp_mirror", {"url": sshd.url("big.bin"), "output": "lake:acme/widget/raw", "key": sshd.key.read_text(), "host_key": sshd.fingerprint})
    assert "went on at byte %d" % size in done.stdout + done.stderr and (raw / "big.bin").read_bytes() == big
    assert (raw / "big.bin").stat().st_mtime == 1_700_000_000 and not list(staging.iterdir())


def test_publish(place: Place, sshd: Sshd) -> None:
    place.frame(a=["x;y", None], n=[1, 2], __metadata_app_version=["1", "1"])

    def publish(**settings: Any) -> str:
        done = place.start_program("publish", {"input": "in.parquet", "url": sshd.url(), "key": sshd.key.read_text(), "host_key": sshd.fingerprint, **settings})
        return done.stdout + done.stderr

    assert '"files":1' in publish(name="out.csv", separator=";") and (sshd.files / "out.csv").read_text() == 'a;n\n"x;y";1\n;2\n'
    assert '"unchanged":1' in publish(name="out.csv", separator=";") and "was left as it is" in publish(name="out.csv")
    assert '"files":1' in publish(name="all.parquet", metadata=True) and list(pandas.read_parquet(sshd.files / "all.parquet")) == ["a", "n", "__metadata_app_version"]
    assert "{run_id} is known in the run of a pipeline only" in publish(name="o_{run_id}.csv") and "there is no {day}" in publish(name="o_{day}.csv")
    assert "is no name of a file" in publish(name="a/b.csv") and "cannot tell the form" in publish(name="b.dat") and "one character" in publish(name="b.csv", separator="ab")
    assert sorted(path.name for path in sshd.files.iterdir()) == ["all.parquet", "out.csv"] and not list((place.place / "lake" / ".staging").iterdir())


def test_funnel_query(place: Place) -> None:
    """Against the command that asks the same of the file, and against rows that runs of the lake have split."""
    frame = place.frame(user=["u%d" % (i % 50) for i in range(400)], at=pandas.to_datetime([10**9 * (i * 7919 % 100_000) for i in range(400)]), event=["abc"[i * i % 3] for i in range(400)],
                        place=["x" if i % 50 < 20 else "y" for i in range(400)], price=[i % 13 for i in range(400)])
    query = {"query": {"aggregations": [{"column": "place", "type": "sumPerValue", "otherColumn": "price"}]},
             "funnel": {"sequence": [{"filter": ["event", "==", "a"]}, {"filter": ["event", "==", "b"]}], "timeToConvert": True, "breakdown": {"column": "place"}},
             "retention": {"period": "day", "periods": 1, "first": {"filter": ["event", "==", "a"]}, "again": {"filter": ["event", "==", "b"]}}}
    asked = json.loads(subprocess.run([str(binary()), "query", "in.parquet", "--group", "user", "--time", "at", "--string", json.dumps(query), "--json"], cwd=place.place, check=True,
                                      capture_output=True, text=True, timeout=LIMIT_S).stdout)
    got = place.program("funnel_query", group="user", time="at", query=query)
    got = got.astype(object).where(got.notna(), None)

    def of(part: str, measure: str, step: Any = None) -> Dict[Any, float]:
        rows = got[(got.part == part) & (got.measure == measure) & (got.step.isna() if step is None else got.step == step)]
        return {value: number for value, number in zip(rows.value, rows.number)}

    assert of("query", "groups") == {None: asked["query"]["matchingGroups"]}
    summed = {key: value for one in asked["query"]["aggregations"] if one["type"] == "sumPerValue" for key, value in one["value"].items()}
    assert of("query", "sumPerValue") == summed == frame.groupby("place").price.sum().to_dict()
    for i, step in enumerate(asked["funnel"]["sequence"], 1):
        assert of("step", "groups", i) == {None: step["matchingGroups"]} and of("step", "rows", i) == {None: step["matchingGroupRows"]}
    times = asked["funnel"]["sequence"][1]["timeToConvert"]
    assert of("step", "timeToConvert", 2)["median"] == pytest.approx(times["median"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3}[times["unit"]])
    assert of("breakdown", "groups", 2) == {one["value"]: one["sequence"][1]["matchingGroups"] for one in asked["funnel"]["breakdown"]["values"]}
    assert of("cohort", "returned", 0) == {one["from"]: one["returned"][0] for one in asked["retention"]["cohorts"]}
    for run, rows in (("1", frame[::2]), ("2", frame[1::2])):
        rows.to_parquet(place.place / "half.parquet", index=False)
        place.start_program("read_delimited", {"input": "half.parquet", "output": "lake:acme/widget/enrich/events", "run_id": run, "partitions": ["event"]})
    same(place.program("funnel_query", "lake:acme/widget/enrich/events", group="user", time="at", query=query), got)
    assert "setting `group`: the input has no column `nobody`" in place.refuses("funnel_query", group="nobody", time="at", query=query)
    refused = place.refuses("funnel_query", group="user", time="at", query={"funnel": {"sequence": [{"filter": ["nope", "==", 1]}]}})
    assert "setting `query`: " in refused and "nope" in refused and "/proc" not in refused


def test_mistakes_name_the_setting_and_what_to_do(place: Place) -> None:
    place.file("in.csv", "id,status,amount,day\n1,a,x,01/31/2026\n")
    for name, told, settings in (
            ("read_delimited", "setting `input`: there is no file `none.csv` (paths begin at ", {"input": "none.csv"}),
            ("read_delimited", "setting `input`: there is no file `n*.csv` (paths begin at ", {"input": "n*.csv"}),
            ("read_delimited", "setting `output`: there is no directory for `none/o.csv`", {"output": "none/o.csv"}),
            ("read_delimited", "setting `output`: `o.jsonl` is no .csv: the setting `separator` is of those", {"output": "o.jsonl", "separator": ";"}),
            ("read_delimited", "setting `separator` takes one character", {"output": "o.csv", "separator": "ab"}),
            ("read_delimited", "the setting `partitions` is of contracts of the lake", {"partitions": ["id"]}),
            ("read_delimited", "setting `input_run`: the input is no contract of the lake", {"input_run": "latest"}),
            ("read_delimited", "setting `types`: the input has no column `amounts`: did you mean 'amount'?", {"types": {"amounts": "int"}}),
            ("cast_numbers", "setting `columns`: the input has no column `amonut`: did you mean 'amount'? (it has id, status, amount, day)", {"columns": ["amonut"]}),
            ("cast_numbers", "`x` is no number: mend it, or let the setting `bad` be null or reject", {"columns": ["amount"]}),
            ("parse_dates", "is no date as ISO 8601 has them (another way is said by `format`)", {"columns": ["day"]}),
            ("keep_in_domain", "setting `column`: the input has no column `stat`", {"column": "stat", "values": ["a"]}),
            ("lookup_map", "setting `map`: there is no file `none.csv`", {"map": "none.csv", "on": {"id": "id"}, "take": {"x": "y"}}),
            ("lookup_map", "setting `on`: the map has no column `key`", {"map": "in.csv", "on": {"id": "key"}, "take": {"x": "day"}}),
            ("lookup_map", "setting `take`: the map has no column `y`", {"map": "in.csv", "on": {"id": "id"}, "take": {"x": "y"}}),
            ("filter", "setting `where`: filter: there is no column `nope`", {"where": "nope = 1"}),
            ("case_when", "setting `cases`: filter: there is no column `idd`", {"column": "c", "cases": [{"when": "idd = 1", "then": 1}]}),
            ("case_when", "setting `type`: there is no type `money`", {"column": "c", "type": "money", "cases": [{"when": "id = 1", "then": 1}]})):
        assert told in place.refuses(name, **{"input": "in.csv", **settings}), (name, settings)
