"""Older schemas arrive at the same place as a new one, once, however many try; and all of it can go again."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.store import Connection, EventStore, connect, initialise
from eventstore.store.errors import ConfigurationError, Conflict, SchemaMismatch, SchemaMissing
from eventstore.store.listening import listen
from eventstore.store.migrations import create_database, drop, drop_database, migrate, migrations
from eventstore.store.notifications import channel
from eventstore.store.schema import check
from eventstore.tests.support.database import drop_schema
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together

pytestmark = pytest.mark.every_server

# What the triggers of 1.2.0 and 1.3.0 did, in our words: once for each updated row; then also for inserted ones, with
# a first version that was wrong for them.
OLDER = {
    "1.2.0": """
        create or replace function {schema}.notify_events() returns trigger language plpgsql as $$
        begin
          perform pg_notify(tg_table_schema || '.events', concat_ws(',', new.stream_uuid, new.stream_id,
                            old.stream_version + 1, new.stream_version));
          return null;
        end $$;
        drop trigger event_notification on {schema}.streams;
        create trigger event_notification after update on {schema}.streams
          for each row execute function {schema}.notify_events();
    """,
    "1.3.0": """
        create or replace function {schema}.notify_events() returns trigger language plpgsql as $$
        begin
          perform pg_notify(tg_table_schema || '.events', concat_ws(',', new.stream_uuid, new.stream_id,
                            coalesce(old.stream_version, 0) + 1, new.stream_version));
          return null;
        end $$;
    """,
}
DEFINITIONS = """
    select p.proname, p.prosrc from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where n.nspname = %(schema)s
    union all
    select t.tgname, replace(pg_get_triggerdef(t.oid), quote_ident(%(schema)s), 'SCHEMA')
      from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = %(schema)s and not t.tgisinternal
     order by 1
