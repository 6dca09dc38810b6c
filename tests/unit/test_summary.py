"""From reports to the node's status: totals that never go back, one state, one verdict."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.routing import Phase
from eventstore.runtime.status import ChildStatus, ListenerReport, NodeStatus, SubscriptionReport
from eventstore.runtime.summary import Totals, summarize
from eventstore.tests.support.reports import encoded, listener, node_plan, running, subscription

NOTHING = ListenerReport(subscriptions=[])
COUNTERS = ("finished", "failures", "skipped")

counts = st.integers(0, 1_000)
# One life of a listener: its reports in order, each with the growth since the one before.
growths = st.fixed_dictionaries(dict.fromkeys((*COUNTERS, "notifications", "reads", "events_read"), counts))
lives = st.lists(st.lists(growths, max_size=4), max_size=5)


def status_of(
    report: ListenerReport = NOTHING, children: list[ChildStatus] | None = None, *, stopping: bool = False
) -> NodeStatus:
    return summarize(
        node_plan(),
        running() if children is None else children,
        report,
        uptime=1.23456,
        stopping=stopping,
        pid=42,
        monitor="http://127.0.0.1:1",
    )


def report_of(sums: dict[str, int]) -> ListenerReport:
    facts: dict[str, Any] = {name: sums[name] for name in COUNTERS}
    return listener(subscription("a", **facts), **{k: v for k, v in sums.items() if k not in COUNTERS})


def counters(report: ListenerReport) -> dict[str, int]:
    plain = msgspec.structs.asdict(report)
    for state in ("subscriptions", "listen_round_trip", "listen_silent"):
        del plain[state]
    for name in COUNTERS:
        plain[name] = sum(getattr(s, name) for s in report.subscriptions)
    return plain


@given(lives)
def test_totals_are_the_sum_over_all_lives_and_never_go_back(history: list[list[dict[str, int]]]) -> None:
    totals, expected = Totals(), dict.fromkeys((*COUNTERS, "notifications", "reads", "events_read"), 0)
    for life in history:
        sums = dict.fromkeys(expected, 0)
        newest = b""
        for growth in life:
            sums = {name: sums[name] + growth[name] for name in sums}
            expected = {name: expected[name] + growth[name] for name in expected}
            newest = encoded(report_of(sums))
            assert counters(totals.with_report(newest)) == expected
        totals.keep(newest)
        assert counters(totals.with_report(b"")) == expected


def test_without_a_listener_positions_stay_and_nothing_counts_as_running() -> None:
    totals = Totals()
    before = subscription(
        "a", checkpoint=7, head=9, in_flight=3, buffered=5, retrying={8: 2}, workers=2, idle=True, epoch=4, finished=7
    )
    totals.keep(encoded(listener(before)))
    (down,) = totals.with_report(b"").subscriptions
    assert (down.checkpoint, down.head, down.lag, down.finished) == (7, 9, 2, 7)
    assert (down.state, down.reason) == (Phase.WAITING, "the listener is down")
    assert (down.in_flight, down.buffered, down.retrying, down.workers, down.idle) == (0, 0, {}, 0, False)


def test_a_listener_that_died_before_its_first_report_changes_nothing() -> None:
    totals = Totals()
    totals.keep(encoded(listener(subscription("a", finished=7), reads=2)))
    totals.keep(b"")
    report = totals.with_report(encoded(listener(subscription("a", finished=1), reads=1)))
    assert (report.subscriptions[0].finished, report.reads) == (8, 3)
    assert report.subscriptions[0].state == "live"


def test_everything_running_is_ready() -> None:
    status = status_of(listener())
    assert (status.state, status.ready) == ("running", True)
    assert (status.node, status.pid, status.uptime, status.monitor) == ("one", 42, 1.235, "http://127.0.0.1:1")
    assert [s.name for s in status.subscriptions] == ["a", "b"]


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.CATCHING_UP, Phase.LIVE])
def test_standby_catching_up_and_live_are_ready(phase: Phase) -> None:
    assert status_of(listener(subscription("a", state=str(phase)), subscription("b"))).ready


@pytest.mark.parametrize("phase", [Phase.HALTED, Phase.DRAINING, Phase.STOPPED])
def test_any_other_phase_of_one_subscription_degrades_the_node(phase: Phase) -> None:
    status = status_of(listener(subscription("a", state=str(phase)), subscription("b")))
    assert (status.state, status.ready) == ("degraded", False)


def test_a_subscription_that_was_not_reported_yet_is_shown_as_starting() -> None:
    status = status_of(listener(subscription("b")))
    assert [(s.name, s.state, s.reason) for s in status.subscriptions] == [
        ("a", "waiting", "starting"),
        ("b", "live", ""),
    ]


def test_processes_without_a_report_are_only_starting() -> None:
    status = status_of(NOTHING)
    assert (status.state, status.ready) == ("starting", False)


def test_a_node_is_starting_while_its_processes_start_for_the_first_time() -> None:
    children = [ChildStatus(name="listener", state="starting"), ChildStatus(name="monitor", state="running")]
    assert status_of(NOTHING, children).state == "starting"
    assert status_of(listener(), children).state == "starting"


@pytest.mark.parametrize(
    "child",
    [
        ChildStatus(name="listener", state="backing_off", restarts=1),
        ChildStatus(name="listener", state="starting", restarts=1),
        ChildStatus(name="listener", state="failed"),
        ChildStatus(name="monitor", state="stopped"),
    ],
)
@pytest.mark.parametrize("report", [NOTHING, listener()])
def test_a_process_that_is_down_degrades_the_node(child: ChildStatus, report: ListenerReport) -> None:
    status = status_of(report, running(child))
    assert (status.state, status.ready) == ("degraded", False)


def test_a_restarted_process_that_runs_again_is_as_good_as_new() -> None:
    status = status_of(listener(), running(ChildStatus(name="listener", state="running", pid=8, restarts=3)))
    assert (status.state, status.ready) == ("running", True)


def test_a_child_that_has_done_its_work_is_not_missed() -> None:
    children = [*running(), ChildStatus(name="source", state="finished")]
    assert status_of(listener(), children).ready


@pytest.mark.parametrize("report", [NOTHING, listener()])
def test_a_stopping_node_is_never_ready(report: ListenerReport) -> None:
    status = status_of(report, stopping=True)
    assert (status.state, status.ready) == ("stopping", False)


def test_a_worker_that_cannot_start_is_its_subscriptions_reason() -> None:
    failed = ChildStatus(name="worker:b:0", state="failed", reason="there is no module 'x'")
    status = status_of(listener(), running(failed))
    shown = {s.name: (s.state, s.reason) for s in status.subscriptions}
    assert shown == {"a": ("live", ""), "b": ("failed", "there is no module 'x'")}
    assert not status.ready


def test_a_name_that_begins_like_another_is_not_confused_with_it() -> None:
    report = ListenerReport(subscriptions=[subscription("a"), subscription("a:b")])
    failed = ChildStatus(name="worker:a:b:0", state="failed", reason="broken")
    children = [ChildStatus(name="worker:a:0", state="running"), failed]
    status = summarize(node_plan("a", "a:b"), children, report, uptime=0, stopping=False, pid=1, monitor="")
    assert [s.state for s in status.subscriptions] == ["live", "failed"]


def test_reports_survive_the_heartbeat() -> None:
    report = listener(subscription("a", retrying={3: 2}, owner="two"), notifications=1)
    assert msgspec.msgpack.decode(encoded(report), type=ListenerReport) == report
    assert isinstance(Totals().with_report(encoded(report)).subscriptions[0], SubscriptionReport)


def test_a_listen_connection_that_is_silent_is_a_warning_and_no_reason_not_to_be_ready() -> None:
    status = status_of(listener(listen_silent=True))
    assert status.ready
    (warning,) = status.warnings
    assert "found by polling" in warning
    assert status_of(listener()).warnings == []


def test_the_silence_of_a_listener_ends_with_it() -> None:
    totals = Totals()
    totals.keep(encoded(listener(listen_silent=True, listen_round_trip=0.5)))
    between, after = totals.with_report(b""), totals.with_report(encoded(listener(listen_round_trip=0.25)))
    assert (between.listen_silent, between.listen_round_trip) == (False, None)
    assert (after.listen_silent, after.listen_round_trip) == (False, 0.25)


def test_a_process_that_does_not_settle_is_a_warning() -> None:
    unsettled = ChildStatus(name="worker:a:0", state="running", unstable=True, recent_restarts=12)
    (warning,) = status_of(listener(), running(unsettled)).warnings
    assert "worker:a:0 was restarted 12 times" in warning


def test_a_process_whose_loop_does_not_turn_makes_the_node_not_ready() -> None:
    status = status_of(listener(), running(ChildStatus(name="listener", state="silent", reason="no sign of life")))
    assert (status.state, status.ready) == ("degraded", False)
