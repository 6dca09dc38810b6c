"""How many events one writer, and eight writers at the same time, append in a second.

A writer appends the same batch again and again to its own stream, each time with the exact version it expects, and
waits for each commit. Making the events is not measured; ids, JSON and everything behind `append_to_stream` is. The
reference's eight writers were processes of one Erlang VM, which are like the threads and tasks of one process here;
writers in eight operating system processes are measured besides.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from threading import Barrier
from time import perf_counter

from eventstore.store import AsyncEventStore, EventStore

from .case import Bench, Case, Figure, Limit, event

WRITERS = 8
_WARM_UP = 10
_START_LIMIT = 120.0
_ALONE = {1: 478, 10: 3_125, 100: 8_729, 1_000: 13_455}
_TOGETHER = {1: 978, 10: 5_624}

# Set in the writer processes only: a barrier reaches a process when it starts, and not later.
_start: Barrier


def cases() -> list[Case]:
    """One writer with four sizes of batches, eight writers with two, in threads, tasks and processes."""
    return [
        *(_case("1-writer", "1 writer", one_writer, 1, *figures) for figures in _ALONE.items()),
        *(_case("8-threads", "8 threads", eight_threads, WRITERS, *figures) for figures in _TOGETHER.items()),
        *(_case("8-tasks", "8 tasks", eight_tasks, WRITERS, *figures) for figures in _TOGETHER.items()),
        *(_case("8-processes", "8 processes", eight_processes, 1, *figures) for figures in _TOGETHER.items()),
    ]


def _case(
    name: str, who: str, run: Callable[[int, Bench], tuple[float]], sharing: int, batch: int, reference: float
) -> Case:
    # A small batch waits for its commit above all, which so many writers can share; a big one for its rows.
    limit = Limit("limit-commits", batch * sharing) if batch <= 10 else Limit("limit-copy")
    figure = Figure(
        f"append-{name}-batch-{batch}", f"append, {who}, batches of {batch:,}", reference=reference, limit=limit
    )
    return Case((figure,), partial(run, batch))


def one_writer(batch: int, bench: Bench) -> tuple[float]:
    """Events per second of one writer in this process."""
    with bench.fresh_schema() as schema:
        return (_append_for(bench.url, schema, "stream-0", batch, bench.seconds, lambda: None),)


def eight_threads(batch: int, bench: Bench) -> tuple[float]:
    """Events per second of eight threads together, each to its own stream, on one store."""
    start = Barrier(WRITERS)

    def write(number: int) -> float:
        return _append_with(store, f"stream-{number}", batch, bench.seconds, start.wait)

    with (
        bench.fresh_schema() as schema,
        EventStore(bench.url, schema=schema, pool_size=WRITERS) as store,
        ThreadPoolExecutor(WRITERS) as writers,
    ):
        return (sum(writers.map(write, range(WRITERS))),)


def eight_tasks(batch: int, bench: Bench) -> tuple[float]:
    """Events per second of eight tasks of one event loop together, each to its own stream, on one store."""
    with bench.fresh_schema() as schema:
        return (asyncio.run(_append_in_tasks(bench.url, schema, batch, bench.seconds)),)


async def _append_in_tasks(url: str, schema: str, batch: int, seconds: float) -> float:
    events = [event(number) for number in range(batch)]
    async with AsyncEventStore(url, schema=schema, pool_size=WRITERS) as store:

        async def write(number: int, version: int) -> int:
            while perf_counter() < end:
                version = (await store.append_to_stream(f"stream-{number}", version, events)).stream_version
            return version

        async def warm_up(number: int) -> int:
            version = 0
            for _ in range(_WARM_UP):
                version = (await store.append_to_stream(f"stream-{number}", version, events)).stream_version
            return version

        warm = await asyncio.gather(*map(warm_up, range(WRITERS)))
        began = perf_counter()
        end = began + seconds
        last = await asyncio.gather(*map(write, range(WRITERS), warm))
        return (sum(last) - sum(warm)) / (perf_counter() - began)


def eight_processes(batch: int, bench: Bench) -> tuple[float]:
    """Events per second of eight writer processes together, each to its own stream."""
    context = multiprocessing.get_context("spawn")
    with (
        bench.fresh_schema() as schema,
        ProcessPoolExecutor(WRITERS, context, _take_barrier, (context.Barrier(WRITERS),)) as writers,
    ):
        # None can take a second task, since each waits for the others in its first.
        begun = [
            writers.submit(_append_together, bench.url, schema, f"stream-{n}", batch, bench.seconds)
            for n in range(WRITERS)
        ]
        return (sum(writer.result() for writer in begun),)


def _take_barrier(barrier: Barrier) -> None:
    global _start  # noqa: PLW0603 - the initializer of a process has no other place
    _start = barrier


def _append_together(url: str, schema: str, stream: str, batch: int, seconds: float) -> float:
    return _append_for(url, schema, stream, batch, seconds, lambda: _start.wait(_START_LIMIT))


def _append_for(
    url: str, schema: str, stream: str, batch: int, seconds: float, when_warm: Callable[[], object]
) -> float:
    with EventStore(url, schema=schema, pool_size=1) as store:
        return _append_with(store, stream, batch, seconds, when_warm)


def _append_with(store: EventStore, stream: str, batch: int, seconds: float, when_warm: Callable[[], object]) -> float:
    """Events per second of one writer that appends for so many seconds."""
    events = [event(number) for number in range(batch)]
    version = 0
    for _ in range(_WARM_UP):
        version = store.append_to_stream(stream, version, events).stream_version
    when_warm()
    first, began = version, perf_counter()
    while perf_counter() - began < seconds:
        version = store.append_to_stream(stream, version, events).stream_version
    return (version - first) / (perf_counter() - began)
