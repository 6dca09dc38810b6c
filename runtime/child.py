"""One child of the supervisor over all its incarnations: its process, its control channel, and what is known of it."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from .channel import Channel
from .loop import Timer
from .messages import Message, ToSupervisor
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

    @property
    def alive(self) -> bool:
        """True from the start of its process until it is reaped."""
        return self.process is not None

    def tell(self, message: Message, descriptor: int | None = None) -> None:
        """Sends a control message to the living process, if any."""
        if self.control is not None:
            self.control.send(message, descriptor)

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
