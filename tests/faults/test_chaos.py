"""The short form of `make chaos`, with a seed of its own for each run of the tests."""

from __future__ import annotations

import random
from pathlib import Path

from eventstore.tests.faults.chaos import run_chaos, table_of


def test_random_faults_break_no_promise(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    recoveries = run_chaos(tmp_path, seconds=20.0, seed=seed)
    assert sum(map(len, recoveries.values())) >= 5, recoveries
    assert table_of(recoveries).row_count == len(recoveries)
