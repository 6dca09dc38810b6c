"""The schema is the contract with commanded/eventstore, to the letter; and creating it is safe at any time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore.store import (
    ConfigurationError,
    Connection,
    EventData,
    EventStore,
    EventStoreError,
    Initialised,
    SchemaMismatch,
    SchemaMissing,
    check,
    initialise,
)
from eventstore.store.sql import DataType
from eventstore.tests.support.database import drop_schema, fresh_schema

pytestmark = pytest.mark.every_server

TIMESTAMP = "timestamp with time zone"

# (name, type, not null, default) of every column, in order; {schema} and {data} stand for what varies.
COLUMNS: dict[str, list[tuple[str, str, bool, str | None]]] = {
    "streams": [
        ("stream_id", "bigint", True, "nextval('{schema}.streams_stream_id_seq'::regclass)"),
        ("stream_uuid", "text", True, None),
        ("stream_version", "bigint", True, "0"),
        ("created_at", TIMESTAMP, True, "now()"),
        ("deleted_at", TIMESTAMP, False, None),
    ],
    "events": [
        ("event_id", "uuid", True, None),
        ("event_type", "text", True, None),
        ("causation_id", "uuid", False, None),
        ("correlation_id", "uuid", False, None),
        ("data", "{data}", True, None),
        ("metadata", "{data}", False, None),
        ("created_at", TIMESTAMP, True, "now()"),
    ],
    "stream_events": [
        ("event_id", "uuid", True, None),
        ("stream_id", "bigint", True, None),
        ("stream_version", "bigint", True, None),
        ("original_stream_id", "bigint", False, None),
        ("original_stream_version", "bigint", False, None),
    ],
    "subscriptions": [
        ("subscription_id", "bigint", True, "nextval('{schema}.subscriptions_subscription_id_seq'::regclass)"),
        ("stream_uuid", "text", True, None),
        ("subscription_name", "text", True, None),
        ("last_seen", "bigint", False, None),
        ("created_at", TIMESTAMP, True, "now()"),
    ],
    "snapshots": [
        ("source_uuid", "text", True, None),
        ("source_version", "bigint", True, None),
        ("source_type", "text", True, None),
        ("data", "{data}", True, None),
        ("metadata", "{data}", False, None),
        ("created_at", TIMESTAMP, True, "now()"),
    ],
    "schema_migrations": [
        ("major_version", "integer", True, None),
        ("minor_version", "integer", True, None),
        ("patch_version", "integer", True, None),
        ("migrated_at", TIMESTAMP, True, "now()"),
    ],
}

INDEXES = {
    "events_pkey": ("events", True, ["event_id"]),
    "ix_stream_events": ("stream_events", True, ["stream_id", "stream_version"]),
    "ix_streams_stream_uuid": ("streams", True, ["stream_uuid"]),
    "ix_subscriptions_stream_uuid_subscription_name": ("subscriptions", True, ["stream_uuid", "subscription_name"]),
    "schema_migrations_pkey": ("schema_migrations", True, ["major_version", "minor_version", "patch_version"]),
    "snapshots_pkey": ("snapshots", True, ["source_uuid"]),
    "stream_events_pkey": ("stream_events", True, ["event_id", "stream_id"]),
    "streams_pkey": ("streams", True, ["stream_id"]),
    "subscriptions_pkey": ("subscriptions", True, ["subscription_id"]),
}

FOREIGN_KEYS = {
    ("stream_events", "event_id", "events"),
    ("stream_events", "stream_id", "streams"),
    ("stream_events", "original_stream_id", "streams"),
}

# name -> (table, definition after the table's name)
TRIGGERS = {
    "event_notification": ("streams", "AFTER INSERT OR UPDATE", "ROW", "notify_events()"),
    "no_delete_events": ("events", "BEFORE DELETE", "STATEMENT", "event_store_delete('Cannot delete events')"),
    "no_delete_stream_events": (
        "stream_events",
        "BEFORE DELETE",
        "STATEMENT",
        "event_store_delete('Cannot delete stream events')",
    ),
    "no_delete_streams": ("streams", "BEFORE DELETE", "STATEMENT", "event_store_delete('Cannot delete streams')"),
    "no_update_events": ("events", "BEFORE UPDATE", "STATEMENT", "event_store_exception('Cannot update events')"),
    "no_update_stream_events": (
        "stream_events",
        "BEFORE UPDATE",
        "STATEMENT",
        "event_store_exception('Cannot update stream events')",
    ),
}


@pytest.fixture(params=["bytea", "jsonb"])
def typed_schema(request: pytest.FixtureRequest, database_url: str) -> Iterator[tuple[str, DataType]]:
    with fresh_schema(database_url, request.param) as name:
        yield name, request.param


@pytest.fixture
def empty_schema(conn: Connection) -> Iterator[str]:
    """The name of a schema that does not exist."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    drop_schema(conn, name)


