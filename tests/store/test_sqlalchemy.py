"""An append and a read-model row in one transaction: psycopg's own, and SQLAlchemy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict

from eventstore.store import ConfigurationError, Connection, EventStore
from eventstore.tests.support.events import events


@pytest.fixture
def engine(database_url: str, schema: str, conn: Connection) -> Iterator[sa.Engine]:
    """An engine on the test's server, with a table for a read model beside the store's."""
    conn.execute(f'create table "{schema}".totals (name text primary key, n int)'.encode())
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(**conninfo_to_dict(database_url)),  # type: ignore[arg-type]
    )
    yield engine
    engine.dispose()


def driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


def totals(conn: Connection, schema: str) -> list[tuple[Any, ...]]:
    return conn.execute(f'select name, n from "{schema}".totals order by name'.encode()).fetchall()


APPENDS: dict[str, Callable[[EventStore, Any], Any]] = {
    "append_to_stream": lambda store, own: store.append_to_stream("a", "no_stream", events(1), conn=own),
    # Runs in a savepoint, which must not become a transaction of its own where it comes first.
    "append_many": lambda store, own: store.append_many([("a", "no_stream", events(1))], conn=own),
}


@pytest.mark.parametrize("first", ["append", "row"])
@pytest.mark.parametrize("append", APPENDS.values(), ids=APPENDS)
@pytest.mark.parametrize("commits", [True, False])
def test_sqlalchemy_commits_or_rolls_back_both(
    event_store: EventStore,
    engine: sa.Engine,
    conn: Connection,
    schema: str,
    append: Callable[[EventStore, Any], Any],
    first: str,
    commits: bool,
) -> None:
    assert event_store.stream_heads(["a"]) == {}  # the schema is checked, so the append is the first thing on `conn`
    insert = sa.text(f"insert into \"{schema}\".totals values ('a', 1)")
    with engine.connect() as connection:
        steps: list[Callable[[], Any]] = [
            lambda: append(event_store, driver(connection)),
            lambda: connection.execute(insert),
        ]
        for step in steps if first == "append" else steps[::-1]:
            step()
        assert event_store.stream_heads(["a"]) == {}
        assert totals(conn, schema) == []
        if commits:
            connection.commit()
        else:
            connection.rollback()
    assert event_store.stream_heads(["a"]) == ({"a": 1} if commits else {})
    assert totals(conn, schema) == ([("a", 1)] if commits else [])


def test_an_error_in_a_savepoint_leaves_the_callers_transaction_usable(
    event_store: EventStore, engine: sa.Engine, conn: Connection, schema: str
) -> None:
    event_store.append_to_stream("a", "no_stream", events(1))
    with engine.begin() as connection:
        with pytest.raises(Exception, match="none was expected"):
            event_store.append_many(
                [("b", "no_stream", events(2)), ("a", "no_stream", events(3))], conn=driver(connection)
            )
        connection.execute(sa.text(f"insert into \"{schema}\".totals values ('a', 1)"))
    assert event_store.stream_heads(["a", "b"]) == {"a": 1}
    assert totals(conn, schema) == [("a", 1)]


@pytest.mark.parametrize("append", APPENDS.values(), ids=APPENDS)
@pytest.mark.parametrize("commits", [True, False])
def test_psycopg_without_autocommit_commits_or_rolls_back(
    event_store: EventStore, database_url: str, append: Callable[[EventStore, Any], Any], commits: bool
) -> None:
    assert event_store.stream_heads(["a"]) == {}
    with psycopg.connect(database_url) as own:
        append(event_store, own)
        assert event_store.stream_heads(["a"]) == {}
        if commits:
            own.commit()
        else:
            own.rollback()
    assert event_store.stream_heads(["a"]) == ({"a": 1} if commits else {})


def test_another_kind_of_connection_is_refused(event_store: EventStore, engine: sa.Engine) -> None:
    with engine.connect() as connection, pytest.raises(ConfigurationError, match="driver_connection"):
        event_store.stream_heads(["a"], conn=connection)  # type: ignore[arg-type]
