"""Which of a stream's events a subscription gets, as a filter that the database evaluates. Pure.

Made from a subscription's options by `handlers/resolve.py`, bound to the statements by `read.py`. It can be hashed, so
that the runtime's reader knows who can share a page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .errors import ConfigurationError


class EventFilter(msgspec.Struct, frozen=True):
    """All that is given must hold. Make one with `of`, which checks and brings equal filters to the same form.

    Attributes:
        event_types: The event's type is one of these; empty: any.
        category: What stands before the first "-" of the original stream's name, or all of it; None: any.
        stream_prefix: The original stream's name begins with exactly this; None: any.
        data_equals: JSON documents, each of which the event's data contains; empty: any data, also what is no JSON.
    """

    event_types: tuple[str, ...] = ()
    category: str | None = None
    stream_prefix: str | None = None
    data_equals: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        event_types: Iterable[str] = (),
        category: str | None = None,
        stream_prefix: str | None = None,
        data_equals: Mapping[str, str | int | float | bool] | None = None,
    ) -> EventFilter | None:
        """Return the filter for the options of that name; None where they let every event pass.

        Args:
            event_types: Types, in any order.
            category: A category.
            stream_prefix: The beginning of a name.
            data_equals: Values by dotted path, such as {"account.currency": "EUR"}. Numbers compare as numbers (1 is
                1.0), texts and booleans exactly; a path leads through objects only, not through lists.

        Raises:
            ConfigurationError: A path has an empty part, a number is infinite or none, or a text cannot be stored.
        """
        types = tuple(sorted(set(event_types)))
        for one in types:
            _check_text("event_types", one)
        for name, text in (("category", category), ("stream_prefix", stream_prefix)):
            if text is not None:
                _check_text(name, text)
        documents = tuple(sorted(_document(path, value) for path, value in (data_equals or {}).items()))
        made = cls(types, category, stream_prefix or None, documents)
        return None if made == cls() else made

    def binds(self) -> tuple[Any, ...]:
        """Return the binds of the statements `page_filtered` and `page_bounded`, in their order."""
        return (list(self.event_types) or None, self.category, self.stream_prefix, list(self.data_equals) or None)


def _document(path: str, value: Any) -> str:
    """Return `{"account": {"currency": "EUR"}}` for a path and a value."""
    names = path.split(".")
    if not all(names):
        raise ConfigurationError(
            f"data_equals has the path {path!r}, where a name is empty; write it like 'account.currency'"
        )
    _check_text("data_equals", path)
    if isinstance(value, str):
        _check_text(f"data_equals at {path!r}", value)
    document = value
    for name in reversed(names):
        document = {name: document}
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise ConfigurationError(f"data_equals has {value} at {path!r}; JSON knows no such number") from None


def _check_text(name: str, text: str) -> None:
    """Refuse what PostgreSQL cannot hold as text, and so can be in no event."""
    if "\0" in text:
        raise ConfigurationError(f"{name} has {text!r}; it must be without the character U+0000")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} has {text!r}; it must be without surrogates") from None
