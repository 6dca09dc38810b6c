"""LISTEN on a connection of its own, driven by somebody else's event loop.

The runtime's listener waits for the connection's descriptor together with its other channels, so it needs what has
arrived without waiting. The connection is in autocommit: a listener inside a transaction would fill the server's queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from .connection import Connection, translated
from .errors import StoreUnavailable


def listen(conn: Connection, channels: Iterable[str]) -> None:
    """Listen on channels; in effect when it returns, so that a read after it misses nothing.

    Raises:
        EventStoreError: The connection is lost.
    """
    with translated():
        for name in channels:
            conn.execute(sql.SQL("listen {}").format(sql.Identifier(name)))


def take_notifications(conn: Connection | psycopg.AsyncConnection[Any]) -> list[tuple[str, str]]:
    """Return what has arrived, without waiting, as (channel, payload).

    Raises:
        StoreUnavailable: The connection is lost.
    """
    encoding = conn.info.encoding
    taken: list[tuple[str, str]] = []
    with translated():
        conn.pgconn.consume_input()
        while (notification := conn.pgconn.notifies()) is not None:
            taken.append((notification.relname.decode(encoding), notification.extra.decode(encoding)))
    _check_open(conn)
    return taken


def check_alive(conn: Connection | psycopg.AsyncConnection[Any]) -> None:
    """Look at what the server sent to an idle session; usually it says that the session has ended.

    Raises:
        StoreUnavailable: The connection is lost.
    """
    with translated():
        conn.pgconn.consume_input()
    _check_open(conn)


def probe(conn: Connection) -> None:
    """Ask an idle session for a sign of life, and wait for it: a half-open connection looks alive until then.

    Raises:
        StoreUnavailable: The connection is lost.
    """
    with translated():
        conn.execute("")


def _check_open(conn: Connection | psycopg.AsyncConnection[Any]) -> None:
    if conn.pgconn.status != psycopg.pq.ConnStatus.OK:
        raise StoreUnavailable("the database ended the session: try again, or check that it is running")
