"""Fills a schema with as many events as wanted, far faster than appending could; for measures and for tests.

The rows are those that appends would have left, ids in the order of time included. The server makes them itself, and,
where the role may say so, without its triggers: their foreign keys hold by construction, and nobody listens.
"""

from __future__ import annotations

from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from eventstore.store import Connection

# The id of event n: n in the place of the time of a UUID of version 7, so that the indexes grow as they do in life.
_STEPS = (
    """
    insert into {schema}.streams (stream_uuid, stream_version)
    select 'account-' || n, ({events} - n + {streams} - 1) / {streams}
      from generate_series(0, least({streams}, {events}) - 1) as n
    """,
    """
    insert into {schema}.events (event_id, event_type, data, metadata)
    select (lpad(to_hex(n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid,
           'MoneyMoved',
           convert_to('{{"account":"account-' || n % {streams} || '","amount":42,"note":"' || repeat('n', 64) || '"}}',
                      'UTF8'),
           '{{"user":"u1"}}'
      from generate_series(0, {events} - 1) as n
    """,
    """
    with numbered as (
      select event_id, row_number() over (order by event_id) as n from {schema}.events
    ),
    placed as (
      select numbered.event_id, numbered.n, s.stream_id, (numbered.n - 1) / {streams} + 1 as stream_version
        from numbered
        join {schema}.streams s on s.stream_uuid = 'account-' || (numbered.n - 1) % {streams}
    )
    insert into {schema}.stream_events
           (event_id, stream_id, stream_version, original_stream_id, original_stream_version)
    select event_id, link.stream_id, link.version, placed.stream_id, placed.stream_version
      from placed
     cross join lateral (
       values (placed.stream_id, placed.stream_version), (0, placed.n)
     ) as link (stream_id, version)
    """,
    "update {schema}.streams set stream_version = {events} where stream_id = 0",
)


def fill(connection: Connection, schema: str, events: int, streams: int) -> None:
    """Puts events into an empty store with `bytea` columns, one for each stream in turn.

    Args:
        connection: An autocommit connection without a time limit for statements.
        schema: The schema of the store.
        events: How many; 1 or more.
        streams: Over how many streams, named account-0 and so on.
    """
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("set local session_replication_role = replica")
        except InsufficientPrivilege:
            pass  # Then the triggers run: it takes some ten times as long and ends in the same rows.
        for step in _STEPS:
            connection.execute(SQL(step).format(schema=Identifier(schema), events=events, streams=streams))
    for table in ("streams", "events", "stream_events"):
        connection.execute(SQL("vacuum (analyze) {}").format(Identifier(schema, table)))
