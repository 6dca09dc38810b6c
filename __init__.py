"""An event store on PostgreSQL and the runtime that runs its subscriptions.

The public face: what applications and handlers import. Re-exports only, each looked up when it is first used, so that
`import eventstore` costs next to nothing. The rest of `eventstore.store` and `eventstore.handlers` is public too;
`eventstore.runtime` is what the command `eventstore-runtime` runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .handlers import Ack, Context, Retry, Skip, Stop, handler
    from .store import (
        CannotAppendToAllStream,
        ConfigurationError,
        Conflict,
        DeserializationFailed,
        DuplicateEvent,
        EventData,
        EventStore,
        EventStoreError,
        ExpectedStreamMissing,
        ExpectedVersion,
        RecordedEvent,
        SchemaMismatch,
        SchemaMissing,
        SerializationFailed,
        StoreError,
        StoreUnavailable,
        StreamDeleted,
        StreamExists,
        StreamNameTooLong,
        StreamNotFound,
        SubscriptionNotFound,
        WrongExpectedVersion,
    )

__all__ = [
    "Ack",
    "CannotAppendToAllStream",
    "ConfigurationError",
    "Conflict",
    "Context",
    "DeserializationFailed",
    "DuplicateEvent",
    "EventData",
    "EventStore",
    "EventStoreError",
    "ExpectedStreamMissing",
    "ExpectedVersion",
    "RecordedEvent",
    "Retry",
    "SchemaMismatch",
    "SchemaMissing",
    "SerializationFailed",
    "Skip",
    "Stop",
    "StoreError",
    "StoreUnavailable",
    "StreamDeleted",
    "StreamExists",
    "StreamNameTooLong",
    "StreamNotFound",
    "SubscriptionNotFound",
    "WrongExpectedVersion",
    "handler",
]

_OF_HANDLERS = frozenset({"Ack", "Context", "Retry", "Skip", "Stop", "handler"})


def __getattr__(name: str) -> Any:
    """Finds a public name in the package it comes from, and keeps it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(".handlers" if name in _OF_HANDLERS else ".store", __name__)
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    """Lists the public names too, used or not."""
    return sorted({*globals(), *__all__})
