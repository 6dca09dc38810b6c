"""The page on reliability: every test it names exists, and no finding is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
# The findings of the two highest weights for reliability.
FINDINGS = {*range(1, 30), 32, 33, 34, 35, 36, 37, 48, 49, 51}


def test_every_test_named_on_the_page_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE))
    assert len(named) > 40
    missing = {(path, name) for path, name in named if name not in _tests(path)}
    assert missing == set()


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
    tables = [row for row in rows if not row.startswith(("| | Finding", "| | Here"))]
    assert [row for row in tables if "::" not in row] == []


def test_every_finding_is_answered_or_said_to_be_open() -> None:
    answered = {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    still_open = {int(number) for number in re.findall(r"\*\*(\d+), ", PAGE)}
    assert answered | still_open == FINDINGS
    assert not answered & still_open


def _tests(path: str) -> set[str]:
    """The names of a file's tests; hypothesis makes one of a state machine by an assignment."""
    file = ROOT / path
    if not file.exists():
        return set()
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found
