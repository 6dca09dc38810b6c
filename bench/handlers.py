"""The handlers that are measured, as a user would write them. Imported by the runtime's worker processes."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path

from psycopg.sql import SQL, Composed, Identifier

from eventstore.handlers import Context
from eventstore.store import RecordedEvent

_COUNT = SQL("""
    insert into {} as total (stream, events) values (%s, 1)
    on conflict (stream) do update set events = total.events + 1
""")

_COUNTS = SQL("""
    insert into {} as total (stream, events) select * from unnest(%s::text[], %s::bigint[])
    on conflict (stream) do update set events = total.events + excluded.events
""")

COUNTERS = "create table if not exists {}.counters (stream text primary key, events bigint not null)"
"""Makes the table of `count`; `{}` stands for the schema."""


def noop(event: RecordedEvent, context: Context) -> None:
    """Do nothing: what is measured is everything around it."""


def count(event: RecordedEvent, context: Context) -> None:
    """Count the events of each stream, for a transactional subscription."""
    context.connection.execute(_count_in(context.schema), (event.stream_uuid,))


def count_batch(events: list[RecordedEvent], context: Context) -> None:
    """The same for a batch, with one statement."""
    counted = Counter(event.stream_uuid for event in events)
    context.connection.execute(_counts_in(context.schema), (list(counted), list(counted.values())))


def time_of_arrival(event: RecordedEvent, context: Context) -> None:
    """Write down the nanoseconds between the call of append, as the event's metadata tells it, and now."""
    elapsed = time.time_ns() - event.metadata["called_at"]
    os.write(_opened(context.subscription), b"%d\n" % elapsed)


def arrivals_file(subscription: str) -> Path:
    """Where `time_of_arrival` writes; the subscription's name is different in every run."""
    return Path(tempfile.gettempdir()) / f"{subscription}.arrivals"


@lru_cache(maxsize=1)
def _opened(subscription: str) -> int:
    return os.open(arrivals_file(subscription), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@lru_cache(maxsize=16)
def _count_in(schema: str) -> Composed:
    return _COUNT.format(Identifier(schema, "counters"))


@lru_cache(maxsize=16)
def _counts_in(schema: str) -> Composed:
    return _COUNTS.format(Identifier(schema, "counters"))
