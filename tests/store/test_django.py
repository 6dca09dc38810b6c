"""An append in the transaction of a Django application, on the connection of Django's own ORM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django  # type: ignore[import-untyped]
import pytest
from django import db
from django.conf import settings  # type: ignore[import-untyped]
from django.db.transaction import atomic  # type: ignore[import-untyped]
from psycopg.conninfo import conninfo_to_dict

from eventstore.store import Connection, EventData, EventStore, WrongExpectedVersion


@pytest.fixture
def connection(database_url: str) -> Iterator[Any]:
    """Django's default connection, as `from django.db import connection` gives it to an application."""
    arguments = conninfo_to_dict(database_url)
    name = arguments.pop("dbname")
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": name, "OPTIONS": arguments}
    if not settings.configured:
        settings.configure(DATABASES={"default": database}, USE_TZ=True, TIME_ZONE="Europe/Berlin")
        django.setup()
    yield db.connection
    db.connection.close()


def test_an_append_and_a_row_of_django_commit_or_roll_back_together(
    event_store: EventStore, connection: Any, conn: Connection, schema: str
) -> None:
    conn.execute(f'create table "{schema}".totals (n int)'.encode())

    def place(stream: str, fails: bool = False) -> None:
        event_store.append_to_stream(
            stream, "no_stream", [EventData("Placed", {"cents": 5}, {"a": [1.5]})], conn=connection.connection
        )
        with connection.cursor() as cursor:
            cursor.execute(f'insert into "{schema}".totals values (1)')
        if fails:
            raise LookupError

    with atomic():
        place("a")
        (within,) = event_store.read_stream_forward("a", conn=connection.connection)
        assert event_store.stream_heads(["a"]) == {}, "not committed yet"
    with pytest.raises(LookupError), atomic():
        place("b", fails=True)
    assert event_store.stream_heads(["a", "b"]) == {"a": 1}
    assert event_store.read_stream_forward("a") == [within], "Django's own way with types and times changes nothing"
    assert conn.execute(f'select n from "{schema}".totals'.encode()).fetchall() == [(1,)]


def test_a_refused_append_leaves_djangos_transaction_usable(
    event_store: EventStore, connection: Any, conn: Connection
) -> None:
    event_store.append_to_stream("a", "no_stream", [EventData("Placed", 1)])
    with atomic():
        with pytest.raises(WrongExpectedVersion):
            event_store.append_to_stream("a", "no_stream", [EventData("Placed", 2)], conn=connection.connection)
        event_store.append_to_stream("a", 1, [EventData("Placed", 3)], conn=connection.connection)
    assert [event.data for event in event_store.read_stream_forward("a")] == [1, 3]
