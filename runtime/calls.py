"""The calls of the handler: one event each, or a list of them, with what comes before and after.

Decodes, selects, maps, makes the context, calls, and turns the answer into results. Knows the handler, not the
processes, and no transaction: `execution.py` puts one around, where there is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import structlog

from ..handlers.context import AsyncContext, Context
from ..handlers.outcome import Ack, DoneUpTo, Outcome
from ..handlers.resolve import Subscription
from ..store.rows import Row, decode_event
from ..store.serializer import Serializer
from ..store.types import RecordedEvent
from .handler_session import HandlerSession
from .messages import Failed
from .results import Delivered, Results, error_of, failure, numbers_of, verdict
from .user_handler import UserHandler
from .watch import Watch

_CHUNK = 256
_LEFT_OUT: Any = object()


class Calls(ABC):
    """Calls one subscription's handler.

    Args:
        subscription: The subscription with its options.
        handler: The handler.
        serializer: Decodes data and metadata.
        schema: The store's schema, for the handler's context.
        watch: Frames every call.
    """

    def __init__(
        self, subscription: Subscription, handler: UserHandler, serializer: Serializer, schema: str, watch: Watch
    ) -> None:
        self._subscription = subscription
        self._handler = handler
        self._call: Callable[[Any, Any], Any] = handler.call
        self._context_type = AsyncContext if handler.is_async else Context
        self._is_shaped = handler.selector is not None or handler.mapper is not None
        self._live_only = subscription.side_effects == "live_only"
        self._serializer = serializer
        self._schema = schema
        self._watch = watch
        self._log = structlog.get_logger(subscription=subscription.name)

    @property
    @abstractmethod
    def most(self) -> int:
        """Most events for one call of `handle`."""

    @abstractmethod
    def handle(
        self, rows: Sequence[Row], delivered: Delivered, until: float = inf, session: HandlerSession | None = None
    ) -> Results:
        """Handles events in their order, up to the first that fails.

        Args:
            rows: The events.
            delivered: Under which circumstances.
            until: When to leave the rest for later, in seconds on the monotonic clock.
            session: The connection, inside its transaction, for a transactional handler.

        Raises:
            StoreError: The trouble is the database's, not an event's; nothing is finished.
        """

    def _shape(self, event: RecordedEvent) -> Any:
        """What the handler gets in the event's place; `_LEFT_OUT` for nothing."""
        handler = self._handler
        if handler.selector is not None and not handler.selector(event):
            return _LEFT_OUT
        return event if handler.mapper is None else handler.mapper(event)

    def _context(
        self, events: Sequence[RecordedEvent], number: int, delivered: Delivered, session: HandlerSession | None
    ) -> Context:
        return self._context_type(
            subscription=self._subscription.name,
            event_number=number,
            schema=self._schema,
            attempt=delivered.attempts.get(number, 1),
            is_replay=all(event.event_number <= delivered.replay_until for event in events)
            if delivered.replay_until
            else False,
            log=self._log,
            connection=None if session is None else session.connection,
            partition_key=self._handler.partition_key,
            events=events,
        )

    def _failed(self, number: int, delivered: Delivered, error: BaseException) -> Failed:
        """An exception that counts as a failed attempt; the first one of an event is logged in full."""
        if delivered.attempt(number) == 1:
            self._log.error("handler_failed", event_number=number, exc_info=error)
        return error_of(number, error)


class SingleCalls(Calls):
    """For handlers that take one event."""

    @property
    def most(self) -> int:
        """As many as are worth a look at the clock between them."""
        return _CHUNK

    def handle(
        self, rows: Sequence[Row], delivered: Delivered, until: float = inf, session: HandlerSession | None = None
    ) -> Results:
        """Calls the handler with each event."""
        for index, row in enumerate(rows):
            failed = self._handle_one(row, delivered, session)
            if failed is not None:
                return Results(numbers_of(rows[:index]), failed, undo=True)
            if self._watch.ended >= until:
                return Results(numbers_of(rows[: index + 1]))
        return Results(numbers_of(rows))

    def _handle_one(self, row: Row, delivered: Delivered, session: HandlerSession | None) -> Failed | None:
        number: int = row[0]
        if self._live_only and number <= delivered.live_after:
            return None
        self._watch.begin(number, number)
        try:
            event = decode_event(row, self._serializer)
            subject = self._shape(event) if self._is_shaped else event
            if subject is _LEFT_OUT:
                return None
            outcome = self._call(subject, self._context((event,), number, delivered, session))
        except Outcome as raised:
            outcome = raised
        except BaseException as error:
            if session is not None:
                session.pass_on_trouble(error)
            return self._failed(number, delivered, error)
        finally:
            self._watch.end()
        failed = None if outcome is None else verdict(number, outcome)
        if failed is None and session is not None and (reason := session.spoilt()):
            return failure(number, "error", reason)
        return failed