def statement(text: str, schema: str) -> sql.Composed:
    return sql.SQL(text).format(s=sql.Identifier(schema))


def rows(conn: Connection, text: str, schema: str) -> list[Any]:
    return conn.execute(text.encode(), [schema]).fetchall()


def test_columns_are_those_of_the_contract(conn: Connection, typed_schema: tuple[str, DataType]) -> None:
    schema, data_type = typed_schema
    found: dict[str, list[Any]] = {}
    for table, *column in rows(
        conn,
        """select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                  pg_get_expr(d.adbin, d.adrelid)
             from pg_attribute a join pg_class c on c.oid = a.attrelid
             left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
            where c.relnamespace = %s::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
              and c.relname not like 'runtime%%'
            order by c.relname, a.attnum""",
        schema,
    ):
        found.setdefault(table, []).append(tuple(column))
    assert found == {
        table: [
            (name, kind.format(data=data_type), required, default and default.format(schema=schema))
            for name, kind, required, default in columns
        ]
        for table, columns in COLUMNS.items()
    }


def test_indexes_are_those_of_the_contract(conn: Connection, schema: str) -> None:
    found = rows(
        conn,
        """select i.relname, t.relname, x.indisunique,
                  array(select a.attname::text from unnest(x.indkey::int2[]) with ordinality k (n, place)
                          join pg_attribute a on a.attrelid = t.oid and a.attnum = k.n order by k.place)
             from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
            where t.relnamespace = %s::regnamespace and t.relname not like 'runtime%%'""",
        schema,
    )
    assert {name: tuple(rest) for name, *rest in found} == INDEXES


def test_primary_keys_are_those_of_the_contract(conn: Connection, schema: str) -> None:
    found = rows(
        conn,
        """select conname from pg_constraint c join pg_class t on t.oid = c.conrelid
            where c.contype = 'p' and c.connamespace = %s::regnamespace and t.relname not like 'runtime%%'""",
        schema,
    )
    assert {name for (name,) in found} == {name for name in INDEXES if name.endswith("_pkey")}


def test_sequences_belong_to_their_columns(conn: Connection, schema: str) -> None:
    """As those of `bigserial` do: they go with the table, and count in bigint."""
    found = rows(
        conn,
        """select s.relname, t.relname, a.attname, format_type(q.seqtypid, null)
             from pg_class s join pg_sequence q on q.seqrelid = s.oid
             join pg_depend d on d.objid = s.oid and d.deptype = 'a' and d.classid = 'pg_class'::regclass
             join pg_class t on t.oid = d.refobjid
             join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
            where s.relnamespace = %s::regnamespace""",
        schema,
    )
    assert set(found) == {
        ("streams_stream_id_seq", "streams", "stream_id", "bigint"),
        ("subscriptions_subscription_id_seq", "subscriptions", "subscription_id", "bigint"),
    }


