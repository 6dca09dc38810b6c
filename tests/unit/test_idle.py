"""When a node has nothing left to do, and when it never will."""

from __future__ import annotations

import pytest

from eventstore.runtime.idle import is_idle, is_misconfigured, stuck
from eventstore.runtime.status import SubscriptionReport
from eventstore.tests.support.reports import node_status, subscription

DONE = subscription("done", idle=True)
BUSY = subscription("busy", idle=False)
STANDBY = subscription("standby", state="waiting", owner="two", checkpoint=5, head=5)


@pytest.mark.parametrize(
    ("subscriptions", "idle"),
    [
        ([DONE], True),
        ([BUSY], False),
        ([DONE, BUSY], False),
        ([DONE, STANDBY], True),
        ([subscription(state="waiting", owner="two", checkpoint=4, head=5)], False),
        ([subscription(state="waiting", owner="two", checkpoint=5, head=None)], False),
        ([subscription(state="waiting", owner="two", checkpoint=None, head=5)], False),
        ([subscription(state="waiting", owner="", checkpoint=5, head=5)], False),
    ],
)
def test_a_node_is_idle_when_every_subscription_has_caught_up(
    subscriptions: list[SubscriptionReport], idle: bool
) -> None:
    assert is_idle(node_status(*subscriptions)) is idle


@pytest.mark.parametrize(
    ("report", "target", "idle"),
    [(DONE, 5, True), (DONE, 6, False), (STANDBY, 5, True), (STANDBY, 6, False), (BUSY, 5, False)],
)
def test_a_target_must_be_reached_besides(report: SubscriptionReport, target: int, idle: bool) -> None:
    assert is_idle(node_status(report), target) is idle


@pytest.mark.parametrize(("target", "idle"), [(0, True), (1, False)])
def test_a_subscription_without_a_checkpoint_is_at_zero(target: int, idle: bool) -> None:
    assert is_idle(node_status(subscription(checkpoint=None, idle=True)), target) is idle


def test_a_halted_or_failed_subscription_is_why_it_never_gets_idle() -> None:
    assert stuck(node_status(DONE, BUSY, STANDBY)) == ""
    halted = subscription("h", state="halted", reason="halted at event 3: no further")
    assert stuck(node_status(DONE, halted)) == "subscription 'h': halted at event 3: no further"
    failed = subscription("f", state="failed", reason="there is no module 'x'")
    assert stuck(node_status(failed)) == "subscription 'f': there is no module 'x'"
    assert [is_misconfigured(node_status(DONE, one)) for one in (BUSY, halted, failed)] == [False, False, True]
