"""Connections to PostgreSQL, and the loop that runs an operation on one.

Owns how a session is set up (keepalives, time limits, application name) and where driver errors are translated. The
façade, the schema module and `sessions.py` open their connections here; operations never see one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import psycopg
from psycopg.abc import RV, AdaptContext, PQGen
from psycopg.adapt import Dumper
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import tuple_row

from .answers import within
from .arrays import Array
from .errors import ConfigurationError
from .operation import Operation, Query, Result
from .rows import Row
from .settings import EMBEDDED
from .translate import reason, redact, translate

#: Changes nothing, but begins the transaction of a connection that is not in autocommit mode.
BEGIN = Query("select 1")

#: A psycopg connection as the store opens it; any psycopg connection can be passed in.
Connection = psycopg.Connection[Any]

# A dead peer is noticed within half a minute, also when nothing is being sent.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# By the server as well, whose own default is two hours: so long would it keep a vanished client's locks.
_SERVERS_KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

# For sessions that run the store's statements only. These take the locks they need and see what was committed while
# they waited; under a stricter default, writers to the row of $all would undo each other instead of waiting.
_FOR_STATEMENTS = {
    "enable_seqscan": "off",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
}

_LIBPQ = frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())
_SETTING = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)


class StoreConnection(psycopg.Connection[Any]):
    """A connection that goes without the settings chosen here where a pooler refuses start-up `options`."""

    answer_timeout: float | None = None
    """Seconds after which an answer that does not come closes the connection; None for never."""

    @classmethod
    def connect(cls, conninfo: str = "", *, plain_options: str | int | None = "", **kwargs: Any) -> Self:
        """Connect like psycopg, if need be with nothing in `options` but what the URL itself says."""
        try:
            return super().connect(conninfo, **kwargs)
        except psycopg.OperationalError as error:
            if not refuses_options(error):
                raise
        return super().connect(conninfo, **{**kwargs, "options": plain_options})

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Wait like psycopg, but for no longer than `answer_timeout`."""
        if self.answer_timeout is not None:
            gen = within(self.answer_timeout, gen, self.pgconn)
        return super().wait(gen, *args, **kwargs)


def connect(
    url: str,
    role: str = "store",
    *,
    timeout: float | None = 15.0,
    connect_timeout: float = 10.0,
    idle_in_transaction_timeout: float | None = None,
    prefer_indexes: bool = False,
    prepare_threshold: int | None = 5,
    answer_timeout: float | None = None,
    parameters: Mapping[str, str | int] | None = None,
) -> Connection:
    """Open an autocommit connection to a writable server.

    What the URL itself sets (application_name, keepalives, options …) wins over what is chosen here. A pooler that
    refuses start-up `options`, as PgBouncer does, gets none of those chosen here: the time limits are then not the
    server's.

    Args:
        url: A PostgreSQL URL or conninfo string; resolve "embedded:…" with `embedded.open_url` first.
        role: What the connection is for; `application_name` becomes "eventstore-runtime ROLE".
        timeout: The time limit of a statement in seconds, None for none.
        connect_timeout: The time limit for opening the connection in seconds; at least 2, whole seconds.
        idle_in_transaction_timeout: How long a transaction may idle before the server ends the session, in seconds.
        prefer_indexes: Whether the planner avoids scans of whole tables, and transactions are read committed whatever
            the database's default. For sessions that run the store's statements only: a plan made while a table was
            small is kept while it grows, and would scan it for every event.
        prepare_threshold: Runs of a statement before it is prepared on the server, None for never.
        answer_timeout: Seconds after which an answer that does not come closes the connection, with a
            `psycopg.OperationalError`; None for never. More than `timeout`, within which a server answers.
        parameters: Further parameters of libpq and settings of the server, by name; they win over the URL.

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
        parameters=parameters,
    )
    with translated():
        conn = StoreConnection.connect(**arguments, autocommit=True, prepare_threshold=prepare_threshold)
    conn.answer_timeout = answer_timeout
    return conn


def connection_arguments(
    url: str,
    role: str,
    *,
    timeout: float | None = 15.0,
    connect_timeout: float = 10.0,
    idle_in_transaction_timeout: float | None = None,
    prefer_indexes: bool = False,
    parameters: Mapping[str, str | int] | None = None,
) -> dict[str, Any]:
    """Return the arguments of `StoreConnection.connect`; the arguments mean the same as for `connect`.

    Raises:
        ConfigurationError: The URL is malformed, or a parameter can be none.
    """
    if url.startswith(EMBEDDED):
        raise ConfigurationError(f"url {url!r} names no running server: open it with EventStore, or embedded.open_url")
    libpq, settings = _parted(parameters or {})
    try:
        given = conninfo_to_dict(url, **libpq)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            f"the store's url {redact(url)!r} is malformed, {reason(error)}: "
            "write it like postgresql://user:password@host:5432/database"
        ) from None
    ports = str(given.get("port", "")).split(",")
    if not all(port.isdigit() for port in ports if port):
        raise ConfigurationError(f"the store's url {redact(url)!r} has port {given['port']!r}: give a number")
    limits = session_settings(timeout, idle_in_transaction_timeout, prefer_indexes=prefer_indexes)
    plain_options = " ".join([*([str(given["options"])] if "options" in given else []), *_as_options(settings)])
    chosen = {
        **_KEEPALIVE,
        "connect_timeout": max(2, math.ceil(connect_timeout)),
        "application_name": f"eventstore-runtime {role}",
        "target_session_attrs": "read-write",
        # Otherwise that of the database or the environment, in which not every name can be written.
        "client_encoding": "utf8",
    }
    options = " ".join([*_as_options(limits), *([plain_options] if plain_options else [])])
    return {**chosen, **given, "options": options, "plain_options": plain_options}


def session_settings(
    timeout: float | None, idle_in_transaction_timeout: float | None = None, *, prefer_indexes: bool = False
) -> dict[str, str]:
    """Return the server's settings that are chosen here; the arguments mean the same as for `connect`."""
    limits = {"statement_timeout": timeout, "idle_in_transaction_session_timeout": idle_in_transaction_timeout}
    settings = {name: str(math.ceil(value * 1000)) for name, value in limits.items() if value is not None}
    own = _FOR_STATEMENTS if prefer_indexes else {}
    return {**_SERVERS_KEEPALIVE, **settings, **own}


