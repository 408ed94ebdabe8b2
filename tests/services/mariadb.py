"""A throwaway MariaDB: committed is kept when it is killed, not when the machine is."""

from __future__ import annotations

from tests.services.server import Server


class MariaDB(Server):
    service = "mariadb"
    variable = "TEST_MARIADB_URL"

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/reliable_effects"

    def prepare(self) -> None:
        self.run_once(
            self.find("mariadb-install-db"),
            *("--no-defaults", f"--datadir={self.folder}/data", f"--tmpdir={self.folder}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )

    def command(self) -> list[str]:
        return [
            *(self.find("mariadbd"), "--no-defaults", f"--datadir={self.folder}/data"),
            *("--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder}/socket"),
            *(f"--tmpdir={self.folder}", f"--pid-file={self.folder}/pid", "--skip-name-resolve"),
            # At each commit it writes, and leaves the rest to the operating system.
            *("--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"),
        ]

    def answers(self) -> bool:
        """It greets first; byte 4 is its protocol, or 255 for an error."""
        with self.connect() as connection:
            return connection.recv(5)[4:] == b"\n"
