"""The fourth act of script/demo: a pipeline, from a partner's files on an SFTP server to metrics.

What the package manager knows of this machine (packages, as they are and as they were before the last change) lies as delimited text on an SFTP
server of its own: Debian's sshd, as the current user, with keys made for it. A pipeline of the transforms that are part of tutti fetches it, cleans it, and publishes it into the
lake, step by step; and a few lines of Python count the same from the same files."""
from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from demo import ROOT, DemoFailed, Screen, Tutti, free_port, grouped, play_act

DPKG = Path("/var/lib/dpkg")
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
LIMIT_S = 60.0
SECRET = "demo/partner/sftp/read"
AREAS = {"libs": "libraries", "oldlibs": "libraries", "libdevel": "development", "devel": "development", "python": "languages", "perl": "languages", "java": "languages",
         "javascript": "languages", "ruby": "languages", "interpreters": "languages", "golang": "languages", "rust": "languages", "haskell": "languages", "lisp": "languages",
         "web": "network", "net": "network", "httpd": "network", "mail": "network", "fonts": "desktop", "x11": "desktop", "gnome": "desktop", "kde": "desktop", "sound": "desktop",
         "video": "desktop", "graphics": "desktop", "admin": "system", "utils": "system", "shells": "system", "kernel": "system", "database": "databases", "doc": "texts", "text": "texts"}


# ---- what the partner has ----

class Package(NamedTuple):
    name: str
    architecture: str
    status: str
    section: str
    kilobytes: str
    installed: str
    maintainer: str


def packages_of(status: Path, lists: Path) -> Iterator[Package]:
    """One for each paragraph of dpkg's own list."""
    for paragraph in status.read_text(encoding="utf-8", errors="replace").split("\n\n") if status.is_file() else []:
        fields = dict(re.findall(r"^(\S+): (.*)$", paragraph, re.M))
        if "Package" not in fields:
            continue
        size = fields.get("Installed-Size", "")
        file_list = list_of(lists, fields["Package"], fields.get("Architecture", ""))
        installed = datetime.fromtimestamp(file_list.stat().st_mtime, timezone.utc).strftime("%d.%m.%Y") if file_list else ""
        yield Package(fields["Package"], fields.get("Architecture", ""), " %s " % fields.get("Status", ""), fields.get("Section", "").upper(),
                      "{:,} kB".format(int(size)) if size.isdigit() else "", installed, fields.get("Maintainer", ""))


def list_of(lists: Path, package: str, architecture: str) -> Optional[Path]:
    paths = (lists / ("%s:%s.list" % (package, architecture)), lists / (package + ".list"))
    return next((path for path in paths if path.is_file()), None)


