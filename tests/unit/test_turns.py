"""Turns: one at a time, in order, and nobody keeps one for ever."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from eventstore.runtime.turns import LONGEST, Turns


class Bench:
    def __init__(self) -> None:
        self.begun: list[str] = []
        self.timers: list[Callable[[], None]] = []
        self.turns = Turns(self._call_later)

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        assert seconds == LONGEST
        self.timers.append(callback)

    def take(self, *names: str) -> None:
        for name in names:
            self.turns.take(name, partial(self.begun.append, name))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_one_at_a_time_in_order(bench: Bench) -> None:
    bench.take("a", "b", "c")
    assert bench.begun == ["a"]
    bench.turns.give_back("b")
    assert bench.begun == ["a"], "it was not its turn"
    bench.turns.give_back("a")
    assert bench.begun == ["a", "b"]


def test_who_takes_another_turn_lets_the_others_go_first(bench: Bench) -> None:
    bench.take("a", "b", "a")
    assert bench.begun == ["a", "b"]
    bench.turns.give_back("b")
    assert bench.begun == ["a", "b", "a"]
    bench.take("a")
    assert bench.begun == ["a", "b", "a", "a"], "nobody else waits"


def test_a_turn_ends_by_itself_and_an_older_timer_ends_no_newer_one(bench: Bench) -> None:
    bench.take("a", "b", "c")
    bench.timers[0]()
    assert bench.begun == ["a", "b"]
    bench.timers[0]()
    assert bench.begun == ["a", "b"]
    bench.timers[1]()
    assert bench.begun == ["a", "b", "c"]
