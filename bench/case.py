"""What a measure is made of: cases, the figures they give, and the database they run on.

Every case gets a fresh schema, or one of the two backlogs that are made once per run and read by many. The modules
beside this one declare the cases; `__main__.py` runs them and `report.py` shows the figures.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

from psycopg import sql

from eventstore.runtime.demo.feed import feed
from eventstore.runtime.demo.git_history import Commit
from eventstore.runtime.demo.projection import create_tables
from eventstore.store import EventData, EventStore, ExpectedVersion, connect, initialise

from .backlog import fill

STREAMS = 1_000
AUTHORS = 200
_PER_TRANSACTION = 1_000


class Limit(NamedTuple):
    """What the database or the driver can do at best, to hold a figure against.

    Attributes:
        name: The figure that measures it.
        times: How many of the figure's units come with one of the limit's, such as the events of one commit.
    """

    name: str
    times: float = 1


class Figure(NamedTuple):
    """One line of the table.

    Attributes:
        name: Its name in the JSON and for `--only`.
        title: What was measured, for people.
        unit: What it is counted in.
        reference: What commanded/eventstore 1.4.8 reached on a 2-core machine; None where it was not measured.
        limit: What it can be at most; None where nothing measured here says so.
        less_is_better: Whether smaller values are better.
    """

    name: str
    title: str
    unit: str = "events/s"
    reference: float | None = None
    limit: Limit | None = None
    less_is_better: bool = False


class Case(NamedTuple):
    """Something to run: one call of `run` is one round and gives one value for each figure."""

    figures: tuple[Figure, ...]
    run: Callable[[Bench], tuple[float, ...]]


class Bench:
    """Where and how much to measure.

    Args:
        url: The database; every table made there is in a schema named `bench_…`, dropped in the end.
        seconds: How long each measure with a time budget runs.
        events: Events of the backlog that subscriptions catch up with.
        many: Events of the large backlog, which shows whether the cost of an event depends on how many there are.
    """

    def __init__(self, url: str, seconds: float, events: int, many: int) -> None:
        self.url = url
        self.seconds = seconds
        self.events = events
        self.many = many
        self._schemas: list[str] = []

    @contextmanager
    def fresh_schema(self) -> Iterator[str]:
        """A new schema with the store's tables, dropped at the end of the block."""
        schema = self._create_schema()
        try:
            yield schema
        finally:
            self._drop_schema(schema)

    @cached_property
    def backlog(self) -> str:
        """A schema with `events` events: one for each of 1,000 streams in turn, then the next for each."""
        schema = self._create_schema()
        with EventStore(self.url, schema=schema) as store:
            for start in range(0, self.events, _PER_TRANSACTION):
                numbers = range(start, min(start + _PER_TRANSACTION, self.events))
                store.append_many(
                    [(f"account-{n % STREAMS}", ExpectedVersion.ANY_VERSION, [event(n)]) for n in numbers]
                )
        self._settle(schema)
        return schema

    @cached_property
    def large_backlog(self) -> str:
        """A schema with `many` events over the same streams, made by the server itself."""
        schema = self._create_schema()
        with connect(self.url, "bench", timeout=None) as connection:
            fill(connection, schema, self.many, STREAMS)
        return schema

    @cached_property
    def history(self) -> str:
        """A schema with the demo's table and a fifth as many commits, by 200 authors of very different diligence."""
        schema = self._create_schema()
        with connect(self.url, "bench") as connection:
            create_tables(connection, schema)
        with EventStore(self.url, schema=schema) as store:
            feed(store, commits(self.events // 5))
        self._settle(schema)
        return schema

    def close(self) -> None:
        """Drops every schema that is left."""
        for schema in list(self._schemas):
            self._drop_schema(schema)

    def execute(self, statement: str, schema: str) -> None:
        """Runs a statement with `{}` for the schema, outside of any transaction."""
        with connect(self.url, "bench", timeout=None) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(schema)))

    def _create_schema(self) -> str:
        schema = f"bench_{uuid.uuid4().hex[:12]}"
        with connect(self.url, "bench") as connection:
            initialise(connection, schema)
        self._schemas.append(schema)
        return schema

    def _drop_schema(self, schema: str) -> None:
        self.execute("drop schema if exists {} cascade", schema)
        self._schemas.remove(schema)

    def _settle(self, schema: str) -> None:
        """Leaves the housekeeping of the load to the load, not to whoever reads first."""
        for table in ("streams", "events", "stream_events"):
            self.execute(f"vacuum (analyze) {{}}.{table}", schema)


def event(number: int, **metadata: Any) -> EventData:
    """The event of the reference figures: an account, an amount, a note of 64 characters, and who did it."""
    data = {"account": f"account-{number % STREAMS}", "amount": 42, "note": "n" * 64}
    return EventData("MoneyMoved", data, {"user": "u1", **metadata})


def commits(number: int) -> Iterator[Commit]:
    """Commits as a long-lived repository has them, the same ones every time."""
    draw = random.Random(1)
    authors = range(AUTHORS)
    diligence = [1 / (author + 1) for author in authors]
    for index, author in enumerate(draw.choices(authors, diligence, k=number)):
        yield Commit(
            hash=f"{index:040x}",
            author_email=f"author{author}@example.org",
            author_name=f"Author {author}",
            time=f"{2000 + index * 20 // number}-{index % 12 + 1:02}-10T12:00:00+00:00",
            subject="Mend what the last commit broke, and say why",
            files=draw.randint(1, 9),
            insertions=draw.randint(0, 400),
            deletions=draw.randint(0, 200),
        )
