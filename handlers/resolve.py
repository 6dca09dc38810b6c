"""Finds handlers by dotted path and settles their options: configuration over decorator over default.

The only place that imports user code. Every mistake found here is a `ConfigurationError` that names the
subscription, the option, its value and the remedy.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from math import inf
from traceback import extract_tb
from typing import Any

import msgspec

from ..store.errors import ConfigurationError
from ..store.filters import EventFilter
from ..store.types import ALL_STREAM, StartFrom
from .declaration import (
    HandlerOptions,
    OnExhausted,
    Placement,
    Scalar,
    SideEffects,
    declared_options,
)
from .kinds import check_handler, check_takes, is_handler
from .partition import BUILT_IN, is_path


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription with every option settled; see `HandlerOptions` for their meaning.

    Attributes:
        handler: Dotted path of the handler, "package.module:name".
        partition_by: The option; `DECLARED` where the decorator gave a function, which travels by its name only.
        selector: The same.
        mapper: The same.
    """

    name: str
    handler: str
    stream: str = ALL_STREAM
    concurrency: int = 1
    partition_by: str | None = None
    placement: Placement = "free"
    event_types: tuple[str, ...] = ()
    category: str | None = None
    stream_prefix: str | None = None
    data_equals: dict[str, Scalar] = {}
    selector: str | None = None
    mapper: str | None = None
    start_from: StartFrom = "origin"
    transactional: bool = False
    transaction_size: int = 100
    batch_size: int | None = None
    batch_timeout: float = 0.0
    timeout: float | None = None
    slow_after: float = 5.0
    buffer_size: int = 100
    max_size: int = 5_000
    max_bytes: int = 67_108_864
    checkpoint_threshold: int = 1_000
    checkpoint_after: float = 0.1
    max_attempts: int = 10
    retry_backoff_min: float = 0.5
    retry_backoff_max: float = 60.0
    max_crashes: int = 2
    on_exhausted: OnExhausted = "halt"
    max_parked: int = 10_000
    max_parked_per_partition: int = 1_000
    max_events_per_worker: int | None = None
    max_rss: int | None = None
    side_effects: SideEffects = "always"


DECLARED = "@handler"
"""Stands for "the function that the handler's decorator gives" in `Subscription.partition_by`, `selector`, `mapper`."""

_AT_LEAST_ONE = (
    "concurrency",
    "transaction_size",
    "batch_size",
    "buffer_size",
    "max_size",
    "max_bytes",
    "checkpoint_threshold",
    "max_attempts",
    "max_crashes",
    "max_parked",
    "max_parked_per_partition",
    "max_events_per_worker",
    "max_rss",
)
_NOT_NEGATIVE = ("batch_timeout", "checkpoint_after", "retry_backoff_min", "retry_backoff_max")
_ABOVE_ZERO = ("timeout", "slow_after")
_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number of seconds",
    "bool": "True or False",
    "partition_by": "a text or a function of the event",
    "placement": "'free' or 'pinned'",
    "event_types": "a list of texts",
    "data_equals": "a table of dotted paths and values",
    "selector": "a dotted path or a function of the event",
    "mapper": "a dotted path or a function of the event",
    "start_from": "'origin', 'current' or an event number",
    "on_exhausted": "'halt', 'park', 'park_partition' or 'skip'",
    "side_effects": "'always' or 'live_only'",
}
"""What an option takes, in words: by its type, or by its name where the type is its own."""


