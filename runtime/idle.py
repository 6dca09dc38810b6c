"""When a node has nothing left to do: the decision behind `--until-idle`. Pure."""

from __future__ import annotations

from .routing.state import Phase
from .status import NodeStatus, SubscriptionReport


def is_idle(status: NodeStatus, target: int | None = None) -> bool:
    """True when every subscription has caught up, here or on the node that owns it.

    Args:
        status: The node's status.
        target: The position that every checkpoint must have reached, besides; None for no such position.
    """
    return all(_caught_up(subscription, target) for subscription in status.subscriptions)


def stuck(status: NodeStatus) -> str:
    """Why it can never become idle, in one sentence; empty while it can."""
    for subscription in status.subscriptions:
        if subscription.state in (Phase.HALTED, "failed"):
            return f"subscription {subscription.name!r}: {subscription.reason}"
    return ""


def is_misconfigured(status: NodeStatus) -> bool:
    """True when a subscription cannot run as configured, so that starting again would not help."""
    return any(subscription.state == "failed" for subscription in status.subscriptions)


def _caught_up(subscription: SubscriptionReport, target: int | None) -> bool:
    if target is not None and (subscription.checkpoint or 0) < target:
        return False
    if subscription.state == Phase.WAITING:
        return bool(subscription.owner) and subscription.head is not None and subscription.lag == 0
    return subscription.idle
