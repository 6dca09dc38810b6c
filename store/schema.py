"""Creating the schema and checking that it is one this release works with.

The façade checks before its first statement, `eventstore-runtime init` creates. The tables are `sql/schema.sql` (the
contract with commanded/eventstore) and `sql/runtime_schema.sql` (the runtime's own).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import msgspec

from .connection import Connection, run, translated
from .errors import EventStoreError, SchemaMismatch, SchemaMissing
from .notifications import check_schema_name
from .operation import Operation, Query
from .settings import check_data_type
from .sql import DataType, Statements

#: The version of commanded/eventstore's schema that this release reads and writes.
SCHEMA_VERSION = (1, 3, 2)
#: The older versions that `migrations.migrate` brings to it, oldest first.
MIGRATED_FROM = ((1, 2, 0), (1, 3, 0))
#: The version of the runtime's own tables.
RUNTIME_VERSION = 2

_TABLES = frozenset({"streams", "events", "stream_events", "subscriptions", "snapshots", "schema_migrations"})
_RUNTIME_TABLES = frozenset(
    {
        "runtime_migrations",
        "runtime_owners",
        "runtime_subscriptions",
        "runtime_attempts",
        "runtime_parked_events",
        "runtime_done_events",
    }
)


class Initialised(msgspec.Struct, frozen=True):
    """What `initialise` did.

    Attributes:
        created_schema: The schema was not there before.
        created_tables: The event store's tables were not there before.
        created_runtime_tables: The runtime's own tables were not there before.
        column_data_type: The type of the data columns, "bytea" or "jsonb"; that of the existing tables wins.
    """

    created_schema: bool
    created_tables: bool
    created_runtime_tables: bool
    column_data_type: DataType


class _Found(NamedTuple):
    exists: bool
    tables: frozenset[str]
    data_type: str | None


def initialise(conn: Connection, schema: str = "public", column_data_type: DataType = "bytea") -> Initialised:
    """Create whatever is missing of the schema and its tables; many nodes may do so at the same time.

    Args:
        conn: A connection; the work is one transaction, or a savepoint in the caller's.
        schema: The schema.
        column_data_type: The type of the data columns of a new schema.

    Raises:
        SchemaMismatch: The schema holds something else, or another version.
        ConfigurationError: The role may not create, or an argument is of no use.
    """
    check_schema_name(schema)
    check_data_type(column_data_type)
    with translated(), conn.transaction():
        return run(conn, initialise_schema(schema, column_data_type))


def check(conn: Connection, schema: str = "public", *, runtime: bool = True) -> DataType:
    """Check that the schema is one this release works with.

    Args:
        conn: A connection.
        schema: The schema.
        runtime: Whether the runtime's own tables are needed too; appending and reading do without.

    Returns:
        The type of the data columns.

    Raises:
        SchemaMissing: The tables are not there.
        SchemaMismatch: They are of another version, or something else.
    """
    return run(conn, check_schema(schema, runtime=runtime))


def initialise_schema(schema: str, column_data_type: DataType) -> Operation[Initialised]:
    """Create what is missing; run it in a transaction. See `initialise`."""
    statements = Statements(schema, column_data_type)
    yield Query(statements["init_lock"], (schema,))
    found = yield from _inspect(schema)
    if not found.exists:
        yield Query(statements["create_schema"])
    if not found.tables & _TABLES:
        yield Query(statements["schema"], is_script=True)
        yield Query(statements["notify_events"], is_script=True)
    data_type = column_data_type if not found.tables & _TABLES else (yield from check_schema(schema, runtime=False))
    yield Query(statements["runtime_schema"], is_script=True)
    return Initialised(not found.exists, not found.tables & _TABLES, not found.tables >= _RUNTIME_TABLES, data_type)


def check_schema(schema: str, *, runtime: bool = True) -> Operation[DataType]:
    """Check the schema; see `check`."""
    found = yield from _inspect(schema)
    problem = _problem(schema, found, runtime)
    if problem is not None:
        raise problem
    statements = Statements(schema)
    versions = yield Query(statements["schema_version"])
    problem = version_problem(schema, versions[0] if versions else (0, 0, 0))
    if problem is not None:
        raise problem
    if runtime:
        yield from _check_runtime_version(statements)
    return cast("DataType", found.data_type)


def _inspect(schema: str) -> Operation[_Found]:
    rows = yield Query(Statements(schema)["inspect_schema"], (schema,))
    exists, tables, data_type = rows[0]
    return _Found(exists, frozenset(tables), data_type)


def _problem(schema: str, found: _Found, runtime: bool) -> EventStoreError | None:
    """Return what is wrong with the tables of a schema, None when nothing is."""
    if not found.exists:
        return SchemaMissing(schema, "the schema does not exist")
    if not found.tables & _TABLES:
        return SchemaMissing(schema, "none of its tables exists")
    missing = _TABLES - found.tables
    if missing:
        names = ", ".join(sorted(missing))
        return SchemaMismatch(schema, f"it has tables like the store's, but not {names}; choose another schema")
    if found.data_type not in ("bytea", "jsonb"):
        return SchemaMismatch(
            schema, f"events.data is of type {found.data_type}, not bytea or jsonb; choose another schema"
        )
    missing = _RUNTIME_TABLES - found.tables
    if runtime and missing:
        return SchemaMissing(schema, "the runtime's tables are missing: " + ", ".join(sorted(missing)))
    return None


def version_problem(schema: str, version: tuple[int, ...]) -> EventStoreError | None:
    """Return what is wrong with the version of a schema, and the remedy; None when nothing is."""
    if version == SCHEMA_VERSION:
        return None
    found, needed = (".".join(map(str, numbers)) for numbers in (version, SCHEMA_VERSION))
    if version > SCHEMA_VERSION:
        return SchemaMismatch(schema, f"it is at version {found}, this release knows {needed}; upgrade this package")
    if version in MIGRATED_FROM:
        return SchemaMismatch(schema, f"it is at version {found}, {needed} is needed; run `eventstore-runtime migrate`")
    oldest = ".".join(map(str, MIGRATED_FROM[0]))
    return SchemaMismatch(
        schema,
        f"it is at version {found}, older than {oldest}; run `mix event_store.migrate` of commanded/eventstore first",
    )


def _check_runtime_version(statements: Statements) -> Operation[None]:
    rows = yield Query(statements["runtime_version"])
    version = rows[0][0]
    if version is None or version < RUNTIME_VERSION:
        raise SchemaMissing(statements.schema, "the runtime's tables are of an older version")
    if version > RUNTIME_VERSION:
        raise SchemaMismatch(
            statements.schema,
            f"the runtime's tables are at version {version}, this release knows {RUNTIME_VERSION}; "
            "upgrade this package",
        )
