"""The connections of one store: opened when first needed, checked once, owned by one process.

`event_store.py` borrows connections here. Owns the psycopg pool, the embedded server when the URL asks for one, and
the statements, whose text depends on the column type found in the database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg_pool import ConnectionPool

from .connection import Connection, connect, connection_arguments, translated
from .embedded import EmbeddedServer, open_url
from .errors import ConfigurationError, StoreUnavailable
from .schema import check
from .settings import StoreSettings
from .sql import Statements


class StorePool:
    """A psycopg pool that opens lazily and refuses to work in a forked child.

    Args:
        settings: Where the store is and how to talk to it.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._closed = False
        self._url: str | None = None
        self._server: EmbeddedServer | None = None
        self._pool: ConnectionPool[Connection] | None = None
        self._statements: Statements | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Borrow a connection; after a loss, the connections that were lost with it are replaced.

        Raises:
            StoreUnavailable: No connection could be opened, or none was free in time.
        """
        pool = self._opened()
        try:
            with translated(), pool.connection(timeout=self.settings.timeout) as conn:
                yield conn
        except StoreUnavailable:
            # The others were opened to the same server, so most likely they are gone too.
            pool.check()
            raise

    def statements(self, conn: Connection | None = None) -> Statements:
        """Return the statements for the column type that the database has, looked up once.

        Args:
            conn: The connection to look with; None for one of the pool's own.

        Raises:
            SchemaMissing, SchemaMismatch: The schema holds no event store of this version.
        """
        with self._lock:
            self._check_usable()
            if self._statements is None:
                if conn is None:
                    with self.direct_connection() as own:
                        return self.statements(own)
                schema = self.settings.schema
                self._statements = Statements(schema, check(conn, schema, runtime=False))
            return self._statements

    @contextmanager
    def direct_connection(self) -> Iterator[Connection]:
        """Open a connection outside the pool, whose failure names its reason at once."""
        settings = self.settings
        with connect(
            self._resolved_url(),
            timeout=settings.timeout,
            connect_timeout=settings.connect_timeout,
            prepare_threshold=settings.prepare_threshold,
        ) as conn:
            yield conn

    def close(self) -> None:
        """Close all connections and release the embedded server. In a forked child, leave both to the parent."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
            server, self._server = self._server, None
        if self._pid != os.getpid():
            return
        if pool is not None:
            pool.close()
        if server is not None:
            server.release()

    def _opened(self) -> ConnectionPool[Connection]:
        with self._lock:
            self._check_usable()
            if self._pool is None:
                # The pool itself reports a refused login only as a time-out, so the schema check comes first.
                self.statements()
                self._pool = self._new_pool()
            return self._pool

    def _new_pool(self) -> ConnectionPool[Connection]:
        settings = self.settings
        arguments = connection_arguments(
            self._resolved_url(),
            "store",
            timeout=settings.timeout,
            connect_timeout=settings.connect_timeout,
            prefer_indexes=True,
        )
        return ConnectionPool(
            kwargs={**arguments, "autocommit": True, "prepare_threshold": settings.prepare_threshold},
            min_size=0,
            max_size=settings.pool_size,
            timeout=settings.timeout,
            open=True,
            name=f"eventstore {settings.schema}",
        )

    def _resolved_url(self) -> str:
        with self._lock:
            self._check_usable()
            if self._url is None:
                self._url, self._server = open_url(self.settings.url)
            return self._url

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            raise ConfigurationError(
                f"this EventStore belongs to process {self._pid}, not to {os.getpid()}: create one in each process"
            )
        if self._closed:
            raise ConfigurationError("this EventStore is closed: create a new one")
