"""The unit tests of the queue, asked of a shared ledger: all that is true of any ledger is true of that one."""
import os
import subprocess

import pytest
from tutti_process import binary

QUICK = "queue/{a_task*,attempts*,one_*,progress*,dead_*,a_claim*}"


@pytest.mark.parametrize("which", [QUICK, pytest.param("queue/*", marks=pytest.mark.long)])
def test_the_queue_on_redis(redis, which):
    program = binary().parent / "tests" / "unit" / "test_queue"
    if not program.exists():
        pytest.skip("no %s: script/build --all makes it" % program)
    done = subprocess.run([program, "-j1", "--filter", which], env={**os.environ, "TUTTI_TEST_REDIS": redis("--maxmemory-policy", "noeviction").url}, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
