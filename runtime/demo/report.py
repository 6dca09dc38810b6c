"""What the demo shows: progress while it appends and processes, then a table of the result.

Pure functions turn numbers into text and renderables; `ProgressReport` is the thin shell that puts them on a console:
bars on a terminal, a few plain lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from types import TracebackType

import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from .projection import MonthRow

TOP_AUTHORS = 15
LINE_EVERY = 5_000
"""Commits or events between two lines of progress where there is no terminal."""

_LAST_STEP = -1


class AuthorTotal(msgspec.Struct, frozen=True):
    """One author's row of the result.

    Attributes:
        author: The author's e-mail.
        commits: Number of commits.
        insertions: Lines added.
        deletions: Lines removed.
        first_month: Month of the first commit, such as `2024-05`.
        last_month: Month of the last commit.
    """

    author: str
    commits: int
    insertions: int
    deletions: int
    first_month: str
    last_month: str


class Position(msgspec.Struct, frozen=True):
    """How far a subscription is.

    Attributes:
        last_seen: Its checkpoint; 0 before the first one.
        head: The number of the last event of its stream.
    """

    last_seen: int
    head: int

    @property
    def percent(self) -> int:
        """Whole percents processed, 100 only when nothing is left."""
        return 100 if self.last_seen >= self.head else self.last_seen * 100 // self.head


def totals_per_author(rows: Iterable[MonthRow]) -> list[AuthorTotal]:
    """Sum the months of each author; most commits first, authors with equally many by e-mail."""
    by_author = groupby(sorted(rows, key=attrgetter("author")), key=attrgetter("author"))
    totals = [_total(author, list(months)) for author, months in by_author]
    return sorted(totals, key=lambda total: (-total.commits, total.author))


def result_table(totals: list[AuthorTotal], top: int = TOP_AUTHORS) -> Table:
    """Return the table of the `top` authors, with a line that says how many more there are and the sums of all."""
    table = Table(box=box.SIMPLE, title="Commits per author", title_justify="left", show_footer=True)
    # The one column that gives way where the console is narrow.
    table.add_column("Author", footer=_count(len(totals), "author"), overflow="fold")
    for heading, numbers in (
        ("Commits", [total.commits for total in totals]),
        ("Insertions", [total.insertions for total in totals]),
        ("Deletions", [total.deletions for total in totals]),
    ):
        table.add_column(heading, footer=f"{sum(numbers):,}", justify="right", no_wrap=True)
    table.add_column("Months", no_wrap=True)
    for total in totals[:top]:
        table.add_row(*_cells(total))
    if len(totals) > top:
        table.add_row(Text(f"… and {len(totals) - top:,} more", style="italic"))
    return table


def appending_line(appended: int, skipped: int) -> str:
    """Return the progress of appending as one line."""
    known = f", {skipped:,} already in the store" if skipped else ""
    return f"Appended {_count(appended, 'commit')}{known}"


def processing_line(subscription: str, position: Position) -> str:
    """Return the progress of one subscription as one line."""
    return (
        f"{subscription}: processed {position.last_seen:,} of {_count(position.head, 'event')} ({position.percent} %)"
    )


def printable(text: str) -> str:
    """Return the text without characters that would move the cursor or change the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


class ProgressReport:
    """Shows progress on a console: bars that move on a terminal, a line now and then elsewhere.

    A context manager; the bars stay on the screen as they are when it is left.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_step: dict[str, int] = {}
        self._all_appended = False
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressReport:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def appending(self, appended: int, skipped: int, *, finished: bool = False) -> None:
        """Show how many commits are appended so far; fits `feed(on_progress=…)`.

        Args:
            appended: Commits appended in this run.
            skipped: Commits that were in the store before.
            finished: True for the last call, so that the totals are shown in any case.
        """
        self._all_appended = finished
        done = appended + skipped
        line = appending_line(appended, skipped)
        if self._console.is_terminal:
            self._move("appending", line, done, done if finished else None)
        else:
            self._print_at_step("appending", line, _LAST_STEP if finished else done // LINE_EVERY)

    def processing(self, positions: Mapping[str, Position]) -> None:
        """Show how far each subscription is.

        Off a terminal the line that says all is processed waits for the end of appending: before it, a subscription
        that keeps up would be through again after every batch.

        Args:
            positions: By name of the subscription.
        """
        for name, position in positions.items():
            line = processing_line(name, position)
            if self._console.is_terminal:
                self._move(name, line, position.last_seen, position.head)
            else:
                finished = self._all_appended and position.percent == 100
                self._print_at_step(name, line, _LAST_STEP if finished else position.last_seen // LINE_EVERY)

    def _move(self, key: str, line: str, completed: int, total: int | None) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(line, total=total)
        self._progress.update(self._tasks[key], description=line, completed=completed, total=total)

    def _print_at_step(self, key: str, line: str, step: int) -> None:
        if self._last_step.get(key, 0) != step:
            self._last_step[key] = step
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _total(author: str, months: list[MonthRow]) -> AuthorTotal:
    names = sorted((row.month for row in months), key=lambda month: (len(month), month))
    return AuthorTotal(
        author=author,
        commits=sum(row.commits for row in months),
        insertions=sum(row.insertions for row in months),
        deletions=sum(row.deletions for row in months),
        first_month=names[0],
        last_month=names[-1],
    )


def _cells(total: AuthorTotal) -> tuple[Text, str, str, str, str]:
    months = (
        total.first_month if total.first_month == total.last_month else f"{total.first_month} to {total.last_month}"
    )
    author = Text(printable(total.author)) if total.author else Text("(no e-mail)", style="italic")
    return author, f"{total.commits:,}", f"{total.insertions:,}", f"{total.deletions:,}", months


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
