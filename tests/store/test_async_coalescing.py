"""Tasks whose appends share a commit: outcomes as in `test_coalescing.py`, and what cancelling one does to others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self

import pytest

from eventstore.store import (
    AppendResult,
    AsyncEventStore,
    Connection,
    DuplicateEvent,
    EventData,
    StoreUnavailable,
    StreamExists,
)
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT

BLOCKED = "select pid from pg_stat_activity where %s = any (pg_blocking_pids(pid))"

Begun = asyncio.Task[AppendResult]


class Crowd:
    """An asynchronous store whose appends wait in the database, because the row of `$all` is locked in the block."""

    def __init__(self, store: AsyncEventStore, holder: Connection, conn: Connection) -> None:
        self.store = store
        self._holder = holder
        self._conn = conn

    async def __aenter__(self) -> Self:
        self._holder.execute("begin")
        self._holder.execute(f'select from "{self.store.schema}".streams where stream_id = 0 for update'.encode())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._holder.execute("commit")

    async def leader(self, *arguments: Any) -> Begun:
        """Start an append; it waits in the database when this returns."""
        begun = asyncio.create_task(self.store.append_to_stream(*arguments))
        await self.until_blocked()
        return begun

    async def follower(self, *arguments: Any) -> Begun:
        """Start an append; it waits for its turn when this returns."""
        number = self.waiting() + 1
        begun = asyncio.create_task(self.store.append_to_stream(*arguments))
        await until(lambda: self.waiting() == number)
        return begun

    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self.store._coalescer._queue)

    def blocked(self) -> int:
        """The server process that waits for `$all`."""
        row = self._conn.execute(BLOCKED, [self._holder.info.backend_pid]).fetchone()
        return 0 if row is None else row[0]

    async def until_blocked(self) -> None:
        """Wait until an append waits in the database."""
        await until(self.blocked)

    def terminate(self) -> None:
        """End the session of the append that waits in the database."""
        self._conn.execute("select pg_terminate_backend(%s)", [self.blocked()])


async def until(fact: Callable[[], object]) -> None:
    """Let the loop run until a fact holds."""
    async with asyncio.timeout(LIMIT):
        while not fact():
            await asyncio.sleep(0.01)


async def outcomes(*begun: Begun) -> list[Any]:
    """What they returned or raised."""
    return await asyncio.gather(*begun, return_exceptions=True)


@pytest.fixture
def play(
    database_url: str, schema: str, open_connection: Callable[..., Connection]
) -> Callable[[Callable[[Crowd], Coroutine[Any, Any, None]]], None]:
    """A function that runs a scenario with a crowd on the test's schema."""

    async def opened(scenario: Callable[[Crowd], Coroutine[Any, Any, None]]) -> None:
        async with AsyncEventStore(database_url, schema=schema, pool_size=4) as store:
            await scenario(Crowd(store, open_connection(), open_connection()))

    return lambda scenario: asyncio.run(opened(scenario))


def test_each_has_its_own_outcome(play: Any) -> None:
    async def scenario(crowd: Crowd) -> None:
        await crowd.store.append_to_stream("old", "no_stream", events(0))
        async with crowd:
            begun = [
                await crowd.leader("a", "no_stream", events(1)),
                await crowd.follower("b", 0, events(2, 3)),
                await crowd.follower("old", "no_stream", events(9)),
                await crowd.follower("c", 0, events(4)),
            ]
        found = await outcomes(*begun)
        assert [found[index] for index in (0, 1, 3)] == [
            AppendResult("a", 1, 1, 2, 2),
            AppendResult("b", 1, 2, 3, 4),
            AppendResult("c", 1, 1, 5, 5),
        ]
        assert type(found[2]) is StreamExists

    play(scenario)


def test_a_duplicate_fails_only_its_own_append(play: Any) -> None:
    async def scenario(crowd: Crowd) -> None:
        await crowd.store.append_to_stream("old", 0, events(0))
        twice = (await crowd.store.read_stream_forward("old"))[0].event_id
        async with crowd:
            begun = [await crowd.leader("a", 0, events(1)), await crowd.follower("b", 0, events(2))]
            begun.append(await crowd.follower("c", 0, [EventData("E", 3, event_id=twice)]))
        assert [type(one) for one in await outcomes(*begun)] == [AppendResult, AppendResult, DuplicateEvent]
        assert await crowd.store.stream_heads(["b", "c"]) == {"b": 1}

    play(scenario)


