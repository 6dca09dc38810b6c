"""The highest position below which every event is finished.

Owned by the machine. Numbers come in ascending order and are finished in any order; each costs
amortised constant time, whatever the number of events in flight. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class CheckpointTracker:
    """Follows which received events are finished.

    Args:
        position: Where the subscription starts: everything up to it counts as finished.
    """

    __slots__ = ("_finished", "_open", "_scanned_to")

    def __init__(self, position: int) -> None:
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self._scanned_to = position

    @property
    def position(self) -> int:
        """The checkpoint: the last position before the lowest unfinished event; never goes back."""
        return self._open[0] - 1 if self._open else self._scanned_to

    @property
    def scanned_to(self) -> int:
        """The last position that was read, or known to hold nothing more to read."""
        return self._scanned_to

    @property
    def span(self) -> int:
        """How many numbers are remembered: unfinished ones and those finished behind them."""
        return len(self._open)

    def received(self, numbers: Iterable[int]) -> None:
        """Adds events that were read.

        Raises:
            AssertionError: A number is not above everything received or scanned before.
        """
        last = self._scanned_to
        for number in numbers:
            assert number > last, f"event {number} was read after position {last}"
            last = number
            self._open.append(number)
        self._scanned_to = last

    def scanned(self, position: int) -> None:
        """Notes that everything up to `position` was read; gaps (hard deletes, filters) are normal."""
        self._scanned_to = max(self._scanned_to, position)

    def finish(self, numbers: Iterable[int]) -> None:
        """Marks received events as finished: acked, skipped or filtered out."""
        waiting, finished = self._open, self._finished
        for number in numbers:
            if waiting and waiting[0] == number:
                waiting.popleft()
            else:
                finished.add(number)
        while waiting and waiting[0] in finished:
            finished.remove(waiting.popleft())
