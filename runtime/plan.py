"""What a node is to run: settled, frozen, and handed to every child as bytes.

Made once by `launch.py` from the configuration and the resolved handlers. Children get no files, no
environment and no live objects to interpret: nothing of the user's is pickled.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ..handlers.resolve import Subscription
from .restart import RestartPolicy


class StorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the event store, and how to read its events.

    Attributes:
        session_url: Where to connect for LISTEN and the advisory locks.
        serializer: Dotted path of the serializer; empty for JSON.
    """

    url: str
    session_url: str
    schema: str = "public"
    timeout: float = 15.0
    connect_timeout: float = 10.0
    prepare_threshold: int | None = 5
    serializer: str = ""


class MonitorPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where the monitor listens; port 0 takes any free one, as does a taken port with `any_port_if_taken`.

    `token` is what `/status` asks for, empty for nothing.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 9464
    any_port_if_taken: bool = False
    token: str = ""


class LogPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged and how."""

    level: str = "info"
    format: Literal["console", "json"] = "console"


class NodePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the processes of a node need to know. Durations in seconds."""

    node: str
    run: str = ""
    """Names this run of the node, so that the database can tell a restart of its processes from one of the node."""
    store: StorePlan
    subscriptions: tuple[Subscription, ...]
    python_path: tuple[str, ...] = ()
    monitor: MonitorPlan = MonitorPlan()
    log: LogPlan = LogPlan()
    restart: RestartPolicy = RestartPolicy()
    start_method: Literal["forkserver", "spawn"] = "forkserver"
    grace: float = 15.0
    heartbeat_interval: float = 1.0
    heartbeat_timeout: float = 30.0
    lock_retry_interval: float = 2.0
    poll_interval: float = 5.0
    canary_interval: float = 5.0

    def encode(self) -> bytes:
        """The plan as bytes for a child."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(data: bytes) -> NodePlan:
        """The plan from a parent's bytes."""
        return msgspec.msgpack.decode(data, type=NodePlan)

    def subscription(self, name: str) -> Subscription:
        """The subscription of that name."""
        return next(s for s in self.subscriptions if s.name == name)
