"""What can happen to a subscription: the inputs of the routing machine.

The shell turns messages, query results and timers into these. Each is answered in every phase.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import msgspec

from ...store.delivery_types import ParkedRows, Tried
from .state import Entry, Halted, SubscriberId

Verdict = Literal["error", "retry", "skip", "park", "stop"]
"""How a handler ended an event that it did not finish: an exception, or the outcome it asked for."""


class Owned(msgspec.Struct, frozen=True):
    """This node owns the subscription now, under `epoch`; it goes on after `last_seen` (None: from the origin).

    Attributes:
        paused: An operator wants nothing to be delivered.
        halted: Where the last owner halted, if it stays so.
        tried: What is remembered of events above the checkpoint.
        parked: The number of parked events, held ones included.
        parked_numbers: Those of them above the checkpoint.
        partitions: The partitions that have parked events.
        parked_due: Some parked events are to be handled again, or discarded.
        unclean: How many owners in a row ended without order and without progress.
    """

    epoch: int
    last_seen: int | None
    paused: bool = False
    halted: Halted | None = None
    tried: dict[int, Tried] = {}
    parked: int = 0
    parked_numbers: list[int] = []
    partitions: dict[str, ParkedRows] = {}
    parked_due: bool = False
    unclean: int = 0


class Pause(msgspec.Struct, frozen=True):
    """An operator paused the subscription, or resumed it."""

    paused: bool


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
    """A subscriber is ready and takes up to `capacity` events at once.

    Attributes:
        slot: Its place, which its successors take over; None: its id.
    """

    subscriber: SubscriberId
    capacity: int
    slot: Hashable | None = None


class Left(msgspec.Struct, frozen=True):
    """A subscriber is known to run no longer."""

    subscriber: SubscriberId


class Died(msgspec.Struct, frozen=True):
    """A subscriber is known to run no longer, and died while it handled an event, or a batch.

    Attributes:
        first: The event, or the first one of the batch.
        last: The same, or the last one of the batch.
        finished_before: It had finished all that was delivered to it before that.
        reason: How it died, in one sentence.
        jitter: A random number in [0, 1) that spreads the back-off.
    """

    subscriber: SubscriberId
    first: int
    last: int
    finished_before: bool
    reason: str
    jitter: float


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


class AttemptsSaved(msgspec.Struct, frozen=True):
    """The attempts of these events are stored."""

    numbers: list[int]


class ParkSaved(msgspec.Struct, frozen=True):
    """These events are stored as parked."""

    numbers: list[int]


class ParkedDue(msgspec.Struct, frozen=True):
    """Parked events that are to be handled again, or discarded.

    Attributes:
        entries: Both, in order.
        discarded: The numbers of those that are to be discarded.
        complete: No others are due.
    """

    entries: list[Entry]
    discarded: list[int]
    complete: bool


class Unparked(msgspec.Struct, frozen=True):
    """The rows of these parked events are removed."""

    numbers: list[int]


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
    | Pause
    | Expected
    | Joined
    | Left
    | Died
    | Acked
    | Failed
    | Retiring
    | Halt
    | Recalled
    | RetryDue
    | AttemptsSaved
    | ParkSaved
    | ParkedDue
    | Unparked
    | CheckpointDue
    | CheckpointSaved
    | CheckpointFailed
    | Drain
)
