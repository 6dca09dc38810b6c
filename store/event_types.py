"""Typed events: which class an event type stands for, and how older versions of its data become today's.

Owns the registry `EventTypes`, by which `typed_serializer.py` works. Dataclasses, pydantic models and msgspec structs
become plain data and objects again, whatever version they were written in. Pure; pydantic is imported only where a
model is registered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeGuard, TypeVar, overload
from uuid import UUID

import msgspec
from orjson import dumps

from .errors import ConfigurationError, UpcastFailed
from .notifications import check_text
from .types import EventData

#: Brings the data of one version to the next.
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

_Class = TypeVar("_Class", bound=type)
_Function = TypeVar("_Function", bound=Upcaster)


class _Registered(NamedTuple):
    """A registered class: `encode` returns what JSON takes, `decode` the object of what JSON gave."""

    event_type: str
    version: int
    cls: type
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class EventTypes:
    """The event types of an application: their classes, versions and upcasters.

    Fill it while modules are imported, then give it to a serializer:

        types = EventTypes()

        @types.register(version=2)
        @dataclass(frozen=True)
        class AccountOpened:
            owner: str
            currency: str

        @types.upcaster("AccountOpened", from_version=1)
        def with_currency(data):
            return {**data, "currency": "EUR"}

        store = EventStore(url, serializer=TypedSerializer(types))
        store.append_to_stream("account-1", "no_stream", [types.event_of(AccountOpened("Ann", "EUR"))])

    Mirrors what `TypeProvider` and `Upcaster` are to Commanded.
    """

    def __init__(self) -> None:
        self._by_class: dict[type, _Registered] = {}
        self._by_type: dict[str, _Registered] = {}
        self._upcasters: dict[str, dict[int, Upcaster]] = {}

    @overload
    def register(self, cls: _Class, event_type: str | None = None, version: int = 1) -> _Class: ...

    @overload
    def register(
        self, cls: None = None, event_type: str | None = None, version: int = 1
    ) -> Callable[[_Class], _Class]: ...

    def register(self, cls: Any = None, event_type: str | None = None, version: int = 1) -> Any:
        """Let a class stand for an event type; a plain call, `@types.register`, or `@types.register(version=2)`.

        Args:
            cls: A dataclass, a pydantic model or a msgspec struct.
            event_type: The event type, for example "Elixir.Bank.AccountOpened"; the name of the class by default.
            version: The version of the data that the class holds, from 1. Raise it with each change that older data
                does not fit, and add an upcaster from the version before.

        Returns:
            The class as it is; without `cls`, a decorator.

        Raises:
            ConfigurationError: The class is of no such kind, it or the event type is registered already, or the
                version is out of range or has an upcaster.
        """
        if cls is None:
            return lambda decorated: self.register(decorated, event_type, version)
        encode, decode = _conversions(cls)
        name = cls.__name__ if event_type is None else event_type
        check_text(name, "event type")
        _check_version("version", version)
        if cls in self._by_class:
            raise ConfigurationError(
                f"{cls.__qualname__} is registered already, as event type {self._by_class[cls].event_type!r}: "
                "register a class once"
            )
        if name in self._by_type:
            raise ConfigurationError(
                f"event type {name!r} is registered already, for {self._by_type[name].cls.__qualname__}: "
                "choose another event_type"
            )
        _check_upcast(name, version, max(self._upcasters.get(name, {}), default=0))
        self._by_class[cls] = self._by_type[name] = _Registered(name, version, cls, encode, decode)
        return cls

    def upcaster(self, event_type: str, from_version: int) -> Callable[[_Function], _Function]:
        """Return a decorator for the function that brings data of one version of an event type to the next.

        The function gets the data as a dict and returns it as a dict; it may change the one it got. It needs no
        registered class. Data of any version passes through all functions from its own version on. Mirrors the
        `Upcaster` protocol of Commanded.

        Args:
            event_type: The event type.
            from_version: The version the function takes, from 1; it returns the next.

        Raises:
            ConfigurationError: There is one from this version, or the registered class is not above it.
        """
        check_text(event_type, "event type")
        _check_version("from_version", from_version)
        if event_type in self._by_type:
            _check_upcast(event_type, self._by_type[event_type].version, from_version)

        def add(function: _Function) -> _Function:
            functions = self._upcasters.setdefault(event_type, {})
            if from_version in functions:
                raise ConfigurationError(
                    f"event type {event_type!r} has an upcaster from version {from_version} already: "
                    "write one function for each version"
                )
            functions[from_version] = function
            return function

        return add

    def event_type_of(self, event: object) -> str:
        """Return the event type of a registered class or of an object of one.

        Raises:
            ConfigurationError: The class is not registered.
        """
        cls = event if isinstance(event, type) else type(event)
        if cls not in self._by_class:
            raise ConfigurationError(f"{cls.__qualname__} is no registered event: register it with EventTypes.register")
        return self._by_class[cls].event_type

    def event_of(
        self,
        event: object,
        *,
        metadata: Any = None,
        event_id: UUID | None = None,
        causation_id: UUID | None = None,
        correlation_id: UUID | None = None,
    ) -> EventData:
        """Return the event to append for an object of a registered class; the other arguments are those of EventData.

        Raises:
            ConfigurationError: Its class is not registered.
        """
        return EventData(self.event_type_of(type(event)), event, metadata, event_id, causation_id, correlation_id)

    def newest_version(self, event_type: str) -> int:
        """Return the version of an event type's data that this code writes; 1 for types it does not know."""
        if event_type in self._by_type:
            return self._by_type[event_type].version
        return 1 + max(self._upcasters.get(event_type, {}), default=0)

    def upcast(self, event_type: str, data: Any, version: int = 1) -> Any:
        """Return the data of an event in the newest version. Types without class and upcaster pass through.

        Args:
            event_type: The event type.
            data: The data as it was stored.
            version: The version it was stored in.

        Raises:
            UpcastFailed: An upcaster failed or is missing, or the version is one that this code does not know.
        """
        newest = self.newest_version(event_type)
        if version > newest and self.knows(event_type):
            reason = f"it is of version {version}, this code knows {newest}"
            raise UpcastFailed(event_type, reason, "deploy the code that wrote it")
        for step in range(version, newest):
            data = self._step(event_type, step, data)
        return data

    def to_builtins(self, event: object) -> Any:
        """Return what is stored of an object of a registered class, in terms of JSON; anything else as it is."""
        registered = self._by_class.get(type(event))
        return event if registered is None else registered.encode(event)

    def to_object(self, event_type: str, data: Any) -> Any:
        """Return the object for data of the newest version; the data itself where no class is registered.

        Raises:
            UpcastFailed: The data does not fit the class.
        """
        registered = self._by_type.get(event_type)
        if registered is None:
            return data
        try:
            return registered.decode(data)
        except Exception as error:
            reason = f"its data does not fit {registered.cls.__qualname__}, {_explain(error)}"
            raise UpcastFailed(event_type, reason, "raise the version of the class and register an upcaster") from error

    def is_registered(self, cls: type) -> bool:
        """Tell whether a class is registered."""
        return cls in self._by_class

    def knows(self, event_type: str) -> bool:
        """Tell whether an event type has a class or an upcaster."""
        return event_type in self._by_type or event_type in self._upcasters

    def _step(self, event_type: str, version: int, data: Any) -> dict[str, Any]:
        function = self._upcasters.get(event_type, {}).get(version)
        if function is None:
            reason = f"it is of version {version}, and no upcaster takes that"
            raise UpcastFailed(event_type, reason, f"register one with from_version={version}")
        try:
            result: object = function(data)
        except Exception as error:
            reason = f"the upcaster from version {version} raised {_explain(error)}"
            raise UpcastFailed(event_type, reason, "mend the upcaster") from error
        if not isinstance(result, dict):
            reason = f"the upcaster from version {version} returned {type(result).__name__}, not a dict"
            raise UpcastFailed(event_type, reason, "mend the upcaster")
        return result


