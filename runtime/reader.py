"""Reads pages of events for the listener, each range once for all subscriptions that follow the same stream.

Keeps the newest pages of each stream in memory, bounded by count. A page from memory never claims to be the end of the
stream, so that only a read of the database itself ends a catch-up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from operator import itemgetter

import msgspec

from ..store.rows import Row

ReadRows = Callable[[str, int, int], list[Row]]
"""Reads up to so many rows of a stream after a position from the database."""

_number = itemgetter(0)


class Page(msgspec.Struct, frozen=True):
    """Events of one stream after a position; `complete` when the stream ended there as it was read."""

    rows: list[Row]
    scanned_to: int
    complete: bool


class PageReader:
    """Reads through a small memory of recent pages.

    Args:
        read_rows: The way to the database.
        shared_streams: Streams that several subscriptions follow; pages of others are not kept.
        pages_kept: Most pages kept in memory (default 8).
    """

    def __init__(self, read_rows: ReadRows, shared_streams: set[str], pages_kept: int = 8) -> None:
        self._read_rows = read_rows
        self._shared = shared_streams
        self._pages_kept = pages_kept
        self._pages: OrderedDict[tuple[str, int], Page] = OrderedDict()
        self.reads = 0
        self.events_read = 0

    def read(self, stream: str, after: int, limit: int) -> Page:
        """Up to `limit` events of a stream after a position.

        Raises:
            StoreError: The database could not be read.
        """
        return self._from_memory(stream, after, limit) or self._from_database(stream, after, limit)

    def _from_memory(self, stream: str, after: int, limit: int) -> Page | None:
        for (of, begins_after), page in self._pages.items():
            if of == stream and begins_after <= after < page.scanned_to:
                start = bisect_right(page.rows, after, key=_number)
                rows = page.rows[start : start + limit]
                self._pages.move_to_end((of, begins_after))
                return Page(rows, rows[-1][0], complete=False) if rows else None
        return None

    def _from_database(self, stream: str, after: int, limit: int) -> Page:
        rows = self._read_rows(stream, after, limit)
        self.reads += 1
        self.events_read += len(rows)
        page = Page(rows, rows[-1][0] if rows else after, complete=len(rows) < limit)
        if rows and stream in self._shared:
            self._pages[stream, after] = page
            while len(self._pages) > self._pages_kept:
                self._pages.popitem(last=False)
        return page
