"""Transient subscriptions for asyncio behave like the synchronous ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from eventstore import AsyncEventStore, AsyncTransientSubscription, EventStore, SubscriptionHalted, subscribe_async
from eventstore.store import Connection, StartFrom
from eventstore.tests.support.consuming import terminate
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT


def in_loop(store: EventStore, work: Callable[[AsyncEventStore], Awaitable[None]]) -> None:
    async def run() -> None:
        async with AsyncEventStore(store.settings.url, schema=store.schema, pool_size=2) as twin:
            await asyncio.wait_for(work(twin), 2 * LIMIT)

    asyncio.run(run())


async def take(subscription: AsyncTransientSubscription, count: int) -> list[Any]:
    taken: list[Any] = []
    while len(taken) < count:
        batch = await subscription.get(LIMIT)
        assert batch, f"only {len(taken)} of {count} events came"
        taken += batch
    assert len(taken) == count
    return taken


@pytest.mark.parametrize(("start_from", "expected"), [("origin", [1, 2, 3]), (1, [2, 3]), ("current", [3])])
def test_start_from(event_store: EventStore, start_from: StartFrom, expected: list[int]) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))

    async def work(store: AsyncEventStore) -> None:
        async with await subscribe_async(store, "a", start_from=start_from) as subscription:
            await store.append_to_stream("b", 0, events("other"))
            await store.append_to_stream("a", 2, events(3))
            assert [event.data for event in await take(subscription, len(expected))] == expected
            assert subscription.position == 3

    in_loop(event_store, work)


def test_selected_and_mapped_until_the_time_out(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(*range(1_500)))

    async def work(store: AsyncEventStore) -> None:
        async with await subscribe_async(
            store, start_from="origin", timeout=0.3, selector=lambda e: e.data % 500 == 0, mapper=lambda e: e.data
        ) as subscription:
            assert [batch async for batch in subscription] == [[0, 500], [1_000]]

    in_loop(event_store, work)


def test_iteration_ends_when_another_task_closes(event_store: EventStore) -> None:
    async def work(store: AsyncEventStore) -> None:
        subscription = await subscribe_async(store)
        seen: asyncio.Queue[int] = asyncio.Queue()

        async def consume() -> None:
            async for batch in subscription:
                for event in batch:
                    seen.put_nowait(event.data)

        task = asyncio.create_task(consume())
        await store.append_to_stream("a", 0, events(7))
        assert await seen.get() == 7
        await subscription.close()
        await task
        assert subscription.closed
        assert await subscription.get() == []

    in_loop(event_store, work)


def test_a_lost_connection_neither_misses_nor_doubles(event_store: EventStore, conn: Connection) -> None:
    async def work(store: AsyncEventStore) -> None:
        async with await subscribe_async(store) as subscription:

            async def append() -> None:
                for number in range(200):
                    await store.append_to_stream("a", number, events(number))
                    while number % 50 == 25 and not await asyncio.to_thread(terminate, conn, "subscribe $all"):
                        await asyncio.sleep(0.02)

            task = asyncio.create_task(append())
            assert [event.data for event in await take(subscription, 200)] == list(range(200))
            await task
            assert await subscription.get(timeout=0) == []

    in_loop(event_store, work)


def test_a_function_that_fails_names_the_event(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 0))

    async def work(store: AsyncEventStore) -> None:
        async with await subscribe_async(store, start_from="origin", selector=lambda e: 1 / e.data) as subscription:
            assert len(await subscription.get(LIMIT)) == 1
            with pytest.raises(SubscriptionHalted, match="event 2, selector failed"):
                await subscription.get(LIMIT)

    in_loop(event_store, work)
