"""Fixtures for tests with real nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventstore.tests.support.handling import Bench
from eventstore.tests.support.node import Project


@pytest.fixture
def project(tmp_path: Path, database_url: str, schema: str) -> Iterator[Project]:
    """A user's project on a fresh schema of the test server; its nodes are killed in the end."""
    made = Project(tmp_path, database_url, schema)
    yield made
    made.stop_all()


@pytest.fixture
def bench(database_url: str, schema: str) -> Iterator[Bench]:
    """A bench for handlers, on a fresh schema."""
    with ExitStack() as stack:
        yield Bench(database_url, schema, stack)
