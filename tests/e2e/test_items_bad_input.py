"""Input that is broken, hostile or merely odd: it becomes error items with reasons, everything around it is served, and the server lives."""
import csv
import gzip
import json
import random

import pytest

from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl


@pytest.fixture
def server(common):
    return common


@pytest.fixture
def wire(server):
    return Wire(server.url)


def outcome(wire, name):
    """Values by id, and errors by id, when a job has been served to its end."""
    served = {}
    while (body := wire.post("/serve", job_name=name, batch_size=10000)).body != b"[]":
        assert body.status == 200, body
        served.update(json.loads(body.body))
        wire.give(name, [[i, []] for i in json.loads(b"[" + b",".join(b"%d" % i for i, _ in json.loads(body.body)) + b"]")])
    until(lambda: wire.report(name)["status"] == "COMPLETE", "the end of the job")
    errors, after = {}, None
    while True:
        page = wire.get(f"/v1/jobs/{name}/errors", after=after).json()
        errors.update({e["id"]: e["reason"] for e in page["errors"]})
        after = page["next"]
        if after is None:
            return served, errors


# ---- JSON ----


def parsing_cases(shared, kind):
    cases = sorted((shared / "json" / "JSONTestSuite" / "test_parsing").glob(f"{kind}_*.json"))
    return [(path.name, path.read_bytes()) for path in cases]


def as_lines(cases):
    """Cases that fit in one line; a form feed or NUL is no line end."""
    return [(name, data) for name, data in cases if b"\n" not in data.strip() and b"\r" not in data.strip() and data.strip()]


@pytest.mark.parametrize("kind", ["y", "n", "i"])
def test_json_conformance_as_items(wire, server, shared, kind):
    """y_ is served, n_ is an error item, i_ either; and none of them disturbs its neighbours."""
    cases = as_lines(parsing_cases(shared, kind))
    lines = [b'{"before":true}']
    for _, data in cases:
        lines += [data.strip(b" \t\n\r"), b'{"after":true}']
    (server.cwd / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    wire.start("j", "in.jsonl", "out.jsonl")
    served, errors = raw_outcome(wire, "j")
    assert len(served) + len(errors) == len(lines)
    for i, (name, data) in enumerate(cases):
        at = 2 * i + 1
        assert served[at + 1] == b'{"after":true}', name
        if kind == "y":
            assert served.get(at) == lines[at], (name, errors.get(at))
        elif kind == "n" and not allowed(data):
            assert at in errors, (name, served.get(at))
            assert f"line {at + 1}" in errors[at], name
        else:
            assert (at in served) != (at in errors), name


def allowed(data):
    """NaN and Infinity pass, as they did in the older service."""
    try:
        json.loads(data)
        return True
    except (ValueError, RecursionError):
        return False


def raw_outcome(wire, name):
    """As outcome(), but with the bytes of each value: what a JSON library of ours would make of them does not matter here."""
    served = {}
    while (body := wire.post("/serve", job_name=name, batch_size=1).body) != b"[]":
        id_, _, value = body[2:-2].partition(b",")
        served[int(id_)] = value
        wire.give(name, [[int(id_), {}]])
    until(lambda: wire.report(name)["status"] == "COMPLETE", "the end of the job")
    return served, {e["id"]: e["reason"] for e in wire.errors(name)}


@pytest.mark.parametrize("kind", ["y", "n", "i"])
def test_json_conformance_as_results(wire, server, shared, kind):
    write_jsonl(server.cwd / "in.jsonl", numbered(400))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 400)
    count = 0
    for i, (name, data) in enumerate(parsing_cases(shared, kind)):
        answer = wire.receive("j", b'[[%d,{"v":' % i + data + b"}]]")
        if kind == "y":
            assert answer.body == b"null", (name, answer)
        elif kind == "n" and not allowed(b'[[0,{"v":' + data + b"}]]"):
            assert (answer.status, answer.detail) == (400, "There was an error parsing the body"), name
        else:
            assert answer.status in (200, 400), (name, answer)
        count += answer.status == 200
    out = (server.cwd / "out.jsonl").read_bytes()
    assert out.count(b"\n") == count == wire.report("j")["received"], "one line per result, whatever it holds"
    for line in out.splitlines():
        assert line.startswith(b'{"v":') and line.endswith(b"}")


