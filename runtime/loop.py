"""The event loop of every process of a node: descriptors, timers, nothing else.

Single-threaded and blocking-free: one `select` decides what runs next. The clock is monotonic.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Any, Protocol

from .channel import Channel

Callback = Callable[[], None]

# The longest wait that every selector takes; a timer beyond it costs an idle turn now and then.
_LONGEST_WAIT = 3600.0
# How long to stay awake, and after how short a wait that would have been worth it, in seconds.
_AWAKE, _SOON = 0.00006, 0.0001
_QUICK_ENOUGH = 30
"""So many answers in a row must have come soon."""


class HasFileno(Protocol):
    """Anything with a file descriptor."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


class Timer:
    """A callback that is due once; `cancel` makes it never run."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Makes the timer void."""
        self.callback = None


class Loop:
    """Runs callbacks when descriptors are ready or timers are due, until stopped."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._channels: dict[Channel[Any], int] = {}
        self._stopped = False
        self._quick = 0

    @staticmethod
    def now() -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Runs a callback once after so many seconds."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.now() + seconds, next(self._order), timer))
        return timer

    def call_every(self, seconds: float, callback: Callback) -> None:
        """Runs a callback now and then again every so many seconds, never twice to make up for a delay."""

        def turn() -> None:
            callback()
            self.call_later(seconds, turn)

        self.call_later(0, turn)

    def watch(self, source: HasFileno | int, callback: Callback) -> None:
        """Runs a callback whenever the descriptor is readable."""
        self._selector.register(source, selectors.EVENT_READ, callback)

    def unwatch(self, source: HasFileno | int) -> None:
        """Watches the descriptor no longer; does nothing where it was not watched."""
        try:
            self._selector.unregister(source)
        except (KeyError, ValueError):
            return

    def add_channel(self, channel: Channel[Any], callback: Callback) -> None:
        """Watches a channel: runs the callback when messages or the end have come, flushes what it buffers."""

        def ready() -> None:
            channel.flush()
            callback()

        self._channels[channel] = channel.fileno()
        self._selector.register(channel.fileno(), selectors.EVENT_READ, ready)

    def remove_channel(self, channel: Channel[Any]) -> None:
        """Closes a channel and watches it no longer."""
        descriptor = self._channels.pop(channel, None)
        if descriptor is not None:
            self.unwatch(descriptor)
        channel.close()

    def stop(self) -> None:
        """Ends `run` after the callback at hand."""
        self._stopped = True

    def run(self) -> None:
        """Turns until stopped."""
        while not self._stopped:
            self.turn()

    def turn(self, longest: float | None = None) -> None:
        """Waits for the next thing to do, at most `longest` seconds, and does it."""
        self._watch_unsent()
        for key, _ in self._select(self._wait(longest)):
            # An earlier callback of this turn may have removed the source of a later one.
            if self._is_watched(key):
                key.data()
            if self._stopped:
                return
        self._run_due_timers()

    def _select(self, wait: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits; stays awake for a moment where answers keep coming within one, as to sleep and wake takes longer."""
        if wait is not None and wait <= 0:
            return self._selector.select(0)
        began = self.now()
        if self._quick >= _QUICK_ENOUGH:
            while self.now() - began < _AWAKE:
                ready = self._selector.select(0)
                if ready:
                    return ready
        ready = self._selector.select(wait)
        self._quick = self._quick + 1 if self.now() - began < _SOON else 0
        return ready

    def _is_watched(self, key: selectors.SelectorKey) -> bool:
        current = self._selector.get_map().get(key.fd)
        return current is not None and current.data is key.data

    def _wait(self, longest: float | None) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return longest
        wait = min(max(0.0, self._timers[0][0] - self.now()), _LONGEST_WAIT)
        return wait if longest is None else min(wait, longest)

    def _run_due_timers(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now and not self._stopped:
            _, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()

    def _watch_unsent(self) -> None:
        """Watches a channel for writability only while its peer is behind with reading."""
        for channel, descriptor in self._channels.items():
            if channel.closed:
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.has_unsent else 0)
            key = self._selector.get_key(descriptor)
            if key.events != events:
                self._selector.modify(descriptor, events, key.data)

    def close(self) -> None:
        """Closes every channel and the selector."""
        for channel in list(self._channels):
            self.remove_channel(channel)
        self._selector.close()
