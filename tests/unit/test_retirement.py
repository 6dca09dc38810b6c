"""When a worker makes way for a fresh process."""

from __future__ import annotations

import sys

import pytest

from eventstore.runtime.retirement import Retirement, resident_mib


def refuse() -> float:
    raise AssertionError("nobody asked for a look at the memory")


def test_without_limits_it_never_is_due_and_never_looks() -> None:
    retirement = Retirement(None, None, refuse)
    assert (retirement.left, retirement.handled(10**9, 1e9)) == (sys.maxsize, "")


def test_it_is_due_at_its_number_of_events() -> None:
    retirement = Retirement(10, None, refuse)
    assert (retirement.left, retirement.handled(7, 0.0), retirement.left) == (10, "", 3)
    assert retirement.handled(3, 0.0) == "it has handled 10 events (max_events_per_worker)"
    assert retirement.left == 1


def test_it_is_due_above_its_memory() -> None:
    sizes = iter([50.0, 100.0, 100.4])
    retirement = Retirement(None, 100, lambda: next(sizes))
    assert [retirement.handled(100, 0.0) for _ in range(3)] == ["", "", "it has 100 MiB of memory (max_rss)"]


@pytest.mark.parametrize(
    ("events", "seconds", "looks"), [(1, 0.001, 10), (50, 0.0, 500), (1, 0.5, 500), (1, 1.0, 1000)]
)
def test_it_looks_every_hundred_events_or_each_second(events: int, seconds: float, looks: int) -> None:
    looked: list[float] = []

    def look() -> float:
        looked.append(50.0)
        return looked[-1]

    retirement = Retirement(None, 100, look)
    for turn in range(1, 1_001):
        assert not retirement.handled(events, turn * seconds)
    assert abs(len(looked) - looks) <= 1


def test_this_process_has_some_memory() -> None:
    before = resident_mib()
    block = bytearray(64 * 1024 * 1024)
    assert resident_mib() > before + 32
    assert len(block)
