"""Persistent subscriptions in a user's own process: `subscribe_to_stream` and `subscribe_to_all_streams`.

Owns which subscriptions run in this process, and which subscribers each has; the thread behind a subscription is
`driver.py`, what its subscribers do is `subscriber.py`. Mirrors `EventStore.Subscriptions`.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import Self, TypedDict, Unpack

from ...store.errors import ConfigurationError, EventStoreError, SubscriptionAlreadyExists, TooManySubscribers
from ...store.event_store import EventStore
from ...store.notifications import check_stream_name, check_text
from ...store.types import ALL_STREAM, StartFrom
from .driver import Driver
from .options import Mapper, PartitionBy, Selector, SubscriptionOptions
from .preparing import Preparation
from .progress import Progress
from .session import Session
from .subscriber import Subscriber

Key = tuple[int, str, str, str, str]
"""What identifies a subscription on this computer: process, URL, schema, stream and name."""

_running: set[Key] = set()
_running_lock = threading.Lock()


class Options(TypedDict, total=False):
    """The options of `subscribe_to_stream`, described there."""

    start_from: StartFrom
    buffer_size: int
    concurrency_limit: int
    partition_by: PartitionBy | None
    selector: Selector | None
    mapper: Mapper | None
    max_size: int
    checkpoint_threshold: int
    checkpoint_after: float


class PersistentSubscription:
    """A named subscription that goes on where it was acknowledged last. Made by `subscribe_to_stream`.

    A thread of its own keeps one database connection, also across losses of it: what is in flight then comes again.
    While another process runs the subscription, this one waits to take over. Use it as a context manager, or close it.
    """

    def __init__(self, store: EventStore, stream_uuid: str, name: str, options: SubscriptionOptions, key: Key) -> None:
        self.stream_uuid = stream_uuid
        self.name = name
        self._options = options
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._key = key
        connect = partial(Session, store, stream_uuid, name)
        session = connect()
        try:
            record = session.create(options.start_from)
            preparation = Preparation(
                stream_uuid, name, store.serializer, options.selector, options.mapper, options.partition_key()
            )
            self._progress = Progress(record.last_seen or 0)
            self._driver = Driver(
                options, preparation, connect, session, record.subscription_id, self._progress, self._end
            )
        except BaseException:
            session.close()
            raise
        self._driver.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def subscribed(self) -> bool:
        """True while this process owns the subscription, so that events come. Mirrors `{:subscribed, subscription}`."""
        return self._progress.subscribed

    @property
    def closed(self) -> bool:
        """True when it has ended, in order or by an error."""
        return self._progress.ended

    @property
    def checkpoint(self) -> int:
        """The last event number that this process has checkpointed, or found when it subscribed."""
        return self._progress.checkpoint

    def wait_subscribed(self, timeout: float | None = None) -> bool:
        """Wait until this process owns the subscription. Mirrors the message `{:subscribed, subscription}`.

        Args:
            timeout: How long, in seconds; None (default) for as long as it takes.

        Returns:
            False after the time-out, or when the subscription was closed.

        Raises:
            EventStoreError: The subscription ended by this error, as `Subscriber` describes.
        """
        return self._progress.wait_subscribed(timeout)

    def subscriber(self) -> Subscriber:
        """Connect a further subscriber; the first gets all events, several share them in turn.

        Raises:
            TooManySubscribers: There are `concurrency_limit` of them already.
            ConfigurationError: The subscription is closed.
            EventStoreError: It ended by this error.
        """
        with self._lock:
            if self._progress.error is not None:
                raise self._progress.error
            if self.closed:
                raise ConfigurationError(f"subscription {self.name!r} is closed: subscribe again")
            self._subscribers = [subscriber for subscriber in self._subscribers if not subscriber.closed]
            if len(self._subscribers) >= self._options.concurrency_limit:
                raise TooManySubscribers(self.name, self._options.concurrency_limit)
            subscriber = Subscriber(self.name, self._driver)
            self._subscribers.append(subscriber)
            self._driver.joined(subscriber)
        return subscriber

    def unsubscribe(self) -> None:
        """Stop: write the checkpoint, give the lock back, end every iteration. Mirrors `unsubscribe_from_stream/2`.

        Does not wait for subscribers: what they have not acknowledged comes again with the next subscription of this
        name. Returns when the thread has ended, which takes as long as the statement at hand.
        """
        self._driver.stop()

    def close(self) -> None:
        """The same as `unsubscribe`."""
        self.unsubscribe()

    def _end(self, error: EventStoreError | None) -> None:
        """What the driver does last. The name is free before anybody is told, so that it can be used again at once."""
        _forget(self._key)
        with self._lock:
            self._progress.end(error)
            for subscriber in self._subscribers:
                subscriber.end(error)


def subscribe_to_stream(
    store: EventStore, stream_uuid: str, name: str, **options: Unpack[Options]
) -> PersistentSubscription:
    """Subscribe to a stream, at least once for every event. Mirrors `subscribe_to_stream/4`.

    Args:
        store: The store; it must stay open.
        stream_uuid: The stream, which need not exist yet.
        name: The subscription's name, unique for the stream. All processes that use it share one checkpoint, and one
            of them at a time gets the events.
        **options: All optional:

            - start_from: Where a subscription that does not exist yet starts: "origin" (default), "current", or the
              last event number *not* to deliver.
            - buffer_size: Most events in flight at each subscriber; default 1.
            - concurrency_limit: Most subscribers; default 1.
            - partition_by: Events with the same key are handled by one subscriber at a time, in order: a function of
              the event, or "stream", "category", "event_type", "correlation_id", "data.NAME"; default None, no order
              among several subscribers.
            - selector: Function of the event; where it returns something false, the event counts as acknowledged.
            - mapper: Function of the event; what it returns is delivered in its place.
            - max_size: Most events in memory and not acknowledged; default 1,000.
            - checkpoint_threshold: Acknowledged events after which the checkpoint is written; default 1.
            - checkpoint_after: Seconds after which it is written although the threshold is not reached; default 0,
              never. With a threshold above 1, give some.

    Raises:
        SubscriptionAlreadyExists: This process runs it already.
        ConfigurationError: An argument is of no use.
        EventStoreError: The database cannot be reached, or holds no store.
    """
    settled = SubscriptionOptions(**options)
    check_stream_name(stream_uuid)
    check_text(name, "subscription name")
    key = (os.getpid(), store.settings.url, store.schema, stream_uuid, name)
    with _running_lock:
        if key in _running:
            raise SubscriptionAlreadyExists(stream_uuid, name)
        _running.add(key)
    try:
        return PersistentSubscription(store, stream_uuid, name, settled, key)
    except BaseException:
        _forget(key)
        raise


def subscribe_to_all_streams(store: EventStore, name: str, **options: Unpack[Options]) -> PersistentSubscription:
    """Subscribe to all events of the store. Mirrors `subscribe_to_all_streams/3`; see `subscribe_to_stream`."""
    return subscribe_to_stream(store, ALL_STREAM, name, **options)


def _forget(key: Key) -> None:
    with _running_lock:
        _running.discard(key)
