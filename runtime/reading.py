"""The listener's connection for reads: pages ahead while the loop turns, everything else at once.

A page that is just being read is waited for before anything else is asked on the connection; its answer then comes in
the next turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ..store.connection import Connection, run
from ..store.nonblocking import Pending
from ..store.operation import Operation, Result
from ..store.read import Page, read_page
from ..store.sql import Statements
from .loop import Loop
from .reader import PageReader, Request, Selection


class Reading:
    """Reads for all subscriptions of a node.

    Args:
        loop: The listener's loop.
        shared: What several subscriptions follow.
    """

    def __init__(self, loop: Loop, shared: Collection[Selection]) -> None:
        self.pages = PageReader(self._read_page, shared)
        self._loop = loop
        self._conn: Connection | None = None
        self._statements: Statements
        self._pending: Pending[Page] | None = None
        self._take: Callable[[Page], None]

    def open(self, conn: Connection, statements: Statements) -> None:
        """Begins to use a connection, which belongs to this object from here on."""
        self._conn, self._statements = conn, statements

    def close(self) -> None:
        """Closes the connection."""
        if self._conn is not None:
            self._conn.close()

    def run(self, operation: Operation[Result]) -> Result:
        """Runs an operation and waits for it.

        Raises:
            StoreError: The database could not be asked.
        """
        pending = self._pending
        if pending is not None:
            pending.wait()
            take = self._end_pending()
            self._loop.call_later(0, lambda: take(pending.result))
        return run(self._connection, operation)

    def read_soon(self, request: Request) -> None:
        """Reads a page without waiting for it; raises like `run`."""
        self.pages.read_soon(request, self._begin)

    @property
    def _connection(self) -> Connection:
        assert self._conn is not None
        return self._conn

    def _read_page(self, stream: str, after: int, limit: int, **options: Any) -> Page:
        return self.run(read_page(self._statements, stream, after, limit, **options))

    def _begin(self, request: Request, take: Callable[[Page], None]) -> None:
        operation = read_page(
            self._statements, request.stream, request.after, request.limit, max_bytes=request.max_bytes
        )
        self._take = take
        self._pending = Pending(self._connection, operation)
        self._loop.watch(self._connection.fileno(), self._advance)

    def _advance(self) -> None:
        pending = self._pending
        if pending is not None and pending.advance():
            self._end_pending()(pending.result)

    def _end_pending(self) -> Callable[[Page], None]:
        self._loop.unwatch(self._connection.fileno())
        self._pending = None
        return self._take
