"""The connections of one store: opened when first needed, checked once, owned by one process.

`event_store.py` borrows connections here. `Lender` owns the psycopg pool, and the embedded server when the URL asks
for one; several stores on one database can share it. `StorePool` owns the statements of its store, whose text depends
on the column type found in the database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

import psycopg
from psycopg_pool import ConnectionPool

from .connection import Connection, StoreConnection, connect, connection_arguments, translated
from .embedded import EmbeddedServer, open_url
from .errors import ConfigurationError, EventStoreError, StoreUnavailable, copied
from .schema import check
from .sessions import open_session
from .settings import StoreSettings
from .sql import Statements
from .translate import redact


class PoolArguments(TypedDict):
    """What the constructors of psycopg's two pools have in common."""

    kwargs: dict[str, Any]
    min_size: int
    max_size: int
    timeout: float
    max_waiting: int
    name: str


class Lender:
    """A psycopg pool that opens lazily and refuses to work in a forked child.

    Args:
        settings: Where the database is and how to talk to it; the schema does not matter.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._closed = False
        self._url: str | None = None
        self._server: EmbeddedServer | None = None
        self._pool: ConnectionPool[Connection] | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Borrow a connection; after a loss, the connections that were lost with it are replaced.

        Raises:
            StoreUnavailable: No connection could be opened, or none was free in time.
        """
        pool = self._opened()
        try:
            with translated(), pool.connection() as conn:
                try:
                    yield conn
                except StoreUnavailable as error:
                    if is_read_only(error):
                        conn.close()
                    raise
        except StoreUnavailable:
            # The others were opened to the same server, so most likely they are gone too.
            pool.check()
            raise

    @contextmanager
    def direct_connection(self) -> Iterator[Connection]:
        """Open a connection outside the pool, whose failure names its reason at once."""
        with connect(self._resolved_url(), **self.settings.connect_options) as conn:
            yield conn

    def open_session(self, role: str) -> Connection:
        """Open a connection of the caller's own, outside the pool and past a pooler; see `sessions.open_session`."""
        self.check_usable()
        url = self.settings.session_mode_url or self._resolved_url()
        return open_session(url, role, **self.settings.connect_options)

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    def close(self) -> None:
        """Close all connections and release the embedded server. In a forked child, leave both to the parent."""
        self._closed = True
        if self._pid != os.getpid():
            return
        with self._lock:
            pool, self._pool = self._pool, None
            server, self._server = self._server, None
        if pool is not None:
            pool.close()
        if server is not None:
            server.release()

    def check_usable(self) -> None:
        """Raise `ConfigurationError` in a forked child and after `close()`."""
        if self._pid != os.getpid():
            raise ConfigurationError(
                f"this EventStore belongs to process {self._pid}, not to {os.getpid()}: create one in each process"
            )
        if self._closed:
            raise ConfigurationError("this EventStore, or the one that shares its pool, is closed: create a new one")

    def _opened(self) -> ConnectionPool[Connection]:
        # Also before the lock: in a forked child, nobody may be left to free it.
        self.check_usable()
        with self._lock:
            self.check_usable()
            if self._pool is None:
                arguments = pool_arguments(self.settings, self._resolved_url())
                self._pool = ConnectionPool(**arguments, connection_class=StoreConnection, open=True)
            return self._pool

    def _resolved_url(self) -> str:
        self.check_usable()
        with self._lock:
            self.check_usable()
            if self._url is None:
                self._url, self._server = open_url(self.settings.url)
            return self._url


