"""Runs an operation on a connection without waiting for it: the caller's event loop turns meanwhile.

The runtime's listener reads pages ahead like this, so that the database works on the next page while the process
routes the one before. One operation at a time; the connection can be used as usual in between.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import partial
from typing import Any, Generic
from weakref import WeakKeyDictionary

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format

from .connection import Connection, translated
from .errors import StoreUnavailable
from .operation import Operation, Query, Result
from .rows import Row
from .translate import translate

_names: WeakKeyDictionary[Connection, dict[tuple[str, tuple[int, ...]], bytes]] = WeakKeyDictionary()
"""The statements that were prepared on each connection, by text and types: a small number is sent as a small type."""


class Pending(Generic[Result]):
    """An operation under way.

    Args:
        conn: An idle connection in autocommit; it must not be used otherwise before this is done.
        operation: What to run.

    Raises:
        EventStoreError: The connection is lost.
    """

    def __init__(self, conn: Connection, operation: Operation[Result]) -> None:
        self._conn = conn
        self._operation = operation
        self._rows: list[Row] | None = None
        self._send(partial(next, operation))

    @property
    def done(self) -> bool:
        """True when the result is there."""
        return self._finished

    @property
    def result(self) -> Result:
        """What the operation returned, once it is done."""
        assert self._finished
        return self._result

    def advance(self) -> bool:
        """Takes what has arrived, and goes on with the operation; True when it is done.

        Raises:
            EventStoreError: What the operation raises, or the connection is lost.
        """
        pgconn = self._conn.pgconn
        with translated():
            pgconn.consume_input()
        if pgconn.status != ConnStatus.OK:
            raise StoreUnavailable("the database ended the session: try again, or check that it is running")
        while not self._finished and not pgconn.is_busy():
            self._take()
        return self._finished

    def wait(self) -> None:
        """Waits until it is done; raises like `advance`."""
        while not self.advance():
            select.select([self._conn.pgconn.socket], [], [])

    def _take(self) -> None:
        """Takes the next result of a statement; after the last one, its rows go to the operation."""
        result = self._conn.pgconn.get_result()
        if result is None:
            rows, self._rows = self._rows or [], None
            self._send(partial(self._operation.send, rows))
            return
        if result.status == ExecStatus.TUPLES_OK:
            transformer = Transformer(self._conn)
            transformer.set_pgresult(result, format=Format.BINARY)
            self._rows = transformer.load_rows(0, result.ntuples, tuple)
        elif result.status != ExecStatus.COMMAND_OK:
            error = psycopg.errors.error_from_result(result, encoding=self._conn.info.encoding)
            while self._conn.pgconn.get_result() is not None:
                pass
            failure = translate(error)
            failure.__cause__ = error
            self._send(partial(self._operation.throw, failure))

    def _send(self, step: Callable[[], Query]) -> None:
        """Asks the operation for its next statement and sends it, or keeps what it returned."""
        self._finished = False
        try:
            query = step()
        except StopIteration as returned:
            self._finished = True
            self._result: Result = returned.value
            return
        transformer = Transformer(self._conn)
        binds = transformer.dump_sequence(query.params, [PyFormat.BINARY] * len(query.params))
        arguments: tuple[Any, ...] = (binds, transformer.formats, Format.BINARY)
        with translated():
            name = _prepared(self._conn, query.sql, transformer.types)
            if name is None:
                self._conn.pgconn.send_query_params(
                    query.sql.encode(self._conn.info.encoding),
                    binds,
                    transformer.types,
                    transformer.formats,
                    Format.BINARY,
                )
            else:
                self._conn.pgconn.send_query_prepared(name, *arguments)
            self._conn.pgconn.flush()


def _prepared(conn: Connection, sql: str, types: Any) -> bytes | None:
    """The name of a statement on the server, prepared there when it is first used; None where nothing may be."""
    if conn.prepare_threshold is None:
        return None
    names = _names.setdefault(conn, {})
    key = (sql, tuple(types))
    name = names.get(key)
    if name is None:
        name = names[key] = b"eventstore_%d" % len(names)
        result = conn.pgconn.prepare(name, sql.encode(conn.info.encoding), types)
        if result.status != ExecStatus.COMMAND_OK:
            del names[key]
            raise psycopg.errors.error_from_result(result, encoding=conn.info.encoding)
    return name
