"""What can happen to a subscription: the inputs of the routing machine.

The shell turns messages, query results and timers into these. Each is answered in every phase.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .state import Entry, SubscriberId

Verdict = Literal["error", "retry", "skip", "park", "stop"]
"""How a handler ended an event that it did not finish: an exception, or the outcome it asked for."""


class Owned(msgspec.Struct, frozen=True):
    """This node owns the subscription now, under `epoch`; it goes on after `last_seen` (None: from the origin)."""

    epoch: int
    last_seen: int | None


class Disowned(msgspec.Struct, frozen=True):
    """The ownership is gone: lock session lost, checkpoint fenced off, or subscription deleted."""


class Appended(msgspec.Struct, frozen=True):
    """A hint that the subscribed stream has events up to `position`, by NOTIFY or by polling."""

    position: int


class PageRead(msgspec.Struct, frozen=True):
    """The answer to `Read`.

    Attributes:
        serial: That of the `Read`; an answer to an older one is dropped.
        entries: What was found, in event order.
        scanned_to: The last position looked at; above the last entry where events were filtered out.
        complete: True when the read reached the end of what was committed when it began.
    """

    serial: int
    entries: list[Entry]
    scanned_to: int
    complete: bool


class ReadFailed(msgspec.Struct, frozen=True):
    """The read could not be done; the next message leads to another one."""

    serial: int


class Expected(msgspec.Struct, frozen=True):
    """A subscriber may be busy with an event of before; nothing is delivered until it has joined or left."""

    subscriber: SubscriberId


class Joined(msgspec.Struct, frozen=True):
    """A subscriber is ready and takes up to `capacity` events at once."""

    subscriber: SubscriberId
    capacity: int


class Left(msgspec.Struct, frozen=True):
    """A subscriber is known to run no longer."""

    subscriber: SubscriberId


class Acked(msgspec.Struct, frozen=True):
    """A subscriber finished these events, and takes up to `capacity` at once from now on (None: as before)."""

    subscriber: SubscriberId
    numbers: list[int]
    capacity: int | None = None


class Failed(msgspec.Struct, frozen=True):
    """A subscriber did not finish an event, and dropped everything else that it had buffered.

    Attributes:
        number: The event.
        verdict: An exception ("error") or the outcome the handler asked for.
        reason: One sentence for status and logs.
        after: Seconds until the next attempt where the handler named them, else None.
        jitter: A random number in [0, 1) that spreads the back-off.
    """

    subscriber: SubscriberId
    number: int
    verdict: Verdict
    reason: str
    after: float | None
    jitter: float


class Retiring(msgspec.Struct, frozen=True):
    """A subscriber wants to end: it has dropped its buffer, runs nothing, and waits for `Recall` to do so."""

    subscriber: SubscriberId


class Halt(msgspec.Struct, frozen=True):
    """The subscription cannot go on at an event for a reason outside a handler, such as its partition function."""

    number: int
    reason: str


class Recalled(msgspec.Struct, frozen=True):
    """The answer to `Recall`: the subscriber runs nothing and has dropped what it had not started."""

    subscriber: SubscriberId


class RetryDue(msgspec.Struct, frozen=True):
    """The wait before an event's next attempt is over."""

    number: int


class CheckpointDue(msgspec.Struct, frozen=True):
    """`checkpoint_after` has passed since the timer was set."""


class CheckpointSaved(msgspec.Struct, frozen=True):
    """The database confirmed the checkpoint."""

    position: int


class CheckpointFailed(msgspec.Struct, frozen=True):
    """The checkpoint could not be written; it stays due."""


class Drain(msgspec.Struct, frozen=True):
    """Stop delivering, let subscribers finish the event they are at, write the last checkpoint."""


Input = (
    Owned
    | Disowned
    | Appended
    | PageRead
    | ReadFailed
    | Expected
    | Joined
    | Left
    | Acked
    | Failed
    | Retiring
    | Halt
    | Recalled
    | RetryDue
    | CheckpointDue
    | CheckpointSaved
    | CheckpointFailed
    | Drain
)
