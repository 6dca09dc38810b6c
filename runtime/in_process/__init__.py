"""Subscriptions in a user's own process, without any process of the runtime.

Re-exports only. `persistent.py` is the place to start reading: a thread drives the routing machine that the runtime's
listener drives in its process. `transient.py` and `waiting.py` need no thread.
"""

from .async_transient import AsyncTransientSubscription, subscribe_async
from .persistent import PersistentSubscription, subscribe_to_all_streams, subscribe_to_stream
from .subscriber import Subscriber
from .transient import TransientSubscription, subscribe
from .waiting import wait_for, wait_for_async

__all__ = [
    "AsyncTransientSubscription",
    "PersistentSubscription",
    "Subscriber",
    "TransientSubscription",
    "subscribe",
    "subscribe_async",
    "subscribe_to_all_streams",
    "subscribe_to_stream",
    "wait_for",
    "wait_for_async",
]
