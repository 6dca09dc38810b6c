"""From commit to event: names that always fit, ids that never change."""

from __future__ import annotations

from uuid import UUID

import pytest

from eventstore.runtime.demo.events import stream_of, to_event
from eventstore.runtime.demo.git_history import Commit
from eventstore.store.notifications import MAX_STREAM_NAME_BYTES


def commit(email: str = "ann@example.com", subject: str = "A change") -> Commit:
    return Commit("a" * 40, email, "Ann", "2024-05-06T07:08:09+02:00", subject, 1, 2, 3)


def test_an_event_says_what_the_commit_says() -> None:
    stream_uuid, event = to_event(commit())
    assert stream_uuid == "author-ann@example.com"
    assert event.event_type == "CommitMade"
    assert event.data == {
        "hash": "a" * 40,
        "author": "Ann",
        "email": "ann@example.com",
        "time": "2024-05-06T07:08:09+02:00",
        "subject": "A change",
        "files": 1,
        "insertions": 2,
        "deletions": 3,
    }


def test_the_event_id_is_the_same_for_ever() -> None:
    _, event = to_event(commit())
    assert event.event_id == UUID("de20dadf-9642-51cc-9afb-020d717f5013")


@pytest.mark.parametrize(
    "email", ["", "a,b@x", '"q"@x', "jürgen@exämple.com", " spaces ", "a" * (MAX_STREAM_NAME_BYTES - 7)]
)
def test_ordinary_and_odd_emails_are_the_name(email: str) -> None:
    assert stream_of(email) == f"author-{email}"


@pytest.mark.parametrize("character", ["a", "ü", "🦊"])
def test_a_long_email_is_cut_but_stays_distinct(character: str) -> None:
    names = [stream_of(character * 10_000 + end) for end in ("1", "2", "1")]
    assert all(len(name.encode()) <= MAX_STREAM_NAME_BYTES for name in names)
    assert names[0] == names[2]
    assert names[0] != names[1]
    _, event = to_event(commit(email=character * 10_000))
    assert event.data["email"] == character * 10_000


def test_nul_is_stripped() -> None:
    stream_uuid, event = to_event(commit(email="a\0b@x", subject="one\0two"))
    assert stream_uuid == "author-ab@x"
    assert (event.data["email"], event.data["subject"]) == ("ab@x", "onetwo")
