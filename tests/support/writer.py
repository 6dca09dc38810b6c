"""A writer process: appends what it is told to on standard input, as fast as it can, and reports what became of it.

Each line is a `Task` as JSON, answered by "ready" once the store is open; after a second line, "go", the steps run and
their outcomes follow as one line. `python -m eventstore.tests.support.writer`
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec

from eventstore.store import AppendResult, EventData, EventStore, EventStoreError
from eventstore.tests.support.node import environment

Expect = Literal["any_version", "no_stream", "stream_exists", "known", "stale"]


class Step(msgspec.Struct, frozen=True):
    """One append.

    Attributes:
        streams: The streams; several are appended to at once.
        expect: What is expected; "known" is the version that this writer saw last, "stale" one less.
        size: How many events each stream gets.
        again: Whether an event that is stored already is appended too.
    """

    streams: tuple[str, ...]
    expect: Expect
    size: int
    again: bool = False


class Task(msgspec.Struct, frozen=True):
    """What a writer is to do, and where."""

    url: str
    schema: str
    steps: tuple[Step, ...]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a step.

    Attributes:
        expected: The expected version of each stream as it was given.
        ids: The ids of each stream's events.
        results: Where they landed; none where the append was refused.
        error: The name of the error that refused it; empty where it was not.
    """

    expected: tuple[int | str, ...]
    ids: tuple[tuple[UUID, ...], ...]
    results: tuple[AppendResult, ...] = ()
    error: str = ""


class Writer:
    """A writer process, started and driven from a test."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "eventstore.tests.support.writer"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment())

    def prepare(self, task: Task) -> None:
        """Gives it a task and waits until it is ready."""
        self._send(msgspec.json.encode(task))
        assert self._receive() == b"ready\n"

    def go(self) -> None:
        """Lets it run."""
        self._send(b"go")

    def outcomes(self) -> list[Outcome]:
        """Waits for the outcomes of its steps."""
        return msgspec.json.decode(self._receive(), type=list[Outcome])

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def _receive(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main() -> None:
    """Serves tasks until standard input ends."""
    lines, answers = sys.stdin.buffer, sys.stdout.buffer
    for line in iter(lines.readline, b""):
        task = msgspec.json.decode(line, type=Task)
        with EventStore(task.url, schema=task.schema, pool_size=1) as store:
            store.stream_heads(["$all"])
            answers.write(b"ready\n")
            answers.flush()
            lines.readline()
            outcomes = _run(store, task.steps)
        answers.write(msgspec.json.encode(outcomes) + b"\n")
        answers.flush()


def _run(store: EventStore, steps: tuple[Step, ...]) -> list[Outcome]:
    known: dict[str, int] = {}
    stored: list[UUID] = []
    outcomes = []
    for step in steps:
        expected = [_expected(step.expect, known.get(stream, 0)) for stream in step.streams]
        ids = [tuple(uuid4() for _ in range(step.size)) for _ in step.streams]
        if step.again and stored:
            ids[-1] = (*ids[-1], stored[-1])
        batches = [[EventData("Written", n, event_id=one) for n, one in enumerate(some)] for some in ids]
        given: dict[str, Any] = {"expected": tuple(expected), "ids": tuple(ids)}
        try:
            if len(step.streams) == 1:
                results = [store.append_to_stream(step.streams[0], expected[0], batches[0])]
            else:
                results = store.append_many(list(zip(step.streams, expected, batches, strict=True)))
        except EventStoreError as error:
            outcomes.append(Outcome(**given, error=type(error).__name__))
            known.update(store.stream_heads(step.streams))
        else:
            outcomes.append(Outcome(**given, results=tuple(results)))
            known.update({result.stream_uuid: result.stream_version for result in results})
            stored += [one for some in ids for one in some]
    return outcomes


def _expected(expect: Expect, version: int) -> Any:
    if expect == "known":
        return version
    return max(0, version - 1) if expect == "stale" else expect


if __name__ == "__main__":
    main()
