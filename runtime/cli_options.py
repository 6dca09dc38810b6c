"""The options that several commands of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The configuration; ./supervisor.toml where it exists."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
