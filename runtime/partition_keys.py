"""The partition key of an event, decoded or a row as it came from the database.

The listener routes by the key of a row, and decodes an event only where the key asks for it. A worker tells the
handler the key of the event that it has decoded anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import itemgetter

import msgspec

from ..handlers.declaration import KeyFunction
from ..handlers.partition import key_function
from ..handlers.resolve import Subscription, load_declared, load_function
from ..store.errors import DeserializationFailed
from ..store.rows import Row, decode_event
from ..store.serializer import Serializer

RowKey = Callable[[Row], Hashable]

_COLUMNS: dict[str, RowKey] = {
    "stream": itemgetter(1),
    "category": lambda row: row[1].partition("-")[0],
    "event_type": itemgetter(3),
    "correlation_id": itemgetter(5),
}
"""The keys that need no decoding of the event."""


class Undecoded(msgspec.Struct, frozen=True):
    """The key of a stream's events that cannot be decoded, which no function can give; as text the same everywhere."""

    stream: str

    def __str__(self) -> str:
        return f"undecodable events of {self.stream}"


def event_key(subscription: Subscription) -> KeyFunction | None:
    """The function that gives an event its partition key; None where events have none.

    Raises:
        ConfigurationError: The function that `partition_by` names cannot be imported.
    """
    where = f"subscription {subscription.name!r}: partition_by"
    option = load_declared(subscription, "partition_by")
    return key_function(option, lambda path: load_function(path, where=where))


def row_key(subscription: Subscription, serializer: Serializer) -> RowKey | None:
    """The function that gives a row its partition key; None where events have none.

    Raises:
        ConfigurationError: The function that `partition_by` names cannot be imported.
    """
    if subscription.partition_by in _COLUMNS:
        return _COLUMNS[subscription.partition_by]
    function = event_key(subscription)
    if function is None:
        return None

    def key(row: Row) -> Hashable:
        try:
            event = decode_event(row, serializer)
        except DeserializationFailed:
            # A worker fails at it too, under the policy of its subscription, and meanwhile holds up nothing else.
            return Undecoded(row[1])
        return function(event)

    return key
