"""The fourth act of script/demo: a pipeline, from a partner's files on an SFTP server to metrics.

What the package manager knows of this machine (packages, as they are and as they were before the last change; when each was built and installed, and when each of its files was last
read) lies as delimited text on an SFTP server of its own: Debian's sshd, as the current user, with keys made for it. A pipeline of the transforms that are part of tutti
fetches it, cleans it step by step in the lake, asks it for a funnel, and brings the metrics back to the partner; a worker is killed on the way; and a few lines of Python count
the same from the same files."""
from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from demo import ROOT, DemoFailed, Screen, Tutti, arguments, children, free_port, grouped, play_act

DPKG = Path("/var/lib/dpkg")
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
LIMIT_S = 60.0
SECRET = "demo/partner/sftp/read"
ENCODING = "latin-1"
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


class Event(NamedTuple):
    package: str
    event: str
    at: str
    file: str


def time_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def events_of(packages: List[Package], lists: Path) -> Iterator[Event]:
    """When a package was built and installed, by dpkg's own files, and when each of its files was last read."""
    for package in packages:
        own = list_of(lists, package.name, package.architecture)
        sums = own.with_suffix(".md5sums") if own else None
        if not own or not sums or not sums.is_file():
            continue
        yield Event(package.name, "built", time_of(sums.stat().st_mtime), "")
        yield Event(package.name, "installed", time_of(own.stat().st_mtime), "")
        for path in own.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                state = os.lstat(path)
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(state.st_mode) and "|" not in path and '"' not in path:
                yield Event(package.name, "read", time_of(state.st_atime), path)


def write_packages(path: Path, packages: List[Package]) -> None:
    """As partners send them: two lines that are none, Latin-1, the line ends of another system."""
    with open(path, "w", newline="", encoding=ENCODING, errors="replace") as out:
        out.write("Packages of this machine\r\nnot for print\r\n")
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        writer.writerow(["Package", "Architecture", "Status", "Section", "Size", "Installed", "Maintainer"])
        writer.writerows(packages)


def write_files(folder: Path, dpkg: Path) -> Tuple[int, int]:
    """The files of the partner; how many packages and events there are."""
    current = list(packages_of(dpkg / "status", dpkg / "info"))
    events = list(events_of(current, dpkg / "info"))
    write_packages(folder / "packages.txt", current)
    write_packages(folder / "packages-before.txt", list(packages_of(dpkg / "status-old", dpkg / "info")))
    (folder / "areas.csv").write_text("section,area\n" + "".join("%s,%s\n" % one for one in sorted(AREAS.items())))
    with open(folder / "events.txt", "w", encoding="utf-8", errors="replace") as out:
        out.write("package|event|at|file\n")
        out.writelines("|".join(event) + "\n" for event in events)
    return len(current), len(events)


