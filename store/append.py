"""Appending, as operations without I/O: checks, serialization, the statement, and what its answer means.

Runs `append_events.sql` for one stream and `append_many.sql` for several. `event_store.py` drives these on a
connection; the decisions about expected versions are in `expected_version.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from .errors import CannotAppendToAllStream, ConfigurationError, Conflict, SerializationFailed
from .expected_version import ANY, EXISTS, to_bind
from .notifications import check_stream_name, check_text
from .operation import Operation, Query
from .serializer import Serializer, serialized
from .sql import Statements
from .streams import raise_mismatches, stream_heads
from .types import ALL_STREAM, AppendResult, EventData, Expected

#: How often a lost race for the creation of a stream is tried again.
RACE_RETRIES = 3

#: One element of `append_many`: stream, expected version, events.
Append = tuple[str, Expected, Sequence[EventData]]


class EncodedEvents(NamedTuple):
    """The events of one append as the columns that the statement unnests, in order."""

    event_ids: list[UUID]
    event_types: list[str]
    causation_ids: list[UUID | None]
    correlation_ids: list[UUID | None]
    data: list[bytes]
    metadata: list[bytes | None]


def append_events(
    statements: Statements,
    serializer: Serializer,
    stream_uuid: str,
    expected: Expected,
    events: Iterable[EventData],
    *,
    created_at: datetime | None = None,
    new_id: Callable[[], UUID] = uuid4,
) -> Operation[AppendResult]:
    """Append events to one stream, all or none. Mirrors `append_to_stream/4`.

    Without events nothing is written, but the expected version is still checked.

    Args:
        statements: The statements of the schema.
        serializer: Turns data and metadata into bytes.
        stream_uuid: The stream, created when it does not exist and the expected version allows it.
        expected: The expected version.
        events: The events, in order.
        created_at: The time to store for them, timezone-aware; None for the database's clock.
        new_id: Draws the ids of events without one.

    Returns:
        Where the events landed.

    Raises:
        WrongExpectedVersion: The stream is at another version (`StreamExists`, `ExpectedStreamMissing` included).
        StreamDeleted, CannotAppendToAllStream, StreamNameTooLong: The stream cannot be appended to.
        DuplicateEvent: One of the event ids is stored already.
        SerializationFailed: The data or metadata of an event cannot be written.
        ConfigurationError: An argument is of no use.
        Conflict: The race for the creation of the stream was lost several times; try again.
    """
    check_target(stream_uuid)
    bind = to_bind(expected)
    _check_time(created_at)
    columns = encode_events(events, serializer, new_id)
    if not columns.event_ids:
        return (yield from append_nothing(statements, stream_uuid, expected))
    query = Query(statements["append_events"], (stream_uuid, bind, *columns, created_at))
    for _ in range(1 + RACE_RETRIES):
        for before, position in (yield query):
            return _result(stream_uuid, before, position, len(columns.event_ids))
        yield from raise_mismatches(statements, [(stream_uuid, expected)])
    raise lost_race([stream_uuid])


def append_many(
    statements: Statements,
    serializer: Serializer,
    appends: Sequence[Append],
    *,
    created_at: datetime | None = None,
    new_id: Callable[[], UUID] = uuid4,
) -> Operation[list[AppendResult]]:
    """Append to several streams, all or none; the order in `$all` is the order given here.

    The driver must run this in a transaction (or savepoint) of its own and roll it back when an error comes out: after
    a lost race some streams have been created. A stream may be named several times; then only its first expected
    version may be other than any_version or stream_exists. Elements without events are refused.

    Args:
        statements: The statements of the schema.
        serializer: Turns data and metadata into bytes.
        appends: Stream, expected version and events of each append.
        created_at: The time to store for all events, timezone-aware; None for the database's clock.
        new_id: Draws the ids of events without one.

    Returns:
        Where each append landed, in the order given.

    Raises:
        EventStoreError: As `append_events`. `Conflict` when a race for the creation of a stream was lost: the rolled
            back call can be repeated.
    """
    _check_time(created_at)
    first = _first_expectations(appends)
    encoded_appends = [encode_events(events, serializer, new_id) for _, _, events in appends]
    sizes = [len(columns.event_ids) for columns in encoded_appends]
    if not all(sizes):
        raise ConfigurationError("append_many got an append without events: leave it out")
    if not appends:
        return []
    names = sorted(first)
    counts = dict.fromkeys(names, 0)
    for (name, _, _), size in zip(appends, sizes, strict=True):
        counts[name] += size
    owners = [name for (name, _, _), size in zip(appends, sizes, strict=True) for _ in range(size)]
    merged = [
        [value for column in column_parts for value in column] for column_parts in zip(*encoded_appends, strict=True)
    ]
    event_ids, event_types, *rest = merged
    rows = yield Query(
        statements["append_many"],
        (
            names,
            [to_bind(first[name]) for name in names],
            [counts[name] for name in names],
            owners,
            event_ids,
            event_types,
            *rest,
            created_at,
        ),
    )
    if not rows:
        yield from raise_mismatches(statements, list(first.items()))
    if not rows or rows[0][2] is None:
        raise lost_race(names)
    return _results(appends, sizes, {row[0]: row[1] for row in rows}, rows[0][2])


def encode_events(events: Iterable[EventData], serializer: Serializer, new_id: Callable[[], UUID]) -> EncodedEvents:
    """Return the events as columns.

    Raises:
        ConfigurationError: Something is not an `EventData`, or has no usable type or id.
        SerializationFailed: The serializer refused data or metadata.
    """
    columns = EncodedEvents([], [], [], [], [], [])
    for event in events:
        _check_event(event)
        columns.event_ids.append(new_id() if event.event_id is None else event.event_id)
        columns.event_types.append(event.event_type)
        columns.causation_ids.append(event.causation_id)
        columns.correlation_ids.append(event.correlation_id)
        try:
            data, metadata = serialized(serializer, event.event_type, event.data, event.metadata)
        except Exception as error:
            raise SerializationFailed(event.event_type, f"{type(error).__name__}: {error}") from error
        columns.data.append(data)
        columns.metadata.append(metadata)
    return columns


def check_target(stream_uuid: str) -> None:
    """Raise an error unless events can be appended to, or linked into, a stream of this name."""
    check_stream_name(stream_uuid)
    if stream_uuid == ALL_STREAM:
        raise CannotAppendToAllStream


def _check_time(created_at: datetime | None) -> None:
    # A naive time would be taken in the session's time zone, which differs between connections.
    if created_at is not None and created_at.utcoffset() is None:
        raise ConfigurationError(f"created_at_override {created_at} has no time zone: give it one, for example UTC")


def _check_event(event: object) -> None:
    if not isinstance(event, EventData):
        raise ConfigurationError(f"{event!r} cannot be appended: wrap it in an EventData")
    check_text(event.event_type, "event type")
    identities: tuple[object, ...] = (event.event_id, event.causation_id, event.correlation_id)
    for identity in identities:
        if not isinstance(identity, UUID | None):
            raise ConfigurationError(f"{identity!r} of an event {event.event_type!r} is not a UUID: give a uuid.UUID")


def append_nothing(statements: Statements, stream_uuid: str, expected: Expected) -> Operation[AppendResult]:
    """Check the expected version only, and return where the stream and `$all` are; raises like `append_events`."""
    yield from raise_mismatches(statements, [(stream_uuid, expected)])
    heads = yield from stream_heads(statements, [stream_uuid, ALL_STREAM])
    version, position = heads.get(stream_uuid, 0), heads.get(ALL_STREAM, 0)
    return _result(stream_uuid, version, position, 0)


def _first_expectations(appends: Sequence[Append]) -> dict[str, Expected]:
    first: dict[str, Expected] = {}
    for stream_uuid, expected, _ in appends:
        check_target(stream_uuid)
        bind = to_bind(expected)
        if first.setdefault(stream_uuid, expected) is not expected and bind not in (ANY, EXISTS):
            raise ConfigurationError(
                f"append_many names stream {stream_uuid!r} again and expects {expected}: "
                "expect any_version from the second time on"
            )
    return first


def _results(
    appends: Sequence[Append], sizes: Sequence[int], versions: dict[str, int], position: int
) -> list[AppendResult]:
    results = []
    for (stream_uuid, _, _), size in zip(appends, sizes, strict=True):
        results.append(_result(stream_uuid, versions[stream_uuid], position, size))
        versions[stream_uuid] += size
        position += size
    return results


def _result(stream_uuid: str, version: int, position: int, size: int) -> AppendResult:
    return AppendResult(stream_uuid, version + 1, version + size, position + 1, position + size)


def lost_race(names: Sequence[str]) -> Conflict:
    """Return the error for streams that other writers kept changing."""
    shown = ", ".join(repr(name) for name in names[:3]) + ("…" if len(names) > 3 else "")
    return Conflict(f"other writers changed {shown} at the same time: try the append again")
