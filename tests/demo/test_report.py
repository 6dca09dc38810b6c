"""What the demo prints, on a terminal and off it."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console, RenderableType

from eventstore.runtime.demo.projection import MonthRow, month_of
from eventstore.runtime.demo.report import (
    AuthorTotal,
    Position,
    ProgressReport,
    appending_line,
    printable,
    processing_line,
    result_table,
    totals_per_author,
)

ROWS = [
    MonthRow("ann@x", "2023-12", 2, 10, 1),
    MonthRow("bob@x", "2024-01", 4, 1_500, 0),
    MonthRow("ann@x", "2024-02", 2, 5, 2),
    MonthRow("", "2024-03", 1, 0, 0),
]


def plain(renderable: RenderableType, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(renderable)
    output = console.file
    assert isinstance(output, StringIO)
    return output.getvalue()


def test_totals_are_sums_sorted_by_commits_then_author() -> None:
    assert totals_per_author(ROWS) == [
        AuthorTotal("ann@x", 4, 15, 3, "2023-12", "2024-02"),
        AuthorTotal("bob@x", 4, 1_500, 0, "2024-01", "2024-01"),
        AuthorTotal("", 1, 0, 0, "2024-03", "2024-03"),
    ]


def test_a_year_of_five_digits_is_later() -> None:
    (total,) = totals_per_author([MonthRow("ann@x", month, 1, 0, 0) for month in ("10000-01", "9999-12")])
    assert (total.first_month, total.last_month) == ("9999-12", "10000-01")


def test_the_table_shows_authors_and_sums() -> None:
    output = plain(result_table(totals_per_author(ROWS)))
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "ann@x 4 15 3 2023-12 to 2024-02" in lines
    assert "bob@x 4 1,500 0 2024-01" in lines
    assert "(no e-mail) 1 0 0 2024-03" in lines
    assert "3 authors 9 1,515 3" in lines
    assert "more" not in output


def test_the_table_says_how_many_more_authors_there_are() -> None:
    output = plain(result_table(totals_per_author(ROWS), top=1))
    assert "… and 2 more" in output
    assert "bob@x" not in output
    assert "3 authors" in output


def test_the_table_of_nothing() -> None:
    assert "0 authors" in plain(result_table([]))


def test_long_and_hostile_names_neither_break_lines_nor_reach_the_terminal() -> None:
    rows = [MonthRow("x" * 500, "2024-01", 1, 0, 0), MonthRow("[bold]\x1b[2Jme\r@x", "2024-01", 1, 0, 0)]
    output = plain(result_table(totals_per_author(rows)))
    assert all(len(line) <= 80 for line in output.splitlines())
    assert "[bold]\N{REPLACEMENT CHARACTER}[2Jme\N{REPLACEMENT CHARACTER}@x" in output
    assert printable("ü 🦊\n") == "ü 🦊\N{REPLACEMENT CHARACTER}"


def test_lines() -> None:
    assert appending_line(1, 0) == "Appended 1 commit"
    assert appending_line(12_000, 3_400) == "Appended 12,000 commits, 3,400 already in the store"
    assert processing_line("log", Position(5, 10)) == "log: processed 5 of 10 events (50 %)"


@pytest.mark.parametrize(
    ("last_seen", "head", "percent"), [(0, 0, 100), (0, 7, 0), (999, 1_000, 99), (1_000, 1_000, 100)]
)
def test_percent_is_100_only_at_the_end(last_seen: int, head: int, percent: int) -> None:
    assert Position(last_seen, head).percent == percent


def test_progress_off_a_terminal_is_a_few_plain_lines() -> None:
    output = StringIO()
    with ProgressReport(Console(file=output, width=20)) as progress:
        progress.processing({"log": Position(0, 0)})
        for number in range(0, 12_001, 500):
            progress.appending(number, 0)
            progress.processing({"log": Position(number, number)})
        progress.appending(12_000, 0, finished=True)
        for last_seen in (11_000, 12_000, 12_000):
            progress.processing({"log": Position(last_seen, 12_000)})
    assert output.getvalue().splitlines() == [
        "Appended 5,000 commits",
        "log: processed 5,000 of 5,000 events (100 %)",
        "Appended 10,000 commits",
        "log: processed 10,000 of 10,000 events (100 %)",
        "Appended 12,000 commits",
        "log: processed 12,000 of 12,000 events (100 %)",
    ]


def test_a_second_run_off_a_terminal_says_that_all_is_done() -> None:
    output = StringIO()
    with ProgressReport(Console(file=output)) as progress:
        for _ in range(2):
            progress.appending(0, 7, finished=True)
            progress.processing({"log": Position(7, 7)})
    assert output.getvalue().splitlines() == [
        "Appended 0 commits, 7 already in the store",
        "log: processed 7 of 7 events (100 %)",
    ]


def test_progress_on_a_terminal_moves_one_bar_for_each_thing() -> None:
    output = StringIO()
    with ProgressReport(Console(file=output, width=100, force_terminal=True)) as progress:
        progress.appending(700, 0, finished=True)
        progress.processing({"[log]": Position(350, 700)})
        progress.processing({"[log]": Position(700, 700)})
    last_frame = output.getvalue().splitlines()[-3:]
    assert "Appended 700 commits" in last_frame[0]
    assert "[log]: processed 700 of 700 events (100 %)" in last_frame[1]


def test_month_of() -> None:
    assert month_of("2024-05-31T23:59:59-11:00") == "2024-05"
    assert month_of("33658-09-27T01:46:39+00:00") == "33658-09"
