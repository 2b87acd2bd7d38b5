"""A few numbers that a worker process shares with its parent, readable even after it was killed.

The child alone writes, the parent alone reads.  Each number is one aligned 8-byte store.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import NamedTuple

CURRENT, LEASE, DONE, FAILED, CELLS = 0, 1, 2, 3, 4
NOTHING = -1


class Counts(NamedTuple):
    done: int
    failed: int


class Slate:
    """``fd`` can be handed to a child, which opens the same slate with `Slate(fd)`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, CELLS * 8)
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def new(cls) -> "Slate":
        with tempfile.TemporaryFile() as file:
            file.truncate(CELLS * 8)
            fd = os.dup(file.fileno())
        slate = cls(fd)
        slate.rest()
        return slate

    def close(self) -> None:
        self._cells.release()
        self._map.close()
        os.close(self.fd)

    def begin(self, lease: int, id: int) -> None:
        """The child works on this item from now on."""
        self._cells[LEASE] = lease
        self._cells[CURRENT] = id

    def rest(self) -> None:
        """The child works on nothing."""
        self._cells[CURRENT] = NOTHING

    def add(self, done: int = 0, failed: int = 0) -> None:
        self._cells[DONE] += done
        self._cells[FAILED] += failed

    @property
    def current(self) -> int:
        return int(self._cells[CURRENT])

    @property
    def lease(self) -> int:
        return int(self._cells[LEASE])

    @property
    def counts(self) -> Counts:
        return Counts(int(self._cells[DONE]), int(self._cells[FAILED]))
