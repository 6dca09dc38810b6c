"""The lock-holder process: one session that holds the advisory locks, and writes every checkpoint.

Because lock and checkpoint share the session, they are lost together: when the session dies this process
stops, and its successor starts with new locks and a new epoch, which fences whatever the old one left
behind. Talks to the listener alone. Mirrors `EventStore.AdvisoryLocks`.
"""

from __future__ import annotations

import random
import socket
from typing import Any

import psycopg

from ..store.connection import run
from ..store.delivery import (
    clear_halt,
    list_attempts,
    park_events,
    parked_numbers,
    parked_partitions,
    release_owners,
    save_attempts,
    save_halt,
    subscription_terms,
    unpark_events,
)
from ..store.errors import SubscriptionNotFound
from ..store.listening import check_alive, probe
from ..store.notifications import runtime_channel
from ..store.schema import check
from ..store.sql import Statements
from ..store.subscriptions import (
    begin_epoch,
    create_subscription,
    notify,
    save_checkpoint,
    subscription_lags,
    try_locks,
    unlock,
)
from .actor import Actor
from .backoff import Backoff
from .channel import Channel
from .database import connect_to
from .loop import Timer
from .messages import (
    Acquire,
    AttemptsSaved,
    CheckpointSaved,
    EventsParked,
    EventsUnparked,
    Granted,
    Keep,
    LockHolderToListener,
    OwnershipLost,
    ParkEvents,
    Recheck,
    Release,
    SaveAttempts,
    SaveCheckpoint,
    SaveHalt,
    Standby,
    TermsChanged,
    ToLockHolder,
    TryNow,
    UnparkEvents,
)
from .plan import NodePlan


class Lock:
    """One subscription's lock, held or wanted."""

    def __init__(self, name: str, subscription_id: int) -> None:
        self.name = name
        self.subscription_id = subscription_id
        self.held = False
        self.epoch = 0


