"""What an owner stores beside the checkpoint, as operations without I/O: attempts, halts, parked events.

Every write carries the owner's epoch and changes nothing where another one has begun. The lock-holder drives these on
its session; the listener reads the parked events that are due. What operators want is in `control.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .delivery_types import Attempt, ParkedEvent, ParkedRows, Terms, Tried
from .operation import Operation, Query
from .rows import Row
from .sql import Statements


class DueParked(NamedTuple):
    """A parked event that is to be handled or discarded now.

    Attributes:
        row: The event, undecoded; only its number where it was deleted for good.
        discard: It is to be discarded.
        partition: The partition key as text, None without one.
    """

    row: Row
    discard: bool
    partition: str | None


def subscription_terms(statements: Statements, subscription_ids: Iterable[int]) -> Operation[dict[int, Terms]]:
    """Return what holds for subscriptions now, by id; those that were deleted are missing."""
    rows = yield Query(statements["subscription_terms"], (list(subscription_ids),))
    return {row[0]: Terms(*row) for row in rows}


def list_attempts(
    statements: Statements, subscription_id: int, after: int, unit: int = 0
) -> Operation[dict[int, Tried]]:
    """Return the events above a position that failed before or are to be skipped, by number."""
    rows = yield Query(statements["list_attempts"], (subscription_id, unit, after))
    return {row[0]: Tried(*row[1:]) for row in rows}


def save_attempts(
    statements: Statements, subscription_id: int, epoch: int, attempts: Sequence[Attempt], unit: int = 0
) -> Operation[bool]:
    """Store how often events were tried; False where the epoch no longer owns the unit."""
    binds = (
        [attempt.number for attempt in attempts],
        [attempt.attempts for attempt in attempts],
        [attempt.crashes for attempt in attempts],
        [attempt.reason for attempt in attempts],
    )
    return (yield from _fenced(statements, "save_attempts", subscription_id, unit, epoch, *binds))


def save_halt(
    statements: Statements, subscription_id: int, epoch: int, number: int, reason: str, unit: int = 0
) -> Operation[bool]:
    """Store where and why a subscription halted; False where the epoch no longer owns the unit."""
    return (yield from _fenced(statements, "save_halt", subscription_id, unit, epoch, number, reason))


def clear_halt(statements: Statements, subscription_id: int) -> Operation[int | None]:
    """Let a halted subscription try again, with a fresh count for the event it halted at.

    Returns:
        That event's number; None where it was not halted.
    """
    rows = yield Query(statements["clear_halt"], (subscription_id,))
    return rows[0][0] if rows else None


def release_owners(statements: Statements, epochs: dict[int, int]) -> Operation[None]:
    """Note that owners have ended in order; `epochs` by subscription id."""
    yield Query(statements["release_owner"], (list(epochs), list(epochs.values())))


def park_events(
    statements: Statements, subscription_id: int, epoch: int, events: Sequence[ParkedEvent], unit: int = 0
) -> Operation[bool]:
    """Park events, or park them again; False where the epoch no longer owns the unit."""
    binds = (
        [event.number for event in events],
        [event.event_id for event in events],
        [event.partition for event in events],
        [event.state for event in events],
        [event.holds for event in events],
        [event.attempts for event in events],
        [event.crashes for event in events],
        [event.reason for event in events],
    )
    return (yield from _fenced(statements, "park_events", subscription_id, unit, epoch, *binds))


def unpark_events(
    statements: Statements, subscription_id: int, epoch: int, numbers: Iterable[int], unit: int = 0
) -> Operation[bool]:
    """Remove parked events that are handled or discarded; False where the epoch no longer owns the unit."""
    return (yield from _fenced(statements, "unpark_events", subscription_id, unit, epoch, list(numbers)))


def parked_numbers(statements: Statements, subscription_id: int, after: int, unit: int = 0) -> Operation[list[int]]:
    """Return the numbers of the parked events above a position, which are finished as far as the checkpoint goes."""
    rows = yield Query(statements["parked_numbers"], (subscription_id, unit, after))
    return [row[0] for row in rows]


def parked_partitions(statements: Statements, subscription_id: int, unit: int = 0) -> Operation[dict[str, ParkedRows]]:
    """Return the partitions that have parked rows."""
    rows = yield Query(statements["parked_partitions"], (subscription_id, unit))
    return {key: ParkedRows(count, blocks) for key, count, blocks in rows}


def due_parked_events(
    statements: Statements, subscription_id: int, limit: int, unit: int = 0
) -> Operation[list[DueParked]]:
    """Return parked events that are to be handled or discarded now, in order."""
    rows = yield Query(statements["due_parked_events"], (subscription_id, unit, limit))
    return [DueParked(row[:-2], row[-2] == "discard", row[-1]) for row in rows]


def _fenced(
    statements: Statements, statement: str, subscription_id: int, unit: int, epoch: int, *binds: object
) -> Operation[bool]:
    rows = yield Query(statements[statement], (subscription_id, unit, epoch, *binds))
    return bool(rows[0][0])
