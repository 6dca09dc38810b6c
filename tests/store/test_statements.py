"""Every statement: loaded, described, understood by PostgreSQL for any schema name, and at index speed."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from eventstore.store import Connection, EventStore, Statements
from eventstore.store.sql import NAMES, DataType
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events

pytestmark = pytest.mark.every_server

SCRIPTS = {"schema", "runtime_schema", "create_schema", "notify_events", "drop"}
ODD_SCHEMA = 'odd "schema\'s" {data_type} $$ %s ü'


def text(name: str) -> str:
    return files("eventstore.store.sql").joinpath(f"{name}.sql").read_text("utf-8")


def test_every_file_is_a_statement_and_every_statement_a_file() -> None:
    found = {entry.name.removesuffix(".sql") for entry in files("eventstore.store.sql").iterdir()}
    assert {name for name in found if not name.startswith("__")} == set(NAMES)
    assert list(Statements("public")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_what_and_which_binds(name: str) -> None:
    lines = text(name).splitlines()
    header = " ".join(line.removeprefix("-- ") for line in lines if line.startswith("-- "))
    body = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    assert lines[0].startswith("-- ")
    assert lines[0][3].isupper()
    binds = set(re.findall(r"\$\d+", body))
    assert binds <= set(re.findall(r"\$\d+", header))
    assert binds or name in SCRIPTS or "No binds" in header


@pytest.mark.parametrize("data_type", ["bytea", "jsonb"])
def test_every_statement_can_be_prepared(database_url: str, conn: Connection, data_type: DataType) -> None:
    with fresh_schema(database_url, data_type, ODD_SCHEMA) as schema:
        for name, statement in Statements(schema, data_type).items():
            if name not in SCRIPTS:
                conn.execute(f"prepare {name} as {statement}".encode())
        prepared = conn.execute("select name from pg_prepared_statements where from_sql").fetchall()
    assert {row[0] for row in prepared} == set(NAMES) - SCRIPTS


@pytest.mark.parametrize("data_type", ["bytea", "jsonb"])
def test_a_schema_of_any_name_works(database_url: str, data_type: DataType) -> None:
    with fresh_schema(database_url, data_type, ODD_SCHEMA) as schema, EventStore(database_url, schema=schema) as store:
        store.append_to_stream("a", "no_stream", events({"n": 1}))
        store.append_many([("b", "any_version", events({"n": 2}))])
        assert [event.data for event in store.read_all_streams_forward()] == [{"n": 1}, {"n": 2}]


PLANS: dict[str, tuple[Any, ...]] = {
    "page_all": (100, 50, 1_000),
    "page_stream": ("'s1'", 0, 50, 1_000),
    "page_filtered": ("'$all'", 0, 500, 50, 1_000, "'{Happened}'", "'s1'", "'s'", "array['{\"n\": 1}']"),
    "page_bounded": ("'$all'", 0, 500, 50, 1_000, "null", "null", "null", "null"),
    "read_forward": ("'s1'", 0, 50),
    "read_backward": ("'$all'", 100, 50),
    "append_events": (
        "'s1'",
        -1,
        "array[gen_random_uuid()]",
        "'{E}'",
        "'{null}'",
        "'{null}'",
        "'{1}'",
        "'{1}'",
        "null",
    ),
    "known_event_ids": ("array[gen_random_uuid()]",),
    "stream_info": ("'s1'",),
    "link_events": ("'s1'", -1, "array[gen_random_uuid()]"),
    "lock_stream": ("'s1'",),
    "soft_delete_stream": ("'s1'", -1),
    "read_snapshot": ("'s1'",),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("analyzed", [False, True])
def test_hot_reads_use_indexes_whatever_the_planner_knows(
    event_store: EventStore, open_connection: Callable[..., Connection], schema: str, name: str, analyzed: bool
) -> None:
    """A plan is kept while tables grow, so one made for a small table must do for a big one."""
    conn = open_connection(prefer_indexes=True)
    event_store.append_many([(f"s{n}", "any_version", events(*range(20))) for n in range(200)])
    if analyzed:
        for table in ("streams", "events", "stream_events"):
            conn.execute(f'analyze "{schema}".{table}'.encode())
    conn.execute("set plan_cache_mode = force_generic_plan")
    conn.execute(f"prepare hot as {Statements(schema)[name]}".encode())
    arguments = ", ".join(map(str, PLANS[name]))
    plan = "\n".join(row[0] for row in conn.execute(f"explain execute hot ({arguments})".encode()))
    assert "Seq Scan" not in plan
