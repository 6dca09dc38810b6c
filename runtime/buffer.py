"""A worker's buffer: what was delivered and is not handled yet, in order, and which of it goes together. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from ..store.rows import Row
from .results import Delivered, Results, numbers_of


class Buffer:
    """The events of one worker, in the order of their delivery.

    Args:
        batch_timeout: Seconds that events may wait for a batch to fill; 0: whatever is there goes.
    """

    def __init__(self, batch_timeout: float) -> None:
        self._rows: deque[Row] = deque()
        self._batch_timeout = batch_timeout
        self._waiting_since = 0.0
        self.delivered = Delivered(0, 0)
        """What holds for all events of the buffer."""

    def __len__(self) -> int:
        return len(self._rows)

    def extend(self, rows: Sequence[Row], delivered: Delivered, now: float) -> None:
        """Takes delivered events, behind those that are there.

        Args:
            rows: The events.
            delivered: What holds for them, and from now on for all.
            now: Seconds on the monotonic clock.
        """
        if self._rows:
            delivered.attempts.update({**self.delivered.attempts, **delivered.attempts})
        else:
            self._waiting_since = now
        self.delivered = delivered
        self._rows.extend(rows)

    def clear(self) -> None:
        """Drops all events."""
        self._rows.clear()
        self.delivered.attempts.clear()

    def next(self, most: int, now: float) -> tuple[list[Row], float]:
        """The events to handle next, which stay until `note`.

        Args:
            most: The most to take, 1 or more.
            now: Seconds on the monotonic clock.

        Returns:
            The events; or none, and the seconds that a batch may still wait to fill, 0 where the buffer is empty.
        """
        rows, complete = next_batch(self._rows, most, self.delivered.attempts)
        if rows and self._batch_timeout and not complete:
            wait = self._waiting_since + self._batch_timeout - now
            if wait > 0:
                return [], wait
        return rows, 0.0

    def note(self, rows: Sequence[Row], results: Results, now: float) -> None:
        """Takes out what is finished, and remembers what must be called alone.

        Args:
            rows: What `next` gave.
            results: What became of it.
            now: Seconds on the monotonic clock.
        """
        for _ in results.finished:
            self._rows.popleft()
        attempts = self.delivered.attempts
        if attempts:
            for number in results.finished:
                attempts.pop(number, None)
        if results.apart:
            for number in numbers_of(rows[len(results.finished) :]):
                attempts.setdefault(number, 1)
        self._waiting_since = now


def next_batch(buffer: Iterable[Row], most: int, alone: Collection[int]) -> tuple[list[Row], bool]:
    """Takes the first events of a buffer that may go together; strictly in its order.

    Args:
        buffer: The events.
        most: The most to take, 1 or more.
        alone: Numbers of events that go with no other: tried before, or suspected of a crash.

    Returns:
        The events, and whether waiting for more is of no use: they are as many as may be.
    """
    rows = list(islice(buffer, most))
    if alone:
        for index, row in enumerate(rows):
            if row[0] in alone:
                return rows[: max(index, 1)], True
    return rows, len(rows) >= most
