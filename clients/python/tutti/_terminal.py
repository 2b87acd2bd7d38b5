"""`breakpoint()` in a program that `tutti run --here` runs: pdb on the terminal. The program's own input is its settings, its output is a log, and it has a process
group of its own, which has to come to the foreground before it may read what is typed. `--here` names `stop` in PYTHONBREAKPOINT, unless that is set already."""
import os
import pdb
import signal
import sys


def stop(*_, **__):
    try:
        typed, shown = open("/dev/tty"), open("/dev/tty", "w")
    except OSError as error:
        raise RuntimeError("breakpoint() needs a terminal: run this in one, or set PYTHONBREAKPOINT=0 to go on without stops") from error
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(typed.fileno(), os.getpgrp())
    pdb.Pdb(stdin=typed, stdout=shown).set_trace(sys._getframe(1))
