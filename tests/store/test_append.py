"""Appending to one stream: the four kinds of expected version, what is refused, and what is stored."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql

from eventstore.store import (
    AppendResult,
    CannotAppendToAllStream,
    ConfigurationError,
    Connection,
    DuplicateEvent,
    EventData,
    EventStore,
    ExpectedStreamMissing,
    ExpectedVersion,
    InMemoryEventStore,
    JsonSerializer,
    SerializationFailed,
    Snapshot,
    StreamDeleted,
    StreamExists,
    StreamNotFound,
    WrongExpectedVersion,
)
from eventstore.store.expected_version import mismatch, to_bind
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events

pytestmark = pytest.mark.every_server


@dataclass
class Money:
    amount: int
    currency: str


class Point(msgspec.Struct):
    x: int
    y: int


@pytest.fixture(params=["bytea", "jsonb"])
def any_store(request: pytest.FixtureRequest, database_url: str) -> Iterator[EventStore]:
    with fresh_schema(database_url, request.param) as name, EventStore(database_url, schema=name) as store:
        yield store


def soft_delete(conn: Connection, schema: str, stream_uuid: str) -> None:
    conn.execute(
        sql.SQL("update {}.streams set deleted_at = now() where stream_uuid = %s").format(sql.Identifier(schema)),
        [stream_uuid],
    )


@pytest.mark.parametrize("expected", ["any_version", "no_stream", 0, ExpectedVersion.ANY_VERSION])
def test_expectations_that_create_a_stream(event_store: EventStore, expected: Any) -> None:
    event_store.append_to_stream("other", "any_version", events(1))
    assert event_store.append_to_stream("new", expected, events(1, 2)) == AppendResult("new", 1, 2, 2, 3)


@pytest.mark.parametrize("expected", ["any_version", "stream_exists", 2, ExpectedVersion.STREAM_EXISTS])
def test_expectations_that_meet_a_stream(event_store: EventStore, expected: Any) -> None:
    event_store.append_to_stream("old", "no_stream", events(1, 2))
    assert event_store.append_to_stream("old", expected, events(3, 4, 5)) == AppendResult("old", 3, 5, 3, 5)


@pytest.mark.parametrize(
    ("expected", "error"),
    [("stream_exists", ExpectedStreamMissing), (1, WrongExpectedVersion)],
)
def test_a_missing_stream(event_store: EventStore, expected: Any, error: type[WrongExpectedVersion]) -> None:
    with pytest.raises(error) as refused:
        event_store.append_to_stream("new", expected, events(1))
    assert type(refused.value) is error
    assert (refused.value.stream_uuid, refused.value.expected, refused.value.actual) == ("new", expected, 0)
    assert event_store.read_all_streams_forward() == []


def test_a_missing_stream_can_be_caught_as_not_found(event_store: EventStore) -> None:
    with pytest.raises(StreamNotFound):
        event_store.append_to_stream("new", "stream_exists", events(1))


@pytest.mark.parametrize(
    ("expected", "error"),
    [("no_stream", StreamExists), (0, WrongExpectedVersion), (1, WrongExpectedVersion), (3, WrongExpectedVersion)],
)
def test_a_stream_at_another_version(event_store: EventStore, expected: Any, error: type[WrongExpectedVersion]) -> None:
    event_store.append_to_stream("old", "no_stream", events(1, 2))
    with pytest.raises(error) as refused:
        event_store.append_to_stream("old", expected, events(3))
    assert type(refused.value) is error
    assert (refused.value.expected, refused.value.actual) == (expected, 2)
    assert event_store.stream_heads(["old", "$all"]) == {"old": 2, "$all": 2}


@pytest.mark.parametrize("expected", ["any_version", "no_stream", "stream_exists", 0, 1])
def test_a_deleted_stream(event_store: EventStore, conn: Connection, schema: str, expected: Any) -> None:
    event_store.append_to_stream("gone", "no_stream", events(1))
    soft_delete(conn, schema, "gone")
    with pytest.raises(StreamDeleted, match="gone"):
        event_store.append_to_stream("gone", expected, events(2))


@pytest.mark.parametrize("expected", [-1, -2, True, 1.0, None, "any", "", "1"])
def test_unknown_expected_versions(event_store: EventStore, expected: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected version"):
        event_store.append_to_stream("a", expected, events(1))


def test_the_all_stream_is_refused(event_store: EventStore) -> None:
    with pytest.raises(CannotAppendToAllStream, match=r"\$all"):
        event_store.append_to_stream("$all", "any_version", events(1))


def test_a_duplicate_id_appends_nothing(event_store: EventStore) -> None:
    twice = uuid.uuid4()
    event_store.append_to_stream("a", "no_stream", [EventData("E", 1, event_id=twice)])
    for stream in ("a", "b"):
        with pytest.raises(DuplicateEvent, match=str(twice)) as refused:
            event_store.append_to_stream(stream, "any_version", [*events(2), EventData("E", 3, event_id=twice)])
        assert refused.value.event_id == twice
    assert event_store.stream_heads(["a", "b", "$all"]) == {"a": 1, "$all": 1}
    assert event_store.append_to_stream("a", 1, events(2)) == AppendResult("a", 2, 2, 2, 2)


def test_an_id_twice_in_one_append_appends_nothing(event_store: EventStore) -> None:
    twice = uuid.uuid4()
    with pytest.raises(DuplicateEvent):
        event_store.append_to_stream("a", "any_version", [EventData("E", n, event_id=twice) for n in range(2)])
    assert event_store.stream_heads(["a", "$all"]) == {"$all": 0}


def test_everything_of_an_event_is_stored(any_store: EventStore) -> None:
    one, two, three = (uuid.uuid4() for _ in range(3))
    at = datetime(2020, 2, 29, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    event = EventData(
        "Elixir.MyApp.Event",
        {"a": [1, None]},
        metadata={"m": "ü"},
        event_id=one,
        causation_id=two,
        correlation_id=three,
    )
    any_store.append_to_stream("first", "no_stream", events(0))
    any_store.append_to_stream("a", "no_stream", [event], created_at_override=at)
    (read,) = any_store.read_stream_forward("a")
    assert (read.event_number, read.stream_version, read.stream_uuid) == (1, 1, "a")
    assert (read.event_id, read.causation_id, read.correlation_id) == (one, two, three)
    assert (read.event_type, read.data, read.metadata) == ("Elixir.MyApp.Event", {"a": [1, None]}, {"m": "ü"})
    assert read.created_at == at
    assert read.created_at.utcoffset() == timedelta(0)
    (in_all,) = any_store.read_all_streams_forward(2)
    assert (in_all.event_number, in_all.stream_version, in_all.stream_uuid) == (2, 1, "a")
    assert in_all.event_id == one


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)])
def test_any_time_can_be_stored(event_store: EventStore, at: datetime) -> None:
    event_store.append_to_stream("a", "no_stream", events(1), created_at_override=at)
    assert event_store.read_stream_forward("a")[0].created_at == at


def test_a_naive_time_is_refused(event_store: EventStore) -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        event_store.append_to_stream("a", "any_version", events(1), created_at_override=datetime(2020, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("data", "read_back"),
    [
        (None, None),
        ("text", "text"),
        (2**63, 2**63),
        (Money(5, "EUR"), {"amount": 5, "currency": "EUR"}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (datetime(2020, 1, 1, tzinfo=UTC), "2020-01-01T00:00:00+00:00"),
        (Decimal("1.10"), "1.10"),
        ({"deep": [Point(1, 2), Money(3, "x")]}, {"deep": [{"x": 1, "y": 2}, {"amount": 3, "currency": "x"}]}),
    ],
)
def test_values_and_how_they_come_back(any_store: EventStore, data: Any, read_back: Any) -> None:
    any_store.append_to_stream("a", "any_version", [EventData("E", data, metadata=data)])
    (event,) = any_store.read_stream_forward("a")
    assert (event.data, event.metadata) == (read_back, read_back)


@pytest.mark.parametrize("data", [object(), {1: "key"}, 2**64, "\ud800"])
def test_values_that_json_cannot_hold(event_store: EventStore, data: Any) -> None:
    with pytest.raises(SerializationFailed, match="'Odd'"):
        event_store.append_to_stream("a", "any_version", events(data, event_type="Odd"))
    with pytest.raises(SerializationFailed, match="'Odd'"):
        event_store.append_to_stream("a", "any_version", [EventData("Odd", 1, metadata=data)])


@pytest.mark.parametrize(("data_type", "stored"), [("bytea", b"null"), ("jsonb", None)])
def test_no_metadata_is_stored_as_commanded_eventstore_stores_it(
    database_url: str, conn: Connection, data_type: Any, stored: Any
) -> None:
    with fresh_schema(database_url, data_type) as schema, EventStore(database_url, schema=schema) as store:
        store.append_to_stream("a", 0, [EventData("E", 1)])
        store.append_many([("b", 0, [EventData("E", 1)])])
        store.record_snapshot(Snapshot("a", 1, "State", {}))
        for table in ("events", "snapshots"):
            rows = conn.execute(
                sql.SQL("select distinct metadata from {}").format(sql.Identifier(schema, table))
            ).fetchall()
            assert rows == [(stored,)]
        assert [event.metadata for event in store.read_all_streams_forward()] == [None, None]
        assert store.read_snapshot("a").metadata is None


def test_a_serializer_of_ones_own_is_not_given_none(database_url: str, conn: Connection, schema: str) -> None:
    class Pickle:
        def serialize(self, value: Any) -> bytes:
            assert value is not None
            return pickle.dumps(value)

        def deserialize(self, payload: bytes, event_type: str) -> Any:
            return pickle.loads(payload)

    with EventStore(database_url, schema=schema, serializer=Pickle()) as store:
        store.append_to_stream("a", 0, [EventData("E", 1)])
        assert store.read_stream_forward("a")[0].metadata is None
        assert conn.execute(sql.SQL("select metadata from {}").format(sql.Identifier(schema, "events"))).fetchall() == [
            (None,)
        ]


class Careless(JsonSerializer):
    """Gives what it was given where that is asked for."""

    def serialize(self, value: Any) -> Any:
        return value["raw"] if isinstance(value, dict) and "raw" in value else super().serialize(value)


@pytest.mark.parametrize("made", [EventStore, InMemoryEventStore])
@pytest.mark.parametrize("payload", ["text", None, 1, ["x"]])
def test_a_serializer_that_returns_no_bytes(database_url: str, schema: str, made: Any, payload: Any) -> None:
    options = {"url": database_url, "schema": schema} if made is EventStore else {}
    with made(**options, serializer=Careless()) as store:
        reason = f"Careless returned {type(payload).__name__} instead of bytes"
        for event in (EventData("E", {"raw": payload}), EventData("E", 1, metadata={"raw": payload})):
            with pytest.raises(SerializationFailed, match=reason):
                store.append_to_stream("a", "any_version", [event])
        with pytest.raises(SerializationFailed, match=reason):
            store.record_snapshot(Snapshot("a", 1, "State", {"raw": payload}))


@pytest.mark.parametrize("payload", [b"", b"[1]", bytearray(b"[1]"), memoryview(b"[1, 2]")[:3]])
def test_a_serializer_that_returns_bytes_of_any_kind(database_url: str, schema: str, payload: Any) -> None:
    class Raw(Careless):
        def deserialize(self, payload: bytes, event_type: str) -> Any:
            return payload

    with EventStore(database_url, schema=schema, serializer=Raw()) as store:
        store.append_to_stream("a", "any_version", [EventData("E", {"raw": payload})])
        assert store.read_stream_forward("a")[0].data == bytes(payload)


def test_what_jsonb_alone_refuses(database_url: str) -> None:
    with fresh_schema(database_url, "jsonb") as name, EventStore(database_url, schema=name) as store:
        with pytest.raises(SerializationFailed, match="Unicode"):
            store.append_to_stream("a", "any_version", events({"nul": "\0"}))
        assert store.stream_heads(["a"]) == {}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"event_type": "E"}, "wrap it in an EventData"),
        (EventData("", 1), "event type ''"),
        (EventData("a\0", 1), "NUL"),
        (EventData("E", 1, event_id="not-a-uuid"), "is not a UUID"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_event(event_store: EventStore, event: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        event_store.append_to_stream("a", "any_version", [event])


def test_an_event_alone_is_no_list(any_store: EventStore) -> None:
    with pytest.raises(ConfigurationError, match="an event of type 'E' stands alone: put it into a list"):
        any_store.append_to_stream("a", "any_version", EventData("E", 1))  # type: ignore[arg-type]


def test_no_events_change_nothing_but_are_checked(event_store: EventStore) -> None:
    event_store.append_to_stream("other", "no_stream", events(1))
    assert event_store.append_to_stream("a", "any_version", []) == AppendResult("a", 1, 0, 2, 1)
    assert event_store.append_to_stream("other", 1, []) == AppendResult("other", 2, 1, 2, 1)
    assert event_store.stream_heads(["a"]) == {}
    with pytest.raises(StreamExists):
        event_store.append_to_stream("other", "no_stream", [])


def test_many_events_are_one_append_in_order(any_store: EventStore) -> None:
    result = any_store.append_to_stream("a", "no_stream", events(*range(5_000)))
    assert result == AppendResult("a", 1, 5_000, 1, 5_000)
    assert [event.data for event in any_store.read_stream_forward("a", count=5_000)] == list(range(5_000))
    assert [event.data for event in any_store.read_all_streams_forward(count=5_000)] == list(range(5_000))


def test_links_carry_the_original_stream(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("a", "no_stream", events(1))
    event_store.append_to_stream("b", "no_stream", events(2, 3))
    found = conn.execute(
        sql.SQL(
            "select stream_id, stream_version, original_stream_id, original_stream_version "
            "from {}.stream_events order by 1, 2"
        ).format(sql.Identifier(schema))
    ).fetchall()
    assert found == [(0, 1, 1, 1), (0, 2, 2, 1), (0, 3, 2, 2), (1, 1, 1, 1), (2, 1, 2, 1), (2, 2, 2, 2)]


def test_an_append_in_the_callers_transaction(
    event_store: EventStore, open_connection: Callable[..., Connection]
) -> None:
    own = open_connection()
    with own.transaction(force_rollback=True):
        assert event_store.append_to_stream("a", "no_stream", events(1), conn=own).position == 1
        assert len(event_store.read_stream_forward("a", conn=own)) == 1
    assert event_store.stream_heads(["a", "$all"]) == {"$all": 0}
    with own.transaction():
        event_store.append_to_stream("a", "no_stream", events(1), conn=own)
    assert event_store.stream_heads(["a", "$all"]) == {"a": 1, "$all": 1}


def test_a_callers_connection_may_have_its_own_rows_and_types(event_store: EventStore, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True, row_factory=psycopg.rows.dict_row) as own:
        own.execute("set timezone = 'Asia/Kolkata'")
        for name in ("uuid", "jsonb"):
            own.adapters.register_loader(name, psycopg.types.string.TextLoader)
            own.adapters.register_loader(name, psycopg.types.string.TextBinaryLoader)
        event_store.append_to_stream("a", "no_stream", events({"a": 1}))
        (through_own,) = event_store.read_stream_forward("a", conn=own)
        assert [through_own] == event_store.read_stream_forward("a")
        assert event_store.stream_info("a", conn=own) == event_store.stream_info("a")
        assert event_store.known_event_ids([through_own.event_id], conn=own) == {through_own.event_id}


def test_expected_versions_have_one_meaning_for_each_state() -> None:
    assert [to_bind(expected) for expected in ("any_version", "no_stream", "stream_exists", 0, 7)] == [-1, 0, -2, 0, 7]
    assert mismatch("a", None, "any_version") is None
    assert mismatch("a", None, 0) is None
    assert type(mismatch("a", None, "stream_exists")) is ExpectedStreamMissing
