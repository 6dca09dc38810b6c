"""A real node in processes of its own, started as a user starts it, watched through its monitor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from .wait import wait_until

COMMAND = (sys.executable, "-m", "eventstore.runtime")


def environment(**variables: str) -> dict[str, str]:
    """The environment of a fresh shell, without what the test run itself was configured with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSTORE")}
    return {**kept, "PYTHONWARNINGS": "default", **variables}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def command(*arguments: str, cwd: Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of eventstore-runtime to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Project:
    """A user's project folder: handlers and a supervisor.toml."""

    def __init__(self, folder: Path, url: str, schema: str) -> None:
        self.folder = folder
        self.url = url
        self.schema = schema
        self.variables: dict[str, str] = {}
        """Environment variables of every node that is started from here on."""
        self._nodes: list[Node] = []

    def handlers(self, source: str) -> None:
        """Writes the module `my_handlers`."""
        (self.folder / "my_handlers.py").write_text(textwrap.dedent(source))

    def configure(self, subscriptions: str, **tables: str) -> None:
        """Writes supervisor.toml; `tables` are further lines for [runtime], [restart] and so on."""
        lines = [f'[store]\nurl = "{self.url}"\nschema = "{self.schema}"\n']
        tables = {"runtime": "heartbeat_interval = 0.1", **tables}
        lines += [f"[{name}]\n{textwrap.dedent(body)}\n" for name, body in tables.items()]
        (self.folder / "supervisor.toml").write_text("\n".join(lines) + textwrap.dedent(subscriptions))

    def start(self, *arguments: str, name: str = "", **variables: str) -> Node:
        """Starts a node; it is killed at the end of the test, whatever became of it."""
        node = Node(self, arguments, name or f"node{len(self._nodes) + 1}", {**self.variables, **variables})
        self._nodes.append(node)
        return node

    def stop_all(self) -> None:
        """Kills what is left."""
        for node in self._nodes:
            node.kill()


class Node:
    """One running node."""

    def __init__(self, project: Project, arguments: Iterable[str], name: str, variables: dict[str, str]) -> None:
        self.port = free_port()
        self.name = name
        self.log_file = project.folder / f"{name}.log"
        self._family: dict[int, psutil.Process] = {}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=project.folder,
                env=environment(EVENTSTORE__RUNTIME__NAME=name, EVENTSTORE__MONITOR__PORT=str(self.port), **variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self.log_file.read_text()

    def get(self, path: str) -> tuple[int, bytes]:
        """Asks the monitor."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def status(self) -> dict[str, Any]:
        """The node's status; empty while the monitor does not answer."""
        try:
            code, body = self.get("/status")
        except (OSError, HTTPException):
            return {}
        self.family()
        return json.loads(body) if code == 200 else {}

    def subscription(self, name: str) -> dict[str, Any]:
        """One subscription of the status; empty while unknown."""
        return next((s for s in self.status().get("subscriptions", ()) if s["name"] == name), {})

    def children(self) -> dict[str, int]:
        """The pids of the running children by name."""
        return {child["name"]: child["pid"] for child in self.status().get("children", ()) if child["pid"]}

    def family(self) -> list[psutil.Process]:
        """Every process that ever belonged to the node, the fork server and its like included."""
        try:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                self._family.setdefault(process.pid, process)
        except psutil.NoSuchProcess:
            pass
        return list(self._family.values())

    def living(self) -> list[psutil.Process]:
        """Those of the family that run."""
        return [p for p in self.family() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def until_ready(self) -> Node:
        """Waits until it does its work."""
        wait_until(lambda: self.status().get("ready"), f"{self.name} is ready", lambda: self.log)
        return self

    def until_state(self, subscription: str, *states: str) -> dict[str, Any]:
        """Waits until a subscription is in one of these states."""
        wait_until(
            lambda: self.subscription(subscription).get("state") in states,
            f"{subscription} is {' or '.join(states)}",
            lambda: f"{self.subscription(subscription)}\n{self.log}",
        )
        return self.subscription(subscription)

    def until_idle(self, *subscriptions: str, at: int) -> None:
        """Waits until subscriptions have their checkpoint at a position."""
        for name in subscriptions:
            wait_until(
                lambda name=name: self.subscription(name).get("checkpoint") == at,
                f"{name} is at {at}",
                lambda name=name: f"{self.subscription(name)}\n{self.log}",
            )

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the supervisor."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Waits for its end; its exit code."""
        return self.process.wait(timeout=60)

    def terminate(self) -> int:
        """Stops it in order; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kills the supervisor as `kill -9` does; the family must follow by itself."""
        self.family()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
