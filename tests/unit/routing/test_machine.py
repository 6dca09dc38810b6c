"""The routing machine by example: each rule, and each defect of older designs, as a short story."""

from __future__ import annotations

import pytest

from eventstore.runtime.routing import Phase, RoutingOptions, inputs
from eventstore.runtime.routing.effects import Deliver, Drained, Read, Recall, SaveCheckpoint, StartRetryTimer
from eventstore.runtime.routing.retry import retry_delay
from eventstore.runtime.routing.state import Halted
from eventstore.tests.unit.routing.simulation import Worker, World, world


def delivered(worker: Worker) -> list[int]:
    """The numbers that wait in a worker's inbox and buffer."""
    waiting = [e.number for m in worker.inbox if isinstance(m, Deliver) for e in m.entries]
    return [e.number for e in worker.buffer] + waiting


def take_all(*workers: Worker) -> None:
    for worker in workers:
        while worker.inbox:
            worker.receive()


# Catching up and live


def test_it_catches_up_from_the_checkpoint_then_is_live() -> None:
    made, _ = world("a", "b", "c")
    made.settle()
    assert made.phase is Phase.LIVE
    assert made.calls == [1, 2, 3]
    assert made.stored == 3


def test_it_starts_after_last_seen() -> None:
    made, _ = world("a", "b", "c", owned=False)
    made.stored, made.finished = 2, {1, 2}
    made.own()
    made.settle()
    assert made.calls == [3]


def test_a_notification_is_only_a_hint_and_a_doubled_or_old_one_costs_no_read() -> None:
    made, _ = world("a")
    made.settle()
    made.happened(inputs.Appended(1))
    made.happened(inputs.Appended(1))
    assert not made.reads


def test_one_read_answers_many_notifications() -> None:
    made, _ = world()
    made.settle()
    made.append("a", "b", "c")
    for position in (1, 2, 3):
        made.happened(inputs.Appended(position))
    assert len(made.reads) == 1


def test_a_read_of_an_earlier_ownership_is_dropped() -> None:
    made, (worker,) = world("a")
    stale = made.reads.popleft()
    made.disown()
    made.own()
    made.happened(inputs.PageRead(stale.serial, [], 1, complete=True))
    made.settle()
    assert made.calls == [1]
    assert not worker.buffer


def test_a_failed_read_is_asked_for_again() -> None:
    made, _ = world("a")
    made.answer_read(fails=True)
    assert made.reads, "the read is due again at once: the shell decides how soon"
    made.settle()
    assert made.stored == 1


def test_a_hard_delete_at_the_tail_leads_to_no_busy_loop() -> None:
    """Defect 4 of the original: an empty read below the head asked for another catch-up, for ever."""
    made, _ = world("a", "a", "a")
    made.notify()
    made.delete(3)
    made.settle()
    assert made.phase is Phase.LIVE
    assert made.stored == 3, "the checkpoint passes what was deleted"
    assert not made.reads


def test_gaps_are_normal() -> None:
    made, _ = world("a", "b", "c", "d", owned=False)
    made.delete(2)
    made.delete(3)
    made.own()
    made.settle()
    assert made.calls == [1, 4]
    assert made.stored == 4


# Round-robin and partitions


def test_without_a_key_events_go_round_robin() -> None:
    _made, workers = world(*[None] * 6, workers=3, capacity=2)
    _made.answer_read()
    assert [delivered(worker) for worker in workers] == [[1, 4], [2, 5], [3, 6]]


def test_a_partition_is_at_one_subscriber_until_all_its_events_are_acked() -> None:
    """Defect 2 of the original: with a buffer above 1 an earlier key in flight was forgotten."""
    made, (one, two) = world("a", "b", "c", "a", workers=2, capacity=2)
    made.answer_read()
    assert delivered(one) == [1, 3]
    assert delivered(two) == [2], "event 4 waits for subscriber one, which has event 1 of the same key"
    take_all(one, two)
    made.handle(one)
    made.hear(one)
    take_all(one, two)
    assert 4 in delivered(one) + delivered(two)
    made.settle()


