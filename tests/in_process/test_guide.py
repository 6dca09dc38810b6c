"""Every Python example of the guide runs, one after the other as a reader would try them."""

from __future__ import annotations

import re
from pathlib import Path

from eventstore import EventStore

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "subscriptions.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_run(event_store: EventStore) -> None:
    text = GUIDE.read_text("utf-8")
    names: dict[str, object] = {"store": event_store, "__name__": "guide"}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python")
    for block in blocks:
        # Empty lines in front, so that a failure names the line of the guide.
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + block[1], str(GUIDE), "exec"), names)
    assert [record.subscription_name for record in event_store.subscriptions()] == [
        "example-current",
        "example-tuned",
        "example-filtered",
        "example-mapped",
        "example-competing",
        "example-partitioned",
        "example-subscription",
    ]
