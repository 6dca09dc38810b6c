"""Fixtures for every test that needs a PostgreSQL: one server for the run, one schema for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from eventstore.store import Connection, EventStore, connect
from eventstore.tests.support.database import fresh_schema, running_server


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """The URL of the server: EVENTSTORE_TEST_URL, or an embedded one."""
    with running_server() as url:
        yield url


@pytest.fixture
def schema(database_url: str) -> Iterator[str]:
    """A schema with the store's tables, for this test alone."""
    with fresh_schema(database_url) as name:
        yield name


@pytest.fixture
def event_store(database_url: str, schema: str) -> Iterator[EventStore]:
    """An open store on the test's schema."""
    with EventStore(database_url, schema=schema, pool_size=4) as store:
        yield store


@pytest.fixture
def open_connection(database_url: str) -> Iterator[Callable[..., Connection]]:
    """A function that opens connections to the server, closed after the test."""
    with ExitStack() as stack:

        def open_one(**options: Any) -> Connection:
            return stack.enter_context(connect(database_url, "test", **options))

        yield open_one


@pytest.fixture
def conn(open_connection: Callable[..., Connection]) -> Connection:
    """An autocommit connection to the server."""
    return open_connection()