def test_a_partition_that_is_free_again_may_move_to_another_subscriber() -> None:
    made, (one, two) = world("a", "b", workers=2)
    made.answer_read()
    take_all(one, two)
    made.handle(one)
    made.hear(one)
    made.append("c", "a")
    made.notify()
    made.answer_read()
    assert delivered(one) == [3]
    made.handle(two)
    made.hear(two)
    assert delivered(two) == [4]


def test_a_slow_partition_does_not_stop_the_others() -> None:
    """Defect 3 of the original: the queue was refilled only when empty, so one slow key stopped all."""
    keys = ["a", *["b"] * 3, "a", "a", *["b"] * 57]
    made, (one, two) = world(*keys, workers=2, max_size=10, page_size=10)
    made.answer_read()
    take_all(one, two)
    made.settle(stuck=frozenset({"a"}))
    done = [n for n in made.finished if keys[n - 1] == "b"]
    assert len(done) == 60
    assert made.stored == 0, "event 1 is not finished"


def test_a_hungry_subscriber_gets_events_even_when_little_room_is_left() -> None:
    keys = ["a", "a", "a", *["b"] * 5]
    made, (one, two) = world(*keys, workers=2, max_size=4, page_size=4)
    made.answer_read()
    take_all(one, two)
    made.settle(stuck=frozenset({"a"}))
    assert made.finished == {4, 5, 6, 7, 8}, "one place is left beside the three of the slow key"


def test_no_partition_starves_another_at_a_single_subscriber() -> None:
    made, (worker,) = world(*["hot"] * 20, "cold", capacity=2, max_size=30)
    made.answer_read()
    for _ in range(21):
        take_all(worker)
        made.handle(worker)
        made.hear(worker)
    assert made.finished == set(range(1, 22))
    assert made.calls == list(range(1, 22)), "oldest first"


# Back-pressure


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_in_flight_never_exceeds_the_buffer(capacity: int) -> None:
    made, (worker,) = world(*[None] * 20, capacity=capacity)
    made.answer_read()
    assert len(delivered(worker)) == capacity
    made.settle()
    assert made.stored == 20


def test_a_subscriber_that_wants_fewer_gets_fewer() -> None:
    made, (worker,) = world(*[None] * 20, capacity=4)
    made.answer_read()
    made.happened(inputs.Acked(worker.name, [1], 2))
    assert made.machine.in_flight == 3, "what is in flight stays"
    made.happened(inputs.Acked(worker.name, [2, 3], 2))
    assert made.machine.in_flight == 2
    made.happened(inputs.Acked(worker.name, [], 4))
    assert made.machine.in_flight == 4


def test_memory_is_bounded_whatever_the_backlog() -> None:
    made, _ = world(*[None] * 100, capacity=3, max_size=10, page_size=4)
    most = 0
    while made.reads or made.machine.in_flight:
        if made.reads:
            made.answer_read()
        most = max(most, made.machine.unfinished)
        made._settle_once(frozenset())
    assert most == 10
    made.settle()
    assert made.stored == 100


def test_it_reads_on_before_the_queue_is_empty() -> None:
    made, (worker,) = world(*[None] * 20, max_size=10, page_size=5)
    made.answer_read()
    made.answer_read()
    assert not made.reads
    take_all(worker)
    while not made.reads:
        made.handle(worker)
        made.hear(worker)
        take_all(worker)
    assert made.machine.unfinished >= 5


def test_numbers_finished_behind_a_stuck_event_are_bounded() -> None:
    made, (one, two) = world("stuck", *[None] * 500, workers=2, max_size=10, page_size=10)
    made.answer_read()
    take_all(one, two)
    made.settle(stuck=frozenset({"stuck"}))
    assert len(made.finished) < made.machine.options.max_span + 10
    assert not one.outbox
    assert made.stored == 0


# Checkpoints


