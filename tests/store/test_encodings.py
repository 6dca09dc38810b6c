"""Names keep their characters, whatever the encoding of the database and of a caller's connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.store import (
    AsyncEventStore,
    ConfigurationError,
    Connection,
    EventStore,
    StoreError,
)
from eventstore.tests.support.events import events


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def other_database(request: pytest.FixtureRequest, database_url: str, conn: Connection) -> Iterator[str]:
    """The URL of a database whose encoding is not UTF-8."""
    name = f"eventstore_{request.param.lower()}"
    drop = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    conn.execute(drop)
    conn.execute(
        sql.SQL("create database {} encoding {} template template0 lc_collate 'C' lc_ctype 'C'").format(
            sql.Identifier(name), request.param
        )
    )
    yield make_conninfo(database_url, dbname=name)
    conn.execute(drop)


def written(store: EventStore, conn: Connection | None = None) -> list[tuple[str, str]]:
    """Append by each way there is, and return stream and type of what is read back in `$all`."""
    happened = events("ü", event_type="Größe")
    store.append_to_stream("müll", "no_stream", happened, conn=conn)
    store.append_many([("tür", "no_stream", events(1, event_type="Überholt"))], conn=conn)
    store.link_to_stream("ähnlich", "no_stream", store.read_stream_forward("müll", conn=conn), conn=conn)
    return [(event.stream_uuid, event.event_type) for event in store.read_all_streams_forward(conn=conn)]


def test_a_database_of_another_encoding(other_database: str) -> None:
    with EventStore(other_database, schema="größe") as store:
        store.init()
        assert written(store) == [("müll", "Größe"), ("tür", "Überholt")]
        assert store.stream_heads(["müll", "tür", "ähnlich"]) == {"müll": 1, "tür": 1, "ähnlich": 1}


@pytest.mark.parametrize("encoding", ["latin1", "utf8"])
def test_a_callers_connection_of_another_encoding(event_store: EventStore, database_url: str, encoding: str) -> None:
    with psycopg.connect(database_url, client_encoding=encoding) as conn:
        assert written(event_store, conn) == [("müll", "Größe"), ("tür", "Überholt")]
    assert [event.event_type for event in event_store.read_stream_forward("tür")] == ["Überholt"]


def test_a_url_that_names_another_encoding(database_url: str, schema: str) -> None:
    with EventStore(database_url, schema=schema, parameters={"client_encoding": "latin1"}) as store:
        assert written(store) == [("müll", "Größe"), ("tür", "Überholt")]
    with EventStore(database_url, schema=schema) as store:
        assert store.stream_heads(["tür"]) == {"tür": 1}


def test_an_asynchronous_connection_of_another_encoding(database_url: str, schema: str) -> None:
    async def append() -> list[str]:
        async with (
            AsyncEventStore(database_url, schema=schema) as store,
            await psycopg.AsyncConnection.connect(database_url, client_encoding="latin1") as conn,
        ):
            await store.append_many([("tür", "no_stream", events(1, event_type="Überholt"))], conn=conn)
            return [event.event_type for event in await store.read_stream_forward("tür", conn=conn)]

    assert asyncio.run(append()) == ["Überholt"]


def test_a_callers_connection_without_an_encoding(event_store: EventStore, database_url: str) -> None:
    with (
        psycopg.connect(database_url, client_encoding="sql_ascii") as conn,
        pytest.raises(ConfigurationError, match="client_encoding=utf8"),
    ):
        event_store.append_to_stream("a", "any_version", events(1), conn=conn)


def test_a_closed_connection_of_the_caller(event_store: EventStore, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        pass
    with pytest.raises(StoreError, match="closed"):
        event_store.append_to_stream("a", "any_version", events(1), conn=conn)
