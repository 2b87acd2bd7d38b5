"""Functions for the worker's tests; they run in processes of their own."""

import os
import signal
import sys
import time

from tutti import Reject

plain = 5


def twice(value):
    return {"n": value["n"], "twice": value["n"] * 2}


def pieces(value):
    yield value["n"]
    yield -value["n"]


def nothing(value):
    return None


def picky(value):
    if value["n"] == 1:
        raise ValueError("one is odd")
    if value["n"] == 2:
        raise Reject("two is out")
    if value["n"] == 3:
        return {1, 2}
    if value["n"] == 4:
        sys.exit("four leaves")
    return value


def deadly(value):
    if value["n"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def slow(value):
    """Says that it started, then takes as long as the file `go` does not exist."""
    with open("started", "a") as f:
        f.write("%d %d\n" % (os.getpid(), value["n"]))
    while not os.path.exists("go"):
        time.sleep(0.01)
    return value


async def later(value):
    return value
