"""What links and deletes do inside PostgreSQL: notifications, protection by the triggers, and races."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore.store import (
    AppendResult,
    Conflict,
    Connection,
    EventNotFound,
    EventStore,
    HardDeleteNotEnabled,
    StreamNotFound,
    WrongExpectedVersion,
)
from eventstore.store.notifications import Notification, channel, parse
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together
from eventstore.tests.support.wait import wait_until

pytestmark = pytest.mark.every_server


@pytest.fixture
def deleting(database_url: str, schema: str) -> Any:
    """A store on the test's schema that may delete for good."""
    with EventStore(database_url, schema=schema, pool_size=8, enable_hard_deletes=True) as store:
        yield store


def rows(conn: Connection, schema: str, statement: str) -> list[Any]:
    return conn.execute(sql.SQL(statement).format(sql.Identifier(schema))).fetchall()


def test_a_link_announces_its_stream_only(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("a", "no_stream", events(1, 2))
    conn.execute(sql.SQL("listen {}").format(sql.Identifier(channel(schema))))
    event_store.link_to_stream("l", "no_stream", event_store.read_stream_forward("a"))
    event_store.append_to_stream("end", "no_stream", events(3))
    heard: list[Notification] = []
    for notification in conn.notifies(timeout=60, stop_after=None):
        heard.append(parse(notification.payload))
        if heard[-1].stream_uuid == "$all":
            break
    linked = [found for found in heard if found.stream_uuid in ("l", "$all")]
    assert [(found.stream_uuid, found.first_version, found.last_version) for found in linked] == [
        ("l", 1, 2),
        ("$all", 3, 3),
    ]


def test_links_are_rows_like_those_of_the_original(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("a", "no_stream", events(1, 2))
    event_store.link_to_stream("l", "no_stream", event_store.read_stream_backward("a"))
    found = rows(
        conn,
        schema,
        "select stream_version, original_stream_id, original_stream_version "
        "from {}.stream_events where stream_id = 2 order by 1",
    )
    assert found == [(1, 1, 2), (2, 1, 1)]


def test_a_link_in_one_round_trip_keeps_its_promise_among_many(event_store: EventStore) -> None:
    event_store.append_to_stream("a", "no_stream", events(*range(8)))
    read = event_store.read_stream_forward("a")
    together(lambda event: event_store.link_to_stream("l", "any_version", [event]), read)
    linked = event_store.read_stream_forward("l")
    assert [event.event_number for event in linked] == list(range(1, 9))
    assert {event.event_id for event in linked} == {event.event_id for event in read}


def test_many_link_to_a_new_stream_and_one_wins(event_store: EventStore) -> None:
    event_store.append_to_stream("a", "no_stream", events(*range(6)))

    def link(event: Any) -> bool:
        try:
            event_store.link_to_stream("l", "no_stream", [event])
        except WrongExpectedVersion:
            return False
        return True

    assert sum(together(link, event_store.read_stream_forward("a"))) == 1
    assert event_store.stream_heads(["l"]) == {"l": 1}


def test_hard_deletes_must_be_enabled(event_store: EventStore) -> None:
    event_store.append_to_stream("a", "no_stream", events(1))
    with pytest.raises(HardDeleteNotEnabled, match="enable_hard_deletes=True"):
        event_store.delete_stream("a", "any_version", "hard")
    assert event_store.stream_heads(["a"]) == {"a": 1}


def test_a_hard_delete_leaves_no_row(deleting: EventStore, conn: Connection, schema: str) -> None:
    deleting.append_to_stream("a", "no_stream", events(1, 2))
    deleting.link_to_stream("l", "no_stream", deleting.read_stream_forward("a"))
    deleting.delete_stream("a", 2, "hard")
    assert rows(conn, schema, "select * from {0}.events") == []
    assert rows(conn, schema, "select * from {0}.stream_events") == []
    assert rows(conn, schema, "select stream_uuid from {0}.streams order by 1") == [("$all",), ("l",)]


def test_a_delete_in_the_callers_transaction(
    deleting: EventStore, open_connection: Callable[..., Connection], schema: str
) -> None:
    own = open_connection()
    deleting.append_to_stream("a", "no_stream", events(1))
    deleting.append_to_stream("b", "no_stream", events(2))
    for how in ("hard", "soft"):
        with own.transaction(force_rollback=True):
            deleting.delete_stream("a", 1, how, conn=own)
    assert [event.data for event in deleting.read_stream_forward("a")] == [1]
    with own.transaction():
        deleting.delete_stream("a", 1, "hard", conn=own)
        # The rest of the transaction is protected again.
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="Cannot delete"), own.transaction():
            rows(own, schema, "delete from {0}.stream_events returning 1")
    with pytest.raises(StreamNotFound):
        deleting.read_stream_forward("a")


def test_a_soft_delete_announces_an_empty_range(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("a", "no_stream", events(1))
    conn.execute(sql.SQL("listen {}").format(sql.Identifier(channel(schema))))
    event_store.delete_stream("a", 1)
    (heard,) = conn.notifies(timeout=60, stop_after=1)
    assert parse(heard.payload) == Notification("a", 1, 2, 1)


@pytest.fixture
def in_the_meantime(open_connection: Callable[..., Connection], conn: Connection, schema: str) -> Callable[..., Any]:
    """A function: do `first` in an open transaction of `conn`, start `second`, commit once it waits."""
    # Not on `conn`: within a transaction the view keeps what it showed at first.
    observer = open_connection()
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and position(%s in query) > 0"

    def play(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as threads:
            with conn.transaction():
                first()
                started = threads.submit(second)
                wait_until(lambda: observer.execute(waiting, [schema]).fetchall() == [(1,)], "the other one waits")
            return started.result()

    return play


def test_an_append_after_a_hard_delete_that_commits_meanwhile(
    deleting: EventStore, conn: Connection, in_the_meantime: Callable[..., Any]
) -> None:
    deleting.append_to_stream("a", "no_stream", events(1))
    result = in_the_meantime(
        lambda: deleting.delete_stream("a", 1, "hard", conn=conn),
        lambda: deleting.append_to_stream("a", "any_version", events(2)),
    )
    assert result == AppendResult("a", 1, 1, 2, 2)
    assert [event.data for event in deleting.read_all_streams_forward()] == [2]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("expected", ["any_version", 1])
def test_a_hard_delete_after_an_append_that_commits_meanwhile(
    deleting: EventStore,
    conn: Connection,
    open_connection: Callable[..., Connection],
    in_the_meantime: Callable[..., Any],
    expected: Any,
    own: bool,
) -> None:
    deleting.append_to_stream("a", "no_stream", events(1))
    other = open_connection() if own else None

    def delete() -> type[Exception] | None:
        try:
            deleting.delete_stream("a", expected, "hard", conn=other)
        except (WrongExpectedVersion, Conflict) as error:
            return type(error)
        return None

    refused = in_the_meantime(lambda: deleting.append_to_stream("a", 1, events(2), conn=conn), delete)
    assert refused is (WrongExpectedVersion if expected == 1 else None)
    assert [event.data for event in deleting.read_all_streams_forward()] == ([1, 2] if expected == 1 else [])


def test_a_hard_delete_takes_a_link_that_commits_meanwhile(
    deleting: EventStore, conn: Connection, schema: str, in_the_meantime: Callable[..., Any]
) -> None:
    deleting.append_to_stream("a", "no_stream", events(1))
    linked = deleting.read_stream_forward("a")
    in_the_meantime(
        lambda: deleting.link_to_stream("l", "no_stream", linked, conn=conn),
        lambda: deleting.delete_stream("a", 1, "hard"),
    )
    assert deleting.read_stream_forward("l") == []
    assert rows(conn, schema, "select * from {}.events") == []


def test_a_link_to_an_event_that_is_deleted_meanwhile(
    deleting: EventStore, conn: Connection, in_the_meantime: Callable[..., Any]
) -> None:
    deleting.append_to_stream("a", "no_stream", events(1))
    linked = deleting.read_stream_forward("a")

    def link() -> Exception | None:
        try:
            deleting.link_to_stream("l", "no_stream", linked)
        except Conflict as error:
            return error
        return None

    refused = in_the_meantime(lambda: deleting.delete_stream("a", 1, "hard", conn=conn), link)
    assert isinstance(refused, Conflict)
    with pytest.raises(EventNotFound):
        deleting.link_to_stream("l", "no_stream", linked)
    assert deleting.stream_heads(["a", "l"]) == {}


@pytest.mark.parametrize("data_type", ["bytea", "jsonb"])
def test_jsonb_too(database_url: str, data_type: Any) -> None:
    with (
        fresh_schema(database_url, data_type) as name,
        EventStore(database_url, schema=name, enable_hard_deletes=True) as store,
    ):
        store.append_to_stream("a", "no_stream", events({"n": 1}))
        store.link_to_stream("l", "no_stream", store.read_stream_forward("a"))
        assert [event.data for event in store.read_stream_forward("l")] == [{"n": 1}]
        store.delete_stream("a", 1, "hard")
        assert store.read_stream_forward("l") == []