class Sftp:
    """Debian's sshd on a free port, for the current user, whose keys were made for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.port = folder, folder / "outgoing", free_port()
        self.files.mkdir(parents=True)
        (folder / "incoming").mkdir()
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

def step(name: str, template: str, place: int, /, **variables: Any) -> Dict[str, Any]:
    return {"name": name, "template": template, "order": place, "variables": variables}


def pipeline_of(sftp: Sftp) -> Dict[str, Any]:
    """As its YAML file would have it: each transformation takes what the one before has published for this run."""
    def lake(source: str, target: str) -> Dict[str, Any]:
        return {"input": "lake:" + source, "output": "lake:" + target, **({} if source.startswith("raw/") else {"input_run": "this"})}

    login = {"key": "secret:" + SECRET, "host_key": sftp.fingerprint}
    funnel = {"sequence": [{"filter": ["event", "==", one]} for one in ("built", "installed", "read")], "timeToConvert": True, "breakdown": {"column": "area", "top": 20}}
    of_step = "part = 'breakdown' and measure = 'groups' and step = %d"
    return {
        "pipeline": "packages", "company": "debian", "brand": "demo", "retries": 5, "retry_delay_s": 0,
        "states": [
            {"state": "raw", "transformations": [step("mirror", "sftp_mirror", 0, url=sftp.url("outgoing/"), **login)]},
            {"state": "ingest", "transformations": [
                step("read_packages", "read_delimited", 0, **lake("raw/packages*.txt", "ingest/lines"), input_separator=";", as_text=True, skip_rows=2, encoding=ENCODING),
                step("read_events", "read_delimited", 0, **lake("raw/events.txt", "ingest/events_text"), input_separator="|", as_text=True),
                step("read_areas", "read_delimited", 0, **lake("raw/areas.csv", "ingest/areas")),
                step("name_columns", "map_columns", 1, **lake("ingest/lines", "ingest/named"),
                     columns={"package": "Package", "architecture": "Architecture", "status": "Status", "section": "Section", "kilobytes": "Size", "installed": "Installed"},
                     required=["package", "status"]),
                step("read_times", "parse_dates", 1, **lake("ingest/events_text", "ingest/events"), columns=["at"], format="%Y-%m-%d %H:%M:%S", to="datetime"),
                step("read_sizes", "cast_numbers", 2, **lake("ingest/named", "ingest/sized"), columns=["kilobytes"], bad="null"),
                step("read_dates", "parse_dates", 3, **lake("ingest/sized", "ingest/packages"), columns=["installed"], format="%d.%m.%Y", bad="null")]},
            {"state": "master", "transformations": [
                step("clean", "clean_text", 0, **lake("ingest/packages", "master/clean"), columns=["status", "section"], case="lower", to_blank="/"),
                step("one_word_each", "replace_values", 1, **lake("master/clean", "master/worded"), columns=["status"],
                     values={"install ok installed": "installed", "hold ok installed": "installed"}),
                step("each_once", "dedupe", 2, **lake("master/worded", "master/once"), keys=["package", "architecture"], keep="last"),
                step("installed_ones", "keep_in_domain", 3, **lake("master/once", "master/packages"), column="status", values=["installed"], rejects="lake:master/not_installed")]},
            {"state": "enrich", "transformations": [
                step("find_area", "lookup_map", 0, **lake("master/packages", "enrich/with_area"), map="lake:ingest/areas", on={"section": "section"}, take={"area": "area"}),
                step("or_others", "fill_null", 1, **lake("enrich/with_area", "enrich/filled"), columns=["area"], **{"with": "value"}, value="others"),
                step("how_large", "case_when", 2, **lake("enrich/filled", "enrich/packages"), column="size", cases=[
                    {"when": "kilobytes >= 10240", "then": "large"}, {"when": "kilobytes >= 1024", "then": "medium"}], otherwise="small"),
                step("area_of_events", "lookup_map", 3, **lake("ingest/events", "enrich/events"), map="lake:enrich/packages", on={"package": "package"}, take={"area": "area"},
                     missing="reject")]},
            {"state": "metrics", "transformations": [
                step("funnel", "funnel_query", 0, **lake("enrich/events", "metrics/funnel"), group="package", time="at", query={"funnel": funnel}),
                step("largest", "pick_row", 0, **lake("enrich/packages", "metrics/largest"), by=["area"], order=["kilobytes", "package"], which="last"),
                step("installed_then", "filter", 1, **lake("metrics/funnel", "metrics/installed"), where=of_step % 2),
                step("read_since", "filter", 1, **lake("metrics/funnel", "metrics/read"), where=of_step % 3),
                step("with_read", "lookup_map", 2, **lake("metrics/installed", "metrics/both"), map="lake:metrics/read", on={"value": "value"}, take={"read": "number"}),
                step("with_largest", "lookup_map", 3, **lake("metrics/both", "metrics/usage"), map="lake:metrics/largest", on={"value": "area"},
                     take={"largest": "package", "kilobytes": "kilobytes"})]},
            {"state": "dimensional", "transformations": [
                step("layout", "map_columns", 0, **lake("metrics/usage", "dimensional/usage"),
                     columns={"area": "value", "packages": "number", "read": "read", "largest": "largest", "kilobytes": "kilobytes"}),
                step("report", "write_delimited", 1, input="lake:dimensional/usage", input_run="this", output="usage.csv", separator=";"),
                step("to_partner", "publish", 1, input="lake:dimensional/usage", input_run="this", url=sftp.url("incoming/"), name="usage_{run_id}.csv", separator=";", **login)]}]}


# ---- the same, counted by hand ----

class Usage(NamedTuple):
    packages: int
    read: int
    largest: str
    kilobytes: int


def funnel_by_hand(files: Path) -> Dict[str, int]:
    """Of each package how far it came: built, then installed, then read."""
    times: Dict[str, Dict[str, List[str]]] = defaultdict(lambda: defaultdict(list))
    with open(files / "events.txt", encoding="utf-8") as lines:
        for line in list(lines)[1:]:
            package, event, at, _ = line.rstrip("\n").split("|")
            times[package][event].append(at)
    levels = {}
    for package, own in times.items():
        last, levels[package] = "", 0
        for event in ("built", "installed", "read"):
            later = [at for at in own[event] if at > last]
            if not later:
                break
            last, levels[package] = min(later), levels[package] + 1
    return levels


def count_by_hand(files: Path) -> Dict[str, Usage]:
    """By area: packages that came to be installed, those that were read since, and the largest one."""
    levels, areas, largest = funnel_by_hand(files), {}, defaultdict(lambda: (-1, ""))
    with open(files / "packages.txt", newline="", encoding=ENCODING) as lines:
        for row in csv.DictReader(list(lines)[2:], delimiter=";"):
            if row["Status"].split()[-1:] == ["installed"]:
                area = areas[row["Package"]] = AREAS.get(row["Section"].lower().replace("/", " "), "others")
                if row["Size"]:
                    largest[area] = max(largest[area], (int(row["Size"].split()[0].replace(",", "")), row["Package"]))
    reached: Dict[str, List[int]] = defaultdict(lambda: [0, 0])
    for package, area in areas.items():
        for i in range(2):
            reached[area][i] += levels.get(package, 0) >= 2 + i
    return {area: Usage(*reached[area], largest[area][1], max(0, largest[area][0])) for area in reached if reached[area][0]}


# ---- the act ----

def run_tutti(program: Path, folder: Path, *words: str, given: Optional[str] = None) -> str:
    done = subprocess.run([str(program), *words, "--data", "data"], cwd=folder, input=given, stdin=None if given else subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise DemoFailed("tutti %s: %s" % (" ".join(words[:2]), done.stderr.strip()))
    return done.stdout


def get(tutti: Tutti, path: str) -> Any:
    with urllib.request.urlopen(tutti.url + path, timeout=LIMIT_S) as answer:
        return json.load(answer)


def kill_worker(tutti: Tutti, name: str) -> bool:
    """The process of this worker; false: it is gone already."""
    assert tutti.process
    victims = [pid for pid in children(tutti.process.pid) if arguments(pid)[1:2] == ["worker"] and "--name=" + name in arguments(pid)]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return bool(victims)


def told(task: Dict[str, Any]) -> str:
    """What a transformation did, in a few words."""
    made = task["result"]["result"]
    if "files" in made:
        return "%s file%s" % (grouped(made["files"]), "" if made["files"] == 1 else "s")
    return "%s rows%s" % (grouped(made["rows_out"]), ", %s rejected" % grouped(made["rejects"]) if made.get("rejects") else "")


def watch(tutti: Tutti, run: str, names: List[Tuple[str, str]], screen: Screen) -> int:
    """Until the run has ended, with a line for each transformation; a worker is killed with one in its hands. How many were."""
    shown, kills, deadline = 0, 0, time.monotonic() + LIMIT_S
    while shown < len(names):
        for task in get(tutti, "/v1/runs/%s/tasks" % run)["tasks"]:
            if task["state"] == "failed":
                raise DemoFailed("%s failed: %s" % (names[task["number"]][1], task["reason"]))
            if task["state"] == "running" and shown and not kills and kill_worker(tutti, task["worker"]):
                kills += 1
                screen.kill("a worker killed (SIGKILL) with `%s` in its hands" % names[task["number"]][1])
            if task["number"] == shown and task["state"] == "finished":
                screen.line("    %-12s %-15s %s%s" % (*names[shown], told(task), ", at the second attempt" if task["attempts"] > 1 else ""))
                shown += 1
        if time.monotonic() > deadline:
            raise DemoFailed("not done after %d s" % LIMIT_S)
        if kills:
            time.sleep(0.02)
    return kills


def show(path: Path, screen: Screen) -> Dict[str, Usage]:
    """The metrics, as the partner has them now."""
    with open(path, newline="", encoding="utf-8") as lines:
        found = {row["area"]: Usage(*(int(float(row[one] or 0)) for one in ("packages", "read")), row["largest"], int(float(row["kilobytes"] or 0))) for row in csv.DictReader(lines, delimiter=";")}
    screen.line("\n    %-12s %9s %11s   %s" % ("area", "packages", "read since", "the largest"))
    for area, usage in sorted(found.items(), key=lambda one: -one[1].packages):
        bar = "█" * round(10 * usage.read / max(usage.packages, 1))
        screen.line("    %-12s %9s %11s   %s %s" % (area, grouped(usage.packages), grouped(usage.read), screen.paint("36", bar) + "·" * (10 - len(bar)), usage.largest[:34]))
    screen.line()
    return found


def play(program: Path, folder: Path, dpkg: Path, screen: Screen) -> None:
    sftp = Sftp(folder / "partner")
    sftp.start()
    tutti = Tutti(program, folder, workers=2)
    try:
        packages, events = write_files(sftp.files, dpkg)
        if not packages:
            raise DemoFailed("no packages in %s: this demo wants a Debian" % dpkg)
        screen.good("a partner at sftp://127.0.0.1:%d: %s packages, %s events" % (sftp.port, grouped(packages), grouped(events)))
        tutti.start()
        run_tutti(program, folder, "secret", "set", SECRET, "--file", "-", given=(sftp.folder / "key").read_text())
        pipeline = pipeline_of(sftp)
        names = [(state["state"], one["name"]) for state in pipeline["states"] for one in state["transformations"]]
        (folder / "packages.yaml").write_text(json.dumps(pipeline))
        screen.good("a pipeline of %d transformations, by way of the lake:" % len(names))
        kills = watch(tutti, run_tutti(program, folder, "pipeline", "run", "-f", "packages.yaml").strip(), names, screen)
        found = show(sftp.folder / "incoming" / "usage_1.csv", screen)
        same = (folder / "usage.csv").read_bytes() == (sftp.folder / "incoming" / "usage_1.csv").read_bytes()
    finally:
        tutti.stop()
        sftp.stop()
    if found != count_by_hand(sftp.files) or not same:
        raise DemoFailed("counted by hand it is %s, and not %s" % (count_by_hand(sftp.files), found))
    screen.good("counted once more by hand, in Python: the same numbers%s" % (" (killed: %d worker)" % kills if kills else ""))


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
