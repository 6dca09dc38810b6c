"""How delivered events are carried out: the handler's calls alone, or inside a transaction with the done-ledger.

Knows the calls and the database, not the processes: a worker sends the results on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf

import psycopg

from ..store.errors import Conflict, OwnershipLost, SchemaMismatch, SchemaMissing, StoreError, StoreUnavailable
from ..store.rows import Row
from ..store.sql import Statements
from ..store.subscriptions import done_events, record_done_events
from ..store.translate import reason, translate
from .calls import BatchCalls, Calls
from .handler_session import HandlerSession
from .results import Delivered, Results, failure, numbers_of

_CONFLICT_ATTEMPTS = 5


class Execution(ABC):
    """Carries out one subscription's events.

    Args:
        calls: The calls of the handler.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.most = calls.most
        """Most events for one call of `execute`."""

    @abstractmethod
    def execute(self, rows: Sequence[Row], delivered: Delivered, until: float = inf) -> Results:
        """Handles events in their order, up to the first that fails.

        Args:
            rows: The events, at most `most`.
            delivered: Under which circumstances.
            until: When to leave all but the first for later, in seconds on the monotonic clock; default never.

        Raises:
            StoreError: The database is unavailable, or the ownership is lost; nothing is done.
        """


class PlainExecution(Execution):
    """At least once: an event is finished when the handler has returned."""

    def execute(self, rows: Sequence[Row], delivered: Delivered, until: float = inf) -> Results:
        """Calls the handler."""
        return self._calls.handle(rows, delivered, until)


class _Undone(Exception):  # noqa: N818 - carries results out of a transaction that must roll back
    def __init__(self, results: Results) -> None:
        super().__init__(results)
        self.results = results


class TransactionalExecution(Execution):
    """Exactly-once effects: the handler's writes and the record that the events are done commit together.

    Args:
        calls: The calls of the handler.
        session: The worker's own connection.
        statements: The store's SQL.
        size: Most events of one transaction, for a handler that takes one event.
    """

    def __init__(self, calls: Calls, session: HandlerSession, statements: Statements, size: int) -> None:
        super().__init__(calls)
        self._session = session
        self._statements = statements
        if not isinstance(calls, BatchCalls):
            # A batch is one transaction; others are put together.
            self.most = size

    def execute(self, rows: Sequence[Row], delivered: Delivered, until: float = inf) -> Results:
        """Handles the events in one transaction, whatever the time; where one fails, those before it in another."""
        try:
            return self._commit(rows, delivered)
        except (StoreUnavailable, Conflict, OwnershipLost, SchemaMissing, SchemaMismatch):
            raise
        except StoreError as refused:
            return _refused(rows, refused)
        except _Undone as undone:
            results = undone.results
            before = rows[: len(results.finished)]
            again = self.execute(before, delivered, until) if before else Results([])
            # Should one of those before it have failed this time, that failure counts.
            return again if again.failed or again.apart else Results(again.finished, results.failed, results.apart)

    def _commit(self, rows: Sequence[Row], delivered: Delivered) -> Results:
        for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
            try:
                return self._commit_once(rows, delivered)
            except Conflict:
                if attempt == _CONFLICT_ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _commit_once(self, rows: Sequence[Row], delivered: Delivered) -> Results:
        try:
            with self._session.transaction():
                return self._handle(rows, delivered)
        except psycopg.errors.UniqueViolation as error:
            # Of a deferred constraint of the handler's own table: no other transaction is to blame.
            raise StoreError(reason(error)) from error
        except psycopg.Error as error:
            raise translate(error) from error

    def _handle(self, rows: Sequence[Row], delivered: Delivered) -> Results:
        """Everything inside the transaction: leave out what is done, handle, record as done under the epoch."""
        session, numbers, subscription_id = self._session, numbers_of(rows), delivered.subscription_id
        done = session.run(done_events(self._statements, subscription_id, numbers))
        fresh = [row for row in rows if row[0] not in done] if done else rows
        results = self._calls.handle(fresh, delivered, session=session) if fresh else Results([])
        if results.failed is not None:
            # With those that were done before, up to the one that failed.
            numbers = numbers[: numbers.index(results.failed.number)]
        whole = Results([] if results.apart else numbers, results.failed, results.apart, results.undo)
        if results.undo:
            raise _Undone(whole)
        finished = results.finished
        recorded = session.run(record_done_events(self._statements, subscription_id, delivered.epoch, finished))
        if recorded != len(finished):
            raise Conflict("another transaction has handled some of these events meanwhile")
        return whole


def _refused(rows: Sequence[Row], refused: StoreError) -> Results:
    """The commit itself was refused, as by a deferred constraint: each event alone shows whose fault it is."""
    if len(rows) > 1:
        return Results([], apart=True)
    return Results([], failure(rows[0][0], "error", f"the commit was refused: {refused}"))
