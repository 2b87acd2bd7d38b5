"""The demo comes to its end on this machine, and its proof finds what is lost, doubled or damaged."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tutti_process import ROOT, binary

sys.path.insert(0, str(ROOT / "script" / "lib"))
import demo  # noqa: E402

RECORDS = [{"package": "p", "path": "/a"}, {"package": "p", "path": "/a"}, {"package": "q", "path": "/b", "line": 1, "text": "x\n"}]


@pytest.mark.skipif(not Path("/var/lib/dpkg/info").is_dir(), reason="the demo reads Debian's package lists")
def test_the_demo_ends_well():
    done = subprocess.run([sys.executable, ROOT / "script" / "lib" / "demo.py", "--program", binary()],
                          capture_output=True, text=True, timeout=110, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"exactly once +yes", done.stdout)
    assert re.search(r"killed +4 times \(worker, server, worker, tutti\)", done.stdout)


def prove(folder, results):
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (folder / "results.jsonl").write_text("".join(results))
    demo.prove(folder, len(RECORDS))


def result_lines(records):
    return [json.dumps(dict(record, kind="file")) + "\n" for record in records]


def test_the_proof_takes_any_order(tmp_path):
    prove(tmp_path, result_lines(reversed(RECORDS)))
    assert (tmp_path / "results.jsonl.sorted").read_bytes() == (tmp_path / "records.jsonl.sorted").read_bytes()


@pytest.mark.parametrize("results", [
    result_lines(RECORDS[1:]), result_lines(RECORDS + RECORDS[2:]), result_lines([RECORDS[0], RECORDS[2], RECORDS[2]]),
    result_lines(RECORDS[:2] + [dict(RECORDS[2], text="y\n")]), result_lines(RECORDS[:2]) + ['{"package": "q", "pa'], []],
    ids=["lost", "doubled", "one for another", "changed", "torn", "none"])
def test_the_proof_finds(tmp_path, results):
    with pytest.raises(demo.DemoFailed, match="NOT exactly once|no intact record"):
        prove(tmp_path, results)
