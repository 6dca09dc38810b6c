"""A network of a server's own, in which packets can vanish: neither end is told, as with a cable that is cut.

A namespace of the kernel, joined to this machine by a pair of virtual devices. Only root can make one, on Linux.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Network:
    """The network; use `new_network`.

    Attributes:
        here: This machine's address in it.
        there: The server's address in it.
        command: What a command is put behind, to run inside.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        # Of the addresses that are reserved for tests of networks; each run has four of its own.
        first = 4 * (os.getpid() % 16_000)
        self.here, self.there = (f"198.18.{(first + n) // 256}.{(first + n) % 256}" for n in (1, 2))
        self.command = ("ip", "netns", "exec", name)

    def lose(self, *ports: int) -> None:
        """Lets every packet from and to ports of this machine vanish."""
        for port in ports:
            for chain, side in (("INPUT", "--sport"), ("OUTPUT", "--dport")):
                self._run(*self.command, "iptables", "-A", chain, "-p", "tcp", side, str(port), "-j", "DROP")

    def create(self) -> None:
        """Makes it; skips the test where that cannot be done."""
        outside, inside = f"{self.name}a", f"{self.name}b"
        try:
            self._run("ip", "netns", "add", self.name)
            self._run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.name)
            self._run("ip", "addr", "add", f"{self.here}/30", "dev", outside)
            self._run("ip", "link", "set", outside, "up")
            self._run("ip", "-n", self.name, "addr", "add", f"{self.there}/30", "dev", inside)
            self._run("ip", "-n", self.name, "link", "set", inside, "up")
            self._run(*self.command, "iptables", "-L")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network of its own can be made here: {error}")

    def remove(self) -> None:
        """Removes it, with its devices."""
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=30)


@contextmanager
def new_network() -> Iterator[Network]:
    """Gives a network; it is gone in the end."""
    network = Network(f"es{os.getpid()}")
    try:
        network.create()
        yield network
    finally:
        network.remove()
