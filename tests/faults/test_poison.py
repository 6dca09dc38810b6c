"""Events that kill: whatever dies of them, each ends with exact counts of calls, checkpoints and rows."""

from __future__ import annotations

import signal

import pytest

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.poison import (
    KINDS,
    OTHERS,
    POISON,
    append_all,
    begun,
    configure,
    done,
    effects,
    parked,
    remembered,
    steer,
    subscription,
    table,
)
from eventstore.tests.support.recording import calls
from eventstore.tests.support.wait import wait_until

# A worker dies of it


DEATHS = {
    "exit": "the worker died of it (exit code 7)",
    "segfault": "the worker died of it (SIGSEGV)",
    "killed": "the worker died of it (SIGKILL)",
    "hang": "the handler took longer than timeout = 0.3 s, so its worker was ended",
}
CALLS = {
    "plain": {POISON: 2},
    "transaction": {POISON: 2},
    # The first death leaves two suspects; each is called alone then, and only deaths of one alone are counted.
    "batch": {3: 2, POISON: 3},
    "batches": {3: 2, POISON: 3},
}
"""How often each event is given to the handler, where it is not once: what was finished before never comes again."""


def test_what_kills_is_delivered_as_often_as_it_may_kill_and_then_parked(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    names = [f"{how}-{kind}" for how in DEATHS for kind in KINDS]
    options = {"on_exhausted": "park", "max_crashes": 2}
    limits = {name: {"timeout": 0.3} if name.startswith("hang") else {} for name in names}
    wanted = [subscription(name, name.partition("-")[2], **options, **limits[name]) for name in names]
    configure(project, conn, *wanted, subscription("bystander"))
    append_all(event_store)
    node = project.start()
    node.until_idle(*names, "bystander", at=9)
    assert begun(project, "bystander") == {**OTHERS, POISON: 1}
    assert not [line for line in node.log.splitlines() if "child_exited" in line and "worker:bystander" in line]
    for name in names:
        how, _, kind = name.partition("-")
        assert parked(conn, project.schema, name) == [
            (POISON, "parked", 2, 2, f"{DEATHS[how]} (2 processes died of it)")
        ]
        given = begun(project, name)
        if kind == "transaction" and given[POISON - 1] == 2:
            # It shared the transaction that the first death has undone.
            given[POISON - 1] = 1
        assert given == {**OTHERS, **CALLS[kind]}, name
        assert effects(conn, project.schema, name) == (sorted(OTHERS) if kind in ("transaction", "batches") else [])
        assert remembered(conn, project.schema, name) == [(POISON, 3, 2)], "of what is finished nothing is left"
        assert done(conn, project.schema, name) == []
        state = node.subscription(name)
        assert (state["crashes"], state["parked"], state["failures"]) == (3 if "batch" in kind else 2, 1, 0), name
    assert node.terminate() == 0


def test_what_kills_halts_its_subscription_alone_and_stays_so(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    configure(
        project,
        conn,
        subscription("exit-halts", max_crashes=3),
        subscription("segfault-skips", on_exhausted="skip", max_crashes=1),
        subscription("killed-holds", on_exhausted="park_partition", concurrency=2),
        subscription("bystander"),
    )
    append_all(event_store)
    node = project.start()
    halted = node.until_state("exit-halts", "halted")
    assert halted["reason"] == ("halted at event 4: the worker died of it (exit code 7) (3 processes died of it)")
    node.until_idle("segfault-skips", "killed-holds", "bystander", at=9)
    node.until_idle("exit-halts", at=3)
    assert begun(project, "exit-halts")[POISON] == 3
    assert max(count for number, count in begun(project, "exit-halts").items() if number != POISON) == 1
    assert begun(project, "segfault-skips") == {**OTHERS, POISON: 1}
    assert begun(project, "killed-holds") == {n: 2 if n == POISON else 1 for n in (1, 2, 3, 4, 5, 6, 8, 9)}
    assert [row[:2] for row in parked(conn, project.schema, "killed-holds")] == [(4, "parked"), (7, "held")]
    node.kill()
    again = project.start()
    again.until_state("exit-halts", "halted")
    assert begun(project, "exit-halts")[POISON] == 3, "a crash of the node is no reason to try again"
    assert table(conn, project.schema, "runtime_subscriptions", "halted_at", "exit-halts") == [(POISON,)]


def test_attempts_outlive_the_node(project: Project, event_store: EventStore, conn: Connection) -> None:
    configure(
        project,
        conn,
        subscription("raise", max_attempts=5, retry_backoff_min=0.4, retry_backoff_max=0.4),
        subscription("exit", max_crashes=4, retry_backoff_min=0.4, retry_backoff_max=0.4),
    )
    append_all(event_store)
    for attempt in (2, 3):
        node = project.start()
        wait_until(
            lambda attempt=attempt: all(
                [row[1] for row in remembered(conn, project.schema, name) if row[0] == POISON] >= [attempt]
                for name in ("raise", "exit")
            ),
            "the next attempt is stored",
            lambda node=node: node.log,
        )
        node.kill()
        wait_until(lambda node=node: not node.living(), "the node is gone")
    last = project.start()
    last.until_state("raise", "halted")
    last.until_state("exit", "halted")
    attempts = {n: [int(line[3]) for line in calls(project, n) if line[0] == str(POISON)] for n in ("raise", "exit")}
    assert sorted(attempts["raise"]) == [1, 2, 3, 4, 5]
    assert sorted(attempts["exit"]) == [1, 2, 3, 4]


# The whole node dies of it


@pytest.mark.parametrize("kind", ["plain", "batches"])
def test_an_event_that_takes_whole_nodes_down_is_given_up(
    project: Project, event_store: EventStore, conn: Connection, kind: str
) -> None:
    """By the first nodes, and once more by those after an operator has had it retried, though others make progress."""
    configure(project, conn, subscription("node", kind, on_exhausted="park"))
    append_all(event_store)
    killed, head = 0, 9
    for _ in range(2):
        node, starts = _start_until_parked(project, event_store, conn)
        killed, head = killed + starts - 1, event_store.stream_heads(["$all"])["$all"]
        node.until_idle("node", at=head)
        assert parked(conn, project.schema, "node") == [(POISON, "parked", 2, 2, "the node ended while it was handled")]
        assert begun(project, "node")[POISON] == killed
        assert set(begun(project, "node")) == set(range(1, head + 1))
        if kind == "batches":
            assert effects(conn, project.schema, "node") == sorted({*range(1, head + 1)} - {POISON})
        steer(project, "parked", "retry", "node", "--all")
        assert node.wait() == -signal.SIGKILL, "this one dies of it, too"
        killed += 1


def _start_until_parked(project: Project, event_store: EventStore, conn: Connection) -> tuple[Node, int]:
    """Starts nodes until one of them has parked the event; that one, and how many it were."""
    for starts in range(1, 8):
        event_store.append_to_stream(f"new-{starts}", "any_version", [EventData("Happened", starts)])
        node = project.start()
        wait_until(
            lambda node=node: node.process.poll() is not None or _is_parked(conn, project.schema),
            "the node is dead, or the event is parked",
            lambda node=node: node.log,
        )
        if node.process.poll() is None:
            return node, starts
    raise AssertionError("it kills one node after the other")


def _is_parked(conn: Connection, schema: str) -> bool:
    return [row[1] for row in parked(conn, schema, "node")] == ["parked"]


def test_an_event_that_kills_the_fork_server_and_all_its_children_is_given_up(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    configure(project, conn, subscription("parent", on_exhausted="skip"), subscription("bystander"))
    append_all(event_store)
    node = project.start()
    node.until_idle("parent", "bystander", at=9)
    assert 3 <= begun(project, "parent")[POISON] <= 6
    assert "the node ended while it was handled" in node.log
    assert node.process.poll() is None, "the supervisor lives through it"
    assert node.terminate() == 0
