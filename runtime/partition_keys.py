"""The partition key of a row as it came from the database; decodes the event only where the key asks for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import itemgetter

from ..handlers.declaration import declared_options
from ..handlers.partition import key_function
from ..handlers.resolve import DECLARED, Subscription, load_function
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

_UNDECODED = object()
"""Sets the partition of a stream's events that cannot be decoded apart from all that keys can be."""


def row_key(subscription: Subscription, serializer: Serializer) -> RowKey | None:
    """The function that gives a row its partition key; None where events have none.

    Raises:
        ConfigurationError: The function that `partition_by` names cannot be imported.
    """
    option = subscription.partition_by
    if option is None:
        return None
    if option in _COLUMNS:
        return _COLUMNS[option]
    where = f"subscription {subscription.name!r}: partition_by"
    if option == DECLARED:
        declared = declared_options(load_function(subscription.handler, where=where)).partition_by
    else:
        declared = option
    function = key_function(declared, lambda path: load_function(path, where=where))
    if function is None:
        return None

    def key(row: Row) -> Hashable:
        try:
            event = decode_event(row, serializer)
        except DeserializationFailed:
            # A worker fails at it too, under the policy of its subscription, and meanwhile holds up nothing else.
            return _UNDECODED, row[1]
        return function(event)

    return key
