"""What operators want of a subscription, as operations without I/O: pause, resume, reset, skip, restart, parked events.

Everything is stored first and announced by NOTIFY after it, so that every node applies it, also one that is down now.
Run each in a transaction. `cli.py` and `EventStore` drive these; `delivery.py` is the owner's side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from .delivery import clear_halt, subscription_terms
from .delivery_types import ParkedRecord
from .errors import ConfigurationError, SubscriptionNotFound
from .notifications import runtime_channel
from .operation import Operation, Query, Result
from .sql import Statements
from .streams import stream_heads
from .subscriptions import get_subscription, list_subscriptions, notify
from .types import SubscriptionRecord

CHANGED = "changed"
"""The payload on the runtime channel that makes every owner look at the terms of its subscriptions."""

_LAST = 2**63 - 1


def find_subscription(
    statements: Statements, name: str, stream_uuid: str | None = None
) -> Operation[SubscriptionRecord]:
    """Return the subscription of that name.

    Args:
        statements: The statements of the schema.
        name: Its name.
        stream_uuid: Its stream; None (default) where the name alone says which.

    Raises:
        SubscriptionNotFound: There is none.
        ConfigurationError: Several streams have one of that name.
    """
    if stream_uuid is not None:
        record = yield from get_subscription(statements, stream_uuid, name)
        found = [] if record is None else [record]
    else:
        found = [s for s in (yield from list_subscriptions(statements)) if s.subscription_name == name]
    if not found:
        raise SubscriptionNotFound(stream_uuid or "", name)
    if len(found) > 1:
        streams = ", ".join(repr(record.stream_uuid) for record in found)
        raise ConfigurationError(f"subscription {name!r} exists on the streams {streams}; say which with the stream")
    return found[0]


def steer(
    statements: Statements,
    stream_uuid: str,
    name: str,
    operation: Callable[[Statements, SubscriptionRecord], Operation[Result]],
) -> Operation[Result]:
    """Carry out one of the operations below on the subscription of that stream and name.

    Raises:
        SubscriptionNotFound: There is none.
    """
    record = yield from find_subscription(statements, name, stream_uuid)
    return (yield from operation(statements, record))


def delete_unowned(statements: Statements, subscription_id: int) -> Operation[bool]:
    """Delete a subscription that no node owns, with its checkpoint and all that the runtime holds for it.

    Returns:
        False where some node holds its lock, or it is gone already; nothing is deleted then.
    """
    rows = yield Query(statements["delete_unowned_subscription"], (subscription_id,))
    return bool(rows)


def pause(statements: Statements, subscription_id: int) -> Operation[bool]:
    """Pause a subscription: what is in flight is finished and checkpointed, nothing more is delivered.

    Returns:
        False where it was paused already.
    """
    rows = yield Query(statements["set_paused"], (subscription_id, True))
    yield from _announce(statements)
    return bool(rows[0][0])


def resume(statements: Statements, subscription_id: int) -> Operation[bool]:
    """Resume a subscription that is paused, halted, or both; the event it halted at gets a fresh count of attempts.

    Returns:
        False where it was neither.
    """
    rows = yield Query(statements["set_paused"], (subscription_id, False))
    halted_at = yield from clear_halt(statements, subscription_id)
    if halted_at is not None:
        yield Query(statements["fence_owner"], (subscription_id,))
    yield from _announce(statements)
    return bool(rows[0][0]) or halted_at is not None


def restart(statements: Statements, subscription_id: int) -> Operation[None]:
    """Make the owner begin anew: fresh workers, from the checkpoint; a halted subscription tries again."""
    yield from clear_halt(statements, subscription_id)
    yield Query(statements["fence_owner"], (subscription_id,))
    yield from _announce(statements)


def reset(statements: Statements, record: SubscriptionRecord, to: int | datetime) -> Operation[int]:
    """Move a subscription to another position, while nodes run; all after it is handled again.

    Handlers see `context.is_replay` for what they had been given before. Parked events after the position, attempts,
    and the record of what transactional handlers have done are forgotten with it.

    Args:
        statements: The statements of the schema.
        record: The subscription.
        to: The last event number *not* to deliver, from 0 to the stream's head; or a time with a time zone: what was
            created then or later is delivered.

    Returns:
        The last event number that is not delivered.

    Raises:
        ConfigurationError: The position is out of range, or the time has no time zone.
    """
    heads = yield from stream_heads(statements, [record.stream_uuid])
    head = heads.get(record.stream_uuid, 0)
    position = to if isinstance(to, int) else (yield from position_before(statements, record.stream_uuid, to))
    if not 0 <= position <= head:
        raise ConfigurationError(
            f"subscription {record.subscription_name!r} cannot be reset to {position}: give a number from 0 to {head}"
        )
    yield Query(statements["fence_owner"], (record.subscription_id,))
    yield Query(statements["reset_subscription"], (record.subscription_id, position))
    yield from _announce(statements)
    return position


def _check_there(statements: Statements, record: SubscriptionRecord, number: int) -> Operation[None]:
    """Refuse a number that no event has yet: a slip of the finger would leave out one of tomorrow's."""
    heads = yield from stream_heads(statements, [record.stream_uuid])
    head = heads.get(record.stream_uuid, 0)
    if number > head:
        raise ConfigurationError(
            f"event {number} is not there yet for subscription {record.subscription_name!r}: "
            f"stream {record.stream_uuid!r} ends at {head}"
        )


