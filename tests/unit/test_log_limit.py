"""How often the same is said about the same part."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.log_limit import LogLimiter


def test_the_first_line_passes_and_the_next_ones_are_counted() -> None:
    limiter = LogLimiter(30.0)
    assert limiter.admit("listener", 100.0) == 0
    assert [limiter.admit("listener", 100.0 + wait) for wait in (0.1, 10.0, 29.9)] == [None, None, None]
    assert limiter.admit("listener", 130.0) == 3
    assert limiter.admit("listener", 160.0) == 0


def test_parts_do_not_silence_each_other() -> None:
    limiter = LogLimiter(30.0)
    assert limiter.admit(("child_exited", "listener"), 0.0) == 0
    assert limiter.admit(("child_exited", "lock-holder"), 0.0) == 0
    assert limiter.admit(("child_ready", "listener"), 0.0) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 20.0)), max_size=60))
def test_no_interval_holds_two_lines_of_a_key_and_none_is_forgotten(steps: list[tuple[str, float]]) -> None:
    limiter, now = LogLimiter(30.0), 0.0
    passed: dict[str, list[float]] = {key: [] for key in "abc"}
    told = asked = 0
    for key, wait in steps:
        now, asked = now + wait, asked + 1
        left_out = limiter.admit(key, now)
        if left_out is not None:
            passed[key].append(now)
            told += 1 + left_out
    for times in passed.values():
        assert all(later - earlier >= 30.0 for earlier, later in pairwise(times))
    assert told <= asked
    for key in "abc":
        told += (limiter.admit(key, now + 31.0) or 0) if passed[key] else 0
    assert told == asked
