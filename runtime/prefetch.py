"""How many events a worker asks for ahead of time. Pure: durations are arguments.

Events that wait in one worker's buffer cannot go to another one, and are handed out again when it dies. So a
worker asks for about as many as it handles in a short while: one at a time where the handler is slow, up to
`buffer_size` where it is fast.
"""

from __future__ import annotations

_HORIZON = 0.25
_WEIGHT = 0.3


class Prefetch:
    """One worker's measure of itself.

    Args:
        limit: The most events to ask for (`buffer_size`).
        least: The fewest to ask for: 1 (default), or the size of a batch, which must be able to fill.
        horizon: Seconds of work to keep at hand (default 0.25).
    """

    def __init__(self, limit: int, least: int = 1, horizon: float = _HORIZON) -> None:
        self._limit = max(limit, least)
        self._least = least
        self._horizon = horizon
        self._seconds_per_event: float | None = None
        self.wanted = least
        """Events to have in flight at most, from the least to the limit; the least until something was measured."""

    @property
    def enough(self) -> int:
        """Events to handle before their acks are sent, so that more can come while the rest is handled: half."""
        return (self.wanted + 1) // 2

    def handled(self, events: int, seconds: float) -> None:
        """Takes a measurement: so many events took so long, from first to last. Newer ones weigh more."""
        if not events:
            return
        measured = max(seconds, 0.0) / events
        known = self._seconds_per_event
        mean = self._seconds_per_event = measured if known is None else known + _WEIGHT * (measured - known)
        if mean * self._limit <= self._horizon:
            self.wanted = self._limit
        else:
            self.wanted = max(self._least, int(self._horizon / mean))
