"""The asynchronous store: the same façade as the synchronous one, its connections, and the caller's own."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.ext.asyncio import create_async_engine

from eventstore.store import (
    AppendResult,
    AsyncEventStore,
    ConfigurationError,
    Connection,
    EventStore,
    SchemaMissing,
    Statements,
    StoreSettings,
    StoreUnavailable,
    StreamExists,
    aconnect,
    arun,
    run,
)
from eventstore.store import subscriptions as operations
from eventstore.store.operation import Operation, Query
from eventstore.tests.support import async_facade
from eventstore.tests.support.database import drop_schema, fresh_schema, temporary_home
from eventstore.tests.support.events import events

pytestmark = pytest.mark.every_server

Scenario = Callable[[AsyncEventStore], Coroutine[Any, Any, None]]


@pytest.fixture
def play(database_url: str, schema: str) -> Callable[..., None]:
    """A function that runs a scenario on an asynchronous store of the test's schema."""

    async def opened(scenario: Scenario, options: dict[str, Any]) -> None:
        async with AsyncEventStore(database_url, schema=schema, **{"pool_size": 4, **options}) as store:
            await scenario(store)

    return lambda scenario, **options: asyncio.run(opened(scenario, options))


def public(facade: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in vars(facade).items()
        if inspect.isfunction(member) and (not name.startswith("_") or name == "__init__")
    }


def test_the_asynchronous_facade_is_derived_from_the_synchronous_one() -> None:
    assert async_facade.TARGET.read_text("utf-8") == async_facade.derived(), (
        "run python -m eventstore.tests.support.async_facade"
    )


def test_both_facades_have_the_same_methods_parameters_and_words() -> None:
    ours, theirs = public(EventStore), public(AsyncEventStore)
    assert list(ours) == list(theirs)
    for name, method in ours.items():
        parameters = inspect.signature(method).parameters.values()
        twins = inspect.signature(theirs[name]).parameters.values()
        assert [(p.name, p.kind, p.default) for p in parameters] == [(p.name, p.kind, p.default) for p in twins]
        assert method.__doc__ == theirs[name].__doc__


def test_what_one_facade_writes_the_other_reads(event_store: EventStore, play: Callable[..., None]) -> None:
    event_store.append_to_stream("a", "no_stream", events(1))

    async def scenario(store: AsyncEventStore) -> None:
        assert await store.append_to_stream("a", 1, events(2)) == AppendResult("a", 2, 2, 2, 2)
        assert [event.data async for event in store.stream_forward("a")] == [1, 2]
        assert await store.read_stream_forward("a") == event_store.read_stream_forward("a")

    play(scenario)
    assert [event.data for event in event_store.stream_forward("a")] == [1, 2]


def test_many_tasks_share_a_store(play: Callable[..., None]) -> None:
    async def scenario(store: AsyncEventStore) -> None:
        results = await asyncio.gather(
            *(store.append_to_stream(f"s{n % 3}", "any_version", events(n)) for n in range(30))
        )
        assert sorted(result.position for result in results) == list(range(1, 31))
        assert sum((await store.stream_heads(["s0", "s1", "s2"])).values()) == 30

    play(scenario)


def test_many_tasks_append_to_many_streams(play: Callable[..., None]) -> None:
    async def append(store: AsyncEventStore, n: int) -> bool:
        try:
            await store.append_many([("a", "no_stream", events(n)), ("b", "any_version", events(n))])
        except StreamExists:
            return False
        return True

    async def scenario(store: AsyncEventStore) -> None:
        assert sum(await asyncio.gather(*(append(store, n) for n in range(8)))) == 1
        assert await store.stream_heads(["a", "b"]) == {"a": 1, "b": 1}

    play(scenario)


def test_subscription_rows(conn: Connection, schema: str, play: Callable[..., None]) -> None:
    created = run(conn, operations.create_subscription(Statements(schema), "$all", "s", 5))

    async def scenario(store: AsyncEventStore) -> None:
        assert await store.subscriptions() == [created]
        assert await store.subscription("$all", "s") == created
        assert [lag.last_seen for lag in await store.subscription_lags()] == [5]
        await store.delete_subscription("$all", "s")
        assert await store.subscriptions() == []

    play(scenario)


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("many", [True, False])
def test_the_callers_transaction(database_url: str, play: Callable[..., None], commits: bool, many: bool) -> None:
    async def scenario(store: AsyncEventStore) -> None:
        assert await store.stream_heads(["a"]) == {}  # the schema is checked, so the append comes first on `own`
        async with await psycopg.AsyncConnection.connect(database_url) as own:
            if many:
                await store.append_many([("a", "no_stream", events(1))], conn=own)
            else:
                await store.append_to_stream("a", "no_stream", events(1), conn=own)
            assert [event.data async for event in store.stream_forward("a", conn=own)] == [1]
            assert await store.stream_heads(["a"]) == {}
            await (own.commit() if commits else own.rollback())
        assert await store.stream_heads(["a"]) == ({"a": 1} if commits else {})

    play(scenario)


