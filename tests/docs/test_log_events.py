"""The table of log events in the guide for operators is complete: what a node writes is there, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from eventstore.tests.support.snippets import DOCS

ROOT = DOCS.parent
LEVELS = ("debug", "info", "warning", "error", "exception")
NAME = re.compile(r"[a-z]+(_[a-z]+)*")


def calls_of_a_log(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="log" | "_log") | ast.Name(id="log"), attr=level),
                args=[ast.Constant(value=str(said)), *_],
            ) if level in LEVELS and NAME.fullmatch(said):
                yield said


def sources() -> list[Path]:
    demo = ROOT / "runtime" / "demo"
    return [path for path in (ROOT / "runtime").rglob("*.py") if demo not in path.parents]


def documented() -> set[str]:
    section = (DOCS / "operations.md").read_text(encoding="utf-8").split("## Log events")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return set(re.findall(r"`(\w+)`", " ".join(rows)))


def test_every_log_event_is_explained() -> None:
    written = {name for path in sources() for name in calls_of_a_log(path)}
    assert {"starting", "subscription_halted"} <= written
    assert written - documented() == set()


def test_no_log_event_is_explained_that_is_not_written() -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sources())
    assert {name for name in documented() if f'"{name}"' not in texts} == set()
