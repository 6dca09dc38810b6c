"""The version of the installed distribution."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """The version, such as "0.1.0"; "unknown" when run from a tree that was never installed."""
    try:
        return metadata.version("eventstore-runtime")
    except metadata.PackageNotFoundError:
        return "unknown"
