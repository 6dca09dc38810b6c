"""Real git repositories for tests, and the questions that tests put to git itself."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

START = 1_700_000_000
FIELDS = ("%H", "%ae", "%an", "%aI", "%s")


class Repository:
    """A git repository in a folder of its own, and the questions that tests put to git itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._time = START

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = ["git", "-C", str(self.path), *arguments]
        result = subprocess.run(command, input=stdin, capture_output=True)
        assert result.returncode == 0, result.stderr.decode(errors="replace")
        return result.stdout

    def commit(self, message: str = "A change", *, author: str = "Ann <ann@example.com>", **files: str | bytes) -> str:
        """Commit the given files (name=content) and return the hash."""
        for name, content in files.items():
            (self.path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        options = ("--allow-empty", "--allow-empty-message", "--no-verify", "--cleanup=verbatim", "--quiet")
        date = f"--date={self._tick()} +0200"
        self.git("commit", *options, f"--author={author}", date, "--file=-", stdin=message.encode())
        return self.head()

    def raw_commit(self, author_line: bytes, message: bytes, *headers: bytes) -> str:
        """Commit bytes that `git commit` would not write: any author line, any message."""
        lines = [b"tree " + self.git("write-tree").strip()]
        if self.has_commits():
            lines.append(b"parent " + self.head().encode())
        lines += [b"author " + author_line, b"committer C <c@example.com> %d +0000" % self._tick(), *headers]
        content = b"\n".join(lines) + b"\n\n" + message
        name = self.git("hash-object", "--literally", "-t", "commit", "-w", "--stdin", stdin=content).decode().strip()
        self.git("update-ref", "HEAD", name)
        return name

    def fast_import(self, authors: Iterable[bytes]) -> None:
        """Make one commit per author line (`Name <e-mail>`), each changing one line of a file."""
        stream = bytearray()
        for number, author in enumerate(authors):
            stream += b"commit refs/heads/main\nauthor %s %d +0000\n" % (author, START + number)
            stream += b"committer C <c@example.com> %d +0000\n" % (START + number)
            stream += b"data <<END\ncommit %d\nEND\n\n" % number
            stream += b"M 100644 inline file\ndata <<END\nline %d\nEND\n\n" % number
        self.git("fast-import", "--quiet", "--force", stdin=bytes(stream))
        self.git("symbolic-ref", "HEAD", "refs/heads/main")

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").decode().strip()

    def has_commits(self) -> bool:
        return bool(self.git("for-each-ref"))

    def authors(self) -> Counter[str]:
        """What `git log --format=%ae | sort | uniq -c` counts."""
        lines = self.git("log", "--format=%ae").split(b"\n")[:-1]
        return Counter(line.decode(errors="replace") for line in lines)

    def expected(self) -> list[tuple[Any, ...]]:
        """Every commit as git tells it when asked for one field of one commit at a time."""
        names = self.git("log", "--reverse", "--format=%H").decode().split()
        return [(*self._fields(name), *self._statistics(name)) for name in names]

    def _fields(self, name: str) -> tuple[str, ...]:
        answers = (self.git("log", "-1", f"--format={field}", name) for field in FIELDS)
        return tuple(answer.removesuffix(b"\n").decode(errors="replace") for answer in answers)

    def _statistics(self, name: str) -> tuple[int, int, int]:
        lines = [line.split(b"\t") for line in self.git("log", "-1", "--numstat", "--format=", name).splitlines()]
        added, removed = (sum(int(line[column]) for line in lines if line[column] != b"-") for column in (0, 1))
        return len(lines), added, removed

    def _tick(self) -> int:
        self._time += 60
        return self._time
