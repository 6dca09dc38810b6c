"""When a worker process makes way for a fresh one: after so many events, or above so much memory.

The decision is pure: time and memory are arguments or given functions. `worker.py` asks, and does what follows.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

_CHECK_EVERY_EVENTS = 100
_CHECK_EVERY_SECONDS = 1.0
_MIB = 1024 * 1024
_STATM = Path("/proc/self/statm")


def resident_mib() -> float:
    """The resident memory of this process in MiB; where the system tells only the highest ever, that."""
    if _STATM.exists():
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (_MIB if sys.platform == "darwin" else 1024)


class Retirement:
    """One worker's measure of its own age.

    Args:
        max_events: Events after which it is due; None: never.
        max_rss: MiB of resident memory above which it is due; None: never.
        resident: Tells the resident memory in MiB.
    """

    def __init__(
        self, max_events: int | None, max_rss: int | None, resident: Callable[[], float] = resident_mib
    ) -> None:
        self._max_events = max_events
        self._max_rss = max_rss
        self._resident = resident
        self._events = 0
        self._checked_events = 0
        self._checked_at = float("-inf")

    @property
    def left(self) -> int:
        """Events until it is due by their number, 1 or more."""
        return sys.maxsize if self._max_events is None else max(1, self._max_events - self._events)

    def handled(self, events: int, now: float) -> str:
        """Takes note of handled events.

        Args:
            events: How many more.
            now: Seconds on the monotonic clock.

        Returns:
            Why it is due, in words; empty while it is not.
        """
        self._events += events
        if self._max_events is not None and self._events >= self._max_events:
            return f"it has handled {self._events} events (max_events_per_worker)"
        if self._max_rss is None or not self._is_check_due(now):
            return ""
        self._checked_events, self._checked_at = self._events, now
        resident = self._resident()
        return f"it has {resident:.0f} MiB of memory (max_rss)" if resident > self._max_rss else ""

    def _is_check_due(self, now: float) -> bool:
        """Looking is a system call or three: too much for every event of a fast handler."""
        since = self._events - self._checked_events
        return since >= _CHECK_EVERY_EVENTS or now - self._checked_at >= _CHECK_EVERY_SECONDS
