"""Streams, events and links in memory: what the statements of `sql/` do to those three tables, as methods of one class.

Each method is named like its statement, takes the same binds and returns the same rows, so that the operations cannot
tell the difference. `memory.py` calls them under its lock; nothing here checks arguments, the operations have done so.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from .errors import DuplicateEvent
from .expected_version import ANY
from .rows import Row
from .types import ALL_STREAM

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Event(NamedTuple):
    """An event with its place in the stream it was appended to."""

    event_id: UUID
    event_type: str
    causation_id: UUID | None
    correlation_id: UUID | None
    data: bytes
    metadata: bytes | None
    created_at: datetime
    stream: _Stream
    stream_version: int


class _Link(NamedTuple):
    version: int
    event: _Event


@dataclass(slots=True, eq=False)
class _Stream:
    stream_id: int
    stream_uuid: str
    created_at: datetime
    version: int = 0
    deleted_at: datetime | None = None
    links: list[_Link] = field(default_factory=list)

    def add(self, event: _Event) -> None:
        self.version += 1
        self.links.append(_Link(self.version, event))

    def row(self) -> Row:
        return (self.stream_uuid, self.stream_id, self.version, self.created_at, self.deleted_at)


class EventTables:
    """The tables `streams`, `events` and `stream_events`.

    Args:
        now: The clock, in UTC.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._all = _Stream(0, ALL_STREAM, now())
        self._streams = {ALL_STREAM: self._all}
        self._events: dict[UUID, _Event] = {}
        self._last_id = 0

    def append_events(self, stream_uuid: str, expected: int, *columns: Any) -> list[Row]:
        """Append to one stream; no row means that the expected version did not match."""
        if not self._accepts(stream_uuid, expected):
            return []
        *parts, created_at = columns
        return [row[1:] for row in self._append([stream_uuid] * len(parts[0]), parts, created_at)]

    def append_many(
        self, names: Sequence[str], expected: Sequence[int], _: Sequence[int], owners: Sequence[str], *columns: Any
    ) -> list[Row]:
        """Append to several streams; no row means that an expected version did not match."""
        if not all(self._accepts(*one) for one in zip(names, expected, strict=True)):
            return []
        *parts, created_at = columns
        return self._append(owners, parts, created_at)

    def link_events(self, stream_uuid: str, expected: int, event_ids: Sequence[UUID]) -> list[Row]:
        """Link into a stream; no row means that the expected version did not match or an event is not stored."""
        if not self._accepts(stream_uuid, expected) or not all(one in self._events for one in event_ids):
            return []
        known = self._streams.get(stream_uuid)
        _refuse_repeated(event_ids, set() if known is None else {link.event.event_id for link in known.links})
        stream = self._stream(stream_uuid, self._now())
        before = stream.version
        for event_id in event_ids:
            stream.add(self._events[event_id])
        return [(before, self._all.version)]

    def read_forward(self, stream_uuid: str, start: int, limit: int) -> list[Row]:
        """Read from a version on; an unknown or soft-deleted stream gives no row."""
        links = self._readable(stream_uuid)
        first = bisect_left(links, start, key=lambda link: link.version)
        return [_event_row(link) for link in links[first : first + limit]]

    def read_backward(self, stream_uuid: str, start: int, limit: int) -> list[Row]:
        """Read from a version down; an unknown or soft-deleted stream gives no row."""
        links = self._readable(stream_uuid)
        end = bisect_right(links, start, key=lambda link: link.version)
        return [_event_row(link) for link in reversed(links[max(0, end - limit) : end])]

    def known_event_ids(self, event_ids: Sequence[UUID]) -> list[Row]:
        """Find the ids that are stored."""
        return [(event_id.bytes,) for event_id in event_ids if event_id in self._events]

    def stream_info(self, stream_uuid: str) -> list[Row]:
        """Find one stream, also a soft-deleted one."""
        return [self._streams[stream_uuid].row()] if stream_uuid in self._streams else []

    def stream_heads(self, names: Sequence[str]) -> list[Row]:
        """Read the versions of many streams."""
        return [(name, self._streams[name].version) for name in names if name in self._streams]

    def paginate_streams(
        self, pattern: str | None, sort_by: str, descending: bool, skipped: int, limit: int
    ) -> list[Row]:
        """List one page of streams and the number of all; without entries one row carries the number."""
        matches = None if pattern is None else _like(pattern)
        found = [
            stream for stream in self._streams.values() if matches is None or matches.fullmatch(stream.stream_uuid)
        ]
        found.sort(key=lambda stream: stream.stream_id, reverse=descending)
        name = {"stream_version": "version"}.get(sort_by, sort_by)
        # Two stable sorts: by the field, then those without a value to the end, whatever the direction.
        with_value = [stream for stream in found if getattr(stream, name) is not None]
        with_value.sort(key=lambda stream: getattr(stream, name), reverse=descending)
        ordered = with_value + [stream for stream in found if getattr(stream, name) is None]
        page = ordered[skipped : skipped + limit]
        return [(len(found), *stream.row()) for stream in page] or [(len(found), *[None] * 5)]

    def soft_delete_stream(self, stream_uuid: str, expected: int) -> list[Row]:
        """Mark a stream as deleted; no row means that the expected version did not match."""
        stream = self._streams.get(stream_uuid)
        if stream is None or not self._accepts(stream_uuid, expected):
            return []
        stream.deleted_at = self._now()
        return [(stream.stream_id,)]

    def hard_delete_stream(self, stream_id: int) -> list[Row]:
        """Remove a stream and its events from everywhere, and its links to events of others."""
        gone = next(stream for stream in self._streams.values() if stream.stream_id == stream_id)
        del self._streams[gone.stream_uuid]
        for stream in self._streams.values():
            stream.links = [link for link in stream.links if link.event.stream is not gone]
        self._events = {key: event for key, event in self._events.items() if event.stream is not gone}
        return []

    def head(self, stream_uuid: str) -> int:
        """Return the version of a stream, 0 when it does not exist."""
        return self._streams[stream_uuid].version if stream_uuid in self._streams else 0

    def _append(self, owners: Sequence[str], parts: Sequence[Sequence[Any]], created_at: datetime | None) -> list[Row]:
        _refuse_repeated(parts[0], self._events)
        now = self._now()
        at = now if created_at is None else created_at.astimezone(UTC)
        # In the order of their names, as in append_many.sql, which thereby avoids deadlocks.
        before = {name: self._stream(name, now).version for name in sorted(set(owners))}
        position = self._all.version
        for owner, event_id, event_type, causation_id, correlation_id, data, metadata in zip(
            owners, *parts, strict=True
        ):
            stream = self._streams[owner]
            event = _Event(
                event_id, event_type, causation_id, correlation_id, data, metadata, at, stream, stream.version + 1
            )
            self._events[event_id] = event
            stream.add(event)
            self._all.add(event)
        return [(name, version, position) for name, version in before.items()]

    def _accepts(self, stream_uuid: str, expected: int) -> bool:
        stream = self._streams.get(stream_uuid)
        if stream is None:
            return expected in (ANY, 0)
        return stream.deleted_at is None and (expected < 0 or stream.version == expected)

    def _stream(self, stream_uuid: str, now: datetime) -> _Stream:
        if stream_uuid not in self._streams:
            self._last_id += 1
            self._streams[stream_uuid] = _Stream(self._last_id, stream_uuid, now)
        return self._streams[stream_uuid]

    def _readable(self, stream_uuid: str) -> list[_Link]:
        stream = self._streams.get(stream_uuid)
        return [] if stream is None or stream.deleted_at is not None else stream.links


def microseconds(moment: datetime) -> int:
    """Return a moment as rows carry it: in microseconds since 1970-01-01 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _event_row(link: _Link) -> Row:
    event = link.event
    correlation, causation = (None if one is None else one.bytes for one in (event.correlation_id, event.causation_id))
    return (
        link.version,
        event.stream.stream_uuid,
        event.stream_version,
        event.event_type,
        event.event_id.bytes,
        correlation,
        causation,
        event.data,
        event.metadata,
        microseconds(event.created_at),
    )


def _refuse_repeated(event_ids: Sequence[UUID], present: Any) -> None:
    seen: set[UUID] = set()
    for event_id in event_ids:
        if event_id in present or event_id in seen:
            raise DuplicateEvent(event_id)
        seen.add(event_id)


def _like(pattern: str) -> re.Pattern[str]:
    """Return what a LIKE pattern matches: `%` any text, `_` any character, after a backslash the character itself."""
    return re.compile("".join(_pieces(pattern)), re.DOTALL)


def _pieces(pattern: str) -> Iterator[str]:
    for escaped, plain in re.findall(r"\\(.)|(.)", pattern, re.DOTALL):
        yield {"%": ".*", "_": "."}.get(plain, re.escape(plain)) if plain else re.escape(escaped)
