"""What a worker is at, in a page of memory that outlives it: which event, and since when.

The worker alone writes, the listener reads, without a message or a system call for each event. So whoever finds a
worker dead knows which event it died of. Its descriptor travels with `WorkerReady`.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Self

_SIZE = mmap.PAGESIZE
_NUMBER, _LAST, _SINCE = 0, 1, 2


class AtHand:
    """The page; made by a worker with `create`, opened by the listener with `open`.

    Args:
        descriptor: An open file of one page; owned by the object from here on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)
        self._numbers = memoryview(self._map).cast("q")
        self._times = memoryview(self._map).cast("d")

    @classmethod
    def create(cls) -> Self:
        """A fresh page, in memory where the system can."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("eventstore-at-hand")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, _SIZE)
        return cls(descriptor)

    def fileno(self) -> int:
        """The descriptor, to send with a message."""
        return self._descriptor

    def begin(self, first: int, last: int, now: float) -> None:
        """The handler is called with these events: one, or the first and the last one of a batch.

        Args:
            first: The event number.
            last: The same, or that of the batch's last event.
            now: Seconds on the monotonic clock, which all processes of a machine share.
        """
        numbers = self._numbers
        # In this order, so that a reader never takes a half-written pair for another batch.
        numbers[_NUMBER] = 0
        numbers[_LAST] = last
        self._times[_SINCE] = now
        numbers[_NUMBER] = first

    def end(self) -> None:
        """The handler has returned."""
        self._numbers[_NUMBER] = 0

    def read(self) -> tuple[int, int, float] | None:
        """First and last event at hand, and since when; None where the handler does not run."""
        numbers = self._numbers
        first = numbers[_NUMBER]
        return (first, numbers[_LAST], self._times[_SINCE]) if first else None

    def close(self) -> None:
        """Unmaps the page and closes the descriptor."""
        self._numbers.release()
        self._times.release()
        self._map.close()
        os.close(self._descriptor)