def test_the_checkpoint_waits_for_the_lowest_unfinished_event() -> None:
    made, (one, two) = world(None, None, None, workers=2)
    made.answer_read()
    take_all(one, two)
    made.handle(two)
    made.hear(two)
    take_all(one, two)
    made.handle(two)
    made.hear(two)
    assert made.finished == {2, 3}
    made.settle(stuck=frozenset({None}))
    assert made.stored == 0
    made.handle(one)
    made.hear(one)
    made.settle()
    assert made.stored == 3


def test_the_threshold_and_the_end_of_a_catch_up_save_at_once_and_the_timer_the_rest() -> None:
    made, (worker,) = world(*[None] * 3, capacity=3, checkpoint_threshold=2)
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.hear(worker)
    assert not made.saves
    made.handle(worker)
    made.hear(worker)
    assert [save.position for save in made.saves] == [2]
    made.answer_request()
    made.handle(worker)
    made.hear(worker)
    assert [save.position for save in made.saves] == [3], "the catch-up has ended"
    made.answer_request()
    while made.checkpoint_timers:
        made.fire_checkpoint_timer()
    made.append(None)
    made.notify()
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.hear(worker)
    assert not made.saves
    made.fire_checkpoint_timer()
    assert [save.position for save in made.saves] == [4]


def test_the_checkpoint_timer_does_not_end_the_catch_up() -> None:
    """Defect 1 of the original: the timer made it live in the middle of a catch-up, and events were skipped."""
    made, (worker,) = world(*[None] * 30, max_size=10, page_size=10, checkpoint_threshold=100)
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.hear(worker)
    made.fire_checkpoint_timer()
    assert made.phase is Phase.CATCHING_UP
    made.append(*[None] * 5)
    made.notify()
    made.settle()
    assert made.calls == list(range(1, 36))


def test_a_checkpoint_that_could_not_be_written_stays_due() -> None:
    """Defect of the original: a failed write was forgotten until the next ack."""
    made, (worker,) = world(None)
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.hear(worker)
    made.answer_request(fails=True)
    assert made.checkpoint_timers == 1
    made.settle()
    assert made.stored == 1


def test_only_one_checkpoint_is_written_at_a_time() -> None:
    made, (worker,) = world(*[None] * 4, capacity=4, checkpoint_threshold=1)
    made.answer_read()
    take_all(worker)
    for _ in range(4):
        made.handle(worker)
        made.hear(worker)
    assert len(made.saves) == 1
    made.answer_request()
    assert [save.position for save in made.saves] == [4]


# Subscribers come and go


def test_a_dead_subscribers_events_go_to_another_in_order() -> None:
    made, (one, two) = world("a", "a", "b", "a", workers=2, capacity=3)
    made.answer_read()
    assert delivered(one) == [1, 2, 4]
    made.kill(one)
    assert delivered(two) == [3, 1, 2]
    made.settle()
    assert made.calls == [3, 1, 2, 4]


def test_acks_that_a_subscriber_sent_before_it_died_count() -> None:
    made, (one, two) = world("a", "b", "a", workers=2)
    made.answer_read()
    take_all(one, two)
    made.handle(one)
    made.kill(one)
    made.settle()
    assert made.calls.count(1) == 1


def test_unknown_and_doubled_acks_are_tolerated() -> None:
    made, (worker,) = world(None, None)
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.hear(worker)
    made.happened(inputs.Acked(worker.name, [1, 99]))
    made.happened(inputs.Acked("nobody", [2]))
    assert made.machine.checkpoint == 0
    made.settle()
    assert made.calls == [1, 2]


def test_nothing_is_delivered_until_a_worker_of_before_is_done() -> None:
    """After a new ownership, what a busy worker still runs must not run at another one at the same time."""
    made, (one, two) = world("a", workers=2)
    made.answer_read()
    take_all(one, two)
    made.disown()
    made.own()
    made.answer_read()
    assert delivered(two) == []
    take_all(one)
    made.hear(one)
    assert delivered(one) + delivered(two) == [1]
    made.settle()


