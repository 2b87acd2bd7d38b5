"""Input and output files: formats, packing, several of them, links, changes behind the server's back, bad records, generations. Bytes are compared with
what independent programs make of the same files."""
import csv
import gzip
import io
import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tutti_process import until
from wire import Wire, numbered, read_jsonl, write_jsonl


@pytest.fixture
def server(tutti):
    return tutti()


@pytest.fixture
def wire(server):
    return Wire(server.url)


def refused(answer, *parts):
    assert answer.status == 400, answer
    for part in parts:
        assert part in answer.detail, answer.detail


def copy_through(wire, name, n=1000):
    """Serve and send back the bytes of every value as they came, without a JSON library between."""
    total = 0
    while (body := wire.post("/serve", job_name=name, batch_size=n).body) != b"[]":
        wire.give(name, body)
        total += 1
    return total


# ---- exactly once ----


def test_each_item_once_from_many_clients(wire, server):
    """Clients that die, repeat, come late and send twice."""
    write_jsonl(server.cwd / "in.jsonl", numbered(5000))
    wire.create("j", "in.jsonl", "out.jsonl", max_attempts=15)

    def client(seed):
        luck = random.Random(seed)
        mine = Wire(server.url)
        while True:
            batch = mine.claim("j", luck.randint(1, 200), wait="2s", lease="300ms", request_id=f"{seed}-{luck.randint(0, 10**9)}", worker=f"w{seed}")
            if not batch["items"]:
                if batch["status"] == "COMPLETE":
                    return
                continue
            fate = luck.random()
            if fate < 0.1:
                continue
            items = [[i, value] for i, value in batch["items"]]
            luck.shuffle(items)
            half = len(items) // 2
            mine.results("j", items[:half] + items[:1])
            if fate < 0.2:
                mine.post("/v1/jobs/j/release", lease=batch["lease"])
                continue
            mine.results("j", items)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(client, range(6)))
    assert Counter(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == Counter(range(5000))
    job = wire.job("j")
    assert (job["received"], job["served"], job["dead"], job["status"]) == (5000, 0, 0, "COMPLETE")


def test_each_item_once_though_the_server_is_killed(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(3000))
    wire.start("j", "in.jsonl", "out.jsonl")
    luck = random.Random(5)
    for _ in range(5):
        for _ in range(luck.randint(1, 6)):
            items = wire.serve("j", 97)
            wire.give("j", items[:luck.randint(0, len(items))])
        sock = wire.socket()
        body = json.dumps(wire.serve("j", 50)).encode()
        sock.sendall(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        server.kill_server()
        sock.close()
    wire.drain("j", 500)
    assert Counter(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == Counter(range(3000))
    assert wire.report("j")["status"] == "COMPLETE"


def test_a_server_killed_while_it_plans(wire, server):
    """What the ledger knows of the input is all of it or a beginning, never all with a part missing."""
    big_input(server.cwd / "in.jsonl", 40000)
    luck = random.Random(11)
    for round_ in range(6):
        wire.start(f"j{round_}", "in.jsonl", f"out{round_}.jsonl")
        end = time.monotonic() + luck.uniform(0, 0.4)
        while time.monotonic() < end:
            wire.give(f"j{round_}", wire.serve(f"j{round_}", 500))
        server.kill_server()
        until(lambda: wire.report(f"j{round_}")["total"] is not None, "the end of the plan")
        assert wire.report(f"j{round_}")["total"] == 40000


def test_what_follows_the_recorded_length_is_cut(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 5))
    server.kill()
    with open(server.cwd / "out.jsonl", "a") as out:
        out.write('{"n": 5, "text": "torn')
    server.restart()
    wire = Wire(server.url)
    assert wire.drain("j") == [5, 6, 7, 8, 9]
    assert [row["n"] for row in read_jsonl(server.cwd / "out.jsonl")] == list(range(10))


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "gone"])
def test_an_output_that_is_not_the_recorded_one_is_left_alone(wire, server, damage):
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 5))
    server.stop()
    path = server.cwd / "out.jsonl"
    if damage == "shorter":
        os.truncate(path, 20)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"4", b"x"))
    before = path.read_bytes() if path.exists() else None
    server.restart()
    wire = Wire(server.url)
    report = wire.report("j")
    assert report["status"] == "BROKEN" and "out.jsonl" in report["detail"]
    refused(wire.receive("j", [[7, {}]]), "out.jsonl")
    refused(wire.post("/serve", job_name="j"), "out.jsonl")
    assert (path.read_bytes() if path.exists() else None) == before


