"""A worker process: one subscriber of one subscription. Runs the handler, acks, drops what is recalled.

Talks to the listener alone. Opens a database connection of its own only for a transactional handler. Its loop looks
for messages between events, at the latest every few milliseconds of handling. Retires between two events when it is
due: drops its buffer, asks the listener's leave, and ends once nothing is in flight here.
"""

from __future__ import annotations

import socket
from typing import Any

import psycopg

from ..handlers.resolve import extend_path, load_handler
from ..store.errors import OwnershipLost
from ..store.listening import check_alive
from ..store.rows import Row
from ..store.sql import Statements
from .actor import Actor
from .at_hand import AtHand
from .buffer import Buffer
from .calls import BatchCalls, Calls, SingleCalls
from .channel import Channel
from .database import aconnect_to, connect_to
from .execution import Execution, PlainExecution, TransactionalExecution
from .handler_session import AsyncSession, BlockingSession, HandlerSession
from .loop import Timer
from .messages import Acked, Deliver, Failed, Recall, Recalled, Renew, Retiring, ToWorker, WorkerReady
from .plan import NodePlan
from .prefetch import Prefetch
from .restart import ExitCode
from .results import Delivered
from .retirement import Retirement
from .serializers import load_serializer
from .user_handler import UserHandler
from .watch import Watch, end_process_after

_SLICE = 0.005
_FLUSH_AGAIN = 0.01


