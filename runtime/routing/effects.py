"""What the routing machine asks its shell to do, in order."""

from __future__ import annotations

import msgspec

from ...store.delivery_types import Attempt
from .parking import Parking
from .state import Entry, Halted, SubscriberId


class Read(msgspec.Struct, frozen=True):
    """Read up to `limit` events after a position; answer with `PageRead` or `ReadFailed`. One at a time.

    Attributes:
        max_bytes: The most bytes to bring; one event may exceed it.
    """

    serial: int
    after: int
    limit: int
    max_bytes: int


class Deliver(msgspec.Struct, frozen=True):
    """Send events to a subscriber.

    Attributes:
        generation: Failures of this subscriber seen so far; it drops deliveries made before it reported a newer one.
        attempts: Attempt numbers of those entries that must be called alone: tried before, or suspected of a crash.
    """

    subscriber: SubscriberId
    entries: list[Entry]
    generation: int
    attempts: dict[int, int]


class Recall(msgspec.Struct, frozen=True):
    """Tell a subscriber to drop what it has not started; it answers `Recalled` after the event it is at."""

    subscriber: SubscriberId


class SaveCheckpoint(msgspec.Struct, frozen=True):
    """Write the checkpoint; answer `CheckpointSaved`, `CheckpointFailed` or `Disowned`. One at a time."""

    epoch: int
    position: int


class StartCheckpointTimer(msgspec.Struct, frozen=True):
    """Send `CheckpointDue` after so many seconds."""

    seconds: float


class StartRetryTimer(msgspec.Struct, frozen=True):
    """Send `RetryDue` for the event after so many seconds; tell the log why."""

    number: int
    seconds: float
    attempt: int
    reason: str


class StoreAttempts(msgspec.Struct, frozen=True):
    """Store how often events were tried; answer `AttemptsSaved` or `Disowned`."""

    attempts: list[Attempt]


class BeginCarefully(msgspec.Struct, frozen=True):
    """Store an event as begun, once no other subscription of the node has one begun; answer as to `StoreAttempts`."""

    attempt: Attempt


class Park(msgspec.Struct, frozen=True):
    """Store events as parked; answer `ParkSaved` or `Disowned`, and tell the log of those that are not just held."""

    events: list[Parking]


class Unpark(msgspec.Struct, frozen=True):
    """Remove the rows of parked events, which are handled or discarded; answer `Unparked` or `Disowned`."""

    numbers: list[int]


class ReadParked(msgspec.Struct, frozen=True):
    """Look which parked events are due; answer `ParkedDue` where there are some."""


class Skipped(msgspec.Struct, frozen=True):
    """An event was left out for good; tell the log and count it."""

    number: int
    reason: str


class Drained(msgspec.Struct, frozen=True):
    """Everything is finished and written; the lock may go."""


Effect = (
    Read
    | Deliver
    | Recall
    | SaveCheckpoint
    | StartCheckpointTimer
    | StartRetryTimer
    | StoreAttempts
    | BeginCarefully
    | Park
    | Unpark
    | ReadParked
    | Skipped
    | Halted
    | Drained
)
