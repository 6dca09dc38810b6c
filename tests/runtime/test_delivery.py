"""A running node delivers: from the origin and live, in order, to every subscription, with every outcome."""

from __future__ import annotations

import pytest

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS, calls, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until


def happened(*data: object) -> list[EventData]:
    return [EventData("Happened", one) for one in data]


def numbers(project: Project, subscription: str, what: str = "done") -> list[int]:
    return sorted(int(line[0]) for line in calls(project, subscription) if line[4] == what)


def test_events_from_before_and_after_the_start_are_handled_once_each(
    project: Project, event_store: EventStore
) -> None:
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "all"
        handler = "my_handlers:plain"

        [[subscriptions]]
        name = "one-stream"
        handler = "my_handlers:plain"
        stream = "b"
    """)
    event_store.append_to_stream("a", 0, happened(*range(50)))
    event_store.append_to_stream("b", 0, happened(*range(20)))
    node = project.start().until_ready()
    node.until_idle("all", at=70)
    event_store.append_to_stream("b", 20, happened("live"))
    node.until_idle("all", at=71)
    node.until_idle("one-stream", at=21)
    assert numbers(project, "all") == list(range(1, 72))
    assert numbers(project, "one-stream") == list(range(1, 22))
    assert node.terminate() == 0


@pytest.mark.parametrize(("start_from", "first"), [('"origin"', 1), ('"current"', 6), ("3", 4)])
def test_a_new_subscription_starts_where_it_was_told(
    project: Project, event_store: EventStore, start_from: str, first: int
) -> None:
    project.handlers(HANDLERS)
    project.configure(f"""
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:plain"
        start_from = {start_from}
    """)
    event_store.append_to_stream("a", 0, happened(*range(5)))
    node = project.start()
    node.until_state("s", "live")
    event_store.append_to_stream("a", 5, happened(5))
    node.until_idle("s", at=6)
    assert numbers(project, "s") == list(range(first, 7))


def test_a_restarted_node_goes_on_after_its_checkpoint(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure('[[subscriptions]]\nname = "s"\nhandler = "my_handlers:plain"')
    event_store.append_to_stream("a", 0, happened(*range(30)))
    first = project.start("--until-idle")
    assert first.wait() == 0
    assert event_store.subscription("$all", "s").last_seen == 30
    event_store.append_to_stream("a", 30, happened("more"))
    assert project.start("--until-idle").wait() == 0
    assert numbers(project, "s") == list(range(1, 32))


def test_partitions_keep_their_order_with_several_workers(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "counter"
        handler = "my_handlers:count"
        concurrency = 3
        partition_by = "stream"
        transactional = true
        transaction_size = 7
        buffer_size = 20
    """)
    for version in range(0, 60, 10):
        for stream in ("a", "b", "c", "d", "e"):
            event_store.append_to_stream(stream, version, happened(*[{}] * 10))
    assert project.start("--until-idle").wait() == 0
    assert totals(conn, project.schema) == dict.fromkeys("abcde", 60)
    assert orders(conn, project.schema) == {stream: list(range(1, 61)) for stream in "abcde"}


def test_each_outcome_does_what_it_says(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "moody"
        handler = "my_handlers:moody"
        partition_by = "stream"
        retry_backoff_min = 0.01
    """)
    event_store.append_to_stream("r", 0, happened({"wish": "retry", "times": 3}, {}))
    event_store.append_to_stream("e", 0, happened({"wish": "raise", "times": 2}, {}))
    event_store.append_to_stream("s", 0, happened({"wish": "skip", "times": 9}, {}))
    event_store.append_to_stream("n", 0, happened({"wish": "nonsense"}, {}))
    node = project.start()
    node.until_idle("moody", at=8)
    per_stream = {
        stream: [(line[2], line[3], line[4]) for line in calls(project, "moody") if line[1] == stream]
        for stream in "resn"
    }
    later = ("2", "1", "done")
    assert per_stream["r"] == [*[("1", str(n), "retry") for n in (1, 2, 3)], ("1", "4", "done"), later]
    assert per_stream["e"] == [("1", "1", "raise"), ("1", "2", "raise"), ("1", "3", "done"), later]
    assert per_stream["s"] == [("1", "1", "skip"), later]
    assert per_stream["n"] == [("1", "1", "nonsense"), ("1", "2", "done"), later]
    subscription = node.subscription("moody")
    assert subscription["failures"] == 3
    assert subscription["skipped"] == 1
    assert subscription["finished"] == 8


def test_a_halted_subscription_is_seen_and_stops_nobody_else(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "moody"
        handler = "my_handlers:moody"
        max_attempts = 2
        retry_backoff_min = 0.01

        [[subscriptions]]
        name = "calm"
        handler = "my_handlers:plain"
    """)
    event_store.append_to_stream("a", 0, happened({}, {"wish": "raise", "times": 9}, {}))
    node = project.start()
    halted = node.until_state("moody", "halted")
    assert "halted at event 2" in halted["reason"]
    assert "ValueError: out of temper" in halted["reason"]
    node.until_idle("moody", at=1)
    node.until_idle("calm", at=3)
    code, body = node.get("/readyz")
    assert code == 503
    assert b"moody is halted" in body
    assert node.get("/healthz")[0] == 200
    assert node.terminate() == 0
    assert "Traceback" in node.log, "the first failure is logged in full"
    assert node.log.count("Traceback") == 1


