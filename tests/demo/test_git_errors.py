"""Where git or the repository is not as it should be: one clear sentence, and never half a history in silence."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventstore.runtime.demo.git_history import Commit, explain_failure, find_repository, parse_log, read_history
from eventstore.store.errors import ConfigurationError


def failure(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        list(read_history(path))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def read_until_failure(history: Iterator[Commit]) -> tuple[list[Commit], str]:
    commits: list[Commit] = []
    with pytest.raises(ConfigurationError) as caught:
        commits.extend(history)
    return commits, str(caught.value)


def test_git_is_not_installed(repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit("One")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install git" in failure(repository.path)
    assert find_repository(repository.path) is None


def test_not_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "is not a git repository" in failure(tmp_path)
    assert "There is no readable folder" in failure(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    assert "There is no readable folder" in failure(tmp_path / "file")


def test_a_repository_of_another_user(repository: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit("One")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    message = failure(repository.path)
    assert f"git config --global --add safe.directory {repository.path}" in message
    assert find_repository(repository.path) == repository.path


def test_the_first_wording_of_the_ownership_refusal() -> None:
    stderr = "fatal: unsafe repository ('/some/where' is owned by someone else)\n"
    message = explain_failure(Path("/some/where"), stderr, 128)
    assert message.endswith("git config --global --add safe.directory '/some/where'")


def test_a_missing_object_in_the_middle(repository: Any) -> None:
    for number in range(10):
        repository.commit(f"Commit {number}", a=f"content {number}\n")
    whole = list(read_history(repository.path))
    blob = repository.git("rev-parse", "HEAD~5:a").decode().strip()
    (repository.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    commits, message = read_until_failure(read_history(repository.path))
    assert commits == whole[: len(commits)]
    assert len(commits) < len(whole)
    assert "exit code 128" in message
    assert "fatal: " in message
    assert "git fsck" in message


def test_a_broken_branch_is_not_taken_for_an_empty_repository(repository: Any) -> None:
    repository.commit("One")
    (repository.path / ".git" / "refs" / "heads" / "main").write_text("garbage\n")
    assert "git fsck" in failure(repository.path)


@pytest.mark.parametrize("size", range(1, 260, 7))
def test_a_killed_git_never_lets_a_truncated_commit_through(
    repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    repository.fast_import([b"Ann <ann@example.com>"] * 2)
    whole = list(read_history(repository.path))
    real = shutil.which("git")
    assert real is not None
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "git"
    script.write_text(f'#!/bin/sh\n{shlex.quote(real)} "$@" | head -c {size}\nkill -9 $$\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    commits, message = read_until_failure(read_history(repository.path))
    assert commits == whole[: len(commits)]
    assert len(commits) < len(whole)
    assert "killed by signal 9" in message


@pytest.mark.parametrize(
    "output", [b"error: noise", b"\0not a hash\0\0\0\0\0", b"\0" + b"a" * 40, b"\0" + b"a" * 40 + b"\0e\0n\0t\0s\0what"]
)
def test_output_that_is_no_log(output: bytes) -> None:
    with pytest.raises(ConfigurationError, match="git log"):
        list(parse_log([output]))


def test_find_repository(
    repository: Any, new_repository: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    deep = repository.path / "one" / "two words"
    deep.mkdir(parents=True)
    assert find_repository(deep) == repository.path
    assert find_repository(repository.path) == repository.path
    bare = new_repository("bare", "--bare")
    assert find_repository(bare.path) == bare.path
    assert find_repository(tmp_path) is None
    assert find_repository(tmp_path / "missing") is None
