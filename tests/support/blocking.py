"""An asynchronous store behind the synchronous store's methods, so that one test runs on both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, cast

from eventstore.store import AsyncEventStore, EventStore


class Blocking:
    """Calls the methods of an asynchronous store in an event loop that runs only during the call."""

    def __init__(self, store: AsyncEventStore, runner: asyncio.Runner) -> None:
        self._store = store
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute

        @wraps(attribute)
        def call(*args: Any, **kwargs: Any) -> Any:
            outcome = attribute(*args, **kwargs)
            if inspect.isasyncgen(outcome):
                return self._iterate(outcome)
            return self._runner.run(outcome)

        return call

    def _iterate(self, events: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._runner.run(_next(events))
            except StopAsyncIteration:
                return


async def _next(events: AsyncIterator[Any]) -> Any:
    return await anext(events)


@contextmanager
def blocking(make: Callable[[], AsyncEventStore]) -> Iterator[EventStore]:
    """Open an asynchronous store that is used like a synchronous one; it closes in the end."""
    with asyncio.Runner() as runner:
        store = make()
        try:
            yield cast("EventStore", Blocking(store, runner))
        finally:
            runner.run(store.close())
