"""A network between a node and its PostgreSQL that fails on demand: it stalls, cuts, loses sessions, swallows messages.

Speaks just enough of the protocol to know each session's application_name, and to find notifications in what the
server sends. Sessions must come without TLS (`sslmode=disable`).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

_CHUNK = 64 * 1024


class _Session:
    """One client's connection, and the one to the server behind it.

    Attributes:
        client: To the client.
        server: To the server.
        role: The client's application_name.
        flows: Cleared while nothing comes through.
        answers: False once nothing of the server's comes through any more.
        cut: Whether the client is told so, once the server has answered.
    """

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.role = ""
        self.flows = asyncio.Event()
        self.flows.set()
        self.answers = True
        self.cut = False


class Proxy:
    """A TCP proxy; use `running_proxy`. Its methods may be called from any thread.

    Attributes:
        port: Where it listens on 127.0.0.1.
        swallowing: While True, notifications of the server do not come through.
        refusing: While True, new connections are closed at once.
        lost: The application_name of each session whose answer `lose_answer` has lost.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.swallowing = False
        self.refusing = False
        self.lost: list[str] = []
        self._losing: tuple[str, bytes, bool] | None = None
        self._server_port = server_port
        self._sessions: set[_Session] = set()
        self._stalling = False
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()

    def stall(self) -> None:
        """Lets nothing through any more, in either direction, old sessions and new ones; nobody is told."""
        self._do(self._stall, True)

    def flow(self) -> None:
        """Ends `stall`: what was held up comes through."""
        self._do(self._stall, False)

    def cut(self) -> None:
        """Resets every connection."""
        self._do(self._cut)

    def vanish(self, role: str) -> int:
        """Loses the sessions of a role half-way: the server sees their end, the client sees nothing, ever.

        Returns:
            How many there were.
        """
        return self._do(self._vanish, role)

    def lose_answer(self, role: str, to: bytes, *, cut: bool) -> None:
        """Loses the answer to the next message with these bytes, of a session whose role begins like this.

        The server gets the message, and does what it says. Then the client's connection is reset where `cut`;
        otherwise it looks alive, and is silent for ever.
        """
        self._losing = role, to, cut

    def _do(self, action: Callable[..., Result], *arguments: object) -> Result:
        async def call() -> Result:
            return action(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _stall(self, stalling: bool) -> None:
        self._stalling = stalling
        for session in self._sessions:
            session.flows.clear() if stalling else session.flows.set()

    def _cut(self) -> None:
        for session in list(self._sessions):
            session.client.transport.abort()
            session.server.transport.abort()

    def _vanish(self, role: str) -> int:
        gone = [session for session in self._sessions if f" {role} @" in session.role]
        for session in gone:
            session.flows.clear()
            session.server.transport.abort()
        return len(gone)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                raise ConnectionRefusedError
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        session = _Session(writer, to_server)
        if self._stalling:
            session.flows.clear()
        self._sessions.add(session)
        try:
            # Cancelled when the proxy closes, which asyncio would report for each connection as an accident.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._up(session, reader, to_server),
                    self._down(session, from_server, writer),
                    return_exceptions=True,
                )
        finally:
            self._sessions.discard(session)
            writer.transport.abort()
            to_server.transport.abort()

    async def _up(self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Client to server, as it is."""
        while chunk := await reader.read(_CHUNK):
            if not session.role and b"application_name\0" in chunk:
                session.role = chunk.partition(b"application_name\0")[2].partition(b"\0")[0].decode()
            await session.flows.wait()
            if self._losing is not None and f" {self._losing[0]}" in session.role and self._losing[1] in chunk:
                session.answers, session.cut, self._losing = False, self._losing[2], None
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def _down(self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Server to client, message by message: a type, a length that counts itself, and the rest."""
        while True:
            try:
                kind = await reader.readexactly(1)
                header = await reader.readexactly(4)
                body = await reader.readexactly(struct.unpack("!I", header)[0] - 4)
            except (asyncio.IncompleteReadError, OSError):
                break
            await session.flows.wait()
            if kind == b"A" and self.swallowing:
                continue
            if not session.answers:
                if kind == b"Z":  # ready for the next message: the server has done what it was told
                    self.lost.append(session.role)
                    if session.cut:
                        session.client.transport.abort()
                continue
            writer.write(kind + header + body)
            await writer.drain()
        await session.flows.wait()
        writer.close()

    async def serve(self, ready: threading.Event) -> None:
        """Listens until `end`."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await self._ended.wait()
        self._cut()

    def run(self, ready: threading.Event) -> None:
        """What its thread does."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self.serve(ready))

    def end(self) -> None:
        """Makes `run` return."""
        self._do(self._ended.set)


@contextmanager
def running_proxy(server_port: int) -> Iterator[Proxy]:
    """Gives a proxy in front of a server on 127.0.0.1, in a thread of its own."""
    proxy, ready = Proxy(server_port), threading.Event()
    thread = threading.Thread(target=proxy.run, args=(ready,), name="proxy")
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        proxy.end()
        thread.join()
