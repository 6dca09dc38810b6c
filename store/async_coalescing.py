"""Group commit for tasks: the twin of `coalescing.py` for one event loop.

The same turns, by the same rules of `combined_append.py`. A task that leads others writes in a task of its own, which
lives on when the leader is cancelled; a task with only its own append is cancelled together with it.
"""

from __future__ import annotations

import asyncio

from .append import EncodedAppend, append_encoded
from .async_connection import arun
from .async_pool import AsyncStorePool
from .combined_append import append_combined, interrupted, is_combinable, next_group
from .errors import EventStoreError, StoreUnavailable, copied
from .types import AppendResult


class _Member:
    """A task's append, and what becomes of it; with neither result, error nor group it goes on alone."""

    def __init__(self, append: EncodedAppend) -> None:
        self.append = append
        self.result: AppendResult | None = None
        self.error: EventStoreError | None = None
        self.group: list[_Member] = []
        self._awake = asyncio.Event()

    async def wait(self) -> None:
        await self._awake.wait()

    def wake(self) -> None:
        self._awake.set()


class AsyncCoalescer:
    """The appends of one asynchronous store.

    Args:
        pool: Where the connections are from; a group takes one.
    """

    def __init__(self, pool: AsyncStorePool) -> None:
        self._pool = pool
        self._led = False
        self._queue: list[_Member] = []
        self._leader: asyncio.Task[None] | None = None

    async def append(self, append: EncodedAppend) -> AppendResult:
        """Append, alone or together with others; returns and raises what `append_encoded` does for this append alone.

        Raises:
            StoreUnavailable: Also when the event loop ends while a task writes for this one.
        """
        # Before anything of this object is touched: it says so in another process or event loop.
        await self._pool.statements()
        if not is_combinable(append):
            return await self._append_alone(append)
        member = _Member(append)
        if self._led:
            self._queue.append(member)
            await self._await_turn(member)
        else:
            self._led = True
            member.group = [member]
        if len(member.group) == 1:
            await self._lead_alone(member)
        elif member.group:
            # Kept, since the loop itself holds on to no task.
            self._leader = asyncio.create_task(self._lead(member.group))
            await asyncio.shield(self._leader)
        if member.error is not None:
            raise member.error
        return await self._append_alone(append) if member.result is None else member.result

    async def _await_turn(self, member: _Member) -> None:
        try:
            await member.wait()
        except BaseException:
            # Cancelled: as if it had never come. What another task is writing for it stays written.
            if member in self._queue:
                self._queue.remove(member)
            self._queue[:0] = member.group[1:]
            if member.group:
                self._hand_over()
            raise

    async def _lead_alone(self, member: _Member) -> None:
        try:
            member.result = await self._append_alone(member.append)
        finally:
            self._hand_over()

    async def _lead(self, group: list[_Member]) -> None:
        try:
            await self._append_together(group)
        finally:
            self._hand_over()
            for follower in group[1:]:
                follower.wake()

    async def _append_together(self, group: list[_Member]) -> None:
        """Gives everybody a result; or an error, where trying again alone could append twice; or neither."""
        for member in group:
            member.error = interrupted()
        try:
            async with self._pool.connection() as conn:
                operation = append_combined(await self._pool.statements(conn), [member.append for member in group])
                results = await arun(conn, operation)
        except StoreUnavailable as error:
            for member in group:
                member.error = copied(error)
        except EventStoreError:
            # One of them is to blame, and nothing was written: each finds out by itself.
            for member in group:
                member.error = None
        else:
            for member, result in zip(group, results, strict=True):
                member.error, member.result = None, result

    def _hand_over(self) -> None:
        group, self._queue = next_group(self._queue)
        self._led = bool(group)
        if group:
            group[0].group = group
            group[0].wake()

    async def _append_alone(self, append: EncodedAppend) -> AppendResult:
        async with self._pool.connection() as conn:
            return await arun(conn, append_encoded(await self._pool.statements(conn), append))
