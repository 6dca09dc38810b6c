"""How the data and metadata of events become bytes and come back.

Owns the `Serializer` protocol and the JSON default, which matches commanded/eventstore's `JsonSerializer`. `append.py`
and `rows.py` call it; it knows nothing of the database. A jsonb column needs a serializer that writes JSON.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import orjson


class Serializer(Protocol):
    """Turns values into bytes and back. Mirrors the `EventStore.Serializer` behaviour."""

    def serialize(self, value: Any) -> bytes:
        """Return the bytes to store for `value`; raise any exception when it cannot be stored."""

    def deserialize(self, payload: bytes, event_type: str) -> Any:
        """Return the value stored as `payload`; raise any exception when it cannot be read.

        Args:
            payload: The stored bytes.
            event_type: The type of the event, for serializers that build objects from it.
        """


class JsonSerializer:
    """JSON as UTF-8: what the Elixir library's JSON serializers write and read.

    Takes what JSON knows, and dataclasses, msgspec structs, UUID, date and time, Decimal, enums and sets, which come
    back as dicts, strings and lists. Numbers above 64 bits and keys other than strings are refused; NaN becomes null.
    """

    def serialize(self, value: Any) -> bytes:
        """Return `value` as JSON. Raises `TypeError` for what JSON cannot hold."""
        return orjson.dumps(value, default=msgspec.to_builtins)

    def deserialize(self, payload: bytes, event_type: str) -> Any:
        """Return the value of a JSON text; `event_type` is not used. Raises `ValueError` for other bytes."""
        return orjson.loads(payload)
