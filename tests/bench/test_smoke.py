"""The benchmark runs and tells what it measured. How fast anything is, no test says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from eventstore.bench.report import Run

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_the_append_measures_end_in_a_table_and_in_json(tmp_path: Path, database_url: str) -> None:
    file = tmp_path / "new" / "run.json"
    done = bench("--quick", "--only", "append", "--url", database_url, "--json", str(file))
    assert done.returncode == 0, done.stderr
    run = msgspec.json.decode(file.read_bytes(), type=Run)
    names = [f"append-1-writer-batch-{size}" for size in (1, 10, 100, 1_000)]
    assert [one.name for one in run.results] == [*names, "append-8-writers-batch-1", "append-8-writers-batch-10"]
    for one in run.results:
        assert one.unit == "events/s"
        assert len(one.values) == run.rounds == 1
        assert 0 < one.min <= one.median <= one.max
        assert one.reference is not None
        assert one.title.removeprefix("append, ") in done.stdout
    assert {"Python", "PostgreSQL", "fsync", "processor"} <= run.machine.keys()


def test_an_unknown_measure_is_refused_with_the_names_there_are() -> None:
    done = bench("--only", "apend")
    assert done.returncode == 2
    assert "--only apend names no measure; there are append-1-writer-batch-1, " in done.stderr
