"""Filtered subscriptions of a running node: what passes is handled, and the position moves over what does not."""

from __future__ import annotations

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until

PAID = """
    @handler(event_types=["Paid"], data_equals={"money.currency": "EUR"})
    def paid(event, context):
        note(event, context)
"""


def happened(event_type: str, *data: object) -> list[EventData]:
    return [EventData(event_type, one) for one in data]


def numbers(project: Project, subscription: str) -> list[int]:
    return sorted(int(line[0]) for line in calls(project, subscription))


def test_filters_of_every_kind_pass_what_they_say_and_reach_the_head(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS + PAID)
    project.configure("""
        [[subscriptions]]
        name = "types"
        handler = "my_handlers:plain"
        event_types = ["Paid", "Sent"]

        [[subscriptions]]
        name = "category"
        handler = "my_handlers:plain"
        category = "order"

        [[subscriptions]]
        name = "prefix"
        handler = "my_handlers:plain"
        stream_prefix = "order_%"

        [[subscriptions]]
        name = "data"
        handler = "my_handlers:paid"

        [[subscriptions]]
        name = "nothing"
        handler = "my_handlers:plain"
        data_equals = { "money.currency" = "XXX" }
    """)
    event_store.append_to_stream("order-1", 0, happened("Paid", *[{"money": {"currency": c}} for c in ("EUR", "USD")]))
    event_store.append_to_stream("order_%-1", 0, happened("Sent", {}))
    event_store.append_to_stream("noise-1", 0, happened("Noise", *range(3_000)))
    node = project.start().until_ready()
    names = ("types", "category", "prefix", "data", "nothing")
    node.until_idle(*names, at=3_003)
    event_store.append_to_stream("order-1", 2, happened("Paid", {"money": {"currency": "EUR"}}))
    event_store.append_to_stream("noise-1", 3_000, happened("Noise", *range(50)))
    node.until_idle(*names, at=3_054)
    assert {name: numbers(project, name) for name in names} == {
        "types": [1, 2, 3, 3_004],
        "category": [1, 2, 3_004],
        "prefix": [3],
        "data": [1, 3_004],
        "nothing": [],
    }
    assert node.terminate() == 0
    assert event_store.subscription("$all", "nothing").last_seen == 3_054
    project.start("--until-idle").wait()
    assert numbers(project, "types") == [1, 2, 3, 3_004], "the restart goes on after the checkpoint"


def test_a_filter_that_cannot_work_ends_the_start(project: Project) -> None:
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:plain"
        data_equals = { "money..currency" = "EUR" }
    """)
    node = project.start()
    assert node.wait() == 2
    assert "subscription 's'" in node.log
    assert "write it like 'account.currency'" in node.log


def test_events_of_ten_megabytes_come_one_at_a_time(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "big"
        handler = "my_handlers:plain"
        max_bytes = 1_000_000
    """)
    for version in range(6):
        event_store.append_to_stream("a", version, happened("Big", "x" * 10_000_000))
    event_store.append_to_stream("b", 0, happened("Small", *range(100)))
    node = project.start().until_ready()
    node.until_idle("big", at=106)
    assert numbers(project, "big") == list(range(1, 107))
    wait_until(
        lambda: node.status()["listener"]["reads"] >= 7, "each big event took a read", lambda: str(node.status())
    )


def test_a_filter_keeps_nobody_waiting_for_its_end(project: Project, event_store: EventStore) -> None:
    """A sparse filter over a long history, beside a subscription that is live: both arrive."""
    for version in range(0, 40_000, 4_000):
        event_store.append_to_stream("noise-1", version, happened("Noise", *range(4_000)))
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "sparse"
        handler = "my_handlers:plain"
        event_types = ["Rare"]

        [[subscriptions]]
        name = "live"
        handler = "my_handlers:plain"
        start_from = "current"
    """)
    node = project.start()
    node.until_state("live", "live")
    event_store.append_to_stream("rare-1", 0, happened("Rare", 1))
    node.until_idle("sparse", "live", at=40_001)
    assert numbers(project, "sparse") == [40_001]
    assert numbers(project, "live") == [40_001]