def test_nothing_is_delivered_while_a_worker_that_may_be_busy_is_expected() -> None:
    made, (one,) = world("a", owned=False)
    made.happened(inputs.Expected("two"))
    made.own()
    made.answer_read()
    assert delivered(one) == []
    made.happened(inputs.Left("two"))
    assert delivered(one) == [1]


# Ownership


def test_without_the_lock_nothing_is_read_or_delivered() -> None:
    made, _ = world("a", owned=False)
    made.notify()
    assert made.phase is Phase.WAITING
    assert not made.reads


def test_a_lost_ownership_recalls_busy_workers_and_drops_everything() -> None:
    made, (one, two) = world("a", workers=2)
    made.answer_read()
    take_all(one, two)
    made.disown()
    assert made.phase is Phase.WAITING
    assert made.machine.unfinished == 0
    assert [type(message) for message in one.inbox] == [Recall]
    assert not two.inbox
    made.happened(inputs.Acked(one.name, [1]))
    assert not made.saves, "a late ack of a lost ownership moves no checkpoint"


# Failures


def test_a_failed_event_is_retried_and_holds_back_its_partition_only() -> None:
    made, (worker,) = world("a", "a", "b", capacity=3)
    made.answer_read()
    take_all(worker)
    made.fail(worker)
    made.hear(worker)
    take_all(worker)
    assert [entry.number for entry in worker.buffer] == [3], "event 2 waits behind event 1"
    made.fire_retry()
    made.settle()
    assert made.calls == [1, 3, 1, 2]
    assert made.stored == 3


def test_deliveries_that_crossed_a_failure_are_made_again() -> None:
    made, (worker,) = world("a", "b", "c", capacity=2)
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.fail(worker)
    made.hear(worker)
    assert delivered(worker) == [3], "sent before the machine heard of the failure"
    take_all(worker)
    assert made.workers[worker.name].buffer == type(worker.buffer)(), "dropped: of an older generation"
    made.hear(worker)
    made.settle()
    assert sorted(made.finished) == [1, 2, 3]


def test_the_attempt_number_goes_with_the_delivery() -> None:
    made, (worker,) = world("a")
    made.answer_read()
    take_all(worker)
    made.fail(worker)
    made.hear(worker)
    made.fire_retry()
    assert not worker.inbox, "the attempt is stored before the event comes again"
    made.answer_request()
    (delivery,) = worker.inbox
    assert isinstance(delivery, Deliver)
    assert delivery.attempts == {1: 2}


def test_used_up_attempts_halt_the_subscription_at_the_event() -> None:
    made, (worker,) = world("a", "b", max_attempts=2)
    made.answer_read()
    for _ in range(2):
        take_all(worker)
        while worker.buffer[0].number != 1:
            made.handle(worker)
            made.hear(worker)
            take_all(worker)
        made.fail(worker)
        made.hear(worker)
        if made.retries:
            made.answer_request()
            made.fire_retry()
    assert made.phase is Phase.HALTED
    assert made.halted == 1
    made.settle()
    assert made.stored == 0


def test_used_up_attempts_skip_where_that_is_wished() -> None:
    made, (worker,) = world("a", "a", max_attempts=1, on_exhausted="skip")
    made.answer_read()
    take_all(worker)
    made.fail(worker)
    made.hear(worker)
    made.settle()
    assert made.calls == [1, 2]
    assert made.stored == 2


def test_a_retry_that_the_handler_asked_for_is_never_exhausted() -> None:
    made, (worker,) = world("a", max_attempts=2)
    made.answer_read()
    for _ in range(5):
        take_all(worker)
        made.fail(worker, "retry")
        made.hear(worker)
        made.fire_retry()
    assert made.phase is Phase.LIVE
    made.settle()
    assert made.stored == 1


def test_stop_halts_and_an_operator_has_it_tried_again() -> None:
    made, (worker,) = world("a", "b")
    made.answer_read()
    take_all(worker)
    made.fail(worker, "stop")
    made.hear(worker)
    assert made.phase is Phase.HALTED
    made.disown()
    made.own()
    assert made.phase is Phase.HALTED, "what halted stays so until an operator wants otherwise"
    made.resume()
    made.settle()
    assert made.phase is Phase.LIVE
    assert made.stored == 2


