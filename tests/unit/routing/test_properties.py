"""Random worlds: whatever happens in whatever order, the invariants hold, and at rest nothing is left undone."""

from __future__ import annotations

import os
from typing import Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from eventstore.runtime.routing import Phase, RoutingOptions
from eventstore.tests.unit.routing.simulation import SIZE, Worker, World

KEYS = st.sampled_from([None, None, "a", "a", "b", "c"])
OnExhausted = Literal["halt", "park", "park_partition", "skip"]
POLICIES: list[OnExhausted] = ["skip", "park", "park_partition", "park_partition", "halt"]


class RoutingWorld(RuleBasedStateMachine):
    """Events, acks, failures, deaths, subscribers that come and go, a database that fails, owners and operators."""

    @initialize(
        max_size=st.integers(1, 12),
        page_size=st.integers(1, 6),
        threshold=st.integers(1, 4),
        attempts=st.integers(1, 3),
        crashes=st.integers(1, 3),
        policy=st.sampled_from(POLICIES),
        most_bytes=st.integers(1, 14),
        pinned=st.booleans(),
        max_parked=st.sampled_from([2, 1_000]),
        keys=st.lists(KEYS, max_size=12),
        capacities=st.lists(st.integers(1, 4), max_size=3),
    )
    def begin(
        self,
        max_size: int,
        page_size: int,
        threshold: int,
        attempts: int,
        crashes: int,
        policy: OnExhausted,
        most_bytes: int,
        pinned: bool,
        max_parked: int,
        keys: list[object],
        capacities: list[int],
    ) -> None:
        self.world = World(
            RoutingOptions(
                max_size=max_size,
                page_size=page_size,
                max_bytes=most_bytes * SIZE,
                checkpoint_threshold=threshold,
                max_attempts=attempts,
                max_crashes=crashes,
                on_exhausted=policy,
                pinned=pinned,
                max_parked=max_parked,
                max_parked_per_partition=max_parked,
            )
        )
        self.world.append(*keys)
        for capacity in capacities:
            self.world.join(capacity)
        self.world.own()

    def worker(self, data: st.DataObject, which: str) -> Worker:
        return data.draw(st.sampled_from([w for w in self.world.workers.values() if getattr(w, which)]))

    def any(self, which: str) -> bool:
        return any(getattr(worker, which) for worker in self.world.workers.values())

    @rule(keys=st.lists(KEYS, min_size=1, max_size=6), told=st.booleans())
    def append(self, keys: list[object], told: bool) -> None:
        self.world.append(*keys)
        if told:
            self.world.notify()

    @rule()
    def notify(self) -> None:
        self.world.notify()

    @precondition(lambda self: self.world.log)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.world.delete(data.draw(st.sampled_from(sorted(self.world.log))))

    @rule(capacity=st.integers(1, 4))
    @precondition(lambda self: len(self.world.workers) < 4)
    def join(self, capacity: int) -> None:
        self.world.join(capacity)

    @precondition(lambda self: len(self.world.expected) < 2)
    @rule()
    def expect(self) -> None:
        self.world.expect()

    @precondition(lambda self: self.world.expected)
    @rule(capacity=st.integers(1, 4), joins=st.booleans())
    def expected_arrives(self, capacity: int, joins: bool) -> None:
        if joins:
            self.world.expected_joins(capacity)
        else:
            self.world.expected_is_gone()

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), unsent=st.integers(0, 2))
    def kill(self, data: st.DataObject, unsent: int) -> None:
        self.world.kill(data.draw(st.sampled_from(list(self.world.workers.values()))), unsent=unsent)

    @precondition(lambda self: self.any("buffer"))
    @rule(
        data=st.data(),
        unsent=st.integers(0, 2),
        batch=st.sampled_from([1, 1, 1, 2, 3]),
        undone=st.sampled_from([0, 0, 1, 2, 3]),
    )
    def die(self, data: st.DataObject, unsent: int, batch: int, undone: int) -> None:
        self.world.die(self.worker(data, "buffer"), unsent=unsent, batch=batch, undone=undone)

    @precondition(lambda self: any(not worker.retiring for worker in self.world.workers.values()))
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        workers = [worker for worker in self.world.workers.values() if not worker.retiring]
        self.world.retire(data.draw(st.sampled_from(workers)))

    @precondition(lambda self: self.any("inbox"))
    @rule(data=st.data())
    def worker_receives(self, data: st.DataObject) -> None:
        self.worker(data, "inbox").receive()
        self.world.check_workers()

    @precondition(lambda self: self.world.reads or self.any("inbox"))
    @rule()
    def read_and_deliver(self) -> None:
        """The usual course of things, in one step."""
        if self.world.reads:
            self.world.answer_read()
        for worker in self.world.workers.values():
            while worker.inbox:
                worker.receive()
        self.world.check_workers()

    @precondition(lambda self: self.any("outbox"))
    @rule(data=st.data())
    def machine_hears(self, data: st.DataObject) -> None:
        self.world.hear(self.worker(data, "outbox"))

    @precondition(lambda self: self.any("buffer"))
    @rule(data=st.data())
    def handle(self, data: st.DataObject) -> None:
        self.world.handle(self.worker(data, "buffer"))

    @precondition(lambda self: self.any("buffer"))
    @rule(data=st.data(), verdict=st.sampled_from(["error", "error", "error", "retry", "skip", "park", "stop"]))
    def fail(self, data: st.DataObject, verdict: str) -> None:
        self.world.fail(self.worker(data, "buffer"), verdict)

    @precondition(lambda self: self.world.reads)
    @rule(fails=st.booleans())
    def answer_read(self, fails: bool) -> None:
        self.world.answer_read(fails=fails)

    @precondition(lambda self: self.world.requests)
    @rule(fails=st.booleans())
    def answer_request(self, fails: bool) -> None:
        self.world.answer_request(fails=fails)

    @precondition(lambda self: self.world.checkpoint_timers)
    @rule()
    def checkpoint_timer(self) -> None:
        self.world.fire_checkpoint_timer()

    @precondition(lambda self: self.world.retries)
    @rule(data=st.data())
    def retry_timer(self, data: st.DataObject) -> None:
        self.world.fire_retry(data.draw(st.integers(0, len(self.world.retries) - 1)))

    @precondition(lambda self: any(not worker.retiring for worker in self.world.workers.values()))
    @rule(data=st.data())
    def want_other(self, data: st.DataObject) -> None:
        """A worker that became slower or faster asks for fewer or more, within its limit."""
        workers = [worker for worker in self.world.workers.values() if not worker.retiring]
        worker = data.draw(st.sampled_from(workers))
        worker.wanted = data.draw(st.integers(1, worker.capacity))

    @rule(unclean=st.sampled_from([0, 0, 1, 2, 3]))
    def own(self, unclean: int) -> None:
        if not self.world.owned:
            self.world.own(unclean=unclean)

    @rule()
    def disown(self) -> None:
        self.world.disown()

    # Operators

    @precondition(lambda self: self.world.rows)
    @rule(data=st.data(), state=st.sampled_from(["retry", "retry", "discard"]), told=st.booleans())
    def decide(self, data: st.DataObject, state: str, told: bool) -> None:
        self.world.decide(data.draw(st.sampled_from(sorted(self.world.rows))), state)
        if told:
            self.world.look_for_parked()

    @precondition(lambda self: self.world.rows)
    @rule(limit=st.integers(1, 3))
    def look_for_parked(self, limit: int) -> None:
        self.world.look_for_parked(limit)

    @precondition(lambda self: self.world.owned)
    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.world.pause(paused=paused)

    @precondition(lambda self: self.world.halt is not None)
    @rule()
    def resume(self) -> None:
        self.world.resume()

    @precondition(lambda self: self.world.owned and self.world.head > self.world.stored)
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        self.world.skip(data.draw(st.integers(self.world.stored + 1, self.world.head)))

    # The end

    def teardown(self) -> None:
        """At rest, with an owner and a worker, everything is finished and the checkpoint is the head."""
        if not hasattr(self, "world"):
            return
        world = self.world
        if world.names % 3 == 0:
            self.check_drain()
            return
        while world.expected:
            world.expected_joins()
        if not world.owned:
            world.own()
        world.pause(paused=False)
        world.join(3)
        world.notify()
        world.settle()
        self.work_off_what_is_parked()
        undone = set(world.log) - world.handled - world.passed_over
        assert not undone, f"events {undone} were lost"
        assert world.phase is Phase.LIVE
        assert world.machine.unfinished == 0
        assert world.stored == world.head, f"checkpoint {world.stored}, head {world.head}"
        assert world.machine.idle
        assert world.machine.parked == 0

    def work_off_what_is_parked(self) -> None:
        """Operators have everything handled that failed before; each round gets on."""
        world = self.world
        for _ in range(3 * len(world.log) + 3):
            if world.halt is None and not world.rows:
                return
            for number in list(world.rows):
                world.decide(number, "retry")
            world.resume()
            world.look_for_parked()
            world.notify()
            world.settle()
        raise AssertionError(f"what failed cannot be worked off: {world.halt}, {world.rows}")

    def check_drain(self) -> None:
        """Stopped instead: what is begun is finished, what is finished is saved, and nothing waits for ever."""
        world = self.world
        world.drain()
        while world.expected:
            if len(world.expected) % 2:
                world.expected_joins()
            else:
                world.expected_is_gone()
        world.settle()
        assert world.drained
        assert world.phase is Phase.STOPPED


TestRoutingWorld = RoutingWorld.TestCase
TestRoutingWorld.settings = settings(
    max_examples=int(os.environ.get("EVENTSTORE_TEST_EXAMPLES", "300")),
    stateful_step_count=60,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
