"""The event loop of every process of a node: descriptors, timers, nothing else.

Single-threaded and blocking-free: one `select` decides what runs next. The clock is monotonic.
A turn costs about a microsecond, and nothing for what is idle: that a channel waits for writability is told by the
channel, not asked of each.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from .channel import Channel
from .poller import READ, WRITE, Poller, create_poller

Callback = Callable[[], None]

# The longest wait that every poller takes; a timer beyond it costs an idle turn now and then.
_LONGEST_WAIT = 3600.0
# So many void timers are not worth a look.
_FEW_TIMERS = 100
# How long to stay awake for an answer, in seconds: a few times what it costs to sleep and be woken instead.
_AWAKE = 0.0002
# How soon answers must come to a loop that sleeps, which takes longer by just that, for it to try staying awake.
_SOON = 0.0003
# So many more in time than late make it worth it; no more than the most are counted.
_QUICK_ENOUGH, _QUICK_MOST = 30, 100


class HasFileno(Protocol):
    """Anything with a file descriptor."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


class Timer:
    """A callback that is due once; `cancel` makes it never run."""

    __slots__ = ("_on_cancel", "callback")

    def __init__(self, callback: Callback, on_cancel: Callback) -> None:
        self.callback: Callback | None = callback
        self._on_cancel = on_cancel

    def take(self) -> Callback | None:
        """The callback, for the one time that it runs; None where the timer is void."""
        callback, self.callback = self.callback, None
        return callback

    def cancel(self) -> None:
        """Makes the timer void; does nothing where it has run."""
        if self.take() is not None:
            self._on_cancel()


class Source:
    """A watched descriptor, its callback, and the channel that it is of, if any."""

    __slots__ = ("callback", "channel", "watched")

    def __init__(self, callback: Callback, channel: Channel[Any] | None = None) -> None:
        self.callback = callback
        self.channel = channel
        self.watched = True
        """False once it is watched no longer; an event of the same turn may still name it."""


class Loop:
    """Runs callbacks when descriptors are ready or timers are due, until stopped.

    Args:
        poller: Tells what is ready; closed with the loop. None: the system's best (default).
    """

    def __init__(self, poller: Poller | None = None) -> None:
        self._poller = create_poller() if poller is None else poller
        self._sources: dict[int, Source] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._void_timers = 0
        self._order = itertools.count()
        self._channels: dict[Channel[Any], int] = {}
        self._stopped = False
        self._quick = 0

    now = staticmethod(time.monotonic)
    """Seconds on the monotonic clock."""

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Runs a callback once after so many seconds."""
        timer = Timer(callback, self._drop_void_timers)
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
        self._watch(_descriptor(source), Source(callback))

    def _watch(self, descriptor: int, source: Source) -> None:
        self._poller.register(descriptor, READ)
        self._sources[descriptor] = source

    def unwatch(self, source: HasFileno | int) -> None:
        """Watches the descriptor no longer; does nothing where it was not watched."""
        descriptor = _descriptor(source)
        known = self._sources.pop(descriptor, None)
        if known is None:
            return
        known.watched = False
        with suppress(OSError, KeyError):
            # It may be closed already, and is forgotten with that.
            self._poller.unregister(descriptor)

    def add_channel(self, channel: Channel[Any], callback: Callback) -> None:
        """Watches a channel: runs the callback when messages or the end have come, flushes what it buffers."""
        descriptor, source = channel.fileno(), Source(callback, channel)

        def on_backlog(has_unsent: bool) -> None:
            # Watched for writability only while the peer is behind with reading.
            if source.watched:
                self._poller.modify(descriptor, READ | WRITE if has_unsent else READ)

        self._channels[channel] = descriptor
        self._watch(descriptor, source)
        channel.tell_backlog(on_backlog)

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
        sources = self._sources
        ready = self._poll(self._wait(longest))
        # Looked up before the first callback, which may end one source and give its descriptor to another.
        for source, events in [(sources[descriptor], events) for descriptor, events in ready]:
            if source.watched:
                if events & WRITE and source.channel is not None:
                    source.channel.flush()
                source.callback()
            if self._stopped:
                return
        if self._timers and self._timers[0][0] <= self.now():
            self._run_due_timers()

    def _poll(self, wait: float | None) -> list[tuple[int, int]]:
        """Waits; stays awake for a moment where answers keep coming within one, as to sleep and wake takes longer."""
        poll, now = self._poller.poll, self.now
        if wait is not None and wait <= 0:
            return poll(0)
        began, limit = now(), _SOON
        ready: list[tuple[int, int]] = []
        if self._quick >= _QUICK_ENOUGH:
            limit = _AWAKE
            while not (ready := poll(0)) and now() - began < _AWAKE:
                # Whoever is to answer may be waiting for this very core.
                os.sched_yield()
        ready = ready or poll(wait)
        self._quick = min(self._quick + 1, _QUICK_MOST) if now() - began < limit else self._quick // 2
        return ready

    def _wait(self, longest: float | None) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
            self._void_timers -= 1
        if not self._timers:
            return longest
        wait = min(max(0.0, self._timers[0][0] - self.now()), _LONGEST_WAIT)
        return wait if longest is None else min(wait, longest)

    def _run_due_timers(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now and not self._stopped:
            _, _, timer = heapq.heappop(self._timers)
            callback = timer.take()
            if callback is not None:
                callback()
            else:
                self._void_timers -= 1

    def _drop_void_timers(self) -> None:
        """One more is void: they are dropped once they are the most, as they may be due in hours only."""
        self._void_timers += 1
        if self._void_timers > max(_FEW_TIMERS, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._void_timers = 0

    def close(self) -> None:
        """Closes every channel and the poller."""
        for channel in list(self._channels):
            self.remove_channel(channel)
        self._poller.close()


def _descriptor(source: HasFileno | int) -> int:
    return source if isinstance(source, int) else source.fileno()
