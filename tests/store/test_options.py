"""The store's options: limits of the pool, the configure hook, shared pools, and what a URL may say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from eventstore.store import (
    AsyncEventStore,
    ConfigurationError,
    Connection,
    EventStore,
    StoreSettings,
    StoreUnavailable,
)
from eventstore.store.connection import connection_arguments
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import wait_until


def test_how_long_to_wait_for_a_connection(database_url: str, schema: str) -> None:
    with EventStore(database_url, schema=schema, pool_size=1, timeout=600, queue_timeout=0.05) as store:
        with store._pool.connection(), pytest.raises(StoreUnavailable, match="raise pool_size, queue_timeout"):
            store.stream_heads(["a"])
        assert store.stream_heads(["a"]) == {}


def test_how_many_may_wait_for_a_connection(database_url: str, schema: str) -> None:
    with (
        EventStore(database_url, schema=schema, pool_size=1, queue_timeout=600, max_waiting=1) as store,
        ThreadPoolExecutor(1) as threads,
    ):
        with store._pool.connection():
            waiting = threads.submit(store.stream_heads, ["a"])
            pool = store._pool.lender._pool
            assert pool is not None
            wait_until(lambda: pool.get_stats().get("requests_waiting"), "a thread waits for the connection")
            with pytest.raises(StoreUnavailable, match="max_waiting"):
                store.stream_heads(["a"])
        assert waiting.result() == {}


LOCK_ALL = "select from {}.streams where stream_id = 0 for update"


def test_a_time_out_for_one_call(event_store: EventStore, open_connection: Callable[..., Connection]) -> None:
    """As the option `timeout` of each function in the original: on a connection of the caller's."""
    first, second = open_connection(), open_connection()
    with first.transaction():
        first.execute(SQL(LOCK_ALL).format(Identifier(event_store.schema)))
        with second.transaction(force_rollback=True):
            second.execute("set local statement_timeout = 50")
            with pytest.raises(StoreUnavailable, match="in time"):
                event_store.append_to_stream("a", 0, events(1), conn=second)
    assert event_store.stream_heads(["a"]) == {}


def test_a_connection_to_what_has_become_a_standby_is_given_up(database_url: str, schema: str) -> None:
    with EventStore(database_url, schema=schema, pool_size=1) as store:
        with store._pool.connection() as own:
            own.execute("set default_transaction_read_only = on")
        with pytest.raises(StoreUnavailable, match="read-only"):
            store.append_to_stream("a", 0, events(1))
        assert store.append_to_stream("a", 0, events(1)).position == 1


def test_asyncio_gives_up_a_connection_to_what_has_become_a_standby(database_url: str, schema: str) -> None:
    async def append() -> int:
        async with AsyncEventStore(database_url, schema=schema, pool_size=1) as store:
            async with store._pool.connection() as own:
                await own.execute("set default_transaction_read_only = on")
            with pytest.raises(StoreUnavailable, match="read-only"):
                await store.append_to_stream("a", 0, events(1))
            return (await store.append_to_stream("a", 0, events(1))).position

    assert asyncio.run(append()) == 1


@pytest.mark.parametrize("parameters", [{"": "x"}, {"no name": "x"}, {"a=b": 1}])
def test_names_of_parameters_are_checked(parameters: dict[str, str | int]) -> None:
    with pytest.raises(ConfigurationError, match="parameters name"):
        connection_arguments("postgresql://db/shop", "store", parameters=parameters)


def test_parameters_of_libpq_and_of_the_server(database_url: str, schema: str) -> None:
    given: dict[str, str | int] = {
        "application_name": "shop",
        "keepalives_idle": 7,
        "shop.note": "a b\\c",
        "statement_timeout": "2s",
    }
    url = make_conninfo(database_url, application_name="url", options="-c shop.other=7")
    with EventStore(url, schema=schema, parameters=given) as store:
        assert store.append_to_stream("a", 0, events(1)).position == 1
        with store._pool.connection() as own:
            names = ("application_name", "shop.note", "statement_timeout", "shop.other")
            found = [own.execute("select current_setting(%s)", [name]).fetchone() for name in names]
            assert found == [("shop",), ("a b\\c",), ("2s",), ("7",)]
            assert own.info.get_parameters()["keepalives_idle"] == "7"


@pytest.mark.parametrize(("name", "value"), [("sslmod", "require"), ("work_mem", "much")])
def test_a_setting_the_server_does_not_take_is_refused(database_url: str, name: str, value: str) -> None:
    with (
        EventStore(database_url, parameters={name: value}) as store,
        pytest.raises(ConfigurationError, match=name),
    ):
        store.stream_heads(["a"])


def test_sessions_have_the_settings_of_the_store(database_url: str, schema: str) -> None:
    """Also where they go another way: only the URL is another one."""
    with EventStore(
        "postgresql://nowhere.invalid/shop",
        schema=schema,
        timeout=3.0,
        parameters={"work_mem": "6MB"},
        session_mode_url=database_url,
    ) as store:
        with store.open_session("test") as session:
            names = ("statement_timeout", "work_mem", "application_name")
            found = [session.execute("select current_setting(%s)", [name]).fetchone() for name in names]
        assert found == [("3s",), ("6MB",), ("eventstore-runtime test",)]


