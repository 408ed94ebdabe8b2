"""A throwaway PgBouncer in transaction mode, before a PostgreSQL of the tests."""

from __future__ import annotations

from tests.services.postgres import Postgres
from tests.services.server import Server


class PgBouncer(Server):
    service = "pgbouncer"
    variable = "TEST_PGBOUNCER_URL"

    def __init__(self, behind: Postgres, *, connections: int = 2) -> None:
        super().__init__()
        self._behind = behind
        self._connections = connections  # to each database: few, so that clients must share them

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/reliable_effects"

    def prepare(self) -> None:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": self._connections,
            "max_client_conn": 500,
            # Whichever server connection is free longest: a session is hardly ever met again.
            "server_round_robin": 1,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        everything = f"* = host=127.0.0.1 port={self._behind.port} user=postgres"
        text = "\n".join(["[databases]", everything, "[pgbouncer]", *lines, ""])
        (self.folder / "pgbouncer.ini").write_text(text)

    def command(self) -> list[str]:
        return [self.find("pgbouncer"), f"{self.folder}/pgbouncer.ini"]

    def answers(self) -> bool:
        return Postgres.answers(self)
