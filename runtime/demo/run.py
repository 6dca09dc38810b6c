"""The demo: a repository's history into events, and the full runtime on them.

Puts together the source, the shipped `supervisor.toml` and the report; all the rest is the runtime as everybody
runs it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path

import msgspec
from platformdirs import user_cache_path
from rich.console import Console

from ...store.connection import connect
from ...store.errors import StoreError
from ..config import RuntimeConfig, load_config
from ..idle import is_idle, stuck
from ..launch import open_store, plan_node, run_node
from ..plan import NodePlan, StorePlan
from ..restart import ExitCode
from ..status import NodeStatus
from .git_history import check_history, find_repository
from .projection import create_tables, read_months, read_projection
from .report import Position, ProgressReport, result_table, totals_per_author
from .source import NAME, SourceReport, source_spec

_BEAT = 0.2


class DemoResult(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    appended: int
    streams: int
    subscriptions: dict[str, dict[str, int]]
    projection: dict[str, int]


class Watcher:
    """Follows the node's status: shows progress, and decides when the demo is through."""

    def __init__(self, progress: ProgressReport, *, until_idle: bool) -> None:
        self._progress = progress
        self._until_idle = until_idle
        self._first: dict[str, int] = {}
        self.source = SourceReport(0, 0)
        self.status: NodeStatus | None = None
        self.caught_up = False
        self.problem = ""
        self.on_caught_up: Callable[[], None] | None = None

    def __call__(self, status: NodeStatus, reports: Mapping[str, bytes]) -> bool:
        """Takes a new status; True ends the run."""
        self.status = status
        for subscription in status.subscriptions:
            if subscription.checkpoint is not None and subscription.epoch:
                self._first.setdefault(subscription.name, subscription.checkpoint)
        if reports.get(NAME):
            self.source = msgspec.msgpack.decode(reports[NAME], type=SourceReport)
            self._progress.appending(self.source.appended, self.source.skipped, finished=self.source.head is not None)
        self._progress.processing({s.name: Position(s.checkpoint or 0, s.head) for s in status.subscriptions if s.head})
        self.problem = self.problem or stuck(status) or _failed_source(status)
        if self.source.head is not None and not self.caught_up and is_idle(status, self.source.head):
            self.caught_up = True
            if self.on_caught_up is not None:
                self.on_caught_up()
        return self._until_idle and (self.caught_up or bool(self.problem))

    def result(self, projection: dict[str, int]) -> DemoResult:
        """The result of the run."""
        assert self.status is not None
        subscriptions = {
            s.name: {
                "processed": (s.checkpoint or 0) - self._first.get(s.name, 0),
                "last_seen": s.checkpoint or 0,
                "lag": s.lag or 0,
            }
            for s in self.status.subscriptions
        }
        return DemoResult(self.source.appended, self.source.streams, subscriptions, projection)


def run_demo(
    repository: Path | None, *, until_idle: bool, as_json: bool, data_dir: Path | None, console: Console
) -> ExitCode:
    """Runs the demo.

    Args:
        repository: The repository; None for the one the working directory stands in, or the bundled history.
        until_idle: End when every subscription has caught up; else at Ctrl-C.
        as_json: Print one JSON object at the end, nothing else, on standard output.
        data_dir: Folder of the embedded store; None for one in the user's cache, for each repository its own.
        console: Where progress and table go.

    Raises:
        EventStoreError: Something is wrong; one sentence says what.
    """
    repository = repository or find_repository(Path.cwd())
    if repository is not None:
        check_history(repository)
    config = _config(data_dir or _default_data_dir(repository))
    with open_store(config) as store:
        with connect(store.url, "demo") as connection:
            create_tables(connection, store.schema)
        plan = _plan(config, store)
        with ProgressReport(console) as progress:
            watcher = Watcher(progress, until_idle=until_idle)
            if not until_idle:
                watcher.on_caught_up = partial(_show_and_go_on, console, store, watcher)
            code = run_node(plan, watcher, [source_spec(repository)])
        if watcher.problem:
            raise StoreError(watcher.problem)
        if as_json:
            with connect(store.url, "demo") as connection:
                result = watcher.result(read_projection(connection, store.schema))
            print(msgspec.json.encode(result).decode())  # noqa: T201 - the command's output
        elif until_idle:
            _show(console, store)
    return code


def _show(console: Console, store: StorePlan) -> None:
    with connect(store.url, "demo") as connection:
        console.print(result_table(totals_per_author(read_months(connection, store.schema))))


def _show_and_go_on(console: Console, store: StorePlan, watcher: Watcher) -> None:
    _show(console, store)
    if watcher.status is not None:
        address = watcher.status.monitor
        console.print(f"Everything is processed. Metrics: {address}/metrics  Status: {address}/status", soft_wrap=True)
        console.print("The node keeps running and waits for events; Ctrl-C stops it.", highlight=False)


def _config(data_dir: Path) -> RuntimeConfig:
    with resources.as_file(resources.files(__package__) / "supervisor.toml") as path:
        config = load_config(path, os.environ)
    store = config.store
    if "EVENTSTORE__STORE__URL" not in os.environ:
        store = store.model_copy(update={"url": f"embedded:{data_dir.absolute()}"})
    log = config.log if "EVENTSTORE__LOG__LEVEL" in os.environ else config.log.model_copy(update={"level": "warning"})
    return config.model_copy(update={"store": store, "log": log})


def _plan(config: RuntimeConfig, store: StorePlan) -> NodePlan:
    """The node's plan, with a status quick enough to watch."""
    return msgspec.structs.replace(plan_node(config, store), heartbeat_interval=_BEAT)


def _default_data_dir(repository: Path | None) -> Path:
    cache = user_cache_path("eventstore-runtime") / "demo"
    if repository is None:
        return cache / "bundled"
    digest = hashlib.sha256(os.fsencode(repository.absolute())).hexdigest()[:8]
    return cache / f"{repository.absolute().name}-{digest}"


def _failed_source(status: NodeStatus) -> str:
    return next((child.reason for child in status.children if child.name == NAME and child.state == "failed"), "")
