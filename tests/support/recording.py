"""Handlers that write down what they do, and the tables in which a test reads it back."""

from __future__ import annotations

from typing import Any

from psycopg.sql import SQL, Identifier

from eventstore.store import Connection

HANDLERS = '''
    """Handlers of a test: each call leaves a line in a file, each transactional one a row as well."""

    import os
    import signal
    import time
    from pathlib import Path

    from eventstore.handlers import Retry, Skip, Stop, handler
    from psycopg.sql import SQL, Identifier

    CALLS = Path(__file__).with_name("calls")
    CALLS.mkdir(exist_ok=True)


    def note(event, context, what="done"):
        line = f"{event.event_number} {event.stream_uuid} {event.stream_version} {context.attempt} {what}\\n"
        with (CALLS / f"{context.subscription}.{os.getpid()}").open("a") as file:
            file.write(line)


    def plain(event, context):
        note(event, context)


    def slow(event, context):
        note(event, context, "begun")
        time.sleep(event.data.get("seconds", 0.01))
        note(event, context)


    def count(event, context):
        table = Identifier(context.schema, "effects")
        time.sleep(event.data.get("seconds", 0) if isinstance(event.data, dict) else 0)
        context.connection.execute(
            SQL("insert into {} (stream, version) values (%s, %s)").format(table),
            (event.stream_uuid, event.stream_version),
        )
        total = Identifier(context.schema, "totals")
        context.connection.execute(
            SQL(
                "insert into {} as t (stream, n) values (%s, 1) on conflict (stream) do update set n = t.n + 1"
            ).format(total),
            (event.stream_uuid,),
        )


    def moody(event, context):
        """Does what the event says, the first time it sees it."""
        wish = event.data.get("wish") if context.attempt <= event.data.get("times", 1) else None
        note(event, context, wish or "done")
        if wish == "raise":
            raise ValueError("out of temper")
        if wish == "retry":
            return Retry(after=0.05, reason="later, please")
        if wish == "skip":
            raise Skip("not this one")
        if wish == "stop":
            return Stop("no further")
        if wish == "nonsense":
            return 42
'''


def create_tables(conn: Connection, schema: str) -> None:
    """Creates the tables of the transactional handler; the first refuses a second effect of the same event."""
    effects, totals = Identifier(schema, "effects"), Identifier(schema, "totals")
    columns = SQL("(stream text, version bigint, at bigserial, primary key (stream, version))")
    conn.execute(SQL("create table {} {}").format(effects, columns))
    conn.execute(SQL("create table {} (stream text primary key, n bigint not null)").format(totals))


def totals(conn: Connection, schema: str) -> dict[str, int]:
    """Effects by stream."""
    table = Identifier(schema, "totals")
    return dict(conn.execute(SQL("select stream, n from {}").format(table)).fetchall())


def orders(conn: Connection, schema: str) -> dict[str, list[int]]:
    """The versions in the order of their effects, by stream."""
    query = SQL("select stream, array_agg(version order by at) from {} group by 1").format(
        Identifier(schema, "effects")
    )
    return dict(conn.execute(query).fetchall())


def calls(project: Any, subscription: str) -> list[list[str]]:
    """What the plain handlers of a subscription wrote, by process, in order: number, stream, version, attempt, what."""
    lines: list[list[str]] = []
    for file in sorted((project.folder / "calls").glob(f"{subscription}.*")):
        lines += [line.split() for line in file.read_text().splitlines() if line.count(" ") == 4]
    return lines
