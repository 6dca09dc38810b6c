"""Children that do nothing: some die at once, one lives and sees it. In a module of their own, so that they import."""

from __future__ import annotations

import os
import signal
from typing import Any

from eventstore.runtime.actor import Actor
from eventstore.runtime.plan import NodePlan


class Mayfly(Actor):
    """Dies at once, one way or the other."""

    def start(self) -> str:
        """Dies."""
        if int(self.name.rpartition(":")[2]) % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)


class Witness(Actor):
    """Lives, and gets a channel to every mayfly."""

    def start(self) -> str:
        """Does nothing."""
        return ""


def build_mayfly(name: str, plan: NodePlan, control: Any) -> Actor:
    """For the child."""
    return Mayfly(name, plan, control)


def build_witness(name: str, plan: NodePlan, control: Any) -> Actor:
    """For the child."""
    return Witness(name, plan, control)
