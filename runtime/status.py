"""What a node tells about itself: the reports its processes send, and the status made of them.

The supervisor collects the reports, the monitor serves the status as JSON and as metrics. Numbers belong
to subscriptions, never to process ids, so that a dead process leaves no series behind.
"""

from __future__ import annotations

import msgspec


class SubscriptionReport(msgspec.Struct, frozen=True, kw_only=True):
    """The listener's view of one subscription.

    Attributes:
        state: See `routing.state.Phase`.
        reason: One sentence for a state that is not live or catching up, else empty.
        owner: The owning node where another one owns it, else empty.
        checkpoint: Last confirmed checkpoint (`last_seen`); None while unknown.
        head: Newest event number of the stream that was heard of; None while unknown.
        in_flight: Events delivered and not finished.
        buffered: Events in memory and not finished, in flight included.
        retrying: Events that failed and wait for another attempt, with the attempt that comes next.
        finished: Events finished since this listener process started.
        failures: Calls of the handler that ended in an exception, since this listener process started.
        skipped: Events left out for good, since this listener process started.
        crashes: Workers that died of an event, since this listener process started.
        parked: Parked events, held ones included.
        workers: Workers that are ready.
        idle: True when everything is read, finished and checkpointed.
    """

    name: str
    stream: str
    state: str
    reason: str = ""
    owner: str = ""
    epoch: int = 0
    checkpoint: int | None = None
    head: int | None = None
    in_flight: int = 0
    buffered: int = 0
    retrying: dict[int, int] = {}
    finished: int = 0
    failures: int = 0
    skipped: int = 0
    crashes: int = 0
    parked: int = 0
    workers: int = 0
    idle: bool = False

    @property
    def lag(self) -> int | None:
        """Events between checkpoint and head; None while one of them is unknown."""
        if self.checkpoint is None or self.head is None:
            return None
        return max(0, self.head - self.checkpoint)


class ListenerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the listener sends with its heartbeat; counts since its process started.

    Attributes:
        listen_round_trip: Seconds that the last notification to itself took to come back; None before the first.
        listen_silent: True while such notifications do not come back: events are found by polling alone.
    """

    subscriptions: list[SubscriptionReport]
    notifications: int = 0
    reads: int = 0
    events_read: int = 0
    listen_round_trip: float | None = None
    listen_silent: bool = False


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the node.

    Attributes:
        state: "starting", "running", "silent" (its loop does not turn), "backing_off", "failed" (it cannot run as
            configured), "finished" or "stopped".
        reason: Why it is not running, in one sentence.
        restarts: Restarts since the node started.
        recent_restarts: Restarts within the last `[restart] max_seconds`.
        unstable: True while these are more than `[restart] max_restarts`.
        last_exit: How its last incarnation ended, such as "SIGKILL"; empty if none has.
    """

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    recent_restarts: int = 0
    unstable: bool = False
    last_exit: str = ""
    reason: str = ""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole node, as `/status` shows it.

    Attributes:
        state: "starting", "running", "degraded" (a process is down or a subscription halted) or "stopping".
        ready: True when every process runs and every subscription is live, catching up, paused or on standby.
        warnings: What works, but not as it should; one sentence each.
        uptime: Seconds since the supervisor started.
    """

    node: str
    state: str
    ready: bool
    warnings: list[str]
    pid: int
    version: str
    uptime: float
    monitor: str
    children: list[ChildStatus]
    subscriptions: list[SubscriptionReport]
    listener: ListenerReport


def status_json(status: NodeStatus) -> bytes:
    """The status as JSON, with each subscription's lag."""
    plain = msgspec.to_builtins(status)
    del plain["listener"]["subscriptions"]
    for shown, report in zip(plain["subscriptions"], status.subscriptions, strict=True):
        shown["lag"] = report.lag
        shown["retrying"] = {str(number): attempt for number, attempt in report.retrying.items()}
    return msgspec.json.encode(plain)
