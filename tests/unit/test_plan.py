"""The plan of a node, as children get it."""

from __future__ import annotations

import msgspec
import pytest

from eventstore.handlers.resolve import Subscription
from eventstore.runtime.backoff import Backoff
from eventstore.runtime.launch import connections, where
from eventstore.runtime.plan import LogPlan, MonitorPlan, NodePlan
from eventstore.runtime.restart import RestartPolicy
from eventstore.tests.support.reports import node_plan


def test_a_plan_arrives_as_it_was_made() -> None:
    plan = node_plan(
        python_path=("/app", "/lib with space"),
        monitor=MonitorPlan(enabled=False, host="::1", port=0, any_port_if_taken=True),
        log=LogPlan(level="debug", format="json"),
        restart=RestartPolicy(backoff=Backoff(minimum=1, maximum=2, jitter=0), reset_after=3),
        start_method="spawn",
        grace=2.5,
    )
    assert NodePlan.decode(plan.encode()) == plan


def test_every_kind_of_option_arrives() -> None:
    subscription = Subscription(
        name="ä",
        handler="m:f",
        stream="orders",
        start_from=7,
        partition_by="data.id",
        transactional=True,
        buffer_size=3,
    )
    plan = msgspec.structs.replace(node_plan(), subscriptions=(subscription,))
    assert NodePlan.decode(plan.encode()).subscription("ä") == subscription


def test_connections_are_counted_as_they_are_opened() -> None:
    plain = Subscription(name="p", handler="m:f", concurrency=5)
    transactional = Subscription(name="t", handler="m:f", concurrency=2, transactional=True)
    assert connections(msgspec.structs.replace(node_plan(), subscriptions=(plain,))) == 3
    assert connections(msgspec.structs.replace(node_plan(), subscriptions=(plain, transactional))) == 5


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db.example:5433/shop", "db.example:5433/shop"),
        ("postgres://ann:se#cret@db.example/shop", "db.example/shop"),
        ("postgresql:///shop?host=/run/postgresql", "local/shop"),
        ("host=db.example dbname=shop password=secret", "db.example/shop"),
    ],
)
def test_the_log_says_where_the_store_is_without_a_password(url: str, shown: str) -> None:
    assert where(msgspec.structs.replace(node_plan().store, url=url)) == shown