def test_a_partition_function_that_fails_halts_at_the_event() -> None:
    made, _ = world("a")
    effects = made.happened(inputs.Halt(1, "partition_by failed"))
    assert Halted(1, "partition_by failed") in effects
    assert made.phase is Phase.HALTED


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"), [(1, 0.0, 1.0), (2, 0.0, 2.0), (4, 0.0, 8.0), (9, 0.0, 60.0), (500, 0.5, 52.5)]
)
def test_the_wait_doubles_up_to_its_longest(attempt: int, jitter: float, seconds: float) -> None:
    options = RoutingOptions(retry_backoff_min=1.0, retry_backoff_max=60.0)
    assert retry_delay(attempt, options, jitter) == seconds


def test_a_wait_named_by_the_handler_is_taken() -> None:
    made, (worker,) = world("a")
    made.answer_read()
    effects = made.happened(inputs.Failed(worker.name, 1, "retry", "later", 7.5, 0.0))
    assert [e.seconds for e in effects if isinstance(e, StartRetryTimer)] == [7.5]


# The end


def test_drain_recalls_saves_and_stops() -> None:
    made, (worker,) = world("a", "b", capacity=2)
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.happened(inputs.Drain())
    assert made.phase is Phase.DRAINING
    assert not made.drained
    made.settle()
    assert made.drained
    assert made.phase is Phase.STOPPED
    assert made.stored == 1, "event 2 was not begun; it comes again at the next start"


@pytest.mark.parametrize("joins", [True, False])
def test_drain_is_over_when_the_last_expected_worker_is_heard_of(joins: bool) -> None:
    """It was not: a node that was stopped just after its listener had come back waited out its grace time."""
    made, _ = world("a")
    made.expect()
    made.drain()
    assert not made.drained
    if joins:
        made.expected_joins()
    else:
        made.expected_is_gone()
    assert made.drained


def test_drain_without_the_lock_is_over_at_once() -> None:
    made, _ = world("a", owned=False)
    assert made.happened(inputs.Drain()) == [Drained()]


def test_drain_is_over_when_the_ownership_is_lost() -> None:
    made, (worker,) = world("a")
    made.answer_read()
    take_all(worker)
    made.happened(inputs.Drain())
    made.disown()
    assert made.drained


def test_nothing_is_owned_again_after_a_drain() -> None:
    made, _ = world("a")
    made.happened(inputs.Drain())
    made.settle()
    assert made.happened(inputs.Owned(9, None)) == []
    assert made.phase is Phase.STOPPED


def test_idle_says_that_everything_is_read_finished_and_saved() -> None:
    made, _ = world("a")
    assert not made.machine.idle
    made.settle()
    assert made.machine.idle
    made.append("a")
    made.notify()
    assert not made.machine.idle


def test_every_input_is_answered_in_every_phase() -> None:
    """A message that comes at an odd time changes nothing it should not, and never fails."""
    stray: list[inputs.Input] = [
        inputs.Disowned(),
        inputs.Appended(1),
        inputs.PageRead(99, [], 5, complete=True),
        inputs.ReadFailed(99),
        inputs.Left("nobody"),
        inputs.Acked("nobody", [1]),
        inputs.Failed("nobody", 1, "error", "", None, 0.0),
        inputs.Recalled("nobody"),
        inputs.RetryDue(1),
        inputs.CheckpointDue(),
        inputs.CheckpointFailed(),
        inputs.CheckpointSaved(0),
        inputs.Drain(),
    ]
    for first in stray:
        for second in stray:
            made = World(RoutingOptions())
            for message in (first, second):
                effects = made.happened(message)
                assert not any(isinstance(effect, Deliver | Read | SaveCheckpoint) for effect in effects)


# A subscriber dies of an event


