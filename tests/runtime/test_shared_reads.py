"""Ten subscriptions of one node to the same stream: the database is read for one."""

from __future__ import annotations

from eventstore.store import EventStore
from eventstore.tests.support.events import events
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until


def test_each_event_is_read_once_for_all(project: Project, event_store: EventStore) -> None:
    names = [f"s{number}" for number in range(10)]
    project.handlers(HANDLERS)
    # Of different windows, so that they ask for different numbers of events, and fall behind each other.
    project.configure(
        "\n".join(
            f'[[subscriptions]]\nname = "{name}"\nhandler = "my_handlers:plain"\nmax_size = {250 + 150 * index}\n'
            for index, name in enumerate(names)
        )
    )
    event_store.append_to_stream("a", 0, events(*range(2_000)))
    node = project.start().until_ready()
    node.until_idle(*names, at=2_000)
    wait_until(lambda: node.status()["listener"]["events_read"] == 2_000, "2,000 read", lambda: str(node.status()))
    before = node.status()["listener"]["reads"]
    for version in range(2_000, 2_020):
        event_store.append_to_stream("a", version, events(version))
        node.until_idle(*names, at=version + 1)
    wait_until(lambda: node.status()["listener"]["events_read"] == 2_020, "2,020 read", lambda: str(node.status()))
    # One for each append; more only where the poll was first to tell of it. Without sharing the end it was ten.
    assert node.status()["listener"]["reads"] - before < 60
    for name in names:
        assert sorted(int(line[0]) for line in calls(project, name)) == list(range(1, 2_021))


def test_events_deleted_for_good_are_not_handled_again_from_memory(
    project: Project, database_url: str, schema: str, event_store: EventStore
) -> None:
    project.handlers(HANDLERS)
    project.configure(
        "\n".join(f'[[subscriptions]]\nname = "{name}"\nhandler = "my_handlers:plain"\n' for name in ("s", "other"))
    )
    event_store.append_to_stream("personal", 0, events(1, 2, 3))
    event_store.append_to_stream("b", 0, events(4))
    node = project.start().until_ready()
    node.until_idle("s", "other", at=4)
    with EventStore(database_url, schema=schema, enable_hard_deletes=True) as store:
        store.delete_stream("personal", "any_version", "hard")
        store.reset_subscription("$all", "s", 0)
    wait_until(lambda: [c for c in calls(project, "s") if c[1] == "b"][1:], "b is handled again", lambda: node.log)
    node.until_idle("s", at=4)
    assert sorted(int(line[0]) for line in calls(project, "s")) == [1, 2, 3, 4, 4]
