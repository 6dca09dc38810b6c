"""The serializer that `[store] serializer` names, for the processes of a node and for commands.

Imports user code, so the supervisor never calls it: the inspector looks first whether it can be had, then each process
that decodes events gets its own.
"""

from __future__ import annotations

from typing import cast

from ..handlers.resolve import load_object
from ..store.errors import ConfigurationError
from ..store.serializer import JsonSerializer, Serializer

_WHERE = "[store] serializer"


def load_serializer(path: str) -> Serializer:
    """Import a serializer.

    Args:
        path: "package.module:name" of a class, of a function without arguments, or of a serializer; empty for JSON.

    Raises:
        ConfigurationError: It cannot be imported or made, or is no serializer.
    """
    if not path:
        return JsonSerializer()
    found = load_object(path, where=_WHERE)
    if isinstance(found, type) or not _is_serializer(found):
        found = _made(found, path)
    if not _is_serializer(found):
        kind = type(found).__name__
        raise ConfigurationError(f"{_WHERE}: {path!r} is a {kind}, which has no serialize and deserialize methods")
    return cast("Serializer", found)


def _made(factory: object, path: str) -> object:
    if not callable(factory):
        return factory
    try:
        return factory()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(
            f"{_WHERE}: calling {path!r} without arguments failed, {reason}; name a function that returns one"
        ) from error


def _is_serializer(candidate: object) -> bool:
    return all(callable(getattr(candidate, method, None)) for method in ("serialize", "deserialize"))
