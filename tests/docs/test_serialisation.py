"""The guide to serialisation does what it says."""

from __future__ import annotations

from eventstore.store import Connection
from eventstore.tests.support.database import drop_schema, fresh_schema
from eventstore.tests.support.snippets import run_guide


def test_every_snippet_runs(database_url: str, conn: Connection) -> None:
    with fresh_schema(database_url, name="bank"):
        try:
            run_guide("serialisation.md", url=database_url)
        finally:
            drop_schema(conn, "bank_jsonb")
