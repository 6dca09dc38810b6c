"""What a handler is given beside the event."""

from __future__ import annotations

from typing import Any, cast

import pytest
import structlog

from eventstore.handlers import Context
from eventstore.store import ConfigurationError, Connection


def context(connection: Connection | None = None) -> Context:
    log = structlog.get_logger()
    return Context(subscription="s", schema="public", event_number=7, attempt=2, log=log, connection=connection)


def test_a_plain_handler_has_no_connection_and_is_told_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = context().connection
    assert str(caught.value) == (
        "subscription 's': context.connection is there for transactional handlers only; "
        "declare the handler with transactional=True"
    )


def test_a_transactional_handler_gets_its_connection() -> None:
    connection = cast("Connection", object())
    assert context(connection).connection is connection


def test_the_circumstances_of_the_call() -> None:
    given: Any = context()
    assert (given.subscription, given.schema, given.attempt) == ("s", "public", 2)
    with pytest.raises(AttributeError):
        given.note = "a context keeps nothing for the next event"
