"""The routing of one subscription: one message in, the effects out.

Owned by a shell that performs the effects: the runtime's listener process, or a subscription in a user's
own process. The machine owns which events were read, who works on which, what is finished, and when a
checkpoint is due. It does no I/O and reads no clock, so that every order of messages can be tested.

    waiting --Owned--> catching_up ---> live --Failed(stop)--> halted
       ^                    |             |                       |
       +----- Disowned -----+-------------+------ Drain ------> draining --> stopped
"""

from __future__ import annotations

from typing import assert_never

from .assignment import Assignment
from .checkpoint import CheckpointTracker
from .effects import (
    Deliver,
    Drained,
    Effect,
    Halted,
    Read,
    Recall,
    SaveCheckpoint,
    Skipped,
    StartCheckpointTimer,
    StartRetryTimer,
)
from .inputs import (
    Acked,
    Appended,
    CheckpointDue,
    CheckpointFailed,
    CheckpointSaved,
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
    ReadFailed,
    Recalled,
    Retiring,
    RetryDue,
)
from .retry import retry_delay
from .state import Phase, RoutingOptions, SubscriberId

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
        self._assignment = Assignment()
        self._recalling: set[SubscriberId] = set()
        self._attempts: dict[int, int] = {}
        self._effects: list[Effect] = []
        self._read_serial = 0
        self._begin(0)

    def _begin(self, position: int) -> None:
        """Forgets everything about events; goes on after `position`."""
        self._tracker = CheckpointTracker(position)
        self._saved = position
        self._head = position
        self._at_head = False
        self._reading = False
        self._head_at_read = position
        self._saving = False
        self._timer_set = False
        self._since_save = 0
        self._attempts = {}

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
        return self._assignment.unfinished

    @property
    def subscriber_count(self) -> int:
        """Subscribers that joined."""
        return sum(1 for _ in self._assignment.subscribers)

    @property
    def retrying(self) -> dict[int, int]:
        """Attempts so far of the events that failed and are not finished."""
        return dict(self._attempts)

    @property
    def idle(self) -> bool:
        """True when everything known is read, finished and checkpointed."""
        return self.phase is Phase.LIVE and not self._reading and self._saved >= self.head

    # The one entry

    def step(self, message: Input) -> list[Effect]:
        """Answers a message.

        Returns:
            What to do, in this order.
        """
        self._answer(message)
        self._dispatch()
        effects, self._effects = self._effects, []
        return effects

    def _answer(self, message: Input) -> None:  # noqa: C901 - one case for each message
        match message:
            case Acked():
                self._on_acked(message)
            case PageRead():
                self._on_page_read(message)
            case Appended():
                self._on_appended(message)
            case CheckpointSaved():
                self._on_checkpoint_saved(message)
            case CheckpointDue():
                self._on_checkpoint_due()
            case Joined():
                self._on_joined(message)
            case Left():
                self._on_left(message)
            case Failed():
                self._on_failed(message)
            case RetryDue():
                self._on_retry_due(message)
            case Recalled():
                self._on_recalled(message)
            case Retiring():
                self._on_retiring(message)
            case Owned():
                self._on_owned(message)
            case Disowned():
                self._on_disowned()
            case Halt():
                self._halt(message.number, message.reason)
            case ReadFailed():
                self._on_read_failed(message)
            case CheckpointFailed():
                self._on_checkpoint_failed()
            case Expected():
                self._on_expected(message)
            case Drain():
                self._on_drain()
            case _:
                assert_never(message)

    # Ownership

    def _on_owned(self, message: Owned) -> None:
        if self.phase is Phase.STOPPED or self.phase is Phase.DRAINING:
            return
        self._forget_events()
        self.epoch = message.epoch
        self._begin(message.last_seen or 0)
        self.halted = None
        self.phase = Phase.CATCHING_UP

    def _on_disowned(self) -> None:
        self._forget_events()
        if self.phase is Phase.DRAINING:
            self._stop()
        elif self.phase is not Phase.STOPPED:
            self.phase = Phase.WAITING

    def _forget_events(self) -> None:
        """Drops all events. Subscribers must say that they are done with theirs before they get new ones."""
        busy = [s.id for s in self._assignment.subscribers if s.in_flight]
        members = [(s.id, s.capacity, s.generation) for s in self._assignment.subscribers]
        self._assignment = Assignment()
        for subscriber_id, capacity, generation in members:
            self._assignment.join(subscriber_id, capacity, generation)
        for subscriber_id in busy:
            self._recall(subscriber_id)
        self._begin(self._saved)

    def _recall(self, subscriber_id: SubscriberId) -> None:
        if subscriber_id not in self._recalling:
            self._recalling.add(subscriber_id)
            self._effects.append(Recall(subscriber_id))

    # Events

    def _on_appended(self, message: Appended) -> None:
        self._head = max(self._head, message.position)

    def _on_page_read(self, message: PageRead) -> None:
        if not self._reading or message.serial != self._read_serial:
            return
        self._reading = False
        if self.phase not in _DELIVERING:
            return
        self._tracker.received(entry.number for entry in message.entries)
        self._assignment.enqueue(message.entries)
        self._tracker.scanned(message.scanned_to)
        if message.complete:
            # All that was committed when the read began has been seen: a hint from before it that names
            # more speaks of deleted events, and must not lead to another read.
            self._tracker.scanned(self._head_at_read)
            self.phase = Phase.LIVE
        self._at_head = message.complete
        self._checkpoint_when_due()

    def _on_read_failed(self, message: ReadFailed) -> None:
        if message.serial == self._read_serial:
            self._reading = False

    # Subscribers

    def _on_expected(self, message: Expected) -> None:
        self._recalling.add(message.subscriber)

    def _on_joined(self, message: Joined) -> None:
        self._recalling.discard(message.subscriber)
        self._assignment.join(message.subscriber, message.capacity)
        self._stop_when_drained()

    def _on_left(self, message: Left) -> None:
        self._recalling.discard(message.subscriber)
        self._assignment.leave(message.subscriber)
        self._stop_when_drained()

    def _on_acked(self, message: Acked) -> None:
        subscriber = self._assignment.subscriber(message.subscriber)
        if subscriber is None:
            return
        if message.capacity is not None:
            subscriber.capacity = message.capacity
        self._finish(self._assignment.finish(subscriber, message.numbers))

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

    def _finish(self, numbers: list[int]) -> None:
        if not numbers:
            return
        self._tracker.finish(numbers)
        self.finished_count += len(numbers)
        self._since_save += len(numbers)
        if self._attempts:
            for number in numbers:
                self._attempts.pop(number, None)
        self._checkpoint_when_due()

    # Failures

    def _on_failed(self, message: Failed) -> None:
        subscriber = self._assignment.subscriber(message.subscriber)
        if subscriber is None:
            return
        subscriber.generation += 1
        if not self._assignment.hold(subscriber, message.number):
            return
        attempt = self._attempts.get(message.number, 1)
        match message.verdict:
            case "skip":
                self._skip(message)
            case "stop":
                self._halt(message.number, message.reason)
            case "error" if attempt >= self.options.max_attempts and self.options.on_exhausted == "skip":
                self._skip(message)
            case "error" if attempt >= self.options.max_attempts:
                self._halt(message.number, f"{message.reason} (attempt {attempt}, the last one)")
            case "error" | "retry":
                delay = message.after
                if delay is None:
                    delay = retry_delay(attempt, self.options, message.jitter)
                self._attempts[message.number] = attempt + 1
                self._effects.append(StartRetryTimer(message.number, delay, attempt, message.reason))

    def _on_retry_due(self, message: RetryDue) -> None:
        self._assignment.release(message.number)

    def _skip(self, message: Failed) -> None:
        self._assignment.discard(message.number)
        self._effects.append(Skipped(message.number, message.reason))
        self._finish([message.number])

    def _halt(self, number: int, reason: str) -> None:
        if self.phase in _DELIVERING:
            self.phase = Phase.HALTED
            self.halted = Halted(number, reason)
            self._effects.append(self.halted)
            self._recall_busy()

    # Checkpoints

    def _on_checkpoint_due(self) -> None:
        self._timer_set = False
        self._save()

    def _on_checkpoint_saved(self, message: CheckpointSaved) -> None:
        self._saving = False
        self._saved = max(self._saved, message.position)
        self._checkpoint_when_due()
        self._stop_when_drained()

    def _on_checkpoint_failed(self) -> None:
        self._saving = False
        self._checkpoint_when_due()

    def _checkpoint_when_due(self) -> None:
        """Saves at the threshold; otherwise sees to it that the timer runs while anything is to be saved."""
        if self._tracker.position <= self._saved:
            return
        if self._since_save >= self.options.checkpoint_threshold:
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
        if self.phase is not Phase.DRAINING or self._recalling or self._saving:
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
        if self.phase not in _DELIVERING:
            return
        if not self._recalling:
            for subscriber, entries in self._assignment.assign().items():
                attempts = {e.number: self._attempts[e.number] for e in entries if e.number in self._attempts}
                self._effects.append(Deliver(subscriber.id, entries, subscriber.generation, attempts))
        self._read_on()

    def _read_on(self) -> None:
        scanned_to, options = self._tracker.scanned_to, self.options
        if self._reading or (self._at_head and self._head <= scanned_to):
            return
        room = min(options.page_size, options.max_size - self.unfinished, options.max_span - self._tracker.span)
        if room <= 0 or (room < min(options.page_size, options.max_size) // 2 and not self._assignment.starving):
            return
        self._reading = True
        self._read_serial += 1
        self._head_at_read = self._head
        self._effects.append(Read(self._read_serial, scanned_to, room))
