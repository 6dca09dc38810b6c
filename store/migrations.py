"""Tasks around a schema's life: create the database, migrate an older schema, say what was migrated, drop it all.

Mirrors the `mix event_store.*` tasks of commanded/eventstore; `schema.initialise` is the remaining one. Each is safe
to run again, and from many nodes at once.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .connection import Connection, connect, connection_arguments, fetch, run, translated
from .errors import ConfigurationError, Conflict, SchemaMissing
from .notifications import check_schema_name
from .operation import Operation, Query
from .schema import MIGRATED_FROM, SCHEMA_VERSION, version_problem
from .sql import Statements
from .translate import reason, redact

Version = tuple[int, int, int]

_MAINTENANCE = ("postgres", "template1")


class Migration(msgspec.Struct, frozen=True):
    """One version of the schema.

    Attributes:
        version: Such as "1.3.2".
        state: "completed", or "pending" where `migrate` would bring the schema to it.
        migrated_at: When it was reached, in UTC, or None.
    """

    version: str
    state: str
    migrated_at: datetime | None


def create_database(url: str, *, default_database: str | None = None) -> bool:
    """Create the database that a URL names, unless it is there. Mirrors `mix event_store.create`.

    Args:
        url: A PostgreSQL URL or conninfo string; its role needs the right to create databases where it is missing.
        default_database: The database to connect to meanwhile, where the server lets nobody into "postgres" and
            "template1", which None tries in turn. Mirrors `default_database`.

    Returns:
        True when it was created, False when it was there.

    Raises:
        ConfigurationError: The URL names no database, or the role may not create one.
        StoreUnavailable: The server cannot be reached.
    """
    name = _database_of(url)
    if _can_be_used(url):
        return False
    with _connect_to_server(url, default_database) as conn, translated():
        try:
            conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False
    return True


def drop_database(url: str, *, default_database: str | None = None) -> bool:
    """Drop the database that a URL names, with all that is in it. Mirrors `mix event_store.drop`.

    Args:
        url: A PostgreSQL URL or conninfo string; its role must own the database.
        default_database: The database to connect to meanwhile, as for `create_database`.

    Returns:
        True when it was dropped, False when it was not there.

    Raises:
        ConfigurationError: The URL names no database, or the role may not drop it.
        Conflict: Somebody is connected to it.
        StoreUnavailable: The server cannot be reached.
    """
    name = _database_of(url)
    with _connect_to_server(url, default_database) as conn, translated():
        try:
            conn.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
        except psycopg.errors.InvalidCatalogName:
            return False
        except psycopg.errors.ObjectInUse as error:
            raise Conflict(f"database {name!r} is in use, {reason(error)}: stop whatever is connected to it") from error
    return True


def migrate(conn: Connection, schema: str = "public") -> list[str]:
    """Bring an older schema to the version of this release, under the lock of commanded/eventstore's migrations.

    Args:
        conn: A connection; the work is one transaction.
        schema: The schema.

    Returns:
        The versions reached, oldest first; empty when there was nothing to do.

    Raises:
        SchemaMissing: The tables are not there.
        SchemaMismatch: They are of a newer version, or older than this release can migrate.
    """
    check_schema_name(schema)
    with translated(), conn.transaction():
        return run(conn, migrate_schema(schema))


def migrations(conn: Connection, schema: str = "public") -> list[Migration]:
    """List the versions the schema has been through, and those it lacks. Mirrors `mix event_store.migrations`.

    Raises:
        SchemaMissing: The tables are not there.
    """
    check_schema_name(schema)
    return run(conn, list_migrations(schema))


def drop(conn: Connection, schema: str = "public") -> bool:
    """Drop the tables and functions of a store, with all events and checkpoints. Mirrors `mix event_store.drop`.

    What else is in the schema stays, and so does the database; a schema that is empty afterwards goes too, unless it
    is "public" or another role's.

    Returns:
        True when there was something to drop.

    Raises:
        Conflict: Something in the database still depends on a table, such as a view.
    """
    check_schema_name(schema)
    with translated(), conn.transaction():
        statements = Statements(schema)
        fetch(conn, Query(statements["init_lock"], (schema,)))
        exists, tables, _ = fetch(conn, Query(statements["inspect_schema"], (schema,)))[0]
        if not exists:
            return False
        fetch(conn, Query(statements["drop"], is_script=True))
        if schema != "public":
            _drop_empty(conn, schema)
        return bool(tables)


def migrate_schema(schema: str) -> Operation[list[str]]:
    """Migrate; run it in a transaction. See `migrate`."""
    statements = Statements(schema)
    yield Query(statements["migration_lock"])
    before = yield from _newest(statements)
    if before == SCHEMA_VERSION:
        return []
    if before not in MIGRATED_FROM:
        problem = version_problem(schema, before)
        assert problem is not None
        raise problem
    reached = [version for version in (*MIGRATED_FROM, SCHEMA_VERSION) if version > before]
    yield Query(statements["notify_events"], is_script=True)
    for version in reached:
        yield Query(statements["record_migration"], version)
    return [_text(version) for version in reached]


def list_migrations(schema: str) -> Operation[list[Migration]]:
    """List the versions; see `migrations`."""
    statements = Statements(schema)
    rows = yield Query(statements["migrations"])
    done = [(row[:3], row[3].astimezone(UTC)) for row in rows]
    newest = max((version for version, _ in done), default=(0, 0, 0))
    completed = [Migration(_text(version), "completed", at) for version, at in done]
    pending = [v for v in (*MIGRATED_FROM, SCHEMA_VERSION) if v > newest]
    return completed + [Migration(_text(version), "pending", None) for version in pending]


def _newest(statements: Statements) -> Operation[Version]:
    rows = yield Query(statements["schema_version"])
    if not rows:
        raise SchemaMissing(statements.schema, "it records no version")
    major, minor, patch = rows[0]
    return (major, minor, patch)


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _database_of(url: str) -> str:
    given = connection_arguments(url, "create")
    name = given.get("dbname") or given.get("user")
    if not name:
        raise ConfigurationError(f"the store's url {redact(url)!r} names no database: write it at the end, as in …/app")
    return str(name)


def _can_be_used(url: str) -> bool:
    """Tell whether the database is there already; whatever else is wrong with the URL shows when one is created."""
    try:
        connect(url, "create").close()
    except ConfigurationError:
        return False
    return True


def _connect_to_server(url: str, default_database: str | None) -> Connection:
    """Connect to a database that the server has anyway, with the rights of the URL."""
    failure: ConfigurationError | None = None
    for name in _MAINTENANCE if default_database is None else (default_database,):
        try:
            return connect(make_conninfo(url, dbname=name), "create")
        except ConfigurationError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _drop_empty(conn: Connection, schema: str) -> None:
    try:
        with conn.transaction():
            conn.execute(sql.SQL("drop schema {}").format(sql.Identifier(schema)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege):
        # Somebody else's tables are in it, or it is somebody else's.
        return
