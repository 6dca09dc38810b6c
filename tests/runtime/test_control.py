"""Operators steer subscriptions by command, while nodes run and while none does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg import sql

from eventstore.store import Connection, EventData, EventStore, Statements, run
from eventstore.store.subscriptions import begin_epoch, create_subscription, save_checkpoint
from eventstore.tests.support.node import Node, Project, command
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until

PLAIN = """
    [[subscriptions]]
    name = "s"
    handler = "my_handlers:{handler}"
    retry_backoff_min = 0.01
    retry_backoff_max = 0.02
    {more}
"""

MENDED = (
    HANDLERS
    + '''
    def mended(event, context):
        """Works once somebody has mended it, but never with what is broken."""
        works = Path(__file__).with_name("mended").exists() and event.data != "broken"
        note(event, context, "done" if works else "raise")
        if not works:
            raise ValueError("out of order")
'''
)


def prepare(project: Project, handler: str = "plain", more: str = "") -> None:
    project.handlers(HANDLERS)
    project.configure(PLAIN.format(handler=handler, more=more))


def steer(project: Project, *arguments: str, code: int = 0) -> Any:
    """Runs a command; its answer as JSON, or what it complains about."""
    done = command(*arguments, *(() if code else ("--json",)), cwd=project.folder)
    assert done.returncode == code, done.stderr
    if code:
        assert "Traceback" not in done.stderr
        return done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines if arguments[:2] == ("parked", "list") else lines[0]


def append(event_store: EventStore, *data: object, stream: str = "a") -> None:
    event_store.append_to_stream(stream, "any_version", [EventData("E", one) for one in data])


def numbers(project: Project, what: str = "done") -> list[int]:
    return sorted(int(line[0]) for line in calls(project, "s") if line[4] == what)


def until_paused(node: Node) -> None:
    node.until_state("s", "paused")


def test_a_paused_subscription_delivers_nothing_until_it_is_resumed(project: Project, event_store: EventStore) -> None:
    prepare(project)
    append(event_store, 1, 2)
    node = project.start().until_ready()
    node.until_idle("s", at=2)
    assert steer(project, "pause", "s") == {"paused": "s"}
    until_paused(node)
    assert node.status()["ready"], "it is what an operator wants"
    append(event_store, 3)
    wait_until(lambda: (node.subscription("s").get("head") or 0) >= 3, "the node knows of the event")
    assert node.subscription("s")["checkpoint"] == 2
    assert steer(project, "resume", "s") == {"resumed": "s"}
    node.until_idle("s", at=3)
    assert numbers(project) == [1, 2, 3]


def test_what_was_wanted_while_no_node_ran_holds_when_one_starts(project: Project, event_store: EventStore) -> None:
    prepare(project)
    append(event_store, 1, 2, 3)
    node = project.start()
    node.until_idle("s", at=3)
    assert node.terminate() == 0
    steer(project, "pause", "s")
    steer(project, "reset", "s", "--to", "1")
    again = project.start()
    until_paused(again)
    assert again.subscription("s")["checkpoint"] == 1
    steer(project, "resume", "s")
    again.until_idle("s", at=3)
    assert numbers(project) == [1, 2, 2, 3, 3]


def test_a_reset_works_while_nodes_run_and_with_fresh_workers(project: Project, event_store: EventStore) -> None:
    prepare(project)
    append(event_store, 1, 2, 3)
    node = project.start().until_ready()
    node.until_idle("s", at=3)
    worker = node.children()["worker:s:0"]
    assert steer(project, "reset", "s", "--to", "0") == {"reset": "s", "to": 0, "from": 3}
    wait_until(lambda: numbers(project) == [1, 1, 2, 2, 3, 3], "all are handled again", lambda: node.log)
    node.until_idle("s", at=3)
    wait_until(lambda: node.children().get("worker:s:0") not in (None, worker), "the worker is a fresh one")
    assert "restarts" not in node.log


def test_reset_to_a_time(project: Project, event_store: EventStore) -> None:
    prepare(project)
    append(event_store, 1, 2)
    since = event_store.read_stream_forward("a")[1].created_at
    append(event_store, 3)
    third = event_store.read_stream_forward("a")[2].created_at
    node = project.start()
    node.until_idle("s", at=3)
    assert node.terminate() == 0
    assert steer(project, "reset", "s", "--since", third.isoformat())["to"] == 2
    assert steer(project, "reset", "s", "--since", since.isoformat())["to"] == 0
    assert steer(project, "reset", "s", "--since", "2999-01-01T00:00:00Z")["to"] == 3


def test_a_halted_subscription_is_resumed_or_skips(project: Project, event_store: EventStore) -> None:
    prepare(project, "mended", 'max_attempts = 2\n    partition_by = "stream"')
    project.handlers(MENDED)
    append(event_store, 1, 2, "broken", 4)
    node = project.start()
    halted = node.until_state("s", "halted")
    assert "halted at event 1: ValueError: out of order (attempt 2, the last one)" in halted["reason"]
    (lag,) = json.loads(command("status", "--json", cwd=project.folder).stdout)
    assert (lag["halted_at"], lag["paused"], lag["parked"]) == (1, False, 0)
    (project.folder / "mended").touch()
    steer(project, "resume", "s")
    wait_until(lambda: 2 in numbers(project), "both events are handled now", lambda: node.log)
    halted = node.until_state("s", "halted")
    assert "halted at event 3" in halted["reason"]
    assert numbers(project, "raise") == [1, 1, 3, 3]
    assert steer(project, "skip", "s") == {"skipped": 3, "subscription": "s"}
    node.until_idle("s", at=4)
    assert numbers(project) == [1, 2, 4]


def test_a_halt_outlives_a_crash_of_the_node_and_ends_with_an_orderly_restart(
    project: Project, event_store: EventStore
) -> None:
    prepare(project, "moody", "max_attempts = 1")
    append(event_store, {"wish": "raise", "times": 1})
    node = project.start()
    node.until_state("s", "halted")
    node.kill()
    again = project.start()
    again.until_state("s", "halted")
    assert numbers(project, "raise") == [1], "nobody has looked at it yet"
    assert again.terminate() == 0
    third = project.start()
    wait_until(lambda: numbers(project, "raise") == [1, 1], "after an orderly restart it is tried again")
    third.until_state("s", "halted")


def test_a_checkpoint_ahead_of_the_stream_halts_until_it_is_set_right(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    """As after the restore of an older backup of the events: new ones would pass unseen until it is reached."""
    prepare(project)
    append(event_store, 1, 2, 3)
    node = project.start()
    node.until_idle("s", at=3)
    assert node.terminate() == 0
    conn.execute(sql.SQL("update {}.subscriptions set last_seen = 10").format(sql.Identifier(project.schema)))
    again = project.start()
    halted = again.until_state("s", "halted")
    assert "the checkpoint 10 is ahead of the stream, which ends at 3" in halted["reason"]
    (lag,) = json.loads(command("status", "--json", cwd=project.folder).stdout)
    assert lag["halted_at"] == 10
    steer(project, "reset", "s", "--to", "3")
    append(event_store, 4)
    again.until_idle("s", at=4)
    assert numbers(project) == [1, 2, 3, 4]


def test_restart_begins_anew(project: Project, event_store: EventStore) -> None:
    prepare(project)
    append(event_store, 1)
    node = project.start().until_ready()
    node.until_idle("s", at=1)
    worker = node.children()["worker:s:0"]
    assert steer(project, "restart", "s") == {"restarted": "s"}
    wait_until(lambda: node.children().get("worker:s:0") not in (None, worker), "the worker is a fresh one")
    append(event_store, 2)
    node.until_idle("s", at=2)
    assert numbers(project) == [1, 2]


def test_a_subscription_is_deleted_once_no_node_runs_it(project: Project, event_store: EventStore) -> None:
    prepare(project)
    append(event_store, 1, 2)
    node = project.start()
    node.until_idle("s", at=2)
    owner = node.status()["node"]
    complaint = steer(project, "delete", "s", "--force", code=2)
    assert f"subscription 's' is being run by node {owner!r}; take it out of the configuration" in complaint
    append(event_store, 3)
    node.until_idle("s", at=3)
    assert node.terminate() == 0
    asked = command("delete", "s", cwd=project.folder, stdin="n\n")
    assert "Delete subscription 's' of stream '$all', which is at event 3?" in asked.stdout
    assert asked.returncode == 1
    assert [one.subscription_name for one in event_store.subscriptions()] == ["s"]
    assert steer(project, "delete", "s", "--force") == {"deleted": "s"}
    assert not event_store.subscriptions()
    again = project.start()
    again.until_idle("s", at=3)
    assert numbers(project) == [1, 1, 2, 2, 3, 3], "declared again, it begins anew"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("pause", "t"), "subscription 't'"),
        (("delete", "t"), "subscription 't'"),
        (("reset", "s"), "give either --to N or --since TIME"),
        (("reset", "s", "--to", "1", "--since", "2026-01-01T00:00:00Z"), "give either --to N or --since TIME"),
        (("reset", "s", "--to", "9"), "give a number from 0 to 2"),
        (("reset", "s", "--since", "yesterday"), "is no time; write it like 20"),
        (("reset", "s", "--since", "2026-01-01T00:00:00"), "has no time zone"),
        (("skip", "s"), "is not halted; name the event to skip"),
        (("skip", "s", "--event", "1"), "event 1 is finished already"),
        (("skip", "s", "--event", "3"), "event 3 is not there yet"),
        (("skip", "s", "--event", "x"), "'--event': 'x' is not a whole number"),
        (("parked", "list", "s", "--count", "0"), "'--count': '0' is less than 1"),
        (("parked", "retry", "s"), "say which parked events"),
        (("parked", "retry", "s", "--all", "--event", "1"), "--all is every parked event"),
        (("parked", "show", "s", "--event", "1"), "event 1 of subscription 's' is not parked"),
    ],
)
def test_what_cannot_be_done_is_one_clear_sentence(
    project: Project, event_store: EventStore, arguments: tuple[str, ...], complaint: str
) -> None:
    prepare(project)
    append(event_store, 1, 2)
    statements = Statements(project.schema)
    with event_store.open_session("test") as conn:
        number = run(conn, create_subscription(statements, "$all", "s")).subscription_id
        run(conn, save_checkpoint(statements, number, run(conn, begin_epoch(statements, number, "n")).epoch, 2))
    code = 1 if arguments[1] == "t" else 2
    assert complaint in steer(project, *arguments, code=code)


def test_a_stream_that_begins_anew_halts_its_subscription_and_is_followed_after_a_reset(
    project: Project, database_url: str, schema: str, event_store: EventStore
) -> None:
    project.handlers(HANDLERS)
    project.configure(
        PLAIN.format(handler="plain", more='stream = "a"'), runtime="heartbeat_interval = 0.1\npoll_interval = 0.1"
    )
    event_store.append_to_stream("a", 0, [EventData("E", {}) for _ in range(10)])
    node = project.start().until_ready()
    node.until_idle("s", at=10)
    with EventStore(database_url, schema=schema, enable_hard_deletes=True) as store:
        store.delete_stream("a", "any_version", "hard")
    event_store.append_to_stream("a", 0, [EventData("E", {}) for _ in range(3)])
    halted = node.until_state("s", "halted")
    assert "the checkpoint 10 is ahead of the stream, which ends at 3" in halted["reason"]
    event_store.reset_subscription("a", "s", 0)
    node.until_idle("s", at=3)
    event_store.append_to_stream("a", 3, [EventData("E", {}) for _ in range(3)])
    node.until_idle("s", at=6)
    assert sorted(int(line[0]) for line in calls(project, "s")) == sorted([*range(1, 11), *range(1, 7)])
    assert node.terminate() == 0
