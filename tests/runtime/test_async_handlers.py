"""`async def` handlers and handlers with state: one loop for the worker's life, hooks, awaited transactions."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL

from eventstore.handlers import AsyncContext, Context, DoneUpTo, Retry, Skip
from eventstore.handlers.resolve import Subscription
from eventstore.runtime.messages import Failed
from eventstore.runtime.results import Results
from eventstore.runtime.user_handler import UserHandler
from eventstore.store import RecordedEvent
from eventstore.store.errors import Conflict, OwnershipLost, StoreUnavailable
from eventstore.store.rows import decode_event
from eventstore.store.serializer import JsonSerializer
from eventstore.tests.support.handling import Bench


async def anote(bench: Bench, event: RecordedEvent, context: AsyncContext) -> None:
    insert = SQL("insert into {} (n) values (%s)").format(bench.table)
    await context.connection.execute(insert, (event.event_number,))


def test_every_call_runs_on_the_same_loop(bench: Bench) -> None:
    loops: list[Any] = []
    background: list[asyncio.Task[None]] = []
    seen = asyncio.Event()

    async def signal() -> None:
        await asyncio.sleep(0)
        seen.set()

    async def handle(event: RecordedEvent, context: AsyncContext) -> None:
        loops.append(asyncio.get_running_loop())
        if event.event_number == 1:
            background.append(asyncio.create_task(signal()))
        else:
            await seen.wait()

    assert bench.plain(handle).execute(bench.batch(), bench.delivered) == Results([1, 2, 3, 4, 5])
    assert len(loops) == 5
    assert len(set(map(id, loops))) == 1


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (Retry(1, "later"), Failed(3, "retry", "later", 1.0)),
        (Skip("no use"), Failed(3, "skip", "no use", None)),
        (ValueError("no"), Failed(3, "error", "ValueError: no", None)),
        (SystemExit(3), Failed(3, "error", "SystemExit: 3", None)),
        (asyncio.CancelledError("given up"), Failed(3, "error", "CancelledError: given up", None)),
    ],
)
def test_what_an_async_handler_raises(bench: Bench, answer: BaseException, failed: Failed) -> None:
    calls: list[int] = []

    async def handle(event: RecordedEvent, context: AsyncContext) -> None:
        await asyncio.sleep(0)
        calls.append(event.event_number)
        if calls == [1, 2, 3]:
            raise answer

    execution = bench.plain(handle)
    assert execution.execute(bench.batch(), bench.delivered) == Results([1, 2], failed, undo=True)
    assert execution.execute(bench.batch(3, 4), bench.delivered) == Results([3, 4]), "the loop is still good"


def test_a_coroutine_that_nobody_awaits_is_a_failure_with_the_remedy(bench: Bench) -> None:
    async def handle(event: RecordedEvent, context: AsyncContext) -> None: ...

    def wrapper(event: RecordedEvent, context: Any) -> Any:
        return handle(event, context)

    results = bench.plain(wrapper).execute(bench.batch(1), bench.delivered)
    assert results.failed is not None
    assert results.failed.reason == (
        "the handler returned a coroutine, which nobody awaits; what wraps an 'async def' must be an 'async def' itself"
    )


def test_an_async_batch(bench: Bench) -> None:
    async def handle(events: list[RecordedEvent], context: AsyncContext) -> Any:
        await asyncio.gather(*(asyncio.sleep(0) for _ in events))
        return DoneUpTo(4, Skip("last"))

    results = bench.plain(handle, batch_size=5).execute(bench.batch(), bench.delivered)
    assert results == Results([1, 2, 3, 4], Failed(5, "skip", "last", None))


# In a transaction


def test_awaited_effects_and_ledger_commit_together(bench: Bench) -> None:
    async def handle(event: RecordedEvent, context: AsyncContext) -> None:
        assert isinstance(context, AsyncContext)
        assert isinstance(context.connection, psycopg.AsyncConnection)
        await anote(bench, event, context)
        assert (bench.effects(), bench.done()) == ([], []), "nothing is seen from outside yet"

    assert bench.execute(handle) == Results([1, 2, 3, 4, 5])
    bench.check(1, 2, 3, 4, 5)


def test_an_awaited_failure_undoes_its_effects_and_those_before_it_commit(bench: Bench) -> None:
    async def handle(event: RecordedEvent, context: AsyncContext) -> None:
        await anote(bench, event, context)
        if event.event_number == 3:
            raise ValueError("poison")

    assert bench.execute(handle) == Results([1, 2], Failed(3, "error", "ValueError: poison", None))
    bench.check(1, 2)


def test_awaited_trouble_of_the_database_counts_as_no_attempt(bench: Bench) -> None:
    calls: list[int] = []

    async def conflicting(event: RecordedEvent, context: AsyncContext) -> None:
        calls.append(event.event_number)
        await anote(bench, event, context)
        if calls == [1, 2]:
            await context.connection.execute("do $$ begin raise serialization_failure; end $$")

    assert bench.execute(conflicting, 1, 2) == Results([1, 2])
    assert calls == [1, 2, 1, 2]
    bench.check(1, 2)

    async def hopeless(event: RecordedEvent, context: AsyncContext) -> None:
        await context.connection.execute("do $$ begin raise deadlock_detected; end $$")

    with pytest.raises(Conflict):
        bench.execute(hopeless, 3)

    async def cut_off(event: RecordedEvent, context: AsyncContext) -> None:
        bench.conn.execute("select pg_terminate_backend(%s)", (context.connection.info.backend_pid,))
        await context.connection.execute("select 1")

    with pytest.raises(StoreUnavailable):
        bench.execute(cut_off, 3)
    bench.check(1, 2)


def test_a_former_owner_awaits_in_vain(bench: Bench) -> None:
    async def handle(event: RecordedEvent, context: AsyncContext) -> None:
        await anote(bench, event, context)
        if event.event_number == 3:
            bench.own()

    with pytest.raises(OwnershipLost):
        bench.execute(handle)
    bench.check()


def test_an_awaited_batch_is_one_transaction(bench: Bench) -> None:
    calls: list[int] = []

    async def handle(events: list[RecordedEvent], context: AsyncContext) -> None:
        calls.append(len(events))
        for event in events:
            await anote(bench, event, context)
            if event.event_number == 4:
                raise ValueError("poison")

    results = bench.execute(handle, batch_size=5)
    assert (results.finished, calls) == ([1, 2, 3], [5, 1, 1, 1, 1])
    bench.check(1, 2, 3)


# Handlers with state


def test_a_class_is_made_once_and_hooked(bench: Bench) -> None:
    said: list[str] = []

    class Counter:
        def __init__(self) -> None:
            self.total = 0
            said.append("made")

        def start(self) -> None:
            said.append("started")

        def handle(self, event: RecordedEvent, context: Context) -> None:
            self.total += event.data
            said.append(f"total {self.total}")

        async def stop(self) -> None:
            await asyncio.sleep(0)
            said.append("stopped")

    subscription = Subscription(name="s", handler="m:f")
    handler = UserHandler(subscription, Counter)
    handler.start()
    for row in bench.batch(1, 2, 3):
        handler.call(decode_event(row, JsonSerializer()), None)
    handler.stop()
    handler.close()
    assert said == ["made", "started", "total 1", "total 3", "total 6", "stopped"]


def test_hooks_and_calls_of_an_async_class_share_a_loop(bench: Bench) -> None:
    class Client:
        async def start(self) -> None:
            self.loop = asyncio.get_running_loop()
            self.queue: asyncio.Queue[int] = asyncio.Queue()
            self.worker = asyncio.create_task(self.queue.get())

        async def handle(self, event: RecordedEvent, context: AsyncContext) -> None:
            assert asyncio.get_running_loop() is self.loop
            if event.event_number == 1:
                await self.queue.put(7)
                assert await self.worker == 7

        async def stop(self) -> None:
            assert asyncio.get_running_loop() is self.loop
            self.stopped = True

    client = Client()
    handler = UserHandler(Subscription(name="s", handler="m:f"), client)
    handler.start()
    handler.call(decode_event(bench.rows[0], JsonSerializer()), None)
    handler.stop()
    handler.close()
    assert client.stopped


def test_an_instance_and_a_callable_are_what_they_are() -> None:
    class Stateful:
        def __call__(self) -> None:
            raise AssertionError("handle goes first")

        def handle(self, event: RecordedEvent, context: Context) -> str:
            return "handled"

    class Function:
        start = "no hook of a callable"

        async def __call__(self, event: RecordedEvent, context: Context) -> str:
            return "called"

    for loaded, answer in [(Stateful(), "handled"), (Function(), "called"), (lambda event, context: "f", "f")]:
        handler = UserHandler(Subscription(name="s", handler="m:f"), loaded)
        handler.start()
        assert handler.call(None, None) == answer
        handler.stop()
        handler.close()
