"""How many events one writer, and eight writers in processes of their own, append in a second.

A writer appends the same batch again and again to its own stream, each time with the exact version it expects, and
waits for each commit. Making the events is not measured; ids, JSON and everything behind `append_to_stream` is.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from threading import Barrier
from time import perf_counter

from eventstore.store import EventStore

from .case import Bench, Case, Figure, event

WRITERS = 8
_WARM_UP = 10
_START_LIMIT = 120.0

# Set in the writer processes only: a barrier reaches a process when it starts, and not later.
_start: Barrier


def cases() -> list[Case]:
    """One writer with four sizes of batches, eight writers with two."""
    alone = {1: 478, 10: 3_125, 100: 8_729, 1_000: 13_455}
    together = {1: 978, 10: 5_624}
    return [
        *(_case("append-1-writer", "1 writer", one_writer, batch, known) for batch, known in alone.items()),
        *(_case("append-8-writers", "8 writers", eight_writers, batch, known) for batch, known in together.items()),
    ]


def _case(name: str, who: str, run: Callable[[int, Bench], tuple[float]], batch: int, reference: float) -> Case:
    figure = Figure(f"{name}-batch-{batch}", f"append, {who}, batches of {batch:,}", "events/s", reference)
    return Case((figure,), partial(run, batch))


def one_writer(batch: int, bench: Bench) -> tuple[float]:
    """Events per second of one writer in this process."""
    with bench.fresh_schema() as schema:
        return (_append_for(bench.url, schema, "stream-0", batch, bench.seconds, lambda: None),)


def eight_writers(batch: int, bench: Bench) -> tuple[float]:
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
    """Events per second of one writer that appends for so many seconds."""
    events = [event(number) for number in range(batch)]
    with EventStore(url, schema=schema, pool_size=1) as store:
        version = 0
        for _ in range(_WARM_UP):
            version = store.append_to_stream(stream, version, events).stream_version
        when_warm()
        first, began = version, perf_counter()
        while perf_counter() - began < seconds:
            version = store.append_to_stream(stream, version, events).stream_version
        return (version - first) / (perf_counter() - began)
