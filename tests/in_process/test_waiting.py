"""wait_for: read your own writes, whoever runs the subscription."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from eventstore import (
    AsyncEventStore,
    ConfigurationError,
    EventStore,
    SubscriptionNotFound,
    WaitTimeout,
    subscribe_to_all_streams,
    subscribe_to_stream,
    wait_for,
    wait_for_async,
)
from eventstore.store import SubscriptionRecord
from eventstore.tests.support.consuming import take
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT


class Counting:
    """Counts how often the subscriptions are asked for."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.asked = 0

    def subscriptions(self) -> list[SubscriptionRecord]:
        self.asked += 1
        return self._store.subscriptions()


def test_it_returns_when_all_have_acknowledged(event_store: EventStore) -> None:
    event_store.append_to_stream("b", 0, events("other"))
    with (
        subscribe_to_all_streams(event_store, "all") as everything,
        subscribe_to_stream(event_store, "a", "one") as one,
    ):
        result = event_store.append_to_stream("a", 0, events(1, 2))
        waiter = threading.Thread(target=wait_for, args=[event_store, result, ["all", ("a", "one")], LIMIT])
        waiter.start()
        for subscription, count in ((one, 2), (everything, 3)):
            assert waiter.is_alive()
            subscriber = subscription.subscriber()
            take(subscriber, count, subscriber.ack)
        waiter.join(LIMIT)
        assert not waiter.is_alive()
        assert event_store.subscription("$all", "all").last_seen == 3
        assert event_store.subscription("a", "one").last_seen == 2
        wait_for(event_store, 3, ["all"], timeout=0)
        wait_for(event_store, 2, ["one"], timeout=0)


def test_what_the_selector_leaves_out_is_waited_for_too(event_store: EventStore) -> None:
    with subscribe_to_all_streams(event_store, "s", selector=lambda event: False):
        wait_for(event_store, event_store.append_to_stream("a", 0, events(1, 2)), ["s"], LIMIT)


def test_the_time_out_names_who_is_behind_and_by_how_much(event_store: EventStore) -> None:
    for name, start in (("slow", 1), ("done", 3)):
        with subscribe_to_all_streams(event_store, name, start_from=start):
            pass
    result = event_store.append_to_stream("a", 0, events(1, 2, 3))
    with pytest.raises(WaitTimeout, match=r"after 0\.05 s, 'slow' is at 1 of 3 \(2 behind\): wait longer") as caught:
        wait_for(event_store, result, ["done", "slow"], timeout=0.05)
    assert caught.value.behind == (("$all", "slow", 1, 3),)


def test_an_unknown_subscription_is_an_error_at_once(event_store: EventStore) -> None:
    for named in ("nobody", ("a", "nobody")):
        with pytest.raises(SubscriptionNotFound, match="'nobody'"):
            wait_for(event_store, 1, [named], timeout=LIMIT)


def test_one_that_is_deleted_meanwhile_is_an_error(event_store: EventStore) -> None:
    with subscribe_to_all_streams(event_store, "s"):
        pass
    timer = threading.Timer(0.1, event_store.delete_subscription, ["$all", "s"])
    timer.start()
    with pytest.raises(SubscriptionNotFound):
        wait_for(event_store, 1, ["s"], timeout=LIMIT)
    timer.join()


def test_a_name_of_several_streams_needs_its_stream(event_store: EventStore) -> None:
    for stream in ("a", "b"):
        with subscribe_to_stream(event_store, stream, "s"):
            pass
    result = event_store.append_to_stream("a", 0, [])
    with pytest.raises(ConfigurationError, match="'s' exists for several streams"):
        wait_for(event_store, result, ["s"])
    with pytest.raises(ConfigurationError, match="reads stream 'b', but the append was to 'a'"):
        wait_for(event_store, result, [("b", "s")])
    with pytest.raises(ConfigurationError, match="give a list"):
        wait_for(event_store, result, "s")
    wait_for(event_store, result, [("a", "s")], timeout=0)


def test_it_does_not_hammer_the_database(event_store: EventStore) -> None:
    with subscribe_to_all_streams(event_store, "s"):
        pass
    store = Counting(event_store)
    began = time.monotonic()
    with pytest.raises(WaitTimeout):
        wait_for(store, 1, ["s"], timeout=1.0)
    assert time.monotonic() - began >= 1.0
    assert store.asked <= 13


def test_the_twin_for_asyncio(event_store: EventStore) -> None:
    async def work() -> None:
        async with AsyncEventStore(event_store.settings.url, schema=event_store.schema) as store:
            result = await store.append_to_stream("a", 0, events(1))
            with pytest.raises(WaitTimeout):
                await wait_for_async(store, result, ["s"], timeout=0.05)
            subscriber = subscription.subscriber()
            waiting = asyncio.create_task(wait_for_async(store, result, ["s"], LIMIT))
            await asyncio.to_thread(take, subscriber, 1, subscriber.ack)
            await waiting

    with subscribe_to_all_streams(event_store, "s") as subscription:
        asyncio.run(work())