def test_what_was_undone_with_a_dead_workers_event_comes_before_it_again() -> None:
    """A transaction of several events of one partition is rolled back by the death of its worker."""
    made, (worker,) = world("a", "a", "a", capacity=3)
    made.answer_read()
    take_all(worker)
    made.die(worker, undone=1)
    made.join(3)
    made.calls.clear()
    made.settle()
    assert made.calls == [1, 2, 3]


def test_a_death_is_counted_before_the_event_comes_again_and_for_it_alone() -> None:
    made, (worker,) = world("a", "b", capacity=2)
    made.answer_read()
    take_all(worker)
    made.die(worker, undone=1)
    assert made.tried == {}
    second = made.join(2)
    take_all(second)
    assert [entry.number for entry in second.buffer] == [1], "the other goes on at once"
    made.fire_retry()
    assert not second.inbox, "it waits for its count to be stored"
    made.answer_request()
    assert (made.tried[2].attempts, made.tried[2].crashes) == (2, 1)
    (delivery,) = second.inbox
    assert isinstance(delivery, Deliver)
    assert (delivery.attempts, [entry.number for entry in delivery.entries]) == ({2: 2}, [2])


def test_what_a_dead_worker_had_finished_is_not_handled_again() -> None:
    made, (worker,) = world("a", "b", "c", capacity=3)
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.handle(worker)
    made.die(worker, unsent=2)
    made.join(3)
    made.settle()
    assert made.calls == [1, 2, 3, 3]
    assert made.stored == 3


def test_an_event_that_kills_as_often_as_it_may_halts_and_is_delivered_no_more() -> None:
    made, (worker,) = world("a", "a", max_crashes=2)
    made.answer_read()
    for _ in range(2):
        take_all(worker)
        made.die(worker)
        worker = made.join()
        if made.retries:
            made.answer_request()
            made.fire_retry()
    assert made.phase is Phase.HALTED
    assert made.halted == 1
    made.settle()
    made.disown()
    made.halt = None
    made.own()
    made.settle()
    assert made.phase is Phase.HALTED, "the next owner does not even try"
    assert made.calls.count(1) == 2


def test_of_a_batch_each_is_called_alone_after_a_death() -> None:
    made, (worker,) = world("a", "b", "c", capacity=3)
    made.answer_read()
    take_all(worker)
    made.die(worker, batch=2)
    second = made.join(3)
    (delivery,) = second.inbox
    assert isinstance(delivery, Deliver)
    assert delivery.attempts == {1: 1, 2: 1}


def test_after_two_owners_without_progress_events_come_one_by_one_and_stored_as_begun() -> None:
    made, (worker,) = world("a", "b", "c", capacity=3, owned=False, max_crashes=2)
    made.own(unclean=2)
    made.answer_read()
    assert not worker.inbox
    made.answer_request()
    (delivery,) = worker.inbox
    assert isinstance(delivery, Deliver)
    assert [entry.number for entry in delivery.entries] == [1]
    assert delivery.attempts == {1: 1}
    assert (made.tried[1].attempts, made.tried[1].crashes) == (2, 1), "should the node die of it, its successor knows"
    made.own(unclean=3)
    made.settle()
    assert made.calls == [1, 2, 3]
    assert made.stored == 3


def test_an_event_that_killed_two_nodes_is_given_up_by_the_third() -> None:
    made, (worker,) = world("a", "b", owned=False, max_crashes=2, on_exhausted="skip")
    for nodes in (2, 3):
        made.own(unclean=nodes)
        take_all(worker)
        made.settle(stuck=frozenset({"a", "b"}))
    made.own(unclean=4)
    made.settle()
    assert made.passed_over == {1}
    assert 1 not in made.calls


# Parked events


def parked(*keys: object, **options: object) -> World:
    """A world whose first event failed for good and is parked, in which all others were handled or held."""
    made, (worker,) = world(*keys, capacity=3, **{"max_attempts": 1, "on_exhausted": "park_partition", **options})  # type: ignore[arg-type]
    made.answer_read()
    take_all(worker)
    made.fail(worker)
    made.hear(worker)
    made.settle()
    return made


