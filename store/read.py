"""Reading events, as operations without I/O: by version forward and backward, and pages in wire form for routing.

`$all` is read like any stream. `event_store.py` and the runtime's listener drive these on a connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from uuid import UUID

import msgspec

from .errors import ConfigurationError, StreamDeleted, StreamNotFound
from .filters import EventFilter
from .operation import Operation, Query
from .rows import Row, decode_event
from .serializer import Serializer
from .sql import Statements
from .streams import stream_info
from .types import ALL_STREAM, RecordedEvent

_LAST = 2**63 - 1
_EVENT_TYPE, _DATA = 3, 7
_number = itemgetter(0)
_data = itemgetter(_DATA)


class Page(msgspec.Struct, frozen=True):
    """What a read of a subscription brought.

    Attributes:
        rows: Undecoded events for `rows.decode_event`, in order.
        scanned_to: The last position looked at; above the last event's where events did not pass the filter.
        complete: True when nothing was stored beyond `scanned_to` as it was read.
    """

    rows: list[Row]
    scanned_to: int
    complete: bool


def read_forward(
    statements: Statements, serializer: Serializer, stream_uuid: str, start_version: int = 0, count: int = 1_000
) -> Operation[list[RecordedEvent]]:
    """Read up to `count` events of a stream, oldest first, from `start_version` on. Mirrors `read_stream_forward/4`.

    Raises:
        StreamNotFound, StreamDeleted: There is nothing to read.
        DeserializationFailed: An event cannot be decoded.
        ConfigurationError: The start or the count is out of range.
    """
    rows = yield from rows_forward(statements, stream_uuid, start_version, count)
    return [decode_event(row, serializer) for row in rows]


def read_backward(
    statements: Statements, serializer: Serializer, stream_uuid: str, start_version: int = -1, count: int = 1_000
) -> Operation[list[RecordedEvent]]:
    """Read up to `count` events of a stream, newest first, from `start_version` down; -1 means the end.

    Mirrors `read_stream_backward/4` and raises like `read_forward`.
    """
    rows = yield from rows_backward(statements, stream_uuid, start_version, count)
    return [decode_event(row, serializer) for row in rows]


def rows_forward(statements: Statements, stream_uuid: str, start_version: int, count: int) -> Operation[list[Row]]:
    """Read like `read_forward`, as undecoded rows for `rows.decode_event`."""
    _check_at_least("start_version", start_version, 0)
    return (yield from _rows(statements, "read_forward", stream_uuid, start_version, count))


def rows_backward(statements: Statements, stream_uuid: str, start_version: int, count: int) -> Operation[list[Row]]:
    """Read like `read_backward`, as undecoded rows for `rows.decode_event`."""
    _check_at_least("start_version", start_version, -1)
    start = _LAST if start_version == -1 else start_version
    return (yield from _rows(statements, "read_backward", stream_uuid, start, count))


def page_all(statements: Statements, after: int, limit: int) -> Operation[list[Row]]:
    """Read up to `limit` events of `$all` after a position, as undecoded rows for `rows.decode_event`."""
    return (yield Query(statements["page_all"], (after, limit, _LAST)))


def page_stream(statements: Statements, stream_uuid: str, after: int, limit: int) -> Operation[list[Row]]:
    """Read up to `limit` events of a stream after a version, as undecoded rows; an unknown stream gives none.

    `$all` is read by its own statement.
    """
    return (yield _unfiltered(statements, stream_uuid, after, limit, _LAST))


def read_page(
    statements: Statements,
    stream_uuid: str,
    after: int,
    limit: int,
    *,
    max_bytes: int | None = None,
    filter: EventFilter | None = None,
    window: int | None = None,
) -> Operation[Page]:
    """Read the next events of a stream or `$all` for a subscription; an unknown stream gives none.

    Args:
        statements: The statements of the schema.
        stream_uuid: The stream.
        after: The position to read after.
        limit: Most events, at least 1.
        max_bytes: Most bytes of data and metadata over all events, but always one event; None: any number.
        filter: Which events; None: all.
        window: Most positions to look at for a filter; None: `limit`.
    """
    # A page in which no event has more than its share cannot exceed the whole, and that costs next to nothing to see.
    # A running sum, which costs a tenth of the read, is for the others.
    total = _LAST if max_bytes is None else max_bytes
    share = total // limit
    looked_at = limit if filter is None or window is None else window
    if filter is None:
        rows = yield _unfiltered(statements, stream_uuid, after, limit, share)
        if not _is_cut(rows):
            return Page(rows, rows[-1][0] if rows else after, len(rows) < limit)
    binds = (filter or EventFilter()).binds()
    if filter is not None:
        rows = yield Query(statements["page_filtered"], (stream_uuid, after, looked_at, limit, share, *binds))
        found, last, count = _split(rows)
        if not _is_cut(found):
            return _page(found, after, limit, last, count < looked_at)
    rows = yield Query(statements["page_bounded"], (stream_uuid, after, looked_at, limit, total, *binds))
    found, last, count = _split(rows)
    fitting = [row for row in found if row[_DATA] is not None]
    if len(fitting) < len(found):
        return Page(fitting, fitting[-1][0], complete=False)
    return _page(found, after, limit, last, count < looked_at)


def known_event_ids(statements: Statements, event_ids: Iterable[UUID]) -> Operation[set[UUID]]:
    """Return those of the given ids that are stored already."""
    wanted = list(event_ids)
    if not wanted:
        return set()
    rows = yield Query(statements["known_event_ids"], (wanted,))
    return {UUID(bytes=bytes(row[0])) for row in rows}


def _unfiltered(statements: Statements, stream_uuid: str, after: int, limit: int, most: int) -> Query:
    if stream_uuid == ALL_STREAM:
        return Query(statements["page_all"], (after, limit, most))
    return Query(statements["page_stream"], (stream_uuid, after, limit, most))


def _is_cut(rows: list[Row]) -> bool:
    """Tell whether an event came without its data, which the columns cannot hold, because it has too many bytes."""
    return None in map(_data, rows)


def _split(rows: list[Row]) -> tuple[list[Row], int | None, int]:
    """Part the events from the row that tells the last position looked at, and how many were."""
    ((last, _, count, *_),) = (row for row in rows if row[_EVENT_TYPE] is None)
    return sorted((row for row in rows if row[_EVENT_TYPE] is not None), key=_number), last, count


def _page(rows: list[Row], after: int, limit: int, last: int | None, is_end: bool) -> Page:
    """Return a page that was not cut by bytes: as far as the events go where they are as many as asked for."""
    if len(rows) == limit and rows[-1][0] != last:
        return Page(rows, rows[-1][0], complete=False)
    return Page(rows, after if last is None else last, is_end)


def _rows(statements: Statements, statement: str, stream_uuid: str, start: int, count: int) -> Operation[list[Row]]:
    _check_at_least("count", count, 1)
    rows = yield Query(statements[statement], (stream_uuid, start, count))
    if not rows:
        info = yield from stream_info(statements, stream_uuid)
        if info is None:
            raise StreamNotFound(stream_uuid)
        if info.deleted_at is not None:
            raise StreamDeleted(stream_uuid)
    return rows


def _check_at_least(name: str, value: int, least: int) -> None:
    if not least <= value <= _LAST:
        raise ConfigurationError(f"{name} {value} is out of range: give a number of at least {least}")
