"""From what children report to the status of the node. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from .plan import NodePlan
from .routing.state import Phase
from .status import ChildStatus, ListenerReport, NodeStatus, SubscriptionReport
from .version import version

_COUNTERS = ("finished", "failures", "skipped", "crashes")
_HEALTHY = (Phase.WAITING, Phase.CATCHING_UP, Phase.LIVE, Phase.PAUSED)


class Totals:
    """Adds the counters of listener processes that are gone to those of the living one, so that none goes back."""

    def __init__(self) -> None:
        self._kept = ListenerReport(subscriptions=[])

    def keep(self, report: bytes) -> None:
        """Takes over the last report of a listener that has ended."""
        self._kept = self.with_report(report)

    def with_report(self, report: bytes) -> ListenerReport:
        """The living listener's report, with all earlier counts added to its counters.

        Without one, the last known positions stay, and no subscription counts as running.
        """
        if not report:
            down = [msgspec.structs.replace(s, state=str(Phase.WAITING), **_DOWN) for s in self._kept.subscriptions]
            return msgspec.structs.replace(self._kept, subscriptions=down, listen_round_trip=None, listen_silent=False)
        current = msgspec.msgpack.decode(report, type=ListenerReport)
        kept = {subscription.name: subscription for subscription in self._kept.subscriptions}
        return ListenerReport(
            subscriptions=[_add(subscription, kept.get(subscription.name)) for subscription in current.subscriptions],
            notifications=current.notifications + self._kept.notifications,
            reads=current.reads + self._kept.reads,
            events_read=current.events_read + self._kept.events_read,
            listen_round_trip=current.listen_round_trip,
            listen_silent=current.listen_silent,
        )


_DOWN: dict[str, Any] = {
    "reason": "the listener is down",
    "idle": False,
    "in_flight": 0,
    "buffered": 0,
    "retrying": {},
    "workers": 0,
}


def _add(current: SubscriptionReport, kept: SubscriptionReport | None) -> SubscriptionReport:
    if kept is None:
        return current
    sums = {name: getattr(current, name) + getattr(kept, name) for name in _COUNTERS}
    return msgspec.structs.replace(current, **sums)


def summarize(
    plan: NodePlan,
    children: Sequence[ChildStatus],
    listener: ListenerReport,
    *,
    uptime: float,
    stopping: bool,
    pid: int,
    monitor: str,
) -> NodeStatus:
    """The status of a node.

    Args:
        plan: What it is to run.
        children: Its processes.
        listener: The last report, totals included; subscriptions it has not reported yet are "waiting".
        uptime: Seconds since the start.
        stopping: True once the stop has begun.
        pid: The supervisor's.
        monitor: The monitor's address, empty while it is not known.
    """
    reported = {report.name: report for report in listener.subscriptions}
    subscriptions = [
        reported.get(s.name)
        or SubscriptionReport(name=s.name, stream=s.stream, state=str(Phase.WAITING), reason="starting")
        for s in plan.subscriptions
    ]
    subscriptions = [_explain(report, children) for report in subscriptions]
    running = all(child.state in ("running", "finished") for child in children)
    healthy = all(report.state in _HEALTHY for report in subscriptions)
    ready = running and healthy and bool(reported)
    never_down = all(child.state in ("starting", "running", "finished") and not child.restarts for child in children)
    starting = never_down and healthy
    state = "stopping" if stopping else "running" if ready else "starting" if starting else "degraded"
    return NodeStatus(
        node=plan.node,
        state=state,
        ready=ready and not stopping,
        warnings=list(_warnings(children, listener)),
        pid=pid,
        version=version(),
        uptime=round(uptime, 3),
        monitor=monitor,
        children=list(children),
        subscriptions=subscriptions,
        listener=listener,
    )


def _warnings(children: Sequence[ChildStatus], listener: ListenerReport) -> Iterator[str]:
    if listener.listen_silent:
        yield (
            "notifications do not come through, events are found by polling: check that the LISTEN connection "
            "has a session of its own, past any pooler in transaction mode (session_mode_url)"
        )
    for child in children:
        if child.unstable:
            why = child.reason or "see log"
            yield f"process {child.name} was restarted {child.recent_restarts} times of late: {why}"


def _explain(report: SubscriptionReport, children: Sequence[ChildStatus]) -> SubscriptionReport:
    """Names a worker that cannot start: it is why its subscription does nothing."""
    for child in children:
        if child.state == "failed" and child.name.rpartition(":")[0] == f"worker:{report.name}":
            return msgspec.structs.replace(report, reason=child.reason, state="failed")
    return report
