"""The short form of `make chaos`, with a seed of its own for each run of the tests."""

from __future__ import annotations

import random
from pathlib import Path

from eventstore.tests.faults.chaos import run_chaos


def test_random_faults_break_no_promise(database_url: str, schema: str, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    faults = run_chaos(database_url, schema, tmp_path, seconds=15.0, seed=seed)
    assert faults.total() >= 5, faults