def skip(statements: Statements, record: SubscriptionRecord, number: int | None = None) -> Operation[int]:
    """Leave an event out for good that is not checkpointed yet; a subscription halted at it goes on.

    Args:
        statements: The statements of the schema.
        record: The subscription.
        number: The event; None (default) for the one that the subscription halted at.

    Returns:
        The event's number.

    Raises:
        ConfigurationError: The event is behind the checkpoint already or is not there yet, or none is named and the
            subscription runs.
    """
    if number is None:
        terms = yield from subscription_terms(statements, [record.subscription_id])
        number = terms[record.subscription_id].halted_at
    else:
        yield from _check_there(statements, record, number)
    if number is None:
        raise ConfigurationError(f"subscription {record.subscription_name!r} is not halted; name the event to skip")
    if number <= (record.last_seen or 0):
        raise ConfigurationError(
            f"event {number} is finished already by subscription {record.subscription_name!r}, which is at "
            f"{record.last_seen}; nothing is left to skip"
        )
    yield from clear_halt(statements, record.subscription_id)
    yield Query(statements["skip_event"], (record.subscription_id, number))
    yield Query(statements["fence_owner"], (record.subscription_id,))
    yield from _announce(statements)
    return number


def position_before(statements: Statements, stream_uuid: str, since: datetime) -> Operation[int]:
    """Return the position just before the first event that was created at a time or later.

    Searches by halving, so it expects that times ascend with the numbers; a few events whose time was set by
    `created_at_override` matter only next to the place searched for.

    Raises:
        ConfigurationError: The time has no time zone.
    """
    if since.tzinfo is None:
        raise ConfigurationError(f"time {since.isoformat()} has no time zone: add one, such as Z or +02:00")
    heads = yield from stream_heads(statements, [stream_uuid])
    low, high = 0, heads.get(stream_uuid, 0)
    while low < high:
        middle = (low + high) // 2
        rows = yield Query(statements["event_time"], (stream_uuid, middle + 1))
        if rows and rows[0][1].astimezone(UTC) < since.astimezone(UTC):
            low = min(rows[0][0], high)
        else:
            high = middle
    return low


def list_parked(
    statements: Statements,
    subscription_id: int,
    *,
    numbers: Sequence[int] | None = None,
    partition: str | None = None,
    until: int | None = None,
    limit: int = 1_000,
) -> Operation[list[ParkedRecord]]:
    """Return parked events in order, all or those that fit.

    Args:
        statements: The statements of the schema.
        subscription_id: The subscription.
        numbers: Only these event numbers; None for all.
        partition: Only those of this partition key, as text; None for all.
        until: Only those up to this event number; None for all.
        limit: The most to return.
    """
    chosen = (None if numbers is None else list(numbers), partition, _LAST if until is None else until, limit)
    rows = yield Query(statements["list_parked_events"], (subscription_id, *chosen))
    return [msgspec.structs.replace(ParkedRecord(*row), parked_at=row[7].astimezone(UTC)) for row in rows]


def retry_parked(
    statements: Statements,
    subscription_id: int,
    *,
    numbers: Sequence[int] | None = None,
    partition: str | None = None,
    until: int | None = None,
) -> Operation[list[int]]:
    """Have parked events handled again, with a fresh count of attempts; what is held behind them follows in order.

    The arguments choose as in `list_parked`.

    Returns:
        The numbers of the events that will be retried.
    """
    return (yield from _decide(statements, subscription_id, "retry", numbers, partition, until))


def discard_parked(
    statements: Statements,
    subscription_id: int,
    *,
    numbers: Sequence[int] | None = None,
    partition: str | None = None,
    until: int | None = None,
) -> Operation[list[int]]:
    """Leave parked events out for good; what is held behind them follows in order, unless it is discarded too.

    The arguments choose as in `list_parked`.

    Returns:
        The numbers of the events that will be discarded.
    """
    return (yield from _decide(statements, subscription_id, "discard", numbers, partition, until))


def _decide(
    statements: Statements,
    subscription_id: int,
    state: str,
    numbers: Sequence[int] | None,
    partition: str | None,
    until: int | None,
) -> Operation[list[int]]:
    chosen = (None if numbers is None else list(numbers), partition, _LAST if until is None else until)
    rows = yield Query(statements["decide_parked_events"], (subscription_id, state, *chosen))
    yield from _announce(statements)
    return sorted(row[0] for row in rows)


def _announce(statements: Statements) -> Operation[None]:
    yield from notify(statements, runtime_channel(statements.schema), CHANGED)
