"""One subscriber of a persistent subscription: what a thread of the user's takes events from and acknowledges at.

The user's threads call the public methods, the driver's thread the others; a condition guards what both touch. What
follows from a call is told to the driver through `Reports`, never done here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

from ...store.errors import ConfigurationError, EventStoreError, UnexpectedAck
from ...store.types import RecordedEvent
from ..routing import Entry

Ackable = RecordedEvent | int | Sequence[RecordedEvent | int]
"""An event, its number, or several of either."""


class Reports(Protocol):
    """What a subscriber tells the driver; called from the user's threads."""

    def acked(self, subscriber: Subscriber, numbers: list[int]) -> None:
        """It finished these events."""
        ...

    def recalled(self, subscriber: Subscriber) -> None:
        """It is done with what it had when it was recalled."""
        ...

    def left(self, subscriber: Subscriber) -> None:
        """It takes no more events."""
        ...


class Subscriber:
    """A competing consumer of a subscription, as an iterator over batches. Made by `PersistentSubscription.subscriber`.

    At most `buffer_size` events are in flight at it: received, or waiting to be, and not acknowledged. More come only
    when some of them are. Use it as a context manager, or `close()` it, so that what it leaves goes to others.

        for events in subscriber:
            ...
            subscriber.ack(events)

    Iteration ends when the subscription or the subscriber is closed, also from another thread.

    Raises:
        SubscriptionNotFound: While iterating: the subscription was deleted.
        SubscriptionHalted: While iterating: a selector, mapper or partition function failed.
        DeserializationFailed: While iterating: an event cannot be decoded.
        EventStoreError: While iterating: the database refuses the subscription for good.
    """

    def __init__(self, subscription_name: str, reports: Reports) -> None:
        self._name = subscription_name
        self._reports = reports
        self._changed = threading.Condition()
        self._waiting: deque[Entry] = deque()
        self._received: dict[int, None] = {}
        self._void: set[int] = set()
        self._askers = 0
        self._recalling = False
        self._ended = False
        self._error: EventStoreError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[Any]:
        batch = self.get()
        if not batch:
            raise StopIteration
        return batch

    @property
    def closed(self) -> bool:
        """True when no events will come any more."""
        return self._ended

    def get(self, timeout: float | None = None) -> list[Any]:
        """Return the events that wait, at least one. Mirrors the message `{:events, events}`.

        Args:
            timeout: How long to wait for the first one, in seconds; None (default) for as long as it takes.

        Returns:
            The events, or what the mapper made of them; an empty list after the time-out, or when closed.

        Raises:
            EventStoreError: As iteration.
        """
        with self._changed:
            self._askers += 1
            try:
                # Who asks for more is done with what a lost connection has made void.
                done = self._done_with_recall()
                if done:
                    self._reports.recalled(self)
                self._changed.wait_for(lambda: self._waiting or self._ended, timeout)
            finally:
                self._askers -= 1
            if self._error is not None:
                raise self._error
            batch = list(self._waiting)
            self._waiting.clear()
            for entry in batch:
                self._received[entry.number] = None
            self._void.difference_update(entry.number for entry in batch)
            return [entry.payload for entry in batch]

    def ack(self, events: Ackable) -> None:
        """Acknowledge an event and all that were received before it with a lower number. Mirrors `ack/2`.

        Does not wait for the checkpoint. When the connection was lost, or the subscription closed, after the events
        were received, it has no effect: they come again. Safe to call from any thread.

        Args:
            events: An event, a list of events (its highest counts), or an event number; with a mapper, the number.

        Raises:
            UnexpectedAck: One of them is not in flight at this subscriber; nothing is acknowledged.
            ConfigurationError: It is neither an event nor a number.
        """
        numbers = _numbers(events)
        with self._changed:
            for number in numbers:
                if number not in self._received and number not in self._void:
                    raise UnexpectedAck(self._name, number)
            # A void ack says nothing of what was received since.
            highest = max((number for number in numbers if number in self._received), default=-1)
            finished = [number for number in self._received if number <= highest]
            for number in finished:
                del self._received[number]
            self._void = {number for number in self._void if number > max(numbers, default=-1)}
            if finished:
                self._reports.acked(self, finished)
            if not self._void and self._done_with_recall():
                self._reports.recalled(self)

    def close(self) -> None:
        """Take no more events; those not acknowledged go to other subscribers. Does nothing when closed already."""
        with self._changed:
            if not self._ended:
                self.end(None)
                self._reports.left(self)

    # What the driver calls

    def deliver(self, entries: Iterable[Entry]) -> None:
        """Add events to those that wait."""
        with self._changed:
            if not self._ended:
                self._waiting.extend(entries)
                self._changed.notify_all()

    def recall(self) -> bool:
        """Make all that is in flight void; True when nobody is busy with any of it, else `recalled` is reported."""
        with self._changed:
            self._make_void()
            self._recalling = bool(self._void) and not self._askers
            return not self._recalling

    def end(self, error: EventStoreError | None) -> None:
        """Make all that is in flight void, for good; raise the error where events are asked for."""
        with self._changed:
            if not self._ended:
                self._make_void()
                self._ended, self._error = True, error
                self._changed.notify_all()

    def _make_void(self) -> None:
        self._waiting.clear()
        self._void.update(self._received)
        self._received.clear()

    def _done_with_recall(self) -> bool:
        was_recalling, self._recalling = self._recalling, False
        return was_recalling


def _numbers(events: Ackable) -> list[int]:
    if isinstance(events, RecordedEvent):
        return [events.event_number]
    if isinstance(events, int) and not isinstance(events, bool):
        return [events]
    if isinstance(events, Sequence) and not isinstance(events, str | bytes):
        return [number for event in events for number in _numbers(event)]
    raise ConfigurationError(f"ack got {events!r:.80}: give an event, a list of events, or an event number")
