"""The status as `/status` shows it."""

from __future__ import annotations

import json

import pytest

from eventstore.runtime.status import status_json
from eventstore.tests.support.reports import node_status, subscription


@pytest.mark.parametrize(
    ("checkpoint", "head", "lag"), [(5, 9, 4), (9, 9, 0), (9, 5, 0), (None, 9, None), (5, None, None), (0, 3, 3)]
)
def test_the_lag_is_what_lies_between_checkpoint_and_head(
    checkpoint: int | None, head: int | None, lag: int | None
) -> None:
    assert subscription(checkpoint=checkpoint, head=head).lag == lag


def test_the_status_as_json() -> None:
    status = json.loads(status_json(node_status(subscription("a", head=9, retrying={7: 2}), subscription("b"))))
    assert (status["node"], status["state"], status["ready"]) == ("one", "running", True)
    assert status["listener"] == {
        "notifications": 3,
        "reads": 4,
        "events_read": 50,
        "listen_round_trip": None,
        "listen_silent": False,
    }
    shown = status["subscriptions"][0]
    assert (shown["name"], shown["checkpoint"], shown["head"], shown["lag"]) == ("a", 5, 9, 4)
    assert shown["retrying"] == {"7": 2}
    assert status["children"][0] == {
        "name": "lock-holder",
        "state": "running",
        "pid": 7,
        "restarts": 0,
        "recent_restarts": 0,
        "unstable": False,
        "last_exit": "",
        "reason": "",
    }


def test_an_unknown_lag_is_null_not_zero() -> None:
    status = json.loads(status_json(node_status(subscription("a", head=None))))
    assert status["subscriptions"][0]["lag"] is None
