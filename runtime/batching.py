"""Which of a worker's buffered events make the next call or transaction. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

from ..store.rows import Row


def next_batch(buffer: Iterable[Row], most: int, alone: Collection[int]) -> tuple[list[Row], bool]:
    """Takes the first events of the buffer that may go together; strictly in its order.

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
