"""Linking stored events into further streams, as an operation without I/O.

Runs `link_events.sql`; `append.py` and `streams.py` say why a link had no effect. `event_store.py` drives it.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from .append import RACE_RETRIES, append_nothing, check_target, lost_race
from .arrays import Uuids
from .errors import ConfigurationError, DuplicateEvent, EventNotFound
from .expected_version import to_bind
from .operation import Operation, Query
from .read import known_event_ids
from .rows import Row
from .sql import Statements
from .streams import raise_mismatches
from .types import AppendResult, Expected, RecordedEvent


def link_events(
    statements: Statements, stream_uuid: str, expected: Expected, events_or_ids: Iterable[RecordedEvent | UUID]
) -> Operation[AppendResult]:
    """Link stored events into a stream, all or none, in the order given. Mirrors `link_to_stream/4`.

    Without events nothing is written, but the expected version is still checked.

    Args:
        statements: The statements of the schema.
        stream_uuid: The stream, created when it does not exist and the expected version allows it.
        expected: The expected version of that stream.
        events_or_ids: Recorded events or their ids.

    Returns:
        Where the links landed; `$all` gets nothing, so `position` is its newest.

    Raises:
        EventNotFound: One of the events is not stored.
        DuplicateEvent: One of them is in the stream already, or is given twice.
        WrongExpectedVersion: The stream is at another version (`StreamExists`, `ExpectedStreamMissing` included).
        StreamDeleted, CannotAppendToAllStream, StreamNameTooLong: Nothing can be linked into the stream.
        ConfigurationError: An argument is of no use.
        Conflict: Other writers were in the way; try again.
    """
    check_target(stream_uuid)
    bind = to_bind(expected)
    ids = Uuids(_event_id(given) for given in events_or_ids)
    if not ids:
        return (yield from append_nothing(statements, stream_uuid, expected))
    query = Query(statements["link_events"], (stream_uuid, bind, ids))
    for _ in range(1 + RACE_RETRIES):
        for before, position in (yield from _linked(query, stream_uuid)):
            return AppendResult(stream_uuid, before + 1, before + len(ids), position + 1, position)
        yield from raise_mismatches(statements, [(stream_uuid, expected)])
        yield from _raise_unknown(statements, ids)
    raise lost_race([stream_uuid])


def _linked(query: Query, stream_uuid: str) -> Operation[list[Row]]:
    try:
        return (yield query)
    except DuplicateEvent as error:
        raise DuplicateEvent(error.event_id, stream_uuid) from error


def _raise_unknown(statements: Statements, ids: list[UUID]) -> Operation[None]:
    known = yield from known_event_ids(statements, ids)
    for event_id in ids:
        if event_id not in known:
            raise EventNotFound(event_id)


def _event_id(given: object) -> UUID:
    if isinstance(given, RecordedEvent):
        return given.event_id
    if isinstance(given, UUID):
        return given
    raise ConfigurationError(f"{given!r} cannot be linked: give recorded events or their ids as uuid.UUID")
