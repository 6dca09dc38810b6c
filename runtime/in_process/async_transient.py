"""Transient subscriptions for asyncio: the twin of `transient.py`, as an async iterator.

Owns one connection that LISTENs; the order of LISTEN, look and read, and what a lost connection means, are the same.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Self

import psycopg
from psycopg import sql

from ...store.async_connection import AsyncConnection, arun
from ...store.async_event_store import AsyncEventStore
from ...store.connection import translated
from ...store.errors import EventStoreError, StoreUnavailable
from ...store.listening import take_notifications
from ...store.notifications import channel
from ...store.read import page_stream
from ...store.schema import check_schema
from ...store.sql import Statements
from ...store.streams import stream_heads
from ...store.types import ALL_STREAM, StartFrom
from .hearing import understood
from .options import PAGE_SIZE, Mapper, Selector
from .preparing import Preparation, for_transient
from .transient import POLL_INTERVAL, RECONNECT


class AsyncTransientSubscription:
    """An async iterator over batches of events, as they are appended. Made by `subscribe_async`.

    Use it as an async context manager, or close it. One task at a time iterates; raises like `TransientSubscription`.
    """

    def __init__(self, store: AsyncEventStore, preparation: Preparation, timeout: float | None) -> None:
        self._store = store
        self._preparation = preparation
        self._timeout = timeout
        self._closed = False
        self._iterating = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._heard: list[tuple[str, str]] = []
        self._lost = 0
        self._position = 0
        self._has_more = True
        self._connection: AsyncConnection | None = None
        self._statements: Statements

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Any]:
        batch = await self.get(self._timeout)
        if not batch:
            raise StopAsyncIteration
        return batch

    @property
    def position(self) -> int:
        """The last event number that was delivered or left out."""
        return self._position

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    async def start(self, start_from: StartFrom) -> None:
        """Connect and look where to start; `subscribe_async` does it."""
        connection = self._connection = await self._connect()
        if isinstance(start_from, int):
            self._position = start_from
        elif start_from == "current":
            stream_uuid = self._preparation.stream_uuid
            try:
                heads = await arun(connection, stream_heads(self._statements, [stream_uuid]))
            except BaseException:
                await connection.close()
                raise
            self._position = heads.get(stream_uuid, 0)

    async def get(self, timeout: float | None = None) -> list[Any]:
        """Return the events appended since the last batch; see `TransientSubscription.get`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        async with self._iterating:
            while not self._closed:
                batch = await self._attempt()
                if batch:
                    return batch
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                await self._wait(left)
        return []

    async def close(self) -> None:
        """End the iteration, also one that another task is in, and the connection. Safe to call again."""
        self._closed = True
        self._stirred.set()
        async with self._iterating:
            await self._disconnect()

    async def _connect(self) -> AsyncConnection:
        stream_uuid, schema = self._preparation.stream_uuid, self._store.schema
        connection = await self._store.open_session(f"subscribe {stream_uuid}")
        try:
            connection.add_notify_handler(self._keep)
            with translated():
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel(schema))))
            self._statements = Statements(schema, await arun(connection, check_schema(schema, runtime=False)))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _keep(self, notification: psycopg.Notify) -> None:
        self._heard.append((notification.channel, notification.payload))

    async def _attempt(self) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = await self._connect()
                self._has_more = True
            self._has_more = self._has_more or self._heard_more(self._connection)
            batch = await self._read(self._connection) if self._has_more else []
        except EventStoreError as error:
            if not error.retryable:
                raise
            await self._disconnect()
            self._lost += 1
            return []
        self._lost = 0
        return batch

    def _heard_more(self, connection: AsyncConnection) -> bool:
        """True when there is something to read; also when the connection is lost, which the read will tell."""
        try:
            self._heard += take_notifications(connection)
        except StoreUnavailable:
            return True
        heard = understood(self._heard, self._store.schema, self._preparation.stream_uuid)
        self._heard.clear()
        return heard.head > self._position

    async def _read(self, connection: AsyncConnection) -> list[Any]:
        page = page_stream(self._statements, self._preparation.stream_uuid, self._position, PAGE_SIZE)
        rows = await arun(connection, page)
        prepared = self._preparation.prepare(rows)
        if prepared.failure is not None and prepared.scanned_to is None:
            raise prepared.failure
        if prepared.scanned_to is not None:
            self._position = prepared.scanned_to
        self._has_more = prepared.failure is not None or len(rows) == PAGE_SIZE
        return [entry.payload for entry in prepared.entries]

    async def _wait(self, longest: float | None) -> None:
        """Waits for a notification, for the next attempt to connect, or for `close()`."""
        connection, descriptor = self._connection, None
        if connection is None:
            pause = RECONNECT.delay(self._lost, random.random())  # noqa: S311
        else:
            # What came with the answer to the last read does not make the descriptor readable.
            self._has_more = self._has_more or self._heard_more(connection)
            pause = 0.0 if self._has_more else POLL_INTERVAL
            if not self._has_more:
                descriptor = connection.fileno()
                asyncio.get_running_loop().add_reader(descriptor, self._stirred.set)
        try:
            await asyncio.wait_for(self._stirred.wait(), pause if longest is None else min(pause, longest))
        except TimeoutError:
            # Without a word for so long, only a read tells that nothing was missed.
            self._has_more = self._has_more or connection is not None
        finally:
            if descriptor is not None:
                asyncio.get_running_loop().remove_reader(descriptor)
        if not self._closed:
            self._stirred.clear()


async def subscribe_async(
    store: AsyncEventStore,
    stream_uuid: str = ALL_STREAM,
    *,
    selector: Selector | None = None,
    mapper: Mapper | None = None,
    start_from: StartFrom = "current",
    timeout: float | None = None,
) -> AsyncTransientSubscription:
    """Subscribe like `subscribe`, with a store for asyncio.

        async with await subscribe_async(store, "order-1") as subscription:
            async for events in subscription:
                ...

    Raises:
        EventStoreError: As `subscribe`.
    """
    preparation = for_transient(store.serializer, stream_uuid, selector, mapper, start_from)
    subscription = AsyncTransientSubscription(store, preparation, timeout)
    await subscription.start(start_from)
    return subscription
