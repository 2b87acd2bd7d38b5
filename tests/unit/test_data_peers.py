"""Readers, writers and the JSON validator against Python's own csv and json, on random inputs.

Driven through data_tool (environment DATA_TOOL, set by script/test)."""
import csv
import io
import json
import os
import random
import re
import subprocess

import pytest

TOOL = os.environ.get("DATA_TOOL")
pytestmark = pytest.mark.skipif(not TOOL, reason="DATA_TOOL is not set")


def run(*args, data=b"", ok=True):
    done = subprocess.run([TOOL, *args], input=data, capture_output=True, timeout=60)
    assert not ok or done.returncode == 0, done.stderr
    return done.stdout


def read(path, *args):
    items, bad = [], []
    for line in run("read", str(path), *args).split(b"\n")[:-1]:
        value = json.loads(line)
        (bad if isinstance(value, dict) else items).append(value)
    return items, bad


def random_cell(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return ""
    if kind == 1:
        return str(rng.randrange(-1000, 1000))
    alphabet = 'ab,;"\t\n\r \u00e9\u20ac\U0001f600' if kind < 5 else "abc def"
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 12 if kind < 7 else 300)))


@pytest.mark.parametrize("seed", range(40))
def test_csv_reads_as_python_does(tmp_path, seed):
    rng = random.Random(seed)
    width = rng.randrange(2, 7)
    rows = [[random_cell(rng) for _ in range(width)] for _ in range(rng.randrange(0, 300))]
    text = io.StringIO()
    # Python leaves a CR bare when the line end is LF, and the other way round.
    end, quoting = rng.choice([("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)])
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerow([f"c{i}" for i in range(width)])
    writer.writerows(rows)
    path = tmp_path / "a.csv"
    path.write_bytes(text.getvalue().encode())
    expected = list(csv.reader(io.StringIO(text.getvalue(), newline="")))[1:]
    assert expected == rows
    items, bad = read(path, '{"types":"text","na":"keep","separator":","}')
    assert bad == []
    assert items == [[i, row] for i, row in enumerate(rows)]


@pytest.mark.parametrize("seed", range(40))
def test_sloppy_csv_reads_as_python_does(tmp_path, seed):
    """Any bytes of a small alphabet: quotes in odd places, rows of odd lengths."""
    rng = random.Random(1000 + seed)
    body = "".join(rng.choice('aab,,"\n\r1 ') for _ in range(rng.randrange(0, 400)))
    path = tmp_path / "a.csv"
    path.write_bytes(b"x,y\n" + body.encode())
    expected, odd = [], 0
    for row in csv.reader(io.StringIO(body, newline="")):
        if not row or (len(row) == 1 and row[0].strip(" ") == ""):
            continue  # a blank line; `""` alone as well, which is of the wrong length here
        if len(row) == 2:
            expected.append(row)
        else:
            odd += 1
    items, bad = read(path, '{"types":"text","na":"keep","separator":","}')
    served = [value for _, value in items]
    # A quote that is never closed: Python takes the rest of the file for one cell, we cut that row at its line end.
    if served != expected:
        assert served[:len(expected) - 1] == expected[:-1]
        assert bad


NUMBER = re.compile(r"-?(0|[1-9]\d*|(?=\.\d))(\.\d*)?([eE][+-]?\d+)?\Z")


@pytest.mark.parametrize("seed", range(30))
def test_column_types(tmp_path, seed):
    rng = random.Random(seed)
    pools = [["1", "-2", "0", "12345678901234567890123"], ["1.5", ".5", "5.", "1e3", "-0.25E-2"], ["true", "False", "TRUE"],
             ["007", "1"], ["inf", "1"], ["+1", "1"], ["x", "1"], ["true", "1"], [""]]
    columns = [rng.choice(pools) + [""] * rng.randrange(2) for _ in range(6)]
    rows = [[rng.choice(pool) for pool in columns] for _ in range(rng.randrange(1, 9000))]
    path = tmp_path / "a.csv"
    path.write_text("a,b,c,d,e,f\n" + "".join(",".join(row) + "\n" for row in rows))

    def convert(column):
        full = [cell for cell in column if cell]
        if full and all(NUMBER.match(cell) for cell in full):
            return [json.loads(re.sub(r"\.(?=[eE]|\Z)", ".0", re.sub(r"^(-?)\.", r"\g<1>0.", cell))) if cell else None for cell in column]
        if full and all(cell.lower() in ("true", "false") for cell in full):
            return [cell.lower() == "true" if cell else None for cell in column]
        return [cell or None for cell in column]

    expected = list(zip(*[convert(column) for column in zip(*rows)]))
    items, bad = read(path)
    assert bad == []
    assert [tuple(value) for _, value in items] == expected


def random_value(rng, depth):
    kind = rng.randrange(9)
    if depth and kind < 2:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if depth and kind < 4:
        return {random_text(rng): random_value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return [None, True, False, rng.randrange(-10**20, 10**20), rng.uniform(-1, 1) * 10 ** rng.randrange(-300, 300), random_text(rng)][rng.randrange(6)]


def random_text(rng):
    return "".join(rng.choice('ab,"\\/\n\r\t\b\u00e9\u20ac\U0001f600\u2028\x00\x7f') for _ in range(rng.randrange(0, 20)))


@pytest.mark.parametrize("seed", range(20))
def test_jsonl_reads_as_python_does(tmp_path, seed):
    rng = random.Random(seed)
    lines = []
    for _ in range(rng.randrange(1, 500)):
        text = json.dumps(random_value(rng, 4), ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.3:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(['"', "\\", "[", "}", ",", "0", "", "\x01", "e", "-"]) + text[at + rng.randrange(2):]
        lines.append(text)
    path = tmp_path / "a.jsonl"
    path.write_bytes("\n".join(lines).encode())
    good, bad = {}, []
    for i, line in enumerate(lines):
        try:
            good[i] = json.loads(line)
        except ValueError:
            if line.strip():
                bad.append(i)
    items, bads = read(path)
    assert [b["bad"] for b in bads] == bad
    assert [b["line"] for b in bads] == [i + 1 for i in bad]
    assert {i: value for i, value in items} == good


@pytest.mark.parametrize("seed", range(20))
def test_csv_that_is_written_reads_back(tmp_path, seed):
    rng = random.Random(seed)
    header = [f"c{i}" for i in range(rng.randrange(1, 6))]
    rows = []
    for _ in range(rng.randrange(1, 100)):
        cells = [None if rng.random() < 0.2 else random_text(rng).replace("\x00", "") + rng.choice(["", "x"]) for _ in header]
        rows.append([cell if cell is None or cell.strip(" \t") or len(header) > 1 else "x" for cell in cells])
        if len(header) == 1 and rows[-1] == [None]:
            rows[-1] = ["x"]  # one cell: null and the empty text are the same
    data = "".join(json.dumps(dict(zip(header, row)) if rng.random() < 0.5 else row) + "\n" for row in rows)
    out = run("write", "out.csv", json.dumps(header), data=data.encode())
    assert list(csv.reader(io.StringIO(out.decode(), newline=""))) == [header] + [[cell or "" for cell in row] for row in rows]
    path = tmp_path / "a.csv"
    path.write_bytes(out)
    items, bad = read(path, '{"types":"text","separator":","}')
    assert bad == []
    assert [value for _, value in items] == rows
