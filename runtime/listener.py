"""The listener process: hears what was appended, reads it, and routes it to the workers.

One connection LISTENs, another one reads. A notification is only a hint: every event comes from a read that
starts after the last one routed, and a poll bounds what a lost notification can cost. Owns the routing
machines of all subscriptions; talks to the lock-holder and the workers. Mirrors
`EventStore.Notifications.Listener` and `EventStore.Subscriptions.Subscription`.
"""

from __future__ import annotations

import itertools
import secrets
import socket
from collections import Counter, defaultdict
from typing import Any

import psycopg

from ..handlers.resolve import Subscription, event_filter, extend_path
from ..store.control import CHANGED
from ..store.delivery import DueParked, due_parked_events
from ..store.errors import InvalidNotification
from ..store.listening import listen, take_notifications
from ..store.notifications import canary_channel, parse, runtime_channel
from ..store.notifications import channel as events_channel
from ..store.read import Page
from ..store.schema import check
from ..store.serializer import Serializer
from ..store.sql import Statements
from ..store.streams import stream_heads
from ..store.subscriptions import notify
from .actor import Actor
from .at_hand import AtHand
from .canary import Canary
from .channel import Channel
from .database import connect_to
from .loop import Timer
from .messages import (
    AttemptsSaved,
    CheckpointSaved,
    Drained,
    EventsParked,
    EventsUnparked,
    Granted,
    Keep,
    LockHolderToListener,
    Message,
    OwnershipLost,
    Recheck,
    Reconfigure,
    Release,
    Standby,
    SubscriptionEnded,
    TermsChanged,
    ToChild,
    TryNow,
    WorkerReady,
    WorkerToListener,
)
from .partition_keys import row_key
from .plan import NodePlan
from .reader import Request, Selection
from .reading import Reading
from .reload import changes
from .routing import inputs
from .routing.state import SubscriberId
from .serializers import load_serializer
from .status import ListenerReport
from .subscription import RunningSubscription
from .turns import Turns

_REPORT_AFTER = 0.05
# While notifications do not come through: how often events are looked for, and LISTEN is tried on a new session.
_SILENT_POLL = 0.5
_SILENT_RENEWAL = 10.0


