"""Stores by name: started once, found from anywhere in the process, listed while they are open.

For applications with many stores, such as one schema for each tenant. Knows the façades and nothing else; a store that
is closed leaves by itself. A forked child starts with none, since it can use none of its parent's.
"""

from __future__ import annotations

import os
import threading
from typing import NamedTuple, TypeVar

from .async_event_store import AsyncEventStore
from .errors import ConfigurationError
from .event_store import EventStore
from .notifications import check_text

Store = TypeVar("Store", bound=EventStore | AsyncEventStore)

_lock = threading.Lock()
_running: dict[str, EventStore | AsyncEventStore] = {}


class RunningStore(NamedTuple):
    """A store that is open under a name.

    Attributes:
        name: Its name.
        store: The store.
    """

    name: str
    store: EventStore | AsyncEventStore


def start_store(name: str, store: Store) -> Store:
    """Make a store known by a name until it is closed, and return it. Mirrors `start_link(name: …)`.

        with start_store("tenant-1", EventStore("postgresql://localhost/shop", schema="tenant_1")):
            get_store("tenant-1").append_to_stream("order-1", "any_version", [EventData("OrderPlaced", {})])

    Args:
        name: The name, unique in this process, whether its store is an `EventStore` or an `AsyncEventStore`.
        store: An open store.

    Raises:
        ConfigurationError: Another open store has the name, or this one is closed.
    """
    check_text(name, "store name")
    with _lock:
        if store.closed:
            raise ConfigurationError(f"store {name!r} is closed already: start one that is open")
        if name in _open():
            raise ConfigurationError(f"store {name!r} is running already: close that one first, or use get_store")
        _running[name] = store
    return store


def get_store(name: str) -> EventStore:
    """Return the open `EventStore` of a name. Mirrors the option `name` of every function of commanded/eventstore.

    Raises:
        ConfigurationError: There is none.
    """
    return _find(name, EventStore)


def get_async_store(name: str) -> AsyncEventStore:
    """Return the open `AsyncEventStore` of a name; raises like `get_store`."""
    return _find(name, AsyncEventStore)


def running_stores() -> list[RunningStore]:
    """List the open stores that have a name, in the order they were started. Mirrors `all_instances/0`."""
    with _lock:
        return [RunningStore(name, store) for name, store in _open().items()]


def _find(name: str, kind: type[Store]) -> Store:
    with _lock:
        running = dict(_open())
    store = running.get(name)
    if isinstance(store, kind):
        return store
    if store is not None:
        raise ConfigurationError(f"store {name!r} is of type {type(store).__name__}, not {kind.__name__}")
    names = ", ".join(map(repr, running)) or "none"
    raise ConfigurationError(f"store {name!r} is not running (running: {names}): start it with start_store")


def _open() -> dict[str, EventStore | AsyncEventStore]:
    """Return the stores after forgetting those that were closed; the lock is held."""
    for name in [name for name, store in _running.items() if store.closed]:
        del _running[name]
    return _running


def _forget() -> None:
    global _lock  # noqa: PLW0603 - there is one registry in a process
    # A thread that held it has not come along.
    _lock = threading.Lock()
    _running.clear()


os.register_at_fork(after_in_child=_forget)
