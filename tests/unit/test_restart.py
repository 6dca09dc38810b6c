"""Whether and when a child starts again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.backoff import Backoff
from eventstore.runtime.restart import ChildHistory, ExitCode, GiveUp, Restart, RestartPolicy, describe_exit

POLICY = RestartPolicy(backoff=Backoff(minimum=1, maximum=8, jitter=0), reset_after=60)
STEADY = RestartPolicy(backoff=Backoff(minimum=1, maximum=8, jitter=0), reset_after=5, max_restarts=3, max_seconds=60)
exits = st.integers(-64, 255).filter(lambda code: code not in (ExitCode.BOOT_FAILED, ExitCode.RETIRED))


def on_exit(
    history: ChildHistory, exit_code: int, lifetime: float = 0.5, now: float = 0.0, policy: RestartPolicy = POLICY
) -> Restart | GiveUp:
    return history.on_exit(policy, exit_code, lifetime=lifetime, now=now, random=0.0)


def test_exits_in_a_row_wait_longer_and_longer() -> None:
    history = ChildHistory()
    waits = [on_exit(history, 1) for _ in range(6)]
    assert waits == [Restart(1), Restart(2), Restart(4), Restart(8), Restart(8), Restart(8)]
    assert (history.restarts, history.failures, history.last_exit) == (6, 6, "exit code 1")


@pytest.mark.parametrize(("lifetime", "wait"), [(59.9, 8), (60.0, 1), (86_400.0, 1)])
def test_a_healthy_life_begins_the_back_off_anew(lifetime: float, wait: float) -> None:
    history = ChildHistory()
    for _ in range(3):
        on_exit(history, -9)
    assert on_exit(history, -9, lifetime) == Restart(wait)
    assert history.restarts == 4


@pytest.mark.parametrize("failed_before", [0, 5])
@pytest.mark.parametrize("lifetime", [0.0, 1_000.0])
def test_a_child_that_cannot_run_as_configured_is_given_up(failed_before: int, lifetime: float) -> None:
    history = ChildHistory()
    for _ in range(failed_before):
        on_exit(history, 1)
    assert on_exit(history, ExitCode.BOOT_FAILED, lifetime) == GiveUp()
    assert (history.restarts, history.last_exit) == (failed_before, "exit code 78")


def test_what_has_worked_is_never_given_up() -> None:
    """A password that is being changed, or a database that fails over, comes right again."""
    history = ChildHistory()
    history.worked = True
    assert on_exit(history, ExitCode.BOOT_FAILED) == Restart(1)
    assert on_exit(history, ExitCode.BOOT_FAILED) == Restart(2)


def test_restarts_too_close_together_wait_the_longest_back_off() -> None:
    """Each life is long enough to begin the back-off anew, and yet they are too many."""
    history = ChildHistory()
    waits = [on_exit(history, 1, lifetime=5.0, now=6.0 * turn, policy=STEADY) for turn in range(6)]
    assert waits == [Restart(1), Restart(1), Restart(1), Restart(8), Restart(8), Restart(8)]
    assert history.unstable(STEADY, 30.0)
    assert history.recent_restarts(STEADY, 30.0) == 6


def test_a_quiet_time_makes_a_child_stable_again() -> None:
    history = ChildHistory()
    for turn in range(6):
        on_exit(history, 1, lifetime=5.0, now=6.0 * turn, policy=STEADY)
    assert history.unstable(STEADY, 72.0)
    assert not history.unstable(STEADY, 72.1)
    assert on_exit(history, 1, lifetime=70.0, now=100.0, policy=STEADY) == Restart(1)


@given(st.lists(st.tuples(exits, st.floats(0, 200), st.floats(0, 1, exclude_max=True)), max_size=30))
def test_every_other_exit_leads_to_a_restart_within_the_bounds(
    history_of: list[tuple[int, float, float]],
) -> None:
    policy, history, in_a_row = RestartPolicy(), ChildHistory(), 0
    for exit_code, lifetime, random in history_of:
        in_a_row = 1 if lifetime >= policy.reset_after else in_a_row + 1
        decision = history.on_exit(policy, exit_code, lifetime=lifetime, now=1e6 * history.restarts, random=random)
        assert decision == Restart(policy.backoff.delay(in_a_row, random))
        assert 0.08 <= decision.delay <= 30
    assert history.restarts == len(history_of)


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [(0, "exit code 0"), (78, "exit code 78"), (-9, "SIGKILL"), (-15, "SIGTERM"), (-11, "SIGSEGV"), (-99, "signal 99")],
)
def test_an_exit_in_words(exit_code: int, words: str) -> None:
    assert describe_exit(exit_code) == words


def test_exit_codes_are_part_of_the_interface() -> None:
    expected = {"OK": 0, "FAILED": 1, "USAGE": 2, "RETIRED": 75, "BOOT_FAILED": 78}
    assert {code.name: code.value for code in ExitCode} == expected


def test_a_retired_worker_is_replaced_at_once_and_counts_as_no_failure() -> None:
    history = ChildHistory()
    on_exit(history, 1)
    assert on_exit(history, ExitCode.RETIRED) == Restart(0.0)
    assert (history.restarts, history.failures, history.last_exit) == (1, 1, "retired")
    assert on_exit(history, 1) == Restart(2)
