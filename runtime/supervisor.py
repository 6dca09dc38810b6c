"""The supervisor: starts the children, notices how each ends, starts it again, and stops all in order.

Single-threaded; opens no database and imports no user code, so that nothing the children suffer from can
reach it. What to do after an exit is decided in `restart.py`, what the tree looks like in `topology.py`,
what the status says in `summary.py`. Mirrors the supervision tree and `EventStore.MonitoredServer`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from .actor import SHOW_STACKS, child_main
from .channel import Channel, socket_pair
from .child import Child
from .log_limit import LogLimiter
from .loop import Loop
from .messages import (
    BootFailed,
    Broken,
    Drained,
    Heartbeat,
    NodeReport,
    Ready,
    Reconfigure,
    Stop,
    SubscriptionEnded,
    ToSupervisor,
)
from .plan import NodePlan
from .reload import changes
from .replanning import Planning, Replanning
from .restart import ExitCode, GiveUp, Restart, describe_exit
from .service import Service
from .signals import take_signals
from .spawn import fork_server, start_process
from .status import NodeStatus, status_json
from .summary import Totals, summarize
from .topology import ChildSpec, process_tree

Observer = Callable[[NodeStatus, Mapping[str, bytes]], bool]
"""Sees every new status, and the newest report of each child by name; True asks the node to stop."""

_PUBLISH_AFTER = 0.02
# A child that hangs has so long to write down where, and the next one begins so much later, in seconds.
_STACKS_AFTER = 0.2
_STACKS_APART = 0.02


class Supervisor:
    """Runs a node until it is told to stop.

    Args:
        plan: What to run.
        more: Children beside those that every node has.
        observer: Called with every new status, at least once per heartbeat interval.
        start_planning: How to have the configuration read anew; None where it cannot change.
    """

    def __init__(
        self,
        plan: NodePlan,
        more: Sequence[ChildSpec] = (),
        observer: Observer | None = None,
        start_planning: Callable[[], Planning] | None = None,
    ) -> None:
        self.plan = plan
        self._plan_bytes = plan.encode()
        self._more = tuple(more)
        self._children = {spec.name: Child(spec) for spec in self._specs()}
        self._observer = observer
        self._loop = Loop()
        self._ending: set[str] = set()
        self._replanning = Replanning(self._loop, start_planning, self._apply)
        self._log = structlog.get_logger(process="supervisor")
        self._limiter = LogLimiter()
        self._service = Service(os.environ)
        self._started_at = self._loop.now()
        self._totals = Totals()
        self._stopping: int | None = None
        self._hurried = False
        self._publish_due = False
        self._failure = ""
        self._fork_server = 0

    # The life of a node

    def run(self) -> ExitCode:
        """Starts all children and turns until the node has stopped.

        Returns:
            OK after an orderly stop; FAILED when children had to be killed, or the node could not work.
        """
        restore = take_signals(self._loop, self.stop, self.reload)
        try:
            for child in self._children.values():
                self._start(child)
            self._loop.call_every(self.plan.heartbeat_interval, self._every_beat)
            if self._service.watchdog is not None:
                self._loop.call_every(self._service.watchdog / 3, self._service.turning)
            self._loop.run()
        finally:
            self._service.stopping()
            self._service.close()
            self._kill_all()
            restore()
            self._loop.close()
        return ExitCode.FAILED if self._failure or self._hurried else ExitCode.OK

    @property
    def failure(self) -> str:
        """Why the node could not work, in one sentence; empty if it could."""
        return self._failure

    def stop(self) -> None:
        """Begins the orderly stop; asked for again, hurries it."""
        if self._stopping is not None:
            self._hurry("asked for a second time")
            return
        self._log.info("stopping", grace=self.plan.grace)
        self._service.stopping()
        for child in self._children.values():
            if child.timer is not None:
                child.timer.cancel()
        self._loop.call_later(self.plan.grace, lambda: self._hurry("the grace time is over"))
        self._stopping = -1
        self._stop_next()

    def _stop_next(self) -> None:
        """Stops the next group of children when the one before is gone; ends when none is left."""
        living = [child.spec.stop_order for child in self._children.values() if child.alive]
        if not living:
            self._loop.stop()
            return
        group = min(living)
        if self._stopping is None or group <= self._stopping:
            return
        self._stopping = group
        for child in self._children.values():
            if child.alive and child.spec.stop_order == group:
                child.tell(Stop())

    def _hurry(self, why: str) -> None:
        living = [child.spec.name for child in self._children.values() if child.alive]
        if living:
            self._hurried = True
            self._log.warning("killing_children", reason=why, children=living)
            for turn, child in enumerate(child for child in self._children.values() if child.alive):
                # One after the other: they write to the same file, and would mix their lines.
                self._loop.call_later(min(turn * _STACKS_APART, _STACKS_AFTER), partial(child.send_signal, SHOW_STACKS))
            self._loop.call_later(min(len(living) * _STACKS_APART, _STACKS_AFTER) + _STACKS_AFTER, self._kill_all)

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.send_signal(signal.SIGKILL)

    def _specs(self) -> list[ChildSpec]:
        return [*process_tree(self.plan), *self._more]

    # A new configuration

    def reload(self) -> None:
        """Has the configuration read anew, and applies the difference."""
        if self._stopping is None:
            self._replanning.begin()

    def _apply(self, wanted: NodePlan) -> None:
        """Ends what the new plan does not hold, begins what is new; the rest goes on undisturbed."""
        difference = changes(self.plan, wanted)
        if difference.left_out:
            self._log.warning("reload_needs_restart", parts=list(difference.left_out))
        self._log.info("reloaded", ended=list(difference.ended), begun=list(difference.begun))
        self.plan = difference.plan
        self._plan_bytes = self.plan.encode()
        if self._children["listener"].alive:
            self._children["listener"].tell(Reconfigure(self._plan_bytes))
            self._ending.update(difference.ended)
        for child in list(self._children.values()):
            if child.spec.subscription in difference.ended:
                child.leaving = True
                if not child.alive:
                    self._replace(child)
        if not self._children["listener"].alive:
            self._stop_leaving()
        for spec in self._specs():
            known = self._children.get(spec.name)
            if known is not None and not known.leaving:
                known.spec = spec
                if known.state == "failed":
                    # It could not run as it was; somebody may have mended that.
                    self._start(known)
        self._begin_missing()

    def _begin_missing(self) -> None:
        """Starts what the plan holds and is not there, but no worker of a subscription that the listener still ends.

        The listener would take it for a worker of that, and the one that follows would never hear of it.
        """
        for spec in self._specs():
            if spec.name not in self._children and spec.subscription not in self._ending:
                child = self._children[spec.name] = Child(spec)
                self._start(child)

    def _ended(self, subscription: str | None = None) -> None:
        """The listener has ended a subscription of an older plan; without a name: is gone, and with it all of them."""
        self._ending = set() if subscription is None else self._ending - {subscription}
        self._stop_leaving(subscription)
        self._begin_missing()

    def _stop_leaving(self, subscription: str | None = None) -> None:
        """Stops the workers of a subscription that has ended, or of all that end when nobody can say so any more."""
        for child in self._children.values():
            if child.leaving and child.alive and subscription in (None, child.spec.subscription):
                child.tell(Stop())
                self._loop.call_later(self.plan.grace, partial(self._kill_leaving, child))

    def _kill_leaving(self, child: Child) -> None:
        if child.leaving and child.process is not None:
            self._log.warning("killing_children", reason="the grace time is over", children=[child.spec.name])
            child.send_signal(signal.SIGKILL)

    def _replace(self, child: Child) -> None:
        """A child that leaves is gone; one of its name in the plan of now takes its place."""
        if child.timer is not None:
            child.timer.cancel()
        child.leaving = False
        del self._children[child.spec.name]
        self._begin_missing()

    # Children

    def _start(self, child: Child) -> None:
        if self._stopping is not None:
            return
        child.timer = None
        try:
            self._spawn(child)
            for peer in self._peers(child):
                if peer.alive:
                    self._connect(child, peer)
        except OSError as error:
            # Out of processes, memory or descriptors: that passes, or an operator sees to it.
            child.reason = f"could not be started: {error}"
            self._log_limited("error", "child_not_started", child, reason=str(error))
            if child.alive:
                # It has started, but not all of its channels; its exit is what follows.
                child.send_signal(signal.SIGKILL)
            else:
                self._follow_exit(child, ExitCode.FAILED, 0.0)

    def _spawn(self, child: Child) -> None:
        self._see_fork_server()
        ours, theirs = socket_pair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            arguments = (child.spec.build, child.spec.name, self._plan_bytes, theirs)
            child.process = start_process(self.plan.start_method, child_main, arguments, child.spec.name)
            undo.pop_all()
        child.control = Channel(ours, ToSupervisor)
        child.state, child.reason = "starting", ""
        child.started_at = child.last_beat = self._loop.now()
        self._loop.add_channel(child.control, lambda: self._read(child))
        self._loop.watch(child.process.sentinel, lambda: self._on_exit(child))

    def _see_fork_server(self) -> None:
        """A new fork server is like a new node: what killed the old one, with all children, may have been an event."""
        if self.plan.start_method != "forkserver":
            return
        before, self._fork_server = self._fork_server, fork_server()
        if before not in (0, self._fork_server):
            self.plan = msgspec.structs.replace(self.plan, run=uuid4().hex)
            self._plan_bytes = self.plan.encode()

    def _peers(self, child: Child) -> list[Child]:
        return [self._children[name] for name in child.spec.peers if name in self._children]

    def _connect(self, child: Child, peer: Child) -> None:
        """Gives a new child and a living peer a fresh channel (after_restart)."""
        one, other = socket_pair()
        with one, other:
            child.attach(peer.spec.name, one, busy=child.history.restarts > 0)
            peer.attach(child.spec.name, other, busy=False)

    def _read(self, child: Child) -> None:
        if child.control is None:
            return
        for message in child.control.receive():
            match message:
                case Heartbeat(report=report):
                    child.heard(self._loop.now())
                    self._take_report(child, report)
                case Ready(detail=detail):
                    child.state, child.detail = "running", detail
                    child.history.worked = True
                    told = {"address": detail} if detail else {}
                    self._log_limited("info", "child_ready", child, pid=child.process.pid, **told)
                case BootFailed(reason=reason) | Broken(reason=reason):
                    child.reason = reason
                case Drained():
                    self._log.info("drained")
                case SubscriptionEnded(subscription=subscription):
                    self._ended(subscription)
        if child.control.closed:
            self._loop.remove_channel(child.control)

    def _on_exit(self, child: Child) -> None:
        """after_exit: reaps a child, tells its peers, and decides what follows."""
        process, lifetime = child.process, self._loop.now() - child.started_at
        self._read(child)
        self._loop.unwatch(process.sentinel)
        process.join()
        exit_code = process.exitcode
        process.close()
        if child.control is not None:
            self._loop.remove_channel(child.control)
        child.ended()
        if child.spec.role == "listener":
            self._totals.keep(child.report)
            child.report = b""
        # Who says why it ends, as without its database, has not died of an event.
        died = "" if exit_code in (ExitCode.OK, ExitCode.RETIRED) or child.reason else describe_exit(exit_code)
        for peer in self._peers(child):
            peer.detach(child.spec.name, died)
        if self._stopping is not None:
            child.state = "stopped"
            self._stop_next()
            return
        if child.leaving:
            self._replace(child)
            return
        if child.spec.role == "listener":
            self._ended()
        self._follow_exit(child, exit_code, lifetime)

    def _follow_exit(self, child: Child, exit_code: int, lifetime: float) -> None:
        if child.spec.once and exit_code == ExitCode.OK:
            child.state = "finished"
            return
        policy, now = self.plan.restart, self._loop.now()
        chance = random.random()  # noqa: S311
        match child.history.on_exit(policy, exit_code, lifetime=lifetime, now=now, random=chance):
            case Restart(delay=delay) if exit_code == ExitCode.RETIRED:
                self._log.info("worker_retired", child=child.spec.name)
                child.timer = self._loop.call_later(delay, lambda: self._start(child))
            case Restart(delay=delay):
                told: dict[str, Any] = {"exit": child.history.last_exit, "restart_in": round(delay, 2)}
                told |= {"reason": child.reason} if child.reason else {}
                told |= {"unstable": True} if child.history.unstable(policy, now) else {}
                child.state, child.reason = "backing_off", child.reason or f"ended with {child.history.last_exit}"
                self._log_limited("warning", "child_exited", child, **told)
                child.timer = self._loop.call_later(delay, lambda: self._start(child))
            case GiveUp():
                child.state = "failed"
                self._log.error("child_cannot_run", child=child.spec.name, reason=child.reason)
                if child.spec.role != "worker":
                    self._failure = child.reason or f"{child.spec.name} cannot run as configured"
                    self.stop()

    def _log_limited(self, level: str, event: str, child: Child, **facts: Any) -> None:
        """Says the same about the same child once in a while only: an outage makes all of them fail again and again."""
        left_out = self._limiter.admit((event, child.spec.name), self._loop.now())
        if left_out is not None:
            more = {"left_out": left_out} if left_out else {}
            getattr(self._log, level)(event, child=child.spec.name, **facts, **more)

    # The status

    def _take_report(self, child: Child, report: bytes) -> None:
        """Keeps a child's report, and publishes soon what is new; once for all that comes together."""
        if report and report != child.report:
            child.report = report
            if not self._publish_due:
                self._publish_due = True
                self._loop.call_later(_PUBLISH_AFTER, self._publish)

    def _every_beat(self) -> None:
        self._kill_hanging()
        self._publish()

    def _publish(self) -> None:
        """Gives the status to the monitor and to the observer."""
        self._publish_due = False
        status = self.status()
        self._service.tell(status)
        monitor = self._children.get("monitor")
        if monitor is not None:
            monitor.tell(NodeReport(status_json(status)))
        if self._observer is not None and self._stopping is None:
            reports = {name: child.report for name, child in self._children.items()}
            if self._observer(status, reports):
                self.stop()

    def _kill_hanging(self) -> None:
        for child in self._children.values():
            silent_for = child.silent_for(self._loop.now())
            if silent_for > self.plan.heartbeat_timeout:
                self._log_limited("error", "child_hangs", child, silent_for=round(silent_for, 1))
                child.reason = f"killed after {silent_for:.0f} s without a sign of life"
                child.last_beat = self._loop.now()
                child.send_signal(SHOW_STACKS)
                self._loop.call_later(_STACKS_AFTER, partial(self._kill_if_same, child, child.process))

    def _kill_if_same(self, child: Child, process: Any) -> None:
        if child.process is process:
            child.send_signal(signal.SIGKILL)

    def status(self) -> NodeStatus:
        """The node as it is now."""
        monitor, listener = self._children.get("monitor"), self._children.get("listener")
        policy, now, patience = self.plan.restart, self._loop.now(), self.plan.heartbeat_timeout / 2
        return summarize(
            self.plan,
            [child.status(policy, now, patience) for child in self._children.values()],
            self._totals.with_report(listener.report if listener is not None else b""),
            uptime=self._loop.now() - self._started_at,
            stopping=self._stopping is not None,
            pid=os.getpid(),
            monitor=monitor.detail if monitor is not None else "",
        )