class LockHolder(Actor):
    """The actor of the lock-holder process."""

    def __init__(self, name: str, plan: NodePlan, control: socket.socket) -> None:
        super().__init__(name, plan, control)
        self._connection: psycopg.Connection[Any] | None = None
        self._statements: Statements
        self._listener: Channel[ToLockHolder] | None = None
        self._locks: dict[str, Lock] = {}
        self._retry: Timer | None = None
        self._backoff = Backoff(minimum=min(0.1, plan.lock_retry_interval), maximum=plan.lock_retry_interval)
        self._tries = 0

    def start(self) -> str:
        """Opens the session and checks the schema."""
        connection = connect_to(self.plan, self.name, session=True)
        self._connection = connection
        self._statements = Statements(self.plan.store.schema, check(connection, self.plan.store.schema))
        self.loop.watch(connection.fileno(), lambda: check_alive(connection))
        self.loop.call_every(self.plan.poll_interval, self._recheck)
        # An idle owner says nothing for long, and would not notice that its session, and its locks, are gone.
        self.loop.call_every(self.plan.canary_interval, lambda: probe(connection))
        return ""

    def close(self) -> None:
        """Ends the session, and with it every lock."""
        if self._connection is not None:
            self._connection.close()

    def on_stop(self) -> None:
        """Gives every lock back and tells the other nodes."""
        self._release([lock for lock in self._locks.values() if lock.held])
        self.loop.stop()

    # The listener

    def on_attach(self, peer: str, channel_socket: socket.socket, busy: bool) -> None:
        """A new listener: what an older one wanted is void; held locks stay held until it asks for them."""
        self._leave_listener()
        self._listener = Channel(channel_socket, ToLockHolder)
        self.loop.add_channel(self._listener, self._read_listener)

    def on_peer_exited(self, peer: str, died: str) -> None:
        """The listener is gone; its successor takes over under new epochs."""
        self._leave_listener()

    def _leave_listener(self) -> None:
        if self._listener is not None:
            self.loop.remove_channel(self._listener)
            self._listener = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _read_listener(self) -> None:
        channel = self._listener
        if channel is None:
            return
        # Each lock once, however often it is asked for: every grant is a new epoch, for which all workers start afresh.
        wanted: dict[str, Lock] = {}
        for message in channel.receive():
            match message:
                case SaveCheckpoint():
                    self._save(message)
                case SaveAttempts() | ParkEvents() | UnparkEvents() | SaveHalt():
                    self._store(message)
                case Recheck():
                    self._recheck()
                case Acquire(subscription=name):
                    wanted[name] = self._want(message)
                case Keep(subscriptions=names):
                    self._keep(names)
                case TryNow():
                    self._tries = 0
                    wanted |= {name: lock for name, lock in self._locks.items() if not lock.held}
                case Release(subscription=name):
                    wanted.pop(name, None)
                    self._give_back(name)
        if wanted:
            self._try(list(wanted.values()))
        if channel.closed:
            self._leave_listener()

    def _tell(self, message: LockHolderToListener) -> None:
        if self._listener is not None:
            self._listener.send(message)

    # Locks

    @property
    def _session(self) -> psycopg.Connection[Any]:
        assert self._connection is not None
        return self._connection

    def _want(self, message: Acquire) -> Lock:
        name = message.subscription
        lock = self._locks.get(name)
        if lock is None:
            record = run(
                self._session,
                create_subscription(self._statements, message.stream, name, message.start_from),
            )
            lock = self._locks[name] = Lock(name, record.subscription_id)
        return lock

    def _try(self, wanted: list[Lock]) -> None:
        """Tries all locks that are not held with one statement; starts an epoch for each one that is."""
        free = [lock for lock in wanted if not lock.held]
        acquired = run(self._session, try_locks(self._statements, [lock.subscription_id for lock in free]))
        for lock in wanted:
            lock.held = lock.held or acquired[lock.subscription_id]
            if lock.held:
                self._begin_epoch(lock)
        standby = [lock for lock in wanted if not lock.held]
        if standby:
            self._stand_by(standby)

    def _begin_epoch(self, lock: Lock) -> None:
        """Begins an epoch under a lock that is held, and hands over what the database remembers."""
        session, statements, number = self._session, self._statements, lock.subscription_id
        try:
            begun = run(session, begin_epoch(statements, number, self.plan.node, run=self.plan.run))
        except SubscriptionNotFound:
            self._lose(lock, 0)
            return
        if begun.released:
            # After an orderly end somebody may have mended what it halted at; after a crash it stays halted.
            run(session, clear_halt(statements, number))
        terms = run(session, subscription_terms(statements, [number])).get(number)
        if terms is None:
            self._lose(lock, begun.epoch)
            return
        after = begun.last_seen or 0
        lock.epoch = begun.epoch
        name = lock.name
        self.log.info("subscription_owned", subscription=name, epoch=begun.epoch, last_seen=begun.last_seen)
        self._tell(
            Granted(
                name,
                number,
                begun.epoch,
                begun.last_seen,
                terms,
                run(session, list_attempts(statements, number, after)),
                run(session, parked_numbers(statements, number, after)) if terms.parked else [],
                run(session, parked_partitions(statements, number)) if terms.parked else {},
                begun.unclean,
            )
        )

    def _recheck(self) -> None:
        """Tells what operators want of the subscriptions held here; whose epoch one has ended begins anew."""
        held = [lock for lock in self._locks.values() if lock.held]
        if not held or self._listener is None:
            return
        terms = run(self._session, subscription_terms(self._statements, [lock.subscription_id for lock in held]))
        for lock in held:
            found = terms.get(lock.subscription_id)
            if found is None:
                self._lose(lock, lock.epoch)
            elif found.epoch != lock.epoch:
                self._begin_epoch(lock)
            else:
                self._tell(TermsChanged(lock.name, found))

    def _stand_by(self, locks: list[Lock]) -> None:
        """Says who owns them, and tries again: soon at first, since a dead session frees its locks at once."""
        known = {lag.subscription_id: lag for lag in run(self._session, subscription_lags(self._statements))}
        for lock in locks:
            lag = known.get(lock.subscription_id)
            if lag is not None:
                self._tell(Standby(lock.name, lag.node or "", lag.last_seen))
        if self._retry is None:
            self._tries += 1
            delay = self._backoff.delay(self._tries, random.random())  # noqa: S311
            self._retry = self.loop.call_later(delay, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        standby = [lock for lock in self._locks.values() if not lock.held]
        if standby:
            self._try(standby)

    def _give_back(self, name: str) -> None:
        lock = self._locks.pop(name, None)
        if lock is not None and lock.held:
            run(self._session, release_owners(self._statements, {lock.subscription_id: lock.epoch}))
            self._release([lock])

    def _keep(self, names: list[str]) -> None:
        """Gives back what a listener held that died before it could do so, and stops asking for the rest of its."""
        others = [self._locks.pop(name) for name in self._locks.keys() - set(names)]
        self._release([lock for lock in others if lock.held])

    def _release(self, locks: list[Lock]) -> None:
        if not locks:
            return
        run(self._session, unlock(self._statements, [lock.subscription_id for lock in locks]))
        for lock in locks:
            lock.held = False
        run(self._session, notify(self._statements, runtime_channel(self.plan.store.schema), "released"))

    # Checkpoints

    def _save(self, message: SaveCheckpoint) -> None:
        lock = self._locks.get(message.subscription)
        if lock is None or not lock.held:
            self._tell(OwnershipLost(message.subscription, message.epoch))
            return
        result = run(
            self._session,
            save_checkpoint(self._statements, lock.subscription_id, message.epoch, message.position),
        )
        if result.fence_held:
            self._tell(CheckpointSaved(message.subscription, message.epoch, message.position))
        else:
            self._fenced(lock, message.epoch)

    def _store(self, message: SaveAttempts | ParkEvents | UnparkEvents | SaveHalt) -> None:
        lock = self._locks.get(message.subscription)
        if lock is None or not lock.held:
            self._tell(OwnershipLost(message.subscription, message.epoch))
            return
        name, epoch, statements, number = message.subscription, message.epoch, self._statements, lock.subscription_id
        match message:
            case SaveAttempts(attempts=attempts):
                fence_held = run(self._session, save_attempts(statements, number, epoch, attempts))
                answer: LockHolderToListener | None = AttemptsSaved(name, epoch, [a.number for a in attempts])
            case ParkEvents(events=events):
                fence_held = run(self._session, park_events(statements, number, epoch, events))
                answer = EventsParked(name, epoch, [event.number for event in events])
            case UnparkEvents(numbers=numbers):
                fence_held = run(self._session, unpark_events(statements, number, epoch, numbers))
                answer = EventsUnparked(name, epoch, numbers)
            case SaveHalt(number=event_number, reason=reason):
                fence_held = run(self._session, save_halt(statements, number, epoch, event_number, reason))
                answer = None
        if not fence_held:
            self._fenced(lock, epoch)
        elif answer is not None:
            self._tell(answer)

    def _fenced(self, lock: Lock, epoch: int) -> None:
        """An epoch has ended though its lock is held: an operator ended it, or the subscription was deleted."""
        if epoch == lock.epoch:
            self._begin_epoch(lock)

    def _lose(self, lock: Lock, epoch: int) -> None:
        """The epoch is not ours, or the subscription was deleted: forget the lock; the listener may ask again."""
        self.log.warning("ownership_lost", subscription=lock.name, epoch=epoch)
        run(self._session, unlock(self._statements, [lock.subscription_id]))
        del self._locks[lock.name]
        self._tell(OwnershipLost(lock.name, epoch))