class _Batch:
    """The events of a batch that are there for the handler, and where each stands among all."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.events: list[RecordedEvent] = []
        self.subjects: list[Any] = []
        self.reached = 0
        """Events prepared, those left out included."""
        self.failed: Failed | None = None
        """What happened to the one behind them."""


class BatchCalls(Calls):
    """For handlers that take a list of events."""

    @property
    def most(self) -> int:
        """`batch_size`."""
        return self._subscription.batch_size or 1

    def handle(
        self, rows: Sequence[Row], delivered: Delivered, until: float = inf, session: HandlerSession | None = None
    ) -> Results:
        """Calls the handler once with all of them."""
        if self._live_only and all(row[0] <= delivered.live_after for row in rows):
            return Results(numbers_of(rows))
        self._watch.begin(rows[0][0], rows[-1][0])
        try:
            batch = self._prepare(rows, delivered)
            if batch.subjects:
                context = self._context(batch.events, batch.events[0].event_number, delivered, session)
                outcome = self._outcome(batch, context, session)
            else:
                outcome = None
        finally:
            self._watch.end()
        if outcome is None or isinstance(outcome, Ack):
            return Results(numbers_of(rows[: batch.reached]), batch.failed)
        if isinstance(outcome, DoneUpTo) and outcome.count <= len(batch.subjects):
            return self._done_up_to(outcome, batch, rows, delivered)
        return self._failed_together(outcome, batch, rows, delivered)

    def _prepare(self, rows: Sequence[Row], delivered: Delivered) -> _Batch:
        """Decodes, selects and maps, up to the first event where that fails."""
        batch = _Batch()
        for index, row in enumerate(rows):
            number: int = row[0]
            if not (self._live_only and number <= delivered.live_after):
                try:
                    event = decode_event(row, self._serializer)
                    subject = self._shape(event) if self._is_shaped else event
                except Outcome as raised:
                    batch.failed, subject = verdict(number, raised), _LEFT_OUT
                except BaseException as error:
                    batch.failed, subject = self._failed(number, delivered, error), _LEFT_OUT
                if batch.failed is not None:
                    return batch
                if subject is not _LEFT_OUT:
                    batch.positions.append(index)
                    batch.events.append(event)
                    batch.subjects.append(subject)
            batch.reached = index + 1
        return batch

    def _outcome(self, batch: _Batch, context: Context, session: HandlerSession | None) -> Any:
        """What the handler returned or raised."""
        try:
            outcome = self._call(batch.subjects, context)
        except Outcome as raised:
            outcome = raised
        except BaseException as error:
            if session is not None:
                session.pass_on_trouble(error)
            return error
        if session is not None and (reason := session.spoilt()):
            return _Spoilt(reason)
        return outcome

    def _done_up_to(self, outcome: DoneUpTo, batch: _Batch, rows: Sequence[Row], delivered: Delivered) -> Results:
        if outcome.count == len(batch.subjects):
            return Results(numbers_of(rows[: batch.reached]), batch.failed)
        position = batch.positions[outcome.count]
        number: int = rows[position][0]
        if isinstance(outcome.then, Outcome):
            failed = verdict(number, outcome.then)
        elif outcome.then is not None:
            failed = self._failed(number, delivered, outcome.then)
        else:
            failed = failure(number, "error", "the handler finished its batch up to this event only (DoneUpTo)")
        # Where nothing is done, nothing is to be kept.
        return Results(numbers_of(rows[:position]), failed, undo=outcome.count == 0)

    def _failed_together(self, outcome: Any, batch: _Batch, rows: Sequence[Row], delivered: Delivered) -> Results:
        """Anything else speaks of one event: with several in the batch, each has to be asked for itself."""
        position = batch.positions[0]
        number: int = rows[position][0]
        if len(batch.subjects) == 1:
            return Results(numbers_of(rows[:position]), self._blame(number, outcome, delivered), undo=True)
        failed = error_of(number, outcome) if _is_error(outcome) else self._blame(number, outcome, delivered)
        reason = "" if failed is None else failed.reason
        self._log.warning("batch_failed", event_number=number, events=len(batch.subjects), reason=reason)
        return Results([], apart=True, undo=True)

    def _blame(self, number: int, outcome: Any, delivered: Delivered) -> Failed | None:
        if isinstance(outcome, DoneUpTo):
            return failure(number, "error", f"the handler returned DoneUpTo({outcome.count}), more than it was given")
        if isinstance(outcome, _Spoilt):
            return failure(number, "error", str(outcome))
        return self._failed(number, delivered, outcome) if _is_error(outcome) else verdict(number, outcome)


def _is_error(outcome: Any) -> bool:
    return isinstance(outcome, BaseException) and not isinstance(outcome, Outcome | _Spoilt)


class _Spoilt(Exception):  # noqa: N818 - an answer about the transaction, never raised
    """The handler returned with its transaction failed or ended."""
