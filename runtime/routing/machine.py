"""The routing of one subscription: one message in, the effects out.

Owned by a shell that performs the effects: the runtime's listener process, or a subscription in a user's
own process. The machine owns which events were read, who works on which, what is finished, and when a
checkpoint is due; `failures.py` is its part for what goes wrong. It does no I/O and reads no clock, so that every order
of messages can be tested.

    waiting --Owned--> catching_up ---> live --Failed(stop)--> halted
       ^                    |  ^         |                       |
       |                    |  +- Pause -+--> paused             |
       +----- Disowned -----+-------------+------ Drain ------> draining --> stopped
"""

from __future__ import annotations

from operator import attrgetter
from typing import assert_never

from .assignment import Assignment
from .checkpoint import CheckpointTracker
from .effects import Deliver, Drained, Effect, Read, ReadParked, Recall, SaveCheckpoint, StartCheckpointTimer
from .failures import Failures
from .inputs import (
    Acked,
    Appended,
    AttemptsSaved,
    CheckpointDue,
    CheckpointFailed,
    CheckpointSaved,
    Died,
    Disowned,
    Drain,
    Expected,
    Failed,
    Halt,
    Input,
    Joined,
    Left,
    Owned,
    PageRead,
    ParkedDue,
    ParkSaved,
    Pause,
    ReadFailed,
    Recalled,
    Retiring,
    RetryDue,
    Unparked,
)
from .state import Halted, Phase, RoutingOptions, SubscriberId

_NUMBER = attrgetter("number")
_DELIVERING = (Phase.CATCHING_UP, Phase.LIVE)


