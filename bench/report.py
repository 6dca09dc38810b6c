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
from eventstore.store.errors import ConfigurationError

from .case import Bench, Figure

_REFERENCE = (
    "Elixir: commanded/eventstore 1.4.8 on PostgreSQL 15, measured once on a machine with 2 cores, not in this run. "
    "times: how many times better than that the median is. of limit: the share of what is possible at most, by the "
    "limits at the end of the table, which were measured in this run."
)
_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "commit_delay",
)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over all rounds.

    Attributes:
        ratio: How many times better than the reference the median is; None without a reference.
        share: The median as a share of what is possible at most, from 0 to 1; None where that was not measured.
    """

    name: str
    title: str
    unit: str
    values: list[float]
    median: float
    min: float
    max: float
    reference: float | None
    ratio: float | None
    share: float | None = None
    less_is_better: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, as its JSON holds it."""

    at: str
    machine: dict[str, str]
    rounds: int
    seconds: float
    events: int
    many: int
    results: list[Result]


def results(values: dict[Figure, list[float]]) -> list[Result]:
    """The figures with the values of their rounds."""
    medians = {figure.name: median(taken) for figure, taken in values.items()}
    return [_result(figure, taken, _share(figure, medians)) for figure, taken in values.items()]


def _result(figure: Figure, values: Sequence[float], share: float | None) -> Result:
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
        ratio=None if figure.reference is None else _better(middle, figure.reference, figure.less_is_better),
        share=share,
        less_is_better=figure.less_is_better,
    )


def _share(figure: Figure, medians: dict[str, float]) -> float | None:
    if figure.limit is None or figure.limit.name not in medians:
        return None
    return medians[figure.name] / (medians[figure.limit.name] * figure.limit.times)


def _better(value: float, other: float, less_is_better: bool) -> float | None:
    """How many times better a value is than another; None where one of them is nothing."""
    if not value or not other:
        return None
    return other / value if less_is_better else value / other


def run_of(bench: Bench, rounds: int, results: list[Result]) -> Run:
    """The run that ends now."""
    return Run(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(bench.url),
        rounds=rounds,
        seconds=bench.seconds,
        events=bench.events,
        many=bench.many,
        results=results,
    )


def table(run: Run) -> Table:
    """The run as a table; machine and versions stand below it."""
    here = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    shown = Table(caption=f"{here}\n{_REFERENCE}", caption_justify="left", box=SIMPLE)
    shown.add_column("measure")
    for column in ("median", "min to max", "Elixir", "times", "of limit"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("unit")
    for one in run.results:
        shown.add_row(
            one.title,
            _number(one.median),
            f"{_number(one.min)} to {_number(one.max)}",
            "" if one.reference is None else _number(one.reference),
            "" if one.ratio is None else f"{one.ratio:.1f}",
            "" if one.share is None else f"{one.share:.0%}",
            one.unit,
        )
    return shown


def comparison(before: Run, after: Run) -> Table:
    """Two runs side by side, as far as they have measures in common."""
    shown = Table(
        caption=f"before: {before.at}, {_on(before)}\nafter: {after.at}, {_on(after)}\n"
        "times: how many times better the median is; clear: the two spreads do not overlap.",
        caption_justify="left",
        box=SIMPLE,
    )
    shown.add_column("measure")
    for column in ("before", "after", "times"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("clear")
    shown.add_column("unit")
    known = {one.name: one for one in before.results}
    for one in after.results:
        if one.name not in known:
            continue
        old = known[one.name]
        times = _better(one.median, old.median, one.less_is_better)
        apart = one.min > old.max or one.max < old.min
        shown.add_row(
            one.title,
            _number(old.median),
            _number(one.median),
            "" if times is None else f"{times:.2f}",
            "yes" if apart else "",
            one.unit,
        )
    return shown


def _on(run: Run) -> str:
    names = ("eventstore-runtime", "Python", "PostgreSQL", "processor")
    return ", ".join(f"{name} {run.machine[name]}" for name in names if name in run.machine)


def write_json(run: Run, path: Path) -> None:
    """Writes the run, and the folder for it where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")


def read_json(path: Path) -> Run:
    """Reads what `write_json` wrote.

    Raises:
        ConfigurationError: The file cannot be read, or holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{path} holds no run of this benchmark, {error}: give a file it wrote") from None


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


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