def test_a_sqlalchemy_connections_driver_connection(
    database_url: str, conn: Connection, schema: str, play: Callable[..., None]
) -> None:
    conn.execute(f'create table "{schema}".totals (n int)'.encode())
    insert = sa.text(f'insert into "{schema}".totals values (1)')

    async def scenario(store: AsyncEventStore) -> None:
        engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=lambda: psycopg.AsyncConnection.connect(**conninfo_to_dict(database_url)),  # type: ignore[arg-type]
        )
        for commits in (False, True):
            async with engine.connect() as connection:
                own: Any = (await connection.get_raw_connection()).driver_connection
                await store.append_many([("a", "no_stream", events(1))], conn=own)
                await connection.execute(insert)
                await (connection.commit() if commits else connection.rollback())
            assert await store.stream_heads(["a"]) == ({"a": 1} if commits else {})
            rows = conn.execute(f'select n from "{schema}".totals'.encode()).fetchall()
            assert rows == ([(1,)] if commits else [])
        await engine.dispose()

    play(scenario)


def test_a_synchronous_connection_is_refused(conn: Connection, play: Callable[..., None]) -> None:
    async def scenario(store: AsyncEventStore) -> None:
        with pytest.raises(ConfigurationError, match=r"not a psycopg\.AsyncConnection"):
            await store.stream_heads(["a"], conn=conn)  # type: ignore[arg-type]

    play(scenario)


def test_an_answer_that_does_not_come_closes_the_connection(database_url: str) -> None:
    async def ask() -> None:
        async with await aconnect(database_url, timeout=None, answer_timeout=0.3) as conn:
            await conn.execute("select pg_sleep(0.2)")
            assert not conn.broken
            with pytest.raises(psycopg.OperationalError, match=r"no answer came within 0\.3 s"):
                async with conn.transaction():
                    await conn.execute("select pg_sleep(5)")
            assert conn.broken

    asyncio.run(ask())


def test_an_error_is_thrown_into_the_operation(database_url: str) -> None:
    def recover() -> Operation[str]:
        try:
            yield Query("select 1 from nowhere")
        except SchemaMissing:
            rows = yield Query("select $1::text", ("caught",))
            return str(rows[0][0])
        return "no error"

    async def scenario() -> None:
        async with await aconnect(database_url) as own:
            assert await arun(own, recover()) == "caught"

    asyncio.run(scenario())


def test_a_store_goes_on_after_its_connections_are_lost(conn: Connection, database_url: str, schema: str) -> None:
    async def scenario() -> None:
        url = make_conninfo(database_url, application_name=f"store {schema}")
        async with AsyncEventStore(url, schema=schema, pool_size=3) as store:
            await store.append_to_stream("a", "any_version", events(1))
            assert conn.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = %s",
                [f"store {schema}"],
            ).fetchall()
            with pytest.raises(StoreUnavailable):
                await store.append_to_stream("a", "any_version", events(2))
            assert (await store.append_to_stream("a", 1, events(3))).stream_version == 2

    asyncio.run(scenario())


def test_a_cancelled_task_gives_its_connection_back(play: Callable[..., None], conn: Connection, schema: str) -> None:
    conn.execute("begin")
    conn.execute(f'lock table "{schema}".streams'.encode())

    async def scenario(store: AsyncEventStore) -> None:
        waiting = asyncio.create_task(store.append_to_stream("a", "no_stream", events(1)))
        while not await asyncio.to_thread(blocked):
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(conn.rollback)
        assert await store.stream_heads(["a", "$all"]) == {"$all": 0}

    def blocked() -> bool:
        row = conn.execute(
            "select count(*) from pg_locks where relation = %s::regclass and not granted", [f'"{schema}".streams']
        ).fetchone()
        return row is not None and row[0] > 0

    play(scenario, pool_size=1)