class Worker(Actor):
    """The actor of a worker process; `name` is "worker:SUBSCRIPTION:SLOT"."""

    def __init__(self, name: str, plan: NodePlan, control: socket.socket) -> None:
        super().__init__(name, plan, control)
        self._subscription = subscription = plan.subscription(name.removeprefix("worker:").rpartition(":")[0])
        self._buffer = Buffer(0.0 if subscription.batch_size is None else subscription.batch_timeout)
        self._listener: Channel[ToWorker] | None = None
        self._generation = 0
        self._working = False
        self._flush: Timer | None = None
        self._prefetch = Prefetch(subscription.buffer_size, subscription.batch_size or 1)
        self._retirement = Retirement(subscription.max_events_per_worker, subscription.max_rss)
        self._retiring = False
        self._page = AtHand.create()
        self._handler: UserHandler | None = None
        self._session: HandlerSession | None = None
        self._execution: Execution

    def start(self) -> str:
        """Imports and makes the handler, opens its connection if it needs one, and starts it.

        Raises:
            ConfigurationError: It can never work; also where the handler's own `start` raises this.
            Exception: What the handler's constructor or `start` raises; the process ends and comes back later.
        """
        extend_path(self.plan.python_path)
        subscription = self._subscription
        loaded = load_handler(subscription.handler, where=f"subscription {subscription.name!r}")
        self._handler = UserHandler(subscription, loaded)
        self._execution = self._executed(self._handler)
        self._handler.start()
        return ""

    def _executed(self, handler: UserHandler) -> Execution:
        """How the handler is called, by its options."""
        subscription, schema = self._subscription, self.plan.store.schema
        watch = Watch(
            self._page, subscription.timeout, subscription.slow_after, self.log.bind(subscription=subscription.name)
        )
        kind: type[Calls] = SingleCalls if subscription.batch_size is None else BatchCalls
        calls = kind(subscription, handler, load_serializer(self.plan.store.serializer), schema, watch)
        if not subscription.transactional:
            return PlainExecution(calls)
        if handler.is_async:
            connection = handler.loop.run(aconnect_to(self.plan, self.name))
            self._notice_end_of(connection)
            self._session = AsyncSession(connection, handler.loop)
        else:
            blocking = connect_to(self.plan, self.name, for_handlers=True)
            self._notice_end_of(blocking)
            self._session = BlockingSession(blocking)
        return TransactionalExecution(calls, self._session, Statements(schema), subscription.transaction_size)

    def _notice_end_of(self, connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
        """An idle worker would otherwise notice only with the next event that its session has ended."""
        self.loop.watch(connection.fileno(), lambda: check_alive(connection))

    def run(self) -> None:
        """Works until told to stop or due to retire, and stops the handler in order."""
        super().run()
        self._stop_handler()

    def _stop_handler(self) -> None:
        if self._retiring:
            # Nobody else waits for this end: a `stop` that hangs would keep the successor from starting.
            end_process_after(self.plan.grace)
        if self._handler is not None:
            try:
                self._handler.stop()
            except BaseException:
                self.log.exception("handler_stop_failed")

    def close(self) -> None:
        """Closes connection, event loop and page; an open transaction is rolled back by the server."""
        if self._session is not None:
            self._session.close()
        if self._handler is not None:
            self._handler.close()
        self._page.close()

    # The listener

    def on_attach(self, peer: str, channel_socket: socket.socket, busy: bool) -> None:
        """Takes the channel to a (new) listener; nothing delivered by an older one counts any more."""
        self._leave_listener()
        self._generation = 0
        self._listener = Channel(channel_socket, ToWorker, takes_descriptors=False)
        self.loop.add_channel(self._listener, self._read_listener)
        self._listener.send(WorkerReady(self._prefetch.wanted), self._page.fileno())
        # The supervisor gives no further channel before it knows that this one has been read of.
        self.beat()

    def on_peer_exited(self, peer: str, died: str) -> None:
        """The listener is gone: what it delivered will be delivered again by the next one."""
        self._leave_listener()

    def _leave_listener(self) -> None:
        self._buffer.clear()
        if self._listener is not None:
            self.loop.remove_channel(self._listener)
            self._listener = None
        if self._retiring:
            # Nothing is in flight here, and nobody is left to be asked.
            self.loop.stop()

    def _read_listener(self) -> None:
        channel = self._listener
        if channel is None:
            return
        for message in channel.receive():
            match message:
                case Deliver():
                    self._take(message)
                case Recall():
                    self._buffer.clear()
                    channel.send(Recalled())
                    if self._retiring:
                        self._end_when_sent(channel)
                case Renew():
                    self._retire("it was asked to make way for a fresh process")
        if channel.closed:
            self._leave_listener()
        elif self._buffer and not self._working:
            # At once: what has come has been read, so that there is nothing to let the loop turn for.
            self._work()

    def _take(self, message: Deliver) -> None:
        if self._retiring or message.generation != self._generation:
            # On its way while the buffer was dropped here: the listener takes, or has taken, these events back.
            return
        delivered = Delivered(
            message.subscription_id, message.epoch, message.attempts, message.replay_until, message.live_after
        )
        self._buffer.extend(message.rows, delivered, self.loop.now())

    # The work

    def _work_soon(self) -> None:
        if not self._working and self._buffer:
            self._working = True
            self.loop.call_later(0, self._work)

    def _work(self) -> None:
        """Handles events for a few milliseconds, sends the results, and lets the loop turn."""
        self._working = False
        begun = now = self.loop.now()
        until, enough = begun + _SLICE, self._prefetch.enough
        finished: list[int] = []
        failed: Failed | None = None
        retire = ""
        while rows := self._next_rows(now):
            try:
                results = self._execution.execute(rows, self._buffer.delivered, until)
            except OwnershipLost as lost:
                self.log.warning("ownership_lost", reason=str(lost))
                self._buffer.clear()
                break
            now = self.loop.now()
            self._buffer.note(rows, results, now)
            finished += results.finished
            failed = results.failed
            retire = self._retirement.handled(len(results.finished) + (failed is not None), now)
            if failed is not None or retire or now >= until or len(finished) >= enough:
                break
        # Before all else, so that the listener can go on meanwhile.
        self._answer(finished, failed)
        self._prefetch.handled(len(finished), now - begun)
        if retire:
            self._retire(retire)
        if self._buffer and self._flush is None:
            self._work_soon()

    def _next_rows(self, now: float) -> list[Row]:
        """The events to handle next; none while a batch may still fill up."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        rows, wait = self._buffer.next(min(self._execution.most, self._retirement.left), now)
        if wait:
            self._flush = self.loop.call_later(wait, self._work_soon)
        return rows

    def _answer(self, finished: list[int], failed: Failed | None) -> None:
        if finished and self._listener is not None:
            self._listener.send(Acked(finished, self._prefetch.wanted))
        if failed is not None:
            self._buffer.clear()
            self._generation += 1
            if self._listener is not None:
                self._listener.send(failed)

    # The end

    def _retire(self, reason: str) -> None:
        """Takes nothing more, and ends as soon as the listener has recalled what it believes to be here."""
        if self._retiring:
            return
        self.log.info("worker_retiring", reason=reason)
        self._retiring = True
        self.exit_code = ExitCode.RETIRED
        self._buffer.clear()
        if self._listener is None:
            self.loop.stop()
        else:
            self._listener.send(Retiring())

    def _end_when_sent(self, channel: Channel[Any]) -> None:
        """Ends when the listener has read every ack: one that is lost would let its event be handled again."""
        if channel.has_unsent and not channel.closed:
            self.loop.call_later(_FLUSH_AGAIN, lambda: self._end_when_sent(channel))
        else:
            self.loop.stop()
