"""Appends that come at the same time share a commit, and nobody can tell from the outcome.

A transaction of the test holds the row of `$all`, so that the first append waits in the database and the others wait
for it; so a test knows who goes together.
"""

from __future__ import annotations

import itertools
import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.pq import TransactionStatus

from eventstore.store import (
    AppendResult,
    ConfigurationError,
    Connection,
    DuplicateEvent,
    EventData,
    EventStore,
    ExpectedStreamMissing,
    JsonSerializer,
    SerializationFailed,
    StoreUnavailable,
    StreamDeleted,
    StreamExists,
    WrongExpectedVersion,
    coalescing,
)
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together
from eventstore.tests.support.wait import wait_until

LEADER = "select pid from pg_stat_activity where %s = any (pg_blocking_pids(pid))"


class Crowd:
    """Appends in threads of their own: the first leads, the others are told one by one to queue up behind it."""

    def __init__(self, store: EventStore, holder: Connection, conn: Connection, threads: ThreadPoolExecutor) -> None:
        self._store = store
        self._holder = holder
        self._conn = conn
        self._threads = threads

    def leader(self, *arguments: Any) -> Future[AppendResult]:
        """Start an append; it waits in the database when this returns."""
        begun = self._threads.submit(self._store.append_to_stream, *arguments)
        wait_until(self.leaders_pid, "the leader waits for $all")
        return begun

    def leaders_pid(self) -> int:
        """The server process of the append that waits in the database."""
        row = self._conn.execute(LEADER, [self._holder.info.backend_pid]).fetchone()
        return 0 if row is None else row[0]

    def follower(self, *arguments: Any) -> Future[AppendResult]:
        """Start an append; it waits for its turn when this returns."""
        number = self.waiting() + 1
        begun = self._threads.submit(self._store.append_to_stream, *arguments)
        wait_until(lambda: self.waiting() == number, "the follower waits")
        return begun

    def let_go(self) -> None:
        """Free `$all`."""
        if self._holder.info.transaction_status != TransactionStatus.IDLE:
            self._holder.execute("commit")

    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._store._coalescer._queue)


@pytest.fixture
def crowd(
    event_store: EventStore, open_connection: Callable[..., Connection], conn: Connection, schema: str
) -> Callable[[], Any]:
    """A context manager: inside the block `$all` is locked, at its end it is free and every append has ended."""

    @contextmanager
    def held() -> Iterator[Crowd]:
        holder = open_connection()
        holder.execute("begin")
        holder.execute(f'select from "{schema}".streams where stream_id = 0 for update'.encode())
        with ThreadPoolExecutor(16) as threads:
            running = Crowd(event_store, holder, conn, threads)
            try:
                yield running
            finally:
                running.let_go()

    return held


def outcome(begun: Future[AppendResult]) -> Any:
    """What an append returned or raised."""
    return begun.exception() or begun.result()


def commits(conn: Connection, schema: str) -> list[list[str]]:
    """The streams that were appended to in each transaction, in commit order."""
    rows = conn.execute(
        f'select array_agg(s.stream_uuid order by a.stream_version) from "{schema}".stream_events a '
        f'join "{schema}".streams s on s.stream_id = a.original_stream_id where a.stream_id = 0 '
        "group by a.xmin::text order by min(a.stream_version)".encode()
    )
    return [row[0] for row in rows]


def test_those_who_wait_share_a_commit(event_store: EventStore, crowd: Any, conn: Connection, schema: str) -> None:
    with crowd() as running:
        begun = [running.leader("a", "no_stream", events(1))]
        begun += [
            running.follower("b", "no_stream", events(2, 3)),
            running.follower("c", "any_version", events(4)),
            running.follower("b", "any_version", events(5)),
            running.follower("b", 3, events(6)),
        ]
    assert [outcome(one) for one in begun] == [
        AppendResult("a", 1, 1, 1, 1),
        AppendResult("b", 1, 2, 2, 3),
        AppendResult("c", 1, 1, 4, 4),
        AppendResult("b", 3, 3, 5, 5),
        AppendResult("b", 4, 4, 6, 6),
    ]
    assert [event.data for event in event_store.read_all_streams_forward()] == [1, 2, 3, 4, 5, 6]
    assert commits(conn, schema) == [["a"], ["b", "b", "c", "b"], ["b"]]


