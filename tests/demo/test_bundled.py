"""The shipped history, and the export that makes such a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventstore.runtime.demo import bundled
from eventstore.runtime.demo.events import to_event
from eventstore.runtime.demo.git_history import Commit, read_history
from eventstore.store.errors import ConfigurationError

SHIPPED = Path(bundled.__file__).with_name(bundled.FILE_NAME)


def test_the_shipped_history_is_whole() -> None:
    commits = list(bundled.load_bundled())
    assert commits
    assert len({commit.hash for commit in commits}) == len(commits)
    assert all(to_event(commit)[0].startswith("author-") for commit in commits)


def test_an_export_reads_back_as_the_history(repository: Any, tmp_path: Path) -> None:
    repository.fast_import([b"Ann <ann@example.com>", "Jürgen <>".encode(), b'"Q" <q,"q"@example.com>'])
    repository.raw_commit(b"Ann <ann@example.com> 1700000000 +0000", b"line\x1e\x85\xe2\x80\xa8separators\n")
    target = tmp_path / "history.jsonl"
    assert bundled.export(repository.path, target) == 4
    lines = target.read_bytes().splitlines()
    commits = [msgspec.json.decode(line, type=Commit) for line in target.read_bytes().split(b"\n")[:-1]]
    assert commits == list(read_history(repository.path))
    assert len(lines) == 4


def test_a_failed_export_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    target = tmp_path / "history.jsonl"
    target.write_text("before\n")
    with pytest.raises(ConfigurationError):
        bundled.export(tmp_path, target)
    assert target.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [target]


def test_usage_and_git_errors_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = SHIPPED.read_bytes()
    assert bundled.main([]) == 2
    assert "Usage:" in capsys.readouterr().err
    assert bundled.main([str(tmp_path / "missing")]) == 2
    assert "There is no readable folder" in capsys.readouterr().err
    assert SHIPPED.read_bytes() == before
