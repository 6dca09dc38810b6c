"""Several subscribers of one subscription: turns, partitions, coming and going."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import pytest

from eventstore import EventStore, RecordedEvent, Subscriber, TooManySubscribers, subscribe_to_all_streams
from eventstore.tests.support.consuming import take
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT, wait_until


def test_subscribers_take_turns(event_store: EventStore) -> None:
    with subscribe_to_all_streams(event_store, "s", concurrency_limit=3) as subscription:
        subscribers = [subscription.subscriber() for _ in range(3)]
        event_store.append_to_stream("a", 0, events(1, 2, 3, 4))
        assert sorted(take(subscriber, 1)[0].data for subscriber in subscribers) == [1, 2, 3]
        assert all(subscriber.get(timeout=0.05) == [] for subscriber in subscribers)


def test_there_are_no_more_than_the_limit(event_store: EventStore) -> None:
    with subscribe_to_all_streams(event_store, "s", concurrency_limit=2) as subscription:
        first = subscription.subscriber()
        subscription.subscriber()
        with pytest.raises(TooManySubscribers, match="'s' has 2 subscribers already"):
            subscription.subscriber()
        first.close()
        subscription.subscriber()


def test_what_a_leaving_subscriber_had_goes_to_another(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))
    with subscribe_to_all_streams(event_store, "s", concurrency_limit=2) as subscription:
        with subscription.subscriber() as leaving:
            batch = take(leaving, 1)
        leaving.ack(batch)
        other = subscription.subscriber()
        assert [event.data for event in take(other, 2, other.ack)] == [1, 2]


def test_the_checkpoint_waits_for_the_slowest(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2, 3))
    with subscribe_to_all_streams(event_store, "s", concurrency_limit=2) as subscription:
        first, second = subscription.subscriber(), subscription.subscriber()
        slow, fast = first.get(LIMIT), second.get(LIMIT)
        early, late = (slow, fast) if slow[0].event_number == 1 else (fast, slow)
        owner = {id(slow): first, id(fast): second}
        owner[id(late)].ack(late)
        assert take(owner[id(late)], 1)[0].event_number == 3
        assert event_store.subscription("$all", "s").last_seen is None
        owner[id(early)].ack(early)
        wait_until(lambda: subscription.checkpoint == 2, "the checkpoint follows")


def test_partitions_keep_their_order(event_store: EventStore) -> None:
    for turn in range(40):
        for stream in "abcde":
            event_store.append_to_stream(stream, turn, events(turn))
    seen: list[RecordedEvent] = []
    busy: dict[str, Subscriber] = {}
    overlaps: list[str] = []
    lock = threading.Lock()
    used: dict[str, set[int]] = defaultdict(set)

    def consume(subscriber: Subscriber) -> None:
        for batch in subscriber:
            for event in batch:
                with lock:
                    if busy.setdefault(event.stream_uuid, subscriber) is not subscriber:
                        overlaps.append(event.stream_uuid)
                    seen.append(event)
                    used[event.stream_uuid].add(id(subscriber))
            with lock:
                for event in batch:
                    busy.pop(event.stream_uuid, None)
            subscriber.ack(batch)

    options: Any = {"concurrency_limit": 3, "buffer_size": 4, "partition_by": "stream", "checkpoint_threshold": 50}
    with subscribe_to_all_streams(event_store, "s", **options) as subscription:
        threads = [threading.Thread(target=consume, args=[subscription.subscriber()]) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(seen) == 200, "all events have come", lambda: f"{len(seen)} came")
    for thread in threads:
        thread.join(LIMIT)
    assert overlaps == []
    for stream in "abcde":
        assert [event.data for event in seen if event.stream_uuid == stream] == list(range(40))
    assert event_store.subscription("$all", "s").last_seen == 200


def test_a_function_gives_the_partition(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events("x1", "x2", "y1"))
    with subscribe_to_all_streams(
        event_store, "s", concurrency_limit=2, buffer_size=2, partition_by=lambda event: event.data[0]
    ) as subscription:
        subscribers = [subscription.subscriber(), subscription.subscriber()]
        wait_until(lambda: all(subscriber._waiting for subscriber in subscribers), "both have events")
        parts = sorted(["".join(e.data[0] for e in subscriber.get(LIMIT)) for subscriber in subscribers])
        assert parts in (["x", "y"], ["xx", "y"])
