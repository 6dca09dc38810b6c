"""The plans of the hot statements on a store of a million events: index use, and only the rows that are asked for.

The plans are generic ones, as every connection has them after a few calls. `test_statements.py` shows that the same
statements do without scans also where the planner knows nothing of the tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from eventstore.bench.backlog import fill
from eventstore.store import Connection, Statements, connect
from eventstore.tests.support.database import fresh_schema

EVENTS, STREAMS = 1_000_000, 1_000
MIDDLE = EVENTS // 2


@pytest.fixture(scope="module")
def million(database_url: str) -> Iterator[tuple[Connection, str]]:
    """A connection as the store opens it, and a schema with a million events in a thousand streams."""
    with fresh_schema(database_url) as schema:
        with connect(database_url, "test", timeout=None) as filling:
            fill(filling, schema, EVENTS, STREAMS)
        with connect(database_url, "test", timeout=None, prefer_indexes=True) as conn:
            conn.execute("set plan_cache_mode = force_generic_plan")
            yield conn, schema


def array(values: Iterable[object]) -> str:
    """An array as EXECUTE takes it, where nothing may be asked of the database."""
    return "'{" + ",".join(map(str, values)) + "}'"


def ids(number: int) -> str:
    """So many event ids that are not stored."""
    return array(uuid4() for _ in range(number))


def events(number: int) -> tuple[str, ...]:
    """The binds for the columns of so many new events."""
    nulls, ones = array(["null"] * number), array(["1"] * number)
    return ids(number), array(["E"] * number), nulls, nulls, ones, ones, "null"


def several(number: int) -> tuple[str, ...]:
    """The binds for one new event in each of so many streams."""
    names = array(sorted(f"account-{n}" for n in range(number)))
    return names, array([-1] * number), array([1] * number), names, *events(number)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def explained(million: tuple[Connection, str], name: str, binds: tuple[Any, ...]) -> list[dict[str, Any]]:
    """The nodes of the plan of a statement as it ran; what it changed is rolled back."""
    conn, schema = million
    with conn.transaction(force_rollback=True):
        conn.execute(f"prepare hot as {Statements(schema)[name]}".encode())
        arguments = ", ".join(map(str, binds))
        statement = f"explain (analyze, buffers, format json) execute hot ({arguments})"
        row = conn.execute(statement.encode()).fetchone()
        conn.execute("deallocate hot")
    assert row is not None
    (explanation,) = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return list(nodes(explanation["Plan"]))


def touched(plan: list[dict[str, Any]]) -> int:
    """Pages that the statement itself looked at; its triggers are not part of a plan."""
    return int(plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"])


# The binds, the rows that come back, and how many pages may be touched: a handful for each row.
READS: dict[str, tuple[tuple[Any, ...], int, int]] = {
    "page_all": ((MIDDLE, 100, 2**62), 100, 1_200),
    "page_stream": (("'account-7'", 500, 100, 2**62), 100, 1_200),
    "read_forward": (("'account-7'", 500, 100), 100, 1_200),
    "read_backward": (("'$all'", MIDDLE, 100), 100, 1_200),
    "known_event_ids": ((ids(100),), 0, 500),
    "stream_info": (("'account-7'",), 1, 10),
    "stream_heads": (("array['$all', 'account-7']",), 2, 20),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_in_the_middle_of_a_million(million: tuple[Connection, str], name: str) -> None:
    binds, rows, pages = READS[name]
    plan = explained(million, name, binds)
    assert "Seq Scan" not in {node["Node Type"] for node in plan}
    assert plan[0]["Actual Rows"] == rows
    assert touched(plan) <= pages
    # No index scan reads on and throws away.
    assert all(node.get("Rows Removed by Filter", 0) == 0 for node in plan)


@pytest.mark.parametrize("name", ["page_all", "page_stream"])
def test_a_page_costs_the_same_wherever_it_begins(million: tuple[Connection, str], name: str) -> None:
    stream, last = ((), EVENTS) if name == "page_all" else (("'account-7'",), EVENTS // STREAMS)
    costs = [touched(explained(million, name, (*stream, after, 100, 2**62))) for after in (0, last // 2, last - 100)]
    assert max(costs) <= 2 * min(costs)


APPENDS: dict[str, tuple[Any, ...]] = {
    "append_events": ("'account-7'", -1, *events(10)),
    "append_many": several(10),
    "append_combined": several(10),
}


@pytest.mark.parametrize("name", APPENDS)
def test_an_append_to_a_million(million: tuple[Connection, str], name: str) -> None:
    plan = explained(million, name, APPENDS[name])
    assert "Seq Scan" not in {node["Node Type"] for node in plan}
    # Ten events are thirty rows in tables with two indexes each.
    assert touched(plan) <= 1_000
    inserted = [node["Actual Rows"] for node in plan if node.get("Operation") == "Insert"]
    assert inserted.count(10) >= 2
