"""What several commands of the command line share: options, and the headings that the help lists them under."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NODE = "Run a node"
STORE = "Look after the store"
EVENTS = "Append and read"
SUBSCRIPTIONS = "Watch and steer subscriptions"

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The configuration; ./supervisor.toml where it exists."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def whole_number(value: str | int) -> int:
    """The parser of options that are numbers, so that a mistake names the value.

    Raises:
        typer.BadParameter: It is none.
    """
    try:
        return int(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not a whole number") from None


def positive_number(value: str | int) -> int:
    """The same for a number of 1 or more.

    Raises:
        typer.BadParameter: It is none.
    """
    number = whole_number(value)
    if number < 1:
        raise typer.BadParameter(f"{value!r} is less than 1")
    return number