def test_each_has_its_own_outcome(event_store: EventStore, crowd: Any, conn: Connection, schema: str) -> None:
    event_store.append_to_stream("old", "no_stream", events("x", "y"))
    event_store.append_to_stream("gone", "no_stream", events("z"))
    event_store.delete_stream("gone", "any_version")
    with crowd() as running:
        running.leader("first", "any_version", events(0))
        begun = [
            running.follower(*arguments)
            for arguments in (
                ("one", "no_stream", events(1)),
                ("old", "no_stream", events("lost")),
                ("missing", "stream_exists", events("lost")),
                ("two", 7, events("lost")),
                ("gone", "any_version", events("lost")),
                ("three", "any_version", events(2, 3)),
                ("old", "any_version", events(4)),
            )
        ]
    found = [outcome(one) for one in begun]
    assert [one if isinstance(one, AppendResult) else type(one) for one in found[:6]] == [
        AppendResult("one", 1, 1, 5, 5),
        StreamExists,
        ExpectedStreamMissing,
        WrongExpectedVersion,
        StreamDeleted,
        AppendResult("three", 1, 2, 6, 7),
    ]
    # It shared a stream with one that failed, and so went on alone, after the others.
    assert found[6] == AppendResult("old", 3, 3, 8, 8)
    assert found[3].actual == 0
    assert [event.data for event in event_store.read_all_streams_forward()] == ["x", "y", "z", 0, 1, 2, 3, 4]


def test_a_duplicate_fails_only_its_own_append(event_store: EventStore, crowd: Any) -> None:
    twice = EventData("E", "twice", event_id=uuid4())
    event_store.append_to_stream("a", "no_stream", [twice])
    with crowd() as running:
        running.leader("first", "any_version", events(0))
        begun = [
            running.follower("b", "no_stream", events(1)),
            running.follower("c", "no_stream", [twice]),
            running.follower("d", "no_stream", events(2)),
        ]
    found = [outcome(one) for one in begun]
    assert [type(one) for one in found] == [AppendResult, DuplicateEvent, AppendResult]
    assert found[1].event_id == twice.event_id
    assert event_store.stream_heads(["a", "b", "c", "d", "$all"]) == {"a": 1, "b": 1, "d": 1, "$all": 4}


def test_one_id_in_two_appends_of_a_group_wins_once(event_store: EventStore, crowd: Any) -> None:
    same = UUID(int=7)
    with crowd() as running:
        running.leader("first", "any_version", events(0))
        begun = [running.follower(name, 0, [EventData("E", name, event_id=same)]) for name in ("a", "b")]
    assert sorted(type(outcome(one)).__name__ for one in begun) == ["AppendResult", "DuplicateEvent"]
    assert event_store.stream_heads(["$all"]) == {"$all": 2}


def test_data_that_the_database_refuses_fails_only_its_own_append(
    database_url: str, open_connection: Callable[..., Connection]
) -> None:
    with (
        fresh_schema(database_url, "jsonb") as schema,
        EventStore(database_url, schema=schema) as store,
        ThreadPoolExecutor(4) as threads,
    ):
        holder = open_connection()
        with holder.transaction():
            holder.execute(f'select from "{schema}".streams where stream_id = 0 for update'.encode())
            running = Crowd(store, holder, open_connection(), threads)
            running.leader("first", "any_version", events(0))
            begun = [
                running.follower("a", "no_stream", events("\0")),
                running.follower("b", "no_stream", events("fine")),
            ]
        assert [type(outcome(one)) for one in begun] == [SerializationFailed, AppendResult]


def test_what_a_serializer_gets_wrong_fails_only_its_own_append(
    database_url: str, schema: str, open_connection: Callable[..., Connection]
) -> None:
    class Careless(JsonSerializer):
        def serialize(self, value: Any) -> Any:
            return value if value == "wrong" else super().serialize(value)

    with EventStore(database_url, schema=schema, serializer=Careless()) as store, ThreadPoolExecutor(4) as threads:
        holder = open_connection()
        with holder.transaction():
            holder.execute(f'select from "{schema}".streams where stream_id = 0 for update'.encode())
            running = Crowd(store, holder, open_connection(), threads)
            running.leader("first", "any_version", events(0))
            wrong = threads.submit(store.append_to_stream, "a", "no_stream", events("wrong"))
            fine = threads.submit(store.append_to_stream, "b", "no_stream", events("fine"))
            wait_until(lambda: running.waiting() + wrong.done() == 2, "both have come as far as they can")
        assert [type(outcome(one)) for one in (wrong, fine)] == [SerializationFailed, AppendResult]


