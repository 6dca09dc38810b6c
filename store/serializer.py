"""How the data and metadata of events become bytes and come back.

Owns the `Serializer` protocol and the JSON default, which matches commanded/eventstore's `JsonSerializer`. `append.py`
and `rows.py` call it; it knows nothing of the database. A jsonb column needs a serializer that writes JSON.
`typed_serializer.py` builds objects on top of it, `etf_serializer.py` reads another format.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import msgspec
import orjson


class Serializer(Protocol):
    """Turns values into bytes and back. Mirrors the `EventStore.Serializer` behaviour.

    None as metadata is given to it only where its attribute `takes_none` is true; otherwise SQL's null is stored.
    """

    def serialize(self, value: Any) -> bytes:
        """Return the bytes to store for `value`; raise any exception when it cannot be stored."""

    def deserialize(self, payload: bytes, event_type: str) -> Any:
        """Return the value stored as `payload`; raise any exception when it cannot be read.

        Args:
            payload: The stored bytes.
            event_type: The type of the event, for serializers that build objects from it.
        """


class VersionedSerializer(Serializer, Protocol):
    """A serializer that also knows versions of data, as `TypedSerializer` does; it has both methods or neither."""

    def stamp(self, event_type: str, data: Any, metadata: Any) -> Any:
        """Return the metadata to store with this data; raise any exception when the data cannot be stored so."""

    def upcast(self, event_type: str, data: Any, metadata: Any) -> Any:
        """Return decoded data as the application wants it today; raise any exception when that fails."""


class JsonSerializer:
    """JSON as UTF-8: what the Elixir library's JSON serializers write and read.

    Takes what JSON knows, and dataclasses, msgspec structs, UUID, date and time, Decimal, enums and sets, which come
    back as dicts, strings and lists. Numbers above 64 bits and keys other than strings are refused; NaN becomes null.

    Attributes:
        takes_none: True: where there is no metadata, JSON's null is stored, as commanded/eventstore does, whose
            serializers raise when they read SQL's.
    """

    takes_none = True

    def serialize(self, value: Any) -> bytes:
        """Return `value` as JSON. Raises `TypeError` for what JSON cannot hold."""
        return orjson.dumps(value, default=msgspec.to_builtins)

    def deserialize(self, payload: bytes, event_type: str) -> Any:
        """Return the value of a JSON text; `event_type` is not used. Raises `ValueError` for other bytes."""
        return orjson.loads(payload)


def serialized(serializer: Serializer, event_type: str, data: Any, metadata: Any) -> tuple[bytes, bytes | None]:
    """Return data and metadata as they are stored. Raises whatever the serializer raises, or `TypeError`."""
    if hasattr(serializer, "stamp"):
        metadata = cast("VersionedSerializer", serializer).stamp(event_type, data, metadata)
    if metadata is None and not getattr(serializer, "takes_none", False):
        return _bytes(serializer, data), None
    return _bytes(serializer, data), _bytes(serializer, metadata)


def _bytes(serializer: Serializer, value: Any) -> bytes:
    payload: object = serializer.serialize(value)
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise TypeError(f"{type(serializer).__name__} returned {type(payload).__name__} instead of bytes")


def deserialized(serializer: Serializer, event_type: str, data: bytes, metadata: bytes | None) -> tuple[Any, Any]:
    """Return stored data and metadata as the application gets them. Raises whatever the serializer raises."""
    value = serializer.deserialize(data, event_type)
    facts = None if metadata is None else serializer.deserialize(metadata, event_type)
    if hasattr(serializer, "upcast"):
        value = cast("VersionedSerializer", serializer).upcast(event_type, value, facts)
    return value, facts
