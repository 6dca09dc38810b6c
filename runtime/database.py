"""How the processes of a node open their database connections: one place for URL, limits and name."""

from __future__ import annotations

from typing import Any

import psycopg

from ..store.async_connection import AsyncConnection, aconnect
from ..store.connection import connect
from ..store.sessions import open_session
from .plan import NodePlan, StorePlan


def connect_to(
    plan: NodePlan, role: str, *, session: bool = False, for_handlers: bool = False
) -> psycopg.Connection[Any]:
    """Opens a process's own connection.

    Args:
        plan: The node's plan.
        role: What the connection is for; `pg_stat_activity` shows it with the node's name.
        session: True for LISTEN and advisory locks, which must not go through a transaction-mode pooler.
        for_handlers: True where user code runs statements of its own, whose plans are none of our business, and where
            no heartbeat ends the wait for an answer that never comes.

    Raises:
        ConfigurationError: A session leads through a pooler in transaction mode.
        EventStoreError: As `store.connection.connect`.
    """
    store, name = plan.store, f"{role} @{plan.node}"
    if session:
        return open_session(
            store.session_url,
            name,
            timeout=store.timeout,
            connect_timeout=store.connect_timeout,
            prepare_threshold=store.prepare_threshold,
        )
    return connect(
        store.url,
        name,
        timeout=store.timeout,
        connect_timeout=store.connect_timeout,
        prefer_indexes=not for_handlers,
        prepare_threshold=store.prepare_threshold,
        answer_timeout=_answer_timeout(store) if for_handlers else None,
    )


async def aconnect_to(plan: NodePlan, role: str) -> AsyncConnection:
    """Opens a connection for user code that is asynchronous; arguments and errors as for `connect_to`."""
    store = plan.store
    return await aconnect(
        store.url,
        f"{role} @{plan.node}",
        timeout=store.timeout,
        connect_timeout=store.connect_timeout,
        prepare_threshold=store.prepare_threshold,
        answer_timeout=_answer_timeout(store),
    )


def _answer_timeout(store: StorePlan) -> float:
    """Half as long again as a statement may take, and a second: a server that is there has cancelled it by then."""
    return 1.5 * store.timeout + 1