def write_packages(path: Path, packages: List[Package]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        writer.writerow(["Package", "Architecture", "Status", "Section", "Size", "Installed", "Maintainer"])
        writer.writerows(packages)


def write_files(folder: Path, dpkg: Path) -> int:
    """The files of the partner; how many packages there are."""
    current = list(packages_of(dpkg / "status", dpkg / "info"))
    write_packages(folder / "packages.txt", current)
    write_packages(folder / "packages-before.txt", list(packages_of(dpkg / "status-old", dpkg / "info")))
    (folder / "areas.csv").write_text("section,area\n" + "".join("%s,%s\n" % one for one in sorted(AREAS.items())))
    return len(current)


class Sftp:
    """Debian's sshd on a free port, for the current user, whose keys were made for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.port = folder, folder / "outgoing", free_port()
        self.files.mkdir(parents=True)
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True, stdin=subprocess.DEVNULL)
        self.process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (self.folder / "conf").write_text("\n".join([
            "Port %d" % self.port, "ListenAddress 127.0.0.1", "HostKey %s" % (self.folder / "host"), "AuthorizedKeysFile %s" % (self.folder / "key.pub"), "StrictModes no",
            "PidFile none", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "Subsystem sftp %s" % SFTP_SERVER, ""]))
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.folder / "conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + LIMIT_S
        while b"Server listening" not in (self.folder / "log").read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed("sshd does not start:\n" + (self.folder / "log").read_text(errors="replace"))
            time.sleep(0.02)

    @property
    def fingerprint(self) -> str:
        return subprocess.run(["ssh-keygen", "-l", "-f", self.folder / "host"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]

    def url(self, path: str) -> str:
        return "sftp://127.0.0.1:%d%s/%s" % (self.port, self.folder, path)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


# ---- the pipeline ----

def step(name: str, template: str, place: int, **variables: Any) -> Dict[str, Any]:
    return {"name": name, "template": template, "order": place, "variables": variables}


def pipeline_of(sftp: Sftp) -> Dict[str, Any]:
    """As its YAML file would have it: each transformation takes what the one before has published for this run."""
    def lake(source: str, target: str) -> Dict[str, Any]:
        return {"input": "lake:" + source, "output": "lake:" + target, **({} if source.startswith("raw/") else {"input_run": "this"})}

    return {
        "pipeline": "packages", "company": "debian", "brand": "demo", "retries": 5, "retry_delay_s": 0,
        "states": [
            {"state": "raw", "transformations": [step("mirror", "sftp_mirror", 0, url=sftp.url("outgoing/"), key="secret:" + SECRET, host_key=sftp.fingerprint)]},
            {"state": "ingest", "transformations": [
                step("read_packages", "read_delimited", 0, **lake("raw/packages*.txt", "ingest/lines"), input_separator=";", as_text=True),
                step("read_areas", "read_delimited", 0, **lake("raw/areas.csv", "ingest/areas")),
                step("name_columns", "map_columns", 1, **lake("ingest/lines", "ingest/named"),
                     columns={"package": "Package", "architecture": "Architecture", "status": "Status", "section": "Section", "kilobytes": "Size", "installed": "Installed"},
                     required=["package", "status"]),
                step("read_sizes", "cast_numbers", 2, **lake("ingest/named", "ingest/sized"), columns=["kilobytes"], bad="null"),
                step("read_dates", "parse_dates", 3, **lake("ingest/sized", "ingest/packages"), columns=["installed"], format="%d.%m.%Y", bad="null")]},
            {"state": "master", "transformations": [
                step("clean", "clean_text", 0, **lake("ingest/packages", "master/clean"), columns=["status", "section"], case="lower", to_blank="/"),
                step("one_word_for_each", "replace_values", 1, **lake("master/clean", "master/worded"), columns=["status"], values={"install ok installed": "installed", "hold ok installed": "installed"}),
                step("each_once", "dedupe", 2, **lake("master/worded", "master/once"), keys=["package", "architecture"], keep="last"),
                step("installed_ones", "keep_in_domain", 3, **lake("master/once", "master/packages"), column="status", values=["installed"], rejects="lake:master/not_installed")]},
            {"state": "enrich", "transformations": [
                step("find_area", "lookup_map", 0, **lake("master/packages", "enrich/with_area"), map="lake:ingest/areas", on={"section": "section"}, take={"area": "area"}),
                step("or_others", "fill_null", 1, **lake("enrich/with_area", "enrich/filled"), columns=["area"], **{"with": "value"}, value="others"),
                step("how_large", "case_when", 2, **lake("enrich/filled", "enrich/packages"), column="size", cases=[
                    {"when": "kilobytes >= 10240", "then": "large"}, {"when": "kilobytes >= 1024", "then": "medium"}], otherwise="small")]},
            {"state": "metrics", "transformations": [
                step("with_a_size", "filter", 0, **lake("enrich/packages", "metrics/sized"), where="kilobytes > 0"),
                step("largest", "pick_row", 1, **lake("metrics/sized", "metrics/largest"), by=["area"], order=["kilobytes", "package"], which="last")]},
            {"state": "dimensional", "transformations": [
                step("report", "write_delimited", 0, input="lake:metrics/largest", input_run="this", output="largest.csv", separator=";")]}]}


# ---- the same, counted by hand ----

def count_by_hand(files: Path) -> Dict[str, Tuple[str, int]]:
    """The largest installed package of each area."""
    found: Dict[str, Tuple[int, str]] = defaultdict(lambda: (0, ""))
    with open(files / "packages.txt", newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter=";"):
            if row["Status"].split()[-1:] == ["installed"] and row["Size"]:
                area = AREAS.get(row["Section"].lower().replace("/", " "), "others")
                found[area] = max(found[area], (int(row["Size"].split()[0].replace(",", "")), row["Package"]))
    return {area: (package, kilobytes) for area, (kilobytes, package) in found.items() if kilobytes}


# ---- the act ----

def run_tutti(program: Path, folder: Path, *words: str, given: Optional[str] = None) -> str:
    done = subprocess.run([str(program), *words, "--data", "data"], cwd=folder, input=given, stdin=None if given else subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise DemoFailed("tutti %s: %s" % (" ".join(words[:2]), done.stderr.strip()))
    return done.stdout


def get(tutti: Tutti, path: str) -> Any:
    with urllib.request.urlopen(tutti.url + path, timeout=LIMIT_S) as answer:
        return json.load(answer)


def told(task: Dict[str, Any]) -> str:
    """What a transformation did, in a few words."""
    made = task["result"]["result"]
    if "files" in made:
        return "%s file%s" % (grouped(made["files"]), "" if made["files"] == 1 else "s")
    return "%s rows%s" % (grouped(made["rows_out"]), ", %s rejected" % grouped(made["rejects"]) if made["rejects"] else "")


def watch(tutti: Tutti, run: str, names: List[Tuple[str, str]], screen: Screen) -> None:
    """Until the run has ended, with a line for each transformation."""
    shown, deadline = 0, time.monotonic() + LIMIT_S
    while shown < len(names):
        tasks = get(tutti, "/v1/runs/%s/tasks" % run)["tasks"]
        for task in tasks:
            if task["state"] == "failed":
                raise DemoFailed("%s failed: %s" % (task["name"], task["reason"]))
        while shown < len(names) and tasks[shown]["state"] == "finished":
            screen.line("    %-12s %-19s %s" % (names[shown][0], names[shown][1], told(tasks[shown])))
            shown += 1
        if time.monotonic() > deadline:
            raise DemoFailed("not done after %d s" % LIMIT_S)
        time.sleep(0.02)


def show(folder: Path, screen: Screen) -> Dict[str, Tuple[str, int]]:
    """The metrics, as the last transformation wrote them."""
    with open(folder / "largest.csv", newline="", encoding="utf-8") as lines:
        rows = sorted(csv.DictReader(lines, delimiter=";"), key=lambda row: -float(row["kilobytes"]))
    for row in rows[:6]:
        screen.line("    %-12s %-30s %7s MB" % (row["area"], row["package"], grouped(float(row["kilobytes"]) / 1024)))
    return {row["area"]: (row["package"], round(float(row["kilobytes"]))) for row in rows}


def play(program: Path, folder: Path, dpkg: Path, screen: Screen) -> None:
    sftp = Sftp(folder / "partner")
    sftp.start()
    tutti = Tutti(program, folder, workers=2)
    try:
        count = write_files(sftp.files, dpkg)
        if not count:
            raise DemoFailed("no packages in %s: this demo wants a Debian" % dpkg)
        screen.good("a partner at sftp://127.0.0.1:%d: %s packages, as delimited text" % (sftp.port, grouped(count)))
        tutti.start()
        run_tutti(program, folder, "secret", "set", SECRET, "--file", "-", given=(sftp.folder / "key").read_text())
        pipeline = pipeline_of(sftp)
        names = [(state["state"], one["name"]) for state in pipeline["states"] for one in state["transformations"]]
        (folder / "packages.yaml").write_text(json.dumps(pipeline))
        screen.good("a pipeline of %d transformations, into the lake debian/demo" % len(names))
        watch(tutti, run_tutti(program, folder, "pipeline", "run", "-f", "packages.yaml").strip(), names, screen)
        found = show(folder, screen)
    finally:
        tutti.stop()
        sftp.stop()
    if found != count_by_hand(sftp.files):
        raise DemoFailed("counted by hand it is %s, and not %s" % (count_by_hand(sftp.files), found))
    screen.good("counted once more by hand, in Python: the same numbers")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "tutti")
    parser.add_argument("--dpkg", type=Path, default=DPKG, help="where the package manager keeps its lists")
    args = parser.parse_args()

    def act(folder: Path, screen: Screen) -> None:
        if Path(SSHD).exists() and SFTP_SERVER.exists():
            play(args.program.resolve(), folder, args.dpkg, screen)
        else:
            screen.line("    (no sshd is here: script/setup --demo installs openssh-server)")

    return play_act("A pipeline, from a partner's files to metrics", act)


if __name__ == "__main__":
    sys.exit(main())
