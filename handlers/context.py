"""What a handler is given beside the event."""

from __future__ import annotations

from typing import Any

import psycopg
import structlog.typing

from ..store.errors import ConfigurationError


class Context:
    """The circumstances of one call of a handler.

    Attributes:
        subscription: The subscription's name.
        schema: The PostgreSQL schema of the event store, for tables that live beside it.
        event_number: The event's number.
        attempt: 1 for the first call with this event, 2 for the next, and so on.
    """

    __slots__ = ("_connection", "_log", "attempt", "event_number", "schema", "subscription")

    def __init__(
        self,
        *,
        subscription: str,
        schema: str,
        event_number: int,
        attempt: int,
        log: structlog.typing.FilteringBoundLogger,
        connection: psycopg.Connection[Any] | None = None,
    ) -> None:
        self.subscription = subscription
        self.schema = schema
        self.event_number = event_number
        self.attempt = attempt
        self._log = log
        self._connection = connection

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A structlog logger that names subscription and event number on every line."""
        # Bound when asked for: most handlers log nothing for most events.
        return self._log.bind(subscription=self.subscription, event_number=self.event_number)

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The psycopg connection inside the transaction that also records the event as done.

        Do not commit or roll it back; the worker does.

        Raises:
            ConfigurationError: The subscription is not transactional.
        """
        if self._connection is None:
            raise ConfigurationError(
                f"subscription {self.subscription!r}: context.connection is there for transactional handlers only; "
                "declare the handler with transactional=True"
            )
        return self._connection
