"""The stores that every test of the contract runs on; a test asks for `store` and does not know which one it got.

Each runs on a schema or a memory of its own, opened with `enable_hard_deletes`, and those on PostgreSQL run on every
server that this machine has. Another store is one more line in `STORES`: a function that gives an open store from the
test's request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from eventstore.store import AsyncEventStore, EventStore, Statements, SubscriptionRecord, run
from eventstore.store import subscriptions as operations
from eventstore.store.memory import InMemoryEventStore
from eventstore.tests.support.blocking import blocking
from eventstore.tests.support.servers import DEFAULT, every_server

StoreFactory = Callable[[pytest.FixtureRequest], AbstractContextManager[EventStore]]


def _synchronous(request: pytest.FixtureRequest) -> AbstractContextManager[EventStore]:
    url, schema = request.getfixturevalue("database_url"), request.getfixturevalue("schema")
    return EventStore(url, schema=schema, pool_size=4, enable_hard_deletes=True)


def _asynchronous(request: pytest.FixtureRequest) -> AbstractContextManager[EventStore]:
    url, schema = request.getfixturevalue("database_url"), request.getfixturevalue("schema")
    return blocking(lambda: AsyncEventStore(url, schema=schema, pool_size=4, enable_hard_deletes=True))


STORES: dict[str, StoreFactory] = {
    "sync": _synchronous,
    "async": _asynchronous,
    "memory": lambda _: InMemoryEventStore(enable_hard_deletes=True),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test on each kind of store, on each server that the kind can have."""
    if "store" in metafunc.fixturenames:
        pairs = [(kind, name) for name in every_server() for kind in STORES if name == DEFAULT or kind != "memory"]
        metafunc.parametrize(("store", "database_url"), pairs, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, database_url: str) -> Iterator[EventStore]:
    """An open, empty store."""
    with STORES[request.param](request) as opened:
        yield opened


@pytest.fixture
def create_subscription(store: EventStore, request: pytest.FixtureRequest) -> Callable[..., SubscriptionRecord]:
    """A function that creates a subscription's row: the store's own where it has one, otherwise as a runtime does."""
    if isinstance(store, InMemoryEventStore):
        return store.create_subscription
    conn, statements = request.getfixturevalue("conn"), Statements(store.schema)
    return lambda *arguments: run(conn, operations.create_subscription(statements, *arguments))
