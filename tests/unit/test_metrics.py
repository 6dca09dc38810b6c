"""The metrics, read back as Prometheus reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from eventstore.runtime import metrics
from eventstore.runtime.routing import Phase
from eventstore.runtime.status import ChildStatus, status_json
from eventstore.tests.support.reports import listener, node_status, running, subscription

GAUGES = {**metrics.NODE_GAUGES, **metrics.SUBSCRIPTION_GAUGES, **metrics.CHILD_GAUGES}
COUNTERS = {**metrics.NODE_COUNTERS, **metrics.SUBSCRIPTION_COUNTERS, **metrics.CHILD_COUNTERS}


def scrape(**facts: Any) -> dict[str, Metric]:
    """The families of a status, parsed from the exposition."""
    collector, registry = metrics.StatusCollector(), CollectorRegistry()
    registry.register(collector)
    collector.status = json.loads(status_json(node_status(*facts.pop("subscriptions", ()), **facts)))
    return {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}


def values(family: Metric, label: str) -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in family.samples}


def test_every_metric_is_there_with_its_type_and_help() -> None:
    found = {name: (family.type, family.documentation) for name, family in scrape().items()}
    expected = {name: ("gauge", text) for name, text in GAUGES.items()}
    expected |= {name: ("counter", text) for name, text in COUNTERS.items()}
    assert found == expected


def test_counters_end_in_total() -> None:
    families = scrape()
    for name in COUNTERS:
        assert {sample.name for sample in families[name].samples} == {f"{name}_total"}


def test_series_belong_to_names_never_to_processes() -> None:
    labels = {label for family in scrape().values() for sample in family.samples for label in sample.labels}
    assert labels == {"subscription", "stream", "state", "process"}


def test_the_numbers_are_those_of_the_status() -> None:
    busy = subscription(
        "a",
        stream="orders",
        checkpoint=5,
        head=9,
        in_flight=2,
        buffered=3,
        retrying={7: 2, 8: 4},
        workers=2,
        finished=11,
        failures=6,
        skipped=1,
    )
    families = scrape(subscriptions=[busy])
    expected = {
        "eventstore_subscription_checkpoint": 5,
        "eventstore_subscription_head": 9,
        "eventstore_subscription_lag_events": 4,
        "eventstore_subscription_in_flight": 2,
        "eventstore_subscription_buffered": 3,
        "eventstore_subscription_retrying": 2,
        "eventstore_subscription_workers": 2,
        "eventstore_events_finished": 11,
        "eventstore_handler_failures": 6,
        "eventstore_events_skipped": 1,
    }
    for name, value in expected.items():
        (sample,) = families[name].samples
        assert (sample.labels, sample.value) == ({"subscription": "a", "stream": "orders"}, value), name


@pytest.mark.parametrize("unknown", ["checkpoint", "head"])
def test_what_is_unknown_has_no_series(unknown: str) -> None:
    families = scrape(subscriptions=[subscription("a", **{unknown: None}), subscription("b")])
    assert set(values(families["eventstore_subscription_lag_events"], "subscription")) == {"b"}
    assert set(values(families[f"eventstore_subscription_{unknown}"], "subscription")) == {"b"}


def test_the_state_is_one_of_a_fixed_set() -> None:
    assert set(metrics.STATES) == {str(phase) for phase in Phase} | {"failed"}
    for state in metrics.STATES:
        family = scrape(subscriptions=[subscription("a", state=state)])["eventstore_subscription_state"]
        assert values(family, "state") == {name: float(name == state) for name in metrics.STATES}


def test_the_node() -> None:
    families = scrape(ready=False)
    (ready,) = families["eventstore_node_ready"].samples
    (uptime,) = families["eventstore_node_uptime_seconds"].samples
    assert (ready.value, uptime.value) == (0.0, 12.5)
    read = {name: families[name].samples[0].value for name in metrics.NODE_COUNTERS}
    assert read == {"eventstore_notifications": 3, "eventstore_reads": 4, "eventstore_events_read": 50}


def test_processes_are_up_or_not_and_their_restarts_are_counted() -> None:
    families = scrape(children=running(ChildStatus(name="listener", state="backing_off", restarts=3)))
    up = values(families["eventstore_process_up"], "process")
    assert {name for name, value in up.items() if not value} == {"listener"}
    assert values(families["eventstore_process_restarts"], "process")["listener"] == 3


def test_names_with_odd_characters_are_escaped() -> None:
    name = 'say "hi"\\ there\n'
    family = scrape(subscriptions=[subscription(name)])["eventstore_subscription_checkpoint"]
    assert set(values(family, "subscription")) == {name}


def test_before_the_first_status_there_is_nothing() -> None:
    assert list(metrics.StatusCollector().collect()) == []


def test_the_health_of_listen_and_of_processes() -> None:
    deaf = listener(listen_silent=True, listen_round_trip=0.25)
    unsettled = running(ChildStatus(name="listener", state="silent", unstable=True))
    families = scrape(listener=deaf, children=unsettled)
    assert families["eventstore_listen_silent"].samples[0].value == 1
    assert families["eventstore_listen_round_trip_seconds"].samples[0].value == 0.25
    assert values(families["eventstore_process_unstable"], "process")["listener"] == 1
    assert values(families["eventstore_process_up"], "process")["listener"] == 0
    assert not scrape()["eventstore_listen_round_trip_seconds"].samples, "unknown is not 0"