class SubscriptionMachine:
    """The state machine of one subscription (or one partition unit of it) on one node.

    Mirrors `EventStore.Subscriptions.SubscriptionFsm`.

    Args:
        options: Limits, checkpoint and retry policy.
    """

    def __init__(self, options: RoutingOptions) -> None:
        self.options = options
        self.phase = Phase.WAITING
        self.epoch = 0
        self.halted: Halted | None = None
        self.finished_count = 0
        self._assignment = Assignment(pinned=options.pinned)
        self._recalling: set[SubscriberId] = set()
        self._effects: list[Effect] = []
        self._read_serial = 0
        self._page_worth = max(1, min(options.page_size, options.max_size) // 2)
        self._begin(Owned(0, 0))

    def _begin(self, owned: Owned) -> None:
        """Forgets everything about events; goes on after the checkpoint."""
        position = owned.last_seen or 0
        self._tracker = CheckpointTracker(position)
        self._failures = Failures(self.options, self._assignment, owned, self._effects)
        self._saved = position
        self._head = position
        self._at_head = False
        self._reading = False
        self._head_at_read = position
        self._saving = False
        self._timer_set = False
        self._since_save = 0
        self._ends_catch_up = False

    # What the shell may ask

    @property
    def checkpoint(self) -> int:
        """The last position the database confirmed, or the one this ownership began with."""
        return self._saved

    @property
    def head(self) -> int:
        """The newest position of the stream this machine has heard of."""
        return max(self._head, self._tracker.scanned_to)

    @property
    def in_flight(self) -> int:
        """Events delivered and not finished."""
        return self._assignment.in_flight

    @property
    def unfinished(self) -> int:
        """Events held in memory and not finished."""
        return self._assignment.unfinished + self._failures.parked.saving

    @property
    def unfinished_bytes(self) -> int:
        """The bytes of events held in memory and not finished."""
        return self._assignment.unfinished_bytes

    @property
    def subscriber_count(self) -> int:
        """Subscribers that joined."""
        return sum(1 for _ in self._assignment.subscribers)

    @property
    def retrying(self) -> dict[int, int]:
        """The attempt that comes next, of the events that failed and are not finished."""
        return self._failures.attempts.retrying

    @property
    def has_begun_carefully(self) -> bool:
        """True while an event is at hand that was stored as begun, since the node may die of it."""
        return self._failures.has_begun

    @property
    def parked(self) -> int:
        """Parked events, held ones included."""
        return self._failures.parked.count

    @property
    def idle(self) -> bool:
        """True when everything known is read, finished and checkpointed, and no parked event is being handled."""
        return (
            self.phase is Phase.LIVE
            and not self._reading
            and self._saved >= self.head
            and not self._failures.parked.replaying
        )

    def awaits(self, serial: int) -> bool:
        """True while the answer to the `Read` of that serial is still wanted."""
        return self._reading and serial == self._read_serial

    # The one entry

    def step(self, message: Input) -> list[Effect]:
        """Answers a message.

        Returns:
            What to do, in this order.
        """
        self._answer(message)
        self._dispatch()
        effects = self._effects.copy()
        self._effects.clear()
        return effects

    def _answer(self, message: Input) -> None:  # noqa: C901 - one case for each message
        match message:
            case Acked():
                self._on_acked(message)
            case PageRead():
                self._on_page_read(message)
            case Appended():
                self._head = max(self._head, message.position)
            case CheckpointSaved():
                self._on_checkpoint_saved(message)
            case CheckpointDue():
                self._timer_set = False
                self._save()
            case Joined():
                self._on_joined(message)
            case Left():
                self._on_left(message.subscriber)
            case Failed():
                self._on_failed(message)
            case RetryDue():
                self._failures.retry_due(message.number)
            case Recalled():
                self._on_recalled(message)
            case Retiring():
                self._on_retiring(message)
            case Died():
                self._on_died(message)
            case AttemptsSaved():
                self._on_attempts_saved(message)
            case ParkSaved():
                self._finished(self._failures.park_saved(message.numbers))
                self._stop_when_drained()
            case ParkedDue():
                self._on_parked_due(message)
            case Unparked():
                self._failures.unparked(message.numbers)
                self._stop_when_drained()
            case Owned():
                self._on_owned(message)
            case Disowned():
                self._on_disowned()
            case Pause():
                self._on_pause(message)
            case Halt():
                self._halt(message.number, message.reason)
            case ReadFailed():
                if message.serial == self._read_serial:
                    self._reading = False
            case CheckpointFailed():
                self._saving = False
                self._checkpoint_when_due()
            case Expected():
                self._recalling.add(message.subscriber)
            case Drain():
                self._on_drain()
            case _:
                assert_never(message)

    # Ownership

    def _on_owned(self, message: Owned) -> None:
        if self.phase is Phase.STOPPED or self.phase is Phase.DRAINING:
            return
        self.epoch = message.epoch
        self._forget_events(message)
        self.halted = message.halted
        self.phase = Phase.HALTED if message.halted else Phase.PAUSED if message.paused else Phase.CATCHING_UP
        if message.parked_due and self.phase is Phase.CATCHING_UP:
            # Before the first read: what operators have discarded makes room for what is read.
            self._effects.append(ReadParked())

    def _on_disowned(self) -> None:
        self._forget_events(Owned(self.epoch, self._saved))
        if self.phase is Phase.DRAINING:
            self._stop()
        elif self.phase is not Phase.STOPPED:
            self.phase = Phase.WAITING

    def _forget_events(self, owned: Owned) -> None:
        """Drops all events. Subscribers must say that they are done with theirs before they get new ones."""
        members = list(self._assignment.subscribers)
        self._assignment = Assignment(pinned=self.options.pinned)
        for member in members:
            self._assignment.join(member.id, member.capacity, member.generation, member.slot)
        for member in members:
            if member.in_flight:
                self._recall(member.id)
        self._begin(owned)

    def _recall(self, subscriber_id: SubscriberId) -> None:
        if subscriber_id not in self._recalling:
            self._recalling.add(subscriber_id)
            self._effects.append(Recall(subscriber_id))

    def _on_pause(self, message: Pause) -> None:
        if message.paused and self.phase in _DELIVERING:
            self.phase = Phase.PAUSED
            self._recall_busy()
            self._save()
        elif not message.paused and self.phase is Phase.PAUSED:
            self.phase = Phase.CATCHING_UP
            self._at_head = False

    # Events

    def _on_page_read(self, message: PageRead) -> None:
        if not self.awaits(message.serial):
            return
        self._reading = False
        if self.phase not in _DELIVERING:
            return
        self._tracker.received(entry.number for entry in message.entries)
        sifted = self._failures.sift(message.entries)
        self._assignment.enqueue(sifted.entries)
        self._tracker.scanned(message.scanned_to)
        if message.complete:
            # All that was committed when the read began has been seen: a hint from before it that names
            # more speaks of deleted events, and must not lead to another read.
            self._tracker.scanned(self._head_at_read)
            if self.phase is Phase.CATCHING_UP:
                self._ends_catch_up = self._tracker.scanned_to > self._saved
            self.phase = Phase.LIVE
        self._at_head = message.complete
        self._finished(sifted.finished)
        self._checkpoint_when_due()
        if sifted.halt is not None:
            self._halt(sifted.halt.number, sifted.halt.reason)

    # Subscribers

    def _on_joined(self, message: Joined) -> None:
        self._recalling.discard(message.subscriber)
        self._assignment.join(message.subscriber, message.capacity, slot=message.slot)
        self._stop_when_drained()

    def _on_left(self, subscriber_id: SubscriberId) -> None:
        self._recalling.discard(subscriber_id)
        self._assignment.leave(subscriber_id)
        self._stop_when_drained()

    def _on_acked(self, message: Acked) -> None:
        subscriber = self._assignment.subscriber(message.subscriber)
        if subscriber is None:
            return
        if message.capacity is not None:
            subscriber.capacity = message.capacity
        self._finished(self._assignment.finish(subscriber, message.numbers))

    def _on_recalled(self, message: Recalled) -> None:
        self._recalling.discard(message.subscriber)
        subscriber = self._assignment.subscriber(message.subscriber)
        if subscriber is not None:
            self._assignment.take_back(subscriber)
        self._stop_when_drained()

    def _on_retiring(self, message: Retiring) -> None:
        subscriber = self._assignment.subscriber(message.subscriber)
        if subscriber is not None:
            subscriber.capacity = 0
            # Nothing is in flight there when it has answered, so that its exit harms no event.
            self._recall(message.subscriber)

    def _finished(self, numbers: list[int]) -> None:
        """Takes events as finished: acked, skipped, or parked with their rows stored."""
        if not numbers:
            return
        self.finished_count += len(numbers)
        numbers = self._failures.finished(numbers)
        self._tracker.finish(numbers)
        self._since_save += len(numbers)
        if self.phase is Phase.PAUSED:
            self._save()
        self._checkpoint_when_due()

    # Failures

    def _on_failed(self, message: Failed) -> None:
        subscriber = self._assignment.subscriber(message.subscriber)
        if subscriber is None:
            return
        subscriber.generation += 1
        if self._assignment.hold(subscriber, message.number):
            self._follow(self._failures.failed(message))

    def _on_died(self, message: Died) -> None:
        """A subscriber died in the middle of an event, or of a batch."""
        subscriber = self._assignment.subscriber(message.subscriber)
        if subscriber is not None:
            delivered = list(subscriber.in_flight)
            if message.finished_before and message.first in subscriber.in_flight:
                before = delivered[: delivered.index(message.first)]
                self._finished(self._assignment.finish(subscriber, before))
            self._follow(self._failures.died(subscriber, message))
        self._on_left(message.subscriber)

    def _on_attempts_saved(self, message: AttemptsSaved) -> None:
        deliver = self._failures.attempts_saved(message.numbers)
        if deliver is not None and self.phase in _DELIVERING:
            self._effects.append(deliver)
        self._stop_when_drained()

    def _on_parked_due(self, message: ParkedDue) -> None:
        if self.phase in _DELIVERING:
            self._assignment.enqueue(self._failures.parked_due(message))

    def _follow(self, outcome: Halted | list[int]) -> None:
        """Halts, or takes the events as finished that were given up."""
        if isinstance(outcome, Halted):
            self._halt(outcome.number, outcome.reason)
        else:
            self._finished(outcome)

    def _halt(self, number: int, reason: str) -> None:
        # Also of an event that was being handled when the pause came: nothing else would ever take it up again.
        if self.phase in _DELIVERING or self.phase is Phase.PAUSED:
            self.phase = Phase.HALTED
            self.halted = Halted(number, reason)
            self._effects.append(self.halted)
            self._recall_busy()

    # Checkpoints

    def _on_checkpoint_saved(self, message: CheckpointSaved) -> None:
        self._saving = False
        self._saved = max(self._saved, message.position)
        self._checkpoint_when_due()
        self._stop_when_drained()

    def _checkpoint_when_due(self) -> None:
        """Saves at the threshold; otherwise sees to it that the timer runs while anything is to be saved.

        The last event of a catch-up need not wait for the timer: who waits for that end waits for its checkpoint.
        """
        if self._tracker.position <= self._saved:
            return
        if self._since_save >= self.options.checkpoint_threshold or (self._ends_catch_up and not self.unfinished):
            self._save()
        if not self._timer_set and not self._saving:
            self._timer_set = True
            self._effects.append(StartCheckpointTimer(self.options.checkpoint_after))

    def _save(self) -> None:
        position = self._tracker.position
        if self._saving or position <= self._saved or self.phase in (Phase.WAITING, Phase.STOPPED):
            return
        self._saving = True
        self._since_save = 0
        self._ends_catch_up = self._ends_catch_up and self.unfinished > 0
        self._effects.append(SaveCheckpoint(self.epoch, position))

    # The end

    def _on_drain(self) -> None:
        if self.phase is Phase.STOPPED or self.phase is Phase.DRAINING:
            return
        owned = self.phase is not Phase.WAITING
        self.phase = Phase.DRAINING
        if not owned:
            self._stop()
            return
        self._recall_busy()
        self._stop_when_drained()

    def _recall_busy(self) -> None:
        for subscriber in self._assignment.subscribers:
            if subscriber.in_flight:
                self._recall(subscriber.id)

    def _stop_when_drained(self) -> None:
        if self.phase is not Phase.DRAINING or self._recalling or self._saving or self._failures.storing:
            return
        self._save()
        if not self._saving:
            self._stop()

    def _stop(self) -> None:
        self.phase = Phase.STOPPED
        self._effects.append(Drained())

    # What follows from every message

    def _dispatch(self) -> None:
        """Delivers what may be delivered, and reads on before the queue is empty."""
        while self.phase in _DELIVERING and not self._recalling:
            assigned = self._assignment.assign(self._failures.attempts.doomed, self._failures.most_at_once())
            for subscriber, entries in assigned.deliveries.items():
                attempts = self._failures.attempts.alone(map(_NUMBER, entries))
                delivery = Deliver(subscriber.id, entries, subscriber.generation, attempts)
                if not self._failures.keeps_back(delivery):
                    self._effects.append(delivery)
            for number in assigned.refused:
                self._follow(self._failures.refused(number))
            if not assigned.refused:
                break
        if self.phase in _DELIVERING:
            self._read_on()

    def _read_on(self) -> None:
        options, scanned_to = self.options, self._tracker.scanned_to
        if self._reading or (self._at_head and self._head <= scanned_to):
            return
        # Few events are worth a read only where a subscriber has nothing to do.
        least, least_bytes = (1, 1) if self._assignment.starving else (self._page_worth, max(1, options.max_bytes // 2))
        room = options.max_size - self.unfinished
        if room < least:
            return
        room = min(room, options.page_size, options.max_span - self._tracker.span)
        bytes_left = options.max_bytes - self.unfinished_bytes
        if room < least or bytes_left < least_bytes:
            return
        self._reading = True
        self._read_serial += 1
        self._head_at_read = self._head
        self._effects.append(Read(self._read_serial, scanned_to, room, bytes_left))