def test_until_idle_fails_when_a_subscription_halts(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure('[[subscriptions]]\nname = "moody"\nhandler = "my_handlers:moody"')
    event_store.append_to_stream("a", 0, happened({"wish": "stop"}))
    node = project.start("--until-idle")
    assert node.wait() == 1
    assert "error: subscription 'moody': halted at event 1: no further" in node.log


def test_a_handler_that_cannot_be_decoded_for_names_the_event(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:plain"
        max_attempts = 1
    """)
    (event,) = happened({})
    event_store.append_to_stream("a", 0, [event])
    conn.execute(f'alter table "{project.schema}".events disable trigger user')
    conn.execute(f"""update "{project.schema}".events set data = '\\x7b'""")
    halted = project.start().until_state("s", "halted")
    assert "halted at event 1: DeserializationFailed" in halted["reason"]


TYPED = """
    from dataclasses import dataclass

    from eventstore import EventTypes, TypedSerializer

    types = EventTypes()
    serializer = TypedSerializer(types)

    @types.register
    @dataclass
    class Happened:
        key: str

    def by_key(event):
        return event.data.key

    def note(event, context):
        assert isinstance(event.data, Happened)
        context.connection.execute(f'insert into "{context.schema}".noted values (%s)', [event.data.key])
"""


def test_workers_and_partition_functions_get_what_the_stores_serializer_makes(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    conn.execute(f'create table "{project.schema}".noted (key text)')
    project.handlers(TYPED)
    project.configure("""
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:note"
        partition_by = "my_handlers:by_key"
        concurrency = 2
        transactional = true
    """)
    event_store.append_to_stream("a", 0, happened({"key": "x"}, {"key": "y"}))
    project.start(EVENTSTORE__STORE__SERIALIZER="my_handlers:serializer").until_ready().until_idle("s", at=2)
    assert conn.execute(f'select array_agg(key order by key) from "{project.schema}".noted').fetchone() == (["x", "y"],)


@pytest.mark.parametrize(
    ("partition_by", "on_exhausted", "held"),
    [("stream", "skip", [2]), ("stream", "halt", [2]), ("data.key", "skip", [])],
)
def test_an_event_that_cannot_be_decoded_stops_no_other_partition(
    project: Project,
    event_store: EventStore,
    conn: Connection,
    partition_by: str,
    on_exhausted: str,
    held: list[int],
) -> None:
    project.handlers(HANDLERS)
    project.configure(f"""
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:plain"
        concurrency = 2
        partition_by = "{partition_by}"
        max_attempts = 5
        retry_backoff_min = 0.5
        on_exhausted = "{on_exhausted}"
    """)
    event_store.append_to_stream("broken", 0, happened({"key": "a"}, {"key": "b"}))
    event_store.append_to_stream("whole", 0, happened({"key": "c"}, {"key": "d"}))
    broken = event_store.read_stream_forward("broken")[0]
    conn.execute(f'alter table "{project.schema}".events disable trigger user')
    conn.execute(f"""update "{project.schema}".events set data = '\\x7b' where event_id = %s""", [broken.event_id])
    node = project.start().until_ready()
    others = [number for number in (2, 3, 4) if number not in held]
    wait_until(lambda: numbers(project, "s") == others, "the others are handled first", lambda: node.log)
    if on_exhausted == "skip":
        node.until_idle("s", at=4)
        assert numbers(project, "s") == [2, 3, 4]
        assert f"event 1 ({broken.event_id}" in node.log
    else:
        reason = node.until_state("s", "halted")["reason"]
        assert reason.startswith(f"halted at event 1: DeserializationFailed: event 1 ({broken.event_id}")
        node.until_idle("s", at=0)


def test_slow_events_do_not_queue_up_at_the_worker_that_was_first(project: Project, event_store: EventStore) -> None:
    """Whoever is free takes the next one, however large the buffers may become."""
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "slow"
        handler = "my_handlers:slow"
        concurrency = 3
    """)
    node = project.start().until_ready()
    wait_until(lambda: node.subscription("slow").get("workers") == 3, "all workers have joined", lambda: node.log)
    event_store.append_to_stream("a", 0, happened(*[{"seconds": 0.3}] * 12))
    node.until_idle("slow", at=12)
    shares = [len(file.read_text().splitlines()) // 2 for file in (project.folder / "calls").glob("slow.*")]
    assert sum(shares) == 12
    assert len(shares) == 3, f"one worker had nothing to do: {shares}"
    assert max(shares) <= 6, f"one worker had most of it: {shares}"
