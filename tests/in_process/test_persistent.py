"""A persistent subscription with one subscriber: where it starts, what it delivers, what it remembers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    ConfigurationError,
    DeserializationFailed,
    EventStore,
    RecordedEvent,
    SubscriptionAlreadyExists,
    SubscriptionHalted,
    SubscriptionNotFound,
    UnexpectedAck,
    subscribe_to_all_streams,
    subscribe_to_stream,
)
from eventstore.store import Connection, StartFrom
from eventstore.tests.support.consuming import take
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT, wait_until


def last_seen(store: EventStore, name: str, stream: str = "$all") -> int | None:
    return store.subscription(stream, name).last_seen


def test_events_come_in_order_and_acks_are_remembered(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2, 3))
    with subscribe_to_stream(event_store, "a", "s") as subscription:
        subscriber = subscription.subscriber()
        assert subscription.wait_subscribed(LIMIT)
        taken = take(subscriber, 3, subscriber.ack)
        event_store.append_to_stream("a", 3, events(4))
        event_store.append_to_stream("b", 0, events("other"))
        taken += take(subscriber, 1, subscriber.ack)
        wait_until(lambda: last_seen(event_store, "s", "a") == 4, "the checkpoint is written")
    assert [event.data for event in taken] == [1, 2, 3, 4]
    assert all(type(event) is RecordedEvent for event in taken)


def test_a_checkpoint_is_written_for_each_ack(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))
    with subscribe_to_all_streams(event_store, "s") as subscription:
        subscriber = subscription.subscriber()
        subscriber.ack(take(subscriber, 1))
        wait_until(lambda: subscription.checkpoint == 1, "the first ack is checkpointed")
        assert last_seen(event_store, "s") == 1


def test_buffer_size_bounds_what_is_in_flight(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(*range(10)))
    with subscribe_to_all_streams(event_store, "s", buffer_size=3) as subscription:
        subscriber = subscription.subscriber()
        first = take(subscriber, 3)
        assert subscriber.get(timeout=0.2) == []
        subscriber.ack(first[0])
        assert [event.data for event in take(subscriber, 1)] == [3]


def test_what_was_not_acknowledged_comes_again(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2, 3, 4))
    with subscribe_to_all_streams(event_store, "s", buffer_size=4) as subscription:
        subscriber = subscription.subscriber()
        subscriber.ack(take(subscriber, 4)[1])
    assert last_seen(event_store, "s") == 2
    with subscribe_to_all_streams(event_store, "s", buffer_size=4) as subscription:
        assert [event.data for event in take(subscription.subscriber(), 2)] == [3, 4]


@pytest.mark.parametrize(
    ("start_from", "expected"), [("origin", [1, 2, 3, 4]), (0, [1, 2, 3, 4]), (2, [3, 4]), ("current", [4])]
)
def test_start_from(event_store: EventStore, start_from: StartFrom, expected: list[int]) -> None:
    event_store.append_to_stream("a", 0, events(1, 2, 3))
    with subscribe_to_stream(event_store, "a", "s", start_from=start_from) as subscription:
        subscriber = subscription.subscriber()
        event_store.append_to_stream("a", 3, events(4))
        assert [event.data for event in take(subscriber, len(expected), subscriber.ack)] == expected


def test_start_from_counts_only_for_a_new_subscription(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2, 3))
    with subscribe_to_all_streams(event_store, "s", start_from=2):
        pass
    with subscribe_to_all_streams(event_store, "s", start_from="origin") as subscription:
        assert [event.data for event in take(subscription.subscriber(), 1)] == [3]


def test_what_the_selector_leaves_out_counts_as_finished(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2, 3, 4, 5))
    with subscribe_to_all_streams(event_store, "s", selector=lambda event: event.data % 2 == 0) as subscription:
        subscriber = subscription.subscriber()
        assert [event.data for event in take(subscriber, 2, subscriber.ack)] == [2, 4]
        wait_until(lambda: last_seen(event_store, "s") == 5, "the checkpoint passes what was left out")


def test_mapped_events_are_acknowledged_by_number(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events("x", "y"))

    def mapper(event: RecordedEvent) -> Any:
        return event.event_number, event.data

    with subscribe_to_all_streams(event_store, "s", mapper=mapper, buffer_size=2) as subscription:
        subscriber = subscription.subscriber()
        batch = take(subscriber, 2)
        assert batch == [(1, "x"), (2, "y")]
        subscriber.ack(batch[-1][0])
        wait_until(lambda: last_seen(event_store, "s") == 2, "both are checkpointed")


@pytest.mark.parametrize(("threshold", "after", "saved"), [(3, 0.0, 3), (100, 0.05, 4)], ids=["by number", "by time"])
def test_checkpoint_tuning(event_store: EventStore, threshold: int, after: float, saved: int) -> None:
    event_store.append_to_stream("a", 0, events(1, 2, 3, 4))
    with subscribe_to_all_streams(
        event_store, "s", checkpoint_threshold=threshold, checkpoint_after=after
    ) as subscription:
        subscriber = subscription.subscriber()
        take(subscriber, 4, subscriber.ack)
        wait_until(lambda: last_seen(event_store, "s") == saved, "the checkpoint is written")
    assert last_seen(event_store, "s") == 4


def test_more_events_than_fit_into_memory(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(*range(500)))
    options: Any = {"max_size": 20, "buffer_size": 50, "checkpoint_threshold": 100}
    with subscribe_to_all_streams(event_store, "s", **options) as subscription:
        subscriber = subscription.subscriber()
        assert [event.data for event in take(subscriber, 500, subscriber.ack)] == list(range(500))


def test_iteration_ends_when_another_thread_closes(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1))
    seen: list[Any] = []
    subscription = subscribe_to_all_streams(event_store, "s")

    def consume() -> None:
        with subscription.subscriber() as subscriber:
            for batch in subscriber:
                seen.extend(event.data for event in batch)
                subscriber.ack(batch)

    thread = threading.Thread(target=consume)
    thread.start()
    wait_until(lambda: seen == [1], "the event has come")
    subscription.unsubscribe()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert subscription.closed
    assert last_seen(event_store, "s") == 1


def test_an_ack_after_the_end_does_nothing(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1))
    subscription = subscribe_to_all_streams(event_store, "s")
    subscriber = subscription.subscriber()
    batch = take(subscriber, 1)
    subscription.close()
    subscriber.ack(batch)
    assert last_seen(event_store, "s") is None
    assert subscriber.get() == []
    with pytest.raises(ConfigurationError, match="'s' is closed"):
        subscription.subscriber()


def test_an_ack_of_something_else_is_refused(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))
    with subscribe_to_all_streams(event_store, "s") as subscription:
        subscriber = subscription.subscriber()
        batch = take(subscriber, 1)
        with pytest.raises(UnexpectedAck, match="event 2 is not in flight"):
            subscriber.ack(2)
        subscriber.ack(batch)
        with pytest.raises(UnexpectedAck, match="event 1 is not in flight"):
            subscriber.ack(batch)
        with pytest.raises(ConfigurationError, match="give an event"):
            subscriber.ack("1")  # type: ignore[arg-type]


def test_a_name_runs_once_in_a_process_and_per_stream(event_store: EventStore) -> None:
    with subscribe_to_all_streams(event_store, "s"), subscribe_to_stream(event_store, "a", "s"):  # noqa: SIM117
        with pytest.raises(SubscriptionAlreadyExists, match=r"'s' to stream '\$all' runs in this process already"):
            subscribe_to_all_streams(event_store, "s")
    with subscribe_to_all_streams(event_store, "s") as again:
        assert again.wait_subscribed(LIMIT)


def test_a_refused_subscription_leaves_the_name_free(event_store: EventStore, schema: str, conn: Connection) -> None:
    with pytest.raises(ConfigurationError, match="buffer_size 0"):
        subscribe_to_all_streams(event_store, "s", buffer_size=0)
    with EventStore(event_store.settings.url, schema="no_such_schema") as elsewhere:
        for _ in range(2):
            with pytest.raises(Exception, match="no_such_schema"):
                subscribe_to_all_streams(elsewhere, "s")


@pytest.mark.parametrize("idle", [True, False], ids=["while idle", "with an event in flight"])
def test_deleting_a_running_subscription_ends_it_with_an_error(event_store: EventStore, idle: bool) -> None:
    subscription = subscribe_to_all_streams(event_store, "s")
    subscriber = subscription.subscriber()
    batch = []
    if not idle:
        event_store.append_to_stream("a", 0, events(1))
        batch = take(subscriber, 1)
    assert subscription.wait_subscribed(LIMIT)
    event_store.delete_subscription("$all", "s")
    subscriber.ack(batch)
    with pytest.raises(SubscriptionNotFound, match=r"'s' to stream '\$all' does not exist"):
        next(subscriber)
    with pytest.raises(SubscriptionNotFound):
        subscription.wait_subscribed()
    with pytest.raises(SubscriptionNotFound):
        subscription.subscriber()
    event_store.append_to_stream("b", 0, events(2))
    with subscribe_to_all_streams(event_store, "s") as anew:
        assert take(anew.subscriber(), 1)[0].event_number == 1
    subscription.close()


@pytest.mark.parametrize("function", ["selector", "mapper", "partition_by"])
def test_a_function_that_fails_ends_it_at_that_event(event_store: EventStore, function: str) -> None:
    event_store.append_to_stream("a", 0, events(4, 2, 0, 1))
    options: Any = {function: lambda event: 1 / event.data or event, "checkpoint_threshold": 50}
    with subscribe_to_all_streams(event_store, "s", **options) as subscription:
        subscriber = subscription.subscriber()
        for number in (1, 2):
            take(subscriber, 1)
            subscriber.ack(number)
        with pytest.raises(SubscriptionHalted, match=f"event 3, {function} failed with ZeroDivisionError: division"):
            subscriber.get(LIMIT)
    assert last_seen(event_store, "s") == 2


def test_an_event_that_cannot_be_decoded_ends_it_at_that_event(
    event_store: EventStore, schema: str, conn: Connection
) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))
    conn.execute(f"alter table {schema}.events disable trigger all")
    conn.execute(f"update {schema}.events set data = 'no json' where data = '2'")
    with subscribe_to_all_streams(event_store, "s") as subscription:
        subscriber = subscription.subscriber()
        take(subscriber, 1, subscriber.ack)
        with pytest.raises(DeserializationFailed, match="event 2 "):
            subscriber.get(LIMIT)
    assert last_seen(event_store, "s") == 1


def test_starting_and_stopping_leaves_nothing_behind(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(*range(50)))
    # The store's own pool is open from here on.
    threads, descriptors = threading.active_count(), _descriptors()
    for number in range(50):
        with subscribe_to_all_streams(event_store, "s") as subscription:
            subscriber = subscription.subscriber()
            assert take(subscriber, 1, subscriber.ack)[0].data == number
    assert threading.active_count() <= threads
    assert _descriptors() <= descriptors


def _descriptors() -> int:
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"  # noqa: PTH112 - not of interest as paths
    return len(os.listdir(folder))  # noqa: PTH208


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("buffer_size", True, "buffer_size True"),
        ("concurrency_limit", 0, "concurrency_limit 0"),
        ("max_size", -1, "max_size -1"),
        ("checkpoint_threshold", 0, "checkpoint_threshold 0"),
        ("checkpoint_after", -0.1, "checkpoint_after -0.1"),
        ("checkpoint_after", float("inf"), "checkpoint_after inf"),
        ("start_from", "end", "start_from 'end'"),
        ("selector", 1, "selector 1 is no function"),
        ("mapper", "m", "mapper 'm' is no function"),
        ("partition_by", "colour", "partition_by 'colour' is not known"),
    ],
)
def test_options_out_of_range(event_store: EventStore, option: str, value: object, message: str) -> None:
    options: Any = {option: value}
    subscribe: Callable[..., object] = subscribe_to_all_streams
    with pytest.raises(ConfigurationError, match=message):
        subscribe(event_store, "s", **options)
