"""The one database session of a subscription: LISTEN, the advisory lock, reads and checkpoints.

All of them share it, so that they are lost together; a broken session is never repaired, its owner opens another one.
Nothing waits here but for the answer to a statement. The driver's thread owns it; mirrors what
`EventStore.Notifications.Listener` and `EventStore.AdvisoryLocks` do for a node of commanded/eventstore.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import psycopg

from ...store.connection import Connection, run
from ...store.delivery import release_owners
from ...store.errors import StoreError, SubscriptionNotFound
from ...store.event_store import EventStore
from ...store.listening import listen, take_notifications
from ...store.notifications import channel, runtime_channel
from ...store.read import Page, read_page
from ...store.schema import check
from ...store.sql import Statements
from ...store.streams import stream_heads
from ...store.subscriptions import (
    begin_epoch,
    create_subscription,
    get_subscription,
    notify,
    save_checkpoint,
    try_locks,
    unlock,
)
from ...store.types import Ownership, StartFrom, SubscriptionRecord
from .hearing import Heard, understood


class Session:
    """An open session for one stream, LISTENing already.

    Args:
        store: The store to connect to.
        stream_uuid: The stream.
        name: The subscription's name, shown in `pg_stat_activity`; None for a transient one.

    Raises:
        EventStoreError: The database cannot be reached, or holds no store.
    """

    def __init__(self, store: EventStore, stream_uuid: str, name: str | None = None) -> None:
        self.stream_uuid = stream_uuid
        self.name = name or ""
        self._schema = store.schema
        self._heard: list[tuple[str, str]] = []
        self._epoch = 0
        role = f"subscribe {stream_uuid}" if name is None else f"subscription {name}"
        self._connection: Connection = store.open_session(role)
        try:
            # Those that come with the answer to a statement; psycopg would keep or drop them elsewhere.
            self._connection.add_notify_handler(self._keep)
            listen(self._connection, [channel(self._schema), runtime_channel(self._schema)])
            # Only who owns a subscription needs the tables of the runtime.
            data_type = check(self._connection, self._schema, runtime=name is not None)
            self._statements = Statements(self._schema, data_type)
        except BaseException:
            self._connection.close()
            raise

    def fileno(self) -> int:
        """The descriptor that is readable when something may have been heard."""
        return self._connection.fileno()

    def close(self) -> None:
        """End the session, and with it the lock."""
        self._connection.close()

    # What was appended

    def heard(self) -> Heard:
        """Return what was heard since the last call, without waiting.

        Raises:
            StoreUnavailable: The session is lost.
        """
        self._heard += take_notifications(self._connection)
        heard = understood(self._heard, self._schema, self.stream_uuid)
        self._heard.clear()
        return heard

    def _keep(self, notification: psycopg.Notify) -> None:
        self._heard.append((notification.channel, notification.payload))

    def head(self) -> int:
        """Return the newest event number of the stream, 0 when there is none."""
        return run(self._connection, stream_heads(self._statements, [self.stream_uuid])).get(self.stream_uuid, 0)

    def read(self, after: int, limit: int) -> Page:
        """Read up to `limit` events of the stream after an event number."""
        return run(self._connection, read_page(self._statements, self.stream_uuid, after, limit))

    # The subscription's row and lock

    def create(self, start_from: StartFrom) -> SubscriptionRecord:
        """Return the subscription, created where it does not exist."""
        return run(self._connection, create_subscription(self._statements, self.stream_uuid, self.name, start_from))

    def check_exists(self, subscription_id: int) -> None:
        """Raise `SubscriptionNotFound` when that subscription was deleted, even if there is a new one of its name."""
        record = run(self._connection, get_subscription(self._statements, self.stream_uuid, self.name))
        if record is None or record.subscription_id != subscription_id:
            raise SubscriptionNotFound(self.stream_uuid, self.name)

    def try_own(self, subscription_id: int) -> Ownership | None:
        """Take the lock and begin an epoch; None when another session has the lock.

        Raises:
            SubscriptionNotFound: The subscription was deleted.
        """
        if not run(self._connection, try_locks(self._statements, [subscription_id]))[subscription_id]:
            return None
        node = f"{socket.gethostname()}:{os.getpid()}"
        try:
            owned = run(self._connection, begin_epoch(self._statements, subscription_id, node))
        except SubscriptionNotFound:
            raise SubscriptionNotFound(self.stream_uuid, self.name) from None
        self._epoch = owned.epoch
        return owned

    def save(self, subscription_id: int, epoch: int, position: int) -> bool:
        """Write the checkpoint; False when the epoch is not the newest one any more."""
        return run(self._connection, save_checkpoint(self._statements, subscription_id, epoch, position)).fence_held

    def release(self, subscription_id: int) -> None:
        """Give the lock back and tell who waits for it; the end of a lost session does the same."""
        with suppress(StoreError):
            run(self._connection, release_owners(self._statements, {subscription_id: self._epoch}))
            if run(self._connection, unlock(self._statements, [subscription_id]))[subscription_id]:
                run(self._connection, notify(self._statements, runtime_channel(self._schema), "released"))
