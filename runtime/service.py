"""What the supervisor tells systemd: that the node is ready, how it is, that it turns, and that it stops.

Speaks the protocol of `Type=notify`, through sdnotify. Without a service manager (no NOTIFY_SOCKET) it tells nobody,
and whatever is wrong with the manager never concerns the node.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sdnotify import SystemdNotifier

from .status import NodeStatus


class Service:
    """The service manager of this process, if there is one.

    Args:
        environ: Where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are; usually `os.environ`.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._notifier = SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        if self._notifier is not None and self._notifier.socket is not None:
            # A service manager that does not read must not hold the supervisor up.
            self._notifier.socket.setblocking(False)
        self._watchdog = _watched(environ)
        self._ready = False
        self._stopping = False
        self._said = ""

    @property
    def watchdog(self) -> float | None:
        """Seconds after which the manager kills a node that has not said `turning`; None when it does not watch."""
        return self._watchdog

    def tell(self, status: NodeStatus) -> None:
        """Says what is new in the node's status: ready for the first time, or another state."""
        if status.ready and not self._ready:
            self._ready = True
            self._send("READY=1")
        said = describe(status)
        if said != self._said:
            self._said = said
            self._send(f"STATUS={said}")

    def turning(self) -> None:
        """Says that the supervisor's loop turns."""
        if self._watchdog is not None:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Says that the stop has begun."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1")

    def close(self) -> None:
        """Says nothing more."""
        notifier, self._notifier = self._notifier, None
        if notifier is not None and notifier.socket is not None:
            notifier.socket.close()

    def _send(self, assignment: str) -> None:
        if self._notifier is not None:
            # A line is an assignment, whatever names are in it. sdnotify encodes as latin-1, and leaves out silently
            # what does not fit.
            line = " ".join(assignment.splitlines())
            self._notifier.notify(line.encode("ascii", "backslashreplace").decode())


def describe(status: NodeStatus) -> str:
    """The node in one line, for `systemctl status`."""
    down = [child.name for child in status.children if child.state not in ("running", "finished")]
    halted = [s.name for s in status.subscriptions if s.state in ("halted", "failed")]
    parts = [f"{status.state}, {len(status.subscriptions)} subscriptions"]
    if status.state == "degraded":
        parts += [f"processes down: {', '.join(down)}"] if down else []
        parts += [f"subscriptions halted: {', '.join(halted)}"] if halted else []
    return "; ".join(parts)


def _watched(environ: Mapping[str, str]) -> float | None:
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not microseconds.isdigit() or int(microseconds) == 0 or (pid is not None and pid != str(os.getpid())):
        return None
    return int(microseconds) / 1e6
