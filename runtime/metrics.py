"""Every metric of the runtime: name, kind, help and labels in one place, and how a status becomes metrics.

One exporter for the whole node: the monitor. Series belong to subscriptions and to children by role and
name, never to process ids, so that a dead process leaves nothing behind and counters never go back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STATES = ("waiting", "catching_up", "live", "paused", "draining", "halted", "stopped", "failed")
"""The values of the label `state` of `eventstore_subscription_state`."""

NODE_GAUGES: dict[str, str] = {
    "eventstore_node_ready": (
        "1 when every process runs and every subscription is live, catching up, paused or on standby."
    ),
    "eventstore_node_uptime_seconds": "Seconds since the supervisor started.",
    "eventstore_listen_round_trip_seconds": "Time a notification to itself took last; absent while unknown.",
    "eventstore_listen_silent": "1 while notifications do not come through and polling finds the events.",
}
NODE_COUNTERS: dict[str, str] = {
    "eventstore_notifications": "Notifications received from PostgreSQL.",
    "eventstore_reads": "Pages of events read from the database.",
    "eventstore_events_read": "Events read from the database.",
}
SUBSCRIPTION_GAUGES: dict[str, str] = {
    "eventstore_subscription_checkpoint": "Last confirmed checkpoint of the subscription.",
    "eventstore_subscription_head": "Newest event number of the subscribed stream.",
    "eventstore_subscription_lag_events": "Events between checkpoint and head; absent while unknown.",
    "eventstore_subscription_in_flight": "Events delivered to workers and not finished.",
    "eventstore_subscription_buffered": "Events in memory and not finished, in flight included.",
    "eventstore_subscription_retrying": "Events that failed and wait for another attempt.",
    "eventstore_subscription_parked": "Parked events, those held behind others included.",
    "eventstore_subscription_workers": "Workers that are ready.",
    "eventstore_subscription_state": "1 for the state the subscription is in, 0 for the others.",
}
SUBSCRIPTION_COUNTERS: dict[str, str] = {
    "eventstore_events_finished": "Events finished: handled, skipped, or parked.",
    "eventstore_handler_failures": "Calls of the handler that ended in an exception.",
    "eventstore_events_skipped": "Events left out for good.",
    "eventstore_worker_crashes": "Workers that died of an event.",
}
CHILD_GAUGES: dict[str, str] = {
    "eventstore_process_up": "1 while the process runs and its loop turns.",
    "eventstore_process_unstable": "1 after more restarts within max_seconds than max_restarts.",
}
CHILD_COUNTERS: dict[str, str] = {"eventstore_process_restarts": "Restarts of the process."}


class StatusCollector(Collector):
    """Makes metrics of the newest status, for `prometheus_client`."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}
        """The status as `/status` shows it; empty before the first one came."""

    def collect(self) -> Iterator[Metric]:
        """All metrics of the status as it is now."""
        status = self.status
        if not status:
            return
        node = {
            "eventstore_node_ready": float(status["ready"]),
            "eventstore_node_uptime_seconds": status["uptime"],
            "eventstore_listen_round_trip_seconds": status["listener"]["listen_round_trip"],
            **{f"eventstore_{name}": value for name, value in status["listener"].items()},
        }
        for name, text in NODE_GAUGES.items():
            # Without a value the family has no sample: unknown is not 0.
            yield GaugeMetricFamily(name, text, value=node[name])
        for name, text in NODE_COUNTERS.items():
            yield CounterMetricFamily(name, text, value=node[name])
        yield from _subscription_metrics(status["subscriptions"])
        yield from _child_metrics(status["children"])


def _subscription_metrics(subscriptions: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    values = [
        (
            s,
            {
                "eventstore_subscription_checkpoint": s["checkpoint"],
                "eventstore_subscription_head": s["head"],
                "eventstore_subscription_lag_events": s["lag"],
                "eventstore_subscription_in_flight": s["in_flight"],
                "eventstore_subscription_buffered": s["buffered"],
                "eventstore_subscription_retrying": len(s["retrying"]),
                "eventstore_subscription_parked": s["parked"],
                "eventstore_subscription_workers": s["workers"],
                "eventstore_events_finished": s["finished"],
                "eventstore_handler_failures": s["failures"],
                "eventstore_events_skipped": s["skipped"],
                "eventstore_worker_crashes": s["crashes"],
            },
        )
        for s in subscriptions
    ]
    labels = ("subscription", "stream")
    for kind, metrics in ((GaugeMetricFamily, SUBSCRIPTION_GAUGES), (CounterMetricFamily, SUBSCRIPTION_COUNTERS)):
        for name, text in metrics.items():
            if name == "eventstore_subscription_state":
                continue
            family = kind(name, text, labels=labels)
            for subscription, numbers in values:
                if numbers[name] is not None:
                    family.add_metric((subscription["name"], subscription["stream"]), numbers[name])
            yield family
    yield _states(subscription for subscription, _ in values)


def _states(subscriptions: Iterable[dict[str, Any]]) -> Metric:
    name = "eventstore_subscription_state"
    family = GaugeMetricFamily(name, SUBSCRIPTION_GAUGES[name], labels=("subscription", "stream", "state"))
    for subscription in subscriptions:
        for state in STATES:
            labels = (subscription["name"], subscription["stream"], state)
            family.add_metric(labels, float(subscription["state"] == state))
    return family


def _child_metrics(children: list[dict[str, Any]]) -> Iterator[Metric]:
    values = {
        child["name"]: {
            "eventstore_process_up": float(child["state"] == "running"),
            "eventstore_process_unstable": float(child["unstable"]),
        }
        for child in children
    }
    for name, text in CHILD_GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=("process",))
        for process, numbers in values.items():
            gauge.add_metric((process,), numbers[name])
        yield gauge
    for name, text in CHILD_COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=("process",))
        for child in children:
            counter.add_metric((child["name"],), child["restarts"])
        yield counter
