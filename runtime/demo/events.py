"""Turns a commit into the event that the demo appends: one stream per author, one event per commit.

Pure. The event id is derived from the commit's hash, so the same commit is the same event in every run and on every
machine, and appending a history twice appends nothing twice.
"""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid5

from ...store.notifications import MAX_STREAM_NAME_BYTES
from ...store.types import EventData
from .git_history import Commit

EVENT_TYPE = "CommitMade"
NAMESPACE = UUID("6e7fbef7-696e-4ec4-9aa6-18aecd217c65")
"""Namespace of the event ids; changing it would make every known commit a new event."""

STREAM_PREFIX = "author-"
_DIGEST_CHARACTERS = 32


def to_event(commit: Commit) -> tuple[str, EventData]:
    """Return the name of the author's stream and the `CommitMade` event to append to it."""
    data = {
        "hash": commit.hash,
        "author": _storable(commit.author_name),
        "email": _storable(commit.author_email),
        "time": commit.time,
        "subject": _storable(commit.subject),
        "files": commit.files,
        "insertions": commit.insertions,
        "deletions": commit.deletions,
    }
    event = EventData(event_type=EVENT_TYPE, data=data, event_id=uuid5(NAMESPACE, commit.hash))
    return stream_of(_storable(commit.author_email)), event


def stream_of(email: str) -> str:
    """Return `author-<e-mail>`, cut and ended with a digest of the whole e-mail where it is too long for a stream."""
    name = STREAM_PREFIX + email
    encoded = name.encode()
    if len(encoded) <= MAX_STREAM_NAME_BYTES:
        return name
    digest = hashlib.sha256(email.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    # errors="ignore" drops the character that the cut went through.
    kept = encoded[: MAX_STREAM_NAME_BYTES - _DIGEST_CHARACTERS - 1].decode(errors="ignore")
    return f"{kept}~{digest}"


def _storable(text: str) -> str:
    """PostgreSQL holds no NUL, neither in text nor in jsonb."""
    return text.replace("\0", "")