def test_json_conformance_as_metadata(wire, server, shared):
    for name, data in parsing_cases(shared, "n"):
        answer = wire.post("/scramble", b'{"input_file_path":' + data + b"}", job_name="x", reader_name="", writer_name="")
        assert answer.status in (400, 422), (name, answer)
    for name, data in parsing_cases(shared, "y") + parsing_cases(shared, "i"):
        answer = wire.post("/scramble", b'{"input_file_path":' + data + b"}", job_name="x", reader_name="", writer_name="")
        assert answer.status in (400, 403), (name, answer)
        answer = wire.post("/v1/jobs", b'{"name":"x","input":' + data + b"}")
        assert answer.status in (400, 403, 404), (name, answer)
    assert wire.get("/v1/jobs").json()["jobs"] == []


def test_values_that_parsers_see_differently(wire, server, shared):
    """Byte for byte: duplicate members, odd numbers and lone surrogates reach the client and the output as they are."""
    cases = [p.read_bytes().strip() for p in sorted((shared / "json" / "JSONTestSuite" / "test_transform").glob("*.json"))]
    cases = [c for c in cases if b"\n" not in c and is_utf8(c)]
    assert len(cases) > 10
    (server.cwd / "in.jsonl").write_bytes(b"\n".join(cases) + b"\n")
    wire.start("j", "in.jsonl", "out.jsonl")
    body = wire.post("/serve", job_name="j", batch_size=1000).body
    assert body == b"[" + b",".join(b"[%d,%s]" % (i, c) for i, c in enumerate(cases)) + b"]"
    wire.give("j", body)
    assert (server.cwd / "out.jsonl").read_bytes() == b"".join(c + b"\n" for c in cases)


def is_utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


BAD_UTF8 = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf0\x82\x82\xac"]


@pytest.mark.parametrize("reader", ["JsonlReader", "CsvReader"])
def test_bytes_that_are_not_utf8(wire, server, reader):
    if reader == "JsonlReader":
        lines = [b'{"a":"%s"}' % (bad if i % 2 else b"fine") for i, bad in enumerate(b for bad in BAD_UTF8 for b in (bad, bad))]
    else:
        lines = [b"a,b"] + [b"x%s,%d" % (bad if i % 2 else b"fine", i) for i, bad in enumerate(b for bad in BAD_UTF8 for b in (bad, bad))]
    (server.cwd / "in").write_bytes(b"\n".join(lines) + b"\n")
    wire.start("j", "in", "out.jsonl", reader=reader)
    served, errors = outcome(wire, "j")
    assert sorted(served) == list(range(0, 16, 2))
    assert sorted(errors) == list(range(1, 16, 2))
    assert all("UTF-8" in reason for reason in errors.values())
    for row in read_jsonl(server.cwd / "out.jsonl.rejects.jsonl"):
        assert row["id"] in errors and row["text"]


def test_nul_bytes(wire, server):
    (server.cwd / "in.jsonl").write_bytes(b'{"a":1}\n\0\n{"a":"\0"}\n\0{"a":2}\n{"a":3}\0\n{"a":"\\u0000"}\n')
    wire.start("j", "in.jsonl", "out.jsonl")
    served, errors = outcome(wire, "j")
    assert served == {0: {"a": 1}, 5: {"a": "\0"}}
    assert sorted(errors) == [1, 2, 3, 4]
    (server.cwd / "in.csv").write_bytes(b'a,b\n1,2\n3,\x004\n"\0",5\n6,7\n')
    wire.start("c", "in.csv", "c.jsonl", reader="CsvReader")
    served, errors = outcome(wire, "c")
    assert served == {0: [1, 2], 3: [6, 7]} and sorted(errors) == [1, 2]


