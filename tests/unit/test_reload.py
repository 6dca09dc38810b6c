"""The difference between what runs and what is to run."""

from __future__ import annotations

import msgspec

from eventstore.handlers.resolve import Subscription
from eventstore.runtime.plan import MonitorPlan
from eventstore.runtime.reload import changes
from eventstore.tests.support.reports import node_plan


def test_the_same_plan_changes_nothing() -> None:
    plan = node_plan("a", "b")
    found = changes(plan, node_plan("a", "b", run="another run"))
    assert (found.plan, found.ended, found.begun, found.left_out) == (plan, (), (), ())


def test_subscriptions_end_begin_or_do_both() -> None:
    running = node_plan("kept", "changed", "removed")
    changed = Subscription(name="changed", handler="m:f", concurrency=2)
    wanted = node_plan("kept", "added")
    wanted = msgspec.structs.replace(wanted, subscriptions=(*wanted.subscriptions, changed))
    found = changes(running, wanted)
    assert found.ended == ("changed", "removed")
    assert found.begun == ("added", "changed")
    assert found.plan.subscriptions == wanted.subscriptions


def test_whatever_else_differs_is_named_and_left_as_it_is() -> None:
    running = node_plan("a", run="this run")
    found = changes(running, node_plan("a", grace=1.0, monitor=MonitorPlan(port=1)))
    assert set(found.left_out) == {"grace", "monitor"}
    assert found.plan == running
