"""Programs: found, described, checked, and run in the foreground."""
import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
from tutti_process import alive, binary, until

PYTHON = """
class Greet:
    '''Greets.'''
    def __init__(self, name: str, times: int = 1, password: str = "x"):
        self.name, self.times = name, times

    def _run(self):
        self.update("greeting", "started")
        print("hello " * self.times + self.name)
        self.count("greetings", self.times)
        self.update("greeting", "completed")
        return True
"""

DESCRIBE = '#!/bin/sh\nif [ "$1" = --describe ]; then echo \'%s\'; exit; fi\n%s\n'


class Programs:
    """A folder of programs and the command line on it."""

    def __init__(self, place: Path):
        self.dir, self.data = place / "programs", place / "data"
        self.dir.mkdir()

    def add(self, name, text, mode=0o755):
        path = self.dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def script(self, name, body, settings="{}", **more):
        return self.add(name, DESCRIBE % (json.dumps({"settings": json.loads(settings), **more}), body))

    def tutti(self, *args, env={}, **kwargs):
        base = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_")}
        return subprocess.run([binary(), *args, "--programs", self.dir, "--data", self.data], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, env={**base, **env}, **kwargs)

    def here(self, name, *sets, env={}):
        return self.tutti("run", name, "--here", *(part for pair in sets for part in ("--set", pair)), env=env)


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)


# ---- finding and describing ----


def test_a_program_of_each_kind_is_listed(programs):
    programs.add("greet.py", PYTHON, 0o644)
    programs.script("hello", "cat", '{"name":{"type":"str"}}', display_name="Hello", description="Says hello.")
    for name in ("_hidden.py", "base_platform.py", "README.md", "bad name.py", ".dot"):
        programs.add(name, "x", 0o644)
    listed = json.loads(programs.tutti("program", "list", "--json").stdout)["programs"]
    ours = {p["name"]: p for p in listed if p["path"].startswith(str(programs.dir))}
    assert {name: (p["kind"], p["display_name"], p["error"]) for name, p in ours.items()} == {
        "greet": ("python", "Greet", None), "hello": ("executable", "Hello", None)}
    assert ours["greet"]["settings"] == {
        "name": {"type": "str", "default": None, "required": True}, "times": {"type": "int", "default": 1, "required": False},
        "password": {"type": "str", "default": None, "required": False, "secret": True}}
    assert ours["hello"]["description"] == "Says hello."


@pytest.mark.parametrize("text, said", [
    ("import nothing_like_this", "nothing_like_this"),
    ("x = 1", "no class with a method `_run`"),
    ("class A:\n    def _run(self): pass\nclass B:\n    def _run(self): pass\n", "several classes"),
    ("class A:\n    def __init__(self, x): pass\n    def _run(self): pass\n", "parameter `x` of A has neither"),
    ("raise SystemExit(4)", "exit 4"),
    ("def f(:", "SyntaxError"),
])
def test_a_broken_python_program_says_why(programs, text, said):
    programs.add("broken.py", text, 0o644)
    result = programs.tutti("program", "check", str(programs.dir / "broken.py"))
    assert result.returncode == 3 and said in result.stderr, result


@pytest.mark.parametrize("printed, said", [
    ("nonsense", "did not print JSON"), ("[]", "is no object"), ('{"settings":[]}', "must be an object"), ('{"settings":{"a b":{}}}', "`a b`"),
    ('{"settings":{"a":{"type":"enum"}}}', "needs `choices`"), ('{"settings":{"a":{"type":1}}}', "`type` must be a text"),
    ('{"timeout_s":-1}', "`timeout_s`"), ("", "did not print JSON"),
])
def test_a_bad_description_says_why(programs, printed, said):
    programs.add("bad", "#!/bin/sh\ncat <<'END'\n%s\nEND\n" % printed)
    result = programs.tutti("program", "check", str(programs.dir / "bad"))
    assert result.returncode == 3 and said in result.stderr, result


def test_names_are_no_paths(programs):
    programs.add("../outside", DESCRIBE % ("{}", "echo no"))
    for name in ("../outside", "base_platform", "", ".", "a" * 65):
        result = programs.here(name) if "/" not in name else programs.tutti("program", "show", name)
        assert result.returncode == 4, (name, result)


