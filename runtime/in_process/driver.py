"""The thread of a persistent subscription: performs what the routing machine asks for, with one database session.

The only thread that touches machine and session. Subscribers and the subscription's owner put commands into a queue
and wake it; it answers them through `Subscriber` and `Progress`. A lost session makes everything void: after a
back-off the next one takes the lock under a new epoch and reads on after the checkpoint.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import assert_never

from ...store.errors import EventStoreError, StoreError
from ..backoff import Backoff
from ..loop import Loop, Timer
from ..routing import Phase, SubscriptionMachine, inputs
from ..routing.effects import (
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
from ..routing.state import Halted, SubscriberId
from .hearing import Heard
from .inbox import Inbox
from .options import SubscriptionOptions, routing_options
from .preparing import Failure, Preparation
from .progress import Progress
from .session import Session
from .subscriber import Subscriber

_log = logging.getLogger(__name__)

# Bounds what a lost notification can cost, and after what time a deletion is seen.
_POLL_INTERVAL = 2.0
_RECONNECT = Backoff(minimum=0.1, maximum=10.0)
_LOCK_RETRY = Backoff(minimum=0.1, maximum=2.0)


class Driver:
    """Runs one subscription in a thread of its own, from `start` to the end of `stop`.

    Args:
        options: The subscription's options.
        preparation: What happens to events that were read.
        connect: Opens a session.
        session: The first session, open already; the driver closes it.
        subscription_id: The subscription, which exists already.
        progress: Where to tell how far it is.
        on_end: Called once, as the last thing, with the error that ended it, if any.
    """

    def __init__(
        self,
        options: SubscriptionOptions,
        preparation: Preparation,
        connect: Callable[[], Session],
        session: Session,
        subscription_id: int,
        progress: Progress,
        on_end: Callable[[EventStoreError | None], None],
    ) -> None:
        self._options = options
        self._preparation = preparation
        self._connect = connect
        self._session: Session | None = session
        self._watched = session.fileno()
        self._subscription_id = subscription_id
        self._progress = progress
        self._on_end = on_end
        self._machine = SubscriptionMachine(routing_options(options))
        self._inputs: deque[inputs.Input] = deque()
        self._performing = False
        self._subscribers: dict[SubscriberId, Subscriber] = {}
        self._failure: Failure | None = None
        self._error: EventStoreError | None = None
        self._lost = 0
        self._refused = 0
        self._retry: Timer | None = None
        self._done = False
        self._loop = Loop()
        self._inbox = Inbox()
        self._thread = threading.Thread(target=self._run, name=f"eventstore {preparation.name}", daemon=True)

    # What other threads call

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Writes the last checkpoint, gives the lock back and waits for the end; safe to call again."""
        self._inbox.send(self._drain)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def joined(self, subscriber: Subscriber) -> None:
        """A new subscriber."""
        self._inbox.send(lambda: self._join(subscriber))

    def acked(self, subscriber: Subscriber, numbers: list[int]) -> None:
        """A subscriber finished events."""
        self._inbox.send(lambda: self._step(inputs.Acked(id(subscriber), numbers)))

    def recalled(self, subscriber: Subscriber) -> None:
        """A subscriber is done with what it had."""
        self._inbox.send(lambda: self._step(inputs.Recalled(id(subscriber))))

    def left(self, subscriber: Subscriber) -> None:
        """A subscriber takes no more events."""
        self._inbox.send(lambda: self._leave(subscriber))

    # The thread

    def _run(self) -> None:
        self._loop.watch(self._inbox, self._inbox.silence)
        self._loop.call_later(_POLL_INTERVAL, self._poll)
        try:
            self._attempt(self._begin)
            while not self._done:
                self._attempt(self._turn)
        except EventStoreError as error:
            self._error = error
        except BaseException as error:
            self._error = StoreError(f"subscription {self._preparation.name!r} failed, {error!r}: report this")
            self._error.__cause__ = error
            raise
        finally:
            self._end()

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except EventStoreError as error:
            if not error.retryable:
                raise
            self._lose(error)

    def _turn(self) -> None:
        for command in self._inbox.take():
            command()
            if self._done:
                return
        # Again and again: what comes with the answer to a statement does not make the descriptor readable.
        while self._session is not None and any(heard := self._session.heard()):
            self._take_in(heard)
        if not self._done:
            self._loop.turn()

    def _take_in(self, heard: Heard) -> None:
        if heard.head:
            self._step(inputs.Appended(heard.head))
        if heard.released and self._machine.phase is Phase.WAITING:
            self._refused = 0
            self._acquire()

    def _end(self) -> None:
        """Gives back everything, then tells whoever waits."""
        error = self._error
        if error is not None:
            _log.error("%s", error)
        session, self._session = self._session, None
        if session is not None:
            session.release(self._subscription_id)
            session.close()
        self._loop.close()
        self._inbox.close()
        self._on_end(error)

    # The session

    def _begin(self) -> None:
        assert self._session is not None
        self._watched = self._session.fileno()
        self._loop.watch(self._watched, _nothing)
        self._acquire()

    def _lose(self, error: EventStoreError) -> None:
        """Gives up the session and all that came with it; the next one comes after a back-off."""
        session, self._session = self._session, None
        if session is not None:
            # By number, which a broken connection does not tell any more.
            self._loop.unwatch(self._watched)
            session.close()
        self._progress.lose()
        self._failure = None
        self._lost += 1
        delay = _RECONNECT.delay(self._lost, random.random())  # noqa: S311
        _log.warning("subscription %r reconnects in %.1f s: %s", self._preparation.name, delay, error)
        self._again(delay, self._reconnect)
        self._step(inputs.Disowned())

    def _reconnect(self) -> None:
        self._session = self._connect()
        self._session.check_exists(self._subscription_id)
        self._begin()

    def _acquire(self) -> None:
        """Takes the lock, or tries again: soon at first, since a dead session frees its locks at once."""
        if self._session is None or self._machine.phase is not Phase.WAITING:
            return
        ownership = self._session.try_own(self._subscription_id)
        self._lost = 0
        if ownership is None:
            self._session.check_exists(self._subscription_id)
            self._refused += 1
            self._again(_LOCK_RETRY.delay(self._refused, random.random()), self._acquire)  # noqa: S311
            return
        self._refused = 0
        self._step(inputs.Owned(ownership.epoch, ownership.last_seen))
        self._progress.own()

    def _again(self, seconds: float, action: Callable[[], None]) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._loop.call_later(seconds, action)

    def _poll(self) -> None:
        self._loop.call_later(_POLL_INTERVAL, self._poll)
        if self._session is not None:
            self._session.check_exists(self._subscription_id)
            self._step(inputs.Appended(self._session.head()))

    # The subscribers

    def _join(self, subscriber: Subscriber) -> None:
        self._subscribers[id(subscriber)] = subscriber
        self._step(inputs.Joined(id(subscriber), self._options.buffer_size))

    def _leave(self, subscriber: Subscriber) -> None:
        self._step(inputs.Left(id(subscriber)))
        self._subscribers.pop(id(subscriber), None)

    def _drain(self) -> None:
        """Stops at once: what is in flight comes again, acks that came before are checkpointed."""
        for subscriber in self._subscribers.values():
            subscriber.end(self._error)
        self._step(inputs.Drain())
        for subscriber_id in list(self._subscribers):
            self._step(inputs.Left(subscriber_id))

    # The machine

    def _step(self, message: inputs.Input) -> None:
        """Gives the machine an input and performs all that follows, further inputs included."""
        self._inputs.append(message)
        if self._performing:
            return
        self._performing = True
        try:
            while self._inputs:
                for effect in self._machine.step(self._inputs.popleft()):
                    self._perform(effect)
        finally:
            self._performing = False
            # Only a lost session leaves some; the machine forgets what they are about.
            self._inputs.clear()
        self._fail_when_blocked()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Deliver():
                self._subscribers[effect.subscriber].deliver(effect.entries)
            case Read():
                self._read(effect)
            case SaveCheckpoint():
                self._save(effect)
            case Recall(subscriber=subscriber):
                if self._subscribers[subscriber].recall():
                    self._step(inputs.Recalled(subscriber))
            case StartCheckpointTimer(seconds=seconds):
                self._loop.call_later(seconds, lambda: self._step(inputs.CheckpointDue()))
            case Drained():
                self._done = True
            case (
                StartRetryTimer()
                | StoreAttempts()
                | BeginCarefully()
                | Park()
                | Unpark()
                | ReadParked()
                | Skipped()
                | Halted()
            ):
                raise AssertionError(f"{effect!r} follows from failures, which no subscriber reports")
            case _:
                assert_never(effect)

    def _read(self, effect: Read) -> None:
        assert self._session is not None
        page = self._session.read(effect.after, effect.limit)
        prepared = self._preparation.prepare(page.rows)
        if prepared.failure is None:
            self._step(inputs.PageRead(effect.serial, prepared.entries, page.scanned_to, page.complete))
        elif prepared.scanned_to is not None:
            self._step(inputs.PageRead(effect.serial, prepared.entries, prepared.scanned_to, complete=False))
        else:
            # The read stays unanswered, so that nothing beyond the event is read or passed by the checkpoint.
            self._failure = prepared.failure

    def _fail_when_blocked(self) -> None:
        """Ends with the failure of the next event, once all before it are finished."""
        if self._failure is not None and self._error is None and not self._machine.unfinished:
            self._error = self._failure
            self._drain()

    def _save(self, effect: SaveCheckpoint) -> None:
        assert self._session is not None
        if self._session.save(self._subscription_id, effect.epoch, effect.position):
            self._progress.save(effect.position)
            self._step(inputs.CheckpointSaved(effect.position))
            return
        self._session.check_exists(self._subscription_id)
        _log.warning("subscription %r was taken over, it waits for its lock", self._preparation.name)
        self._session.release(self._subscription_id)
        self._progress.lose()
        self._failure = None
        self._step(inputs.Disowned())
        self._again(_LOCK_RETRY.minimum, self._acquire)


def _nothing() -> None:
    """What came over the session is looked at in every turn."""
