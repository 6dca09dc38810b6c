"""Reads the configuration anew in a process of its own, for a node that is asked to while it runs.

The supervisor imports no user code and waits for nobody, so a short-lived child loads the file, imports the handlers,
settles every option, and answers with the plan, or with the one thing that is wrong.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..store.errors import ConfigurationError
from .actor import die_with_parent, end_process, ignore_signals
from .channel import socket_pair
from .config import load_config
from .inspector import declared_subscriptions
from .launch import build_plan, declared_handlers
from .plan import NodePlan, StorePlan
from .replanning import PlanAnswer, Planning
from .restart import ExitCode
from .spawn import start_process


class _Request(msgspec.Struct, frozen=True):
    file: str
    store: StorePlan


def planner(file: Path | None, plan: NodePlan) -> Callable[[], Planning] | None:
    """How a supervisor has the configuration read anew; None where there is no file that could have changed.

    Args:
        file: The configuration file.
        plan: What the node runs now; its store stays as it is.
    """
    if file is None:
        return None
    request = msgspec.msgpack.encode(_Request(str(file.absolute()), plan.store))

    def start() -> Planning:
        ours, theirs = socket_pair()
        with theirs:
            process = start_process(plan.start_method, planner_main, (request, theirs), "planner")
        return Planning(process, ours)

    return start


def planner_main(request_bytes: bytes, answer_to: socket.socket) -> None:
    """Runs in the child: answers with an encoded `PlanAnswer`, and ends."""
    ignore_signals()
    die_with_parent(answer_to)
    request = msgspec.msgpack.decode(request_bytes, type=_Request)
    try:
        config = load_config(Path(request.file), os.environ)
        subscriptions = declared_subscriptions(config.runtime.python_path, declared_handlers(config))
        answer = PlanAnswer(plan=build_plan(config, request.store, subscriptions).encode())
    except ConfigurationError as error:
        answer = PlanAnswer(problem=str(error))
    answer_to.sendall(msgspec.msgpack.encode(answer))
    end_process(ExitCode.OK)
