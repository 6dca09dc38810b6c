"""The event store: append, read and subscription records on PostgreSQL, without any process of its own.

Re-exports the public names and nothing else; `event_store.py` is the place to start reading.
"""

from .connection import Connection, connect, run
from .embedded import EmbeddedServer, open_url
from .errors import (
    CannotAppendToAllStream,
    ConfigurationError,
    Conflict,
    DeserializationFailed,
    DuplicateEvent,
    EventStoreError,
    ExpectedStreamMissing,
    InvalidNotification,
    OwnershipLost,
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
from .event_store import EventStore
from .notifications import MAX_STREAM_NAME_BYTES, Notification
from .schema import Initialised, check, initialise
from .serializer import JsonSerializer, Serializer
from .settings import StoreSettings
from .sql import Statements
from .translate import redact
from .types import (
    ALL_STREAM,
    AppendResult,
    CheckpointResult,
    EventData,
    Expected,
    ExpectedVersion,
    Ownership,
    RecordedEvent,
    StartFrom,
    StreamInfo,
    SubscriptionLag,
    SubscriptionRecord,
)

__all__ = [
    "ALL_STREAM",
    "MAX_STREAM_NAME_BYTES",
    "AppendResult",
    "CannotAppendToAllStream",
    "CheckpointResult",
    "ConfigurationError",
    "Conflict",
    "Connection",
    "DeserializationFailed",
    "DuplicateEvent",
    "EmbeddedServer",
    "EventData",
    "EventStore",
    "EventStoreError",
    "Expected",
    "ExpectedStreamMissing",
    "ExpectedVersion",
    "Initialised",
    "InvalidNotification",
    "JsonSerializer",
    "Notification",
    "Ownership",
    "OwnershipLost",
    "RecordedEvent",
    "SchemaMismatch",
    "SchemaMissing",
    "SerializationFailed",
    "Serializer",
    "StartFrom",
    "Statements",
    "StoreError",
    "StoreSettings",
    "StoreUnavailable",
    "StreamDeleted",
    "StreamExists",
    "StreamInfo",
    "StreamNameTooLong",
    "StreamNotFound",
    "SubscriptionLag",
    "SubscriptionNotFound",
    "SubscriptionRecord",
    "WrongExpectedVersion",
    "check",
    "connect",
    "initialise",
    "open_url",
    "redact",
    "run",
]
