"""An event store in memory, for the unit tests of applications: `InMemoryEventStore`.

It is `EventStore` with another driver: the same façade and the same operations, whose statements are answered by
`memory_events.py` and `memory_records.py` instead of by PostgreSQL. So checks, errors and serialization are not like
those of the real store, they are those.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from . import subscriptions
from .connection import Connection
from .errors import ConfigurationError, DuplicateEvent
from .event_store import EventStore
from .memory_events import EventTables
from .memory_records import SnapshotTable, SubscriptionTable
from .notifications import check_text
from .operation import Operation, Query, Result
from .rows import Row
from .schema import Initialised
from .serializer import Serializer
from .settings import StoreSettings
from .sql import Statements
from .types import StartFrom, SubscriptionRecord

_URL = "memory:"
_STATEMENTS = Statements("memory")
_NAMES = {text: name for name, text in _STATEMENTS.items()}


class InMemoryEventStore(EventStore):
    """An event store that keeps everything in memory and forgets it with the process; for tests.

    Use it wherever an `EventStore` is expected:

        with InMemoryEventStore() as store:
            place_order(store, "order-1")
            assert [event.event_type for event in store.read_stream_forward("order-1")] == ["OrderPlaced"]

    Data passes through the serializer, so a test reads what it would read from a `bytea` column of PostgreSQL. There
    are no connections: `conn` is refused, and nothing runs subscriptions. Their rows can be created, listed and
    deleted; what steers running ones, from `pause_subscription` to `discard_parked`, is refused. Safe to share between
    threads. Mirrors what the in-memory adapter is to Commanded.

    Args:
        serializer: Turns data and metadata into bytes and back; JSON by default.
        enable_hard_deletes: Whether `delete_stream` may remove events for good.
        clock: Gives the time in UTC; by default the computer's, made to move on with each use.
    """

    def __init__(
        self,
        *,
        serializer: Serializer | None = None,
        enable_hard_deletes: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        # The pool connects when it is first asked, which never happens; it says when the store is closed or forked.
        super().__init__(
            _URL,
            schema=_STATEMENTS.schema,
            enable_hard_deletes=enable_hard_deletes,
            coalesce_appends=False,
            serializer=serializer,
        )
        self._clock = _MovingClock() if clock is None else clock
        self._lock = threading.RLock()
        self.clear()

    @classmethod
    def from_settings(cls, settings: StoreSettings, serializer: Serializer | None = None) -> Self:
        """Return an empty store; of the settings only `enable_hard_deletes` means anything in memory."""
        return cls(serializer=serializer, enable_hard_deletes=settings.enable_hard_deletes)

    def clear(self) -> None:
        """Forget everything, for the next test."""
        with self._lock:
            events = EventTables(self._clock)
            self._tables = (events, SnapshotTable(self._clock), SubscriptionTable(self._clock, events))

    def init(self) -> Initialised:
        """Do nothing: there is no schema to create."""
        return Initialised(False, False, False, "bytea")

    def create_subscription(self, stream_uuid: str, name: str, start_from: StartFrom = "origin") -> SubscriptionRecord:
        """Return the row of a subscription, created if it does not exist, as a runtime would have.

        Args:
            stream_uuid: The stream it would read, `$all` for all.
            name: Its name.
            start_from: "origin", "current", or the last event number that counts as seen, 0 or more.

        Raises:
            ConfigurationError: The start or a name is of no use.
        """
        return self._run(
            lambda statements: subscriptions.create_subscription(statements, stream_uuid, name, start_from), None
        )

    def open_session(self, role: str) -> Connection:
        """Refuse: nothing can LISTEN here.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            "an InMemoryEventStore has no connections, so nothing subscribes to it: test subscriptions on PostgreSQL"
        )

    def _steer(
        self,
        stream_uuid: str,
        name: str,
        operation: Callable[[Statements, SubscriptionRecord], Operation[Result]],
        conn: Connection | None,
    ) -> Result:
        raise ConfigurationError(
            f"nothing runs subscription {name!r} of an InMemoryEventStore, so nothing can be steered: use PostgreSQL"
        )

    def _run(self, operation: Callable[[Statements], Operation[Result]], conn: Connection | None) -> Result:
        if conn is not None:
            raise ConfigurationError("an InMemoryEventStore has no connections: leave out conn")
        # Before the lock, which nobody may be left to free in a forked child.
        self._pool.lender.check_usable()
        with self._lock:
            return self._drive(operation(_STATEMENTS))

    def _run_atomically(self, operation: Callable[[Statements], Operation[Result]], conn: Connection | None) -> Result:
        # Nothing to undo: each statement changes all or nothing, and an operation that fails has not changed anything.
        return self._run(operation, conn)

    def _drive(self, operation: Operation[Result]) -> Result:
        step = partial(next, operation)
        while True:
            try:
                query = step()
            except StopIteration as done:
                result: Result = done.value
                return result
            try:
                rows = self._answer(query)
            except DuplicateEvent as error:
                step = partial(operation.throw, error)
            else:
                step = partial(operation.send, rows)

    def _answer(self, query: Query) -> list[Row]:
        _check_texts(query.params)
        name = _NAMES[query.sql]
        if name == "allow_hard_deletes":
            return []
        if name == "lock_stream":
            name = "stream_info"
        table: Any = next(table for table in self._tables if hasattr(table, name))
        rows: list[Row] = getattr(table, name)(*query.params)
        return rows


def _check_texts(binds: Iterable[object]) -> None:
    """Refuse the texts that PostgreSQL would not take."""
    for bind in binds:
        if isinstance(bind, list):
            _check_texts(bind)
        elif isinstance(bind, str) and bind:
            check_text(bind, "text")


class _MovingClock:
    """The computer's clock, at least a microsecond later each time, so that nothing happens at the same moment."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last
