"""Many stores in one process, by name: tenants with a schema each."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from eventstore import AsyncEventStore, ConfigurationError, EventStore, InMemoryEventStore
from eventstore.store import get_async_store, get_store, registry, running_stores, start_store
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events

URL = "postgresql://db/shop"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    left = running_stores()
    for one in left:
        if isinstance(one.store, EventStore):
            one.store.close()
    assert left == []


def test_tenants_have_a_schema_each_and_share_connections(database_url: str, schema: str) -> None:
    with (
        fresh_schema(database_url) as other,
        start_store("tenant-1", EventStore(database_url, schema=schema, pool_size=1)) as first,
        start_store("tenant-2", EventStore(database_url, schema=other, share_pool_with=get_store("tenant-1"))),
    ):
        get_store("tenant-1").append_to_stream("a", 0, events("one"))
        get_store("tenant-2").append_to_stream("a", 0, events("two"))
        assert [event.data for event in get_store("tenant-1").read_stream_forward("a")] == ["one"]
        assert [event.data for event in get_store("tenant-2").read_stream_forward("a")] == ["two"]
        assert get_store("tenant-1") is first


def test_running_stores_are_listed_in_order_until_they_close() -> None:
    with start_store("b", EventStore(URL)) as first, start_store("a", InMemoryEventStore()) as second:
        assert running_stores() == [("b", first), ("a", second)]
        first.close()
        assert running_stores() == [("a", second)]
        with pytest.raises(ConfigurationError, match=r"'b' is not running \(running: 'a'\)"):
            get_store("b")
        with start_store("b", EventStore(URL)) as again:
            assert get_store("b") is again


def test_a_store_whose_connections_are_gone_is_not_running() -> None:
    with start_store("owner", EventStore(URL)) as owner, start_store("guest", EventStore(URL, share_pool_with=owner)):
        owner.close()
        assert running_stores() == []


def test_a_name_is_given_once() -> None:
    with start_store("a", EventStore(URL)) as first:
        with pytest.raises(ConfigurationError, match="'a' is running already"):
            start_store("a", EventStore(URL))
        assert get_store("a") is first


def test_one_of_many_threads_gets_the_name() -> None:
    started: list[EventStore] = []

    def start() -> None:
        with suppress(ConfigurationError):
            started.append(start_store("a", EventStore(URL)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == [get_store("a")]
    started[0].close()


def test_what_cannot_be_started() -> None:
    closed = EventStore(URL)
    closed.close()
    with pytest.raises(ConfigurationError, match="'a' is closed already"):
        start_store("a", closed)
    with pytest.raises(ConfigurationError, match="store name"):
        start_store("", EventStore(URL))


def test_stores_for_asyncio(database_url: str, schema: str) -> None:
    async def use() -> int:
        async with start_store("a", AsyncEventStore(database_url, schema=schema)) as store:
            assert get_async_store("a") is store
            assert running_stores() == [("a", store)]
            with pytest.raises(ConfigurationError, match="'a' is of type AsyncEventStore, not EventStore"):
                get_store("a")
            return (await get_async_store("a").append_to_stream("a", 0, events(1))).position

    assert asyncio.run(use()) == 1
    assert running_stores() == []


@pytest.mark.skipif(sys.platform != "linux", reason="uses fork")
def test_a_forked_child_starts_with_none() -> None:
    with start_store("a", EventStore(URL)):
        pid = os.fork()
        if pid == 0:
            os._exit(len(running_stores()))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert len(running_stores()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="uses fork")
def test_a_child_forked_while_the_registry_is_locked() -> None:
    with registry._lock:
        pid = os.fork()
        if pid == 0:
            # A child that waits for ever is killed, and then has another exit code.
            signal.alarm(20)
            os._exit(len(running_stores()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
