"""The kinds of handlers: functions, `async def`, classes with state, instances. Checked here, and made here.

The inspector checks a handler without making it; a worker makes it once, for its whole life. Both go through
`load_handler` of `resolve.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..store.errors import ConfigurationError
from .declaration import HandlerFunction

_HOOKS = ("start", "stop")


class HandlerParts(NamedTuple):
    """A handler that is ready to be called.

    Attributes:
        handle: Takes the event, or the list of events, and the context.
        start: Called once before the first event; None where there is no such method.
        stop: Called once after the last event; None where there is no such method.
    """

    handle: HandlerFunction
    start: Callable[[], Any] | None = None
    stop: Callable[[], Any] | None = None


def is_handler(loaded: object) -> bool:
    """True for what can be a handler at all: a callable, or an instance with a method `handle`."""
    return callable(loaded) or _has_handle(loaded)


def is_async(function: Callable[..., Any]) -> bool:
    """True where a call gives a coroutine: `async def`, also as the `__call__` of an instance."""
    if inspect.iscoroutinefunction(function):
        return True
    return not inspect.isroutine(function) and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def check_handler(loaded: Any, what: str, where: str, *, batch: bool) -> None:
    """Sees to it that a handler can be made and called as the worker will do it, without doing either.

    Args:
        loaded: What the dotted path names.
        what: How to name it in an error.
        where: The place that named it.
        batch: Whether it gets a list of events.

    Raises:
        ConfigurationError: It cannot.
    """
    taken = ("events" if batch else "event", "context")
    if inspect.isclass(loaded):
        if not _has_handle(loaded):
            raise ConfigurationError(f"{where}: class {what} has no method handle({', '.join(taken)})")
        if inspect.isabstract(loaded):
            raise ConfigurationError(f"{where}: class {what} is abstract; name a class that can be made")
        check_takes(loaded, what, where, ())
    elif not _has_handle(loaded):
        check_takes(loaded, what, where, taken, may_be_async=True)
        return
    _check_method(loaded, "handle", what, where, taken)
    for name in _HOOKS:
        hook = getattr(loaded, name, None)
        if hook is not None and not callable(hook):
            raise ConfigurationError(f"{where}: {name} of {what} is a {type(hook).__name__}, not a method")
        if hook is not None:
            _check_method(loaded, name, what, where, ())


def create_handler(loaded: Any) -> HandlerParts:
    """Makes a handler, checked before, ready: an instance where the path names a class.

    Raises:
        Exception: Whatever the class's constructor raises.
    """
    made: Any = loaded() if inspect.isclass(loaded) else loaded
    if not _has_handle(made):
        return HandlerParts(made)
    return HandlerParts(made.handle, *(getattr(made, name, None) for name in _HOOKS))


def check_takes(
    function: Callable[..., Any], what: str, where: str, arguments: tuple[str, ...], *, may_be_async: bool = False
) -> None:
    """Sees to it that a function can be called with these arguments, and does its work when it is called.

    Raises:
        ConfigurationError: It cannot.
    """
    if is_async(function) and not may_be_async:
        raise ConfigurationError(f"{where}: {what} is 'async def'; declare it with a plain 'def'")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{where}: {what} has a 'yield', so that a call of it does nothing; take it out")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # some built-in functions do not tell
    try:
        signature.bind(*arguments)
    except TypeError:
        taken = ", ".join(argument for argument in arguments if argument != "self")
        raise ConfigurationError(f"{where}: {what} takes {signature}; it is called with ({taken})") from None


def _has_handle(loaded: object) -> bool:
    return not inspect.isroutine(loaded) and callable(getattr(loaded, "handle", None))


def _check_method(loaded: Any, name: str, what: str, where: str, arguments: tuple[str, ...]) -> None:
    method = getattr(loaded, name)
    if inspect.isclass(loaded) and inspect.isfunction(inspect.getattr_static(loaded, name)):
        # Seen through the class, a method still takes the instance.
        arguments = ("self", *arguments)
    check_takes(method, f"{name} of {what}", where, arguments, may_be_async=True)