def test_all_of_a_group_lose_the_connection(play: Any) -> None:
    async def scenario(crowd: Crowd) -> None:
        async with crowd:
            first = await crowd.leader("a", 0, events(1))
            begun = [await crowd.follower(name, "any_version", events(1)) for name in "bc"]
            crowd.terminate()
            assert type((await outcomes(first))[0]) is StoreUnavailable
            await crowd.until_blocked()
            crowd.terminate()
            found = await outcomes(*begun)
        assert [type(one) for one in found] == [StoreUnavailable] * 2
        assert found[0] is not found[1]
        assert (await crowd.store.append_to_stream("d", 0, events(1))).position == 1

    play(scenario)


def test_a_cancelled_leader_leaves_the_turn_to_others(play: Any) -> None:
    async def scenario(crowd: Crowd) -> None:
        async with crowd:
            first = await crowd.leader("a", 0, events(1))
            second = await crowd.follower("b", 0, events(2))
            first.cancel()
            assert type((await outcomes(first))[0]) is asyncio.CancelledError
            await crowd.until_blocked()
        assert await outcomes(second) == [AppendResult("b", 1, 1, 1, 1)]

    play(scenario)


def test_who_is_cancelled_while_waiting_appends_nothing(play: Any) -> None:
    async def scenario(crowd: Crowd) -> None:
        async with crowd:
            first = await crowd.leader("a", 0, events(1))
            gone, last = await crowd.follower("b", 0, events(2)), await crowd.follower("c", 0, events(3))
            gone.cancel()
            await until(lambda: crowd.waiting() == 1)
        assert await outcomes(first, last) == [AppendResult("a", 1, 1, 1, 1), AppendResult("c", 1, 1, 2, 2)]
        assert gone.cancelled()

    play(scenario)


def test_who_is_cancelled_with_the_turn_in_hand_passes_it_on(play: Any) -> None:
    """Cancelled after the first leader has handed over, and before its task knows."""

    async def scenario(crowd: Crowd) -> None:
        async with crowd:
            first = await crowd.leader("a", 0, events(1))
            gone, last = await crowd.follower("b", 0, events(2)), await crowd.follower("c", 0, events(3))
            member = crowd.store._coalescer._queue[0]
            wake = member.wake

            def wake_and_cancel() -> None:
                wake()
                gone.cancel()

            member.wake = wake_and_cancel  # type: ignore[method-assign]
        assert await outcomes(first, last) == [AppendResult("a", 1, 1, 1, 1), AppendResult("c", 1, 1, 2, 2)]
        assert type((await outcomes(gone))[0]) is asyncio.CancelledError
        assert await crowd.store.stream_heads(["b"]) == {}

    play(scenario)


def test_a_group_is_written_though_its_leader_is_cancelled(play: Any) -> None:
    async def scenario(crowd: Crowd) -> None:
        async with crowd:
            first = await crowd.leader("a", 0, events(1))
            leading, following = await crowd.follower("b", 0, events(2)), await crowd.follower("c", 0, events(3))
            crowd.terminate()
            await outcomes(first)
            await crowd.until_blocked()
            leading.cancel()
            assert type((await outcomes(leading))[0]) is asyncio.CancelledError
        assert await outcomes(following) == [AppendResult("c", 1, 1, 2, 2)]
        assert await crowd.store.stream_heads(["b"]) == {"b": 1}
        assert (await crowd.store.append_to_stream("d", 0, events(4))).position == 3

    play(scenario)


def test_many_tasks_leave_no_gap(play: Any) -> None:
    async def scenario(crowd: Crowd) -> None:
        async def write(writer: int) -> list[AppendResult]:
            return [
                await crowd.store.append_to_stream(f"s{(writer + n) % 5}", "any_version", events(*range(1 + n % 3)))
                for n in range(30)
            ]

        results = [result for part in await asyncio.gather(*map(write, range(8))) for result in part]
        claimed = sorted(n for result in results for n in range(result.first_position, result.position + 1))
        assert claimed == list(range(1, 8 * 60 + 1))
        found = await crowd.store.read_all_streams_forward(count=1_000)
        assert [event.event_number for event in found] == claimed

    play(scenario)
