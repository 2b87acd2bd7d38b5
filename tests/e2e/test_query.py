"""Queries over Parquet files: `tutti query` against a small evaluator that follows docs/semantics.md row by row, on random
tables full of ties and nulls, and against DuckDB and pandas on real histories."""
import fcntl
import json
import os
import random
import re
import struct
import subprocess
import termios

import pytest

np = pytest.importorskip("numpy", reason="numpy is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402
from query_cases import agree, ask, command_line, random_query, random_table, so_many, write  # noqa: E402
from tutti_process import binary  # noqa: E402


@pytest.mark.parametrize("seed", range(6))
def test_random_queries_agree_with_the_evaluator(tmp_path, seed, is_long):
    rng = random.Random(seed)
    path = tmp_path / "part.parquet"
    for _ in range(so_many(is_long, 60, 6)):
        rows = random_table(rng, rng.choice([0, 1, 30, 150]), rng.choice([1, 5, 20]), rng.random() < 0.3)
        write(path, rows, rng)
        for _ in range(8):
            query = random_query(rng)
            agree(rows, query, ask(path, query))


@pytest.mark.parametrize("seed", range(3))
def test_prepared_parts_give_the_same(tmp_path, seed, is_long):
    """Against the evaluator too, and made anew when the file changes."""
    rng = random.Random(seed + 50)
    path, cache = tmp_path / "part.parquet", tmp_path / "cache"
    for _ in range(so_many(is_long, 40, 5)):
        rows = random_table(rng, rng.choice([0, 1, 30, 150, 700]), rng.choice([1, 5, 20]), rng.random() < 0.3)
        write(path, rows, rng)
        done = command_line("parquet", "prepare", str(path), "--group", "user", "--time", "ts", "--cache", str(cache), "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["prepared"] == 1, done
        for _ in range(8):
            query = random_query(rng)
            answer = ask(path, query, "--prepared", "--cache", str(cache))
            agree(rows, query, answer)
            assert answer["stats"]["preparedParts"] == 1
    assert len(list(cache.iterdir())) == 1


def shifted(node, by):
    """A query whose literals of the time are later by so much."""
    if isinstance(node, list) and len(node) == 3 and node[0] == "ts":
        return [*node[:2], node[2] + by]
    if isinstance(node, dict) and node.get("column") == "ts":
        return {**node, "value": node["value"] + by}
    return [shifted(one, by) for one in node] if isinstance(node, list) else {k: shifted(v, by) for k, v in node.items()} if isinstance(node, dict) else node


@pytest.mark.parametrize("kind, first", [(pa.int32(), -20), (pa.float64(), -20.5), (pa.float16(), -20), (pa.timestamp("ms"), -20), (pa.timestamp("ns", "UTC"), -20), (pa.date32(), -20),
                                         (pa.int64(), 2**53), (pa.int64(), 1 - 2**63), (pa.uint64(), 2**63 - 60)], ids=str)
def test_times_of_all_types_mean_the_same(tmp_path, kind, first, is_long):
    """Also before 1970, and where doubles cannot tell them apart."""
    rng = random.Random(len(str(kind)))
    stored = pa.int64() if pa.types.is_timestamp(kind) else pa.int32() if pa.types.is_date(kind) else kind
    for _ in range(30 if is_long else 1):
        rows = random_table(rng, rng.choice([40, 150]), 8, rng.random() < 0.5)
        write(tmp_path / "numbers.parquet", rows, rng)
        table = pq.read_table(tmp_path / "numbers.parquet")
        times = [None if row["ts"] is None else np.float16(row["ts"] + first) if pa.types.is_float16(kind) else row["ts"] + first for row in rows]
        pq.write_table(table.set_column(1, "ts", pa.array(times, type=stored).view(kind)), tmp_path / "p.parquet", row_group_size=rng.choice([7, 1000]))
        for _ in range(3):
            query = random_query(rng)
            query.pop("retention", None), query.pop("timeframe", None)
            agree(rows, query, ask(tmp_path / "p.parquet", shifted(query, first)))


def test_several_files_are_added_up(tmp_path):
    rng = random.Random(99)
    tables = [[{**row, "user": None if row["user"] is None else row["user"] + 1000 * part} for row in random_table(rng, 200, 20, False)] for part in range(3)]
    paths = []
    for part, rows in enumerate(tables):
        paths.append(tmp_path / f"part-{part}.parquet")
        write(paths[-1], rows, rng)
    for _ in range(10):
        query = random_query(rng)
        agree([row for rows in tables for row in rows], query, ask(paths[0], query, *map(str, paths[1:])))


def test_time_to_convert_and_texts(tmp_path):
    rows = [{"user": u, "ts": t, "event": e, "country": None, "n": None, "price": None} for u, t, e in
            [(1, 0, "view"), (1, 5, "view"), (1, 9, "buy"), (2, 3, "view"), (2, 4, "buy"), (3, 1, "buy"), (3, 2, "view")]]
    write(tmp_path / "p.parquet", rows, random.Random(1))
    query = {"funnel": {"sequence": [{"filter": ["event", "==", "view"]}, {"filter": ["event", "==", "buy"]}], "timeToConvert": True,
                        "endAggregations": [{"column": "event", "type": "meanPerValue", "otherColumn": "ts", "name": "when"}]}}
    answer = ask(tmp_path / "p.parquet", query)
    times = answer["funnel"]["sequence"][1]["timeToConvert"]
    assert times == pytest.approx({"count": 2, "min": 1, "25%": 1.75, "median": 2.5, "75%": 3.25, "95%": 3.85, "max": 4, "mean": 2.5})
    assert answer["funnel"]["endAggregations"] == [{"column": "event", "type": "meanPerValue", "value": {"buy": 6.5, "view": 8 / 3}, "top": 10, "name": "when"}]
    shown = command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-e", json.dumps(query))
    assert shown.returncode == 0 and "3 groups match, with 7 of 7 rows" in shown.stdout and "66.7 %" in shown.stdout
    for older in ("-s", "--string-s"):
        assert command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", older, json.dumps(query)).stdout == shown.stdout


def test_each_step_at_the_end_that_must_not_happen_is_judged_alone(tmp_path):
    rows = [{"user": u, "ts": t, "event": e, "country": None, "n": None, "price": None} for u, t, e in
            [(1, 0, "view"), (2, 0, "view"), (2, 1, "buy"), (3, 0, "view"), (3, 1, "cart"), (4, 0, "cart"), (4, 0, "buy"), (4, 1, "view")]]
    write(tmp_path / "p.parquet", rows, random.Random(1))
    steps = [{"filter": ["event", "==", "view"]}, {"filter": ["event", "==", "cart"], "rowFound": False}, {"filter": ["event", "==", "buy"], "rowFound": False}]
    answer = ask(tmp_path / "p.parquet", {"funnel": {"sequence": steps}})
    assert [step["matchingGroups"] for step in answer["funnel"]["sequence"]] == [4, 3, 2]


def test_any_name_is_one_of_a_column(tmp_path):
    """Also those that an engine might use itself."""
    import pyarrow
    import pyarrow.parquet
    table = {"user id": [1, 1, 2, 2], "event time": [1, 2, 1, 5], "__cond_0": ["a", "b", "b", "a"], "ts_of_event_1": [7, 8, 9, 1], "$0": [True] * 4}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "p.parquet")
    query = {"funnel": {"sequence": [{"filter": ["__cond_0", "==", "a"]}, {"filter": ["ts_of_event_1", ">=", 8]}]}, "query": {"conditions": [{"filter": ["$0", "==", True]}]}}
    done = command_line("query", str(tmp_path / "p.parquet"), "-g", "user id", "-t", "event time", "-e", json.dumps(query), "--json")
    answer = json.loads(done.stdout)
    assert answer["query"] == {"matchingGroups": 2, "matchingGroupRows": 4}
    assert [step["matchingGroups"] for step in answer["funnel"]["sequence"]] == [2, 1]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """What somebody has lying about: a good file, and many that are none."""
    place = tmp_path_factory.mktemp("desk")
    write(place / "p.parquet", random_table(random.Random(3), 10, 3, False), random.Random(3))
    good = (place / "p.parquet").read_bytes()
    for name, content in (("cut.parquet", good[:len(good) // 2]), ("tail.parquet", good[len(good) // 2:]), ("none.parquet", b""), ("magic.parquet", b"PAR1"), ("note.txt", b"hello\n"),
                          ("text.parquet", b"user,ts\n1,2\n" * 9), ("foot.parquet", good[:-8] + b"\0\0\0\x7fPAR1"), ("x.csv", b"user,ts\n1,2\n"), ("double.csv", b"a,a\n1,2\n"),
                          ("wide.csv", b"a,b\n1,2,3\n"), ("days.csv", b"a,t\n1,31.1.2026\n"), ("latin.csv", b"a\n\xff\n"), ("empty.csv", b""), ("nothing.jsonl", b"{}\n"), ("half.jsonl", b'{"a":1}\n{"a":\n'), ("lists.jsonl", b"[1]\n"),
                          ("half.json", b'{"query":'), ("single.json", b"{'query':{}}"), ("empty.json", b""), ("twice.json", b'{"query":{},"query":{}}'),
                          ("large.json", b'{"query":{"conditions":[{"filter":["n","==",99999999999999999999]}]}}')):
        (place / name).write_bytes(content)
    (place / "directory.parquet").mkdir(), (place / "days").mkdir(), (place / "days" / "x.csv").write_text("a\n1\n")
    os.mkfifo(place / "pipe.parquet")
    (place / "lost.parquet").symlink_to("/nowhere/at/all")
    return place


COLUMNS = ["-g", "user", "-t", "ts"]
FILE = ["query", "p.parquet", *COLUMNS]
WRONG = [
    # the question
    (["query"], 2, "DATASET|FILE... is missing"), (["query", "p.parquet"], 2, "queries of files need --group COLUMN and --time COLUMN"), (FILE, 2, "no query is given: give the query once"),
    ([*FILE, "-e", "{}", "--empty"], 2, "several queries are given"), ([*FILE, "-e"], 2, "flag `--string` needs a value"), ([*FILE, "-e", ""], 2, "it is empty, and {} asks for all groups"),
    (["query", "p.parquet", "--time", "ts", "--empty"], 2, "queries of files need --group COLUMN"), (["query", "p.parquet", "-g", "", "-t", "ts", "--empty"], 2, "--group is missing"),
    ([*FILE, "-e", "{"], 2, "the query is not JSON"), ([*FILE, "-e", '{"blah":1}'], 2, "ValidationError(SCHEMA: Additional properties are not allowed ('blah' was unexpected))"),
    ([*FILE, "-e", '{"query":{"conditions":[{"filter":["event","regex","("]}]}}'], 2, "the regular expression '(' cannot be read"),
    ([*FILE, "-f", "half.json"], 2, "the query is not JSON"), ([*FILE, "-f", "single.json"], 2, "names and texts stand in double quotes"), ([*FILE, "-f", "empty.json"], 2, "it is empty"),
    ([*FILE, "-f", "twice.json"], 2, "name each member once"), ([*FILE, "-f", "large.json"], 2, "larger ones are written with an exponent, like 1e19"),
    ([*FILE, "-f", "nothing.json"], 4, "cannot open `nothing.json`: No such file"), ([*FILE, "-f", "days"], 2, "`days` is not a file"), ([*FILE, "-f", "-"], 2, "it is empty"),
    ([*FILE, "--empty", "--threads", "x"], 2, "`x` is not a whole number"), ([*FILE, "--empty", "--threads", "9" * 30], 2, "is too large"), ([*FILE, "--emty"], 2, "did you mean `--empty`?"),
    # the columns
    (["query", "p.parquet", "-g", "usr", "-t", "ts", "--empty"], 2, "Column usr not found in file p.parquet: did you mean 'user'? Its columns are user, ts, event, country, n, price"),
    (["query", "p.parquet", "-g", "user", "-t", "when it was", "--empty"], 2, "Column when it was not found in file p.parquet: its columns are user, ts"),
    (["query", "p.parquet", "-g", "price", "-t", "ts", "--empty"], 2, "must be either integer or string, but found: FLOAT in p.parquet: write whole numbers or text there"),
    (["query", "p.parquet", "-g", "user", "-t", "event", "--empty"], 2, "Column event is not numeric but STRING in p.parquet: write it as numbers or timestamps (of CSV: tutti parquet convert --column 'event=datetime')"),
    (["query", "p.parquet", "-g", "\udcff", "-t", "ts", "--empty"], 2, "Column \udcff not found"), (["query", "p.parquet", "-g", "u" * 100000, "-t", "ts", "--empty"], 2, "not found in file p.parquet"),
    # the files
    *[(["query", name, *COLUMNS, "--empty"], code, text) for name, code, text in (
        ("nothing.parquet", 4, "a dataset has its own columns: leave out --group and --time): No such file"), ("n" * 300 + ".parquet", 2, "File name too long"), ("lost.parquet", 4, "No such file"),
        ("days", 2, "days is a directory: give its files (days/*.parquet)"), ("directory.parquet", 2, "is a directory"), ("pipe.parquet", 2, "not a regular file"),
        ("note.txt", 1, "only 6 bytes long: it looks like text"), ("text.parquet", 1, "it looks like text: tutti parquet convert makes Parquet"), ("none.parquet", 1, "it is empty"),
        ("cut.parquet", 1, "its end is missing: was it written and copied to the end?"), ("magic.parquet", 1, "its end is missing"), ("tail.parquet", 1, "does not begin and end with PAR1"),
        ("foot.parquet", 1, "is longer than the file: it is damaged or cut off"))],
    # the output
    ([*FILE, "--empty", "--export"], 2, "flag `--export` needs a value"), ([*FILE, "--empty", "--export", "x.json"], 2, "name it .parquet or .csv"), ([*FILE, "--empty", "--export", "-"], 2, "name it .parquet or .csv"),
    ([*FILE, "--empty", "--export", "nowhere/x.csv"], 4, "nowhere/x.csv: cannot create, its directory is not there"), ([*FILE, "--empty", "--export", "p.parquet"], 2, "is one of the files that are asked"),
    ([*FILE, "--empty", "--export", "directory.parquet"], 2, "directory.parquet is a directory: give the name of a file in it"), ([*FILE, "--empty", "--export-step", "1"], 2, "give --export FILE"),
    ([*FILE, "--empty", "--export", "y.csv", "--export-step", "99"], 2, "a funnel of 0 steps"), ([*FILE, "--empty", "--export", "y.csv", "--export-step", "9" * 12], 2, "a funnel has at most 64"),
    # converting
    (["parquet", "convert", "note.txt", "y.parquet"], 2, "note.txt: its name does not say what it is: let it end in .csv, .tsv, .jsonl"), (["parquet", "convert", "days", "y.parquet"], 2, "days is a directory"),
    (["parquet", "convert", "nothing.csv", "y.parquet"], 4, "nothing.csv: cannot open"), (["parquet", "convert", "x.csv", "y.xls"], 2, "one must end in .parquet"), (["parquet", "convert", "x.csv"], 2, "OUTPUT is missing"),
    (["parquet", "convert", "x.csv", "nowhere/y.parquet"], 4, "cannot create, its directory is not there"), (["parquet", "convert", "x.csv", "directory.parquet"], 2, "is a directory: give the name of a file"),
    (["parquet", "convert", "days.csv", "y.parquet", "--column", "t=datetime"], 2, "`31.1.2026` is no datetime: ISO 8601 is read"), (["parquet", "convert", "x.csv", "y.parquet", "--column", "ts=number"], 2, "no type `number`"),
    (["parquet", "convert", "x.csv", "y.parquet", "--column", "usr=int"], 4, "column `usr`: not in the header"), (["parquet", "convert", "x.csv", "y.parquet", "--codec", "lzo"], 2, "use zstd, snappy"),
    (["parquet", "convert", "double.csv", "y.parquet"], 2, "stands twice in the header"), (["parquet", "convert", "wide.csv", "y.parquet"], 2, "the row has 3 cells, the header 2: mend or remove it"),
    (["parquet", "convert", "latin.csv", "y.parquet"], 2, "the row is not UTF-8"), (["parquet", "convert", "empty.csv", "y.parquet"], 2, "is empty: a CSV file needs a header line"),
    (["parquet", "convert", "nothing.jsonl", "y.parquet"], 2, "nothing.jsonl: no record has a member"), (["parquet", "convert", "half.jsonl", "y.parquet"], 2, "record 2, at byte 8: a value is missing"), (["parquet", "convert", "lists.jsonl", "y.parquet"], 2, "record 1 is not an object"),
    (["parquet", "convert", "cut.parquet", "y.csv"], 1, "its end is missing"), (["parquet", "convert", "p.parquet", "y.parquet", "--column", "n=float"], 2, "a Parquet input has its types"),
    # looking
    (["parquet", "schema", "x.csv"], 1, "it looks like text"), (["parquet", "head", "p.parquet", "--columns", "nope"], 4, "`tutti parquet schema` lists the columns"), (["parquet", "cat", "pipe.parquet"], 2, "not a regular file"),
    (["parquet", "head", "p.parquet", "-n", "x"], 2, "`x` is not a whole number"), (["parquet", "prepare", "p.parquet"], 2, "--group is missing"),
    (["parquet", "prepare", "p.parquet", "-g", "user", "--timestamp", "when", "--cache", "c"], 2, "Column when not found in file p.parquet"),
    (["parquet", "prepare", "p.parquet", *COLUMNS, "--cache", "c", "--cache-size", "1"], 1, "raise --cache-size"), (["parquet", "prepare", "cut.parquet", *COLUMNS, "--cache", "c"], 1, "its end is missing"),
    ([*FILE, "--empty", "--prepared", "--cache", "note.txt"], 2, "`note.txt` is no directory: --cache names"), ([*FILE, "--empty", "--prepared", "--cache", "/proc/nope"], 4, "cannot make the directory `/proc/nope`"),
    # dividing
    (["dataset", "repartition", "days", "out", "--group", "user"], 4, "no files of days match *.parquet"), (["dataset", "repartition", "p.parquet", "days", "--group", "user"], 5, "days is there already"),
    (["dataset", "repartition", "p.parquet", "out", "--group", "usr"], 2, "Column usr not found in file p.parquet: did you mean 'user'?"), (["dataset", "repartition", "p.parquet", "out"], 2, "--group is missing"),
    (["dataset", "repartition", "p.parquet", "out", "--group", "user", "--parts", "0"], 2, "--parts takes 1 to 10000"), (["dataset", "repartition", "p.parquet", "nowhere/out", "--group", "user"], 4, "No such file"),
]


@pytest.mark.parametrize("arguments, code, text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said(desk, arguments, code, text):
    done = subprocess.run([str(binary()), *arguments], cwd=desk, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="surrogateescape", timeout=120)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr[:700]
    assert done.stderr.count("\n") == 1 and not (desk / "y.parquet").exists() and not (desk / "y.csv").exists() and not (desk / "out").exists()


def on_terminal(columns, *arguments, code=0, **environment):
    """Lines as a terminal of so many columns shows them; both streams."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen([str(binary()), *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", **environment}) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError: # the other side is closed
                break
            shown += chunk
            if not chunk:
                break
    os.close(ours)
    assert process.returncode == code, shown
    return shown.decode().replace("\r\n", "\n").split("\n")


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_an_answer_fits_the_terminal(tmp_path, columns):
    rng = random.Random(7)
    rows = [{**row, "country": {"de": "Deutschland", "fr": "la R\u00e9publique fran\u00e7aise", "us": "u", None: None}[row["country"]]} for row in random_table(rng, 4000, 1500, False)]
    write(tmp_path / "p.parquet", rows, rng)
    query = {"query": {"aggregations": [{"column": "country", "type": "countPerValue", "name": "rows"}]},
             "funnel": {"sequence": [{"filter": ["event", "==", event]} for event in ("view", "cart", "buy")], "timeToConvert": True, "breakdown": {"column": "country"},
                        "stepAggregations": [{"column": "price", "type": "count"}]}, "retention": {"period": 5, "periods": 20}}
    asked = ["query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-e", json.dumps(query)]
    shown, answer = on_terminal(columns, *asked), ask(tmp_path / "p.parquet", query)
    assert not [line for line in shown if len(line) > columns and not re.match(r"[\d,]+ groups match|came back", line)], shown
    assert not any("\x1b" in line for line in shown)
    steps = [line for line in shown if re.match(r"  [123]  [\u2588\u00b7]+ ", line)]
    for step, line in zip(answer["funnel"]["sequence"], steps, strict=True):
        assert " %s " % format(step["matchingGroups"], ",") in line
    assert len([line for line in shown if "median" in line]) == 2 == len([line for line in shown if "of the step before" in line])
    for value in answer["funnel"]["breakdown"]["values"]:
        [line] = [line for line in shown if line.startswith("  " + value["value"][:8]) and "%" in line]
        assert re.split(r" +", line.split("%")[1].strip()) == [format(step["matchingGroups"], ",") for step in value["sequence"]]
    assert "countPerValue of country (rows):" in shown and "step 3: count of price: %s" % format(answer["funnel"]["sequence"][2]["aggregations"][0]["value"], ",") in shown
    assert "  (periods up to 20: --json shows them)" in shown
    piped = command_line(*asked).stdout
    assert len(max(piped.split("\n"), key=len)) > 80


def test_progress_is_for_terminals(tmp_path):
    for i in range(3):
        write(tmp_path / ("p%d.parquet" % i), [{**row, "user": row["user"] and row["user"] + 100 * i} for row in random_table(random.Random(i), 50, 5, False)], random.Random(1))
    asked = ["query", *(str(tmp_path / ("p%d.parquet" % i)) for i in range(3)), "-g", "user", "-t", "ts", "--empty"]
    shown = on_terminal(80, *asked)[0]
    assert "1 of 3 parts" in shown and re.search(r"\r\x1b\[K\d+ groups match, with \d+ of \d+ rows$", shown), shown
    broken = bytearray((tmp_path / "p2.parquet").read_bytes())
    broken[4:200] = bytes(196)
    (tmp_path / "p2.parquet").write_bytes(broken)
    query = ["-e", '{"query":{"aggregations":[{"column":"event"},{"column":"n"}]}}', "--threads", "1"]
    failed = on_terminal(80, *asked[:-1], *query, code=1)[0]
    assert re.search(r"1 of 3 parts\r2 of 3 parts\r\x1b\[K\S*tutti:\S* .*p2.parquet", failed), failed
    failed = on_terminal(80, *asked[:-1], *query, "--quiet", code=1)[0]
    assert "of 3 parts" not in failed and "p2.parquet" in failed
    asked = [one for one in asked if "p2" not in one]
    done = command_line(*asked)
    assert done.stderr == "" and re.fullmatch(r"\d+ groups match, with \d+ of \d+ rows\n", done.stdout)
    assert json.loads("".join(on_terminal(80, *asked, "--json")))["schema"] == 1


def test_a_file_of_text_is_told_what_to_become(tmp_path):
    (tmp_path / "x.csv").write_text("user,ts\n1,2\n")
    done = command_line("query", str(tmp_path / "x.csv"))
    assert done.returncode == 2 and "tutti parquet convert %s/x.csv %s/x.parquet" % (tmp_path, tmp_path) in done.stderr, done.stderr
    write(tmp_path / "p.parquet", random_table(random.Random(3), 10, 3, False), random.Random(3))
    (tmp_path / "p.parquet").rename(tmp_path / "p.csv")
    assert command_line("query", str(tmp_path / "p.csv"), "--group", "user", "--time", "ts", "--empty").returncode == 0


def test_a_real_history_agrees_with_duckdb(shared):
    duckdb = pytest.importorskip("duckdb")
    path = shared / "events" / "gitlog_events.parquet"
    events = ["commit", "add", "modify"]
    query = {"funnel": {"sequence": [{"filter": ["event", "==", e]} for e in events]},
             "query": {"conditions": [{"filter": ["event", "==", "modify"], "target": ["count", ">=", 5]}]}}
    done = command_line("query", str(path), "-g", "userid", "-t", "ts", "-e", json.dumps(query), "--json")
    answer = json.loads(done.stdout)
    steps = ["SELECT userid, min(ts) t FROM ev WHERE event='%s' GROUP BY userid" % events[0]]
    steps += ["SELECT e.userid, min(e.ts) t FROM ev e JOIN s%d s ON e.userid=s.userid AND e.ts>s.t WHERE event='%s' GROUP BY e.userid" % (i, e)
              for i, e in enumerate(events[1:])]
    sql = "WITH m AS (SELECT userid FROM '%s' WHERE event='modify' GROUP BY userid HAVING count(*) >= 5), ev AS (SELECT * FROM '%s' WHERE userid IN (SELECT userid FROM m)), %s" % (
        path, path, ", ".join("s%d AS (%s)" % (i, s) for i, s in enumerate(steps)))
    counts = duckdb.sql(sql + " SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM ev), " + ", ".join("(SELECT count(*) FROM s%d)" % i for i in range(3))).fetchall()[0]
    got = [answer["query"]["matchingGroups"], answer["query"]["matchingGroupRows"]] + [s["matchingGroups"] for s in answer["funnel"]["sequence"]]
    assert got == list(counts)


# ---- breakdowns and retention, in the words of others ----

BREAKDOWN = {"funnel": {"sequence": [{"filter": ["event", "==", e]} for e in ("commit", "add", "modify")], "breakdown": {"column": "repo", "top": 5}}}


def test_a_breakdown_of_a_real_history_agrees_with_duckdb(shared):
    duckdb = pytest.importorskip("duckdb")
    path = shared / "events" / "gitlog_events.parquet"
    breakdown = ask_history(path, BREAKDOWN)["funnel"]["breakdown"]
    rows = duckdb.sql("""
        WITH ev AS (SELECT userid, ts, event, repo FROM '%s'),
        s0 AS (SELECT userid, min(ts) t FROM ev WHERE event = 'commit' GROUP BY userid),
        s1 AS (SELECT e.userid, min(e.ts) t FROM ev e JOIN s0 s ON e.userid = s.userid AND e.ts > s.t WHERE event = 'add' GROUP BY e.userid),
        s2 AS (SELECT e.userid, min(e.ts) t FROM ev e JOIN s1 s ON e.userid = s.userid AND e.ts > s.t WHERE event = 'modify' GROUP BY e.userid),
        entry AS (SELECT e.userid, min(e.repo) repo FROM ev e JOIN s0 ON e.userid = s0.userid AND e.ts = s0.t WHERE event = 'commit' GROUP BY e.userid)
        SELECT repo, count(*), count(s1.t), count(s2.t) FROM entry LEFT JOIN s1 USING (userid) LEFT JOIN s2 USING (userid) GROUP BY repo
        ORDER BY 2 DESC, encode(repo)""" % path).fetchall()
    assert [(one["value"], *(step["matchingGroups"] for step in one["sequence"])) for one in breakdown["values"]] == rows[:5]
    assert [step["matchingGroups"] for step in breakdown["others"]["sequence"]] == [sum(row[i] for row in rows[5:]) for i in (1, 2, 3)]
    assert breakdown["others"]["values"] == len(rows) - 5 and "without" not in breakdown


def ask_history(path, query):
    done = command_line("query", str(path), "-g", "userid", "-t", "ts", "-e", json.dumps(query), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RETENTION = {"retention": {"first": {"filter": ["event", "==", "commit"]}, "again": {"filter": ["event", "==", "modify"]}, "period": "month", "periods": 5}}


def test_retention_in_a_real_history_agrees_with_duckdb(shared):
    duckdb = pytest.importorskip("duckdb")
    path = shared / "events" / "gitlog_events.parquet"
    got = ask_history(path, RETENTION)["retention"]
    f = "f AS (SELECT userid, min(ts) t FROM '%s' WHERE event = 'commit' GROUP BY userid)" % path
    rows = duckdb.sql("""WITH %s, came AS (SELECT DISTINCT e.userid, datediff('month', f.t, e.ts) AS later
                         FROM '%s' e JOIN f ON e.userid = f.userid AND e.ts >= f.t WHERE event = 'modify')
                         SELECT strftime(f.t, '%%Y-%%m'), later, count(*) FROM f JOIN came USING (userid) WHERE later <= 5 GROUP BY ALL""" % (f, path)).fetchall()
    cohorts = duckdb.sql("""WITH %s, last AS (SELECT max(ts) t FROM '%s') SELECT strftime(f.t, '%%Y-%%m'), any_value(datediff('month', f.t, last.t)), count(*)
                            FROM f, last GROUP BY 1 ORDER BY 1""" % (f, path)).fetchall()
    came = {(start, later): count for start, later, count in rows}
    assert [(cohort["from"], cohort["groups"], cohort["returned"]) for cohort in got["cohorts"]] == [
        (start, groups, [came.get((start, later), 0) for later in range(min(5, seen) + 1)]) for start, seen, groups in cohorts]


def test_a_breakdown_and_retention_agree_with_pandas(tmp_path):
    pd = pytest.importorskip("pandas")
    rng = random.Random(17)
    rows = random_table(rng, 400, 40, False)
    write(tmp_path / "p.parquet", rows, rng)
    df = pd.DataFrame(rows).dropna(subset=["user", "ts"])
    query = {"funnel": {"sequence": [{"filter": ["event", "==", "view"]}, {"filter": ["event", "==", "buy"]}], "breakdown": {"column": "country"}},
             "retention": {"first": {"filter": ["event", "==", "view"]}, "period": 10, "periods": 3}}
    answer = ask(tmp_path / "p.parquet", query)
    views = df[df.event == "view"]
    t0 = views.groupby("user").ts.min()
    buys = df[(df.event == "buy") & (df.ts > df.user.map(t0))].user.unique()
    entries = views[views.ts == views.user.map(t0)].groupby("user").country.min()
    want = entries.value_counts()
    got = {one["value"]: [step["matchingGroups"] for step in one["sequence"]] for one in answer["funnel"]["breakdown"]["values"]}
    assert got == {country: [count, int(entries[entries == country].index.isin(buys).sum())] for country, count in want.items()}
    cohorts = (t0 // 10).value_counts()
    came = views[views.ts >= views.user.map(t0)]
    later = (came.ts // 10 - came.user.map(t0) // 10)
    for cohort in answer["retention"]["cohorts"]:
        members = t0[t0 // 10 == int(cohort["from"]) // 10].index
        assert cohort["groups"] == cohorts[int(cohort["from"]) // 10]
        assert cohort["returned"] == [came[(later == k) & came.user.isin(members)].user.nunique() for k in range(len(cohort["returned"]))]
    assert sum(cohort["groups"] for cohort in answer["retention"]["cohorts"]) == len(t0)


@pytest.mark.parametrize("unit, scale", [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_periods_of_the_calendar(tmp_path, unit, scale):
    """Days, weeks from Monday and months of columns of times in each unit, also before 1970."""
    import datetime as dt

    import pyarrow as pa
    import pyarrow.parquet as pq
    moments = [dt.datetime(1969, 12, 31, 23, 59), dt.datetime(2024, 2, 29, 12), dt.datetime(2024, 3, 4), dt.datetime(2024, 3, 31, 23, 59, 59), dt.datetime(2024, 4, 1)]
    table = pa.table({"user": list(range(len(moments))), "ts": pa.array(moments, pa.timestamp(unit))})
    pq.write_table(table, tmp_path / "p.parquet", version="2.6")
    want = {"day": lambda m: m.date().isoformat(), "week": lambda m: (m.date() - dt.timedelta(days=m.weekday())).isoformat(), "month": lambda m: m.strftime("%Y-%m"),
            "12h": lambda m: m.replace(hour=m.hour // 12 * 12, minute=0, second=0).isoformat() + "Z"}
    for period, start in want.items():
        answer = ask(tmp_path / "p.parquet", {"retention": {"period": period, "periods": 2}})["retention"]
        assert [(c["from"], c["groups"]) for c in answer["cohorts"]] == [(start_, sum(start(m) == start_ for m in moments)) for start_ in sorted({start(m) for m in moments})], period
        assert answer["period"] == period


def test_retention_of_a_column_of_floats(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    pq.write_table(pa.table({"user": [1, 1, 1, 2, 2, 3], "ts": [-0.5, 0.5, 2.0, 1.5, 1.5, float("nan")]}), tmp_path / "p.parquet")
    got = ask(tmp_path / "p.parquet", {"retention": {"period": 1, "periods": 3}})["retention"]
    assert got["cohorts"] == [{"from": "-1", "groups": 1, "returned": [1, 1, 0, 1]}, {"from": "1", "groups": 1, "returned": [1, 0]}]
    assert got["totals"] == [{"groups": 2, "returned": 2}, {"groups": 2, "returned": 1}, {"groups": 1, "returned": 0}, {"groups": 1, "returned": 1}]


@pytest.mark.parametrize("query, text", [
    ({"retention": {}}, "'period' is a required property"),
    ({"retention": {"period": 0}}, "0 is less than the minimum of 1"),
    ({"retention": {"period": 1, "periods": 367}}, "367 is greater than the maximum of 366"),
    ({"retention": {"period": "day"}}, "the timestamp column 'ts' holds numbers: give a number in its units"),
    ({"retention": {"period": 1, "first": {"filter": ["nope", "==", 1]}}}, "Column 'nope' not in dataset"),
    ({"funnel": {"sequence": [{"filter": ["n", "==", 1]}], "breakdown": {"column": "nope"}}}, "Column 'nope' not in dataset"),
    ({"funnel": {"sequence": [{"filter": ["n", "==", 1]}], "breakdown": {}}}, "'column' is a required property"),
])
def test_what_is_wrong_with_a_breakdown_or_retention(tmp_path, query, text):
    write(tmp_path / "p.parquet", random_table(random.Random(3), 10, 3, False), random.Random(3))
    done = command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-e", json.dumps(query))
    assert (done.returncode, text in done.stderr) == (2, True), done.stderr