def test_lines_over_the_limit(tutti):
    server = tutti(env={"TUTTI_LIMITS_ITEM": "100KiB"})
    wire = Wire(server.url)
    fits, over = b'{"a":"%s"}' % (b"x" * (100 * 1024 - 8)), b'{"a":"%s"}' % (b"x" * (100 * 1024 - 7))
    (server.cwd / "in.jsonl").write_bytes(b"\n".join([b"{}", over, b"{}", fits, b"y" * 5_000_000, b"{}", over]))
    wire.start("j", "in.jsonl", "out.jsonl")
    served, errors = outcome(wire, "j")
    assert sorted(served) == [0, 2, 3, 5]
    assert sorted(errors) == [1, 4, 6]
    assert all("line" in reason for reason in errors.values())
    rejects = read_jsonl(server.cwd / "out.jsonl.rejects.jsonl")
    assert all(len(row["text"]) <= 4096 for row in rejects), "a reject quotes the beginning"
    (server.cwd / "in.csv").write_bytes(b"a,b\n1,2\n" + b"x" * 200_000 + b",3\n4,5\n6," + b"y" * 200_000 + b"\n7,8\n")
    wire.start("c", "in.csv", "c.jsonl", reader="CsvReader", metadata={"types": "text"})
    served, errors = outcome(wire, "c")
    assert (sorted(served), sorted(errors)) == ([0, 2, 4], [1, 3])


def test_a_quote_that_is_never_closed(tutti):
    """It costs the rows that it swallowed up to the limit, not the rest of the file."""
    server = tutti(env={"TUTTI_LIMITS_ITEM": "10KiB"})
    wire = Wire(server.url)
    rows = [f"{i},x{i}" for i in range(10_000)]
    rows[100] = '100,"never closed'
    (server.cwd / "in.csv").write_text("a,b\n" + "\n".join(rows) + "\n")
    wire.start("j", "in.csv", "out.jsonl", reader="CsvReader")
    served, errors = outcome(wire, "j")
    assert [served[i] for i in range(100)] == [[i, f"x{i}"] for i in range(100)]
    assert 100 in errors
    assert len(served) + len(errors) == wire.report("j")["total"]
    assert [9999, "x9999"] in served.values() and len(served) > 8000


def test_a_huge_line_without_an_end(tutti):
    """Nothing grows with it but the file."""
    server = tutti(env={"TUTTI_LIMITS_ITEM": "1MiB"})
    wire = Wire(server.url)
    with gzip.open(server.cwd / "in.jsonl.gz", "wb", 1) as out:
        out.write(b"{}\n")
        for _ in range(150):
            out.write(b"x" * 1_000_000)
        out.write(b"\n{}\n")
    wire.start("j", "in.jsonl.gz", "out.jsonl")
    served, errors = outcome(wire, "j")
    assert (sorted(served), sorted(errors)) == ([0, 2], [1])
    with open(f"/proc/{server.server_pid}/status") as status:
        anonymous = [int(line.split()[1]) for line in status if line.startswith("RssAnon")][0]
    if "asan" not in str(server_binary()):
        assert anonymous < 64 * 1024, "KiB"


def server_binary():
    from tutti_process import binary
    return binary()