def test_csv_once_though_the_server_is_killed(wire, server):
    write_csv(server.cwd / "in.csv", [["n", "text"]] + [[i, f"row {i}, {'x' * (i % 50)}"] for i in range(2000)])
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter")
    for _ in range(3):
        wire.give("j", wire.serve("j", 300))
        wire.serve("j", 100)
        server.kill_server()
    wire.drain("j", 300)
    expected = (server.cwd / "in.csv").read_bytes().splitlines()
    found = (server.cwd / "out.csv").read_bytes().splitlines()
    assert found[0] == expected[0]
    assert Counter(found) == Counter(expected), "the header once, every row once"


# ---- bytes ----


def test_jsonl_bytes_pass_through(wire, server):
    lines = [b'{"b": 1.50, "a":1e400,  "a": 2}', b'{ }', b'[1 , 2]', rb'{"\u0061\/": "\u00e9\ud83c\udfbb"}', b'{"n":123456789012345678901234567890}',
             b'{"f":-0.0,"g":1E+05}', b'"text"', b'  {"x":1}\t', b'{"_sa_x":[]}', '{"u":"é\u2028\x7f"}'.encode()]
    (server.cwd / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    wire.start("j", "in.jsonl", "out.jsonl")
    answer = wire.post("/serve", job_name="j")
    assert answer.body == b"[" + b",".join(b"[%d,%s]" % (i, line.strip()) for i, line in enumerate(lines)) + b"]"
    values = [b"[%d,%s]" % (i, line.strip()) for i, line in enumerate(lines) if line.strip()[:1] in b"[{"]
    wire.give("j", b"[" + b",".join(values) + b"]")
    assert (server.cwd / "out.jsonl").read_bytes() == b"".join(line.strip() + b"\n" for line in lines if line.strip()[:1] in b"[{")


def test_line_breaks_inside_a_value_become_blanks(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(2))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", b'[[0,{\n  "a": [1,\r\n 2],\n "s": "a\\nb"\n}],[1,{}]]')
    out = (server.cwd / "out.jsonl").read_bytes()
    assert out == b'{   "a": [1,   2],  "s": "a\\nb" }\n{}\n'


def test_real_questions(wire, server, shared):
    shutil.copy(shared / "jsonl" / "gsm8k_train.jsonl", server.cwd / "in.jsonl")
    wire.start("j", "in.jsonl", "out.jsonl")
    assert copy_through(wire, "j", 500) == 15
    assert (server.cwd / "out.jsonl").read_bytes() == (server.cwd / "in.jsonl").read_bytes()


def test_real_page_edits_packed(wire, server, shared):
    source = shared / "jsonl" / "wikiticker-2015-09-12-sampled.json.gz"
    shutil.copy(source, server.cwd / "in.json.gz")
    wire.start("j", "in.json.gz", "out.jsonl")
    copy_through(wire, "j", 5000)
    assert (server.cwd / "out.jsonl").read_bytes() == gzip.decompress(source.read_bytes())
    assert wire.report("j")["received"] == 39244


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(wire, server, end, last):
    (server.cwd / "in.jsonl").write_bytes(end.join(['{"a":1}', '{"a":2}', '{"a":3}']).encode() + (end.encode() if last else b""))
    wire.start("j", "in.jsonl", "out.jsonl")
    assert wire.drain("j") == [0, 1, 2]
    assert (server.cwd / "out.jsonl").read_bytes() == b'{"a":1}\n{"a":2}\n{"a":3}\n'


def test_a_byte_order_mark_in_the_input(wire, server):
    (server.cwd / "in.jsonl").write_bytes(b'\xef\xbb\xbf{"a":1}\n{"a":2}\n')
    wire.start("j", "in.jsonl", "out.jsonl")
    assert wire.serve("j") == [[0, {"a": 1}], [1, {"a": 2}]]


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n  \n", b"\xef\xbb\xbf"])
def test_inputs_without_items(wire, server, content):
    (server.cwd / "in.jsonl").write_bytes(content)
    wire.start("j", "in.jsonl", "out.jsonl")
    assert wire.serve("j") == []
    until(lambda: wire.report("j")["status"] == "COMPLETE", "the end of an empty job")
    assert wire.report("j")["errors"] == 0


# ---- packed and several inputs ----


def pack(path, data, how):
    if how == "gz":
        path.write_bytes(gzip.compress(data))
    elif how == "gz members":
        path.write_bytes(gzip.compress(data[:len(data) // 3]) + gzip.compress(data[len(data) // 3:]))
    else:
        if not shutil.which("zstd"):
            pytest.skip("the zstd command is not installed")
        packed = subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout
        path.write_bytes(packed * 1)


@pytest.mark.parametrize("name, how", [("in.jsonl.gz", "gz"), ("in.jsonl.gz", "gz members"), ("in.jsonl.zst", "zst"), ("in.jsonl", "gz")])
def test_packed_inputs(wire, server, name, how):
    data = b"".join(b'{"n":%d,"pad":"%s"}\n' % (i, b"x" * (i % 700)) for i in range(20000))
    pack(server.cwd / name, data, how)
    wire.start("j", name, "out.jsonl")
    copy_through(wire, "j", 7000)
    assert (server.cwd / "out.jsonl").read_bytes() == data


def test_a_packed_input_goes_on_after_a_restart(wire, server):
    data = b"".join(b'{"n":%d}\n' % i for i in range(20000))
    pack(server.cwd / "in.jsonl.gz", data, "gz")
    wire.start("j", "in.jsonl.gz", "out.jsonl")
    wire.give("j", wire.serve("j", 9000))
    server.kill_server()
    assert wire.drain("j", 5000) == list(range(9000, 20000))
    assert (server.cwd / "out.jsonl").read_bytes().count(b"\n") == 20000


def test_a_cut_off_packed_input(wire, server):
    packed = gzip.compress(b"".join(b'{"n":%d,"r":"%s"}\n' % (i, os.urandom(50).hex().encode()) for i in range(20000)))
    (server.cwd / "in.jsonl.gz").write_bytes(packed[:len(packed) // 2])
    answer = wire.scramble("j", "in.jsonl.gz", "out.jsonl")
    if answer.status == 200:
        until(lambda: wire.report("j")["status"] == "BROKEN", "the broken job")
        assert "in.jsonl.gz" in wire.report("j")["detail"]
        refused(wire.post("/serve", job_name="j"), "in.jsonl.gz")
    else:
        refused(answer, "in.jsonl.gz")


def test_several_inputs(wire, server):
    for part in ("b", "a", "c"):
        write_jsonl(server.cwd / "parts" / f"{part}.jsonl", [{"part": part, "n": i} for i in range(5)])
    pack(server.cwd / "parts" / "d.jsonl.gz", b'{"part":"d","n":0}\n', "gz")
    (server.cwd / "parts" / "note.txt").write_text("no records")
    wire.start("glob", "parts/*.jsonl*", "glob.jsonl")
    wire.start("list", ["parts/c.jsonl", "parts/a.jsonl"], "list.jsonl")
    wire.start("deep", "**/[ab].jsonl", "deep.jsonl")
    served = wire.serve("glob")
    assert [i for i, _ in served] == list(range(16)), "ids count on over the files"
    assert [v["part"] for _, v in served] == list("aaaaabbbbbcccccd")
    assert [v["part"] for _, v in wire.serve("list")] == list("cccccaaaaa")
    assert [v["part"] for _, v in wire.serve("deep")] == list("aaaaabbbbb")
    refused(wire.scramble("none", "parts/*.csv", "none.jsonl"), "parts/*.csv")


def test_a_file_that_comes_later_is_not_part_of_the_job(wire, server):
    write_jsonl(server.cwd / "parts" / "a.jsonl", numbered(3))
    wire.start("j", "parts/*.jsonl", "out.jsonl")
    write_jsonl(server.cwd / "parts" / "b.jsonl", numbered(3))
    server.restart()
    wire = Wire(server.url)
    assert wire.drain("j") == [0, 1, 2]


def test_the_server_may_be_started_elsewhere(tutti):
    server = tutti(args=["--root", "."])
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    (server.cwd / "in.jsonl").open("a").write("no json\n")
    wire = Wire(server.url)
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 3))
    home = server.cwd
    server.stop()
    server.cwd = home / "elsewhere"
    server.cwd.mkdir()
    server.restart(args=["--root", str(home)])
    wire = Wire(server.url)
    assert wire.drain("j") == list(range(3, 10))
    assert [row["n"] for row in read_jsonl(home / "out.jsonl")] == list(range(10))
    assert len(read_jsonl(home / "out.jsonl.rejects.jsonl")) == 1
    assert list(server.cwd.iterdir()) == []


# ---- changed inputs ----


def big_input(path, count=60000):
    """More than the server loads ahead."""
    return write_jsonl(path, [{"n": i, "pad": "x" * 200} for i in range(count)])


CHANGES = {
    "appended": lambda p: p.open("a").write('{"n": -1}\n'),
    "cut": lambda p: os.truncate(p, p.stat().st_size - 5),
    "other head": lambda p: overwrite(p, 3, b"XX"),
    "other tail": lambda p: overwrite(p, p.stat().st_size - 4, b"X"),
}


def overwrite(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize("change", CHANGES)
def test_an_input_that_changed_while_the_server_was_down(wire, server, change):
    path = big_input(server.cwd / "in.jsonl", 3000)
    wire.start("j", "in.jsonl", "out.jsonl")
    items = wire.serve("j", 100)
    wire.give("j", items[:50])
    server.stop()
    CHANGES[change](path)
    server.restart()
    wire = Wire(server.url)
    refused(wire.post("/serve", job_name="j"), "in.jsonl", "changed since the job started", "put the old file back")
    assert wire.report("j")["status"] == "BROKEN"
    wire.give("j", items[50:])
    assert [row["n"] for row in read_jsonl(server.cwd / "out.jsonl")] == list(range(100)), "results of the job's own items are still taken"


@pytest.mark.parametrize("change", [*CHANGES, "other middle"])
def test_an_input_that_changes_while_it_is_read(wire, server, change):
    path = big_input(server.cwd / "in.jsonl")
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 100))
    CHANGES.get(change, lambda p: overwrite(p, p.stat().st_size // 2, b"XX"))(path)
    def serve():
        answer = wire.post("/serve", job_name="j", batch_size=5000)
        return answer if answer.status != 200 else wire.give("j", answer.json())
    refused(until(serve, "a refusal"), "in.jsonl", "changed")


def test_touch_and_copies_are_no_change(wire, server):
    path = write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 3))
    server.stop()
    shutil.copy(path, server.cwd / "copy.jsonl")
    os.replace(server.cwd / "copy.jsonl", path)
    server.restart()
    assert Wire(server.url).drain("j") == list(range(3, 10))


def test_touch_while_it_is_read_changes_nothing(wire, server):
    """Somebody may have written to the file: a look at all of it says that nobody did."""
    path = big_input(server.cwd / "in.jsonl")
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 100))
    os.utime(path)
    assert len(wire.drain("j", 10000)) == 59900
    assert sorted(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == list(range(60000))


def test_a_replaced_input_is_read_to_its_end(wire, server):
    """A new file under the old name is not the job's: the server holds on to the one that it opened."""
    path = big_input(server.cwd / "in.jsonl")
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 100))
    write_jsonl(server.cwd / "new.jsonl", numbered(3))
    os.replace(server.cwd / "new.jsonl", path)
    assert len(wire.drain("j", 10000)) == 59900


