"""The user's handler inside its worker: made once, started, called, stopped.

Owns the handler's instance, the functions that go with it, and the event loop on which everything of it that is
`async` runs, always the same one, so that clients and pools stay bound to it. Whatever the handler is, the rest of
the worker sees plain functions.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from ..handlers.declaration import EventFunction
from ..handlers.kinds import create_handler, is_async
from ..handlers.resolve import Subscription, load_declared, load_function
from .partition_keys import event_key


class EventLoop:
    """An asyncio event loop that is kept for the worker's life and runs only while something waits for it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Runs to the end; returns or raises what it does."""
        return self._loop.run_until_complete(awaitable)

    def close(self) -> None:
        """Cancels what still runs and closes the loop."""
        self._runner.close()


class UserHandler:
    """One subscription's handler, made, but not started.

    Args:
        subscription: The subscription with its options.
        loaded: What its dotted path names, checked before.

    Raises:
        ConfigurationError: A function that belongs to the handler cannot be imported.
        Exception: Whatever the constructor of the handler's class raises.
    """

    def __init__(self, subscription: Subscription, loaded: Any) -> None:
        self._parts = create_handler(loaded)
        self.is_async = is_async(self._parts.handle)
        self._loop: EventLoop | None = None
        self.partition_key = event_key(subscription)
        self.selector = _event_function(subscription, "selector")
        self.mapper = _event_function(subscription, "mapper")
        self.call: Callable[[Any, Any], Any] = self._parts.handle
        if self.is_async:
            self.call = functools.partial(_call_async, self.loop.run, self._parts.handle)

    @property
    def loop(self) -> EventLoop:
        """The event loop; made when it is first asked for."""
        if self._loop is None:
            self._loop = EventLoop()
        return self._loop

    def start(self) -> None:
        """Calls the handler's `start`, if it has one. Raises whatever that raises."""
        self._run_hook(self._parts.start)

    def stop(self) -> None:
        """Calls the handler's `stop`, if it has one. Raises whatever that raises."""
        self._run_hook(self._parts.stop)

    def _run_hook(self, hook: Callable[[], Any] | None) -> None:
        if hook is not None:
            answer = hook()
            if asyncio.iscoroutine(answer):
                self.loop.run(answer)

    def close(self) -> None:
        """Closes the event loop, if there is one."""
        if self._loop is not None:
            self._loop.close()


def _call_async(
    run: Callable[[Awaitable[Any]], Any], handle: Callable[[Any, Any], Awaitable[Any]], subject: Any, context: Any
) -> Any:
    return run(handle(subject, context))


def _event_function(subscription: Subscription, option: str) -> EventFunction | None:
    value = load_declared(subscription, option)
    if isinstance(value, str):
        return load_function(value, where=f"subscription {subscription.name!r}: {option}")
    return value  # type: ignore[no-any-return]
