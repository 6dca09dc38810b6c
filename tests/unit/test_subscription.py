"""The shell of one subscription: how it reads where a filter lets nothing pass, and what came too late."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from eventstore.handlers.resolve import Subscription
from eventstore.runtime import messages
from eventstore.runtime.reader import PageReader, Request
from eventstore.runtime.subscription import RunningSubscription
from eventstore.runtime.turns import Turns
from eventstore.store.delivery import DueParked
from eventstore.store.delivery_types import Terms
from eventstore.store.filters import EventFilter
from eventstore.store.read import Page
from eventstore.store.rows import Row

TERMS = Terms(1, 1, False, None, None, 0, 0, 0, False)


class Listener:
    """The surroundings of a subscription whose stream has 1,000,000 events, none of which passes a filter."""

    def __init__(self) -> None:
        self.reader = PageReader(self.read_page, set(), clock=lambda: 0.0)
        self.reads: list[tuple[Any, ...]] = []
        self.due: list[Callable[[], None]] = []
        self.requests: list[Request] = []
        self.turns = Turns(self.call_later)
        self.timers: list[Callable[[], None]] = []
        self.delivered: list[int] = []

    def read_page(
        self,
        stream: str,
        after: int,
        limit: int,
        *,
        max_bytes: int | None,
        filter: EventFilter | None,
        window: int | None,
    ) -> Page:
        self.reads.append((stream, after, max_bytes, filter))
        scanned_to = min(1_000_000, after + (window or limit))
        return Page([], scanned_to, complete=scanned_to == 1_000_000)

    def read(self, stream: str, after: int, limit: int, *options: Any) -> Page:
        return self.reader.read(stream, after, limit, *options)

    def read_soon(self, request: Request) -> None:
        self.requests.append(request)

    def forget_pages(self) -> None:
        self.reader.forget()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> object:
        (self.due if seconds == 0 else self.timers).append(callback)
        return None

    def read_parked(self, subscription_id: int, limit: int) -> list[DueParked]:
        return []

    def head_of(self, stream: str) -> int | None:
        return 1_000_000

    def to_worker(self, subscriber: Any, message: Any) -> None:
        if isinstance(message, messages.Deliver):
            self.delivered += [row[0] for row in message.rows]

    def to_lock_holder(self, message: Any) -> None: ...

    def changed(self) -> None: ...

    def drained(self, name: str) -> None: ...


def test_each_read_of_a_sparse_filter_leaves_the_others_their_turn() -> None:
    listener = Listener()
    subscription = RunningSubscription(
        Subscription(name="s", handler="m:f", event_types=("Rare",), max_bytes=1_234), None, listener
    )
    subscription.appended(1_000_000)
    subscription.granted(messages.Granted("s", 1, 1, None, TERMS))
    turns = 0
    while listener.due:
        assert len(listener.reads) == turns + 1, "one read in a turn"
        assert subscription.report().state == "catching_up"
        listener.due.pop()()
        turns += 1
    assert subscription.report().state == "live"
    assert {(stream, *rest) for stream, _, *rest in listener.reads} == {("$all", 1_234, EventFilter.of(["Rare"]))}


def test_a_read_under_way_is_forgotten_with_the_ownership() -> None:
    listener = Listener()
    subscription = RunningSubscription(Subscription(name="s", handler="m:f", category="rare"), None, listener)
    subscription.granted(messages.Granted("s", 1, 1, None, TERMS))
    (answer,) = listener.due
    subscription.standby(messages.Standby("s", "other", 7))
    answer()
    assert subscription.report().state == "waiting"
    assert len(listener.reads) == 1


def test_an_event_without_a_key_that_was_read_for_an_earlier_ownership_halts_nothing() -> None:
    def no_key(row: Row) -> Hashable:
        raise LookupError("no key")

    listener = Listener()
    subscription = RunningSubscription(Subscription(name="s", handler="m:f", partition_by="m:key"), no_key, listener)
    subscription.granted(messages.Granted("s", 1, 1, None, TERMS))
    subscription.granted(messages.Granted("s", 1, 2, 7, TERMS))
    stale, fresh = listener.requests
    page = Page([(7, "a", 1, "E", b"", b"", b"", b"{}", None, 0)], 7, complete=True)
    stale.answer(page)
    assert subscription.report().state == "catching_up"
    fresh.answer(page)
    assert subscription.report().reason == "halted at event 7: partition_by failed with LookupError: no key"


def test_the_wait_for_a_retry_ends_with_the_ownership() -> None:
    listener, worker = Listener(), ("worker:s:0", 1)
    subscription = RunningSubscription(Subscription(name="s", handler="m:f"), None, listener)
    page = Page([(7, "a", 1, "E", b"", b"", b"", b"{}", None, 0)], 7, complete=True)
    subscription.from_worker(worker, messages.WorkerReady(1))
    for epoch in (1, 2):
        subscription.granted(messages.Granted("s", 1, epoch, 6, TERMS))
        listener.requests.pop().answer(page)
        subscription.from_worker(worker, messages.Failed(7, "error", "it failed", None))
        subscription.stored(messages.AttemptsSaved("s", epoch, [7]))
    stale, fresh = listener.timers
    assert listener.delivered == [7, 7]
    stale()
    assert listener.delivered == [7, 7]
    fresh()
    assert listener.delivered == [7, 7, 7]
