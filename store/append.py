"""Appending, as operations without I/O: checks, serialization, the statement, and what its answer means.

Runs `append_events.sql` for one stream and `append_many.sql` for several. `event_store.py` drives these on a
connection; the decisions about expected versions are in `expected_version.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .arrays import Array, Bigints, Bytes, Texts, Uuids
from .errors import CannotAppendToAllStream, ConfigurationError, Conflict, SerializationFailed
from .event_ids import new_event_id
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
    """Events as the columns that the statements unnest, in order."""

    event_ids: Uuids
    event_types: Texts
    causation_ids: Uuids
    correlation_ids: Uuids
    data: Bytes
    metadata: Bytes


class EncodedAppend(NamedTuple):
    """An append to one stream that has passed every check which needs no database.

    Attributes:
        stream_uuid: The stream.
        expected: The expected version as the caller gave it.
        bind: The expected version as the statements take it.
        columns: The events.
        created_at: The time to store for them, None for the database's clock.
    """

    stream_uuid: str
    expected: Expected
    bind: int
    columns: EncodedEvents
    created_at: datetime | None

    @property
    def size(self) -> int:
        """The number of events."""
        return len(self.columns.event_ids)

    @property
    def payload(self) -> int:
        """The bytes of data and metadata."""
        return sum(map(len, self.columns.data)) + sum(map(len, filter(None, self.columns.metadata)))


def append_events(
    statements: Statements,
    serializer: Serializer,
    stream_uuid: str,
    expected: Expected,
    events: Iterable[EventData],
    *,
    created_at: datetime | None = None,
    new_id: Callable[[], UUID] = new_event_id,
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
    encoded = encode_append(serializer, stream_uuid, expected, events, created_at=created_at, new_id=new_id)
    return (yield from append_encoded(statements, encoded))


def encode_append(
    serializer: Serializer,
    stream_uuid: str,
    expected: Expected,
    events: Iterable[EventData],
    *,
    created_at: datetime | None = None,
    new_id: Callable[[], UUID] = new_event_id,
) -> EncodedAppend:
    """Return an append ready to be sent; arguments and errors as for `append_events`, but for those of the database."""
    check_target(stream_uuid)
    bind = to_bind(expected)
    _check_time(created_at)
    return EncodedAppend(stream_uuid, expected, bind, encode_events(events, serializer, new_id), created_at)


def append_encoded(statements: Statements, encoded: EncodedAppend) -> Operation[AppendResult]:
    """Append what was encoded; returns and raises like `append_events`."""
    stream_uuid, expected, bind, columns, created_at = encoded
    if not encoded.size:
        return (yield from append_nothing(statements, stream_uuid, expected))
    query = Query(statements["append_events"], (stream_uuid, bind, *columns, created_at))
    for _ in range(1 + RACE_RETRIES):
        for before, position in (yield query):
            return _result(stream_uuid, before, position, encoded.size)
        yield from raise_mismatches(statements, [(stream_uuid, expected)])
    raise lost_race([stream_uuid])


def append_many(
    statements: Statements,
    serializer: Serializer,
    appends: Sequence[Append],
    *,
    created_at: datetime | None = None,
    new_id: Callable[[], UUID] = new_event_id,
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
    encoded = [encode_append(serializer, *given, created_at=created_at, new_id=new_id) for given in appends]
    first = _first_expectations(encoded)
    if not all(one.size for one in encoded):
        raise ConfigurationError("append_many got an append without events: leave it out")
    if not encoded:
        return []
    rows = yield Query(statements["append_many"], (*merged(encoded), created_at))
    if not rows:
        yield from raise_mismatches(statements, list(first.items()))
    if not rows or rows[0][2] is None:
        raise lost_race(sorted(first))
    versions, position = {row[0]: row[1] for row in rows}, rows[0][2]
    return [result for result in results(encoded, versions, position) if result is not None]


def merged(appends: Sequence[EncodedAppend]) -> tuple[Array, ...]:
    """Return several appends as the binds of one statement: names, expected versions, counts, then a row per event.

    A stream counts once, with the first expected version given for it; the names are sorted, so that all writers lock
    rows in the same order.
    """
    first: dict[str, int] = {}
    counts: dict[str, int] = {}
    owners = Texts()
    columns = EncodedEvents(Uuids(), Texts(), Uuids(), Uuids(), Bytes(), Bytes())
    for append in appends:
        name = append.stream_uuid
        first.setdefault(name, append.bind)
        counts[name] = counts.get(name, 0) + append.size
        owners += [name] * append.size
        for all_values, values in zip(columns, append.columns, strict=True):
            all_values.extend(values)
    names = sorted(first)
    return (
        Texts(names),
        Bigints([first[name] for name in names]),
        Bigints([counts[name] for name in names]),
        owners,
        *columns,
    )


def results(appends: Sequence[EncodedAppend], versions: Mapping[str, int], position: int) -> list[AppendResult | None]:
    """Return where each append landed, None for those to streams without a version.

    Args:
        appends: The appends, in the order of `$all`.
        versions: The version before of every stream that was appended to.
        position: The position of `$all` before.
    """
    heads = dict(versions)
    found: list[AppendResult | None] = []
    for append in appends:
        name, size = append.stream_uuid, append.size
        if name not in heads:
            found.append(None)
            continue
        found.append(_result(name, heads[name], position, size))
        heads[name] += size
        position += size
    return found


def encode_events(events: Iterable[EventData], serializer: Serializer, new_id: Callable[[], UUID]) -> EncodedEvents:
    """Return the events as columns.

    Raises:
        ConfigurationError: Something is not an `EventData`, or has no usable type or id, or an event stands alone.
        SerializationFailed: The serializer refused data or metadata.
    """
    check_list(events)
    columns = EncodedEvents(Uuids(), Texts(), Uuids(), Uuids(), Bytes(), Bytes())
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


def check_list(events: object) -> None:
    """Raise an error for an event that is given where several are wanted."""
    if isinstance(events, EventData):
        raise ConfigurationError(f"an event of type {events.event_type!r} stands alone: put it into a list")


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


def _first_expectations(appends: Sequence[EncodedAppend]) -> dict[str, Expected]:
    first: dict[str, Expected] = {}
    for append in appends:
        if append.stream_uuid in first and append.bind not in (ANY, EXISTS):
            raise ConfigurationError(
                f"append_many names stream {append.stream_uuid!r} again and expects {append.expected}: "
                "expect any_version from the second time on"
            )
        first.setdefault(append.stream_uuid, append.expected)
    return first


def _result(stream_uuid: str, version: int, position: int, size: int) -> AppendResult:
    return AppendResult(stream_uuid, version + 1, version + size, position + 1, position + size)


def lost_race(names: Sequence[str]) -> Conflict:
    """Return the error for streams that other writers kept changing."""
    shown = ", ".join(repr(name) for name in names[:3]) + ("…" if len(names) > 3 else "")
    return Conflict(f"other writers changed {shown} at the same time: try the append again")
