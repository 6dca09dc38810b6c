"""What the routing machine asks its shell to do, in order."""

from __future__ import annotations

import msgspec

from .state import Entry, SubscriberId


class Read(msgspec.Struct, frozen=True):
    """Read up to `limit` events after a position; answer with `PageRead` or `ReadFailed`. One at a time."""

    serial: int
    after: int
    limit: int


class Deliver(msgspec.Struct, frozen=True):
    """Send events to a subscriber.

    Attributes:
        generation: Failures of this subscriber seen so far; it drops deliveries made before it reported a newer one.
        attempts: Attempt numbers of those entries that were tried before (2 or more).
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


class Skipped(msgspec.Struct, frozen=True):
    """An event was left out for good; tell the log and count it."""

    number: int
    reason: str


class Halted(msgspec.Struct, frozen=True):
    """The subscription stopped at an event; show it."""

    number: int
    reason: str


class Drained(msgspec.Struct, frozen=True):
    """Everything is finished and written; the lock may go."""


Effect = Read | Deliver | Recall | SaveCheckpoint | StartCheckpointTimer | StartRetryTimer | Skipped | Halted | Drained
