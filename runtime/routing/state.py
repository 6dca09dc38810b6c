"""The data of one subscription's routing: entries, partitions, subscribers, phases and options.

Nothing here decides anything. `assignment.py` moves entries between partitions and subscribers,
`checkpoint.py` tracks what is finished, `machine.py` answers the messages. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec

SubscriberId = Hashable
"""Names one incarnation of a subscriber; a restarted worker is a new subscriber with a new id."""


class Entry(NamedTuple):
    """One event on its way through the routing.

    Attributes:
        number: The event number within the subscribed stream; strictly ascending as read.
        key: The partition key, or None for an event that may go to any subscriber.
        payload: What the shell delivers; the routing never looks at it.
        size: The bytes of memory that the payload takes.
    """

    number: int
    key: Hashable
    payload: Any
    size: int = 0


class Phase(StrEnum):
    """Where a subscription stands."""

    WAITING = "waiting"
    """Another node owns it, or the lock was not asked for yet."""
    CATCHING_UP = "catching_up"
    """Owned; events that are already stored are being read."""
    LIVE = "live"
    """Owned; everything stored has been read, notifications lead to the next read."""
    DRAINING = "draining"
    """No more deliveries; waiting for subscribers to finish and for the last checkpoint."""
    PAUSED = "paused"
    """Owned, but an operator wants nothing to be delivered."""
    HALTED = "halted"
    """Stopped at an event, by a handler's wish or because its attempts are used up."""
    STOPPED = "stopped"
    """Drained; nothing more will happen."""


class Halted(msgspec.Struct, frozen=True):
    """The subscription stopped at an event; as an effect: store and show it."""

    number: int
    reason: str


class RoutingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription's user may tune. Mirrors the subscription options of commanded/eventstore.

    Attributes:
        max_size: Most events held in memory and not finished, over all subscribers (default 5,000).
        page_size: Most events asked for in one read (default 1,000).
        checkpoint_threshold: Finished events after which a checkpoint is written at once (default 1,000).
        checkpoint_after: Seconds after which any finished event is checkpointed (default 0.1).
        max_attempts: Calls of the handler with one event before `on_exhausted` applies (default 10).
        retry_backoff_min: Seconds before the second attempt (default 0.5); doubles for each further one.
        retry_backoff_max: Longest wait between attempts in seconds (default 60).
        max_bytes: Most bytes held in memory and not finished (default 64 MiB); one event may exceed it.
        pinned: True gives a partition to the same subscriber as long as the subscribers stay the same (default False).
        max_crashes: Subscribers that may die of the same event before `on_exhausted` applies (default 2).
        on_exhausted: "halt" stops the subscription at the event (default); "park" sets it aside; "park_partition" also
            holds later events of its partition behind it; "skip" goes on without it.
        max_parked: Parked and held events beyond which the subscription halts (default 10,000).
        max_parked_per_partition: The same for one partition (default 1,000).
    """

    max_size: int = 5_000
    page_size: int = 1_000
    checkpoint_threshold: int = 1_000
    checkpoint_after: float = 0.1
    max_attempts: int = 10
    retry_backoff_min: float = 0.5
    retry_backoff_max: float = 60.0
    max_bytes: int = 67_108_864
    pinned: bool = False
    max_crashes: int = 2
    on_exhausted: Literal["halt", "park", "park_partition", "skip"] = "halt"
    max_parked: int = 10_000
    max_parked_per_partition: int = 1_000

    @property
    def max_span(self) -> int:
        """Most event numbers remembered behind one that is not finished; bounds memory and redelivery."""
        return 20 * self.max_size


class Partition:
    """All waiting entries of one key, in event order, and the subscriber that works on it now.

    Attributes:
        waiting: Entries not yet delivered, oldest first.
        in_flight: How many of its entries are delivered and not finished, all at `subscriber`.
        held: True while its first entry waits for a retry; nothing of it is delivered meanwhile.
        ticket: Number of its newest place in a queue; older places are stale and skipped.
        listed: True while the place with that ticket is in a queue.
    """

    __slots__ = ("held", "in_flight", "key", "listed", "subscriber", "ticket", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.waiting: deque[Entry] = deque()
        self.in_flight = 0
        self.subscriber: Subscriber | None = None
        self.held = False
        self.ticket = 0
        self.listed = False


class Subscriber:
    """One consumer of the subscription: a worker process, or an object in the user's own process.

    Attributes:
        capacity: Most events in flight at once, as it said last; a smaller one takes effect as events are finished.
        in_flight: Delivered entries by number, in delivery order, with their partition (None if unkeyed).
        backlog: Places of partitions that have entries in flight here and more waiting.
        generation: Failures reported so far; deliveries of an older generation were dropped by it.
        in_rotation: True while it is in the queue of subscribers with room.
        slot: Its place among the subscribers, which its successor takes over; pinned partitions stay with the place.
    """

    __slots__ = ("backlog", "capacity", "generation", "id", "in_flight", "in_rotation", "slot")

    def __init__(self, subscriber_id: SubscriberId, capacity: int, generation: int, slot: Hashable) -> None:
        self.id = subscriber_id
        self.slot = slot
        self.capacity = capacity
        self.in_flight: dict[int, tuple[Entry, Partition | None]] = {}
        self.backlog: deque[Entry | tuple[Partition, int]] = deque()
        self.generation = generation
        self.in_rotation = False
