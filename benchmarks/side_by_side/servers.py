"""
The servers of one run. Databases keep what they have committed, as in production: fsync is on.

The tests' own servers have it off, so these are others. Redis keeps nothing on disk, which is kind
to whoever uses it; RabbitMQ has durable queues and persistent messages, Celery's default.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property

from tests.services import MariaDB, Postgres, RabbitMQ, Redis
from tests.services.server import Given, Server, free_port, obtain

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "max_connections": "200",
}


class DurablePostgres(Postgres):
    variable = "BENCH_POSTGRES_URL"

    def command(self) -> list[str]:
        # The last word counts, so ours come after the tests'.
        return [*super().command(), *(f"--{name}={value}" for name, value in SETTINGS.items())]


class DurableMariaDB(MariaDB):
    variable = "BENCH_MARIADB_URL"

    def command(self) -> list[str]:
        durable = ("--innodb-flush-log-at-trx-commit=1", "--innodb-flush-method=fsync")
        return [*super().command(), *durable]


class StompRabbitMQ(RabbitMQ):
    """With the plugin that django-outbox-pattern speaks to."""

    def prepare(self) -> None:
        super().prepare()
        self.stomp_port = free_port()
        self._file("enabled_plugins", "[rabbitmq_stomp].\n")
        self._file(
            "rabbitmq.conf",
            "log.file = false\nlog.console = true\n"
            f"stomp.listeners.tcp.1 = 127.0.0.1:{self.stomp_port}\n",
        )

    @property
    def stomp_url(self) -> str:
        return f"stomp://guest:guest@127.0.0.1:{self.stomp_port}/"


class Servers:
    """Started when first asked for; gone with the run."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._redis_databases: dict[str, int] = {}

    @cached_property
    def postgres(self) -> Server | Given:
        return self._started(DurablePostgres)

    @cached_property
    def mariadb(self) -> Server | Given:
        return self._started(DurableMariaDB)

    @cached_property
    def redis(self) -> Server | Given:
        return self._started(Redis)

    @cached_property
    def rabbitmq(self) -> StompRabbitMQ:
        return self._stack.enter_context(StompRabbitMQ())

    def broker(self, kind: str) -> Server | Given | None:
        """Raises Missing where its program is not installed."""
        match kind:
            case "redis":
                return self.redis
            case "rabbitmq" | "stomp":
                return self.rabbitmq
        return None

    def broker_url(self, kind: str, who: str) -> str:
        """The broker's address for *who*: in Redis each has a database of its own."""
        broker = self.broker(kind)
        if kind == "stomp":
            return self.rabbitmq.stomp_url
        if kind == "redis" and broker is not None:
            number = self._redis_databases.setdefault(who, len(self._redis_databases) % 16)
            return broker.url.rpartition("/")[0] + f"/{number}"
        return broker.url if broker is not None else ""

    def wipe_brokers(self) -> None:
        for name in ("redis", "rabbitmq"):
            if name in self.__dict__:
                self.__dict__[name].wipe()

    def _started(self, kind: type[Server]) -> Server | Given:
        server = obtain(kind)
        self._stack.callback(server.discard)
        return server
