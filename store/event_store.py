"""The store as applications use it: `EventStore`, a synchronous façade over the operations.

Decides nothing: `append.py`, `read.py`, `streams.py` and `subscriptions.py` do, `pool.py` lends the connections. Safe
to share between threads, not between processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

from . import append, read, streams, subscriptions
from .connection import Connection, run, translated
from .errors import Conflict, StreamNotFound, SubscriptionNotFound
from .operation import Operation, Result
from .pool import StorePool
from .schema import Initialised, initialise
from .serializer import JsonSerializer, Serializer
from .settings import StoreSettings
from .sql import DataType, Statements
from .types import (
    ALL_STREAM,
    AppendResult,
    EventData,
    Expected,
    RecordedEvent,
    StreamInfo,
    SubscriptionLag,
    SubscriptionRecord,
)


class EventStore:
    """An event store in a PostgreSQL schema. Mirrors the `EventStore` module of commanded/eventstore.

    Connects when first used, checks the schema then, and closes with `close()` or at the end of a `with` block:

        with EventStore("postgresql://localhost/shop") as store:
            store.append_to_stream("order-1", "no_stream", [EventData("OrderPlaced", {"total": 12})])

    The schema must exist: create it once with `eventstore-runtime init` or `init()`. Methods that take `conn` run on
    that psycopg connection, in its transaction, instead of on one of the store's own.

    Args:
        url: A PostgreSQL URL or conninfo string, or "embedded:PATH" for a PostgreSQL of its own in that directory.
        schema: The schema that holds the tables.
        pool_size: The most connections at a time.
        timeout: How long to wait for a free connection, and for each statement, in seconds.
        connect_timeout: How long to wait for a connection to open, in seconds.
        column_data_type: "bytea" or "jsonb", used by `init()` only; detected from the database otherwise.
        prepare_threshold: Runs of a statement before it is prepared on the server, None for never.
        serializer: Turns data and metadata into bytes and back; JSON by default.

    Raises:
        ConfigurationError: An argument is out of range. Methods raise it for their own arguments, and for use in
            another process than the one that created the store.
        StoreUnavailable: From any method: the database cannot be reached; retryable.
        SchemaMissing, SchemaMismatch: From any method: the schema holds no event store of this version.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "public",
        pool_size: int = 10,
        timeout: float = 15.0,
        connect_timeout: float = 10.0,
        column_data_type: DataType = "bytea",
        prepare_threshold: int | None = 5,
        serializer: Serializer | None = None,
    ) -> None:
        settings = StoreSettings(
            url=url,
            schema=schema,
            pool_size=pool_size,
            timeout=timeout,
            connect_timeout=connect_timeout,
            column_data_type=column_data_type,
            prepare_threshold=prepare_threshold,
        )
        self._pool = StorePool(settings)
        self._serializer: Serializer = serializer or JsonSerializer()

    @classmethod
    def from_settings(cls, settings: StoreSettings, serializer: Serializer | None = None) -> Self:
        """Return a store for settings that were made elsewhere, with JSON unless a serializer is given."""
        return cls(
            settings.url,
            schema=settings.schema,
            pool_size=settings.pool_size,
            timeout=settings.timeout,
            connect_timeout=settings.connect_timeout,
            column_data_type=settings.column_data_type,
            prepare_threshold=settings.prepare_threshold,
            serializer=serializer,
        )

    @property
    def schema(self) -> str:
        """The schema that holds the tables."""
        return self._pool.settings.schema

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and release an embedded server; the store cannot be used afterwards."""
        self._pool.close()

    def init(self) -> Initialised:
        """Create the schema and its tables where they are missing. Mirrors `mix event_store.init`.

        Raises:
            SchemaMismatch: The schema holds something else.
            ConfigurationError: The database role may not create.
        """
        with self._pool.direct_connection() as conn:
            return initialise(conn, self.schema, self._pool.settings.column_data_type)

    def append_to_stream(
        self,
        stream_uuid: str,
        expected_version: Expected,
        events: Iterable[EventData],
        *,
        created_at_override: datetime | None = None,
        conn: Connection | None = None,
    ) -> AppendResult:
        """Append events to a stream, all or none, in one round trip. Mirrors `append_to_stream/4`.

        Args:
            stream_uuid: The stream.
            expected_version: "any_version", "no_stream", "stream_exists", or the exact version the stream is at.
            events: The events, in order; none at all only checks the expected version.
            created_at_override: The time to store, timezone-aware; None for the database's clock.
            conn: A connection to append on, in its transaction; None for one of the store's own.

        Returns:
            Where the events landed.

        Raises:
            WrongExpectedVersion: The stream is at another version; `StreamExists` and `ExpectedStreamMissing` say more.
            DuplicateEvent: One of the event ids is stored already.
            StreamDeleted, CannotAppendToAllStream, StreamNameTooLong: The stream cannot be appended to.
            SerializationFailed: The data or metadata of an event cannot be written.
            Conflict: Other writers were in the way; retryable.
        """
        encoded = list(events)
        return self._run(
            lambda statements: append.append_events(
                statements, self._serializer, stream_uuid, expected_version, encoded, created_at=created_at_override
            ),
            conn,
        )

    def append_many(
        self,
        appends: Sequence[append.Append],
        *,
        created_at_override: datetime | None = None,
        conn: Connection | None = None,
    ) -> list[AppendResult]:
        """Append to several streams in one transaction, all or none; `$all` gets the events in the order given.

        Writers that append to the same streams never deadlock, whatever order they name them in.

        Args:
            appends: Stream, expected version and events of each append. Where a stream is named again, expect
                any_version.
            created_at_override: The time to store, timezone-aware; None for the database's clock.
            conn: A connection to append on, in a savepoint of its transaction.

        Returns:
            Where each append landed, in the order given.

        Raises:
            EventStoreError: As `append_to_stream`, for the first stream that does not match.
        """

        def operation(statements: Statements) -> Operation[list[AppendResult]]:
            return append.append_many(statements, self._serializer, appends, created_at=created_at_override)

        for _ in range(append.RACE_RETRIES):
            try:
                return self._run(operation, conn, transaction=True)
            except Conflict:
                if conn is not None:
                    raise
        return self._run(operation, conn, transaction=True)

    def read_stream_forward(
        self, stream_uuid: str, start_version: int = 0, count: int = 1_000, *, conn: Connection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events, oldest first, from `start_version` on. Mirrors `read_stream_forward/4`.

        Raises:
            StreamNotFound, StreamDeleted: There is nothing to read.
            DeserializationFailed: An event cannot be decoded.
        """
        return self._run(
            lambda statements: read.read_forward(statements, self._serializer, stream_uuid, start_version, count), conn
        )

    def read_stream_backward(
        self, stream_uuid: str, start_version: int = -1, count: int = 1_000, *, conn: Connection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events, newest first, from `start_version` down; -1 means the end.

        Mirrors `read_stream_backward/4` and raises like `read_stream_forward`.
        """
        return self._run(
            lambda statements: read.read_backward(statements, self._serializer, stream_uuid, start_version, count), conn
        )

    def read_all_streams_forward(
        self, start_version: int = 0, count: int = 1_000, *, conn: Connection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events of `$all`, oldest first. Mirrors `read_all_streams_forward/3`."""
        return self.read_stream_forward(ALL_STREAM, start_version, count, conn=conn)

    def read_all_streams_backward(
        self, start_version: int = -1, count: int = 1_000, *, conn: Connection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events of `$all`, newest first. Mirrors `read_all_streams_backward/3`."""
        return self.read_stream_backward(ALL_STREAM, start_version, count, conn=conn)

    def stream_forward(
        self, stream_uuid: str, start_version: int = 0, read_batch_size: int = 1_000
    ) -> Iterator[RecordedEvent]:
        """Yield the events of a stream up to its end, read in batches while iterating. Mirrors `stream_forward/3`.

        Raises:
            StreamNotFound, StreamDeleted: There is nothing to read; raised by the first step of the iteration.
        """
        start = start_version
        while True:
            batch = self.read_stream_forward(stream_uuid, start, read_batch_size)
            yield from batch
            if len(batch) < read_batch_size:
                return
            start = batch[-1].event_number + 1

    def stream_info(self, stream_uuid: str, *, conn: Connection | None = None) -> StreamInfo:
        """Return what is known about a stream, also a soft-deleted one. Mirrors `stream_info/2`.

        Raises:
            StreamNotFound: It does not exist.
        """
        info = self._run(lambda statements: streams.stream_info(statements, stream_uuid), conn)
        if info is None:
            raise StreamNotFound(stream_uuid)
        return info

    def stream_heads(self, names: Iterable[str], *, conn: Connection | None = None) -> dict[str, int]:
        """Return the versions of those of the given streams that exist; `$all` gives the newest position."""
        return self._run(lambda statements: streams.stream_heads(statements, names), conn)

    def known_event_ids(self, ids: Iterable[UUID], *, conn: Connection | None = None) -> set[UUID]:
        """Return those of the given event ids that are stored already."""
        return self._run(lambda statements: read.known_event_ids(statements, ids), conn)

    def subscriptions(self, *, conn: Connection | None = None) -> list[SubscriptionRecord]:
        """Return all subscriptions, in order of creation."""
        return self._run(subscriptions.list_subscriptions, conn)

    def subscription(self, stream_uuid: str, name: str, *, conn: Connection | None = None) -> SubscriptionRecord:
        """Return a subscription.

        Raises:
            SubscriptionNotFound: It does not exist.
        """
        record = self._run(lambda statements: subscriptions.get_subscription(statements, stream_uuid, name), conn)
        if record is None:
            raise SubscriptionNotFound(stream_uuid, name)
        return record

    def subscription_lags(self, *, conn: Connection | None = None) -> list[SubscriptionLag]:
        """Return how far every subscription is behind, and who owns it; one element for each unit."""
        return self._run(subscriptions.subscription_lags, conn)

    def delete_subscription(self, stream_uuid: str, name: str, *, conn: Connection | None = None) -> None:
        """Delete a subscription and its checkpoint. Mirrors `delete_subscription/3`.

        Raises:
            SubscriptionNotFound: It does not exist.
        """
        self._run(lambda statements: subscriptions.delete_subscription(statements, stream_uuid, name), conn)

    def _run(
        self,
        operation: Callable[[Statements], Operation[Result]],
        conn: Connection | None,
        *,
        transaction: bool = False,
    ) -> Result:
        if conn is None:
            with self._pool.connection() as own:
                return self._run(operation, own, transaction=transaction)
        statements = self._pool.statements(conn)
        if not transaction:
            return run(conn, operation(statements))
        with translated(), conn.transaction():
            return run(conn, operation(statements))
