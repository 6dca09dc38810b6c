"""The Python of a guide, run as a reader would: block after block, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import eventstore

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_guide(name: str, **given: Any) -> dict[str, Any]:
    """Run every Python block of `docs/NAME` and return the namespace; an error shows the guide's own line.

    Args:
        name: The file in `docs/`.
        given: What the guide takes for granted, for example `url`.
    """
    assert eventstore.__file__
    path = Path(eventstore.__file__).parent / "docs" / name
    text = path.read_text("utf-8")
    namespace: dict[str, Any] = {"__name__": "guide", **given}
    blocks = list(_BLOCK.finditer(text))
    assert blocks, f"{path} has no Python"
    for block in blocks:
        # Empty lines first, so that line numbers are those of the guide.
        source = "\n" * text.count("\n", 0, block.start(1)) + block[1]
        exec(compile(source, str(path), "exec", dont_inherit=True), namespace)
    return namespace