class Listener(Actor):
    """The actor of the listener process."""

    def __init__(self, name: str, plan: NodePlan, control: socket.socket) -> None:
        super().__init__(name, plan, control)
        self._reading = Reading(self.loop, _shared(plan))
        self.turns = Turns(self.call_later)
        self._subscriptions: dict[str, RunningSubscription] = {}
        self._by_stream: dict[str, list[RunningSubscription]] = defaultdict(list)
        self._lock_holder: Channel[LockHolderToListener] | None = None
        self._workers: dict[str, tuple[tuple[str, int], RunningSubscription]] = {}
        self._ending: set[str] = set()
        self._channels: dict[SubscriberId, Channel[WorkerToListener]] = {}
        self._at_hand: dict[SubscriberId, AtHand] = {}
        self._incarnations = itertools.count(1)
        self._notifications = 0
        self._canary = Canary(f"{plan.node} {secrets.token_hex(8)}", patience=plan.canary_interval)
        self._while_silent: dict[str, Timer] = {}
        self._undrained: set[str] = set()
        self._draining = False
        self._report_due = False
        self._listening: psycopg.Connection[Any] | None = None
        self._statements: Statements
        self._serializer: Serializer

    def start(self) -> str:
        """Builds the subscriptions; LISTENs before the first read, so that nothing falls in between."""
        store = self.plan.store
        extend_path(self.plan.python_path)
        self._serializer = load_serializer(store.serializer)
        for subscription in self.plan.subscriptions:
            self._add(subscription)
        connection = connect_to(self.plan, self.name)
        self._statements = Statements(store.schema, check(connection, store.schema))
        self._reading.open(connection, self._statements)
        self._listen()
        self.loop.call_every(self.plan.poll_interval, self._poll)
        self.loop.call_every(self.plan.canary_interval, self._send_canary)
        return ""

    def _add(self, subscription: Subscription) -> RunningSubscription:
        running = RunningSubscription(subscription, row_key(subscription, self._serializer), self)
        self._subscriptions[subscription.name] = running
        self._by_stream[subscription.stream].append(running)
        return running

    def _listen(self) -> None:
        """LISTENs on a session of its own."""
        schema = self.plan.store.schema
        self._listening = connect_to(self.plan, "LISTEN", session=True)
        listen(self._listening, [events_channel(schema), runtime_channel(schema), canary_channel(schema)])
        self.loop.watch(self._listening.fileno(), self._hear)

    def close(self) -> None:
        """Closes both connections."""
        self._reading.close()
        if self._listening is not None:
            self._listening.close()

    def report(self) -> ListenerReport:
        """The subscriptions as the status shows them."""
        return ListenerReport(
            subscriptions=[subscription.report() for subscription in self._subscriptions.values()],
            notifications=self._notifications,
            reads=self._reading.pages.reads,
            events_read=self._reading.pages.events_read,
            listen_round_trip=self._canary.round_trip,
            listen_silent=self._canary.silent,
        )

    # The database

    def _hear(self) -> None:
        """Takes all notifications that have come; many for one stream lead to one read."""
        assert self._listening is not None
        heads: dict[str, int] = {}
        released = changed = False
        for channel, payload in take_notifications(self._listening):
            self._notifications += 1
            if channel == runtime_channel(self.plan.store.schema):
                # Locks were released, or operators changed something; a message too many costs one query.
                released = released or payload != CHANGED
                changed = changed or payload == CHANGED
                continue
            if channel == canary_channel(self.plan.store.schema):
                self._hear_canary(payload)
                continue
            try:
                notification = parse(payload)
            except InvalidNotification as error:
                self.log.warning("notification_ignored", reason=str(error))
                continue
            if notification.stream_uuid in self._by_stream:
                known = heads.get(notification.stream_uuid, 0)
                heads[notification.stream_uuid] = max(known, notification.last_version)
        if released:
            self.to_lock_holder(TryNow())
        if changed:
            self.to_lock_holder(Recheck())
        self._appended(heads)

    def _poll(self) -> None:
        """Asks for the heads of all streams with one query, whether or not notifications come."""
        heads = self._reading.run(stream_heads(self._statements, list(self._by_stream)))
        for stream, head in heads.items():
            for subscription in list(self._by_stream.get(stream, ())):
                subscription.polled(head)

    # Whether LISTEN works

    def _send_canary(self) -> None:
        """Notifies this process through the database; while that does not come back, polls in its stead."""
        assert self._reading is not None
        was_silent, payload = self._canary.silent, self._canary.send(self.loop.now())
        if payload is not None:
            self._reading.run(notify(self._statements, canary_channel(self.plan.store.schema), payload))
        if self._canary.silent and not was_silent:
            self.log.warning("listen_silent", polling_every=_SILENT_POLL)
            self._poll_while_silent()
            self._renew_while_silent()
            self.changed()

    def _hear_canary(self, payload: str) -> None:
        was_silent = self._canary.silent
        if self._canary.heard(payload, self.loop.now()) and was_silent:
            self.log.info("listen_works", round_trip=self._canary.round_trip)
            self.changed()
            # Should it fall silent again before they are due, they would go on beside those that begin then.
            for timer in self._while_silent.values():
                timer.cancel()

    def _poll_while_silent(self) -> None:
        if self._canary.silent:
            self._poll()
            self._while_silent["poll"] = self.loop.call_later(_SILENT_POLL, self._poll_while_silent)

    def _renew_while_silent(self) -> None:
        """A session that is up and deaf holds nothing that would be lost with it, so that a new one can replace it."""
        if self._canary.silent and self._listening is not None:
            self.loop.unwatch(self._listening.fileno())
            self._listening.close()
            self._listen()
            self._while_silent["renew"] = self.loop.call_later(_SILENT_RENEWAL, self._renew_while_silent)

    def _appended(self, heads: dict[str, int]) -> None:
        for stream, position in heads.items():
            for subscription in list(self._by_stream.get(stream, ())):
                subscription.appended(position)

    # The lock-holder

    def _attach_lock_holder(self, channel_socket: socket.socket) -> None:
        self._leave_lock_holder()
        self._lock_holder = Channel(channel_socket, LockHolderToListener)
        self.loop.add_channel(self._lock_holder, self._read_lock_holder)
        if not self._draining:
            self.to_lock_holder(Keep(list(self._subscriptions)))
            for subscription in self._subscriptions.values():
                subscription.acquire()

    def _leave_lock_holder(self) -> None:
        """Without the lock-holder nothing is owned: its session, and every lock, are gone."""
        if self._lock_holder is not None:
            self.loop.remove_channel(self._lock_holder)
            self._lock_holder = None
        # One that the plan does not hold any more goes from the list with that.
        for subscription in list(self._subscriptions.values()):
            subscription.happened(inputs.Disowned())

    def _read_lock_holder(self) -> None:
        channel = self._lock_holder
        if channel is None:
            return
        for message in channel.receive():
            subscription = self._subscriptions.get(message.subscription)
            if subscription is None:
                # Of a subscription that the plan does not hold any more.
                continue
            match message:
                case Granted():
                    subscription.granted(message)
                case Standby():
                    subscription.standby(message)
                case CheckpointSaved():
                    subscription.checkpoint_saved(message)
                case TermsChanged(terms=terms):
                    subscription.terms_changed(terms)
                case AttemptsSaved() | EventsParked() | EventsUnparked():
                    subscription.stored(message)
                case OwnershipLost():
                    subscription.ownership_lost(message)
        if channel.closed:
            self._leave_lock_holder()

    # The workers

    def _attach_worker(self, peer: str, channel_socket: socket.socket, busy: bool) -> None:
        self._leave_worker(peer)
        subscriber = (peer, next(self._incarnations))
        subscription = self._subscription_of(peer)
        channel: Channel[WorkerToListener] = Channel(channel_socket, WorkerToListener)
        self._workers[peer] = (subscriber, subscription)
        self._channels[subscriber] = channel
        if busy:
            subscription.happened(inputs.Expected(subscriber))
        self.loop.add_channel(channel, lambda: self._read_worker(subscription, subscriber, channel))

    def _read_worker(
        self, subscription: RunningSubscription, subscriber: tuple[str, int], channel: Channel[WorkerToListener]
    ) -> None:
        for message in channel.receive():
            if isinstance(message, WorkerReady) and channel.has_descriptor:
                self._at_hand[subscriber] = AtHand(channel.take_descriptor())
            subscription.from_worker(subscriber, message)
        if channel.closed:
            # What it had goes back only when the supervisor says that the process is gone for certain.
            self.loop.remove_channel(channel)

    def _leave_worker(self, peer: str, died: str = "") -> None:
        known = self._workers.pop(peer, None)
        if known is None:
            return
        subscriber, subscription = known
        channel = self._channels.pop(subscriber)
        if not channel.closed:
            # What it sent before it died is true: acks in the channel are not lost with it.
            self._read_worker(subscription, subscriber, channel)
        self.loop.remove_channel(channel)
        page = self._at_hand.pop(subscriber, None)
        at_hand = page.read() if page is not None else None
        if page is not None:
            page.close()
        subscription.left(subscriber, died, at_hand)

    def _subscription_of(self, peer: str) -> RunningSubscription:
        return self._subscriptions[peer.removeprefix("worker:").rpartition(":")[0]]

    # The supervisor

    def on_attach(self, peer: str, channel_socket: socket.socket, busy: bool) -> None:
        """A fresh lock-holder or worker."""
        if peer == "lock-holder":
            self._attach_lock_holder(channel_socket)
        else:
            self._attach_worker(peer, channel_socket, busy)

    def on_peer_exited(self, peer: str, died: str) -> None:
        """A lock-holder or worker is gone: what it held goes back."""
        if peer == "lock-holder":
            self._leave_lock_holder()
        else:
            self._leave_worker(peer, died)

    def on_message(self, message: ToChild) -> None:
        """A new plan: drains what it does not hold, or holds otherwise; the rest goes on undisturbed."""
        if not isinstance(message, Reconfigure) or self._draining:
            return
        difference = changes(self.plan, NodePlan.decode(message.plan))
        self.plan = difference.plan
        self._reading.pages.share(_shared(self.plan))
        for name in difference.begun:
            if name not in self._subscriptions:
                self._add(self.plan.subscription(name)).acquire()
        self._poll()
        for name in difference.ended:
            if name in self._subscriptions and name not in self._ending:
                self._ending.add(name)
                self._subscriptions[name].happened(inputs.Drain())

    def _ended(self, name: str) -> None:
        """A subscription of an older plan is drained: its workers may go, and the one of the new plan begins."""
        self._ending.discard(name)
        ended = self._subscriptions[name]
        followers = self._by_stream[ended.subscription.stream]
        followers.remove(ended)
        if not followers:
            del self._by_stream[ended.subscription.stream]
        del self._subscriptions[name]
        self.control.send(SubscriptionEnded(name))
        if any(subscription.name == name for subscription in self.plan.subscriptions):
            self._add(self.plan.subscription(name)).acquire()
            self._poll()

    def on_stop(self) -> None:
        """Drains every subscription: no more deliveries, last checkpoints, then the end."""
        self._draining = True
        self._undrained = set(self._subscriptions)
        for subscription in list(self._subscriptions.values()):
            subscription.happened(inputs.Drain())

    # What the subscriptions need

    def read(self, stream: str, after: int, limit: int, *options: Any) -> Page:
        """Reads a page; the arguments are those of `PageReader.read`."""
        return self._reading.pages.read(stream, after, limit, *options)

    def read_soon(self, request: Request) -> None:
        """Reads a page without waiting for it; the answer may come before this returns."""
        self._reading.read_soon(request)

    def forget_pages(self) -> None:
        """Reads nothing from memory that was read before now."""
        self._reading.pages.forget()

    def head_of(self, stream: str) -> int | None:
        """The newest event number of a stream, as the database has it now."""
        return self._reading.run(stream_heads(self._statements, [stream])).get(stream)

    def read_parked(self, subscription_id: int, limit: int) -> list[DueParked]:
        """Parked events of a subscription that are due."""
        return self._reading.run(due_parked_events(self._statements, subscription_id, limit))

    def call_later(self, seconds: float, callback: Any) -> object:
        """Runs a callback once after so many seconds."""
        return self.loop.call_later(seconds, callback)

    def to_worker(self, subscriber: SubscriberId, message: Message) -> None:
        """Sends a message to a worker; one that is gone is no error, its exit will be told."""
        channel = self._channels.get(subscriber)
        if channel is not None:
            channel.send(message)

    def to_lock_holder(self, message: Message) -> None:
        """Sends a message to the lock-holder, if there is one."""
        if self._lock_holder is not None:
            self._lock_holder.send(message)

    def changed(self) -> None:
        """Reports soon rather than with the next heartbeat; once for all that changes together."""
        if not self._report_due:
            self._report_due = True
            self.loop.call_later(_REPORT_AFTER, self._report_change)

    def _report_change(self) -> None:
        self._report_due = False
        self.beat()

    def drained(self, name: str) -> None:
        """A subscription has stopped for good: its lock goes back at once; after the last one, so does the process."""
        self.to_lock_holder(Release(name))
        if name in self._ending and not self._draining:
            self._ended(name)
            return
        self._undrained.discard(name)
        if not self._undrained:
            self.beat()
            self.control.send(Drained())
            self.loop.stop()


def _shared(plan: NodePlan) -> set[Selection]:
    """What several subscriptions follow, so that it is worth keeping pages of it."""
    selections = Counter((subscription.stream, event_filter(subscription)) for subscription in plan.subscriptions)
    return {selection for selection, number in selections.items() if number > 1}
