"""Random worlds: whatever happens in whatever order, the invariants hold, and at rest nothing is left undone."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from eventstore.runtime.routing import Phase, RoutingOptions
from eventstore.tests.unit.routing.simulation import Worker, World

KEYS = st.sampled_from([None, None, "a", "a", "b", "c"])


class RoutingWorld(RuleBasedStateMachine):
    """Events, acks, failures, subscribers that join and die, reads and writes that fail, owners that change."""

    @initialize(
        max_size=st.integers(1, 12),
        page_size=st.integers(1, 6),
        threshold=st.integers(1, 4),
        attempts=st.integers(1, 3),
        keys=st.lists(KEYS, max_size=12),
        capacities=st.lists(st.integers(1, 4), max_size=3),
    )
    def begin(
        self,
        max_size: int,
        page_size: int,
        threshold: int,
        attempts: int,
        keys: list[object],
        capacities: list[int],
    ) -> None:
        self.world = World(
            RoutingOptions(
                max_size=max_size,
                page_size=page_size,
                checkpoint_threshold=threshold,
                max_attempts=attempts,
                on_exhausted="skip",
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
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self.world.kill(data.draw(st.sampled_from(list(self.world.workers.values()))))

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
    @rule(data=st.data(), verdict=st.sampled_from(["error", "error", "retry", "skip"]))
    def fail(self, data: st.DataObject, verdict: str) -> None:
        self.world.fail(self.worker(data, "buffer"), verdict)

    @precondition(lambda self: self.world.reads)
    @rule(fails=st.booleans())
    def answer_read(self, fails: bool) -> None:
        self.world.answer_read(fails=fails)

    @precondition(lambda self: self.world.saves)
    @rule(fails=st.booleans())
    def answer_save(self, fails: bool) -> None:
        self.world.answer_save(fails=fails)

    @precondition(lambda self: self.world.checkpoint_timers)
    @rule()
    def checkpoint_timer(self) -> None:
        self.world.fire_checkpoint_timer()

    @precondition(lambda self: self.world.retries)
    @rule(data=st.data())
    def retry_timer(self, data: st.DataObject) -> None:
        self.world.fire_retry(data.draw(st.integers(0, len(self.world.retries) - 1)))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def want_other(self, data: st.DataObject) -> None:
        """A worker that became slower or faster asks for fewer or more, within its limit."""
        worker = data.draw(st.sampled_from(list(self.world.workers.values())))
        worker.wanted = data.draw(st.integers(1, worker.capacity))

    @rule()
    def own(self) -> None:
        if not self.world.owned:
            self.world.own()

    @rule()
    def disown(self) -> None:
        self.world.disown()

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
        world.join(3)
        world.notify()
        world.settle()
        undone = set(world.log) - world.finished
        assert not undone, f"events {undone} were lost"
        assert world.phase is Phase.LIVE
        assert world.machine.unfinished == 0
        assert world.stored == world.head, f"checkpoint {world.stored}, head {world.head}"
        assert world.machine.idle

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
    max_examples=int(os.environ.get("EVENTSTORE_TEST_EXAMPLES", "250")),
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
