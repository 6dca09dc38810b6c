"""Back-off: from the minimum by doubling to the maximum, less a random share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.backoff import Backoff

shares = st.floats(0, 1)
randoms = st.floats(0, 1, exclude_max=True)
failures = st.integers(1, 10_000)


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    minimum = draw(st.floats(0.001, 1e6))
    return Backoff(minimum=minimum, maximum=minimum * draw(st.floats(1, 1e6)), jitter=draw(shares))


@pytest.mark.parametrize(
    ("failed", "random", "seconds"),
    [(1, 0.0, 0.1), (2, 0.0, 0.2), (3, 0.0, 0.4), (8, 0.0, 12.8), (9, 0.0, 20.0), (1, 0.5, 0.09), (9, 0.5, 18.0)],
)
def test_the_defaults_double_from_a_tenth_to_twenty_seconds(failed: int, random: float, seconds: float) -> None:
    assert Backoff().delay(failed, random) == pytest.approx(seconds)


@given(backoffs(), failures, randoms)
def test_a_wait_is_never_longer_than_the_maximum_nor_shorter_than_jitter_allows(
    backoff: Backoff, failed: int, random: float
) -> None:
    delay = backoff.delay(failed, random)
    assert backoff.minimum * (1 - backoff.jitter) <= delay <= backoff.maximum


@given(backoffs(), failures, randoms)
def test_waits_grow_until_the_maximum_and_stay_there(backoff: Backoff, failed: int, random: float) -> None:
    this, following = backoff.delay(failed, random), backoff.delay(failed + 1, random)
    assert this <= following
    longest = backoff.maximum * (1 - backoff.jitter * random)
    assert following == pytest.approx(min(2 * this, longest))


@given(backoffs(), randoms)
def test_any_number_of_failures_gives_a_finite_wait(backoff: Backoff, random: float) -> None:
    assert math.isfinite(backoff.delay(10**9, random))


@given(backoffs(), failures)
def test_without_a_random_number_nothing_is_taken_away(backoff: Backoff, failed: int) -> None:
    assert backoff.delay(failed, 0.0) >= backoff.delay(failed, 0.999)
