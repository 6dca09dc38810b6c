"""Reading events that an Elixir application wrote with commanded/eventstore's `TermSerializer`.

Turns Erlang's external term format into plain Python values, by the library erlang_py (`pip install
"eventstore-runtime[erlang]"`). Read only: what Python appends should be JSON, which both sides understand.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from .errors import ConfigurationError


class ErlangTermSerializer:
    """Reads the Erlang external term format; for stores whose events an Elixir application wrote with it.

    Atoms become strings, but `nil` and `undefined` None, and `true` and `false` booleans. Maps and structs become
    dicts (a struct names its module under "__struct__"), tuples stay tuples, binaries become strings where they are
    UTF-8 and bytes otherwise. Pids, ports, references and functions mean nothing outside Erlang and are refused.
    Mirrors `EventStore.TermSerializer`.

    Raises:
        ConfigurationError: The library erlang_py is not installed.
    """

    def __init__(self) -> None:
        try:
            self._erlang = import_module("erlang")
        except ImportError as error:
            raise ConfigurationError(
                "the Erlang term format needs the library erlang_py: "
                "run `pip install 'eventstore-runtime[erlang]'`, or `pip install erlang_py`"
            ) from error

    def serialize(self, value: Any) -> NoReturn:
        """Raise `TypeError`: the format is only read."""
        raise TypeError("ErlangTermSerializer only reads")

    def deserialize(self, payload: bytes, event_type: str) -> Any:
        """Return the value of a term; `event_type` is not used.

        Raises:
            ValueError: The payload is no term, or holds what has no meaning in Python.
        """
        try:
            term = self._erlang.binary_to_term(bytes(payload))
        except Exception as error:
            raise ValueError(f"it is no Erlang term, {type(error).__name__}: {error}") from error
        return self._plain(term)

    def _plain(self, term: Any) -> Any:
        erlang = self._erlang
        if isinstance(term, erlang.OtpErlangAtom):
            return _atom(term.value)
        if isinstance(term, erlang.OtpErlangBinary):
            return _text_or_bytes(term.value, term.bits)
        if isinstance(term, bytes):
            return list(term)  # Erlang packs a list of small numbers as if it were a string
        if isinstance(term, dict):
            return self._dict(term)
        if isinstance(term, list | tuple):
            return type(term)(self._plain(element) for element in term)
        if isinstance(term, erlang.OtpErlangList) and not term.improper:
            return [self._plain(element) for element in term.value]
        if term is None or isinstance(term, bool | int | float):
            return term
        raise ValueError(f"a term of type {type(term).__name__} has no meaning outside Erlang")

    def _dict(self, term: dict[Any, Any]) -> dict[Any, Any]:
        plain: dict[Any, Any] = {}
        for key, value in term.items():
            name = self._plain(key)
            if isinstance(name, list | dict):
                raise ValueError(f"a map has the key {name!r}, which cannot be one of a dict")
            if name in plain:
                raise ValueError(f"a map has two keys that both become {name!r}")
            plain[name] = self._plain(value)
        return plain


def _atom(value: Any) -> str | None:
    if not isinstance(value, str | bytes):
        raise ValueError("an atom refers to a cache that was not stored")
    name = value.decode("latin-1") if isinstance(value, bytes) else value
    return None if name == "nil" else name


def _text_or_bytes(value: bytes, bits: int) -> str | bytes:
    if bits != 8:
        raise ValueError(f"a bit string of {bits} bits in its last byte is no text and no bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
