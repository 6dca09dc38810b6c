"""How a worker calls the handler: one event after the other, or a batch in one transaction.

Turns what the handler returned or raised into results. Knows the handler and the database, not the
processes: a worker sends the results on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
import structlog
from psycopg.pq import TransactionStatus

from ..handlers.context import Context
from ..handlers.declaration import HandlerFunction
from ..handlers.outcome import Ack, Outcome, Retry, Skip, Stop
from ..handlers.resolve import Subscription
from ..store.connection import run
from ..store.errors import Conflict, OwnershipLost, SchemaMismatch, SchemaMissing, StoreError, StoreUnavailable
from ..store.rows import Row, decode_event
from ..store.serializer import Serializer
from ..store.sql import Statements
from ..store.subscriptions import done_events, record_done_events
from ..store.translate import reason, translate
from .messages import Failed
from .routing.inputs import Verdict

_CONFLICT_ATTEMPTS = 5


class Delivery(msgspec.Struct, frozen=True):
    """One event in a worker's buffer."""

    row: Row
    attempt: int

    @property
    def number(self) -> int:
        """The event number."""
        return self.row[0]  # type: ignore[no-any-return]


class Results(msgspec.Struct, frozen=True):
    """What became of a batch: these events are finished, and perhaps one failed behind them."""

    finished: list[int]
    failed: Failed | None = None


class Ownership(msgspec.Struct, frozen=True):
    """Under which ownership events were delivered; fences what a transactional handler commits."""

    subscription_id: int
    epoch: int


class Execution(ABC):
    """Calls one subscription's handler.

    Args:
        subscription: The subscription with its options.
        function: The handler.
        serializer: Decodes data and metadata.
        schema: The store's schema, for the handler's context.
    """

    def __init__(
        self, subscription: Subscription, function: HandlerFunction, serializer: Serializer, schema: str
    ) -> None:
        self._subscription = subscription
        self._function = function
        self._serializer = serializer
        self._schema = schema
        self._log = structlog.get_logger(subscription=subscription.name)

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Most events for one call of `execute`."""

    @abstractmethod
    def execute(self, batch: Sequence[Delivery], ownership: Ownership) -> Results:
        """Handles events in their order, up to the first that fails.

        Raises:
            StoreError: The database is unavailable, or the ownership is lost; nothing of the batch is done.
        """

    def _call(self, delivery: Delivery, connection: psycopg.Connection[Any] | None) -> Failed | None:
        """Calls the handler with one event; None means finished."""
        number = delivery.number
        try:
            event = decode_event(delivery.row, self._serializer)
            context = Context(
                subscription=self._subscription.name,
                schema=self._schema,
                event_number=number,
                attempt=delivery.attempt,
                log=self._log,
                connection=connection,
            )
            outcome = self._function(event, context)
        except Outcome as raised:
            outcome = raised
        except (Exception, SystemExit) as error:
            if connection is not None:
                self._pass_on_trouble(error, connection)
            if delivery.attempt == 1:
                self._log.exception("handler_failed", event_number=number)
            return _failed(number, "error", f"{type(error).__name__}: {error}")
        return _verdict(number, outcome) or self._check_transaction(number, connection)

    @staticmethod
    def _pass_on_trouble(error: BaseException, connection: psycopg.Connection[Any]) -> None:
        """Trouble of the database is not the event's fault: it must not count as an attempt."""
        if isinstance(error, Conflict | StoreUnavailable):
            # Of a store that the handler used with conn=context.connection.
            raise error
        if not isinstance(error, psycopg.Error):
            return
        translated = translate(error)
        own_fault = isinstance(error, psycopg.errors.UniqueViolation | psycopg.errors.QueryCanceled)
        if connection.broken or (isinstance(translated, Conflict | StoreUnavailable) and not own_fault):
            raise translated from error

    @staticmethod
    def _check_transaction(number: int, connection: psycopg.Connection[Any] | None) -> Failed | None:
        """A handler that swallowed a database error, or ended the transaction, has not finished its event."""
        if connection is None or connection.info.transaction_status is TransactionStatus.INTRANS:
            return None
        if connection.broken:
            raise StoreUnavailable("the connection was lost while the handler ran: try again")
        reason = (
            "the handler returned with its transaction failed or ended; raise what fails, or put it into "
            "`with context.connection.transaction():`, and leave commit and rollback to the worker"
        )
        return _failed(number, "error", reason)


