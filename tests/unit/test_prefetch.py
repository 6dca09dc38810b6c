"""A worker asks for as many events as it handles in a short while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.prefetch import Prefetch


def test_the_first_event_comes_alone() -> None:
    assert Prefetch(100).wanted == 1


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(0.0, 100), (0.0001, 100), (0.0025, 100), (0.01, 25), (0.1, 2), (0.2, 1), (3600.0, 1)]
)
def test_slow_handlers_get_fewer(seconds: float, wanted: int) -> None:
    prefetch = Prefetch(100, horizon=0.25)
    prefetch.handled(10, seconds * 10)
    assert prefetch.wanted == wanted


def test_it_follows_a_handler_that_becomes_slow() -> None:
    prefetch = Prefetch(100, horizon=0.25)
    prefetch.handled(1_000, 0.01)
    for _ in range(5):
        prefetch.handled(1, 1.0)
    assert prefetch.wanted == 1


def test_a_batch_can_always_fill() -> None:
    prefetch = Prefetch(100, least=30)
    assert prefetch.wanted == 30
    prefetch.handled(30, 60.0)
    assert prefetch.wanted == 30
    assert Prefetch(10, least=30).wanted == 30


def test_nothing_handled_changes_nothing() -> None:
    prefetch = Prefetch(100)
    prefetch.handled(0, 5.0)
    assert prefetch.wanted == 1


@given(st.integers(1, 1_000), st.lists(st.tuples(st.integers(0, 500), st.floats(-1.0, 1e6)), max_size=20))
def test_it_never_leaves_its_bounds(limit: int, measurements: list[tuple[int, float]]) -> None:
    prefetch = Prefetch(limit)
    for events, seconds in measurements:
        prefetch.handled(events, seconds)
        assert 1 <= prefetch.wanted <= limit
