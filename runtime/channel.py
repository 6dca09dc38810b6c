"""One channel between two processes: framed messages over a socket pair, and file descriptors with them.

Each pair of processes has a channel of its own; nothing is shared between more than two, so that a killed
process can tear only its own. Sockets are non-blocking: what the peer does not take yet waits in a buffer
here, and a peer that stops reading never stops this process.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from .messages import Message

Incoming = TypeVar("Incoming")

_HEADER = struct.Struct("!I")
_HEADER_SIZE = _HEADER.size
_CHUNK = 256 * 1024
_MOST_DESCRIPTORS = 16
_ANCILLARY = socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
# A plain number: to compute with one of the module's enumerations takes as long as the system call.
_TRUNCATED = int(socket.MSG_CTRUNC)
# One for all channels of a process, which take turns: to allocate so much takes longer than to read a message.
_space = memoryview(bytearray(_CHUNK))
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, one for each process."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class Channel(Generic[Incoming]):
    """This process's end of a channel.

    Args:
        sock: The socket; owned by the channel from here on.
        incoming: The union of messages that may arrive.
        takes_descriptors: Descriptors may arrive with them (default); where not, the system closes what comes.
    """

    def __init__(self, sock: socket.socket, incoming: Any, *, takes_descriptors: bool = True) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(incoming)
        self._received = bytearray()
        self._unsent: deque[tuple[memoryview, int | None]] = deque()
        self._descriptors: deque[int] = deque()
        self._takes_descriptors = takes_descriptors
        self._refused = False
        self._on_backlog: Callable[[bool], None] | None = None
        self.closed = False
        """True once the peer is gone or the channel was closed here; sending is a no-op from then on."""

    def fileno(self) -> int:
        """The socket's descriptor, for a selector."""
        return self._sock.fileno()

    @property
    def has_unsent(self) -> bool:
        """True while something waits for the peer to read; watch for writability then."""
        return bool(self._unsent)

    def tell_backlog(self, callback: Callable[[bool], None]) -> None:
        """Calls back whenever `has_unsent` has changed, with its value; at once where something waits already."""
        self._on_backlog = callback
        if self._unsent:
            callback(True)

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Sends a message, or buffers what the peer does not take at once; never waits.

        Args:
            message: The message.
            descriptor: An open file descriptor to hand over with it; the caller keeps (and closes) its own.
        """
        if self.closed or self._refused:
            return
        payload = _encoder.encode(message)
        frame = _HEADER.pack(len(payload)) + payload
        if self._unsent:
            self._unsent.append((memoryview(frame), None if descriptor is None else os.dup(descriptor)))
            return
        if descriptor is None:
            # Most frames are taken whole, and need not be buffered for that.
            try:
                sent = self._sock.send(frame)
            except OSError as error:
                sent = self._send_failed(error)
            if sent == len(frame) or self._refused:
                return
            self._unsent.append((memoryview(frame)[sent:], None))
        else:
            self._unsent.append((memoryview(frame), os.dup(descriptor)))
            self._send_unsent()
        if self._unsent and self._on_backlog is not None:
            self._on_backlog(True)

    def flush(self) -> None:
        """Sends what is buffered, as far as the peer takes it."""
        if self._unsent:
            self._send_unsent()
            if not self._unsent and self._on_backlog is not None:
                self._on_backlog(False)

    def _send_unsent(self) -> None:
        while self._unsent:
            frame, descriptor = self._unsent[0]
            try:
                sent = self._sock.send(frame) if descriptor is None else self._send_with(frame, descriptor)
            except OSError as error:
                self._send_failed(error)
                return
            if sent < len(frame):
                # The descriptor went with the first bytes.
                self._unsent[0] = (frame[sent:], None)
            else:
                self._unsent.popleft()

    def _send_failed(self, error: OSError) -> int:
        """The peer has no room now, or is gone; nothing was sent."""
        if not isinstance(error, BlockingIOError):
            self._refuse()
        return 0

    def _send_with(self, frame: memoryview, descriptor: int) -> int:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        sent = self._sock.sendmsg([frame], rights)
        os.close(descriptor)
        return sent

    def _refuse(self) -> None:
        """Sends nothing any more; what the peer had sent before it went is still to be received, up to its end."""
        self._refused = True
        for _, descriptor in self._unsent:
            if descriptor is not None:
                os.close(descriptor)
        self._unsent.clear()

    def receive(self) -> list[Incoming]:
        """All complete messages that have arrived; sets `closed` when the peer is gone.

        Raises:
            OSError: A descriptor came with one, and this process can have no more of them.
        """
        messages: list[Incoming] = []
        received = self._received
        size = _CHUNK
        while size == _CHUNK and not self.closed:
            size = self._receive_some()
            if received:
                received += _space[:size]
                used = self._decode(memoryview(received), len(received), messages)
                del received[:used]
            else:
                used = self._decode(_space, size, messages)
                if used < size:
                    received += _space[used:size]
        return messages

    def _decode(self, data: memoryview, size: int, messages: list[Incoming]) -> int:
        """Decodes the complete messages in the first `size` bytes; returns how many bytes they took."""
        start = 0
        while (body := start + _HEADER_SIZE) <= size:
            end = body + int.from_bytes(data[start:body])
            if end > size:
                break
            messages.append(self._decoder.decode(data[body:end]))
            start = end
        return start

    def _receive_some(self) -> int:
        """Reads into `_space`; returns how much, 0 where nothing is there or the peer is gone."""
        flags = 0
        try:
            if not self._takes_descriptors:
                size = self._sock.recv_into(_space)
            else:
                size, ancillary, flags, _ = self._sock.recvmsg_into([_space], _ANCILLARY)
                for level, kind, data in ancillary:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        self._take_over(array.array("i", data[: len(data) - len(data) % 4]))
        except BlockingIOError:
            return 0
        except OSError:
            size = 0
        if flags & _TRUNCATED:
            raise OSError(
                errno.EMFILE, "no descriptor is left for one that came with a message: raise the limit (ulimit -n)"
            )
        if not size:
            self.closed = True
        return size

    def _take_over(self, descriptors: Iterable[int]) -> None:
        for descriptor in descriptors:
            # What user code starts must not keep a channel open that its worker has left.
            os.set_inheritable(descriptor, False)
            self._descriptors.append(descriptor)

    @property
    def has_descriptor(self) -> bool:
        """True where a descriptor came that nobody has taken."""
        return bool(self._descriptors)

    def take_descriptor(self) -> int:
        """The next descriptor that came with a message, in order of arrival; the caller closes it."""
        return self._descriptors.popleft()

    def close(self) -> None:
        """Closes this end; the peer reads end-of-file."""
        self.closed = True
        self._refuse()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._sock.close()
