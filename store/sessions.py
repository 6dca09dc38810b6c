"""Sessions: connections that keep their backend, as LISTEN and advisory locks need, and proof that they do.

Behind a pooler in transaction mode every statement may run on another backend: notifications never come, and locks are
left behind on backends that others use. So whoever needs a session opens it here, and is refused at once instead. The
pools of `pool.py` and `async_pool.py` and the runtime's listener and lock-holder open theirs here.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Unpack

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from .async_connection import AsyncConnection, aconnect
from .connection import Connection, connect, connection_arguments, session_settings, translated
from .errors import ConfigurationError, StoreUnavailable
from .settings import ConnectOptions
from .translate import redact

# A pooler picks a backend as it likes, and may consist of several processes with backends of their own, so that one
# look proves little. Only sessions that lead through a pooler pay for them.
_LOOKS = 8
# Far longer than the answer to "who are you" takes; no answer means waiting for a backend.
_PATIENCE = 15.0

_BACKEND = b"select pg_backend_pid()"
_NO_TRANSACTIONS = "transaction blocks not allowed"


def open_session(url: str, role: str, **options: Unpack[ConnectOptions]) -> Connection:
    """Open a connection as `connect` does, for the store's statements, and make sure that it keeps its backend.

    Raises:
        ConfigurationError: It leads through a pooler in transaction mode, or as `connect`.
        StoreUnavailable: The server cannot be reached.
    """
    conn = connect(url, role, prefer_indexes=True, **options)
    try:
        _settle(conn, url, role, options)
    except BaseException:
        conn.close()
        raise
    return conn


async def aopen_session(url: str, role: str, **options: Unpack[ConnectOptions]) -> AsyncConnection:
    """Open a session for asyncio; see `open_session`."""
    conn = await aconnect(url, role, prefer_indexes=True, **options)
    try:
        # Nobody else has the connection yet; in a thread, since a pooler may take its time.
        await asyncio.to_thread(_settle, conn, url, role, options)
    except BaseException:
        await conn.close()
        raise
    return conn


def _settle(
    conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], url: str, role: str, options: ConnectOptions
) -> None:
    with translated():
        backend = _number(conn.pgconn, _BACKEND)
        if backend is None:
            raise StoreUnavailable(f"the database did not answer within {_PATIENCE:g} s: try again")
        # A pooler answers the login itself, with a number of its own.
        if backend == conn.info.backend_pid:
            return
        if _is_shared(conn.pgconn, backend, url, role, options):
            raise ConfigurationError(
                f"{redact(url)!r} leads through a pooler in transaction mode, where LISTEN and locks are lost: set "
                "session_mode_url to a URL that leads past it, or to a pool in session mode"
            )
        # Refused by the pooler, or ignored. What was asked for expressly stays as it is.
        plain = str(connection_arguments(url, role, parameters=options.get("parameters"))["plain_options"])
        chosen = session_settings(options.get("timeout"), prefer_indexes=True)
        missing = {name: value for name, value in chosen.items() if f"{name}=" not in plain}
        if missing:
            calls = [sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in missing.items()]
            _answer(conn.pgconn, sql.SQL("select {}").format(sql.SQL(", ").join(calls)).as_bytes())


def _is_shared(pgconn: PGconn, backend: int, url: str, role: str, options: ConnectOptions) -> bool:
    """Tell whether somebody else gets the connection's backend while it is open.

    A second connection holds a transaction meanwhile: where backends are shared it is given the idle one of the first,
    or leaves another one to it.
    """
    try:
        for _ in range(_LOOKS):
            with _held_by_another(url, role, options) as taken:
                if taken == backend or _number(pgconn, _BACKEND) != backend:
                    return True
                if taken is None:
                    # The other one waits for a free backend; this one did not have to, so that its own is its own.
                    return False
    except psycopg.Error as error:
        # A pooler in statement mode, which shares even more.
        if _NO_TRANSACTIONS in str(error):
            return True
        raise
    return False


@contextmanager
def _held_by_another(url: str, role: str, options: ConnectOptions) -> Iterator[int | None]:
    """Give the backend that a second connection holds, or waits for (None)."""
    other = connect(url, f"{role} check", **options)
    try:
        taken = _number(other.pgconn, b"begin; " + _BACKEND)
        yield taken
        if taken is not None:
            # A pooler throws away a backend that is left within a transaction.
            other.rollback()
    finally:
        other.close()


def _number(pgconn: PGconn, statement: bytes) -> int | None:
    answer = _answer(pgconn, statement)
    return None if answer is None else int(answer)


def _answer(pgconn: PGconn, statement: bytes) -> bytes | None:
    """Return the first value of a statement's answer; None when it does not come in time."""
    deadline = time.monotonic() + _PATIENCE
    pgconn.send_query(statement)
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)
    value: bytes | None = None
    failure: psycopg.Error | None = None
    while True:
        pgconn.flush()
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1_000):
            return None
        pgconn.consume_input()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                if failure is not None:
                    raise failure
                return value
            if result.status == ExecStatus.FATAL_ERROR:
                failure = psycopg.errors.error_from_result(result, "utf-8")
            elif result.status == ExecStatus.TUPLES_OK:
                value = result.get_value(0, 0)
