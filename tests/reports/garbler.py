"""A network that changes bytes on their way to a server."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Garbler:
    """`old` becomes `new`, in requests only."""

    def __init__(self, target: int, old: bytes, new: bytes) -> None:
        self._target, self._old, self._new = target, old, new
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._run(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes whoever reads it
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _run(self, what, *arguments) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                self._run(self._pass, client, server, True)
                self._run(self._pass, server, client, False)

    def _pass(self, a: socket.socket, b: socket.socket, garbles: bool) -> None:
        with suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data.replace(self._old, self._new) if garbles else data)
            b.shutdown(socket.SHUT_WR)
