"""What the commands read and print."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from eventstore.runtime import commands
from eventstore.store import ConfigurationError, EventData, ExpectedVersion, RecordedEvent
from eventstore.store.schema import Initialised
from eventstore.store.serializer import JsonSerializer
from eventstore.store.types import AppendResult, SubscriptionLag

ID = UUID("0190a6c4-0000-7000-8000-000000000001")
AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


def recorded(data: Any, **fields: Any) -> RecordedEvent:
    given: dict[str, Any] = {
        "event_number": 7,
        "event_id": ID,
        "stream_uuid": "account-1",
        "stream_version": 3,
        "event_type": "Opened",
        "correlation_id": None,
        "causation_id": ID,
        "data": data,
        "metadata": {"user": "ann"},
        "created_at": AT,
    }
    return RecordedEvent(**{**given, **fields})


def events_in(folder: Path, *lines: str | bytes) -> list[EventData]:
    file = folder / "events.jsonl"
    file.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return commands.read_events(str(file))


def test_events_are_read_line_by_line(tmp_path: Path) -> None:
    found = events_in(
        tmp_path,
        '{"event_type": "A", "data": 1}',
        "",
        f'{{"event_type": "B", "data": null, "metadata": {{"k": [1]}}, "event_id": "{ID}", "causation_id": null}}\r',
        "  ",
        '{"event_type": "Ü", "data": {"text": "☃"}}',
    )
    assert found == [
        EventData("A", 1),
        EventData("B", None, {"k": [1]}, ID),
        EventData("Ü", {"text": "☃"}),
    ]


def test_what_read_prints_can_be_appended_again(tmp_path: Path) -> None:
    event = recorded({"n": 1, "text": "line\nbreak"})
    assert events_in(tmp_path, commands.event_json(event, JsonSerializer())) == [
        EventData("Opened", event.data, event.metadata, ID, causation_id=ID)
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "this is not JSON: Input data was truncated"),
        (b'{"event_type": "A", "data": "\xff"}', "this is not JSON: 'utf-8' codec can't decode byte 0xff"),
        ("[1]", 'an event is an object with "event_type" (a string) and "data"; this is none'),
        (
            '{"event_type": 7, "data": 1}',
            'an event is an object with "event_type" (a string) and "data"; "event_type" is 7',
        ),
        ('{"event_type": "A"}', 'an event is an object with "event_type" (a string) and "data"; "data" is missing'),
        ('{"data": 1}', 'an event is an object with "event_type" (a string) and "data"; "event_type" is missing'),
        ('{"event_type": "A", "dat": 1}', 'an event has no "dat"; did you mean "data"?'),
        ('{"event_type": "A", "data": 1, "meta_data": 1}', 'an event has no "meta_data"; did you mean "metadata"?'),
        ('{"event_type": "A", "data": 1, "zzz": 1}', 'an event has no "zzz"; it may have event_type, data, metadata, '),
        ('{"event_type": "A", "data": 1, "event_id": "7"}', "\"event_id\" is '7', not a UUID"),
        ('{"event_type": "A", "data": 1, "correlation_id": 7}', '"correlation_id" is 7, not a UUID'),
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: str | bytes, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        events_in(tmp_path, '{"event_type": "A", "data": 1}', "", line)
    assert str(caught.value).startswith(f"{tmp_path}/events.jsonl, line 3: {problem}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.jsonl", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError) as caught:
            commands.read_events(str(path))
        assert str(caught.value) == f"cannot read {path}: {reason}"


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"event_type": "A", "data": 1}\nnothing\n')))
    with pytest.raises(ConfigurationError, match=r"^standard input, line 2: this is not JSON"):
        commands.read_events("-")


def test_a_terminal_is_told_that_events_are_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real terminal: what reads from it in silence looks as if it hung."""
    ours, theirs = os.openpty()
    os.write(ours, b'{"event_type": "A", "data": 1}\n\x04')
    said = io.StringIO()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("sys.stderr", said)
        assert commands.read_events("-") == [EventData("A", 1)]
    os.close(ours)
    assert said.getvalue() == "reading events from the terminal, one JSON object a line; Ctrl-D ends\n"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("aZ é☃\n\"'\\", max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=5))