def test_all_of_a_group_lose_the_connection_and_nothing_is_tried_twice(
    event_store: EventStore, crowd: Any, conn: Connection
) -> None:
    with crowd() as running:
        first = running.leader("a", "any_version", events(1))
        begun = [running.follower(name, "any_version", events(name)) for name in ("b", "c")]
        conn.execute("select pg_terminate_backend(%s)", [running.leaders_pid()])
        assert type(outcome(first)) is StoreUnavailable
        wait_until(lambda: running.waiting() == 0 and running.leaders_pid(), "the group waits for $all")
        conn.execute("select pg_terminate_backend(%s)", [running.leaders_pid()])
        errors = [outcome(one) for one in begun]
    assert [type(error) for error in errors] == [StoreUnavailable] * 2
    assert errors[0] is not errors[1]
    assert event_store.append_to_stream("d", "no_stream", events(2)).position == 1


@contextmanager
def interrupted_when(fact: Callable[[], object], what: str) -> Iterator[None]:
    """Let Ctrl-C come to the main thread, which runs the block, once a fact holds."""

    def interrupt() -> None:
        wait_until(fact, what)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    # A shell starts what it puts into the background with Ctrl-C ignored, the tests too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(1) as threads:
            begun = threads.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                yield
            begun.result()
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_leader_leaves_the_turn_to_others(event_store: EventStore, crowd: Any) -> None:
    with crowd() as running:
        with interrupted_when(running.leaders_pid, "the main thread leads"):
            event_store.append_to_stream("a", "no_stream", events(1))
        after = running.leader("b", "no_stream", events(2))
    assert outcome(after) == AppendResult("b", 1, 1, 1, 1)


def test_who_is_interrupted_while_waiting_appends_nothing(event_store: EventStore, crowd: Any) -> None:
    with crowd() as running:
        running.leader("a", "no_stream", events(1))
        with interrupted_when(lambda: running.waiting() == 1, "the main thread waits"):
            event_store.append_to_stream("b", "no_stream", events(2))
        assert running.waiting() == 0
        after = running.follower("c", "no_stream", events(3))
    assert outcome(after) == AppendResult("c", 1, 1, 2, 2)


def test_who_is_interrupted_with_the_turn_in_hand_passes_it_on(event_store: EventStore, crowd: Any) -> None:
    interrupt = threading.Event()
    begun: list[Future[AppendResult]] = []
    with crowd() as running:
        begun.append(running.leader("a", "no_stream", events(1)))

        def others_wait() -> bool:
            if len(begun) == 1:
                wait_until(lambda: running.waiting() == 1, "the main thread waits")
                # Instead of being woken, it is interrupted.
                event_store._coalescer._queue[0].wake = interrupt.set  # type: ignore[method-assign]
                begun.append(running.follower("c", "no_stream", events(3)))
                running.let_go()
            return interrupt.is_set()

        with interrupted_when(others_wait, "the main thread has the turn"):
            event_store.append_to_stream("b", "no_stream", events(2))
    assert [outcome(one) for one in begun] == [AppendResult("a", 1, 1, 1, 1), AppendResult("c", 1, 1, 2, 2)]
    assert event_store.stream_heads(["b"]) == {}


def test_the_group_of_an_interrupted_leader_learns_that_it_cannot_know(event_store: EventStore, crowd: Any) -> None:
    group: list[Future[AppendResult]] = []
    with crowd() as running:
        first = running.leader("a", "any_version", events(1))

        def main_thread_leads_a_group() -> bool:
            if not group:
                wait_until(lambda: running.waiting() == 1, "the main thread waits")
                group.append(running.follower("c", "any_version", events(3)))
                # The first leader goes, and the main thread has the turn.
                running._conn.execute("select pg_terminate_backend(%s)", [running.leaders_pid()])
                assert type(outcome(first)) is StoreUnavailable
            return bool(running.waiting() == 0 and running.leaders_pid())

        with interrupted_when(main_thread_leads_a_group, "the main thread leads a group"):
            event_store.append_to_stream("b", "any_version", events(2))
        error = outcome(group[0])
    assert type(error) is StoreUnavailable
    assert "may or may not be stored" in str(error)
    assert event_store.append_to_stream("d", "no_stream", events(4)).position == 1


def test_what_keeps_to_itself(event_store: EventStore, crowd: Any, conn: Connection, schema: str) -> None:
    """No events, a time of its own, or so many events that company would only wait for them."""
    event_store.append_to_stream("old", "any_version", events(0))
    with crowd() as running:
        running.leader("first", "any_version", events(0))
        assert event_store.append_to_stream("old", 1, []) == AppendResult("old", 2, 1, 2, 1)
        begun = [
            running._threads.submit(event_store.append_to_stream, "many", "no_stream", events(*range(1_000))),
            running.follower("b", "any_version", events(1)),
            running.follower("c", "any_version", events(1)),
        ]
    assert {type(outcome(one)) for one in begun} == {AppendResult}
    assert sorted(len(set(streams)) for streams in commits(conn, schema)) == [1, 1, 1, 2]


