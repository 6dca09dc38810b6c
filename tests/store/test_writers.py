"""Eight writer processes at once, with every kind of expected version: nothing is lost, doubled or out of place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.store import EventStore, RecordedEvent
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.writer import Outcome, Step, Task, Writer

pytestmark = pytest.mark.every_server

WRITERS = 8
# Few streams, so that writers meet. Those of one step differ: each can be expected at a version of its own.
STREAMS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True).map(tuple)
STEPS = st.builds(
    Step,
    streams=STREAMS,
    expect=st.sampled_from(["any_version", "no_stream", "stream_exists", "known", "known", "stale"]),
    size=st.integers(1, 4),
    again=st.sampled_from([False, False, False, True]),
)
PLANS = st.lists(st.lists(STEPS, min_size=4, max_size=12).map(tuple), min_size=WRITERS, max_size=WRITERS)

#: How an append may be refused while others write.
REFUSALS = {"", "WrongExpectedVersion", "StreamExists", "ExpectedStreamMissing", "DuplicateEvent"}


@pytest.fixture(scope="module")
def writers() -> Iterator[list[Writer]]:
    started = [Writer() for _ in range(WRITERS)]
    yield started
    for writer in started:
        writer.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANS)
def test_eight_processes_write_at_once(database_url: str, writers: list[Writer], plans: list[tuple[Step, ...]]) -> None:
    with fresh_schema(database_url) as schema, EventStore(database_url, schema=schema, pool_size=1) as store:
        for writer, steps in zip(writers, plans, strict=True):
            writer.prepare(Task(database_url, schema, steps))
        for writer in writers:
            writer.go()
        outcomes = [outcome for writer in writers for outcome in writer.outcomes()]
        found = list(store.stream_all_forward(read_batch_size=50))
        heads = store.stream_heads(["a", "b", "c", "$all"])

    assert {outcome.error for outcome in outcomes} <= REFUSALS
    # $all is gapless, and so is each stream.
    assert [event.event_number for event in found] == list(range(1, len(found) + 1))
    streams: dict[str, list[RecordedEvent]] = defaultdict(list)
    for event in found:
        streams[event.stream_uuid].append(event)
    for events in streams.values():
        assert [event.stream_version for event in events] == list(range(1, len(events) + 1))
    assert heads == {"$all": len(found), **{name: len(events) for name, events in streams.items()}}
    # Each acknowledged event is where its writer was told, and there are no others.
    claimed = [place for outcome in outcomes for place in places(outcome)]
    assert sorted(claimed) == [
        (event.event_number, event.stream_uuid, event.stream_version, event.event_id) for event in found
    ]
    for outcome in outcomes:
        check_expectations(outcome)


def places(outcome: Outcome) -> list[tuple[object, ...]]:
    """Where the events of an append landed, by its result."""
    return [
        (result.first_position + offset, result.stream_uuid, result.first_version + offset, one)
        for result, ids in zip(outcome.results, outcome.ids, strict=False)
        for offset, one in enumerate(ids)
    ]


def check_expectations(outcome: Outcome) -> None:
    """What was accepted had been expected rightly."""
    for result, ids, expected in zip(outcome.results, outcome.ids, outcome.expected, strict=False):
        assert result.stream_version - result.first_version + 1 == len(ids)
        assert result.position - result.first_position + 1 == len(ids)
        if expected == "no_stream":
            assert result.first_version == 1
        elif expected == "stream_exists":
            assert result.first_version > 1
        elif isinstance(expected, int):
            assert result.first_version == expected + 1
