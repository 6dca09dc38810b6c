"""Has the configuration read anew by a process of its own, without waiting for it: the supervisor's part.

`planner.py` is what that process runs; `reload.py` says what follows from the new plan.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import structlog

from .loop import Loop
from .plan import NodePlan


class PlanAnswer(msgspec.Struct, frozen=True):
    """What came of reading the configuration anew: an encoded plan, or what is wrong."""

    plan: bytes = b""
    problem: str = ""


class Planning(NamedTuple):
    """A process that reads the configuration anew; it answers over the socket and ends."""

    process: Any
    answer: socket.socket


class Replanning:
    """Reads the configuration anew, one time after the other.

    Args:
        loop: The supervisor's loop.
        start: Starts the process that reads; None where the configuration cannot change.
        apply: Called with each new plan.
    """

    def __init__(self, loop: Loop, start: Callable[[], Planning] | None, apply: Callable[[NodePlan], None]) -> None:
        self._loop = loop
        self._start = start
        self._apply = apply
        self._running = False
        self._again = False
        self._log = structlog.get_logger(process="supervisor")

    def begin(self) -> None:
        """Begins to read; where it is being read just now, once more after that."""
        if self._start is None:
            self._log.warning("reload_ignored", reason="this node was started without a configuration file")
            return
        if self._running:
            self._again = True
            return
        self._log.info("reloading")
        try:
            planning = self._start()
        except OSError as error:
            self._log.error("reload_failed", reason=str(error))
            return
        self._running = True
        received = bytearray()
        self._loop.watch(planning.answer, lambda: self._read(planning, received))

    def _read(self, planning: Planning, received: bytearray) -> None:
        chunk = planning.answer.recv(65536)
        received += chunk
        if chunk:
            return
        self._loop.unwatch(planning.answer)
        planning.answer.close()
        planning.process.join()
        planning.process.close()
        self._running = False
        answer = PlanAnswer(problem="reading the configuration ended the process that did it")
        if received:
            answer = msgspec.msgpack.decode(received, type=PlanAnswer)
        if answer.plan:
            self._apply(NodePlan.decode(answer.plan))
        else:
            self._log.error("reload_failed", reason=answer.problem)
        if self._again:
            self._again = False
            self.begin()