def test_without_coalescing_each_commits_for_itself(
    database_url: str, schema: str, open_connection: Callable[..., Connection], conn: Connection
) -> None:
    holder = open_connection()
    behind = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like %s"
    with (
        EventStore(database_url, schema=schema, coalesce_appends=False) as store,
        ThreadPoolExecutor(4) as threads,
    ):
        with holder.transaction():
            holder.execute(f'select from "{schema}".streams where stream_id = 0 for update'.encode())
            begun = [threads.submit(store.append_to_stream, f"s{n}", 0, events(n)) for n in range(4)]
            wait_until(lambda: conn.execute(behind, [f"%{schema}%"]).fetchone() == (4,), "all wait in the database")
        assert sorted(one.result().position for one in begun) == [1, 2, 3, 4]
    assert [len(streams) for streams in commits(conn, schema)] == [1, 1, 1, 1]


def test_many_threads_with_every_expectation(event_store: EventStore) -> None:
    """Exact versions, creators and others on few streams: versions stay contiguous, and every success is there once."""

    def write(writer: int) -> list[AppendResult]:
        done = []
        for n in range(40):
            stream = f"s{(writer + n) % 4}"
            known = event_store.stream_heads([stream]).get(stream, 0)
            expected: Any = (known, "any_version", "no_stream")[n % 3]
            try:
                done.append(event_store.append_to_stream(stream, expected, events(*range(1 + n % 3))))
            except WrongExpectedVersion:
                continue
        return done

    results = [result for part in together(write, range(8)) for result in part]
    found = event_store.read_all_streams_forward(count=100_000)
    assert [event.event_number for event in found] == list(range(1, len(found) + 1))
    claimed = sorted(n for result in results for n in range(result.first_position, result.position + 1))
    assert claimed == list(range(1, len(found) + 1))
    by_position = {event.event_number: (event.stream_uuid, event.stream_version) for event in found}
    for result in results:
        assert by_position[result.first_position] == (result.stream_uuid, result.first_version)
        assert by_position[result.position] == (result.stream_uuid, result.stream_version)


@pytest.mark.skipif(sys.platform != "linux", reason="uses fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_while_somebody_leads_is_refused(event_store: EventStore, crowd: Any) -> None:
    with crowd() as running:
        running.leader("a", "no_stream", events(1))
        pid = os.fork()
        if pid == 0:
            try:
                event_store.append_to_stream("b", "no_stream", events(2))
                os._exit(1)
            except ConfigurationError:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


class _Interrupted(BaseException):
    """What a handler of a signal may raise."""


def interrupt_at(step: int, work: Callable[[], object]) -> bool:
    """Call something, and raise when it comes to the nth line within `coalescing.py`; False where it never does."""
    steps = itertools.count(1)

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != coalescing.__file__:
            return None
        # Python lets no signal in between a lock and the block that frees it; raised there, this one would come in.
        is_lock = linecache.getline(coalescing.__file__, frame.f_lineno).strip().startswith("with self._lock")
        if event == "line" and not is_lock and next(steps) == step:
            raise _Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except _Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interruption_at_any_line_keeps_nobody_waiting(database_url: str, schema: str) -> None:
    outcomes: list[object] = []

    def append(store: EventStore, name: str) -> None:
        for number in range(4):
            try:
                outcomes.append(store.append_to_stream(name, "any_version", events(number)))
            except StoreUnavailable as error:
                outcomes.append(error)

    for step in itertools.count(1):
        with EventStore(database_url, schema=schema) as store:
            store.stream_heads(["$all"])
            # Not of a pool, which would wait for those that hang.
            others = [threading.Thread(target=append, args=(store, f"s-{n}"), daemon=True) for n in range(3)]
            for other in others:
                other.start()
            was_interrupted = interrupt_at(step, lambda store=store: append(store, "main"))
            for other in others:
                other.join(10)
            assert not any(other.is_alive() for other in others), f"interrupted at step {step}"
            store.append_to_stream("main", "any_version", events("after"))
        if not was_interrupted:
            break
    assert step > 40
    with EventStore(database_url, schema=schema) as store:
        placed = [event.event_number for event in store.stream_all_forward()]
    assert placed == list(range(1, len(placed) + 1))
    known = [one.position for one in outcomes if isinstance(one, AppendResult)]
    assert len(set(known)) == len(known)
