"""Builds real git repositories, out of reach of the configuration of whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eventstore.tests.support.git import Repository


@pytest.fixture(autouse=True)
def git_without_user_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ann",
        "GIT_AUTHOR_EMAIL": "ann@example.com",
        "GIT_COMMITTER_NAME": "Cem",
        "GIT_COMMITTER_EMAIL": "cem@example.com",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def new_repository(tmp_path: Path) -> Callable[..., Repository]:
    """Make an empty repository: `new_repository(name, *options of git init)`."""

    def make(name: str = "repository", *options: str) -> Repository:
        path = tmp_path / name
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", *options, str(path)], check=True)
        return Repository(path)

    return make


@pytest.fixture
def open_repository() -> Callable[[Path], Repository]:
    """Use a repository that exists: `open_repository(path)`."""
    return Repository


@pytest.fixture
def repository(new_repository: Callable[..., Repository]) -> Repository:
    return new_repository()
