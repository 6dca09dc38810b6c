"""How often the same thing is said about the same part: once in a while, then a count. Pure: time is an argument.

A database that is away for an hour makes every process fail again and again; the log needs to say so, not to fill.
"""

from __future__ import annotations

from collections.abc import Hashable


class LogLimiter:
    """Lets one line through for each key and interval, and counts the others.

    Args:
        interval: Seconds that a key is silent after a line of it (default 30).
    """

    def __init__(self, interval: float = 30.0) -> None:
        self._interval = interval
        self._last: dict[Hashable, float] = {}
        self._left_out: dict[Hashable, int] = {}

    def admit(self, key: Hashable, now: float) -> int | None:
        """Says whether a line is to be written.

        Args:
            key: What the line says and about which part; few and lasting, since every one is remembered.
            now: Seconds on a monotonic clock.

        Returns:
            None when it is to be left out, else how many of the same key were left out before it.
        """
        last = self._last.get(key)
        if last is not None and now - last < self._interval:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return None
        self._last[key] = now
        return self._left_out.pop(key, 0)
