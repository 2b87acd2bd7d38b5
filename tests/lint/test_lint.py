"""Each rule of script/lint finds what it is there for, and leaves alone what is good."""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import c_source  # noqa: E402
import rules  # noqa: E402

BANNED = "#pragma GCC poison strcpy system\n"
HOUSE = {"src/base/banned.h": BANNED, "src/base/err.h": '#include "base/banned.h"\n', "src/io/fd.h": "int fd_open(void);\n"}
LONG = "int f(void)\n{\n" + "    g();\n" * 68 + "}\n"  # 71 lines


def split(word):
    """Written so that the rule does not find it here."""
    return word.replace("|", "")


BAD = [
    ("floors", {"src/base/x.c": '#include "io/fd.h"\n'}, "floor 0 includes `io/fd.h`"),
    ("floors", {"src/data/x.c": '#include "ledger/l.h"\n', "src/ledger/l.h": ""}, "floor 2 includes `ledger/l.h`"),
    ("floors", {"src/io/x.c": '#include "fd.h"\n'}, "is no file below src"),
    ("floors", {"src/attic/x.c": ""}, "has no floor"),
    ("include_circles", {"src/io/a.h": '#include "io/b.h"\n', "src/io/b.h": '#include "io/a.h"\n'}, "io/a.h -> io/b.h -> io/a.h"),
    ("own_header_first", {"src/io/fd.c": '#include <stdio.h>\n#include "io/fd.h"\n'}, "does not begin with its own header"),
    ("headers_stand_alone", {"src/io/a.h": "size_t length(void);\n"}, "does not stand alone"),
    ("function_length", {"src/io/a.c": LONG}, "`f` has 71 lines"),
    ("function_length", {"src/io/a.c": "int f(void) {}\n", "tests/lint/ratchet": "src/io/a.c:f 80\n"}, "is shorter now"),
    ("file_length", {"src/io/a.c": "\n" * 1001}, "1001 lines"),
    ("file_size", {"a.txt": "x" * (1 << 20) + "x"}, "over 1 MiB"),
    ("banned_calls", {"src/io/a.c": "void f(char *a) { __builtin_strcpy(a, a); }\n"}, "strcpy"),
    ("banned_calls", {"src/io/a.c": '#include "base/err.h"\nvoid *f(void *h) { return dlsym(h, "system"); }\n'}, "system"),
    ("banned_calls", {"src/io/a.c": "int a;\n"}, "never includes base/banned.h"),
    ("machine_paths", {"a.txt": split("see /ho|me/me/x\n")}, "a path of one machine"),
    ("registries", {"a.txt": split("pip --index|-url x\n")}, "registry"),
    ("unfinished", {"a.c": split("/* TO|DO */\n")}, "unfinished"),
    ("blanks", {"a.c": "int a; \n"}, "trailing blank"),
    ("blanks", {"a.txt": "a"}, "no line break at the end"),
    ("blanks", {"a.c": "\tint a;\n"}, "a tab"),
    ("python", {"a.py": "def (\n"}, "invalid syntax"),
    ("tests_assert", {"tests/test_a.py": "def test_a():\n    print(1)\n"}, "`test_a` asserts nothing"),
    ("tests_assert", {"tests/test_a.c": "Test(a, b)\n{\n    f();\n}\n"}, "`a.b` asserts nothing"),
]
GOOD = [
    ("floors", {"src/io/x.c": '#include <io.h>\n#include "base/err.h"\n#include "io/fd.h"\n'}),
    ("own_header_first", {"src/io/fd.c": '/* why */\n#include "io/fd.h"\n'}),
    ("function_length", {"src/io/a.c": LONG.replace("    g();\n", "", 1)}),
    ("function_length", {"src/io/a.c": LONG, "tests/lint/ratchet": "# head\nsrc/io/a.c:f 71\n"}),
    ("banned_calls", {"src/io/a.c": '#include "base/err.h"\n/* strcpy(a) */ const char *a = "system()"; int filesystem(void);\n'}),
    ("machine_paths", {"a.txt": "https://example.org/home/x $TMP/work/x\n"}),
    ("tests_assert", {"tests/test_a.py": "def check(x):\n    assert x\n\n\ndef test_a():\n    check(1)\n"}),
    ("tests_assert", {"tests/test_a.c": "static void check(int x) { cr_assert(x); }\nTest(a, b) { check(1); }\n"}),
]


@pytest.fixture
def findings(tmp_path, monkeypatch):
    def run(rule, files):
        for name, text in {**HOUSE, **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.chdir(tmp_path)
        for cached in (c_source.bare, c_source.functions, rules.banned_names, rules.reachable, rules.text_of, rules.parsed):
            cached.cache_clear()
        names = sorted(os.path.relpath(p, tmp_path) for p in tmp_path.rglob("*") if p.is_file())
        return list(getattr(rules, rule)(rules.Tree(tmp_path, tuple(names))))
    return run


@pytest.mark.parametrize("rule, files, text", BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_finds(findings, rule, files, text):
    found = findings(rule, files)
    assert any(text in finding.text for finding in found), found


@pytest.mark.parametrize("rule, files", GOOD, ids=lambda value: value if isinstance(value, str) else "")
def test_leaves_alone(findings, rule, files):
    assert findings(rule, files) == []


def test_every_rule_is_tried():
    assert {rule.__name__ for _, rule in rules.RULES} - {rule for rule, *_ in BAD} == {"shellcheck"}


def test_functions_have_their_names_and_lengths(tmp_path):
    source = tmp_path / "a.c"
    source.write_text('#define M(x) \\\n  { x }\nstatic const int table[] = {1, 2};\nstruct s { int a; };\n'
                      'int *f(int (*callback)(int), char c)\n{\n    return c == \'{\' ? "}" : 0; /* } */\n}\nTest(suite, name, .timeout = 5) { f(0); }\n')
    assert [(f.name, f.line, f.line_count, f.is_test) for f in c_source.functions(source)] == [("f", 5, 4, False), ("suite.name", 9, 1, True)]
