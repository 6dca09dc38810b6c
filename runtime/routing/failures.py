"""What follows from events that fail, kill, are skipped or parked: the machine's part for everything that goes wrong.

Owned by the machine, for one ownership. Holds the attempts and the parked events, applies `on_exhausted`, and says what
is to be stored. Whatever it takes out of the routing it gives back as finished numbers. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .assignment import Assignment
from .attempts import Again, Attempts, GiveUp
from .effects import BeginCarefully, Deliver, Effect, Park, ReadParked, Skipped, StartRetryTimer, StoreAttempts, Unpark
from .inputs import Died, Failed, Owned, ParkedDue
from .parking import ParkedEvents, Parking
from .state import Entry, Halted, RoutingOptions, Subscriber

_CAREFUL_FROM = 2
"""Owners that ended in a row without order and without progress, from which on events are delivered one by one."""


class Sifted(NamedTuple):
    """Events that were read, sorted: to deliver, finished already, and where no more can be parked."""

    entries: Sequence[Entry]
    finished: list[int]
    halt: Halted | None


class Failures:
    """The failures of one ownership.

    Args:
        options: The policy.
        assignment: Where events wait and are in flight.
        owned: What earlier owners and operators left.
        effects: Where to say what is to be done.
    """

    def __init__(self, options: RoutingOptions, assignment: Assignment, owned: Owned, effects: list[Effect]) -> None:
        self._options = options
        self._assignment = assignment
        self._effects = effects
        self.attempts = Attempts(options, owned.tried)
        self.parked = ParkedEvents(options, owned.parked, owned.partitions, owned.parked_numbers)
        self._removing = 0
        self._more_due = False
        # As many as could be in flight anywhere when the last owner ended.
        self._careful = options.max_size if owned.unclean >= _CAREFUL_FROM else 0
        self._kept_back: Deliver | None = None
        self._begun: set[int] = set()

    @property
    def storing(self) -> bool:
        """True while something is not stored yet that must not be lost."""
        return self.attempts.unsaved or self.parked.storing or self._removing > 0

    # Events come

    def sift(self, entries: Sequence[Entry]) -> Sifted:
        """Sorts events that were read; most often there is nothing to sort out."""
        if not self.attempts.skips and not self.parked.watchful:
            return Sifted(entries, [], None)
        finished: list[int] = []
        wanted: list[Entry] = []
        held: list[Parking] = []
        halt: Halted | None = None
        for entry in entries:
            if self.attempts.is_skipped(entry.number):
                self._effects.append(Skipped(entry.number, self.attempts.reason(entry.number)))
                finished.append(entry.number)
            elif not self.parked.watchful:
                wanted.append(entry)
            elif self.parked.is_known(entry.number):
                finished.append(entry.number)
            elif not self.parked.is_blocked(entry.key):
                wanted.append(entry)
            elif limit := self.parked.limit(entry.key):
                halt = halt or Halted(entry.number, f"it cannot be held behind a parked event: {limit}")
                wanted.append(entry)
            else:
                held.append(self.parked.hold(entry))
        if held:
            self._effects.append(Park(held))
        return Sifted(wanted, finished, halt)

    # Events fail

    def failed(self, message: Failed) -> Halted | list[int]:
        """Decides about an event that was not finished; it is held already."""
        number = message.number
        survived = self._survived(number)
        if survived and message.verdict not in ("error", "retry"):
            self._store(number)
        match message.verdict:
            case "skip":
                return self._skip(number, message.reason)
            case "stop":
                return Halted(number, message.reason)
            case "park":
                self.attempts.called(number)
                return self._park(number, message.reason)
            case "error" | "retry":
                decision = self.attempts.failed(number, message.verdict, message.reason, message.after, message.jitter)
                if survived or (message.verdict == "error" and not isinstance(decision, GiveUp)):
                    self._store(number)
                return self._decided(number, decision, message.reason)

    def died(self, subscriber: Subscriber, message: Died) -> Halted | list[int]:
        """Decides about the events that a subscriber was at when it died."""
        delivered = list(subscriber.in_flight)
        if message.first not in subscriber.in_flight:
            return []
        begin = delivered.index(message.first)
        end = delivered.index(message.last) + 1 if message.last in subscriber.in_flight else begin + 1
        suspects = delivered[begin:end]
        if len(suspects) > 1:
            self.attempts.suspect(suspects)
            return []
        number = message.first
        self._assignment.hold(subscriber, number)
        self._survived(number)
        decision = self.attempts.died(number, message.reason, message.jitter)
        self._store(number)
        return self._decided(number, decision, message.reason)

    def refused(self, number: int) -> Halted | list[int]:
        """Decides about an event that killed too many processes to be delivered again; it is held already."""
        return self._give_up(number, self.attempts.reason(number))

    def _decided(self, number: int, decision: Again | GiveUp, reason: str) -> Halted | list[int]:
        if isinstance(decision, GiveUp):
            return self._give_up(number, decision.reason)
        attempt, _ = self.attempts.count(number)
        self._effects.append(StartRetryTimer(number, decision.delay, attempt - 1, reason))
        return []

    def _give_up(self, number: int, reason: str) -> Halted | list[int]:
        if self._options.on_exhausted == "skip":
            return self._skip(number, reason)
        if self._options.on_exhausted == "halt" and not self.parked.is_replay(number):
            return Halted(number, reason)
        return self._park(number, reason)

    def _skip(self, number: int, reason: str) -> list[int]:
        self._assignment.discard(number)
        self._effects.append(Skipped(number, reason))
        return [number]

    def _park(self, number: int, reason: str) -> Halted | list[int]:
        """Sets a held event aside, and with it what waits behind it where its partition is to be held."""
        entry = self._assignment.held(number)
        assert entry is not None, f"event {number} is not held"
        holds = self._options.on_exhausted == "park_partition" or self.parked.is_blocked(entry.key)
        if not self.parked.is_replay(number) and (limit := self.parked.limit(entry.key)):
            return Halted(number, f"{reason}; it cannot be parked: {limit}")
        coming, crashes = self.attempts.count(number)
        parkings = [self.parked.park(entry, holds=holds, attempts=coming - 1, crashes=crashes, reason=reason)]
        behind = self._assignment.withdraw(entry.key, number) if holds and entry.key is not None else []
        self._assignment.discard(number)
        halt: Halted | None = None
        for waiting in behind:
            if self.parked.is_replay(waiting.number):
                # Its row is still there, and it follows again when the event before it is done with.
                self.parked.drop(waiting.number)
            elif halt is None and (limit := self.parked.limit(waiting.key)):
                halt = Halted(waiting.number, f"it cannot be held behind a parked event: {limit}")
            elif halt is None:
                parkings.append(self.parked.hold(waiting))
        self._effects.append(Park(parkings))
        self.attempts.forget([number])
        return halt or []

    # What was stored

    def retry_due(self, number: int) -> None:
        """The wait before an event's next attempt is over; it goes on once the attempt is stored."""
        if self.attempts.due(number):
            self._assignment.release(number)

    def attempts_saved(self, numbers: Iterable[int]) -> Deliver | None:
        """Attempts are stored: events whose wait is over go on; returns a delivery that waited for it."""
        saved = list(numbers)
        for number in self.attempts.saved(saved):
            self._assignment.release(number)
        delivery = self._kept_back
        if delivery is None or delivery.entries[0].number not in saved:
            return None
        self._kept_back = None
        # It may have been taken back meanwhile, with its subscriber.
        subscriber = self._assignment.subscriber(delivery.subscriber)
        in_flight = subscriber is not None and delivery.entries[0].number in subscriber.in_flight
        return delivery if in_flight else None

    def park_saved(self, numbers: Iterable[int]) -> list[int]:
        """Parked events are stored; returns those that are finished by it."""
        finished = [entry.number for entry in self.parked.saved(numbers)]
        if self.parked.looks_again:
            self._effects.append(ReadParked())
        return finished

    # Parked events are handled again

    def parked_due(self, message: ParkedDue) -> list[Entry]:
        """Takes parked events that an operator wants to be retried or discarded; returns those to deliver.

        They come on top of `max_size`, a page at the most, so that a full memory does not keep them waiting.
        """
        room = max(0, self._options.page_size - len(self.parked.replaying))
        self._more_due = not message.complete or len(message.entries) > room
        fresh = self.parked.take(message.entries[:room])
        unwanted = {entry.number for entry in fresh} & set(message.discarded)
        self._remove(unwanted)
        return [entry for entry in fresh if entry.number not in unwanted]

    def finished(self, numbers: list[int]) -> list[int]:
        """Forgets events that are finished; returns those that the checkpoint waits for."""
        if self._careful:
            self._careful = max(0, self._careful - len(numbers))
            for number in numbers:
                # The checkpoint may be far from it, and the next owner must not take it for the guilty one.
                if self._survived(number):
                    self._store(number)
        self.attempts.forget(numbers)
        replays = [number for number in numbers if self.parked.is_replay(number)] if self.parked.replaying else []
        if not replays:
            return numbers
        self._remove(replays)
        return [number for number in numbers if number not in replays]

    def _remove(self, numbers: Iterable[int]) -> None:
        leaving = self.parked.finish(numbers)
        if leaving:
            self._removing += len(leaving)
            self._effects.append(Unpark(leaving))

    def unparked(self, numbers: Sequence[int]) -> None:
        """Rows of parked events are removed; what was held behind them may be due."""
        self._removing = max(0, self._removing - len(numbers))
        others_follow = self.parked.removed(numbers)
        if others_follow or (self._more_due and not self.parked.replaying):
            self._effects.append(ReadParked())

    # Events that may kill the whole node

    @property
    def has_begun(self) -> bool:
        """True while an event is stored as begun, or is to be, of which the node may die."""
        return bool(self._begun)

    def most_at_once(self) -> int | None:
        """How many events may be delivered now: one by one where the node may die of them, else no limit."""
        if self._kept_back is not None:
            # What would be delivered now would come before it.
            return 0
        if not self._careful:
            return None
        return 0 if self._assignment.in_flight else 1

    def keeps_back(self, delivery: Deliver) -> bool:
        """Keeps a delivery until it is stored as begun, so that the next owner knows what this one died of."""
        if not self._careful:
            return False
        number = delivery.entries[0].number
        if number not in self._begun:
            self._begun.add(number)
            self.attempts.begin_carefully(number)
        attempts = self.attempts.alone([number])
        self._kept_back = Deliver(delivery.subscriber, delivery.entries, delivery.generation, attempts)
        self._effects.append(BeginCarefully(self.attempts.unstored(number, begins=True)))
        return True

    def _survived(self, number: int) -> bool:
        """The node lives: a crash that was counted ahead did not happen, which is to be stored where there was one."""
        if number not in self._begun:
            return False
        self._begun.remove(number)
        self.attempts.survived(number)
        return True

    def _store(self, number: int) -> None:
        self._effects.append(StoreAttempts([self.attempts.unstored(number)]))