def test_the_first_folder_wins(programs, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    programs.script("same", "echo first")
    (other / "same").write_text(DESCRIBE % ("{}", "echo second"))
    (other / "same").chmod(0o755)
    assert programs.tutti("run", "same", "--here", "--programs", other).stdout == "second\n"  # named before


@pytest.mark.parametrize("kind", ["python", "executable", "c"])
def test_new_programs_work(programs, kind):
    made = programs.tutti("program", "new", "fresh", "--kind", kind, "--dir", programs.dir)
    assert made.returncode == 0, made
    assert programs.tutti("program", "check", made.stdout.strip()).returncode == 0
    result = programs.here("fresh", "name=world")
    assert result.returncode == 0 and "world" in result.stdout and "greeting: completed" in result.stderr, result
    assert programs.tutti("program", "new", "fresh", "--kind", kind, "--dir", programs.dir).returncode == 5


# ---- settings ----

ALL_TYPES = json.dumps({
    "s": {"type": "str"}, "i": {"type": "int", "default": 1}, "f": {"type": "float", "default": 0.5}, "b": {"type": "bool", "default": False},
    "d": {"type": "datetime", "default": None}, "l": {"type": "list", "default": []}, "o": {"type": "dict", "default": {}},
    "e": {"type": "enum", "choices": ["x", "y"], "default": "x"}, "p": {"type": "secret", "default": ""}})


def test_settings_arrive_typed(programs):
    programs.script("show", "cat", ALL_TYPES)
    result = programs.here("show", "s=5", "i=-7", "f=2", "b=yes", "d=2024-02-29 10:30", "l=a, b", 'o={"a":[1]}', "e=y", "p=geheim")
    assert json.loads(result.stdout) == {"s": "5", "i": -7, "f": 2.0, "b": True, "d": "2024-02-29T10:30:00", "l": ["a", "b"], "o": {"a": [1]},
                                         "e": "y", "p": "geheim"}
    result = programs.here("show", "s=")
    assert json.loads(result.stdout) == {"s": "", "i": 1, "f": 0.5, "b": False, "d": None, "l": [], "o": {}, "e": "x", "p": ""}


@pytest.mark.parametrize("sets, said", [
    ([], "the setting 's' is missing: it has no default, so give it a value"),
    (["s=a", "i=2.5"], "'i' expects a whole number, not \"2.5\""), (["s=a", "i="], "'i'"), (["s=a", "f=nan"], "'f' expects a number"),
    (["s=a", "b=maybe"], "'b' expects true or false"), (["s=a", "d=2023-02-29"], "'d' is no date"), (["s=a", "d=today-ish"], "'d' is no date"),
    (["s=a", "l=[1"], "'l' expects a list"), (["s=a", "o=[]"], "'o' expects an object"), (["s=a", "e=z"], "'e' is none of [\"x\",\"y\"]"),
    (["s=a", "nope=1"], "there is no setting 'nope': there are 's', 'i', 'f', 'b', 'd', 'l', 'o', 'e', and 'p'"), (["s=a", "i=x", "b=x"], "'b'"), (["i=99999999999999999999", "s=a"], "'i'"),
])
def test_a_wrong_setting_is_named(programs, sets, said):
    programs.script("show", "cat", ALL_TYPES)
    result = programs.here("show", *sets)
    assert result.returncode == 2 and said in result.stderr and result.stdout == "", result


# ---- running ----


def test_progress_result_and_log(programs):
    programs.add("greet.py", PYTHON, 0o644)
    result = programs.tutti("run", "greet", "--here", "--json", "--set", "name=world", "--set", "times=2")
    assert json.loads(result.stdout) == {"schema": 1, "result": True, "progress": {"greeting": "completed"}, "counters": {"greetings": 2}, "bad_lines": 0}
    assert "hello hello world" in result.stderr


def test_a_failure_says_why(programs):
    programs.script("fails", "echo before; echo last words >&2; exit 3")
    result = programs.here("fails")
    assert result.returncode == 1 and "exit 3" in result.stderr and "last words" in result.stderr, result
    programs.script("says", "echo '{\"error\":\"the site is closed\"}' >&3; exit 1")
    result = programs.here("says")
    assert result.returncode == 1 and "the site is closed" in result.stderr, result
    programs.add("raises.py", "class A:\n    def _run(self):\n        raise ValueError('no such day')\n", 0o644)
    result = programs.here("raises")
    assert result.returncode == 1 and "ValueError: no such day" in result.stderr, result
    assert 'raises.py", line 3, in _run' in result.stdout + result.stderr


def test_garbage_on_descriptor_3_hurts_nobody(programs):
    programs.script("garbage", "head -c 300000 /dev/urandom >&3; echo >&3; echo '{\"progress\":{\"a\":\"done\"}}' >&3; echo '{\"what\":1}' >&3; echo fine")
    result = programs.here("garbage")
    assert result.returncode == 0 and "fine" in result.stdout and "a: done" in result.stderr, result
    assert "lines on descriptor 3 were not understood" in result.stdout


def test_what_is_left_behind_is_killed(programs, tmp_path):
    programs.script("hides", "(trap '' TERM HUP; setsid sleep 600 >/dev/null 2>&1 3>&- & echo $! >%s/pid); exit 0" % tmp_path)
    assert programs.here("hides").returncode == 0
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_time_limit_ends_all_of_it(programs, tmp_path):
    programs.script("stays", "trap '' TERM; sleep 600 & echo $! >%s/pid; wait; sleep 600" % tmp_path, timeout_s=1)
    result = programs.here("stays")
    assert result.returncode == 124, result
    assert not alive(int((tmp_path / "pid").read_text()))


def test_tokens_do_not_reach_programs(programs):
    programs.add("shows", "#!/bin/sh\nenv >>%s/_env\nif [ \"$1\" = --describe ]; then echo '{}'; else env; fi\n" % programs.dir)
    result = programs.here("shows", env={"TUTTI_SERVER_TOKEN": "geheim-geheim", "PLANCHET_MASTER_TOKEN": "geheim-geheim", "OTHER": "open"})
    assert "geheim" not in (programs.dir / "_env").read_text()
    assert result.returncode == 0 and "geheim" not in result.stdout and "OTHER=open" in result.stdout, result


# ---- the server knows them ----


def test_platforms_get_in_the_older_shape(tutti, programs):
    programs.script("country_map_update", "true", description="Maps.")
    programs.add("broken.py", "import nothing_like_this", 0o644)
    t = tutti(args=["--programs", str(programs.dir)])
    answer = t.get("/platforms/get")
    assert answer.status == 200 and answer.body.startswith(b'{"status": "Success", "message": {"')
    message = answer.json["message"]
    assert message["country_map_update"] == {"display_name": "CountryMapUpdate", "settings": {}, "description": "Maps."}
    assert "nothing_like_this" in message["broken"]["error"] and message["broken"]["display_name"] == "Broken"
    assert t.get("/system/alive").body == b"Alive"
    assert t.post("/system/alive").json == {"status": "Success", "message": {"Ledger": True, "Workers": False, "reasons": {"Workers": "none is attached"}}}
    assert t.get("/v1/programs/nope").status == 404


def test_alive_asks_every_connected_service(tutti, redis, tmp_path):
    store = redis()
    (tmp_path / "t.ini").write_text("[sql.shop]\nurl = sqlite://%s\n[sql.away]\nurl = postgresql://nobody@127.0.0.1:1/none\n" % (tmp_path / "shop.db"))
    t = tutti(args=["--config", str(tmp_path / "t.ini"), "--redis", "redis://127.0.0.1:%d" % store.port], workers=1)
    message = until(lambda: (lambda m: m["Workers"] and m)(t.post("/system/alive").json["message"]), "a worker has come")
    assert list(message.pop("reasons")) == ["Database away"]
    assert message == {"Redis": True, "Ledger": True, "Workers": True, "Database shop": True, "Database away": False}
    store.kill()
    message = t.post("/system/alive").json["message"]
    assert message["Redis"] is False and message["reasons"]["Redis"], message
    until(lambda: t.get("/health").json["Redis status"] == "Offline", "the mirror has noticed")
    checks = json.loads(subprocess.run([binary(), "doctor", "--data", t.data, "--json"], capture_output=True, timeout=60).stdout)["checks"]
    assert {c["check"]: c["state"] for c in checks if c["check"] in ("mirror", "RQ")} == {"mirror": "warn", "RQ": "skip"}, checks


def test_folders_are_watched(tutti, programs):
    t = tutti(args=["--programs", str(programs.dir)])
    (programs.dir / "late").write_text(DESCRIBE % ('{"display_name":"One"}', ""))
    (programs.dir / "late").chmod(0o755)
    assert t.get("/v1/programs/late").json["display_name"] == "One"
    first = t.get("/v1/programs/late").json["hash"]
    programs.add("late", DESCRIBE % ('{"display_name":"Two"}', ""))
    assert t.get("/v1/programs/late").json["display_name"] == "Two"
    assert t.get("/v1/programs/late").json["hash"] != first
    (programs.dir / "late").unlink()
    assert t.get("/v1/programs/late").status == 404
    own = t.data / "programs" / "own"
    own.write_text(DESCRIBE % ("{}", ""))
    own.chmod(0o755)
    assert t.get("/v1/programs/own").status == 200


# ---- in C ----

C = """#include <tutti/program.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static const tutti_setting settings[] = {
    {"how", TUTTI_ENUM, "well", .choices = "well|crash|exit|fail|code|hang|fill|fork|count"}, {"n", TUTTI_INT, "0"}, {"x", TUTTI_FLOAT, "0.5"},
    {"flag", TUTTI_BOOL, "false"}, {"list", TUTTI_LIST, "[]"}, {"key", TUTTI_SECRET, ""}, {"day", TUTTI_DATETIME, .optional = 1}, {0}};
static int calls;
static int run(const tutti_host *t)
{
    calls++;
    t->update(t, "how", t->text(t, "how"));
    switch (t->text(t, "how")[0] * 256 + t->text(t, "how")[1]) {
    case 'c' * 256 + 'r': printf("last words"); fflush(stdout); abort();
    case 'e' * 256 + 'x': exit(0);
    case 'f' * 256 + 'a': t->fail(t, "the site says %d", 404); return 1;
    case 'h' * 256 + 'a': for (;;) pause();
    case 'f' * 256 + 'i': for (;;) { char *p = malloc(1 << 20); if (!p) { t->fail(t, "no memory"); return 2; } for (int i = 0; i < 1 << 20; i += 4096) p[i] = 1; }
    case 'f' * 256 + 'o': if (fork() == 0) { setsid(); close(1); close(2); for (;;) pause(); } return 0;
    }
    if (t->store(t, "{}") != -1 || t->result(t, "nonsense") != -1)
        return 9;
    char text[300];
    snprintf(text, sizeof text, "{\\"n\\":%lld,\\"x\\":%g,\\"flag\\":%d,\\"list\\":%s,\\"day\\":\\"%s\\",\\"calls\\":%d,\\"pid\\":%d}", (long long)t->integer(t, "n"), t->number(t, "x"),
             t->flag(t, "flag"), t->text(t, "list"), t->text(t, "day"), calls, (int)getpid());
    t->count(t, "rows", 2);
    t->count(t, "rows", 3);
    t->log(t, "in the log");
    return t->result(t, text);
}
TUTTI_PROGRAM(.display_name = "In C", .description = "For tests.", .settings = settings, .run = run);
"""


def test_a_breakpoint_opens_the_debugger_on_the_terminal(programs):
    programs.add("stops.py", "class P:\n    def __init__(self, name: str):\n        self.name = name\n\n    def _run(self):\n        breakpoint()\n        return self.name\n")
    command = [str(binary()), "run", "stops", "--set", "name=Ann", "--here", "--programs", str(programs.dir), "--data", str(programs.data)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    seen = b""

    def until_shown(text):
        nonlocal seen
        while text not in seen:
            assert select.select([terminal], [], [], 60)[0], seen
            seen += os.read(terminal, 65536)
        seen = seen.partition(text)[2]
    until_shown(b"(Pdb) ")
    os.write(terminal, b"p self.name * 2\n")
    until_shown(b"'AnnAnn'")
    until_shown(b"(Pdb) ")
    os.write(terminal, b"c\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)


def test_a_c_program_is_compiled_described_and_run(programs):
    programs.add("inc.c", C, 0o644)
    shown = json.loads(programs.tutti("program", "show", "inc", "--json").stdout)
    assert (shown["kind"], shown["display_name"], shown["error"]) == ("c", "In C", None)
    assert shown["settings"]["how"] == {"type": "enum", "default": "well", "required": False, "choices": ["well", "crash", "exit", "fail", "code", "hang", "fill", "fork", "count"]}
    assert shown["settings"]["key"]["secret"] is True and shown["settings"]["day"] == {"type": "datetime", "default": None, "required": False}
    result = programs.tutti("run", "inc", "--here", "--json", "--set", "n=-5", "--set", "x=2.5", "--set", "flag=on", "--set", "list=a,b", "--set", "day=2026-01-31")
    said = json.loads(result.stdout)
    assert said["result"].pop("pid") and said["counters"] == {"rows": 5} and "in the log" in result.stderr, result
    assert said["result"] == {"n": -5, "x": 2.5, "flag": 1, "list": ["a", "b"], "day": "2026-01-31T00:00:00", "calls": 1}


@pytest.mark.parametrize("how, code, said", [
    ("crash", 1, "Aborted): last words"), ("exit", 1, "ended its process"), ("fail", 1, "the site says 404"),
])
def test_how_c_programs_end(programs, how, code, said):
    programs.add("inc.c", C, 0o644)
    result = programs.here("inc", "how=" + how)
    assert result.returncode == code and said in result.stderr, result


def test_limits_and_leftovers_of_c_programs(programs):
    programs.add("inc.c", C, 0o644)
    result = programs.here("inc", "how=hang", env={"TUTTI_PROGRAMS_TIMEOUT": "1s"})
    assert result.returncode == 124, result
    result = programs.here("inc", "how=fill", env={"TUTTI_PROGRAMS_MEMORY": "200MiB"})
    assert result.returncode == 1 and "memory" in result.stderr, result
    marked = {"TUTTI_TEST_MARK": str(programs.dir)}
    assert programs.here("inc", "how=fork", env=marked).returncode == 0
    mark = b"TUTTI_TEST_MARK=" + str(programs.dir).encode()
    left = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            left += [path] if mark in path.read_bytes() else []
        except OSError:
            pass
    assert left == []


def test_a_flood_of_log_is_cut_and_said(programs):
    programs.script("floods", "head -c 40000000 /dev/zero | tr '\\0' 'x' | fold -w 1000; echo the end")
    result = programs.here("floods")
    assert result.returncode == 0 and result.stdout.endswith("the end\n")


def test_maps_are_kept_between_runs(programs):
    programs.add("makes.py", "from tutti.program import write_map\nclass A:\n    def _run(self):\n        write_map('country', {'Germany': 'de'})\n", 0o644)
    programs.add("reads.py", "from platforms.base_platform import BasePlatform\nclass B(BasePlatform):\n    def _run(self):\n"
                 "        f = self.get_conversion_map('country', '__')\n        return [f('GERMANY'), f('x')]\n", 0o644)
    assert "there is no conversion map" in programs.here("reads").stderr
    assert programs.here("makes").returncode == 0
    assert json.loads(programs.tutti("run", "reads", "--here", "--json").stdout)["result"] == ["de", "__"]


PLATFORM = """
from datetime import datetime
from pandas import DataFrame
from .base_platform import BasePlatform


class PrivateScrapingPlatform2(BasePlatform):
    API_URL = 'http://api.url'

    def __init__(self, username: str, password: str, start_date: datetime, end_date: datetime, storage: dict):
        super().__init__()
        STORAGE_OPTIONS = {'mysql': self._store_mysql, 'mail': self._send_mail}
        self.start_date = start_date
        self._store = STORAGE_OPTIONS[storage['type']]
        self._storage_settings = storage['settings']

    def _run(self):
        data = DataFrame({'channel': ['1234-5678', 'bad'], 'spend': [1.5, float('nan')], 'n': [1, 2], 'day': [self.start_date] * 2})
        self.update('original', data.to_csv())
        data['channel'] = self._regex(column=data['channel'], pattern=r'^(\\d{4}-\\d{4})$', fallback='9999-9999')
        self.update('processing', 'completed')
        self._store(data, self._storage_settings)
        return True
"""


def test_a_platform_of_the_older_collector_runs_in_place(programs):
    pytest.importorskip("pandas")
    programs.add("private_scraping_platform_2.py", PLATFORM, 0o644)
    programs.add("base_platform.py", "raise ImportError('the older one')", 0o644)
    result = programs.here("private_scraping_platform_2", "username=a", "password=b", "start_date=2026-01-02", "end_date=today",
                           'storage={"type":"mysql","settings":{"table":"t"}}', env={"TUTTI_PROGRAMS_PYTHON": sys.executable})
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"channel": "1234-5678", "spend": 1.5, "n": 1, "day": "2026-01-02T00:00:00"},
        {"channel": "9999-9999", "spend": None, "n": 2, "day": "2026-01-02T00:00:00"}], result
    assert "processing: completed" in result.stderr


def test_a_c_program_that_does_not_compile_says_where(programs):
    programs.add("wrong.c", "#include <tutti/program.h>\nint x = y;\n", 0o644)
    result = programs.tutti("program", "check", str(programs.dir / "wrong.c"))
    assert result.returncode == 3 and re.search(r"wrong.c:2:\d+: error: .*y", result.stderr), result
    programs.add("empty.c", "int x;\n", 0o644)
    assert "no TUTTI_PROGRAM" in programs.tutti("program", "check", str(programs.dir / "empty.c")).stderr
    result = programs.tutti("program", "check", str(programs.dir / "empty.c"), env={"TUTTI_PROGRAMS_COMPILER": "no-such-compiler"})
    assert result.returncode == 3 and "there is no compiler `no-such-compiler`" in result.stderr, result


def test_compiled_programs_are_kept_by_content(programs):
    path = programs.add("inc.c", C, 0o644)
    cache = programs.data / "cache" / "programs"
    assert programs.here("inc").returncode == 0
    first = list(cache.iterdir())
    assert programs.here("inc").returncode == 0 and list(cache.iterdir()) == first
    path.write_text(C.replace("return 9", "return 8"))
    assert programs.here("inc").returncode == 0
    assert len(list(cache.iterdir())) == 1 and list(cache.iterdir()) != first


def test_the_configuration_says_more_about_a_program(programs, tmp_path):
    """[program.NAME]: its own Python with its own packages, limits, and flags of the compiler; what is wrong there is said with that program alone."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "only_here.py").write_text("WORD = 'from a package of its own'\n")
    own = programs.add("_python", "#!/bin/sh\nPYTHONPATH=%s:$PYTHONPATH exec %s \"$@\"\n" % (site, sys.executable))
    programs.add("wants.py", "import only_here\nclass A:\n    def _run(self):\n        print(only_here.WORD)\n", 0o644)
    programs.add("shouts.c", "#include <math.h>\n#include <tutti/program.h>\n"
                 "static int run(const tutti_host *t) { t->log(t, \"%s %g\", WORD, cbrt((double)t->integer(t, \"n\"))); return 0; }\n"
                 "static const tutti_setting settings[] = {{\"n\", TUTTI_INT, \"27\"}, {0}};\nTUTTI_PROGRAM(.settings = settings, .run = run);\n", 0o644)
    programs.script("stays", "sleep 600")
    programs.script("odd", "true")
    (tmp_path / "t.ini").write_text("[program.wants]\npython = %s\n[program.shouts]\ncflags = -O1 -DWORD=\"loud\"\nlibs = -lm\n"
                                    "[program.stays]\ntimeout = 1s\nmemory = 512MiB\n[program.odd]\ntimeout = soon\n" % own)
    more = ("--config", str(tmp_path / "t.ini"))
    assert "only_here" in programs.here("wants").stderr, "the usual Python has no such package"
    assert programs.tutti("run", "wants", "--here", *more).stdout == "from a package of its own\n"
    assert programs.tutti("run", "shouts", "--here", *more).stdout == "loud 3\n"
    shown = json.loads(programs.tutti("program", "show", "stays", "--json", *more).stdout)
    assert (shown["timeout_s"], shown["memory_bytes"]) == (1, 512 << 20)
    assert programs.tutti("run", "stays", "--here", *more).returncode == 124
    assert "soon" in programs.tutti("program", "show", "odd", *more).stdout and programs.tutti("run", "odd", "--here", *more).returncode == 2
    (tmp_path / "t.ini").write_text("[program.odd]\ntimout = 1s\n")
    refused = programs.tutti("run", "stays", "--here", *more)
    assert refused.returncode == 2 and "`timout`, which is unknown: it may say python, timeout" in refused.stderr, refused
