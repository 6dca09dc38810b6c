"""Outcomes: returned or raised, with reasons that every process understands."""

from __future__ import annotations

import math
import pickle

import pytest

from eventstore.handlers import Ack, DoneUpTo, Outcome, Park, Retry, Skip, Stop


@pytest.mark.parametrize(
    "outcome",
    [
        Ack(),
        Retry(),
        Retry(1.5),
        Retry(after=0, reason="later"),
        Skip("no use"),
        Park("later"),
        Stop("enough"),
        DoneUpTo(3),
    ],
)
def test_an_outcome_can_be_raised_and_survives_pickling(outcome: Outcome) -> None:
    with pytest.raises(Outcome) as caught:
        raise outcome
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is type(outcome)
    assert (vars(copy), copy.args) == (vars(outcome), outcome.args)


def test_every_outcome_but_ack_has_a_reason() -> None:
    assert (Retry().after, Retry().reason) == (None, "the handler asked for a retry")
    assert Park().reason == "the handler parked it"
    assert (Skip().reason, Stop().reason) == ("the handler skipped it", "the handler asked to stop")


@pytest.mark.parametrize("after", [-1, -0.001, math.inf, math.nan])
def test_a_wait_that_never_ends_is_refused(after: float) -> None:
    with pytest.raises(ValueError, match=rf"^Retry\(after={after}\): the wait must be 0 seconds or more, and finite$"):
        Retry(after=after)


def test_what_crosses_processes_has_its_type() -> None:
    """An exception as a reason, or a whole number of seconds, is natural to write; a message knows neither."""
    error = ValueError("out of temper")
    reasons = [Retry(2, error).reason, Skip(error).reason, Stop(error).reason]  # type: ignore[arg-type]
    assert reasons == ["out of temper"] * 3
    assert isinstance(Retry(2).after, float)


def test_part_of_a_batch_is_done_and_the_next_event_has_a_fate() -> None:
    error = OSError("disk full")
    assert [(one.count, one.then) for one in (DoneUpTo(0), DoneUpTo(2, error))] == [(0, None), (2, error)]
    park = Park("bad")
    assert DoneUpTo(1, then=park).then is park


@pytest.mark.parametrize("count", [-1, True, 1.5, "2"])
def test_a_count_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="the count must be a whole number, 0 or more"):
        DoneUpTo(count)  # type: ignore[arg-type]


@pytest.mark.parametrize("then", [Ack(), DoneUpTo(1), "retry", KeyboardInterrupt()])
def test_a_fate_that_is_none_is_refused(then: object) -> None:
    with pytest.raises(ValueError, match="it must be Retry, Skip, Park, Stop, an exception or None"):
        DoneUpTo(1, then=then)  # type: ignore[arg-type]
