"""The in-memory store: what it has of its own; the rest is the contract's, and `test_memory_twin.py` compares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from eventstore.store import (
    ConfigurationError,
    Connection,
    EventStore,
    HardDeleteNotEnabled,
    InMemoryEventStore,
    Snapshot,
    SnapshotNotFound,
    StoreSettings,
    StreamNotFound,
    SubscriptionNotFound,
)
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together

AT = datetime(2024, 2, 29, 12, tzinfo=UTC)


def test_it_is_an_event_store() -> None:
    with InMemoryEventStore() as store:
        assert isinstance(store, EventStore)
        assert store.schema == "memory"
        assert not store.init().created_tables


def test_stores_share_nothing() -> None:
    one, two = InMemoryEventStore(), InMemoryEventStore()
    one.append_to_stream("a", "no_stream", events(1))
    assert two.read_all_streams_forward() == []


def test_clear_forgets_everything() -> None:
    store = InMemoryEventStore()
    store.append_to_stream("a", "no_stream", events(1))
    store.record_snapshot(Snapshot("a", 1, "A", 1))
    store.create_subscription("$all", "s")
    store.clear()
    assert store.subscriptions() == store.read_all_streams_forward() == []
    with pytest.raises(SnapshotNotFound):
        store.read_snapshot("a")
    with pytest.raises(StreamNotFound):
        store.stream_info("a")
    assert store.append_to_stream("a", "no_stream", events(1)).position == 1


def test_after_close_it_refuses_like_the_real_store() -> None:
    with InMemoryEventStore() as store:
        store.append_to_stream("a", "no_stream", events(1))
    with pytest.raises(ConfigurationError, match="closed"):
        store.read_stream_forward("a")
    with pytest.raises(ConfigurationError, match="closed"):
        store.append_many([("a", 1, events(2))])


def test_there_are_no_connections(conn: Connection, database_url: str) -> None:
    store = InMemoryEventStore()
    with pytest.raises(ConfigurationError, match="leave out conn"):
        store.append_to_stream("a", "no_stream", events(1), conn=conn)
    with pytest.raises(ConfigurationError, match="leave out conn"):
        store.append_many([("a", "no_stream", events(1))], conn=conn)
    with pytest.raises(ConfigurationError, match="url"):
        EventStore(database_url, share_pool_with=store)


def test_hard_deletes_are_an_option() -> None:
    refusing, allowing = InMemoryEventStore(), InMemoryEventStore(enable_hard_deletes=True)
    for store in (refusing, allowing):
        store.append_to_stream("a", "no_stream", events(1))
    with pytest.raises(HardDeleteNotEnabled):
        refusing.delete_stream("a", 1, "hard")
    allowing.delete_stream("a", 1, "hard")
    assert (len(refusing.read_all_streams_forward()), allowing.read_all_streams_forward()) == (1, [])


def test_settings_of_the_real_store() -> None:
    settings = StoreSettings(url="postgresql://localhost/shop", schema="tenant", enable_hard_deletes=True)
    store = InMemoryEventStore.from_settings(settings)
    store.append_to_stream("a", "no_stream", events(1))
    store.delete_stream("a", 1, "hard")
    assert store.read_all_streams_forward() == []


def test_the_clock_can_be_given() -> None:
    store = InMemoryEventStore(clock=lambda: AT)
    store.append_to_stream("a", "no_stream", events(1))
    store.record_snapshot(Snapshot("a", 1, "A", 1))
    assert store.read_stream_forward("a")[0].created_at == AT
    assert store.stream_info("a").created_at == store.read_snapshot("a").created_at == AT
    local = (AT + timedelta(hours=1)).astimezone(timezone(timedelta(hours=2)))
    store.append_to_stream("a", 1, events(2), created_at_override=local)
    written = store.read_stream_forward("a", 2)[0].created_at
    assert (written, written.tzinfo) == (local, UTC)


@pytest.mark.parametrize(("start_from", "last_seen", "lag"), [("origin", None, 3), ("current", 3, 0), (1, 1, 2)])
def test_subscription_rows(start_from: Any, last_seen: int | None, lag: int) -> None:
    store = InMemoryEventStore()
    store.append_to_stream("a", "no_stream", events(1, 2, 3))
    created = store.create_subscription("a", "s", start_from)
    assert store.create_subscription("a", "s", "origin") == created
    other = store.create_subscription("nowhere", "s")
    assert (created.last_seen, created.created_at.tzinfo) == (last_seen, UTC)
    assert store.subscriptions() == [created, other]
    assert store.subscription("a", "s") == created
    first, second = store.subscription_lags()
    assert (first.subscription_id, first.stream_uuid, first.head, first.lag) == (created.subscription_id, "a", 3, lag)
    assert (first.unit, first.node, first.epoch, first.is_locked) == (None, None, None, False)
    assert (second.head, second.lag) == (0, 0)
    store.delete_subscription("a", "s")
    with pytest.raises(SubscriptionNotFound):
        store.subscription("a", "s")
    with pytest.raises(ConfigurationError, match="start_from"):
        store.create_subscription("a", "s", -1)


def test_threads_append_without_a_gap() -> None:
    store = InMemoryEventStore()

    def writer(number: int) -> None:
        for round_ in range(100):
            store.append_to_stream(f"own-{number}", round_, events(number))
            store.append_many([("shared", "any_version", events(number)), ("other", "any_version", events(number))])

    together(writer, range(4))
    read = list(store.stream_all_forward(read_batch_size=7))
    assert [event.event_number for event in read] == list(range(1, 1201))
    assert store.stream_heads(["shared", "other", "own-3"]) == {"shared": 400, "other": 400, "own-3": 100}
    for stream in ("shared", "other", "own-0"):
        versions = [event.stream_version for event in store.stream_forward(stream)]
        assert versions == list(range(1, len(versions) + 1))
