"""An event store on PostgreSQL and the runtime that runs its subscriptions.

The public face: what applications and handlers import. Re-exports only, each looked up when it is first used, so that
`import eventstore` costs next to nothing. The rest of `eventstore.store` and `eventstore.handlers` is public too;
`eventstore.runtime` is what the command `eventstore-runtime` runs; only its `in_process` is for applications.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .handlers import Ack, AsyncContext, Context, DoneUpTo, Park, Retry, Skip, Stop, handler
    from .runtime.in_process import (
        AsyncTransientSubscription,
        PersistentSubscription,
        Subscriber,
        TransientSubscription,
        subscribe,
        subscribe_async,
        subscribe_to_all_streams,
        subscribe_to_stream,
        wait_for,
        wait_for_async,
    )
    from .store import (
        AsyncEventStore,
        CannotAppendToAllStream,
        CannotDeleteAllStream,
        ConfigurationError,
        Conflict,
        DeserializationFailed,
        DuplicateEvent,
        EventData,
        EventNotFound,
        EventStore,
        EventStoreError,
        EventTypes,
        ExpectedStreamMissing,
        ExpectedVersion,
        HardDeleteNotEnabled,
        InMemoryEventStore,
        RecordedEvent,
        SchemaMismatch,
        SchemaMissing,
        SerializationFailed,
        Snapshot,
        SnapshotNotFound,
        SnapshotUnreadable,
        StoreError,
        StoreUnavailable,
        StreamDeleted,
        StreamExists,
        StreamNameTooLong,
        StreamNotFound,
        SubscriptionAlreadyExists,
        SubscriptionHalted,
        SubscriptionNotFound,
        TooManySubscribers,
        TypedSerializer,
        UnexpectedAck,
        UpcastFailed,
        WaitTimeout,
        WrongExpectedVersion,
        get_async_store,
        get_store,
        running_stores,
        start_store,
    )

__all__ = [
    "Ack",
    "AsyncContext",
    "AsyncEventStore",
    "AsyncTransientSubscription",
    "CannotAppendToAllStream",
    "CannotDeleteAllStream",
    "ConfigurationError",
    "Conflict",
    "Context",
    "DeserializationFailed",
    "DoneUpTo",
    "DuplicateEvent",
    "EventData",
    "EventNotFound",
    "EventStore",
    "EventStoreError",
    "EventTypes",
    "ExpectedStreamMissing",
    "ExpectedVersion",
    "HardDeleteNotEnabled",
    "InMemoryEventStore",
    "Park",
    "PersistentSubscription",
    "RecordedEvent",
    "Retry",
    "SchemaMismatch",
    "SchemaMissing",
    "SerializationFailed",
    "Skip",
    "Snapshot",
    "SnapshotNotFound",
    "SnapshotUnreadable",
    "Stop",
    "StoreError",
    "StoreUnavailable",
    "StreamDeleted",
    "StreamExists",
    "StreamNameTooLong",
    "StreamNotFound",
    "Subscriber",
    "SubscriptionAlreadyExists",
    "SubscriptionHalted",
    "SubscriptionNotFound",
    "TooManySubscribers",
    "TransientSubscription",
    "TypedSerializer",
    "UnexpectedAck",
    "UpcastFailed",
    "WaitTimeout",
    "WrongExpectedVersion",
    "get_async_store",
    "get_store",
    "handler",
    "running_stores",
    "start_store",
    "subscribe",
    "subscribe_async",
    "subscribe_to_all_streams",
    "subscribe_to_stream",
    "wait_for",
    "wait_for_async",
]

_HOMES = {
    ".handlers": {"Ack", "AsyncContext", "Context", "DoneUpTo", "Park", "Retry", "Skip", "Stop", "handler"},
    ".runtime.in_process": {
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
    },
}


def __getattr__(name: str) -> Any:
    """Finds a public name in the package it comes from, and keeps it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), ".store")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value


def __dir__() -> list[str]:
    """Lists the public names too, used or not."""
    return sorted({*globals(), *__all__})
