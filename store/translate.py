"""Driver errors turned into the store's own: the only table of SQLSTATEs and constraints. Also hides passwords. Pure.

`connection.py` calls it wherever the driver can fail; nothing else in the project looks at an SQLSTATE.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from .errors import (
    ConfigurationError,
    Conflict,
    DuplicateEvent,
    EventStoreError,
    SchemaMismatch,
    SchemaMissing,
    SerializationFailed,
    StoreError,
    StoreUnavailable,
)

_CREDENTIALS = re.compile(r"(//[^:@/?#\s]*):[^?\s]*(?=@)")
_PASSWORDS = re.compile(r"(?i)\b(password|passwd|sslpassword)(\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&]*)")
_NUL = re.compile(r"cannot contain NUL")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What a server says before a session exists carries no SQLSTATE, only a text.
_WRONG_CONNECTION = re.compile(
    r"authentication failed|no password supplied|no pg_hba.conf entry|no such (database|user)|"
    r"unsupported startup parameter|unrecognized configuration parameter|invalid value for parameter|"
    r"certificate|server does not support SSL|"
    r'(database|role|user) ".*" (does not exist|is not permitted)|invalid (URI|connection option|port)|missing "="'
)

_NO_DATABASE = re.compile(r'database ".*" does not exist')

# What driver and libpq wrap around the failure of a connection; the sentence says it already, and its remedy too.
_AROUND = re.compile(
    r"^(connection failed|connection is bad|consuming input failed): |"
    r" Is the server running[^?]*\?| This probably means the server terminated abnormally[^.]*\."
)


def _unavailable(error: psycopg.Error) -> EventStoreError:
    return StoreUnavailable(f"the database is not available, {reason(error)}: try again, or check that it is running")


def _exhausted(error: psycopg.Error) -> EventStoreError:
    return StoreUnavailable(
        f"no connection of the pool was free in time, {reason(error)}: try again, raise pool_size, queue_timeout or "
        "max_waiting, or check that the database is running"
    )


def _timeout(error: psycopg.Error) -> EventStoreError:
    return StoreUnavailable(f"the database did not answer in time, {reason(error)}: try again, or raise the timeout")


def _conflict(error: psycopg.Error) -> EventStoreError:
    return Conflict(f"another transaction was in the way, {reason(error)}: try again")


def _permission(error: psycopg.Error) -> EventStoreError:
    return ConfigurationError(
        f"the database role lacks a right, {reason(error)}: grant it, or connect as a role that has it"
    )


def _connection(error: psycopg.Error) -> EventStoreError:
    said = reason(error)
    create = "create it with `eventstore-runtime create`, or " if _NO_DATABASE.search(said) else ""
    return ConfigurationError(f"the database refused the connection, {said}: {create}check the store's url")


def _prepared(error: psycopg.Error) -> EventStoreError:
    return ConfigurationError(
        f"a pooler on the way lost a prepared statement, {reason(error)}: set prepare_threshold to None, "
        'in supervisor.toml to "never"'
    )


def _serialization(error: psycopg.Error) -> EventStoreError:
    return SerializationFailed("", reason(error))


def _missing(error: psycopg.Error) -> EventStoreError:
    return SchemaMissing("", reason(error))


def _mismatch(error: psycopg.Error) -> EventStoreError:
    return SchemaMismatch("", f"{reason(error)}; run `eventstore-runtime init`")


def _unique(error: psycopg.Error) -> EventStoreError:
    constraint = error.diag.constraint_name or ""
    if constraint in ("events_pkey", "stream_events_pkey"):
        found = _UUID.search(error.diag.message_detail or "")
        return DuplicateEvent(UUID(found[0]) if found else None)
    return _conflict(error)


# By SQLSTATE; by its class (two characters) where the state itself is not listed.
_BY_STATE: dict[str, Callable[[psycopg.Error], EventStoreError]] = {
    "08": _unavailable,
    "53": _unavailable,
    "58": _unavailable,
    "57P01": _unavailable,
    "57P02": _unavailable,
    "57P03": _unavailable,
    "57P05": _unavailable,
    "25P03": _unavailable,
    "25006": _unavailable,  # a standby: the primary has moved elsewhere
    "57014": _timeout,
    "40": _conflict,
    "55P03": _conflict,
    "23503": _conflict,  # a hard delete and a link or append of the same events
    "23505": _unique,
    "42501": _permission,
    "28": _connection,
    "3D000": _connection,
    "3F000": _missing,
    "42P01": _missing,
    "42703": _mismatch,
    "42704": _mismatch,
    "42883": _mismatch,
    "26000": _prepared,
    "42P05": _prepared,
    "22021": _serialization,
    "22P02": _serialization,
    "22P05": _serialization,
}


def translate(error: psycopg.Error | UnicodeEncodeError) -> EventStoreError:
    """Return the store's error for a driver's error; set the driver's as its cause when raising it."""
    if isinstance(error, UnicodeEncodeError):
        return ConfigurationError(
            f"a text cannot be sent to the database, its character {error.object[error.start]!r} is none of "
            f"{error.encoding}: remove that character"
        )
    state = error.sqlstate or ""
    make = _BY_STATE.get(state) or _BY_STATE.get(state[:2])
    if make is not None:
        return make(error)
    if state:
        return StoreError(f"the database refused, {reason(error)} (SQLSTATE {state})")
    if isinstance(error, psycopg.DataError) and _NUL.search(str(error)):
        return ConfigurationError(f"a text cannot be sent to the database, {reason(error)}: remove that character")
    if isinstance(error, PoolTimeout | TooManyRequests):
        return _exhausted(error)
    if _WRONG_CONNECTION.search(str(error)):
        return _connection(error)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return _unavailable(error)
    return StoreError(f"the database driver refused, {reason(error)}")


def reason(error: psycopg.Error) -> str:
    """Return what a driver's error says in one line, without passwords."""
    text = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
    return redact(_AROUND.sub("", text))


def redact(url: str) -> str:
    """Return a URL or conninfo string with its passwords hidden, fit for messages and logs."""
    return _PASSWORDS.sub(r"\1\2***", _CREDENTIALS.sub(r"\1:***", url))