def test_a_parked_partition_holds_what_comes_behind_and_nothing_else() -> None:
    made = parked("a", "b", "a", None)
    assert {number: row.state for number, row in made.rows.items()} == {1: "parked", 3: "held"}
    assert made.calls == [1, 2, 4]
    assert made.stored == 4, "the checkpoint does not wait for parked events"
    made.append("a", "b")
    made.notify()
    made.settle()
    assert made.rows[5].state == "held"
    assert made.calls == [1, 2, 4, 6]


def test_what_is_held_follows_in_order_when_the_parked_event_is_retried() -> None:
    made = parked("a", "b", "a", "a")
    made.append("a")
    made.notify()
    made.decide(1, "retry")
    made.look_for_parked()
    made.append("a")
    made.notify()
    made.settle()
    assert made.calls == [1, 2, 1, 3, 4, 5, 6]
    assert not made.rows
    assert made.machine.parked == 0
    made.append("a")
    made.notify()
    made.settle()
    assert made.calls[-1] == 7, "the partition is open again"


def test_what_is_held_follows_when_the_parked_event_is_discarded() -> None:
    made = parked("a", "a")
    made.decide(1, "discard")
    made.look_for_parked()
    made.settle()
    assert made.calls == [1, 2]
    assert not made.rows


def test_an_event_that_fails_again_is_parked_again_and_what_follows_stays_held() -> None:
    made = parked("a", "a")
    made.decide(1, "retry")
    made.look_for_parked()
    (worker,) = made.workers.values()
    take_all(worker)
    made.fail(worker)
    made.hear(worker)
    made.settle()
    assert {number: row.state for number, row in made.rows.items()} == {1: "parked", 2: "held"}
    assert made.calls == [1, 1]


def test_a_retried_parked_event_that_kills_nodes_is_parked_again() -> None:
    made = parked("a", "a", max_crashes=2)
    (worker,) = made.workers.values()
    made.decide(1, "retry")
    made.own(unclean=2)
    for unclean in (3, 4):
        made.settle(stuck=frozenset("a"))
        assert [entry.number for entry in worker.buffer] == [1]
        worker.buffer.clear()
        made.own(unclean=unclean)
    made.settle(stuck=frozenset("a"))
    assert {number: row.state for number, row in made.rows.items()} == {1: "parked", 2: "held"}
    assert not worker.buffer
    made.decide(1, "retry")
    made.look_for_parked()
    made.settle()
    assert made.calls == [1, 1, 2], "an operator's next try has a fresh count"


def test_parking_an_event_alone_lets_its_partition_go_on() -> None:
    made = parked("a", "a", on_exhausted="park")
    assert list(made.rows) == [1]
    assert made.calls == [1, 2]


def test_beyond_the_limit_the_subscription_halts_instead_of_dropping() -> None:
    made = parked("a", "a", "a", max_parked_per_partition=2)
    assert sorted(made.rows) == [1, 2]
    assert made.phase is Phase.HALTED
    assert made.halted == 3
    assert made.stored == 2


@pytest.mark.parametrize("policy", ["park", "park_partition"])
@pytest.mark.parametrize("state", ["retry", "discard"])
def test_what_operators_take_out_of_a_full_park_makes_room_when_the_subscription_is_resumed(
    policy: str, state: str
) -> None:
    made, (worker,) = world(*["a"] * 4, capacity=3, max_attempts=1, on_exhausted=policy, max_parked=2)
    while made.phase is not Phase.HALTED:
        made.settle(stuck=frozenset("a"))
        if worker.buffer:
            made.fail(worker)
        made.settle(stuck=frozenset("a"))
    assert (sorted(made.rows), made.halted) == ([1, 2], 3)
    for number in (1, 2):
        made.decide(number, state)
    made.resume()
    made.settle()
    assert made.phase is Phase.LIVE
    assert not made.rows
    assert made.handled | made.passed_over == {1, 2, 3, 4}


