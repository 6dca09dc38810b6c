"""Channels and payloads: parsed from the right, limited in length, and what the trigger really sends."""

from __future__ import annotations

import random
from typing import Any

import pytest
from psycopg import Notify, sql

from eventstore.store import (
    MAX_STREAM_NAME_BYTES,
    ConfigurationError,
    Connection,
    EventStore,
    EventStoreError,
    InvalidNotification,
    Notification,
    StreamNameTooLong,
)
from eventstore.store.notifications import channel, check_stream_name, parse, runtime_channel
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events

pytestmark = pytest.mark.every_server

ODD_NAMES = ["a,b", "a,1,2,3", ",", ",,,", '"', "'", "ünï 日本 🎉", "a\nb\tc", " ", "$", "%s {schema} $1", "\\"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("order-1,7,1,3", Notification("order-1", 7, 1, 3)),
        ("$all,0,12,14", Notification("$all", 0, 12, 14)),
        ("a,b,1,2,7,1,3", Notification("a,b,1,2", 7, 1, 3)),
        (",,1,2,3", Notification(",", 1, 2, 3)),
        ("deleted,7,4,3", Notification("deleted", 7, 4, 3)),
    ],
)
def test_parse(payload: str, expected: Notification) -> None:
    assert parse(payload) == expected


@pytest.mark.parametrize(
    "payload", ["", "a", "a,1,2", ",1,2,3", "a,1,2,", "a,x,2,3", "a,-1,2,3", "a, 1,2,3", "a,1,2,٣"]
)
def test_other_payloads_are_refused(payload: str) -> None:
    with pytest.raises(InvalidNotification) as refused:
        parse(payload)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, EventStoreError)


def test_channels() -> None:
    assert channel("public") == "public.events"
    assert runtime_channel("public") == "public.runtime"
    assert channel("s" * 56) == "s" * 56 + ".events"
    assert runtime_channel("ü" * 27) == "ü" * 27 + ".runtime"


@pytest.mark.parametrize(("make", "schema"), [(channel, "s" * 57), (runtime_channel, "s" * 56), (channel, "ü" * 29)])
def test_a_channel_that_is_too_long_names_the_schema(make: Any, schema: str) -> None:
    with pytest.raises(ConfigurationError, match=schema):
        make(schema)


@pytest.mark.parametrize("schema", ["", "a\0b", "\ud800"])
def test_unusable_schema_names(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="schema name"):
        channel(schema)


def received(conn: Connection) -> list[Any]:
    return [(notify.channel, parse(notify.payload)) for notify in arrived(conn)]


def arrived(conn: Connection) -> list[Notify]:
    """All that was sent to this session before; a marker of our own comes behind it."""
    conn.execute("listen marker")
    conn.execute("notify marker")
    taken: list[Notify] = []
    for notify in conn.notifies(timeout=60):
        if notify.channel == "marker":
            return taken
        taken.append(notify)
    raise AssertionError("the marker did not arrive")


def listen(conn: Connection, schema: str) -> None:
    conn.execute(sql.SQL("listen {}").format(sql.Identifier(channel(schema))))


def test_one_append_announces_its_stream_and_all(event_store: EventStore, conn: Connection, schema: str) -> None:
    listen(conn, schema)
    event_store.append_to_stream("a,b", "no_stream", events(1, 2))
    event_store.append_to_stream("a,b", 2, events(3))
    name = channel(schema)
    assert received(conn) == [
        (name, Notification("a,b", 1, 1, 2)),
        (name, Notification("$all", 0, 1, 2)),
        (name, Notification("a,b", 1, 3, 3)),
        (name, Notification("$all", 0, 3, 3)),
    ]


def test_a_soft_delete_announces_an_empty_range(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("a", "no_stream", events(1, 2))
    listen(conn, schema)
    conn.execute(
        sql.SQL("update {}.streams set deleted_at = now() where stream_uuid = 'a'").format(sql.Identifier(schema))
    )
    assert received(conn) == [(channel(schema), Notification("a", 1, 3, 2))]


def test_the_raw_payload_is_the_elixir_librarys(event_store: EventStore, conn: Connection, schema: str) -> None:
    listen(conn, schema)
    event_store.append_to_stream("x", "any_version", events(1))
    assert [notify.payload for notify in arrived(conn)] == ["x,1,1,1", "$all,0,1,1"]


def test_odd_schema_names_have_a_channel_too(database_url: str, conn: Connection) -> None:
    with fresh_schema(database_url, name='odd "schema\'s" {schema} $1 %s') as schema:
        listen(conn, schema)
        with EventStore(database_url, schema=schema) as store:
            store.append_to_stream("x", "any_version", events(1))
        assert received(conn)[0] == (channel(schema), Notification("x", 1, 1, 1))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_stream_names(event_store: EventStore, conn: Connection, schema: str, name: str) -> None:
    listen(conn, schema)
    event_store.append_to_stream(name, "no_stream", events(1))
    assert [event.stream_uuid for event in event_store.read_stream_forward(name)] == [name]
    assert event_store.stream_heads([name]) == {name: 1}
    assert received(conn)[0][1] == Notification(name, 1, 1, 1)


def test_the_longest_stream_name_fits(event_store: EventStore) -> None:
    # Random text, because PostgreSQL compresses the name in the index.
    letters = random.Random(2)
    name = "".join(chr(letters.randrange(33, 127)) for _ in range(MAX_STREAM_NAME_BYTES))
    event_store.append_to_stream(name, "no_stream", events(1))
    assert event_store.stream_info(name).stream_version == 1


@pytest.mark.parametrize(
    "name", ["x" * (MAX_STREAM_NAME_BYTES + 1), "ü" * (MAX_STREAM_NAME_BYTES // 2 + 1), "🎉" * 9000]
)
def test_a_longer_stream_name_is_refused(event_store: EventStore, name: str) -> None:
    with pytest.raises(StreamNameTooLong, match=f"at most {MAX_STREAM_NAME_BYTES}"):
        event_store.append_to_stream(name, "any_version", events(1))


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", None, 7])
def test_unusable_stream_names(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="stream name"):
        check_stream_name(name)
