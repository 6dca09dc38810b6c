"""The history that the demo replays where there is no git repository: a real one, exported to `history.jsonl`.

One JSON object per line, each a `Commit`, oldest first. `python -m eventstore.runtime.demo.bundled REPOSITORY`
writes the file anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import msgspec

from ...store.errors import ConfigurationError
from .git_history import Commit, read_history

FILE_NAME = "history.jsonl"


def load_bundled() -> Iterator[Commit]:
    """Stream the commits of the shipped history, oldest first."""
    decoder = msgspec.json.Decoder(Commit)
    with resources.files(__package__).joinpath(FILE_NAME).open("rb") as lines:
        for line in lines:
            yield decoder.decode(line)


def export(repository: Path, target: Path) -> int:
    """Write the history of `repository` to `target` in the format of the shipped one.

    Nothing is left out or renamed: names and e-mails are those of the commits. `target` is replaced only when the
    whole history could be read.

    Returns:
        The number of commits written.

    Raises:
        ConfigurationError: The history cannot be read (see `read_history`).
    """
    encoder = msgspec.json.Encoder()
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    count = 0
    try:
        with unfinished.open("wb") as lines:
            for count, commit in enumerate(read_history(repository), start=1):  # noqa: B007 - the last one counts
                lines.write(encoder.encode(commit) + b"\n")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def main(arguments: list[str]) -> int:
    """Export the repository named on the command line; returns the exit code (2 for a usage or git error)."""
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m eventstore.runtime.demo.bundled REPOSITORY\n")
        return 2
    target = Path(__file__).with_name(FILE_NAME)
    try:
        count = export(Path(arguments[0]), target)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"Wrote {count} commits to {target}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