def extend_path(python_path: Sequence[str]) -> None:
    """Makes the user's own project importable: the given folders, and the working directory, come first."""
    for folder in reversed(["", *python_path]):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def load_function(path: str, *, where: str) -> Callable[..., Any]:
    """Imports a function by its dotted path.

    Args:
        path: "package.module:function".
        where: The place that named it, for the error.

    Raises:
        ConfigurationError: Not such a path, no such module or function, or the import of the module failed.
    """
    function = load_object(path, where=where)
    if not callable(function):
        raise ConfigurationError(f"{where}: {path!r} is a {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]


def load_handler(path: str, *, where: str) -> Any:
    """Imports a handler by its dotted path: a function, a class, or an instance; see `kinds.py`.

    Args and errors are those of `load_function`.
    """
    loaded = load_object(path, where=where)
    if not is_handler(loaded):
        kind = type(loaded).__name__
        raise ConfigurationError(f"{where}: {path!r} is a {kind}, neither a function nor anything with a method handle")
    return loaded


def load_declared(subscription: Subscription, option: str) -> Any:
    """What one of the options `partition_by`, `selector` and `mapper` stands for.

    Returns:
        The function of the decorator where the option is `DECLARED`, else the option as it is.

    Raises:
        ConfigurationError: As `load_handler`.
    """
    value = getattr(subscription, option)
    if value != DECLARED:
        return value
    where = f"subscription {subscription.name!r}: {option}"
    return getattr(declared_options(load_handler(subscription.handler, where=where)), option)


def load_object(path: str, *, where: str) -> Any:
    """Imports whatever a dotted path names; arguments and errors are those of `load_function`."""
    module_name, colon, function_name = path.partition(":")
    if not colon or not module_name or not function_name:
        raise ConfigurationError(f"{where}: {path!r} is not a dotted path; write it as 'package.module:function'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            remedy = "set [runtime] python_path to the folder that holds it, or start in that folder"
            raise ConfigurationError(f"{where}: there is no module {error.name!r}; {remedy}") from None
        raise ConfigurationError(f"{where}: importing {module_name!r} failed: {error}{_place(error)}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"{where}: importing {module_name!r} failed: {reason}{_place(error)}") from error
    found = getattr(module, function_name, None)
    if found is None:
        near = difflib.get_close_matches(function_name, dir(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(f"{where}: module {module_name!r} has no {function_name!r}{hint}")
    return found


def _place(error: Exception) -> str:
    """File and line that an import failed at; empty where the error itself says them, as a SyntaxError does."""
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen ")]
    last = frames[-1]
    return "" if last.filename in (__file__, importlib.__file__) else f" ({last.filename}, line {last.lineno})"


def resolve(path: str, configured: HandlerOptions, *, where: str) -> Subscription:
    """Settles one subscription: imports its handler and lays the configuration's options over the decorator's.

    Args:
        path: Dotted path of the handler.
        configured: What the configuration gives.
        where: The place in the configuration, for errors.

    Raises:
        ConfigurationError: The handler or one of the options cannot work.
    """
    handler = load_handler(path, where=where)
    given = {**_given(declared_options(handler)), **_given(configured)}
    check_handler(handler, repr(path), where, batch="batch_size" in given)
    if not given.get("name"):
        raise ConfigurationError(f'{where}: the subscription has no name; add name = "…" here or to @handler')
    functions: dict[str, Any] = {name: given.get(name) for name in ("partition_by", "selector", "mapper")}
    named = {name: DECLARED if callable(function) else function for name, function in functions.items()}
    subscription = _settle({**given, "handler": path, **named}, where)
    _check_numbers(subscription, where)
    _check_filter(subscription, where)
    for name, function in functions.items():
        if callable(function):
            check_takes(function, f"{name} of @handler", where, ("event",))
        elif name == "partition_by":
            _check_partition_by(subscription.partition_by, where)
        elif function is not None:
            loaded = load_function(function, where=f"{where}: {name}")
            check_takes(loaded, f"{name} {function!r}", where, ("event",))
    return subscription


def event_filter(subscription: Subscription) -> EventFilter | None:
    """What the database is to leave out of a subscription's stream; None for nothing.

    Raises:
        ConfigurationError: One of the options cannot work; `resolve` has seen to it that none is.
    """
    return EventFilter.of(
        subscription.event_types, subscription.category, subscription.stream_prefix, subscription.data_equals
    )


def _settle(options: dict[str, Any], where: str) -> Subscription:
    """The options as a subscription; the decorator's have been checked by nobody before."""
    try:
        return msgspec.convert(options, Subscription)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        name = name.partition("[")[0]
        kind = _KINDS.get(name) or _KINDS[Subscription.__annotations__[name].removesuffix(" | None")]
        raise ConfigurationError(f"{where}: {name} = {options[name]!r}; it must be {kind}") from None


def _given(options: HandlerOptions) -> dict[str, Any]:
    """The options that are not None, by name."""
    return {name: value for name in options.__struct_fields__ if (value := getattr(options, name)) is not None}


def _check_numbers(subscription: Subscription, where: str) -> None:
    for name in _AT_LEAST_ONE:
        value = getattr(subscription, name)
        if value is not None and value < 1:
            raise ConfigurationError(f"{where}: {name} = {value}; it must be 1 or more")
    for name in _NOT_NEGATIVE:
        value = getattr(subscription, name)
        if not 0 <= value < inf:
            raise ConfigurationError(f"{where}: {name} = {value}; it must be 0 seconds or more")
    for name in _ABOVE_ZERO:
        value = getattr(subscription, name)
        if value is not None and not 0 < value < inf:
            raise ConfigurationError(f"{where}: {name} = {value}; it must be more than 0 seconds")
    if isinstance(subscription.start_from, int) and subscription.start_from < 0:
        raise ConfigurationError(f"{where}: start_from = {subscription.start_from}; event numbers start at 0")
    _check_together(subscription, where)


def _check_together(subscription: Subscription, where: str) -> None:
    least, most = subscription.retry_backoff_min, subscription.retry_backoff_max
    if least > most:
        raise ConfigurationError(
            f"{where}: retry_backoff_min = {least} is more than retry_backoff_max = {most}; "
            "lower the first or raise the second"
        )
    if subscription.batch_timeout and subscription.batch_size is None:
        raise ConfigurationError(
            f"{where}: batch_timeout = {subscription.batch_timeout} has no effect without batch_size; "
            "give it too, or leave both out"
        )


def _check_filter(subscription: Subscription, where: str) -> None:
    try:
        event_filter(subscription)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _check_partition_by(partition_by: str | None, where: str) -> None:
    if partition_by is None or partition_by == DECLARED or partition_by in BUILT_IN or is_path(partition_by):
        return
    if ":" in partition_by:
        function = load_function(partition_by, where=f"{where}: partition_by")
        check_takes(function, f"partition_by {partition_by!r}", where, ("event",))
        return
    near = difflib.get_close_matches(partition_by, BUILT_IN, n=1)
    hint = f"did you mean {near[0]!r}? It" if near else "it"
    names = ", ".join(repr(name) for name in BUILT_IN)
    raise ConfigurationError(
        f"{where}: partition_by = {partition_by!r}; {hint} may be {names}, a path such as 'data.account_id', "
        "or 'module:function'"
    )
