"""A streaming replica of a throwaway PostgreSQL: asynchronous, so it may lack the last commits."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.services.postgres import Postgres


class Standby(Postgres):
    def __init__(self, primary: str, place: Path | None = None) -> None:
        """*primary* is the URL under which it finds what it follows: through a proxy, maybe."""
        super().__init__(place)
        self._primary = primary

    def prepare(self) -> None:
        self.run_once(
            self.find("pg_basebackup"),
            f"--dbname={self._primary}",
            f"--pgdata={self.folder}/data",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        )

    def is_receiving(self) -> bool:
        return self._ask(
            "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
        )

    def has_replayed(self) -> bool:
        """Whether all that it has received can be read."""
        return self._ask("SELECT pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()")

    def promote(self) -> None:
        assert self._ask("SELECT pg_promote(wait_seconds => 30)")

    def _ask(self, sql: str) -> bool:
        import psycopg  # noqa: PLC0415  # not where another database is tested

        with closing(psycopg.connect(self.url, autocommit=True, connect_timeout=5)) as connection:
            return bool(connection.execute(sql).fetchone()[0])
