"""Fixtures for tests with real nodes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.tests.support.git import Repository
from eventstore.tests.support.node import Project


@pytest.fixture
def project(tmp_path: Path, database_url: str, schema: str) -> Iterator[Project]:
    """A user's project on a fresh schema of the test server; its nodes are killed in the end."""
    made = Project(tmp_path, database_url, schema)
    yield made
    made.stop_all()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty git repository."""
    path = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(path)], check=True)
    return Repository(path)
