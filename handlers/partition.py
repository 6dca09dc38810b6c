"""From the option `partition_by` to the function that gives an event its partition key. Pure.

Events with the same key are handled in order, one at a time; None as a key means "no order needed".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from ..store.types import RecordedEvent
from .declaration import KeyFunction

BUILT_IN: Final[dict[str, KeyFunction]] = {
    "stream": lambda event: event.stream_uuid,
    "category": lambda event: event.stream_uuid.partition("-")[0],
    "correlation_id": lambda event: event.correlation_id,
    "event_type": lambda event: event.event_type,
}
"""Key functions by the name used in the configuration."""

_ROOTS: Final = ("data", "metadata")


def is_path(partition_by: str) -> bool:
    """True for a path into the event's data or metadata, such as "data.account_id"."""
    root, dot, rest = partition_by.partition(".")
    return root in _ROOTS and bool(dot) and all(rest.split("."))


def path_function(path: str) -> KeyFunction:
    """The key function of a path such as "data.account.id"; a missing part gives the key None."""
    root, *names = path.split(".")

    def key(event: RecordedEvent) -> Hashable:
        value: Any = getattr(event, root)
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        return value if _is_hashable(value) else repr(value)

    return key


def _is_hashable(value: object) -> bool:
    # A tuple is of a hashable type, and has no hash where it holds a list.
    try:
        hash(value)
    except TypeError:
        return False
    return True


def key_function(
    partition_by: str | KeyFunction | None, load: Callable[[str], Callable[..., Any]]
) -> KeyFunction | None:
    """The key function an option stands for.

    Args:
        partition_by: The option; None means no key.
        load: Imports a function by its dotted path "module:function".

    Raises:
        ConfigurationError: `load` could not find the function.
    """
    if partition_by is None or callable(partition_by):
        return partition_by
    if partition_by in BUILT_IN:
        return BUILT_IN[partition_by]
    if is_path(partition_by):
        return path_function(partition_by)
    return load(partition_by)