# ---- bad records ----


def test_bad_records_are_told_with_their_place(wire, server):
    lines = [b'{"n":0}', b'{"n":', b'', b'{"n":3}', b'not json', b'{"a":"\xff"}', b'   ', b'{"n":7} {"n":8}', b'{"n":9}', b'\0', b"{'n':1}"]
    (server.cwd / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    wire.start("j", "in.jsonl", "out.jsonl")
    assert wire.serve("j") == [[0, {"n": 0}], [3, {"n": 3}], [8, {"n": 9}]], "ids are the numbers of the physical lines"
    wire.give("j", [[0, {}], [3, {}], [8, {}]])
    report = wire.report("j")
    assert (report["received"], report["errors"], report["total"], report["status"]) == (3, 6, 9, "COMPLETE")
    rejects = until(lambda: read_rejects(server), "the rejects")
    assert [row["id"] for row in rejects] == [1, 4, 5, 7, 9, 10]
    for row in rejects:
        assert row["file"] == str(server.cwd / "in.jsonl")
        assert row["line"] == row["id"] + 1
        assert row["offset"] == len(b"\n".join(lines[:row["id"]])) + (1 if row["id"] else 0)
        assert row["reason"]
    assert [row["text"] for row in rejects[:2]] == ['{"n":', "not json"]
    errors = wire.errors("j")
    assert [e["id"] for e in errors] == [1, 4, 5, 7, 9, 10]
    assert all(e["state"] == "error" and f"line {e['id'] + 1}" in e["reason"] for e in errors)


def read_rejects(server):
    path = server.cwd / "out.jsonl.rejects.jsonl"
    return read_jsonl(path) if path.exists() else []


def test_bad_records_are_listed_once_after_restarts(wire, server):
    (server.cwd / "in.jsonl").write_text("".join('{"n":%d}\n' % i if i % 3 else "bad %d\n" % i for i in range(300)))
    wire.start("j", "in.jsonl", "out.jsonl")
    for _ in range(3):
        wire.give("j", wire.serve("j", 30))
        server.kill_server()
    wire.drain("j")
    until(lambda: len(read_rejects(server)) == 100, "the rejects")
    server.restart()
    assert [row["text"] for row in read_rejects(server)] == [f"bad {i}" for i in range(0, 300, 3)]
    assert len(Wire(server.url).errors("j")) == 100


def test_bad_records_cannot_be_retried_but_superseded(wire, server):
    (server.cwd / "in.jsonl").write_text("bad\n{}\n")
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.drain("j")
    assert wire.post("/v1/jobs/j/retry").json()["retried"] == 0
    wire.give("j", [[0, {"by": "hand"}]])
    assert wire.report("j")["errors"] == 0
    assert wire.errors("j") == []


def test_a_job_without_rejects_has_no_file_of_them(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(3))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.drain("j")
    server.stop()
    assert sorted(p.name for p in server.cwd.iterdir()) == ["d", "in.jsonl", "out.jsonl"]


# ---- CSV ----


def write_csv(path, rows, **form):
    with open(path, "w", newline="") as out:
        csv.writer(out, lineterminator="\n", **form).writerows(rows)


def test_csv_types_and_bytes(wire, server):
    """One type per column for the whole file; an empty cell is null and stays empty; text keeps its zeros and blanks."""
    rows = [["id", "code", "price", "ok", "text", "gap"], ["1", "007", "1.50", "True", " padded ", "5"], ["2", "8", "2", "False", 'quote " and, comma', ""],
            ["3", "x", "1e3", "True", "two\nlines", "7"], ["4", "", "", "", "", ""]]
    write_csv(server.cwd / "in.csv", rows)
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter")
    served = wire.serve("j")
    assert served == [[0, [1, "007", 1.5, True, " padded ", 5]], [1, [2, "8", 2, False, 'quote " and, comma', None]],
                      [2, [3, "x", 1000.0, True, "two\nlines", 7]], [3, [4, None, None, None, None, None]]]
    assert wire.receive("j", wire_bytes(wire, "j2", server)).status == 200
    assert list(csv.reader(io.StringIO((server.cwd / "out.csv").read_text(), newline=""))) == list(csv.reader(open(server.cwd / "in.csv", newline="")))


def wire_bytes(wire, name, server):
    """The body of a serve of the same input, from a job of its own."""
    wire.start(name, "in.csv", f"{name}.csv", reader="CsvReader", writer="CsvWriter")
    return wire.post("/serve", job_name=name).body


def test_csv_as_text(wire, server):
    write_csv(server.cwd / "in.csv", [["a", "b"], ["007", ""], ["1.50", "NA"], ["True", "x"]])
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter", metadata={"types": "text"})
    served = wire.serve("j")
    assert [value[0] for _, value in served] == ["007", "1.50", "True"]
    wire.give("j", served)
    assert (server.cwd / "out.csv").read_text() == (server.cwd / "in.csv").read_text()


@pytest.mark.parametrize("name, part", [("receipt.csv", ","), ("helpdesk.csv", ",")])
def test_real_logs_as_text(wire, server, shared, name, part):
    """Cell for cell what Python's reader finds in the original."""
    shutil.copy(shared / "events" / name, server.cwd / "in.csv")
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter", metadata={"types": "text"})
    copy_through(wire, "j", 3000)
    with open(server.cwd / "in.csv", newline="", encoding="utf-8-sig") as a, open(server.cwd / "out.csv", newline="", encoding="utf-8") as b:
        expected, found = list(csv.reader(a)), list(csv.reader(b))
    assert len(expected) == len(found)
    assert expected == found


def test_a_real_log_with_types_and_another_separator(wire, server, shared):
    shutil.copy(shared / "events" / "sepsis.csv", server.cwd / "in.csv")
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter", metadata={"separator": ";"})
    copy_through(wire, "j", 5000)
    with open(server.cwd / "in.csv", newline="", encoding="utf-8-sig") as a, open(server.cwd / "out.csv", newline="", encoding="utf-8") as b:
        expected, found = list(csv.reader(a, delimiter=";")), list(csv.reader(b, delimiter=";"))
    assert len(found) == len(expected) == 15215
    assert found[0] == expected[0]
    different = [(e, f) for e, f in zip(expected[1:], found[1:]) if [c.lower() for c in e] != [c.lower() for c in f]]
    assert different == [], "but for the case of true and false"


def test_tsv(wire, server):
    write_csv(server.cwd / "in.tsv", [["a", "b"], ["x, y", "1"], ["z", "2"]], delimiter="\t")
    wire.start("j", "in.tsv", "out.tsv", reader="", writer="")
    assert wire.serve("j", 1) == [[0, ["x, y", 1]]]
    wire.drain("j")
    wire.give("j", [[0, ["x, y", 1]]])
    assert sorted((server.cwd / "out.tsv").read_bytes().splitlines()) == sorted((server.cwd / "in.tsv").read_bytes().splitlines())


def test_csv_from_csv_to_jsonl_and_back(wire, server):
    write_csv(server.cwd / "in.csv", [["a", "b"], ["1", "x"], ["2", "y"]])
    wire.start("there", "in.csv", "mid.jsonl", reader="CsvReader", writer="JsonlWriter")
    wire.give("there", [[i, {"a": value[0], "b": value[1]}] for i, value in wire.serve("there")])
    assert (server.cwd / "mid.jsonl").read_text() == '{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n'
    wire.start("back", "mid.jsonl", "out.csv", reader="JsonlReader", writer="CsvWriter")
    wire.drain("back", 1)
    assert (server.cwd / "out.csv").read_text() == "a,b\n1,x\n2,y\n"


def test_csv_objects_lose_no_row(wire, server):
    """The original lost the first object of every batch to the header."""
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.csv", writer="CsvWriter")
    wire.drain("j", 3)
    assert list(csv.reader(open(server.cwd / "out.csv"))) == [["n", "text"]] + [[str(i), f"record {i}"] for i in range(10)]


def test_csv_values_as_pandas_writes_them(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(3))
    wire.start("j", "in.jsonl", "out.csv", writer="CsvWriter")
    wire.give("j", [[0, {"a": True, "b": None, "c": 1.5, "d": 'x"y,z', "e": {"k": [1]}}], [1, {"e": [1, 2], "a": False}], [2, {"c": "", "a": "two\nlines"}]])
    assert list(csv.reader(open(server.cwd / "out.csv", newline=""))) == [
        ["a", "b", "c", "d", "e"], ["True", "", "1.5", 'x"y,z', '{"k":[1]}'], ["False", "", "", "", "[1,2]"], ["two\nlines", "", "", "", ""]]


def test_a_row_that_does_not_fit_is_kept(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(4))
    wire.create("j", "in.jsonl", "out.csv")
    answer = wire.results("j", [[0, {"a": 1}], [1, {"a": 2, "b": 3}], [2, [1, 2]], [3, {"a": 4}]])
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert (server.cwd / "out.csv").read_text() == "a\n1\n4\n"
    rejects = read_jsonl(server.cwd / "out.csv.rejects.jsonl")
    assert [(row["id"], json.loads(row["text"])) for row in rejects] == [(1, {"a": 2, "b": 3}), (2, [1, 2])]
    assert "b" in rejects[0]["reason"]
    assert [e["id"] for e in wire.errors("j")] == [1, 2]
    assert wire.results("j", [[1, {"a": 2}], [2, {"a": 3}]])["accepted"] == 2
    assert wire.errors("j") == []


def test_csv_rows_that_do_not_fit_are_error_items(wire, server):
    (server.cwd / "in.csv").write_text('a,b\n1,2\n3\n4,5,6\n\n"7",8\n9,"open\n')
    wire.start("j", "in.csv", "out.jsonl", reader="CsvReader", writer="JsonlWriter")
    served = wire.serve("j")
    errors = until(lambda: wire.errors("j"), "the errors")
    assert [value for _, value in served] == [[1, 2], [7, 8]] or [value for _, value in served] == [[1, 2], [3, None], [7, 8]]
    assert all("line" in e["reason"] for e in errors)
    total = wire.report("j")["total"]
    assert len(served) + len(errors) == total == 5


def test_a_csv_with_only_a_header(wire, server):
    (server.cwd / "in.csv").write_text("a,b\n")
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter")
    assert wire.serve("j") == []
    assert wire.report("j")["status"] == "COMPLETE"


def test_several_csv_inputs(wire, server):
    write_csv(server.cwd / "1.csv", [["a", "b"], ["1", "x"]])
    write_csv(server.cwd / "2.csv", [["a", "b"], ["2", "y"]])
    wire.start("j", "[12].csv", "out.csv", reader="CsvReader", writer="CsvWriter")
    wire.drain("j")
    assert (server.cwd / "out.csv").read_text() == "a,b\n1,x\n2,y\n"


# ---- outputs that exist ----


def test_an_existing_output_is_appended_to(wire, server):
    (server.cwd / "out.jsonl").write_text('{"old":1}\n{"old":2}')
    write_jsonl(server.cwd / "in.jsonl", numbered(2))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.drain("j")
    assert read_jsonl(server.cwd / "out.jsonl") == [{"old": 1}, {"old": 2}, *numbered(2)], "a last line without an end gets one"


def test_an_existing_csv_gets_no_second_header(wire, server):
    (server.cwd / "out.csv").write_text("n,text\n-1,old\n")
    write_csv(server.cwd / "in.csv", [["n", "text"], [1, "new"]])
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter")
    wire.drain("j")
    assert (server.cwd / "out.csv").read_text() == "n,text\n-1,old\n1,new\n"


def test_overwrite_truncates_once(wire, server):
    (server.cwd / "out.jsonl").write_text('{"old":1}\n')
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl", metadata={"overwrite": True})
    assert (server.cwd / "out.jsonl").read_bytes() == b""
    wire.give("j", wire.serve("j", 3))
    server.restart()
    wire = Wire(server.url)
    wire.drain("j", 3)
    assert [row["n"] for row in read_jsonl(server.cwd / "out.jsonl")] == list(range(10))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_clean_start_begins_a_new_generation(wire, server, overwrite):
    write_jsonl(server.cwd / "in.jsonl", numbered(4))
    wire.start("j", "in.jsonl", "out.jsonl", metadata={"overwrite": overwrite})
    wire.give("j", wire.serve("j", 3))
    first = (server.cwd / "out.jsonl").read_bytes()
    wire.start("j", "in.jsonl", "out.jsonl", clean_start="True", metadata={"overwrite": overwrite})
    assert (server.cwd / "out.jsonl").read_bytes() == b""
    assert len(wire.drain("j")) == 4
    assert [row["n"] for row in read_jsonl(server.cwd / "out.jsonl")] == [0, 1, 2, 3]
    if not overwrite:
        assert (server.cwd / "out.jsonl.1").read_bytes() == first
        wire.start("j", "in.jsonl", "out.jsonl", clean_start="True")
        assert len(read_jsonl(server.cwd / "out.jsonl.2")) == 4
    server.restart()
    assert Wire(server.url).report("j")["received"] == (4 if overwrite else 0)


def test_a_clean_start_that_is_refused_changes_nothing(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(4))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 3))
    before = (server.cwd / "out.jsonl").read_bytes()
    refused(wire.scramble("j", "absent.jsonl", "out.jsonl", clean_start="true"), "absent.jsonl")
    refused(wire.scramble("j", "in.jsonl", "absent/out.jsonl", clean_start="true"), "absent")
    refused(wire.scramble("j", "in.jsonl", "out.jsonl", clean_start="true", writer="Nope"), "Nope")
    assert wire.report("j")["received"] == 3
    assert (server.cwd / "out.jsonl").read_bytes() == before
    assert wire.drain("j") == [3]


