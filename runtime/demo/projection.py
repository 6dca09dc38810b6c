"""The demo's handlers, written as a user would write them: a SQL projection and a handler that logs.

`commits_per_author` keeps one row per author and month. It is transactional: what it writes through
`context.connection` and the record that the event is done commit together, so each commit counts exactly once, also
when a worker is killed in the middle. The functions below the handlers create and read the table.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from ...handlers import Context, handler
from ...store.types import RecordedEvent
from .events import EVENT_TYPE

TABLE = "demo_commits_per_month"

# The stream is the key rather than the e-mail: a stream's name has a bounded length, an index entry must have one.
_CREATE = SQL("""
    CREATE TABLE IF NOT EXISTS {table} (
        stream text NOT NULL,
        author text NOT NULL,
        month text NOT NULL,
        commits bigint NOT NULL,
        insertions bigint NOT NULL,
        deletions bigint NOT NULL,
        PRIMARY KEY (stream, month)
    )
""")
_COUNT = SQL("""
    INSERT INTO {table} AS total (stream, author, month, commits, insertions, deletions)
    VALUES (%s, %s, %s, 1, %s, %s)
    ON CONFLICT (stream, month) DO UPDATE SET
        commits = total.commits + 1,
        insertions = total.insertions + excluded.insertions,
        deletions = total.deletions + excluded.deletions
""")
_READ_AUTHORS = SQL("SELECT author, sum(commits)::bigint FROM {table} GROUP BY author")
_READ_MONTHS = SQL("SELECT author, month, commits, insertions, deletions FROM {table} ORDER BY author, month")


@handler(name="commits-per-author", stream="$all", concurrency=2, partition_by="stream", transactional=True)
def commits_per_author(event: RecordedEvent, context: Context) -> None:
    """Count the commit in the row of its author and month; events of other types are none of its business."""
    if event.event_type != EVENT_TYPE:
        return
    commit = event.data
    row = (event.stream_uuid, commit["email"], month_of(commit["time"]), commit["insertions"], commit["deletions"])
    context.connection.execute(_count_in(context.schema), row)


@handler(name="commit-log")
def log_commit(event: RecordedEvent, context: Context) -> None:
    """Log one line per commit."""
    if event.event_type != EVENT_TYPE:
        return
    commit = event.data
    context.log.info("commit", hash=commit["hash"][:12], author=commit["email"], subject=commit["subject"])


class MonthRow(msgspec.Struct, frozen=True):
    """One row of the projection: what one author did in one month.

    Attributes:
        author: The author's e-mail.
        month: Year and month in the author's own time zone, such as `2024-05`.
        commits: Number of commits.
        insertions: Lines added.
        deletions: Lines removed.
    """

    author: str
    month: str
    commits: int
    insertions: int
    deletions: int


def month_of(time: str) -> str:
    """Return the year and month of an ISO 8601 time; a year may have more than four digits."""
    year, month, _ = time.split("-", 2)
    return f"{year}-{month}"


def create_tables(connection: Connection[Any], schema: str) -> None:
    """Create the projection's table in `schema` unless it is there; several processes may do so at once."""
    with connection.transaction():
        # IF NOT EXISTS alone lets two creators collide in the catalogue.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{schema}.{TABLE}",))
        connection.execute(_CREATE.format(table=Identifier(schema, TABLE)))


def read_projection(connection: Connection[Any], schema: str) -> dict[str, int]:
    """Return the number of commits by author e-mail."""
    return dict(connection.execute(_READ_AUTHORS.format(table=Identifier(schema, TABLE))).fetchall())


def read_months(connection: Connection[Any], schema: str) -> list[MonthRow]:
    """Return all rows of the projection, by author and month."""
    return [MonthRow(*row) for row in connection.execute(_READ_MONTHS.format(table=Identifier(schema, TABLE)))]


@lru_cache(maxsize=16)
def _count_in(schema: str) -> Composed:
    """Composed once for each schema, not once for each event."""
    # psycopg looks for placeholders in the whole text of a statement that has values, names included.
    return _COUNT.format(table=Identifier(schema.replace("%", "%%"), TABLE))