def test_functions_are_those_of_the_contract(conn: Connection, schema: str) -> None:
    """By name and kind; what they do is tested below, and in test_notifications.py."""
    found = rows(
        conn,
        """select p.proname, l.lanname, format_type(p.prorettype, null), p.pronargs
             from pg_proc p join pg_language l on l.oid = p.prolang
            where p.pronamespace = %s::regnamespace and p.proname not like 'runtime%%'""",
        schema,
    )
    names = ("event_store_delete", "event_store_exception", "notify_events")
    assert set(found) == {(name, "plpgsql", "trigger", 0) for name in names}


def test_foreign_keys_are_those_of_the_contract(conn: Connection, schema: str) -> None:
    found = rows(
        conn,
        """select t.relname, a.attname, f.relname
             from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_class f on f.oid = c.confrelid
             join pg_attribute a on a.attrelid = t.oid and a.attnum = c.conkey[1]
            where c.contype = 'f' and c.connamespace = %s::regnamespace and t.relname not like 'runtime%%'""",
        schema,
    )
    assert set(found) == FOREIGN_KEYS


def test_triggers_are_those_of_the_contract(conn: Connection, schema: str) -> None:
    found = rows(
        conn,
        """select g.tgname, t.relname, pg_get_triggerdef(g.oid)
             from pg_trigger g join pg_class t on t.oid = g.tgrelid
            where not g.tgisinternal and t.relnamespace = %s::regnamespace""",
        schema,
    )
    assert {name: definition for name, _, definition in found} == {
        name: f"CREATE TRIGGER {name} {when} ON {schema}.{table} FOR EACH {each} EXECUTE FUNCTION {schema}.{function}"
        for name, (table, when, each, function) in TRIGGERS.items()
    }


def test_a_fresh_schema_holds_the_all_stream_and_its_version(conn: Connection, schema: str) -> None:
    streams = conn.execute(statement("select stream_id, stream_uuid, stream_version from {s}.streams", schema))
    assert streams.fetchall() == [(0, "$all", 0)]
    versions = conn.execute(
        statement("select major_version, minor_version, patch_version from {s}.schema_migrations", schema)
    )
    assert versions.fetchall() == [(1, 3, 2)]
    next_id = conn.execute(
        statement("insert into {s}.streams (stream_uuid) values ('first') returning stream_id", schema)
    ).fetchone()
    assert next_id == (1,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("update {s}.events set event_type = ''", "EventStore: Cannot update events"),
        ("update {s}.stream_events set stream_version = 0", "EventStore: Cannot update stream events"),
    ],
)
def test_updates_always_raise(conn: Connection, schema: str, change: str, message: str) -> None:
    for setting in ("eventstore.enable_hard_deletes", "eventstore.reset"):
        conn.execute(f"set {setting} = 'on'".encode())
    with pytest.raises(psycopg.errors.RaiseException, match=message):
        conn.execute(statement(change, schema))


@pytest.mark.parametrize(
    ("table", "message"),
    [("events", "events"), ("stream_events", "stream events"), ("streams", "streams")],
)
def test_deletes_raise_unless_hard_deletes_are_enabled(
    event_store: EventStore, conn: Connection, schema: str, table: str, message: str
) -> None:
    change = statement(f"delete from {{s}}.{table} where false", schema)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match=f"EventStore: Cannot delete {message}"):
        conn.execute(change)
    for setting in ("eventstore.enable_hard_deletes", "eventstore.reset"):
        conn.execute(f"set {setting} = 'off'".encode())
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            conn.execute(change)
        conn.execute(f"set {setting} = 'on'".encode())
        conn.execute(change)
        conn.execute(f"reset {setting}".encode())