def test_a_clean_start_may_have_other_files(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(4))
    write_jsonl(server.cwd / "other.jsonl", numbered(7))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.drain("j")
    wire.start("j", "other.jsonl", "other-out.jsonl", clean_start="true")
    assert len(wire.drain("j")) == 7
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 4
    wire.start("k", "in.jsonl", "out.jsonl")


@pytest.mark.parametrize("spelling", ["./out.jsonl", "sub/../out.jsonl", "sub//.././out.jsonl", "ABSOLUTE", "soft.jsonl", "dir-link/out.jsonl", "hard.jsonl"])
def test_two_jobs_cannot_share_an_output_by_any_spelling(wire, server, spelling):
    write_jsonl(server.cwd / "in.jsonl", numbered(3))
    (server.cwd / "sub").mkdir()
    wire.start("a", "in.jsonl", "out.jsonl")
    (server.cwd / "soft.jsonl").symlink_to("out.jsonl")
    (server.cwd / "dir-link").symlink_to(".")
    os.link(server.cwd / "out.jsonl", server.cwd / "hard.jsonl")
    if spelling == "ABSOLUTE":
        spelling = str(server.cwd / "out.jsonl")
    for more in ({}, {"force_overwrite": "true"}, {"metadata": {"overwrite": True}}):
        refused(wire.scramble("b", "in.jsonl", spelling, **more), "Output path not allowed", spelling)
    wire.give("a", wire.serve("a"))
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 3
    server.restart()
    refused(Wire(server.url).scramble("b", "in.jsonl", spelling), "Output path not allowed")


