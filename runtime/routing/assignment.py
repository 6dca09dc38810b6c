"""Which subscriber gets which event: round-robin without a key, one subscriber at a time per partition.

Owned by the machine. An event with a key goes to the subscriber that has events of this key in flight;
where none has, to the next subscriber with room. A partition whose entries wait is in exactly one queue:
its subscriber's backlog or the common one. Leaving a queue early only makes its place stale (see
`Partition.ticket`), so that every event costs amortised constant time. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable

from .state import Entry, Partition, Subscriber, SubscriberId

Place = tuple[Partition, int]


class Assignment:
    """The partitions and subscribers of one subscription."""

    def __init__(self) -> None:
        self._partitions: dict[Hashable, Partition] = {}
        self._subscribers: dict[SubscriberId, Subscriber] = {}
        self._common: deque[Entry | Place] = deque()
        self._rotation: deque[Subscriber] = deque()
        self._held: dict[int, Entry] = {}
        self._queued = 0
        self._in_flight = 0

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
    def starving(self) -> bool:
        """True when, after `assign`, a subscriber still has room: nothing that may be delivered is left."""
        return bool(self._rotation)

    def subscriber(self, subscriber_id: SubscriberId) -> Subscriber | None:
        """The subscriber of that id, or None when it has left or never joined."""
        return self._subscribers.get(subscriber_id)

    # Subscribers come and go

    def join(self, subscriber_id: SubscriberId, capacity: int, generation: int = 0) -> None:
        """Adds a subscriber with nothing in flight and room for `capacity` events."""
        assert subscriber_id not in self._subscribers, f"{subscriber_id!r} joined twice"
        subscriber = Subscriber(subscriber_id, capacity, generation)
        self._subscribers[subscriber_id] = subscriber
        self._offer(subscriber)

    def leave(self, subscriber_id: SubscriberId) -> None:
        """Removes a subscriber; its events in flight go back to the front of their partitions."""
        subscriber = self._subscribers.pop(subscriber_id, None)
        if subscriber is None:
            return
        self.take_back(subscriber)
        if subscriber.in_rotation:
            self._rotation.remove(subscriber)

    def take_back(self, subscriber: Subscriber) -> None:
        """Returns everything in flight at a subscriber to the front of its partitions, in event order."""
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
        subscriber.backlog.clear()
        self._offer(subscriber)

    # Events come, are finished, fail

    def enqueue(self, entries: Iterable[Entry]) -> None:
        """Adds events that were read, in event order."""
        partitions = self._partitions
        for entry in entries:
            self._queued += 1
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
        self._held[number] = entry
        if partition is not None:
            partition.held = True
            partition.in_flight = 0
            partition.subscriber = None
            partition.listed = False
            partition.ticket += 1
        return True

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
        partition.waiting.appendleft(entry)
        self._list_first(partition)

    def discard(self, number: int) -> None:
        """Drops a held event; the rest of its partition goes on."""
        entry = self._held.pop(number)
        self._queued -= 1
        if entry.key is None:
            return
        partition = self._partitions[entry.key]
        partition.held = False
        if partition.waiting:
            self._list_first(partition)
        else:
            del self._partitions[entry.key]

    # Deliveries

    def assign(self) -> dict[Subscriber, list[Entry]]:
        """Gives waiting events to subscribers with room, least recently served first.

        Returns:
            The new deliveries; they count as in flight from here on.
        """
        deliveries: dict[Subscriber, list[Entry]] = {}
        rotation = self._rotation
        without_work = 0
        while rotation and without_work < len(rotation):
            subscriber = rotation.popleft()
            if len(subscriber.in_flight) >= subscriber.capacity:
                # It wants fewer now than when it was offered.
                subscriber.in_rotation = False
                continue
            taken = self._take(subscriber)
            if taken is None:
                rotation.append(subscriber)
                without_work += 1
                continue
            without_work = 0
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
        delivered = sum(map(len, deliveries.values()))
        self._queued -= delivered
        self._in_flight += delivered
        return deliveries

    def _take(self, subscriber: Subscriber) -> tuple[Entry, Partition | None] | None:
        """The oldest event this subscriber may have, from its own backlog or the common queue."""
        backlog, common = subscriber.backlog, self._common
        _drop_stale(backlog)
        _drop_stale(common)
        if backlog and (not common or _first_number(backlog[0]) < _first_number(common[0])):
            place: Entry | Place = backlog.popleft()
        elif common:
            place = common.popleft()
        else:
            return None
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
        _drop_stale(self._common)
        if self._common and _first_number(self._common[0]) < partition.waiting[0].number:
            self._list_last(partition)
        else:
            self._list_first(partition)

    def _list_first(self, partition: Partition) -> None:
        """Puts a free partition at the front of the common queue."""
        partition.ticket += 1
        partition.listed = True
        self._common.appendleft((partition, partition.ticket))

    def _list_last(self, partition: Partition) -> None:
        partition.ticket += 1
        partition.listed = True
        queue = self._common if partition.subscriber is None else partition.subscriber.backlog
        queue.append((partition, partition.ticket))

    def _offer(self, subscriber: Subscriber) -> None:
        """Puts a subscriber with room into the rotation."""
        if subscriber.in_rotation or len(subscriber.in_flight) >= subscriber.capacity:
            return
        if subscriber.id in self._subscribers:
            subscriber.in_rotation = True
            self._rotation.append(subscriber)


def _drop_stale(queue: deque[Entry | Place] | deque[Place]) -> None:
    """Removes places at the front that their partition has left."""
    while queue:
        place = queue[0]
        if isinstance(place, Entry) or (place[0].ticket == place[1] and place[0].listed):
            return
        queue.popleft()


def _first_number(place: Entry | Place) -> int:
    """The number of the oldest event at a place."""
    if isinstance(place, Entry):
        return place.number
    return place[0].waiting[0].number
