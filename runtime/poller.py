"""Which descriptors are ready: the system's epoll, or whatever a system without it has."""

from __future__ import annotations

import select
import selectors
from typing import Final, Protocol

READ: Final = 1
WRITE: Final = 4
"""What to watch for, as epoll numbers it."""


class Poller(Protocol):
    """What the loop needs of `select.epoll`."""

    def register(self, descriptor: int, events: int, /) -> object:
        """Watches a descriptor for `READ`, `WRITE` or both."""
        ...

    def modify(self, descriptor: int, events: int, /) -> object:
        """Watches it for something else from now on."""
        ...

    def unregister(self, descriptor: int, /) -> object:
        """Watches it no longer. Raises `OSError`, `KeyError` or `ValueError` where it is closed or was not watched."""
        ...

    def poll(self, seconds: float | None, /) -> list[tuple[int, int]]:
        """The descriptors that are ready, and for what; waits so long for the first one, None: for ever."""
        ...

    def close(self) -> None:
        """Gives back what it has of the system."""
        ...


class SelectorPoller:
    """By the best selector that Python has on this system."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.unregister = self._selector.unregister
        self.close = self._selector.close

    def register(self, descriptor: int, events: int, /) -> None:
        """Watches a descriptor."""
        self._selector.register(descriptor, _SELECTED[events])

    def modify(self, descriptor: int, events: int, /) -> None:
        """Watches it for something else from now on."""
        self._selector.modify(descriptor, _SELECTED[events])

    def poll(self, seconds: float | None, /) -> list[tuple[int, int]]:
        """The descriptors that are ready."""
        return [(key.fd, _EVENTS[events]) for key, events in self._selector.select(seconds)]


_EVENTS = {selectors.EVENT_READ: READ, selectors.EVENT_WRITE: WRITE}
_EVENTS[selectors.EVENT_READ | selectors.EVENT_WRITE] = READ | WRITE
_SELECTED = {events: selected for selected, events in _EVENTS.items()}


def create_poller() -> Poller:
    """Epoll where there is one: asked directly, since its wrapper in `selectors` takes longer than the call."""
    return select.epoll() if hasattr(select, "epoll") else SelectorPoller()