@pytest.mark.parametrize("spelling", ["in.jsonl", "./in.jsonl", "soft.jsonl", "hard.jsonl"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_job_cannot_write_into_its_own_input(wire, server, spelling, overwrite):
    path = write_jsonl(server.cwd / "in.jsonl", numbered(3))
    before = path.read_bytes()
    (server.cwd / "soft.jsonl").symlink_to("in.jsonl")
    os.link(path, server.cwd / "hard.jsonl")
    refused(wire.scramble("j", "in.jsonl", spelling, metadata={"overwrite": overwrite}), "input")
    assert path.read_bytes() == before
    wire.start("j", "in.jsonl", "out.jsonl")
    refused(wire.scramble("j", "in.jsonl", spelling, clean_start="true", metadata={"overwrite": overwrite}), "input")
    assert path.read_bytes() == before


def test_an_output_in_use_by_another_server(tutti):
    a, b = tutti(), tutti()
    write_jsonl(a.cwd / "in.jsonl", numbered(3))
    b.restart(args=["--root", str(a.cwd)])
    Wire(a.url).start("j", "in.jsonl", "out.jsonl")
    refused(Wire(b.url).scramble("j", "in.jsonl", "out.jsonl"), "out.jsonl")


# ---- clean, delete, purge ----


def test_a_cleaned_job_goes_on_in_a_new_file(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 4))
    assert wire.get("/clean", job_name="j").status == 200
    assert not (server.cwd / "out.jsonl").exists()
    server.restart()
    wire = Wire(server.url)
    assert wire.drain("j", 3) == list(range(4, 10))
    assert [row["n"] for row in read_jsonl(server.cwd / "out.jsonl")] == list(range(4, 10))
    server.restart()
    assert Wire(server.url).report("j")["status"] == "COMPLETE"


def test_a_cleaned_job_whose_path_another_one_took(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(10))
    wire.start("a", "in.jsonl", "out.jsonl")
    items = wire.serve("a", 4)
    assert wire.get("/clean", job_name="a").status == 200
    wire.start("b", "in.jsonl", "out.jsonl")
    refused(wire.receive("a", items), "out.jsonl")
    wire.drain("b")
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 10
    assert wire.report("a")["received"] == 0


def test_a_deleted_job_can_be_started_anew(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(3))
    wire.start("j", "in.jsonl", "out.jsonl", token="t")
    wire.give("j", wire.serve("j", token="t"), token="t")
    assert wire.get("/delete", job_name="j", token="t").status == 200
    server.restart()
    wire = Wire(server.url)
    assert wire.report("j") == {}
    wire.start("j", "in.jsonl", "out.jsonl")
    assert len(wire.drain("j")) == 3, "no token and no states of the old one"
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 6


def test_purge_leaves_foreign_files(wire, server):
    write_jsonl(server.cwd / "in.jsonl", numbered(3))
    (server.cwd / "foreign.jsonl").write_text("mine\n")
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.drain("j")
    assert wire.get("/purge", output="true").status == 200
    assert sorted(p.name for p in server.cwd.iterdir()) == ["d", "foreign.jsonl", "in.jsonl"]
