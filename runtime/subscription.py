"""The shell of one subscription inside the listener: performs what its routing machine asks for.

Turns rows into entries, effects into messages, messages into inputs. Decides nothing that the machine could
decide. Owned by the listener, which gives it the channels, the reader and the timers.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, assert_never
from uuid import UUID

import structlog

from ..handlers.resolve import Subscription, event_filter
from ..store.delivery import DueParked
from ..store.delivery_types import Attempt, ParkedEvent, Terms
from ..store.read import Page
from . import messages
from .entries import entries_of, routing_options
from .messages import Message, WorkerToListener
from .partition_keys import RowKey
from .reader import Request, size_of
from .routing import Entry, Phase, SubscriptionMachine, inputs
from .routing.effects import (
    BeginCarefully,
    Deliver,
    Drained,
    Effect,
    Park,
    Read,
    ReadParked,
    Recall,
    SaveCheckpoint,
    Skipped,
    StartCheckpointTimer,
    StartRetryTimer,
    StoreAttempts,
    Unpark,
)
from .routing.parking import Parking
from .routing.state import Halted, SubscriberId
from .status import SubscriptionReport
from .turns import Turns


class Surroundings(Protocol):
    """What a subscription needs of the listener."""

    turns: Turns

    def read(self, stream: str, after: int, limit: int, *options: Any) -> Page:
        """Reads a page; the arguments are those of `PageReader.read`."""
        ...

    def read_parked(self, subscription_id: int, limit: int) -> list[DueParked]:
        """Parked events of a subscription that are due."""
        ...

    def head_of(self, stream: str) -> int | None:
        """The newest event number of a stream, as the database has it now; None where there is no such stream."""
        ...

    def read_soon(self, request: Request) -> None:
        """Reads a page without waiting for it; the answer may come before this returns."""
        ...

    def forget_pages(self) -> None:
        """Reads nothing from memory that was read before now."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> object:
        """Runs a callback once after so many seconds."""
        ...

    def to_worker(self, subscriber: SubscriberId, message: Message) -> None:
        """Sends a message to a worker; one that is gone is no error, its exit will be told."""
        ...

    def to_lock_holder(self, message: Message) -> None:
        """Sends a message to the lock-holder, if there is one."""
        ...

    def changed(self) -> None:
        """What the status shows has changed in a way that somebody may wait for."""
        ...

    def drained(self, name: str) -> None:
        """The subscription has stopped for good."""
        ...


