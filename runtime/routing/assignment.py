"""Which subscriber gets which event: round-robin without a key, one subscriber at a time per partition.

Owned by the machine. An event with a key goes to the subscriber that has events of this key in flight;
where none has, to the next subscriber with room, or to the one that its key is pinned to. A partition whose entries
wait is in exactly one queue: a subscriber's backlog or the common one. Leaving a queue early only makes its place stale
(see `Partition.ticket`), so that every event costs amortised constant time. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable
from typing import NamedTuple

from .state import Entry, Partition, Subscriber, SubscriberId

Place = tuple[Partition, int]


class Assigned(NamedTuple):
    """What `assign` decided.

    Attributes:
        deliveries: The entries that each subscriber gets; they count as in flight from here on.
        refused: Doomed events whose turn it was; they are held, with their partitions.
    """

    deliveries: dict[Subscriber, list[Entry]]
    refused: list[int]


class Assignment:
    """The partitions and subscribers of one subscription.

    Args:
        pinned: A partition goes to the same subscriber as long as the subscribers stay the same.
    """

    def __init__(self, *, pinned: bool = False) -> None:
        self._pinned = pinned
        self._partitions: dict[Hashable, Partition] = {}
        self._subscribers: dict[SubscriberId, Subscriber] = {}
        self._common: deque[Entry | Place] = deque()
        self._rotation: deque[Subscriber] = deque()
        self._held: dict[int, Entry] = {}
        self._refused: list[int] = []
        self._queued = 0
        self._in_flight = 0
        self._bytes = 0

    # What is where

    @property
    def subscribers(self) -> Iterable[Subscriber]:
        """All subscribers that joined and did not leave."""
        return self._subscribers.values()

    @property
    def in_flight(self) -> int:
        """Events delivered and not finished."""
        return self._in_flight

    @property
    def unfinished(self) -> int:
        """Events held in memory: queued, held for a retry or in flight."""
        return self._queued + self._in_flight

    @property
    def unfinished_bytes(self) -> int:
        """Their size in bytes."""
        return self._bytes

    @property
    def starving(self) -> bool:
        """True when, after `assign`, a subscriber still has room: nothing that may be delivered to it is left."""
        return bool(self._rotation)

    def subscriber(self, subscriber_id: SubscriberId) -> Subscriber | None:
        """The subscriber of that id, or None when it has left or never joined."""
        return self._subscribers.get(subscriber_id)

    def held(self, number: int) -> Entry | None:
        """A held event, None where it is not held."""
        return self._held.get(number)

    # Subscribers come and go

    def join(
        self, subscriber_id: SubscriberId, capacity: int, generation: int = 0, slot: Hashable | None = None
    ) -> None:
        """Adds a subscriber with nothing in flight and room for `capacity` events."""
        assert subscriber_id not in self._subscribers, f"{subscriber_id!r} joined twice"
        subscriber = Subscriber(subscriber_id, capacity, generation, subscriber_id if slot is None else slot)
        self._subscribers[subscriber_id] = subscriber
        self._offer(subscriber)
        self._place_anew()

    def leave(self, subscriber_id: SubscriberId) -> None:
        """Removes a subscriber; its events in flight go back to the front of their partitions."""
        subscriber = self._subscribers.pop(subscriber_id, None)
        if subscriber is None:
            return
        self.take_back(subscriber)
        if subscriber.in_rotation:
            self._rotation.remove(subscriber)
        self._place_anew()

    def take_back(self, subscriber: Subscriber) -> None:
        """Returns everything in flight at a subscriber to the front of its partitions, in event order."""
        pinned, subscriber.backlog = subscriber.backlog, deque()
        for entry, partition in reversed(subscriber.in_flight.values()):
            if partition is None:
                self._common.appendleft(entry)
            else:
                partition.waiting.appendleft(entry)
                partition.in_flight = 0
                partition.subscriber = None
                self._list_first(partition)
        self._queued += len(subscriber.in_flight)
        self._in_flight -= len(subscriber.in_flight)
        subscriber.in_flight.clear()
        if self._pinned:
            # Those of partitions that had something in flight are stale by now.
            subscriber.backlog.extend(place for place in pinned if not _is_stale(place))
        self._offer(subscriber)

    def _place_anew(self) -> None:
        """Gives free partitions to those subscribers that they are pinned to now, oldest first."""
        if not self._pinned:
            return
        free = [p for p in self._partitions.values() if p.waiting and not p.held and not p.in_flight]
        for partition in sorted(free, key=lambda partition: partition.waiting[0].number):
            self._list_last(partition)

    # Events come, are finished, fail

    def enqueue(self, entries: Iterable[Entry]) -> None:
        """Adds events that were read, in event order."""
        partitions = self._partitions
        for entry in entries:
            self._queued += 1
            self._bytes += entry.size
            if entry.key is None:
                self._common.append(entry)
                continue
            partition = partitions.get(entry.key)
            if partition is None:
                partition = partitions[entry.key] = Partition(entry.key)
            partition.waiting.append(entry)
            if not partition.listed and not partition.held:
                self._list_last(partition)

    def finish(self, subscriber: Subscriber, numbers: Iterable[int]) -> list[int]:
        """Ends events that were in flight at a subscriber.

        Returns:
            The numbers that really were in flight there; others (doubled or late acks) are left out.
        """
        finished: list[int] = []
        for number in numbers:
            found = subscriber.in_flight.pop(number, None)
            if found is None:
                continue
            finished.append(number)
            self._bytes -= found[0].size
            if found[1] is not None:
                self._finish_in(found[1])
        self._in_flight -= len(finished)
        self._offer(subscriber)
        return finished

    def hold(self, subscriber: Subscriber, number: int) -> bool:
        """Takes everything back from a subscriber and holds the event that failed there, with its partition.

        Returns:
            False when that event was not in flight there; then nothing is held.
        """
        found = subscriber.in_flight.pop(number, None)
        if found is None:
            return False
        entry, partition = found
        self._in_flight -= 1
        self._queued += 1
        self.take_back(subscriber)
        self._hold(entry, partition)
        return True

    def _hold(self, entry: Entry, partition: Partition | None) -> None:
        self._held[entry.number] = entry
        if partition is not None:
            partition.held = True
            partition.in_flight = 0
            partition.subscriber = None
            partition.listed = False
            partition.ticket += 1

    def release(self, number: int) -> None:
        """Makes a held event the next of its partition."""
        entry = self._held.pop(number, None)
        if entry is None:
            return
        if entry.key is None:
            self._common.appendleft(entry)
            return
        partition = self._partitions[entry.key]
        partition.held = False
        # Earlier ones may wait too: they were taken back together with it, when their subscriber died.
        earlier = 0
        while earlier < len(partition.waiting) and partition.waiting[earlier].number < number:
            earlier += 1
        partition.waiting.insert(earlier, entry)
        self._list_first(partition)

    def discard(self, number: int) -> None:
        """Drops a held event; the rest of its partition goes on."""
        entry = self._held.pop(number)
        self._queued -= 1
        self._bytes -= entry.size
        if entry.key is None:
            return
        partition = self._partitions[entry.key]
        partition.held = False
        if partition.waiting:
            self._list_first(partition)
        else:
            del self._partitions[entry.key]

    def withdraw(self, key: Hashable, after: int) -> list[Entry]:
        """Removes and returns what waits of a held partition behind an event."""
        partition = self._partitions[key]
        withdrawn = [entry for entry in partition.waiting if entry.number > after]
        self._queued -= len(withdrawn)
        self._bytes -= sum(entry.size for entry in withdrawn)
        partition.waiting = deque(entry for entry in partition.waiting if entry.number <= after)
        return withdrawn

    # Deliveries

    def assign(self, doomed: Collection[int] = (), limit: int | None = None) -> Assigned:
        """Gives waiting events to subscribers with room, least recently served first.

        Args:
            doomed: Events that are held instead when their turn comes.
            limit: The most events to give; None for no limit.
        """
        deliveries: dict[Subscriber, list[Entry]] = {}
        rotation = self._rotation
        without_work = delivered = 0
        while rotation and without_work < len(rotation) and delivered != limit:
            subscriber = rotation.popleft()
            if len(subscriber.in_flight) >= subscriber.capacity:
                # It wants fewer now than when it was offered.
                subscriber.in_rotation = False
                continue
            taken = self._take(subscriber, doomed)
            if taken is None:
                rotation.append(subscriber)
                without_work += 1
                continue
            without_work = 0
            delivered += 1
            entry, partition = taken
            subscriber.in_flight[entry.number] = (entry, partition)
            if subscriber in deliveries:
                deliveries[subscriber].append(entry)
            else:
                deliveries[subscriber] = [entry]
            if len(subscriber.in_flight) < subscriber.capacity:
                rotation.append(subscriber)
            else:
                subscriber.in_rotation = False
        self._queued -= delivered
        self._in_flight += delivered
        refused, self._refused = self._refused, []
        return Assigned(deliveries, refused)

    def _take(self, subscriber: Subscriber, doomed: Collection[int]) -> tuple[Entry, Partition | None] | None:
        """The oldest event this subscriber may have, from its own backlog or the common queue."""
        backlog, common = subscriber.backlog, self._common
        while True:
            if backlog:
                _drop_stale(backlog)
            _drop_stale(common)
            if backlog and (not common or _first_number(backlog[0]) < _first_number(common[0])):
                place: Entry | Place = backlog.popleft()
            elif common:
                place = common.popleft()
            else:
                return None
            if doomed and self._refuse(place, doomed):
                continue
            if isinstance(place, Entry):
                return place, None
            partition = place[0]
            entry = partition.waiting.popleft()
            partition.subscriber = subscriber
            partition.in_flight += 1
            if partition.waiting:
                backlog.append((partition, partition.ticket))
            else:
                partition.listed = False
            return entry, partition

    def _refuse(self, place: Entry | Place, doomed: Collection[int]) -> bool:
        """Holds the event of a place if it is doomed, once nothing of its partition is in flight."""
        if _first_number(place) not in doomed:
            return False
        if isinstance(place, Entry):
            self._hold(place, None)
            self._refused.append(place.number)
            return True
        partition = place[0]
        partition.listed = False
        if not partition.in_flight:
            entry = partition.waiting.popleft()
            self._hold(entry, partition)
            self._refused.append(entry.number)
        return True

    def _finish_in(self, partition: Partition) -> None:
        partition.in_flight -= 1
        if partition.in_flight:
            return
        partition.subscriber = None
        if partition.waiting:
            # Nothing in flight any more: whoever has room first may go on with it, in its turn.
            self._list_by_age(partition)
        elif not partition.held:
            del self._partitions[partition.key]

    def _list_by_age(self, partition: Partition) -> None:
        """Puts a free partition first if its next event is the oldest, else last, so that none starves another."""
        queue = self._queue_of(partition)
        _drop_stale(queue)
        if queue and _first_number(queue[0]) < partition.waiting[0].number:
            self._list_last(partition)
        else:
            self._list_first(partition)

    def _list_first(self, partition: Partition) -> None:
        """Puts a free partition at the front of its queue."""
        partition.ticket += 1
        partition.listed = True
        self._queue_of(partition).appendleft((partition, partition.ticket))

    def _list_last(self, partition: Partition) -> None:
        partition.ticket += 1
        partition.listed = True
        self._queue_of(partition).append((partition, partition.ticket))

    def _queue_of(self, partition: Partition) -> deque[Entry | Place]:
        """Where a partition waits: at the subscriber that works on it, or that it is pinned to; else for anybody."""
        if partition.subscriber is not None:
            return partition.subscriber.backlog
        if self._pinned and self._subscribers:
            key = partition.key
            # The highest score wins: when one subscriber goes, only its own partitions move.
            return max(self._subscribers.values(), key=lambda s: (hash((key, s.slot)), str(s.slot))).backlog
        return self._common

    def _offer(self, subscriber: Subscriber) -> None:
        """Puts a subscriber with room into the rotation."""
        if subscriber.in_rotation or len(subscriber.in_flight) >= subscriber.capacity:
            return
        if subscriber.id in self._subscribers:
            subscriber.in_rotation = True
            self._rotation.append(subscriber)


def _is_stale(place: Entry | Place) -> bool:
    """True for a place that its partition has left."""
    return not isinstance(place, Entry) and not (place[0].ticket == place[1] and place[0].listed)


def _drop_stale(queue: deque[Entry | Place]) -> None:
    """Removes places at the front that their partition has left."""
    while queue and _is_stale(queue[0]):
        queue.popleft()


def _first_number(place: Entry | Place) -> int:
    """The number of the oldest event at a place."""
    if isinstance(place, Entry):
        return place.number
    return place[0].waiting[0].number