def test_a_task_that_is_cancelled_after_a_loss_ends_and_leaves_the_pool_whole(play: Callable[..., None]) -> None:
    async def scenario(store: AsyncEventStore) -> None:
        async def lose() -> None:
            async with store._pool.connection():
                raise StoreUnavailable("as when the server does not answer")

        # At every step there is until the task ends by itself.
        for steps in itertools.count():
            losing = asyncio.create_task(lose())
            for _ in range(steps):
                await asyncio.sleep(0)
            cancelled = losing.cancel()
            await asyncio.wait([losing])
            assert losing.cancelled() == cancelled
            assert await store.stream_heads(["$all"]) == {"$all": 0}
            if not cancelled:
                assert type(losing.exception()) is StoreUnavailable
                return

    play(scenario, pool_size=1, queue_timeout=5)


def test_limits_of_the_pool(play: Callable[..., None]) -> None:
    async def scenario(store: AsyncEventStore) -> None:
        async with store._pool.connection():
            with pytest.raises(StoreUnavailable, match="queue_timeout"):
                await store.stream_heads(["a"])
        assert await store.stream_heads(["a"]) == {}

    play(scenario, pool_size=1, queue_timeout=0.05)


def test_tenants_share_a_pool(database_url: str, play: Callable[..., None]) -> None:
    async def scenario(store: AsyncEventStore) -> None:
        with fresh_schema(database_url, "jsonb") as other:
            async with AsyncEventStore(database_url, schema=other, share_pool_with=store) as tenant:
                await tenant.append_to_stream("a", "no_stream", events({"n": 1}))
                async with tenant._pool.connection() as own:
                    pid = own.info.backend_pid
            async with store._pool.connection() as own:
                assert own.info.backend_pid == pid
        assert await store.stream_heads(["a"]) == {}
        with pytest.raises(ConfigurationError, match="closed"):
            await tenant.stream_heads(["a"])
        with pytest.raises(ConfigurationError, match="same url"):
            AsyncEventStore("postgresql://elsewhere/shop", share_pool_with=store)

    play(scenario, pool_size=1)


def test_a_store_belongs_to_one_loop(database_url: str, schema: str) -> None:
    store = AsyncEventStore(database_url, schema=schema)

    async def use() -> None:
        assert await store.stream_heads(["$all"]) == {"$all": 0}

    async def misuse() -> None:
        with pytest.raises(ConfigurationError, match="another event loop"):
            await store.stream_heads(["$all"])

    with asyncio.Runner() as runner, asyncio.Runner() as another:
        runner.run(use())
        another.run(misuse())
        runner.run(store.close())


def test_a_closed_store(play: Callable[..., None]) -> None:
    async def scenario(store: AsyncEventStore) -> None:
        await store.close()
        await store.close()
        with pytest.raises(ConfigurationError, match="closed"):
            await store.stream_heads(["a"])

    play(scenario)


def test_init_and_settings(database_url: str, conn: Connection) -> None:
    settings = StoreSettings(url=database_url, schema="async_made", column_data_type="jsonb")

    async def scenario() -> None:
        async with AsyncEventStore.from_settings(settings) as store:
            with pytest.raises(SchemaMissing):
                await store.stream_heads(["a"])
            assert (await store.init()).created_tables
            assert not (await store.init()).created_tables
            assert (await store.append_to_stream("a", "no_stream", events(1))).position == 1

    try:
        asyncio.run(scenario())
    finally:
        drop_schema(conn, "async_made")


def test_an_embedded_server() -> None:
    async def scenario(url: str) -> None:
        async with AsyncEventStore(url) as store:
            await store.init()
            await store.append_to_stream("a", "no_stream", events(1))

    with temporary_home() as home:
        asyncio.run(scenario(f"embedded:{home}"))


@pytest.mark.parametrize("again", [True, False])
def test_an_embedded_server_whose_starter_is_cancelled(again: bool) -> None:
    async def scenario(url: str) -> None:
        async with AsyncEventStore(url) as store:
            starting = asyncio.create_task(store.init())
            while store._pool.lender._opening is None:
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait([starting])
            if again:
                await store.init()

    # The home goes only when the server has stopped, so when nobody holds it any more.
    with temporary_home() as home:
        asyncio.run(scenario(f"embedded:{home}"))
