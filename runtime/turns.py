"""Whose turn it is where only one may be at work: careful deliveries, of which one at a time tells the guilty.

Owned by the listener. When a node dies, every event that was stored as begun is suspected; with one of them at a time
nobody else is. A turn ends by itself after a while, so that a handler that takes long keeps nobody waiting. No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

LONGEST = 1.0
"""Seconds after which a turn is over though its holder has not given it back; what kills a node mostly does so soon."""


class Turns:
    """One holder at a time, the others in order.

    Args:
        call_later: Runs a function once after so many seconds.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._call_later = call_later
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()
        self.holder = ""
        """Whose turn it is; empty where it is nobody's."""
        self._serial = 0

    def take(self, name: str, begin: Callable[[], None]) -> None:
        """Calls `begin` when it is the turn of `name`, which may be at once; gives back a turn that it has."""
        if self.holder == name:
            self.holder = ""
        self._waiting.append((name, begin))
        self._go_on()

    def give_back(self, name: str) -> None:
        """It is the next one's turn, if it was that of `name`."""
        if self.holder == name:
            self.holder = ""
            self._go_on()

    def _go_on(self) -> None:
        if self.holder or not self._waiting:
            return
        self.holder, begin = self._waiting.popleft()
        self._serial += 1
        holder, serial = self.holder, self._serial
        self._call_later(LONGEST, lambda: self._expire(holder, serial))
        begin()

    def _expire(self, holder: str, serial: int) -> None:
        if serial == self._serial:
            self.give_back(holder)
