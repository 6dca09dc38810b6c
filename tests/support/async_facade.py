"""Derives `store/async_event_store.py` from `store/event_store.py`, so that the two façades are one text.

Run `python -m eventstore.tests.support.async_facade` after a change of the synchronous one; a test compares. Only names
and the words async and await differ: what the methods do is in the operations, which both run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

STORE = Path(__file__).parents[2] / "store"
SOURCE = STORE / "event_store.py"
TARGET = STORE / "async_event_store.py"

MODULE_DOCSTRING = '''\
"""The store for asyncio: `AsyncEventStore`, the twin of `EventStore` with the same methods to await.

Generated from `event_store.py` by `tests/support/async_facade.py`: change that file and run the script. `async_pool.py`
lends the connections. Belongs to one process and one event loop; tasks in it may share it.
"""
'''

EXAMPLE = (
    """        with EventStore("postgresql://localhost/shop") as store:
            store.append_to_stream(""",
    """        async with AsyncEventStore("postgresql://localhost/shop") as store:
            await store.append_to_stream(""",
)
CONN_EXAMPLE = (
    """        with psycopg.connect("postgresql://localhost/shop") as conn:
            store.append_to_stream("order-1", 1, [EventData("OrderShipped", {})], conn=conn)
            conn.execute(""",
    """        async with await psycopg.AsyncConnection.connect("postgresql://localhost/shop") as conn:
            await store.append_to_stream("order-1", 1, [EventData("OrderShipped", {})], conn=conn)
            await conn.execute(""",
)

# In this order; each must change something, so that a rule which no longer fits is noticed.
RULES: list[tuple[str, str]] = [
    (r'\A""".*?"""\n', MODULE_DOCSTRING.replace("\\", r"\\")),
    (re.escape(EXAMPLE[0]), EXAMPLE[1]),
    (re.escape(CONN_EXAMPLE[0]), CONN_EXAMPLE[1]),
    (r"import Callable, Iterable, Iterator, ", "import AsyncIterator, Callable, Iterable, "),
    (
        r"from \.connection import .*",
        (
            "from .async_connection import AsyncConnection, arun, arun_atomically\n"
            "from .async_pool import AsyncStorePool\n"
            "from .connection import check_connection"
        ),
    ),
    (r"from \.coalescing import Coalescer", "from .async_coalescing import AsyncCoalescer"),
    (r"\bCoalescer\b", "AsyncCoalescer"),
    (r"from \.pool import StorePool\n", ""),
    (r"class EventStore:", "class AsyncEventStore:"),
    (r"share_pool_with: EventStore", "share_pool_with: AsyncEventStore"),
    (r"\bStorePool\b", "AsyncStorePool"),
    (r"conn: Connection \| None", "conn: AsyncConnection | None"),
    (r"-> Connection:", "-> AsyncConnection:"),
    (r"psycopg\.Connection\)", "psycopg.AsyncConnection)"),
    (r"-> Iterator\[", "-> AsyncIterator["),
    (r"__enter__", "__aenter__"),
    (r"__exit__", "__aexit__"),
    # Those that return another method's iterator stay plain functions, as do the constructors and the properties.
    (r"\n    def (?!__init__|from_settings|(?:schema|settings|serializer|closed)\b|stream_all_)", r"\n    async def "),
    (
        r"\n {12}with suppress\(Conflict\), (.*):\n {16}(.*)",
        r"\n            with suppress(Conflict):\n                async with \1:\n                    \2",
    ),
    (r"(?<!async )\bwith self\._pool", "async with self._pool"),
    (r"(?<![\w.])run(_atomically)?\(", r"await arun\1("),
    (r"self\.(_run|_run_atomically|_steer|read_stream_forward|read_stream_backward|close)\(", r"await self.\1("),
    (r"self\._coalescer\.append\(", "await self._coalescer.append("),
    (r"self\._pool\.(close|statements|open_session)\(", r"await self._pool.\1("),
]


def derived() -> str:
    """Return the text that the asynchronous façade must have."""
    text = SOURCE.read_text("utf-8")
    for pattern, replacement in RULES:
        text, changes = re.subn(pattern, replacement, text, flags=re.DOTALL if pattern.startswith(r"\A") else 0)
        assert changes, f"rule {pattern!r} finds nothing in {SOURCE.name}: adapt it"
    for arguments in (["format"], ["check", "--quiet", "--select", "I,UP", "--fix"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(TARGET), "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    TARGET.write_text(derived(), "utf-8")
