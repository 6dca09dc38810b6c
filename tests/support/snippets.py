"""The code of a guide, run as a reader would: block after block, in one namespace and one folder.

A block's language says what becomes of it; a block with a title is a file of the reader's. What stands in a language
that is not known here fails, so that no guide shows code that nobody runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import eventstore
from eventstore.runtime.config import load_config

from .node import environment

assert eventstore.__file__
DOCS = Path(eventstore.__file__).parent / "docs"

_BLOCK = re.compile(r"^```(?P<language>\w*)(?P<rest>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_RUN = {"python", "toml", "sh"}
_SHOWN = {"text", "elixir", "sql"}
"""Plain text, such as what a command prints; Elixir, to compare with; grants, which a test of their own runs."""


class Block(NamedTuple):
    """A fenced block of a guide."""

    language: str
    title: str | None
    code: str
    line: int
    follows_command: bool
    """Nothing but an empty line stands between a shell block and this one."""


def guides() -> list[str]:
    """All pages of `docs/` that show code, by their name within it."""
    pages = (path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md")))
    return [name for name in pages if any(block.language not in _SHOWN for block in blocks(name))]


def blocks(name: str) -> Iterator[Block]:
    """All fenced blocks of `docs/NAME`, in order."""
    text = (DOCS / name).read_text("utf-8")
    end, language = 0, ""
    fenced = list(_BLOCK.finditer(text))
    assert 2 * len(fenced) == len(_FENCE.findall(text)), (
        f"docs/{name}: write each block from the line's start, with ```"
    )
    for found in fenced:
        follows = language == "sh" and not text[end : found.start()].strip()
        end, language = found.end(), found["language"]
        title = _TITLE.search(found["rest"])
        line = text.count("\n", 0, found.start("code"))
        yield Block(language, title and title[1], found["code"], line, follows)


def run_guide(name: str, folder: Path | None = None, **given: Any) -> dict[str, Any]:
    """Run `docs/NAME` and return the namespace of its Python; an error shows the guide's own line.

    - A block with `title="FILE"` is written to that file of `folder`; the guide's Python can import it.
    - `python` runs in this process, `sh` in a bash that stops at the first failure, with `folder` as working directory.
    - `text` straight after `sh` is what that printed; … in it stands for any text.
    - `toml` is a configuration that the runtime accepts.

    Args:
        name: The file in `docs/`.
        folder: The reader's folder; None for a guide without shell and files.
        given: What the guide takes for granted, for example `url`.
    """
    namespace: dict[str, Any] = {"__name__": "guide", **given}
    printed = ""
    for block in blocks(name):
        assert block.language in _RUN | _SHOWN, f"docs/{name}, line {block.line}: who runs {block.language!r}?"
        if block.title is not None:
            _path(folder, block.title).write_text(block.code, "utf-8")
        elif block.language == "python":
            _run_python(name, block, namespace)
        elif block.language == "sh":
            printed = _run_shell(name, block, folder)
        elif block.language == "text" and block.follows_command:
            _compare(name, block, printed)
        if block.language == "toml":
            _check_configuration(block, folder)
    return namespace


def _run_python(name: str, block: Block, namespace: dict[str, Any]) -> None:
    # Empty lines first, so that line numbers are those of the guide.
    source = "\n" * block.line + block.code
    exec(compile(source, str(DOCS / name), "exec", dont_inherit=True), namespace)


def _run_shell(name: str, block: Block, folder: Path | None) -> str:
    assert folder is not None, f"docs/{name} needs a folder"
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=folder,
        env=environment(PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"docs/{name}, line {block.line}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def _compare(name: str, block: Block, printed: str) -> None:
    parts = re.split("(…)", _squeezed(block.code))
    expected = "".join(".*" if part == "…" else re.escape(part) for part in parts)
    said = f"docs/{name}, line {block.line} does not say what was printed:\n{printed}"
    assert re.fullmatch(expected, _squeezed(printed), re.DOTALL), said


def _squeezed(text: str) -> str:
    """The text without empty lines, and with single spaces: the width of a table's columns is of no interest."""
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def _check_configuration(block: Block, folder: Path | None) -> None:
    path = _path(folder, block.title or "checked.toml")
    path.write_text(block.code, "utf-8")
    load_config(path, {})


def _path(folder: Path | None, name: str) -> Path:
    assert folder is not None, f"{name} needs a folder"
    return folder / name
