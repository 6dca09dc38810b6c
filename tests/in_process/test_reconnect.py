"""Lost sessions: what is in flight comes again, nothing else is lost or doubled."""

from __future__ import annotations

import threading
from typing import Any

from eventstore import EventStore, Subscriber, subscribe, subscribe_to_all_streams
from eventstore.store import Connection
from eventstore.tests.support.consuming import take, terminated
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT, wait_until

APPENDS = 200


def append_and_cut(event_store: EventStore, conn: Connection, role: str) -> threading.Thread:
    """Appends in a thread, and ends the session of that role every now and then."""

    def work() -> None:
        with EventStore(event_store.settings.url, schema=event_store.schema, pool_size=1) as store:
            for number in range(APPENDS):
                store.append_to_stream("a", number, events(number))
                if number % 50 == 25:
                    terminated(conn, role)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_persistent_subscription_misses_nothing(event_store: EventStore, conn: Connection) -> None:
    with subscribe_to_all_streams(event_store, "lost", buffer_size=5) as subscription:
        subscriber = subscription.subscriber()
        thread = append_and_cut(event_store, conn, "subscription lost")
        seen: list[int] = []
        while APPENDS - 1 not in seen:
            batch = subscriber.get(LIMIT)
            assert batch
            seen += [event.data for event in batch]
            subscriber.ack(batch)
        thread.join(LIMIT)
        wait_until(lambda: subscription.checkpoint == APPENDS, "all is checkpointed")
    firsts = list(dict.fromkeys(seen))
    assert firsts == list(range(APPENDS))
    # Each of the 4 cuts may repeat what was not checkpointed, which the buffer bounds.
    assert len(seen) - len(firsts) <= 4 * 5


def test_a_single_cut_repeats_only_what_was_in_flight(event_store: EventStore, conn: Connection) -> None:
    event_store.append_to_stream("a", 0, events(*range(10)))
    with subscribe_to_all_streams(event_store, "lost", buffer_size=2) as subscription:
        subscriber = subscription.subscriber()
        take(subscriber, 2, subscriber.ack)
        batch = take(subscriber, 2)
        wait_until(lambda: subscription.checkpoint == 2, "the first two are checkpointed")
        terminated(conn, "subscription lost")
        wait_until(lambda: not subscription.subscribed, "the loss was seen")
        subscriber.ack(batch)
        assert subscription.wait_subscribed(LIMIT)
        assert [event.data for event in take(subscriber, 8, subscriber.ack)] == list(range(2, 10))


def test_partitions_keep_their_order_across_a_cut(event_store: EventStore, conn: Connection) -> None:
    for turn in range(30):
        for stream in "abc":
            event_store.append_to_stream(stream, turn, events(turn))
    seen: dict[str, list[int]] = {stream: [] for stream in "abc"}
    cuts = {20, 50}

    def consume(subscriber: Subscriber) -> None:
        for batch in subscriber:
            for event in batch:
                seen[event.stream_uuid].append(event.data)
                if event.event_number in cuts:
                    cuts.discard(event.event_number)
                    terminated(conn, "subscription lost")
            subscriber.ack(batch)

    options: Any = {"concurrency_limit": 3, "buffer_size": 3, "partition_by": "stream"}
    with subscribe_to_all_streams(event_store, "lost", **options) as subscription:
        threads = [threading.Thread(target=consume, args=[subscription.subscriber()]) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: subscription.checkpoint == 90, "all is checkpointed")
    for thread in threads:
        thread.join(LIMIT)
    assert not cuts
    for numbers in seen.values():
        assert list(dict.fromkeys(numbers)) == list(range(30))


def test_a_transient_subscription_neither_misses_nor_doubles(event_store: EventStore, conn: Connection) -> None:
    with subscribe(event_store) as subscription:
        thread = append_and_cut(event_store, conn, "subscribe $all")
        assert [event.data for event in take(subscription, APPENDS)] == list(range(APPENDS))
        thread.join(LIMIT)
        assert subscription.get(timeout=0) == []
