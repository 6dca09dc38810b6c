"""What the database, its driver and a pipe can do at best, measured in the same run, to hold the others against."""

from __future__ import annotations

import multiprocessing
import socket
from multiprocessing.process import BaseProcess
from time import perf_counter

import msgspec
from psycopg.sql import SQL, Identifier

from eventstore.store import JsonSerializer, Statements, connect, run
from eventstore.store.read import page_all

from .case import Bench, Case, Figure, event

_PAGE = 1_000
_PIPED = 100
_LENGTH_SIZE = 4


def cases() -> list[Case]:
    """Reading rows, writing rows, committing, and giving rows to another process."""
    return [
        Case(
            (Figure("limit-select", "limit, SELECT by pages of 1,000", "rows/s"),),
            select,
        ),
        Case((Figure("limit-copy", "limit, COPY into one table", "rows/s"),), copy),
        Case((Figure("limit-commits", "limit, commits of one small row", "commits/s"),), commits),
        Case((Figure("limit-pipe", "limit, rows through a pipe, 100 at a time", "rows/s"),), pipe),
    ]


def select(bench: Bench) -> tuple[float]:
    """Rows per second of the listener's own statement, undecoded, without anything else of the runtime."""
    schema = bench.backlog
    with connect(bench.url, "bench", prefer_indexes=True) as connection:
        statements = Statements(schema)
        position, rows, began = 0, 0, perf_counter()
        while page := run(connection, page_all(statements, position, _PAGE)):
            position, rows = page[-1][0], rows + len(page)
        return (rows / (perf_counter() - began),)


def copy(bench: Bench) -> tuple[float]:
    """Rows per second into a table like `events`, in one transaction."""
    with bench.fresh_schema() as schema, connect(bench.url, "bench", timeout=None) as connection:
        target = SQL("copy {} (event_id, event_type, data, metadata) from stdin").format(Identifier(schema, "copied"))
        table = SQL("create table {} (like {} including all)").format(
            Identifier(schema, "copied"), Identifier(schema, "events")
        )
        connection.execute(table)
        text = _as_copy_text(bench.events)
        began = perf_counter()
        with connection.cursor().copy(target) as stream:
            stream.write(text)
        return (bench.events / (perf_counter() - began),)


def commits(bench: Bench) -> tuple[float]:
    """Transactions per second that insert one row of one number, each waited for."""
    with bench.fresh_schema() as schema, connect(bench.url, "bench", prepare_threshold=0) as connection:
        table = Identifier(schema, "committed")
        connection.execute(SQL("create table {} (n bigint)").format(table))
        insert = SQL("insert into {} values (%s)").format(table).as_bytes(connection)
        done, began = 0, perf_counter()
        while perf_counter() - began < bench.seconds:
            connection.execute(insert, (done,))
            done += 1
        return (done / (perf_counter() - began),)


def pipe(bench: Bench) -> tuple[float]:
    """Rows per second to another process that decodes them, by the sockets and the encoding that the runtime uses."""
    row = ("0" * 10, "account-1", 1, "MoneyMoved", b"i" * 16, None, None, b"d" * 110, b'{"user":"u1"}', 0)
    batch = [row] * _PIPED
    number = max(1, bench.events // _PIPED)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader: BaseProcess = multiprocessing.get_context("fork").Process(target=_read_all, args=(theirs, number))
        reader.start()
        ours.recv(1)
        encoder, began = msgspec.msgpack.Encoder(), perf_counter()
        for _ in range(number):
            payload = encoder.encode(batch)
            ours.sendall(len(payload).to_bytes(_LENGTH_SIZE, "big") + payload)
        ours.recv(1)
        elapsed = perf_counter() - began
        reader.join()
    return (number * _PIPED / elapsed,)


def _read_all(peer: socket.socket, number: int) -> None:
    decoder = msgspec.msgpack.Decoder()
    with peer.makefile("rb") as stream:
        peer.sendall(b"b")
        for _ in range(number):
            decoder.decode(stream.read(int.from_bytes(stream.read(_LENGTH_SIZE), "big")))
        peer.sendall(b"e")


def _as_copy_text(number: int) -> bytes:
    """The events in the text format of COPY, made before the clock runs, so that Python is not the limit."""
    serializer = JsonSerializer()
    lines = []
    for index in range(number):
        one = event(index)
        data, metadata = serializer.serialize(one.data).hex(), serializer.serialize(one.metadata).hex()
        identity = f"00000000-0000-4000-8000-{index * 7_919 % 2**48:012x}"
        lines.append(f"{identity}\t{one.event_type}\t\\\\x{data}\t\\\\x{metadata}\n")
    return "".join(lines).encode()