def refuses_options(error: psycopg.Error) -> bool:
    """Tell whether a pooler refused the connection for its start-up `options`."""
    return "unsupported startup parameter" in str(error) and "options" in str(error)


def _parted(parameters: Mapping[str, str | int]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return parameters as those of libpq, and settings of the server."""
    for name in parameters:
        if not _SETTING.fullmatch(name):
            raise ConfigurationError(f"parameters name {name!r}: give names of libpq or of server settings")
    libpq = {name: value for name, value in parameters.items() if name in _LIBPQ}
    return libpq, {name: str(value) for name, value in parameters.items() if name not in _LIBPQ}


def _as_options(settings: Mapping[str, str]) -> list[str]:
    # A backslash keeps a space, or itself, inside a value.
    return [f"-c {name}=" + re.sub(r"([\\\s])", r"\\\1", value) for name, value in settings.items()]


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
        except (psycopg.Error, UnicodeEncodeError) as error:
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


def check_connection(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], kind: type) -> None:
    """Raise `ConfigurationError` unless a caller's connection is of the kind that the store drives."""
    if not isinstance(conn, kind):
        raise ConfigurationError(
            f"conn is a {type(conn).__module__}.{type(conn).__qualname__}, not a psycopg.{kind.__name__}: "
            "give one, or the `driver_connection` of a SQLAlchemy connection that uses psycopg"
        )
    if not conn.closed and conn.info.encoding == "ascii":
        raise ConfigurationError(
            "conn has the client encoding SQL_ASCII, by which psycopg returns names as bytes: "
            "connect with client_encoding=utf8"
        )


def fetch(conn: Connection, query: Query) -> list[Row]:
    """Run one statement and return its rows as tuples, whatever row factory the connection has.

    Raises:
        psycopg.Error: Untranslated; `run` and `translated` translate.
    """
    with psycopg.RawCursor(conn, row_factory=tuple_row) as cursor:
        pack_arrays(cursor)
        # In binary, whose values depend on no setting of the session. Scripts need the simple protocol, which is text.
        cursor.execute(query.sql.encode(conn.info.encoding), query.params or None, binary=not query.is_script)
        return cursor.fetchall() if cursor.description else []


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        assert self.connection is not None
        return obj.pack(self.connection.info.encoding)


def pack_arrays(cursor: AdaptContext) -> None:
    """Have a cursor send the arrays of `arrays.py`; its connection, which may be a caller's, stays as it is."""
    cursor.adapters.register_dumper(Array, _ArrayDumper)


@contextmanager
def translated() -> Iterator[None]:
    """Translate driver errors that leave the block. Raises `EventStoreError`."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error
