"""The demo comes to its end on this machine, and its proof finds what is lost, doubled or damaged."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tutti_process import ROOT, binary

sys.path.insert(0, str(ROOT / "script" / "lib"))
import demo  # noqa: E402
import demo_history  # noqa: E402
import demo_pipeline  # noqa: E402
import demo_report  # noqa: E402

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


def play_history(*arguments):
    return subprocess.run([sys.executable, ROOT / "script" / "lib" / "demo_history.py", "--program", binary(), *map(str, arguments)],
                          capture_output=True, text=True, timeout=110, stdin=subprocess.DEVNULL)


def commit(folder, number, day, **files):
    for name, text in files.items():
        (folder / name).write_text(text)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(folder)]
    subprocess.run([*git, "add", "-A"], check=True)
    when = "2026-01-%02dT00:00:00Z" % day
    subprocess.run([*git, "commit", "-q", "-m", str(number)], check=True, env={**os.environ, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when})


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_the_history_of_a_clone_is_asked(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for number, day in enumerate((1, 2, 4)):
        commit(tmp_path, number, day, **{"f%d" % i: "%d" % min(number, i % 3) for i in range(120)})
    done = play_history("--root", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "240 events: the history of this clone" in done.stdout and "the same funnel" in done.stdout
    assert re.search(r"  1  █+ +120  100.0 %\n +2  [█·]+ +80   66.7 %.* median 1d\S*\n +3  [█·]+ +40   33.3 %", done.stdout), done.stdout


DPKG_LOG = """2026-01-01 10:00:00 startup archives unpack
2026-01-01 10:00:01 install curl:amd64 <none> 7.88
2026-01-01 10:00:01 status half-installed curl:amd64 7.88
2026-01-01 10:00:02 configure curl:amd64 7.88 <none>
2026-01-05 09:00:00 upgrade curl:amd64 7.88 7.89
2026-01-01 10:00:01 install jq:all <none> 1.6
2026-01-01 10:00:01 configure jq:all 1.6 <none>
"""


def test_or_the_log_of_the_package_manager(tmp_path):
    (tmp_path / "dpkg.log").write_text(DPKG_LOG)
    done = play_history("--root", tmp_path, "--log", tmp_path / "dpkg.log")
    assert done.returncode == 0 and "6 events: the package manager's log" in done.stdout and "the same funnel" in done.stdout, done.stdout + done.stderr
    nothing = play_history("--root", tmp_path, "--log", tmp_path / "no.log")
    assert nothing.returncode == 0 and "nothing to ask" in nothing.stdout


def test_a_wrong_funnel_is_noticed(tmp_path, monkeypatch):
    history = demo_history.History("a log", ["install", "configure"], "architecture", list(demo_history.of_packages(DPKG_LOG.splitlines())))
    assert demo_history.count_by_hand(history) == [2, 1]
    monkeypatch.setattr(demo_history, "count_by_hand", lambda history: [2, 2])
    with pytest.raises(demo.DemoFailed, match="counted by hand it is"):
        demo_history.play(binary(), tmp_path, history, demo.Screen(False))


DPKG_STATUS = """Package: curl
Status: install ok installed
Section: web
Installed-Size: 500

Package: gone
Status: deinstall ok config-files
Section: web
Installed-Size: 7

Package: jq
Status: install ok installed
Section: contrib/utils
Installed-Size: 90

Package: wget
Status: install ok installed
Section: web
Installed-Size: 700
"""


@pytest.mark.parametrize("status, told", [(DPKG_STATUS, "the installed packages, 3 rows"), ("", "the programs in")])
def test_a_report_is_fetched_into_a_database(tmp_path, status, told):
    (tmp_path / "status").write_text(status)
    for name in ("awk", "apt", "bash"):
        (tmp_path / name).write_text("x" * 3000)
    done = subprocess.run([sys.executable, ROOT / "script" / "lib" / "demo_report.py", "--program", binary(), "--status", tmp_path / "status", "--programs", tmp_path],
                          capture_output=True, text=True, timeout=110, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told in done.stdout and "the same numbers" in done.stdout and "login: completed" in done.stdout and demo_report.PASSWORD not in done.stdout
    assert re.search(r"1 pages? became [23] rows", done.stdout), done.stdout


def test_a_wrong_table_is_noticed(tmp_path, monkeypatch):
    rows = list(demo_report.of_packages(DPKG_STATUS))
    assert demo_report.count_by_hand(rows) == {"web": [2, 1200], "utils": [1, 90]}
    monkeypatch.setattr(demo_report, "count_by_hand", lambda rows: {})
    with pytest.raises(demo.DemoFailed, match="not what the site has"):
        demo_report.play(binary(), tmp_path, demo_report.Statistics("nothing much", rows), demo.Screen(False))


PAQUETS = """Package: curl
Status: install ok installed
Section: web
Architecture: amd64
Installed-Size: 1500

Package: gone
Status: deinstall ok config-files
Section: web
Architecture: amd64
Installed-Size: 9000

Package: odd
Status: hold ok installed
Section: contrib/odd
Architecture: all
Installed-Size: 7

Package: none
Status: install ok installed
Architecture: all
"""


def pretend_packages(folder):
    """What is installed on a Debian where curl was read since, and odd was not."""
    (folder / "info").mkdir()
    (folder / "status").write_text(PAQUETS)
    (folder / "status-old").write_text(PAQUETS.replace("deinstall ok config-files", "install ok installed"))
    for name, read in (("curl", 3000), ("odd", 1000)):
        (folder / name).write_text("x")
        os.utime(folder / name, (read, 500))
        for ending, text, time in (("list", "/.\n%s\n" % (folder / name), 2000), ("md5sums", "", 1000)):
            path = folder / "info" / ("%s.%s" % (name, ending))
            path.write_text(text)
            os.utime(path, (time, time))


@pytest.mark.skipif(not Path(demo_pipeline.SSHD).exists(), reason="no sshd: script/setup installs openssh-server")
def test_a_pipeline_from_sftp_to_metrics(tmp_path):
    pretend_packages(tmp_path)
    done = subprocess.run([sys.executable, ROOT / "script" / "lib" / "demo_pipeline.py", "--program", binary(), "--dpkg", tmp_path],
                          capture_output=True, text=True, timeout=110, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same numbers" in done.stdout and max(map(len, done.stdout.splitlines())) <= 80, done.stdout
    for line in (r"read_packages +8 rows", r"read_events +6 rows", r"installed_ones +3 rows, 1 rejected", r"to_partner +1 file", r"network +1 +1 +█+ curl", r"others +1 +0 +·+ odd"):
        assert re.search(line, done.stdout), done.stdout


@pytest.mark.skipif(not Path(demo_pipeline.SSHD).exists(), reason="no sshd: script/setup installs openssh-server")
def test_wrong_metrics_are_noticed(tmp_path, monkeypatch):
    pretend_packages(tmp_path)
    demo_pipeline.write_files(tmp_path, tmp_path)
    assert demo_pipeline.count_by_hand(tmp_path) == {"network": (1, 1, "curl", 1500), "others": (1, 0, "odd", 7)}
    monkeypatch.setattr(demo_pipeline, "count_by_hand", lambda files: {})
    with pytest.raises(demo.DemoFailed, match="counted by hand"):
        demo_pipeline.play(binary(), tmp_path, tmp_path, demo.Screen(False))