def test_a_parked_event_is_known_to_the_next_owner_though_the_checkpoint_is_before_it() -> None:
    made, (worker,) = world("a", "b", "b", capacity=2, max_attempts=1, on_exhausted="park")
    made.answer_read()
    take_all(worker)
    made.handle(worker)
    made.fail(worker)
    made.hear(worker)
    made.hear(worker)
    while made.requests:
        made.answer_request(fails=True)
    assert (made.stored, list(made.rows)) == (0, [2])
    made.own()
    made.settle()
    assert made.calls.count(2) == 1
    assert made.stored == 3


# Operators


def test_a_paused_subscription_finishes_what_is_begun_and_delivers_nothing_more() -> None:
    made, (worker,) = world("a", "b", "c", capacity=1)
    made.answer_read()
    take_all(worker)
    made.pause(paused=True)
    made.handle(worker)
    made.settle()
    assert (made.phase, made.calls, made.stored) == (Phase.PAUSED, [1], 1)
    made.pause(paused=False)
    made.settle()
    assert (made.phase, made.calls, made.stored) == (Phase.LIVE, [1, 2, 3], 3)


def test_a_skipped_event_is_left_out_when_it_comes() -> None:
    made, _ = world("a", "a")
    made.skip(1)
    made.settle()
    assert made.calls == [2]
    assert made.stored == 2


# Placement and bytes


def test_a_pinned_partition_stays_with_its_place_while_the_workers_stay() -> None:
    keys = [f"k{number}" for number in range(40)]
    made, _ = world(*keys, workers=2, capacity=40, pinned=True, max_size=200)
    homes: dict[object, str] = {}
    for _ in range(3):
        made.notify()
        made.answer_read()
        for worker in made.workers.values():
            take_all(worker)
            for entry in worker.buffer:
                assert homes.setdefault(entry.key, worker.name) == worker.name
        made.settle()
        made.append(*keys)
    assert set(homes.values()) == set(made.workers), "both have their share"


def test_a_read_asks_for_no_more_bytes_than_there_is_room_for() -> None:
    made, _ = world(*["a"] * 10, workers=0, max_bytes=35)
    assert made.reads[0].max_bytes == 35
    made.answer_read()
    assert made.machine.unfinished_bytes == 30
    assert not made.reads, "the rest waits in the database"


# What goes wrong where nobody looks


def test_an_event_that_is_given_up_while_paused_halts_and_is_not_lost() -> None:
    made, (worker,) = world("a", "a", "b", capacity=1, max_attempts=1)
    made.answer_read()
    take_all(worker)
    made.pause(paused=True)
    made.fail(worker)
    made.settle()
    assert (made.phase, made.halted) == (Phase.HALTED, 1)
    made.paused = False
    made.resume()
    made.settle()
    assert made.phase is Phase.LIVE
    assert made.stored == 3


def test_an_event_that_outlived_its_careful_delivery_is_not_blamed_for_what_other_nodes_died_of() -> None:
    """The first event waits for its retry while node after node is killed; the others were handled each time."""
    made, (worker,) = world("a", "b", "c", capacity=3, owned=False, max_crashes=2, on_exhausted="skip")
    for unclean in (2, 3, 4, 5):
        made.own(unclean=unclean)
        made.answer_read()
        for _ in range(3):
            while made.requests:
                made.answer_request()
            take_all(worker)
            if worker.buffer[0].key == "a":
                made.fail(worker, "retry")
            else:
                made.handle(worker)
            made.hear(worker)
        while made.requests:
            made.answer_request()
        made.retries.clear()
        assert {number: tried.crashes for number, tried in made.tried.items()} == {1: 0, 2: 0, 3: 0}
    made.own()
    made.settle()
    assert not made.passed_over
    assert made.stored == 3


def test_a_parked_event_that_fails_again_after_an_operator_gave_it_up_is_discarded() -> None:
    made = parked("a", "a")
    made.decide(1, "retry")
    made.look_for_parked()
    made.decide(1, "discard")
    (worker,) = made.workers.values()
    take_all(worker)
    made.fail(worker)
    made.hear(worker)
    made.settle()
    made.look_for_parked()
    made.settle()
    assert not made.rows
    assert made.calls == [1, 1, 2]
