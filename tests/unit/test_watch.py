"""What watches over a call: slow calls are said, not too often; the page is right at every moment."""

from __future__ import annotations

import os

import pytest
import structlog
from structlog.testing import capture_logs

from eventstore.runtime.at_hand import AtHand
from eventstore.runtime.watch import SlowLog, Watch


def test_slow_calls_are_logged_now_and_then_with_those_left_out() -> None:
    with capture_logs() as logs:
        slow = SlowLog(structlog.get_logger())
        for number, now in [(1, 0.0), (2, 1.0), (3, 29.9), (4, 30.0), (5, 31.0), (6, 90.0), (7, 120.0)]:
            slow.note(number, 6.25, now)
    said = [(line["event"], line["event_number"], line["seconds"], line.get("more_since_last")) for line in logs]
    assert said == [
        ("handler_slow", 1, 6.25, None),
        ("handler_slow", 4, 6.25, 2),
        ("handler_slow", 6, 6.25, 1),
        ("handler_slow", 7, 6.25, None),
    ]


@pytest.mark.parametrize(("slow_after", "slow"), [(0.0, True), (3600.0, False)])
def test_a_call_is_watched_from_its_begin_to_its_end(slow_after: float, slow: bool) -> None:
    page = AtHand.create()
    with capture_logs() as logs:
        watch = Watch(page, None, slow_after, structlog.get_logger())
        watch.begin(7, 9)
        at_hand = page.read()
        watch.end()
    assert at_hand is not None
    first, last, since = at_hand
    assert (first, last) == (7, 9)
    assert since <= watch.ended
    assert page.read() is None
    assert bool(logs) is slow
    page.close()


def test_the_page_is_read_by_whoever_has_its_descriptor() -> None:
    written = AtHand.create()
    read = AtHand(os.dup(written.fileno()))
    written.begin(3, 5, 1.5)
    assert read.read() == (3, 5, 1.5)
    written.begin(6, 6, 2.5)
    written.close()
    assert read.read() == (6, 6, 2.5), "it outlives its writer"
    read.close()
