"""Events for tests that do not care what happened."""

from __future__ import annotations

from typing import Any

from eventstore.store import EventData


def events(*data: Any, event_type: str = "Happened") -> list[EventData]:
    """Return one event for each payload."""
    return [EventData(event_type, payload) for payload in data]
