"""`python -m eventstore.bench`: measures this version on this machine, prints a table and writes JSON.

`make bench` and `eventstore-runtime bench` run it. Rounds go over all cases in turn, so that a slow minute of the
machine meets one round of each rather than all rounds of one. Nothing else should be at work on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console

from eventstore.runtime.config import load_config
from eventstore.runtime.restart import ExitCode
from eventstore.store import EmbeddedServer, EventStoreError, open_url
from eventstore.store.errors import ConfigurationError
from eventstore.store.keeper import postmaster_pid

from . import append, catch_up, command, crowd, limits, live
from .case import Bench, Case, Figure
from .plots import draw
from .report import Run, comparison, read_json, results, run_of, table, write_json

_FULL = {"rounds": 3, "seconds": 3.0, "events": 100_000, "many": 1_000_000}
_QUICK = {"rounds": 1, "seconds": 0.3, "events": 2_000, "many": 10_000}
_FEWEST_EVENTS, _FEWEST_MANY = 10, 1_000
_STOP_LIMIT = 60.0
_PIPE_WIDTH = 140
_DESCRIPTION = (
    "Measure events per second, latency and cost. Everything happens in schemas named bench_…, dropped in the end."
)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; sizes that are not given are those of a full run, or of a quick one."""
    parser = argparse.ArgumentParser(prog="eventstore-runtime bench", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--url", help="a PostgreSQL URL or embedded:DIR; without any of these three, an embedded one")
    parser.add_argument("--config", metavar="FILE", help="measure on the database of this configuration")
    parser.add_argument(
        "--configured", action="store_true", help="the same, with ./supervisor.toml and the environment"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measures by name or its beginning, such as append")
    parser.add_argument("--rounds", type=int, help="times each measure is taken (3)")
    parser.add_argument("--seconds", type=float, help="time of each append, live and commit measure (3)")
    parser.add_argument("--events", type=int, help="events of the backlog to catch up with (100000)")
    parser.add_argument("--many", type=int, help="events of the large backlog, for the flat measures (1000000)")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the JSON (bench-results/TIME.json)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it beside the references, as PNG or SVG")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help="only compare two JSON files"
    )
    options = parser.parse_args(given)
    for name, value in (_QUICK if options.quick else _FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
        elif getattr(options, name) <= 0:
            parser.error(f"--{name} {getattr(options, name)}: give a number above 0")
    for name, fewest in (("events", _FEWEST_EVENTS), ("many", _FEWEST_MANY)):
        if getattr(options, name) < fewest:
            parser.error(f"--{name} {getattr(options, name)}: give {fewest} or more")
    options.cases = chosen(options.only)
    if not options.cases:
        names = ", ".join(figure.name for case in chosen(None) for figure in case.figures)
        parser.error(f"--only {' '.join(options.only)} names no measure; there are {names}")
    return options


def chosen(only: Sequence[str] | None) -> list[Case]:
    """The cases with a figure that a given word names, in full or else by its beginning; all where none are given."""
    modules = (append, catch_up, live, crowd, command, limits)
    cases = [case for module in modules for case in module.cases()]
    if only is None:
        return cases
    names = {figure.name for case in cases for figure in case.figures}
    wanted = {name for word in only for name in names if name == word or (word not in names and name.startswith(word))}
    return [case for case in cases if any(figure.name in wanted for figure in case.figures)]


def measure(bench: Bench, cases: Sequence[Case], rounds: int, progress: Console) -> Run:
    """Runs every case in every round."""
    values: dict[Figure, list[float]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for case in cases:
            with progress.status(f"round {number} of {rounds}: {case.figures[0].title} …"):
                for figure, value in zip(case.figures, case.run(bench), strict=True):
                    values[figure].append(value)
                    progress.print(
                        f"round {number}: {figure.title}: {value:,.1f} {figure.unit}", highlight=False, soft_wrap=True
                    )
    return run_of(bench, rounds, results(values))


@contextmanager
def database(url: str | None) -> Iterator[str]:
    """The URL of the server to measure on; without one given, an embedded server that is gone afterwards."""
    if url is not None:
        connectable, server = open_url(url)
        try:
            yield connectable
        finally:
            if server is not None:
                server.release()
        return
    with tempfile.TemporaryDirectory(prefix="eventstore-bench-") as folder:
        home = Path(folder) / "store"
        try:
            with EmbeddedServer.acquire(home) as server:
                yield server.url
        finally:
            # Its keeper stops it as soon as it is released; the folder must not go before.
            deadline = time.monotonic() + _STOP_LIMIT
            while postmaster_pid(home / "data") is not None and time.monotonic() < deadline:
                time.sleep(0.05)


def configured(options: argparse.Namespace) -> str | None:
    """The URL to measure on, None for an embedded server of the benchmark's own.

    Raises:
        ConfigurationError: The configuration cannot be read.
    """
    if options.url or not (options.config or options.configured):
        url: str | None = options.url
        return url
    path = Path(options.config or "supervisor.toml")
    return load_config(path if options.config or path.exists() else None, os.environ).store.url


def main() -> int:
    """Runs the command; its exit code is 1 when a measure failed, 2 for a command line of no use, 130 after Ctrl-C."""
    options = arguments()
    progress = Console(stderr=True)
    # Where nobody looks, in a file or a pipe, every measure gets a line of its own.
    output = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    try:
        if options.compare:
            output.print(comparison(*map(read_json, options.compare)))
            return ExitCode.OK
        with (
            database(configured(options)) as url,
            closing(Bench(url, options.seconds, options.events, options.many)) as bench,
        ):
            run = measure(bench, options.cases, options.rounds, progress)
        output.print(table(run))
        path = options.json or Path("bench-results") / f"{run.at.replace(':', '').replace('+0000', 'Z')}.json"
        write_json(run, path)
        progress.print(f"written to {path}", highlight=False)
        if options.plot:
            draw(run, options.plot)
            progress.print(f"drawn to {options.plot}", highlight=False)
    except KeyboardInterrupt:
        progress.print("interrupted: nothing is written")
        return 130
    except (EventStoreError, RuntimeError) as error:
        progress.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return ExitCode.USAGE if isinstance(error, ConfigurationError) else ExitCode.FAILED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(int(main()))
