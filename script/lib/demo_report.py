"""The second act of script/demo: a report is fetched from a web site and stored in a database.

A local site that asks for a login has the statistics of this machine's packages (or, where there is no package manager, of its programs) on numbered pages. The program
`http_report`, which comes with tutti, logs in with a sealed password, fetches page after page, and its records are brought together in a table of SQLite; then a few lines
of Python count the same."""
from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
import threading
import urllib.parse
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from demo import ROOT, DemoFailed, Screen, Tutti, grouped, play_act

DPKG_STATUS = Path("/var/lib/dpkg/status")
PROGRAMS = Path("/usr/bin")
PER_PAGE = 100
PASSWORD = "not-for-your-eyes"
SECRET = "demo/site/report/read"
SHOWN = 6


class Row(NamedTuple):
    section: str
    packages: int
    kilobytes: int


class Statistics(NamedTuple):
    told: str
    rows: List[Row]


# ---- what is reported ----

def of_packages(text: str) -> Iterator[Row]:
    """One row for each installed package, from dpkg's own list."""
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(\S+): (.*)$", paragraph, re.M))
        if fields.get("Status", "").endswith(" installed") and fields.get("Installed-Size", "").isdigit():
            yield Row(fields.get("Section", "none").rpartition("/")[2], 1, int(fields["Installed-Size"]))


def of_programs(folder: Path) -> Iterator[Row]:
    """One row for each file, by the first letter of its name."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield Row(path.name[0].lower(), 1, path.stat().st_size // 1024)


def find_statistics(status: Path, programs: Path) -> Statistics:
    rows = list(of_packages(status.read_text(encoding="utf-8", errors="replace"))) if status.is_file() else []
    if rows:
        return Statistics("the installed packages", rows)
    return Statistics("the programs in %s" % programs, list(of_programs(programs)))


# ---- the site ----

class Site:
    """A site on a free port with the rows on pages of CSV, for those who have logged in."""

    def __init__(self, rows: List[Row]) -> None:
        self.rows, self.pages_served = rows, 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, status: int, text: str, cookie: Optional[str] = None) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/csv; charset=utf-8")
                self.send_header("Content-Length", str(len(text.encode())))
                if cookie:
                    self.send_header("Set-Cookie", cookie)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self) -> None:
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if form.get("password") == [PASSWORD]:
                    self.answer(200, "welcome", "session=let-me-in")
                else:
                    self.answer(403, "wrong password")

            def do_GET(self) -> None:
                if "session=let-me-in" in self.headers.get("Cookie", ""):
                    self.answer(200, site.page(int(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["page"][0])))
                else:
                    self.answer(403, "log in first")

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.server.server_address[1]

    def page(self, number: int) -> str:
        rows = self.rows[(number - 1) * PER_PAGE:number * PER_PAGE]
        self.pages_served += bool(rows)
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["Section", "Packages", "Kilobytes"])
        writer.writerows(rows)
        return out.getvalue()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


# ---- the act ----

def settings_of(site: Site) -> Dict[str, Any]:
    return {"url": site.url + "/report.csv", "page_param": "page", "format": "csv",
            "login": {"url": site.url + "/login", "form": {"user": "demo", "password": "secret:" + SECRET}, "cookie": "session"},
            "rename": {"Section": "section", "Packages": "packages", "Kilobytes": "kilobytes"},
            "storage": {"type": "sqlite", "settings": {"path": "report.db", "table": "sections"}}}


def count_by_hand(rows: List[Row]) -> Dict[str, List[int]]:
    sums: Dict[str, List[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        sums[row.section][0] += row.packages
        sums[row.section][1] += row.kilobytes
    return dict(sums)


def run_report(program: Path, folder: Path, screen: Screen) -> None:
    """Its log and progress as they come."""
    with subprocess.Popen([str(program), "run", "http_report", "--settings", "settings.json", "--data", "data", "--follow"], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout
        for line in running.stdout:
            screen.line("    " + screen.paint("2", line.rstrip("\n")))
    if running.returncode != 0:
        raise DemoFailed("the report could not be fetched: its exit code is %d" % running.returncode)


def draw(found: Dict[str, List[int]], screen: Screen) -> None:
    largest = sorted(found.items(), key=lambda one: -one[1][1])[:SHOWN]
    for section, (packages, kilobytes) in largest:
        bar = "█" * max(1, round(30 * kilobytes / max(largest[0][1][1], 1)))
        screen.line("    %-14s %6s  %8s MB  %s" % (section, grouped(packages), grouped(kilobytes / 1024), screen.paint("36", bar)))


def play(program: Path, folder: Path, statistics: Statistics, screen: Screen) -> None:
    site, tutti = Site(statistics.rows), Tutti(program, folder, workers=1)
    try:
        with sqlite3.connect(folder / "report.db") as database:
            database.execute("CREATE TABLE sections (section TEXT NOT NULL UNIQUE, packages INTEGER, kilobytes INTEGER)")
        (folder / "settings.json").write_text(json.dumps(settings_of(site)))
        tutti.start()
        sealed = subprocess.run([str(program), "secret", "set", SECRET, "--data", "data", "--file", "-"], cwd=folder, input=PASSWORD, capture_output=True, text=True)
        if sealed.returncode != 0:
            raise DemoFailed("tutti secret set: %s" % sealed.stderr.strip())
        screen.good("a site at %s: %s, %s rows on numbered pages, behind a login" % (site.url, statistics.told, grouped(len(statistics.rows))))
        run_report(program, folder, screen)
        database = sqlite3.connect(folder / "report.db")
        found = {section: [packages, kilobytes] for section, packages, kilobytes in database.execute("SELECT section, packages, kilobytes FROM sections")}
        database.close()
    finally:
        site.stop()
        tutti.stop()
    screen.good("%d page%s became %d rows of a table, in one transaction:" % (site.pages_served, "" if site.pages_served == 1 else "s", len(found)))
    draw(found, screen)
    if found != count_by_hand(statistics.rows):
        raise DemoFailed("the table is not what the site has: %s" % found)
    screen.good("counted once more by hand, in Python: the same numbers")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "tutti")
    parser.add_argument("--status", type=Path, default=DPKG_STATUS, help="the package manager's list")
    parser.add_argument("--programs", type=Path, default=PROGRAMS, help="a folder of programs, where there is no such list")
    args = parser.parse_args()
    return play_act("A report, from a web site into a database",
                    lambda folder, screen: play(args.program.resolve(), folder, find_statistics(args.status, args.programs), screen))


if __name__ == "__main__":
    sys.exit(main())
