"""The routing of subscriptions, pure: what happened goes in, what to do comes out."""

from .machine import SubscriptionMachine
from .state import Entry, Phase, RoutingOptions

__all__ = ["Entry", "Phase", "RoutingOptions", "SubscriptionMachine"]