def _conversions(cls: object) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    if isinstance(cls, type):
        if hasattr(cls, "__pydantic_validator__"):
            return _pydantic_conversions(cls)
        if issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls):
            return partial(msgspec.to_builtins, str_keys=True), partial(msgspec.convert, type=cls, str_keys=True)
    raise ConfigurationError(
        f"{cls!r} cannot be registered as an event: give a dataclass, a pydantic model or a msgspec struct"
    )


def _pydantic_conversions(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    from pydantic import TypeAdapter  # loaded already by whoever defined the class, and slow to load for all others

    adapter: TypeAdapter[Any] = TypeAdapter(cls)
    # As JSON, in which strict models too take text for times and lists for tuples.
    return partial(adapter.dump_python, mode="json", by_alias=True), lambda data: adapter.validate_json(dumps(data))


def _check_upcast(event_type: str, version: int, from_version: int) -> None:
    if from_version >= version:
        raise ConfigurationError(
            f"event type {event_type!r} has a class of version {version} and an upcaster from version {from_version}: "
            f"register the class with version={from_version + 1}"
        )


def _check_version(name: str, version: object) -> None:
    if not is_version(version):
        raise ConfigurationError(f"{name} {version!r} is out of range: give a number of at least 1")


def is_version(value: object) -> TypeGuard[int]:
    """Tell whether a value can be the version of data: a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _explain(error: Any) -> str:
    # pydantic writes a paragraph, of which only places and problems matter.
    of_pydantic = type(error).__module__.startswith("pydantic") and hasattr(error, "errors")
    problems = error.errors() if of_pydantic else ()
    said = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
    return f"{type(error).__name__}: {said or ' '.join(str(error).split())}"
