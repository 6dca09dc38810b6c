"""The demo's handlers, called as the worker calls them, on a real database."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from psycopg.sql import SQL, Identifier

from eventstore.handlers import Context
from eventstore.handlers.declaration import declared_options
from eventstore.runtime.demo.events import stream_of
from eventstore.runtime.demo.feed import feed
from eventstore.runtime.demo.git_history import Commit, read_history
from eventstore.runtime.demo.projection import (
    MonthRow,
    commits_per_author,
    create_tables,
    log_commit,
    read_months,
    read_projection,
)
from eventstore.store import EventStore, RecordedEvent

# Does not compress, so it cannot slip into an index entry.
LONG_EMAIL = "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(200))


def recorded(commit: Commit, event_type: str = "CommitMade") -> RecordedEvent:
    data = {
        "hash": commit.hash,
        "email": commit.author_email,
        "time": commit.time,
        "subject": commit.subject,
        "insertions": commit.insertions,
        "deletions": commit.deletions,
    }
    return RecordedEvent(
        event_number=1,
        event_id=UUID(int=1),
        stream_uuid=stream_of(commit.author_email),
        stream_version=1,
        event_type=event_type,
        correlation_id=None,
        causation_id=None,
        data=data,
        metadata=None,
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
    )


def commit(email: str, time: str, insertions: int = 0, deletions: int = 0) -> Commit:
    return Commit("a" * 40, email, "Name", time, "A change", 1, insertions, deletions)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def context_for(connection: psycopg.Connection[Any], schema: str) -> Context:
    log = structlog.get_logger()
    return Context(
        subscription="commits-per-author", schema=schema, event_number=1, attempt=1, log=log, connection=connection
    )


def test_the_projection_of_a_repository_equals_git_log(
    repository: Any, event_store: EventStore, connection: psycopg.Connection[Any], schema: str
) -> None:
    authors = [b"Ann <ann@x>", b"Bob <bob@x>", b"None <>", b"Comma <a,b@x>", b"Long <" + LONG_EMAIL.encode() + b">"]
    repository.fast_import(authors * 20 + authors[:1] * 7)
    feed(event_store, read_history(repository.path))
    create_tables(connection, schema)
    context = context_for(connection, schema)
    with connection.transaction():
        for event in event_store.read_all_streams_forward(count=1_000):
            commits_per_author(event, context)
    assert Counter(read_projection(connection, schema)) == repository.authors()


def test_commits_are_summed_by_the_authors_month(connection: psycopg.Connection[Any], schema: str) -> None:
    create_tables(connection, schema)
    context = context_for(connection, schema)
    for made in (
        commit("ann@x", "2024-01-31T23:59:59-11:00", 3, 1),
        commit("ann@x", "2024-01-01T00:00:00+14:00", 4, 2),
        commit("ann@x", "2024-02-01T00:00:00+00:00", 5, 0),
        commit("bob@x", "2024-01-15T00:00:00+00:00", 2**40, 2**40),
    ):
        commits_per_author(recorded(made), context)
    assert read_months(connection, schema) == [
        MonthRow("ann@x", "2024-01", 2, 7, 3),
        MonthRow("ann@x", "2024-02", 1, 5, 0),
        MonthRow("bob@x", "2024-01", 1, 2**40, 2**40),
    ]
    assert read_projection(connection, schema) == {"ann@x": 3, "bob@x": 1}


def test_a_rolled_back_transaction_counts_nothing(connection: psycopg.Connection[Any], schema: str) -> None:
    create_tables(connection, schema)
    event = recorded(commit("ann@x", "2024-01-01T00:00:00+00:00"))
    with connection.transaction() as transaction:
        commits_per_author(event, context_for(connection, schema))
        assert read_projection(connection, schema) == {"ann@x": 1}
        raise psycopg.Rollback(transaction)
    assert read_months(connection, schema) == []


def test_tables_may_be_created_again_and_in_any_schema(connection: psycopg.Connection[Any], schema: str) -> None:
    odd_schema = f'{schema}_o"dd %s {{table}}'
    connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(odd_schema)))
    for name in (schema, odd_schema):
        create_tables(connection, name)
        commits_per_author(recorded(commit("ann@x", "2024-01-01T00:00:00Z")), context_for(connection, name))
        create_tables(connection, name)
        assert read_projection(connection, name) == {"ann@x": 1}
    connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(odd_schema)))


def test_other_events_are_passed_over(connection: psycopg.Connection[Any], schema: str) -> None:
    create_tables(connection, schema)
    context = context_for(connection, schema)
    other = recorded(commit("ann@x", "2024-01-01T00:00:00Z"), event_type="SomethingElse")
    commits_per_author(other, context)
    with structlog.testing.capture_logs() as lines:
        log_commit(other, context)
    assert read_projection(connection, schema) == {}
    assert lines == []


def test_the_log_holds_one_line_per_commit(connection: psycopg.Connection[Any], schema: str) -> None:
    with structlog.testing.capture_logs() as lines:
        log_commit(recorded(commit("ann@x", "2024-01-01T00:00:00Z")), context_for(connection, schema))
    assert lines == [
        {
            "event": "commit",
            "log_level": "info",
            "subscription": "commits-per-author",
            "event_number": 1,
            "hash": "a" * 12,
            "author": "ann@x",
            "subject": "A change",
        }
    ]


def test_the_declarations() -> None:
    options = declared_options(commits_per_author)
    assert (options.name, options.stream, options.concurrency) == ("commits-per-author", "$all", 2)
    assert (options.partition_by, options.transactional) == ("stream", True)
    assert declared_options(log_commit).name == "commit-log"
