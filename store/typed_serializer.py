"""The serializer of typed events: objects of registered classes go in, and come out in their newest version.

Works by the registry of `event_types.py`; `append.py`, `rows.py` and `snapshots.py` call it through `serializer.py`,
which asks for the version to store and for the object to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import UpcastFailed
from .event_types import EventTypes, is_version
from .serializer import JsonSerializer

#: The metadata key under which an append records the version of the event's data, when it is above 1.
VERSION_KEY = "event_version"


class TypedSerializer(JsonSerializer):
    """JSON, with registered events as objects on both sides; events of other types come back as dicts.

    An append records the version of the data in the metadata, under "event_version", when it is above 1; metadata must
    then be a mapping or None. An object that could not be read back is refused when it is appended.

    Args:
        types: The event types.
    """

    def __init__(self, types: EventTypes) -> None:
        self.types = types

    def serialize(self, value: Any) -> bytes:
        """Return `value` as JSON. Raises `TypeError` or `ValueError` for what JSON cannot hold or its class refuses."""
        payload = super().serialize(self.types.to_builtins(value))
        if self.types.is_registered(type(value)):
            # Once stored it cannot be mended: a number where the class says str, or NaN, which JSON turns into null.
            event_type = self.types.event_type_of(value)
            try:
                self.types.to_object(event_type, super().deserialize(payload, event_type))
            except UpcastFailed as error:
                raise ValueError(f"it could not be read back, {error.reason}") from error
        return payload

    def stamp(self, event_type: str, data: Any, metadata: Any) -> Any:
        """Return the metadata to store with data: with the version of the data, when this code writes one above 1.

        Data that is no object of a registered class is of the version that metadata names, or else the newest.

        Raises:
            ValueError: The data's class is registered for another event type, or metadata names a version that is no
                number from 1 on.
            TypeError: Metadata cannot hold the version.
        """
        is_object = self.types.is_registered(type(data))
        if is_object and self.types.event_type_of(data) != event_type:
            raise ValueError(f"{type(data).__qualname__} is registered as {self.types.event_type_of(data)!r}")
        newest = self.types.newest_version(event_type)
        if newest == 1:
            return metadata
        facts = _as_dict(metadata)
        # An object is of the newest version, also when its metadata was copied from an older event.
        return {**facts, VERSION_KEY: newest if is_object else _version_in(facts, default=newest)}

    def upcast(self, event_type: str, data: Any, metadata: Any) -> Any:
        """Return stored data in the newest version, as an object where a class is registered for the event type.

        Raises:
            UpcastFailed: It cannot be brought to the newest version, or does not fit the class.
            ValueError: Metadata names a version that is no number from 1 on.
        """
        if not self.types.knows(event_type):
            return data
        version = _version_in(metadata, default=1)
        return self.types.to_object(event_type, self.types.upcast(event_type, data, version))


def _version_in(metadata: Any, *, default: int) -> int:
    version = metadata.get(VERSION_KEY, default) if isinstance(metadata, dict) else default
    if not is_version(version):
        raise ValueError(f"metadata has {VERSION_KEY} {version!r}, which is no number of at least 1")
    return version


def _as_dict(metadata: Any) -> dict[Any, Any]:
    if metadata is None:
        return {}
    facts = metadata if isinstance(metadata, Mapping) else msgspec.to_builtins(metadata)
    if not isinstance(facts, Mapping):
        raise TypeError(f"metadata of type {type(metadata).__name__} cannot hold {VERSION_KEY!r}, give a dict")
    return dict(facts)
