"""What a changed configuration means for a running node: the difference between two plans. Pure.

Only subscriptions can change while a node runs. Whatever else differs is named, so that nobody waits for it to happen.
"""

from __future__ import annotations

import msgspec

from .plan import NodePlan

_KEPT = ("run",)
"""What belongs to the run of the node, not to its configuration."""


class Changes(msgspec.Struct, frozen=True):
    """The difference between what runs and what is to run.

    Attributes:
        plan: What is to run from now on: the old plan with the new subscriptions.
        ended: Subscriptions that end: removed, or changed and to begin again.
        begun: Subscriptions that begin: added, or changed.
        left_out: Parts of the plan that differ and take effect at the next start only, such as "store".
    """

    plan: NodePlan
    ended: tuple[str, ...]
    begun: tuple[str, ...]
    left_out: tuple[str, ...]


def changes(running: NodePlan, wanted: NodePlan) -> Changes:
    """Compares what runs with what the configuration says now."""
    old = {subscription.name: subscription for subscription in running.subscriptions}
    new = {subscription.name: subscription for subscription in wanted.subscriptions}
    others = (name for name in NodePlan.__struct_fields__ if name not in ("subscriptions", *_KEPT))
    return Changes(
        plan=msgspec.structs.replace(running, subscriptions=wanted.subscriptions),
        ended=tuple(name for name, subscription in old.items() if new.get(name) != subscription),
        begun=tuple(name for name, subscription in new.items() if old.get(name) != subscription),
        left_out=tuple(name for name in others if getattr(running, name) != getattr(wanted, name)),
    )
