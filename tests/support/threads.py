"""Running the same thing in several threads at once, without losing what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def together(work: Callable[[Argument], Result], arguments: Iterable[Argument]) -> list[Result]:
    """Call `work` once for each argument, each in a thread, all released at the same moment; raise what they raise."""
    given = list(arguments)
    start = Barrier(len(given))

    def run(argument: Argument) -> Result:
        start.wait()
        return work(argument)

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(run, given))
