"""A worker process: one subscriber of one subscription. Runs the handler, acks, drops what is recalled.

Talks to the listener alone. Opens a database connection of its own only for a transactional handler. Its
loop looks for messages between events, at the latest every few milliseconds of handling.
"""

from __future__ import annotations

import socket
from collections import deque
from itertools import islice
from typing import Any

import psycopg

from ..handlers.resolve import extend_path, load_function
from ..store.errors import OwnershipLost
from ..store.sql import Statements
from .actor import Actor
from .channel import Channel
from .database import connect_to
from .execution import Delivery, Execution, Ownership, PlainExecution, TransactionalExecution
from .messages import Acked, Deliver, Failed, Recall, Recalled, ToWorker, WorkerReady
from .plan import NodePlan
from .prefetch import Prefetch
from .serializers import load_serializer

_SLICE = 0.005


class Worker(Actor):
    """The actor of a worker process; `name` is "worker:SUBSCRIPTION:SLOT"."""

    def __init__(self, name: str, plan: NodePlan, control: socket.socket) -> None:
        super().__init__(name, plan, control)
        self._subscription = plan.subscription(name.removeprefix("worker:").rpartition(":")[0])
        self._buffer: deque[Delivery] = deque()
        self._listener: Channel[ToWorker] | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._execution: Execution
        self._ownership = Ownership(0, 0)
        self._generation = 0
        self._working = False
        self._prefetch = Prefetch(self._subscription.buffer_size)

    def start(self) -> str:
        """Imports the handler and opens the connection, if it needs one."""
        extend_path(self.plan.python_path)
        subscription = self._subscription
        function = load_function(subscription.handler, where=f"subscription {subscription.name!r}")
        serializer, schema = load_serializer(self.plan.store.serializer), self.plan.store.schema
        if subscription.transactional:
            self._connection = connect_to(self.plan, self.name, for_handlers=True)
            statements = Statements(schema)
            self._execution = TransactionalExecution(
                subscription, function, serializer, schema, self._connection, statements
            )
        else:
            self._execution = PlainExecution(subscription, function, serializer, schema)
        return ""

    def close(self) -> None:
        """Closes the connection; an open transaction is rolled back by the server."""
        if self._connection is not None:
            self._connection.close()

    # The listener

    def on_attach(self, peer: str, channel_socket: socket.socket, busy: bool) -> None:
        """Takes the channel to a (new) listener; nothing delivered by an older one counts any more."""
        self._leave_listener()
        self._generation = 0
        self._listener = Channel(channel_socket, ToWorker)
        self.loop.add_channel(self._listener, self._read_listener)
        self._listener.send(WorkerReady(self._prefetch.wanted))

    def on_peer_exited(self, peer: str, died: str) -> None:
        """The listener is gone: what it delivered will be delivered again by the next one."""
        self._leave_listener()

    def _leave_listener(self) -> None:
        self._buffer.clear()
        if self._listener is not None:
            self.loop.remove_channel(self._listener)
            self._listener = None

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
        if channel.closed:
            self._leave_listener()

    def _take(self, message: Deliver) -> None:
        if message.generation != self._generation:
            # Sent before the listener knew of the last failure here: it has taken these events back.
            return
        self._ownership = Ownership(message.subscription_id, message.epoch)
        attempts = message.attempts
        self._buffer.extend(Delivery(row, attempts.get(row[0], 1)) for row in message.rows)
        self._work_soon()

    # The work

    def _work_soon(self) -> None:
        if not self._working and self._buffer:
            self._working = True
            self.loop.call_later(0, self._work)

    def _work(self) -> None:
        """Handles events for a few milliseconds, sends the results, and lets the loop turn."""
        self._working = False
        finished: list[int] = []
        failed: Failed | None = None
        begun = self.loop.now()
        while self._buffer and failed is None:
            batch = list(islice(self._buffer, self._execution.batch_size))
            try:
                results = self._execution.execute(batch, self._ownership)
            except OwnershipLost as lost:
                self.log.warning("ownership_lost", reason=str(lost))
                self._buffer.clear()
                break
            for _ in range(len(results.finished)):
                self._buffer.popleft()
            finished += results.finished
            failed = results.failed
            if self.loop.now() - begun >= _SLICE:
                break
        self._prefetch.handled(len(finished), self.loop.now() - begun)
        self._answer(finished, failed)
        self._work_soon()

    def _answer(self, finished: list[int], failed: Failed | None) -> None:
        if finished and self._listener is not None:
            self._listener.send(Acked(finished, self._prefetch.wanted))
        if failed is not None:
            self._buffer.clear()
            self._generation += 1
            if self._listener is not None:
                self._listener.send(failed)
