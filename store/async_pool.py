"""The connections of one asynchronous store: the twin of `pool.py`, for one event loop.

`async_event_store.py` borrows connections here. `AsyncLender` owns the psycopg pool and the embedded server, several
stores can share it; `AsyncStorePool` owns the statements of its store.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg_pool import AsyncConnectionPool

from .async_connection import AsyncConnection, AsyncStoreConnection, aconnect, arun
from .connection import translated
from .embedded import EmbeddedServer, open_url
from .errors import ConfigurationError, EventStoreError, StoreUnavailable, copied
from .pool import check_shared, is_read_only, pool_arguments
from .schema import check_schema
from .sessions import aopen_session
from .settings import StoreSettings
from .sql import Statements


class AsyncLender:
    """A psycopg pool that opens lazily, in the event loop that first uses it, and works in no other.

    Args:
        settings: Where the database is and how to talk to it; the schema does not matter.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._url: str | None = None
        self._server: EmbeddedServer | None = None
        self._pool: AsyncConnectionPool[AsyncConnection] | None = None
        self._opening: asyncio.Task[tuple[str, EmbeddedServer | None]] | None = None
        self._checks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Borrow a connection; after a loss, the connections that were lost with it are replaced.

        Raises:
            StoreUnavailable: No connection could be opened, or none was free in time.
        """
        pool = await self._opened()
        try:
            with translated():
                async with pool.connection() as conn:
                    try:
                        yield conn
                    except StoreUnavailable as error:
                        if is_read_only(error):
                            await conn.close()
                        raise
        except StoreUnavailable:
            # The others were opened to the same server, so most likely they are gone too.
            await self._checked(pool)
            raise

    @asynccontextmanager
    async def direct_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection outside the pool, whose failure names its reason at once."""
        async with self._lock:
            url = await self._resolved_url()
        async with await aconnect(url, **self.settings.connect_options) as conn:
            yield conn

    async def open_session(self, role: str) -> AsyncConnection:
        """Open a connection of the caller's own, outside the pool and past a pooler; see `sessions.open_session`."""
        self.check_usable()
        url = self.settings.session_mode_url
        if url is None:
            async with self._lock:
                url = await self._resolved_url()
        return await aopen_session(url, role, **self.settings.connect_options)

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    async def close(self) -> None:
        """Close all connections and release the embedded server. In a forked child, leave both to the parent."""
        self._closed = True
        if self._pid != os.getpid():
            return
        async with self._lock:  # a server or pool that is being opened is closed too
            if self._opening is not None:
                with suppress(EventStoreError):
                    _, self._server = await self._opening
            pool, self._pool = self._pool, None
            server, self._server = self._server, None
        if pool is not None:
            await pool.close()
        if server is not None:
            server.release()

    def check_usable(self) -> None:
        """Raise `ConfigurationError` in a forked child, in another event loop, and after `close()`."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            raise ConfigurationError(
                f"this AsyncEventStore belongs to process {self._pid}, not to {os.getpid()}: create one in each process"
            )
        if self._closed:
            raise ConfigurationError(
                "this AsyncEventStore, or the one that shares its pool, is closed: create a new one"
            )
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise ConfigurationError("this AsyncEventStore belongs to another event loop: create one in each loop")

    async def _opened(self) -> AsyncConnectionPool[AsyncConnection]:
        self.check_usable()
        async with self._lock:
            if self._pool is None:
                arguments = pool_arguments(self.settings, await self._resolved_url())
                # Opened apart from being made: psycopg warns about a pool that opens in its constructor.
                pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
                    **arguments, connection_class=AsyncStoreConnection, open=False
                )
                await pool.open()
                self._pool = pool
            return self._pool

    async def _checked(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        # A task of its own: psycopg's check takes a cancellation for a broken connection, and goes on with the next.
        check = asyncio.create_task(pool.check())
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)
        await asyncio.shield(check)

    async def _resolved_url(self) -> str:
        self.check_usable()
        if self._url is not None:
            return self._url
        # Starting an embedded server takes a second or more, in which the loop goes on. The thread goes on as well when
        # who waits for it is cancelled, so that the next one, or `close`, must find what it started.
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(open_url, self.settings.url))
        opening = self._opening
        try:
            url, self._server = await asyncio.shield(opening)
        finally:
            if opening.done():
                self._opening = None
        self._url = url
        return url


class AsyncStorePool:
    """The connections and the statements of one asynchronous store.

    Args:
        settings: Where the store is and how to talk to it.
        shared: The pool of another store to borrow connections from; its limits count then. None for one of its own.

    Raises:
        ConfigurationError: The other store connects to another place, or in another way.
    """

    def __init__(self, settings: StoreSettings, shared: AsyncStorePool | None = None) -> None:
        self.settings = settings
        if shared is not None:
            check_shared(settings, shared.settings)
        self.lender: AsyncLender = AsyncLender(settings) if shared is None else shared.lender
        self._owns_lender = shared is None
        self._closed = False
        self._lock = asyncio.Lock()
        self._statements: Statements | None = None
        self._failure: EventStoreError | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Borrow a connection; raises like `AsyncLender.connection` and `statements`."""
        # The pool itself reports a refused login only as a time-out, so the schema check comes first.
        await self.statements()
        async with self.lender.connection() as conn:
            yield conn

    @asynccontextmanager
    async def direct_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection outside the pool, whose failure names its reason at once."""
        self._check_usable()
        async with self.lender.direct_connection() as conn:
            yield conn

    async def open_session(self, role: str) -> AsyncConnection:
        """Open a connection of the caller's own, outside the pool."""
        self._check_usable()
        return await self.lender.open_session(role)

    async def statements(self, conn: AsyncConnection | None = None) -> Statements:
        """Return the statements for the column type that the database has, looked up once.

        Args:
            conn: The connection to look with; None for one of its own.

        Raises:
            SchemaMissing, SchemaMismatch: The schema holds no event store of this version.
        """
        self._check_usable()
        if self._statements is not None:
            return self._statements
        return await (self._looked_up() if conn is None else self._look_up(conn))

    @property
    def closed(self) -> bool:
        """True after `close()`, also that of the store whose connections these are."""
        return self._closed or self.lender.closed

    async def close(self) -> None:
        """Refuse further use, and close the connections unless they are another store's."""
        self._closed = True
        if self._owns_lender:
            await self.lender.close()

    async def _looked_up(self) -> Statements:
        """Look up the statements, one task at a time; who waited for it gets what it got, errors included."""
        known = self._failure
        async with self._lock:
            if self._statements is not None:
                return self._statements
            if self._failure is not None and self._failure is not known:
                raise copied(self._failure)
            try:
                async with self.direct_connection() as own:
                    return await self._look_up(own)
            except EventStoreError as error:
                self._failure = copied(error)
                raise

    async def _look_up(self, conn: AsyncConnection) -> Statements:
        schema = self.settings.schema
        self._statements = Statements(schema, await arun(conn, check_schema(schema, runtime=False)))
        return self._statements

    def _check_usable(self) -> None:
        self.lender.check_usable()
        if self._closed:
            raise ConfigurationError("this AsyncEventStore is closed: create a new one")
