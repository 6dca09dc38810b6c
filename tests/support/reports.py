"""What processes report, made up: for tests of everything that is derived from reports."""

from __future__ import annotations

from typing import Any

import msgspec

from eventstore.handlers.resolve import Subscription
from eventstore.runtime.plan import NodePlan, StorePlan
from eventstore.runtime.status import ChildStatus, ListenerReport, NodeStatus, SubscriptionReport

NAMES = ("lock-holder", "listener", "worker:a:0", "worker:b:0", "monitor")


def node_plan(*names: str, **options: Any) -> NodePlan:
    """A plan with these subscriptions, "a" and "b" if none are named."""
    subscriptions = tuple(Subscription(name=name, handler="m:f") for name in names or ("a", "b"))
    store = StorePlan(url="postgresql://localhost/x", session_url="postgresql://localhost/x")
    return NodePlan(node="one", store=store, subscriptions=subscriptions, **options)


def running(*but: ChildStatus) -> list[ChildStatus]:
    """All children, running, but for those given."""
    changed = {child.name: child for child in but}
    return [changed.get(name, ChildStatus(name=name, state="running", pid=7)) for name in NAMES]


def subscription(name: str = "a", **facts: Any) -> SubscriptionReport:
    """A live subscription's report."""
    return SubscriptionReport(**{"name": name, "stream": "$all", "state": "live", "checkpoint": 5, "head": 5, **facts})


def listener(*subscriptions: SubscriptionReport, **facts: Any) -> ListenerReport:
    """A listener's report, of the live subscriptions "a" and "b" if none are given."""
    return ListenerReport(subscriptions=list(subscriptions) or [subscription("a"), subscription("b")], **facts)


def encoded(report: ListenerReport) -> bytes:
    """A report as it comes with a heartbeat."""
    return msgspec.msgpack.encode(report)


def node_status(*subscriptions: SubscriptionReport, **facts: Any) -> NodeStatus:
    """The status of a node that runs."""
    report = listener(*subscriptions, notifications=3, reads=4, events_read=50)
    given = {
        "node": "one",
        "state": "running",
        "ready": True,
        "warnings": [],
        "pid": 1,
        "version": "0.1.0",
        "uptime": 12.5,
        "monitor": "http://127.0.0.1:9464",
        "children": running(),
        "subscriptions": report.subscriptions,
        "listener": report,
    }
    return NodeStatus(**{**given, **facts})
