"""The demo's own child process: appends the commits of a repository while the node already handles them.

An actor like the others, under the same supervisor: killed half-way it starts again, and since event ids come
from the commit hashes it appends nothing twice.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from ...store.event_store import EventStore
from ...store.types import ALL_STREAM
from ..actor import Actor
from ..plan import NodePlan
from ..topology import ChildSpec
from .bundled import load_bundled
from .feed import BATCH_SIZE, feed
from .git_history import Commit, read_history

NAME = "demo-source"


class SourceReport(msgspec.Struct, frozen=True):
    """How far the source is.

    Attributes:
        appended: Commits appended by this process.
        skipped: Commits that the store already held.
        head: The newest position of `$all`, once finished; else None.
        streams: The streams of authors, once finished.
    """

    appended: int
    skipped: int
    head: int | None = None
    streams: int = 0


class DemoSource(Actor):
    """Appends commits, a batch for each turn of its loop; stays until the node stops, so that its report does.

    Args:
        repository: The git repository, or None for the bundled history.
    """

    def __init__(self, repository: str | None, name: str, plan: NodePlan, control: socket.socket) -> None:
        super().__init__(name, plan, control)
        self._repository = repository
        self._store: EventStore
        self._commits: Iterator[Commit]
        self._appended = 0
        self._skipped = 0
        self._streams: set[str] = set()
        self._head: int | None = None

    def start(self) -> str:
        """Opens the store and the history."""
        self._store = EventStore(self.plan.store.url, schema=self.plan.store.schema, pool_size=1)
        history = load_bundled() if self._repository is None else read_history(Path(self._repository))
        self._commits = iter(history)
        self.loop.call_later(0, self._append_batch)
        return ""

    def _append_batch(self) -> None:
        batch = list(islice(self._commits, BATCH_SIZE))
        result = feed(self._store, batch)
        self._appended += result.appended
        self._skipped += result.skipped
        self._streams.update(commit.author_email for commit in batch)
        if len(batch) < BATCH_SIZE:
            self._head = self._store.stream_heads([ALL_STREAM])[ALL_STREAM]
            self.beat()
        else:
            self.loop.call_later(0, self._append_batch)

    def report(self) -> SourceReport:
        """How far it is."""
        return SourceReport(self._appended, self._skipped, self._head, len(self._streams))

    def close(self) -> None:
        """Closes the store."""
        if hasattr(self, "_store"):
            self._store.close()


def source_spec(repository: Path | None) -> ChildSpec:
    """The source as a child of the demo's supervisor."""
    where = None if repository is None else str(repository)
    return ChildSpec(name=NAME, role="source", build=partial(DemoSource, where), watched=False)
