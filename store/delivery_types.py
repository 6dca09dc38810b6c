"""What the database remembers of a subscription beside its checkpoint: terms, attempts and parked events. Pure.

`delivery.py` and `control.py` read and write these; the routing machine decides with them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec


class Terms(msgspec.Struct, frozen=True):
    """What holds for a subscription now, as operators and owners left it.

    Attributes:
        subscription_id: Its number.
        epoch: The newest epoch; 0 when no runtime ever owned it.
        paused: An operator paused it.
        halted_at: The event number it halted at, None when it did not.
        halted_reason: Why it halted, in one sentence, or None.
        replay_until: The highest checkpoint it had before a reset; 0 when it was never reset.
        live_after: The stream's head when the subscription was created, or reset.
        parked: Its parked events, held ones included.
        parked_due: Some of them are to be handled or discarded now.
    """

    subscription_id: int
    epoch: int
    paused: bool
    halted_at: int | None
    halted_reason: str | None
    replay_until: int
    live_after: int
    parked: int
    parked_due: bool


class Tried(msgspec.Struct, frozen=True):
    """What is remembered of an event that failed, or that an operator wants to be skipped.

    Attributes:
        attempts: The number of the attempt that comes next; 1 where none has failed.
        crashes: Worker processes that died of it.
        skip: It is to be left out.
        reason: Why the last attempt failed, in one sentence.
    """

    attempts: int = 1
    crashes: int = 0
    skip: bool = False
    reason: str = ""


class Attempt(msgspec.Struct, frozen=True):
    """An event's attempts, to be stored before the next one.

    Attributes:
        number: The event number.
        attempts: The number of the attempt that comes next.
        crashes: Worker processes that died of it.
        reason: Why the last attempt failed, in one sentence.
    """

    number: int
    attempts: int
    crashes: int
    reason: str


ParkedState = Literal["parked", "held", "retry", "discard"]
"""parked: waits for an operator; held: waits behind a parked one; the others: what an operator wants."""


class ParkedEvent(msgspec.Struct, frozen=True):
    """A parked event.

    Attributes:
        number: The event number within the subscribed stream.
        event_id: The event's id.
        partition: The partition key as text, None without one.
        state: See `ParkedState`.
        holds: Later events of its partition are held behind it.
        attempts: Calls of the handler with it.
        crashes: Worker processes that died of it.
        reason: Why it was parked, in one sentence.
    """

    number: int
    event_id: UUID
    partition: str | None
    state: ParkedState
    holds: bool
    attempts: int
    crashes: int
    reason: str


class ParkedRows(msgspec.Struct, frozen=True):
    """The parked rows of one partition.

    Attributes:
        count: How many there are, held ones included.
        blocks: Later events of the partition are held behind them.
    """

    count: int
    blocks: bool


class ParkedRecord(msgspec.Struct, frozen=True):
    """A parked event as `EventStore.parked_events` and `parked list` show it.

    Attributes:
        number: The event number within the subscribed stream.
        event_id: The event's id.
        partition: The partition key as text, None without one.
        state: See `ParkedState`.
        attempts: Calls of the handler with it.
        crashes: Worker processes that died of it.
        reason: Why it was parked, in one sentence.
        parked_at: When, in UTC.
        event_type: Its type, None where the event was deleted for good.
        stream_uuid: Its original stream, None where the event was deleted for good.
    """

    number: int
    event_id: UUID
    partition: str | None
    state: ParkedState
    attempts: int
    crashes: int
    reason: str
    parked_at: datetime
    event_type: str | None
    stream_uuid: str | None
