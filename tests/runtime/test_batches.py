"""Handlers that take lists: partial success, the guilty event found, and one transaction for each call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from eventstore.handlers import Ack, Context, DoneUpTo, Park, Retry, Skip, Stop
from eventstore.runtime.messages import Failed
from eventstore.runtime.results import Delivered, Results
from eventstore.store import RecordedEvent
from eventstore.tests.support.handling import Bench

Batch = list[RecordedEvent]


def numbers(events: Batch) -> list[int]:
    return [event.event_number for event in events]


def answering(outcome: Any) -> Callable[[Batch, Context], Any]:
    def handle(events: Batch, context: Context) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return handle


@pytest.mark.parametrize("outcome", [None, Ack(), DoneUpTo(5), DoneUpTo(5, Retry())])
def test_a_batch_is_finished_as_a_whole(bench: Bench, outcome: Any) -> None:
    execution = bench.plain(lambda events, context: outcome, batch_size=7)
    assert execution.most == 7
    assert execution.execute(bench.batch(), bench.delivered) == Results([1, 2, 3, 4, 5])
    execution = bench.plain(answering(outcome), batch_size=7)
    assert execution.execute(bench.batch(), bench.delivered) == Results([1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("then", "failed"),
    [
        (None, Failed(3, "error", "the handler finished its batch up to this event only (DoneUpTo)", None)),
        (Retry(2, "later"), Failed(3, "retry", "later", 2.0)),
        (Skip("bad"), Failed(3, "skip", "bad", None)),
        (Park("bad"), Failed(3, "park", "bad", None)),
        (Stop("bad"), Failed(3, "stop", "bad", None)),
        (OSError("full"), Failed(3, "error", "OSError: full", None)),
    ],
)
@pytest.mark.parametrize("raised", [False, True])
def test_a_batch_is_finished_in_part(bench: Bench, then: Exception | None, failed: Failed, raised: bool) -> None:
    outcome = DoneUpTo(2, then)
    handler = answering(outcome) if raised else lambda events, context: outcome
    execution = bench.plain(handler, batch_size=5)
    assert execution.execute(bench.batch(), bench.delivered) == Results([1, 2], failed)


@pytest.mark.parametrize("outcome", [ValueError("no"), Retry(), Skip(), Park(), Stop(), DoneUpTo(6), 42])
def test_an_answer_that_speaks_of_one_event_is_asked_for_each(bench: Bench, outcome: Any) -> None:
    calls: list[list[int]] = []

    def handle(events: Batch, context: Context) -> Any:
        calls.append(numbers(events))
        assert context.event_number == events[0].event_number
        if 4 in calls[-1]:
            if isinstance(outcome, ValueError):
                raise outcome
            return outcome
        return None

    execution = bench.plain(handle, batch_size=5)
    with capture_logs() as logs:
        results = bench.apart(execution, bench.batch())
    assert calls == [[1, 2, 3, 4, 5], [1], [2], [3], [4]]
    assert results.finished == [1, 2, 3]
    assert results.failed is not None
    assert results.failed.number == 4
    assert logs[0]["event"] == "batch_failed"
    assert logs[0]["reason"] in results.failed.reason


def test_a_batch_that_fails_as_such_is_finished_event_by_event(bench: Bench) -> None:
    def handle(events: Batch, context: Context) -> None:
        if len(events) > 1:
            raise MemoryError("too many")

    assert bench.apart(bench.plain(handle, batch_size=5), bench.batch()) == Results([1, 2, 3, 4, 5])


def test_an_event_that_cannot_be_decoded_ends_the_batch_before_it(bench: Bench) -> None:
    broken = list(bench.rows[2])
    broken[7] = b"\xff no json"
    bench.rows[2] = tuple(broken)
    calls: list[list[int]] = []
    execution = bench.plain(lambda events, context: calls.append(numbers(events)), batch_size=5)
    results = execution.execute(bench.batch(), bench.delivered)
    assert (results.finished, calls) == ([1, 2], [[1, 2]])
    assert results.failed is not None
    assert results.failed.number == 3
    assert results.failed.reason.startswith("DeserializationFailed: event 3 (")


def test_selected_and_mapped_events_count_and_the_others_go_with_them(bench: Bench, module: Callable[..., str]) -> None:
    name = module("""
        def odd(event):
            return event.event_number % 2

        def data(event):
            return {"n": event.data}
    """)
    options = {"batch_size": 5, "selector": f"{name}:odd", "mapper": f"{name}:data"}
    seen: list[Any] = []
    whole = bench.plain(lambda events, context: seen.append(events), **options)
    assert whole.execute(bench.batch(), bench.delivered) == Results([1, 2, 3, 4, 5])
    assert seen == [[{"n": 1}, {"n": 3}, {"n": 5}]]
    part = bench.plain(lambda events, context: DoneUpTo(1, Skip("three")), **options)
    assert part.execute(bench.batch(), bench.delivered) == Results([1, 2], Failed(3, "skip", "three", None))
    none = bench.plain(lambda events, context: seen.append(events), **options)
    assert none.execute(bench.batch(2, 4), bench.delivered) == Results([2, 4])
    assert len(seen) == 1
    one = bench.plain(lambda events, context: Retry(), **options)
    assert one.execute(bench.batch(2, 3, 4), bench.delivered).finished == [2], "the only one it got is to blame"


def test_the_context_of_a_batch(bench: Bench) -> None:
    seen: list[Any] = []

    def handle(events: Batch, context: Context) -> None:
        seen.append((context.event_number, context.attempt, context.is_replay, context.partition))

    execution = bench.plain(handle, batch_size=5, partition_by="stream")
    for chosen, replay_until in [((2, 3), 3), ((2, 3), 2), ((4,), 0)]:
        execution.execute(bench.batch(*chosen), Delivered(1, 1, {4: 3}, replay_until=replay_until))
    assert seen == [(2, 1, True, "a"), (2, 1, False, "a"), (4, 3, False, "a")]


def test_a_silent_past_is_finished_without_the_handler(bench: Bench) -> None:
    seen: list[list[int]] = []
    execution = bench.plain(
        lambda events, context: seen.append(numbers(events)), batch_size=5, side_effects="live_only"
    )
    delivered = Delivered(1, 1, live_after=3)
    assert execution.execute(bench.batch(), delivered) == Results([1, 2, 3, 4, 5])
    assert execution.execute(bench.batch(1, 2), delivered) == Results([1, 2])
    assert seen == [[4, 5]]


# In a transaction


def noting(bench: Bench, outcome: Any = None) -> Callable[[Batch, Context], Any]:
    """Leaves the effects of all events but those that its `DoneUpTo` does not count, and answers."""

    def handle(events: Batch, context: Context) -> Any:
        count = outcome.count if isinstance(outcome, DoneUpTo) else len(events)
        for event in events[:count]:
            bench.note(event, context)
        return outcome if len(events) == 5 else None

    return handle


def test_effects_of_a_batch_and_ledger_commit_together(bench: Bench) -> None:
    assert bench.transactional(noting(bench), batch_size=3).most == 3
    assert bench.execute(noting(bench), batch_size=5) == Results([1, 2, 3, 4, 5])
    bench.check(1, 2, 3, 4, 5)


def test_the_finished_part_of_a_batch_commits(bench: Bench) -> None:
    results = bench.execute(noting(bench, DoneUpTo(2, Retry(1, "later"))), batch_size=5)
    assert results == Results([1, 2], Failed(3, "retry", "later", 1.0))
    bench.check(1, 2)


def test_a_batch_of_which_nothing_is_finished_leaves_nothing(bench: Bench) -> None:
    def handle(events: Batch, context: Context) -> Any:
        bench.note(events[0], context)
        return DoneUpTo(0, Skip("bad"))

    assert bench.execute(handle, batch_size=5) == Results([], Failed(1, "skip", "bad", None))
    bench.check()


def test_the_guilty_event_of_a_transaction_is_found_and_the_others_commit(bench: Bench) -> None:
    calls: list[list[int]] = []

    def handle(events: Batch, context: Context) -> None:
        calls.append(numbers(events))
        for event in events:
            bench.note(event, context)
        if 3 in calls[-1]:
            raise ValueError("poison")

    results = bench.execute(handle, batch_size=5)
    assert (results.finished, results.failed) == ([1, 2], Failed(3, "error", "ValueError: poison", None))
    assert calls == [[1, 2, 3, 4, 5], [1], [2], [3]]
    bench.check(1, 2)


def test_a_batch_leaves_out_what_is_done(bench: Bench) -> None:
    bench.execute(noting(bench), 1, 3, batch_size=5)
    calls: list[list[int]] = []

    def handle(events: Batch, context: Context) -> Any:
        calls.append(numbers(events))
        bench.note(events[0], context)
        return DoneUpTo(1, Park("bad"))

    assert bench.execute(handle, batch_size=5) == Results([1, 2, 3], Failed(4, "park", "bad", None))
    assert calls == [[2, 4, 5]]
    bench.check(1, 2, 3)


@pytest.mark.parametrize("spoil", ["select 1 / 0", "rollback"])
def test_a_batch_that_spoils_its_transaction_has_failed(bench: Bench, spoil: str) -> None:
    def handle(events: Batch, context: Context) -> None:
        for event in events:
            bench.note(event, context)
            if event.event_number == 2:
                with contextlib.suppress(psycopg.Error):
                    context.connection.execute(spoil)
                return

    results = bench.execute(handle, batch_size=5)
    assert results.finished == [1]
    assert results.failed is not None
    assert (results.failed.number, results.failed.verdict) == (2, "error")
    assert "transaction failed or ended" in results.failed.reason
    bench.check(1)
