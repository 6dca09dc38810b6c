"""The store for asyncio: `AsyncEventStore`, the twin of `EventStore` with the same methods to await.

Generated from `event_store.py` by `tests/support/async_facade.py`: change that file and run the script. `async_pool.py`
lends the connections. Belongs to one process and one event loop; tasks in it may share it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Self
from uuid import UUID

import psycopg

from . import append, control, links, read, snapshots, streams, subscriptions
from .async_coalescing import AsyncCoalescer
from .async_connection import AsyncConnection, arun, arun_atomically
from .async_pool import AsyncStorePool
from .connection import check_connection
from .delivery_types import ParkedRecord
from .errors import Conflict, StreamNotFound, SubscriptionNotFound
from .operation import Operation, Result
from .rows import decode_event
from .schema import Initialised, initialise_schema
from .serializer import JsonSerializer, Serializer
from .settings import StoreSettings, configured
from .sql import DataType, Statements
from .types import (
    ALL_STREAM,
    AppendResult,
    DeleteType,
    EventData,
    Expected,
    Page,
    RecordedEvent,
    Snapshot,
    SortBy,
    SortDirection,
    StreamInfo,
    SubscriptionLag,
    SubscriptionRecord,
)


class AsyncEventStore:
    """An event store in a PostgreSQL schema. Mirrors the `EventStore` module of commanded/eventstore.

    Connects when first used, checks the schema then, and closes with `close()` or at the end of a `with` block:

        async with AsyncEventStore("postgresql://localhost/shop") as store:
            await store.append_to_stream("order-1", "no_stream", [EventData("OrderPlaced", {"total": 12})])

    The schema must exist: create it once with `eventstore-runtime init` or `init()`. Methods that take `conn` run on
    that psycopg connection, in its transaction, instead of on one of the store's own; of a SQLAlchemy connection, give
    its `driver_connection`. So an append and a write to a read model commit together:

        async with await psycopg.AsyncConnection.connect("postgresql://localhost/shop") as conn:
            await store.append_to_stream("order-1", 1, [EventData("OrderShipped", {})], conn=conn)
            await conn.execute("update orders set shipped = true where id = 1")

    Args:
        url: A PostgreSQL URL or conninfo string, or "embedded:PATH" for a PostgreSQL of its own in that directory.
        schema: The schema that holds the tables.
        pool_size: The most connections at a time.
        timeout: How long to wait for each statement, in seconds.
        connect_timeout: How long to wait for a connection to open, in seconds.
        column_data_type: "bytea" or "jsonb", used by `init()` only; detected from the database otherwise.
        prepare_threshold: Runs of a statement before it is prepared on the server, None for never.
        queue_timeout: How long to wait for a free connection, in seconds; None for as long as `timeout`.
        max_waiting: How many callers may wait for a free connection, one more is refused at once; 0 for no limit.
        enable_hard_deletes: Whether `delete_stream` may remove events for good.
        coalesce_appends: Whether calls of `append_to_stream` without `conn` that come at the same time share one
            statement and one commit. Each has its own outcome, as if it had come alone; one that comes alone is not
            delayed. Many writers in one process are several times as fast so. What shares a statement also waits
            together for the lock of any of its streams.
        session_mode_url: Where subscriptions in this process connect, when `url` leads through a pooler in transaction
            mode: past it, or to a pool in session mode. None for `url`.
        parameters: Further parameters of every connection, which win over those of the URLs: libpq's own, such as
            sslmode, sslrootcert or keepalives_idle, and settings of the server, such as work_mem.
        serializer: Turns data and metadata into bytes and back; JSON by default.
        configure: Called once with the settings made of the arguments above, returns those to use. Mirrors `init/1`.
        share_pool_with: An open store on the same URL whose connections this one uses, for example one for each
            tenant's schema; pool_size, the time limits and how to connect are then that store's, and closing it closes
            both. Mirrors `shared_connection_pool`.

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
        queue_timeout: float | None = None,
        max_waiting: int = 0,
        enable_hard_deletes: bool = False,
        coalesce_appends: bool = True,
        session_mode_url: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
        serializer: Serializer | None = None,
        configure: Callable[[StoreSettings], StoreSettings] | None = None,
        share_pool_with: AsyncEventStore | None = None,
    ) -> None:
        settings = StoreSettings(
            url=url,
            schema=schema,
            pool_size=pool_size,
            timeout=timeout,
            connect_timeout=connect_timeout,
            column_data_type=column_data_type,
            prepare_threshold=prepare_threshold,
            queue_timeout=queue_timeout,
            max_waiting=max_waiting,
            enable_hard_deletes=enable_hard_deletes,
            coalesce_appends=coalesce_appends,
            session_mode_url=session_mode_url,
            parameters=parameters,
        )
        shared = None if share_pool_with is None else share_pool_with._pool  # noqa: SLF001 - of this class
        self._pool: AsyncStorePool = AsyncStorePool(configured(settings, configure), shared)
        self._coalescer: AsyncCoalescer = AsyncCoalescer(self._pool)
        self._serializer: Serializer = serializer or JsonSerializer()

    @classmethod
    def from_settings(cls, settings: StoreSettings, serializer: Serializer | None = None) -> Self:
        """Return a store for settings that were made elsewhere, with JSON unless a serializer is given."""
        return cls(**asdict(settings), serializer=serializer)

    @property
    def schema(self) -> str:
        """The schema that holds the tables."""
        return self._pool.settings.schema

    @property
    def settings(self) -> StoreSettings:
        """The settings in use, those that `configure` returned."""
        return self._pool.settings

    @property
    def serializer(self) -> Serializer:
        """What turns data and metadata into bytes and back."""
        return self._serializer

    @property
    def closed(self) -> bool:
        """True after `close()`, also that of the store whose connections this one uses."""
        return self._pool.closed

    async def open_session(self, role: str) -> AsyncConnection:
        """Open a connection outside the pool, for LISTEN and advisory locks; the caller closes it.

        Args:
            role: What it is for; `pg_stat_activity` shows "eventstore-runtime ROLE".

        Raises:
            ConfigurationError: The connection leads through a pooler in transaction mode; set `session_mode_url`.
        """
        return await self._pool.open_session(role)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections and release an embedded server; the store cannot be used afterwards."""
        await self._pool.close()

    async def init(self) -> Initialised:
        """Create the schema and its tables where they are missing. Mirrors `mix event_store.init`.

        Raises:
            SchemaMismatch: The schema holds something else.
            ConfigurationError: The database role may not create.
        """
        async with self._pool.direct_connection() as conn:
            return await arun_atomically(conn, initialise_schema(self.schema, self._pool.settings.column_data_type))

    async def append_to_stream(
        self,
        stream_uuid: str,
        expected_version: Expected,
        events: Iterable[EventData],
        *,
        created_at_override: datetime | None = None,
        conn: AsyncConnection | None = None,
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
        append.check_list(events)
        given = list(events)
        if conn is None and self._pool.settings.coalesce_appends:
            encoded = append.encode_append(
                self._serializer, stream_uuid, expected_version, given, created_at=created_at_override
            )
            return await self._coalescer.append(encoded)
        return await self._run(
            lambda statements: append.append_events(
                statements, self._serializer, stream_uuid, expected_version, given, created_at=created_at_override
            ),
            conn,
        )

    async def append_many(
        self,
        appends: Sequence[append.Append],
        *,
        created_at_override: datetime | None = None,
        conn: AsyncConnection | None = None,
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

        return await self._run_atomically(operation, conn)

    async def link_to_stream(
        self,
        stream_uuid: str,
        expected_version: Expected,
        events_or_ids: Iterable[RecordedEvent | UUID],
        *,
        conn: AsyncConnection | None = None,
    ) -> AppendResult:
        """Link stored events into a further stream, all or none, in one round trip. Mirrors `link_to_stream/4`.

        Only references are stored: a linked event is read with its original stream_uuid and stream_version, and is not
        in `$all` again.

        Args:
            stream_uuid: The stream to link into.
            expected_version: What that stream is expected to be at, as for `append_to_stream`.
            events_or_ids: Recorded events or their ids, in order; none at all only checks the expected version.
            conn: A connection to link on, in its transaction; None for one of the store's own.

        Returns:
            Where the links landed; `position` is the newest of `$all`.

        Raises:
            EventNotFound: One of the events is not stored.
            DuplicateEvent: One of them is in the stream already, or is given twice.
            WrongExpectedVersion: The stream is at another version; `StreamExists` and `ExpectedStreamMissing` say more.
            StreamDeleted, CannotAppendToAllStream, StreamNameTooLong: Nothing can be linked into the stream.
            Conflict: Other writers were in the way; retryable.
        """
        given = list(events_or_ids)
        return await self._run(
            lambda statements: links.link_events(statements, stream_uuid, expected_version, given), conn
        )

    async def delete_stream(
        self,
        stream_uuid: str,
        expected_version: Expected,
        type: DeleteType = "soft",
        *,
        conn: AsyncConnection | None = None,
    ) -> None:
        """Delete a stream. Mirrors `delete_stream/4`.

        A soft-deleted stream can be neither read nor appended to any more, nor deleted again; its events stay in `$all`
        and in the streams they are linked into. A hard delete removes the stream and its events from everywhere, for
        good, and the name can be used anew; `$all` then has gaps. It searches all events once for references to the
        stream, which takes time in a large store.

        Args:
            stream_uuid: The stream.
            expected_version: "any_version", "stream_exists", or the exact version the stream is at.
            type: "soft" or "hard".
            conn: A connection to delete on, in its transaction; None for one of the store's own.

        Raises:
            HardDeleteNotEnabled: The store was opened without `enable_hard_deletes`.
            StreamNotFound: There is no such stream.
            StreamDeleted: It was soft-deleted already.
            WrongExpectedVersion: It is at another version.
            CannotDeleteAllStream: It is `$all`.
            Conflict: Other writers were in the way; retryable.
        """
        streams.check_delete_type(type)
        if type == "soft":
            await self._run(
                lambda statements: streams.soft_delete_stream(statements, stream_uuid, expected_version), conn
            )
            return
        enabled = self._pool.settings.enable_hard_deletes
        await self._run_atomically(
            lambda statements: streams.hard_delete_stream(statements, stream_uuid, expected_version, enabled=enabled),
            conn,
        )

    async def read_stream_forward(
        self, stream_uuid: str, start_version: int = 0, count: int = 1_000, *, conn: AsyncConnection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events, oldest first, from `start_version` on. Mirrors `read_stream_forward/4`.

        Raises:
            StreamNotFound, StreamDeleted: There is nothing to read.
            DeserializationFailed: An event cannot be decoded.
        """
        return await self._run(
            lambda statements: read.read_forward(statements, self._serializer, stream_uuid, start_version, count), conn
        )

    async def read_stream_backward(
        self, stream_uuid: str, start_version: int = -1, count: int = 1_000, *, conn: AsyncConnection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events, newest first, from `start_version` down; -1 means the end.

        Mirrors `read_stream_backward/4` and raises like `read_stream_forward`.
        """
        return await self._run(
            lambda statements: read.read_backward(statements, self._serializer, stream_uuid, start_version, count), conn
        )

    async def read_all_streams_forward(
        self, start_version: int = 0, count: int = 1_000, *, conn: AsyncConnection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events of `$all`, oldest first. Mirrors `read_all_streams_forward/3`."""
        return await self.read_stream_forward(ALL_STREAM, start_version, count, conn=conn)

    async def read_all_streams_backward(
        self, start_version: int = -1, count: int = 1_000, *, conn: AsyncConnection | None = None
    ) -> list[RecordedEvent]:
        """Read up to `count` events of `$all`, newest first. Mirrors `read_all_streams_backward/3`."""
        return await self.read_stream_backward(ALL_STREAM, start_version, count, conn=conn)

    async def stream_forward(
        self,
        stream_uuid: str,
        start_version: int = 0,
        read_batch_size: int = 1_000,
        *,
        conn: AsyncConnection | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the events of a stream up to its end, read in batches while iterating. Mirrors `stream_forward/3`.

        Raises:
            StreamNotFound, StreamDeleted: There is nothing to read; raised by the first step of the iteration.
            DeserializationFailed: An event cannot be decoded; raised after all those before it.
        """
        start = start_version
        while True:
            batch = partial(read.rows_forward, stream_uuid=stream_uuid, start_version=start, count=read_batch_size)
            rows = await self._run(batch, conn)
            for row in rows:
                yield decode_event(row, self._serializer)
            if len(rows) < read_batch_size:
                return
            start = rows[-1][0] + 1

    async def stream_backward(
        self,
        stream_uuid: str,
        start_version: int = -1,
        read_batch_size: int = 1_000,
        *,
        conn: AsyncConnection | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the events of a stream down to its start, newest first. Mirrors `stream_backward/3`.

        -1 means the end; raises like `stream_forward`.
        """
        start = start_version
        while True:
            batch = partial(read.rows_backward, stream_uuid=stream_uuid, start_version=start, count=read_batch_size)
            rows = await self._run(batch, conn)
            for row in rows:
                yield decode_event(row, self._serializer)
            if len(rows) < read_batch_size:
                return
            start = rows[-1][0] - 1

    def stream_all_forward(
        self, start_version: int = 0, read_batch_size: int = 1_000, *, conn: AsyncConnection | None = None
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the events of `$all`, oldest first. Mirrors `stream_all_forward/2`."""
        return self.stream_forward(ALL_STREAM, start_version, read_batch_size, conn=conn)

    def stream_all_backward(
        self, start_version: int = -1, read_batch_size: int = 1_000, *, conn: AsyncConnection | None = None
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the events of `$all`, newest first. Mirrors `stream_all_backward/2`."""
        return self.stream_backward(ALL_STREAM, start_version, read_batch_size, conn=conn)

    async def paginate_streams(
        self,
        *,
        page_size: int = 50,
        page_number: int = 1,
        search: str | None = None,
        sort_by: SortBy = "stream_id",
        sort_dir: SortDirection = "asc",
        conn: AsyncConnection | None = None,
    ) -> Page:
        """Return one page of the streams, `$all` and soft-deleted ones included. Mirrors `paginate_streams/1`.

        Args:
            page_size: The most streams on a page.
            page_number: The page, from 1.
            search: Text that the stream's name holds, in which `%` stands for any text and `_` for any character (a
                backslash before them takes that away); None or "" for all streams.
            sort_by: "stream_id" (order of creation), "stream_uuid" (by code point), "stream_version", "created_at" or
                "deleted_at" (streams that are not deleted come last).
            sort_dir: "asc" or "desc"; equals are sorted by stream_id in the same direction.
            conn: A connection to read on, in its transaction; None for one of the store's own.

        Raises:
            ConfigurationError: An argument is out of range or not known.
        """
        return await self._run(
            lambda statements: streams.paginate_streams(
                statements,
                page_size=page_size,
                page_number=page_number,
                search=search,
                sort_by=sort_by,
                sort_dir=sort_dir,
            ),
            conn,
        )

    async def stream_info(self, stream_uuid: str, *, conn: AsyncConnection | None = None) -> StreamInfo:
        """Return what is known about a stream, also a soft-deleted one. Mirrors `stream_info/2`.

        Raises:
            StreamNotFound: It does not exist.
        """
        info = await self._run(lambda statements: streams.stream_info(statements, stream_uuid), conn)
        if info is None:
            raise StreamNotFound(stream_uuid)
        return info

    async def stream_heads(self, names: Iterable[str], *, conn: AsyncConnection | None = None) -> dict[str, int]:
        """Return the versions of those of the given streams that exist; `$all` gives the newest position."""
        return await self._run(lambda statements: streams.stream_heads(statements, names), conn)

    async def known_event_ids(self, ids: Iterable[UUID], *, conn: AsyncConnection | None = None) -> set[UUID]:
        """Return those of the given event ids that are stored already."""
        return await self._run(lambda statements: read.known_event_ids(statements, ids), conn)

    async def record_snapshot(self, snapshot: Snapshot, *, conn: AsyncConnection | None = None) -> None:
        """Record a snapshot over the one its source had. Mirrors `record_snapshot/2`.

        Its `created_at` is the database's clock at this moment; that of the argument does not count.

        Raises:
            SerializationFailed: The data or metadata cannot be written.
            ConfigurationError: It is no snapshot, or one of its fields is of no use.
        """
        await self._run(lambda statements: snapshots.record_snapshot(statements, self._serializer, snapshot), conn)

    async def read_snapshot(self, source_uuid: str, *, conn: AsyncConnection | None = None) -> Snapshot:
        """Return the snapshot of a source. Mirrors `read_snapshot/2`.

        Raises:
            SnapshotNotFound: There is none.
            SnapshotUnreadable: Its data or metadata cannot be decoded.
        """
        return await self._run(
            lambda statements: snapshots.read_snapshot(statements, self._serializer, source_uuid), conn
        )

    async def delete_snapshot(self, source_uuid: str, *, conn: AsyncConnection | None = None) -> None:
        """Delete the snapshot of a source, if there is one. Mirrors `delete_snapshot/2`."""
        await self._run(lambda statements: snapshots.delete_snapshot(statements, source_uuid), conn)

    async def subscriptions(self, *, conn: AsyncConnection | None = None) -> list[SubscriptionRecord]:
        """Return all subscriptions, in order of creation."""
        return await self._run(subscriptions.list_subscriptions, conn)

    async def subscription(
        self, stream_uuid: str, name: str, *, conn: AsyncConnection | None = None
    ) -> SubscriptionRecord:
        """Return a subscription.

        Raises:
            SubscriptionNotFound: It does not exist.
        """
        record = await self._run(lambda statements: subscriptions.get_subscription(statements, stream_uuid, name), conn)
        if record is None:
            raise SubscriptionNotFound(stream_uuid, name)
        return record

    async def subscription_lags(self, *, conn: AsyncConnection | None = None) -> list[SubscriptionLag]:
        """Return how far every subscription is behind, and who owns it; one element for each unit."""
        return await self._run(subscriptions.subscription_lags, conn)

    async def delete_subscription(self, stream_uuid: str, name: str, *, conn: AsyncConnection | None = None) -> None:
        """Delete a subscription and its checkpoint. Mirrors `delete_subscription/3`.

        Raises:
            SubscriptionNotFound: It does not exist.
        """
        await self._run(lambda statements: subscriptions.delete_subscription(statements, stream_uuid, name), conn)

    async def pause_subscription(self, stream_uuid: str, name: str, *, conn: AsyncConnection | None = None) -> bool:
        """Have a subscription pause, on whichever node it runs: what is in flight is finished, and nothing more begun.

        Like all that steers subscriptions, it is stored, and announced when the transaction commits; a node that is
        down now follows when it starts. It concerns those that `eventstore-runtime` runs.

        Returns:
            False where it was paused already.

        Raises:
            SubscriptionNotFound: It does not exist; also from the methods below.
        """
        return await self._steer(stream_uuid, name, lambda s, record: control.pause(s, record.subscription_id), conn)

    async def resume_subscription(self, stream_uuid: str, name: str, *, conn: AsyncConnection | None = None) -> bool:
        """Have a subscription go on that is paused or halted; the event it halted at gets a fresh count of attempts.

        Returns:
            False where it was neither.
        """
        return await self._steer(stream_uuid, name, lambda s, record: control.resume(s, record.subscription_id), conn)

    async def restart_subscription(self, stream_uuid: str, name: str, *, conn: AsyncConnection | None = None) -> None:
        """Have a subscription begin anew from its checkpoint, with fresh workers; a halted one tries again."""
        await self._steer(stream_uuid, name, lambda s, record: control.restart(s, record.subscription_id), conn)

    async def reset_subscription(
        self, stream_uuid: str, name: str, to: int | datetime, *, conn: AsyncConnection | None = None
    ) -> int:
        """Have a subscription handle everything after a position again, while it runs; handlers see `is_replay`.

        Parked events after it, attempts, and what transactional handlers have noted as done are forgotten.

        Args:
            stream_uuid: Its stream.
            name: Its name.
            to: The last event number *not* to handle, 0 for the origin; or a timezone-aware time, from which on
                everything created is handled.
            conn: A connection to do it on, in a savepoint of its transaction.

        Returns:
            The last event number that is not handled.

        Raises:
            ConfigurationError: The number is out of range, or the time has no time zone.
        """
        return await self._steer(stream_uuid, name, lambda s, record: control.reset(s, record, to), conn)

    async def skip_event(
        self, stream_uuid: str, name: str, number: int | None = None, *, conn: AsyncConnection | None = None
    ) -> int:
        """Have a subscription leave out an event for good; one that halted at it goes on.

        Args:
            stream_uuid: Its stream.
            name: Its name.
            number: The event's number, above the checkpoint; None for the one that the subscription halted at.
            conn: A connection to do it on, in a savepoint of its transaction.

        Returns:
            The event's number.

        Raises:
            ConfigurationError: The event is finished already or not there yet, or none is named and the subscription is
                not halted.
        """
        return await self._steer(stream_uuid, name, lambda s, record: control.skip(s, record, number), conn)

    async def parked_events(
        self,
        stream_uuid: str,
        name: str,
        *,
        numbers: Sequence[int] | None = None,
        partition: str | None = None,
        until: int | None = None,
        count: int = 1_000,
        conn: AsyncConnection | None = None,
    ) -> list[ParkedRecord]:
        """Return parked events of a subscription in order, and why each was parked.

        Args:
            stream_uuid: Its stream.
            name: Its name.
            numbers: Only these event numbers; None for all.
            partition: Only those of this partition key, as text; None for all.
            until: Only those up to this event number; None for all.
            count: The most to return.
            conn: A connection to read on, in a savepoint of its transaction.
        """
        return await self._steer(
            stream_uuid,
            name,
            lambda s, record: control.list_parked(
                s, record.subscription_id, numbers=numbers, partition=partition, until=until, limit=count
            ),
            conn,
        )

    async def retry_parked(
        self,
        stream_uuid: str,
        name: str,
        *,
        numbers: Sequence[int] | None = None,
        partition: str | None = None,
        until: int | None = None,
        conn: AsyncConnection | None = None,
    ) -> list[int]:
        """Have parked events handled again, all or those that the arguments choose as in `parked_events`.

        Each gets a fresh count of attempts; what is held behind it follows in order.

        Returns:
            The numbers of the events that will be retried.
        """
        return await self._steer(
            stream_uuid,
            name,
            lambda s, record: control.retry_parked(
                s, record.subscription_id, numbers=numbers, partition=partition, until=until
            ),
            conn,
        )

    async def discard_parked(
        self,
        stream_uuid: str,
        name: str,
        *,
        numbers: Sequence[int] | None = None,
        partition: str | None = None,
        until: int | None = None,
        conn: AsyncConnection | None = None,
    ) -> list[int]:
        """Have parked events left out for good, all or those that the arguments choose as in `parked_events`.

        What is held behind them follows in order, unless it is discarded too.

        Returns:
            The numbers of the events that will be discarded.
        """
        return await self._steer(
            stream_uuid,
            name,
            lambda s, record: control.discard_parked(
                s, record.subscription_id, numbers=numbers, partition=partition, until=until
            ),
            conn,
        )

    async def _steer(
        self,
        stream_uuid: str,
        name: str,
        operation: Callable[[Statements, SubscriptionRecord], Operation[Result]],
        conn: AsyncConnection | None,
    ) -> Result:
        return await self._run_atomically(
            lambda statements: control.steer(statements, stream_uuid, name, operation), conn
        )

    async def _run(self, operation: Callable[[Statements], Operation[Result]], conn: AsyncConnection | None) -> Result:
        if conn is not None:
            check_connection(conn, psycopg.AsyncConnection)
            return await arun(conn, operation(await self._pool.statements(conn)))
        async with self._pool.connection() as own:
            return await arun(own, operation(await self._pool.statements(own)))

    async def _run_atomically(
        self, operation: Callable[[Statements], Operation[Result]], conn: AsyncConnection | None
    ) -> Result:
        if conn is not None:
            check_connection(conn, psycopg.AsyncConnection)
            return await arun_atomically(conn, operation(await self._pool.statements(conn)))
        for _ in range(append.RACE_RETRIES):
            with suppress(Conflict):
                async with self._pool.connection() as own:
                    return await arun_atomically(own, operation(await self._pool.statements(own)))
        async with self._pool.connection() as own:
            return await arun_atomically(own, operation(await self._pool.statements(own)))
