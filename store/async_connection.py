"""Connections for asyncio: the twin of `connection.py`, which runs the very same operations.

Owns nothing else; `async_pool.py` and `async_event_store.py` open and use connections here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.rows import tuple_row

from .answers import within
from .connection import BEGIN, awaits_transaction, connection_arguments, pack_arrays, refuses_options, translated
from .operation import Operation, Query, Result
from .rows import Row
from .translate import translate

#: An asynchronous psycopg connection as the store opens it; any such connection can be passed in.
AsyncConnection = psycopg.AsyncConnection[Any]


class AsyncStoreConnection(psycopg.AsyncConnection[Any]):
    """The twin of `StoreConnection`."""

    answer_timeout: float | None = None
    """Seconds after which an answer that does not come closes the connection; None for never."""

    @classmethod
    async def connect(cls, conninfo: str = "", *, plain_options: str | int | None = "", **kwargs: Any) -> Self:
        """Connect like psycopg, if need be with nothing in `options` but what the URL itself says."""
        try:
            return await super().connect(conninfo, **kwargs)
        except psycopg.OperationalError as error:
            if not refuses_options(error):
                raise
        return await super().connect(conninfo, **{**kwargs, "options": plain_options})

    async def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Wait like psycopg, but for no longer than `answer_timeout`."""
        if self.answer_timeout is not None:
            gen = within(self.answer_timeout, gen, self.pgconn)
        return await super().wait(gen, *args, **kwargs)


async def aconnect(
    url: str,
    role: str = "store",
    *,
    timeout: float | None = 15.0,
    connect_timeout: float = 10.0,
    prefer_indexes: bool = False,
    prepare_threshold: int | None = 5,
    answer_timeout: float | None = None,
    parameters: Mapping[str, str | int] | None = None,
) -> AsyncConnection:
    """Open an autocommit connection to a writable server; arguments and errors as for `connection.connect`."""
    arguments = connection_arguments(
        url,
        role,
        timeout=timeout,
        connect_timeout=connect_timeout,
        prefer_indexes=prefer_indexes,
        parameters=parameters,
    )
    with translated():
        conn = await AsyncStoreConnection.connect(**arguments, autocommit=True, prepare_threshold=prepare_threshold)
    conn.answer_timeout = answer_timeout
    return conn


async def arun(conn: AsyncConnection, operation: Operation[Result]) -> Result:
    """Run an operation on a connection, in whatever transaction the connection is in.

    A driver's error is translated and thrown into the operation, which may answer it; most let it pass.

    Raises:
        EventStoreError: What the operation raises.
    """
    step = partial(next, operation)
    while True:
        try:
            query = step()
        except StopIteration as done:
            result: Result = done.value
            return result
        try:
            rows = await afetch(conn, query)
        except (psycopg.Error, UnicodeEncodeError) as error:
            failure = translate(error)
            failure.__cause__ = error
            step = partial(operation.throw, failure)
        else:
            step = partial(operation.send, rows)


async def arun_atomically(conn: AsyncConnection, operation: Operation[Result]) -> Result:
    """Run an operation in a transaction or, in the caller's, in a savepoint; an error undoes what it did.

    Raises:
        EventStoreError: What the operation raises.
    """
    with translated():
        if awaits_transaction(conn):
            await afetch(conn, BEGIN)
        async with conn.transaction():
            return await arun(conn, operation)


async def afetch(conn: AsyncConnection, query: Query) -> list[Row]:
    """Run one statement and return its rows as tuples, whatever row factory the connection has.

    Raises:
        psycopg.Error: Untranslated; `arun` translates.
    """
    async with psycopg.AsyncRawCursor(conn, row_factory=tuple_row) as cursor:
        pack_arrays(cursor)
        # As in `connection.fetch`: only the simple protocol takes scripts of several statements.
        await cursor.execute(query.sql.encode(conn.info.encoding), query.params or None, binary=not query.is_script)
        return await cursor.fetchall() if cursor.description else []
