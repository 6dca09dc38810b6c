"""How a worker calls its handler: outcomes, and transactions that hold effects and ledger together."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from eventstore.handlers import Ack, Context, DoneUpTo, Park, Retry, Skip, Stop
from eventstore.handlers.resolve import DECLARED
from eventstore.runtime.messages import Failed
from eventstore.runtime.results import Delivered, Results
from eventstore.store import Connection, RecordedEvent
from eventstore.store.errors import ConfigurationError, Conflict, OwnershipLost, StoreUnavailable
from eventstore.tests.support.handling import Bench

Handler = Callable[[RecordedEvent, Context], Any]


MAY_RETURN = "it may return None, Ack, Retry, Skip, Park or Stop, and DoneUpTo where it takes batches"
OUTCOMES: Sequence[tuple[Any, Failed | None]] = [
    (None, None),
    (Ack(), None),
    (Retry(1.5, "later"), Failed(3, "retry", "later", 1.5)),
    (Retry(), Failed(3, "retry", "the handler asked for a retry", None)),
    (Park("later"), Failed(3, "park", "later", None)),
    (DoneUpTo(1), Failed(3, "error", f"the handler returned DoneUpTo; {MAY_RETURN}", None)),
    (Skip("no use"), Failed(3, "skip", "no use", None)),
    (Stop("enough"), Failed(3, "stop", "enough", None)),
    (42, Failed(3, "error", f"the handler returned int; {MAY_RETURN}", None)),
    (False, Failed(3, "error", f"the handler returned bool; {MAY_RETURN}", None)),
]
RAISED: Sequence[tuple[Exception, Failed | None]] = [
    *((outcome, failed) for outcome, failed in OUTCOMES if isinstance(outcome, Exception)),
    (ValueError("out of temper"), Failed(3, "error", "ValueError: out of temper", None)),
    (OSError("file \udcff"), Failed(3, "error", "OSError: file \\udcff", None)),
]

FAILURES = [(outcome, failed) for outcome, failed in [*OUTCOMES, *RAISED] if failed is not None]


def raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("outcome", "failed"), OUTCOMES)
def test_what_a_plain_handler_returns(bench: Bench, outcome: Any, failed: Failed | None) -> None:
    execution = bench.plain(lambda event, context: outcome if event.event_number == 3 else None)
    finished = [1, 2] if failed else [1, 2, 3, 4, 5]
    assert execution.execute(bench.batch(), bench.delivered) == Results(finished, failed, undo=failed is not None)


@pytest.mark.parametrize(("error", "failed"), RAISED)
def test_what_a_plain_handler_raises(bench: Bench, error: Exception, failed: Failed | None) -> None:
    execution = bench.plain(lambda event, context: raises(error) if event.event_number == 3 else None)
    finished = [1, 2] if failed else [1, 2, 3, 4, 5]
    assert execution.execute(bench.batch(), bench.delivered) == Results(finished, failed, undo=failed is not None)


def test_a_handler_sees_the_event_and_its_circumstances(bench: Bench) -> None:
    seen: list[tuple[Any, ...]] = []

    def handle(event: RecordedEvent, context: Context) -> None:
        seen.append((event.event_number, event.data, event.stream_uuid, context.attempt, context.subscription))
        assert context.schema == bench.schema
        with pytest.raises(ConfigurationError, match="transactional=True"):
            _ = context.connection

    execution = bench.plain(handle)
    delivered = Delivered(1, 1, attempts={2: 3})
    assert execution.execute(bench.batch(2), delivered) == Results([2])
    assert seen == [(2, 2, "a", 3, "s")]
    assert bench.transactional(handle).most == 7, "transaction_size"


def test_a_handler_sees_partition_and_replay(bench: Bench) -> None:
    seen: list[tuple[Any, ...]] = []

    def handle(event: RecordedEvent, context: Context) -> None:
        seen.append((context.event_number, context.is_replay, context.partition))

    delivered = Delivered(1, 1, replay_until=2)
    bench.plain(handle, partition_by="data.none").execute(bench.batch(1, 2, 3), delivered)
    bench.plain(handle, partition_by="category").execute(bench.batch(3), Delivered(1, 1))
    bench.plain(handle).execute(bench.batch(4), Delivered(1, 1))
    assert seen == [(1, True, None), (2, True, None), (3, False, None), (3, False, "a"), (4, False, None)]


def test_a_silent_past_is_finished_without_the_handler(bench: Bench) -> None:
    calls: list[int] = []
    for side_effects in ("live_only", "always"):
        execution = bench.plain(lambda event, context: calls.append(event.data), side_effects=side_effects)
        assert execution.execute(bench.batch(), Delivered(1, 1, live_after=3)) == Results([1, 2, 3, 4, 5])
    assert calls == [4, 5, 1, 2, 3, 4, 5]


SHAPES = """
    from eventstore import Skip

    def odd(event):
        return event.data % 2

    def picky(event):
        if event.data == 3:
            raise ValueError("not this one")
        return True

    def doubled(event):
        if event.data == 5:
            raise Skip("too large")
        return event.data * 2
