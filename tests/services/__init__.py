"""
Servers for the tests, started when a test asks for one and gone with the tests.

`with Redis() as server: ...`, or a fixture of tests/conftest.py. Each has start, stop, kill,
restart, freeze, thaw, url and port; brokers have wipe. `Proxy` makes the network fail.
"""

from __future__ import annotations

from tests.services.ceph import Ceph
from tests.services.chromium import Chromium
from tests.services.mariadb import MariaDB
from tests.services.postgres import Postgres
from tests.services.proxy import Proxy
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import Redis
from tests.services.server import Given, Missing, Server, free_port, obtain

__all__ = [
    "Ceph",
    "Chromium",
    "Given",
    "MariaDB",
    "Missing",
    "Postgres",
    "Proxy",
    "RabbitMQ",
    "Redis",
    "Server",
    "free_port",
    "obtain",
]