@pytest.mark.parametrize("opening, closing", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting(wire, server, opening, closing):
    core = b"1"
    fine, deep = opening * 100 + core + closing * 100, opening * 100_000 + core + closing * 100_000
    (server.cwd / "in.jsonl").write_bytes(b"\n".join([b"{}", deep, fine, opening * 200_000, b"{}"]) + b"\n")
    wire.start("j", "in.jsonl", "out.jsonl")
    served, errors = raw_outcome(wire, "j")
    assert {0, 2, 4} <= set(served) and served[2] == fine
    assert 3 in errors and (1 in errors or served[1] == deep)
    for body in (deep, opening * 1_000_000):
        for path in ("/receive?job_name=j&overwrite=0", "/mark-errors?job_name=j", "/scramble?job_name=k&reader_name=&writer_name=",
                     "/v1/jobs", "/v1/jobs/j/results", "/v1/jobs/j/retry", "/v1/jobs/j/fail?lease=x", "/v1/jobs/j/release?lease=x"):
            assert 400 <= wire.post(path, body).status < 500, path
    wire.start("k", "in.jsonl", "k.jsonl")
    answer = wire.receive("k", b"[[0," + deep + b"]]")
    assert answer.status in (200, 400)
    assert wire.get("/livez").status == 200


def test_a_deep_csv_cell_is_text(wire, server):
    (server.cwd / "in.csv").write_text("a\n" + "[" * 50_000 + "\n")
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter")
    items = wire.serve("j")
    assert items == [[0, ["[" * 50_000]]]
    wire.give("j", items)
    assert (server.cwd / "out.csv").read_text() == (server.cwd / "in.csv").read_text()


# ---- CSV ----


def test_csv_spectrum(wire, server, shared):
    """The known answers, in text mode, cell for cell; and back into a file that Python reads the same way."""
    files = sorted((shared / "csv" / "csv-spectrum" / "csvs").glob("*.csv"))
    assert len(files) == 12
    for path in files:
        expected = json.loads((shared / "csv" / "csv-spectrum" / "json" / f"{path.stem}.json").read_text())
        if path.stem == "location_coordinates":  # its answer is of another file
            expected = list(csv.DictReader(open(path, newline="", encoding="utf-8")))
        (server.cwd / path.name).write_bytes(path.read_bytes())
        wire.start(path.stem, path.name, f"{path.stem}-out.csv", reader="CsvReader", writer="CsvWriter", metadata={"types": "text", "na": "keep"})
        header = list(csv.reader(open(path, newline="", encoding="utf-8")))[0]
        items = wire.serve(path.stem)
        assert [dict(zip(header, ["" if c is None else c for c in cells])) for _, cells in items] == expected, path.name
        wire.give(path.stem, items)
        if expected:
            with open(server.cwd / f"{path.stem}-out.csv", newline="", encoding="utf-8") as out:
                assert list(csv.DictReader(out)) == expected, path.name


@pytest.mark.parametrize("types", ["infer", "text"])
def test_csv_fuzz_cases(wire, server, shared, types):
    for i, path in enumerate(sorted((shared / "csv" / "arrow-testing-csv").rglob("*"))):
        if not path.is_file():
            continue
        (server.cwd / f"{i}.csv").write_bytes(path.read_bytes())
        answer = wire.scramble(f"j{i}", f"{i}.csv", f"{i}-out.csv", reader="CsvReader", writer="CsvWriter", metadata={"types": types})
        if answer.status != 200:
            assert answer.status == 400 and answer.detail, (path.name, answer)
            continue
        outcome(wire, f"j{i}")
    assert wire.get("/livez").status == 200


@pytest.mark.parametrize("content", [b'"', b'""', b'a\n"', b'a\n"b', b'a\n"b"c\n', b'a,a\n1,2\n', b',\n,\n', b'"a\nb",c\n1,2\n', b"a\r\r\n1\r\r\n", b"\n\n\n", b"a" * 100_000,
                                     b"," * 20_000 + b"\n" + b"," * 20_000, b"\xff\xfe\x00\n1\n", b"a;b\n1;2\n", b'a,b\n"1"x,2\n', b"\0\0\0"])
def test_odd_csv(wire, server, content):
    (server.cwd / "in.csv").write_bytes(content)
    answer = wire.scramble("j", "in.csv", "out.jsonl", reader="CsvReader")
    if answer.status == 200:
        served, errors = outcome(wire, "j")
        report = wire.report("j")
        assert report["total"] == len(served) + len(errors)
    else:
        assert answer.status == 400 and len(answer.detail) > 10


def test_random_bytes_as_every_kind_of_input(wire, server):
    luck = random.Random(7)
    names = ["in.jsonl", "in.csv", "in.tsv", "in.jsonl.gz", "in.csv.zst"]
    for round_ in range(20):
        alphabet = b'\n\r,"\'\\{}[]:0123456789a\xc3\xa9\0\xff \t;' if round_ % 2 else bytes(range(256))
        data = bytes(luck.choice(alphabet) for _ in range(luck.randint(1, 5000)))
        name = names[round_ % len(names)]
        if name.endswith(".gz") and round_ % 4:
            data = gzip.compress(data)
        (server.cwd / f"{round_}-{name}").write_bytes(data)
        answer = wire.scramble(f"j{round_}", f"{round_}-{name}", f"{round_}-out.jsonl", reader="CsvReader" if "sv" in name else "JsonlReader")
        assert answer.status in (200, 400), answer
        if answer.status == 200 and wire.report(f"j{round_}")["status"] != "BROKEN":
            while (body := wire.post("/serve", job_name=f"j{round_}")).status == 200 and body.body != b"[]":
                ids = [i for i, _ in json.loads(body.body.decode())]
                wire.give(f"j{round_}", [[i, {}] for i in ids])
    assert wire.get("/health").json()["Redis status"] == "Online"


# ---- results ----


def test_hostile_results_stay_one_line_each(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 10)
    bodies = [b'{"a":"\\n\\r\\u2028\\u0000"}', '{"a":"\u2028\u2029\u0085\x7f"}'.encode(), b'{\n\n\n}', b'[\r\n]', b'{"a"\t:\t1}']
    for i, value in enumerate(bodies):
        wire.give("j", b"[[%d,%s]]" % (i, value))
    lines = (server.cwd / "out.jsonl").read_bytes().split(b"\n")
    assert len(lines) == len(bodies) + 1 and lines[-1] == b""
    assert [json.loads(line) for line in lines[:-1]] == [json.loads(value) for value in bodies]


@pytest.mark.parametrize("bad", [b'[[0,{"a":"\xff"}]]', b'[[0,{"a":"\0"}]]', b'[[0,{"a":"\n"}]]', b'[[0,{"a":01}]]', b'[[0,{"a":"\\x"}]]', b'[[0,{"a":1}],]'])
def test_results_that_are_no_json_leave_no_trace(wire, server, bad):
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 10)
    assert wire.receive("j", bad).status == 400
    assert wire.post("/v1/jobs/j/results", bad).status == 400
    assert (server.cwd / "out.jsonl").read_bytes() == b""
    wire.give("j", [[0, {"a": 1}]])
    assert (server.cwd / "out.jsonl").read_bytes() == b'{"a":1}\n'