def test_any_events_go_out_and_come_in_again(values: list[Any]) -> None:
    lines = [commands.event_json(recorded(value), JsonSerializer()) for value in values]
    assert not any("\n" in line for line in lines)
    found = [commands._event(line.encode(), "here") for line in lines]
    assert [event.data for event in found] == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("any_version", ExpectedVersion.ANY_VERSION),
        ("no_stream", ExpectedVersion.NO_STREAM),
        ("stream_exists", ExpectedVersion.STREAM_EXISTS),
        ("0", 0),
        ("12", 12),
    ],
)
def test_expected_versions(text: str, expected: ExpectedVersion | int) -> None:
    assert commands.expected_version(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1.5", "any", "٣", "²", "1_0"])
def test_an_expected_version_nobody_knows(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        commands.expected_version(text)
    assert str(caught.value) == (
        f"--expected {text!r} is unknown; give any_version, no_stream, stream_exists, or a version such as 3"
    )


def test_events_in_words() -> None:
    assert [commands.describe_events(number) for number in (0, 1, 1_234)] == ["0 events", "1 event", "1,234 events"]


def test_what_init_and_append_did() -> None:
    nothing, everything = Initialised(False, False, False, "bytea"), Initialised(True, True, True, "bytea")
    assert (
        commands.describe_changes(msgspec.structs.asdict(nothing), "public") == "schema 'public' was complete already"
    )
    assert commands.describe_changes(msgspec.structs.asdict(everything), "es") == (
        "schema 'es': created schema, created tables, created runtime tables"
    )
    result = AppendResult("a", 1, 2, 11, 12)
    assert commands.describe_append(result, 2) == "appended 2 events to a, now at version 2"
    assert commands.describe_append(result, 1) == "appended 1 event to a, now at version 2"


def test_an_event_as_a_line_and_as_json() -> None:
    event = recorded({"n": 1})
    assert commands.event_line(event, JsonSerializer()) == '7  2024-05-06 07:08:09  account-1  Opened  {"n":1}'
    assert json.loads(commands.event_json(event, JsonSerializer())) == {
        "event_number": 7,
        "event_id": str(ID),
        "stream_uuid": "account-1",
        "stream_version": 3,
        "event_type": "Opened",
        "correlation_id": None,
        "causation_id": str(ID),
        "data": {"n": 1},
        "metadata": {"user": "ann"},
        "created_at": "2024-05-06T07:08:09.123456+00:00",
    }


def test_lags_as_a_table() -> None:
    lags = [
        SubscriptionLag(1, "orders", "$all", 1_234, 5_678, 4_444, 0, "node one", 3, True),
        SubscriptionLag(2, "new", "a", None, 5, 5, None, None, None, False),
        SubscriptionLag(3, "elixir", "a", 5, 5, 0, None, None, None, True),
        SubscriptionLag(4, "bad", "a", 4, 5, 1, 0, "n", 3, True, halted_at=5, halted_reason="it broke", parked=2),
        SubscriptionLag(5, "off", "a", 5, 5, 0, 0, "n", 3, True, paused=True),
    ]
    console = Console(file=io.StringIO(), width=120)
    console.print(commands.lag_table(lags))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split() for line in printed.splitlines() if line.strip() and "─" not in line]
    assert rows == [
        ["Subscription", "Stream", "Last", "seen", "Head", "Lag", "Owner", "State"],
        ["orders", "$all", "1,234", "5,678", "4,444", "node", "one"],
        ["new", "a", "-", "5", "5", "nobody"],
        ["elixir", "a", "5", "5", "0", "another", "runtime"],
        ["bad", "a", "4", "5", "1", "n", "halted", "at", "event", "5,", "2", "parked"],
        ["off", "a", "5", "5", "0", "n", "paused"],
        ["bad,", "event", "5:", "it", "broke"],
    ]


def test_where_nobody_looks_a_row_stays_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    name, reason = "n" * 150, "because " * 50
    lag = SubscriptionLag(1, name, "$all", 1, 2, 1, 0, "node", 1, True, halted_at=2, halted_reason=reason)
    commands.show(commands.lag_table([lag]))
    printed = capsys.readouterr().out
    assert [line.split()[:4] for line in printed.splitlines() if name in line] == [
        [name, "$all", "1", "2"],
        [f"{name},", "event", "2:", "because"],
    ]
    assert f"  {name}, event 2: {reason}".rstrip() in printed