class RunningSubscription:
    """One subscription of the node.

    Args:
        subscription: The subscription with its options.
        key: Its partition key, or None.
        around: The listener.
    """

    def __init__(self, subscription: Subscription, key: RowKey | None, around: Surroundings) -> None:
        self.subscription = subscription
        self.machine = SubscriptionMachine(routing_options(subscription))
        self._key = key
        self._filter = event_filter(subscription)
        self._around = around
        self._log = structlog.get_logger(subscription=subscription.name)
        self._subscription_id = 0
        self._owner = ""
        self._standby_last_seen: int | None = None
        self._head: int | None = None
        self._terms = Terms(0, 0, False, None, None, 0, 0, 0, False)
        self._subscribers: set[tuple[str, int]] = set()
        self._failures = 0
        self._skipped = 0
        self._deaths = 0
        self._inputs: deque[inputs.Input] = deque()
        self._performing = False

    # What happened

    def happened(self, event: inputs.Input) -> None:
        """Gives the machine an input and performs all that follows, further inputs included."""
        self._inputs.append(event)
        if self._performing:
            return
        self._performing = True
        machine, turns, name = self.machine, self._around.turns, self.subscription.name
        before = (machine.phase, machine.idle)
        try:
            while self._inputs:
                phase = machine.phase
                for effect in machine.step(self._inputs.popleft()):
                    self._perform(effect)
                if machine.phase is not phase:
                    self._log.info("subscription_state", state=str(machine.phase))
        finally:
            self._performing = False
        if turns.holder == name and not machine.has_begun_carefully:
            turns.give_back(name)
        if (machine.phase, machine.idle) != before:
            self._around.changed()

    def acquire(self) -> None:
        """Asks the lock-holder for it, now and until it is had."""
        wanted = self.subscription
        self._around.to_lock_holder(messages.Acquire(wanted.name, wanted.stream, wanted.start_from))

    def granted(self, message: messages.Granted) -> None:
        """This node owns the subscription."""
        terms = message.terms
        if self.machine.phase not in (Phase.WAITING, Phase.DRAINING, Phase.STOPPED):
            # What handlers keep in memory belongs to what an operator has just ended. Told first, so that they take
            # nothing of what comes now.
            for subscriber in self._subscribers:
                self._around.to_worker(subscriber, messages.Renew())
            # A reset leads over events of long ago, some of which may have been deleted for good meanwhile.
            self._around.forget_pages()
        self._subscription_id = message.subscription_id
        self._owner = ""
        self._terms = terms
        halted = None if terms.halted_at is None else Halted(terms.halted_at, terms.halted_reason or "")
        # Not what was heard of it before: it may have been deleted for good, and begun anew.
        self._head = self._around.head_of(self.subscription.stream)
        ahead = self._ahead(message.last_seen or 0)
        if halted is None and ahead is not None:
            halted = ahead
            self._tell_halt(ahead, message.epoch)
        self.happened(
            inputs.Owned(
                message.epoch,
                message.last_seen,
                paused=terms.paused,
                halted=halted,
                tried=message.tried,
                parked=terms.parked,
                parked_numbers=message.parked_numbers,
                partitions=message.partitions,
                parked_due=terms.parked_due,
                unclean=message.unclean,
            )
        )
        if self._head is not None:
            self.happened(inputs.Appended(self._head))

    def _ahead(self, last_seen: int) -> Halted | None:
        """Halts where the checkpoint is ahead of the stream: new events would pass unseen until it is reached."""
        head = self._head
        if head is None or last_seen <= head or last_seen == self.subscription.start_from:
            return None
        return Halted(
            last_seen,
            f"the checkpoint {last_seen} is ahead of the stream, which ends at {head}, as after a restored backup, or "
            "where the stream was deleted for good and begun anew; set it right with "
            f"`eventstore-runtime reset {self.subscription.name} --to {head}`",
        )

    def terms_changed(self, terms: Terms) -> None:
        """What operators want of it; it may be the same as before."""
        self._terms = terms
        self.happened(inputs.Pause(terms.paused))
        if terms.parked_due:
            self._read_parked()

    def stored(self, message: messages.AttemptsSaved | messages.EventsParked | messages.EventsUnparked) -> None:
        """The database confirmed what was to be stored of events."""
        if message.epoch != self.machine.epoch:
            return
        match message:
            case messages.AttemptsSaved(numbers=numbers):
                self.happened(inputs.AttemptsSaved(numbers))
            case messages.EventsParked(numbers=numbers):
                self.happened(inputs.ParkSaved(numbers))
            case messages.EventsUnparked(numbers=numbers):
                self.happened(inputs.Unparked(numbers))

    def standby(self, message: messages.Standby) -> None:
        """Another node owns it."""
        last_seen = message.last_seen or 0
        if (self._owner, self._standby_last_seen) != (message.owner, last_seen):
            self._around.changed()
        self._owner = message.owner
        self._standby_last_seen = last_seen
        if self.machine.phase not in (Phase.WAITING, Phase.DRAINING, Phase.STOPPED):
            self.happened(inputs.Disowned())

    def checkpoint_saved(self, message: messages.CheckpointSaved) -> None:
        """The database confirmed a checkpoint."""
        if message.epoch == self.machine.epoch:
            self.happened(inputs.CheckpointSaved(message.position))

    def ownership_lost(self, message: messages.OwnershipLost) -> None:
        """The epoch is not the newest one any more; asks for the subscription again."""
        if message.epoch in (0, self.machine.epoch):
            self.happened(inputs.Disowned())
            self.acquire()

    def appended(self, position: int) -> None:
        """The stream has events up to `position`."""
        self._head = max(position, self._head or 0)
        self.happened(inputs.Appended(position))

    def polled(self, head: int) -> None:
        """The stream ends at `head`, as the database says: which also tells where it begins anew."""
        self._head = head
        ahead = self._ahead(self.machine.checkpoint) if self.machine.phase in (Phase.CATCHING_UP, Phase.LIVE) else None
        self.happened(inputs.Appended(head) if ahead is None else inputs.Halt(ahead.number, ahead.reason))

    def from_worker(self, subscriber: tuple[str, int], message: WorkerToListener) -> None:
        """A worker reported."""
        match message:
            case messages.Acked(numbers=numbers, wanted=wanted):
                self.happened(inputs.Acked(subscriber, numbers, wanted))
            case messages.Failed():
                self._failures += message.verdict == "error"
                jitter = random.random()  # noqa: S311
                self.happened(
                    inputs.Failed(subscriber, message.number, message.verdict, message.reason, message.after, jitter)
                )
            case messages.WorkerReady(wanted=wanted):
                self._subscribers.add(subscriber)
                self.happened(inputs.Joined(subscriber, wanted, slot=subscriber[0]))
            case messages.Recalled():
                self.happened(inputs.Recalled(subscriber))
            case messages.Retiring():
                self.happened(inputs.Retiring(subscriber))
            case _:
                assert_never(message)

    def left(self, subscriber: tuple[str, int], died: str, at_hand: tuple[int, int, float] | None) -> None:
        """A worker is gone for certain.

        Args:
            subscriber: The worker.
            died: How it died; empty when it ended as it should.
            at_hand: What it was at: the first and the last event, and since when.
        """
        self._subscribers.discard(subscriber)
        if not died or at_hand is None:
            self.happened(inputs.Left(subscriber))
            return
        first, last, _ = at_hand
        reason = f"the worker died of it ({died})"
        if died == "SIGALRM" and self.subscription.timeout is not None:
            reason = f"the handler took longer than timeout = {self.subscription.timeout:g} s, so its worker was ended"
        self._deaths += 1
        self._log.error("worker_died_of_event", event_number=first, reason=reason)
        # What a transaction held is undone; without one, each event or batch before this one is finished.
        finished_before = not self.subscription.transactional
        jitter = random.random()  # noqa: S311
        self.happened(inputs.Died(subscriber, first, last, finished_before, reason, jitter))

    # What to do

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Deliver():
                rows = [entry.payload for entry in effect.entries]
                epoch, attempts = self.machine.epoch, effect.attempts
                message = messages.Deliver(
                    self._subscription_id,
                    epoch,
                    effect.generation,
                    attempts,
                    rows,
                    self._terms.replay_until,
                    self._terms.live_after,
                )
                self._around.to_worker(effect.subscriber, message)
            case Read():
                self._read(effect)
            case SaveCheckpoint(epoch=epoch, position=position):
                self._around.to_lock_holder(messages.SaveCheckpoint(self.subscription.name, epoch, position))
            case Recall(subscriber=subscriber):
                self._around.to_worker(subscriber, messages.Recall())
            case StartCheckpointTimer(seconds=seconds):
                self._around.call_later(seconds, lambda: self.happened(inputs.CheckpointDue()))
            case StartRetryTimer():
                self._retry_later(effect)
            case StoreAttempts() | BeginCarefully() | Park() | Unpark():
                self._store(effect)
            case ReadParked():
                self._read_parked()
            case Skipped(number=number, reason=reason):
                self._skipped += 1
                self._log.warning("event_skipped", event_number=number, reason=reason)
            case Halted():
                self._tell_halt(effect, self.machine.epoch)
            case Drained():
                self._around.drained(self.subscription.name)
            case _:
                assert_never(effect)

    def _tell_halt(self, halted: Halted, epoch: int) -> None:
        self._log.error("subscription_halted", event_number=halted.number, reason=halted.reason)
        self._around.to_lock_holder(messages.SaveHalt(self.subscription.name, epoch, halted.number, halted.reason))

    def _read(self, effect: Read) -> None:
        head = max(self._head or 0, self.machine.head)
        stream = self.subscription.stream
        if self.machine.phase is Phase.CATCHING_UP and self._filter is None:
            # While the database works on the next page, this process routes the one before.
            answer = partial(self._take_page, effect)
            self._around.read_soon(Request(stream, effect.after, effect.limit, effect.max_bytes, None, head, answer))
            return
        page = self._around.read(stream, effect.after, effect.limit, effect.max_bytes, self._filter, head)
        self._take_page(effect, page)

    def _take_page(self, effect: Read, page: Page) -> None:
        entries, halt = entries_of(page.rows, self._key)
        if halt is None:
            answer = inputs.PageRead(effect.serial, entries, page.scanned_to, page.complete)
            if self._filter is None or page.complete:
                self.happened(answer)
            else:
                # It may be long until a filter lets something pass: the other subscriptions have their turn in between.
                self._around.call_later(0, lambda: self.happened(answer))
            return
        if not self.machine.awaits(effect.serial):
            # Of an earlier ownership, whose end may be what was wanted of the key.
            return
        scanned_to = entries[-1].number if entries else effect.after
        self.happened(inputs.PageRead(effect.serial, entries, scanned_to, complete=False))
        self.happened(halt)

    def _store(self, effect: StoreAttempts | BeginCarefully | Park | Unpark) -> None:
        name, epoch = self.subscription.name, self.machine.epoch
        match effect:
            case StoreAttempts(attempts=attempts):
                self._around.to_lock_holder(messages.SaveAttempts(name, epoch, attempts))
            case BeginCarefully(attempt=attempt):
                self._around.turns.take(name, partial(self._begin, attempt, epoch))
            case Park(events=events):
                self._park(events)
            case Unpark(numbers=numbers):
                self._around.to_lock_holder(messages.UnparkEvents(name, epoch, numbers))

    def _begin(self, attempt: Attempt, epoch: int) -> None:
        """It is this subscription's turn with an event of which the node may die."""
        if epoch == self.machine.epoch and self.machine.has_begun_carefully:
            self._store(StoreAttempts([attempt]))
        else:
            self._around.turns.give_back(self.subscription.name)

    def _park(self, parkings: list[Parking]) -> None:
        for parking in parkings:
            if parking.state == "parked":
                self._log.warning(
                    "event_parked",
                    event_number=parking.entry.number,
                    partition=parking.partition,
                    attempts=parking.attempts,
                    reason=parking.reason,
                )
        events = [
            ParkedEvent(
                number=parking.entry.number,
                event_id=UUID(bytes=bytes(parking.entry.payload[4])),
                partition=parking.partition,
                state=parking.state,
                holds=parking.holds,
                attempts=parking.attempts,
                crashes=parking.crashes,
                reason=parking.reason,
            )
            for parking in parkings
        ]
        self._around.to_lock_holder(messages.ParkEvents(self.subscription.name, self.machine.epoch, events))

    def _read_parked(self) -> None:
        """Takes up parked events that an operator wants to be handled or discarded."""
        if self.machine.phase not in (Phase.CATCHING_UP, Phase.LIVE):
            return
        limit = self.machine.options.page_size
        due = self._around.read_parked(self._subscription_id, limit)
        if not due:
            return
        entries: list[Entry] = []
        halt: inputs.Halt | None = None
        for parked in due:
            # One that is discarded may have no event left to compute a key of.
            if parked.discard:
                entries.append(Entry(parked.row[0], parked.partition, parked.row, size_of(parked.row)))
                continue
            found, halt = entries_of([parked.row], self._key)
            if halt is not None:
                break
            entries += found
        discarded = [parked.row[0] for parked in due if parked.discard]
        self.happened(inputs.ParkedDue(entries, discarded, complete=len(due) < limit))
        if halt is not None:
            self.happened(halt)

    def _retry_later(self, effect: StartRetryTimer) -> None:
        self._log.warning(
            "event_retried",
            event_number=effect.number,
            attempt=effect.attempt,
            retry_in=round(effect.seconds, 2),
            reason=effect.reason,
        )
        self._around.call_later(effect.seconds, partial(self._retry_due, effect.number, self.machine.epoch))

    def _retry_due(self, number: int, epoch: int) -> None:
        # One of an earlier ownership has nothing to say of an event that has failed again since.
        if epoch == self.machine.epoch:
            self.happened(inputs.RetryDue(number))

    # What it tells

    def report(self) -> SubscriptionReport:
        """The subscription as the status shows it."""
        machine, owned = self.machine, self.machine.phase is not Phase.WAITING
        return SubscriptionReport(
            name=self.subscription.name,
            stream=self.subscription.stream,
            state=str(machine.phase),
            reason=self._reason(),
            owner=self._owner,
            epoch=machine.epoch,
            checkpoint=machine.checkpoint if owned else self._standby_last_seen,
            head=max(machine.head, self._head or 0) if owned else self._head,
            in_flight=machine.in_flight,
            buffered=machine.unfinished,
            retrying=machine.retrying,
            finished=machine.finished_count,
            failures=self._failures,
            skipped=self._skipped,
            crashes=self._deaths,
            parked=machine.parked if owned else self._terms.parked,
            workers=machine.subscriber_count,
            idle=machine.idle,
        )

    def _reason(self) -> str:
        machine = self.machine
        if machine.phase is Phase.PAUSED:
            return "an operator paused it"
        if machine.phase is Phase.HALTED and machine.halted is not None:
            return f"halted at event {machine.halted.number}: {machine.halted.reason}"
        if machine.phase is Phase.WAITING:
            return f"node {self._owner!r} owns it" if self._owner else "waiting for its lock"
        return ""
