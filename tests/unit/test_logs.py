"""Logs: one event, one whole line, at the configured level."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import structlog

from eventstore.runtime.logs import configure_logging
from eventstore.runtime.plan import LogPlan


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_lines_hold_the_facts_and_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogPlan(level="info", format="json"))
    log = structlog.get_logger(process="listener")
    log.info("child_ready", pid=7)
    try:
        raise ValueError("out of temper")
    except ValueError:
        log.exception("handler_failed", event_number=3)
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert list(first) == ["timestamp", "level", "event", "process", "pid"], "what a reader looks for comes first"
    assert (first["event"], first["level"], first["process"], first["pid"]) == ("child_ready", "info", "listener", 7)
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["event_number"]) == ("handler_failed", 3)
    assert second["exception"][0]["exc_value"] == "out of temper"


@pytest.mark.parametrize("format", ["console", "json"])
def test_no_value_of_a_variable_is_shown_with_a_traceback(
    format: Literal["console", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    """Among them are the plan with the database's password, and the data of events."""
    configure_logging(LogPlan(format=format))
    secret = uuid.uuid4().hex

    def connect(url: str) -> None:
        raise ValueError("no")

    try:
        connect(f"postgresql://me:{secret}@host/x")
    except ValueError:
        structlog.get_logger().exception("process_crashed")
    shown = capsys.readouterr().err
    assert "process_crashed" in shown
    assert "connect" in shown
    assert secret not in shown


def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogPlan(level="warning"))
    log = structlog.get_logger(subscription="a")
    log.info("not_this")
    log.warning("event_skipped", reason="no use")
    (line,) = capsys.readouterr().err.splitlines()
    assert "event_skipped" in line
    assert "reason='no use'" in line
    assert "subscription=a" in line


class Full(io.StringIO):
    """A stream on a disk that is full."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


class Gone(io.StringIO):
    """A pipe whose reader went away."""

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("broken", [Full, Gone])
def test_a_log_that_cannot_be_written_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[], io.StringIO]
) -> None:
    monkeypatch.setattr("sys.stderr", broken())
    configure_logging(LogPlan())
    structlog.get_logger().info("starting")
