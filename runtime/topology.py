"""The process tree of a node as a list: which children there are, what runs in them, who talks to whom.

The supervisor gets this list and knows no actor; actors know messages and no supervisor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from .actor import Actor
from .listener import Listener
from .lock_holder import LockHolder
from .messages import ChildRole
from .monitor import Monitor
from .plan import NodePlan
from .worker import Worker

Build = Callable[[str, NodePlan, socket.socket], Actor]


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One child of the supervisor.

    Attributes:
        name: Unique name: "listener", "lock-holder", "monitor", "worker:SUBSCRIPTION:SLOT".
        build: Makes the actor inside the child process.
        peers: Names of the children it has a channel to.
        subscription: The subscription it works for, if it is a worker.
        watched: True when a missing heartbeat means that it hangs; a worker may be busy in a handler for long.
        stop_order: Children of a lower number are stopped, and gone, before those of a higher one are.
        once: True for a child that has done its work when it exits with code 0.
    """

    name: str
    role: ChildRole
    build: Build
    peers: tuple[str, ...] = ()
    subscription: str = ""
    watched: bool = True
    stop_order: int = 0
    once: bool = False


def process_tree(plan: NodePlan) -> list[ChildSpec]:
    """The children of a node, in the order in which they are started.

    They are stopped in this order: the listener drains every subscription, then the workers have nothing
    left, then the lock-holder gives the locks back; the monitor answers until the end.
    """
    workers = [
        ChildSpec(
            name=f"worker:{subscription.name}:{slot}",
            role="worker",
            build=Worker,
            peers=("listener",),
            subscription=subscription.name,
            watched=False,
            stop_order=1,
        )
        for subscription in plan.subscriptions
        for slot in range(subscription.concurrency)
    ]
    listener = ChildSpec(
        name="listener", role="listener", build=Listener, peers=("lock-holder", *(w.name for w in workers))
    )
    lock_holder = ChildSpec(name="lock-holder", role="lock-holder", build=LockHolder, peers=("listener",), stop_order=2)
    monitor = ChildSpec(name="monitor", role="monitor", build=Monitor, stop_order=3)
    return [lock_holder, listener, *workers, *([monitor] if plan.monitor.enabled else [])]