@pytest.mark.parametrize("url", ["", "embedded:./x"])
def test_a_session_mode_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="session_mode_url"):
        EventStore("postgresql://db/shop", session_mode_url=url)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"queue_timeout": 0.0}, "queue_timeout 0.0"), ({"max_waiting": -1}, "max_waiting -1")],
)
def test_limits_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EventStore("postgresql://db/shop", **options)


def test_the_wait_is_the_timeout_unless_given() -> None:
    assert StoreSettings(url="postgresql://db/shop", timeout=3.0).longest_wait == 3.0
    assert StoreSettings(url="postgresql://db/shop", timeout=3.0, queue_timeout=1.0).longest_wait == 1.0


def test_configure_has_the_last_word(database_url: str, schema: str) -> None:
    seen: list[StoreSettings] = []

    def configure(settings: StoreSettings) -> StoreSettings:
        seen.append(settings)
        return replace(settings, url=database_url, schema=schema)

    with EventStore("postgresql://nowhere/shop", pool_size=2, configure=configure) as store:
        assert store.schema == schema
        assert store.stream_heads(["$all"]) == {"$all": 0}
    assert [(settings.url, settings.pool_size) for settings in seen] == [("postgresql://nowhere/shop", 2)]


@pytest.mark.parametrize(
    ("configure", "message"),
    [
        (lambda settings: None, "configure returned NoneType"),
        (lambda settings: replace(settings, pool_size=0), "pool_size 0"),
    ],
)
def test_what_configure_returns_is_checked(configure: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EventStore("postgresql://db/shop", configure=configure)


def test_settings_keep_every_option() -> None:
    settings = StoreSettings(
        url="postgresql://db/shop",
        schema="s",
        pool_size=3,
        timeout=1.0,
        connect_timeout=4.0,
        column_data_type="jsonb",
        prepare_threshold=None,
        queue_timeout=2.0,
        max_waiting=7,
        enable_hard_deletes=True,
        session_mode_url="postgresql://past/shop",
        parameters={"sslmode": "require"},
    )
    assert EventStore.from_settings(settings)._pool.settings == settings


def test_tenants_share_a_pool(database_url: str, schema: str, conn: Connection) -> None:
    with (
        fresh_schema(database_url) as other,
        fresh_schema(database_url, "jsonb") as third,
        EventStore(database_url, schema=schema, pool_size=1) as store,
        EventStore(database_url, schema=other, share_pool_with=store) as tenant,
        EventStore(database_url, schema=third, share_pool_with=tenant) as grandchild,
    ):
        for place, one in enumerate((tenant, store, grandchild)):
            one.append_to_stream("a", "no_stream", events(place))
        pids = set()
        for place, one in enumerate((tenant, store, grandchild)):
            assert [event.data for event in one.read_all_streams_forward()] == [place]
            with one._pool.connection() as own:
                pids.add(own.info.backend_pid)
        assert len(pids) == 1
        tenant.close()
        with pytest.raises(ConfigurationError, match="closed"):
            tenant.stream_heads(["a"])
        assert store.stream_heads(["a"]) == {"a": 1}
        store.close()
        with pytest.raises(ConfigurationError, match="shares its pool"):
            grandchild.stream_heads(["a"])


def test_a_tenant_works_where_the_owner_of_the_pool_has_no_tables(database_url: str, schema: str) -> None:
    with (
        EventStore(database_url, schema="nothing_here") as owner,
        EventStore(database_url, schema=schema, share_pool_with=owner) as tenant,
    ):
        assert tenant.append_to_stream("a", "no_stream", events(1)).position == 1


def test_only_stores_on_one_url_share_a_pool() -> None:
    with (
        EventStore("postgresql://ann:s3cret@db/shop") as store,
        pytest.raises(ConfigurationError, match="give both the same url") as refused,
    ):
        EventStore("postgresql://ann:s3cret@db/other", share_pool_with=store)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://ann:p%40ss%23w%2Ford%25@db:6543/shop",
            {"user": "ann", "password": "p@ss#w/ord%", "host": "db", "port": "6543", "dbname": "shop"},
        ),
        (
            "postgresql://db/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem&sslcert=c.pem&sslkey=k.pem",
            {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem", "sslcert": "c.pem", "sslkey": "k.pem"},
        ),
        ("postgresql:///shop?host=/var/run/postgresql&port=5433", {"host": "/var/run/postgresql", "port": "5433"}),
        ("postgresql://ann@%2Fvar%2Frun%2Fpostgresql/shop", {"host": "/var/run/postgresql", "dbname": "shop"}),
        ("host=/tmp dbname='my shop' user=ann", {"host": "/tmp", "dbname": "my shop", "user": "ann"}),
        ("postgresql://one:1,two:2/shop", {"host": "one,two", "port": "1,2"}),
        ("postgresql://[::1]/shop", {"host": "::1"}),
        ("postgres://ann@db/shop", {"user": "ann", "host": "db", "dbname": "shop"}),
        ("postgresql://db/shop?connect_timeout=99", {"connect_timeout": "99"}),
        ("postgresql://db/shop?target_session_attrs=any", {"target_session_attrs": "any"}),
    ],
)
def test_what_a_url_may_say(url: str, expected: dict[str, str]) -> None:
    arguments = connection_arguments(url, "store")
    assert {name: arguments[name] for name in expected} == expected


def test_without_a_database_libpq_chooses_its_default() -> None:
    assert "dbname" not in connection_arguments("postgresql://ann@db", "store")


def test_an_unknown_parameter_of_a_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="malformed"):
        connection_arguments("postgresql://ann:s3cret@db/shop?no_such=1", "store")