class PlainExecution(Execution):
    """At least once: an event is finished when the handler has returned."""

    @property
    def batch_size(self) -> int:
        """Events one at a time, so that each is acked as soon as it is finished."""
        return 1

    def execute(self, batch: Sequence[Delivery], ownership: Ownership) -> Results:
        """Calls the handler with each event."""
        finished: list[int] = []
        for delivery in batch:
            failed = self._call(delivery, None)
            if failed is not None:
                return Results(finished, failed)
            finished.append(delivery.number)
        return Results(finished)


class _BatchFailed(Exception):  # noqa: N818 - carries a result out of a transaction that must roll back
    def __init__(self, index: int, failed: Failed) -> None:
        super().__init__(index)
        self.index = index
        self.failed = failed


class TransactionalExecution(Execution):
    """Exactly-once effects: the handler's writes and the record that the events are done commit together.

    Args:
        connection: The worker's own connection, in autocommit outside the transactions made here.
        statements: The store's SQL.
    """

    def __init__(
        self,
        subscription: Subscription,
        function: HandlerFunction,
        serializer: Serializer,
        schema: str,
        connection: psycopg.Connection[Any],
        statements: Statements,
    ) -> None:
        super().__init__(subscription, function, serializer, schema)
        self._connection = connection
        self._statements = statements

    @property
    def batch_size(self) -> int:
        """Events of one transaction."""
        return self._subscription.transaction_size

    def execute(self, batch: Sequence[Delivery], ownership: Ownership) -> Results:
        """Handles the events in one transaction; where one fails, those before it in another."""
        try:
            self._commit(batch, ownership)
        except (StoreUnavailable, Conflict, OwnershipLost, SchemaMissing, SchemaMismatch):
            raise
        except StoreError as refused:
            return self._find_refused(batch, ownership, refused)
        except _BatchFailed as stopped:
            before = batch[: stopped.index]
            results = self.execute(before, ownership) if before else Results([])
            # Should one of those before it have failed this time, that failure counts.
            return results if results.failed else Results(results.finished, stopped.failed)
        return Results([delivery.number for delivery in batch])

    def _find_refused(self, batch: Sequence[Delivery], ownership: Ownership, refused: StoreError) -> Results:
        """The commit itself was refused, as by a deferred constraint: event by event, it shows whose fault it is."""
        if len(batch) == 1:
            return Results([], _failed(batch[0].number, "error", f"the commit was refused: {refused}"))
        finished: list[int] = []
        for delivery in batch:
            results = self.execute([delivery], ownership)
            finished += results.finished
            if results.failed is not None:
                return Results(finished, results.failed)
        return Results(finished)

    def _commit(self, batch: Sequence[Delivery], ownership: Ownership) -> None:
        for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
            try:
                self._commit_once(batch, ownership)
            except Conflict:
                if attempt == _CONFLICT_ATTEMPTS:
                    raise
            else:
                return

    def _commit_once(self, batch: Sequence[Delivery], ownership: Ownership) -> None:
        try:
            with self._connection.transaction():
                self._handle(batch, ownership)
        except psycopg.errors.UniqueViolation as error:
            # Of a deferred constraint of the handler's own table: no other transaction is to blame.
            raise StoreError(reason(error)) from error
        except psycopg.Error as error:
            raise translate(error) from error

    def _handle(self, batch: Sequence[Delivery], ownership: Ownership) -> None:
        """Everything inside the transaction: leave out what is done, handle, record as done under the epoch."""
        numbers = [delivery.number for delivery in batch]
        done = run(self._connection, done_events(self._statements, ownership.subscription_id, numbers))
        for index, delivery in enumerate(batch):
            if delivery.number not in done:
                failed = self._call(delivery, self._connection)
                if failed is not None:
                    raise _BatchFailed(index, failed)
        fresh = [number for number in numbers if number not in done]
        recorded = run(
            self._connection,
            record_done_events(self._statements, ownership.subscription_id, ownership.epoch, fresh),
        )
        if recorded != len(fresh):
            raise Conflict("another transaction has handled some of these events meanwhile")


def _verdict(number: int, outcome: Any) -> Failed | None:
    """What an outcome means; None for a finished event."""
    match outcome:
        case None | Ack():
            return None
        case Retry(after=after, reason=reason):
            return _failed(number, "retry", reason, after)
        case Skip(reason=reason):
            return _failed(number, "skip", reason)
        case Stop(reason=reason):
            return _failed(number, "stop", reason)
        case _:
            kind = type(outcome).__name__
            return _failed(
                number, "error", f"the handler returned {kind}; it may return None, Ack, Retry, Skip or Stop"
            )


def _failed(number: int, verdict: Verdict, reason: str, after: float | None = None) -> Failed:
    # A message is UTF-8; texts of the operating system may hold bytes that are not.
    return Failed(number, verdict, reason.encode(errors="backslashreplace").decode(), after)
