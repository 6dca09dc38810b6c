"""Behind a real PgBouncer: sessions are refused in transaction mode, and had through `session_mode_url`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from eventstore import subscribe, subscribe_async, subscribe_to_all_streams
from eventstore.store import AsyncEventStore, ConfigurationError, Connection, EventStore, connect
from eventstore.store.connection import fetch, translated
from eventstore.store.operation import Query
from eventstore.store.sessions import open_session
from eventstore.tests.support.events import events
from eventstore.tests.support.servers import pgbouncer
from eventstore.tests.support.wait import wait_until

REFUSED = "pooler in transaction mode.*set session_mode_url"


@pytest.fixture
def pooled(poolers: dict[str, str], schema: str) -> Iterator[EventStore]:
    """A store behind a pooler in transaction mode, which has no session to offer."""
    with EventStore(poolers["transaction"], schema=schema, prepare_threshold=None) as store:
        yield store


@pytest.fixture
def complete(poolers: dict[str, str], schema: str) -> Iterator[EventStore]:
    """The same with a way to sessions."""
    with EventStore(
        poolers["transaction"], schema=schema, prepare_threshold=None, session_mode_url=poolers["session"]
    ) as store:
        yield store


def setting(conn: Connection, name: str) -> Any:
    return fetch(conn, Query("select current_setting($1)", (name,)))[0][0]


@pytest.mark.parametrize("mode", ["transaction", "single", "statement"])
def test_no_session_where_backends_are_shared(poolers: dict[str, str], mode: str) -> None:
    with pytest.raises(ConfigurationError, match=REFUSED):
        open_session(poolers[mode], "test", timeout=5.0, prepare_threshold=None)


def test_no_session_where_other_clients_hide_the_sharing(poolers: dict[str, str]) -> None:
    """All backends but one are taken, and that one comes back to whoever asks first."""
    url = poolers["transaction"]
    with connect(url, "busy") as first, connect(url, "busy") as second, first.transaction(), second.transaction():
        first.execute("select 1")
        second.execute("select 1")
        with pytest.raises(ConfigurationError, match=REFUSED):
            open_session(url, "test", timeout=5.0, prepare_threshold=None)


def test_a_session_through_a_pooler_in_session_mode(poolers: dict[str, str]) -> None:
    """The server's settings are set there although PgBouncer refuses the `options` they usually come in."""
    with open_session(poolers["session"], "test", timeout=5.0) as conn:
        assert setting(conn, "statement_timeout") == "5s"
        assert setting(conn, "enable_seqscan") == "off"
        assert setting(conn, "application_name") == "eventstore-runtime test"


@pytest.mark.usefixtures("poolers")
def test_a_pooler_that_is_told_to_ignore_options(database_url: str) -> None:
    """A common setting, which lets the connection pass without what it asked for."""
    databases = {"own": "pool_mode=session", "shared": "pool_mode=transaction"}
    with pgbouncer(database_url, databases, "ignore_startup_parameters = options") as urls:
        with open_session(urls["own"], "test", timeout=5.0) as conn:
            assert setting(conn, "statement_timeout") == "5s"
            assert setting(conn, "enable_seqscan") == "off"
        with pytest.raises(ConfigurationError, match=REFUSED):
            open_session(urls["shared"], "test", timeout=5.0, prepare_threshold=None)


def test_a_session_from_a_pool_that_has_no_second_one(poolers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second connection waits for a backend, while the first one still answers: so that one is its own."""
    monkeypatch.setattr("eventstore.store.sessions._PATIENCE", 0.5)
    with open_session(poolers["scarce"], "test", timeout=5.0) as conn:
        assert setting(conn, "statement_timeout") == "5s"


def test_settings_asked_for_are_not_dropped_in_silence(poolers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="unsupported startup parameter"):
        connect(poolers["transaction"], parameters={"work_mem": "5MB"})


def test_the_store_works_in_transaction_mode(pooled: EventStore) -> None:
    for number in range(12):  # prepared by then, if it were allowed
        pooled.append_to_stream("a", number, events(number))
    pooled.append_many([("b", 0, events(1)), ("c", 0, events(2))])
    assert [event.event_number for event in pooled.stream_all_forward(read_batch_size=4)] == list(range(1, 15))


def test_initialising_works_in_transaction_mode(pooled: EventStore) -> None:
    assert not pooled.init().created_tables


def test_subscriptions_are_refused_in_transaction_mode(pooled: EventStore) -> None:
    with pytest.raises(ConfigurationError, match=REFUSED):
        subscribe(pooled)
    for _ in range(2):  # the name is free again
        with pytest.raises(ConfigurationError, match=REFUSED):
            subscribe_to_all_streams(pooled, "s")


def test_subscriptions_through_session_mode(complete: EventStore) -> None:
    with subscribe(complete, timeout=60) as transient, subscribe_to_all_streams(complete, "s") as persistent:
        subscriber = persistent.subscriber()
        complete.append_to_stream("a", 0, events(1))
        assert [event.data for event in next(transient)] == [1]
        batch = next(iter(subscriber))
        subscriber.ack(batch)
        wait_until(lambda: persistent.checkpoint == 1, "the event is checkpointed")
        (lag,) = complete.subscription_lags()
        assert lag.is_locked


def test_asyncio(poolers: dict[str, str], schema: str, database_url: str) -> None:
    async def refused() -> None:
        async with AsyncEventStore(poolers["transaction"], schema=schema, prepare_threshold=None) as store:
            await store.append_to_stream("a", 0, events(1))
            with pytest.raises(ConfigurationError, match=REFUSED):
                await subscribe_async(store)

    async def heard() -> list[Any]:
        async with (
            AsyncEventStore(
                poolers["transaction"], schema=schema, prepare_threshold=None, session_mode_url=database_url
            ) as store,
            await subscribe_async(store, timeout=60) as subscription,
        ):
            await store.append_to_stream("a", 1, events(2))
            return [event.data for event in await anext(subscription)]

    asyncio.run(refused())
    assert asyncio.run(heard()) == [2]


def test_writers_at_once_in_transaction_mode(pooled: EventStore) -> None:
    def write(name: str) -> None:
        for number in range(20):
            pooled.append_to_stream(name, number, events(number))

    threads = [threading.Thread(target=write, args=(f"s{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.event_number for event in pooled.stream_all_forward()] == list(range(1, 121))


def test_a_lost_prepared_statement_names_the_option(conn: Connection, event_store: EventStore) -> None:
    with pytest.raises(ConfigurationError, match="prepare_threshold"), translated():
        conn.execute("execute lost")