def test_a_hard_delete_removes_an_event(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("a", 0, [EventData("E", 1), EventData("E", 2)])
    with conn.transaction():
        conn.execute("set local eventstore.enable_hard_deletes = 'on'")
        gone = conn.execute(
            statement("delete from {s}.stream_events where original_stream_version = 1 returning event_id", schema)
        ).fetchall()
        conn.execute(statement("delete from {s}.events where event_id = any (%s)", schema), [[row[0] for row in gone]])
    assert [event.event_number for event in event_store.read_all_streams_forward()] == [2]


def test_initialise_says_what_it_did_and_repeats(conn: Connection, empty_schema: str) -> None:
    assert initialise(conn, empty_schema, "jsonb") == Initialised(True, True, True, "jsonb")
    assert initialise(conn, empty_schema, "bytea") == Initialised(False, False, False, "jsonb")
    assert check(conn, empty_schema) == "jsonb"


def test_initialise_adds_the_runtime_tables_to_a_database_of_the_elixir_library(conn: Connection, schema: str) -> None:
    for table in ("runtime_migrations", "runtime_owners", "runtime_done_events"):
        conn.execute(statement(f"drop table {{s}}.{table}", schema))
    assert check(conn, schema, runtime=False) == "bytea"
    with pytest.raises(SchemaMissing, match=r"runtime_owners.*eventstore-runtime init"):
        check(conn, schema)
    assert initialise(conn, schema) == Initialised(False, False, True, "bytea")
    assert check(conn, schema) == "bytea"


def test_many_nodes_may_initialise_at_once(
    open_connection: Callable[..., Connection], conn: Connection, empty_schema: str
) -> None:
    connections = [open_connection() for _ in range(6)]
    results: list[Initialised | EventStoreError] = []

    def initialise_one(own: Connection) -> None:
        try:
            results.append(initialise(own, empty_schema))
        except EventStoreError as error:
            results.append(error)

    threads = [threading.Thread(target=initialise_one, args=(own,)) for own in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=repr) == sorted(
        [Initialised(True, True, True, "bytea")] + [Initialised(False, False, False, "bytea")] * 5, key=repr
    )


def test_a_failed_initialise_leaves_nothing(conn: Connection, empty_schema: str) -> None:
    conn.execute(statement("create schema {s}", empty_schema))
    conn.execute(statement("create table {s}.events (id int)", empty_schema))
    with pytest.raises(SchemaMismatch, match="not schema_migrations, snapshots"):
        initialise(conn, empty_schema)
    tables = rows(conn, "select relname from pg_class where relnamespace = %s::regnamespace", empty_schema)
    assert tables == [("events",)]


def test_a_missing_schema_names_the_remedy(conn: Connection) -> None:
    with pytest.raises(SchemaMissing, match=r"schema 'nowhere' .*eventstore-runtime init"):
        check(conn, "nowhere")


def test_a_store_without_schema_says_so(database_url: str) -> None:
    with EventStore(database_url, schema="nowhere") as store, pytest.raises(SchemaMissing, match="nowhere"):
        store.read_all_streams_forward()


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ((1, 1, 0), "1.1.0.*mix event_store.migrate"),
        ((1, 2, 0), "1.2.0.*eventstore-runtime migrate"),
        ((1, 10, 0), "1.10.0.*upgrade this package"),
    ],
)
def test_other_versions_are_refused(conn: Connection, schema: str, version: tuple[int, int, int], remedy: str) -> None:
    conn.execute(statement("delete from {s}.schema_migrations", schema))
    conn.execute(statement("insert into {s}.schema_migrations values (%s, %s, %s)", schema), version)
    for attempt in (check, initialise):
        with pytest.raises(SchemaMismatch, match=remedy):
            attempt(conn, schema)


def test_a_newer_runtime_is_refused(conn: Connection, schema: str) -> None:
    conn.execute(statement("insert into {s}.runtime_migrations values (99)", schema))
    with pytest.raises(SchemaMismatch, match="version 99"):
        check(conn, schema)


def test_a_role_without_rights_gets_a_readable_error(conn: Connection, empty_schema: str) -> None:
    role = f"role_{empty_schema}"
    conn.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
    try:
        conn.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        with pytest.raises(ConfigurationError, match="lacks a right, permission denied for database"):
            initialise(conn, empty_schema)
    finally:
        conn.execute("reset role")
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("column_data_type", ["json", ""])
def test_unknown_column_types_are_refused(conn: Connection, empty_schema: str, column_data_type: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"bytea.*jsonb"):
        initialise(conn, empty_schema, column_data_type)
