"""One child of the supervisor over all its incarnations: its process, its control channel, and what is known of it."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from .channel import Channel
from .loop import Timer
from .messages import Attach, Message, PeerExited, ToSupervisor
from .restart import ChildHistory, RestartPolicy
from .status import ChildStatus
from .topology import ChildSpec


class Child:
    """One child over all its incarnations, as the supervisor sees it."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.history = ChildHistory()
        self.state = "starting"
        self.reason = ""
        self.process: Any = None
        self.control: Channel[ToSupervisor] | None = None
        self.started_at = 0.0
        self.last_beat = 0.0
        self.report = b""
        self.detail = ""
        self.timer: Timer | None = None
        self.leaving = False
        """True when the node's plan holds it no more, or otherwise."""
        self._unread: set[str] = set()
        self._held: dict[str, tuple[socket.socket, bool]] = {}

    @property
    def alive(self) -> bool:
        """True from the start of its process until it is reaped."""
        return self.process is not None

    def tell(self, message: Message, descriptor: int | None = None) -> None:
        """Sends a control message to the living process, if any."""
        if self.control is not None:
            self.control.send(message, descriptor)

    def attach(self, peer: str, end: socket.socket, busy: bool) -> None:
        """Hands over its end of a fresh channel to a peer (after_restart); the caller closes its own copy.

        A worker may be in its handler for hours, while others are restarted again and again. So it is given one channel
        to a peer at a time; until it has read of that, only the newest one is kept for it.

        Raises:
            OSError: There is no descriptor left to keep it.
        """
        self._let_go(peer)
        if peer in self._unread and not self.spec.watched:
            self._held[peer] = (end.dup(), busy)
            return
        self._unread.add(peer)
        self.tell(Attach(peer, busy), end.fileno())

    def detach(self, peer: str, died: str) -> None:
        """Tells that a peer is gone (after_exit)."""
        self._let_go(peer)
        self.tell(PeerExited(peer, died))

    def heard(self, now: float) -> None:
        """It has given a sign of life: what it was told before, it has read."""
        self.last_beat = now
        self._unread.clear()
        held, self._held = self._held, {}
        for peer, (end, busy) in held.items():
            with end:
                self.attach(peer, end, busy)

    def ended(self) -> None:
        """Its process is reaped, and its channel closed."""
        self.process = self.control = None
        self._unread.clear()
        for peer in list(self._held):
            self._let_go(peer)

    def _let_go(self, peer: str) -> None:
        held = self._held.pop(peer, None)
        if held is not None:
            held[0].close()

    def send_signal(self, number: int) -> None:
        """Sends a signal to the living process, if any."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def silent_for(self, now: float) -> float:
        """Seconds since its last sign of life; 0 where none is asked for."""
        return now - self.last_beat if self.alive and self.spec.watched else 0.0

    def status(self, policy: RestartPolicy, now: float, patience: float) -> ChildStatus:
        """What the node's status says of it; after `patience` seconds without a sign of life, that it is silent."""
        state, reason, silent_for = self.state, self.reason, self.silent_for(now)
        if silent_for > patience:
            state, reason = "silent", f"no sign of life for {silent_for:.0f} s"
        return ChildStatus(
            name=self.spec.name,
            state=state,
            pid=self.process.pid if self.process is not None else None,
            restarts=self.history.restarts,
            recent_restarts=self.history.recent_restarts(policy, now),
            unstable=self.history.unstable(policy, now),
            last_exit=self.history.last_exit,
            reason=reason,
        )
