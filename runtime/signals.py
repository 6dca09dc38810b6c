"""Signals of the supervisor: they only wake its loop, and what they mean is decided there."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable

from .loop import Loop

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def take_signals(loop: Loop, stop: Callable[[], None], reload: Callable[[], None]) -> Callable[[], None]:
    """Calls `stop` on SIGTERM and SIGINT and `reload` on SIGHUP, from the loop.

    SIGHUP also tells that a terminal was closed; a node that somebody watched there stops with it.

    Returns:
        The way back to how it was.
    """
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    had_terminal = sys.stderr.isatty()
    previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    previous = {number: signal.signal(number, lambda *_: None) for number in _HANDLED}

    def on_signal() -> None:
        for number in reader.recv(64):
            if number == signal.SIGHUP and not (had_terminal and not sys.stderr.isatty()):
                reload()
            elif number in _HANDLED:
                stop()

    loop.watch(reader, on_signal)

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_fd)
        loop.unwatch(reader)
        reader.close()
        writer.close()

    return restore
