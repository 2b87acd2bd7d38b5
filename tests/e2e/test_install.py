"""`meson install` into a folder: what lands there works from there."""
import os
import shutil
import subprocess

import pytest

from tutti_process import binary

PROGRAM = """
from platforms.base_platform import BasePlatform


class Hello(BasePlatform):
    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def _run(self):
        print("hello " + self.name)
        return True
"""

C = """
#include <tutti/program.h>

static int run(const tutti_host *t)
{
    t->log(t, "HELLO");
    return 0;
}
TUTTI_PROGRAM(.description = "Greets.", .run = run);
"""


@pytest.mark.skipif(not shutil.which("meson"), reason="no meson")
def test_an_installed_tutti_has_what_it_needs(tmp_path):
    build = binary().parent
    if not (build / "meson-private").is_dir():
        pytest.skip("the program under test is not in the folder that it was built in")
    done = subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", tmp_path / "dest"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "dest").rename(tmp_path / "moved")
    usr = tmp_path / "moved" / "usr" / "local"
    names = {str(path.relative_to(usr)) for path in usr.rglob("*") if path.is_file()}
    assert names >= {"bin/tutti", "include/tutti/program.h", "share/tutti/programs/http_report.py", "share/tutti/python/tutti/program.py", "share/man/man1/tutti.1", "share/man/man1/tutti-job.1",
                     "share/man/man5/tutti.ini.5", "share/bash-completion/completions/tutti", "share/zsh/site-functions/_tutti", "share/fish/vendor_completions.d/tutti.fish"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".a", ".c"))]
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "hello.py").write_text(PROGRAM)
    (tmp_path / "programs" / "loud.c").write_text(C)

    def tutti(*args):
        env = {name: value for name, value in os.environ.items() if not name.startswith("TUTTI_")}
        done = subprocess.run([usr / "bin" / "tutti", *args, "--data", tmp_path / "data", "--programs", tmp_path / "programs"], capture_output=True, text=True, timeout=60, env=env, cwd=tmp_path)
        assert done.returncode == 0, done
        return done.stdout

    assert str(usr / "share" / "tutti" / "programs" / "http_report.py") in tutti("program", "list", "--json") and "error" not in tutti("program", "list", "--plain")
    assert tutti("run", "hello", "--here", "--quiet", "--set", "name=world") == "hello world\n" and tutti("run", "loud", "--here", "--quiet") == "HELLO\n"
