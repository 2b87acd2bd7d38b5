"""kill -9 of the server, of clients and of the supervisor at random moments, with byte-exact accounts after each.

Two runs of 30 kills each in the ordinary run, of 500 with --long (or TUTTI_TEST_LONG=1). The seed is printed; TUTTI_TEST_SEED=N takes that one."""
import os
import random
import time

import pytest

from crew import Crew

MIX = {"plain": 20000, "packed": 8000, "spoilt": 6000, "table": 6000}


@pytest.fixture
def seed():
    number = int(os.environ.get("TUTTI_TEST_SEED") or random.randrange(10**6))
    print("TUTTI_TEST_SEED=%d" % number)
    return number


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("run", range(2))
def test_kills_at_random_moments(tutti, seed, run, is_long):
    kills = 500 if is_long or os.environ.get("TUTTI_TEST_LONG") else 30
    rng, t = random.Random(seed), tutti(args=["--log-level", "warn"])
    crew = Crew(t, seed, MIX, is_kept=False)
    done = {"server": 0, "client": 0, "supervisor": 0}
    try:
        for _ in range(kills):
            crew.keep_busy()
            time.sleep(rng.uniform(0, 0.2))
            what = rng.choices(list(done), (60, 30, 10))[0]
            done[what] += 1
            if what == "server":
                t.kill_server()
            elif what == "supervisor":
                t.kill()
                t.restart(same_port=True)
            else:
                crew.kill_client()
            crew.check()
        crew.finish()
    finally:
        crew.stop_clients()
    print("kills: %s; %d jobs complete, %d events" % (done, crew.ended, crew.history.count))
