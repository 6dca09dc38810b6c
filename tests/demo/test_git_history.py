"""Reading histories: equal to what git itself says, for every kind of repository and of author."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventstore.runtime.demo.git_history import parse_log, read_history

LONG_EMAIL = "x" * 20_000 + "@example.com"
ODD_AUTHORS = [
    b"Plain <plain@example.com>",
    b"No Mail <>",
    b" <noname@example.com>",
    b"Comma, Inc. <a,b@example.com>",
    b'"Quoted" <"quo ted"@example.com>',
    b"Single'Quote <o'brien@example.com>",
    b"Back\\Slash <back\\slash@example.com>",
    b"Percent %H%x00 <%ae%n@example.com>",
    "Jürgen Ößtürk 🦊 <jürgen@exämple.com>".encode(),
    b"Long <" + LONG_EMAIL.encode() + b">",
    b"Tab\tbed <tab\t@example.com>",
    b"Escape <\x1b[31mred@example.com>",
    b"UPPER <Plain@Example.com>",
    b"Not an address <some words>",
]
ODD_MESSAGES = [
    "",
    "\n\n\nAfter blank lines",
    "Two lines\nof one subject\n\nand a body",
    "Ends with a carriage return\r\n\r\nBody",
    "Bell \a escape \x1b[31m unit \x1f record \x1e",
    " 3 files changed, 5 insertions(+)",
    "日本語 🎉",
    "y" * 200_000,
]


def as_rows(path: Path) -> list[tuple[Any, ...]]:
    return [msgspec.structs.astuple(commit) for commit in read_history(path)]


def assert_equals_git(repository: Any) -> None:
    assert as_rows(repository.path) == repository.expected()
    assert Counter(commit.author_email for commit in read_history(repository.path)) == repository.authors()


def test_odd_authors(repository: Any) -> None:
    repository.fast_import(ODD_AUTHORS * 2)
    assert_equals_git(repository)
    assert LONG_EMAIL in repository.authors()
    assert "" in repository.authors()


def test_odd_messages(repository: Any) -> None:
    for message in ODD_MESSAGES:
        repository.commit(message)
    assert len(as_rows(repository.path)) == len(ODD_MESSAGES)
    assert_equals_git(repository)


def test_bytes_that_are_not_utf8(repository: Any) -> None:
    repository.raw_commit(b"Ren\xe9 <ren\xe9@example.com> 1700000000 +0530", b"caf\xe9\n")
    repository.raw_commit(b"Ren\xe9 <ren\xe9@example.com> 1700000000 +0530", b"caf\xe9\n", b"encoding ISO-8859-1")
    assert [commit.author_email for commit in read_history(repository.path)] == [
        "ren\N{REPLACEMENT CHARACTER}@example.com",
        "rené@example.com",
    ]
    assert_equals_git(repository)


def test_a_nul_in_a_message_ends_the_subject_and_not_the_record(repository: Any) -> None:
    repository.raw_commit(b"Ann <ann@example.com> 1700000000 +0000", b"before\0after\n\nbody\0more\n")
    repository.commit("Next")
    assert [commit.subject for commit in read_history(repository.path)] == ["before", "Next"]
    assert_equals_git(repository)


@pytest.mark.parametrize(
    "author_line",
    [
        b"nothing that git can parse",
        b"No Date <nodate@example.com>",
        b"Big <big@example.com> 99999999999999999999 +0000",
    ],
)
def test_a_commit_without_a_usable_date_is_of_the_epoch(repository: Any, author_line: bytes) -> None:
    repository.raw_commit(author_line, b"odd\n")
    (commit,) = read_history(repository.path)
    assert commit.time == "1970-01-01T00:00:00+00:00"
    assert {commit.author_email: 1} == repository.authors()


def test_times_keep_the_authors_offset(repository: Any) -> None:
    repository.raw_commit(b"Ann <ann@example.com> 1700000000 -0330", b"west\n")
    repository.raw_commit(b"Ann <ann@example.com> 0 +0000", b"epoch\n")
    west, epoch = read_history(repository.path)
    assert west.time == "2023-11-14T18:43:20-03:30"
    assert datetime.fromisoformat(epoch.time).timestamp() == 0


def test_statistics_of_every_kind_of_change(repository: Any) -> None:
    lines = "".join(f"line {number}\n" for number in range(50))
    repository.commit("Root", text=lines, other="a\nb\n")
    repository.commit("Binary", image=bytes(range(256)) * 10)
    repository.commit("Binary changed and text added", image=b"\0" * 5_000, more="one\ntwo\n")
    repository.commit("Empty file", empty="")
    repository.git("mv", "text", "renamed")
    repository.commit("Rename with a change", renamed=lines + "one more\n")
    (repository.path / "other").chmod(0o755)
    repository.commit("Mode only")
    (repository.path / "other").unlink()
    repository.commit("Deleted")
    repository.commit("Nothing at all")
    repository.commit("No newline at the end", other="x")
    assert_equals_git(repository)
    statistics = {row[4]: row[5:] for row in as_rows(repository.path)}
    assert statistics["Root"] == (2, 52, 0)
    assert statistics["Binary"] == (1, 0, 0)
    assert statistics["Rename with a change"] == (1, 1, 0)
    assert statistics["Deleted"] == (1, 0, 2)
    assert statistics["Nothing at all"] == (0, 0, 0)


def test_merges_and_several_roots(repository: Any) -> None:
    repository.commit("Base", a="1\n")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit("Side", author="Sid <sid@example.com>", b="2\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit("Main", c="3\n")
    repository.git("merge", "--quiet", "--no-ff", "-m", "Merge side", "side")
    repository.git("checkout", "--quiet", "--orphan", "second-root")
    repository.commit("Second root", d="4\n")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--allow-unrelated-histories", "-m", "Merge roots", "second-root")
    assert_equals_git(repository)
    statistics = {row[4]: row[5:] for row in as_rows(repository.path)}
    assert statistics["Merge side"] == statistics["Merge roots"] == (0, 0, 0)


def test_submodule(repository: Any, new_repository: Callable[..., Any]) -> None:
    part = new_repository("part")
    part.commit("Part", a="1\n")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.path), "part")
    repository.commit("Add the submodule")
    part.commit("Part moves on", a="2\n")
    repository.git("-C", "part", "-c", "protocol.file.allow=always", "pull", "--quiet", "origin", "main")
    repository.commit("Move the submodule")
    assert len(as_rows(repository.path)) == 2
    assert_equals_git(repository)


def test_sha256_repository(new_repository: Callable[..., Any]) -> None:
    repository = new_repository("sha256", "--object-format=sha256")
    repository.commit("One", a="1\n")
    repository.commit("Two", a="2\n")
    assert all(len(commit.hash) == 64 for commit in read_history(repository.path))
    assert_equals_git(repository)


def test_bare_shallow_detached_and_worktree(
    repository: Any, tmp_path: Path, open_repository: Callable[[Path], Any]
) -> None:
    for number in range(5):
        repository.commit(f"Commit {number}", a=f"{number}\n")
    url = repository.path.as_uri()
    repository.git("clone", "--quiet", "--bare", url, str(tmp_path / "bare"))
    repository.git("clone", "--quiet", "--depth=2", url, str(tmp_path / "shallow"))
    repository.git("clone", "--quiet", url, str(tmp_path / "detached"))
    open_repository(tmp_path / "detached").git("checkout", "--quiet", "HEAD~2")
    repository.git("worktree", "add", "--quiet", "-b", "elsewhere", str(tmp_path / "worktree"), "HEAD~1")
    commits = {}
    for kind in ("bare", "shallow", "detached", "worktree"):
        assert_equals_git(open_repository(tmp_path / kind))
        commits[kind] = len(as_rows(tmp_path / kind))
    assert commits == {"bare": 5, "shallow": 2, "detached": 3, "worktree": 4}


def test_a_subfolder_gives_the_whole_history(repository: Any) -> None:
    repository.commit("Root", a="1\n")
    folder = repository.path / "folder with spaces"
    folder.mkdir()
    (folder / "b").write_text("2\n")
    repository.commit("In the folder")
    repository.git("config", "diff.relative", "true")
    assert as_rows(folder) == as_rows(repository.path)
    assert [row[5] for row in as_rows(folder)] == [1, 1]


def test_no_commits_no_events(new_repository: Callable[..., Any]) -> None:
    assert as_rows(new_repository("empty").path) == []
    assert as_rows(new_repository("empty-bare", "--bare").path) == []


def test_configuration_of_the_user_changes_nothing(
    repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("Root", a="1\n2\n3\n", b="4\n5\n6\n7\n")
    repository.git("mv", "b", "c")
    repository.commit("Renamed")
    plain = as_rows(repository.path)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[log]\nshowRoot = false\nshowSignature = true\ndate = relative\nfollow = true\ndecorate = full\n"
        "[diff]\nrenames = false\nexternal = /bin/false\nalgorithm = patience\nnoprefix = true\nstatGraphWidth = 1\n"
        "[color]\nui = always\n[format]\npretty = oneline\n[core]\npager = /bin/false\n"
        "[i18n]\nlogOutputEncoding = UTF-16\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/bin/false")
    assert as_rows(repository.path) == plain
    assert [row[5:] for row in plain] == [(2, 7, 0), (1, 0, 0)]


def test_the_path_wins_over_the_environment(
    repository: Any, new_repository: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("Mine")
    other = new_repository("other")
    other.commit("Other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    assert [commit.subject for commit in read_history(repository.path)] == ["Mine"]


def test_fifty_thousand_commits_in_bounded_memory(repository: Any) -> None:
    count = 50_000
    repository.fast_import(b"Author %d <author-%d@example.com>" % (n % 97, n % 97) for n in range(count))
    authors: Counter[str] = Counter()
    tracemalloc.start()
    try:
        for commit in read_history(repository.path):
            authors[commit.author_email] += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert authors == repository.authors()
    assert authors.total() == count
    assert peak < 5_000_000


def test_a_reader_may_stop_early(repository: Any) -> None:
    repository.fast_import([b"Ann <ann@example.com>"] * 5_000)
    history = read_history(repository.path)
    assert [commit.subject for commit in islice(history, 3)] == ["commit 0", "commit 1", "commit 2"]
    history.close()  # type: ignore[attr-defined]
    assert list(history) == []


def test_chunks_may_be_cut_anywhere() -> None:
    name = b"a" * 40
    statistics = b"\n\n 2 files changed, 3 insertions(+), 1 deletion(-)\n"
    first = b"\0" + b"\0".join((name, b"e@x", "Jürgen".encode(), b"2024-01-02T03:04:05Z", b"s", statistics))
    second = b"\0" + b"\0".join((name, b"", b"", b"2024-01-02T03:04:05Z", b"", b"\n"))
    output = first + second
    whole = list(parse_log([output]))
    assert [(commit.author_name, commit.files, commit.insertions, commit.deletions) for commit in whole] == [
        ("Jürgen", 2, 3, 1),
        ("", 0, 0, 0),
    ]
    for cut in range(len(output)):
        assert list(parse_log([output[:cut], output[cut:]])) == whole
    assert list(parse_log(bytes([byte]) for byte in output)) == whole
    assert list(parse_log([])) == []
