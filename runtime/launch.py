"""From the configuration to a running node: store, handlers, plan, supervisor.

Runs in the process that becomes the supervisor, before its first child. Used by the commands `run` and `demo`,
and by anybody who embeds the runtime.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import structlog
from psycopg.conninfo import conninfo_to_dict

from ..handlers.resolve import Subscription
from ..store.connection import connect
from ..store.embedded import EmbeddedServer
from ..store.errors import ConfigurationError
from ..store.schema import initialise
from ..store.settings import EMBEDDED
from .backoff import Backoff
from .config import MonitorConfig, RuntimeConfig, SubscriptionConfig
from .inspector import DeclaredHandler, inspect_handlers
from .logs import configure_logging
from .plan import LogPlan, MonitorPlan, NodePlan, StorePlan
from .replanning import Planning
from .restart import ExitCode, RestartPolicy
from .supervisor import Observer, Supervisor
from .topology import ChildSpec

# So long an embedded server may take to stop before the process ends without it, in seconds.
_EMBEDDED_STOP = 10.0


@contextmanager
def open_store(config: RuntimeConfig, *, create: bool = True) -> Iterator[StorePlan]:
    """The store to connect to; an embedded one runs until the block is left, and has stopped then where it has no user.

    Args:
        config: The configuration.
        create: Create the schema of an embedded store where it is new; any other store is left to `init`.

    Raises:
        ConfigurationError: The embedded PostgreSQL is not installed, or its folder cannot be used.
    """
    url = config.store.url
    if not url.startswith(EMBEDDED):
        yield _store_plan(config, url)
        return
    with EmbeddedServer.acquire(url.removeprefix(EMBEDDED)) as server:
        plan = _store_plan(config, server.url)
        if create:
            with connect(server.url, "init", timeout=config.store.timeout) as connection:
                initialise(connection, config.store.schema, config.store.column_data_type)
        try:
            yield plan
        finally:
            server.release(_EMBEDDED_STOP)


def plan_node(config: RuntimeConfig, store: StorePlan) -> NodePlan:
    """What the node is to run: every option settled, every handler found.

    Raises:
        ConfigurationError: Nothing is declared, or something declared cannot run.
    """
    handlers = declared_handlers(config)
    node = config.runtime
    subscriptions = inspect_handlers(node.start_method, node.python_path, handlers, store.serializer)
    return build_plan(config, store, subscriptions)


def declared_handlers(config: RuntimeConfig) -> list[DeclaredHandler]:
    """What `[[subscriptions]]` declares, to be imported and settled.

    Raises:
        ConfigurationError: Nothing is declared.
    """
    if not config.subscriptions:
        raise ConfigurationError("no subscription is declared; add a [[subscriptions]] entry with name and handler")
    return [_declared(subscription) for subscription in config.subscriptions]


def build_plan(config: RuntimeConfig, store: StorePlan, subscriptions: tuple[Subscription, ...]) -> NodePlan:
    """The plan of a node from its configuration and its settled subscriptions.

    Raises:
        ConfigurationError: Two subscriptions have the same name.
    """
    node, restart = config.runtime, config.restart
    backoff = Backoff(minimum=restart.backoff_min, maximum=restart.backoff_max, jitter=restart.jitter)
    return NodePlan(
        node=node.name,
        run=uuid4().hex,
        store=store,
        subscriptions=_distinct(subscriptions),
        python_path=tuple(node.python_path),
        monitor=_monitor_plan(config.monitor),
        log=LogPlan(level=config.log.level, format=config.log.format),
        restart=RestartPolicy(
            backoff=backoff,
            reset_after=restart.reset_after,
            max_restarts=restart.max_restarts,
            max_seconds=restart.max_seconds,
        ),
        start_method=node.start_method,
        grace=node.grace,
        heartbeat_interval=node.heartbeat_interval,
        heartbeat_timeout=node.heartbeat_timeout,
        lock_retry_interval=node.lock_retry_interval,
        poll_interval=node.poll_interval,
        canary_interval=node.canary_interval,
    )


def run_node(
    plan: NodePlan,
    observer: Observer | None = None,
    more: Sequence[ChildSpec] = (),
    start_planning: Callable[[], Planning] | None = None,
) -> ExitCode:
    """Runs a node until it is told to stop.

    Args:
        plan: What to run.
        observer: Sees every new status and may end the run.
        more: Children beside those of every node.
        start_planning: How to have the configuration read anew on SIGHUP; None where it cannot change.

    Raises:
        ConfigurationError: The node could not work as configured.
    """
    configure_logging(plan.log)
    log = structlog.get_logger(process="supervisor")
    log.info("starting", node=plan.node, pid=os.getpid(), store=where(plan.store), connections=connections(plan))
    supervisor = Supervisor(plan, more, observer, start_planning)
    code = supervisor.run()
    if supervisor.failure:
        raise ConfigurationError(supervisor.failure)
    log.info("stopped", exit_code=int(code))
    return code


def connections(plan: NodePlan) -> int:
    """How many database connections the node opens: LISTEN, reads, locks, and one for each transactional worker."""
    return 3 + sum(s.concurrency for s in plan.subscriptions if s.transactional)


def _store_plan(config: RuntimeConfig, url: str) -> StorePlan:
    store = config.store
    return StorePlan(
        url=url,
        session_url=store.session_mode_url or url,
        schema=store.schema,
        timeout=store.timeout,
        connect_timeout=store.connect_timeout,
        prepare_threshold=store.prepare_threshold,
        serializer=store.serializer or "",
    )


def _monitor_plan(monitor: MonitorConfig) -> MonitorPlan:
    """A port that was asked for must be had; the default one gives way, so that two nodes fit on one machine."""
    return MonitorPlan(
        enabled=monitor.enabled,
        host=monitor.host,
        port=monitor.port,
        any_port_if_taken="port" not in monitor.model_fields_set,
        token=monitor.token or "",
    )


def _declared(subscription: SubscriptionConfig) -> DeclaredHandler:
    options = subscription.model_dump(exclude={"handler"}, exclude_none=True)
    name = subscription.name or subscription.handler
    return DeclaredHandler(f"subscription {name!r}", subscription.handler, options)


def _distinct(subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
    """The subscriptions, each with a name of its own, wherever it comes from."""
    names = [subscription.name for subscription in subscriptions]
    for index, subscription in enumerate(subscriptions):
        if subscription.name in names[:index]:
            raise ConfigurationError(
                f"subscription {subscription.name!r} is declared twice, the second time for "
                f"{subscription.handler!r}; give each its own name"
            )
    return subscriptions


def where(store: StorePlan) -> str:
    """The database without user and password: host, port where one is given, and name."""
    given = conninfo_to_dict(store.url)
    host, port = str(given.get("host", "")), given.get("port")
    # A socket's folder says less than that it is here.
    host = "local" if not host or host.startswith("/") else host
    return f"{host}{f':{port}' if port else ''}/{given.get('dbname', '')}"
