"""Every guide does what it says: all of its code runs, on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstore import EventStore
from eventstore.store import Connection
from eventstore.tests.support.database import drop_schema, fresh_schema
from eventstore.tests.support.snippets import guides, run_guide

PROJECTS = ["index.md", "getting-started.md", "handlers.md", "cluster.md", "upgrading.md", "operations.md"]
"""Guides that start with an empty folder, and bring a server of their own."""

WITH_A_STORE = ["usage.md", "faq.md", "coming-from-elixir.md", "reference/errors.md", "reference/index.md"]
"""Guides that take an empty store for granted."""


def test_no_guide_is_forgotten() -> None:
    assert set(guides()) == {*PROJECTS, *WITH_A_STORE, "serialisation.md", "subscriptions.md"}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_from_its_first_file_on(name: str, folder: Path) -> None:
    run_guide(name, folder)


@pytest.mark.parametrize("name", WITH_A_STORE)
def test_a_guide_on_an_open_store(name: str, event_store: EventStore) -> None:
    run_guide(name, store=event_store, url=event_store.settings.url)


def test_subscriptions(event_store: EventStore) -> None:
    run_guide("subscriptions.md", store=event_store)
    assert [record.subscription_name for record in event_store.subscriptions()] == [
        "example-current",
        "example-tuned",
        "example-filtered",
        "example-mapped",
        "example-competing",
        "example-partitioned",
        "example-subscription",
    ]


def test_serialisation(database_url: str, conn: Connection) -> None:
    with fresh_schema(database_url, name="bank"):
        try:
            run_guide("serialisation.md", url=database_url)
        finally:
            drop_schema(conn, "bank_jsonb")
