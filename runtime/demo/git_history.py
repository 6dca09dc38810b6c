"""Reads the history of a git repository as a stream of commits, oldest first.

Owns the one `git log` subprocess and the pure parser of its output; knows nothing of events or of the store.
Every field ends with a NUL, the only byte that no author, e-mail or subject can hold, and the statistics are the
one-line summary that holds no file names: so no repository can produce output that is ambiguous.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from ...store.errors import ConfigurationError

_FORMAT = "%x00%H%x00%ae%x00%an%x00%aI%x00%s%x00"
_FIELDS_PER_COMMIT = 6
_CHUNK_BYTES = 65_536
_EPOCH = "1970-01-01T00:00:00+00:00"

# Settings instead of options: they undo the user's own configuration and leave what the repository itself says.
_SETTINGS = {
    "log.showRoot": "true",
    "log.showSignature": "false",
    "diff.relative": "false",
    "diff.renames": "true",
    "diff.algorithm": "myers",
}
_LOG_OPTIONS = (
    "--reverse",
    "--shortstat",
    "--encoding=UTF-8",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    f"--format={_FORMAT}",
)
# Set inside git hooks, for one; they would answer for another repository than the one that was asked for.
_LOCATION_VARIABLES = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_COMMON_DIR",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_GRAFT_FILE",
    }
)
_HASH = re.compile(rb"[0-9a-f]{40}([0-9a-f]{24})?")
_STATISTICS = re.compile(rb"(\d+) files? changed(?:, (\d+) insertions?\(\+\))?(?:, (\d+) deletions?\(-\))?")


class Commit(msgspec.Struct, frozen=True):
    """One commit of a history.

    Attributes:
        hash: The full object name, 40 hexadecimal digits (64 in a SHA-256 repository).
        author_email: The author's e-mail as the commit holds it (no mailmap); may be empty.
        author_name: The author's name as the commit holds it; may be empty.
        time: Author time, strict ISO 8601 with the author's UTC offset; the Unix epoch where the commit holds no date.
        subject: First paragraph of the message on one line; may be empty.
        files: Number of files changed; 0 for merges.
        insertions: Lines added; 0 for merges and binary files.
        deletions: Lines removed; 0 for merges and binary files.
    """

    hash: str
    author_email: str
    author_name: str
    time: str
    subject: str
    files: int
    insertions: int
    deletions: int


def read_history(path: Path) -> Iterator[Commit]:
    """Stream the commits that `git log` of HEAD shows, oldest first, in bounded memory.

    Args:
        path: A folder inside a git repository (bare repositories and worktrees too).

    Yields:
        One `Commit` per commit; nothing for a repository without commits.

    Raises:
        ConfigurationError: git is missing, `path` is no repository, git refuses it, or git fails midway.
    """
    with closing(_run_git_log(path)) as chunks:
        yield from parse_log(chunks)


def check_history(path: Path) -> None:
    """Begin to read the history of a repository, so that a path that holds none is said before anything starts.

    Raises:
        ConfigurationError: As for `read_history`.
    """
    with closing(_run_git_log(path)) as chunks:
        next(parse_log(chunks), None)


def find_repository(start: Path) -> Path | None:
    """Return the root of the git repository that `start` stands in, or None where there is none or no git.

    A repository that git finds but refuses (another user owns it) is returned as `start`, so that `read_history`
    explains the refusal instead of the caller passing over it in silence.
    """
    git = shutil.which("git")
    if git is None:
        return None
    for question in ("--show-toplevel", "--absolute-git-dir"):
        command = [git, "-C", str(start), "rev-parse", question]
        answer = subprocess.run(command, capture_output=True, check=False, env=_environment(), stdin=subprocess.DEVNULL)  # noqa: S603 - no shell
        if answer.returncode == 0:
            return Path(os.fsdecode(answer.stdout.removesuffix(b"\n")))
        if _is_ownership_refusal(answer.stderr.decode(errors="replace")):
            return start
    return None


def parse_log(chunks: Iterable[bytes]) -> Iterator[Commit]:
    """Parse the output of `git log` in this module's format, however it is cut into chunks.

    The last commit is complete only when `chunks` ends, so a source that raises at its end, because git failed, never
    lets a truncated commit through.

    Raises:
        ConfigurationError: The output is not in that format.
    """
    fields = _split(chunks)
    before_first_commit = next(fields)
    if before_first_commit.strip():
        raise _not_understood(before_first_commit)
    record: list[bytes] = []
    for field in fields:
        record.append(field)
        if len(record) == _FIELDS_PER_COMMIT:
            yield _to_commit(*record)
            record = []
    if record:
        raise _not_understood(record[0])


def explain_failure(path: Path, stderr: str, exit_code: int) -> str:
    """Return one sentence for a failed `git log`: the place, what git says, and the remedy.

    Args:
        path: The folder git was asked about.
        stderr: What git wrote to its standard error.
        exit_code: git's exit code; negative for the signal that killed it.
    """
    if _is_ownership_refusal(stderr):
        advised = re.search(r"^\s*(git config --global --add safe\.directory .+)$", stderr, re.MULTILINE)
        remedy = advised[1] if advised else f"git config --global --add safe.directory '{path.absolute()}'"
        return f"git does not trust {path} because another user owns it; to trust it, run: {remedy}"
    if "not a git repository" in stderr:
        return f"{path} is not a git repository; give the path of a clone, or leave it out."
    if "cannot change to" in stderr:
        return f"There is no readable folder {path}; give the path of a git repository, or leave it out."
    died = f"was killed by signal {-exit_code}" if exit_code < 0 else f"failed with exit code {exit_code}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("fatal:")), lines[-1] if lines else "it gave no reason")
    return f"git log in {path} {died} ({said}); check the repository with `git fsck` and try again."


def _run_git_log(path: Path) -> Generator[bytes, None, None]:
    """Run `git log` and yield its output as it comes; raise at the end of it unless git succeeded."""
    git = shutil.which("git")
    if git is None:
        raise ConfigurationError(f"Reading the history of {path} needs git, which is not installed; install git first.")
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    command = [git, "--no-pager", "-C", str(path), *settings, "log", *_LOG_OPTIONS]
    # A file takes any amount of warnings; a second pipe would have to be emptied while the first one is read.
    with tempfile.TemporaryFile() as stderr, _start(command, stderr.fileno()) as process:
        try:
            assert process.stdout is not None
            while chunk := process.stdout.read(_CHUNK_BYTES):
                yield chunk
            exit_code = process.wait()
        finally:
            process.kill()
        if exit_code != 0:
            stderr.seek(0)
            _raise_unless_empty(path, stderr.read().decode(errors="replace"), exit_code)


def _start(command: list[str], stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - no shell, and only the path comes from outside
        command,
        bufsize=0,
        env=_environment(),
        # Its own group: Ctrl-C is ours to handle, git must not die of it and look like a broken repository.
        process_group=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def _raise_unless_empty(path: Path, stderr: str, exit_code: int) -> None:
    if "does not have any commits yet" not in stderr:
        raise ConfigurationError(explain_failure(path, stderr, exit_code))


def _environment() -> dict[str, str]:
    """The user's environment without what points git elsewhere, and with messages in the language we look for."""
    kept = {name: value for name, value in os.environ.items() if name not in _LOCATION_VARIABLES}
    return kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def _is_ownership_refusal(stderr: str) -> bool:
    # The second wording is that of git 2.35.2.
    return "dubious ownership" in stderr or "unsafe repository" in stderr


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the NUL-separated fields; a field may span any number of chunks."""
    pending: list[bytes] = []
    for chunk in chunks:
        head, *rest = chunk.split(b"\0")
        pending.append(head)
        for field in rest:
            yield b"".join(pending)
            pending = [field]
    yield b"".join(pending)


def _to_commit(name: bytes, email: bytes, author: bytes, time: bytes, subject: bytes, statistics: bytes) -> Commit:
    if not _HASH.fullmatch(name):
        raise _not_understood(name)
    files, insertions, deletions = _to_statistics(statistics.strip())
    return Commit(
        hash=name.decode(),
        author_email=_text(email),
        author_name=_text(author),
        # git leaves the placeholder as it is where the author line holds no date.
        time=_EPOCH if time == b"%aI" else _text(time) or _EPOCH,
        subject=_text(subject),
        files=files,
        insertions=insertions,
        deletions=deletions,
    )


def _to_statistics(summary: bytes) -> tuple[int, int, int]:
    if not summary:
        return 0, 0, 0
    match = _STATISTICS.fullmatch(summary)
    if match is None:
        raise _not_understood(summary)
    files, insertions, deletions = (int(number or 0) for number in match.groups())
    return files, insertions, deletions


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _not_understood(found: bytes) -> ConfigurationError:
    shown = _text(found[:80])
    return ConfigurationError(f"The output of git log holds {shown!r} where a commit should be; try a newer git.")
