"""A world around the routing machine: a log, a database that answers late or not at all, and workers that die.

Everything that is asynchronous in the real thing is a queue here, so that a test (or hypothesis) decides the
order. After every step the invariants are checked against what really happened, not against the machine's books.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from eventstore.runtime.routing import Entry, Phase, RoutingOptions, SubscriptionMachine, inputs
from eventstore.runtime.routing.effects import (
    Deliver,
    Drained,
    Effect,
    Halted,
    Read,
    Recall,
    SaveCheckpoint,
    Skipped,
    StartCheckpointTimer,
    StartRetryTimer,
)


@dataclass
class Worker:
    """A worker as `worker.py` behaves: first in, first out, dropping what came before its last failure was known."""

    name: str
    capacity: int
    wanted: int | None = None
    inbox: deque[Deliver | Recall] = field(default_factory=deque)
    outbox: deque[inputs.Input] = field(default_factory=deque)
    buffer: deque[Entry] = field(default_factory=deque)
    generation: int = 0

    def receive(self) -> None:
        """Takes the next message in."""
        match self.inbox.popleft():
            case Deliver(entries=entries, generation=generation):
                if generation == self.generation:
                    self.buffer.extend(entries)
            case Recall():
                self.buffer.clear()
                self.outbox.append(inputs.Recalled(self.name))


class World:
    """The machine, its subscribers, its log and its database."""

    def __init__(self, options: RoutingOptions) -> None:
        self.machine = SubscriptionMachine(options)
        self.log: dict[int, object] = {}
        self.deleted: set[int] = set()
        self.head = 0
        self.workers: dict[str, Worker] = {}
        self.names = 0
        self.expected: list[str] = []
        self.reads: deque[Read] = deque()
        self.saves: deque[SaveCheckpoint] = deque()
        self.retries: list[int] = []
        self.checkpoint_timers = 0
        self.epoch = 0
        self.owned = False
        self.stored = 0
        self.finished: set[int] = set()
        self.calls: list[int] = []
        self.halted: int | None = None
        self.drained = False

    # The world acts

    def append(self, *keys: object) -> None:
        for key in keys:
            self.head += 1
            self.log[self.head] = key

    def delete(self, number: int) -> None:
        """A hard delete: the number stays used."""
        if self.log.pop(number, None) is not None:
            self.deleted.add(number)

    def notify(self) -> None:
        self.happened(inputs.Appended(self.head))

    def own(self) -> None:
        self.epoch += 1
        self.owned = True
        self.happened(inputs.Owned(self.epoch, self.stored or None))

    def disown(self) -> None:
        self.owned = False
        self.happened(inputs.Disowned())

    def join(self, capacity: int = 1) -> Worker:
        self.names += 1
        worker = self.workers[f"w{self.names}"] = Worker(f"w{self.names}", capacity)
        self.happened(inputs.Joined(worker.name, capacity))
        return worker

    def expect(self) -> None:
        """A worker of before is there and may be busy; it will join, or turn out to be gone."""
        self.names += 1
        self.expected.append(f"w{self.names}")
        self.happened(inputs.Expected(self.expected[-1]))

    def expected_joins(self, capacity: int = 1) -> None:
        name = self.expected.pop()
        self.workers[name] = Worker(name, capacity)
        self.happened(inputs.Joined(name, capacity))

    def expected_is_gone(self) -> None:
        self.happened(inputs.Left(self.expected.pop()))

    def drain(self) -> None:
        self.happened(inputs.Drain())

    def kill(self, worker: Worker) -> None:
        """The process is gone; what it wrote before is still read, then the supervisor tells of its end."""
        del self.workers[worker.name]
        for message in worker.outbox:
            self.happened(message)
        self.happened(inputs.Left(worker.name))

    def hear(self, worker: Worker) -> None:
        self.happened(worker.outbox.popleft())

    def handle(self, worker: Worker) -> None:
        """The worker handles its next event to the end."""
        entry = self._call(worker)
        self.finished.add(entry.number)
        worker.buffer.popleft()
        worker.outbox.append(inputs.Acked(worker.name, [entry.number], worker.wanted))

    def fail(self, worker: Worker, verdict: str = "error") -> None:
        """The worker's handler does not finish its next event."""
        entry = self._call(worker)
        worker.buffer.clear()
        worker.generation += 1
        worker.outbox.append(
            inputs.Failed(worker.name, entry.number, verdict, "it broke", None, 0.5)  # type: ignore[arg-type]
        )

    def _call(self, worker: Worker) -> Entry:
        entry = worker.buffer[0]
        self._check_order(entry)
        self.calls.append(entry.number)
        return entry

    def answer_read(self, *, fails: bool = False) -> None:
        read = self.reads.popleft()
        if fails:
            self.happened(inputs.ReadFailed(read.serial))
            return
        numbers = [n for n in sorted(self.log) if n > read.after][: read.limit]
        entries = [Entry(n, self.log[n], f"event {n}") for n in numbers]
        scanned_to = numbers[-1] if numbers else read.after
        self.happened(inputs.PageRead(read.serial, entries, scanned_to, complete=len(numbers) < read.limit))

    def answer_save(self, *, fails: bool = False) -> None:
        save = self.saves.popleft()
        if fails:
            if save.epoch == self.epoch:
                self.happened(inputs.CheckpointFailed())
            return
        if save.epoch != self.epoch or not self.owned:
            return
        self._check_checkpoint(save.position)
        self.stored = save.position
        self.happened(inputs.CheckpointSaved(save.position))

    def fire_checkpoint_timer(self) -> None:
        self.checkpoint_timers -= 1
        self.happened(inputs.CheckpointDue())

    def fire_retry(self, index: int = 0) -> None:
        self.happened(inputs.RetryDue(self.retries.pop(index)))

    # The machine answers

    def happened(self, message: inputs.Input) -> list[Effect]:
        effects = self.machine.step(message)
        for effect in effects:
            self._perform(effect)
        self._check_limits()
        return effects

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Deliver(subscriber=name):
                assert self.owned, "delivered without owning the subscription"
                if name in self.workers:
                    self.workers[name].inbox.append(effect)
            case Recall(subscriber=name):
                if name in self.workers:
                    self.workers[name].inbox.append(effect)
            case Read():
                self.reads.append(effect)
            case SaveCheckpoint():
                self.saves.append(effect)
            case StartCheckpointTimer():
                self.checkpoint_timers += 1
            case StartRetryTimer(number=number):
                self.retries.append(number)
            case Skipped(number=number):
                self.finished.add(number)
            case Halted(number=number):
                self.halted = number
            case Drained():
                self.drained = True

    # The invariants

    def _check_order(self, entry: Entry) -> None:
        """2: no event of a key is handled before every earlier one of that key is finished, nor at two workers."""
        if entry.key is None:
            return
        earlier = [n for n, key in self.log.items() if key == entry.key and self._began_after() < n < entry.number]
        unfinished = [n for n in earlier if n not in self.finished]
        assert not unfinished, f"event {entry.number} of {entry.key!r} handled before {unfinished}"

    def _began_after(self) -> int:
        return self.stored

    def _check_checkpoint(self, position: int) -> None:
        """1: the checkpoint never goes back and never passes an event that is not finished."""
        assert position >= self.stored, f"checkpoint went back from {self.stored} to {position}"
        passed = [n for n in self.log if n <= position and n not in self.finished]
        assert not passed, f"checkpoint {position} passed unfinished events {passed}"

    def _check_limits(self) -> None:
        """6: in flight within every buffer, memory within max_size; one partition at one subscriber only."""
        machine = self.machine
        assert machine.unfinished <= machine.options.max_size
        seen: dict[object, object] = {}
        for subscriber in machine._assignment.subscribers:
            worker = self.workers.get(str(subscriber.id))
            assert worker is None or len(subscriber.in_flight) <= worker.capacity
            for entry, _ in subscriber.in_flight.values():
                if entry.key is not None:
                    assert seen.setdefault(entry.key, subscriber.id) == subscriber.id, f"{entry.key!r} at two"

    def check_workers(self) -> None:
        """2, seen from outside: an event, or a key, is in the hands of one worker only."""
        holders: dict[object, str] = {}
        for worker in self.workers.values():
            for entry in worker.buffer:
                what = ("event", entry.number) if entry.key is None else ("key", entry.key)
                assert holders.setdefault(what, worker.name) == worker.name, f"{what} is at two workers"

    # To the end

    def settle(self, *, stuck: frozenset[object] = frozenset(), limit: int = 5_000) -> None:
        """Lets everything that can happen happen, until nothing is left; keys in `stuck` are never handled."""
        for _ in range(limit):
            if not self._settle_once(stuck):
                return
        raise AssertionError("the world does not come to rest: a busy loop")

    def _settle_once(self, stuck: frozenset[object]) -> bool:
        for worker in list(self.workers.values()):
            if worker.inbox:
                worker.receive()
                return True
            if worker.outbox:
                self.hear(worker)
                return True
        if self.reads:
            self.answer_read()
            return True
        if self.saves:
            self.answer_save()
            return True
        if self.retries:
            self.fire_retry()
            return True
        for worker in self.workers.values():
            if worker.buffer and worker.buffer[0].key not in stuck:
                self.handle(worker)
                return True
        if self.checkpoint_timers:
            self.fire_checkpoint_timer()
            return True
        return False

    @property
    def phase(self) -> Phase:
        return self.machine.phase


def world(
    *keys: object, workers: int = 1, capacity: int = 1, owned: bool = True, **options: object
) -> tuple[World, list[Worker]]:
    """A world with these events in its log, and workers that have joined."""
    made = World(RoutingOptions(**options))  # type: ignore[arg-type]
    made.append(*keys)
    joined = [made.join(capacity) for _ in range(workers)]
    if owned:
        made.own()
    return made, joined
