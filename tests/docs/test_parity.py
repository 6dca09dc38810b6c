"""The parity page names only what exists: Python names, parameters, options, commands, files and tests."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import typing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import eventstore
from eventstore.runtime.cli import app
from eventstore.runtime.config import iter_options

assert eventstore.__file__
ROOT = Path(eventstore.__file__).parent
PAGE = ROOT / "docs" / "parity.md"

CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"eventstore(?:\.\w+)+")
PARAMETER = re.compile(rf"({NAME.pattern})\((\w+)\)")
OPTION = re.compile(r"(?:store|runtime|restart|monitor|log|subscriptions\[\])\.\w+")
COMMAND = re.compile(r"eventstore-runtime (\w+)")
FILE = re.compile(r"[\w./]*[./][\w./]+")
TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")

#: Words in the second column that name nothing of this package.
FOREIGN = {"set local statement_timeout", "uuid.uuid4()", "conn", "$all", "-c FILE", "kill -9", "with"}
FOREIGN |= {"execute function", "EVENTSTORE_TEST_URL"}
NOTHING = "\u2013"
NO_COUNTERPART = "*No counterpart:* "


class Row(NamedTuple):
    line: int
    original: str
    ours: str
    tests: str


def rows() -> list[Row]:
    found = []
    for number, line in enumerate(PAGE.read_text("utf-8").splitlines(), 1):
        if line.startswith("|") and not line.startswith(("|---", "| commanded/eventstore |")):
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            assert len(cells) == 3, f"line {number} has {len(cells)} cells"
            found.append(Row(number, *cells))
    return found


ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line {row.line}")
def test_every_row_is_complete_and_true(row: Row) -> None:
    assert all(row[1:]), "a cell is empty"
    for code in CODE.findall(row.ours):
        check(code)
    tests = CODE.findall(row.tests)
    for test in tests:
        file, function = parts(TEST, test)
        assert function in functions(file), f"there is no test {test}"
    # What has no test says why it needs none.
    assert tests or (row.tests == NOTHING and row.ours.startswith(NO_COUNTERPART))
    # A row of an addition has nothing in the first column; every other says what is meant in words.
    assert row.original == NOTHING or len(row.original) > 5


def test_no_row_is_there_twice() -> None:
    named = [row.original for row in ROWS if row.original != NOTHING]
    assert len(named) == len(set(named))
    assert len(ROWS) > 90


def test_what_does_not_exist_is_noticed() -> None:
    """So that the check above means something."""
    for code in (
        "eventstore.EventStore.append",
        "eventstore.Nothing",
        "eventstore.EventStore(ur)",
        "eventstore.subscribe_to_stream(start)",
        "store.urll",
        "eventstore-runtime creat",
        "deploy/nothing.yaml",
        "some words",
    ):
        with pytest.raises(AssertionError):
            check(code)


def test_the_public_functions_of_a_store_are_all_there() -> None:
    text = PAGE.read_text("utf-8")
    unmentioned = {"from_settings", "schema", "serializer", "closed", "open_session"}
    unmentioned |= {"subscription", "subscriptions", "subscription_lags"}
    public = {name for name in vars(eventstore.EventStore) if not name.startswith("_")} - unmentioned
    assert {name for name in public if f"eventstore.EventStore.{name}`" not in text} == set()


def check(code: str) -> None:
    """Asserts that what a piece of code on the page names exists."""
    if code in FOREIGN:
        return
    if (found := PARAMETER.fullmatch(code)) is not None:
        assert found[2] in parameters(resolve(found[1])), f"{found[1]} takes no {found[2]}"
    elif NAME.fullmatch(code):
        resolve(code)
    elif OPTION.fullmatch(code):
        assert code in {option.key for option in iter_options()}, f"there is no option {code}"
    elif (found := COMMAND.fullmatch(code)) is not None:
        assert found[1] in typer.main.get_group(app).commands, f"there is no command {code}"
    elif FILE.fullmatch(code):
        assert (ROOT / code).is_file(), f"there is no file {code}"
    else:
        raise AssertionError(f"{code!r} is neither a name nor a parameter, an option, a command or a file")


def resolve(name: str) -> Any:
    """What a dotted name stands for: modules as far as they go, then attributes."""
    names = name.split(".")
    found: Any = importlib.import_module(names[0])
    for place, part in enumerate(names[1:], 1):
        if not hasattr(found, part):
            with_module = ".".join(names[: place + 1])
            assert inspect.ismodule(found), f"{name}: {'.'.join(names[:place])} has no {part}"
            try:
                importlib.import_module(with_module)
            except ModuleNotFoundError:
                raise AssertionError(f"{name}: there is no {with_module}") from None
        found = getattr(found, part)
    return found


def parameters(function: Any) -> set[str]:
    """The names of a callable's parameters, those of an unpacked TypedDict included."""
    names = set(inspect.signature(function).parameters)
    if not inspect.isclass(function):
        for hint in typing.get_type_hints(function).values():
            if typing.get_origin(hint) is typing.Unpack:
                names |= set(typing.get_args(hint)[0].__annotations__)
    return names


@cache
def functions(file: str) -> set[str]:
    """The names of a file's functions; none where there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def parts(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = pattern.fullmatch(text)
    assert found, f"{text!r} names no test"
    return found.groups()
