"""The notifications that prove that LISTEN works."""

from __future__ import annotations

from eventstore.runtime.canary import Canary


def sent(canary: Canary, now: float) -> str:
    payload = canary.send(now)
    assert payload is not None
    return payload


def test_the_round_trip_is_measured() -> None:
    canary = Canary("one", patience=5.0)
    assert canary.round_trip is None
    payload = sent(canary, 10.0)
    assert canary.heard(payload, 10.25)
    assert (canary.round_trip, canary.silent) == (0.25, False)
    assert sent(canary, 15.0) != payload


def test_one_that_does_not_come_back_makes_it_silent_until_one_does() -> None:
    canary = Canary("one", patience=5.0)
    lost = sent(canary, 10.0)
    assert canary.send(14.9) is None
    assert not canary.silent
    second = sent(canary, 15.0)
    assert canary.silent
    assert not canary.heard(lost, 15.1), "an old one proves nothing about now"
    assert canary.silent
    assert canary.heard(second, 15.2)
    assert not canary.silent


def test_those_of_other_nodes_do_not_count() -> None:
    canary, other = Canary("one", patience=5.0), Canary("two", patience=5.0)
    sent(canary, 10.0)
    assert not canary.heard(sent(other, 10.0), 10.1)
    assert canary.round_trip is None


def test_the_same_answer_counts_once() -> None:
    canary = Canary("one", patience=5.0)
    payload = sent(canary, 10.0)
    assert canary.heard(payload, 10.1)
    assert not canary.heard(payload, 20.0)
    assert canary.round_trip == 0.1
