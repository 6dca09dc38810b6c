"""Fixtures for all tests: one PostgreSQL for the run, one schema for each test, modules as users write them."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from eventstore.store import Connection, EventStore, connect
from eventstore.tests.support.database import fresh_schema, running_server
from eventstore.tests.support.servers import (
    DEFAULT,
    every_server,
    installed,
    pgbouncer,
    pgbouncer_program,
    postgres,
    socket_url,
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeats a test that is marked `every_server` on each of them."""
    if metafunc.definition.get_closest_marker("every_server") and "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", every_server(), indirect=True, scope="session")


_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Callable[[str], str]]:
    """A function that gives the URL of a server by its name in `every_server`; each starts once, when asked for."""
    with ExitStack() as stack:

        @cache
        def url_of(name: str) -> str:
            if name == DEFAULT:
                return stack.enter_context(running_server())
            return socket_url(stack.enter_context(postgres(installed()[name])))

        yield url_of


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, server: Callable[[str], str]) -> str:
    """The URL of the server: EVENTSTORE_TEST_URL, or an embedded one; or the one that a test names as its parameter."""
    return server(getattr(request, "param", DEFAULT))


@pytest.fixture(scope="session")
def poolers(server: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """The URLs of a PgBouncer in front of the server, by what it does; "scarce" has a single session."""
    if pgbouncer_program() is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    databases = {
        "transaction": "pool_mode=transaction pool_size=3",
        "single": "pool_mode=transaction pool_size=1",
        "statement": "pool_mode=statement",
        "session": "pool_mode=session",
        "scarce": "pool_mode=session pool_size=1",
    }
    with pgbouncer(server(DEFAULT), databases) as urls:
        yield urls


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


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """A function that writes a module and returns its name, which no other test uses."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def write(source: str, name: str = "") -> str:
        name = name or f"user_module_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)
