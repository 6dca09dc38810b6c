"""Transient subscriptions: what is appended from now on, without acks and checkpoints, in the thread that iterates.

Owns one session (see `session.py`): it LISTENs first, then looks where the stream ends, then reads after that, so that
nothing falls in between. A lost session is followed by the next one, which reads on from the same position. Mirrors
`EventStore.subscribe/2`.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self

from ...store.errors import EventStoreError, StoreUnavailable
from ...store.event_store import EventStore
from ...store.types import ALL_STREAM, StartFrom
from ..backoff import Backoff
from .options import PAGE_SIZE, Mapper, Selector
from .preparing import Preparation, for_transient
from .session import Session

#: Bounds what a lost notification can cost, in seconds.
POLL_INTERVAL = 5.0

#: Waits between attempts to connect again.
RECONNECT = Backoff(minimum=0.1, maximum=10.0)


class TransientSubscription:
    """An iterator over batches of events, as they are appended. Made by `subscribe`.

    Use it as a context manager, or close it. One thread at a time may iterate.

    Raises:
        SubscriptionHalted: While iterating: the selector or mapper failed.
        DeserializationFailed: While iterating: an event cannot be decoded.
        EventStoreError: While iterating: the database refuses the subscription for good.
    """

    def __init__(
        self, store: EventStore, preparation: Preparation, start_from: StartFrom, timeout: float | None
    ) -> None:
        self._store = store
        self._preparation = preparation
        self._timeout = timeout
        self._closed = False
        # Reentrant: a selector may close its subscription.
        self._iterating = threading.RLock()
        self._lost = 0
        self._session: Session | None = Session(store, preparation.stream_uuid)
        self._position = self._start(self._session, start_from)
        self._has_more = True
        self._bell, self._ring = socket.socketpair()

    @staticmethod
    def _start(session: Session, start_from: StartFrom) -> int:
        if isinstance(start_from, int):
            return start_from
        try:
            return session.head() if start_from == "current" else 0
        except BaseException:
            session.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[Any]:
        batch = self.get(self._timeout)
        if not batch:
            raise StopIteration
        return batch

    @property
    def position(self) -> int:
        """The last event number that was delivered or left out."""
        return self._position

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    def get(self, timeout: float | None = None) -> list[Any]:
        """Return the events appended since the last batch, at least one. Mirrors the message `{:events, events}`.

        Args:
            timeout: How long to wait for the first one, in seconds; None (default) for as long as it takes.

        Returns:
            The events, or what the mapper made of them; an empty list after the time-out, or when closed.

        Raises:
            EventStoreError: As iteration.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._iterating:
            while not self._closed:
                batch = self._attempt()
                if batch:
                    return batch
                left = None if deadline is None else deadline - time.monotonic()
                if self.closed or (left is not None and left <= 0):
                    return []
                self._wait(left)
        return []

    def close(self) -> None:
        """End the iteration, also one that another thread is in, and the session. Safe to call again."""
        self._closed = True
        with suppress(OSError):
            self._ring.send(b"\0")
        with self._iterating:
            if self._session is not None:
                self._session.close()
                self._session = None
            self._bell.close()
            self._ring.close()

    def _attempt(self) -> list[Any]:
        """Reads what there is; a lost session is given up, and what it would have read is read by the next one."""
        try:
            if self._session is None:
                self._session = Session(self._store, self._preparation.stream_uuid)
                self._has_more = True
            self._has_more = self._has_more or self._heard_more(self._session)
            batch = self._read(self._session) if self._has_more else []
        except EventStoreError as error:
            if not error.retryable:
                raise
            if self._session is not None:
                self._session.close()
                self._session = None
            self._lost += 1
            return []
        self._lost = 0
        return batch

    def _heard_more(self, session: Session) -> bool:
        """True when there is something to read; also when the session is lost, which the read will tell."""
        try:
            return session.heard().head > self._position
        except StoreUnavailable:
            return True

    def _read(self, session: Session) -> list[Any]:
        page = session.read(self._position, PAGE_SIZE)
        prepared = self._preparation.prepare(page.rows)
        if prepared.failure is not None and prepared.scanned_to is None:
            raise prepared.failure
        if prepared.scanned_to is not None:
            self._position = prepared.scanned_to
        self._has_more = prepared.failure is not None or not page.complete
        return [entry.payload for entry in prepared.entries]

    def _wait(self, longest: float | None) -> None:
        """Waits for a notification, for the next attempt to connect, or for `close()`."""
        watched = select.poll()
        watched.register(self._bell, select.POLLIN)
        if self._session is None:
            pause = RECONNECT.delay(self._lost, random.random())  # noqa: S311
        else:
            # What came with the answer to the last read does not make the descriptor readable.
            self._has_more = self._has_more or self._heard_more(self._session)
            pause = 0.0 if self._has_more else POLL_INTERVAL
            if not self._has_more:
                watched.register(self._session, select.POLLIN)
        ready = watched.poll(1_000 * (pause if longest is None else min(pause, longest)))
        # Without a word for so long, only a read tells that nothing was missed.
        self._has_more = self._has_more or (self._session is not None and not ready)


def subscribe(
    store: EventStore,
    stream_uuid: str = ALL_STREAM,
    *,
    selector: Selector | None = None,
    mapper: Mapper | None = None,
    start_from: StartFrom = "current",
    timeout: float | None = None,
) -> TransientSubscription:
    """Subscribe to what is appended to a stream from now on. Mirrors `subscribe/2`.

    Keeps one database connection, and connects again after losing it, without a gap or a double. Nothing is stored: who
    must not miss events while not running takes `subscribe_to_stream`.

    Args:
        store: The store; it must stay open.
        stream_uuid: The stream, which need not exist yet; default `$all`.
        selector: Function of the event; only where it returns something true the event is delivered.
        mapper: Function of the event; what it returns is delivered in its place.
        start_from: "current" (default), "origin", or the last event number *not* to deliver.
        timeout: Seconds without an event after which the iteration ends; None (default) for never.

    Raises:
        ConfigurationError: An argument is of no use.
        EventStoreError: The database cannot be reached, or holds no store.
    """
    preparation = for_transient(store.serializer, stream_uuid, selector, mapper, start_from)
    return TransientSubscription(store, preparation, start_from, timeout)
