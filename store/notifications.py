"""Channels, the payload of the schema's trigger, and the limits that follow from them. Pure.

The listener listens on `channel(schema)` and parses what arrives; `append.py` checks stream names before the trigger
would fail on them. A notification is a hint only: positions, read from the tables, decide.
"""

from __future__ import annotations

import msgspec

from .errors import ConfigurationError, InvalidNotification, StreamNameTooLong

#: The longest stream name, in bytes of UTF-8. PostgreSQL refuses an index entry above 2,704 bytes, and a notification
#: of 8,000 or more, so a longer name would make the append fail.
MAX_STREAM_NAME_BYTES = 2_600

#: The longest channel name PostgreSQL takes, in bytes.
MAX_CHANNEL_BYTES = 63

_EVENTS = ".events"
_RUNTIME = ".runtime"
_CANARY = ".canary"


class Notification(msgspec.Struct, frozen=True):
    """What one append to one stream announces; the range is empty (first > last) after a soft delete.

    Mirrors `EventStore.Notifications.Notification`.

    Attributes:
        stream_uuid: The stream; every append also announces `$all`.
        stream_id: Its number; 0 is `$all`.
        first_version: The version of the first new event.
        last_version: The version of the last new event.
    """

    stream_uuid: str
    stream_id: int
    first_version: int
    last_version: int


def channel(schema: str) -> str:
    """Return the channel on which the schema's appends are announced.

    Raises:
        ConfigurationError: The schema's name makes the channel too long.
    """
    return _checked(schema, _EVENTS)


def runtime_channel(schema: str) -> str:
    """Return the channel on which the runtime's nodes talk to each other, for example about released locks.

    Raises:
        ConfigurationError: The schema's name makes the channel too long.
    """
    return _checked(schema, _RUNTIME)


def canary_channel(schema: str) -> str:
    """Return the channel on which listeners of the runtime notify themselves, to see that LISTEN works.

    Raises:
        ConfigurationError: The schema's name makes the channel too long.
    """
    return _checked(schema, _CANARY)


def check_schema_name(schema: str) -> None:
    """Raise `ConfigurationError` unless the schema's name can be used, channels included."""
    channel(schema)
    runtime_channel(schema)


def check_stream_name(stream_uuid: str) -> None:
    """Raise an error unless a stream of this name can be created.

    Raises:
        ConfigurationError: It is not a non-empty text that PostgreSQL can hold.
        StreamNameTooLong: It has more than `MAX_STREAM_NAME_BYTES`.
    """
    size = check_text(stream_uuid, "stream name")
    if size > MAX_STREAM_NAME_BYTES:
        raise StreamNameTooLong(stream_uuid, size, MAX_STREAM_NAME_BYTES)


def check_text(text: object, what: str) -> int:
    """Return the size of a text in bytes of UTF-8.

    Raises:
        ConfigurationError: It is empty, no string, or nothing that PostgreSQL can hold as text.
    """
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"{what} {text!r} is not usable: give a non-empty string")
    if "\0" in text:
        raise ConfigurationError(f"{what} {text!r} holds a NUL character, which PostgreSQL cannot store: remove it")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(f"{what} {text!r} holds lone surrogates: decode it properly first") from None


def parse(payload: str) -> Notification:
    """Return the notification of a payload, read from the right because a stream name can hold commas.

    Raises:
        InvalidNotification: The payload is not `stream_uuid,stream_id,first,last`.
    """
    name, *numbers = payload.rsplit(",", 3)
    if len(numbers) != 3 or not name or not all(number.isascii() and number.isdigit() for number in numbers):
        raise InvalidNotification(payload)
    stream_id, first, last = map(int, numbers)
    return Notification(name, stream_id, first, last)


def _checked(schema: str, suffix: str) -> str:
    size = check_text(schema, "schema name") + len(suffix)
    if size > MAX_CHANNEL_BYTES:
        raise ConfigurationError(
            f"schema name {schema!r} makes a notification channel of {size} bytes, at most {MAX_CHANNEL_BYTES} are "
            f"allowed: choose a schema name of at most {MAX_CHANNEL_BYTES - len(_RUNTIME)} bytes"
        )
    return schema + suffix
