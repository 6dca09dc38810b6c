"""Reads pages of events for the listener, each range once for all subscriptions that want the same of a stream.

Keeps the newest pages in memory, bounded by count and by bytes. A page from memory is the end of the stream only where
nobody has heard of more. Decides how many positions a read with a filter looks at: where next to nothing passes, it
takes few statements, and none of them long.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from functools import partial
from operator import itemgetter
from typing import NamedTuple, Protocol

from ..store.errors import StoreUnavailable
from ..store.filters import EventFilter
from ..store.read import Page
from ..store.rows import Row

Selection = tuple[str, EventFilter | None]
"""A stream, and which of its events."""

_SMALLEST_WINDOW, _LARGEST_WINDOW = 1_000, 50_000
_QUICK, _SLOW = 0.25, 1.0
_ROW_OVERHEAD = 700
"""About the bytes that the objects of a row take besides its data and metadata."""

_QUERY_CANCELED = "57014"

_number = itemgetter(0)


class ReadPage(Protocol):
    """Reads a page from the database; arguments as those of `store.read.read_page`."""

    def __call__(
        self,
        stream: str,
        after: int,
        limit: int,
        *,
        max_bytes: int | None,
        filter: EventFilter | None,
        window: int | None,
    ) -> Page:
        """Return the page."""
        ...


class Request(NamedTuple):
    """A read, with the arguments of `PageReader.read`, and whom to answer."""

    stream: str
    after: int
    limit: int
    max_bytes: int | None
    filter: EventFilter | None
    head: int | None
    answer: Callable[[Page], None]


BeginRead = Callable[[Request, Callable[[Page], None]], None]
"""Begins a read of the database, without waiting for it, and tells the page when it is there."""


class PageReader:
    """Reads through a small memory of recent pages.

    Args:
        read_page: The way to the database.
        shared: What several subscriptions follow; pages of anything else are not kept.
        pages_kept: Most pages kept in memory (default 64).
        bytes_kept: About the most bytes they take, without the newest (default 32 MiB).
        clock: Seconds, for the time that statements take.
    """

    def __init__(
        self,
        read_page: ReadPage,
        shared: Collection[Selection],
        pages_kept: int = 64,
        bytes_kept: int = 33_554_432,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_page = read_page
        self._shared = shared
        self._clock = clock
        self._pages_kept = pages_kept
        self._bytes_kept = bytes_kept
        self._bytes = 0
        self._pages: OrderedDict[tuple[Selection, int], tuple[Page, int]] = OrderedDict()
        self._windows: dict[Selection, int] = {}
        self._waiting: deque[Request] = deque()
        self._under_way = False
        self.reads = 0
        self.events_read = 0

    def forget(self) -> None:
        """Drops all pages: what was deleted since they were read must not be found in them."""
        self._pages.clear()
        self._bytes = 0

    def share(self, shared: Collection[Selection]) -> None:
        """Changes what several subscriptions follow."""
        self._shared = shared

    def read(
        self,
        stream: str,
        after: int,
        limit: int,
        max_bytes: int | None = None,
        filter: EventFilter | None = None,
        head: int | None = None,
    ) -> Page:
        """The next events of a stream after a position; may be none before its end where there is a filter.

        Args:
            stream: The stream, or "$all".
            after: The position.
            limit: Most events.
            max_bytes: Most bytes of data and metadata, but always one event.
            filter: Which events; None: all.
            head: The highest position that the caller has heard of. A page from memory is complete only if it was when
                it was read, and reaches that; without `head` none is.

        Raises:
            StoreError: The database could not be read.
        """
        selection = (stream, filter)
        found = self._from_memory(selection, after, limit, max_bytes, head)
        return found or self._from_database(selection, after, limit, max_bytes)

    def read_soon(self, request: Request, begin: BeginRead) -> None:
        """Reads like `read`, without waiting where there is no filter: the answer comes when it is there.

        One read at a time, in the order asked for: who asks for a range that is just being read gets it from memory.

        Args:
            request: What to read, and whom to answer.
            begin: Begins a read of the database and tells the page when it is there.

        Raises:
            StoreError: The database could not be read.
        """
        self._waiting.append(request)
        self._read_next(begin)

    def _read_next(self, begin: BeginRead) -> None:
        while self._waiting and not self._under_way:
            request = self._waiting.popleft()
            selection = (request.stream, request.filter)
            found = self._from_memory(selection, request.after, request.limit, request.max_bytes, request.head)
            if found is None and request.filter is not None:
                found = self._from_database(selection, request.after, request.limit, request.max_bytes)
            if found is not None:
                request.answer(found)
                continue
            self._under_way = True
            self.reads += 1
            begin(request, partial(self._take, request, begin))

    def _take(self, request: Request, begin: BeginRead, page: Page) -> None:
        self._under_way = False
        self._note((request.stream, request.filter), request.after, page)
        request.answer(page)
        self._read_next(begin)

    def _from_memory(
        self, selection: Selection, after: int, limit: int, max_bytes: int | None, head: int | None
    ) -> Page | None:
        for (of, begins_after), (page, size) in self._pages.items():
            if of == selection and begins_after <= after < page.scanned_to:
                self._pages.move_to_end((of, begins_after))
                start = bisect_right(page.rows, after, key=_number)
                rows = page.rows[start : start + limit]
                if max_bytes is not None and size > max_bytes:
                    rows = _within(rows, max_bytes)
                if start + len(rows) < len(page.rows):
                    return Page(rows, rows[-1][0], complete=False)
                is_end = page.complete and head is not None and head <= page.scanned_to
                return Page(rows, page.scanned_to, is_end)
        return None

    def _from_database(self, selection: Selection, after: int, limit: int, max_bytes: int | None) -> Page:
        stream, filter = selection
        window = None if filter is None else self._windows.get(selection, _SMALLEST_WINDOW)
        began = self._clock()
        self.reads += 1
        try:
            page = self._read_page(stream, after, limit, max_bytes=max_bytes, filter=filter, window=window)
        except StoreUnavailable as error:
            if window is None or window == 1 or not _timed_out(error):
                raise
            self._windows[selection] = max(1, window // 8)
            return Page([], after, complete=False)
        if window is not None:
            self._windows[selection] = next_window(window, len(page.rows), limit, self._clock() - began)
        self._note(selection, after, page)
        return page

    def _note(self, selection: Selection, after: int, page: Page) -> None:
        self.events_read += len(page.rows)
        if selection in self._shared and page.scanned_to > after:
            self._keep(selection, after, page)

    def _keep(self, selection: Selection, after: int, page: Page) -> None:
        size = sum(map(size_of, page.rows))
        known = self._pages.pop((selection, after), None)
        if known is not None:
            self._bytes -= _cost(*known)
        self._pages[selection, after] = (page, size)
        self._bytes += _cost(page, size)
        while len(self._pages) > self._pages_kept or (self._bytes > self._bytes_kept and len(self._pages) > 1):
            _, oldest = self._pages.popitem(last=False)
            self._bytes -= _cost(*oldest)


def next_window(window: int, found: int, limit: int, seconds: float) -> int:
    """How many positions the next read with a filter looks at. Pure.

    Args:
        window: How many the last one did.
        found: Events that passed.
        limit: How many were asked for.
        seconds: How long it took.

    Returns:
        More where few pass and it was quick, fewer where the page was filled or it took long; 1,000 to 50,000, or below
        where even 1,000 take long.
    """
    if seconds > _SLOW:
        return max(1, window // 2)
    if found >= limit:
        return max(min(window, _SMALLEST_WINDOW), window // 2)
    if found * 2 < limit and seconds < _QUICK:
        return min(window * 2, _LARGEST_WINDOW)
    return window


def size_of(row: Row) -> int:
    """The bytes of a row's data and metadata; none where the event was deleted for good."""
    return len(row[7] or b"") + len(row[8] or b"")


def _within(rows: list[Row], max_bytes: int) -> list[Row]:
    """The first row, and those after it that fit."""
    total = 0
    for index, row in enumerate(rows):
        total += size_of(row)
        if total > max_bytes and index:
            return rows[:index]
    return rows


def _cost(page: Page, size: int) -> int:
    return size + len(page.rows) * _ROW_OVERHEAD


def _timed_out(error: StoreUnavailable) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == _QUERY_CANCELED