@pytest.mark.parametrize("id_", [b"-1", b"1e400", b"18446744073709551616", b"9223372036854775808", b"1" * 1000, b"-0", b"1.5", b'"\\u0661"', b"NaN", b"Infinity", b"false"])
def test_odd_ids(wire, server, id_):
    write_jsonl(server.cwd / "in.jsonl", numbered(3))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.start("w", output="w.jsonl", reader="", mode="write")
    for name in ("j", "w"):
        answer = wire.receive(name, b"[[%s,{}]]" % id_)
        assert answer.status in (200, 400, 422), answer
        answer = wire.post("/mark-errors", b"[%s]" % id_, job_name=name)
        assert answer.status in (200, 400, 422), answer
    assert wire.get("/livez").status == 200


def test_far_ids_of_a_write_job_take_little_memory(wire, server):
    wire.start("w", output="w.jsonl", reader="", mode="write")
    luck = random.Random(3)
    ids = [luck.randrange(2**62) for _ in range(5000)]
    wire.give("w", [[i, {"i": i}] for i in ids])
    server.kill_server()
    wire.give("w", [[i, {"i": "again"}] for i in ids])
    assert [row["i"] for row in read_jsonl(server.cwd / "w.jsonl")] == ids


def test_a_million_ids_in_one_request(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl")
    body = b"[" + b",".join(b"[%d,{}]" % (i % 20) for i in range(1_000_000)) + b"]"
    wire.give("j", body)
    report = wire.report("j")
    assert (report["received"], report["duplicates"]) == (10, 499_990)
    assert (server.cwd / "out.jsonl").read_bytes() == b"{}\n" * 10
