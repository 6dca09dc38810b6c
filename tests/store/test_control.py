"""What operators want of subscriptions, as both façades store it; nodes that act on it are in `tests/runtime`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.store import (
    AsyncEventStore,
    ConfigurationError,
    Connection,
    EventStore,
    InMemoryEventStore,
    ParkedRecord,
    Statements,
    SubscriptionNotFound,
    run,
)
from eventstore.store.delivery import list_attempts, park_events, save_attempts, save_halt, subscription_terms
from eventstore.store.delivery_types import Attempt, ParkedEvent, Terms
from eventstore.store.notifications import runtime_channel
from eventstore.store.subscriptions import begin_epoch, create_subscription, save_checkpoint
from eventstore.tests.support.blocking import blocking
from eventstore.tests.support.events import events

pytestmark = pytest.mark.every_server

NAMED = ("$all", "s")


class Owner:
    """A node that owns the subscription "s", at event 2 of 5, as far as the database goes."""

    def __init__(self, conn: Connection, schema: str) -> None:
        self.conn, self.statements = conn, Statements(schema)
        self.id = run(conn, create_subscription(self.statements, *NAMED)).subscription_id
        self.epoch = run(conn, begin_epoch(self.statements, self.id, "node")).epoch
        run(conn, save_checkpoint(self.statements, self.id, self.epoch, 2))

    @property
    def terms(self) -> Terms:
        return run(self.conn, subscription_terms(self.statements, [self.id]))[self.id]

    @property
    def is_fenced(self) -> bool:
        return self.terms.epoch != self.epoch

    def halt(self, number: int) -> None:
        run(self.conn, save_attempts(self.statements, self.id, self.epoch, [Attempt(number, 3, 0, "broken")]))
        assert run(self.conn, save_halt(self.statements, self.id, self.epoch, number, "broken"))

    def attempts(self) -> dict[int, bool]:
        """The events something is remembered of, and whether they are to be skipped."""
        return {
            number: tried.skip for number, tried in run(self.conn, list_attempts(self.statements, self.id, 0)).items()
        }

    def park(self, *parked: tuple[int, str, str]) -> None:
        """Parks events: number, partition, state."""
        rows = [
            ParkedEvent(
                number=number,
                event_id=UUID(int=number),
                partition=partition,
                state=state,  # type: ignore[arg-type]
                holds=True,
                attempts=1,
                crashes=0,
                reason="broken",
            )
            for number, partition, state in parked
        ]
        assert run(self.conn, park_events(self.statements, self.id, self.epoch, rows))


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, database_url: str, schema: str) -> Iterator[EventStore]:
    """Either façade, with five events."""
    with ExitStack() as stack:
        opened: EventStore
        if request.param == "sync":
            opened = stack.enter_context(EventStore(database_url, schema=schema, pool_size=2))
        else:
            opened = stack.enter_context(blocking(lambda: AsyncEventStore(database_url, schema=schema, pool_size=2)))
        opened.append_to_stream("a", "no_stream", events(1, 2, 3, 4, 5))
        yield opened


@pytest.fixture
def owner(store: EventStore, conn: Connection) -> Owner:
    return Owner(conn, store.schema)


def states(store: EventStore) -> dict[int, str]:
    return {one.number: one.state for one in store.parked_events(*NAMED)}


def test_pause_and_resume(store: EventStore, owner: Owner) -> None:
    assert store.pause_subscription(*NAMED)
    assert not store.pause_subscription(*NAMED), "it was paused already"
    assert owner.terms.paused
    assert store.resume_subscription(*NAMED)
    assert not store.resume_subscription(*NAMED)
    assert not owner.terms.paused
    assert not owner.is_fenced, "a pause ends no ownership"


def test_a_halted_subscription_is_resumed_with_a_fresh_count(store: EventStore, owner: Owner) -> None:
    owner.halt(3)
    assert store.resume_subscription(*NAMED)
    assert owner.terms.halted_at is None
    assert owner.attempts() == {}
    assert owner.is_fenced, "the owner begins anew"


def test_restart(store: EventStore, owner: Owner) -> None:
    owner.halt(3)
    store.restart_subscription(*NAMED)
    assert (owner.terms.halted_at, owner.is_fenced) == (None, True)
    assert store.subscription(*NAMED).last_seen == 2


def test_reset_to_a_number_or_a_time(store: EventStore, owner: Owner) -> None:
    owner.park((1, "a", "parked"), (4, "b", "parked"))
    owner.halt(3)
    assert store.reset_subscription(*NAMED, 1) == 1
    assert store.subscription(*NAMED).last_seen == 1
    terms = owner.terms
    assert (terms.replay_until, terms.live_after, terms.halted_at) == (2, 5, None)
    assert owner.is_fenced
    assert states(store) == {1: "parked"}, "what is behind the position is handled again instead"
    assert owner.attempts() == {}
    assert store.reset_subscription(*NAMED, datetime.now(UTC) + timedelta(days=1)) == 5
    third = store.read_stream_forward("a", 1, 1)[0].created_at
    assert store.reset_subscription(*NAMED, third) == 0, "all were created in one transaction"
    for wrong in (-1, 6):
        with pytest.raises(ConfigurationError, match="give a number from 0 to 5"):
            store.reset_subscription(*NAMED, wrong)
    with pytest.raises(ConfigurationError, match="has no time zone"):
        store.reset_subscription(*NAMED, datetime(2026, 1, 1))  # noqa: DTZ001
    assert store.subscription(*NAMED).last_seen == 0


def test_skip_where_it_halted_or_by_number(store: EventStore, owner: Owner) -> None:
    with pytest.raises(ConfigurationError, match="'s' is not halted; name the event"):
        store.skip_event(*NAMED)
    with pytest.raises(ConfigurationError, match="event 2 is finished already"):
        store.skip_event(*NAMED, 2)
    with pytest.raises(ConfigurationError, match=r"event 99 is not there yet for subscription 's': .* ends at \d+$"):
        store.skip_event(*NAMED, 99)
    assert not owner.is_fenced
    owner.halt(3)
    assert store.skip_event(*NAMED) == 3
    assert store.skip_event(*NAMED, 5) == 5
    assert owner.attempts() == {3: True, 5: True}
    assert (owner.terms.halted_at, owner.is_fenced) == (None, True)


def test_parked_events_are_listed_retried_and_discarded(store: EventStore, owner: Owner) -> None:
    assert store.parked_events(*NAMED) == []
    owner.park((1, "a", "parked"), (2, "b", "parked"), (3, "a", "held"), (4, "b", "held"), (5, "c", "parked"))
    (first, *_) = found = store.parked_events(*NAMED)
    assert isinstance(first, ParkedRecord)
    assert (first.number, first.partition, first.attempts, first.reason) == (1, "a", 1, "broken")
    assert first.event_type is None, "there is no event of that id"
    assert [one.number for one in found] == [1, 2, 3, 4, 5]
    chosen: list[dict[str, Any]] = [{"numbers": [2, 3]}, {"partition": "a"}, {"until": 2}, {"count": 1}]
    listed = [[one.number for one in store.parked_events(*NAMED, **choice)] for choice in chosen]
    assert listed == [[2, 3], [1, 3], [1, 2], [1]]
    assert not owner.terms.parked_due
    assert store.retry_parked(*NAMED, numbers=[1, 3]) == [1], "what is held follows by itself"
    assert owner.terms.parked_due
    assert store.discard_parked(*NAMED, partition="b") == [2, 4]
    assert states(store) == {1: "retry", 2: "discard", 3: "held", 4: "discard", 5: "parked"}
    assert store.retry_parked(*NAMED, until=4) == [], "they are decided"
    assert store.discard_parked(*NAMED, until=1) == [1], "but what is to be retried can still be given up"
    assert store.discard_parked(*NAMED) == [3, 5]


def test_a_retried_event_has_a_fresh_count_and_a_discarded_one_stays_so(store: EventStore, owner: Owner) -> None:
    owner.park((1, "a", "parked"), (2, "b", "parked"))
    remembered = [Attempt(number, 3, 2, "broken") for number in (1, 2)]
    run(owner.conn, save_attempts(owner.statements, owner.id, owner.epoch, remembered))
    assert owner.attempts() == {}, "they begin anew when an operator wants it"
    store.retry_parked(*NAMED, numbers=[1])
    assert owner.attempts() == {}
    run(owner.conn, save_attempts(owner.statements, owner.id, owner.epoch, remembered[:1]))
    assert owner.attempts() == {1: False}, "what has happened since then counts"
    store.discard_parked(*NAMED)
    owner.park((1, "a", "parked"))
    assert states(store) == {1: "discard", 2: "discard"}, "it failed again meanwhile"


def test_what_is_wanted_is_announced_when_the_callers_transaction_commits(
    database_url: str, schema: str, open_connection: Callable[..., Connection]
) -> None:
    with EventStore(database_url, schema=schema) as store, psycopg.connect(database_url) as caller:
        owner = Owner(open_connection(), schema)
        listener = open_connection()
        listener.execute(psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(runtime_channel(schema))))
        store.pause_subscription(*NAMED, conn=caller)
        assert not owner.terms.paused
        caller.rollback()
        store.pause_subscription(*NAMED, conn=caller)
        caller.commit()
        assert owner.terms.paused
        assert [one.payload for one in listener.notifies(timeout=30, stop_after=1)] == ["changed"]


METHODS = (
    "pause_subscription",
    "resume_subscription",
    "restart_subscription",
    "skip_event",
    "parked_events",
    "retry_parked",
    "discard_parked",
)


def test_unknown_subscriptions(store: EventStore) -> None:
    for method in METHODS:
        with pytest.raises(SubscriptionNotFound, match="'s'"):
            getattr(store, method)(*NAMED)
    with pytest.raises(SubscriptionNotFound, match="'s'"):
        store.reset_subscription(*NAMED, 0)


def test_nothing_is_steered_in_memory() -> None:
    with InMemoryEventStore() as store:
        store.create_subscription(*NAMED)
        for method in METHODS:
            with pytest.raises(ConfigurationError, match="nothing runs subscription 's'"):
                getattr(store, method)(*NAMED)
