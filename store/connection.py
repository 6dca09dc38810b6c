"""Connections to PostgreSQL, and the loop that runs an operation on one.

Owns how a session is set up (keepalives, time limits, application name) and where driver errors are translated. The
façade, the schema module and the runtime's actors open their connections here; operations never see one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from .errors import ConfigurationError
from .operation import Operation, Query, Result
from .rows import Row
from .settings import EMBEDDED
from .translate import reason, redact, translate

#: Changes nothing, but begins the transaction of a connection that is not in autocommit mode.
BEGIN = Query("select 1")

#: A psycopg connection as the store opens it; any psycopg connection can be passed in.
Connection = psycopg.Connection[Any]

# A dead peer is noticed in about half a minute, also when nothing is being sent.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connect(
    url: str,
    role: str = "store",
    *,
    timeout: float | None = 15.0,
    connect_timeout: float = 10.0,
    idle_in_transaction_timeout: float | None = None,
    prefer_indexes: bool = False,
    prepare_threshold: int | None = 5,
) -> Connection:
    """Open an autocommit connection to a writable server.

    What the URL itself sets (application_name, keepalives, options …) wins over what is chosen here.

    Args:
        url: A PostgreSQL URL or conninfo string; resolve "embedded:…" with `embedded.open_url` first.
        role: What the connection is for; `application_name` becomes "eventstore-runtime ROLE".
        timeout: The time limit of a statement in seconds, None for none.
        connect_timeout: The time limit for opening the connection in seconds; at least 2, whole seconds.
        idle_in_transaction_timeout: How long a transaction may idle before the server ends the session, in seconds.
        prefer_indexes: Whether the planner avoids scans of whole tables. For sessions that run the store's statements
            only: a plan made while a table was small is kept while it grows, and would scan it for every event.
        prepare_threshold: Runs of a statement before it is prepared on the server, None for never.

    Raises:
        ConfigurationError: The URL is malformed or the server refuses the login.
        StoreUnavailable: The server cannot be reached.
    """
    arguments = connection_arguments(
        url,
        role,
        timeout=timeout,
        connect_timeout=connect_timeout,
        idle_in_transaction_timeout=idle_in_transaction_timeout,
        prefer_indexes=prefer_indexes,
    )
    with translated():
        return psycopg.connect(**arguments, autocommit=True, prepare_threshold=prepare_threshold)


def connection_arguments(
    url: str,
    role: str,
    *,
    timeout: float | None = 15.0,
    connect_timeout: float = 10.0,
    idle_in_transaction_timeout: float | None = None,
    prefer_indexes: bool = False,
) -> dict[str, Any]:
    """Return the libpq arguments of a connection; the arguments mean the same as for `connect`.

    Raises:
        ConfigurationError: The URL is malformed.
    """
    if url.startswith(EMBEDDED):
        raise ConfigurationError(f"url {url!r} names no running server: open it with EventStore, or embedded.open_url")
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            f"the store's url {redact(url)!r} is malformed, {reason(error)}: "
            "write it like postgresql://user:password@host:5432/database"
        ) from None
    ports = str(given.get("port", "")).split(",")
    if not all(port.isdigit() for port in ports if port):
        raise ConfigurationError(f"the store's url {redact(url)!r} has port {given['port']!r}: give a number")
    limits = {"statement_timeout": timeout, "idle_in_transaction_session_timeout": idle_in_transaction_timeout}
    options = [f"-c {name}={math.ceil(value * 1000)}" for name, value in limits.items() if value is not None]
    if prefer_indexes:
        options.append("-c enable_seqscan=off")
    chosen = {
        **_KEEPALIVE,
        "connect_timeout": max(2, math.ceil(connect_timeout)),
        "application_name": f"eventstore-runtime {role}",
        "target_session_attrs": "read-write",
    }
    if "options" in given:
        options.append(str(given["options"]))
    return {**chosen, **given, "options": " ".join(options)}


def run(conn: Connection, operation: Operation[Result]) -> Result:
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
            rows = fetch(conn, query)
        except psycopg.Error as error:
            failure = translate(error)
            failure.__cause__ = error
            step = partial(operation.throw, failure)
        else:
            step = partial(operation.send, rows)


def run_atomically(conn: Connection, operation: Operation[Result]) -> Result:
    """Run an operation in a transaction or, in the caller's, in a savepoint; an error undoes what it did.

    Raises:
        EventStoreError: What the operation raises.
    """
    with translated():
        if awaits_transaction(conn):
            fetch(conn, BEGIN)
        with conn.transaction():
            return run(conn, operation)


def awaits_transaction(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Tell whether a connection's transaction begins with its next statement, and is the caller's to commit.

    On such a connection psycopg's `transaction()` would commit, so `BEGIN` runs before it.
    """
    return not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE


def check_connection(conn: object, kind: type) -> None:
    """Raise `ConfigurationError` unless a caller's connection is of the kind that the store drives."""
    if not isinstance(conn, kind):
        raise ConfigurationError(
            f"conn is a {type(conn).__module__}.{type(conn).__qualname__}, not a psycopg.{kind.__name__}: "
            "give one, or the `driver_connection` of a SQLAlchemy connection that uses psycopg"
        )


def fetch(conn: Connection, query: Query) -> list[Row]:
    """Run one statement and return its rows as tuples, whatever row factory the connection has.

    Raises:
        psycopg.Error: Untranslated; `run` and `translated` translate.
    """
    with psycopg.RawCursor(conn, row_factory=tuple_row) as cursor:
        # Without binds a statement goes over the simple protocol, which alone takes scripts of several statements.
        cursor.execute(query.sql.encode(), query.params or None, binary=bool(query.params))
        return cursor.fetchall() if cursor.description else []


@contextmanager
def translated() -> Iterator[None]:
    """Translate driver errors that leave the block. Raises `EventStoreError`."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error
