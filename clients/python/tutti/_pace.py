"""How many items to claim at a time, and when, so that a batch is about a second of work.

Pure arithmetic without threads or clocks: the caller feeds measurements and holds its own lock.
The first claim names no number: the server gives what it has learnt of a worker of this name, or few.
After that the work itself is measured; the size grows at most `GROWTH` times per claim.
"""

from __future__ import annotations

from typing import Optional

TARGET_S = 1.0
GROWTH = 8
MOST_ITEMS = 20_000
MOST_BYTES = 8 << 20
AHEAD_S = 0.3
SLOW_ITEM_S = 5.0


class Pacer:
    """``fixed`` items per claim, or adapted to the work when it is None."""

    def __init__(self, fixed: Optional[int] = None) -> None:
        if fixed is not None and fixed < 1:
            raise ValueError("batch must be at least 1")
        self._fixed = fixed
        self._size = fixed or 1
        self._asked = False
        self._item_s: Optional[float] = None
        self._item_bytes = 0.0

    @property
    def size(self) -> int:
        return self._size

    def note_batch(self, count: int, size_bytes: int) -> None:
        """A claim brought ``count`` items in an answer of that size."""
        if count:
            if self._fixed is None and self._item_s is None:
                self._size = max(self._size, count)
            self._item_bytes = max(size_bytes / count, self._item_bytes * 0.5)

    def note_work(self, count: int, busy_s: float) -> None:
        """``count`` items were finished in ``busy_s`` seconds of work (0 finished: nothing learnt)."""
        if count <= 0:
            return
        fresh = max(busy_s / count, 1e-7)
        self._item_s = fresh if self._item_s is None else (self._item_s + fresh) / 2

    def next_size(self) -> Optional[int]:
        """The size for the claim that is made now; None: the server's choice."""
        first, self._asked = not self._asked, True
        if self._fixed is None and first:
            return None
        if self._fixed is None:
            wanted = self._size * 2 if self._item_s is None else TARGET_S / self._item_s
            most = MOST_ITEMS if not self._item_bytes else min(MOST_ITEMS, MOST_BYTES / self._item_bytes)
            self._size = max(1, int(min(wanted, self._size * GROWTH, most)))
        return self._size

    def wants_ahead(self, buffered: int) -> bool:
        """Whether the next batch should be on its way while ``buffered`` items still wait.

        Slow items are not fetched ahead: they would wait here while others could work on them.
        """
        if self._item_s is None or self._item_s > SLOW_ITEM_S or buffered >= self._size:
            return False
        return buffered * self._item_s < AHEAD_S
