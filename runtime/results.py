"""What became of delivered events: from the handler's answer to the message that the listener gets. Pure."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from ..handlers.outcome import Ack, Park, Retry, Skip, Stop
from ..store.rows import Row
from .messages import Failed
from .routing.inputs import Verdict
from .wording import storable, told

_MAY_RETURN = "it may return None, Ack, Retry, Skip, Park or Stop, and DoneUpTo where it takes batches"


class Delivered(msgspec.Struct, frozen=True):
    """What holds for all events in a worker's buffer; see `messages.Deliver`.

    Attributes:
        subscription_id: The subscription.
        epoch: The ownership under which they were delivered; fences what a transactional handler commits.
        attempts: Attempt numbers of the events that must be called alone; 1 for all others.
        replay_until: The highest event number that was handled before a reset.
        live_after: Events up to this number are not live.
    """

    subscription_id: int
    epoch: int
    attempts: dict[int, int] = {}
    replay_until: int = 0
    live_after: int = 0

    def attempt(self, number: int) -> int:
        """Which call with this event comes next."""
        return self.attempts.get(number, 1)


class Results(msgspec.Struct, frozen=True):
    """What became of the events of one call of `Calls.handle` or `Execution.execute`, in their order.

    Attributes:
        finished: The first ones, which are finished.
        failed: The one behind them, where it failed.
        apart: True when those behind the finished ones failed together: each must be called alone to see which did.
        undo: True when the call that failed may have left writes in its transaction.
    """

    finished: list[int]
    failed: Failed | None = None
    apart: bool = False
    undo: bool = False


def numbers_of(rows: Sequence[Row]) -> list[int]:
    """The event numbers of rows."""
    return [row[0] for row in rows]


def verdict(number: int, outcome: Any) -> Failed | None:
    """What an outcome means for one event; None for a finished one."""
    match outcome:
        case None | Ack():
            return None
        case Retry(after=after, reason=reason):
            return failure(number, "retry", reason, after)
        case Skip(reason=reason):
            return failure(number, "skip", reason)
        case Park(reason=reason):
            return failure(number, "park", reason)
        case Stop(reason=reason):
            return failure(number, "stop", reason)
        case Coroutine():
            # Closed, so that Python does not complain elsewhere, and later, that nobody awaited it.
            outcome.close()
            remedy = "what wraps an 'async def' must be an 'async def' itself"
            return failure(number, "error", f"the handler returned a coroutine, which nobody awaits; {remedy}")
        case _:
            return failure(number, "error", f"the handler returned {type(outcome).__name__}; {_MAY_RETURN}")


def error_of(number: int, error: BaseException) -> Failed:
    """What an exception means for one event."""
    return failure(number, "error", told(error))


def failure(number: int, kind: Verdict, reason: str, after: float | None = None) -> Failed:
    """The message for an event that is not finished."""
    return Failed(number, kind, storable(reason), after)
