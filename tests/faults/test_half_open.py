"""A transactional worker's connection only looks alive: the worker ends by itself, and effects stay exactly once.

The proxy acknowledges every packet, as a load balancer does, so that no keepalive of the kernel notices anything.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventstore.tests.support.site import Site, new_site
from eventstore.tests.support.wait import wait_until

WORKERS = ("worker:counter:0", "worker:counter:1")


@pytest.fixture(scope="module")
def everlasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of all these tests."""
    with new_site(tmp_path_factory.mktemp("site")) as site:
        yield site
        site.node.until_ready()
        assert site.node.terminate() == 0, site.node.log
        assert "Traceback" not in site.node.log


@pytest.fixture
def site(everlasting: Site) -> Iterator[Site]:
    """The site, with nothing to do; afterwards everything is handled, exactly once and in order, by workers alone.

    That the other processes keep their connections shows that it was the worker who noticed.
    """
    everlasting.check()
    before = everlasting.restarts()
    yield everlasting
    everlasting.check()
    after = everlasting.restarts()
    assert {name for name in after if after[name] != before[name]} <= set(WORKERS)
    assert everlasting.node.subscription("counter")["failures"] == 0, "what the network does is no attempt of an event"


def until_replaced(site: Site, before: dict[str, int], *workers: str) -> None:
    wait_until(
        lambda: all(site.restarts()[name] > before[name] for name in workers), "they were replaced", site.explain
    )


def test_while_it_idles(site: Site) -> None:
    before = site.restarts()
    assert sum(site.proxy.vanish(worker) for worker in WORKERS) == 2
    site.append()
    until_replaced(site, before, *WORKERS)
    wait_until(lambda: "no answer came within 4 s" in site.node.log, "it says why", site.explain)


def test_in_the_middle_of_a_handler(site: Site) -> None:
    before = site.restarts()
    site.append(each=2, seconds=0.5)
    for worker in WORKERS:
        wait_until(lambda worker=worker: site.backends(worker, "idle in%"), "its handler is at work", site.explain)
        assert site.proxy.vanish(worker)
    until_replaced(site, before, *WORKERS)


@pytest.mark.parametrize("cut", [True, False], ids=["reset", "silent"])
def test_the_answer_to_a_commit_is_lost(site: Site, cut: bool) -> None:
    """The effect is there, and nobody knows but the done-ledger."""
    before = site.restarts()
    site.proxy.lost.clear()
    site.proxy.lose_answer("worker:counter:", b"COMMIT", cut=cut)
    site.append()
    wait_until(lambda: site.proxy.lost, "an answer is lost", site.explain)
    until_replaced(site, before, next(worker for worker in WORKERS if worker in site.proxy.lost[0]))
