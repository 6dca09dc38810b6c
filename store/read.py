"""Reading events, as operations without I/O: by version forward and backward, and pages in wire form for routing.

`$all` is read like any stream. `event_store.py` and the runtime's listener drive these on a connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from .errors import ConfigurationError, StreamDeleted, StreamNotFound
from .operation import Operation, Query
from .rows import Row, decode_event
from .serializer import Serializer
from .sql import Statements
from .streams import stream_info
from .types import ALL_STREAM, RecordedEvent

_LAST = 2**63 - 1


def read_forward(
    statements: Statements, serializer: Serializer, stream_uuid: str, start_version: int = 0, count: int = 1_000
) -> Operation[list[RecordedEvent]]:
    """Read up to `count` events of a stream, oldest first, from `start_version` on. Mirrors `read_stream_forward/4`.

    Raises:
        StreamNotFound, StreamDeleted: There is nothing to read.
        DeserializationFailed: An event cannot be decoded.
        ConfigurationError: The start or the count is out of range.
    """
    _check_at_least("start_version", start_version, 0)
    return (yield from _read(statements, "read_forward", serializer, stream_uuid, start_version, count))


def read_backward(
    statements: Statements, serializer: Serializer, stream_uuid: str, start_version: int = -1, count: int = 1_000
) -> Operation[list[RecordedEvent]]:
    """Read up to `count` events of a stream, newest first, from `start_version` down; -1 means the end.

    Mirrors `read_stream_backward/4` and raises like `read_forward`.
    """
    _check_at_least("start_version", start_version, -1)
    start = _LAST if start_version == -1 else start_version
    return (yield from _read(statements, "read_backward", serializer, stream_uuid, start, count))


def page_all(statements: Statements, after: int, limit: int) -> Operation[list[Row]]:
    """Read up to `limit` events of `$all` after a position, as undecoded rows for `rows.decode_event`."""
    return (yield Query(statements["page_all"], (after, limit)))


def page_stream(statements: Statements, stream_uuid: str, after: int, limit: int) -> Operation[list[Row]]:
    """Read up to `limit` events of a stream after a version, as undecoded rows; an unknown stream gives none.

    `$all` is read by its own statement.
    """
    if stream_uuid == ALL_STREAM:
        return (yield from page_all(statements, after, limit))
    return (yield Query(statements["page_stream"], (stream_uuid, after, limit)))


def known_event_ids(statements: Statements, event_ids: Iterable[UUID]) -> Operation[set[UUID]]:
    """Return those of the given ids that are stored already."""
    wanted = list(event_ids)
    if not wanted:
        return set()
    rows = yield Query(statements["known_event_ids"], (wanted,))
    return {UUID(bytes=bytes(row[0])) for row in rows}


def _read(
    statements: Statements, statement: str, serializer: Serializer, stream_uuid: str, start: int, count: int
) -> Operation[list[RecordedEvent]]:
    _check_at_least("count", count, 1)
    rows = yield Query(statements[statement], (stream_uuid, start, count))
    if not rows:
        info = yield from stream_info(statements, stream_uuid)
        if info is None:
            raise StreamNotFound(stream_uuid)
        if info.deleted_at is not None:
            raise StreamDeleted(stream_uuid)
    return [decode_event(row, serializer) for row in rows]


def _check_at_least(name: str, value: int, least: int) -> None:
    if not least <= value <= _LAST:
        raise ConfigurationError(f"{name} {value} is out of range: give a number of at least {least}")
