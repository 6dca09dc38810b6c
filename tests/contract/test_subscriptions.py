"""Contract: the rows of subscriptions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventstore.store import EventStore, SubscriptionNotFound, SubscriptionRecord
from eventstore.tests.support.events import events

Create = Callable[..., SubscriptionRecord]


def test_listed_in_order_of_creation(store: EventStore, create_subscription: Create) -> None:
    assert store.subscriptions() == []
    created = [create_subscription(stream, "s") for stream in ("$all", "b", "a")]
    assert store.subscriptions() == created
    for record in created:
        assert store.subscription(record.stream_uuid, "s") == record


def test_where_they_start(store: EventStore, create_subscription: Create) -> None:
    store.append_to_stream("a", "no_stream", events(1, 2, 3))
    starts = {"origin": None, "current": 3, 2: 2}
    for start, last_seen in starts.items():
        assert create_subscription("$all", str(start), start).last_seen == last_seen
    lags = {lag.subscription_name: (lag.head, lag.lag, lag.is_locked) for lag in store.subscription_lags()}
    assert lags == {"origin": (3, 3, False), "current": (3, 0, False), "2": (3, 1, False)}


def test_deleted(store: EventStore, create_subscription: Create) -> None:
    create_subscription("$all", "s")
    kept = create_subscription("a", "s")
    store.delete_subscription("$all", "s")
    assert store.subscriptions() == [kept]
    for call in (store.delete_subscription, store.subscription):
        with pytest.raises(SubscriptionNotFound, match="'s'"):
            call("$all", "s")
