"""A world around the routing machine: a log, a database that answers late or not at all, and workers that die.

Everything that is asynchronous in the real thing is a queue here, so that a test (or hypothesis) decides the
order. After every step the invariants are checked against what really happened, not against the machine's books.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace

from eventstore.runtime.routing import Entry, Phase, RoutingOptions, SubscriptionMachine, inputs
from eventstore.runtime.routing.effects import (
    BeginCarefully,
    Deliver,
    Drained,
    Effect,
    Park,
    Read,
    ReadParked,
    Recall,
    SaveCheckpoint,
    Skipped,
    StartCheckpointTimer,
    StartRetryTimer,
    StoreAttempts,
    Unpark,
)
from eventstore.runtime.routing.parking import key_text
from eventstore.runtime.routing.state import Halted
from eventstore.store.delivery_types import ParkedRows, Tried

Request = SaveCheckpoint | StoreAttempts | Park | Unpark


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
    retiring: bool = False

    def receive(self) -> None:
        """Takes the next message in."""
        match self.inbox.popleft():
            case Deliver(entries=entries, generation=generation):
                if generation == self.generation and not self.retiring:
                    self.buffer.extend(entries)
            case Recall():
                self.buffer.clear()
                self.outbox.append(inputs.Recalled(self.name))


@dataclass
class Row:
    """A row of the table of parked events."""

    key: object
    state: str
    holds: bool


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
        self.requests: deque[tuple[int, Request]] = deque()
        self.retries: list[int] = []
        self.checkpoint_timers = 0
        self.epoch = 0
        self.owned = False
        self.stored = 0
        self.tried: dict[int, Tried] = {}
        self.rows: dict[int, Row] = {}
        self.paused = False
        self.halt: Halted | None = None
        self.unclean = 0
        self.finished: set[int] = set()
        self.handled: set[int] = set()
        self.passed_over: set[int] = set()
        self.calls: list[int] = []
        self.deaths: Counter[int] = Counter()
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

    def own(self, *, unclean: int | None = None) -> None:
        """An owner begins with what the database remembers."""
        self.epoch += 1
        self.owned = True
        self.unclean = unclean if unclean is not None else 0
        # What an owner had no time to store, its successor cannot know.
        self.deaths = Counter({number: tried.crashes for number, tried in self.tried.items()})
        partitions: dict[str, ParkedRows] = {}
        for row in self.rows.values():
            if row.key is not None:
                known = partitions.get(key_text(row.key), ParkedRows(0, False))
                partitions[key_text(row.key)] = ParkedRows(known.count + 1, known.blocks or row.holds)
        self.happened(
            inputs.Owned(
                self.epoch,
                self.stored or None,
                paused=self.paused,
                halted=self.halt,
                tried=self._remembered(),
                parked=len(self.rows),
                parked_numbers=sorted(n for n in self.rows if n > self.stored),
                partitions=partitions,
                parked_due=any(self._is_due(number) for number in self.rows),
                unclean=self.unclean,
            )
        )

    def _remembered(self) -> dict[int, Tried]:
        """What an owner is told: of events above the checkpoint, and of parked ones that are on their way again."""
        waiting = {number for number, row in self.rows.items() if row.state == "parked"}
        known = {n: t for n, t in self.tried.items() if n > self.stored or n in self.rows}
        return {n: t for n, t in known.items() if t.skip or n not in waiting}

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

    def kill(self, worker: Worker, *, unsent: int = 0) -> None:
        """The process is gone between two events; what it wrote before is still read, then its end is told.

        Args:
            worker: The worker.
            unsent: How many of its last acks it did not write any more; those events come again.
        """
        self._lose(worker, unsent)
        self.happened(inputs.Left(worker.name))

    def die(self, worker: Worker, *, unsent: int = 0, batch: int = 1, undone: int = 0) -> None:
        """The process dies in the middle of its next event, or of a batch.

        Args:
            worker: The worker.
            unsent: How many of its last acks it did not write any more.
            batch: How many events it was called with.
            undone: How many events before that it had handled in a transaction that is rolled back now.
        """
        undone = min(undone, len(worker.buffer) - 1)
        batch = min(batch, len(worker.buffer) - undone)
        first, last = worker.buffer[undone], worker.buffer[undone + batch - 1]
        if not undone:
            self._check_order(first)
        self.calls.append(first.number)
        self._lose(worker, unsent)
        subscriber = self.machine._assignment.subscriber(worker.name)
        # One that was delivered under an earlier ownership is nothing that this one knows of.
        if batch == 1 and subscriber is not None and first.number in subscriber.in_flight:
            self.deaths[first.number] += 1
        self.happened(inputs.Died(worker.name, first.number, last.number, not undone, "it died", 0.5))

    def _lose(self, worker: Worker, unsent: int) -> None:
        del self.workers[worker.name]
        sent = list(worker.outbox)
        while unsent and sent and isinstance(sent[-1], inputs.Acked):
            sent.pop()
            unsent -= 1
        for message in sent:
            self.happened(message)

    def retire(self, worker: Worker) -> None:
        """The worker wants to be replaced; it answers the recall that follows, and ends."""
        worker.buffer.clear()
        worker.retiring = True
        worker.outbox.append(inputs.Retiring(worker.name))

    def hear(self, worker: Worker) -> None:
        message = worker.outbox.popleft()
        self.happened(message)
        if worker.retiring and isinstance(message, inputs.Recalled) and not worker.outbox:
            del self.workers[worker.name]
            self.happened(inputs.Left(worker.name))

    def handle(self, worker: Worker) -> None:
        """The worker handles its next event to the end."""
        entry = self._call(worker)
        self.finished.add(entry.number)
        self.handled.add(entry.number)
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
        complete = len(numbers) < read.limit
        most = max(1, read.max_bytes // SIZE)
        entries = [self._entry(n) for n in numbers[:most]]
        scanned_to = entries[-1].number if entries else read.after
        self.happened(inputs.PageRead(read.serial, entries, scanned_to, complete=complete and len(numbers) <= most))

    def _entry(self, number: int) -> Entry:
        return Entry(number, self.log[number], f"event {number}", SIZE)

    def answer_request(self, *, fails: bool = False) -> None:
        """The lock-holder does what comes next, in order, unless the owner is not the owner any more."""
        epoch, request = self.requests.popleft()
        if isinstance(request, SaveCheckpoint) and fails:
            if epoch == self.epoch:
                self.happened(inputs.CheckpointFailed())
            return
        if epoch != self.epoch or not self.owned:
            return
        match request:
            case SaveCheckpoint(position=position):
                self._check_checkpoint(position)
                self.stored = position
                self.tried = {n: t for n, t in self.tried.items() if n > position or n in self.rows}
                self.happened(inputs.CheckpointSaved(position))
            case StoreAttempts(attempts=attempts):
                for attempt in attempts:
                    self.tried[attempt.number] = Tried(attempt.attempts, attempt.crashes, False, attempt.reason)
                self.happened(inputs.AttemptsSaved([attempt.number for attempt in attempts]))
            case Park(events=events):
                for event in events:
                    known = self.rows.get(event.entry.number)
                    state = "discard" if known is not None and known.state == "discard" else event.state
                    self.rows[event.entry.number] = Row(event.entry.key, state, event.holds)
                    self.finished.add(event.entry.number)
                self.happened(inputs.ParkSaved([event.entry.number for event in events]))
            case Unpark(numbers=numbers):
                self._unpark(numbers)

    def _unpark(self, numbers: list[int]) -> None:
        for number in numbers:
            if self.rows.pop(number).state == "discard":
                self.passed_over.add(number)
            self.tried.pop(number, None)
            if number > self.stored:
                self.tried[number] = Tried(skip=True, reason="done")
        self.happened(inputs.Unparked(numbers))

    def fire_checkpoint_timer(self) -> None:
        self.checkpoint_timers -= 1
        self.happened(inputs.CheckpointDue())

    def fire_retry(self, index: int = 0) -> None:
        self.happened(inputs.RetryDue(self.retries.pop(index)))

    # An operator acts

    def decide(self, number: int, state: str) -> None:
        """Has a parked event retried or discarded."""
        row = self.rows[number]
        if row.state == "parked" or (state == "discard" and row.state in ("held", "retry")):
            self.rows[number] = replace(row, state=state)
            if not self.tried.get(number, Tried()).skip:
                self.tried.pop(number, None)

    def look_for_parked(self, limit: int = 5) -> None:
        """The listener reads which parked events are due."""
        if not self.owned:
            return
        due = [n for n in sorted(self.rows) if self._is_due(n)]
        entries = [Entry(n, self.rows[n].key, f"event {n}", SIZE) for n in due[:limit]]
        discarded = [n for n in due[:limit] if self.rows[n].state == "discard" or n not in self.log]
        for number in discarded:
            self.rows[number] = replace(self.rows[number], state="discard")
        if due:
            self.happened(inputs.ParkedDue(entries, discarded, len(due) <= limit))

    def _is_due(self, number: int) -> bool:
        row = self.rows[number]
        in_front = [r for n, r in self.rows.items() if n < number and r.key == row.key and row.key is not None]
        return row.state in ("retry", "discard") or (
            row.state == "held" and not any(r.state == "parked" for r in in_front)
        )

    def pause(self, *, paused: bool) -> None:
        self.paused = paused
        self.happened(inputs.Pause(paused))

    def resume(self) -> None:
        """Lets a halted subscription try again, with a fresh count for its event."""
        if self.halt is not None:
            self.tried.pop(self.halt.number, None)
            self.deaths.pop(self.halt.number, None)
            self.halt = None
            self.own()

    def skip(self, number: int) -> None:
        """Leaves out an event that is not checkpointed yet."""
        if number > self.stored:
            self.tried[number] = Tried(skip=True, reason="an operator skipped it")
            self.halt = None
            self.own()

    # The machine answers

    def happened(self, message: inputs.Input) -> list[Effect]:
        effects = self.machine.step(message)
        for effect in effects:
            self._perform(effect)
        self._check_limits()
        return effects

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Deliver() | Recall():
                self._send(effect)
            case Read():
                self.reads.append(effect)
            case SaveCheckpoint() | StoreAttempts() | Park() | Unpark():
                self.requests.append((self.machine.epoch, effect))
            case ReadParked():
                self.look_for_parked()
            case BeginCarefully(attempt=attempt):
                self.requests.append((self.machine.epoch, StoreAttempts([attempt])))
            case StartCheckpointTimer():
                self.checkpoint_timers += 1
            case StartRetryTimer(number=number):
                self.retries.append(number)
            case Skipped(number=number):
                self.finished.add(number)
                self.passed_over.add(number)
            case Halted(number=number):
                self.halted = number
                self.halt = effect
            case Drained():
                self.drained = True

    def _send(self, effect: Deliver | Recall) -> None:
        if isinstance(effect, Deliver):
            assert self.owned, "delivered without owning the subscription"
            assert self.machine.phase in (Phase.CATCHING_UP, Phase.LIVE, Phase.HALTED)
            self._check_doomed(effect)
        if effect.subscriber in self.workers:
            self.workers[str(effect.subscriber)].inbox.append(effect)

    # The invariants

    def _check_order(self, entry: Entry) -> None:
        """2: no event of a key is handled before every earlier one of that key is finished, nor at two workers."""
        if entry.key is None:
            return
        earlier = [n for n, key in self.log.items() if key == entry.key and self._began_after() < n < entry.number]
        unfinished = [n for n in earlier if n not in self.finished]
        assert not unfinished, f"event {entry.number} of {entry.key!r} handled before {unfinished}"
        waiting = [
            n
            for n, row in self.rows.items()
            if n < entry.number and row.key == entry.key and row.holds and n not in self.handled and n in self.log
        ]
        waiting = [n for n in waiting if self.rows[n].state != "discard"]
        assert not waiting, f"event {entry.number} of {entry.key!r} handled before {waiting}, which is parked"

    def _began_after(self) -> int:
        return self.stored

    def _check_doomed(self, deliver: Deliver) -> None:
        """An event that killed as many workers as may die of one is delivered no more."""
        for entry in deliver.entries:
            if entry.number not in self.rows:
                assert self.deaths[entry.number] < self.machine.options.max_crashes, f"{entry.number} kills again"

    def _check_checkpoint(self, position: int) -> None:
        """1: the checkpoint never goes back and never passes an event that is not finished."""
        assert position >= self.stored, f"checkpoint went back from {self.stored} to {position}"
        passed = [n for n in self.log if n <= position and n not in self.finished]
        assert not passed, f"checkpoint {position} passed unfinished events {passed}"

    def _check_limits(self) -> None:
        """6: in flight within every buffer, memory within its bounds; one partition at one subscriber only."""
        machine = self.machine
        replaying = len(machine._failures.parked.replaying)
        assert replaying <= machine.options.page_size
        assert machine.unfinished <= machine.options.max_size + replaying
        held = machine._assignment
        assert held.unfinished_bytes == held.unfinished * SIZE, "the bytes are counted"
        assert held.unfinished_bytes <= machine.options.max_bytes + SIZE * (1 + replaying)
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
        if self.requests:
            self.answer_request()
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
    def saves(self) -> list[SaveCheckpoint]:
        """The checkpoints that are asked for and not answered."""
        return [request for _, request in self.requests if isinstance(request, SaveCheckpoint)]

    @property
    def phase(self) -> Phase:
        return self.machine.phase


SIZE = 10
"""The bytes of every event."""


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
