"""A supervisor whose children do nothing but die, as a program of its own: for what a thousand restarts leave behind.

    python -m eventstore.tests.support.storm RESTARTS

It prints what the supervisor, its fork server and a child that lives hold, at the beginning and in the end.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from eventstore.runtime.backoff import Backoff
from eventstore.runtime.logs import configure_logging
from eventstore.runtime.plan import NodePlan, StorePlan
from eventstore.runtime.restart import RestartPolicy
from eventstore.runtime.status import NodeStatus
from eventstore.runtime.supervisor import Supervisor
from eventstore.runtime.topology import ChildSpec

from .mayflies import build_mayfly, build_witness
from .node import environment
from .wait import wait_until

_WARM = 20


class Storm(Supervisor):
    """A supervisor of these children, and of none besides."""

    def _specs(self) -> list[ChildSpec]:
        return list(self._more)


def _held() -> dict[str, Any]:
    """What this process and its family hold at this moment."""
    family = psutil.Process().children(recursive=True)
    servers = [p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline()[:6])]
    witness = [p for p in family if "witness" in " ".join(p.cmdline())]
    return {
        "descriptors": psutil.Process().num_fds(),
        "fork server's descriptors": servers[0].num_fds(),
        "peer's descriptors": witness[0].num_fds(),
        "threads": psutil.Process().num_threads(),
        "zombies": sum(p.status() == psutil.STATUS_ZOMBIE for p in family),
        "shared memory": _names("/dev/shm", "sem.", "psm_", "pym-"),
        "temporary files": _names(tempfile.gettempdir(), ""),
    }


def _names(folder: str, *beginnings: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir() if path.name.startswith(beginnings))


def main(restarts: int) -> None:
    """Storms until so many children were restarted; without end for 0."""
    names = [f"worker:fly:{slot}" for slot in range(4)]
    specs = [ChildSpec(name="witness", role="source", build=build_witness, peers=tuple(names), stop_order=1)]
    specs += [
        ChildSpec(name=name, role="worker", build=build_mayfly, peers=("witness",), watched=False) for name in names
    ]
    policy = RestartPolicy(backoff=Backoff(minimum=0.001, maximum=0.002), max_restarts=10**9)
    store = StorePlan(url="postgresql://nowhere/x", session_url="postgresql://nowhere/x")
    plan = NodePlan(node="storm", store=store, subscriptions=(), restart=policy, heartbeat_interval=0.02)
    first: dict[str, Any] = {}
    configure_logging(plan.log)

    def observe(status: NodeStatus, _: Any) -> bool:
        flies = [child for child in status.children if child.name != "witness"]
        witness = next(child for child in status.children if child.name == "witness")
        done = sum(child.restarts for child in flies)
        # Between two lives of all flies, so that nothing is under way; a busy moment is looked at again next time.
        quiet = all(child.state == "backing_off" for child in flies) and witness.state == "running"
        if quiet and done >= _WARM and not first:
            first.update(_held(), restarts=done)
        if quiet and first and 0 < restarts <= done:
            print(json.dumps([first, {**_held(), "restarts": done}]), flush=True)  # noqa: T201
            return True
        return False

    raise SystemExit(int(Storm(plan, specs, observe).run()))


def _start(folder: Path, restarts: int, **streams: Any) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(parents=True)
    command = [sys.executable, "-m", "eventstore.tests.support.storm", str(restarts)]
    variables = environment(TMPDIR=str(folder / "tmp"))
    return subprocess.Popen(command, env=variables, text=True, start_new_session=True, **streams)


def run_storm(folder: Path, restarts: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was held at the beginning, and after so many restarts."""
    with (folder / "log").open("w") as log:
        process = _start(folder, restarts, stdout=subprocess.PIPE, stderr=log)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, (folder / "log").read_text()
    before, after = json.loads(output)
    return before, after


def signalled_storm(folder: Path, rng: random.Random) -> tuple[list[psutil.Process], str]:
    """Sends signals at random to a storm; who is left when it has ended, and its log."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        process = _start(folder, 0, stdout=log, stderr=log)
        wait_until(lambda: (folder / "log").read_text().count("child_exited") >= 3, "it storms")
        family = psutil.Process(process.pid).children(recursive=True)
        harmless = (signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG)
        for number in [*rng.choices(harmless, k=20), *rng.choices((signal.SIGTERM, signal.SIGINT), k=3)]:
            if process.poll() is None:
                process.send_signal(number)
            time.sleep(rng.uniform(0, 0.01))
        process.wait(timeout=60)
    wait_until(lambda: not [p for p in family if p.is_running()], "its family has ended")
    return [p for p in family if p.is_running()], (folder / "log").read_text()


if __name__ == "__main__":
    main(int(sys.argv[1]))
