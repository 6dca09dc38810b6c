"""What an administrator may set for a database or a role changes nothing of what the store does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.store import (
    AsyncEventStore,
    Connection,
    EventStore,
    Statements,
    connect,
    run,
)
from eventstore.store import subscriptions as operations
from eventstore.store.filters import EventFilter
from eventstore.store.migrations import migrations
from eventstore.store.read import read_page
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together

SETTINGS = {
    "datestyle": "'German'",
    "intervalstyle": "'sql_standard'",
    "timezone": "'Asia/Kathmandu'",
    "bytea_output": "'escape'",
    "extra_float_digits": "-15",
}


@pytest.fixture
def strange_url(database_url: str, schema: str, conn: Connection) -> Iterator[str]:
    """The URL of a role with settings of its own."""
    role = f"strange_{schema}"
    conn.execute(f"create role {role} superuser login".encode())
    for name, value in SETTINGS.items():
        conn.execute(f"alter role {role} set {name} = {value}".encode())
    yield make_conninfo(database_url, user=role)
    conn.execute(f"drop owned by {role}; drop role {role}".encode())


def test_values_do_not_depend_on_settings(strange_url: str, schema: str, conn: Connection) -> None:
    created = run(conn, operations.create_subscription(Statements(schema), "$all", "n"))
    with EventStore(strange_url, schema=schema) as store, connect(strange_url) as own:
        assert own.execute("show datestyle").fetchone() == ("German, DMY",)
        assert store.subscriptions() == [created]
        assert store.subscription("$all", "n") == created
        store.append_to_stream("a", 0, events(b"\xff\\".hex()), created_at_override=datetime(2020, 1, 2, tzinfo=UTC))
        assert store.read_stream_forward("a")[0].created_at == datetime(2020, 1, 2, tzinfo=UTC)
        before, after = conn.execute("select now() - interval '1 hour', now()").fetchone() or ()
        assert before <= store.stream_info("a").created_at <= after
        assert [one.migrated_at is not None and before <= one.migrated_at for one in migrations(own, schema)] == [True]


def test_a_backslash_is_an_ordinary_character(
    strange_url: str, schema: str, database_url: str, conn: Connection
) -> None:
    role = sql.Identifier(f"strange_{schema}")
    conn.execute(sql.SQL("alter role {} set standard_conforming_strings = off").format(role))
    with fresh_schema(database_url, name=f"back\\{schema}") as name, EventStore(strange_url, schema=name) as store:
        created = run(conn, operations.create_subscription(Statements(name), "$all", "n"))
        assert [lag.subscription_id for lag in store.subscription_lags()] == [created.subscription_id]
        store.append_to_stream("a", 0, events({"nul": "\0", "kind": "x"}))
        with store.open_session("test") as session:
            filtered = read_page(Statements(name), "$all", 0, 10, filter=EventFilter.of(data_equals={"kind": "x"}))
            assert [row[0] for row in run(session, filtered).rows] == [1]


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_a_stricter_default_isolation(strange_url: str, schema: str, conn: Connection, isolation: str) -> None:
    role = sql.Identifier(f"strange_{schema}")
    conn.execute(sql.SQL("alter role {} set default_transaction_isolation = {}").format(role, isolation))
    writers, each = 4, 20
    with EventStore(strange_url, schema=schema, coalesce_appends=False, pool_size=writers) as store:
        with store.open_session("test") as session:
            assert session.execute("show transaction_isolation").fetchone() == ("read committed",)

        def append(writer: int) -> None:
            for number in range(each):
                store.append_to_stream(f"s-{writer}", number, events(number))
                store.append_many([("shared", "any_version", events(number))])

        together(append, range(writers))
        assert store.stream_heads(["$all", "shared"]) == {"$all": 2 * writers * each, "shared": writers * each}


def test_values_of_an_asynchronous_store_do_not_depend_on_settings(
    strange_url: str, schema: str, conn: Connection
) -> None:
    created = run(conn, operations.create_subscription(Statements(schema), "$all", "n"))

    async def scenario() -> None:
        async with (
            AsyncEventStore(strange_url, schema=schema) as store,
            await psycopg.AsyncConnection.connect(strange_url) as own,
        ):
            assert await store.subscriptions() == [created]
            assert await store.subscriptions(conn=own) == [created]

    asyncio.run(scenario())
