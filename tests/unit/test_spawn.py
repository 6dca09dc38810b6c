"""How processes come into being, and what happens when none can."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import multiprocess.forkserver
import multiprocess.resource_tracker
import psutil
import pytest

from eventstore.runtime.spawn import end_fork_server, start_process
from eventstore.tests.support.wait import wait_until


def nothing() -> None:
    """What the processes do."""


def start() -> Any:
    return start_process("forkserver", nothing, (), "a child")


def start_if_possible() -> Any:
    try:
        return start()
    except OSError:
        return None


def test_a_fork_server_that_dies_meanwhile_is_trouble_of_the_system_and_passes() -> None:
    start().join()
    server: int = multiprocess.forkserver._forkserver._forkserver_pid
    # It takes the request, cannot answer, and is gone before it could.
    os.kill(server, signal.SIGSTOP)
    killer = threading.Timer(0.3, os.kill, (server, signal.SIGKILL))
    killer.start()
    with pytest.raises(OSError, match="the fork server ended while it made the process"):
        start()
    killer.join()
    again = wait_until(start_if_possible, "a new fork server makes processes")
    again.join()
    assert again.exitcode == 0


def test_the_fork_server_and_its_tracker_can_be_ended_and_come_again() -> None:
    start().join()
    server: int = multiprocess.forkserver._forkserver._forkserver_pid
    tracker: int = multiprocess.resource_tracker._resource_tracker._pid
    assert psutil.pid_exists(server)
    assert psutil.pid_exists(tracker)
    # One that hangs does not hold it up.
    os.kill(server, signal.SIGSTOP)
    end_fork_server(patience=60.0)
    assert not psutil.pid_exists(server)
    assert not psutil.pid_exists(tracker)
    end_fork_server()
    again = start()
    again.join()
    assert again.exitcode == 0


def test_a_fork_server_that_has_gone_with_its_folder_does_not_disturb_the_end() -> None:
    start().join()
    server = multiprocess.forkserver._forkserver
    os.kill(server._forkserver_pid, signal.SIGKILL)
    Path(server._forkserver_address).unlink()
    end_fork_server(patience=60.0)
    again = start()
    again.join()
    assert again.exitcode == 0


def test_a_tracker_that_somebody_holds_on_to_is_left_behind() -> None:
    start().join()
    held = os.dup(multiprocess.resource_tracker._resource_tracker._fd)
    tracker = psutil.Process(multiprocess.resource_tracker._resource_tracker._pid)
    end_fork_server(patience=0.0)
    assert tracker.is_running()
    os.close(held)
    tracker.wait(timeout=60)
