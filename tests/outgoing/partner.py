"""A partner on a socket of 127.0.0.1, who answers as a test says, or does not."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Arrival:
    """One request, as it came in."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")


Behave = Callable[[socket.socket, Arrival], None]


@dataclass(slots=True)
class Partner:
    """Arrivals in their order; each is treated by the next of `moods`, the last of them for ever."""

    moods: list[Behave]
    port: int
    server: socket.socket
    arrivals: list[Arrival] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/charges"

    @property
    def keys(self) -> list[str]:
        return [arrival.key for arrival in self.arrivals]

    def close(self) -> None:
        """Nobody listens there any more."""
        if not self.over.is_set():
            self.over.set()
            self.server.shutdown(socket.SHUT_RDWR)
            self.server.close()

    def take(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            arrival = _read(connection)
            if arrival is None:
                return
            mood = self.moods[min(len(self.arrivals), len(self.moods) - 1)]
            self.arrivals.append(arrival)
            mood(connection, arrival)


@contextmanager
def listening_partner(*moods: Behave) -> Iterator[Partner]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        partner = Partner(list(moods), server.getsockname()[1], server)
        thread = threading.Thread(target=_accept, args=(server, partner), daemon=True)
        thread.start()
        try:
            yield partner
        finally:
            partner.close()
            thread.join(10)


def _accept(server: socket.socket, partner: Partner) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # the test is over
        threading.Thread(target=partner.take, args=(connection,), daemon=True).start()


def _read(connection: socket.socket) -> Arrival | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {n.lower(): v.strip() for n, _, v in (each.partition(":") for each in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Arrival(line, headers, body)


# Moods


def answer(status: int = 200, body: bytes = b'{"id": "ch_1"}', **headers: str) -> Behave:
    """`Retry_After="1"` is the header Retry-After."""
    lines = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}

    def behave(connection: socket.socket, _: Arrival) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"HTTP/1.1 {status} Told\r\n{head}\r\n".encode() + body)

    return behave


def drop(_: socket.socket, __: Arrival) -> None:
    """Read it all, and hang up."""


def reset(connection: socket.socket, _: Arrival) -> None:
    """Read it all, and reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def break_off(connection: socket.socket, _: Arrival) -> None:
    """Begin a success, and hang up in the middle of its body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nnot all")


def nonsense(connection: socket.socket, _: Arrival) -> None:
    connection.sendall(b"this is no HTTP\r\n\r\n")


def hang(connection: socket.socket, _: Arrival) -> None:
    """Say nothing, until the caller goes."""
    with suppress(OSError):
        connection.settimeout(20)
        connection.recv(1)


def drip(connection: socket.socket, _: Arrival) -> None:
    """A byte at a time, each well within a read timeout, for longer than anybody wants."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    pause = threading.Event()
    for _n in range(400):
        connection.sendall(b"x")
        pause.wait(0.05)


def much(size: int) -> Behave:
    return answer(200, b"x" * size)
