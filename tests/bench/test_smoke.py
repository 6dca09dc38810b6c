"""The benchmark runs and tells what it measured. How fast anything is, no test says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from eventstore.bench.report import Run, read_json
from eventstore.store import Connection
from eventstore.tests.support.node import command, environment

LEFT_OVER = "select nspname from pg_namespace where nspname like 'bench%'"


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eventstore.bench", *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )


def measured(folder: Path, url: str, *only: str) -> tuple[Run, str]:
    """A quick run of some measures, and its table."""
    file = folder / "new" / "run.json"
    done = bench("--quick", "--url", url, "--json", str(file), "--only", *only, cwd=folder)
    assert done.returncode == 0, done.stderr
    return read_json(file), done.stdout


def test_the_append_measures_end_in_a_table_and_in_json(tmp_path: Path, database_url: str, conn: Connection) -> None:
    run, table = measured(tmp_path, database_url, "append", "limit-co")
    together = [f"append-8-{who}-batch-{size}" for who in ("threads", "tasks", "processes") for size in (1, 10)]
    alone = [f"append-1-writer-batch-{size}" for size in (1, 10, 100, 1_000)]
    assert [one.name for one in run.results] == [*alone, *together, "limit-copy", "limit-commits"]
    for one in run.results:
        assert len(one.values) == run.rounds == 1
        assert 0 < one.min <= one.median <= one.max
        assert one.title in table
    for one in run.results[:-2]:
        assert one.reference is not None
        assert one.ratio == one.median / one.reference
        assert one.share is not None
    assert {"Python", "PostgreSQL", "psycopg", "fsync", "synchronous_commit", "processor"} <= run.machine.keys()
    assert conn.execute(LEFT_OVER).fetchall() == []


def test_everything_else_is_measured_on_real_nodes(tmp_path: Path, database_url: str, conn: Connection) -> None:
    groups = ("catch-up-buffer-1", "catch-up-transactional", "flat", "live", "ten", "idle", "start-up", "limit-s")
    run, _ = measured(tmp_path, database_url, *groups, "limit-pipe")
    values = {one.name: one.median for one in run.results}
    assert {"catch-up-buffer-1", "flat-out-consumed", "live-p99", "limit-select", "limit-pipe"} <= values.keys()
    # What is counted in ticks of the clock, or at the moment of a report, may be nothing in so short a time.
    may_be_nothing = {"idle-queries", "idle-cpu", "flat-few-cpu", "flat-many-cpu", "flat-out-lag", "flat-out-consumed"}
    assert {name for name, value in values.items() if value <= 0} <= may_be_nothing
    assert values["live-p50"] <= values["live-p95"] <= values["live-p99"]
    assert values["ten-reads"] >= 1
    better = {one.name: one.ratio for one in run.results if one.reference}
    assert better["live-p50"] == 5.1 / values["live-p50"]
    assert conn.execute(LEFT_OVER).fetchall() == []


def test_two_runs_are_compared(tmp_path: Path, database_url: str) -> None:
    run, _ = measured(tmp_path, database_url, "append-1-writer-batch-1", "idle-memory")
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_bytes(msgspec.json.encode(run))
    twice = [
        msgspec.structs.replace(one, median=2 * one.median, min=2 * one.min, max=2 * one.max) for one in run.results
    ]
    after.write_bytes(msgspec.json.encode(msgspec.structs.replace(run, results=twice)))
    done = bench("--compare", str(before), str(after), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = {line.split("  ")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("  ")}
    assert " 2.00 " in lines["append, 1 writer, batches of 1"]
    assert " 0.50 " in lines["idle, 10 subscriptions, memory (PSS)"]
    assert " yes " in lines["append, 1 writer, batches of 1"]


def test_the_command_measures_on_the_configured_database_and_draws(
    tmp_path: Path, database_url: str, conn: Connection
) -> None:
    arguments = ("--quick", "--only", "append-1-writer-batch-10", "--json", "run.json", "--plot", "run.svg")
    done = command("bench", *arguments, cwd=tmp_path, EVENTSTORE__STORE__URL=database_url)
    assert done.returncode == 0, done.stderr
    assert "append, 1 writer, batches of 10" in done.stdout
    assert "<svg" in (tmp_path / "run.svg").read_text()
    assert read_json(tmp_path / "run.json").results[0].name == "append-1-writer-batch-10"
    assert not (tmp_path / ".eventstore").exists()
    assert conn.execute(LEFT_OVER).fetchall() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "apend"), "--only apend names no measure; there are append-1-writer-batch-1, "),
        (("--rounds", "0"), "--rounds 0: give a number above 0"),
        (("--many", "10"), "--many 10: give 1000 or more"),
        (("--url", "x"), 'missing "=" after "x" in connection info string: write it like postgresql://'),
        (("--ur", "x"), "unrecognized arguments: --ur"),
        (("--compare", "a.json", "b.json"), "cannot read a.json: No such file or directory"),
    ],
)
def test_what_is_of_no_use_is_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = bench(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