class StorePool:
    """The connections and the statements of one store.

    Args:
        settings: Where the store is and how to talk to it.
        shared: The pool of another store to borrow connections from; its limits count then. None for one of its own.

    Raises:
        ConfigurationError: The other store connects to another place, or in another way.
    """

    def __init__(self, settings: StoreSettings, shared: StorePool | None = None) -> None:
        self.settings = settings
        if shared is not None:
            check_shared(settings, shared.settings)
        self.lender: Lender = Lender(settings) if shared is None else shared.lender
        self._owns_lender = shared is None
        self._closed = False
        self._lock = threading.Lock()
        self._statements: Statements | None = None
        self._failure: EventStoreError | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Borrow a connection; raises like `Lender.connection` and `statements`."""
        # The pool itself reports a refused login only as a time-out, so the schema check comes first.
        self.statements()
        with self.lender.connection() as conn:
            yield conn

    @contextmanager
    def direct_connection(self) -> Iterator[Connection]:
        """Open a connection outside the pool, whose failure names its reason at once."""
        self._check_usable()
        with self.lender.direct_connection() as conn:
            yield conn

    def open_session(self, role: str) -> Connection:
        """Open a connection of the caller's own, outside the pool."""
        self._check_usable()
        return self.lender.open_session(role)

    def statements(self, conn: Connection | None = None) -> Statements:
        """Return the statements for the column type that the database has, looked up once.

        Args:
            conn: The connection to look with; None for one of its own.

        Raises:
            SchemaMissing, SchemaMismatch: The schema holds no event store of this version.
        """
        self._check_usable()
        if self._statements is not None:
            return self._statements
        return self._looked_up() if conn is None else self._look_up(conn)

    @property
    def closed(self) -> bool:
        """True after `close()`, also that of the store whose connections these are."""
        return self._closed or self.lender.closed

    def close(self) -> None:
        """Refuse further use, and close the connections unless they are another store's."""
        self._closed = True
        if self._owns_lender:
            self.lender.close()

    def _looked_up(self) -> Statements:
        """Look up the statements, one thread at a time; who waited for it gets what it got, errors included."""
        known = self._failure
        with self._lock:
            if self._statements is not None:
                return self._statements
            if self._failure is not None and self._failure is not known:
                raise copied(self._failure)
            try:
                with self.direct_connection() as own:
                    return self._look_up(own)
            except EventStoreError as error:
                self._failure = copied(error)
                raise

    def _look_up(self, conn: Connection) -> Statements:
        schema = self.settings.schema
        self._statements = Statements(schema, check(conn, schema, runtime=False))
        return self._statements

    def _check_usable(self) -> None:
        self.lender.check_usable()
        if self._closed:
            raise ConfigurationError("this EventStore is closed: create a new one")


def is_read_only(error: StoreUnavailable) -> bool:
    """Tell whether a connection is of no use any more, though it works: its server has become a standby."""
    return isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction)


def pool_arguments(settings: StoreSettings, url: str) -> PoolArguments:
    """Return the arguments of a psycopg pool, synchronous or not.

    Args:
        settings: The limits.
        url: Where to connect, with the embedded server resolved.

    Raises:
        ConfigurationError: The URL is malformed.
    """
    arguments = connection_arguments(
        url,
        "store",
        timeout=settings.timeout,
        connect_timeout=settings.connect_timeout,
        prefer_indexes=True,
        parameters=settings.parameters,
    )
    return {
        "kwargs": {**arguments, "autocommit": True, "prepare_threshold": settings.prepare_threshold},
        "min_size": 0,
        "max_size": settings.pool_size,
        "timeout": settings.longest_wait,
        "max_waiting": settings.max_waiting,
        "name": f"eventstore {settings.schema}",
    }


def check_shared(settings: StoreSettings, shared: StoreSettings) -> None:
    """Raise `ConfigurationError` unless a store with these settings can use the connections of the other."""
    if settings.url != shared.url:
        raise ConfigurationError(
            f"share_pool_with names a store on {redact(shared.url)!r}, but this one is on {redact(settings.url)!r}: "
            "give both the same url"
        )
    for name in ("session_mode_url", "parameters"):
        given = getattr(settings, name)
        if given is not None and given != getattr(shared, name):
            raise ConfigurationError(
                f"share_pool_with names a store with another {name}: give both the same, or leave it out here"
            )
