"""What a handler is given beside the event, or beside the events of a batch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import psycopg
import structlog
import structlog.typing

from ..store.errors import ConfigurationError
from ..store.types import RecordedEvent
from .declaration import KeyFunction


class Context:
    """The circumstances of one call of a handler.

    A test of a handler makes its own; only `subscription` and `event_number` have no default.

    Attributes:
        subscription: The subscription's name.
        schema: The PostgreSQL schema of the event store, for tables that live beside it.
        event_number: The event's number; that of the first event of a batch.
        attempt: 1 for the first call with this event, 2 for the next, and so on. An event that was tried before comes
            alone, also to a handler of batches.
        is_replay: True for an event that was handled before the subscription was reset; for a batch, when all were.
    """

    __slots__ = (
        "_connection",
        "_events",
        "_key",
        "_log",
        "attempt",
        "event_number",
        "is_replay",
        "schema",
        "subscription",
    )

    def __init__(
        self,
        *,
        subscription: str,
        event_number: int,
        schema: str = "public",
        attempt: int = 1,
        is_replay: bool = False,
        log: structlog.typing.FilteringBoundLogger | None = None,
        connection: Any = None,
        partition_key: KeyFunction | None = None,
        events: Sequence[RecordedEvent] = (),
    ) -> None:
        self.subscription = subscription
        self.schema = schema
        self.event_number = event_number
        self.attempt = attempt
        self.is_replay = is_replay
        self._log = log
        self._connection = connection
        self._key = partition_key
        self._events = events

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A structlog logger that names subscription and event number on every line."""
        # Bound when asked for: most handlers log nothing for most events.
        log = structlog.get_logger() if self._log is None else self._log
        return log.bind(subscription=self.subscription, event_number=self.event_number)

    @property
    def partition(self) -> Hashable:
        """The event's partition key, by `partition_by`; None without one, and for a batch of several partitions.

        Raises:
            Exception: Whatever the function that gives the key raises.
        """
        if self._key is None:
            return None
        # Computed when asked for, like the logger.
        keys = {self._key(event) for event in self._events}
        return keys.pop() if len(keys) == 1 else None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The psycopg connection inside the transaction that also records the event as done.

        Do not commit or roll it back; the worker does.

        Raises:
            ConfigurationError: The subscription is not transactional.
        """
        return self._given_connection()  # type: ignore[no-any-return]

    def _given_connection(self) -> Any:
        if self._connection is None:
            raise ConfigurationError(
                f"subscription {self.subscription!r}: context.connection is there for transactional handlers only; "
                "declare the handler with transactional=True, or give Context(connection=…) in a test"
            )
        return self._connection


class AsyncContext(Context):
    """What an `async def` handler is given: the same, with a connection that can be awaited."""

    __slots__ = ()

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:  # type: ignore[override] # the only thing that differs
        """The asynchronous psycopg connection inside the transaction that also records the event as done.

        Do not commit or roll it back; the worker does.

        Raises:
            ConfigurationError: The subscription is not transactional.
        """
        return self._given_connection()  # type: ignore[no-any-return]
