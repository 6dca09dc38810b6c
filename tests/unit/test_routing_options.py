"""A subscription's options and the routing machine's have defaults of their own; they must be the same ones."""

from __future__ import annotations

from eventstore.handlers.resolve import Subscription
from eventstore.runtime.entries import routing_options
from eventstore.runtime.routing import RoutingOptions


def test_the_defaults_agree() -> None:
    assert routing_options(Subscription(name="s", handler="m:f")) == RoutingOptions()


def test_every_option_of_the_machine_reaches_it() -> None:
    given = {
        "max_size": 7,
        "checkpoint_threshold": 8,
        "checkpoint_after": 9.0,
        "max_attempts": 10,
        "retry_backoff_min": 11.0,
        "retry_backoff_max": 12.0,
        "on_exhausted": "skip",
        "max_bytes": 13,
        "max_crashes": 14,
        "max_parked": 15,
        "max_parked_per_partition": 16,
    }
    subscription = Subscription(name="s", handler="m:f", placement="pinned", **given)  # type: ignore[arg-type]
    assert routing_options(subscription) == RoutingOptions(page_size=7, pinned=True, **given)  # type: ignore[arg-type]
    assert set(given) | {"page_size", "pinned"} == set(RoutingOptions.__struct_fields__)
