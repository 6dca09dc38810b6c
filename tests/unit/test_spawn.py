"""How processes come into being, and what happens when none can."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import multiprocess.forkserver
import pytest

from eventstore.runtime.spawn import start_process
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
