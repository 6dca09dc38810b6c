"""What comes out of a run: a table for people, JSON for comparisons, and on which machine it was."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
import psycopg
from rich.box import SIMPLE
from rich.table import Table

from eventstore.runtime.version import version
from eventstore.store import connect

from .case import Bench, Figure

_REFERENCE = (
    "Elixir: commanded/eventstore 1.4.8 on PostgreSQL 15, measured once on a machine with 2 cores, not in this run. "
    "times: how many times better than that the median is."
)
_SETTINGS = ("server_version", "fsync", "synchronous_commit", "shared_buffers")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over all rounds; `ratio` tells how many times better than the reference the median is."""

    name: str
    title: str
    unit: str
    values: list[float]
    median: float
    min: float
    max: float
    reference: float | None
    ratio: float | None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, as its JSON holds it."""

    at: str
    machine: dict[str, str]
    rounds: int
    seconds: float
    events: int
    results: list[Result]


def result(figure: Figure, values: Sequence[float]) -> Result:
    """A figure with the values of its rounds."""
    middle = median(values)
    return Result(
        name=figure.name,
        title=figure.title,
        unit=figure.unit,
        values=list(values),
        median=middle,
        min=min(values),
        max=max(values),
        reference=figure.reference,
        ratio=_ratio(middle, figure),
    )


def run_of(bench: Bench, rounds: int, results: list[Result]) -> Run:
    """The run that ends now."""
    return Run(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(bench.url),
        rounds=rounds,
        seconds=bench.seconds,
        events=bench.events,
        results=results,
    )


def table(run: Run) -> Table:
    """The run as a table; machine and versions stand below it."""
    here = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    shown = Table(caption=f"{here}\n{_REFERENCE}", caption_justify="left", box=SIMPLE)
    shown.add_column("measure")
    for column in ("median", "min to max", "Elixir", "times"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("unit")
    for one in run.results:
        shown.add_row(
            one.title,
            _number(one.median),
            f"{_number(one.min)} to {_number(one.max)}",
            "" if one.reference is None else _number(one.reference),
            "" if one.ratio is None else f"{one.ratio:.1f}",
            one.unit,
        )
    return shown


def write_json(run: Run, path: Path) -> None:
    """Writes the run, and the folder for it where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")


def machine(url: str) -> dict[str, str]:
    """Processor, memory, versions and the settings of the server that decide about durability."""
    with connect(url, "bench") as connection:
        settings = {name: str(connection.execute(f"show {name}").fetchone()[0]) for name in _SETTINGS}  # type: ignore[index]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "eventstore-runtime": version(),
        "Python": platform.python_version(),
        "psycopg": psycopg.__version__,
        "PostgreSQL": settings.pop("server_version"),
        **settings,
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.1f} GiB",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _ratio(value: float, figure: Figure) -> float | None:
    if figure.reference is None:
        return None
    return figure.reference / value if figure.unit == "ms" else value / figure.reference


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
