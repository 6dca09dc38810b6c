"""Every message between the processes of a node, one union for each way it can go.

Frozen data, encoded with MessagePack: a process never unpickles what another one sent. A peer is named by
the child's name ("listener", "lock-holder", "worker:NAME:SLOT").
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ..store.delivery_types import Attempt, ParkedEvent, ParkedRows, Terms, Tried
from ..store.rows import Row
from ..store.types import StartFrom
from .routing.inputs import Verdict


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of all messages."""


# Supervisor to any child, over its control channel


class Attach(Message, frozen=True):
    """A fresh channel to a peer comes with this message; an older one to the same peer is void.

    Attributes:
        peer: The peer's name.
        busy: True when the peer lived before this child did and may still work for its predecessor.
    """

    peer: str
    busy: bool


class PeerExited(Message, frozen=True):
    """after_exit: a peer's process is gone for certain (reaped); a new one may follow with `Attach`.

    Attributes:
        died: How it died, such as "SIGKILL"; empty when it ended as it should, or said itself why it could not go on.
    """

    peer: str
    died: str = ""


class Stop(Message, frozen=True):
    """Finish what is begun and exit with code 0."""


class Reconfigure(Message, frozen=True):
    """For the listener: the node's new plan, encoded; only its subscriptions differ."""

    plan: bytes


class NodeReport(Message, frozen=True):
    """For the monitor: the node's status as JSON (see `status.py`)."""

    status: bytes


ToChild = Attach | PeerExited | Stop | Reconfigure | NodeReport

# Any child to the supervisor


class Ready(Message, frozen=True):
    """The child has started and works. `detail` is for the status, such as the monitor's address."""

    detail: str = ""


class Heartbeat(Message, frozen=True):
    """The child's loop turns. `report` is what it wants in the status, as MessagePack."""

    report: bytes = b""


class BootFailed(Message, frozen=True):
    """The child cannot run as configured, and exits with `ExitCode.BOOT_FAILED`. One sentence with the remedy."""

    reason: str


class Broken(Message, frozen=True):
    """The child cannot go on now, as without its database, and exits; it comes back after the back-off."""

    reason: str


class Drained(Message, frozen=True):
    """The listener has drained all subscriptions and exits."""


class SubscriptionEnded(Message, frozen=True):
    """The listener has drained a subscription that the new plan does not hold, or holds otherwise."""

    subscription: str


ToSupervisor = SubscriptionEnded | Ready | Heartbeat | BootFailed | Broken | Drained

# Listener to lock-holder


class Acquire(Message, frozen=True):
    """Get hold of the subscription and keep trying; answered by `Granted` or `Standby`, later by the other.

    Attributes:
        stream: The stream it follows.
        start_from: Where it begins, if it does not exist yet.
    """

    subscription: str
    stream: str
    start_from: StartFrom


class Keep(Message, frozen=True):
    """All that a new listener runs: whatever else is held, or wanted, was of an older one; give it back."""

    subscriptions: list[str]


class SaveCheckpoint(Message, frozen=True):
    """Write a checkpoint; answered by `CheckpointSaved` or `OwnershipLost`."""

    subscription: str
    epoch: int
    position: int


class SaveAttempts(Message, frozen=True):
    """Store how often events were tried; answered by `AttemptsSaved` or `OwnershipLost`."""

    subscription: str
    epoch: int
    attempts: list[Attempt]


class ParkEvents(Message, frozen=True):
    """Store events as parked; answered by `EventsParked` or `OwnershipLost`."""

    subscription: str
    epoch: int
    events: list[ParkedEvent]


class UnparkEvents(Message, frozen=True):
    """Remove parked events that are done with; answered by `EventsUnparked` or `OwnershipLost`."""

    subscription: str
    epoch: int
    numbers: list[int]


class SaveHalt(Message, frozen=True):
    """Store where and why the subscription halted; answered by nothing, or by `OwnershipLost`."""

    subscription: str
    epoch: int
    number: int
    reason: str


class Recheck(Message, frozen=True):
    """Operators may have changed something: look at the terms of what is held; answered by `TermsChanged`."""


class Release(Message, frozen=True):
    """Give the subscription back and do not try again; all that was begun is finished."""

    subscription: str


