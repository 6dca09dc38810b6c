"""Transient subscriptions: what is appended from now on, filtered and mapped, until closed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from eventstore import (
    ConfigurationError,
    EventStore,
    InMemoryEventStore,
    RecordedEvent,
    SchemaMissing,
    StreamNameTooLong,
    SubscriptionHalted,
    subscribe,
)
from eventstore.store import StartFrom
from eventstore.tests.support.consuming import take
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT, wait_until


def test_only_what_is_appended_afterwards_comes(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events("before"))
    with subscribe(event_store) as subscription:
        event_store.append_to_stream("a", 1, events("x"))
        event_store.append_to_stream("b", 0, events("y", "z"))
        taken = take(subscription, 3)
    assert [event.data for event in taken] == ["x", "y", "z"]
    assert [event.event_number for event in taken] == [2, 3, 4]
    assert all(type(event) is RecordedEvent for event in taken)
    assert event_store.subscriptions() == []


def test_a_single_stream_which_does_not_exist_yet(event_store: EventStore) -> None:
    with subscribe(event_store, "a,1 ü") as subscription:
        event_store.append_to_stream("b", 0, events("other"))
        event_store.append_to_stream("a,1 ü", 0, events("x"))
        assert [event.data for event in take(subscription, 1)] == ["x"]
        assert subscription.position == 1


@pytest.mark.parametrize(("start_from", "expected"), [("origin", [1, 2, 3]), (1, [2, 3]), ("current", [3])])
def test_start_from(event_store: EventStore, start_from: StartFrom, expected: list[int]) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))
    with subscribe(event_store, "a", start_from=start_from) as subscription:
        event_store.append_to_stream("a", 2, events(3))
        assert [event.data for event in take(subscription, len(expected))] == expected


def test_selected_and_mapped(event_store: EventStore) -> None:
    with subscribe(
        event_store, selector=lambda event: event.data is not None, mapper=lambda event: event.data
    ) as subscription:
        event_store.append_to_stream("a", 0, events(None, "x"))
        event_store.append_to_stream("a", 2, events(None))
        event_store.append_to_stream("a", 3, events("y"))
        assert take(subscription, 2) == ["x", "y"]
        assert subscription.position == 4


def test_more_than_a_page(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(*range(2_500)))
    with subscribe(event_store, start_from="origin", selector=lambda event: event.data >= 1_200) as subscription:
        assert [event.data for event in take(subscription, 1_300)] == list(range(1_200, 2_500))


def test_iteration_ends_after_the_time_out(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))
    with subscribe(event_store, start_from="origin", timeout=0.2) as subscription:
        assert [[event.data for event in batch] for batch in subscription] == [[1, 2]]
        assert not subscription.closed


def test_iteration_ends_when_another_thread_closes(event_store: EventStore) -> None:
    subscription = subscribe(event_store)
    seen: list[Any] = []

    def consume() -> None:
        for batch in subscription:
            seen.extend(event.data for event in batch)

    thread = threading.Thread(target=consume)
    thread.start()
    event_store.append_to_stream("a", 0, events(1))
    wait_until(lambda: seen == [1], "the event has come")
    subscription.close()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert subscription.closed
    assert list(subscription) == []
    subscription.close()


def test_a_function_that_fails_names_the_event(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1, 0))
    with subscribe(event_store, start_from="origin", mapper=lambda event: 1 / event.data) as subscription:
        assert subscription.get(LIMIT) == [1]
        for _ in range(2):
            with pytest.raises(
                SubscriptionHalted, match=r"the subscription to stream '\$all' stopped at event 2, mapper"
            ):
                subscription.get(LIMIT)


def test_a_selector_may_close_its_subscription(event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, events(1))
    subscription = subscribe(event_store, start_from="origin", selector=lambda event: subscription.close())
    assert list(subscription) == []
    assert subscription.closed


def test_a_store_in_memory_is_refused() -> None:
    with InMemoryEventStore() as store, pytest.raises(ConfigurationError, match="an InMemoryEventStore has no connect"):
        subscribe(store)


def test_arguments_of_no_use(event_store: EventStore, database_url: str) -> None:
    for arguments in ({"start_from": "end"}, {"selector": 1}, {"mapper": 1}):
        with pytest.raises(ConfigurationError):
            subscribe(event_store, **arguments)
    with pytest.raises(StreamNameTooLong):
        subscribe(event_store, "x" * 5_000)
    with EventStore(database_url, schema="no_such_schema") as elsewhere, pytest.raises(SchemaMissing):
        subscribe(elsewhere)