"""


@pytest.fixture(params=sorted(OLDER))
def older(request: pytest.FixtureRequest, conn: Connection, schema: str) -> str:
    """A schema as a release of that version left it; the version."""
    version: str = request.param
    conn.execute(sql.SQL(OLDER[version]).format(schema=sql.Identifier(schema)))
    numbers = sql.SQL(", ").join(map(sql.Literal, version.split(".")))
    table = sql.Identifier(schema, "schema_migrations")
    conn.execute(sql.SQL("delete from {}").format(table))
    conn.execute(sql.SQL("insert into {} values ({})").format(table, numbers))
    return version


def states(conn: Connection, schema: str) -> list[tuple[str, str]]:
    return [(migration.version, migration.state) for migration in migrations(conn, schema)]


def test_an_older_schema_is_refused_until_it_is_migrated(older: str, conn: Connection, schema: str) -> None:
    with pytest.raises(SchemaMismatch, match=f"{older}.*eventstore-runtime migrate"):
        check(conn, schema)
    assert migrate(conn, schema) == (["1.3.0", "1.3.2"] if older == "1.2.0" else ["1.3.2"])
    assert check(conn, schema) == "bytea"
    assert migrate(conn, schema) == []


def test_it_arrives_where_a_new_schema_is(older: str, conn: Connection, schema: str) -> None:
    migrate(conn, schema)
    fresh = f"{schema}_fresh"
    initialise(conn, fresh)
    try:
        migrated, new = (conn.execute(DEFINITIONS, {"schema": name}).fetchall() for name in (schema, fresh))
        assert migrated == new
        assert len(new) == 10
    finally:
        drop_schema(conn, fresh)


def test_appends_are_announced_as_the_contract_says(
    older: str, conn: Connection, schema: str, event_store: EventStore
) -> None:
    migrate(conn, schema)
    listen(conn, [channel(schema)])
    event_store.append_to_stream("a", 0, events(1, 2))
    taken = [notification.payload for notification in conn.notifies(timeout=60, stop_after=2)]
    assert taken == ["a,1,1,2", "$all,0,1,2"]


def test_the_migrations_tell_what_is_done_and_what_is_not(older: str, conn: Connection, schema: str) -> None:
    lacking = [(version, "pending") for version in ("1.3.0", "1.3.2") if version > older]
    assert states(conn, schema) == [(older, "completed"), *lacking]
    migrate(conn, schema)
    assert {state for _, state in states(conn, schema)} == {"completed"}
    assert all(migration.migrated_at is not None for migration in migrations(conn, schema))


def test_many_migrate_at_once_and_one_does_it(
    older: str, schema: str, conn: Connection, open_connection: Callable[..., Connection]
) -> None:
    connections = [open_connection() for _ in range(6)]
    done: list[list[str]] = []
    threads = [threading.Thread(target=lambda c=c: done.append(migrate(c, schema))) for c in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, done)) == [0] * 5 + [2 if older == "1.2.0" else 1]


def test_a_schema_too_old_or_too_new_is_left_alone(conn: Connection, schema: str) -> None:
    table = sql.Identifier(schema, "schema_migrations")
    for version, said in (((1, 1, 0), "older than 1.2.0"), ((2, 0, 0), "upgrade this package")):
        conn.execute(sql.SQL("delete from {}").format(table))
        conn.execute(sql.SQL("insert into {} values (%s, %s, %s)").format(table), version)
        with pytest.raises(SchemaMismatch, match=said):
            migrate(conn, schema)
        assert conn.execute(sql.SQL("select count(*) from {}").format(table)).fetchone() == (1,)


def test_without_tables_there_is_nothing_to_migrate(conn: Connection) -> None:
    for task in (migrate, migrations):
        with pytest.raises(SchemaMissing):
            task(conn, "not_there")


# Drop


@pytest.fixture
def own_schema(conn: Connection) -> Iterator[str]:
    name = f'drop "{uuid.uuid4().hex[:8]}'
    initialise(conn, name)
    yield name
    drop_schema(conn, name)


def exists(conn: Connection, schema: str) -> bool:
    return conn.execute("select from pg_namespace where nspname = %s", (schema,)).fetchone() is not None


def test_drop_takes_all_of_it_and_the_empty_schema(conn: Connection, own_schema: str) -> None:
    assert drop(conn, own_schema)
    assert not exists(conn, own_schema)
    assert not drop(conn, own_schema), "again: there is nothing left"
    initialise(conn, own_schema)
    assert check(conn, own_schema) == "bytea"


def test_drop_leaves_what_is_not_the_stores(conn: Connection, own_schema: str) -> None:
    mine = sql.Identifier(own_schema, "mine")
    conn.execute(sql.SQL("create table {} (n int)").format(mine))
    assert drop(conn, own_schema)
    assert exists(conn, own_schema)
    conn.execute(sql.SQL("select * from {}").format(mine))
    with pytest.raises(SchemaMissing):
        check(conn, own_schema)


def test_drop_from_many_nodes_at_once(conn: Connection, own_schema: str, open_connection: Any) -> None:
    nodes = [open_connection() for _ in range(4)]
    for _ in range(10):
        initialise(conn, own_schema)
        assert sorted(together(lambda node: drop(node, own_schema), nodes)) == [False, False, False, True]


def test_drop_leaves_a_schema_that_is_another_roles(conn: Connection, own_schema: str, database_url: str) -> None:
    role = sql.Identifier(f"dropper_{own_schema}")
    conn.execute(sql.SQL("create role {} superuser login").format(role))
    try:
        with connect(make_conninfo(database_url, user=f"dropper_{own_schema}")) as dropper:
            drop(conn, own_schema)
            conn.execute(sql.SQL("create schema {}").format(sql.Identifier(own_schema)))
            initialise(dropper, own_schema)
            conn.execute(sql.SQL("alter role {} nosuperuser").format(role))
            conn.execute(sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(own_schema), role))
            assert drop(dropper, own_schema)
        assert exists(conn, own_schema)
    finally:
        drop_schema(conn, own_schema)
        conn.execute(sql.SQL("drop owned by {0}; drop role {0}").format(role))


def test_drop_is_refused_whole_while_something_depends_on_a_table(conn: Connection, own_schema: str) -> None:
    view = sql.SQL("create view {} as select * from {}")
    conn.execute(view.format(sql.Identifier(own_schema, "seen"), sql.Identifier(own_schema, "events")))
    with pytest.raises(Exception, match="depend") as caught:
        drop(conn, own_schema)
    assert not isinstance(caught.value, Conflict)
    assert check(conn, own_schema) == "bytea"


# The database


def test_the_database_is_created_once(database_url: str, conn: Connection) -> None:
    name = f'new "{uuid.uuid4().hex[:8]}'
    url = make_conninfo(database_url, dbname=name)
    results: list[bool] = []
    try:
        threads = [threading.Thread(target=lambda: results.append(create_database(url))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [False, False, False, True]
        with connect(url) as fresh:
            initialise(fresh)
            assert check(fresh) == "bytea"
    finally:
        conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def test_the_database_to_connect_to_meanwhile_is_chosen(database_url: str, conn: Connection) -> None:
    """As with a host that lets nobody into `postgres`: here, one that does not exist stands for it."""
    names = [f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("default", "new")]
    default, url = names[0], make_conninfo(database_url, dbname=names[1])
    try:
        with pytest.raises(ConfigurationError, match=f"{default}.* does not exist"):
            create_database(url, default_database=default)
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(default)))
        with connect(make_conninfo(database_url, dbname=default)) as meanwhile:
            # Who is connected to it cannot drop it, so that a drop through it shows which one was used.
            assert create_database(url, default_database=default)
            with pytest.raises(Conflict, match="in use"):
                drop_database(make_conninfo(database_url, dbname=default))
            assert meanwhile.execute("select 1").fetchone() == (1,)
        assert drop_database(url, default_database=default)
    finally:
        for name in names:
            conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def test_a_database_is_dropped_once(database_url: str) -> None:
    url = make_conninfo(database_url, dbname=f'old "{uuid.uuid4().hex[:8]}')
    create_database(url)
    with connect(url), pytest.raises(Conflict, match=r"in use.*stop whatever is connected"):
        drop_database(url)
    assert drop_database(url)
    assert not drop_database(url)


def test_a_role_that_may_not_create_is_told_so(database_url: str, conn: Connection) -> None:
    role = f"role_{uuid.uuid4().hex[:8]}"
    conn.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
    try:
        with pytest.raises(ConfigurationError, match=r"right|refused"):
            create_database(make_conninfo(database_url, user=role, dbname="not_allowed"))
    finally:
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def test_a_role_that_may_not_create_can_use_what_is_there(database_url: str, conn: Connection) -> None:
    """As on a hosted server: the database was made by others, and `postgres` may be closed to the role."""
    role, name = (f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("role", "there"))
    conn.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(role)))
    try:
        conn.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(role)))
        url = make_conninfo(database_url, user=role, password="secret", dbname=name)
        assert not create_database(url)
        assert not create_database(url, default_database="nobody_gets_in_here")
    finally:
        conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
