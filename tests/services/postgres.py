"""A throwaway PostgreSQL: committed is kept when it is killed, not when the machine is."""

from __future__ import annotations

import signal
import struct

from tests.services.server import Server


class Postgres(Server):
    service = "postgres"
    variable = "TEST_POSTGRES_URL"
    folders = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
    stop_with = signal.SIGINT  # "fast": sessions are ended, not waited for

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/reliable_effects"

    def prepare(self) -> None:
        options = ["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8"]
        self.run_once(self.find("initdb"), "-D", f"{self.folder}/data", "--locale=C", *options)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",  # their paths may be 107 bytes long, temporary ones more
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.find("postgres"), "-D", f"{self.folder}/data", *options]

    def answers(self) -> bool:
        """As pg_isready asks: R wants to know who we are, E says it is still starting."""
        start = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
        with self.connect() as connection:
            connection.sendall(struct.pack("!i", len(start) + 4) + start)
            return connection.recv(1) == b"R"