"""


@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_what_is_not_selected_is_finished_and_the_handler_gets_what_the_mapper_returns(
    bench: Bench, module: Callable[..., str], kind: str
) -> None:
    name, seen = module(SHAPES), []
    execution = getattr(bench, kind)(
        lambda subject, context: seen.append(subject), selector=f"{name}:odd", mapper=f"{name}:doubled"
    )
    assert execution.execute(bench.batch(1, 2, 3, 4), bench.delivered) == Results([1, 2, 3, 4])
    assert seen == [2, 6]


@pytest.mark.parametrize("kind", ["plain", "transactional"])
@pytest.mark.parametrize(
    ("options", "finished", "failed"),
    [
        ({"selector": "picky"}, [1, 2], Failed(3, "error", "ValueError: not this one", None)),
        ({"mapper": "doubled"}, [1, 2, 3, 4], Failed(5, "skip", "too large", None)),
    ],
)
def test_what_selector_and_mapper_raise_is_the_answer_for_the_event(
    bench: Bench,
    module: Callable[..., str],
    kind: str,
    options: dict[str, str],
    finished: list[int],
    failed: Failed,
) -> None:
    name = module(SHAPES)
    given = {option: f"{name}:{function}" for option, function in options.items()}
    results = getattr(bench, kind)(lambda subject, context: None, **given).execute(bench.batch(), bench.delivered)
    assert (results.finished, results.failed) == (finished, failed)


def test_functions_of_the_decorator_shape_what_the_handler_gets(bench: Bench, module: Callable[..., str]) -> None:
    name = module("""
        from eventstore import handler

        seen = []

        @handler(name="s", selector=lambda event: event.data > 3, mapper=lambda event: -event.data)
        class Shaped:
            def handle(self, subject, context):
                seen.append(subject)
    """)
    shaped = importlib.import_module(name)
    execution = bench.plain(shaped.Shaped, handler=f"{name}:Shaped", selector=DECLARED, mapper=DECLARED)
    assert execution.execute(bench.batch(), bench.delivered) == Results([1, 2, 3, 4, 5])
    assert shaped.seen == [-4, -5]


def test_a_plain_handler_leaves_the_rest_for_later_when_its_time_is_over(bench: Bench) -> None:
    calls: list[int] = []
    execution = bench.plain(lambda event, context: calls.append(event.data))
    assert execution.execute(bench.batch(), bench.delivered, until=0.0) == Results([1])
    assert calls == [1]


@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_bytes_that_cannot_be_decoded_name_the_event(bench: Bench, kind: str) -> None:
    broken = list(bench.rows[2])
    broken[7] = b"\xff no json"
    bench.rows[2] = tuple(broken)
    execution = getattr(bench, kind)(lambda event, context: None)
    results = execution.execute(bench.batch(), bench.delivered)
    assert results.finished == [1, 2]
    assert (results.failed.number, results.failed.verdict) == (3, "error")
    assert results.failed.reason.startswith("DeserializationFailed: event 3 (")
    assert "type 'Happened'" in results.failed.reason


def test_effects_and_ledger_commit_together(bench: Bench, conn: Connection) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        assert (bench.effects(), bench.done()) == ([], []), "nothing is seen from outside yet"

    assert bench.execute(handle) == Results([1, 2, 3, 4, 5])
    bench.check(1, 2, 3, 4, 5)


@pytest.mark.parametrize(("outcome", "failed"), FAILURES)
def test_a_failure_undoes_its_effects_and_those_before_it_commit(bench: Bench, outcome: Any, failed: Failed) -> None:
    def handle(event: RecordedEvent, context: Context) -> Any:
        bench.note(event, context)
        if event.event_number != 3:
            return None
        return raises(outcome) if isinstance(outcome, Exception) else outcome

    assert bench.execute(handle) == Results([1, 2], failed)
    bench.check(1, 2)


def test_the_first_event_of_a_batch_may_fail_alone(bench: Bench) -> None:
    assert bench.execute(lambda event, context: Skip("all")) == Results([], Failed(1, "skip", "all", None))
    bench.check()


def test_one_that_fails_only_the_second_time_is_the_one_that_counts(bench: Bench) -> None:
    calls: list[int] = []

    def handle(event: RecordedEvent, context: Context) -> Any:
        calls.append(event.event_number)
        bench.note(event, context)
        if event.event_number == 4 or (event.event_number == 2 and calls.count(2) == 2):
            return Retry(1, f"event {event.event_number}")
        return None

    assert bench.execute(handle) == Results([1], Failed(2, "retry", "event 2", 1.0))
    assert calls == [1, 2, 3, 4, 1, 2, 1]
    bench.check(1)


def test_what_is_done_is_not_handled_again(bench: Bench) -> None:
    assert bench.execute(bench.note, 2, 4) == Results([2, 4])
    calls: list[int] = []

    def handle(event: RecordedEvent, context: Context) -> None:
        calls.append(event.event_number)
        bench.note(event, context)

    for _ in range(2):
        assert bench.execute(handle) == Results([1, 2, 3, 4, 5])
    assert calls == [1, 3, 5]
    bench.check(1, 2, 3, 4, 5)


def test_a_former_owner_writes_nothing(bench: Bench) -> None:
    former, bench.delivered = bench.delivered, bench.own()
    with pytest.raises(OwnershipLost):
        bench.transactional(bench.note).execute(bench.batch(), former)
    bench.check()
    assert bench.execute(bench.note) == Results([1, 2, 3, 4, 5])


def test_an_owner_that_is_superseded_while_its_handler_runs_writes_nothing(bench: Bench) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        if event.event_number == 3:
            bench.own()

    with pytest.raises(OwnershipLost):
        bench.execute(handle)
    bench.check()


def test_a_conflict_is_tried_again_and_counts_as_no_attempt(bench: Bench) -> None:
    calls: list[int] = []

    def handle(event: RecordedEvent, context: Context) -> None:
        calls.append(event.event_number)
        bench.note(event, context)
        if calls.count(2) == 1 and event.event_number == 2:
            context.connection.execute("do $$ begin raise serialization_failure; end $$")

    assert bench.execute(handle) == Results([1, 2, 3, 4, 5])
    assert calls == [1, 2, 1, 2, 3, 4, 5]
    bench.check(1, 2, 3, 4, 5)


def test_a_conflict_that_does_not_pass_is_handed_on(bench: Bench) -> None:
    calls: list[int] = []

    def handle(event: RecordedEvent, context: Context) -> None:
        calls.append(event.event_number)
        context.connection.execute("do $$ begin raise deadlock_detected; end $$")

    with pytest.raises(Conflict):
        bench.execute(handle)
    assert calls == [1] * 5
    bench.check()


def test_an_event_that_another_transaction_has_done_meanwhile_is_left_out_the_second_time(bench: Bench) -> None:
    other = bench.transactional(lambda event, context: None, bench.conn)
    calls: list[int] = []

    def handle(event: RecordedEvent, context: Context) -> None:
        calls.append(event.event_number)
        if calls == [1]:
            other.execute(bench.batch(2), bench.delivered)
        bench.note(event, context)

    assert bench.execute(handle, 1, 2, 3) == Results([1, 2, 3])
    assert calls == [1, 2, 3, 1, 3]
    assert (bench.effects(), bench.done()) == ([1, 3], [1, 2, 3])


def test_a_violated_constraint_is_the_fault_of_the_event(bench: Bench) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        if event.event_number == 3:
            bench.note(event, context)

    results = bench.execute(handle)
    assert results.finished == [1, 2]
    assert results.failed is not None
    assert (results.failed.number, results.failed.verdict) == (3, "error")
    assert results.failed.reason.startswith("UniqueViolation: ")
    bench.check(1, 2)


def swallows(event: RecordedEvent, context: Context) -> None:
    try:
        context.connection.execute("select 1 / 0")
    except psycopg.Error:
        return


def ends_the_transaction(event: RecordedEvent, context: Context) -> None:
    context.connection.execute("rollback")


@pytest.mark.parametrize("spoil", [swallows, ends_the_transaction])
def test_a_handler_that_leaves_its_transaction_failed_or_ended_has_failed(bench: Bench, spoil: Handler) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        if event.event_number == 3:
            spoil(event, context)

    results = bench.execute(handle)
    assert results.finished == [1, 2]
    assert results.failed is not None
    assert (results.failed.number, results.failed.verdict) == (3, "error")
    assert results.failed.reason.startswith("the handler returned with its transaction failed or ended; ")
    bench.check(1, 2)


def test_a_handler_may_catch_an_error_in_a_transaction_of_its_own(bench: Bench) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        with pytest.raises(psycopg.errors.UniqueViolation), context.connection.transaction():
            bench.note(event, context)

    assert bench.execute(handle) == Results([1, 2, 3, 4, 5])
    bench.check(1, 2, 3, 4, 5)


@pytest.mark.parametrize("catches", [False, True])
def test_a_lost_connection_counts_as_no_attempt(bench: Bench, catches: bool) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        if event.event_number == 3:
            bench.conn.execute("select pg_terminate_backend(%s)", (context.connection.info.backend_pid,))
            try:
                context.connection.execute("select 1")
            except psycopg.Error:
                if not catches:
                    raise

    with pytest.raises(StoreUnavailable):
        bench.execute(handle)
    assert (bench.effects(), bench.done()) == ([], [])


def test_a_commit_that_is_refused_is_the_fault_of_the_event_behind_it(bench: Bench) -> None:
    """A deferred constraint speaks up at the commit only, when all events of the batch are through."""
    bench.conn.execute(
        SQL("create table {} (n int unique deferrable initially deferred)").format(Identifier(bench.schema, "late"))
    )
    insert = SQL("insert into {} values (%s)").format(Identifier(bench.schema, "late"))

    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        context.connection.execute(insert, (2 if event.event_number == 4 else event.event_number,))

    results = bench.execute(handle)
    assert results.finished == [1, 2, 3]
    assert results.failed is not None
    assert (results.failed.number, results.failed.verdict) == (4, "error")
    assert results.failed.reason.startswith("the commit was refused: ")
    bench.check(1, 2, 3)


def test_a_handler_that_exits_has_failed_and_its_worker_lives(bench: Bench) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        raise SystemExit(3)

    failed = Failed(1, "error", "SystemExit: 3", None)
    for execution in (bench.plain(handle), bench.transactional(handle)):
        assert execution.execute(bench.batch(1), bench.delivered).failed == failed


def test_a_statement_of_the_handler_that_takes_too_long_counts_as_an_attempt(bench: Bench) -> None:
    """Else a query that is always too slow would bring its worker back for ever."""

    def handle(event: RecordedEvent, context: Context) -> None:
        bench.note(event, context)
        context.connection.execute("set local statement_timeout = 1")
        context.connection.execute("select pg_sleep(60)")

    results = bench.execute(handle, 1)
    assert results.failed is not None
    assert (results.failed.number, results.failed.verdict) == (1, "error")
    assert "QueryCanceled" in results.failed.reason
    bench.check()


def test_a_conflict_of_a_store_used_inside_the_transaction_counts_as_no_attempt(bench: Bench) -> None:
    calls: list[int] = []

    def handle(event: RecordedEvent, context: Context) -> None:
        calls.append(event.event_number)
        bench.note(event, context)
        if len(calls) == 1:
            raise Conflict("another transaction was in the way: try again")

    assert bench.execute(handle, 1) == Results([1])
    assert calls == [1, 1]
    bench.check(1)
