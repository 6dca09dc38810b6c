"""What a handler is given beside the event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
import structlog

from eventstore.handlers import AsyncContext, Context
from eventstore.store import ConfigurationError, Connection, RecordedEvent


def context(connection: Connection | None = None) -> Context:
    log = structlog.get_logger()
    return Context(subscription="s", schema="public", event_number=7, attempt=2, log=log, connection=connection)


def test_a_plain_handler_has_no_connection_and_is_told_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = context().connection
    assert str(caught.value) == (
        "subscription 's': context.connection is there for transactional handlers only; "
        "declare the handler with transactional=True, or give Context(connection=…) in a test"
    )


def test_a_transactional_handler_gets_its_connection() -> None:
    connection = cast("Connection", object())
    assert context(connection).connection is connection


def test_the_circumstances_of_the_call() -> None:
    given: Any = context()
    assert (given.subscription, given.schema, given.attempt) == ("s", "public", 2)
    with pytest.raises(AttributeError):
        given.note = "a context keeps nothing for the next event"


def test_a_test_of_a_handler_needs_two_facts_only() -> None:
    given = Context(subscription="s", event_number=7)
    assert (given.schema, given.attempt, given.is_replay, given.partition) == ("public", 1, False, None)
    given.log.debug("works without a runtime")


def event(number: int, stream: str) -> RecordedEvent:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    return RecordedEvent(number, UUID(int=1), stream, 1, "Opened", None, None, {}, None, at)


def test_the_partition_is_that_of_the_event_or_of_all_events() -> None:
    def by_stream(event: RecordedEvent) -> str:
        return event.stream_uuid

    def partition(*events: RecordedEvent) -> object:
        return Context(subscription="s", event_number=1, partition_key=by_stream, events=events).partition

    assert partition(event(1, "a")) == "a"
    assert partition(event(1, "a"), event(2, "a")) == "a"
    assert partition(event(1, "a"), event(2, "b")) is None


def test_an_async_handler_has_its_own_kind_of_connection() -> None:
    connection = object()
    assert AsyncContext(subscription="s", event_number=1, connection=connection).connection is connection
    with pytest.raises(ConfigurationError, match="transactional=True"):
        _ = AsyncContext(subscription="s", event_number=1).connection
