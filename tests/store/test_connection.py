"""Connections: how sessions are set up, how failures are told, and how the store's pool survives them."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore.store import (
    ConfigurationError,
    Connection,
    EventStore,
    EventStoreError,
    InMemoryEventStore,
    StoreSettings,
    StoreUnavailable,
    connect,
    run,
)
from eventstore.store.connection import connection_arguments
from eventstore.store.operation import Operation, Query
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events


def setting(conn: Connection, name: str) -> Any:
    row = conn.execute("select current_setting(%s)", [name]).fetchone()
    assert row is not None
    return row[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_session_is_set_up(database_url: str) -> None:
    with connect(database_url, "listener", timeout=3.5, idle_in_transaction_timeout=60.0) as conn:
        assert conn.autocommit
        assert setting(conn, "application_name") == "eventstore-runtime listener"
        assert setting(conn, "statement_timeout") == "3500ms"
        assert setting(conn, "idle_in_transaction_session_timeout") == "1min"
    with connect(database_url, timeout=None) as conn:
        assert setting(conn, "statement_timeout") == "0"


def test_what_the_url_says_wins(database_url: str) -> None:
    url = make_conninfo(database_url, application_name="mine", options="-c statement_timeout=7s -c work_mem=5MB")
    with connect(url, timeout=3.5) as conn:
        assert setting(conn, "application_name") == "mine"
        assert setting(conn, "statement_timeout") == "7s"
        assert setting(conn, "work_mem") == "5MB"


def test_a_dead_peer_is_noticed() -> None:
    arguments = connection_arguments("postgresql://db/shop?keepalives_idle=99", "store", connect_timeout=0.5)
    assert arguments["keepalives_idle"] == "99"
    assert arguments["tcp_user_timeout"] == 25_000
    assert "-c tcp_keepalives_idle=10 " in arguments["options"]
    given = connection_arguments("postgresql://db/shop?options=-c%20tcp_keepalives_idle%3D7", "store")["options"]
    assert given.index("tcp_keepalives_idle=10") < given.index("tcp_keepalives_idle=7"), "the last one counts"
    assert arguments["target_session_attrs"] == "read-write"
    assert arguments["connect_timeout"] == 2


@pytest.mark.parametrize(
    "url", ["nonsense", "postgresql://ann:s3cret@db:port/x", "postgres//ann:s3cret@db", "password='s3cret"]
)
def test_a_malformed_url(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        connect(url)
    assert "s3cret" not in str(refused.value)


def test_an_embedded_url_must_be_opened_first() -> None:
    with pytest.raises(ConfigurationError, match="open_url"):
        connect("embedded:./x")


def test_nobody_listens() -> None:
    url = f"postgresql://ann:s3cret@127.0.0.1:{free_port()}/shop"
    with pytest.raises(StoreUnavailable, match="refused") as refused:
        connect(url)
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_database(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"database .nowhere. does not exist"):
        connect(make_conninfo(database_url, dbname="nowhere"))


def test_a_statement_that_takes_too_long(database_url: str) -> None:
    def sleep() -> Operation[None]:
        yield Query("select pg_sleep($1::int)", (60,))

    with connect(database_url, timeout=0.05) as conn, pytest.raises(StoreUnavailable, match="in time"):
        run(conn, sleep())


def test_an_answer_that_does_not_come_closes_the_connection(database_url: str) -> None:
    with connect(database_url, timeout=None, answer_timeout=0.3) as conn:
        conn.execute("select pg_sleep(0.2)")
        assert not conn.broken
        with pytest.raises(psycopg.OperationalError, match=r"no answer came within 0\.3 s"), conn.transaction():
            conn.execute("select pg_sleep(5)")
        assert conn.broken


def test_an_error_is_thrown_into_the_operation(conn: Connection) -> None:
    def recover() -> Operation[str]:
        try:
            yield Query("select 1 from nowhere")
        except EventStoreError as error:
            rows = yield Query("select $1::text", (type(error).__name__,))
            return str(rows[0][0])
        return "no error"

    assert run(conn, recover()) == "SchemaMissing"


def test_an_error_keeps_its_cause_and_pickles(conn: Connection) -> None:
    def fail() -> Operation[None]:
        yield Query("select 1 from nowhere")

    with pytest.raises(EventStoreError) as failed:
        run(conn, fail())
    assert isinstance(failed.value.__cause__, psycopg.errors.UndefinedTable)
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)


def test_a_store_goes_on_after_its_connections_are_lost(
    event_store: EventStore, conn: Connection, database_url: str, schema: str
) -> None:
    url = make_conninfo(database_url, application_name=f"store {schema}")
    with EventStore(url, schema=schema, pool_size=3) as store:
        store.append_to_stream("a", "any_version", events(1))
        killed = conn.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = %s",
            [f"store {schema}"],
        ).fetchall()
        assert killed
        with pytest.raises(StoreUnavailable):
            store.append_to_stream("a", "any_version", events(2))
        assert store.append_to_stream("a", 1, events(3)).stream_version == 2


def test_all_connections_in_use(database_url: str, schema: str) -> None:
    with EventStore(database_url, schema=schema, pool_size=1, timeout=0.2) as store:
        store.stream_heads(["a"])
        with store._pool.connection(), pytest.raises(StoreUnavailable):
            store.stream_heads(["a"])
        assert store.stream_heads(["a"]) == {}


def test_a_closed_store(event_store: EventStore) -> None:
    event_store.close()
    event_store.close()
    with pytest.raises(ConfigurationError, match="closed"):
        event_store.stream_heads(["a"])


def test_a_store_connects_when_first_used() -> None:
    with EventStore(f"postgresql://127.0.0.1:{free_port()}/shop") as store, pytest.raises(StoreUnavailable):
        store.stream_heads(["a"])


@pytest.mark.skipif(sys.platform != "linux", reason="uses fork")
def test_a_forked_child_is_refused_and_does_no_harm(event_store: EventStore) -> None:
    event_store.append_to_stream("a", "no_stream", events(1))
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            event_store.read_stream_forward("a")
            answer = "no error"
        except ConfigurationError as error:
            answer = str(error)
        event_store.close()
        os.write(writable, answer.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as answers:
        answer = answers.read()
    os.waitpid(pid, 0)
    assert f"belongs to process {os.getpid()}" in answer
    assert event_store.append_to_stream("a", 1, events(2)).stream_version == 2


@pytest.mark.skipif(sys.platform != "linux", reason="uses fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["append_to_stream", "close"])
@pytest.mark.parametrize("kind", [EventStore, InMemoryEventStore])
def test_a_child_forked_while_a_thread_holds_a_lock(
    event_store: EventStore, kind: type[EventStore], method: str
) -> None:
    store = event_store if kind is EventStore else InMemoryEventStore()
    pool = store._pool
    locks: list[AbstractContextManager[Any]] = [pool._lock, pool.lender._lock]
    if isinstance(store, InMemoryEventStore):
        locks.append(store._lock)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as all_locks:
            for lock in locks:
                all_locks.enter_context(lock)
            held.set()
            over.wait()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(hold)
        held.wait()
        pid = os.fork()
        if pid == 0:
            # A child that waits for ever is killed, and then has another exit code.
            signal.alarm(20)
            with suppress(ConfigurationError):
                getattr(store, method)(*(["a", "any_version", events(1)] if method == "append_to_stream" else []))
                os._exit(0 if method == "close" else 1)
            os._exit(0)
        over.set()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_column_type_is_detected(database_url: str) -> None:
    with fresh_schema(database_url, "jsonb") as schema, EventStore(database_url, schema=schema) as store:
        store.append_to_stream("a", "no_stream", events({"a": 1}))
        with connect(database_url) as conn:
            row = conn.execute(f"select data ->> 'a' from \"{schema}\".events".encode()).fetchone()
        assert row == ("1",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": ""}, "url is empty"),
        ({"schema": ""}, "schema name"),
        ({"schema": "s" * 60}, "channel"),
        ({"pool_size": 0}, "pool_size 0"),
        ({"timeout": 0.0}, "timeout 0.0"),
        ({"timeout": float("inf")}, "timeout inf"),
        ({"timeout": float("nan")}, "timeout nan"),
        ({"timeout": 2_147_484.0}, "24 days"),
        ({"queue_timeout": float("inf")}, "queue_timeout inf"),
        ({"connect_timeout": -1.0}, "connect_timeout -1.0"),
        ({"connect_timeout": float("inf")}, "connect_timeout inf"),
        ({"column_data_type": "json"}, "column_data_type 'json'"),
        ({"prepare_threshold": -1}, "prepare_threshold -1"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        StoreSettings(**{"url": "postgresql://db/shop", **options})


def test_the_longest_time_limit(database_url: str, schema: str) -> None:
    with EventStore(database_url, schema=schema, timeout=2_147_483.0) as store:
        assert store.stream_heads(["$all"]) == {"$all": 0}


def test_a_store_from_settings(database_url: str, schema: str, open_connection: Callable[..., Connection]) -> None:
    settings = StoreSettings(url=database_url, schema=schema, prepare_threshold=None, pool_size=1)
    with EventStore.from_settings(settings) as store:
        assert store._pool.settings == settings
        assert store.stream_heads(["$all"]) == {"$all": 0}
