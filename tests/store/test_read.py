"""Reading forward and backward, lazily, by page, and what cannot be read."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from psycopg import sql

from eventstore.store import (
    ConfigurationError,
    Connection,
    DeserializationFailed,
    EventData,
    EventStore,
    JsonSerializer,
    Statements,
    StreamDeleted,
    StreamNotFound,
    run,
)
from eventstore.store.read import page_all, page_stream
from eventstore.store.rows import decode_event
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events

pytestmark = pytest.mark.every_server

READS = ["read_stream_forward", "read_stream_backward"]


@pytest.fixture
def filled(event_store: EventStore) -> EventStore:
    """Stream a with 1, 2, 3, 5; b with 4, 6: the payload is the position."""
    for stream, data in (("a", (1, 2, 3)), ("b", (4,)), ("a", (5,)), ("b", (6,))):
        event_store.append_to_stream(stream, "any_version", events(*data))
    return event_store


@pytest.mark.parametrize(
    ("stream", "start", "count", "expected"),
    [
        ("a", 0, 1000, [1, 2, 3, 5]),
        ("a", 1, 1000, [1, 2, 3, 5]),
        ("a", 2, 2, [2, 3]),
        ("a", 5, 10, []),
        ("$all", 3, 2, [3, 4]),
        ("$all", 7, 1, []),
    ],
)
def test_forward(filled: EventStore, stream: str, start: int, count: int, expected: list[int]) -> None:
    assert [event.data for event in filled.read_stream_forward(stream, start, count)] == expected


@pytest.mark.parametrize(
    ("stream", "start", "count", "expected"),
    [
        ("a", -1, 1000, [5, 3, 2, 1]),
        ("a", 2, 1000, [2, 1]),
        ("a", 9, 1, [5]),
        ("a", 0, 1, []),
        ("$all", -1, 2, [6, 5]),
        ("$all", 2, 10, [2, 1]),
    ],
)
def test_backward(filled: EventStore, stream: str, start: int, count: int, expected: list[int]) -> None:
    assert [event.data for event in filled.read_stream_backward(stream, start, count)] == expected


def test_all_streams(filled: EventStore) -> None:
    forward = filled.read_all_streams_forward()
    assert [(event.event_number, event.stream_uuid, event.stream_version) for event in forward] == [
        (1, "a", 1),
        (2, "a", 2),
        (3, "a", 3),
        (4, "b", 1),
        (5, "a", 4),
        (6, "b", 2),
    ]
    assert filled.read_all_streams_backward(5, 2) == forward[4:2:-1]


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 1000])
def test_lazily(filled: EventStore, batch: int) -> None:
    assert [event.data for event in filled.stream_forward("a", read_batch_size=batch)] == [1, 2, 3, 5]
    assert [event.data for event in filled.stream_forward("$all", 3, batch)] == [3, 4, 5, 6]


def test_a_lazy_read_starts_when_it_is_iterated(event_store: EventStore) -> None:
    lazy = event_store.stream_forward("a")
    event_store.append_to_stream("a", "no_stream", events(1))
    assert [event.data for event in lazy] == [1]


def test_an_empty_all_stream(event_store: EventStore) -> None:
    assert event_store.read_all_streams_forward() == []
    assert event_store.read_all_streams_backward() == []
    assert list(event_store.stream_forward("$all")) == []


@pytest.mark.parametrize("read", READS)
def test_an_unknown_stream(event_store: EventStore, read: str) -> None:
    with pytest.raises(StreamNotFound, match="nowhere"):
        getattr(event_store, read)("nowhere")
    with pytest.raises(StreamNotFound, match="nowhere"):
        event_store.stream_info("nowhere")


@pytest.mark.parametrize("read", READS)
def test_a_deleted_stream(filled: EventStore, conn: Connection, schema: str, read: str) -> None:
    conn.execute(
        sql.SQL("update {}.streams set deleted_at = now() where stream_uuid = 'a'").format(sql.Identifier(schema))
    )
    with pytest.raises(StreamDeleted, match="'a'"):
        getattr(filled, read)("a")
    assert filled.stream_info("a").deleted_at is not None
    assert [event.data for event in filled.read_all_streams_forward()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("read", "arguments"),
    [
        ("read_stream_forward", {"start_version": -1}),
        ("read_stream_backward", {"start_version": -2}),
        ("read_stream_forward", {"count": 0}),
        ("read_stream_backward", {"count": 2**63}),
    ],
)
def test_numbers_out_of_range(event_store: EventStore, read: str, arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="out of range"):
        getattr(event_store, read)("a", **arguments)


def test_stream_info(filled: EventStore) -> None:
    info = filled.stream_info("b")
    assert (info.stream_uuid, info.stream_id, info.stream_version, info.deleted_at) == ("b", 2, 2, None)
    assert filled.stream_info("$all").stream_version == 6


def test_stream_heads(filled: EventStore) -> None:
    assert filled.stream_heads(["a", "b", "none", "$all"]) == {"a": 4, "b": 2, "$all": 6}
    assert filled.stream_heads([]) == {}


def test_known_event_ids(filled: EventStore) -> None:
    known = {event.event_id for event in filled.read_stream_forward("a")}
    assert filled.known_event_ids([*known, uuid.uuid4()]) == known
    assert filled.known_event_ids([]) == set()


@pytest.mark.parametrize("data_type", ["bytea", "jsonb"])
def test_pages_are_wire_form(database_url: str, conn: Connection, data_type: Any) -> None:
    with fresh_schema(database_url, data_type) as name, EventStore(database_url, schema=name) as store:
        store.append_to_stream("a", "no_stream", events({"n": 1}))
        store.append_to_stream("b", "no_stream", events({"n": 2}, {"n": 3}))
        statements = Statements(name, data_type)
        everything = run(conn, page_all(statements, 0, 10))
        (row,) = run(conn, page_all(statements, 1, 1))
        of_stream = run(conn, page_stream(statements, "b", 1, 10))
        assert run(conn, page_stream(statements, "$all", 0, 10)) == everything
        assert run(conn, page_stream(statements, "nowhere", 0, 10)) == []
        (second, third) = store.read_stream_forward("b")
    assert row[:4] == (2, "b", 1, "Happened")
    assert (row[4], row[5], row[6], row[8]) == (
        second.event_id.bytes,
        None,
        None,
        b"null" if data_type == "bytea" else None,
    )
    assert bytes(row[7]).replace(b" ", b"") == b'{"n":2}'
    assert isinstance(row[9], int)
    assert [decode_event(found, JsonSerializer()) for found in of_stream] == [third]


def test_an_event_that_cannot_be_decoded_is_named(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("a", "no_stream", events(1))
    (stored,) = event_store.read_stream_forward("a")
    conn.execute("set session_replication_role = replica")
    conn.execute(sql.SQL("update {}.events set data = 'no json'").format(sql.Identifier(schema)))
    with pytest.raises(DeserializationFailed, match=f"event 1 .{stored.event_id}, type 'Happened'") as failed:
        event_store.read_stream_forward("a")
    assert (failed.value.event_number, failed.value.event_id) == (1, stored.event_id)


def test_lazy_reads_give_what_comes_before_an_event_that_cannot_be_decoded(database_url: str, schema: str) -> None:
    """Whoever goes on behind it misses nothing else."""

    class Picky(JsonSerializer):
        def deserialize(self, payload: bytes, event_type: str) -> Any:
            if event_type == "Odd":
                raise ValueError("no such thing")
            return super().deserialize(payload, event_type)

    given = [*events(1, 2), EventData("Odd", 3), *events(4, 5)]
    with EventStore(database_url, schema=schema, serializer=Picky()) as store:
        store.append_to_stream("a", 0, given)
        for lazy, before, behind in (
            (store.stream_all_forward, [1, 2], 4),
            (store.stream_all_backward, [5, 4], 2),
        ):
            found: list[Any] = []
            with pytest.raises(DeserializationFailed) as failed:
                found.extend(event.data for event in lazy())
            assert failed.value.event_number == 3
            assert found == before
            assert [event.data for event in lazy(behind)] == [behind, 5 if behind == 4 else 1]


def test_a_serializer_of_ones_own(database_url: str, schema: str) -> None:
    class Upper:
        def serialize(self, value: Any) -> bytes:
            return str(value).upper().encode()

        def deserialize(self, payload: bytes, event_type: str) -> Any:
            return f"{event_type}:{payload.decode()}"

    with EventStore(database_url, schema=schema, serializer=Upper()) as store:
        store.append_to_stream("a", "no_stream", events("abc"))
        assert store.read_stream_forward("a")[0].data == "Happened:ABC"
