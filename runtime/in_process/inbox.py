"""A queue of commands for a thread that waits in `select`: whoever adds one wakes it."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

Command = Callable[[], None]


class Inbox:
    """Commands from many threads for one, in the order they came."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)

    def fileno(self) -> int:
        """The descriptor that is readable when commands may have come."""
        return self._bell.fileno()

    def send(self, command: Command) -> None:
        """Add a command; after `close` nobody takes it."""
        self._commands.append(command)
        # A full bell rings already; a closed one has nobody to wake.
        with suppress(OSError):
            self._ring.send(b"\0")

    def silence(self) -> None:
        """Make the descriptor unreadable until the next command comes."""
        with suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass

    def take(self) -> Iterator[Command]:
        """Yield the commands that have come; those not asked for stay."""
        while self._commands:
            yield self._commands.popleft()

    def close(self) -> None:
        """Close the descriptors."""
        self._bell.close()
        self._ring.close()
