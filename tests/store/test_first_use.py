"""What many callers do at once when they are the first to use a store: one connects, the others share its outcome."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest

from eventstore.store import AsyncEventStore, EventStore, StoreUnavailable
from eventstore.store.pool import StorePool
from eventstore.tests.support.wait import wait_until

CALLERS = 5


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that lets everybody connect, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=2 * CALLERS) as listener:
        yield listener


def url_of(silent: socket.socket) -> str:
    return f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/shop?sslmode=disable&gssencmode=disable"


def nobody_connects(silent: socket.socket) -> bool:
    silent.setblocking(False)
    try:
        silent.accept()
    except BlockingIOError:
        return True
    return False


def threads_in_first_use() -> int:
    """How many threads connect, or wait for the one that does."""
    code = StorePool._looked_up.__code__
    count = 0
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None and frame.f_code is not code:
            frame = frame.f_back
        count += frame is not None
    return count


def test_threads_wait_once_for_a_server_that_does_not_answer(silent: socket.socket) -> None:
    with EventStore(url_of(silent), connect_timeout=3) as store, ThreadPoolExecutor(CALLERS) as threads:
        begun = [threads.submit(store.stream_heads, ["a"]) for _ in range(CALLERS)]
        connected, _ = silent.accept()
        wait_until(lambda: threads_in_first_use() == CALLERS, "all threads wait")
        connected.close()
        failures = [one.exception() for one in begun]
        assert [type(failure) for failure in failures] == [StoreUnavailable] * CALLERS
        assert len({id(failure) for failure in failures}) == CALLERS
        assert nobody_connects(silent)


def test_a_later_call_tries_again(silent: socket.socket) -> None:
    with EventStore(url_of(silent), connect_timeout=3) as store, ThreadPoolExecutor(1) as threads:
        for _ in range(2):
            begun = threads.submit(store.stream_heads, ["a"])
            silent.accept()[0].close()
            assert type(begun.exception()) is StoreUnavailable


def test_tasks_open_one_connection_to_look_at_the_schema(silent: socket.socket) -> None:
    silent.setblocking(False)

    async def scenario() -> list[object]:
        async with AsyncEventStore(url_of(silent), connect_timeout=3) as store:
            begun = asyncio.gather(*(store.stream_heads(["a"]) for _ in range(CALLERS)), return_exceptions=True)
            connected, _ = await asyncio.get_running_loop().sock_accept(silent)
            connected.close()
            return [type(failure) for failure in await begun]

    assert asyncio.run(scenario()) == [StoreUnavailable] * CALLERS
    assert nobody_connects(silent)


def test_a_cancelled_task_leaves_its_turn_to_the_next(silent: socket.socket) -> None:
    silent.setblocking(False)

    async def scenario() -> list[object]:
        async with AsyncEventStore(url_of(silent), connect_timeout=3) as store:
            begun = [asyncio.create_task(store.stream_heads(["a"])) for _ in range(2)]
            first, _ = await asyncio.get_running_loop().sock_accept(silent)
            begun[0].cancel()
            second, _ = await asyncio.get_running_loop().sock_accept(silent)
            second.close()
            first.close()
            return [type(failure) for failure in await asyncio.gather(*begun, return_exceptions=True)]

    assert asyncio.run(scenario()) == [asyncio.CancelledError, StoreUnavailable]
