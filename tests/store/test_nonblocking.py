"""Operations that run while the caller does something else."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest

from eventstore.store import Connection, EventStore, Statements, StoreError, StoreUnavailable, run
from eventstore.store.nonblocking import Pending
from eventstore.store.operation import Operation, Query
from eventstore.store.read import Page, read_page
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import wait_until


def two_sleeps(seconds: float) -> Operation[list[object]]:
    first = yield Query("select pg_sleep($1::float8), 1", (seconds,))
    second = yield Query("select $1::text, $2::bigint, $3::bytea", ("ä", 2**40, b"\0\1"))
    return [first[0][1], *second[0]]


@pytest.mark.parametrize("prepare_threshold", [5, None])
def test_pages_are_those_of_a_plain_read(
    event_store: EventStore, open_connection: Callable[..., Connection], prepare_threshold: int | None
) -> None:
    conn = open_connection(prepare_threshold=prepare_threshold)
    statements = Statements(event_store.schema)
    event_store.append_to_stream("a", 0, events(*({"n": n, "pad": "x" * (n * 50)} for n in range(40))))
    for max_bytes in (None, 2_000):
        after, pages = 0, []
        while True:
            pending: Pending[Page] = Pending(conn, read_page(statements, "$all", after, 7, max_bytes=max_bytes))
            pending.wait()
            assert pending.result == run(conn, read_page(statements, "$all", after, 7, max_bytes=max_bytes))
            pages.append(pending.result)
            if pending.result.complete:
                break
            after = pending.result.scanned_to
        assert [row[0] for page in pages for row in page.rows] == list(range(1, 41))


def test_the_caller_goes_on_until_the_descriptor_is_readable(conn: Connection) -> None:
    pending = Pending(conn, two_sleeps(0.2))
    assert not pending.done
    turns = 0
    while not pending.advance():
        select.select([conn.fileno()], [], [])
        turns += 1
    assert turns >= 1
    assert pending.result == [1, "ä", 2**40, b"\0\1"]
    assert conn.execute("select 7").fetchone() == (7,), "the connection is free again"


def test_an_error_is_raised_and_leaves_the_connection_usable(conn: Connection) -> None:
    def broken() -> Operation[None]:
        yield Query("select 1 / $1::int", (0,))

    with pytest.raises(StoreError, match="division by zero"):
        Pending(conn, broken()).wait()
    assert conn.execute("select 7").fetchone() == (7,)

    def nonsense() -> Operation[None]:
        yield Query("select nothing_here($1::int)", (0,))

    with pytest.raises(StoreError, match="nothing_here"):
        Pending(conn, nonsense()).wait()
    assert conn.execute("select 7").fetchone() == (7,)


def test_an_operation_may_answer_an_error(conn: Connection) -> None:
    def stubborn() -> Operation[int]:
        try:
            yield Query("select 1 / $1::int", (0,))
        except StoreError:
            rows = yield Query("select $1::int", (5,))
        return int(rows[0][0])

    pending = Pending(conn, stubborn())
    pending.wait()
    assert pending.result == 5


def test_a_session_that_ends_is_noticed(open_connection: Callable[..., Connection], conn: Connection) -> None:
    other = open_connection()
    pending = Pending(other, two_sleeps(60))
    conn.execute("select pg_terminate_backend(%s)", [other.info.backend_pid])
    wait_until(
        lambda: (
            conn.execute(
                "select count(*) = 0 from pg_stat_activity where pid = %s", [other.info.backend_pid]
            ).fetchone()
            == (True,)
        ),
        "the session is gone",
    )
    with pytest.raises((StoreUnavailable, StoreError)):
        pending.wait()