class TryNow(Message, frozen=True):
    """A lock was released somewhere: try the ones on standby at once."""


ToLockHolder = (
    Acquire | Keep | SaveCheckpoint | SaveAttempts | ParkEvents | UnparkEvents | SaveHalt | Recheck | Release | TryNow
)

# Lock-holder to listener


class Granted(Message, frozen=True):
    """This node owns the subscription under a new epoch; it goes on after `last_seen`.

    Attributes:
        terms: What operators and owners left.
        tried: What is remembered of events above the checkpoint.
        parked_numbers: Parked events above the checkpoint.
        partitions: The partitions that have parked events.
        unclean: How many owners in a row ended without order and without progress.
    """

    subscription: str
    subscription_id: int
    epoch: int
    last_seen: int | None
    terms: Terms
    tried: dict[int, Tried] = {}
    parked_numbers: list[int] = []
    partitions: dict[str, ParkedRows] = {}
    unclean: int = 0


class TermsChanged(Message, frozen=True):
    """What holds for an owned subscription now; it may be the same as before."""

    subscription: str
    terms: Terms


class Standby(Message, frozen=True):
    """Another node owns the subscription; `owner` is its name where known, `last_seen` its checkpoint."""

    subscription: str
    owner: str
    last_seen: int | None


class CheckpointSaved(Message, frozen=True):
    """The database confirmed the checkpoint."""

    subscription: str
    epoch: int
    position: int


class AttemptsSaved(Message, frozen=True):
    """The attempts of these events are stored."""

    subscription: str
    epoch: int
    numbers: list[int]


class EventsParked(Message, frozen=True):
    """These events are stored as parked."""

    subscription: str
    epoch: int
    numbers: list[int]


class EventsUnparked(Message, frozen=True):
    """The rows of these parked events are removed."""

    subscription: str
    epoch: int
    numbers: list[int]


class OwnershipLost(Message, frozen=True):
    """The epoch is not the newest any more: another node took over, or the subscription was deleted."""

    subscription: str
    epoch: int


LockHolderToListener = (
    Granted | TermsChanged | Standby | CheckpointSaved | AttemptsSaved | EventsParked | EventsUnparked | OwnershipLost
)

# Listener to worker


class Deliver(Message, frozen=True):
    """Handle these events, rows of the page statements, in this order; see `routing.effects.Deliver`.

    Attributes:
        attempts: Attempt numbers of those events that must be called alone: tried before, or suspected of a crash.
        replay_until: The highest event number that was handled before the subscription was reset; 0 if it never was.
        live_after: Events up to this number were stored before the subscription began, or was reset.
    """

    subscription_id: int
    epoch: int
    generation: int
    attempts: dict[int, int]
    rows: list[Row]
    replay_until: int = 0
    live_after: int = 0


class Recall(Message, frozen=True):
    """Drop what is not begun; answered by `Recalled` after the event at hand."""


class Renew(Message, frozen=True):
    """End in order, so that a fresh process takes over: answer `Retiring` and do as it says."""


ToWorker = Deliver | Recall | Renew

# Worker to listener


class WorkerReady(Message, frozen=True):
    """The worker runs nothing and takes up to `wanted` events.

    The descriptor of its `at_hand.AtHand` page comes with this message, so that the listener knows what it died of.
    """

    wanted: int


class Acked(Message, frozen=True):
    """These events are finished; from now on the worker takes up to `wanted` events at once."""

    numbers: list[int]
    wanted: int


class Failed(Message, frozen=True):
    """An event was not finished; everything buffered behind it was dropped. See `routing.inputs.Failed`."""

    number: int
    verdict: Verdict
    reason: str
    after: float | None


class Recalled(Message, frozen=True):
    """Nothing runs, nothing is buffered."""


class Retiring(Message, frozen=True):
    """The worker wants to end between two events; it has dropped its buffer, and ends when `Recall` has come."""


WorkerToListener = WorkerReady | Acked | Failed | Recalled | Retiring

ChildRole = Literal["listener", "lock-holder", "worker", "monitor", "source"]
"""What a child does; a source appends events of its own, such as the demo's."""
