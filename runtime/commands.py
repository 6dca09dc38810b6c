"""What the commands read and print: lines of JSON into events, results into text. Pure but for reading the input."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import orjson
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..store.connection import Connection, run
from ..store.errors import ConfigurationError, SchemaMissing
from ..store.serializer import JsonSerializer, Serializer
from ..store.sql import Statements
from ..store.streams import stream_heads
from ..store.types import ALL_STREAM, AppendResult, EventData, Expected, ExpectedVersion, RecordedEvent, SubscriptionLag

_TAKEN = EventData.__struct_fields__
_IGNORED = tuple(name for name in RecordedEvent.__struct_fields__ if name not in _TAKEN)
_EVENT_IS = 'an event is an object with "event_type" (a string) and "data"'
_UNBOUNDED = 100_000
_ID_FIELDS = ("event_id", "causation_id", "correlation_id")


def read_events(source: str) -> list[EventData]:
    """The events of a JSON Lines file; "-" is standard input.

    Raises:
        ConfigurationError: The file cannot be read, or a line is not an event; names the line.
    """
    if source == "-":
        if sys.stdin.isatty():
            sys.stderr.write("reading events from the terminal, one JSON object a line; Ctrl-D ends\n")
        name, content = "standard input", sys.stdin.buffer.read()
    else:
        name = source
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot read {source}: {error.strerror}") from None
    lines = content.split(b"\n")
    return [_event(line, f"{name}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _event(line: bytes, where: str) -> EventData:
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: this is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigurationError(f"{where}: {_EVENT_IS}; this is none")
    for key in fields:
        if key not in _TAKEN and key not in _IGNORED:
            near = difflib.get_close_matches(key, _TAKEN, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; it may have {', '.join(_TAKEN)}"
            raise ConfigurationError(f'{where}: an event has no "{key}"{hint}')
    if not isinstance(fields.get("event_type", ""), str):
        raise ConfigurationError(f'{where}: {_EVENT_IS}; "event_type" is {fields["event_type"]!r}')
    for key in ("event_type", "data"):
        if key not in fields:
            raise ConfigurationError(f'{where}: {_EVENT_IS}; "{key}" is missing')
    taken: dict[str, Any] = {key: value for key, value in fields.items() if key in _TAKEN}
    for key in _ID_FIELDS:
        if taken.get(key) is not None:
            taken[key] = _uuid(taken[key], key, where)
    return EventData(**taken)


def _uuid(value: Any, key: str, where: str) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(f'{where}: "{key}" is {value!r}, not a UUID') from None


def expected_version(text: str) -> Expected:
    """An expected version as the command line gives it.

    Raises:
        ConfigurationError: Neither a kind nor a number of 0 or more.
    """
    if text.isdecimal() and text.isascii():
        return int(text)
    try:
        return ExpectedVersion(text)
    except ValueError:
        kinds = ", ".join(ExpectedVersion)
        raise ConfigurationError(f"--expected {text!r} is unknown; give {kinds}, or a version such as 3") from None


def as_json(value: Any) -> str:
    """A value as one line of JSON."""
    return msgspec.json.encode(value).decode()


def describe_changes(done: Mapping[str, Any], schema: str) -> str:
    """What `init` or `create` did, in one line; `done` holds what was created as True."""
    changes = [name.replace("_", " ") for name, value in done.items() if value is True]
    return f"schema {schema!r}: {', '.join(changes)}" if changes else f"schema {schema!r} was complete already"


def describe_migrate(reached: Sequence[str], schema: str) -> str:
    """What `migrate` did, in one line."""
    return f"schema {schema!r}: " + (f"now at version {reached[-1]}" if reached else "up to date already")


def count_events(connection: Connection, schema: str) -> int:
    """How many events a store holds; 0 where there is none."""
    try:
        return run(connection, stream_heads(Statements(schema), [ALL_STREAM])).get(ALL_STREAM, 0)
    except SchemaMissing:
        return 0


def describe_events(number: int) -> str:
    """A number of events in words."""
    return "1 event" if number == 1 else f"{number:,} events"


def describe_append(result: AppendResult, number: int) -> str:
    """What `append` did, in one line."""
    return f"appended {describe_events(number)} to {result.stream_uuid}, now at version {result.stream_version}"


def event_json(event: RecordedEvent, serializer: Serializer) -> str:
    """An event as one line of JSON, whatever its serializer makes of data."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    for name in ("data", "metadata"):
        fields[name] = orjson.Fragment(_as_json(fields[name], serializer))
    return JsonSerializer().serialize(fields).decode()


def event_line(event: RecordedEvent, serializer: Serializer) -> str:
    """An event as one line of text."""
    data = _as_json(event.data, serializer).decode()
    return (
        f"{event.event_number}  {event.created_at:%Y-%m-%d %H:%M:%S}  {event.stream_uuid}  {event.event_type}  {data}"
    )


def _as_json(value: Any, serializer: Serializer) -> bytes:
    """A value as the store's serializer writes it where that is JSON; otherwise what is no plain data is described."""
    if value is None:
        return b"null"
    try:
        payload = serializer.serialize(value)
        orjson.loads(payload)
    except Exception:
        return msgspec.json.encode(value, enc_hook=repr)
    return payload


def show(what: RenderableType) -> None:
    """Print a table: as wide as the terminal, or as wide as it is where nobody looks, so that each row stays a line."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    console.print(what)


def lag_table(lags: Sequence[SubscriptionLag]) -> RenderableType:
    """All subscriptions as a table, and why the halted ones are, which no column has room for, below it."""
    table = Table(box=box.SIMPLE)
    for heading in ("Subscription", "Stream"):
        table.add_column(heading, overflow="fold")
    for heading in ("Last seen", "Head", "Lag"):
        table.add_column(heading, justify="right")
    table.add_column("Owner")
    table.add_column("State", overflow="fold")
    for lag in lags:
        owner = (lag.node or "another runtime") if lag.is_locked else "nobody"
        seen = "-" if lag.last_seen is None else f"{lag.last_seen:,}"
        table.add_row(lag.subscription_name, lag.stream_uuid, seen, f"{lag.head:,}", f"{lag.lag:,}", owner, _state(lag))
    reasons = (
        Text(f"  {lag.subscription_name}, event {lag.halted_at:,}: {lag.halted_reason}")
        for lag in lags
        if lag.halted_at is not None
    )
    return Group(table, *reasons)


def _state(lag: SubscriptionLag) -> str:
    """What keeps a subscription from going on, and what it has set aside; empty where there is nothing to say."""
    said = []
    if lag.paused:
        said.append("paused")
    if lag.halted_at is not None:
        said.append(f"halted at event {lag.halted_at:,}")
    if lag.parked:
        said.append(f"{lag.parked:,} parked")
    return ", ".join(said)
